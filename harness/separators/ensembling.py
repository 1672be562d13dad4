"""Ways to make one estimate of several that are no weighted mean, and mixture consistency.

All need the audio: unlike blends they cannot be scored from inner products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.audio import Audio
from harness.separators import progress
from harness.separators.spectral import Spectrum, Stft

STFT = Stft(2048, 1024)  # Ultimate Vocal Remover's
PIECE = 1 << 18  # samples worked on at once

Choice = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.intp]]


def mean(estimates: Sequence[Audio]) -> Audio:
    """Return the plain mean of estimates of one stem, each of shape (channels, samples)."""
    return np.asarray(np.mean(estimates, axis=0, dtype=np.float32))


def median(estimates: Sequence[Audio]) -> Audio:
    """Return the median of each sample, so that one bad estimate of three or more is outvoted."""
    out = np.empty_like(estimates[0])
    for start in range(0, out.shape[1], PIECE):
        part = slice(start, start + PIECE)
        out[:, part] = np.median([estimate[:, part] for estimate in estimates], axis=0)
    return out


def min_mag(estimates: Sequence[Audio]) -> Audio:
    """Take each point of the spectrogram from the estimate that has least there.

    As the minimum spectrum of Ultimate Vocal Remover and of audio-separator: what only some
    estimates have is taken for bleeding. Channels choose apart; of equals the first is taken.

    Parameters
    ----------
    estimates
        Of one stem, each of shape (channels, samples).
    """
    return _by_magnitude(estimates, lambda magnitudes: magnitudes.argmin(axis=0))


def max_mag(estimates: Sequence[Audio]) -> Audio:
    """Take each point of the spectrogram from the estimate that has most there; see `min_mag`."""
    return _by_magnitude(estimates, lambda magnitudes: magnitudes.argmax(axis=0))


COMBINE: dict[str, Callable[[Sequence[Audio]], Audio]] = {
    "mean": mean,
    "median": median,
    "min_mag": min_mag,
    "max_mag": max_mag,
}


def consistent(mixture: Audio, estimates: Mapping[str, Audio]) -> dict[str, Audio]:
    """Make estimates sum to the mixture: each takes an equal part of what is left.

    That is the smallest change, in energy, which does so (Wisdom et al., "Differentiable
    consistency constraints for improved deep speech enhancement", ICASSP 2019).
    """
    left = mixture - np.sum(list(estimates.values()), axis=0)
    left /= np.float32(len(estimates))
    return {stem: estimate + left for stem, estimate in estimates.items()}


def _by_magnitude(estimates: Sequence[Audio], choose: Choice) -> Audio:
    """Go through the spectra of all estimates at once and keep one of each point."""

    def chosen(spectra: Spectrum, frames: slice) -> Spectrum:
        each = spectra.reshape(len(estimates), -1, *spectra.shape[1:])
        return np.asarray(np.take_along_axis(each, choose(np.abs(each))[None], axis=0)[0])

    with progress.told(None):  # the members have told of all the work
        return STFT.filter(chosen, *estimates)
