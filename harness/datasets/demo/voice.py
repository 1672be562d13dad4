"""Singing voices: a glottal source, vowels as formants, consonants and breath as shaped noise.

Source and filter after Fant (1960): a buzz rich in harmonics goes through the resonances of the
vocal tract. Formant frequencies are the male averages of Peterson and Barney (1952); a female
tract is shorter by about one sixth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from harness.core.audio import Float64
from harness.datasets.demo.synth import RATE, SOUNDS, Rng, Signal, hertz

VOWELS: dict[str, list[float]] = SOUNDS["vowels"]  # Hz
CONSONANTS: dict[str, list[float]] = SOUNDS["consonants"]  # center Hz, width in octaves, seconds
SOFT = ("l", "m", "")  # voiced onsets: the voice only dips
FEMALE_TRACT = 1.17
_WINDOW, _HOP = 1024, 512
_TABLE = 8192
# The square root of a periodic Hann window: analysis times synthesis sums to 1.
_TAPER: Signal = np.sin(np.pi * (np.arange(_WINDOW) + 0.5) / _WINDOW).astype(np.float32)


@dataclass(frozen=True)
class Voice:
    """The character of one singer."""

    female: bool  # sets the range
    tract: float  # factor on all formants
    tilt: float  # fall of the source's harmonics, as a power of their number
    vibrato_hz: float  # rate
    vibrato: float  # depth in semitones
    breath: float  # level of aspiration noise

    @property
    def center(self) -> int:
        """MIDI pitch in the middle of the comfortable range."""
        return 66 if self.female else 55


@dataclass(frozen=True)
class Syllable:
    """One sung note; times in seconds, `pitch` in MIDI numbers."""

    start: float
    duration: float
    pitch: float
    velocity: float
    vowel: str
    consonant: str
    first: bool  # of a phrase: a breath precedes it


def draw_voice(rng: Rng, female: bool, spread: float) -> Voice:
    """Draw a singer; `spread` 1 uses the whole range, less stays nearer to the middle."""
    wide = rng.uniform(-spread, spread, 5)
    return Voice(
        female=female,
        tract=float((FEMALE_TRACT if female else 1.0) * (1.0 + 0.06 * wide[0])),
        tilt=float(1.0 + 0.2 * wide[1]),
        vibrato_hz=float(5.6 + 0.7 * wide[2]),
        vibrato=float(0.28 + 0.2 * wide[3]),
        breath=float(0.09 + 0.06 * wide[4]),
    )


def vowel_envelope(vowel: str, tract: float) -> Signal:
    """Return a vowel's magnitude response on the 513 bins of a 1024-point FFT at 44.1 kHz.

    Five second-order resonances in cascade, slightly flattened as by a microphone and a compressor;
    the peak is about 1.
    """
    f = fft.rfftfreq(_WINDOW, 1.0 / RATE)
    centers = np.array([*VOWELS[vowel], 3400.0, 4500.0]) * tract
    widths = np.array([80.0, 95.0, 130.0, 220.0, 300.0])
    response = np.ones_like(f)
    for center, width in zip(centers, widths, strict=True):
        response *= center**2 / np.sqrt((f**2 - center**2) ** 2 + (width * f) ** 2)
    response *= 1.0 + (f / 1500.0) ** 2 / (1.0 + (f / 12000.0) ** 4)  # higher poles, lip radiation
    out: Signal = ((response / response.max()) ** 0.8 + 0.003).astype(np.float32)
    return out


def sing(line: Sequence[Syllable], voice: Voice, n_samples: int, rng: Rng) -> Signal:
    """Sing one line, mono; between phrases there are exact zeros."""
    n_frames = n_samples // _HOP + 2
    buzz = _source(line, voice, n_frames, rng)[:n_samples]
    loudness = _loudness(line, n_frames)
    air = rng.standard_normal(n_samples, dtype=np.float32)
    tract = _tract(line, voice, n_frames)
    spectra = _analyze(buzz, n_frames) * tract
    spectra += _analyze(air, n_frames) * _airflow(line, voice, loudness, tract)
    out = _synthesize(spectra, n_samples)
    sounding = ndimage.maximum_filter1d(_airgate(line, loudness), 5)
    return out * _to_samples(np.minimum(sounding, 1.0), n_samples)


def _frames(seconds: float) -> int:
    """Return the frame at a time."""
    return round(seconds * RATE / _HOP)


def _to_samples(values: npt.NDArray[np.floating], n_samples: int) -> Signal:
    """Interpolate linearly from one value per frame to one per sample."""
    steps = np.linspace(0.0, 1.0, _HOP, endpoint=False, dtype=np.float32)
    low = values.astype(np.float32)[:, None]
    rise = np.diff(values, append=values[-1:]).astype(np.float32)[:, None]
    out: Signal = (low + rise * steps).ravel()[:n_samples]
    return out


def _loudness(line: Sequence[Syllable], n_frames: int) -> Float64:
    """Return the voice's loudness per frame: notes with soft edges, dips at consonants."""
    loudness = np.zeros(n_frames)
    for s in line:
        a, b = _frames(s.start), max(_frames(s.start + s.duration), _frames(s.start) + 3)
        shape = np.linspace(1.0, 0.75, b - a) * s.velocity
        dip = 1 if s.consonant in SOFT else 2
        shape[:dip] *= 0.55 if s.consonant in SOFT else 0.12
        part = loudness[a:b]
        part[:] = np.maximum(part, shape[: len(part)])
    smooth: Float64 = ndimage.uniform_filter1d(loudness, 3)
    return smooth


def _pitch(line: Sequence[Syllable], voice: Voice, n_frames: int, seed: int) -> Signal:
    """Return the pitch per frame in MIDI numbers: glides, scoops, vibrato that sets in, jitter."""
    rng = np.random.default_rng(seed)
    pitch, depth = np.full(n_frames, float(voice.center)), np.zeros(n_frames)
    for s in line:
        a, b = _frames(s.start), _frames(s.start + s.duration)
        pitch[a:] = s.pitch
        pitch[a : a + 4] -= 1.2 if s.first else 0.0
        onset = np.clip((np.arange(b - a) * _HOP / RATE - 0.18) / 0.25, 0.0, 1.0)
        depth[a:b] = onset[: len(depth[a:b])]
    pitch = ndimage.uniform_filter1d(pitch, 5)
    jitter = ndimage.gaussian_filter1d(rng.standard_normal(n_frames), 4) * 0.12
    turn = np.sin(2 * np.pi * voice.vibrato_hz * np.arange(n_frames) * _HOP / RATE)
    out: Signal = (pitch + jitter + voice.vibrato * depth * turn).astype(np.float32)
    return out


def _source(line: Sequence[Syllable], voice: Voice, n_frames: int, rng: Rng) -> Signal:
    """Return the glottal buzz of one line, band-limited, already at the line's loudness."""
    if not line:
        return np.zeros(n_frames * _HOP, np.float32)
    pitch = _pitch(line, voice, n_frames, int(rng.integers(1 << 30)))
    cycles = _to_samples(np.exp2((pitch - 69.0) / 12.0) * (440.0 / RATE), n_frames * _HOP)
    phase = np.cumsum(cycles, dtype=np.float64)
    top = hertz(float(pitch.max()))
    harmonics = np.arange(1, max(2, int(15000.0 / top)))
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex64)
    spectrum[harmonics] = harmonics**-voice.tilt * np.exp(1j * 0.4 * harmonics**0.5)
    table = fft.irfft(spectrum, _TABLE) * np.float32(_TABLE / 2)
    index = ((phase - np.floor(phase)) * _TABLE).astype(np.int32)
    out: Signal = table[index] * _to_samples(_loudness(line, n_frames), n_frames * _HOP)
    return out


def _tract(line: Sequence[Syllable], voice: Voice, n_frames: int) -> Signal:
    """Return the vocal tract's response, shape (frames, bins), gliding from vowel to vowel."""
    names = list(VOWELS)
    weights = np.zeros((n_frames, len(names)), np.float32)
    weights[:, 0] = 1.0
    for s in line:
        a = _frames(s.start) - 2
        weights[max(a, 0) :] = np.eye(len(names), dtype=np.float32)[names.index(s.vowel)]
    weights = ndimage.uniform_filter1d(weights, 6, axis=0)
    envelopes = np.log(np.stack([vowel_envelope(name, voice.tract) for name in names]))
    out: Signal = np.exp(weights @ envelopes)
    return out


def _airgate(line: Sequence[Syllable], loudness: Float64) -> Float64:
    """Return 1 per frame in which the voice may sound, with consonants and breaths, 0 elsewhere."""
    gate = (loudness > 1e-3).astype(float)
    for s in line:
        lead = 0.4 if s.first else 0.14
        gate[max(_frames(s.start - lead), 0) : _frames(s.start)] = 1.0
    return gate


def _airflow(line: Sequence[Syllable], voice: Voice, loudness: Float64, tract: Signal) -> Signal:
    """Return the noise's response, shape (frames, bins): aspiration, consonants, breaths."""
    flow = tract * (voice.breath * loudness).astype(np.float32)[:, None]
    f = np.maximum(fft.rfftfreq(_WINDOW, 1.0 / RATE), 20.0)
    shapes = {
        name: np.exp(-0.5 * (np.log2(f / center) / width) ** 2).astype(np.float32)
        for name, (center, width, _) in CONSONANTS.items()
    }
    for s in line:
        if s.consonant in shapes:
            last = max(_frames(s.start), 1)
            first = max(_frames(s.start - CONSONANTS[s.consonant][2]), 0)
            flow[min(first, last - 1) : last] += np.float32(0.03 * s.velocity) * shapes[s.consonant]
        if s.first and s.start > 0.4:
            a, b = _frames(s.start - 0.38), _frames(s.start - 0.12)
            swell = np.hanning(max(b - a, 3))[: b - a].astype(np.float32)
            flow[a:b] += 0.008 * swell[:, None] * shapes["h"]
    return flow


def _analyze(x: Signal, n_frames: int) -> npt.NDArray[np.complex64]:
    """Return the short-time spectrum, shape (frames, bins); frame i is centered on sample i·hop."""
    padded = np.zeros((n_frames + 1) * _HOP, np.float32)
    padded[_HOP : _HOP + len(x)] = x
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    spectra: npt.NDArray[np.complex64] = fft.rfft(frames * _TAPER, axis=1)
    return spectra


def _synthesize(spectra: npt.NDArray[np.complex64], n_samples: int) -> Signal:
    """Overlap and add the frames of `_analyze`."""
    frames = fft.irfft(spectra, _WINDOW, axis=1) * _TAPER
    out = np.zeros((len(frames) + 1, _HOP), np.float32)
    out[:-1] += frames[:, :_HOP]
    out[1:] += frames[:, _HOP:]
    return np.ascontiguousarray(out.ravel()[_HOP : _HOP + n_samples])
