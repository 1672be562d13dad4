"""Which differences are significant: between two separators, all of a grid, and two runs.

"A is better" says that A has the better mean over all songs of this kind. Three things must agree:

* The t-test of the mean difference by artist, corrected for skew, and the signed-rank test on the
  artists' mean differences both favor A. The larger p is below 0.05 after Holm's correction for all
  comparisons made together.
* The mean difference exceeds `statistics.rare_failures`: what failures of A would cost that are
  too rare to be seen in so many songs.
* There are `statistics.MIN_ARTISTS` artists.

Where only the signed-rank test, or only a lead that rare failures could cancel, favors A, the
verdict says that A is ahead, and why no more is claimed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.results.grid import (
    HARMONIC,
    LIMIT,
    TRACK,
    BoolArray,
    Grid,
    Leaked,
    grids,
    limit_of,
    track_scores,
    without_leaked,
)
from harness.selection.statistics import (
    ALPHA,
    FAILURE,
    MIN_ARTISTS,
    RESAMPLES,
    differences,
    draw,
    holm,
    letters,
    mean_intervals,
    rank_intervals,
    rare_failures,
    resampled_means,
    shares_of_best,
)

TOO_FEW, TIED = "too few artists for a test", "no significant difference"
ALL_STEMS = "all stems"  # stands for a stem where stems are compared together
MEAN, FAILURES = "mean", "rare failures"  # why a claim was withheld
REASONS = {
    MEAN: "is ahead with most artists, but not clearly on average",
    FAILURES: "is ahead on these songs, but failures too rare to be seen could cancel its lead",
}
SAME, BETTER, WORSE = "no change", "better", "worse"
UNSURE = "change not significant"

CASE = ["dataset", "input", "fed_by", "stem", "separator"]
_RANKING = [
    "separator", "n", "artists", "mean", "median", "low", "high", "rank", "rank_low", "rank_high",
    "p_best", "tied", "group",
]  # fmt: skip
_FOUND = [
    "n",
    "artists",
    "mean_a",
    "mean_b",
    "difference",
    "low",
    "high",
    "p",
    "ahead",
    "least",
    "same",
]
_CHANGES = [
    *CASE, "n", "artists", "only_a", "only_b", "mean_a", "mean_b", "difference", "low", "high", "p",
    "verdict",
]  # fmt: skip


def compare(
    scores: pd.DataFrame,
    a: str,
    b: str,
    *,
    metric: str = HARMONIC,
    leaked: Leaked = (),
    failure: float | None = None,
    overall: bool = False,
) -> pd.DataFrame:
    """Compare two separators on the tracks that both have, per dataset, input and stem.

    `failure` is what a failed song costs, see `statistics.rare_failures`; by default `failure_of`
    the metric. It is 0 for a blend and its member, which fail together. With `overall` there is one
    stem, `ALL_STEMS`, see `candidates_of_two`.

    Returns
    -------
    DataFrame
        Columns dataset, input, fed_by, stem, n (common tracks), lacks_a, lacks_b (tracks that only
        the other has), artists, mean_a, mean_b, difference (a − b), low, high (its 95 % interval),
        p (corrected by Holm over the rows), better (name of the significantly better one or empty),
        withheld (`MEAN` or `FAILURES` where one is ahead and no more is claimed), verdict (the same
        in words).
    """
    candidates = candidates_of_two(scores, a, b, metric=metric, overall=overall)
    candidates = without_leaked(candidates, leaked)
    failure = failure_of(metric) if failure is None else failure
    for name in (a, b):
        if name not in set(candidates["separator"]):
            known = ", ".join(sorted(candidates["separator"].unique()))
            others = (
                f"choose from: {known}" if known else "no separator has one; use another --metric"
            )
            raise HarnessError(f"compare: {name!r} has no score by {metric} to compare; {others}")
    rows, apart = [], False
    for grid in grids(candidates[candidates["separator"].isin([a, b])]):
        if set(grid.separators) != {a, b} and a != b:
            continue
        have = np.isfinite(grid.scores[:, [grid.separators.index(name) for name in (a, b)]])
        both = grid.complete(min_tracks=0)
        pair = both.scores[:, [both.separators.index(name) for name in (a, b)]]
        apart |= not len(pair)
        if not len(pair):
            continue
        rows.append(
            {
                "dataset": grid.dataset,
                "input": grid.input,
                "fed_by": grid.fed_by,
                "stem": grid.stem,
                "n": len(pair),
                "lacks_a": int((~have[:, 0]).sum()),
                "lacks_b": int((~have[:, 1]).sum()),
                "artists": both.n_artists,
                "mean_a": pair[:, 0].mean(),
                "mean_b": pair[:, 1].mean(),
                **_differences(pair[:, :1] - pair[:, 1:], both, failure).iloc[0],
            }
        )
    if not rows:
        shared = "track of a stem" if apart else "stem"
        trained = ", without the tracks that one was trained on (--leaked adds them)"
        raise HarnessError(
            f"compare: {a!r} and {b!r} share no {shared}{trained if leaked else ''}; choose others"
        )
    return _with_verdicts(pd.DataFrame(rows), a, b)


def candidates_of_two(
    scores: pd.DataFrame, a: str, b: str, *, metric: str, overall: bool = False
) -> pd.DataFrame:
    """Return the rows of `grid.track_scores`; with `overall` those of two separators over stems.

    The score over stems is the mean over the stems that both have in the dataset. A separator has
    none on a track where it lacks a stem that the other has.
    """
    found = track_scores(scores, metric)
    if not overall:
        return found
    found = found[found["separator"].isin([a, b])]
    limits = found["limit"].to_numpy(float) if "limit" in found else np.full(len(found), LIMIT)
    found = found.assign(score=np.clip(found["score"].to_numpy(float), -limits, limits))
    of_stem = found.groupby(["dataset", "input", "fed_by", "stem"], observed=True)["separator"]
    found = found[of_stem.transform("nunique") == len({a, b})]
    of_track = ["dataset", "split", "track", "input", "fed_by"]
    every = found.groupby(of_track, observed=True)["stem"].transform("nunique")
    own = found.groupby([*of_track, "separator"], observed=True)["stem"].transform("nunique")
    rest = {name: "first" for name in found if name not in (*of_track, "separator")}
    whole = found[own == every].groupby([*of_track, "separator"], observed=True, as_index=False)
    means: pd.DataFrame = whole.agg({**rest, "score": "mean"})
    return means.assign(stem=ALL_STEMS)[found.columns]


def pairs(grid: Grid, *, failure: float = FAILURE) -> pd.DataFrame:
    """Compare all pairs of a grid on the tracks that all its separators have.

    Returns
    -------
    DataFrame
        Columns a, b, difference (mean of a − b, dB), low, high, p (corrected by Holm over the
        pairs), better, withheld, verdict, as of `compare`; in the order of the separators.
    """
    whole = grid.complete()
    left, right = np.triu_indices(len(whole.separators), k=1)
    names = np.array(whole.separators, dtype=object)
    table = pd.DataFrame({"a": names[left], "b": names[right]})
    found = _differences(whole.scores[:, left] - whole.scores[:, right], whole, failure)
    return _with_verdicts(pd.concat([table, found], axis=1), table["a"], table["b"])


def ranking(
    grid: Grid,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    compared: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Rank the separators of a grid by their mean on the tracks that all have.

    `compared` is the result of `pairs`, if it is known already.

    Returns
    -------
    DataFrame
        Best first: separator, n, artists, mean, median, low, high (of the mean), rank, rank_low,
        rank_high (95 % of the resamples), p_best (share of the resamples in which it has the
        highest mean, and so would be chosen), tied (number of others from which it does not differ
        significantly), group (separators that share a letter do not differ significantly; empty
        with too few artists for a test).
    """
    whole = grid.complete()
    if not len(whole.tracks):
        return pd.DataFrame(columns=_RANKING)
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
    compared = pairs(whole) if compared is None else compared
    different = _different(compared, table["separator"].tolist())
    table["tied"] = (~different).sum(axis=1) - 1
    table["group"] = letters(different) if whole.n_artists >= MIN_ARTISTS else ""
    return table[_RANKING]


def _different(compared: pd.DataFrame, order: list[str]) -> BoolArray:
    """Return which pairs of separators differ significantly, shape (k, k)."""
    place = {name: i for i, name in enumerate(order)}
    different = np.zeros((len(place), len(place)), dtype=bool)
    clear = compared[compared["better"] != ""]
    at = tuple(clear[name].map(place).to_numpy(np.intp) for name in ("a", "b"))
    different[at] = different[at[::-1]] = True
    return different


def changes(a: pd.DataFrame, b: pd.DataFrame, metric: str = HARMONIC) -> pd.DataFrame:
    """Compare the scores of two runs, separator by separator, on the tracks that both have.

    Artists and genres are those of `a`. Leaked tracks count: a separator is compared with itself.
    So rare failures are left out of account: both sides have them.

    Returns
    -------
    DataFrame
        One row per dataset, input, fed_by, stem and separator that both runs scored: n (common
        tracks), artists, only_a and only_b (tracks of one run alone), mean_a, mean_b, difference
        (b − a), low, high (its 95 % interval, by artist), p (as of `compare`, corrected by Holm
        over the rows that changed), verdict: `SAME` if every
        track has the same score, `BETTER` or `WORSE` (of b) if the difference is significant.
    """
    left, right = (track_scores(scores, metric) for scores in (a, b))
    keys = ["split", "track", *CASE]
    both = left.merge(right[[*keys, "score"]], on=keys, suffixes=("_a", "_b"))
    counts = [side.groupby(CASE).size() for side in (left, right)]
    rows = [row for pair in _paired(both) for row in _changes(*pair)]
    table = pd.DataFrame(rows, columns=[*CASE, *_FOUND])
    for name, count in zip(("only_a", "only_b"), counts, strict=True):
        cases = pd.MultiIndex.from_frame(table[CASE])
        table[name] = count.reindex(cases).to_numpy(float) - table["n"].to_numpy(float)
    table = table.astype({"only_a": int, "only_b": int, "same": bool})
    table["p"] = holm(table["p"].mask(table["same"]).to_numpy(float))
    better = _better(table, BETTER, WORSE)
    conditions = [table["same"], table["p"].isna(), better != ""]
    table["verdict"] = np.select(conditions, [SAME, TOO_FEW, better], UNSURE)
    return table[_CHANGES]


def only_in_one(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return the cases that only one of two runs has: `CASE`, tracks, run (``A`` or ``B``)."""
    sides: list[pd.Series[int]] = []
    for frame in (a, b):
        scored = frame[(frame["status"] == "ok") & frame["stem"].ne("")]
        tracks = scored.drop_duplicates(["split", "track", *CASE])
        sides.append(tracks.groupby(CASE).size().rename("tracks"))
    alone = [
        one[~one.index.isin(other.index)].reset_index().assign(run=name)
        for name, one, other in (("A", sides[0], sides[1]), ("B", sides[1], sides[0]))
    ]
    table: pd.DataFrame = pd.concat(alone, ignore_index=True)
    return table


def _paired(both: pd.DataFrame) -> Iterator[tuple[Grid, Grid]]:
    """Yield the grids of both runs, which have the same tracks and separators."""
    index = [*TRACK, "separator", "input", "fed_by", "stem"]
    sides = (both[index].assign(score=both[f"score_{name}"]) for name in "ab")
    yield from zip(*map(grids, sides), strict=True)


def _changes(a: Grid, b: Grid) -> Iterator[dict[str, object]]:
    """Yield the row of each separator; those with the same tracks are tested together."""
    have = np.isfinite(a.scores)
    patterns, group = np.unique(have.T, axis=0, return_inverse=True)
    for i, tracks in enumerate(patterns):
        columns = np.flatnonzero(group.ravel() == i)
        left, right = (grid.take(tracks) for grid in (a, b))
        means = [np.clip(g.scores[:, columns], -LIMIT, LIMIT) for g in (left, right)]
        gaps = means[1] - means[0]
        found = _differences(gaps, left, failure=0.0)
        for j, column in enumerate(columns):
            yield {
                "dataset": a.dataset,
                "input": a.input,
                "fed_by": a.fed_by,
                "stem": a.stem,
                "separator": a.separators[column],
                "n": int(tracks.sum()),
                "artists": left.n_artists,
                "mean_a": means[0][:, j].mean(),
                "mean_b": means[1][:, j].mean(),
                **found.iloc[j],
                "same": not gaps[:, j].any(),
            }


def failure_of(metric: str) -> float:
    """Return what a failed song costs: `FAILURE` in dB, 0 in other units, which are of costs."""
    return FAILURE if np.isfinite(limit_of(metric)) else 0.0


def _differences(columns: Float64, grid: Grid, failure: float) -> pd.DataFrame:
    """Return difference, interval, uncorrected p, p_rank, ahead and least per column.

    p is the larger one of the two tests, ahead the sign of the signed ranks, and least what rare
    failures would cost.
    """
    found = differences(columns, grid.clusters, failure=failure)
    return pd.DataFrame(
        {
            "difference": found.mean,
            "low": found.low,
            "high": found.high,
            "p": np.maximum(found.p_mean, found.p_rank),
            "p_rank": found.p_rank,
            "ahead": found.ahead,
            "least": rare_failures(len(columns), failure),
        }
    )


def _with_verdicts(table: pd.DataFrame, a: object, b: object) -> pd.DataFrame:
    """Correct p for all rows, name the better one of each, and say why none is better."""
    table["p"], p_rank = holm(table["p"].to_numpy()), holm(table["p_rank"].to_numpy())
    table["better"] = better = _better(table, a, b)
    sure, open_ = table["p"] < ALPHA, better == ""
    agree = np.sign(table["difference"]) == table["ahead"]
    conditions = [open_ & sure & agree, open_ & (p_rank < ALPHA)]
    table["withheld"] = withheld = np.select(conditions, [FAILURES, MEAN], "").astype(object)
    first, second = (np.broadcast_to(np.asarray(x, dtype=object), len(table)) for x in (a, b))
    ahead = np.where(table["ahead"] > 0, first, second)
    said = [f"{name} {REASONS.get(why, '')}" for name, why in zip(ahead, withheld, strict=True)]
    conditions = [table["p"].isna(), better != "", withheld != ""]
    verdict = np.select(conditions, [TOO_FEW, better + " is better", said], TIED)
    table["verdict"] = verdict.astype(object)
    return table.drop(columns=["p_rank", "ahead", "least"])


def _better(table: pd.DataFrame, first: object, second: object) -> npt.NDArray[np.object_]:
    """Return `first` where the difference is surely positive, `second` where negative."""
    lead = table["difference"] * table["ahead"]
    sure = (table["p"] < ALPHA) & (lead > table["least"])
    names = (np.broadcast_to(np.asarray(n, dtype=object), len(table)) for n in (first, second))
    conditions = [sure & (table["ahead"] > 0), sure & (table["ahead"] < 0)]
    return np.select(conditions, list(names), "").astype(object)
