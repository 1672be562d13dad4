"""The page of a run: one self-contained HTML file."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from harness.core.files import write_atomic
from harness.report import html, names, provenance
from harness.report.computed import Report, make_report, part
from harness.report.page import cells, choices, genres, means, payload, stem_tree, training_curves
from harness.report.tracks.listening import by_track
from harness.report.tracks.track_page import TrackPage
from harness.results import runs
from harness.results.runs import Run, read_run

SCRIPTS = (
    "theme.js", "numbers.js", "core.js", "charts.js", "board.js", "strips.js", "pairs.js",
    "pareto.js", "details.js", "links.js", "page.js",
)  # fmt: skip
FEW = 5  # tracks; genres with fewer are marked


def write(run_folder: Path, out_folder: Path) -> Path:
    """Write a run's report to ``<out_folder>/index.html``; an old one is replaced at once."""
    page = render(make_report(read_run(run_folder)))
    out = out_folder / "index.html"
    write_atomic(out, page.encode("utf-8", "replace"))
    return out


def render(
    report: Report, listen: Iterable[TrackPage] = (), blends: pd.DataFrame | None = None
) -> str:
    """Return a run's report as HTML; equal runs give equal text.

    Parameters
    ----------
    listen
        Track pages to link to.
    blends
        Scores of blends, as from `harness.selection.blends`, if known.
    """
    run, view = report.run, payload.build(report)
    return html.page(
        "page.html",
        SCRIPTS,
        run=run,
        record=run.record,
        view=view,
        genres=genres.counts(view),
        genre_policy=genres.policy(report.candidates),
        strong=genres.strong,
        selections=choices.counts(run),
        worth=choices.worth(report.candidates),
        stability=choices.stability(report),
        blends=choices.blends(blends),
        trees=_trees(run, view),
        hierarchies=stem_tree.fed_apart(run.scores),
        means={d["name"]: means.by_separator(d) for d in view["datasets"]},
        genre_means={d["name"]: means.by_genre(d) for d in view["datasets"]},
        curves=training_curves.curves(part(run.record, "separators")),
        notes=_notes(run.record),
        track_pages=by_track(listen),
        failures=provenance.failures(run),
        leaks=_leaks(run.record),
        command=shlex.join(str(part) for part in run.record.get("command") or ()),
        data=html.as_json({**view, "places": cells.PLACES, "few": FEW}),
        roles=names.ROLES,
        few=FEW,
    )


def _trees(run: Run, view: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the stem tree of each dataset."""
    return {
        dataset["name"]: stem_tree.tree(
            dataset,
            run.scores[run.scores["dataset"] == dataset["name"]],
            (part(run.record, "datasets").get(dataset["name"]) or {}).get("bleed") or (),
        )
        for dataset in view["datasets"]
        if dataset["levels"]
    }


def _notes(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return {dataset: its selection notes}; notes on no dataset are under the empty name."""
    found: dict[str, list[str]] = {}
    for row in part(record, "selection_notes"):
        found.setdefault(row["dataset"], []).append(row["note"])
    return found


def _leaks(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Count the leak ledger per separator, dataset and status."""
    counts = Counter((pair[0], pair[1], status) for pair, status in runs.leaks(record).items())
    names_of = ("separator", "dataset", "status")
    return [{**dict(zip(names_of, key, strict=True)), "n": counts[key]} for key in sorted(counts)]
