"""The bleed matrix of each separator: how much of every stem is in its estimate of each stem."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from harness.core.taxonomy import in_order
from harness.core.text import decimals
from harness.metrics import BlendProducts, bleed
from harness.metrics.ratios import medians_of

INAUDIBLE = -60.0  # dB; what is below is shown as none
LOUD = -6.0  # dB of what is drawn strongest
Place = tuple[str, str, str, str]  # dataset, split, track, stem


class BleedCell(NamedTuple):
    """One value of a matrix: of a stem, or of what no stem explains."""

    level: float  # dB, median over tracks; NaN if there is none
    own: bool  # whether this is the stem that was asked for
    shade: int  # percent of the strongest color; 0 for the own stem

    @property
    def shown(self) -> str:
        """The level as text: empty if there is none, a dash if it cannot be heard."""
        if math.isnan(self.level):
            return ""
        return decimals(self.level, 1) if self.level >= INAUDIBLE else "–"


class BleedMatrix(NamedTuple):
    """The matrix of one separator: a row per estimated stem, a column per source."""

    separator: str
    tracks: int
    sources: list[str]
    rows: list[tuple[str, list[BleedCell]]]


def matrices(kept: Mapping[Place, BlendProducts]) -> dict[str, list[BleedMatrix]]:
    """Return the matrices of each dataset, those of the least bleed of other stems first.

    `kept` are the inner products of a run, which may lack those of references.
    """
    levels: dict[tuple[str, str, frozenset[str]], dict[str, list[dict[str, float]]]] = {}
    for (dataset, _, _, stem), products in kept.items():
        if not products.sources:
            continue
        columns = (*products.sources, bleed.NO_STEM)
        for separator, values in zip(products.separators, bleed.levels(products), strict=True):
            of = levels.setdefault((dataset, separator, frozenset(products.sources)), {})
            of.setdefault(stem, []).append(dict(zip(columns, values.tolist(), strict=True)))
    found: dict[str, list[BleedMatrix]] = {}
    for (dataset, separator, sources), of_stem in levels.items():
        found.setdefault(dataset, []).append(_matrix(separator, sources, of_stem))
    return {dataset: sorted(of, key=_order) for dataset, of in found.items()}


def _matrix(
    separator: str, sources: Collection[str], of_stem: Mapping[str, list[dict[str, float]]]
) -> BleedMatrix:
    columns = [*in_order(sources), bleed.NO_STEM]
    rows = []
    for stem in in_order(of_stem):
        medians = [_median([track[name] for track in of_stem[stem]]) for name in columns]
        pairs = zip(columns, medians, strict=True)
        rows.append((stem, [_cell(name == stem, level) for name, level in pairs]))
    return BleedMatrix(separator, max(map(len, of_stem.values())), columns, rows)


def _median(values: list[float]) -> float:
    """Median over the tracks on which the stem sounds; NaN without any."""
    known = np.array([value for value in values if not math.isnan(value)])
    return float(medians_of(known[None])[0])


def _cell(own: bool, level: float) -> BleedCell:
    if own or math.isnan(level):
        return BleedCell(level, own, 0)
    part = (level - INAUDIBLE) / (LOUD - INAUDIBLE)
    return BleedCell(level, own, round(100 * min(max(part, 0.0), 1.0)))


def _order(matrix: BleedMatrix) -> tuple[int, list[str], float, str]:
    """Sort by the stems, most of them first, then by the mean level of other stems."""
    shades = [cell.shade for _, cells in matrix.rows for cell in cells[:-1] if not cell.own]
    mean = float(np.mean(shades)) if shades else 0.0
    return -len(matrix.sources), matrix.sources, mean, matrix.separator
