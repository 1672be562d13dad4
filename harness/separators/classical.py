"""Separators without training: median filters, repetition (REPET and relatives) and panning.

Masks are made from the magnitude averaged over the channels and applied to every channel, so the
stereo image stays; nothing is rescaled. The last stem is what the others leave of the input, so the
stems sum to the input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.signal

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import progress
from harness.separators.repetition import (
    beat_spectrum,
    cepstra,
    periodic_background,
    repeating_period,
    similar_background,
)
from harness.separators.spectral import (
    TINY,
    Magnitude,
    Method,
    Spectrum,
    Stft,
    harmonic_mask,
    stft_of,
    with_rest,
)

TWO_STEMS = ("vocals", "accompaniment")
VOICES = ("lead", "background")


@dataclass(kw_only=True)
class Hpss(Method):
    """Voice from two harmonic/percussive separations.

    With a long window a sung note, never steady, is percussive while held instruments are harmonic.
    With a short window the voice is harmonic while hits are percussive. The voice is what is
    percussive in the first and harmonic in the second.

    References
    ----------
    FitzGerald and Gainza, "Single channel vocal separation using median filtering and
    factorisation techniques", ISAST Transactions, 2010. FitzGerald, "Harmonic/percussive
    separation using median filtering", DAFx 2010, for the kernel.
    """

    stems: tuple[str, ...] = TWO_STEMS
    long_window: float = 0.3715  # in seconds: 16384 samples at 44.1 kHz
    short_window: float = 0.0232  # 1024 samples
    kernel: int = 17  # length of the medians, odd
    power: float = 2.0  # exponent of the masks
    high_pass: float = 100.0  # in Hz; nothing below is voice

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return the voice and the rest; shapes (channels, samples)."""
        long = stft_of(self.sample_rate, overlap=4, seconds=self.long_window)
        with progress.part(0, 20, 7):
            steady = self._harmonic(long, audio)
        with progress.part(7, 20, 4):
            moving = long.apply_mask(audio, 1 - steady)
        short = stft_of(self.sample_rate, overlap=4, seconds=self.short_window)
        with progress.part(11, 20, 7):
            mask = self._harmonic(short, moving)
        mask[:, : short.bin_of(self.high_pass, self.sample_rate)] = 0
        with progress.part(18, 20, 2):
            vocals = short.apply_mask(moving, mask)
        return with_rest(audio, {"vocals": vocals}, "accompaniment")

    def _harmonic(self, stft: Stft, audio: Audio) -> Magnitude:
        with progress.part(0, 7):
            magnitude = stft.magnitude(audio)
        with progress.part(1, 7, 6):
            return harmonic_mask(magnitude, kernel=self.kernel, power=self.power)


@dataclass(kw_only=True)
class Centre(Method):
    """Lead voice from the middle of the stereo image, background from its sides.

    A bin is in the middle when both channels have similar level and phase there.

    References
    ----------
    Avendano, "Frequency-domain source identification and manipulation in stereo mixes for
    enhancement, suppression and re-panning applications", WASPAA 2003, for the similarity.
    """

    stems: tuple[str, ...] = VOICES
    input_stem: str = "vocals"
    power: float = 2.0  # exponent of the similarity, 0 to 1, which is the mask

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return lead and background; shapes (2, samples), exact sum."""
        if len(audio) != 2:
            raise HarnessError(f"Centre: has {len(audio)} channels; add 'channels: 2' to the entry")

        def middle(spectrum: Spectrum, _: slice) -> Spectrum:
            left, right = spectrum
            levels = np.sum(np.abs(spectrum) ** 2, axis=0)
            alike = 2 * np.real(left * right.conj()) / np.maximum(levels, TINY)
            spectrum *= np.maximum(alike, 0) ** np.float32(self.power)
            return spectrum

        lead = stft_of(self.sample_rate, overlap=4).filter(middle, audio)
        return with_rest(audio, {"lead": lead}, "background")


@dataclass(kw_only=True)
class _ByRepetition(Method):
    """Voice as what exceeds the background that repeats.

    A binary mask assigns each bin wholly to the stem with more of it, as the first paper on REPET
    did: less interference, more artifacts.
    """

    stems: tuple[str, ...] = TWO_STEMS
    high_pass: float = 100.0  # in Hz; nothing below is voice
    binary: bool = False
    _costs: ClassVar[tuple[int, int, int]]  # of magnitude, background and mask; their sum is 20

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return the voice and the rest; shapes (channels, samples)."""
        stft = stft_of(self.sample_rate, overlap=2)
        first, second, third = self._costs
        with progress.part(0, 20, first):
            magnitude = stft.magnitude(audio)
        with progress.part(first, 20, second):
            background = self._background(magnitude, stft)
        mask = _foreground(magnitude, background, binary=self.binary)
        mask[:, : stft.bin_of(self.high_pass, self.sample_rate)] = 0
        with progress.part(first + second, 20, third):
            vocals = stft.apply_mask(audio, mask)
        return with_rest(audio, {"vocals": vocals}, "accompaniment")

    def _background(self, magnitude: Magnitude, stft: Stft) -> Magnitude:
        raise NotImplementedError


@dataclass(kw_only=True)
class Repet(_ByRepetition):
    """Voice as what does not repeat with the period of the music.

    References
    ----------
    Rafii and Pardo, "REpeating Pattern Extraction Technique (REPET)", IEEE TASLP 21(1), 2013.
    """

    shortest: float = 0.8  # period, in seconds
    longest: float = 8.0
    _costs = (4, 6, 10)

    def _background(self, magnitude: Magnitude, stft: Stft) -> Magnitude:
        limits = (_frames(s, stft, self.sample_rate) for s in (self.shortest, self.longest))
        with progress.part(0, 3, 2):
            beat = beat_spectrum(magnitude)
        with progress.part(2, 3):
            return periodic_background(magnitude, repeating_period(beat, *limits))


@dataclass(kw_only=True)
class RepetSim(_ByRepetition):
    """Voice as what differs from the similar moments of the music.

    Similarity is that of magnitude spectra, as published (``spectrum``), or that of cepstra
    (``mfcc``): our reading of the name REPET-MFCC, which has no published definition.

    References
    ----------
    Rafii and Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012.
    """

    features: str = "spectrum"
    count: int = 100  # largest number of similar frames
    apart: float = 1.0  # least time between two of them, in seconds
    threshold: float = 0.0  # least similarity
    _costs = (1, 17, 2)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features not in ("spectrum", "mfcc"):
            raise HarnessError(
                f"RepetSim: features is {self.features!r}; choose 'spectrum' or 'mfcc'"
            )

    def _background(self, magnitude: Magnitude, stft: Stft) -> Magnitude:
        mfcc = self.features == "mfcc"
        return similar_background(
            magnitude,
            cepstra(magnitude, self.sample_rate) if mfcc else magnitude,
            count=self.count,
            apart=_frames(self.apart, stft, self.sample_rate),
            threshold=self.threshold,
        )


@dataclass(kw_only=True)
class RepetSim4(Method):
    """Four stems from HPSS, REPET-SIM and a low-pass filter.

    Drums are the percussive part with the range of the voice attenuated. Vocals are what does not
    repeat in the harmonic part. Bass is the harmonic part below a cutoff. Other is the rest.

    The bass is filtered forwards and backwards. Without `zero_phase` it is filtered forwards only,
    as in the report: the delay then costs most of the bass's SNR.
    """

    kernel: int = 31  # of the harmonic/percussive separation, odd
    power: float = 2.0  # of its masks
    voice_band: Sequence[float] = (300.0, 3000.0)  # in Hz, where drums are attenuated
    voice_gain: float = 0.4
    bass_cutoff: float = 200.0  # in Hz, of a Butterworth low-pass
    bass_order: int = 4
    zero_phase: bool = True
    count: int = 100  # largest number of similar frames
    exclude: float = 2.0  # their least distance from the frame itself, in seconds
    high_pass: float = 100.0  # in Hz; nothing below is voice

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return vocals, drums, bass and other; shapes (channels, samples), exact sum."""
        stft = stft_of(self.sample_rate, overlap=4)
        with progress.part(0, 20):
            magnitude = stft.magnitude(audio)
        with progress.part(1, 20, 2):
            steady = harmonic_mask(magnitude, kernel=self.kernel, power=self.power)
        magnitude *= steady
        apart = _frames(self.exclude, stft, self.sample_rate)
        with progress.part(3, 20, 14):
            background = similar_background(magnitude, magnitude, count=self.count, exclude=apart)
        voice = _foreground(magnitude, background)
        del magnitude, background  # of a long song each is 100 MB
        voice[:, : stft.bin_of(self.high_pass, self.sample_rate)] = 0
        gain = np.ones(stft.n_bins, np.float32)
        low, high = (stft.bin_of(edge, self.sample_rate) for edge in self.voice_band)
        gain[low:high] = self.voice_gain

        def parts(spectrum: Spectrum, frames: slice) -> Spectrum:
            harmonic = spectrum * steady[frames]
            drums, vocals = (spectrum - harmonic) * gain, harmonic * voice[frames]
            return np.concatenate([harmonic, drums, vocals])

        with progress.part(17, 20, 3):
            harmonic, drums, vocals = stft.filter(parts, audio).reshape(3, *audio.shape)
        found = {"vocals": vocals, "drums": drums, "bass": self._low_pass(harmonic)}
        return with_rest(audio, found, "other")

    def _low_pass(self, audio: Audio) -> Audio:
        """Filter each channel; the cutoff stays below half the sample rate."""
        cutoff = min(self.bass_cutoff, 0.45 * self.sample_rate)
        sos = scipy.signal.butter(self.bass_order, cutoff, fs=self.sample_rate, output="sos")
        out = np.empty_like(audio)
        for channel, samples in enumerate(audio):
            if self.zero_phase:
                out[channel] = scipy.signal.sosfiltfilt(sos, samples, padtype=None)
            else:
                out[channel] = scipy.signal.sosfilt(sos, samples)
        return out


def _frames(seconds: float, stft: Stft, sample_rate: int) -> int:
    return math.floor(seconds * sample_rate / stft.hop + 0.5)


def _foreground(magnitude: Magnitude, background: Magnitude, *, binary: bool = False) -> Magnitude:
    """Return the mask of what exceeds the background, which is overwritten."""
    np.minimum(background, magnitude, out=background)
    np.subtract(magnitude, background, out=background)
    background /= np.maximum(magnitude, TINY)
    if binary:
        np.greater(background, 0.5, out=background)
    return background
