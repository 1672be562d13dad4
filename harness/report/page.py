"""The page of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.cache import write_atomic
from harness.report import figures, html, names, payload, tables, text
from harness.report.dataset import records
from harness.report.listening import Page, by_track
from harness.results import Run, read_run

SCRIPTS = ("theme.js", "core.js", "board.js", "strips.js", "details.js", "page.js")  # in this order
FEW = 5  # tracks; a genre with fewer is marked


def write(run_folder: Path, out_folder: Path) -> Path:
    """Write a run's report; the old one stays until the new one is complete.

    Returns
    -------
    Path
        ``<out_folder>/index.html``.
    """
    page = render(read_run(run_folder))
    out = out_folder / "index.html"
    write_atomic(out, page.encode("utf-8", "replace"))
    return out


def render(run: Run, listen: Iterable[Page] = ()) -> str:
    """Return a run's report as HTML; equal runs give equal text.

    Parameters
    ----------
    listen
        Pages of tracks to link to.
    """
    view = payload.build(run)
    return html.page(
        "page.html",
        SCRIPTS,
        run=run,
        record=run.record,
        view=view,
        genres=_genres(view),
        selections=_selections(run),
        hierarchies=_hierarchies(run),
        notes=_notes(run.record, view),
        heard=by_track(listen),
        failures=tables.failures(run.scores).to_dict("records"),
        leaks=_leaks(run.record),
        command=shlex.join(str(part) for part in run.record.get("command") or ()),
        data=html.as_json(view),
        roles=names.ROLES,
        few=FEW,
    )


def _genres(view: Mapping[str, Any]) -> dict[str, Markup]:
    """Return the picture of how many tracks each genre has, per dataset that knows genres."""
    found = {}
    for dataset in view["datasets"]:
        counts = Counter(map(tables.genre_name, dataset["tracks"]["genre"]))
        ordered = sorted(counts, key=lambda genre: (-counts[genre], genre))
        told = ", ".join(f"{genre} {counts[genre]}" for genre in ordered)
        title = f"Genres of {dataset['name']}: {told}"
        series = {"tracks": [counts[genre] for genre in ordered]}
        if set(counts) - {tables.NO_GENRE}:
            picture = figures.bars(ordered, series, title=title, axis="number of tracks")
            found[dataset["name"]] = picture
    return found


def _notes(record: Mapping[str, Any], view: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the selection notes of each dataset; those of none stand under the empty name."""
    known = [dataset["name"] for dataset in view["datasets"]]
    found: dict[str, list[str]] = {}
    for line in payload.part(record, "selection_notes"):
        about = [name for name in known if line.startswith((f"{name}:", f"{name},"))]
        found.setdefault(about[0] if about else "", []).append(line)
    return found


def _selections(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Return per dataset and stem who was chosen how often, as picture and by genre."""
    named = run.selection.assign(genre=run.selection["genre"].map(tables.genre_name))
    counts = tables.selection_counts(named)
    by_genre = tables.selection_counts(named, by=["genre"])
    found: dict[str, list[dict[str, Any]]] = {}
    for key, block in counts.groupby(["dataset", "stem"], sort=True):
        dataset, stem = map(str, key)
        rows = block.sort_values(
            ["oracle", "deployable", "separator"], ascending=[False, False, True]
        )
        here = by_genre[(by_genre["dataset"] == dataset) & (by_genre["stem"] == stem)]
        found.setdefault(dataset, []).append(
            {
                "stem": stem,
                "counts": rows.to_dict("records"),
                "figure": _selection_figure(dataset, stem, rows),
                "genres": _genre_counts(here, list(rows["separator"])),
            }
        )
    return {
        dataset: sorted(parts, key=lambda part: names.stem_rank(part["stem"]))
        for dataset, parts in found.items()
    }


def _hierarchies(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Return per dataset what separators of a stem score with the true one and in cascade."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in tables.hierarchy(run.scores).to_dict("records"):
        found.setdefault(str(row["dataset"]), []).append(
            {str(name): text.encode(x) if isinstance(x, float) else x for name, x in row.items()}
        )
    return {
        dataset: sorted(rows, key=lambda row: (row["input"], names.stem_rank(row["stem"])))
        for dataset, rows in found.items()
    }


def _selection_figure(dataset: str, stem: str, rows: pd.DataFrame) -> Markup:
    """Draw how often each separator was chosen, with the answers and without."""
    series = {kind: list(rows[kind]) for kind in ("oracle", "deployable")}
    return figures.bars(
        list(rows["separator"]),
        {kind: counts for kind, counts in series.items() if any(counts) or kind == "oracle"},
        title=f"How often each separator was chosen for {names.stem_label(stem)} on {dataset}",
        axis="number of tracks on which it was chosen",
    )


def _genre_counts(rows: pd.DataFrame, separators: list[str]) -> dict[str, dict[str, list[int]]]:
    """Return {genre: {separator: [oracle, deployable]}}."""
    out: dict[str, dict[str, list[int]]] = {}
    columns = ("genre", "separator", "oracle", "deployable")
    for genre, separator, *chosen in records(rows, *columns):
        out.setdefault(genre, {name: [0, 0] for name in separators})[separator] = chosen
    return out


def _leaks(record: Mapping[str, Any]) -> Any:
    """Count the leak ledger per separator, dataset and status."""
    rows = pd.DataFrame(
        record.get("leaks") or [], columns=["separator", "dataset", "track", "status"]
    )
    counts = rows.groupby(["separator", "dataset", "status"], sort=True).size()
    return counts.rename("n").reset_index().to_dict("records")
