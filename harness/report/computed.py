"""What a report shows, computed once: page, tables, figures and model cards are views of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd

from harness import selection
from harness.core import text
from harness.core.text import Json
from harness.report import names
from harness.report.page.certainty import Certainty, certainties
from harness.results import grid, ranking, summaries
from harness.results.leaks import recorded_statuses
from harness.results.ranking import SEPARATOR, Key, Ranking
from harness.results.runs import Run, leaked, sources

Rows = dict[str, list[Json]]  # by dataset
_ORDER = ["dataset", "split", "track", "separator", "input", "fed_by", "stem", "metric"]


@dataclass(frozen=True)
class Report:
    """A run with its scores and what describes them; everything costly is computed when asked."""

    run: Run
    scores: pd.DataFrame  # all of the run, with ensembles, harmonic and overall scores
    roles: Mapping[str, str]  # of each separator
    metrics: list[Json]  # those with scores, in the order shown; as from `about`
    _rankings: dict[tuple[str, str], Ranking] = field(default_factory=dict, init=False)
    _certainties: dict[tuple[str, str], dict[Key, Certainty]] = field(
        default_factory=dict, init=False
    )

    @property
    def ranked(self) -> set[str]:
        """Return the separators that may have a rank."""
        return {name for name, role in self.roles.items() if role == SEPARATOR}

    @property
    def datasets(self) -> list[str]:
        """Return the datasets that have scores, sorted."""
        return sorted(map(str, self.scores["dataset"].unique()))

    @property
    def measured(self) -> list[Json]:
        """Return the costs that were measured; as from `about`."""
        have = set(self.run.costs["metric"])
        return [about(self.run.record, cost) for cost in names.COSTS if cost in have]

    def ranking(self, dataset: str, metric: str) -> Ranking:
        """Return the ranking of one dataset by the name of one of `metrics`."""
        if (dataset, metric) not in self._rankings:
            higher = next(m["higher"] for m in self.metrics if m["name"] == metric)
            leaks = leaked(self.run.record)
            how: Json = {"ranked": self.ranked, "leaks": leaks, "higher_is_better": higher}
            self._rankings[dataset, metric] = ranking.rank(self.scores, dataset, metric, **how)
        return self._rankings[dataset, metric]

    def certainties(self, dataset: str, metric: str) -> dict[Key, Certainty]:
        """Return how sure the means of a ranking are, by (input, stem)."""
        if (dataset, metric) not in self._certainties:
            self._certainties[dataset, metric] = certainties(self.ranking(dataset, metric))
        return self._certainties[dataset, metric]

    @cached_property
    def costs(self) -> dict[tuple[str, ...], float]:
        """The cost of a track by (dataset, separator, source, metric)."""
        found = summaries.costs(self.run.costs)
        found = found.assign(source=sources(found))
        columns = ("dataset", "separator", "source", "metric", "value")
        return {tuple(key): value for *key, value in records(found, *columns)}

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """The scores that may choose and be chosen, see `harness.selection.candidates_of`."""
        return selection.candidates_of(*ranking.may_choose(self.run))

    @cached_property
    def frequencies(self) -> pd.DataFrame:
        """How often each separator has the best mean if the artists are drawn again."""
        return selection.frequencies(self.candidates)

    @cached_property
    def statuses(self) -> pd.DataFrame:
        """The leak status of each (separator, track) that was scored."""
        return recorded_statuses(self.run.scores.astype({"separator": object}), self.run.record)


def make_report(run: Run) -> Report:
    """Return the report of a run."""
    scores = pd.concat([run.scores, run.ensembles], ignore_index=True)
    order = scores[_ORDER].astype("category").sort_values(_ORDER, kind="stable").index
    scores = grid.add_harmonic(scores.loc[order].reset_index(drop=True))
    have = set(scores.loc[scores["status"] != "failed", "metric"])
    roles = ranking.roles(run)
    scores = ranking.add_overall(scores, {n for n, role in roles.items() if role == SEPARATOR})
    scores["source"] = sources(scores)
    keys = [*_ORDER, "source"]
    scores[keys] = scores[keys].astype("category")  # compared and grouped far faster
    return Report(run, scores, roles, [about(run.record, name) for name in in_order(have)])


def part(record: Mapping[str, Any], name: str) -> Any:
    """Return one part of the record, empty where it is not there."""
    return record.get(name) or {}


def records(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Walk over rows as plain Python values."""
    return zip(*(frame[column].tolist() for column in columns), strict=True)


def by_dataset(table: pd.DataFrame, order: Callable[[Json], Any] | None = None) -> Rows:
    """Return a table's rows by dataset, numbers as they are shown, the source as the input."""
    found: Rows = {}
    for row in table.assign(input=sources(table)).to_dict("records"):
        shown = {str(k): text.encode(v) if isinstance(v, float) else v for k, v in row.items()}
        found.setdefault(str(row["dataset"]), []).append(shown)
    return {name: sorted(rows, key=order) if order else rows for name, rows in found.items()}


def in_order(metrics: set[str]) -> list[str]:
    """Return metrics in display order, unknown ones last; the empty name is of failures."""
    return [m for m in names.METRICS if m in metrics] + sorted(metrics - {*names.METRICS, ""})


def about(record: Mapping[str, Any], name: str) -> Json:
    """Return name, label, unit, version, higher, definition and ranks of a metric."""
    entry = part(record, "metrics").get(name) or {}
    ours = name == grid.HARMONIC
    return {
        "name": name,
        "label": names.metric_label(name),
        "unit": entry.get("unit") or ("dB" if ours else ""),
        "version": entry.get("version", ""),
        "higher": bool(entry.get("higher_is_better", True)),
        "definition": entry.get("definition") or (names.HARMONIC_DEFINITION if ours else ""),
        "ranks": ranking.places(name),
    }
