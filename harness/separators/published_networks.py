"""Open-Unmix, BSRNN and DTTNet with the checkpoints of their authors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import checkpoints
from harness.separators.learned import Learned, Networked, fitting
from harness.separators.networks.bsrnn import BSRNN
from harness.separators.networks.dttnet import DTTNet, sizes_of
from harness.separators.networks.open_unmix import OpenUnmix

BESIDE = {"sample_rate", "stft.window", "transform.0.window", "window", "freq_pad"}
"""Tensors of checkpoints that are no weights: the networks here compute them."""


class PublishedUnmix(Networked):
    """Open-Unmix from one file of tensors per stem, in the order of the stems.

    `network` are the arguments of `OpenUnmix` that differ from its defaults. A song of up to 111 s
    is separated as a whole, as by its own program; longer ones in chunks of that length, which
    start with a block of the Wiener filter, so that these blocks are those of the whole song.
    """

    stems = ("vocals", "drums", "bass", "other")

    def __init__(
        self, *wanted: Any, network: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(*wanted, **options)
        _one_file_each(self, "openunmix")
        arguments = {"sample_rate": self.sample_rate, **(network or {})}
        first = self.files[0][0]
        with fitting(first, f"Open-Unmix of {arguments}", "correct the entry's network"):
            module = OpenUnmix(self.stems, **arguments)
        for (path, sha256), one in zip(self.files, module.targets, strict=True):
            _fill(one, path, sha256, f"one network of Open-Unmix of {arguments}")
        self.networks = [module.eval()]

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        network: OpenUnmix = self.networks[0]
        mixture = signals.to_channels(audio, network.channels, "openunmix")
        long = mixture.shape[1] > network.segment
        options: dict[str, Any] = (
            {"fill": lambda samples: samples} if long else {}
        )  # the last one is shorter
        found = self.chunked(network, mixture, network.segment, **options)
        return dict(zip(self.stems, found, strict=True))


class PublishedBsrnn(Learned):
    """Band-Split RNN for all stems from one file of tensors.

    The stems are in the order of the network's output; `network` are the arguments of `BSRNN` that
    differ from its defaults. The song's peak is set to 1 for the network. Chunks of 12 s share one
    second with the next, as in its own program.
    """

    stems = ("vocals", "bass", "drums", "other")

    def __init__(
        self,
        *wanted: Any,
        network: Mapping[str, Any] | None = None,
        overlap: float = 1 / 12,
        **options: Any,
    ) -> None:
        self._arguments = dict(network or {})
        super().__init__(*wanted, overlap=overlap, **options)

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        mixture = signals.to_channels(audio, self.networks[0].channels, "bsrnn")
        peak = np.abs(mixture).max(initial=0) or np.float32(1)
        found = super()._separate(mixture / peak)
        return {stem: estimate * peak for stem, estimate in found.items()}

    def _load(self, path: Path, sha256: str | None) -> nn.Module:
        arguments = {"sample_rate": self.sample_rate, **self._arguments}
        with fitting(path, f"BSRNN of {arguments}", "correct the entry's stems or network"):
            module = BSRNN(self.stems, **arguments)
        return _fill(module, path, sha256, f"BSRNN of {arguments}")


class PublishedDttnet(Learned):
    """DTTNet from one file of tensors per stem, in the order of the stems.

    `network` are the arguments of `DTTNet` that differ from its defaults; the number of bins, in
    which its stems differ, is that of the file's tensors. Each sample is in four chunks of 6 s.
    """

    stems = ("vocals",)

    def __init__(
        self,
        *wanted: Any,
        network: Mapping[str, Any] | None = None,
        overlap: float = 0.75,
        **options: Any,
    ) -> None:
        self._arguments = dict(network or {})
        super().__init__(*wanted, overlap=overlap, **options)

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        return super()._separate(signals.to_channels(audio, self.networks[0].channels, "dttnet"))

    def _load(self, path: Path, sha256: str | None) -> nn.Module:
        _one_file_each(self, "dttnet")
        stem = self.stems[[file for file, _ in self.files].index(path)]
        state = checkpoints.load(path, sha256=sha256).state
        arguments = {"sample_rate": self.sample_rate, **self._arguments}
        with fitting(path, f"DTTNet of {arguments}", "correct the entry's network"):
            module = DTTNet([stem], **arguments, **sizes_of(state))
            module.load_state_dict(_weights(module, state))
        return module.eval()


def _one_file_each(separator: Networked, family: str) -> None:
    """Refuse another number of files than of stems."""
    files, stems = separator.files, separator.stems
    if len(files) != len(stems):
        raise HarnessError(
            f"{family}: {len(files)} files for {len(stems)} stems ({', '.join(stems)}); "
            "give one file per stem, in the same order"
        )


def _fill(module: nn.Module, path: Path, sha256: str | None, what: str) -> nn.Module:
    """Load a network's weights, and set it to evaluation mode."""
    state = checkpoints.load(path, sha256=sha256).state
    with fitting(path, what, "correct the entry's network"):
        module.load_state_dict(_weights(module, state))
    return module.eval()


def _weights(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the network's names."""
    named = checkpoints.named_for(module, state)
    return {name: value for name, value in named.items() if name not in BESIDE}
