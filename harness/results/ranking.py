"""The ranking of a run: which separators are compared on which tracks, their means and places.

Page, terminal, exports, figures, selection and cascades all take it from here. A *competitor* is a
separator with its source (`Grid.source`); those with the same source are compared. `rank` applies
the rule of docs/selection.md, "Common tracks", to one metric of one dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.core.taxonomy import REFERENCE, ancestors, in_order
from harness.metrics import METRICS
from harness.results.grid import (
    HARMONIC,
    BoolArray,
    Grid,
    Leaked,
    add_harmonic,
    grids,
    limit_of,
)
from harness.results.runs import Run, leaked

OVERALL = "overall"
NO_GENRE = "unknown"
ROLES = ("separator", "ensemble", "generative", "oracle", "anchor")  # only the first is ranked
SEPARATOR, GENERATIVE = ROLES[0], ROLES[2]
COMPETITOR = ["source", "stem", "separator"]
Key = tuple[str, str]  # source, stem
SUMMARY = ["n", "limited", "mean", "median", "sd", "q1", "q3"]
_BOARD = [*COMPETITOR, *SUMMARY, "common", "left_out", "rank", "rank_median", "leaked", "why"]


@dataclass(frozen=True)
class Compared:
    """One stem from one source: all scores, and which of them are compared."""

    scored: Grid  # every separator of any role on every track with a score, leaked ones too
    leaked: BoolArray  # which of these scores are of tracks that the separator was trained on
    common: BoolArray  # which of these tracks separators are compared on
    compared: tuple[str, ...]  # separators that must have a clean score on every common track
    ranked: tuple[str, ...]  # the same; empty if only anchors, oracles and ensembles have scores
    few: Mapping[str, int]  # separator → its clean scores, too few to be compared, or none

    @cached_property
    def grid(self) -> Grid:
        """All separators on the common tracks; NaN where others than the ranked lack one."""
        return self.scored.take(self.common)

    @cached_property
    def rivals(self) -> Grid:
        """The ranked separators on the common tracks, without NaN."""
        return self.grid.only(self.ranked)

    @cached_property
    def holds_leaked(self) -> frozenset[str]:
        """Separators that have a score in `grid` of a track they were trained on."""
        held = np.asarray(self.leaked[self.common].any(axis=0))
        return frozenset(n for n, yes in zip(self.scored.separators, held, strict=True) if yes)

    def why_not(self, name: str) -> str:
        """Say that a separator has no place since it has too few tracks; otherwise empty."""
        if name not in self.few:
            return ""
        column = self.scored.separators.index(name)
        if not self.few[name]:
            seen = int(self.leaked[:, column].sum())
            return f"trained on all {seen} tracks that it has scores of: not ranked"
        clean = " that it was not trained on" if self.leaked[:, column].any() else ""
        return f"scored on {self.few[name]} of {len(self.scored.tracks)} tracks{clean}: not ranked"


@dataclass(frozen=True)
class Ranking:
    """One metric on one dataset: which separators are compared on which tracks, and the result."""

    dataset: str
    metric: str
    stems: dict[Key, Compared]
    tracks: tuple[tuple[str, str], ...]  # (split, track) of the dataset, sorted
    unscored: Mapping[tuple[str, str], str] = field(default_factory=dict)  # track → why no score
    higher_is_better: bool = True

    @cached_property
    def board(self) -> pd.DataFrame:
        """The table: one row per source, stem and separator, columns `_BOARD`.

        The summary is over n tracks, of which `limited` count as ±30 dB; sd is of the sample. The
        dataset has `common` and `left_out` tracks. Equal values share the better rank; those not
        ranked have NaN, and so have all by a metric without `Metric.ranks`. `leaked`: the summary
        includes tracks of its training data.
        """
        return _frame(_BOARD, (self._board(*item) for item in self.stems.items()))

    @cached_property
    def genres(self) -> pd.DataFrame:
        """Columns source, stem, genre, separator and `SUMMARY`, on the common tracks."""
        parts = (
            {"source": source, "stem": stem, "genre": genre, **summarise(part)}
            for (source, stem), found in self.stems.items()
            for genre, part in by_genre(found.grid)
        )
        whole = _frame(["source", "stem", "genre", "separator", *SUMMARY], parts)
        return whole[whole["n"] > 0].reset_index(drop=True)

    @cached_property
    def left_out(self) -> pd.DataFrame:
        """Why tracks are not common: columns source, stem, split, track, reason, separators.

        The reasons ``no score`` and ``in training data`` list the compared separators that have it;
        ``absent or silent reference`` and ``failed`` are of all separators.
        """
        rows = [
            (*key, *track, *self._reason(found, track))
            for key, found in self.stems.items()
            for track in sorted(set(self.tracks) - set(found.grid.keys))
        ]
        columns = ["source", "stem", "split", "track", "reason", "separators"]
        return pd.DataFrame(rows, columns=columns)

    def best(self, source: str = "mixture") -> dict[str, str]:
        """Return the separator with the best mean per stem; of equal ones the first by name."""
        first = self.board[(self.board["rank"] == 1) & (self.board["source"] == source)]
        return dict(first.drop_duplicates("stem")[["stem", "separator"]].to_numpy().tolist())

    def _board(self, key: Key, found: Compared) -> dict[str, Any]:
        """Return the columns of one stem."""
        columns, names = summarise(found.grid), found.scored.separators
        ranked = found.ranked if places(self.metric) else ()
        at = [names.index(name) for name in ranked]
        ranks = np.full((2, len(names)), np.nan)
        means = found.rivals.means if ranked else np.empty(0)
        for row, values in zip(ranks, (means, columns["median"][at]), strict=True):
            row[at] = _ranks(values if self.higher_is_better else -values)
        return columns | {
            "source": key[0],
            "stem": key[1],
            "common": len(found.grid.tracks),
            "left_out": len(self.tracks) - len(found.grid.tracks),
            "rank": ranks[0],
            "rank_median": ranks[1],
            "leaked": [name in found.holds_leaked for name in names],
            "why": [found.why_not(name) for name in names],
        }

    def _reason(self, found: Compared, track: tuple[str, str]) -> tuple[str, list[str]]:
        """Say why, and because of which compared separators, a track is not compared on."""
        if track not in found.scored.keys:
            return self.unscored.get(track, "absent or silent reference"), []
        row = found.scored.keys.index(track)
        columns = [found.scored.separators.index(name) for name in found.compared]
        have = np.isfinite(found.scored.scores[row, columns])
        if not have.all():
            return "no score", [n for n, yes in zip(found.compared, have, strict=True) if not yes]
        seen = found.leaked[row, columns]
        return "in training data", [n for n, yes in zip(found.compared, seen, strict=True) if yes]


def rank(
    scores: pd.DataFrame,
    dataset: str,
    metric: str,
    *,
    ranked: Collection[str],
    leaks: Leaked = (),
    higher_is_better: bool = True,
) -> Ranking:
    """Compare the competitors of one dataset by one metric.

    Scores are those of a run, with `add_harmonic` and `add_overall` where wanted. Only separators
    that are `ranked` (see `ranked_in`) have places, from tracks without `leaks`.
    """
    here = scores[scores["dataset"] == dataset]
    rows = here[here["metric"] == metric]
    silent = rows[rows["status"] == "undefined"]
    unscored = dict.fromkeys(_places(here[here["status"] == "failed"]), "failed")
    unscored |= dict.fromkeys(_places(silent), "absent or silent reference")
    ok = rows[(rows["status"] == "ok") & rows["value"].notna()].rename(columns={"value": "score"})
    found = {
        (grid.source, grid.stem): _compared(grid, ranked, leaks)
        for grid in grids(ok, limit_of(metric))
    }
    tracks = tuple(sorted(_places(here)))
    return Ranking(dataset, metric, found, tracks, unscored, higher_is_better)


def places(metric: str) -> bool:
    """Whether separators have places by a metric, see `harness.metrics.Metric.ranks`."""
    return metric not in METRICS or METRICS[metric].ranks


def _compared(grid: Grid, ranked: Collection[str], leaks: Leaked) -> Compared:
    """Decide which separators are compared on which tracks of a grid.

    If no ranked separator has a clean score, the common tracks are those that all others share.
    """
    pairs = [(name, grid.dataset, *key) for key in grid.keys for name in grid.separators]
    seen = np.array([pair in leaks for pair in pairs], dtype=bool).reshape(grid.scores.shape)
    seen &= np.isfinite(grid.scores)
    clean = replace(grid, scores=np.where(seen, np.nan, grid.scores))
    every = clean.only(ranked).counts()
    counts = {name: n for name, n in every.items() if n}
    pool = clean.only(counts) if counts else grid
    kept = pool.full_enough()
    common = np.asarray(np.isfinite(pool.only(kept).scores).all(axis=1))
    few = {name: n for name, n in every.items() if not n or name not in kept}
    return Compared(grid, seen, common, tuple(kept), tuple(kept) if counts else (), few)


def summarise(grid: Grid) -> dict[str, Any]:
    """Summarize each separator of a grid on the tracks it has: columns separator and `SUMMARY`."""
    place = {name: i for i, name in enumerate(grid.separators)}
    found = {name: np.full(len(place), np.nan) for name in SUMMARY}
    found |= {name: np.zeros(len(place), dtype=int) for name in ("n", "limited")}
    for part in grid.parts():
        at = [place[name] for name in part.separators]
        found["n"][at], found["mean"][at] = len(part.tracks), part.means
        quartiles = np.quantile(part.scores, [0.25, 0.5, 0.75], axis=0)
        found["q1"][at], found["median"][at], found["q3"][at] = quartiles
        if part.limited is not None:
            found["limited"][at] = part.limited.sum(axis=0)
        if len(part.tracks) > 1:
            found["sd"][at] = part.scores.std(axis=0, ddof=1)
    return {"separator": list(place), **found}


def _ranks(values: Float64) -> Float64:
    """Return the place of each value, 1 for the largest; equal values share the better one."""
    ranks = 1.0 + (values[None] > values[:, None]).sum(axis=1)
    return np.where(np.isnan(values), np.nan, ranks)


def _frame(columns: list[str], parts: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one table of parts; a value that is no column stands in every row of its part."""
    lists: dict[str, list[Any]] = {name: [] for name in columns}
    for part in parts:
        for name, cells in lists.items():
            given, n = part[name], len(part["separator"])
            cells.extend(given if isinstance(given, list | np.ndarray) else [given] * n)
    return pd.DataFrame(lists if lists["separator"] else None, columns=columns)


def by_genre(grid: Grid) -> list[tuple[str, Grid]]:
    """Return each genre, sorted by name, with the grid of its tracks."""
    genres = np.array([genre_name(genre) for genre in grid.genres], dtype=object)
    return [(genre, grid.take(genres == genre)) for genre in sorted(set(genres))]


def genre_name(genre: object) -> str:
    """Return the genre as it is grouped by; `NO_GENRE` if it is missing.

    >>> genre_name(" Rock"), genre_name(None)
    ('Rock', 'unknown')
    """
    return (genre.strip() if isinstance(genre, str) else "") or NO_GENRE


def level(stem: str) -> str:
    """Return the level whose table shows the stem: main, vocals, drums or other.

    Examples
    --------
    >>> level("accompaniment"), level("snare"), level("lead_male"), level("overall:drums")
    ('main', 'drums', 'vocals', 'drums')
    """
    if stem.startswith(OVERALL):
        return stem.partition(":")[2] or "main"
    return next((a for a in ancestors(stem) if a in ("vocals", "drums", "other")), "main")


def overall_stems(stems: Iterable[str]) -> list[str]:
    """Return which stems of one level make its overall score; none of them contains another.

    Examples
    --------
    >>> overall_stems({"vocals", "drums", "bass", "other", "accompaniment"})
    ['vocals', 'drums', 'bass', 'other']
    >>> overall_stems({"lead", "lead_male", "lead_female", "background"})
    ['lead', 'background']
    """
    have = set(stems)
    if {"drums", "bass", "other"} <= have:
        have.discard("accompaniment")
    return in_order(stem for stem in have if not have.intersection(ancestors(stem)))


def add_overall(scores: pd.DataFrame, ranked: Collection[str]) -> pd.DataFrame:
    """Append each level's overall score: per track, the mean over the stems of the level.

    The stems are those of any ranked separator (of any competitor, if none is ranked). A competitor
    that lacks one of them on a track has no overall score there. Scores are limited before the
    mean; the column ``limited`` says which overall scores include a limited one.
    """
    ok = scores[(scores["status"] == "ok") & scores["value"].notna()]
    extra, groups = [], ["dataset", "input", "fed_by", "metric"]
    for key, block in ok.groupby(groups, sort=True, observed=True):
        asked = block[block["separator"].isin(list(ranked))]["stem"]
        given = set(asked if len(asked) else block["stem"])
        for name in sorted({level(stem) for stem in given}):
            stems = overall_stems(stem for stem in given if level(stem) == name)
            if len(stems) > 1:
                rows = _overall(block, stems, limit_of(str(key[-1])))
                stem = OVERALL if name == "main" else f"{OVERALL}:{name}"
                extra.append(
                    rows.assign(stem=stem, **dict(zip(groups, map(str, key), strict=True)))
                )
    scores = scores.assign(limited=False)
    if not extra:
        return scores
    rows = pd.concat(extra, ignore_index=True).assign(status="ok", note="")
    return pd.concat([scores, rows.reindex(columns=scores.columns)], ignore_index=True)


def _overall(block: pd.DataFrame, stems: list[str], limit: float) -> pd.DataFrame:
    """Return the mean over the stems within each track of one (dataset, source, metric)."""
    keys = ["run", "split", "track", "artist", "genre", "separator"]
    wide = block[block["stem"].isin(stems)].pivot(index=keys, columns="stem", values="value")
    wide = wide.reindex(columns=stems).dropna()
    limited = (wide.abs() > limit).any(axis=1)
    value = wide.clip(-limit, limit).mean(axis=1)
    return pd.DataFrame({"value": value, "limited": limited}).reset_index()


def roles(run: Run) -> dict[str, str]:
    """Return the role of every separator that has a score or an entry; see `ROLES`.

    Separators whose entry says `generative` have a role of their own: all metrics that rank compare
    waveforms, which says nothing between these and others (docs/metrics.md, "Listeners").
    """
    kinds = run.record.get("ensembles") or {}
    found = {n: kinds.get(n, "ensemble") for n in map(str, run.ensembles["separator"].unique())}
    found |= dict.fromkeys(map(str, run.scores["separator"].unique()), SEPARATOR)
    for name, entry in (run.record.get("separators") or {}).items():
        if entry.get("role") in ROLES and found.get(name) != "oracle":
            found[name] = entry["role"]
        if entry.get("generative") is True and found.get(name) == SEPARATOR:
            found[name] = GENERATIVE
    return found


def ranked_in(run: Run) -> list[str]:
    """Return the separators of a run that may have a place, by name."""
    return sorted(name for name, role in roles(run).items() if role == SEPARATOR)


def may_choose(run: Run) -> tuple[pd.DataFrame, list[str], set[tuple[str, str, str, str]]]:
    """Return what a selection uses: scores without cascades, ranked separators, leaked pairs."""
    alone = run.scores[run.scores["fed_by"].isin(["", REFERENCE])]
    return alone, ranked_in(run), leaked(run.record)


def _places(rows: pd.DataFrame) -> set[tuple[Any, Any]]:
    """Return the (split, track) of some rows."""
    return set(rows[["split", "track"]].drop_duplicates().itertuples(index=False, name=None))


def rank_run(run: Run, metric: str = HARMONIC) -> pd.DataFrame:
    """Rank the separators of a run by one metric, as its report does.

    The result is the `Ranking.board` of every dataset, with a column dataset.
    """
    scores = add_harmonic(run.scores)
    known = sorted(set(scores["metric"]) - {""})
    if metric not in known:
        raise HarnessError(f"rank: no scores of {metric!r}; the run has {', '.join(known)}")
    better = metric not in METRICS or METRICS[metric].higher_is_better
    how: Any = {"ranked": ranked_in(run), "leaks": leaked(run.record), "higher_is_better": better}
    boards = [
        rank(scores, dataset, metric, **how).board.assign(dataset=dataset)
        for dataset in sorted(scores["dataset"].unique())
    ]
    return pd.concat(boards, ignore_index=True)
