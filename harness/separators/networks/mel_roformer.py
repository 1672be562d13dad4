"""Mel-Band RoFormer: attention along time and across mel bands, then a complex mask per stem.

Wang, Lu & Won, "Mel-Band RoFormer for Music Source Separation", 2023, on the network of Lu, Wang,
Kong & Hung, "Music Source Separation with Band-Split RoPE Transformer", ICASSP 2024. Tensors have
the names and shapes of published checkpoints, so that those load.

Letters: B batch, C channels, N samples, T frames, K bins, W bands, D width of a token, H heads,
E width of a head, L length of a sequence, S stems.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.network import Network

Pairs = Iterable[tuple[nn.Module, nn.Module]]

ROTARY_BASE = 10000.0  # of the slowest rotation, Su et al., RoFormer, 2021
WIDENING = 4  # hidden width of the feed-forward layers, over that of a token
TINY = 1e-12  # the smallest norm of a token that is scaled fully, so that silence stays silence


def mel_bands(sample_rate: int, n_fft: int, bands: int) -> list[slice]:
    """Return the bins of each band: those under a triangle of the mel scale.

    The scale is Slaney's (Auditory Toolbox, 1998): linear up to 1 kHz, logarithmic above. A
    triangle extends between the peaks of its neighbours, both excluded, so a bin has at most two
    bands. The first band also has the bin of 0 Hz, the last one that of half the sample rate. A
    ValueError is raised if a bin has no band, or a band no bin.

    Examples
    --------
    >>> mel_bands(44100, 2048, 60)[:3], mel_bands(44100, 2048, 60)[-1]
    ([slice(0, 7, None), slice(4, 10, None), slice(7, 13, None)], slice(895, 1025, None))
    """
    step, highest = math.log(6.4) / 27, sample_rate / 2
    top = 15 + math.log(highest / 1000) / step if highest >= 1000 else highest * 3 / 200
    mel = np.linspace(0, top, bands + 2)
    hertz = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    first = np.searchsorted(bins, hertz[:bands], side="right")
    stop = np.searchsorted(bins, hertz[2:], side="left")
    first[0], stop[-1] = 0, len(bins)
    if (stop <= first).any() or (first[1:] > stop[:-1]).any():
        raise ValueError(f"{bands} bands of {n_fft // 2 + 1} bins: some would be empty or left out")
    return [slice(int(low), int(high)) for low, high in zip(first, stop, strict=True)]


class RmsNorm(nn.Module):
    """Tokens of unit mean square, each dimension then scaled."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return tokens (…, D), in 32 bits whatever the precision."""
        # about two thirds of the time of `functional.rms_norm` on a CPU
        gains = self.gamma * math.sqrt(self.gamma.numel())
        return functional.normalize(x.float(), dim=-1, eps=TINY) * gains


class Rotary(nn.Module):
    """Rotate neighbouring pairs of dimensions by angles that grow with the position."""

    freqs: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        freqs = ROTARY_BASE ** (-torch.arange(0, width, 2) / width)
        self.register_buffer("freqs", freqs)

    def turns(self, length: int) -> Tensor:
        """Return the rotation of each position and pair as complex numbers (L, 1, 1, E / 2)."""
        positions = torch.arange(length, device=self.freqs.device)
        angles = torch.outer(positions.float(), self.freqs.float())
        return torch.polar(torch.ones_like(angles), angles)[:, None, None]


class Attention(nn.Module):
    """Self-attention with rotary positions; each head's output is gated."""

    def __init__(self, width: int, heads: int, head_width: int, rotary: Rotary) -> None:
        super().__init__()
        self.heads = heads
        self.rotary_embed = rotary
        inner = heads * head_width
        self.norm = RmsNorm(width)
        self.to_qkv = nn.Linear(width, 3 * inner, bias=False)
        self.to_gates = nn.Linear(width, heads)
        self.to_out = nn.Sequential(nn.Linear(inner, width, bias=False))

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """Return the residual of sequences (B, L, D)."""
        x = self.norm(x)
        queries_keys, values = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).split([2, 1], 2)
        pairs = torch.view_as_complex(queries_keys.float().unflatten(-1, (-1, 2)))
        turned = torch.view_as_real(pairs * turns).flatten(-2).to(values.dtype)
        query, key = turned.transpose(1, 3).unbind(2)
        value = values[:, :, 0].transpose(1, 2)
        found = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        gates = self.to_gates(x).sigmoid()
        gained: Tensor = self.to_out((found * gates[..., None]).flatten(2))
        return gained


class FeedForward(nn.Module):
    """Two dense layers on each token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = WIDENING * width
        self.net = nn.Sequential(
            RmsNorm(width), nn.Linear(width, wide), nn.GELU(), nn.Identity(), nn.Linear(wide, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual of tokens (…, D)."""
        gained: Tensor = self.net(x)
        return gained


class Transformer(nn.Module):
    """Layers of attention and feed-forward, with a norm at the end."""

    def __init__(self, width: int, depth: int, heads: int, head_width: int, rotary: Rotary) -> None:
        super().__init__()
        self.rotary = (rotary,)  # a tuple: the layers register its tensors
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, heads, head_width, rotary), FeedForward(width)])
            for _ in range(depth)
        )
        self.norm = RmsNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Return sequences (B, L, D)."""
        turns = self.rotary[0].turns(x.shape[1])
        for attention, dense in cast(Pairs, self.layers):
            x = x + attention(x, turns)
            x = x + dense(x)
        normed: Tensor = self.norm(x)
        return normed


class BandSplit(nn.Module):
    """One token per band."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.to_features = nn.ModuleList(
            nn.Sequential(RmsNorm(size), nn.Linear(size, width)) for size in sizes
        )

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return tokens (B, T, W, D) of the spectrum in each band (B, T, size)."""
        pairs = zip(self.to_features, parts, strict=True)
        return torch.stack([dense(part) for dense, part in pairs], dim=2)


class MaskEstimator(nn.Module):
    """The mask of one stem."""

    def __init__(self, sizes: Sequence[int], width: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.to_freqs = nn.ModuleList(_perceptron(width, hidden, depth, size) for size in sizes)

    def forward(self, bands: Sequence[Tensor]) -> Tensor:
        """Return the concatenated masks (B, T, sum of sizes) of all bands' tokens (B, T, D)."""
        pairs = zip(self.to_freqs, bands, strict=True)
        return torch.cat([estimate(tokens) for estimate, tokens in pairs], dim=-1)


def _perceptron(width: int, hidden: int, depth: int, size: int) -> nn.Sequential:
    """Return dense layers with tanh between them and a gate at the end."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, hidden), nn.Tanh()]
        width = hidden
    return nn.Sequential(nn.Sequential(*layers, nn.Linear(width, 2 * size)), nn.GLU())


class MelRoformer(Network):
    """Mel-Band RoFormer, small by default; published ones come with a configuration."""

    window: Tensor
    lower: Tensor
    upper: Tensor

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        segment: int = 65536,
        *,
        width: int = 48,  # of a token
        depth: int = 3,  # pairs of transformers, along time and across bands
        time_depth: int = 1,  # layers of each transformer along time
        band_depth: int = 1,
        bands: int = 32,  # see `mel_bands`
        heads: int = 2,
        head_width: int = 32,
        n_fft: int = 2048,
        hop: int = 1024,
        mask_depth: int = 1,  # hidden layers of the mask estimators
        mask_widening: float = 0.375,  # their width over that of a token
        skip: bool = False,  # add the sum of all previous pairs' outputs to each pair's input
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        self.skip = skip
        self._set_up_bands(n_fft, hop, bands)
        sizes = [2 * channels * (band.stop - band.start) for band in self.bands]
        rotaries = Rotary(head_width), Rotary(head_width)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                Transformer(width, layers, heads, head_width, rotary)
                for layers, rotary in zip((time_depth, band_depth), rotaries, strict=True)
            )
            for _ in range(depth)
        )
        self.band_split = BandSplit(sizes, width)
        hidden = round(width * mask_widening)
        self.mask_estimators = nn.ModuleList(
            MaskEstimator(sizes, width, hidden, mask_depth) for _ in self.stems
        )

    def _set_up_bands(self, n_fft: int, hop: int, bands: int) -> None:
        """Compute what depends on the scale, also on the meta device: checkpoints lack it."""
        self.n_fft, self.hop = n_fft, hop
        self.bands = mel_bands(self.sample_rate, n_fft, bands)
        window = torch.hann_window(n_fft, device="cpu")
        self.register_buffer("window", window, persistent=False)
        places: list[list[int]] = [[] for _ in range(n_fft // 2 + 1)]
        for place, bin_ in enumerate(k for b in self.bands for k in range(b.start, b.stop)):
            places[bin_].append(place)
        for name, end in (("lower", 0), ("upper", -1)):
            found = torch.tensor([of_bin[end] for of_bin in places], device="cpu")
            self.register_buffer(name, found, persistent=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, S, C, N) of a mixture (B, C, N)."""
        spectrum = self._transform(mixture)  # (B, T, K, C)
        values = torch.view_as_real(spectrum)
        parts = [values[:, :, band].flatten(2) for band in self.bands]
        tokens = self._transformed(self.band_split(parts)).permute(2, 0, 1, 3).contiguous()
        masks = torch.stack([estimate(tokens.unbind()) for estimate in self.mask_estimators], 1)
        return self._restore(self._to_bins(masks) * spectrum[:, None], mixture.shape[-1])

    def _transformed(self, x: Tensor) -> Tensor:
        """Run all pairs of transformers on tokens (B, T, W, D)."""
        batch, _, bands, _ = x.shape
        total: Tensor | None = None
        for along_time, across_bands in cast(Pairs, self.layers):
            if total is not None:
                x = x + total
            rows = x.transpose(1, 2).flatten(0, 1)
            rows = along_time(rows).unflatten(0, (batch, bands)).transpose(1, 2)
            x = across_bands(rows.flatten(0, 1)).unflatten(0, (batch, -1))
            if self.skip:
                total = x if total is None else total + x
        return x

    def _to_bins(self, masks: Tensor) -> Tensor:
        """Return the mean over the bands of each bin, complex (B, S, T, K, C)."""
        pairs = torch.unflatten(masks.float(), -1, (-1, 2 * self.channels))
        mean = (pairs.index_select(-2, self.lower) + pairs.index_select(-2, self.upper)) / 2
        return torch.view_as_complex(torch.unflatten(mean, -1, (-1, 2)))

    def _transform(self, signal: Tensor) -> Tensor:
        """Return the spectrum (B, T, K, C) of a signal (B, C, N); its ends are mirrored."""
        short = max(0, self.n_fft // 2 + 1 - signal.shape[-1])
        padded = functional.pad(signal.float(), (0, short)).flatten(0, 1)
        spectrum = torch.stft(padded, self.n_fft, self.hop, window=self.window, return_complex=True)
        return torch.unflatten(spectrum, 0, (-1, self.channels)).permute(0, 3, 2, 1).contiguous()

    def _restore(self, spectra: Tensor, samples: int) -> Tensor:
        """Return signals (B, S, C, N) of spectra (B, S, T, K, C)."""
        rows = spectra.permute(0, 1, 4, 3, 2).flatten(0, 2)
        length = max(samples, self.n_fft // 2 + 1)
        signals = torch.istft(rows, self.n_fft, self.hop, window=self.window, length=length)
        shape = (len(spectra), len(self.stems), self.channels)
        return torch.unflatten(signals[..., :samples], 0, shape)
