"""Band-Split RNN for several stems at once, with attention, and with the names of its checkpoints.

Luo & Yu, "Music Source Separation with Band-Split RNN", IEEE/ACM TASLP 31, 2023; the form for
several stems with attention and an exchange between the channels is that of Magron, Serizel &
Douwes, "The Costs of Reproducibility in Music Separation Research", arXiv 2603.09187, 2026.
Letters: B examples, C channels, M bands, D features, T frames, H heads, S stems.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import TorchStft

BANDS = ((50, 20), (100, 10), (250, 8), (500, 8), (1000, 8), (2000, 2))  # Hz, and how many
EPSILON = 1e-7
CHANNEL_WIDTH = 3  # of the layers that exchange channels, in features


def band_widths(sample_rate: int, n_fft: int) -> list[int]:
    """Return the bins of each band; the last one has all that remain.

    Examples
    --------
    >>> widths = band_widths(44100, 2048)
    >>> len(widths), widths[0], widths[-1], sum(widths)
    (57, 2, 121, 1025)
    """
    bins = n_fft // 2 + 1
    per_hz = bins / (sample_rate / 2)
    widths = [int(width * per_hz) for width, count in BANDS for _ in range(count)]
    return [*widths, bins - sum(widths)]


class Recurrent(nn.Module):
    """Norm, a recurrent layer in both directions and a projection, added to the input (…, D, T)."""

    def __init__(self, features: int, factor: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, features, EPSILON)
        hidden = factor * features
        self.main_layer = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)
        self.proj = nn.Linear(2 * hidden, features)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape (B, D, T)."""
        out, _ = self.main_layer(self.norm(x).transpose(1, 2))
        found: Tensor = self.proj(out)
        return x + found.transpose(1, 2)


class FrameNorm(nn.Module):
    """Normalize each frame of (B, D, T, M) over features and bands."""

    def __init__(self, features: int, bands: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, features, 1, bands))
        self.beta = nn.Parameter(torch.zeros(1, features, 1, bands))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape."""
        variance, mean = torch.var_mean(x, dim=(1, 3), correction=0, keepdim=True)
        return (x - mean) * (variance + EPSILON).rsqrt() * self.gamma + self.beta


class BandAttention(nn.Module):
    """Attention between frames, whose features are those of all bands; added to (B, D, T, M)."""

    def __init__(self, features: int, bands: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        for head in range(heads):
            for kind, outputs in (("Q", width), ("K", width), ("V", features // heads)):
                layer = self._layer(features, outputs, bands)
                self.add_module(f"attn_conv_{kind}_{head}", layer)
        self.attn_concat_proj = self._layer(features, features, bands)

    @staticmethod
    def _layer(inputs: int, outputs: int, bands: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.PReLU(), FrameNorm(outputs, bands))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape."""
        query, key, value = (self._of_heads(kind, x) for kind in "QKV")
        found = functional.scaled_dot_product_attention(query, key, value)
        features = torch.unflatten(found, -1, (-1, x.shape[3]))  # (B, H, T, D / H, M)
        merged = features.permute(0, 1, 3, 2, 4).flatten(1, 2)
        out: Tensor = x + self.attn_concat_proj(merged)
        return out

    def _of_heads(self, kind: str, x: Tensor) -> Tensor:
        """Return (B, H, T, features · M) of queries, keys or values."""
        parts = [self.get_submodule(f"attn_conv_{kind}_{h}")(x) for h in range(self.heads)]
        return torch.stack([part.transpose(1, 2).flatten(2) for part in parts], dim=1)


class ChannelExchange(nn.Module):
    """Add to each channel what its features and the mean over the channels say: (…, C, D)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        hidden, active = CHANNEL_WIDTH * features, nn.PReLU()  # one for all layers
        self.transform = nn.Sequential(nn.Linear(features, hidden), active)
        self.average = nn.Sequential(nn.Linear(hidden, hidden), active)
        self.concat = nn.Sequential(nn.Linear(2 * hidden, features), active)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape."""
        each = self.transform(x)
        mean = self.average(each.mean(dim=-2, keepdim=True)).expand_as(each)
        out: Tensor = x + self.concat(torch.cat([each, mean], dim=-1))
        return out


class BandSplitLayer(nn.Module):
    """Over time, over bands, over channels, and attention between frames: (B · C, M, D, T)."""

    def __init__(
        self, features: int, factor: int, bands: int, channels: int, heads: int, width: int
    ) -> None:
        super().__init__()
        self.channels = channels
        self.time_net = Recurrent(features, factor)
        self.band_net = Recurrent(features, factor)
        self.attn_block = BandAttention(features, bands, heads, width)
        self.tac_module = ChannelExchange(features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape."""
        count, bands, features, frames = x.shape
        x = torch.unflatten(self.time_net(x.flatten(0, 1)), 0, (count, bands))
        x = x.permute(0, 3, 2, 1).flatten(0, 1)  # (B · C · T, D, M)
        x = self.band_net(x).reshape(-1, self.channels, frames, features, bands)
        x = self.tac_module(x.permute(0, 2, 4, 1, 3))  # (B, T, M, C, D)
        x = x.permute(0, 3, 4, 1, 2).reshape(count, features, frames, bands)
        attended: Tensor = self.attn_block(x)
        return attended.permute(0, 3, 1, 2)


class BandMasks(nn.Module):
    """The complex masks of one stem, one multi-layer perceptron per band."""

    def __init__(self, widths: Sequence[int], features: int, factor: int) -> None:
        super().__init__()
        hidden = factor * features
        self.mask = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, features, EPSILON),
                nn.Conv1d(features, hidden, 1),
                nn.Tanh(),
                nn.Conv1d(hidden, hidden, 1),
                nn.Tanh(),
                nn.Conv1d(hidden, 4 * width, 1),
            )
            for width in widths
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the masks (B · C, K, T), complex, from features (B · C, M, D, T)."""
        found = []
        for band, layers in enumerate(self.mask):
            value, gate = layers(x[:, band]).chunk(2, dim=1)
            real, imaginary = (value * torch.sigmoid(gate)).chunk(2, dim=1)
            found.append(torch.complex(real.float(), imaginary.float()))
        return torch.cat(found, dim=1)


class BSRNN(nn.Module):
    """Estimates of all stems from a mixture whose peak is 1."""

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "bass", "drums", "other"),
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        n_fft: int = 2048,
        hop: int = 512,
        features: int = 128,
        repeats: int = 12,
        factor: int = 2,  # hidden features of recurrent layers
        mask_factor: int = 4,
        heads: int = 2,
        attention_width: int = 16,
        segment: int = 12 * 44100,  # samples
    ) -> None:
        super().__init__()
        self.stems, self.sample_rate = tuple(stems), sample_rate
        self.channels, self.segment = channels, segment
        self.stft = TorchStft(n_fft, hop)
        self.widths = band_widths(sample_rate, n_fft)
        self.BN = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(1, 2 * width, EPSILON), nn.Conv1d(2 * width, features, 1))
            for width in self.widths
        )
        arguments: dict[str, Any] = {
            "factor": factor,
            "bands": len(self.widths),
            "channels": channels,
            "heads": heads,
            "width": attention_width,
        }
        self.separator = nn.Sequential(
            *(BandSplitLayer(features, **arguments) for _ in range(repeats))
        )
        self.maskers = nn.ModuleList(
            BandMasks(self.widths, features, mask_factor) for _ in self.stems
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, S, C, N) of mixtures (B, C, N)."""
        samples = mixture.shape[-1]
        spectrum = self.stft.mirrored(mixture).transpose(-1, -2)  # (B, C, K, T)
        x = self._features(spectrum.flatten(0, 1))
        masks = torch.stack([masker(x) for masker in self.maskers])  # (S, B · C, K, T)
        found = torch.unflatten(masks, 1, spectrum.shape[:2]) * spectrum
        return self.stft.inverse(found.transpose(-1, -2), samples).transpose(0, 1)

    def _features(self, spectrum: Tensor) -> Tensor:
        """Return features (B · C, M, D, T) of spectra (B · C, K, T)."""
        planes = torch.view_as_real(spectrum).permute(0, 3, 1, 2)
        split = torch.split(planes, self.widths, dim=2)
        bands = [layers(band.flatten(1, 2)) for layers, band in zip(self.BN, split, strict=True)]
        found: Tensor = self.separator(torch.stack(bands, dim=1))
        return found
