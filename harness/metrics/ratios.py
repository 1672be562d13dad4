"""Energies of a reference and an estimate, summed in float64, and their ratios.

A silent reference gives NaN. A silent estimate gives 0 dB of SNR, and −inf for ratios whose upper
energy is of the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio, Float64, check_pair
from harness.metrics.engine import kernel

SAFE = 1e-7  # a difference of energies this small against them has lost half its digits
ROUNDING = 1e-30  # energy of what float64 leaves of an exactly scaled copy
PIECE = 1 << 16  # samples summed at a time, so that the copies in float64 stay in the cache

_absent = partial(np.empty, 0)


@dataclass(frozen=True)
class Energies:
    """Energies of a reference x and its estimate e, added up over their channels.

    Pj is the projection of e on 512 delays of x, and P that on 512 delays of all references, with
    one set of filters for the whole track. What was not computed is NaN or empty.
    """

    xx: Float64  # ⟨x,x⟩ per frame, shape (frames,), as all arrays here
    ee: Float64  # ⟨e,e⟩
    dd: Float64  # ⟨x−e,x−e⟩
    total: tuple[float, float, float, float]  # ⟨x,x⟩, ⟨e,e⟩, ⟨x−e,x−e⟩, ⟨x,e⟩ of the whole track
    whole_own: float = float("nan")  # |Pj|² of the whole track
    whole_projected: float = float("nan")  # |P|² of the whole track
    own: Float64 = field(default_factory=_absent)  # |Pj|²
    spatial: Float64 = field(default_factory=_absent)  # |Pj−x|²
    interference: Float64 = field(default_factory=_absent)  # |P−Pj|²
    projected: Float64 = field(default_factory=_absent)  # |P|²
    artifacts: Float64 = field(default_factory=_absent)  # |P−e|²


def db(numerator: npt.ArrayLike, denominator: npt.ArrayLike) -> Float64:
    """10·log10 of a ratio of energies: inf for x/0, −inf for 0/x and for 0/0.

    Examples
    --------
    >>> db([10.0, 1.0, 0.0], [1.0, 0.0, 0.0]).tolist()
    [10.0, inf, -inf]
    """
    num, den = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(num > 0, 10 * np.log10(num / den), -np.inf)


def frame_bounds(n_samples: int, window: int, hop: int) -> list[tuple[int, int]]:
    """First and last+1 sample of each frame; a partial frame at the end is not scored.

    A signal shorter than one window is one frame (museval's rule).

    Examples
    --------
    >>> frame_bounds(10, 4, 4), frame_bounds(3, 4, 4)
    ([(0, 4), (4, 8)], [(0, 3)])
    """
    if n_samples <= window:
        return [(0, n_samples)]
    return [(start, start + window) for start in range(0, n_samples - window + 1, hop)]


def frame_energies(reference: Audio, estimate: Audio, window: int, hop: int) -> Energies:
    """Compute all energies that need no filter; `window` and `hop` in samples."""
    n_samples = reference.shape[1]
    bounds = frame_bounds(n_samples, window, hop)
    frames = np.array([inner_products(reference, estimate, a, b) for a, b in bounds])
    if window == hop:
        rest = inner_products(reference, estimate, bounds[-1][1], n_samples)
        total = frames.sum(axis=0) + rest
    else:
        pieces = range(0, n_samples, PIECE)
        total = sum(inner_products(reference, estimate, a, a + PIECE) for a in pieces)
    xx, ee, dd, xe = (float(value) for value in total)
    return Energies(frames[:, 0], frames[:, 1], frames[:, 2], (xx, ee, dd, xe))


def snr(reference: Audio, estimate: Audio) -> float:
    """Signal-to-noise ratio 10·log10(Σx²/Σ(x−x̂)²) in dB over the whole track and all channels.

    This is the "SDR" of the MDX and SDX challenges and of MVSEP. A silent reference gives NaN, a
    perfect estimate inf.

    Examples
    --------
    >>> x = np.array([[1.0, -1.0]], np.float32)
    >>> round(snr(x, 0.9 * x), 4)
    20.0
    """
    check_pair(reference, estimate, "snr")
    return snr_of(frame_energies(reference, estimate, PIECE, PIECE))


def si_sdr(reference: Audio, estimate: Audio) -> float:
    """Scale-invariant SDR in dB, one scale for the whole track and all channels.

    Le Roux, Wisdom, Erdogan and Hershey, "SDR – half-baked or well done?", ICASSP 2019.

    Examples
    --------
    >>> x = np.array([[1.0, -1.0, 0.0]], np.float32)
    >>> si_sdr(x, 0.5 * x)
    inf
    """
    check_pair(reference, estimate, "si_sdr")
    return si_sdr_of(frame_energies(reference, estimate, PIECE, PIECE), reference, estimate)


def csdr(reference: Audio, estimate: Audio, sample_rate: int) -> float:
    """BSS Eval v4 SDR (museval's "SDR") in dB: the median over 1 s frames of the frame's SNR.

    Frames in which the reference is silent are left out; a silent estimate has 0 dB.
    """
    check_pair(reference, estimate, "csdr")
    energies = frame_energies(reference, estimate, sample_rate, sample_rate)
    sounding = energies.xx > 0
    return median_of(db(energies.xx[sounding], energies.dd[sounding]))


def snr_of(energies: Energies) -> float:
    """SNR from energies."""
    xx, _, dd, _ = energies.total
    return float(db(xx, dd)) if xx > 0 else float("nan")


def si_sdr_of(energies: Energies, reference: Audio, estimate: Audio) -> float:
    """SI-SDR from energies; the signals are read again only where those would cancel."""
    xx, ee, dd, xe = energies.total
    if xx == 0:
        return float("nan")
    if ee == 0:
        return -float("inf")
    residual = dd - (xx - xe) ** 2 / xx  # of x−e, whose part along x is (1−α)x
    if residual < SAFE * max(ee, dd):
        residual = _residual(reference, estimate, xe / xx)
    return float(db(xe**2 / xx, residual if residual > ROUNDING * ee else 0.0))


def sdr_of(energies: Energies) -> float:
    """BSS Eval v3 SDR from energies that include the projection on the stem's own delays."""
    _, ee, dd, _ = energies.total
    own = energies.whole_own
    return float(db(own, max(ee - own, 0.0))) if dd else float("inf")


def median_of(frames: Float64) -> float:
    """Median of frames, see `medians_of`."""
    return float(medians_of(frames[None])[0])


def medians_of(frames: Float64) -> Float64:
    """Median of each row of (rows, frames), which may be infinite; NaN without any frame.

    Examples
    --------
    >>> medians_of(np.array([[1.0, np.inf, np.inf]]))
    array([inf])
    """
    n = frames.shape[1]
    if n == 0:
        return np.full(len(frames), np.nan)
    middle = [(n - 1) // 2, n // 2]
    low, high = np.partition(frames, middle, axis=1)[:, middle].T
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(low == high, low, (low + high) / 2))


def inner_products(reference: Audio, estimate: Audio, start: int, stop: int) -> Float64:
    """⟨x,x⟩, ⟨e,e⟩, ⟨x−e,x−e⟩ and ⟨x,e⟩ over all channels of one stretch."""
    pairs = zip(reference[:, start:stop], estimate[:, start:stop], strict=True)
    return np.asarray(np.sum([kernel.inner_products(x, e) for x, e in pairs], axis=0))


def _residual(reference: Audio, estimate: Audio, scale: float) -> float:
    """‖e − scale·x‖², piece by piece."""
    energy = 0.0
    for start in range(0, reference.shape[1], PIECE):
        part = slice(start, start + PIECE)
        rest = (estimate[:, part].astype(np.float64) - scale * reference[:, part]).ravel()
        energy += float(rest @ rest)
    return energy
