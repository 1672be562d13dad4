"""What repeats in a spectrogram: similar frames, the period, and medians over both."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage

from harness.separators import progress
from harness.separators.spectral import BLOCK_FRAMES, TINY, Magnitude

Indices = npt.NDArray[np.intp]

PEAK_SHIFT = 2  # frames by which a repetition may be early or late
MEL_BANDS = 40


def similar_background(
    magnitude: Magnitude,
    features: Magnitude,
    *,
    count: int,
    apart: int = 0,
    exclude: int = 0,
    threshold: float = 0.0,
) -> Magnitude:
    """Replace each frame by the median of the frames most similar to it.

    Similarity is the cosine between feature frames. It is computed block by block, because for a
    long track the whole matrix does not fit in memory.

    Parameters
    ----------
    magnitude
        Shape (frames, bins).
    features
        Shape (frames, features), for the similarity.
    count
        Largest number of similar frames.
    apart
        Similar frames are more than this many frames apart (only local maxima of the similarity
        count); 0 allows neighbours.
    exclude
        Frames nearer than this to the frame itself do not count; 0 counts the frame itself.
    threshold
        Least similarity.

    Returns
    -------
    Magnitude
        Shape (frames, bins); a frame without similar frames stays as it is.

    References
    ----------
    Rafii and Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012.
    """
    norm = np.sqrt(np.einsum("tf,tf->t", features, features))
    unit = features / np.maximum(norm, TINY)[:, np.newaxis]
    out = np.empty_like(magnitude)
    for first in progress.each(range(0, len(unit), BLOCK_FRAMES)):
        similarity = unit[first : first + BLOCK_FRAMES] @ unit.T
        if exclude:
            _forget_neighbours(similarity, first, exclude)
        wanted = similarity >= threshold
        if apart:
            width = 2 * apart + 1
            wanted &= similarity == scipy.ndimage.maximum_filter1d(similarity, width, axis=1)
        for row in range(len(similarity)):
            chosen = _best(similarity[row], np.flatnonzero(wanted[row]), count)
            if len(chosen) == 0:
                chosen = np.array([first + row])
            out[first + row] = _median(magnitude[chosen])
    return out


def periodic_background(magnitude: Magnitude, period: int) -> Magnitude:
    """Replace each frame by the median of all frames at a whole number of periods from it.

    The magnitude has the shape (frames, bins); the period is in frames.
    """
    out = np.empty_like(magnitude)
    for phase in progress.each(range(min(period, len(magnitude)))):
        out[phase::period] = _median(magnitude[phase::period])
    return out


def beat_spectrum(magnitude: Magnitude) -> npt.NDArray[np.float64]:
    """Return the self-similarity of the power spectrogram by lag in frames; 1 at lag 0.

    It is the autocorrelation of each bin over time, averaged over the bins. Each lag is divided by
    its number of frame pairs.
    """
    n_frames, n_bins = magnitude.shape
    total = np.zeros(n_frames)
    for first in progress.each(range(0, n_bins, BLOCK_FRAMES // 4)):
        power = magnitude[:, first : first + BLOCK_FRAMES // 4].astype(np.float64) ** 2
        size = scipy.fft.next_fast_len(2 * n_frames, real=True)
        density = np.abs(scipy.fft.rfft(power, size, axis=0)) ** 2
        total += scipy.fft.irfft(density.sum(axis=1), size)[:n_frames]
    total /= np.arange(n_frames, 0, -1)
    return total / total[0] if total[0] > 0 else total


def repeating_period(beat: npt.NDArray[np.float64], shortest: int, longest: int) -> int:
    """Return the period, in frames, with the most prominent multiples in the beat spectrum.

    A multiple counts if the highest value within three quarters of a period is within two frames of
    it; it counts by its height above the surroundings. The last quarter of the lags is too noisy to
    use, and a period must fit three times in the rest.

    Parameters
    ----------
    beat
        From `beat_spectrum`.
    shortest, longest
        Search range, in frames; limited by the signal's length.

    References
    ----------
    Rafii and Pardo, "REpeating Pattern Extraction Technique (REPET)", IEEE TASLP 21(1), 2013,
    algorithm 1.
    """
    usable = beat[: max(3 * len(beat) // 4, 1)]
    last = max(min(longest, len(usable) // 3), 1)
    periods = range(min(shortest, last), last + 1)
    return max(periods, key=lambda period: _prominence(usable, period))


def cepstra(magnitude: Magnitude, sample_rate: int, count: int = 20) -> Magnitude:
    """Return mel-frequency cepstral coefficients, each without its mean over the track.

    Their shape is (frames, count), from magnitudes (frames, bins); the zeroth one is included.
    """
    bank = _mel_bank(magnitude.shape[1], sample_rate)
    energy = np.empty((len(magnitude), MEL_BANDS), np.float32)
    for first in range(0, len(magnitude), BLOCK_FRAMES):
        block = slice(first, first + BLOCK_FRAMES)
        energy[block] = magnitude[block] ** 2 @ bank
    floor = np.float32(1e-8) * max(float(energy.max()), float(TINY))  # 80 dB below the peak
    found = scipy.fft.dct(np.log(np.maximum(energy, floor)), norm="ortho")[:, :count]
    return np.asarray(found - found.mean(axis=0), np.float32)


def _forget_neighbours(similarity: Magnitude, first: int, exclude: int) -> None:
    """Set the similarity of frames nearer than `exclude` to minus infinity, in place."""
    for row in range(len(similarity)):
        frame = first + row
        similarity[row, max(frame - exclude + 1, 0) : frame + exclude] = -np.inf


def _best(values: Magnitude, candidates: Indices, count: int) -> Indices:
    """Return the `count` candidates with the highest values, in order of time."""
    if len(candidates) <= count:
        return candidates
    cut = np.argpartition(values[candidates], len(candidates) - count)
    return np.sort(candidates[cut[-count:]])


def _median(frames: Magnitude) -> Magnitude:
    """Return the median of each bin; sorting contiguous rows is fastest in numpy."""
    ordered = np.array(frames.T, order="C")
    ordered.sort(axis=1)
    middle = len(frames) // 2
    if len(frames) % 2:
        return ordered[:, middle]
    pair = ordered[:, middle - 1 : middle + 1]
    return np.asarray(pair.mean(axis=1), np.float32)


def _prominence(beat: npt.NDArray[np.float64], period: int) -> float:
    """Return the mean height of the multiples of `period` above their surroundings."""
    around = 3 * period // 4
    multiples = np.arange(period, len(beat), period)
    if len(multiples) == 0:
        return 0.0
    offsets = np.arange(-around, around + 1)
    lags = np.clip(multiples[:, np.newaxis] + offsets, 0, len(beat) - 1)
    values = beat[lags]
    peaks = values.argmax(axis=1)
    near = np.abs(offsets[peaks]) <= PEAK_SHIFT
    height = values.max(axis=1) - values.mean(axis=1)
    return float(np.sum(height[near]) / len(multiples))


def _mel_bank(n_bins: int, sample_rate: int) -> Magnitude:
    """Return triangles evenly spaced in mel, shape (bins, bands)."""
    top = 2595 * np.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, MEL_BANDS + 2) / 2595) - 1)
    frequency = np.linspace(0, sample_rate / 2, n_bins)[:, np.newaxis]
    rise = (frequency - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - frequency) / (corners[2:] - corners[1:-1])
    return np.maximum(np.minimum(rise, fall), 0).astype(np.float32)
