"""Batches: a pure function of (seed, step), independent of threads and order."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from harness.core.audio import Audio
from harness.training.data import Material, source_frames
from harness.training.recipes import Augment

AHEAD = 4  # batches made in advance, or twice the number of workers if that is more
TRIES = 3  # draws until an example is not completely silent


@dataclass(frozen=True)
class ExcerptForm:
    """The input of the network."""

    channels: int
    sample_rate: int
    samples: int


@dataclass(frozen=True)
class TrainingBatch:
    """Mixtures and targets of one step."""

    mixture: Audio  # (batch, channels, samples)
    target: Audio  # (batch, stems, channels, samples)


@dataclass(frozen=True)
class Batches:
    """Makes the batch of any step."""

    material: Material
    form: ExcerptForm
    augment: Augment
    size: int  # examples per batch
    seed: int

    def at(self, step: int) -> TrainingBatch:
        """Return the batch of a step."""
        parts = np.stack([self._example([self.seed, step, index]) for index in range(self.size)])
        targets = len(self.material.stems)
        return TrainingBatch(parts.sum(axis=1, dtype=np.float32), parts[:, :targets])

    def stream(
        self, first: int, last: int, *, workers: int = 1
    ) -> Generator[TrainingBatch, None, None]:
        """Yield the batches of steps first … last − 1 in order; threads make them in advance."""
        distance = max(AHEAD, 2 * workers)
        with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
            waiting: dict[int, Future[TrainingBatch]] = {}
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
        """Draw all parts of one example, shape (parts, channels, samples)."""
        rng = np.random.default_rng(seed)
        for _ in range(TRIES):
            parts = self._draw(rng)
            if parts.any():
                break
        return parts

    def _draw(self, rng: np.random.Generator) -> Audio:
        """Choose places, cut, vary."""
        names, form = self.material.parts, self.form
        if rng.random() < self.augment.remix:
            places = [self._place(rng) for _ in names]
        else:
            places = [self._place(rng)] * len(names)
        parts = []
        for name, (song, start, speed) in zip(names, places, strict=True):
            shape = (form.channels, form.sample_rate, speed)
            parts.append(self.material.excerpt(song, name, start, form.samples, shape))
        return np.stack([vary(part, self.augment, rng) for part in parts])

    def _place(self, rng: np.random.Generator) -> tuple[int, int, float]:
        """Choose a song, a start in samples and a speed, all uniformly."""
        number = int(rng.integers(len(self.material.songs)))
        song = self.material.songs[number]
        speed = draw_speed(self.augment, rng)
        wanted = source_frames(self.form.samples, song.sample_rate * speed / self.form.sample_rate)
        return number, int(rng.integers(max(1, song.n_samples - wanted + 1))), speed


def draw_speed(augment: Augment, rng: np.random.Generator) -> float:
    """Draw a speed: 1, or 2^(semitones/12) in steps of a hundredth of a semitone."""
    semitones = rng.uniform(-augment.semitones, augment.semitones)
    if rng.random() >= augment.speed:
        return 1.0
    return float(2.0 ** (round(semitones, 2) / 12))


def vary(part: Audio, augment: Augment, rng: np.random.Generator) -> Audio:
    """Change gain, polarity and channels of a part, shape (channels, samples).

    The number of random draws does not depend on the probabilities.
    """
    chances = rng.random(3)
    gain_db = rng.uniform(-augment.gain_db, augment.gain_db)
    gain = 10 ** (gain_db / 20) if chances[0] < augment.gain else 1.0
    sign = -1.0 if chances[1] < augment.polarity else 1.0
    swapped = part[::-1] if chances[2] < augment.swap else part
    return swapped * np.float32(gain * sign)
