"""What changed between two runs: paired differences per separator, with what they can claim."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from harness.grid import (
    HARMONIC,
    LIMIT,
    TRACK,
    Grid,
    grids,
    track_scores,
)
from harness.selection.rank_tests import artist_means, holm, signed_rank
from harness.selection.resampling import ALPHA, MIN_ARTISTS, RESAMPLES, mean_intervals

CASE = ["dataset", "input", "stem", "separator"]
SAME, BETTER, WORSE = "no change", "better", "worse"
TOO_FEW, UNSURE = "too few artists to tell", "change not sure"
_COLUMNS = (
    *CASE, "n", "artists", "only_a", "only_b", "mean_a", "mean_b", "difference", "low", "high", "p",
    "verdict",
)  # fmt: skip


def changes(
    a: pd.DataFrame, b: pd.DataFrame, metric: str = HARMONIC, *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Compare the scores of two runs, separator by separator, on the tracks that both have.

    Parameters
    ----------
    a, b
        Columns `harness.results.COLUMNS`; artists and genres are those of `a`. Leaked tracks count:
        a separator is compared with itself.

    Returns
    -------
    DataFrame
        One row a dataset, input, stem and separator that both runs scored: n (common tracks),
        artists, only_a and only_b (tracks of one run alone), mean_a, mean_b, difference (b − a),
        low, high (its 95 % bootstrap interval, by artist), p (signed-rank test of the artists'
        means, corrected by Holm over the rows that changed), verdict: ``no change`` where every
        track has the same score, ``better`` or ``worse`` (of b) only where interval and test agree.
    """
    left, right = (track_scores(scores, metric) for scores in (a, b))
    keys = ["split", "track", *CASE]
    both = left.merge(right[[*keys, "score"]], on=keys, suffixes=("_a", "_b"))
    counts = [side.groupby(CASE).size() for side in (left, right)]
    rows = [row for pair in _paired(both) for row in _rows(*pair, resamples=resamples)]
    table = pd.DataFrame(rows, columns=[c for c in _COLUMNS if c not in ("only_a", "only_b")])
    for name, count in zip(("only_a", "only_b"), counts, strict=True):
        cases = pd.MultiIndex.from_frame(table[CASE])
        table[name] = count.reindex(cases).to_numpy(float) - table["n"].to_numpy(float)
    table = table.astype({"only_a": int, "only_b": int})
    table["p"] = holm(table["p"].where(table["verdict"] != SAME).to_numpy(float))
    return table.assign(verdict=_verdicts(table))[[*_COLUMNS]]


def only_in_one(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Return what only one of two tables of scores has: `CASE`, tracks, run (``A`` or ``B``)."""
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
    """Give the grids of both runs, which hold the same tracks and separators."""
    index = [*TRACK, "separator", "input", "stem"]
    sides = (both[index].assign(score=both[f"score_{name}"]) for name in "ab")
    yield from zip(*map(grids, sides), strict=True)


def _rows(a: Grid, b: Grid, *, resamples: int) -> Iterator[dict[str, object]]:
    """Give the row of each separator; those with the same tracks are resampled together."""
    have = np.isfinite(a.scores)
    patterns, group = np.unique(have.T, axis=0, return_inverse=True)
    for i, tracks in enumerate(patterns):
        columns = np.flatnonzero(group.ravel() == i)
        left, right = (grid.take(tracks) for grid in (a, b))
        means = [np.clip(g.scores[:, columns], -LIMIT, LIMIT) for g in (left, right)]
        gaps = means[1] - means[0]
        bounds = mean_intervals(gaps, left.clusters, resamples=resamples)
        enough = left.n_artists >= MIN_ARTISTS
        p = signed_rank(artist_means(gaps, left)) if enough else np.full(len(columns), np.nan)
        for j, column in enumerate(columns):
            yield {
                "dataset": a.dataset,
                "input": a.source,
                "stem": a.stem,
                "separator": a.separators[column],
                "n": int(tracks.sum()),
                "artists": left.n_artists,
                "mean_a": means[0][:, j].mean(),
                "mean_b": means[1][:, j].mean(),
                "difference": bounds.mean[j],
                "low": bounds.low[j],
                "high": bounds.high[j],
                "p": p[j],
                "verdict": SAME if not gaps[:, j].any() else "",
            }


def _verdicts(table: pd.DataFrame) -> list[str]:
    """Say in a word what became of each row, where that may be said."""
    sure = table["p"] < ALPHA
    found = np.select(
        [
            table["verdict"] == SAME,
            table["p"].isna(),
            sure & (table["low"] > 0),
            sure & (table["high"] < 0),
        ],
        [SAME, TOO_FEW, BETTER, WORSE],
        UNSURE,
    )
    return [str(word) for word in found]
