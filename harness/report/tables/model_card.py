"""A separator's scores as a model card: the YAML block that model hubs read.

The layout is the ``model-index`` of the Hugging Face hub (docs: "Model Cards", "Evaluation
Results"): results, each with task, dataset, metrics and source. A value is the mean over the tracks
of a split, for one stem and one metric.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import yaml

from harness.report import names
from harness.report.computed import Report, about, part, records
from harness.results.grid import limit_of
from harness.results.runs import Run, leaked

TASK = {"type": "audio-to-audio", "name": "Music source separation"}


def cards(report: Report, source_url: str = "") -> dict[str, str]:
    """Return {separator: model card} of all separators of a run that have scores.

    A hub needs an address with every source, here `source_url` of the report; without it, only the
    text below the block names the source.
    """
    run, scores = report.run, report.scores
    known = part(run.record, "separators")
    scored = scores[(scores["status"] == "ok") & scores["value"].notna()].assign(
        **{c: scores[c].astype(object) for c in ("dataset", "split", "source", "stem", "metric")}
    )
    leaks = leaked(run.record)
    own = np.array([key not in leaks for key in records(scored, *_PAIR)], dtype=bool)
    found = {}
    for name in sorted(report.ranked):
        rows = scored[(scored["separator"] == name).to_numpy() & own]
        if len(rows):
            found[name] = _card(run, name, known.get(name) or {}, _results(run, rows, source_url))
    return found


_PAIR = ("separator", "dataset", "split", "track")


def _results(run: Run, rows: pd.DataFrame, source_url: str) -> list[dict[str, Any]]:
    """Return one result per dataset, split and input, with the mean of each metric and stem."""
    found = []
    for (dataset, split, fed), here in rows.groupby(["dataset", "split", "source"], sort=True):
        data = part(run.record, "datasets").get(dataset) or {}
        result: dict[str, Any] = {
            "task": dict(TASK),
            "dataset": {
                "type": str(dataset),
                "name": f"{dataset} {data.get('version', '')}".strip(),
                "split": str(split),
            },
            "metrics": _metrics(run, here, str(fed)),
        }
        if source_url:
            result["source"] = {"name": _source(run), "url": source_url}
        found.append(result)
    return found


def _metrics(run: Run, rows: pd.DataFrame, fed: str) -> list[dict[str, Any]]:
    """Return the mean of each metric and stem; scores are limited as in every mean."""
    found = []
    groups = {
        (str(s), str(m)): values for (s, m), values in rows.groupby(["stem", "metric"])["value"]
    }
    for stem, metric in sorted(groups, key=_place):
        limit = limit_of(metric)
        mean = float(groups[stem, metric].clip(-limit, limit).mean())
        known = about(run.record, metric)
        label = f"{known['label']} {names.stem_label(stem)}, {known['unit']}"
        label = names.with_input(label, fed)
        args = {
            "stem": stem,
            "tracks": len(groups[stem, metric]),
            "average": "mean over tracks",
            "definition": known["definition"],
        }
        if known["version"] != "":
            args["version"] = known["version"]
        found.append({"type": metric, "name": label, "value": mean, "args": args})
    return found


def _place(key: tuple[str, str]) -> tuple[tuple[int, int, str], int, str]:
    """Return the sort key of (stem, metric): the order of the page."""
    stem, metric = key
    known = names.METRICS.index(metric) if metric in names.METRICS else len(names.METRICS)
    return names.stem_rank(stem), known, metric


def _source(run: Run) -> str:
    """Return which program and run the numbers come from."""
    version, commit = run.record.get("harness_version", ""), run.record.get("commit")
    return f"harness {version}, run {run.name}" + (f", commit {commit}" if commit else "")


def _card(run: Run, name: str, entry: Any, results: list[dict[str, Any]]) -> str:
    """Return the YAML block, and below it a line with the source of the numbers."""
    block = {
        "tags": ["audio-source-separation", "music"],
        "model-index": [{"name": str(entry.get("title") or name), "results": results}],
    }
    text = yaml.safe_dump(block, sort_keys=False, allow_unicode=True, width=100)
    trained = entry.get("trained_on")
    said = "unknown" if trained is None else ", ".join(trained) or "nothing"
    return (
        f"---\n{text}---\n\nScores are means over tracks, measured by {_source(run)}, device "
        f"{run.record.get('device', 'unknown')}. Trained on: {said}. Tracks in its training "
        "data are excluded.\n"
    )
