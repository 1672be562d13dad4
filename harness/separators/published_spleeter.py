"""Spleeter with its published weights, one file per stem."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import torch

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints
from harness.separators.learned import Networked, fitting
from harness.separators.networks.spleeter import MaskExtension, Spleeter


class PublishedSpleeter(Networked):
    """Spleeter from one file of tensors per stem, in the order of the stems.

    `mask_extension` is its answer to what lies above 11 kHz, which its networks do not see:
    ``zeros``, the published default, or ``average``, the mean of the mask below in each frame.
    `network` are the arguments of `Spleeter` that differ from its defaults.
    """

    stems = ("vocals", "accompaniment")

    def __init__(
        self,
        *wanted: Any,
        mask_extension: str = "zeros",
        network: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*wanted, overlap=0.0, **options)
        known: tuple[MaskExtension, ...] = get_args(MaskExtension)
        extension = next((name for name in known if name == mask_extension), None)
        if extension is None:
            raise HarnessError(
                f"mask_extension: {mask_extension!r} is not known; "
                f"{suggestion(mask_extension, known)}"
            )
        if len(self.files) != len(self.stems):
            raise HarnessError(
                f"spleeter: {len(self.files)} files for {len(self.stems)} stems "
                f"({', '.join(self.stems)}); give one file per stem, in the same order"
            )
        module = Spleeter(self.stems, mask_extension=extension, **network or {})
        for (path, sha256), one in zip(self.files, module.networks, strict=True):
            state = checkpoints.load(path, sha256=sha256).state
            with fitting(path, "the network of Spleeter", "fetch it again"):
                one.load_state_dict(state)
        if self._chunks["device"] == "cpu":  # as the network computes there
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.networks = [module.eval()]

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        network: Spleeter = self.networks[0]
        mixture = signals.to_channels(audio, 2, "spleeter")
        samples = mixture.shape[1]
        if samples % network.segment == 0:  # the frame centered at the end needs a block
            mixture = np.pad(mixture, ((0, 0), (0, 1)))
        found = self.chunked(network, mixture, network.segment, tails=network.tails)
        found = found[..., :samples]
        found /= network.envelope(samples).numpy()
        return dict(zip(self.stems, found, strict=True))
