"""Policies, which choose a separator, and cross-fitting, which tests them on other artists' music.

A *policy* receives the grid of the tracks that choose, and returns a *rule*, which names a
separator for each track of another grid. A rule uses a track's labels, never its scores. Policies
are ordinary functions, so that a tuned one (`tuned`) is a policy too, and cross-fitting it is
nested automatically.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from harness.core.audio import Float64
from harness.results.grid import Grid, IntArray, Names
from harness.selection.statistics import (
    ALPHA,
    MIN_ARTISTS,
    RESAMPLES,
    draw,
    means_and_errors,
    resampled_means,
    shares_of_best,
    studentized_means,
)

Rule = Callable[[Grid], Names]
Policy = Callable[[Grid], Rule]

MIN_GENRE = 8  # tracks of a genre below which it follows the rest
INNER_FOLDS = 10  # of `tuned`, inside every outer one
NOBODY = ""  # where no track can choose


def best_mean(grid: Grid) -> Rule:
    """Choose the separator with the best mean on the tracks that all have; ties go by name."""
    whole = grid.complete()
    return _always(_best(whole.scores.mean(axis=0), whole) if len(whole.tracks) else NOBODY)


def best_median(grid: Grid) -> Rule:
    """Choose the separator with the best median, which one failed track hardly changes."""
    whole = grid.complete()
    return _always(_best(np.median(whole.scores, axis=0), whole) if len(whole.tracks) else NOBODY)


def bagged(grid: Grid, *, resamples: int = 1000, seed: int = 0) -> Rule:
    """Choose the separator that most bootstrap resamples of the artists would choose.

    This is bootstrap aggregation of the choice: if two are close on average, but one only because
    of a few artists' tracks, it chooses the other.
    """
    whole = grid.complete()
    if not len(whole.tracks):
        return _always(NOBODY)
    weights = draw(whole.n_artists, resamples, seed)
    votes = shares_of_best(resampled_means(whole.scores, whole.clusters, weights))
    return _always(_best(votes, whole))


def by_genre(
    grid: Grid, *, min_tracks: int = MIN_GENRE, resamples: int = 1000, seed: int = 0
) -> Rule:
    """Choose the best of the genre if it is strong (see `genre_cells`), otherwise of all tracks."""
    fallback = best_mean(grid)
    cells = _cells(grid.complete(), min_tracks, resamples, seed)
    strong = {cell.genre: cell.best for cell in cells if cell.strong}

    def rule(tracks: Grid) -> Names:
        pairs = zip(tracks.genres, fallback(tracks), strict=True)
        return np.array([strong.get(genre, other) for genre, other in pairs], dtype=object)

    return rule


class GenreCell(NamedTuple):
    """One row of `genre_cells`."""

    genre: str
    n: int  # tracks
    artists: int
    overall: str  # the best separator of all tracks
    best: str  # the best separator of the genre
    gain: float  # of `best` over `overall` in the genre, dB
    low: float  # its lower bound; NaN if none was needed
    strong: bool


def genre_cells(
    grid: Grid, *, min_tracks: int = MIN_GENRE, resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Find genres in which another separator is better than the best one of all tracks.

    A cell is strong if it has `min_tracks` tracks by `statistics.MIN_ARTISTS` artists, and the
    one-sided lower bound of the genre's gain is above zero. The bound holds at 95 % for all rivals
    and all genres together (bootstrap of the largest studentized difference; Bonferroni over
    genres), since the best of many is also best by chance.

    Returns
    -------
    DataFrame
        Columns are the fields of `GenreCell`.
    """
    cells = _cells(grid.complete(), min_tracks, resamples, seed)
    return pd.DataFrame(cells, columns=GenreCell._fields)


def _cells(whole: Grid, min_tracks: int, resamples: int, seed: int) -> list[GenreCell]:
    """Return one cell per known genre of a complete grid."""
    if not len(whole.tracks):
        return []
    overall = int(np.argmax(whole.scores.mean(axis=0)))
    genres = sorted(set(whole.genres) - {"", "unknown"})
    found = []
    for genre in genres:
        cell = whole.take(whole.genres == genre)
        gains = cell.scores - cell.scores[:, [overall]]
        mean = gains.mean(axis=0)
        best, low = int(np.argmax(mean)), np.nan
        enough = len(cell.tracks) >= min_tracks and cell.n_artists >= MIN_ARTISTS
        if enough and best != overall:
            low = _joint_bounds(gains, cell, 1 - ALPHA / len(genres), resamples, seed)[best]
        names = whole.separators[overall], whole.separators[best]
        counts = len(cell.tracks), cell.n_artists
        found.append(GenreCell(genre, *counts, *names, float(mean[best]), low, bool(low > 0)))
    return found


def tuned(policies: Mapping[str, Policy], *, folds: int = INNER_FOLDS) -> Policy:
    """Return the policy that applies the best one of several, by their cross-fitted scores.

    Cross-fitting it is nested: the outer held-out tracks choose nothing inside.
    """

    def policy(grid: Grid) -> Rule:
        whole = grid.complete()
        means = {
            name: np.nanmean(whole.at(cross_fit(whole, inner, folds=folds)))
            for name, inner in policies.items()
            if whole.n_artists > 1
        }
        name = max(means, key=lambda n: means[n]) if means else next(iter(policies))
        return policies[name](grid)

    return policy


POLICIES: dict[str, Policy] = {
    "best mean": best_mean,
    "best median": best_median,
    "bagged": bagged,
    "by genre": by_genre,
    "tuned": tuned(
        {
            "best mean": best_mean,
            "best median": best_median,
            "by genre": partial(by_genre, resamples=400),
        }
    ),
}


def cross_fit(grid: Grid, policy: Policy, *, folds: int | None = None, seed: int = 0) -> Names:
    """Name for each track the separator that the tracks of other artists choose.

    Parameters
    ----------
    folds
        Number of groups of artists that are held out together; None holds out one at a time.

    Returns
    -------
    ndarray
        Shape (tracks,), names; `NOBODY` if no other artist's track can choose.
    """
    held = fold_of(grid.clusters, folds, seed)
    names = np.full(len(grid.tracks), NOBODY, dtype=object)
    for fold in np.unique(held):
        choosing, here = grid.take(held != fold), held == fold
        if len(choosing.tracks):
            names[here] = policy(choosing)(grid.take(here))
    return names


def choose_on(other: Grid, grid: Grid, policy: Policy) -> Names:
    """Name for each track of `grid` the separator that another dataset chooses.

    Tracks by artists of `grid` are left out of the choice.
    """
    apart = other.take(~np.isin(other.who, grid.who))
    return policy(apart.only(grid.separators))(grid)


def fold_of(clusters: IntArray, folds: int | None = None, seed: int = 0) -> IntArray:
    """Return the fold of each track; tracks of one cluster are in the same fold.

    Examples
    --------
    >>> fold_of(np.array([0, 0, 1, 2])).tolist()
    [0, 0, 1, 2]
    """
    n = int(clusters.max(initial=-1)) + 1
    if folds is None or folds >= n:
        return clusters
    dealt = np.random.default_rng(seed).permutation(n) % folds
    return dealt[clusters]


def _best(values: Float64, grid: Grid) -> str:
    """Return the separator with the highest value; ties go to the first by name."""
    return grid.separators[int(np.argmax(values))]


def _always(name: str) -> Rule:
    """Return the rule that names the same separator for every track."""
    return lambda tracks: np.full(len(tracks.tracks), name, dtype=object)


def _joint_bounds(gains: Float64, cell: Grid, level: float, resamples: int, seed: int) -> Float64:
    """Return lower bounds of the mean gains that hold together at this level."""
    mean, error = means_and_errors(gains, cell.clusters)
    weights = draw(cell.n_artists, resamples, seed)
    largest = studentized_means(gains, cell.clusters, weights).max(axis=1)
    return np.asarray(mean - np.quantile(largest, level) * error)
