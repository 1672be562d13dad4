"""Drum kits: every sound of a kit, rendered a few times so that hits differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.datasets.demo.synth import (
    RATE,
    SOUNDS,
    Rng,
    Signal,
    attack,
    decay,
    modes,
    noise,
    release,
    unit,
)

VARIANTS = 3
LEAF_OF: dict[str, str] = {sound: leaf for sound, (leaf, _) in SOUNDS["drums"].items()}
PAN: dict[str, float] = {sound: position for sound, (_, position) in SOUNDS["drums"].items()}


@dataclass(frozen=True)
class KitTone:
    """The character of one drum kit; frequencies in Hz, times in seconds."""

    kick: float
    kick_sweep: float
    kick_tau: float
    click: float
    snare: float
    snare_tau: float
    wires: float
    tom: float
    hat_low: float
    hat_tau: float
    cymbal: float
    electronic: bool


def draw_tone(rng: Rng, electronic: bool, spread: float) -> KitTone:
    """Draw a kit; `spread` 1 uses the whole range, less stays nearer to the middle."""
    ranges = SOUNDS["kit"] | (SOUNDS["electronic_kit"] if electronic else {})
    drawn = {
        name: float((low + high) / 2 + rng.uniform(-0.5, 0.5) * (high - low) * spread)
        for name, (low, high) in ranges.items()
    }
    return KitTone(**drawn, electronic=electronic)


def render_kit(tone: KitTone, rng: Rng) -> dict[str, list[Signal]]:
    """Render every sound of the kit `VARIANTS` times, mono, peak 1."""
    makers: dict[str, Callable[[], Signal]] = {
        "kick": lambda: _kick(tone, rng),
        "snare": lambda: _snare(tone, rng),
        "stick": lambda: _stick(tone, rng),
        "clap": lambda: _clap(tone, rng),
        "tom_high": lambda: _tom(tone.tom * 1.9, rng),
        "tom_mid": lambda: _tom(tone.tom * 1.4, rng),
        "tom_floor": lambda: _tom(tone.tom, rng),
        "hat": lambda: _hat(tone, tone.hat_tau, rng),
        "open_hat": lambda: _hat(tone, tone.hat_tau * 5.0, rng),
        "ride": lambda: _ride(tone, rng),
        "crash": lambda: _crash(tone, rng),
    }
    return {
        name: [release(unit(make()), 9.9, 0.08) for _ in range(VARIANTS)]
        for name, make in makers.items()
    }


def _swept(base: float, sweep: float, sweep_tau: float, n: int) -> Signal:
    """Return a sine whose frequency falls from base + sweep to base."""
    t = np.arange(n) / RATE
    phase = 2 * np.pi * (base * t + sweep * sweep_tau * (1 - np.exp(-t / sweep_tau)))
    return np.sin(phase).astype(np.float32)


def _kick(tone: KitTone, rng: Rng) -> Signal:
    """Return a bass drum: falling membrane tone, beater click."""
    n = round(0.8 * RATE)
    body = _swept(tone.kick, tone.kick_sweep, 0.028, n) * decay(n, tone.kick_tau)
    beater = noise(rng, n, 1200.0, 6000.0) * decay(n, 0.006)
    skin = modes([190.0, 310.0, 420.0], [0.2, 0.12, 0.08], [0.05, 0.03, 0.02], n)
    click = tone.click * rng.uniform(0.8, 1.2)
    return attack(np.tanh(1.4 * body) + np.float32(click) * (beater + skin), 0.0006)


def _snare(tone: KitTone, rng: Rng) -> Signal:
    """Return a snare drum: two membrane modes that drop in pitch, and the wires' noise."""
    n = round(0.6 * RATE)
    shell = _swept(tone.snare, 60.0, 0.012, n) * decay(n, tone.snare_tau)
    overtone = _swept(tone.snare * 1.83, 40.0, 0.012, n) * decay(n, tone.snare_tau * 0.6)
    body = noise(rng, n, 350.0, 5000.0) * decay(n, tone.wires)
    sizzle = noise(rng, n, 4000.0, 12000.0) * decay(n, tone.wires * 0.8)
    wires = rng.uniform(0.42, 0.52)
    return attack(0.8 * shell + 0.4 * overtone + np.float32(wires) * (body + 0.6 * sizzle), 0.0008)


def _stick(tone: KitTone, rng: Rng) -> Signal:
    """Return a cross-stick: the stick on the rim, short and woody."""
    n = round(0.25 * RATE)
    wood = modes([tone.snare * 2.2, 1150.0, 1720.0, 2600.0], [0.5, 1.0, 0.8, 0.4], 0.018, n)
    return attack(wood + 0.3 * noise(rng, n, 1500.0, 9000.0) * decay(n, 0.012), 0.0004)


def _clap(tone: KitTone, rng: Rng) -> Signal:
    """Return a clap: a few bursts of noise close together, then a tail."""
    n = round(0.4 * RATE)
    sound = noise(rng, n, 900.0, 7000.0)
    envelope = 0.7 * decay(n, tone.wires * 0.6)
    for burst in (0.0, 0.011, 0.021):
        first = round(burst * rng.uniform(0.9, 1.1) * RATE)
        envelope[first:] = np.maximum(envelope[first:], decay(n - first, 0.006))
    return attack(sound * envelope, 0.001)


def _tom(base: float, rng: Rng) -> Signal:
    """Return a tom: circular-membrane modes (ratios of Bessel zeros) that drop in pitch."""
    n = round(0.9 * RATE)
    main = _swept(base, base * 0.35, 0.05, n) * decay(n, 0.22)
    upper = modes(base * np.array([1.59, 2.14, 2.3, 2.65]), [0.3, 0.2, 0.1, 0.1], 0.07, n)
    stick = noise(rng, n, 700.0, 5000.0) * decay(n, 0.015)
    return attack(main + upper + np.float32(rng.uniform(0.2, 0.3)) * stick, 0.0008)


def _metal(rng: Rng, low: float, count: int, tau: float, n: int) -> Signal:
    """Return a cloud of inharmonic partials from `low` Hz upwards."""
    frequencies = low * (16000.0 / low) ** rng.uniform(0.0, 1.0, count)
    taus = tau * rng.uniform(0.5, 1.3, count) * (low / frequencies) ** 0.3
    return modes(frequencies, rng.uniform(0.3, 1.0, count), taus, n, rng.uniform(0, 6.28, count))


def _hat(tone: KitTone, tau: float, rng: Rng) -> Signal:
    """Return a hi-hat: high noise with a metallic core."""
    n = round(min(1.0, 8 * tau) * RATE)
    hiss = noise(rng, n, tone.hat_low, 15000.0) * decay(n, tau)
    core = _metal(rng, tone.hat_low * 0.55, 30, tau * 1.2, n)
    return attack(hiss + np.float32(0.16 if tone.electronic else 0.1) * core, 0.0007)


def _ride(tone: KitTone, rng: Rng) -> Signal:
    """Return a ride cymbal: a clear ping over a long, quiet wash."""
    n = round(1.8 * RATE)
    ping = modes([2850.0, 3930.0, 5210.0, 6720.0], [1.0, 0.8, 0.6, 0.4], [0.3, 0.2, 0.15, 0.1], n)
    wash = noise(rng, n, 3000.0, 12000.0) * decay(n, 0.45 * tone.cymbal)
    tick = noise(rng, n, 4000.0, 13000.0) * decay(n, 0.008)
    return attack(0.5 * ping + 0.25 * wash + tick + 0.06 * _metal(rng, 900, 40, 0.7, n), 0.0006)


def _crash(tone: KitTone, rng: Rng) -> Signal:
    """Return a crash cymbal: dense noise that starts at once and decays for seconds."""
    n = round(3.2 * RATE)
    high = noise(rng, n, 4000.0, 15000.0) * decay(n, 0.3 * tone.cymbal)
    low = noise(rng, n, 700.0, 4500.0) * decay(n, 0.5 * tone.cymbal)
    shimmer = 0.1 * _metal(rng, 500.0, 60, 0.9 * tone.cymbal, n)
    return attack(high + 0.45 * low + shimmer, 0.003)
