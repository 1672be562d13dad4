"""SCNet with the checkpoints of its authors, or others of the same layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints
from harness.separators.learned import Learned, fitting
from harness.separators.networks.scnet import SCNet

EPSILON = 1e-5  # added to the deviation of a track, which may be silent
NORMALISATIONS = ("none", "track", "spectrum")


class PublishedScnet(Learned):
    """SCNet from one file of tensors; the entry describes the network.

    The stems are in the order of the network's output. `normalise` is how the checkpoint was
    trained, which its tensors do not show: ``none``; ``track``, by mean and deviation of the mono
    sum of the whole track; ``spectrum``, by those of each chunk's spectrogram (the authors' code
    since September 2024). `network` are the arguments of `SCNet` that differ from its defaults.
    Half of each 11 s chunk is repeated.
    """

    stems = ("drums", "bass", "other", "vocals")

    def __init__(
        self,
        *wanted: Any,
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
        self._arguments = {"normalise": normalise == "spectrum", **(network or {})}
        super().__init__(*wanted, overlap=overlap, **options)

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        mixture = signals.to_channels(audio, self.networks[0].channels, "scnet")
        mean, deviation = np.float32(0), np.float32(1)
        if self._by_track:
            mono = mixture.mean(axis=0)
            mean, deviation = mono.mean(), mono.std() + np.float32(EPSILON)
        estimates = super()._separate((mixture - mean) / deviation)
        return {stem: estimate * deviation + mean for stem, estimate in estimates.items()}

    def _load(self, path: Path, sha256: str | None) -> SCNet:
        state = checkpoints.load(path, sha256=sha256).state
        self._arguments |= {"stems": self.stems, "sample_rate": self.sample_rate}
        what = f"SCNet of {self._arguments}"
        with fitting(path, what, "correct the entry's stems or network"):
            module = SCNet(**self._arguments)
            module.load_state_dict(checkpoints.named_for(module, state))
        return module.eval()
