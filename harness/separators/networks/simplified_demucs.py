"""Simplified Demucs: waveform in, waveforms out.

Afshinrad et al., "Music Source Separation", Politecnico di Milano, 2024/25, section 7.1. The text
has four layers, but only three of stride 4 yield its 1,378 steps for 88,200 samples and its 128
channels. Three layers and BiLSTMs of 256 have 2,794,760 parameters, the text's 2.8 million.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import normalise
from harness.separators.networks.network import Network

KERNEL, STRIDE, PADDING = 8, 4, 2


class Encoder(nn.Module):
    """A convolution to a quarter of the steps, then a gate over twice the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, KERNEL, STRIDE, PADDING)
        self.expand = nn.Conv1d(outputs, 2 * outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, N / 4)."""
        return functional.glu(self.expand(torch.relu(self.conv(x))), dim=1)


class Decoder(nn.Module):
    """Four times the steps, from the level below and the encoder's output on this level."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.join = nn.Conv1d(2 * inputs, inputs, 1)
        self.conv = nn.Conv1d(inputs, inputs, 3, padding=1)
        self.expand = nn.Conv1d(inputs, 2 * inputs, 1)
        self.stretch = nn.ConvTranspose1d(inputs, outputs, KERNEL, STRIDE, PADDING)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (B, outputs, 4 N)."""
        joined = self.join(torch.cat([x, skip], dim=1))
        gated = functional.glu(self.expand(torch.relu(self.conv(joined))), dim=1)
        out: Tensor = self.stretch(gated)
        return out


class SimplifiedDemucs(Network):
    """Encoder, BiLSTM and decoder with skips, all in the time domain."""

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 88192,
        widths: Sequence[int] = (32, 64, 128),  # channels of each encoder layer
        hidden: int = 256,  # units of each direction of the BiLSTMs
        layers: int = 2,  # number of BiLSTMs
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        self.widths = tuple(widths)
        pairs = zip([channels, *widths], widths, strict=False)
        self.encoder = nn.ModuleList(Encoder(i, o) for i, o in pairs)
        self.lstm = nn.LSTM(widths[-1], hidden, layers, batch_first=True, bidirectional=True)
        self.reduce = nn.Conv1d(2 * hidden, widths[-1], 1)
        outputs = [len(self.stems) * channels, *widths[:-1]]
        self.decoder = nn.ModuleList(
            Decoder(i, o) for i, o in zip(widths[::-1], outputs[::-1], strict=True)
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        samples = mixture.shape[-1]
        x, mean, deviation = normalise(mixture)
        x = functional.pad(x, (0, -samples % STRIDE ** len(self.widths)))
        skips = []
        for encode in self.encoder:
            x = encode(x)
            skips.append(x)
        x = torch.relu(self.reduce(self.lstm(x.transpose(1, 2))[0].transpose(1, 2)))
        for depth, decode in enumerate(self.decoder):
            x = decode(x if depth == 0 else torch.relu(x), skips.pop())
        shape = (len(mixture), len(self.stems), self.channels, samples)
        estimates: Tensor = x[..., :samples].reshape(shape)
        return estimates * deviation[:, None] + mean[:, None] / len(self.stems)
