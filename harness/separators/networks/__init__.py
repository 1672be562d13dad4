"""The networks of this project, from audio to audio of every stem, to train and to separate."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from harness.separators.networks.asnet import ASNet
from harness.separators.networks.htdemucs import HTDemucs
from harness.separators.networks.mel_roformer import MelRoformer
from harness.separators.networks.mmdenselstm import MMDenseLSTM
from harness.separators.networks.scnet import SCNet
from harness.separators.networks.simplified_demucs import SimplifiedDemucs
from harness.separators.networks.tasnet import TasNet
from harness.separators.networks.unet import UNet
from harness.separators.networks.wave_u_net import WaveUNet

__all__ = ["NETWORKS", "count_parameters"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "asnet": ASNet,
    "htdemucs": HTDemucs,
    "mel_roformer": MelRoformer,
    "unet": UNet,
    "simplified_demucs": SimplifiedDemucs,
    "scnet": SCNet,
    "tasnet": TasNet,
    "mmdenselstm": MMDenseLSTM,
    "wave_u_net": WaveUNet,
}


def count_parameters(module: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(parameter.numel() for parameter in module.parameters())
