"""The networks of this project, from audio to audio of every stem, to train and to separate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn

from harness.separators.networks.asnet import ASNet
from harness.separators.networks.htdemucs import HTDemucs
from harness.separators.networks.mel_roformer import MelRoformer
from harness.separators.networks.scnet import SCNet
from harness.separators.networks.simplified_demucs import SimplifiedDemucs
from harness.separators.networks.unet import UNet

__all__ = ["NETWORKS", "Network", "count_parameters"]


class Network(Protocol):
    """The interface of every network, besides that of a `torch.nn.Module`."""

    stems: tuple[str, ...]  # in the order of the output
    sample_rate: int  # in Hz
    channels: int  # of the mixture
    segment: int  # samples of an excerpt in training and inference

    def __call__(self, mixture: Tensor) -> Tensor:
        """Return estimates (batch, stems, channels, samples) of (batch, channels, samples)."""
        ...

    def config(self) -> dict[str, Any]:
        """Return JSON values: the keyword arguments that build the network again."""
        ...


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "asnet": ASNet,
    "htdemucs": HTDemucs,
    "mel_roformer": MelRoformer,
    "unet": UNet,
    "simplified_demucs": SimplifiedDemucs,
    "scnet": SCNet,
}


def count_parameters(module: nn.Module) -> int:
    """Return the number of trained values.

    Examples
    --------
    >>> count_parameters(SimplifiedDemucs())
    2794760
    """
    return sum(parameter.numel() for parameter in module.parameters())
