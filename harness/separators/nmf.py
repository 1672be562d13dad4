"""Four stems by non-negative matrix factorisation of frequency bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import progress
from harness.separators.spectral import (
    BLOCK_FRAMES,
    FOUR_STEMS,
    TINY,
    Magnitude,
    Method,
    Spectrum,
    Stft,
    check_stems,
    harmonic_mask,
    stft_of,
    with_rest,
)

Model = tuple[slice, Magnitude, Magnitude]  # bins, activations (frames, k), templates (k, bins)

ORDER = ("drums", "bass", "vocals", "other")  # each is fitted to what the previous ones left

BANDS: dict[str, Sequence[float]] = {
    "drums": (20.0, 8000.0),
    "bass": (20.0, 250.0),
    "vocals": (80.0, 8000.0),
    "other": (200.0, 16000.0),
}
COMPONENTS: dict[str, int] = {"drums": 4, "bass": 3, "vocals": 6, "other": 5}  # templates


@dataclass(kw_only=True)
class Nmf(Method):
    """Band-wise NMF guided by a harmonic/percussive separation.

    Drums are fitted to the percussive part; bass, vocals and other in turn to the rest of the
    harmonic part, each inside its band. Soft masks from the fits divide the mixture. Where no fit
    has energy, the mixture goes to other, so the stems sum to the input. There is no penalty on the
    factors: it would make the result depend on the level of the recording.

    References
    ----------
    Cichocki and Phan, "Fast local algorithms for large scale nonnegative matrix and tensor
    factorizations", IEICE Transactions E92-A(3), 2009, for the updates (HALS).
    """

    bands: Mapping[str, Sequence[float]] = field(default_factory=lambda: dict(BANDS))  # in Hz
    components: Mapping[str, int] = field(default_factory=lambda: dict(COMPONENTS))
    iterations: int = 100
    kernel: int = 31  # length of the medians of the harmonic/percussive separation, odd
    power: float = 2.0  # exponent of the soft masks
    seed: int = 42  # of the initial factors

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, given in (("bands", self.bands), ("components", self.components)):
            check_stems(f"Nmf: {name}", tuple(given), FOUR_STEMS)
        if self.iterations < 1 or min(self.components.values()) < 1:
            raise HarnessError("Nmf: iterations and components must be positive; increase them")

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return vocals, drums, bass and other; shapes (channels, samples), exact sum."""
        stft = stft_of(self.sample_rate, overlap=4)
        with progress.part(0, 4, 3):
            models = self._fit(audio, stft)

        def shares(spectrum: Spectrum, frames: slice) -> Spectrum:
            masks = _masks(models, frames, stft.n_bins, self.power)
            return np.concatenate([spectrum * masks[stem] for stem in ORDER[:3]])

        with progress.part(3, 4):
            out = stft.filter(shares, audio).reshape(3, *audio.shape)
        return with_rest(audio, dict(zip(ORDER[:3], out, strict=True)), "other")

    def _fit(self, audio: Audio, stft: Stft) -> dict[str, Model]:
        """Fit the stems in turn, and subtract each fit before the next one."""
        with progress.part(0, 15):
            percussive = stft.magnitude(audio)
        with progress.part(1, 15, 5):
            harmonic = harmonic_mask(percussive, kernel=self.kernel)
        harmonic *= percussive
        percussive -= harmonic
        rng = np.random.default_rng(self.seed)
        models: dict[str, Model] = {}
        for i, stem in enumerate(ORDER):
            bins = slice(*(stft.bin_of(edge, self.sample_rate) for edge in self.bands[stem]))
            inside = (percussive if stem == "drums" else harmonic)[:, bins]
            with progress.part(6, 15, 9), progress.part(i, len(ORDER)):
                factors = factorise(inside, self.components[stem], self.iterations, rng)
            models[stem] = (bins, *factors)
            _subtract(inside, *factors)
        return models


def factorise(
    matrix: Magnitude, rank: int, iterations: int, rng: np.random.Generator
) -> tuple[Magnitude, Magnitude]:
    """Approximate a non-negative matrix by the product of two, in the least-squares sense.

    The matrix has the shape (frames, bins), the activations (frames, rank) and the templates
    (rank, bins). Each iteration updates both factors; `rng` draws the initial ones.
    """
    n_frames, n_bins = matrix.shape
    scale = np.sqrt(matrix.mean(dtype=np.float64) / rank) if matrix.size else 0.0
    activations = (scale * (0.1 + rng.random((rank, n_frames)))).astype(np.float32)
    templates = (scale * (0.1 + rng.random((rank, n_bins)))).astype(np.float32)
    for _ in progress.each(range(iterations)):
        projected = matrix @ templates.T  # twice as fast as templates @ matrix.T
        _sweep(activations, np.ascontiguousarray(projected.T), templates @ templates.T)
        _sweep(templates, activations @ matrix, activations @ activations.T)
    return np.ascontiguousarray(activations.T), templates


def _sweep(factor: Magnitude, target: Magnitude, gram: Magnitude) -> None:
    """Set each row of the factor in turn to its best non-negative value, in place."""
    for row in range(len(factor)):
        if gram[row, row] > TINY:
            step = (target[row] - gram[row] @ factor) / gram[row, row]
            np.maximum(factor[row] + step, 0, out=factor[row])


def _subtract(matrix: Magnitude, activations: Magnitude, templates: Magnitude) -> None:
    """Subtract the product of the factors in place; nothing becomes negative."""
    for first in range(0, len(matrix), BLOCK_FRAMES):
        frames = slice(first, first + BLOCK_FRAMES)
        matrix[frames] -= activations[frames] @ templates
        np.maximum(matrix[frames], 0, out=matrix[frames])


def _masks(
    models: Mapping[str, Model], frames: slice, n_bins: int, power: float
) -> dict[str, Magnitude]:
    """Return all stems' soft masks for a block of frames; zero where no stem has energy."""
    fits = {}
    for stem, (bins, activations, templates) in models.items():
        fit = np.zeros((frames.stop - frames.start, n_bins), np.float32)
        fit[:, bins] = activations[frames] @ templates
        fits[stem] = fit
    largest = np.maximum(np.maximum.reduce(list(fits.values())), TINY)
    for fit in fits.values():
        fit /= largest
        np.power(fit, np.float32(power), out=fit)
    total = np.maximum(np.sum(list(fits.values()), axis=0), TINY)
    return {stem: fit / total for stem, fit in fits.items()}
