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
PLACE = ["dataset", "input", "fed_by", "stem"]  # of a grid


def place_of(grid: Grid) -> dict[str, str]:
    """Return where the scores of a grid belong: {name of `PLACE`: value}."""
    return {name: getattr(grid, name) for name in PLACE}


def best_mean(grid: Grid) -> Rule:
    """Choose the separator with the best mean on the tracks that all have; ties go by name."""
    return _best(grid.complete(), lambda scores: np.asarray(scores.mean(axis=0)))


def best_median(grid: Grid) -> Rule:
    """Choose the separator with the best median, which one failed track hardly changes."""
    return _best(grid.complete(), partial(np.median, axis=0))


def bagged(grid: Grid) -> Rule:
    """Choose the separator that most of 1000 bootstrap resamples of the artists would choose.

    This is bootstrap aggregation of the choice: if two are close on average, but one only because
    of a few artists' tracks, it chooses the other.
    """
    whole = grid.complete()

    def votes(scores: Float64) -> Float64:
        weights = draw(whole.n_artists, 1000)
        return shares_of_best(resampled_means(scores, whole.clusters, weights))

    return _best(whole, votes)


def _best(whole: Grid, values: Callable[[Float64], Float64]) -> Rule:
    """Return the rule that names the separator with the highest value for every track."""
    name = NOBODY
    if len(whole.tracks):
        name = whole.separators[int(np.argmax(values(whole.scores)))]
    return lambda tracks: np.full(len(tracks.tracks), name, dtype=object)


def by_genre(grid: Grid, *, resamples: int = 1000) -> Rule:
    """Choose the best of the genre if it is strong (see `genre_cells`), otherwise of all tracks."""
    fallback = best_mean(grid)
    cells = genre_cells(grid, resamples=resamples).itertuples()
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


def genre_cells(grid: Grid, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Find genres in which another separator is better than the best one of all tracks.

    There is one row per known genre, with the fields of `GenreCell`. A cell is strong if it has
    `MIN_GENRE` tracks by `statistics.MIN_ARTISTS` artists, and the one-sided lower bound of the
    genre's gain is above zero. The bound holds at 95 % for all rivals and all genres together
    (bootstrap of the largest studentized difference; Bonferroni over genres), since the best of
    many is also best by chance.
    """
    whole, cells = grid.complete(), list[GenreCell]()
    genres = sorted(set(whole.genres) - {"", "unknown"})
    overall = int(np.argmax(whole.scores.mean(axis=0))) if genres else 0
    for genre in genres:
        cell = whole.take(whole.genres == genre)
        gains = cell.scores - cell.scores[:, [overall]]
        mean, error = means_and_errors(gains, cell.clusters)
        best, low = int(np.argmax(mean)), np.nan
        if len(cell.tracks) >= MIN_GENRE and cell.n_artists >= MIN_ARTISTS and best != overall:
            weights = draw(cell.n_artists, resamples)
            largest = studentized_means(gains, cell.clusters, weights).max(axis=1)
            low = (mean - np.quantile(largest, 1 - ALPHA / len(genres)) * error)[best]
        names = whole.separators[overall], whole.separators[best]
        counts = len(cell.tracks), cell.n_artists
        cells.append(GenreCell(genre, *counts, *names, float(mean[best]), low, bool(low > 0)))
    return pd.DataFrame(cells, columns=GenreCell._fields)


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


_SIMPLE: dict[str, Policy] = {"best mean": best_mean, "best median": best_median}
POLICIES = _SIMPLE | {
    "bagged": bagged,
    "by genre": by_genre,
    "tuned": tuned(_SIMPLE | {"by genre": partial(by_genre, resamples=400)}),
}


def cross_fit(grid: Grid, policy: Policy, *, folds: int | None = None) -> Names:
    """Name for each track the separator that the tracks of other artists choose.

    It is `NOBODY` if no other artist's track can choose. `folds` is the number of groups of artists
    that are held out together; None holds out one artist at a time.
    """
    held = fold_of(grid.clusters, folds)
    names = np.full(len(grid.tracks), NOBODY, dtype=object)
    for fold in np.unique(held):
        choosing, here = grid.take(held != fold), held == fold
        if len(choosing.tracks):
            names[here] = policy(choosing)(grid.take(here))
    return names


def held_out(grid: Grid, policy: Policy, other: Grid | None, folds: int | None = None) -> Names:
    """Name for each track the separator that other artists' tracks choose.

    These are the tracks of `other`, a grid of another dataset; without it, they are those of the
    same grid (`cross_fit`).
    """
    if other is None:
        return cross_fit(grid, policy, folds=folds)
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
