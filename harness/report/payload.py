"""From a run to the plain values a page is made of: what the templates and the script both read.

Everything here can be written as JSON. Rows of a dataset (competitors) and its tracks are counted
from 0 and referred to by that number; scores are already rounded to what is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.report import names, tables
from harness.report.dataset import Context, Json, records, view
from harness.results import Run

_ORDER = ["dataset", "split", "track", "separator", "input", "stem", "metric"]


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
    """Return all scores of a run, ensembles, harmonic and overall ones too, and what they share.

    Tracks have one name each; `Context` names roles and leaks by these.
    """
    scores, renamed = _unique_tracks(pd.concat([run.scores, run.ensembles], ignore_index=True))
    order = scores[_ORDER].astype("category").sort_values(_ORDER, kind="stable").index
    scores = tables.add_harmonic(scores.loc[order].reset_index(drop=True))
    context = Context(
        roles=_roles(run),
        titles={n: e.get("title") or "" for n, e in part(run.record, "separators").items()},
        weights={n: _weights(e) for n, e in part(run.record, "separators").items()},
        metrics=_metrics(run.record, scores),
        costs=_costs(run.costs),
        leaked=_leaks(run.record, renamed, "leaked"),
        unknown=_leaks(run.record, renamed, "unknown"),
    )
    scores = tables.add_overall(scores, context.how["ranked"])
    scores[_ORDER] = scores[_ORDER].astype("category")  # compared and grouped far faster
    return scores, context


def part(record: Mapping[str, Any], name: str) -> Any:
    """Return one part of the record, empty where it is not there."""
    return record.get(name) or {}


def _roles(run: Run) -> dict[str, str]:
    """Return the role of every separator that has a row or an entry."""
    roles = {
        name: "oracle" if name.endswith("_oracle") else "ensemble"
        for name in map(str, run.ensembles["separator"].unique())
    }
    roles |= dict.fromkeys(map(str, run.scores["separator"].unique()), "separator")
    for name, entry in part(run.record, "separators").items():
        if entry.get("role") in names.ROLES and roles.get(name) != "oracle":
            roles[name] = entry["role"]
    return roles


def _unique_tracks(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    """Give a track name that two splits of a dataset share one name each; say which."""
    splits = frame.groupby(["dataset", "track"])["split"].nunique()
    twice = set(splits.index[splits > 1])
    pairs = records(frame, "dataset", "track")
    both = pd.Series([pair in twice for pair in pairs], index=frame.index, dtype=bool)
    split = frame["track"].astype(str) + " (" + frame["split"].astype(str) + ")"
    new = frame["track"].mask(both, split)
    renamed: dict[tuple[str, str], set[str]] = {}
    for dataset, old, name in records(frame.assign(new=new)[both], "dataset", "track", "new"):
        renamed.setdefault((dataset, old), set()).add(name)
    return frame.assign(track=new), {key: sorted(found) for key, found in renamed.items()}


def _leaks(
    record: Mapping[str, Any], renamed: Mapping[tuple[str, str], list[str]], status: str
) -> set[tuple[str, str, str]]:
    """Return (separator, dataset, track) of the leak ledger with one status."""
    found = set()
    for row in part(record, "leaks"):
        if row["status"] == status:
            for track in renamed.get((row["dataset"], row["track"]), [row["track"]]):
                if "split" not in row or track in (
                    row["track"],
                    f"{row['track']} ({row['split']})",
                ):
                    found.add((row["separator"], row["dataset"], track))
    return found


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
    ours = name == tables.HARMONIC
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
    return {tuple(key): value for *key, value in records(tables.costs(costs), *columns)}
