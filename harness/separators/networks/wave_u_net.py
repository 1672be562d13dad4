"""Wave-U-Net: waveform in, waveforms out, over time scales that differ by a factor of two.

Stoller, Ewert & Dixon, "Wave-U-Net: A Multi-Scale Neural Network for End-to-End Audio Source
Separation", ISMIR 2018. The default sizes are the paper's; docs/papers.md says what differs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import normalise
from harness.separators.networks.network import Network, refuse_one_stem

SLOPE = 0.2  # of the leaky ReLUs, below zero


class PaddedConv(nn.Conv1d):
    """A convolution to as many samples as it gets, then a leaky ReLU that keeps the level."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(inputs, outputs, kernel, padding="same")
        nn.init.kaiming_uniform_(self.weight, SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, N) from (B, inputs, N)."""
        return functional.leaky_relu(super().forward(x), SLOPE)


class Between(nn.Module):
    """From N to 2 N - 1 samples: between each two there is one more, by linear interpolation.

    If it is `learned`, each channel has its own share of the earlier sample; otherwise it is half.
    """

    def __init__(self, channels: int, *, learned: bool) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.zeros(channels, 1)) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2 N - 1) from (B, C, N)."""
        left, right = x[..., :-1], x[..., 1:]
        share = 0.5 if self.share is None else self.share.sigmoid().to(x.dtype)
        middle = torch.lerp(right, left, share)
        return torch.cat([torch.stack([left, middle], dim=-1).flatten(-2), x[..., -1:]], dim=-1)


class WaveUNet(Network):
    """Convolutions at halved and again doubled rates, with skips; any number of channels works.

    With `difference`, the last stem is the mixture minus the others, so that the estimates sum to
    it. Turn it off for stems that do not sum to the mixture, such as vocals alone.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 131072,
        levels: int = 12,  # times that the rate is halved
        width: int = 24,  # filters of the first level; each further level has this many more
        down_kernel: int = 15,  # samples, on the way down
        up_kernel: int = 5,
        difference: bool = True,
        learned: bool = False,  # the interpolation; see `Between`
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        if difference:
            refuse_one_stem("wave_u_net", self.stems, "difference: false")
        self.difference = difference
        widths = [width * level for level in range(1, levels + 2)]
        self.down = nn.ModuleList(
            PaddedConv(i, o, down_kernel)
            for i, o in zip([channels, *widths], widths[:-1], strict=False)
        )
        self.bottleneck = PaddedConv(widths[-2], widths[-1], down_kernel)
        self.between = nn.ModuleList(Between(i, learned=learned) for i in widths[:0:-1])
        self.up = nn.ModuleList(
            PaddedConv(i + o, o, up_kernel)
            for i, o in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv1d(width + channels, (len(self.stems) - difference) * channels, 1)

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        samples = mixture.shape[-1]
        normalised, mean, deviation = normalise(mixture)
        # Halving keeps the first and the last of 2^levels · k + 1 samples.
        padded = functional.pad(normalised, (0, (1 - samples) % 2 ** len(self.down)))
        x, skips = padded, []
        for filters in self.down:
            x = filters(x)
            skips.append(x)
            x = x[..., ::2]
        x = self.bottleneck(x)
        for between, filters in zip(self.between, self.up, strict=True):
            x = filters(torch.cat([between(x), skips.pop()], dim=1))
        found = self.last(torch.cat([x, padded], dim=1))[..., :samples]
        estimates = found.unflatten(1, (-1, self.channels))
        if self.difference:
            rest = normalised[:, None] - estimates.sum(dim=1, keepdim=True)
            estimates = torch.cat([estimates, rest], dim=1)
        scaled: Tensor = estimates * deviation[:, None] + mean[:, None] / len(self.stems)
        return scaled
