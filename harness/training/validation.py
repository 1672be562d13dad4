"""The validation score: SNR of whole tracks, per stem."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from harness.core.audio import Audio, is_silent
from harness.metrics.ratios import snr
from harness.training.data import Material

DIGITS = 6  # decimals of a score; the last bits of a sum depend on memory alignment
Separate = Callable[[Audio], Audio]
Scores = dict[str, float]


def validate(material: Material, separate: Separate, form: tuple[int, int]) -> Scores:
    """Return {stem: mean SNR over tracks in dB}, as `harness.metrics.ratios.snr`.

    `separate` takes the mixture (channels, samples) and returns estimates (stems, channels,
    samples). The form is channels and sample rate in Hz of the network. Silent references are left
    out, and so is a stem that is silent everywhere.
    """
    found: dict[str, list[float]] = {stem: [] for stem in material.stems}
    for number in range(len(material.songs)):
        mixture, references = whole_song(material, number, form)
        estimates = separate(mixture)
        for stem, estimate in zip(material.stems, estimates, strict=True):
            if not is_silent(references[stem]):
                found[stem].append(snr(references[stem], estimate))
    return {stem: round(float(np.mean(values)), DIGITS) for stem, values in found.items() if values}


def whole_song(
    material: Material, number: int, form: tuple[int, int]
) -> tuple[Audio, Mapping[str, Audio]]:
    """Return the mixture, which is the sum of the parts, and the parts: (channels, samples)."""
    channels, sample_rate = form
    song = material.songs[number]
    frames = int(song.n_samples * sample_rate / song.sample_rate)
    parts = {
        part: material.excerpt(number, part, 0, frames, (channels, sample_rate, 1.0))
        for part in material.parts
    }
    return np.sum(list(parts.values()), axis=0, dtype=np.float32), parts


def mean_score(scores: Mapping[str, float]) -> float:
    """Return the mean over stems, in dB; −inf without scores."""
    return round(float(np.mean(list(scores.values()))), DIGITS) if scores else float("-inf")


def mixture_scores(material: Material, form: tuple[int, int]) -> Scores:
    """Return the scores of the mixture as estimate of every stem."""
    return validate(material, lambda mixture: np.stack([mixture] * len(material.stems)), form)
