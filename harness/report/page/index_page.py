"""The page of a run: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from harness.datasets.known import DATASETS
from harness.metrics import BlendProducts
from harness.report import html, names, provenance
from harness.report.computed import Report, part
from harness.report.page import bleed_tables, choices, means, payload, stem_tree, story
from harness.report.page.bleed_tables import Place
from harness.report.tracks.listening import by_track
from harness.report.tracks.track_page import TrackPage
from harness.results import runs
from harness.results.omitted import lacks, recorded
from harness.results.runs import Run

SCRIPTS = (
    "theme.js", "numbers.js", "core.js", "charts.js", "board.js", "strips.js", "pairs.js",
    "pareto.js", "details.js", "links.js", "page.js",
)  # fmt: skip
SHOWN = 4  # names of what is left out, per reason; more of them are folded
NAMED = 20  # of what is left out, per reason; the table of the provenance page has all
FEW = 5  # tracks; genres with fewer are marked


def render(
    report: Report,
    listen: Iterable[TrackPage] = (),
    blends: pd.DataFrame | None = None,
    kept: Mapping[Place, BlendProducts] | None = None,
) -> str:
    """Return a run's report as HTML; equal runs give equal text.

    It links to the track pages in `listen`. `blends` is as from `harness.selection.blends`, and
    `kept` are the inner products of the run by (dataset, split, track, stem).
    """
    run, view = report.run, payload.build(report)
    return html.page(
        "page.html",
        SCRIPTS,
        run=run,
        record=run.record,
        view=view,
        genres={d["name"]: drawn for d in view["datasets"] if (drawn := means.genres(d))},
        genre_policy=choices.genre_policy(report.candidates),
        strong=choices.strong,
        selections=choices.counts(run),
        worth=choices.worth(report.candidates),
        stability=choices.stability(report),
        blends=choices.blends(blends),
        bleed=bleed_tables.matrices(kept or {}),
        inaudible=bleed_tables.INAUDIBLE,
        trees=_trees(run, view),
        hierarchies=stem_tree.fed_apart(run.scores),
        means={d["name"]: means.by_separator(d) for d in view["datasets"]},
        genre_means={d["name"]: means.by_genre(d) for d in view["datasets"]},
        stories={name: story.of_dataset(report, name, view["metric"]) for name in report.datasets}
        if view["metric"]
        else {},
        known=DATASETS,
        notes=_notes(run.record),
        track_pages=by_track(listen),
        failures=provenance.failures(run),
        lacks=lacks(recorded(run.record)),
        named=NAMED,
        shown=SHOWN,
        marked=_marked(run.record),
        data=html.as_json({**view, "few": FEW}),
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


def _marked(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return {status of the leak ledger: separators that have it on any track}."""
    found: dict[str, set[str]] = {"leaked": set(), "unknown": set()}
    for (separator, *_), status in runs.leaks(record).items():
        found.setdefault(status, set()).add(separator)
    return {status: sorted(separators) for status, separators in found.items()}
