"""Metrics of attacks, for drums: whether the hits are there, and begin as sharply.

Onsets are peaks of a spectral flux of our own. A track has windows of about 46 ms, one per 10 ms.
Magnitudes of all channels are summed in six bands per octave and compressed by ln(1 + 100·a/m),
where m is the loudest band of the *reference*: what is 40 dB below it hardly counts. The flux is
the mean over the bands of their rise within 20 ms. A peak is the largest value within 30 ms, and
`RISE` above the mean of the 100 ms around it. See Böck and Widmer, "Maximum filter vibrato
suppression for onset detection", 2013.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy  # which imports its parts when they are first used

from harness.core.audio import Audio, Float64

TOLERANCE = 0.05  # s, between onsets that count as one
HOP = 0.01  # s
WINDOW = 0.046  # s, rounded to a power of two in samples
LOWEST, PER_OCTAVE = 30.0, 6  # Hz of the lowest band, and bands
COMPRESSION = 100.0
LAG = 2  # frames
APART = 3  # frames on each side of a peak without a larger value
AROUND = 10  # frames of the mean that a peak is above
RISE = 0.1
ATTACK = 0.01  # s
DEPTH = 1e-3  # energy that is added before and after an attack, of that after it: 30 dB
PIECE = 1024  # frames transformed at a time


def onset_f(reference: Audio, estimate: Audio, sample_rate: int) -> float:
    """F-measure of the estimate's onsets, 0 to 1; NaN if the reference has none.

    That of ``mir_eval.onset.f_measure`` on the onsets of this module, see `f_measure`. Signals have
    shape (channels, samples).
    """
    true, found = onsets((reference, estimate), sample_rate)
    return f_measure(true, found) if len(true) else float("nan")


def attack_slope(reference: Audio, estimate: Audio, sample_rate: int) -> float:
    """How differently the estimate's hits begin, in dB, from 0; NaN if the reference has no onset.

    The median over the reference's onsets of the absolute difference between the two rises. A rise
    is the energy in the 10 ms after the attack over that in the 10 ms before, at most 30 dB. The
    attack of an onset is where the reference rises most, to the sample. Signals have shape
    (channels, samples).
    """
    (true,) = onsets((reference,), sample_rate)
    length = round(ATTACK * sample_rate)
    x, y = (_energy_until(signal, length) for signal in (reference, estimate))
    at = [_attack(x, round(onset * sample_rate), length, sample_rate) for onset in true]
    if not at:
        return float("nan")
    return float(np.median([abs(_rise(y, t, length) - _rise(x, t, length)) for t in at]))


def f_measure(reference: Float64, estimate: Float64, window: float = TOLERANCE) -> float:
    """F-measure of onsets in s, sorted: two match if they are at most `window` apart, each once.

    The largest matching, as in mir_eval 0.8. 0 without any match, also if both are empty.

    Examples
    --------
    >>> f_measure(np.array([1.0, 2.0, 3.0]), np.array([1.01, 2.0, 2.5, 3.04]))  # 2·3/(3+4)
    0.8571428571428571
    """
    hits = i = j = 0
    while i < len(reference) and j < len(estimate):
        if reference[i] < estimate[j] - window:
            i += 1
        elif reference[i] > estimate[j] + window:
            j += 1
        else:
            hits, i, j = hits + 1, i + 1, j + 1
    if not hits:
        return 0.0
    precision, recall = hits / len(estimate), hits / len(reference)
    return 2 * precision * recall / (precision + recall)


def onsets(signals: tuple[Audio, ...], sample_rate: int) -> list[Float64]:
    """Return the onsets of each signal in s; loudness is that of the first, the reference."""
    levels = [_bands(signal, sample_rate) for signal in signals]
    loudest = float(levels[0].max(initial=0))
    if not loudest:
        return [np.empty(0) for _ in signals]
    return [np.asarray(_peaks(level / loudest) * HOP, np.float64) for level in levels]


def _bands(signal: Audio, sample_rate: int) -> Float64:
    """Magnitudes of bands, the channels' sum, shape (frames, bands)."""
    size = 2 ** round(np.log2(WINDOW * sample_rate))
    centers = np.round(np.arange(0, signal.shape[1], HOP * sample_rate)).astype(np.intp)
    padded = np.pad(signal, ((0, 0), (size // 2, 0)))  # silence, so that a first hit is one
    padded = np.pad(padded, ((0, 0), (0, size // 2)), mode="symmetric")  # no click at the end
    cut = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)
    octaves = np.arange(0, np.log2(sample_rate / 2 / LOWEST), 1 / PER_OCTAVE)
    edges = np.unique(np.round(LOWEST * 2**octaves * size / sample_rate).astype(np.intp))
    window, found = np.hanning(size).astype(np.float32), []
    for start in range(0, len(centers), PIECE):
        spectra = scipy.fft.rfft(cut[:, centers[start : start + PIECE]] * window, overwrite_x=True)
        found.append(np.add.reduceat(np.abs(spectra).sum(axis=0), edges, axis=1))
    return np.concatenate(found).astype(np.float64)


def _peaks(levels: Float64) -> npt.NDArray[np.intp]:
    """Return the frames in which the flux has peaks; the track begins after silence."""
    heard = np.log1p(COMPRESSION * np.pad(levels, ((LAG, 0), (0, 0))))
    flux = np.maximum(heard[LAG:] - heard[:-LAG], 0).mean(axis=1)
    largest = scipy.ndimage.maximum_filter1d(flux, 2 * APART + 1, mode="constant")
    usual = scipy.ndimage.uniform_filter1d(flux, 2 * AROUND + 1, mode="constant")
    found = np.flatnonzero((flux == largest) & (flux > usual + RISE))
    later = np.diff(found, prepend=-APART - 1) > APART  # of equal values the first
    return found[later]


def _energy_until(signal: Audio, more: int) -> Float64:
    """Energy of all samples before each one, with `more` samples of silence at each end."""
    power = (signal.astype(np.float64) ** 2).sum(axis=0)
    return np.concatenate([[0.0], np.cumsum(np.pad(power, (more, more)))])


def _parts(until: Float64, at: npt.ArrayLike, length: int) -> tuple[Float64, Float64]:
    """Energy before and after samples, `length` samples each."""
    i = np.asarray(at) + length
    return until[i] - until[i - length], until[i + length] - until[i]


def _attack(until: Float64, near: int, length: int, sample_rate: int) -> int:
    """Return the sample within 30 ms of an onset before and after which energies differ most."""
    reach = round(APART * HOP * sample_rate)
    last = len(until) - 2 * length - 1
    at = np.arange(max(0, near - reach), min(last, near + reach) + 1)
    before, after = _parts(until, at, length)
    return int(at[np.argmax(after / (before + DEPTH * after.max(initial=0)))])


def _rise(until: Float64, at: int, length: int) -> float:
    """Return the rise at a sample in dB, within ±30; 0 in silence."""
    before, after = _parts(until, at, length)
    high, low = max(before, after), min(before, after)
    if not high > 0:
        return 0.0
    rise = 10 * np.log10((1 + DEPTH) / (low / high + DEPTH))
    return float(rise if after >= before else -rise)
