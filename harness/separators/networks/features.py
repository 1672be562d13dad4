"""Spectrograms, band scales and the A2F features, as modules without trained weights.

Letters: B batch, C channels, N samples, T frames, K bins, W bands, P planes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SPECTRAL = ("magnitude", "decibel", "mfcc", "centroid", "rolloff")
TEMPORAL = ("zcr", "rms")
PLANES = {"both": SPECTRAL + TEMPORAL, "spectral": SPECTRAL, "temporal": TEMPORAL}
MFCCS = 20  # coefficients kept
ROLLOFF = 0.85  # share of the magnitude below the roll-off
FLOOR = 1e-5  # of the normalised signal, where decibels end: -100 dB
EPS = 1e-5


def normalise(mixture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each example (B, C, N) to zero mean and unit deviation of its mono sum.

    In the result ``normalised, mean, deviation`` the last two have the shape (B, 1, 1), and
    ``normalised * deviation + mean`` is the mixture.
    """
    mono = mixture.mean(dim=1, keepdim=True)
    mean = mono.mean(dim=2, keepdim=True)
    deviation = mono.std(dim=2, keepdim=True, correction=0) + EPS
    return (mixture - mean) / deviation, mean, deviation


class TorchStft(nn.Module):
    """Short-time Fourier transform with a Hann window, and its inverse, for any length from 1 on.

    The hop divides the window length `n_fft` and is at most half of it, both in samples.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        if n_fft % 2 or n_fft % hop or n_fft < 2 * hop:
            raise ValueError(f"n_fft {n_fft} is not an even multiple of hop {hop}")
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """Return the complex spectrogram (…, T, K) of a signal (…, N); frames are centred."""
        tail = self.n_fft // 2 + -signal.shape[-1] % self.hop
        return self.frames(functional.pad(signal.float(), (self.n_fft // 2, tail)))

    def mirrored(self, signal: Tensor) -> Tensor:
        """Return the spectrogram (B, C, T, K) of a signal (B, C, N) whose ends are mirrored.

        A signal too short to be mirrored is continued with zeros.
        """
        border = self.n_fft // 2
        long = functional.pad(signal.float(), (0, max(0, border + 1 - signal.shape[-1])))
        return self.frames(functional.pad(long, (border, border), mode="reflect"))

    def frames(self, signal: Tensor) -> Tensor:
        """Return the spectrogram (…, T, K) of the frames that lie within a signal (…, N)."""
        spectrum: Tensor = torch.fft.rfft(signal.unfold(-1, self.n_fft, self.hop) * self.window)
        return spectrum

    def inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        """Return the signal (…, `samples`) of a spectrogram (…, T, K)."""
        inside = slice(self.n_fft // 2, self.n_fft // 2 + samples)
        weight = self._summed(self.window.square().expand(spectrum.shape[-2], -1))
        return self._windowed(spectrum)[..., inside] / weight[inside]

    def overlapped(self, spectrum: Tensor) -> Tensor:
        """Return what frames (…, T, K) add to a signal: (…, T · hop + n_fft - hop)."""
        return self._windowed(spectrum) / self._constant

    def envelope(self, frames: int) -> Tensor:
        """Return what `overlapped` makes of a constant 1; 1 except at both ends."""
        return self._summed(self.window.square().expand(frames, -1)) / self._constant

    @property
    def _constant(self) -> float:
        """The sum of all squared windows at any sample."""
        return float(self.window.double().square().sum() / self.hop)

    def _windowed(self, spectrum: Tensor) -> Tensor:
        return self._summed(torch.fft.irfft(spectrum, self.n_fft) * self.window)

    def _summed(self, frames: Tensor) -> Tensor:
        """Sum frames (…, T, n_fft), each `hop` later than the previous one."""
        count, parts = frames.shape[-2], self.n_fft // self.hop
        total = frames.new_zeros(*frames.shape[:-2], count + parts - 1, self.hop)
        for part in range(parts):
            piece = frames[..., part * self.hop : (part + 1) * self.hop]
            total[..., part : part + count, :] += piece
        return total.flatten(-2)


def apply_masks(masks: Tensor, spectrum: Tensor) -> Tensor:
    """Multiply a complex spectrum by real masks, with broadcasting."""
    return torch.view_as_complex(torch.view_as_real(spectrum) * masks[..., None])


def band_positions(bins: int, bands: int) -> Tensor:
    """Return the positions of bins on a scale of bands: one band per bin below, logarithmic above.

    The positions, of shape (bins,), rise from 0 to `bands` - 1 in steps of at most 1.

    Examples
    --------
    >>> band_positions(4, 4)
    tensor([0., 1., 2., 3.])
    """
    if bands >= bins:
        return torch.arange(bins, dtype=torch.float32)
    low, high = 1e-3, 1e9  # bin where bands are twice as wide as at the bottom
    for _ in range(200):
        knee = math.sqrt(low * high)
        few = knee * math.log1p((bins - 1) / knee) < bands - 1
        low, high = (knee, high) if few else (low, knee)
    places = knee * torch.log1p(torch.arange(bins, dtype=torch.float64) / knee)
    return (places * ((bands - 1) / places[-1])).float()


class Bands(nn.Module):
    """Convert bins to fewer bands and back; the sum of masks over sources stays one."""

    positions: Tensor
    spread: Tensor
    pool: Tensor

    def __init__(self, bins: int, bands: int) -> None:
        super().__init__()
        self.count = min(bins, bands)
        positions = band_positions(bins, bands)
        distance = (positions[:, None] - torch.arange(self.count)[None, :]).abs()
        spread = (1 - distance).clamp(min=0)  # (K, W): each bin between its two nearest bands
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("spread", spread / spread.sum(1, keepdim=True), persistent=False)
        self.register_buffer("pool", spread / spread.sum(0, keepdim=True), persistent=False)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return mean magnitudes (…, T, W) from (…, T, K)."""
        return magnitude @ self.pool

    def to_bins(self, mask: Tensor) -> Tensor:
        """Return a mask (…, T, K) from one over bands (…, T, W)."""
        return mask @ self.spread.T


def cosine_basis(size: int, count: int) -> Tensor:
    """Return the first rows of the orthonormal DCT-II matrix, shape (count, size)."""
    rows = torch.arange(count, dtype=torch.float64)[:, None]
    columns = torch.arange(size, dtype=torch.float64)[None, :]
    basis = torch.cos(math.pi / size * (columns + 0.5) * rows) * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.float()


class Amalgamation(nn.Module):
    """The A2F features of "Audio Strips Network" (2026), section 3.3, one plane (T, W) each.

    A value of a whole frame becomes a plane over its bands. Centroid, roll-off and zero-crossing
    rate are frequencies: the plane is the distance of each band to them. The MFCC become their
    spectral envelope; the RMS is the same in all bands. `names` selects planes of `SPECTRAL` and
    `TEMPORAL`.
    """

    basis: Tensor
    places: Tensor

    def __init__(self, stft: TorchStft, bands: Bands, names: tuple[str, ...]) -> None:
        super().__init__()
        self.stft, self.bands, self.names = stft, bands, names
        self.register_buffer("basis", cosine_basis(bands.count, MFCCS), persistent=False)
        places = torch.arange(bands.count, dtype=torch.float32)
        self.register_buffer("places", places, persistent=False)

    def forward(self, mixture: Tensor, magnitude: Tensor) -> Tensor:
        """Return (B, P, T, W) from the mixture (B, C, N) and its magnitudes (B, C, T, K).

        The magnitude is the mean over the channels, so that they do not cancel each other.
        """
        bands = self.bands(magnitude.mean(dim=1) * (2 / self.stft.n_fft))
        planes = self._spectral(bands) if "magnitude" in self.names else {}
        if "zcr" in self.names:
            planes |= self._temporal(mixture.mean(dim=1))
        return torch.stack([planes[name].expand_as(bands) for name in self.names], dim=1)

    def _spectral(self, magnitude: Tensor) -> dict[str, Tensor]:
        """Return planes from band magnitudes (B, T, W)."""
        decibel = decibels(magnitude)
        total = magnitude.cumsum(dim=-1)
        below = (total < ROLLOFF * total[..., -1:]).sum(dim=-1, keepdim=True).float()
        centroid = (magnitude @ self.places)[..., None] / (total[..., -1:] + FLOOR)
        return {
            "magnitude": magnitude / (magnitude.amax(dim=-1, keepdim=True) + FLOOR),
            "decibel": decibel,
            "mfcc": decibel @ self.basis.T @ self.basis,
            "centroid": (self.places - centroid) / self.bands.count,
            "rolloff": (self.places - below) / self.bands.count,
        }

    def _temporal(self, mono: Tensor) -> dict[str, Tensor]:
        """Return planes from the waveform (B, N)."""
        n_fft, hop = self.stft.n_fft, self.stft.hop
        edge = (n_fft // 2, n_fft // 2 + -mono.shape[-1] % hop)
        energy = _frame_means(functional.pad(mono, edge).square(), n_fft, hop)
        crossed = (mono[..., 1:] >= 0) != (mono[..., :-1] >= 0)
        turns = functional.pad(crossed.float(), (edge[0] + 1, edge[1]))
        bins = _frame_means(turns, n_fft, hop) * (n_fft / 2)
        return {
            "zcr": (self.places - self._place(bins)[..., None]) / self.bands.count,
            "rms": decibels(energy.sqrt())[..., None],
        }

    def _place(self, bins: Tensor) -> Tensor:
        """Return the positions of frequencies, in bins, on the scale of bands."""
        positions = self.bands.positions
        return positions[bins.round().long().clamp(0, len(positions) - 1)]


def decibels(magnitude: Tensor) -> Tensor:
    """Return decibels scaled to about ±1: 0 dB is 1, -100 dB is -1.

    Examples
    --------
    >>> decibels(torch.tensor([1.0, 0.0])).round(decimals=2)
    tensor([ 1., -1.])
    """
    return 1 + torch.log10(magnitude.clamp(min=FLOOR)) * (20 / 50)


def _frame_means(signal: Tensor, size: int, hop: int) -> Tensor:
    """Return the mean of each frame of a signal (B, N): (B, T)."""
    return functional.avg_pool1d(signal[:, None], size, hop)[:, 0]
