"""What genres change: how many tracks each has, and whether choosing by genre would pay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness.core import text
from harness.report import figures, names
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


def policy(candidates: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return per dataset, stem and genre whether a policy by genre would choose differently.

    Parameters
    ----------
    candidates
        As from `harness.results.grid.track_scores`, of separators that may be chosen.

    Returns
    -------
    dict
        {dataset: rows with stem, input, genre, n, artists, overall, best, gain, low, verdict}.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for grid in sorted(map(Grid.complete, grids(candidates)), key=_place):
        if len(grid.separators) < 2:
            continue
        for cell in genre_cells(grid).to_dict("records"):
            row = {**cell, "stem": grid.stem, "input": grid.source, "verdict": _verdict(cell)}
            row |= {name: text.encode(cell[name]) for name in ("gain", "low")}
            found.setdefault(grid.dataset, []).append({str(k): v for k, v in row.items()})
    return found


def strong(rows: Iterable[Mapping[str, Any]]) -> str:
    """Say how many cells were strong enough to choose by.

    Examples
    --------
    >>> strong([{"strong": False, "verdict": "too few"}, {"strong": True, "verdict": "yes"}])
    '1 of 2 cells is strong enough to choose by genre.'
    """
    listed = list(rows)
    n = sum(bool(row["strong"]) for row in listed)
    are = "is" if n == 1 else "are"
    return f"{n} of {text.count(len(listed), 'cell')} {are} strong enough to choose by genre."


def _place(grid: Grid) -> tuple[Any, ...]:
    """Return what grids are sorted by."""
    return grid.dataset, names.input_rank(grid.source), names.stem_rank(grid.stem)


def _verdict(cell: Mapping[Any, Any]) -> str:
    """Say what the policy does in a genre, and why."""
    if cell["n"] < MIN_GENRE or cell["artists"] < MIN_ARTISTS:
        return f"too few: {MIN_GENRE} tracks by {MIN_ARTISTS} artists are needed"
    if cell["best"] == cell["overall"]:
        return "the same choice"
    return (
        f"chooses {cell['best']}" if cell["strong"] else "not significant: the overall choice stays"
    )
