"""Tools that the spectral separators share: a streamed STFT, median filters, soft masks.

Spectrograms are (rows, frames, bins), with the channels of one signal or of several as rows; masks
and magnitudes are (frames, bins). The complex spectrogram of a track is never stored as a whole:
`Stft.filter` works block by block, so that long tracks fit in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.ndimage

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import progress

Magnitude = npt.NDArray[np.float32]  # (frames, bins)
Spectrum = npt.NDArray[np.complex64]  # (rows, frames, bins)

FOUR_STEMS = ("vocals", "drums", "bass", "other")

FRAME = 0.0464  # seconds: 2048 samples at 44.1 kHz, 1024 at 16 and 22.05 kHz
BLOCK_FRAMES = 256  # frames processed at once
BLOCK_ROWS = 64  # rows median-filtered at once
TINY = np.float32(1e-30)  # prevents 0 / 0 in masks, far below any audible magnitude


@dataclass(kw_only=True)
class Untrained:
    """The keywords of every separator without training; `stems` may be any stems."""

    sample_rate: int
    stems: tuple[str, ...] = FOUR_STEMS
    input_stem: str = "mixture"


@dataclass(kw_only=True)
class Method(Untrained):
    """A separator that returns exactly the stems that its class names."""

    def __post_init__(self) -> None:
        check_stems(type(self).__name__, self.stems, type(self).stems)


@dataclass(frozen=True)
class Stft:
    """Short-time Fourier transform with a periodic Hann window and exact inverse.

    The signal is padded with zeros on both sides until every sample is in the same number of
    frames. Analysis followed by synthesis thus returns the signal, up to float32 rounding.
    """

    n_fft: int  # window length in samples
    hop: int  # in samples; divides `n_fft` and is at most half of it

    def n_frames(self, n_samples: int) -> int:
        """Return the number of frames of a signal.

        Examples
        --------
        >>> Stft(8, 4).n_frames(8)
        3
        """
        return -(-(n_samples + self.n_fft - self.hop) // self.hop)

    @property
    def n_bins(self) -> int:
        """Number of frequency bins, from 0 Hz to half the sample rate."""
        return self.n_fft // 2 + 1

    def blocks(self, *signals: Audio) -> Iterator[tuple[slice, Spectrum]]:
        """Yield (range of frames, their spectra) from the start to the end.

        The signals have the shape (channels, samples) and equal lengths; all their channels become
        the rows, in order.
        """
        left, n_frames = self.n_fft - self.hop, self.n_frames(signals[0].shape[1])
        window = self._window()
        for first in progress.each(range(0, n_frames, BLOCK_FRAMES)):
            frames = slice(first, min(first + BLOCK_FRAMES, n_frames))
            start = first * self.hop - left
            stop = (frames.stop - 1) * self.hop - left + self.n_fft
            piece = np.concatenate([signal[:, max(start, 0) : max(stop, 0)] for signal in signals])
            before = min(max(-start, 0), stop - start)
            after = stop - start - before - piece.shape[1]
            piece = np.pad(piece, ((0, 0), (before, after)))
            cut = np.lib.stride_tricks.sliding_window_view(piece, self.n_fft, axis=1)
            yield frames, scipy.fft.rfft(cut[:, :: self.hop] * window, axis=-1)

    def magnitude(self, audio: Audio) -> Magnitude:
        """Return the magnitude averaged over the channels, (frames, bins).

        Magnitudes are averaged, not channels, so that opposite phases do not cancel.
        """
        out = np.empty((self.n_frames(audio.shape[1]), self.n_bins), np.float32)
        for frames, spectrum in self.blocks(audio):
            np.mean(np.abs(spectrum), axis=0, out=out[frames])
        return out

    def filter(self, change: Callable[[Spectrum, slice], Spectrum], *signals: Audio) -> Audio:
        """Change the spectrum of signals, as in `blocks`; return the result (its rows, samples).

        `change` takes a block of spectra, which may be overwritten, and the range of its frames. It
        returns the spectra of the result, which may have another number of rows.
        """
        synthesis, n_samples = self._synthesis_window(), signals[0].shape[1]
        left = self.n_fft - self.hop
        out = np.empty((0, n_samples), np.float32)
        tail = np.zeros((0, left), np.float32)  # later frames still add to it
        for frames, spectrum in self.blocks(*signals):
            pieces = scipy.fft.irfft(change(spectrum, frames), n=self.n_fft, axis=-1)
            if len(out) == 0:
                out = np.empty((len(pieces), n_samples), np.float32)
                tail = np.zeros((len(pieces), left), np.float32)
            pieces *= synthesis
            added = self._overlap_add(pieces)
            added[:, :left] += tail
            done = pieces.shape[1] * self.hop
            start = frames.start * self.hop - left
            target = out[:, max(start, 0) : max(start + done, 0)]
            skipped = max(-start, 0)
            target[:] = added[:, skipped : skipped + target.shape[1]]
            tail = added[:, done:]
        return out

    def apply_mask(self, audio: Audio, mask: Magnitude) -> Audio:
        """Return the signal with every channel's spectrum multiplied by `mask` (frames, bins)."""
        return self.filter(lambda spectrum, frames: spectrum * mask[frames], audio)

    def bin_of(self, frequency: float, sample_rate: int) -> int:
        """Return the first bin at or above `frequency` Hz, at most the number of bins.

        Examples
        --------
        >>> Stft(2048, 512).bin_of(100.0, 44100)
        5
        """
        return min(math.ceil(frequency * self.n_fft / sample_rate), self.n_bins)

    def _window(self) -> npt.NDArray[np.float32]:
        """Return the periodic Hann window."""
        phase = 2 * np.pi * np.arange(self.n_fft) / self.n_fft
        return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)

    def _overlap_add(self, pieces: Magnitude) -> Audio:
        """Add frames (rows, frames, n_fft) at their positions."""
        rows, n_frames, _ = pieces.shape
        overlap = self.n_fft // self.hop
        steps = pieces.reshape(rows, n_frames, overlap, self.hop)
        added = np.zeros((rows, n_frames + overlap - 1, self.hop), np.float32)
        for part in range(overlap):
            added[:, part : part + n_frames] += steps[:, :, part]
        return added.reshape(rows, -1)

    def _synthesis_window(self) -> npt.NDArray[np.float32]:
        """Return the window with which overlapping products of both windows sum to one."""
        window = self._window()
        total = np.sum(window.reshape(-1, self.hop) ** 2, axis=0)
        return np.asarray(window / np.tile(total, self.n_fft // self.hop), np.float32)


def stft_of(sample_rate: int, *, overlap: int, seconds: float = FRAME) -> Stft:
    """Return a transform with a window of about `seconds`, each sample in `overlap` frames.

    The window is the power of two nearest to it in octaves, at least 16 samples.

    Examples
    --------
    >>> stft_of(44100, overlap=4), stft_of(22050, overlap=2), stft_of(16000, overlap=2).n_fft
    (Stft(n_fft=2048, hop=512), Stft(n_fft=1024, hop=512), 1024)
    """
    n_fft = int(2 ** max(4, round(math.log2(seconds * sample_rate))))
    return Stft(n_fft, n_fft // overlap)


def median_over_time(magnitude: Magnitude, size: int) -> Magnitude:
    """Median over `size` (odd) frames around each, edges mirrored; shape (frames, bins)."""
    out = np.empty_like(magnitude)
    for first in progress.each(range(0, magnitude.shape[1], BLOCK_ROWS)):
        bins = slice(first, first + BLOCK_ROWS)
        out[:, bins] = median_of_rows(magnitude[:, bins].T, size).T
    return out


def median_of_rows(rows: Magnitude, size: int) -> Magnitude:
    """Median over `size` (odd) values around each within its row, edges mirrored.

    The rows are filtered as one long row: in one dimension scipy does not sort at every point.
    """
    half = size // 2
    padded = np.pad(rows, ((0, 0), (half, half)), mode="symmetric")
    flat = scipy.ndimage.median_filter(padded.ravel(), size=size, mode="nearest")
    return np.asarray(flat.reshape(padded.shape)[:, half : half + rows.shape[1]], np.float32)


def harmonic_mask(magnitude: Magnitude, *, kernel: int = 31, power: float = 2.0) -> Magnitude:
    """Return the soft mask of what is steady in time; one minus it is the percussive mask.

    Sustained tones are lines along time and survive a median over time, hits are lines along
    frequency and survive a median over frequency. Both medians have the odd length `kernel`, in
    frames and in bins; raised to `power`, they compete as in a Wiener filter. Where both are zero
    the mask is one half. Shapes (frames, bins).

    References
    ----------
    FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """
    with progress.part(0, 2):
        mask = median_over_time(magnitude, kernel)
    with progress.part(1, 2):
        for first in progress.each(range(0, len(mask), BLOCK_ROWS)):
            frames = slice(first, first + BLOCK_ROWS)
            percussive = median_of_rows(magnitude[frames], kernel)
            mask[frames] = share(mask[frames], percussive, power)
    return mask


def share(part: Magnitude, rest: Magnitude, power: float) -> Magnitude:
    """Return part^power / (part^power + rest^power), one half where both are zero.

    Examples
    --------
    >>> share(np.float32([3.0, 0.0]), np.float32([1.0, 0.0]), 2.0)
    array([0.9, 0.5], dtype=float32)
    """
    largest = np.maximum(part, rest)
    silent = largest < TINY
    scale = np.float32(1) / np.where(silent, np.float32(1), largest)
    a, b = (part * scale) ** np.float32(power), (rest * scale) ** np.float32(power)
    a[silent] = b[silent] = 1
    return np.asarray(a / (a + b), np.float32)


def with_rest(audio: Audio, found: Mapping[str, Audio], rest: str) -> dict[str, Audio]:
    """Return the stems in `found` and, named `rest`, the remainder of the input."""
    left = audio.copy()
    for part in found.values():
        left -= part
    return {**found, rest: left}


def check_stems(where: str, stems: Collection[str], known: Collection[str]) -> None:
    """Refuse stems other than those of a method."""
    if sorted(stems) != sorted(known):
        raise HarnessError(
            f"{where}: has stems {', '.join(stems)}; this method needs {', '.join(known)}"
        )
