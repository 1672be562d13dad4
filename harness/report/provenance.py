"""Where a run's numbers come from: code, data, weights, commands, leaks and failures."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from harness.core import text
from harness.datasets import overlaps
from harness.datasets.tracks import Track
from harness.report import html
from harness.report.computed import Report, part
from harness.report.page import training_curves
from harness.results import summaries
from harness.results.leaks import ledger
from harness.results.omitted import recorded
from harness.results.runs import Run, sources

SCRIPTS = ("theme.js",)
FORMATS = {"csv": "CSV", "parquet": "Parquet", "latex": "LaTeX", "markdown": "Markdown"}
STATUSES = {
    "clean": "clean",
    "leaked": "in the training data: not used for its rank or for selection",
    "unknown": "with unknown training data: ranked, but marked",
}
List = tuple[str, str, str, pd.DataFrame]  # name of its files, title, definition, rows


def render(report: Report, downloads: Any = ()) -> str:
    """Return the provenance page of a run; `downloads` is as from `table_files.write_sheets`."""
    run = report.run
    return html.page(
        "provenance.html",
        SCRIPTS,
        run=run,
        record=run.record,
        view={"metrics": report.metrics, "costs": report.measured},
        leaks=leaks(report),
        statuses=STATUSES,
        failures=failures(run),
        omitted=recorded(run.record),
        commands=commands(run.record),
        downloads=downloads,
        formats=FORMATS,
        curves=training_curves.curves(part(run.record, "separators")),
    )


def failures(run: Run) -> list[dict[Any, Any]]:
    """Return failed work, equal reasons together, with the source as its input."""
    found = summaries.failures(run.scores)
    return found.assign(input=sources(found)).to_dict("records")


def commands(record: Mapping[str, Any]) -> list[str]:
    """Return the shell commands that reproduce the run, as far as its record has them.

    Examples
    --------
    >>> commands({"command": ["run", "--data", "a=/my music"], "commit": "abc", "run": "main"})
    ['git checkout abc', "harness run --data 'a=/my music'", 'harness report main']
    """
    found = [f"git checkout {record['commit']}"] if record.get("commit") else []
    parts = [str(part) for part in record.get("command") or ()]
    if parts:
        found.append(shlex.join(parts if parts[0] == "harness" else ["harness", *parts]))
        found.append(shlex.join(["harness", "report", str(record.get("run") or "main")]))
    return found


def leaks(report: Report) -> list[dict[str, Any]]:
    """Return the leak ledger: counts, reason and tracks per scored separator, dataset and split.

    ``tracks_of`` is {status: names} of the tracks that are not clean.
    """
    statuses = report.statuses
    counts = [{str(k): v for k, v in row.items()} for row in ledger(statuses).to_dict("records")]
    keys = ["separator", "dataset", "split"]
    named = statuses[statuses["status"] != "clean"].groupby([*keys, "status"], observed=True)
    tracks = {key: sorted(block) for key, block in named["track"]}
    known = part(report.run.record, "separators")
    for row in counts:
        where = tuple(row[key] for key in keys)
        row["tracks_of"] = {s: tracks[*where, s] for s in STATUSES if (*where, s) in tracks}
        row["trained_on"] = (known.get(row["separator"]) or {}).get("trained_on")
        row["reason"] = _reason(row)
    return counts


def _reason(row: Mapping[str, Any]) -> str:
    """Return why tracks of a split are clean, leaked or unknown for a separator."""
    trained_on = row["trained_on"]
    if trained_on is None:
        return "its training data is unknown"
    if not trained_on:
        return "not trained on any data"
    said = f"trained on {', '.join(trained_on)}"
    if row["leaked"]:
        return f"{said}, which {_overlap(row)}"
    if row["unknown"]:
        return f"{said}; it is not known whether that includes these tracks"
    return f"{said}, which includes none of these tracks"


def _overlap(row: Mapping[str, Any]) -> str:
    """Return how many tracks of a split are leaked, and through which collection, if known."""
    leaked = row["tracks_of"]["leaked"]
    n = "all" if row["leaked"] == row["tracks"] else f"{row['leaked']} of {row['tracks']}"
    included = f"includes {n} tracks of the split"
    entries = {overlaps.normal(entry) for entry in row["trained_on"]}
    halves = {
        half
        for name in leaked
        for half in overlaps.collections(Track(row["dataset"], name, "", row["split"], (), {}))
    }
    direct = entries & {row["dataset"], f"{row['dataset']}:{row['split']}"}
    through = sorted(entries & halves)
    return included if direct or not through else f"{included} (as songs of {', '.join(through)})"


def lists(report: Report) -> list[List]:
    """Return the lists of the page as tables to export."""
    record, failed, pairs = report.run.record, report.run.scores, report.statuses
    failed = failed[failed["status"] == "failed"].reset_index(drop=True)
    failed = failed[["dataset", "split", "track", "separator", "input", "fed_by", "note"]]
    pairs = pairs[pairs["status"] != "clean"].reset_index(drop=True)
    counts = _frame(leaks(report)).drop(columns=["tracks_of", "trained_on"], errors="ignore")
    skipped = _frame(record.get("skipped") or ())
    omitted = _frame(asdict(omission) for omission in recorded(record))
    found = [
        ("failures", "Failures", "failed jobs and their reasons", failed),
        ("skipped", "Not run", "separators that were not run, with reasons", skipped),
        ("left_out", "Left out", "tracks, files and separators that the run lacks", omitted),
        ("leaks", "Leak ledger", "tracks by whether they are in the training data", counts),
        ("leak_tracks", "Leaked and unknown tracks", "tracks that are not clean", pairs),
    ]
    for name, columns in _COLUMNS.items():
        rows = (
            {"name": key} | {column: text.plain(entry.get(column)) for column in columns}
            for key, entry in sorted(part(record, name).items())
        )
        found.append((name, name.capitalize(), f"{name} of the run", _frame(rows)))
    return found


_COLUMNS = {
    "separators": (
        "title", "role", "family", "input", "stems", "trained_on", "license", "params",
        "reference", "entry_sha256", "weights_sha256",
    ),
    "datasets": ("version", "sample_rate", "n_tracks", "stems", "license", "fingerprint"),
    "metrics": ("version", "unit", "higher_is_better", "definition"),
}  # fmt: skip


def _frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows as a table with None for what is missing."""
    frame = pd.DataFrame(list(rows))
    return frame.astype(object).where(frame.notna(), None)
