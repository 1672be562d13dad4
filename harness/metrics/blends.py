"""Score any linear blend of separators from inner products, without their audio.

Every energy behind `snr`, `sdr`, `si_sdr`, `csdr`, `isr`, `sir` and `sar` is quadratic in the
estimate, and the projections of BSS Eval are linear in it. So the inner products between the
estimates of one stem, between their projections, and with the reference, hold the score of every
blend Σ w·estimate. Differences are taken between them, so that scores above some 70 dB lose digits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import HarnessError
from harness.metrics.ratios import db, median_of

Float64 = npt.NDArray[np.float64]

ARRAYS = ("plain", "own", "rest", "projected", "artifacts", "whole", "whole_own", "whole_projected")


@dataclass(frozen=True)
class Blend:
    """Inner products of K separators' estimates of one stem of one track; made by `References`.

    The reference is s, an estimate e, its projections as in `Energies`.

    Attributes
    ----------
    separators
        Names of the K separators, in the order of the arrays.
    plain, own
        Products of s, e₁ … and of s, Pj₁ …, shape (frames, K+1, K+1).
    rest, projected, artifacts
        Products of P−Pj, of P and of P−e, shape (frames, K, K).
    whole
        Products of s, e₁ … over the whole track, shape (K+1, K+1).
    whole_own, whole_projected
        Products of Pj and of P over the whole track, shape (K, K).
    """

    separators: tuple[str, ...]
    plain: Float64
    own: Float64
    rest: Float64
    projected: Float64
    artifacts: Float64
    whole: Float64
    whole_own: Float64
    whole_projected: Float64

    def score(self, weights: Mapping[str, float]) -> dict[str, float]:
        """Score one blend: separator → weight, those not named have none.

        Returns
        -------
        dict
            Metric → dB, as `References.score` gives for the blended audio.

        Raises
        ------
        HarnessError
            If a separator is not among those here.
        """
        if unknown := sorted(weights.keys() - set(self.separators)):
            raise HarnessError(f"blend: no estimate of {unknown}; have {list(self.separators)}")
        row = np.array([[weights.get(name, 0.0) for name in self.separators]])
        return {name: float(values[0]) for name, values in self.scores(row).items()}

    def scores(self, weights: npt.ArrayLike) -> dict[str, Float64]:
        """Score many blends at once.

        Parameters
        ----------
        weights
            Shape (blends, K).

        Returns
        -------
        dict
            Metric → dB, shape (blends,); NaN where the reference is silent.
        """
        w = np.asarray(weights, np.float64)
        minus = np.hstack([-np.ones((len(w), 1)), w])
        scores = self._of_whole(w, minus)
        sounding = self.plain[:, 0, 0] > 0
        for name, (above, below) in self._of_frames(w, minus).items():
            frames = db(above[:, sounding], below[:, sounding])
            scores[name] = np.array([median_of(row) for row in frames])
        return scores

    def frames(self, weights: Mapping[str, float]) -> dict[str, Float64]:
        """Score one blend frame by frame, as `References.frames` does for audio.

        Returns
        -------
        dict
            Metric → dB, shape (frames,); NaN where the reference is silent.
        """
        w = np.array([[weights.get(name, 0.0) for name in self.separators]])
        minus = np.hstack([-np.ones((1, 1)), w])
        sounding = self.plain[:, 0, 0] > 0
        return {
            name: np.where(sounding, db(above[0], below[0]), np.nan)
            for name, (above, below) in self._of_frames(w, minus).items()
        }

    def _of_whole(self, w: Float64, minus: Float64) -> dict[str, Float64]:
        """Scores of the whole track."""
        xx, xe = self.whole[0, 0], w @ self.whole[0, 1:]
        if xx == 0:
            return dict.fromkeys(("snr", "sdr", "si_sdr"), np.full(len(w), np.nan))
        ee, inside = _square(w, self.whole[1:, 1:]), _square(w, self.whole_own)
        target = xe**2 / xx
        return {
            "snr": db(xx, _square(minus, self.whole)),
            "sdr": db(inside, np.maximum(ee - inside, 0)),
            "si_sdr": db(target, np.maximum(ee - target, 0)),
        }

    def _of_frames(self, w: Float64, minus: Float64) -> dict[str, tuple[Float64, Float64]]:
        """Energies above and below the fraction of each framewise metric, (blends, frames)."""
        target = np.broadcast_to(self.plain[:, 0, 0], (len(w), len(self.plain)))
        return {
            "csdr": (target, _square(minus, self.plain)),
            "isr": (target, _square(minus, self.own)),
            "sir": (_square(w, self.own[:, 1:, 1:]), _square(w, self.rest)),
            "sar": (_square(w, self.projected), _square(w, self.artifacts)),
        }


def write_blends(path: Path, blends: Mapping[str, Blend]) -> None:
    """Write the inner products of a track's stems to one compressed file.

    Parameters
    ----------
    path
        Ends in ``.npz``; it appears under its name only when it is complete.
    blends
        Stem → inner products. Of symmetric matrices one half is written.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for stem, blend in blends.items():
        arrays[f"{stem}/separators"] = np.array(blend.separators, np.str_)
        for name in ARRAYS:
            matrix = getattr(blend, name)
            arrays[f"{stem}/{name}"] = matrix[..., *np.triu_indices(matrix.shape[-1])]
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, allow_pickle=False, **arrays)
    part.replace(path)


def read_blends(path: Path) -> dict[str, Blend]:
    """Read what `write_blends` wrote: stem → inner products.

    Raises
    ------
    HarnessError
        If the file is absent or not one of these.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        stems = [
            name.removesuffix("/separators") for name in arrays if name.endswith("/separators")
        ]
        return {stem: _unpacked(stem, arrays) for stem in stems}
    except (OSError, ValueError, KeyError) as error:
        raise HarnessError(f"{path}: cannot be read as inner products; score again") from error


def _unpacked(stem: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> Blend:
    """Rebuild one stem's matrices from their halves."""
    separators = tuple(str(name) for name in arrays[f"{stem}/separators"])
    matrices = {}
    for name in ARRAYS:
        half = np.asarray(arrays[f"{stem}/{name}"], np.float64)
        size = round(((8 * half.shape[-1] + 1) ** 0.5 - 1) / 2)
        full = np.zeros((*half.shape[:-1], size, size))
        rows, columns = np.triu_indices(size)
        full[..., rows, columns] = half
        full[..., columns, rows] = half
        matrices[name] = full
    return Blend(separators, **matrices)


def _square(w: Float64, products: Float64) -> Float64:
    """Σ w·products·w, shape (blends,) or (blends, frames); rounding below zero is zero."""
    half = np.tensordot(w, products, (1, -1))  # (blends, …, K)
    axes = "bk,bk->b" if products.ndim == 2 else "bk,bfk->bf"
    squares: Float64 = np.maximum(np.einsum(axes, w, half), 0)
    return squares
