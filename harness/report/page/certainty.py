"""How sure the means of a ranking are: intervals, groups, ranges of ranks, pairwise differences.

The statistics are those of `harness.selection`, on the scores that a ranking's means are over:
artists are drawn again, not tracks. With fewer artists than `harness.selection.MIN_ARTISTS` there
is no interval and no group.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.results.grid import Grid
from harness.results.ranking import Compared, Key, Ranking, by_genre, places
from harness.selection import (
    MIN_ARTISTS,
    mean_intervals,
    median_intervals,
    pairs,
    ranking,
)  # fmt: skip
from harness.selection.comparing import failure_of


class Cell(NamedTuple):
    """What is sure of one separator; NaN and 0 where nothing is."""

    low: float = np.nan
    high: float = np.nan
    median_low: float = np.nan
    median_high: float = np.nan
    group: str = ""
    rank_low: int = 0
    rank_high: int = 0
    p_best: float = np.nan


class Certainty(NamedTuple):
    """What is sure of one stem from one input."""

    artists: int  # behind the common tracks
    cells: dict[str, Cell]  # by separator
    #: all pairs of ranked separators: a, b, difference (a − b), low, high, p (Holm), apart (whether
    #: they differ significantly)
    pairs: pd.DataFrame


def certainties(found: Ranking) -> dict[Key, Certainty]:
    """Return how sure the means of a ranking are, by (input, stem)."""
    sign, failure = 1 if found.higher_is_better else -1, failure_of(found.metric)
    placed = places(found.metric)
    return {key: _certainty(stem, sign, failure, placed) for key, stem in found.stems.items()}


def genre_intervals(found: Ranking) -> pd.DataFrame:
    """Return intervals of the means by genre, on the common tracks.

    Columns source, stem, genre, separator, low, high, artists.
    """
    out: list[tuple[Any, ...]] = []
    for key, stem in found.stems.items():
        for genre, part in by_genre(stem.grid):
            n_artists = part.n_artists
            cells = intervals(part, median=False) if n_artists >= MIN_ARTISTS else {}
            for name in part.separators:
                cell = cells.get(name, Cell())
                out.append((*key, genre, name, cell.low, cell.high, n_artists))
    names = ["source", "stem", "genre", "separator", "low", "high", "artists"]
    return pd.DataFrame(out, columns=names)


def intervals(grid: Grid, *, median: bool = True) -> dict[str, Cell]:
    """Return the intervals of every separator of a grid, each over the tracks it has."""
    cells: dict[str, Cell] = {}
    for part in grid.parts():
        kinds = (mean_intervals, median_intervals) if median else (mean_intervals,)
        found = [kind(part.scores, part.clusters) for kind in kinds]
        ends = [end for one in found for end in (one.low, one.high)]
        for name, *own in zip(part.separators, *ends, strict=True):
            cells[name] = Cell(*own)
    return cells


def _certainty(stem: Compared, sign: int, failure: float, placed: bool) -> Certainty:
    """Return what is sure of one stem; `sign` is −1 where lower is better; ranks if `placed`."""
    grid, rivals = stem.grid, stem.rivals
    if grid.n_artists < MIN_ARTISTS:
        return Certainty(grid.n_artists, {}, _plain_pairs(rivals))
    rivals = replace(rivals, scores=sign * rivals.scores)
    compared = pairs(rivals, failure=failure)
    cells = intervals(grid)
    for row in ranking(rivals, compared=compared).to_dict("records") if placed else ():
        ranks = {name: row[name] for name in ("group", "rank_low", "rank_high", "p_best")}
        cells[row["separator"]] = cells[row["separator"]]._replace(**ranks)
    ends = compared[["difference", *["low", "high"][::sign]]].to_numpy()
    compared[["difference", "low", "high"]] = sign * ends
    return Certainty(grid.n_artists, cells, compared.assign(apart=compared["better"] != ""))


def _plain_pairs(grid: Grid) -> pd.DataFrame:
    """Return the mean differences of all pairs, of which nothing is sure."""
    left, right = np.triu_indices(len(grid.separators), k=1)
    names = np.array(grid.separators, dtype=object)
    table = pd.DataFrame({"a": names[left], "b": names[right]})
    means = grid.means[left] - grid.means[right]
    return table.assign(difference=means, low=np.nan, high=np.nan, p=np.nan, apart=False)
