"""The instruments: how a note sounds on bass, guitar, piano and keys, and playing notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from harness.core.audio import Audio
from harness.datasets.demo.composition import Hit, Note
from harness.datasets.demo.drum_kit import LEAF_OF, PAN
from harness.datasets.demo.synth import (
    RATE,
    SOUNDS,
    Rng,
    Signal,
    attack,
    band,
    hertz,
    modes,
    noise,
    pan,
    place,
    release,
)

Sound = Callable[[int], Signal]


@dataclass(frozen=True)
class Tone:
    """The character of one instrument among others of its kind."""

    brightness: float  # 0 … 1: the level of upper partials
    ring: float  # factor on decay times
    position: float  # where the string is struck or plucked, as a fraction of its length
    detune: float  # cents between unison strings or oscillators


def draw_instrument(rng: Rng, spread: float) -> Tone:
    """Draw an instrument; `spread` 1 uses the whole range, less stays nearer to the middle."""
    middle, reach = np.array([0.5, 1.0, 0.17, 4.0]), np.array([0.4, 0.35, 0.09, 2.5])
    return Tone(*(middle + reach * rng.uniform(-spread, spread, 4)).tolist())


@dataclass(frozen=True)
class _String:
    """A kind of string; taus in seconds."""

    tilt: float  # fall of partials, as a power of their number, for brightness 0.5
    tau: float  # of the fundamental at A2
    damping: float  # how much faster high partials decay
    stiffness: float
    pick: float  # level of the attack noise
    partials: int


_STRINGS = {name: _String(*values) for name, values in SOUNDS["strings"].items()}


def sound_of(name: str, tone: Tone, rng: Rng) -> Sound:
    """Return the function from MIDI pitch to a ringing note; it caches the notes."""
    thump = noise(rng, round(0.03 * RATE), 700.0, 6000.0)

    def make(pitch: int) -> Signal:
        if name in _STRINGS:
            return _pluck(_STRINGS[name], tone, pitch, thump)
        return _KEYS[name](tone, pitch, thump)

    return lru_cache(maxsize=None)(make)


def _pluck(kind: _String, tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a plucked string in two polarizations that beat."""
    f0 = hertz(pitch)
    k = np.arange(1, min(kind.partials, int(12000.0 / f0)) + 1)
    tilt = kind.tilt + 0.8 * (0.5 - tone.brightness)
    amplitudes = np.abs(np.sin(np.pi * k * tone.position)) * k**-tilt
    taus = tone.ring * kind.tau * (110.0 / f0) ** 0.35 / (1.0 + kind.damping * k**1.4)
    frequencies = f0 * k * np.sqrt(1.0 + kind.stiffness * k**2)
    n = round(min(3.0, 5.0 * float(taus[0])) * RATE)
    second = frequencies * 2.0 ** (tone.detune / 4800.0)
    sound = modes(
        np.concatenate([frequencies, second]),
        np.concatenate([amplitudes, 0.5 * amplitudes]),
        np.concatenate([taus, 0.6 * taus]),
        n,
        np.tile(np.pi / 2 * np.cos(k), 2),
    )
    n_thump = min(len(thump), n)
    hit = thump[:n_thump] * np.linspace(1.0, 0.0, n_thump, dtype=np.float32) ** 3
    sound[:n_thump] += np.float32(kind.pick) * hit
    return attack(sound, 0.0025)


def _piano(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a piano note: pairs of stiff strings, fast then slow decay, a hammer's knock."""
    f0 = hertz(pitch)
    k = np.arange(1, min(26, int(11000.0 / f0)) + 1)
    hammer = np.exp(-k * f0 / (1100.0 + 2200.0 * tone.brightness))
    amplitudes = (np.abs(np.sin(np.pi * k / 8.0)) + 0.05) * hammer / k**0.4
    stiffness = 2.5e-4 * 2.0 ** ((pitch - 48) / 14.0)
    frequencies = k * f0 * np.sqrt(1.0 + stiffness * k**2)
    taus = tone.ring * 1.1 * 2.0 ** ((60 - pitch) / 20.0) / (1.0 + 0.12 * k)
    detuned = frequencies * 2.0 ** (tone.detune / 12000.0)
    sound = modes(
        np.concatenate([frequencies, detuned]),
        np.concatenate([amplitudes, 0.5 * amplitudes]),
        np.concatenate([0.35 * taus, 1.4 * taus]),
        round(2.8 * RATE),
        np.tile(k * 1.3, 2),
    )
    sound[: len(thump)] += 0.04 * band(thump, 0.0, 1200.0)
    return attack(sound, 0.002)


def _organ(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a drawbar organ's note with key click and the rotor's tremolo."""
    bars = np.array([0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
    levels = np.array([0.7, 1.0, 0.5, 0.7, 0.4, 0.35, 0.15, 0.15, 0.25])
    levels[4:] *= 0.4 + 1.2 * tone.brightness
    n = round(4.5 * RATE)
    sound = modes(hertz(pitch) * bars, levels, 1e3, n, bars)
    turn = np.sin(2 * np.pi * 6.2 * np.arange(n, dtype=np.float32) / RATE)
    sound *= 1.0 + np.float32(0.18) * turn
    sound[: len(thump)] += 0.05 * thump
    return attack(0.35 * sound, 0.006)


def _epiano(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return an electric piano's note: a tine's bell over a soft, slowly dying tone."""
    f0 = hertz(pitch)
    ratios = np.array([1.0, 2.0, 3.0, 4.0, 7.1, 14.0])
    levels = np.array([1.0, 0.35, 0.14, 0.05, 0.12, 0.08])
    levels[1:] *= 0.5 + tone.brightness
    taus = tone.ring * np.array([1.3, 0.9, 0.6, 0.4, 0.09, 0.05])
    sound = modes(f0 * ratios, levels, taus, round(3.0 * RATE), ratios)
    turn = np.sin(2 * np.pi * 4.6 * np.arange(len(sound), dtype=np.float32) / RATE)
    return attack(sound * (1.0 + np.float32(0.2) * turn), 0.003)


def _saws(tone: Tone, pitch: int, tilt: float, tau: float, n: int) -> Signal:
    """Return three detuned sawtooths; highs decay first, as through a closing filter."""
    f0 = hertz(pitch)
    k = np.arange(1, min(36, int(11000.0 / f0)) + 1)
    spreads = 2.0 ** (np.array([-1.0, 0.0, 1.0]) * 2.2 * tone.detune / 1200.0)
    frequencies = np.outer(spreads, k * f0).ravel()
    amplitudes = np.tile(k**-tilt, 3)
    taus = np.tile(tau / (1.0 + 0.06 * (k - 1.0)), 3)
    return modes(frequencies, amplitudes, taus, n, np.outer([0.0, 2.1, 4.4], k).ravel())


def _pad(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a synthesizer pad: soft saws that swell."""
    sound = _saws(tone, pitch, 1.7 - 0.5 * tone.brightness, 30.0, round(4.5 * RATE))
    return attack(0.3 * sound, 0.25)


def _saw(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a plucked synthesizer note."""
    sound = _saws(tone, pitch, 1.1, 0.5 * tone.ring, round(1.6 * RATE))
    return attack(0.4 * sound, 0.004)


def _synth_bass(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a synthesizer bass: saws with a quickly closing filter over a sine."""
    n = round(1.6 * RATE)
    bright = _saws(tone, pitch, 1.5 - 0.4 * tone.brightness, 0.35 * tone.ring, n)
    return attack(0.3 * bright + 0.5 * modes(hertz(pitch), 1.0, 1.2, n), 0.003)


def _sub_bass(tone: Tone, pitch: int, thump: Signal) -> Signal:
    """Return a long, saturated sine with a short fall in pitch."""
    t = np.arange(round(2.0 * RATE)) / RATE
    phase = 2 * np.pi * (hertz(pitch) * t + 1.2 * (1 - np.exp(-t / 0.03)))
    body = np.sin(phase) * np.exp(-t / (0.9 * tone.ring))
    return attack(np.tanh((1.2 + 1.5 * tone.brightness) * body).astype(np.float32), 0.002)


_KEYS: dict[str, Callable[[Tone, int, Signal], Signal]] = {
    **{"piano": _piano, "organ": _organ, "epiano": _epiano, "pad": _pad, "saw": _saw},
    **{"synth": _synth_bass, "sub": _sub_bass},
}


def play(
    notes: Iterable[Note], sound: Sound, n_samples: int, *, fade: float = 0.06, width: float = 0.0
) -> Audio:
    """Play notes into a stereo signal, shape (2, n_samples).

    A note fades out over `fade` seconds after its end. With `width` 0 all notes are in the middle;
    1 spreads low to high from left to right.
    """
    out = np.zeros((2, n_samples), np.float32)
    for note in notes:
        left, right = pan(width * float(np.clip((note.pitch - 62) / 24.0, -1.0, 1.0)))
        ringing = release(sound(note.pitch), note.duration, fade)
        place(out, ringing, note.start, (left * note.velocity, right * note.velocity))
    return out


def drive(x: Audio, name: str) -> Audio:
    """Send a guitar through its amplifier: saturation, then the loudspeaker's band."""
    gain = SOUNDS["drive"].get(name)
    if gain is None:
        return x
    peak = float(np.max(np.abs(x), initial=1e-9))
    driven = np.tanh(np.float32(gain / peak) * band(x, 90.0, 20000.0))
    return band(driven, 75.0, 4800.0, order=2)


def play_drums(hits: list[Hit], kit: dict[str, list[Signal]], n_samples: int) -> dict[str, Audio]:
    """Play a drum score: {leaf: (2, n_samples)} for the leaves that have strokes.

    Each stroke on the hi-hat stops the one before.
    """
    out: dict[str, Audio] = {}
    for i, hit in enumerate(hits):
        leaf = LEAF_OF[hit.sound]
        audio = out.setdefault(leaf, np.zeros((2, n_samples), np.float32))
        variants = kit[hit.sound]
        stroke = variants[i % len(variants)]
        if leaf == "hihat":
            stops = (h.start for h in hits[i + 1 :] if LEAF_OF[h.sound] == leaf)
            stroke = release(stroke, max(next(stops, 1e3) - hit.start, 0.02), 0.015)
        gain = hit.velocity**1.5
        left, right = pan(PAN[hit.sound])
        place(audio, stroke, hit.start, (left * gain, right * gain))
    return out
