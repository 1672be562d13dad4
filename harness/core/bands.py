"""Frequency bands that sum to the signal, and weights per band.

Bands are differences of neighboring zero-phase low-passes (a sinc under a Hann window).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from harness.core.audio import Audio

Weight = float | tuple[float, ...]  # the same in all bands, or one per band

EDGES = (400.0, 1600.0, 6400.0)  # Hz; octaves gain at most 0.1 dB more, at twice the work
HALF = 0.025  # seconds, half of a filter: bands overlap by some 60 Hz
PIECE, LEAST = 1 << 18, 1 << 15  # samples per block: of all signals; of each at least


def low_passes(sample_rate: int, edges: Sequence[float]) -> Audio:
    """Return one low-pass per edge, shape (edges, taps); edges are in Hz, in increasing order.

    A low-pass above half the sample rate changes nothing.
    """
    half = round(HALF * sample_rate)
    times, window = np.arange(-half, half + 1), np.hanning(2 * half + 3)[1:-1]
    taps = [np.sinc(min(2 * edge / sample_rate, 1) * times) * window for edge in edges]
    return np.array([low / low.sum() for low in taps], np.float32)


def split(signals: Sequence[Audio], taps: Audio) -> Iterator[Audio]:
    """Split signals of equal length into bands that sum to them, block by block in time.

    `taps` are from `low_passes`. Yields shape (bands, signals, channels, samples of the block).
    """
    from scipy.signal import oaconvolve  # slow to import, and rarely needed

    half, n_samples = taps.shape[1] // 2, signals[0].shape[1]
    step = max(LEAST, PIECE // len(signals))
    for start in range(0, n_samples, step):
        stop = min(start + step, n_samples)
        first, last = max(start - half, 0), min(stop + half, n_samples)
        around = half - (start - first), half - (last - stop)
        piece = np.stack([signal[:, first:last] for signal in signals]).astype(np.float32)
        piece = np.pad(piece, ((0, 0), (0, 0), around))
        lows = oaconvolve(piece[None], taps[:, None, None], mode="valid", axes=3)
        inside = piece[None, ..., half : half + stop - start]
        yield np.diff(np.concatenate([lows, inside]), axis=0, prepend=np.float32(0))


def weighted(signal: Audio, sample_rate: int, edges: Sequence[float], weights: Weight) -> Audio:
    """Return the sum of a signal's bands, each times its weight; shape (channels, samples)."""
    each = np.broadcast_to(np.asarray(weights, np.float32), len(edges) + 1)
    taps = low_passes(sample_rate, edges)
    return np.concatenate([np.tensordot(each, p[:, 0], 1) for p in split([signal], taps)], axis=1)


def in_words(weight: Weight, form: str = ".3g") -> str:
    """Write a weight, or the weights of all bands, the lowest first: ``0.5/0.25/0``."""
    return "/".join(format(w, form) for w in (weight if isinstance(weight, tuple) else (weight,)))
