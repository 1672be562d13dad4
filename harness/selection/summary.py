"""Expected scores of choices: oracle and deployable ones, with regret, optimism and gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from harness.core import taxonomy
from harness.results.grid import Grid, Names, grids
from harness.results.ranking import OVERALL
from harness.selection.best_of import choosing
from harness.selection.policies import PLACE, POLICIES, Policy, best_mean, held_out, place_of
from harness.selection.statistics import (
    RESAMPLES,
    draw,
    mean_intervals,
    resampled_means,
    shares_of_best,
)

FOLDS = 20  # of slow policies; best mean holds out one artist at a time
_SCORES = ["oracle", "score", "in_sample", "single_score"]
_COLUMNS = [
    *PLACE, "policy", "n", "artists", "oracle", "score", "regret", "optimism", "single",
    "single_score", "gain", "low", "high", "chosen",
]  # fmt: skip


def summary(
    candidates: pd.DataFrame,
    *,
    policies: Mapping[str, Policy] = POLICIES,
    on: str | None = None,
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Score each policy on tracks that did not choose, beside the oracle and the best single.

    All scores of a row are means over the same tracks: those that all separators have. The *best
    single separator* is the one separator that a user would take for all stems of a level (four
    stems, drum kit, …): of those with all these stems, the best by mean over the stems, chosen on
    other artists' tracks as the policy is. If no separator has all stems, or the level has only one
    stem, it is the best of the stem.

    There is one row per dataset, input, fed_by, stem and policy, and for a level of several stems
    one with stem ``overall: <level>`` (mean over the stems, on tracks that have them all): n
    (tracks), artists, oracle, score (held-out), regret (oracle − score), optimism (score if chosen
    on the same tracks − score), single (its name) and single_score, gain (score − single_score)
    with low and high (95 %), chosen (by the policy most often). Scores are in dB.

    `candidates` are as from `track_scores`, of separators that may be chosen. Dataset `on` chooses
    for all others; without it, the choices are cross-fitted.
    """
    found = [grid.complete() for grid in grids(candidates)]
    others = {key: grid.complete() for key, grid in choosing(found, on).items()}
    rows = []
    for level, part in by_level([g for g in found if g.dataset != on and len(g.tracks)]):
        apart = [others.get((g.source, g.stem)) for g in part]
        if on and None in apart:
            continue
        singles = _singles(part, apart)
        for name, policy in policies.items():
            outcomes = [
                _outcome(grid, policy, single, other)
                for grid, single, other in zip(part, singles, apart, strict=True)
            ]
            if len(part) > 1:
                outcomes.append(_overall(outcomes, f"{OVERALL}: {level}"))
            rows += [
                {**place_of(part[0]), "policy": name, **_row(frame, resamples)}
                for frame in outcomes
                if len(frame)
            ]
    table = pd.DataFrame(rows, columns=[*_COLUMNS, "in_sample"])
    gaps = {"regret": table["oracle"] - table["score"]}
    gaps["optimism"] = table["in_sample"] - table["score"]
    return table.assign(**gaps)[_COLUMNS]


def frequencies(candidates: pd.DataFrame, *, resamples: int = RESAMPLES) -> pd.DataFrame:
    """Return how often each separator is chosen if the artists are drawn again.

    Columns are dataset, input, fed_by, stem, separator, frequency (share of the resamples in which
    it has the best mean), stability (of the stem: the probability that two resamples choose the
    same separator; 1 is always, 1/k is a random choice among k).
    """
    rows = []
    for grid in map(Grid.complete, grids(candidates)):
        if not len(grid.tracks):
            continue
        weights = draw(grid.n_artists, resamples)
        shares = shares_of_best(resampled_means(grid.scores, grid.clusters, weights))
        for name, share in zip(grid.separators, shares, strict=True):
            rows.append((*place_of(grid).values(), name, share, (shares**2).sum()))
    return pd.DataFrame(rows, columns=[*PLACE, "separator", "frequency", "stability"])


def by_level(found: Sequence[Grid]) -> Iterator[tuple[str, list[Grid]]]:
    """Yield the grids of each dataset, source and level; a stem is only in its first level."""
    for key in sorted({(grid.dataset, grid.source) for grid in found}):
        left = {grid.stem: grid for grid in found if (grid.dataset, grid.source) == key}
        for level, stems in taxonomy.levels(set(left)).items():
            if part := [left.pop(stem) for stem in stems if stem in left]:
                yield level, part
        for stem, grid in left.items():
            yield stem, [grid]


def _singles(part: Sequence[Grid], apart: Sequence[Grid | None]) -> list[Names]:
    """Name for each grid's tracks the best single separator of the level."""
    whole, others = _mean_grid(part), [grid for grid in apart if grid]
    other = _mean_grid(others)
    if whole is None or (others and other is None):
        return [held_out(g, best_mean, o) for g, o in zip(part, apart, strict=True)]
    by_artist = dict(zip(whole.who, held_out(whole, best_mean, other), strict=True))
    rest = best_mean(other or whole)(whole)[0]  # of artists none of whose tracks has all stems
    return [np.array([by_artist.get(w, rest) for w in g.who], dtype=object) for g in part]


def _mean_grid(part: Sequence[Grid]) -> Grid | None:
    """Return the mean over the stems, of separators and tracks that have all stems."""
    names = set.intersection(*(set(grid.separators) for grid in part)) if part else None
    if not names:
        return None
    first, *rest = (grid.only(names) for grid in part)
    total, found = first.scores.copy(), np.ones(len(first.tracks), dtype=bool)
    for grid in rest:
        at = {key: i for i, key in enumerate(grid.keys)}
        rows = [at.get(key, -1) for key in first.keys]
        found &= np.array(rows) >= 0
        total += grid.scores[rows]
    mean = replace(first, scores=total / len(part)).take(found)
    return mean if mean.n_artists > 1 else None


def _outcome(grid: Grid, policy: Policy, single: Names, other: Grid | None) -> pd.DataFrame:
    """Return the scores of oracle, policy and best single on each track that has all three."""
    picked = held_out(grid, policy, other, None if policy is best_mean else FOLDS)
    columns = {
        "split": grid.splits,
        "track": grid.tracks,
        "who": grid.who,
        "stem": grid.stem,
        "oracle": grid.scores.max(axis=1),
        "score": grid.at(picked),
        "in_sample": grid.at(policy(grid)(grid)),
        "single_score": grid.at(single),
        "picked": picked,
        "single": single,
    }
    return pd.DataFrame(columns).dropna(ignore_index=True)


def _overall(outcomes: Sequence[pd.DataFrame], name: str) -> pd.DataFrame:
    """Return the mean over the stems on the tracks that have all stems."""
    frame = pd.concat(outcomes)
    groups = frame.groupby(["split", "track", "who"])
    mean = groups[_SCORES].mean().assign(stem=name, picked="", single=groups["single"].first())
    return mean[groups.size() == len(outcomes)].reset_index()


def _row(frame: pd.DataFrame, resamples: int) -> dict[str, object]:
    """Return what `summary` says of the tracks of one stem."""
    clusters = np.unique(frame["who"], return_inverse=True)[1]
    gains = (frame["score"] - frame["single_score"]).to_numpy(float)[:, None]
    gain = mean_intervals(gains, clusters, resamples=resamples)
    return {
        "stem": frame["stem"].iloc[0],
        "n": len(frame),
        "artists": frame["who"].nunique(),
        **{name: frame[name].mean() for name in _SCORES},
        "single": frame["single"].mode()[0],
        "gain": gain.mean[0],
        "low": gain.low[0],
        "high": gain.high[0],
        "chosen": frame["picked"].mode()[0],
    }
