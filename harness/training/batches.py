"""Batches: a pure function of (seed, step), whoever makes them and in what order."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from harness.audio import Audio
from harness.training.data import Material, source_frames
from harness.training.recipes import Augment

AHEAD = 4  # batches made while the network works, or twice as many as there are workers
TRIES = 3  # excerpts drawn until one is not silent throughout


@dataclass(frozen=True)
class Form:
    """What the network takes."""

    channels: int
    sample_rate: int
    samples: int


@dataclass(frozen=True)
class Batch:
    """Mixtures of shape (batch, channels, samples), targets (batch, stems, channels, samples)."""

    mixture: Audio
    target: Audio


@dataclass(frozen=True)
class Place:
    """Where a part of an example comes from, and how fast it is played."""

    song: int
    start: int
    speed: float


class Batches:
    """Makes the batch of any step."""

    def __init__(
        self, material: Material, form: Form, augment: Augment, *, size: int, seed: int
    ) -> None:
        self._material = material
        self._form = form
        self._augment = augment
        self._size = size
        self._seed = seed

    def at(self, step: int) -> Batch:
        """Return the batch of a step."""
        examples = [self._example([self._seed, step, index]) for index in range(self._size)]
        targets = len(self._material.stems)
        parts = np.stack(examples)
        return Batch(parts.sum(axis=1, dtype=np.float32), parts[:, :targets])

    def stream(self, first: int, last: int, *, workers: int = 1) -> Generator[Batch, None, None]:
        """Give the batches of the steps first … last − 1 in order, made ahead by threads."""
        distance = max(AHEAD, 2 * workers)
        with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
            waiting: dict[int, Future[Batch]] = {}
            try:
                for step in range(first, last):
                    for ahead in range(step, min(step + distance, last)):
                        if ahead not in waiting:
                            waiting[ahead] = pool.submit(self.at, ahead)
                    yield waiting.pop(step).result()
            finally:
                for future in waiting.values():
                    future.cancel()

    def _example(self, seed: list[int]) -> Audio:
        """Draw one example: all its parts, shape (parts, channels, samples)."""
        rng = np.random.default_rng(seed)
        for _ in range(TRIES):
            parts = self._draw(rng)
            if parts.any():
                break
        return parts

    def _draw(self, rng: np.random.Generator) -> Audio:
        """Choose places, cut, vary."""
        names = self._material.parts
        if rng.random() < self._augment.remix:
            places = [self._place(rng) for _ in names]
        else:
            places = [self._place(rng)] * len(names)
        parts = [self._part(name, place) for name, place in zip(names, places, strict=True)]
        return np.stack([vary(part, self._augment, rng) for part in parts])

    def _place(self, rng: np.random.Generator) -> Place:
        """Choose a song, a speed and a start, evenly."""
        number = int(rng.integers(len(self._material.songs)))
        song = self._material.songs[number]
        speed = draw_speed(self._augment, rng)
        wanted = source_frames(
            self._form.samples, song.sample_rate * speed / self._form.sample_rate
        )
        return Place(number, int(rng.integers(max(1, song.n_samples - wanted + 1))), speed)

    def _part(self, name: str, place: Place) -> Audio:
        """Cut one part."""
        form = (self._form.channels, self._form.sample_rate, place.speed)
        return self._material.excerpt(place.song, name, place.start, self._form.samples, form)


def draw_speed(augment: Augment, rng: np.random.Generator) -> float:
    """Draw a speed: 1, or 2^(semitones/12) to a hundredth of a semitone."""
    semitones = rng.uniform(-augment.semitones, augment.semitones)
    if rng.random() >= augment.speed:
        return 1.0
    return float(2.0 ** (round(semitones, 2) / 12))


def vary(part: Audio, augment: Augment, rng: np.random.Generator) -> Audio:
    """Change gain, polarity and channels of a part, shape (channels, samples).

    The same number of draws is made whatever the probabilities are.
    """
    chances = rng.random(3)
    gain_db = rng.uniform(-augment.gain_db, augment.gain_db)
    gain = 10 ** (gain_db / 20) if chances[0] < augment.gain else 1.0
    sign = -1.0 if chances[1] < augment.polarity else 1.0
    turned = part[::-1] if chances[2] < augment.swap else part
    return turned * np.float32(gain * sign)
