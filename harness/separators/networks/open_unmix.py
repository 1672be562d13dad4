"""Open-Unmix: one recurrent network per stem, and a joint Wiener filter, with its published names.

Stöter, Uhlich, Liutkus & Mitsufuji, "Open-Unmix - a reference implementation for music source
separation", Journal of Open Source Software, 2019. Letters: S stems, C channels, T frames, K bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import TorchStft, apply_masks

BLOCK = 300  # frames that are masked, and filtered, together
CHUNK = 16 * BLOCK  # frames that the recurrent layers hear at once: 111 s at 44.1 kHz
DROPOUT = 0.4
LOUDEST = 10.0  # magnitude to which a block is scaled down before the filter
EPSILON = 1e-10  # of the filter: added to summed power; its root is the noise in each bin


class UnmixTarget(nn.Module):
    """The mask of one stem from the magnitudes of the mixture.

    `encode` and `mask` work on any block of frames; `context`, between them, needs all frames.
    """

    def __init__(self, bins: int, seen: int, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.seen = seen
        self.fc1 = nn.Linear(channels * seen, width, bias=False)
        self.bn1 = nn.BatchNorm1d(width)
        self.lstm = nn.LSTM(
            width, width // 2, layers, bidirectional=True, dropout=DROPOUT if layers > 1 else 0
        )
        self.fc2 = nn.Linear(2 * width, width, bias=False)
        self.bn2 = nn.BatchNorm1d(width)
        self.fc3 = nn.Linear(width, channels * bins, bias=False)
        self.bn3 = nn.BatchNorm1d(channels * bins)
        self.input_mean = nn.Parameter(torch.zeros(seen))  # the negative mean
        self.input_scale = nn.Parameter(torch.ones(seen))  # one over the deviation
        self.output_scale = nn.Parameter(torch.ones(bins))
        self.output_mean = nn.Parameter(torch.ones(bins))

    def encode(self, magnitude: Tensor) -> Tensor:
        """Return features (T, width) of magnitudes (T, C, K)."""
        x = (magnitude[..., : self.seen] + self.input_mean) * self.input_scale
        return torch.tanh(self.bn1(self.fc1(x.flatten(1))))

    def context(self, features: Tensor) -> Tensor:
        """Return features of the same shape that know of all frames."""
        recurrent, _ = self.lstm(features)
        return functional.relu(self.bn2(self.fc2(torch.cat([features, recurrent], dim=1))))

    def mask(self, features: Tensor) -> Tensor:
        """Return the mask (T, C, K), from 0 on."""
        x = self.bn3(self.fc3(features)).unflatten(1, (-1, len(self.output_scale)))
        return functional.relu(x * self.output_scale + self.output_mean)


class OpenUnmix(nn.Module):
    """All stems of a signal from the networks of each.

    Only the recurrent layers see the whole signal; everything wider than their features is computed
    in blocks of `BLOCK` frames, so that a song of minutes needs little memory.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        *,
        sample_rate: int = 44100,
        channels: int = 2,
        n_fft: int = 4096,
        hop: int = 1024,
        bandwidth: int = 16000,  # Hz up to which the networks see the mixture
        width: int = 512,
        layers: int = 3,
        iterations: int = 1,  # of the filter; 0: masks only, as with one stem
    ) -> None:
        super().__init__()
        self.stems, self.channels = tuple(stems), channels
        self.segment = CHUNK * hop  # samples
        self.stft = TorchStft(n_fft, hop)
        self.iterations = iterations if len(self.stems) > 1 else 0
        bins = n_fft // 2 + 1
        seen = min(bandwidth * n_fft // sample_rate + 1, bins)
        self.targets = nn.ModuleList(
            UnmixTarget(bins, seen, channels, width, layers) for _ in self.stems
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, S, C, N) of mixtures (B, C, N)."""
        found = [self._one(signal) for signal in mixture]
        return torch.stack(found) if len(found) > 1 else found[0][None]  # without a copy

    def _one(self, signal: Tensor) -> Tensor:
        samples, border, hop = signal.shape[1], self.stft.n_fft // 2, self.stft.hop
        signal = functional.pad(signal, (0, max(0, border + 1 - samples)))
        frames = signal.shape[1] // hop + 1
        padded = functional.pad(signal, (border, border), mode="reflect")
        starts = range(0, frames, BLOCK)

        def block(first: int) -> Tensor:  # (C, T, K)
            last = min(first + BLOCK, frames) - 1
            return self.stft.frames(padded[:, first * hop : last * hop + self.stft.n_fft])

        encoded: list[list[Tensor]] = [[] for _ in self.stems]
        for first in starts:
            magnitude = block(first).abs().transpose(0, 1)
            for target, kept in zip(self.targets, encoded, strict=True):
                kept.append(target.encode(magnitude))  # type: ignore[operator]
        features = [
            target.context(torch.cat(kept))  # type: ignore[operator]
            for target, kept in zip(self.targets, encoded, strict=True)
        ]
        total = signal.new_zeros(len(self.stems), self.channels, padded.shape[1])
        for first in starts:
            mixture = block(first)
            masks = torch.stack(
                [
                    target.mask(x[first : first + BLOCK]).transpose(0, 1)  # type: ignore[operator]
                    for target, x in zip(self.targets, features, strict=True)
                ]
            )
            sources = apply_masks(masks, mixture)
            piece = self.stft.overlapped(wiener(mixture, sources, self.iterations))
            total[..., first * hop : first * hop + piece.shape[-1]] += piece
        inside = slice(border, border + samples)
        found = total[..., inside]
        found /= self.stft.envelope(frames)[inside]
        return found


def wiener(mixture: Tensor, sources: Tensor, iterations: int) -> Tensor:
    """Refine sources (S, C, T, K) of a mixture (C, T, K), one or two channels, jointly.

    Each iteration estimates a power per source and bin, the mean over the channels, and a spatial
    covariance per source and frequency, constant over the frames; then it applies the Wiener filter
    that follows from them. `harness.separators.anchors` has another such filter: there the power
    depends on the covariance, which is a mean of normalized covariances; here loud frames weigh
    more, and published scores are those of this form.

    References
    ----------
    Nugraha, Liutkus & Vincent, "Multichannel audio source separation with deep neural networks",
    IEEE/ACM TASLP 24(9), 2016.
    """
    if not iterations:
        return sources
    scale = (mixture.abs().max() / LOUDEST).clamp(min=1)
    exact = torch.complex64 if mixture.device.type == "mps" else torch.complex128
    x, y = (mixture / scale).to(exact), (sources / scale).to(exact)
    for _ in range(iterations):
        power = y.abs().square().mean(dim=1)  # (S, T, K)
        summed = power.sum(dim=1) + EPSILON
        pairs = [[(a * b.conj()).sum(dim=1) / summed for b in y.unbind(1)] for a in y.unbind(1)]
        # (C, C, 1, K) per source: products of all sources would fill much memory
        spatial = torch.stack([torch.stack(row) for row in pairs])[..., None, :].unbind(2)
        total = torch.zeros_like(spatial[0])
        for covariance, level in zip(spatial, power, strict=True):
            total = total + covariance * level
        white = _solved(total, x, EPSILON**0.5)
        y = torch.stack(
            [(c * white).sum(dim=1) * level for c, level in zip(spatial, power, strict=True)]
        )
    return (y * scale).to(mixture.dtype)


def _solved(matrix: Tensor, x: Tensor, noise: float) -> Tensor:
    """Return z of (matrix + noise · identity) z = x; matrix (C, C, …), x (C, …), C 1 or 2."""
    a: Tensor = matrix[0, 0]
    if len(x) == 1:
        return x / (a + noise)
    b, c, d = matrix[0, 1], matrix[1, 0], matrix[1, 1]
    a, d = a + noise, d + noise
    adjugate = torch.stack([d * x[0] - b * x[1], a * x[1] - c * x[0]])
    return adjugate / (a * d - b * c)
