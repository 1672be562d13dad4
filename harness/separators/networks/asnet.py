"""Audio Strips Network: a mask for every source from the A2F features.

Sakthidevi & Divya, "Audio Strips Network (ASNet) and Amalgamation Audio Features (A2F)", Archives
of Acoustics, 2026, section 3.4. The text is ambiguous in several places, and no reading of it has
the printed 0.31 million parameters. The options name the readings; docs/papers.md counts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import (
    PLANES,
    Amalgamation,
    Bands,
    TorchStft,
    apply_masks,
    normalise,
)
from harness.separators.networks.network import Network

POOLED = 4  # frames and bands per position of the bottleneck
DROPOUT = 0.5


class Strips(nn.Module):
    """From an image of features to a distribution over classes for each of its points.

    The BiLSTMs have 64 and 128 `units` in ``both`` directions together, which fits the 128 channels
    before upsampling, or in ``each``; then the directions of the second are added. `skip` is the
    input of the dense layer besides the upsampled channel: the first block's 64, concatenated
    (``concat``); nothing (``none``); or a dense map of the bottleneck, added (``bottleneck``).
    """

    def __init__(
        self,
        inputs: int,  # channels of the image; one in the text
        classes: int,  # sources in the softmax
        *,
        bottleneck: int,  # channels: 128, 256 or 512 in the paper's ablation
        kernel: tuple[int, int],  # of the convolutions, in frames and bands
        units: Literal["both", "each"],
        skip: Literal["concat", "none", "bottleneck"],
        final: int,  # channels of the second upsampling block; one in the text
    ) -> None:
        super().__init__()
        self.skip, self.units = skip, units
        self.down1 = nn.Conv2d(inputs, 64, kernel, padding="same")
        self.down2 = nn.Conv2d(64, 128, kernel, padding="same")
        self.bottleneck = nn.Conv2d(128, bottleneck, kernel, padding="same")
        share = 2 if units == "both" else 1
        self.lstm1 = nn.LSTM(bottleneck, 64 // share, batch_first=True, bidirectional=True)
        width = 128 // share
        self.lstm2 = nn.LSTM(128 // share, width, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(DROPOUT)
        self.up1 = nn.Conv2d(128, 64, kernel, padding="same")
        self.up2 = nn.Conv2d(64, final, kernel, padding="same")
        read = {"concat": final + 64, "none": final, "bottleneck": bottleneck}[skip]
        self.dense = nn.Conv2d(read, 64, 1)
        self.classes = nn.Conv2d(64, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Return probabilities (B, classes, T, W) from an image (B, inputs, T, W)."""
        frames, bands = image.shape[2:]
        image = functional.pad(image, (0, -bands % POOLED, 0, -frames % POOLED))
        first = torch.relu(self.down1(image))
        second = self.down2(functional.max_pool2d(first, 2))
        deep = torch.relu(self.bottleneck(torch.relu(functional.max_pool2d(second, 2))))
        up = torch.relu(self.up1(self._remember(deep)))
        last = torch.relu(self.up2(_double(_double(up))))
        scores: Tensor = self.classes(torch.relu(self._consolidate(last, first, deep)))
        return scores.softmax(dim=1)[:, :, :frames, :bands]

    def _remember(self, deep: Tensor) -> Tensor:
        """Run the BiLSTMs along time in each strip of bands; its place is part of the input."""
        batch, channels, frames, strips = deep.shape
        placed = deep + place_code(channels, strips).to(deep)[:, None, :]
        rows = placed.permute(0, 3, 2, 1).reshape(batch * strips, frames, channels)
        rows = self.dropout(self.lstm1(rows)[0])
        rows = self.lstm2(rows)[0]
        if self.units == "each":
            rows = rows[..., :128] + rows[..., 128:]
        kept: Tensor = self.dropout(rows)
        return kept.reshape(batch, strips, frames, -1).permute(0, 3, 2, 1)

    def _consolidate(self, last: Tensor, first: Tensor, deep: Tensor) -> Tensor:
        """Return the dense layer's output from the upsampled channel and the skip."""
        if self.skip == "bottleneck":
            wide: Tensor = functional.interpolate(self.dense(deep), scale_factor=float(POOLED))
            return wide + last.mean(dim=1, keepdim=True)
        read = torch.cat([last, first], dim=1) if self.skip == "concat" else last
        out: Tensor = self.dense(read)
        return out


def place_code(channels: int, strips: int) -> Tensor:
    """Return sines and cosines (channels, strips), fixed, that identify the strips."""
    place = torch.arange(strips, dtype=torch.float32)[None, :]
    octave = torch.arange(channels // 2, dtype=torch.float32)[:, None] / (channels // 2)
    angle = math.pi * place / (2 * 256**octave)
    return torch.cat([angle.sin(), angle.cos()])


def _double(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0)


class ASNet(Network):
    """A2F features, `Strips`, and the masks on the mixture's spectrogram.

    All channels share one mask, made from features of all of them, so the estimates of all stems
    sum to the mixture in each channel. Any number of channels works. The paper names neither window
    nor bands. Here a band is one bin wide at the bottom, two at 325 Hz, and proportional to the
    frequency above. With the `fusion` ``sum``, trained weights fuse the feature planes into one
    image, for the text's single input channel; with ``stack`` each plane is an input channel.
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
        bands: int = 128,
        features: Literal["both", "spectral", "temporal"] = "both",  # the paper's ablation
        fusion: Literal["sum", "stack"] = "sum",
        bottleneck: int = 256,  # this and the next four: see `Strips`
        kernel: Sequence[int] = (3, 3),
        units: Literal["both", "each"] = "both",
        skip: Literal["concat", "none", "bottleneck"] = "concat",
        final: int = 1,
        per_stem: bool = False,  # one network per stem against the rest: four times the parameters
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        self.stft = TorchStft(n_fft, hop)
        self.bands = Bands(n_fft // 2 + 1, bands)
        planes = PLANES[features]
        self.a2f = Amalgamation(self.stft, self.bands, planes)
        self.fusion = nn.Conv2d(len(planes), 1, 1) if fusion == "sum" else nn.Identity()
        inputs, classes = (1 if fusion == "sum" else len(planes)), len(self.stems)
        height, width = kernel
        self.networks = nn.ModuleList(
            Strips(
                inputs, 2 if per_stem else classes, bottleneck=bottleneck, kernel=(height, width),
                units=units, skip=skip, final=final,
            )
            for _ in range(classes if per_stem else 1)
        )  # fmt: skip

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        spectrum = self.stft(mixture)
        with torch.no_grad():
            _, _, level = normalise(mixture)
            image = self.a2f(mixture / level, spectrum.abs() / level[..., None])
        image = self.fusion(image)
        per_stem = len(self.networks) > 1
        if per_stem:
            masks = torch.stack([network(image)[:, 0] for network in self.networks], dim=1)
        else:
            masks = self.networks[0](image)[:, :-1]  # they sum to one: the last stem is the rest
        wide = self.bands.to_bins(masks.float())[:, :, None]
        estimates = self.stft.inverse(apply_masks(wide, spectrum[:, None]), mixture.shape[-1])
        if per_stem:
            return estimates
        rest = mixture[:, None] - estimates.sum(dim=1, keepdim=True)
        return torch.cat([estimates, rest], dim=1)
