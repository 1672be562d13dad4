"""Check estimates before they are scored; what looks wrong is reported and never changed.

The output of a working separator is in time, in phase and near the level of its reference.
Otherwise a reader, a resampler or a wrong file name is usually the cause.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from harness.core.audio import Audio, Float64

EXCERPT = 10.0  # seconds around the loudest part
REACH = 1.0  # largest offset searched for, in seconds
COARSE = 8  # samples added up for a first, coarse search
ALIKE = 0.6  # least correlation of two signals that are the same music
BETTER = 0.1  # an offset must raise the correlation by this much
ANOTHER = 0.8, 0.3  # at least this correlation with another stem, at most this with its own
GAIN = 6.0  # dB, largest difference in level that is not reported


def suspicions(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], sample_rate: int
) -> dict[str, str]:
    """Find estimates that are late or early, inverted, at a wrong level, or another stem.

    References and estimates have equal shapes (channels, samples). The result is stem → what looks
    wrong, empty if nothing does.

    Examples
    --------
    >>> x = np.random.default_rng(1).standard_normal((1, 8000)).astype(np.float32)
    >>> suspicions({"bass": x}, {"bass": -np.roll(x, 20)}, 8000)
    {'bass': '2.5 ms late; polarity inverted'}
    """
    found = {}
    for stem in (stem for stem in estimates if stem in references):
        part = _loudest(references[stem], sample_rate)
        mono = {name: _mono(signal[:, part]) for name, signal in references.items()}
        x, e = mono.pop(stem), _mono(estimates[stem][:, part])
        words = _timing_and_level(x, e, sample_rate) if x.any() and e.any() else []
        found[stem] = "; ".join(words + _another(x, e, mono))
    return found


def _timing_and_level(x: Float64, e: Float64, sample_rate: int) -> list[str]:
    """Words on offset, polarity and gain."""
    offset, alike, gain = _best_offset(x, e, round(REACH * sample_rate))
    if abs(alike) < ALIKE:
        return []
    level, side = 20 * float(np.log10(abs(gain))), "late" if offset > 0 else "early"
    words = [f"{abs(offset) / sample_rate * 1e3:.1f} ms {side}"] if offset else []
    words += ["polarity inverted"] if alike < 0 else []
    return [*words, f"level {level:+.1f} dB"] if abs(level) > GAIN else words


def _best_offset(x: Float64, e: Float64, reach: int) -> tuple[int, float, float]:
    """Find how many samples e is late, the correlation at that offset, and the gain from x to e."""
    starts = np.arange(0, len(x), COARSE)
    coarse_x, coarse_e = (np.add.reduceat(signal, starts) for signal in (x, e))
    reach_coarse = min(reach // COARSE, len(coarse_x) - 1)
    n = next_fast_len(len(coarse_x) + reach_coarse + 1, real=True)
    lags = irfft(rfft(coarse_e, n) * rfft(coarse_x, n).conj(), n)
    lags = np.concatenate([lags[n - reach_coarse :], lags[: reach_coarse + 1]])
    near = COARSE * (int(np.argmax(np.abs(lags))) - reach_coarse)
    tries = [*range(near - COARSE, near + COARSE + 1), 0]
    alike, best = max((abs(_alike(x, e, lag)), lag) for lag in tries if abs(lag) < len(x))
    if alike < abs(_alike(x, e, 0)) + BETTER:
        best = 0
    head, tail = _aligned(x, e, best)
    gain = float(head @ tail) / max(float(head @ head), 1e-300)
    return best, _alike(x, e, best), gain


def _another(x: Float64, e: Float64, others: Mapping[str, Float64]) -> list[str]:
    """Words on an estimate that is more like another stem."""
    least, most = ANOTHER
    if abs(_alike(x, e, 0)) > most:
        return []
    return [f"resembles {name}" for name, y in others.items() if abs(_alike(y, e, 0)) > least]


def _alike(x: Float64, e: Float64, lag: int) -> float:
    """Correlation coefficient of x with e, which is `lag` samples late."""
    x, e = _aligned(x, e, lag)
    norm = float(np.sqrt((x @ x) * (e @ e)))
    return float(x @ e) / norm if norm else 0.0


def _aligned(x: Float64, e: Float64, lag: int) -> tuple[Float64, Float64]:
    """Return the overlap of x and e, which is `lag` samples late."""
    length = len(x) - abs(lag)
    return x[max(-lag, 0) :][:length], e[max(lag, 0) :][:length]


def _mono(signal: Audio) -> Float64:
    """Sum of the channels, or the first channel if they cancel."""
    total: Float64 = signal.sum(axis=0, dtype=np.float64)
    return total if total.any() else signal[0].astype(np.float64)


def _loudest(signal: Audio, sample_rate: int) -> slice:
    """Find the excerpt with the most energy, on a grid of whole seconds."""
    length = round(EXCERPT * sample_rate)
    if signal.shape[1] <= length:
        return slice(0, signal.shape[1])
    power = np.square(signal[:, ::COARSE]).sum(axis=0)
    seconds = np.add.reduceat(power, np.arange(0, len(power), max(sample_rate // COARSE, 1)))
    start = int(np.argmax(np.convolve(seconds, np.ones(round(EXCERPT)), "valid"))) * sample_rate
    return slice(start, start + length)
