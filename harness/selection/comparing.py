"""Which separators can be told apart, and which cannot: no rank without its uncertainty.

Two separators are *told apart* only if two things agree: the bootstrap interval of their mean
difference (by artist, see `resampling`) leaves out zero, and the signed-rank test on the artists'
mean differences, corrected for all comparisons made together, has p below 0.05. With fewer than
`resampling.MIN_ARTISTS` artists nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import HarnessError
from harness.grid import (
    HARMONIC,
    BoolArray,
    FloatArray,
    Grid,
    Leaked,
    grids,
    track_scores,
    without_leaked,
)
from harness.selection.rank_tests import artist_means, holm, letters, signed_rank
from harness.selection.resampling import (
    ALPHA,
    MIN_ARTISTS,
    RESAMPLES,
    difference_intervals,
    draw,
    mean_intervals,
    rank_intervals,
    resampled_means,
    shares_of_best,
)

TOO_FEW = "too few tracks to tell"
TIED = "cannot be told apart"


def compare(
    scores: pd.DataFrame,
    a: str,
    b: str,
    *,
    metric: str = HARMONIC,
    leaked: Leaked = (),
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Compare two separators on the tracks that both have, per dataset, input and stem.

    Parameters
    ----------
    scores
        Columns `harness.results.COLUMNS`.
    leaked
        (separator, dataset, split, track) to leave out.

    Returns
    -------
    DataFrame
        Columns dataset, input, stem, n (tracks compared on), lacks_a, lacks_b (tracks that only the
        other has), artists, mean_a, mean_b, difference (a − b), low, high (its 95 % interval), p
        (corrected by Holm over the rows), verdict.

    Raises
    ------
    HarnessError
        If one of the two has no score.
    """
    candidates = without_leaked(track_scores(scores, metric), leaked)
    for name in (a, b):
        if name not in set(candidates["separator"]):
            known = ", ".join(sorted(candidates["separator"].unique())) or "no separator"
            raise HarnessError(f"compare: {name!r} has no {metric} that counts; {known} has")
    rows = []
    for grid in grids(candidates[candidates["separator"].isin([a, b])]):
        if set(grid.separators) != {a, b} and a != b:
            continue
        have = np.isfinite(grid.scores[:, [grid.separators.index(name) for name in (a, b)]])
        both = grid.complete(min_tracks=0)
        pair = both.scores[:, [both.separators.index(name) for name in (a, b)]]
        rows.append(
            {
                "dataset": grid.dataset,
                "input": grid.source,
                "stem": grid.stem,
                "n": len(pair),
                "lacks_a": int((~have[:, 0]).sum()),
                "lacks_b": int((~have[:, 1]).sum()),
                "artists": both.n_artists,
                "mean_a": pair[:, 0].mean(),
                "mean_b": pair[:, 1].mean(),
                **_differences(pair[:, :1] - pair[:, 1:], both, resamples).iloc[0],
            }
        )
    if not rows:
        raise HarnessError(f"compare: {a!r} and {b!r} share no stem; nothing can be compared")
    table = pd.DataFrame(rows)
    table["p"] = holm(table["p"].to_numpy())
    return table.assign(verdict=_verdicts(table, (a, b)))


def pairs(grid: Grid, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Compare all pairs of a grid on the tracks that all its separators have.

    Returns
    -------
    DataFrame
        Columns a, b, difference (mean of a − b, dB), low, high, p (corrected by Holm over the
        pairs), verdict; in the order of the separators.
    """
    whole = grid.complete()
    left, right = np.triu_indices(len(whole.separators), k=1)
    names = np.array(whole.separators, dtype=object)
    table = pd.DataFrame({"a": names[left], "b": names[right]})
    bounds = difference_intervals(whole.scores, whole.clusters, left, right, resamples=resamples)
    table["difference"], table["low"], table["high"] = bounds.mean, bounds.low, bounds.high
    by_artist = artist_means(whole.scores, whole)
    table["p"] = holm(_p_of(by_artist[:, left] - by_artist[:, right]))
    return table.assign(verdict=_verdicts(table, (table["a"], table["b"])))


def ranking(
    grid: Grid,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    compared: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Rank the separators of a grid by their mean on the tracks that all have.

    Parameters
    ----------
    compared
        What `pairs` says of the grid, where it is known already.

    Returns
    -------
    DataFrame
        Best first: separator, n, artists, mean, median, low, high (of the mean), rank, rank_low,
        rank_high (95 % of the resamples), p_best (share of the resamples in which it has the
        highest mean, and so would be chosen), tied (how many others it cannot be told from), group
        (separators that share a letter cannot be told apart; empty with too few artists to tell).
    """
    whole = grid.complete()
    if not len(whole.tracks):
        return pd.DataFrame(columns=[*_RANKING])
    bounds = mean_intervals(whole.scores, whole.clusters, resamples=resamples, seed=seed)
    weights = draw(whole.n_artists, resamples, seed)
    means = resampled_means(whole.scores, whole.clusters, weights)
    low, high = rank_intervals(means)
    table = pd.DataFrame(
        {
            "separator": whole.separators,
            "n": len(whole.tracks),
            "artists": whole.n_artists,
            "mean": bounds.mean,
            "median": np.median(whole.scores, axis=0),
            "low": bounds.low,
            "high": bounds.high,
            "rank_low": low,
            "rank_high": high,
            "p_best": shares_of_best(means),
        }
    )
    table["rank"] = table["mean"].rank(ascending=False, method="min").astype(int)
    table = table.sort_values("mean", ascending=False, kind="stable", ignore_index=True)
    compared = pairs(whole, resamples=resamples) if compared is None else compared
    different = told_apart(compared, table["separator"])
    table["tied"] = (~different).sum(axis=1) - 1
    table["group"] = letters(different) if whole.n_artists >= MIN_ARTISTS else ""
    return table[[*_RANKING]]


_RANKING = (
    "separator", "n", "artists", "mean", "median", "low", "high", "rank", "rank_low", "rank_high",
    "p_best", "tied", "group",
)  # fmt: skip


def told_apart(table: pd.DataFrame, order: Iterable[str]) -> BoolArray:
    """Return which separators of `pairs` can be told apart, in this order: shape (k, k)."""
    place = {name: i for i, name in enumerate(order)}
    different = np.zeros((len(place), len(place)), dtype=bool)
    clear = table[~table["verdict"].isin([TIED, TOO_FEW])]
    at = tuple(clear[name].map(place).to_numpy(np.intp) for name in ("a", "b"))
    different[at] = different[at[::-1]] = True
    return different


def _differences(columns: FloatArray, grid: Grid, resamples: int) -> pd.DataFrame:
    """Return mean difference, interval and uncorrected p of each column of differences."""
    if not len(columns):
        nothing = np.full(columns.shape[1], np.nan)
        return pd.DataFrame(dict.fromkeys(("difference", "low", "high", "p"), nothing))
    bounds = mean_intervals(columns, grid.clusters, resamples=resamples)
    p = _p_of(artist_means(columns, grid))
    return pd.DataFrame({"difference": bounds.mean, "low": bounds.low, "high": bounds.high, "p": p})


def _p_of(blocks: FloatArray) -> FloatArray:
    """Return the signed-rank test's p per column of artists' differences; NaN with too few."""
    if len(blocks) < MIN_ARTISTS:
        return np.full(blocks.shape[1], np.nan)
    return signed_rank(blocks)


def _verdicts(table: pd.DataFrame, names: tuple[object, object]) -> npt.NDArray[np.object_]:
    """Say in words which of two is better, where that may be said."""
    sure = table["p"] < ALPHA
    first, second = (np.broadcast_to(np.asarray(n, dtype=object), len(table)) for n in names)
    return np.select(
        [table["p"].isna(), sure & (table["low"] > 0), sure & (table["high"] < 0)],
        [TOO_FEW, first + " is better", second + " is better"],
        TIED,
    ).astype(object)
