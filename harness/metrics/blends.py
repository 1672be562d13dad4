"""Score any linear blend of separators from inner products, without their audio.

Every energy behind `snr`, `sdr`, `si_sdr`, `csdr`, `isr`, `sir` and `sar` is quadratic in the
estimate, and the projections of BSS Eval are linear in it. So the inner products between the
estimates of one stem, between their projections, and with the reference, hold the score of every
blend Σ w·estimate. Differences are taken between them, so that scores above some 70 dB lose digits.

Where every estimate was cut into frequency bands, the same holds for Σ w·(band of estimate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from harness.bands import Weight
from harness.errors import HarnessError
from harness.metrics.definitions import DEFAULT
from harness.metrics.ratios import db, medians_of

Float64 = npt.NDArray[np.float64]

ARRAYS = ("plain", "own", "rest", "projected", "artifacts", "whole", "whole_own")
OF_WHOLE = ("snr", "sdr", "si_sdr")
VALUES = 1 << 20  # numbers worked on at once


@dataclass(frozen=True)
class Blend:
    """Inner products of separators' estimates of one stem of one track; made by `References`.

    The reference is s, an estimate e, its projections as in `Energies`. K is the number of
    estimates, which are the separators' or, by band, their lowest bands, then their next ones.

    Attributes
    ----------
    separators
        Their names, in the order of the arrays.
    plain, own
        Products of s, e₁ … and of s, Pj₁ …, shape (frames, K+1, K+1); by band there is no frame.
    rest, projected, artifacts
        Products of P−Pj, of P and of P−e, shape (frames, K, K).
    whole
        Products of s, e₁ … over the whole track, shape (K+1, K+1).
    whole_own
        Products of Pj over the whole track, shape (K, K).
    edges
        Between the bands, in Hz; empty where estimates were not cut.
    """

    separators: tuple[str, ...]
    plain: Float64
    own: Float64
    rest: Float64
    projected: Float64
    artifacts: Float64
    whole: Float64
    whole_own: Float64
    edges: tuple[float, ...] = ()

    @property
    def n_bands(self) -> int:
        """Into how many bands the estimates were cut; 1 where they were not."""
        return len(self.edges) + 1

    @property
    def metrics(self) -> tuple[str, ...]:
        """What can be scored."""
        return DEFAULT if len(self.plain) else OF_WHOLE

    def score(self, weights: Mapping[str, Weight]) -> dict[str, float]:
        """Score one blend: separator → weight, or one for each band; those not named have none.

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
        by_name = [np.broadcast_to(weights.get(n, 0.0), self.n_bands) for n in self.separators]
        row = np.transpose(by_name).reshape(1, -1)
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
        return {name: scorer([self], name)(weights)[:, 0] for name in self.metrics}

    def frames(self, weights: Mapping[str, float]) -> dict[str, Float64]:
        """Score one blend frame by frame, as `References.frames` does for audio.

        Returns
        -------
        dict
            Metric → dB, shape (frames,); NaN where the reference is silent.
        """
        w = np.array([[weights.get(name, 0.0) for name in self.separators]])
        found = {}
        for name in ("csdr", "isr", "sir", "sar"):
            found[name] = np.full(len(self.plain), np.nan)
            above, below = (_energies(w, _halves(form))[0] for form in self.forms(name))
            found[name][self._sounding] = db(above, below)
        return found

    def only(self, separators: Sequence[str]) -> Blend:
        """Return the inner products of these separators alone, in this order."""
        at = [self.separators.index(name) for name in separators]
        picked = np.asarray(np.kron(np.eye(self.n_bands), np.eye(len(self.separators))[at]))
        return replace(self._of(picked), separators=tuple(separators))

    def together(self) -> Blend:
        """Return the inner products of the estimates before they were cut into bands."""
        uncut: Float64 = np.tile(np.eye(len(self.separators)), self.n_bands)
        return replace(self._of(uncut), edges=())

    def _of(self, sums: Float64) -> Blend:
        """Return the inner products of sums of the estimates, shape (sums, K)."""
        with_reference = block_diag(1.0, sums)
        arrays = {}
        for name in ARRAYS:
            matrix = getattr(self, name)
            change = sums if matrix.shape[-1] == sums.shape[1] else with_reference
            arrays[name] = change @ matrix @ change.T
        return replace(self, **arrays)

    def forms(self, metric: str) -> tuple[Float64, Float64]:
        """Return the energies above and below a metric's fraction, as quadratic forms in (−1, w).

        Returns
        -------
        tuple
            Two arrays of shape (frames, K+1, K+1). Frames whose reference is silent are left out;
            the whole track counts as one frame for `snr`, `sdr` and `si_sdr`.

        Raises
        ------
        HarnessError
            If no such metric can be made from inner products.
        """
        if metric not in self.metrics:
            known = ", ".join(self.metrics)
            raise HarnessError(f"blend: no {metric!r} from inner products; have {known}")
        if metric in OF_WHOLE:
            return self._forms_of_whole(metric)
        frames = self._sounding
        plain, own = self.plain[frames], self.own[frames]
        if metric == "csdr":
            return _reference(plain), plain
        if metric == "isr":
            return _reference(plain), own
        if metric == "sir":
            return _estimates(own[:, 1:, 1:]), _estimates(self.rest[frames])
        return _estimates(self.projected[frames]), _estimates(self.artifacts[frames])

    def _forms_of_whole(self, metric: str) -> tuple[Float64, Float64]:
        """Forms of the whole track, of none where its reference is silent."""
        some = slice(0, int(self.whole[0, 0] > 0))
        whole = self.whole[None][some]
        if metric == "snr":
            return _reference(whole), whole
        if metric == "sdr":
            inside = self.whole_own[None][some]
        else:
            inside = whole[:, 1:, :1] * whole[:, :1, 1:] / whole[:, :1, :1]
        return _estimates(inside), _estimates(whole[:, 1:, 1:] - inside)

    @property
    def _sounding(self) -> npt.NDArray[np.bool_]:
        """Frames that count."""
        return np.asarray(self.plain[:, 0, 0] > 0)


def scorer(blends: Sequence[Blend], metric: str) -> Callable[[npt.ArrayLike], Float64]:
    """Return the function that scores the same blends of many tracks, all at once.

    The products of two weights are the same for every track, so that all energies are one product
    of matrices: 100,000 blends of 10 separators over 50 tracks take a second.

    Parameters
    ----------
    blends
        One a track, with the same separators in the same order and the same bands.

    Returns
    -------
    callable
        From weights (blends, K) to dB, shape (blends, tracks); NaN where a reference is silent.

    Raises
    ------
    HarnessError
        If the separators or bands differ, or there is no such metric.
    """
    if len(names := {(blend.separators, blend.edges) for blend in blends}) > 1:
        raise HarnessError(f"blend: tracks have other separators ({sorted(names)}); use Blend.only")
    pairs = [blend.forms(metric) for blend in blends]
    halves = _halves(np.concatenate([form for pair in zip(*pairs, strict=True) for form in pair]))
    ends = np.cumsum([len(form) for form, _ in pairs])
    step = max(1, VALUES // max(halves.shape))

    def scores(weights: npt.ArrayLike) -> Float64:
        w = np.asarray(weights, np.float64)
        out = np.empty((len(w), len(blends)))
        for start in range(0, len(w), step):
            part = slice(start, start + step)
            frames = db(*np.hsplit(_energies(w[part], halves), 2))
            for i, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
                out[part, i] = medians_of(frames[:, first:last])
        return out

    return scores


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
        arrays[f"{stem}/edges"] = np.array(blend.edges, np.float64)
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
    edges = tuple(float(edge) for edge in arrays.get(f"{stem}/edges", np.zeros(0)))
    matrices = {}
    for name in ARRAYS:
        half = np.asarray(arrays[f"{stem}/{name}"], np.float64)
        size = round(((8 * half.shape[-1] + 1) ** 0.5 - 1) / 2)
        full = np.zeros((*half.shape[:-1], size, size))
        rows, columns = np.triu_indices(size)
        full[..., rows, columns] = half
        full[..., columns, rows] = half
        matrices[name] = full
    return Blend(separators, **matrices, edges=edges)


def _reference(products: Float64) -> Float64:
    """Return the reference's energy as a form in (−1, w)."""
    form = np.zeros_like(products)
    form[:, 0, 0] = products[:, 0, 0]
    return form


def _estimates(products: Float64) -> Float64:
    """Return forms in w as forms in (−1, w)."""
    return np.pad(products, ((0, 0), (1, 0), (1, 0)))


def _halves(forms: Float64) -> Float64:
    """Return what products of two weights are multiplied with, shape (products, frames)."""
    rows, columns = np.triu_indices(forms.shape[-1])
    return np.ascontiguousarray((forms[:, rows, columns] * np.where(rows == columns, 1, 2)).T)


def _energies(w: Float64, halves: Float64) -> Float64:
    """Return values of forms in (−1, w), (blends, frames); rounding below zero is zero."""
    v = np.hstack([-np.ones((len(w), 1)), w])
    rows, columns = np.triu_indices(v.shape[1])
    return np.maximum((v[:, rows] * v[:, columns]) @ halves, 0)
