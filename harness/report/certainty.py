"""How sure the means of a table are: intervals, groups, ranges of ranks, pairwise differences.

The statistics are those of `harness.selection`, on the very tracks that a table's means are over
(`tables.common_tracks`): artists are drawn again, not tracks, and scores beyond ±30 dB count as
±30 dB. With fewer artists than `harness.selection.MIN_ARTISTS` there is no interval and no group.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from harness.report.tables import genre_name
from harness.selection import (
    MIN_ARTISTS,
    TIED,
    TOO_FEW,
    Grid,
    mean_intervals,
    median_intervals,
    pairs,
    ranking,
)
from harness.selection.grid import LIMIT

RESAMPLES = 2000
_TRACK = ("split", "track", "artist", "genre")


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
    """What is sure of one (input, stem).

    Attributes
    ----------
    artists
        Behind the common tracks.
    cells
        By separator.
    pairs
        All pairs of ranked separators: columns a, b, difference (a − b), low, high, p (Holm),
        apart (whether they can be told apart).
    """

    artists: int
    cells: dict[str, Cell]
    pairs: pd.DataFrame


Key = tuple[str, str]  # input, stem


def grids(rows: pd.DataFrame) -> dict[Key, Grid]:
    """Return the scores of one metric on one dataset's common tracks, by (input, stem).

    Parameters
    ----------
    rows
        As from `tables.common_tracks`; a track's name is unique in its dataset.
    """
    common = rows[rows["common"]]
    track, separator = (
        pd.factorize(common[name].astype(object), sort=True) for name in ("track", "separator")
    )
    first = common.assign(at=track[0]).drop_duplicates("at").sort_values("at")
    labels = [first[name].astype(object).fillna("").to_numpy() for name in _TRACK]
    values = np.clip(common["value"].to_numpy(np.float64), -LIMIT, LIMIT)
    found = {}
    groups: dict[Any, Any] = common.groupby(["input", "stem"], sort=True, observed=True).indices
    for key, at in groups.items():
        wide = np.full((len(track[1]), len(separator[1])), np.nan)
        wide[track[0][at], separator[0][at]] = values[at]
        here, who = np.unique(track[0][at]), np.unique(separator[0][at])
        source, stem = map(str, key)
        names = tuple(map(str, separator[1][who]))
        splits, tracks, artists, genres = (label[here] for label in labels)
        scores = wide[np.ix_(here, who)]
        found[source, stem] = Grid("", source, stem, names, splits, tracks, artists, genres, scores)
    return found


def certainties(
    rows: pd.DataFrame,
    found: Mapping[Key, Grid],
    ranked: Collection[str],
    *,
    higher_is_better: bool = True,
) -> dict[Key, Certainty]:
    """Return how sure the means of one metric on one dataset are, by (input, stem).

    Parameters
    ----------
    rows
        As from `tables.common_tracks`.
    found
        As from `grids`.
    ranked
        Separators that are ranked where they have seen none of the tracks in training.
    """
    seen = rows[rows["common"] & rows["seen"]]
    heard = {*zip(seen["input"], seen["stem"], seen["separator"], strict=True)}
    sign = 1 if higher_is_better else -1
    return {
        key: _certainty(grid, [name for name in ranked if (*key, name) not in heard], sign)
        for key, grid in found.items()
    }


def genre_intervals(found: Mapping[Key, Grid]) -> pd.DataFrame:
    """Return intervals of the means by genre, on the common tracks.

    Parameters
    ----------
    found
        As from `grids`.

    Returns
    -------
    DataFrame
        Columns input, stem, genre, separator, low, high, artists.
    """
    out: list[tuple[Any, ...]] = []
    for key, grid in found.items():
        genres = np.array([genre_name(genre) for genre in grid.genres], dtype=object)
        for genre in sorted(set(genres)):
            part = grid.take(genres == genre)
            n_artists = part.n_artists
            cells = intervals(part, median=False) if n_artists >= MIN_ARTISTS else {}
            for name in part.separators:
                cell = cells.get(name, Cell())
                out.append((*key, genre, name, cell.low, cell.high, n_artists))
    names = ["input", "stem", "genre", "separator", "low", "high", "artists"]
    return pd.DataFrame(out, columns=names)


def intervals(grid: Grid, *, median: bool = True) -> dict[str, Cell]:
    """Return the intervals of every separator of a grid, each over the tracks it has."""
    finite = np.isfinite(grid.scores)
    cells: dict[str, Cell] = {}
    for pattern in np.unique(finite, axis=1).T:  # most often one: all have all
        here = (finite == pattern[:, None]).all(axis=0)
        part = grid.take(pattern).only(np.array(grid.separators)[here].tolist())
        mean = mean_intervals(part.scores, part.clusters, resamples=RESAMPLES)
        for name, low, high in zip(part.separators, mean.low, mean.high, strict=True):
            cells[name] = Cell(float(low), float(high))
        if median:
            middle = median_intervals(part.scores, part.clusters)
            for name, low, high in zip(part.separators, middle.low, middle.high, strict=True):
                cells[name] = cells[name]._replace(median_low=float(low), median_high=float(high))
    return cells


def _certainty(grid: Grid, ranked: Collection[str], sign: int) -> Certainty:
    """Return what is sure of one grid; `sign` is −1 where lower is better."""
    rivals = grid.only(ranked)
    if grid.n_artists < MIN_ARTISTS:
        return Certainty(grid.n_artists, {}, _plain_pairs(rivals))
    rivals = replace(rivals, scores=sign * rivals.scores)
    compared = pairs(rivals, resamples=RESAMPLES)
    cells = intervals(grid)
    for row in ranking(rivals, resamples=RESAMPLES, compared=compared).to_dict("records"):
        ranks = {name: row[name] for name in ("group", "rank_low", "rank_high", "p_best")}
        cells[row["separator"]] = cells[row["separator"]]._replace(**ranks)
    ends = compared[["difference", *["low", "high"][::sign]]].to_numpy()
    compared[["difference", "low", "high"]] = sign * ends
    apart = ~compared["verdict"].isin([TIED, TOO_FEW])
    return Certainty(grid.n_artists, cells, compared.assign(apart=apart))


def _plain_pairs(grid: Grid) -> pd.DataFrame:
    """Return the mean differences of all pairs, of which nothing is sure."""
    left, right = np.triu_indices(len(grid.separators), k=1)
    names = np.array(grid.separators, dtype=object)
    means = (grid.scores[:, left] - grid.scores[:, right]).mean(axis=0)
    table = pd.DataFrame({"a": names[left], "b": names[right], "difference": means})
    return table.assign(low=np.nan, high=np.nan, p=np.nan, apart=False)
