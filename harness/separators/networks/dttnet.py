"""DTTNet: a U-Net of convolutions and layers along frequency, with recurrence at its bottom.

Chen, Vekkot & Shukla, "Music Source Separation Based on a Lightweight Deep Learning Framework
(DTTNet: Dual-Path TFC-TDF UNet)", ICASSP 2024; the names are those of its checkpoints. Letters:
B examples, C channels of the U-Net, T frames, F bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import TorchStft

SCALES = 2  # halvings of frames and bins
GROUP = 16  # channels of a group of the norms at the bottom


def normed(layer: nn.Module, channels: int) -> nn.Sequential:
    """Return a layer, batch norm and ReLU."""
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


class Convolutions(nn.Module):
    """Convolutions 3×3 of the same number of channels."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.H = nn.ModuleList(
            normed(nn.Conv2d(channels, channels, 3, padding=1), channels) for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape (B, C, T, F)."""
        for layer in self.H:
            x = layer(x)
        return x


class ConvolutionsAndBins(nn.Module):
    """Convolutions, a bottleneck along frequency, convolutions, and a convolution beside them."""

    def __init__(self, channels: int, bins: int, bottleneck: int, layers: int) -> None:
        super().__init__()
        self.tfc1 = Convolutions(channels, layers)
        self.tfc2 = Convolutions(channels, layers)
        self.res = Convolutions(channels, 1)
        few = bins // bottleneck
        self.tdf = nn.Sequential(
            *normed(nn.Linear(bins, few, bias=False), channels),
            *normed(nn.Linear(few, bins, bias=False), channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape (B, C, T, F)."""
        inner = self.tfc1(x)
        out: Tensor = self.tfc2(inner + self.tdf(inner)) + self.res(x)
        return out


class Along(nn.Module):
    """A recurrent layer in both directions along the third axis of (B, rows, steps, C)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.groupnorm = nn.GroupNorm(channels // GROUP, channels)
        self.rnn = nn.LSTM(channels, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum with the input, rows and steps exchanged: (B, steps, rows, C)."""
        flat = x.flatten(0, 1)
        out, _ = self.rnn(self.groupnorm(flat.transpose(1, 2)).transpose(1, 2))
        found: Tensor = x + self.fc(out).view_as(x)
        return found.transpose(1, 2)


class BothPaths(nn.Module):
    """Recurrence over time and over frequency in turns, with the channels in heads."""

    def __init__(self, channels: int, layers: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        each, hidden = channels // heads, 2 * channels // heads
        self.bsrnn = nn.ModuleList(
            nn.Sequential(Along(each, hidden), Along(each, hidden)) for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape (B, C, T, F)."""
        y = torch.unflatten(x, 1, (self.heads, -1)).flatten(0, 1).permute(0, 3, 2, 1)
        for layer in self.bsrnn:
            y = layer(y)
        out: Tensor = y.permute(0, 3, 2, 1).reshape(x.shape)
        return out


class DTTNet(nn.Module):
    """One stem of a mixture."""

    def __init__(
        self,
        stems: Sequence[str] = ("vocals",),
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        n_fft: int = 6144,
        hop: int = 1024,
        bins: int = 2048,  # that it sees, from 0 Hz; the others of an estimate are zero
        frames: int = 256,  # of a chunk
        growth: int = 32,  # channels that each halving adds
        bottleneck: int = 8,  # bins are divided by it in the middle of a block
        layers: int = 3,  # convolutions before and after that
        paths: int = 4,
        heads: int = 2,
    ) -> None:
        super().__init__()
        self.stems, self.sample_rate, self.channels = tuple(stems), sample_rate, channels
        self.bins, self.segment = bins, hop * (frames - 1)
        self.stft = TorchStft(n_fft, hop)
        widths = [growth * (scale + 1) for scale in range(SCALES + 1)]

        def block(scale: int) -> ConvolutionsAndBins:
            return ConvolutionsAndBins(widths[scale], bins >> scale, bottleneck, layers)

        down, up = range(SCALES), range(SCALES - 1, -1, -1)
        self.first_conv = normed(nn.Conv2d(2 * channels, growth, 1), growth)
        self.encoding_blocks = nn.ModuleList(map(block, down))
        self.ds = nn.ModuleList(
            normed(nn.Conv2d(widths[i], widths[i + 1], 2, stride=2), widths[i + 1]) for i in down
        )
        self.bottleneck_block1 = block(SCALES)
        self.bottleneck_block2 = BothPaths(widths[SCALES], paths, heads)
        self.us = nn.ModuleList(
            normed(nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2), widths[i]) for i in up
        )
        self.decoding_blocks = nn.ModuleList(map(block, up))
        self.final_conv = nn.Sequential(nn.Conv2d(growth, 2 * channels, 1))

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, 1, channels, N) of mixtures (B, channels, N)."""
        samples = mixture.shape[-1]
        padded = functional.pad(mixture, (0, max(0, self.segment - samples)))
        spectrum = self.stft.mirrored(padded)  # (B, channels, T, all bins)
        planes = torch.view_as_real(spectrum[..., : self.bins]).permute(0, 1, 4, 2, 3)
        found = torch.unflatten(self._spectra(planes.flatten(1, 2)), 1, (self.channels, 2))
        seen = torch.view_as_complex(found.permute(0, 1, 3, 4, 2).float().contiguous())
        whole = functional.pad(seen, (0, spectrum.shape[-1] - self.bins))
        return self.stft.inverse(whole, samples)[:, None]

    def _spectra(self, x: Tensor) -> Tensor:
        """Return the stem's planes (B, 2 · channels, T, F) from those of the mixture."""
        x, skips = self.first_conv(x), []
        for block, halve in zip(self.encoding_blocks, self.ds, strict=True):
            skips.append(block(x))
            x = halve(skips[-1])
        x = self.bottleneck_block2(self.bottleneck_block1(x))
        for double, block in zip(self.us, self.decoding_blocks, strict=True):
            x = block(double(x) * skips.pop())
        out: Tensor = self.final_conv(x)
        return out


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments of a network in which its stems differ, from its tensors."""
    few, bins = state["encoding_blocks.0.tdf.0.weight"].shape
    return {"bins": bins, "bottleneck": bins // few}
