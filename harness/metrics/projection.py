"""Least-squares projection of estimates on delayed copies of reference channels.

The normal equations need only correlations: the Gram matrix of the delayed references (block
Toeplitz, factorised once) and the cross-correlations with each estimate. No signal is filtered.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, rfft
from scipy.linalg import LinAlgError, cholesky, solve_triangular
from scipy.linalg.lapack import dpstrf

from harness.audio import Audio

Float64 = npt.NDArray[np.float64]

TAPS = 512  # BSS Eval's filter length
N_FFT = 4096  # of the blocks in which correlations are summed
RANK_TOLERANCE = 1e-14  # pivots below this part of the largest are dependent directions


class Projection:
    """The space of all delays 0 … 511 of some reference channels.

    Parameters
    ----------
    reference
        Shape (channels, samples). Channels that are zero or proportional to an earlier one add
        nothing to the space and are left out, exactly.

    Attributes
    ----------
    conditioning
        Smallest pivot of the Gram matrix against its largest; near 1e-16 the filters (not the
        projection's energy) are arbitrary.
    """

    def __init__(self, reference: Audio) -> None:
        self._channels = reference[independent_channels(reference)]
        self._factor, self._order, self.conditioning = _factorise(_gram(self._channels))

    def energy(self, estimate: Audio) -> tuple[float, float]:
        """Energy of the projection of all channels of `estimate`, and of what is left of them."""
        d = correlate(estimate, self._channels)  # (estimate channels, own channels, lags)
        rhs = d.transpose(2, 1, 0).reshape(-1, len(estimate))[self._order]
        y = solve_triangular(self._factor, rhs, lower=True, check_finite=False)
        inside = float(np.sum(y**2))
        total = float(np.sum(np.square(estimate, dtype=np.float64)))
        return inside, max(total - inside, 0.0)


def independent_channels(reference: Audio) -> list[int]:
    """List the channels that are neither zero nor exactly proportional to an earlier one.

    Examples
    --------
    >>> independent_channels(np.array([[1, 2], [2, 4], [0, 0], [1, 0]], np.float32))
    [0, 3]
    """
    kept: list[int] = []
    for index, channel in enumerate(reference):
        if channel.any() and not any(_proportional(reference[k], channel) for k in kept):
            kept.append(index)
    return kept


def correlate(leading: Audio, delayed: Audio) -> Float64:
    """Cross-correlations Σ_t leading[a, t]·delayed[b, t−lag] for the lags 0 … 511.

    Returns
    -------
    ndarray
        Shape (len(leading), len(delayed), 512).
    """
    hop = N_FFT - TAPS + 1
    total = np.zeros((len(leading), len(delayed), N_FFT // 2 + 1), np.complex128)
    for first in range(0, leading.shape[1], 32 * hop):
        a = rfft(_blocks(leading, first, hop, 0), N_FFT)
        b = rfft(_blocks(delayed, first, hop, TAPS - 1), N_FFT)
        total += np.einsum("abk,cbk->ack", a, b.conj(), optimize=True)
    lags = irfft(total, N_FFT)[..., -(TAPS - 1) :]  # lag l sits at l − 511, modulo the length
    return np.concatenate([lags, irfft(total, N_FFT)[..., :1]], axis=-1)


def _blocks(signal: Audio, first: int, hop: int, history: int) -> Float64:
    """Up to 32 blocks of `hop` samples, each with the `history` samples before it."""
    start, stop = first - history, min(first + 32 * hop, signal.shape[1])
    part = signal[:, max(start, 0) : stop].astype(np.float64)
    count = -(-(stop - first) // hop)
    missing = (max(-start, 0), count * hop + history - part.shape[1] - max(-start, 0))
    part = np.pad(part, ((0, 0), missing))
    windows = np.lib.stride_tricks.sliding_window_view(part, hop + history, axis=1)
    return windows[:, ::hop]


def _gram(channels: Audio) -> Float64:
    """Gram matrix of the delayed channels; index lag·channels + channel, shape (n, n)."""
    n = len(channels)
    r = correlate(channels, channels)  # r[a, b, l] = ⟨a(t), b(t−l)⟩
    lags = np.arange(TAPS)
    difference = lags[:, None] - lags[None, :]  # a delayed by i against b delayed by j: j − i
    forward = r[:, :, np.abs(difference)]
    gram = np.where(difference <= 0, forward, forward.transpose(1, 0, 2, 3))
    return gram.transpose(2, 0, 3, 1).reshape(n * TAPS, n * TAPS)


def _factorise(gram: Float64) -> tuple[Float64, npt.NDArray[np.intp], float]:
    """Cholesky factor, the order of its rows, and its smallest pivot against its largest."""
    if not len(gram):
        return gram, np.arange(0), 0.0
    try:
        factor = cholesky(gram, lower=True, check_finite=False)
        order, rank = np.arange(len(gram)), len(gram)
    except LinAlgError:
        factor, piv, rank, _ = dpstrf(gram, tol=RANK_TOLERANCE * gram.diagonal().max(), lower=1)
        order = (piv - 1)[:rank]
    factor = np.tril(factor[:rank, :rank])
    pivots = factor.diagonal() ** 2
    return factor, order, float(pivots.min() / pivots.max()) if rank else 0.0


def _proportional(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]) -> bool:
    """Whether y is a multiple of x in every bit that float32 keeps."""
    peak = int(np.argmax(np.abs(x)))
    scale = np.float64(y[peak]) / np.float64(x[peak])
    if not np.isclose(scale * x[: 1 << 12], y[: 1 << 12], rtol=1e-6, atol=0).all():
        return False
    return bool(np.array_equal((scale * x.astype(np.float64)).astype(np.float32), y))
