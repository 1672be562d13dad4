"""Two runs compared: score differences, rows only one has, and how each was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.core import text
from harness.core.files import write_atomic
from harness.report import html, names, provenance
from harness.report.computed import records
from harness.report.tables import table_files
from harness.report.tables.table_files import plain_sheet
from harness.results.grid import HARMONIC
from harness.results.ranking import ranked_in
from harness.results.runs import Run, sources
from harness.selection import comparing
from harness.selection.comparing import BETTER, CASE, SAME, WORSE

_MACHINE = (
    "harness_version", "commit", "dirty", "python", "platform", "cpu", "device", "precision",
    "seed", "excerpt_seconds",
)  # fmt: skip
_ENTRY = ("version", "definition", "entry_sha256", "weights_sha256", "trained_on", "fingerprint")
_ALONE = ("run", "dataset", "separator", "stem", "tracks")
_TRACK = ("dataset", "split", "track")
_WIDE = 120  # user units of a drawn interval


@dataclass(frozen=True)
class RunComparison:
    """Two runs side by side."""

    a: Run
    b: Run
    differences: dict[str, pd.DataFrame]  # {metric: as from `changes.changes`}, main metric first
    refused: dict[str, str]  # {metric: why it is not compared}
    alone: pd.DataFrame  # as from `changes.only_in_one`
    produced: list[tuple[str, str, str]]  # (what differs in how they were made, in A, in B)
    notes: tuple[str, ...]


def compare_runs(a: Run, b: Run) -> RunComparison:
    """Compare two runs on their common tracks, for each metric that both define alike."""
    other = _other_audio(a, b)
    left, right = (
        run.scores[[track not in other for track in records(run.scores, *_TRACK)]] for run in (a, b)
    )
    have = [{*run.scores["metric"]} - {""} for run in (a, b)]
    refused = {name: why for name in sorted(have[0] | have[1]) if (why := _refusal(a, b, name))}
    kept = [name for name in names.METRICS if name in have[0] & have[1] and name not in refused]
    if {"snr", "sdr"} <= {*kept}:
        kept.insert(0, HARMONIC)
    found = {name: comparing.changes(left, right, name) for name in kept}
    notes = []
    if other:
        tracks = text.count(len(other), "track")
        notes.append(f"{tracks} not compared: same name but different audio in the two runs")
    if how := _across(a, b):
        notes.append(how)
    return RunComparison(
        a,
        b,
        differences={name: table for name, table in found.items() if len(table)},
        refused=refused,
        alone=comparing.only_in_one(a.scores, b.scores),
        produced=list(_produced(a.record, b.record)),
        notes=tuple(notes),
    )


def remarks(found: RunComparison) -> list[str]:
    """Return one line for each thing not compared, and one for unchanged scores."""
    lines = [*found.notes, *(f"{metric}: {why}" for metric, why in found.refused.items())]
    for metric, table in list(found.differences.items())[:1]:
        same = int((table["verdict"] == SAME).sum())
        of = text.count(len(table), "mean")
        lines.append(f"{names.metric_label(metric)}: {same} of {of} unchanged")
    return lines


def write(found: RunComparison, folder: Path) -> Path:
    """Write the page of a comparison and its tables as files; return its path."""
    both = replace(found.b, name=f"{found.a.name} (A) and {found.b.name} (B)")
    parts = [frame.assign(metric=name) for name, frame in found.differences.items()]
    lists = [plain_sheet("only_in_one", "Only in one run", "scored in one run only", found.alone)]
    if parts:
        about = "B minus A in dB on the common tracks; 95 % bootstrap interval, p after Holm"
        every = pd.concat(parts, ignore_index=True)
        lists.insert(0, plain_sheet("changes", "Changes", about, every))
    downloads = table_files.write_sheets(
        [s for s in lists if len(s.frame)], both, folder / "tables"
    )
    page = html.page(
        "comparison.html",
        provenance.SCRIPTS,
        found=found,
        parts=[_part(found, metric) for metric in found.differences],
        alone=found.alone.assign(input=sources(found.alone)).to_dict("records"),
        remarks=remarks(found),
        downloads=downloads,
        formats=provenance.FORMATS,
    )
    path = folder / "index.html"
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def _part(found: RunComparison, metric: str) -> dict[str, Any]:
    """Return the section of one metric for the page."""
    table = found.differences[metric]
    table = table.assign(input=sources(table))
    span = table[["low", "high", "difference"]].abs().max().max()
    about = (found.b.record.get("metrics") or {}).get(metric) or {}
    rows = [
        {
            **row,
            "label": _label(row),
            "numbers": _numbers(row),
            "picture": _interval(row, span),
            "sure": row["verdict"] in (BETTER, WORSE),
        }
        for row in table.to_dict("records")
    ]
    rows.sort(key=lambda row: (not row["sure"], *(row[c] for c in CASE)))
    return {
        "label": names.metric_label(metric),
        "definition": about.get("definition") or names.HARMONIC_DEFINITION,
        "rows": [row for row in rows if row["verdict"] != SAME],
        "same": [row for row in rows if row["verdict"] == SAME],
        "sure": sum(bool(row["sure"]) for row in rows),
    }


def _interval(row: Mapping[Any, Any], span: float) -> Markup:
    """Draw a difference with its interval around zero; `span` is the largest of the table."""
    scale = _WIDE / 2 / (span or 1.0)
    low, high, middle = (
        _WIDE / 2 + scale * (row["difference"] if pd.isna(row[c]) else row[c])
        for c in ("low", "high", "difference")
    )
    return Markup(
        f'<svg class="interval" viewBox="-3 0 {_WIDE + 6} 14" width="{_WIDE + 6}" height="14" '
        f'aria-hidden="true"><line class="grid" x1="{_WIDE / 2}" x2="{_WIDE / 2}" y1="0" y2="14"/>'
        f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="7" y2="7"/>'
        f'<circle cx="{middle:.1f}" cy="7" r="3"/></svg>'
    )


def _label(row: Mapping[Any, Any]) -> str:
    """Return a separator with its input, if that is not the mixture."""
    return names.with_input(str(row["separator"]), str(row["input"]))


def _numbers(row: Mapping[Any, Any]) -> tuple[str, str, str, str]:
    """Return both means, the difference with its interval, and p as text."""
    a, b, gap, low, high = (
        text.decimals(row[c]) for c in ("mean_a", "mean_b", "difference", "low", "high")
    )
    difference = gap if low == text.MISSING else f"{gap} ({low} to {high})"
    return a, b, difference, text.probability(row["p"])


def _refusal(a: Run, b: Run, metric: str) -> str:
    """Return why a metric is not compared; empty if it is."""
    only = [name for name, run in (("A", a), ("B", b)) if metric in {*run.scores["metric"]}]
    if len(only) == 1:
        return f"only in {only[0]}"
    if a.record.get("excerpt_seconds") != b.record.get("excerpt_seconds"):
        return "not compared: the runs scored excerpts of different lengths"
    left, right = ((run.record.get("metrics") or {}).get(metric) or {} for run in (a, b))
    for what in ("version", "definition", "unit"):
        if left.get(what) != right.get(what):
            return f"not compared: {what} {left.get(what)!r} in A, {right.get(what)!r} in B"
    return ""


def _across(a: Run, b: Run) -> str:
    """Say how runs without a common separator are compared; empty if they have one."""
    left, right = (
        sorted({*run.scores.loc[run.scores["stem"] != "", "separator"]}) for run in (a, b)
    )
    if not left or not right or {*left} & {*right}:
        return ""
    ours = min(left, key=lambda name: name not in ranked_in(a))
    theirs = min(right, key=lambda name: name not in ranked_in(b))
    return (
        "the runs have no separator in common, and this comparison is of each separator with "
        f"itself. Compare two separators: harness compare {ours} {theirs} --run {a.name} --run "
        f"{b.name}. Show all in one report: harness report {a.name} {b.name}"
    )


def _other_audio(a: Run, b: Run) -> set[tuple[str, ...]]:
    """Return (dataset, split, track) of tracks whose audio is known to differ in the two runs."""
    left, right = (
        {
            tuple(unit[c] for c in _TRACK): unit["track_key"]
            for unit in run.record.get("units") or ()
        }
        for run in (a, b)
    )
    return {track for track in left.keys() & right.keys() if left[track] != right[track]}


def _produced(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what differs in how the runs were made: code, machine, libraries, entries, data."""
    pairs = [(name.replace("_", " "), a.get(name), b.get(name)) for name in _MACHINE]
    left, right = (record.get("libraries") or {} for record in (a, b))
    pairs += [(name, left.get(name), right.get(name)) for name in sorted({*left, *right})]
    for kind in ("metrics", "separators", "datasets"):
        left, right = (record.get(kind) or {} for record in (a, b))
        for name in sorted({*left, *right}):
            old, new = left.get(name), right.get(name)
            one = f"{kind[:-1]} {name}"
            if old is None or new is None:
                a_has, b_has = ("present" if x is not None else None for x in (old, new))
                pairs.append((one, a_has, b_has))
                continue
            pairs += [
                (f"{one}: {what.replace('_', ' ')}", old.get(what), new.get(what))
                for what in _ENTRY
            ]
    for what, old, new in pairs:
        if old != new:
            yield what, text.plain(old), text.plain(new)
