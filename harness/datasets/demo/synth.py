"""Building blocks of the sounds: damped sinusoids, shaped noise, rooms, placing and panning.

Everything is float32 at 44.1 kHz; a mono signal has shape (samples,), a stereo one (2, samples).
`SOUNDS` are the tables of ``metadata/demo_sounds.yaml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from harness.core import strict_yaml
from harness.core.audio import Audio

Signal = npt.NDArray[np.float32]
Rng = np.random.Generator

RATE = 44100
METADATA = Path(__file__).parents[1] / "metadata"
SOUNDS: dict[str, Any] = strict_yaml.read(METADATA / "demo_sounds.yaml")
_BLOCK = 256  # samples per column of the oscillator bank
_FFT = 1 << 17  # block of the reverb's convolution


def hertz(pitch: float) -> float:
    """Return the frequency of a MIDI pitch in equal temperament, A4 = 69 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def modes(
    frequencies: npt.ArrayLike,
    amplitudes: npt.ArrayLike,
    taus: npt.ArrayLike,
    n_samples: int,
    phases: npt.ArrayLike = 0.0,
) -> Signal:
    """Sum exponentially damped sinusoids, the modes of strings, bars and membranes.

    Frequencies are in Hz (those above 20 kHz are left out), amplitudes linear, `taus` the seconds
    to fall to 1/e, phases in radians. A sample index is split into row and column, so that the bank
    is one matrix product.
    """
    f, a, tau, phase = (
        np.atleast_1d(x).astype(float)
        for x in np.broadcast_arrays(frequencies, amplitudes, taus, phases)
    )
    audible = f < 20000.0
    rate = (-1.0 / tau[audible] + 2j * np.pi * f[audible]) / RATE
    start = a[audible] * np.exp(1j * phase[audible])
    rows = start * np.exp(np.outer(np.arange(-(-n_samples // _BLOCK)) * _BLOCK, rate))
    columns = np.exp(np.outer(rate, np.arange(_BLOCK)))
    left = np.hstack([rows.real, -rows.imag]).astype(np.float32)
    right = np.vstack([columns.real, columns.imag]).astype(np.float32)
    out: Signal = (left @ right).ravel()[:n_samples]
    return out


def decay(n_samples: int, tau: float) -> Signal:
    """Return exp(−t/tau), tau in seconds."""
    out: Signal = np.exp(np.arange(n_samples, dtype=np.float32) * np.float32(-1 / (tau * RATE)))
    return out


def attack(sound: Signal, seconds: float) -> Signal:
    """Fade a sound in over `seconds`, by half a cosine."""
    n = min(len(sound), max(1, round(seconds * RATE)))
    sound = sound.copy()
    sound[:n] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(n, dtype=np.float32) / n)
    return sound


def band(sound: npt.NDArray[np.float32], low: float, high: float, order: int = 1) -> Signal:
    """Keep `low` to `high` Hz (Butterworth, last axis); 0 or above 20 kHz opens that side."""
    edges: float | tuple[float, float] = (low, high)
    kind = "bandpass"
    if low <= 0.0:
        edges, kind = high, "lowpass"
    elif high >= 20000.0:
        edges, kind = low, "highpass"
    sos = signal.butter(order, edges, kind, fs=RATE, output="sos")
    out: Signal = signal.sosfilt(sos.astype(np.float32), sound).astype(np.float32)
    return out


def noise(rng: Rng, n_samples: int, low: float, high: float) -> Signal:
    """Return white noise of unit variance, filtered to `low` … `high` Hz."""
    return band(rng.standard_normal(n_samples, dtype=np.float32), low, high, order=2)


def unit(sound: Signal) -> Signal:
    """Scale a sound to peak 1; silence stays silence."""
    peak = float(np.max(np.abs(sound), initial=0.0))
    return sound if peak == 0.0 else (sound / np.float32(peak)).astype(np.float32)


def pan(position: float) -> tuple[float, float]:
    """Return (left, right) gains of equal power for −1 (left) … 1 (right)."""
    angle = (position + 1.0) * np.pi / 4.0
    return float(np.cos(angle)), float(round(np.sin(angle), 12))


def place(out: Audio, sound: Signal, start: float, gains: tuple[float, float]) -> None:
    """Add a sound to `out`, shape (2, samples), at `start` seconds; it is cut at the edges."""
    first = round(start * RATE)
    if first < 0:
        sound, first = sound[-first:], 0
    n = min(len(sound), out.shape[1] - first)
    if n > 0:
        for channel, gain in zip(out, gains, strict=True):
            channel[first : first + n] += sound[:n] * np.float32(gain)


def release(sound: Signal, seconds: float, fade: float) -> Signal:
    """Stop a ringing sound after `seconds`, fading it over `fade` seconds."""
    n_fade = max(1, round(fade * RATE))
    n = max(1, round(seconds * RATE))
    if n + n_fade >= len(sound):
        n = max(0, len(sound) - n_fade)
    out = sound[: n + n_fade].copy()
    out[n:] *= np.linspace(1.0, 0.0, len(out) - n, dtype=np.float32) ** 2
    return out


def room(rng: Rng, seconds: float, damping: float) -> Audio:
    """Return a room's stereo response: early reflections, then noise that darkens as it decays.

    It falls by 60 dB in `seconds` in the middle of the spectrum; highs decay faster by `damping`,
    0 … 1.
    """
    n = round(min(seconds, 1.4) * RATE)
    tail = rng.standard_normal((2, n), dtype=np.float32)
    tau = seconds / 6.9
    dark, light = band(tail, 150.0, 2500.0), band(tail, 2500.0, 12000.0)
    response = dark * decay(n, tau) + light * decay(n, tau * (1.0 - 0.7 * damping))
    response[:, : round(0.012 * RATE)] = 0.0
    for channel in response:
        early = rng.integers(round(0.004 * RATE), round(0.045 * RATE), 7)
        channel[early] += rng.uniform(-6.0, 6.0, 7).astype(np.float32)
    norm = np.sqrt(np.sum(response**2) / 2.0)
    out: Audio = (response / norm).astype(np.float32)
    return out


def reverberate(dry: Audio, response: Audio) -> Audio:
    """Convolve the mono sum of `dry` with a stereo response shorter than 1.4 s; same length."""
    n, m = dry.shape[1], response.shape[1]
    step = _FFT - m
    n_blocks = -(-n // step)
    blocks = np.zeros((n_blocks, step), np.float32)
    blocks.ravel()[:n] = np.float32(0.5) * (dry[0] + dry[1])
    spectra = fft.rfft(blocks, _FFT, axis=1)
    out = np.zeros((2, (n_blocks + 1) * step), np.float32)
    for channel, spectrum in zip(out, fft.rfft(response, _FFT, axis=1), strict=True):
        wet = fft.irfft(spectra * spectrum, _FFT, axis=1)
        channel[: n_blocks * step].reshape(n_blocks, step)[:] += wet[:, :step]
        channel[step:].reshape(n_blocks, step)[:, :m] += wet[:, step:]
    return np.ascontiguousarray(out[:, :n])
