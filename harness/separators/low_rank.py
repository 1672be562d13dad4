"""Voice and music as a sparse and a low-rank spectrogram: robust principal component analysis.

Principal component analysis alone separates nothing: of a stereo pair it returns two rotated
channels, of a spectrogram its best fit of a given rank, with the loud voice in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import progress
from harness.separators.classical import TWO_STEMS
from harness.separators.spectral import TINY, Magnitude, Method, share, stft_of, with_rest

Values = npt.NDArray[np.float32]  # singular values, the largest first

MASKS = ("soft", "binary")
GROWTH = 1.5  # of the penalty, per iteration
FIRST_RANK = 16  # columns of the first search for large singular values
SPARE = 8  # columns beyond the rank: the last ones of a search are inexact
SWEEPS = 2  # multiplications with the matrix and its transpose per search


@dataclass(kw_only=True)
class Rpca(Method):
    """Voice as what is sparse, accompaniment as what has few spectra that come again.

    The magnitude, averaged over the channels, is divided into a low-rank and a sparse part, one
    segment at a time. A mask from both divides every channel of the mixture. With `weighting` the
    large singular values, which are surely music, are reduced less, and the small ones more.

    References
    ----------
    Huang et al., "Singing-voice separation from monaural recordings using robust principal
    component analysis", ICASSP 2012. Gu et al., "Weighted nuclear norm minimization and its
    applications to low level vision", IJCV 121, 2017, for the weights.
    """

    stems: tuple[str, ...] = TWO_STEMS
    sparsity: float = 1.0  # k of the penalty k / sqrt(longer side) on the sparse part
    mask: str = "soft"  # in proportion to the squares of both parts; or ``binary``
    gain: float = 1.0  # a binary mask gives the voice what is sparse by more than this factor
    weighting: float = 0.0  # weights of the singular values, see `decompose`; 0: all equal
    high_pass: float = 100.0  # in Hz; nothing below is voice
    seconds: float = 15.0  # longest segment
    iterations: int = 100  # at most, per segment
    tolerance: float = 1e-3  # of the sum of both parts; less does not change the masks

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask not in MASKS:
            raise HarnessError(f"Rpca: mask is {self.mask!r}; choose 'soft' or 'binary'")
        positive = min(self.sparsity, self.gain, self.seconds, self.iterations, self.tolerance)
        if positive <= 0 or self.weighting < 0:
            raise HarnessError(
                f"Rpca: sparsity {self.sparsity}, gain {self.gain}, seconds {self.seconds}, "
                f"iterations {self.iterations}, tolerance {self.tolerance} or weighting "
                f"{self.weighting} out of range; "
                "use positive numbers, and at least 0 for the weighting"
            )

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return the voice and the rest; shapes (channels, samples), exact sum."""
        stft = stft_of(self.sample_rate, overlap=4)
        with progress.part(0, 20):
            magnitude = stft.magnitude(audio)
        most = max(1, round(self.seconds * self.sample_rate / stft.hop))
        segments = np.array_split(magnitude, -(-len(magnitude) // most))  # views of it
        with progress.part(1, 20, 17):
            for i, segment in enumerate(segments):
                with progress.part(i, len(segments)):
                    segment[:] = self._mask_of(segment)
        magnitude[:, : stft.bin_of(self.high_pass, self.sample_rate)] = 0
        with progress.part(18, 20, 2):
            vocals = stft.apply_mask(audio, magnitude)
        return with_rest(audio, {"vocals": vocals}, "accompaniment")

    def _mask_of(self, magnitude: Magnitude) -> Magnitude:
        low, sparse = decompose(
            magnitude,
            self.sparsity,
            weighting=self.weighting,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )
        np.abs(low, out=low)
        np.abs(sparse, out=sparse)
        if self.mask == "binary":
            return (sparse > np.float32(self.gain) * low).astype(np.float32)
        return share(sparse, low, 2.0)


def decompose(
    matrix: Magnitude,
    sparsity: float = 1.0,
    *,
    weighting: float = 0.0,
    iterations: int = 100,
    tolerance: float = 1e-5,
) -> tuple[Magnitude, Magnitude]:
    """Return a low-rank and a sparse matrix with the given sum, by inexact augmented Lagrangians.

    Minimized is the sum of the singular values of the first, plus sparsity / sqrt(longer side)
    times the sum of the absolute values of the second.

    Parameters
    ----------
    matrix
        Shape (frames, bins).
    weighting
        If not 0, a singular value counts with the weight `weighting` · r / value, in which r is the
        root of the mean square of the matrix's singular values.
    iterations
        Their largest number.
    tolerance
        Stop when the sum differs from the matrix by less than this share of its norm.

    References
    ----------
    Lin, Chen and Ma, "The augmented Lagrange multiplier method for exact recovery of corrupted
    low-rank matrices", arXiv:1009.5055, for the algorithm and its constants.
    """
    norm = float(np.linalg.norm(matrix))
    low, sparse = np.zeros_like(matrix), matrix.copy()
    if norm == 0:
        progress.tell(1.0)
        return low, sparse
    price = sparsity / np.sqrt(max(matrix.shape))
    search = _Search(min(matrix.shape))
    largest = search.largest(matrix)
    penalty = 1.25 / largest
    most = 1e7 * penalty
    dual = matrix / np.float32(max(largest, float(np.abs(matrix).max()) / price))
    scale = weighting * norm / np.sqrt(min(matrix.shape))
    sparse[:] = 0
    for i in range(iterations):
        step = np.float32(1 / penalty)
        low = search.shrunk(matrix - sparse + step * dual, float(step), scale)
        error = matrix - low
        sparse = _soft(error + step * dual, np.float32(price / penalty))
        error -= sparse
        dual += error * np.float32(penalty)
        left = float(np.linalg.norm(error)) / norm
        progress.tell(max(i + 1, _expected(left, tolerance) * iterations) / iterations)
        if left < tolerance:
            break
        penalty = min(GROWTH * penalty, most)
    progress.tell(1.0)
    return low, sparse


def _expected(left: float, tolerance: float) -> float:
    """Return the finished share of the work from the remaining error, which falls like a power."""
    return float(np.clip(np.log(max(left, 1e-12)) / np.log(tolerance), 0, 1))


def _soft(values: Magnitude, threshold: np.float32) -> Magnitude:
    """Move values towards zero by the threshold, and no further."""
    return np.asarray(values - np.clip(values, -threshold, threshold), np.float32)


class _Search:
    """Large singular values of matrices that change little from one to the next.

    The space found last is the start of the next search; it grows until it holds every value that
    matters. Multiplications with a few columns take a small part of the time of a whole SVD.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(0)
        self._basis: Magnitude | None = None
        self._rank = min(FIRST_RANK, size)

    def largest(self, matrix: Magnitude) -> float:
        """Return the largest singular value."""
        _, values, _ = self._found(matrix, self._rank)
        return float(values[0])

    def shrunk(self, matrix: Magnitude, step: float, scale: float) -> Magnitude:
        """Return the matrix with smaller singular values: less by `step`, or by its weight."""
        columns = self._rank
        while True:
            left, values, right = self._found(matrix, columns)
            less = step * (scale / np.maximum(values, TINY) if scale else np.ones_like(values))
            kept = int(np.count_nonzero(values > less))
            if kept <= columns - SPARE or columns == self._size:
                break
            columns = min(2 * columns, self._size)
        self._rank = min(max(kept + 2 * SPARE, FIRST_RANK), self._size)
        values = np.maximum(values - less, 0)[:kept].astype(np.float32)
        return np.asarray((left[:, :kept] * values) @ right[:kept], np.float32)

    def _found(self, matrix: Magnitude, columns: int) -> tuple[Magnitude, Values, Magnitude]:
        """Return the first singular vectors and values: left (rows, k), k values, right (k, …)."""
        if 3 * columns > self._size:  # then the whole one is faster
            left, values, right = scipy.linalg.svd(matrix, full_matrices=False, check_finite=False)
            return left, values, right
        basis = self._start(matrix.shape[1], columns)
        for _ in range(SWEEPS):
            ranged, _ = np.linalg.qr(matrix @ basis)
            basis, _ = np.linalg.qr(matrix.T @ ranged)
        inner, values, right = scipy.linalg.svd(
            matrix @ basis, full_matrices=False, check_finite=False
        )
        self._basis = basis @ right.T
        return inner, values, self._basis.T

    def _start(self, length: int, columns: int) -> Magnitude:
        """Return the space found last, cut or with new columns at random; (length, columns)."""
        known = np.empty((length, 0), np.float32) if self._basis is None else self._basis
        more = max(0, columns - known.shape[1])
        new = self._rng.standard_normal((length, more), np.float32)
        return np.concatenate([known[:, :columns], new], axis=1)
