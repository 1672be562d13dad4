"""Score any linear blend of separators from inner products, without their audio.

Energies are quadratic in the estimate, and the projections of BSS Eval are linear in it. So the
inner products between the estimates of one stem, between their projections, and with the reference
determine the score of every blend Σ w·estimate by each metric that has `forms`. Products are
subtracted from each other, so scores above about 70 dB lose digits. If every estimate was cut into
frequency bands, the same holds for Σ w·(band of estimate).
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from harness.core.audio import Float64
from harness.core.bands import Weight
from harness.core.errors import HarnessError
from harness.core.files import zip_damage
from harness.metrics.definitions import (
    METRICS,
    NEVER_SILENT,
    NO_FRAME,
    SILENT_ESTIMATE,
    SILENT_REFERENCE,
    Forms,
    InnerProducts,
    Metric,
    Score,
    When,
)
from harness.metrics.ratios import db, medians_of

ARRAYS = tuple(field.name for field in fields(InnerProducts))
CROSS = ("cross", "whole_cross")  # of references and estimates, the only ones not symmetric
OF_SOURCES = ("among", "whole_among", "mixture_own", *CROSS)  # absent in files of old versions
VALUES = 1 << 20  # numbers worked on at once
SURE = 50.0  # dB; beyond it products that cancel may have lost the sixth digit after the point


@dataclass(frozen=True)
class BlendProducts(InnerProducts):
    """Inner products of separators' estimates of one stem of one track; made by `References`.

    With bands, the K estimates are the separators' lowest bands, then their next ones, and so on,
    and there are no frames.
    """

    separators: tuple[str, ...]  # in the order of the arrays
    edges: tuple[float, ...] = ()  # between the bands, in Hz; empty if estimates were not cut
    sources: tuple[str, ...] = ()  # stems of the references, this one first; empty if not kept

    @property
    def n_bands(self) -> int:
        """Number of bands that the estimates were cut into; 1 if they were not."""
        return len(self.edges) + 1

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the default metrics that can be scored."""
        found = (m for m in METRICS.values() if m.when is not When.ON_REQUEST)
        return tuple(metric.name for metric in found if self._can(metric))

    def _can(self, metric: Metric) -> bool:
        """Whether a metric can be computed from the products that are here."""
        kept = bool(self.sources) or not metric.with_references
        frames = len(self.plain) > 0 or not metric.per_frame
        return metric.forms is not None and kept and frames

    def score(self, weights: Mapping[str, Weight]) -> dict[str, float]:
        """Score one blend: metric → dB, as `References.score` does for the blended audio.

        Weights are separator → weight, or one weight per band; separators not named have weight 0.
        """
        if unknown := sorted(weights.keys() - set(self.separators)):
            raise HarnessError(
                f"blend: no estimate of {unknown}; choose from {list(self.separators)}"
            )
        by_name = [np.broadcast_to(weights.get(n, 0.0), self.n_bands) for n in self.separators]
        row = np.transpose(by_name).reshape(1, -1)
        return {name: float(values[0]) for name, values in self.scores(row).items()}

    def scores(self, weights: npt.ArrayLike) -> dict[str, Float64]:
        """Score many blends, shape (blends, K): metric → dB, shape (blends,); NaN if silent."""
        return {name: scorer([self], name)(weights)[:, 0] for name in self.metrics}

    def score_of(self, separator: str, metric: str) -> Score | None:
        """Score one separator as `References.score` does from its audio, to 1e-6 dB.

        None if the products do not determine the metric, or not to so many digits.
        """
        record = METRICS[metric]
        if not self._can(record):
            return None
        one = self.only([separator])
        xx, ee = np.diagonal(one.whole)
        if not xx > 0 and not record.at_silence:
            return Score(float("nan"), SILENT_REFERENCE)
        value = float(scorer([one], metric)([[1.0]])[0, 0])
        if record.per_frame and not (one._sounding != record.at_silence).any():
            return Score(value, NEVER_SILENT if record.at_silence else NO_FRAME)
        if np.isnan(value):
            return Score(value, record.undefined)
        if not record.at_silence:
            base = metric.removesuffix("i")  # an improvement over the mixture has two parts
            own = float(scorer([one], base)([[1.0]])[0, 0])
            if not max(abs(value), abs(own), abs(own - value)) < SURE:
                return None
        return Score(value, "" if ee > 0 else SILENT_ESTIMATE)

    def frames(self, weights: Mapping[str, float]) -> dict[str, Float64]:
        """Score each frame of one blend: metric → dB, shape (frames,); NaN where it is silent."""
        w = np.array([[weights.get(name, 0.0) for name in self.separators]])
        found = {}
        for name in self.metrics:
            if METRICS[name].per_frame and not METRICS[name].at_silence:
                found[name] = np.full(len(self.plain), np.nan)
                above, below = (_energies(w, _halves(form))[0] for form in self.forms(name))
                found[name][self._sounding] = db(above, below)
        return found

    def only(self, separators: Sequence[str]) -> BlendProducts:
        """Return the inner products of these separators alone, in this order."""
        at = [self.separators.index(name) for name in separators]
        picked = np.kron(np.eye(self.n_bands), np.eye(len(self.separators))[at])
        return replace(self._of(picked), separators=tuple(separators))

    def together(self) -> BlendProducts:
        """Return the inner products of the estimates before they were cut into bands."""
        return replace(self._of(np.tile(np.eye(len(self.separators)), self.n_bands)), edges=())

    def _of(self, sums: npt.NDArray[Any]) -> BlendProducts:
        """Return the inner products of sums of the estimates, shape (sums, K)."""
        with_reference = block_diag(1.0, sums)
        arrays = {}
        for name in ARRAYS:
            matrix = getattr(self, name)
            if name in OF_SOURCES:
                arrays[name] = matrix @ sums.T if name in CROSS and self.sources else matrix
                continue
            change = sums if matrix.shape[-1] == sums.shape[1] else with_reference
            arrays[name] = change @ matrix @ change.T
        return replace(self, **arrays)

    def forms(self, metric: str) -> Forms:
        """Return a metric's `definitions.Forms` for the frames whose reference is not silent."""
        record = METRICS.get(metric)
        if record is None or record.forms is None or not self._can(record):
            raise HarnessError(
                f"blend: {metric!r} cannot be computed from these inner products; choose from "
                f"{', '.join(self.metrics)}"
            )
        if not self.whole[0, 0] > 0 and not record.at_silence:
            return np.empty((0, *self.whole.shape)), np.empty((0, *self.whole.shape))
        above, below = record.forms(self)
        kept: Any = slice(None)
        if record.per_frame:
            kept = ~self._sounding if record.at_silence else self._sounding
        return above[kept], below[kept]

    @property
    def _sounding(self) -> npt.NDArray[np.bool_]:
        """Frames whose reference is not silent."""
        return np.asarray(self.plain[:, 0, 0] > 0)


def scorer(blends: Sequence[BlendProducts], metric: str) -> Callable[[npt.ArrayLike], Float64]:
    """Return the function from weights (blends, K) to dB, shape (blends, tracks).

    `blends` are one per track, with the same separators in the same order and the same bands. A
    silent reference gives NaN. The products of two weights are the same for every track, so all
    energies are one product of matrices: 100,000 blends of 10 separators on 50 tracks take a
    second.
    """
    if len(names := {(blend.separators, blend.edges) for blend in blends}) > 1:
        raise HarnessError(
            f"blend: tracks have different separators ({sorted(names)}); use BlendProducts.only"
        )
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


def write_blends(path: Path, blends: Mapping[str, BlendProducts]) -> None:
    """Write one half of each symmetric matrix of a track's stems to one ``.npz`` file.

    The file has its name only once it is complete.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for stem, blend in blends.items():
        arrays[f"{stem}/separators"] = np.array(blend.separators, np.str_)
        arrays[f"{stem}/edges"] = np.array(blend.edges, np.float64)
        arrays[f"{stem}/sources"] = np.array(blend.sources, np.str_)
        for name in ARRAYS:
            matrix = getattr(blend, name)
            half = np.triu_indices(matrix.shape[-1])
            arrays[f"{stem}/{name}"] = matrix if name in CROSS else matrix[..., *half]
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, allow_pickle=False, **arrays)
    part.replace(path)


def read_blends(path: Path) -> dict[str, BlendProducts]:
    """Read a file of `write_blends`: stem → inner products."""
    if wrong := zip_damage(path):
        raise HarnessError(f"{path}: cannot be read as inner products ({wrong}); score again")
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = dict(file)
        stems = [name.removesuffix("/separators") for name in arrays if "/separators" in name]
        return {stem: _unpacked(stem, arrays) for stem in stems}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise HarnessError(f"{path}: cannot be read as inner products; score again") from error


def _unpacked(stem: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> BlendProducts:
    """Rebuild one stem's matrices from their halves."""
    separators = tuple(str(name) for name in arrays[f"{stem}/separators"])
    edges = tuple(float(edge) for edge in arrays.get(f"{stem}/edges", np.zeros(0)))
    sources = tuple(str(name) for name in arrays.get(f"{stem}/sources", ()))
    matrices = {}
    for name in ARRAYS:
        if name in OF_SOURCES and not sources:
            continue
        half = np.asarray(arrays[f"{stem}/{name}"], np.float64)
        if name in CROSS:
            matrices[name] = half
            continue
        size = round(((8 * half.shape[-1] + 1) ** 0.5 - 1) / 2)
        full = np.zeros((*half.shape[:-1], size, size))
        rows, columns = np.triu_indices(size)
        full[..., rows, columns] = half
        full[..., columns, rows] = half
        matrices[name] = full
    return BlendProducts(**matrices, separators=separators, edges=edges, sources=sources)


def _halves(forms: Float64) -> Float64:
    """Return the factors of the products of two weights, shape (products, frames)."""
    rows, columns = np.triu_indices(forms.shape[-1])
    return np.ascontiguousarray((forms[:, rows, columns] * np.where(rows == columns, 1, 2)).T)


def _energies(w: Float64, halves: Float64) -> Float64:
    """Return values of forms in (−1, w), (blends, frames); rounding below zero becomes zero."""
    v = np.hstack([-np.ones((len(w), 1)), w])
    rows, columns = np.triu_indices(v.shape[1])
    return np.maximum((v[:, rows] * v[:, columns]) @ halves, 0)
