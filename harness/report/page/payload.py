"""From a run to the plain values of a page: what both the templates and the script read.

Everything here can be written as JSON. Rows of a dataset (competitors) and its tracks are numbered
from 0 and referred to by that number; scores are already rounded to what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report import names
from harness.report.page.dataset import Context, Json, records, view
from harness.results import grid, ranking, summaries
from harness.results.runs import Run, leaked, sources

_ORDER = ["dataset", "split", "track", "separator", "input", "fed_by", "stem", "metric"]


def build(run: Run) -> Json:
    """Return the values of a run's page.

    Returns
    -------
    dict
        ``metrics`` (list of name, label, unit, definition, version, higher), ``metric`` (the one
        shown first, or None), ``costs`` (likewise) and ``datasets``. Each of these has ``rows``,
        ``tracks``, ``stems``, ``levels`` (tables with their groups of rows), ``summary``,
        ``values``, ``genres``, ``failed``, ``leaked`` and ``unknown``.
    """
    scores, context = prepare(run)
    datasets = sorted({*scores["dataset"], *part(run.record, "datasets")})
    measured = [cost for cost in names.COSTS if cost in set(run.costs["metric"])]
    return {
        "metrics": context.metrics,
        "metric": context.metrics[0]["name"] if context.metrics else None,
        "costs": [about(run.record, cost) for cost in measured],
        "datasets": [
            {"index": i, "name": name, **view(scores[scores["dataset"] == name], name, context)}
            for i, name in enumerate(datasets)
        ],
    }


def prepare(run: Run) -> tuple[pd.DataFrame, Context]:
    """Return all scores of a run, ensembles, harmonic and overall ones too, and what they share."""
    scores = pd.concat([run.scores, run.ensembles], ignore_index=True)
    order = scores[_ORDER].astype("category").sort_values(_ORDER, kind="stable").index
    scores = grid.add_harmonic(scores.loc[order].reset_index(drop=True))
    context = Context(
        roles=ranking.roles(run),
        titles={n: e.get("title") or "" for n, e in part(run.record, "separators").items()},
        weights={n: _weights(e) for n, e in part(run.record, "separators").items()},
        metrics=_metrics(run.record, scores),
        costs=_costs(run.costs),
        leaked=leaked(run.record),
        unknown=leaked(run.record, "unknown"),
    )
    scores = ranking.add_overall(scores, context.ranked)
    scores["source"] = sources(scores)
    keys = [*_ORDER, "source"]
    scores[keys] = scores[keys].astype("category")  # compared and grouped far faster
    return scores, context


def part(record: Mapping[str, Any], name: str) -> Any:
    """Return one part of the record, empty where it is not there."""
    return record.get(name) or {}


def _metrics(record: Mapping[str, Any], scores: pd.DataFrame) -> list[Json]:
    """Return the metrics that have scores, in display order, with their definitions."""
    have = set(scores.loc[scores["status"] != "failed", "metric"]) - {""}
    order = [m for m in names.METRICS if m in have] + sorted(have - set(names.METRICS))
    return [about(record, name) for name in order]


def _weights(entry: Mapping[str, Any]) -> Json:
    """Return the size of a separator's weights, None where it is not known, and their licence."""
    licence = entry.get("license") or ""
    if isinstance(licence, Mapping):
        licence = licence.get("weights") or licence.get("code") or ""
    size = entry.get("weights_bytes")
    return {"weights": size if isinstance(size, int) else None, "licence": str(licence)}


def about(record: Mapping[str, Any], name: str) -> Json:
    """Return what is known of a metric."""
    entry = part(record, "metrics").get(name) or {}
    ours = name == grid.HARMONIC
    return {
        "name": name,
        "label": names.metric_label(name),
        "unit": entry.get("unit") or ("dB" if ours else ""),
        "version": entry.get("version", ""),
        "higher": bool(entry.get("higher_is_better", True)),
        "definition": entry.get("definition") or (names.HARMONIC_DEFINITION if ours else ""),
    }


def _costs(costs: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    """Return {(dataset, separator, input, metric): cost of a track}."""
    columns = ("dataset", "separator", "input", "metric", "value")
    found = summaries.costs(costs)
    found = found.assign(input=sources(found))
    return {tuple(key): value for *key, value in records(found, *columns)}
