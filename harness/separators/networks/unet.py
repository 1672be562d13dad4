"""U-Net of one-dimensional convolutions along time, with BiLSTMs at its bottom; one per stem.

Afshinrad et al., "Music Source Separation", Politecnico di Milano, 2024/25, section 4.1. Bins are
channels: 256, 512, 1024 and 2048 of them at width 256.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import TorchStft, apply_masks, decibels, normalise
from harness.separators.networks.network import Network

DEPTH = 3  # blocks before the bottleneck; each halves the frame rate


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv1d(inputs, outputs, 3, padding=1), nn.BatchNorm1d(outputs), nn.ReLU()]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_layer(inputs, outputs), *_layer(outputs, outputs))


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    stretch = nn.ConvTranspose1d(inputs, outputs, 2, stride=2)
    return nn.Sequential(stretch, nn.BatchNorm1d(outputs), nn.ReLU())


class StemUNet(nn.Module):
    """A mask for one stem from a spectrogram, shape (batch, bins, frames)."""

    def __init__(self, bins: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(DEPTH + 1)]
        self.down = nn.ModuleList(
            _block(i, o) for i, o in zip([bins, *widths], widths[:-1], strict=False)
        )
        self.bottleneck = nn.Sequential(*_layer(widths[-2], widths[-1]))
        units = widths[-1] // 2
        self.lstm = nn.LSTM(widths[-1], units, 2, batch_first=True, bidirectional=True)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_doubling(i, o) for i, o in pairs)
        self.join = nn.ModuleList(_block(2 * o, o) for _, o in pairs)
        self.mask = nn.Conv1d(width, bins, 1)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Return the mask, in (0, 1), of the spectrogram's shape."""
        frames = spectrogram.shape[-1]
        x = functional.pad(spectrogram, (0, -frames % 2**DEPTH))
        skips = []
        for block in self.down:
            x = block(x)
            skips.append(x)
            x = functional.max_pool1d(x, 2)
        x = self.lstm(self.bottleneck(x).transpose(1, 2))[0].transpose(1, 2)
        for double, block in zip(self.up, self.join, strict=True):
            x = block(torch.cat([double(x), skips.pop()], dim=1))
        mask: Tensor = self.mask(x)[..., :frames].sigmoid()
        return mask


class UNet(Network):
    """One independent `StemUNet` per stem, shared by the channels; any number of them works.

    The report has a width of 256, which takes 81 million parameters per stem.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 221184,
        n_fft: int = 4096,
        hop: int = 1024,
        width: int = 24,  # channels of the first block
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        self.stft = TorchStft(n_fft, hop)
        bins = n_fft // 2 + 1
        self.networks = nn.ModuleDict({stem: StemUNet(bins, width) for stem in self.stems})

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        spectrum = self.stft(mixture)
        _, _, deviation = normalise(mixture)
        magnitude = spectrum.abs() * (2 / self.stft.n_fft) / deviation[..., None]
        level = decibels(magnitude).flatten(0, 1).transpose(1, 2)
        masks = [network(level).transpose(1, 2) for network in self.networks.values()]
        shaped = torch.stack([mask.reshape(spectrum.shape) for mask in masks], dim=1).float()
        return self.stft.inverse(apply_masks(shaped, spectrum[:, None]), mixture.shape[-1])
