"""Energies of a reference and an estimate, summed in float64, and their ratios.

A silent reference gives NaN. A silent estimate gives 0 dB of SNR, and −inf for ratios whose upper
energy is of the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio, Float64, check_pair
from harness.metrics.engine import kernel

SAFE = 1e-7  # a difference of energies this small against them has lost half its digits
DEPENDENT = 1e-12  # eigenvalues this small against the largest one count as zero
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
    mixture_own: float = float("nan")  # |Pj|² of the mixture instead of the estimate
    #: ⟨·,·⟩ of x, the other references and e over the whole track, shape (references + 1,) twice
    among: Float64 = field(default_factory=lambda: np.empty((0, 0)))
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
        residual = _residual([reference], estimate, [xe / xx])
    return float(db(xe**2 / xx, residual if residual > ROUNDING * ee else 0.0))


def si_sir_of(energies: Energies, references: Sequence[Audio], estimate: Audio) -> float:
    """SI-SIR from energies, see `scaled_parts`."""
    target, interference, _ = scaled_parts(energies, references, estimate)
    return float(db(target, interference)) if energies.total[0] > 0 else float("nan")


def si_sar_of(energies: Energies, references: Sequence[Audio], estimate: Audio) -> float:
    """SI-SAR from energies, see `scaled_parts`."""
    target, _, artifacts = scaled_parts(energies, references, estimate)
    return float(db(target, artifacts)) if energies.total[0] > 0 else float("nan")


def scaled_parts(
    energies: Energies, references: Sequence[Audio], estimate: Audio
) -> tuple[float, float, float]:
    """Energies of an estimate's target αx, interference and artifacts, which add up to its own.

    The interference is the part of e − αx in the span of all references, each with one scale for
    the whole track and all channels; the artifacts are the rest. `references` has x first, as
    `Energies.among` has.
    """
    xx, ee, dd, xe = energies.total
    if xx == 0 or ee == 0:
        return 0.0, 0.0, 0.0
    target, residual = xe**2 / xx, dd - (xx - xe) ** 2 / xx
    if residual < SAFE * max(ee, dd):
        residual = _residual([references[0]], estimate, [xe / xx])
    if residual <= ROUNDING * ee:
        return target, 0.0, 0.0
    gram, cross = energies.among[:-1, :-1], energies.among[:-1, -1]
    beside = cross - gram[:, 0] * (xe / xx)  # ⟨reference, e − αx⟩
    beside[0] = 0  # without the rounding
    inverse = inverted(gram)
    interference = float(beside @ inverse @ beside)
    artifacts = residual - interference
    if artifacts < SAFE * max(ee, dd):
        artifacts = _residual(references, estimate, (inverse @ cross).tolist())
    return target, max(interference, 0.0), artifacts if artifacts > ROUNDING * ee else 0.0


def inverted(gram: Float64) -> Float64:
    """Invert Gram matrices of references, shape (…, references, references).

    What depends on other references, or is silent, is treated as `numpy.linalg.pinv` does.
    """
    size = np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 0))
    size = np.where(size > 0, size, 1)
    scales = size[..., :, None] * size[..., None, :]
    return np.asarray(np.linalg.pinv(gram / scales, rcond=DEPENDENT, hermitian=True) / scales)


def of_mixture(among: Float64, own: float) -> dict[str, tuple[float, float]]:
    """Return the energies above and below the fraction bars of the mixture's scores.

    Keys are ``snr``, ``sdr``, ``si_sdr``. The mixture is the sum of the references, whose inner
    products are `among`, the stem's own first; `own` is `Energies.mixture_own`.
    """
    xx, mm, xm = float(among[0, 0]), float(among.sum()), float(among[0].sum())
    dd = float(among[1:, 1:].sum())
    inside = xm**2 / xx
    residual = max(dd - (xx - xm) ** 2 / xx, 0.0)
    return {"snr": (xx, dd), "sdr": (own, max(mm - own, 0.0)), "si_sdr": (inside, residual)}


def improvement(metric: str, value: float, energies: Energies) -> float:
    """Return how much higher a score is than the mixture's; NaN if the mixture is perfect."""
    above, below = of_mixture(energies.among[:-1, :-1], energies.mixture_own)[metric]
    return value - float(db(above, below)) if below > 0 else float("nan")


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


def _residual(references: Sequence[Audio], estimate: Audio, scales: Sequence[float]) -> float:
    """‖e − Σ scale·reference‖², piece by piece."""
    energy = 0.0
    for start in range(0, estimate.shape[1], PIECE):
        part = slice(start, start + PIECE)
        rest = estimate[:, part].astype(np.float64)
        for reference, scale in zip(references, scales, strict=True):
            rest -= scale * reference[:, part]
        energy += float(np.vdot(rest, rest))
    return energy
