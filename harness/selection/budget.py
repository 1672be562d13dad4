"""Quality against cost: costs of separators, the Pareto front, and the best within a budget.

An ensemble runs each of its members once, one after another on the same machine. Its real-time
factor, CPU time and parameters are the sums of its members', its memory is the largest of theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.results.grid import BoolArray, Grid, grids
from harness.selection.policies import place_of
from harness.selection.statistics import rounded_mean
from harness.selection.summary import by_level

COSTS = ("rtf", "cpu_seconds", "peak_memory", "parameters")
MAX_MEMBERS = 4  # of an ensemble; one per stem of four
MAX_TEAMS = 20_000
_LARGEST = {"peak_memory"}  # costs of which the largest counts, not the sum
_ALIASES = {"memory": "peak_memory", "params": "parameters", "cpu": "cpu_seconds"}
_UNITS = {"s": 1.0, "x": 1.0, "×": 1.0} | {
    prefix + unit: base**i
    for unit, base in (("", 1000.0), ("b", 1000.0), ("ib", 1024.0))
    for i, prefix in enumerate(("", "k", "m", "g", "t"))
    if prefix or unit != "ib"
}

Budget = Mapping[str, float]


def parse_budget(text: str) -> dict[str, float]:
    """Read a budget such as ``rtf<0.5,memory<4GB`` as {cost: upper limit}.

    Costs are rtf (seconds per second of audio), cpu_seconds (or cpu; per track), peak_memory (or
    memory; bytes) and parameters (or params).

    Examples
    --------
    >>> parse_budget("rtf<0.5, memory<4GB")
    {'rtf': 0.5, 'peak_memory': 4000000000.0}
    """
    budget: dict[str, float] = {}
    for part, name, limit in _amounts(text, "<=?"):
        if not name:
            raise HarnessError(
                f"budget {part!r}: not a limit; write rtf<0.5, memory<4GB, cpu<60s or params<50M"
            )
        budget[name] = min(limit, budget.get(name, np.inf))
    return budget


def parse_costs(text: str) -> dict[str, float]:
    """Read stated costs, named as in a budget, as {cost: value}.

    Examples
    --------
    >>> parse_costs("rtf=0.5, params=84M")
    {'rtf': 0.5, 'parameters': 84000000.0}
    """
    stated: dict[str, float] = {}
    for part, name, value in _amounts(text, "="):
        if not name or name in stated or not math.isfinite(value):
            raise HarnessError(
                f"--costs {part!r}: not one cost; write rtf=0.5, memory=4GB, cpu=60s or params=50M"
            )
        stated[name] = value
    return stated


def _amounts(text: str, sign: str) -> Iterator[tuple[str, str, float]]:
    """Yield each part of a list of costs, its cost (empty if it is not valid) and the number."""
    pattern = rf"(\w+)\s*{sign}\s*([\d.]+(?:e[+-]?\d+)?)\s*([a-z×]*)"
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = re.fullmatch(pattern, part.lower())
        name = _ALIASES.get(match[1], match[1]) if match else ""
        if not match or name not in COSTS or match[3] not in _UNITS or match[2].count(".") > 1:
            yield part, "", math.nan
        else:
            yield part, name, float(match[2]) * _UNITS[match[3]]


def costs_of(costs: pd.DataFrame) -> pd.DataFrame:
    """Return the costs of each separator, one row per separator and one column per cost.

    It is the median over tracks, of memory the largest; NaN if it was not measured.
    """
    ok = costs[(costs["status"] == "ok") & costs["metric"].isin(COSTS)]
    groups = ok.groupby(["separator", "metric"])["value"]
    table, largest = groups.median().unstack(), groups.max().unstack()
    for name in _LARGEST.intersection(table):
        table[name] = largest[name]
    return table.rename_axis(columns=None)


def within(costs: pd.DataFrame, budget: Budget) -> BoolArray:
    """Return which rows are below every limit; a cost that was not measured is not."""
    if missing := [name for name in budget if name not in costs or costs[name].isna().all()]:
        have = ", ".join(name for name in COSTS if name in costs) or "nothing"
        raise HarnessError(f"budget: {', '.join(missing)} was not measured; limit {have}")
    limits = [(costs[name] < most).to_numpy(bool) for name, most in budget.items()]
    return np.asarray(np.logical_and.reduce([np.ones(len(costs), dtype=bool), *limits]))


def pareto(score: npt.ArrayLike, costs: npt.ArrayLike) -> BoolArray:
    """Return which rows are on the Pareto front: none is as good in all and better in something.

    `score` has shape (rows,), higher is better; `costs` has shape (rows, costs), lower is better.
    Rows with NaN are never on the front.

    Examples
    --------
    >>> pareto([5.0, 4.0, 3.0], [[9.0], [1.0], [2.0]]).tolist()
    [True, True, False]
    """
    points = np.column_stack([-np.asarray(score, np.float64), np.asarray(costs, np.float64)])
    front = np.asarray(~np.isnan(points).any(axis=1))
    for i in np.lexsort(points.T[::-1]):
        if front[i]:
            beaten = (points[i] <= points).all(axis=1) & (points[i] < points).any(axis=1)
            front[beaten] = False
    return front


def choose_within(candidates: pd.DataFrame, costs: pd.DataFrame, budget: Budget) -> pd.DataFrame:
    """Choose for each dataset, input and level the best ensemble within a budget, if one fits.

    Columns are dataset, input, fed_by, level, chosen ({stem: separator}), one per cost, in_sample
    (mean over stems on the tracks that chose), score (the same if each artist's tracks are scored
    with the choice of all others' within the budget), held_out ({stem: score with its interval}).

    `candidates` are as from `track_scores`, of separators that may be chosen; `costs` as from
    `costs_of`.
    """
    found = [grid.complete() for grid in grids(candidates)]
    rows = []
    for level, part in by_level([g for g in found if len(g.tracks)]):
        names = sorted({name for grid in part for name in grid.separators})
        teams, team_costs = _teams(names, costs, budget, len(part))
        who = sorted({key for grid in part for key in grid.who})
        artists = [np.searchsorted(who, grid.who.astype(str)) for grid in part]
        sums = np.array([_sums(g, names, a, len(who)) for g, a in zip(part, artists, strict=True)])
        sizes = np.array([np.bincount(a, minlength=len(who)) for a in artists])
        total, n = sums.sum(axis=1), sizes.sum(axis=1)
        team, best = _choose(total / n[:, None], teams)
        if team is None:
            continue
        picked = np.empty((len(part), len(who)), dtype=np.intp)  # for each artist, by the others
        for i in range(len(who)):
            with np.errstate(invalid="ignore", divide="ignore"):
                rest = (total - sums[:, i]) / (n - sizes[:, i])[:, None]
            picked[:, i] = _choose(rest, teams)[1]
        held = [
            g.at(np.array(names, dtype=object)[by[a]])
            for g, by, a in zip(part, picked, artists, strict=True)
        ]
        stems = [grid.stem for grid in part]
        intervals = [rounded_mean(scores, g.who) for g, scores in zip(part, held, strict=True)]
        rows.append(
            {
                **{name: value for name, value in place_of(part[0]).items() if name != "stem"},
                "level": level,
                "chosen": dict(zip(stems, [names[j] for j in best], strict=True)),
                **team_costs.iloc[team],
                "in_sample": (total[range(len(part)), best] / n).mean(),
                "score": np.mean([scores.mean() for scores in held]),
                "held_out": dict(zip(stems, intervals, strict=True)),
            }
        )
    return pd.DataFrame(rows)


def _teams(
    names: Sequence[str], costs: pd.DataFrame, budget: Budget, n_stems: int
) -> tuple[BoolArray, pd.DataFrame]:
    """Return the members of each ensemble within the budget, (teams, separators), and its costs.

    No team has more members than stems, or so many that there are more than `MAX_TEAMS` teams.
    """
    size = min(n_stems, MAX_MEMBERS)
    while size > 1 and math.comb(len(names), size) > MAX_TEAMS:
        size -= 1
    each = costs.reindex(list(names))
    rows = [team for k in range(1, size + 1) for team in combinations(range(len(names)), k)]
    teams = np.array([[i in team for i in range(len(names))] for team in rows], dtype=bool)
    together = {}
    for name in map(str, each):
        column = each[name].to_numpy(float)
        if name in _LARGEST:
            together[name] = np.where(teams, column, -np.inf).max(axis=1)
        else:
            together[name] = np.where(teams, column, 0.0).sum(axis=1)
    table = pd.DataFrame(together, index=range(len(rows)))
    fits = within(table, budget)
    return teams[fits], table[fits].reset_index(drop=True)


def _sums(
    grid: Grid, names: Sequence[str], artists: npt.NDArray[np.intp], n_artists: int
) -> Float64:
    """Return the sums of scores by artist, (artists, names); NaN without the stem."""
    sums = np.full((n_artists, len(names)), np.nan)
    column = np.array([names.index(name) for name in grid.separators], dtype=np.intp)
    sums[:, column] = 0
    np.add.at(sums, (artists[:, None], column), grid.scores)
    return sums


def _choose(means: Float64, teams: BoolArray) -> tuple[int | None, npt.NDArray[np.intp]]:
    """Return the best team and its best member for each stem; None if no team has all stems."""
    if not len(teams):
        return None, np.zeros(len(means), dtype=np.intp)
    known = np.nan_to_num(means, nan=-np.inf)
    theirs = np.where(teams[None], known[:, None], -np.inf)  # (stems, teams, separators)
    scores = theirs.max(axis=2).mean(axis=0)
    team = int(np.argmax(scores))
    return (team if np.isfinite(scores[team]) else None), theirs[:, team].argmax(axis=1)
