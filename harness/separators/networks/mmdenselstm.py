"""MMDenseLSTM: dense convolutions at several scales in each band, with LSTMs along time.

Takahashi, Goswami & Mitsufuji, "MMDenseLSTM: An Efficient Combination of Convolutional and
Recurrent Neural Networks for Audio Source Separation", IWAENC 2018. The default is small; `PAPER`
has the published sizes. Letters: B batch, C maps, T frames, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.core.errors import HarnessError
from harness.separators.networks.features import TorchStft, apply_masks, decibels, normalise
from harness.separators.networks.network import Network, refuse_one_stem

SILENCE = -1.0  # as a level; see `decibels`
PAPER: dict[str, Any] = {
    "growth": (14, 4, 2, 7),
    "first": (32, 32, 32, 8),
    "layers": ((5, 5, 5, 5), (4, 4, 4, 4), (1, 1, 0), (3, 3, 4, 5, 5)),
    "units": ((64, 64), (16, 0), (4, 0), (64, 64)),
    "last": (12, 3),
    "per_stem": True,
}


class DenseBlock(nn.Module):
    """Each layer reads the input and all earlier layers; the last one's maps are the output."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.outputs = growth if layers else inputs
        read = [inputs + growth * layer for layer in range(layers)]
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(n), nn.ReLU(), nn.Conv2d(n, growth, 3, padding=1))
            for n in read
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, T, K)."""
        found = [x]
        for layer in self.layers:
            found.append(layer(torch.cat(found, dim=1)))
        return found[-1]


class RecurrentPlane(nn.Module):
    """Adds one map: a BiLSTM reads all bins of a weighted sum of the maps, frame by frame."""

    def __init__(self, inputs: int, bins: int, units: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, 1, 1)
        self.lstm = nn.LSTM(bins, units, batch_first=True, bidirectional=True)
        self.expand = nn.Linear(2 * units, bins)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C + 1, T, K) from (B, C, T, K)."""
        found = self.expand(self.lstm(self.reduce(x)[:, 0])[0])
        return torch.cat([x, found[:, None]], dim=1)


class BandNet(nn.Module):
    """A U-Net of dense blocks over one band, whose output has `growth` maps.

    `layers` are those of the dense blocks from the full resolution to the lowest. `units` are those
    of an LSTM at the lowest resolution and of one at half the resolution on the way up; 0 is none.
    """

    def __init__(
        self,
        inputs: int,
        bins: int,
        *,
        growth: int,
        first: int,  # maps of the first convolution
        layers: Sequence[int],
        units: Sequence[int],
    ) -> None:
        super().__init__()
        self.grid = 2 ** (len(layers) - 1)
        padded = bins + -bins % self.grid
        self.first = nn.Conv2d(inputs, first, 3, padding=1)
        self.down, self.stretch, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        maps, skips = first, []
        for count in layers[:-1]:
            dense = DenseBlock(maps, growth, count)
            self.down.append(dense)
            maps = dense.outputs
            skips.append(maps)
        self.bottom, maps = _block(maps, growth, layers[-1], padded // self.grid, units[0])
        for level in reversed(range(len(skips))):
            self.stretch.append(nn.ConvTranspose2d(maps, maps, 2, stride=2))
            read, lstm = maps + skips[level], units[1] if level == 1 else 0
            block, maps = _block(read, growth, layers[level], padded // 2**level, lstm)
            self.up.append(block)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, growth, T, K) from (B, inputs, T, K)."""
        frames, bins = x.shape[2:]
        x = functional.pad(x, (0, -bins % self.grid, 0, -frames % self.grid), value=SILENCE)
        x = self.first(x)
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = functional.avg_pool2d(x, 2)
        x = self.bottom(x)
        for stretch, block in zip(self.stretch, self.up, strict=True):
            x = block(torch.cat([stretch(x), skips.pop()], dim=1))
        return x[:, :, :frames, :bins]


def _block(inputs: int, growth: int, layers: int, bins: int, units: int) -> tuple[nn.Module, int]:
    """Return a dense block, with an LSTM after it if that has units, and its number of maps."""
    dense = DenseBlock(inputs, growth, layers)
    if not units:
        return dense, dense.outputs
    return nn.Sequential(dense, RecurrentPlane(dense.outputs, bins, units)), dense.outputs + 1


class MultiBand(nn.Module):
    """`BandNet` over each band and over all bins, joined by one dense block."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bins: int,
        *,
        edges: Sequence[int],
        growth: Sequence[int],
        first: Sequence[int],
        layers: Sequence[Sequence[int]],
        units: Sequence[Sequence[int]],
        last: Sequence[int],
    ) -> None:
        super().__init__()
        sizes = [above - below for below, above in pairwise([0, *edges, bins])]
        if min(sizes) < 1:
            raise HarnessError(
                f"mmdenselstm: edges {list(edges)} do not divide {bins} bins; "
                "use rising numbers that fit n_fft"
            )
        nets = [
            BandNet(inputs, size, growth=g, first=f, layers=n, units=u)
            for size, g, f, n, u in zip([*sizes, bins], growth, first, layers, units, strict=True)
        ]
        self.sizes, most = sizes, max(growth[:-1])
        self.bands, self.full = nn.ModuleList(nets[:-1]), nets[-1]
        self.widen = nn.ModuleList(nn.Conv2d(g, most, 1) for g in growth[:-1])
        self.last = DenseBlock(most + growth[-1], *last)
        self.masks = nn.Conv2d(last[0], outputs, 1)

    def forward(self, level: Tensor) -> Tensor:
        """Return (B, outputs, T, K) from (B, inputs, T, K)."""
        parts = torch.split(level, self.sizes, dim=3)
        found = [
            widen(net(part)) for widen, net, part in zip(self.widen, self.bands, parts, strict=True)
        ]
        joined = torch.cat([torch.cat(found, dim=3), self.full(level)], dim=1)
        masks: Tensor = self.masks(torch.relu(self.last(joined)))
        return masks


class MMDenseLSTM(Network):
    """`MultiBand` networks that read the channels' levels and mask the mixture's spectrogram.

    One network serves all stems: its masks sum to one, so the estimates sum to the mixture. With
    `per_stem` each stem has a network of its own, as in the paper, and the stems need not sum.
    Settings per band are from low to high, then of the network over all bins.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 131072,
        n_fft: int = 4096,
        hop: int = 1024,
        edges: Sequence[int] = (380, 1024),  # first bins of the second and further bands
        growth: Sequence[int] = (8, 4, 2, 4),  # maps of each dense layer
        first: Sequence[int] = (16, 8, 4, 8),  # this and the next two: see `BandNet`
        layers: Sequence[Sequence[int]] = ((3, 3, 3, 3), (2, 2, 2, 2), (1, 1, 0), (2, 2, 2, 3, 3)),
        units: Sequence[Sequence[int]] = ((32, 32), (16, 0), (4, 0), (32, 32)),
        last: Sequence[int] = (8, 2),  # growth and layers of the joining block
        per_stem: bool = False,
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        if not per_stem:
            refuse_one_stem("mmdenselstm", self.stems, "per_stem: true")
        self.per_stem, self.stft = per_stem, TorchStft(n_fft, hop)
        outputs = channels if per_stem else channels * len(self.stems)
        self.networks = nn.ModuleList(
            MultiBand(
                channels, outputs, n_fft // 2 + 1, edges=edges, growth=growth, first=first,
                layers=layers, units=units, last=last,
            )
            for _ in range(len(self.stems) if per_stem else 1)
        )  # fmt: skip

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        spectrum = self.stft(mixture)
        _, _, deviation = normalise(mixture)
        level = decibels(spectrum.abs() * (2 / self.stft.n_fft) / deviation[..., None])
        found = torch.cat([network(level) for network in self.networks], dim=1).float()
        logits = found.reshape(len(found), len(self.stems), *spectrum.shape[1:])
        masks = logits.sigmoid() if self.per_stem else logits.softmax(dim=1)
        return self.stft.inverse(apply_masks(masks, spectrum[:, None]), mixture.shape[-1])
