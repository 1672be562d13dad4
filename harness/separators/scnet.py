"""SCNet with the checkpoints of its authors, or any of the same layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn

from harness import audio as signals
from harness import weights as checkpoints
from harness.audio import Audio
from harness.errors import HarnessError
from harness.networks.scnet import SCNet
from harness.registry import suggestion
from harness.separators.learned import Learned

EPSILON = 1e-5  # beside the deviation of a track, which may be silent
NORMALISATIONS = ("none", "track", "spectrum")


class Scnet(Learned):
    """SCNet, whose checkpoints hold tensors only: the entry says the rest.

    Parameters
    ----------
    sample_rate, stems
        The stems in the order of the network's output.
    input_stem
        What it takes apart.
    weights, sha256
        One file, as ``.th``, ``.ckpt`` or ``.safetensors``, and its hash.
    normalise
        What the checkpoint was trained with, which its tensors do not tell: ``none``; ``track``,
        mean and deviation of the mono sum of the whole track; ``spectrum``, those of each chunk's
        spectrogram (the authors' code from September 2024 on).
    network
        Arguments of `harness.networks.scnet.SCNet` that are not those of the small SCNet.
    overlap, options
        See `harness.separators.learned.Learned`; half of each 11 s chunk is repeated.
    """

    def __init__(
        self,
        sample_rate: int = 44100,
        stems: Sequence[str] = ("drums", "bass", "other", "vocals"),
        input_stem: str = "mixture",
        *,
        weights: Sequence[Path | str],
        normalise: str = "track",
        network: dict[str, Any] | None = None,
        overlap: float = 0.5,
        **options: Any,
    ) -> None:
        if normalise not in NORMALISATIONS:
            raise HarnessError(
                f"normalise: {normalise!r} is not known; {suggestion(normalise, NORMALISATIONS)}"
            )
        self._by_track = normalise == "track"
        self._network = {"normalise": normalise == "spectrum", **(network or {})}
        self._network |= {"stems": stems, "sample_rate": sample_rate}
        super().__init__(
            sample_rate, stems, input_stem, weights=weights, overlap=overlap, **options
        )

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        network = cast(SCNet, self.networks[0])
        mixture = signals.to_channels(audio, network.channels, "scnet")
        mean, deviation = np.float32(0), np.float32(1)
        if self._by_track:
            mono = mixture.mean(axis=0)
            mean, deviation = mono.mean(), mono.std() + np.float32(EPSILON)
        estimates = super().separate((mixture - mean) / deviation)
        return {
            stem: signals.to_channels(estimate * deviation + mean, audio.shape[0], stem)
            for stem, estimate in estimates.items()
        }

    def _load(self, path: Path, sha256: str | None) -> nn.Module:
        """Build the network that the entry describes and give it the tensors of a file."""
        state = checkpoints.load(path, sha256=sha256).state
        try:
            module = SCNet(**self._network)
            module.load_state_dict(state)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise HarnessError(
                f"{path}: does not fit SCNet of {self._network} ({reason}); "
                "correct the entry's stems or network"
            ) from error
        return module.eval()
