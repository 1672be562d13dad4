"""Conv-TasNet with the checkpoints that Défossez et al. published beside Demucs, for music."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.separators import checkpoints
from harness.separators.learned import Learned, fitting
from harness.separators.networks.tasnet import TasNet

EPSILON = 1e-8  # added to the deviation of a track, which may be silent
PUBLISHED: dict[str, Any] = {  # arguments of `TasNet`; the file holds tensors only
    "segment": 352800, "filters": 256, "kernel": 20, "narrow": 256, "wide": 512, "blocks": 10,
    "repeats": 4, "gates": "none", "music": True,
}  # fmt: skip
BLOCK = re.compile(r"separator\.network\.2\.(\d+)\.(\d+)\.net\.(.+)\.(weight|gamma|beta)")
PARTS = {
    "encoder.conv1d_U": "encoder", "decoder.basis_signals": "decoder",
    "separator.network.0": "norm", "separator.network.1": "reduce", "separator.network.3": "masks",
    "0": "widen", "1": "first.0", "2": "first.1", "3.net.0": "spread", "3.net.1": "second.0",
    "3.net.2": "second.1", "3.net.3": "out",
}  # fmt: skip
KINDS = {"gamma": "weight", "beta": "bias"}


class PublishedTasnet(Learned):
    """Conv-TasNet from one file of tensors, under the names of demucs 1 to 3.

    `network` are the arguments of `TasNet` that differ from `PUBLISHED`. Levels and chunks are
    those of that program: the track has no mean and unit deviation, and the last chunk is shorter.
    """

    stems = ("drums", "bass", "other", "vocals")

    def __init__(self, *wanted: Any, network: dict[str, Any] | None = None, **options: Any) -> None:
        self._arguments = {**PUBLISHED, **(network or {})}
        super().__init__(*wanted, **options)

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        network: TasNet = self.networks[0]
        mixture = signals.to_channels(audio, network.channels, "tasnet")
        mono = mixture.mean(axis=0)
        mean, deviation = mono.mean(), mono.std(ddof=min(1, mono.size - 1)) + np.float32(EPSILON)
        mixture = (mixture - mean) / deviation
        found = self.chunked(network, mixture, network.segment, fill=lambda samples: samples)
        found *= deviation
        found += mean
        return dict(zip(self.stems, found, strict=True))

    def _load(self, path: Path, sha256: str | None) -> TasNet:
        state = checkpoints.load(path, sha256=sha256).state
        arguments = {"stems": self.stems, "sample_rate": self.sample_rate, **self._arguments}
        with fitting(path, f"TasNet of {arguments}", "correct the entry's stems or network"):
            module = TasNet(**arguments)
            module.load_state_dict(renamed(state, module))
        return module.eval()


def renamed(state: Mapping[str, Tensor], network: TasNet) -> dict[str, Tensor]:
    """Return the tensors of a published checkpoint under our names and in our shapes."""
    found = {_our_name(name, network.per_repeat): tensor for name, tensor in state.items()}
    wanted = network.state_dict()
    for name, tensor in found.items():
        if name == "decoder.weight":  # theirs is a matrix (channels · kernel, filters)
            tensor = tensor.T
        if name in wanted and tensor.numel() == wanted[name].numel():
            found[name] = tensor.reshape(wanted[name].shape)
    return found


def _our_name(name: str, per_repeat: int) -> str:
    """Return our name of a tensor; names that are not known stay."""
    if match := BLOCK.fullmatch(name):
        number = int(match[1]) * per_repeat + int(match[2])
        part, kind = PARTS.get(match[3], match[3]), match[4]
        return f"blocks.{number}.{part}.{KINDS.get(kind, kind)}"
    owner, _, kind = name.rpartition(".")
    return f"{PARTS.get(owner, owner)}.{KINDS.get(kind, kind)}"
