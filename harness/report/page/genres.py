"""What genres change: how many tracks each has, and whether choosing by genre would pay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.core import text
from harness.report import figures, names
from harness.report.computed import Rows
from harness.results.grid import Grid, grids
from harness.results.ranking import NO_GENRE, genre_name
from harness.selection import MIN_ARTISTS, genre_cells
from harness.selection.policies import MIN_GENRE


def counts(view: Mapping[str, Any]) -> dict[str, Markup]:
    """Return the picture of how many tracks each genre has, per dataset that knows genres."""
    found = {}
    for dataset in view["datasets"]:
        tracks = Counter(map(genre_name, dataset["tracks"]["genre"]))
        ordered = sorted(tracks, key=lambda genre: (-tracks[genre], genre))
        listed = ", ".join(f"{genre} {tracks[genre]}" for genre in ordered)
        title = f"Genres of {dataset['name']}: {listed}"
        series = {"tracks": [tracks[genre] for genre in ordered]}
        if set(tracks) - {NO_GENRE}:
            picture = figures.bars(ordered, series, title=title, axis="number of tracks")
            found[dataset["name"]] = picture
    return found


def policy(candidates: pd.DataFrame) -> Rows:
    """Return per dataset, stem and genre whether a policy by genre would choose differently.

    `candidates` are as in `Report.candidates`. Rows have stem, input, genre, n, artists, overall,
    best, gain, low and verdict.
    """
    found: Rows = {}
    order = sorted(
        (grid for grid in map(Grid.complete, grids(candidates)) if len(grid.separators) > 1),
        key=lambda g: (g.dataset, names.input_rank(g.source), names.stem_rank(g.stem)),
    )
    for grid in order:
        for cell in genre_cells(grid).to_dict("records"):
            row = {**cell, "stem": grid.stem, "input": grid.source, "verdict": _verdict(cell)}
            row |= {name: text.encode(cell[name]) for name in ("gain", "low")}
            found.setdefault(grid.dataset, []).append({str(k): v for k, v in row.items()})
    return found


def strong(rows: Iterable[Mapping[str, Any]]) -> str:
    """Say in how many cells the choice is made by genre.

    Examples
    --------
    >>> strong([{"strong": False, "verdict": "too few"}, {"strong": True, "verdict": "yes"}])
    'In 1 of 2 cells (stem and genre), a separator is significantly better than the overall choice.'
    """
    better = [bool(row["strong"]) for row in rows]
    cells = text.count(len(better), "cell")
    return (
        f"In {sum(better)} of {cells} (stem and genre), a separator is significantly better than "
        "the overall choice."
    )


def _verdict(cell: Mapping[Any, Any]) -> str:
    """Say what the policy does in a genre, and why."""
    if cell["n"] < MIN_GENRE or cell["artists"] < MIN_ARTISTS:
        return f"too few tracks or artists ({MIN_GENRE} and {MIN_ARTISTS} needed): overall choice"
    if cell["best"] == cell["overall"]:
        return "same as the overall choice"
    if cell["strong"]:
        return f"significantly better than the overall choice: chooses {cell['best']}"
    return "not significantly better: overall choice"
