"""What choosing is worth: which separators are chosen how often, how stably, and what it gains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import pandas as pd
from markupsafe import Markup

from harness import selection
from harness.core import text
from harness.report import figures, names
from harness.report.computed import Report, Rows, by_dataset, records
from harness.results import summaries
from harness.results.grid import Grid, grids
from harness.results.ranking import genre_name
from harness.results.runs import Run, sources
from harness.selection import MIN_ARTISTS, genre_cells
from harness.selection.policies import MIN_GENRE

POLICIES = ("best mean", "best median", "bagged", "by genre")  # what is quick to cross-fit
_KEYS = ["dataset", "input", "stem"]


def counts(run: Run) -> Rows:
    """Return per dataset and stem how often each separator was chosen, as picture and by genre."""
    chosen = run.selection
    named = chosen.assign(genre=chosen["genre"].map(genre_name), input=sources(chosen))
    by_genre = summaries.selection_counts(named, by=["input", "genre"])
    found: Rows = {}
    for key, block in summaries.selection_counts(named, by=["input"]).groupby(_KEYS, sort=True):
        dataset, source, stem = map(str, key)
        rows = block.sort_values(
            ["oracle", "deployable", "separator"], ascending=[False, False, True]
        )
        genres: dict[str, dict[str, list[int]]] = {}  # {genre: {separator: [oracle, deployable]}}
        here = by_genre[(by_genre[_KEYS] == list(key)).all(axis=1)]
        for genre, name, *n in records(here, "genre", "separator", "oracle", "deployable"):
            genres.setdefault(genre, {one: [0, 0] for one in rows["separator"]})[name] = n
        found.setdefault(dataset, []).append(
            {
                "stem": stem,
                "input": source,
                "counts": rows.to_dict("records"),
                "figure": _figure(dataset, stem, rows),
                "genres": genres,
            }
        )
    return _by_stem(found)


def worth(found: pd.DataFrame) -> Rows:
    """Return what choosing by the best mean is worth, from `Report.candidates`.

    Rows of `harness.selection.summary`, with ``ways``: {policy: held-out score}.
    """
    policies = {name: selection.POLICIES[name] for name in POLICIES}
    rows = by_dataset(selection.summary(found, policies=policies))
    ways: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in chain(*rows.values()):
        ways.setdefault(tuple(row[key] for key in _KEYS), {})[row["policy"]] = row["score"]
    return {
        dataset: [
            {**row, "ways": ways[tuple(row[key] for key in _KEYS)]}
            for row in part
            if row["policy"] == POLICIES[0]
        ]
        for dataset, part in rows.items()
    }


def stability(report: Report) -> Rows:
    """Return how often each separator would be chosen if the artists were drawn again.

    Rows with stem, input, stability and shares (in words, the largest first), only where there are
    enough artists to draw from.
    """
    enough = {
        (grid.dataset, grid.source, grid.stem)
        for grid in map(Grid.complete, grids(report.candidates))
        if grid.n_artists >= MIN_ARTISTS
    }
    table = report.frequencies.assign(input=sources(report.frequencies))
    out: Rows = {}
    for key, block in table.groupby(_KEYS, sort=True):
        dataset, source, stem = map(str, key)
        ordered = block[block["frequency"] >= 0.005].sort_values(
            ["frequency", "separator"], ascending=[False, True]
        )
        pairs = records(ordered, "separator", "frequency")
        row = {
            "stem": stem,
            "input": source,
            "stability": f"{block['stability'].iloc[0]:.0%}",
            "shares": ", ".join(f"{name} {share:.0%}" for name, share in pairs),
        }
        if len(block) > 1 and (dataset, source, stem) in enough:
            out.setdefault(dataset, []).append(row)
    return _by_stem(out)


def blends(table: pd.DataFrame | None) -> Rows:
    """Return what blends are worth, rows of `selection.blends`; nothing without inner products."""
    if table is None or table.empty:
        return {}
    return by_dataset(table.assign(weights=table["weights"].map(selection.in_words)))


def genre_policy(candidates: pd.DataFrame) -> Rows:
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


def _by_stem(found: Rows) -> Rows:
    """Sort each dataset's rows by stem."""
    return {
        dataset: sorted(rows, key=lambda row: names.stem_rank(row["stem"]))
        for dataset, rows in found.items()
    }


def _figure(dataset: str, stem: str, rows: pd.DataFrame) -> Markup:
    """Draw how often each separator was chosen, with the answers and without."""
    series = {kind: list(rows[kind]) for kind in ("oracle", "deployable")}
    return figures.bars(
        list(rows["separator"]),
        {kind: counts for kind, counts in series.items() if any(counts) or kind == "oracle"},
        title=f"How often each separator was chosen for {names.stem_label(stem)} on {dataset}",
        axis="number of tracks on which it was chosen",
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
