"""What choosing is worth: which separators are chosen how often, how stably, and what it gains."""

from __future__ import annotations

from typing import Any

import pandas as pd
from markupsafe import Markup

from harness import selection
from harness.core import text
from harness.report import figures, names
from harness.report.computed import Report, records
from harness.results import summaries
from harness.results.grid import Grid, grids
from harness.results.ranking import genre_name
from harness.results.runs import Run, sources

Rows = dict[str, list[dict[str, Any]]]  # by dataset
POLICIES = ("best mean", "best median", "bagged", "by genre")  # what is quick to cross-fit


def counts(run: Run) -> Rows:
    """Return per dataset and stem how often each separator was chosen, as picture and by genre."""
    named = run.selection.assign(
        genre=run.selection["genre"].map(genre_name), input=sources(run.selection)
    )
    keys = ["dataset", "input", "stem"]
    by_genre = summaries.selection_counts(named, by=["input", "genre"])
    found: Rows = {}
    for key, block in summaries.selection_counts(named, by=["input"]).groupby(keys, sort=True):
        dataset, source, stem = map(str, key)
        rows = block.sort_values(
            ["oracle", "deployable", "separator"], ascending=[False, False, True]
        )
        here = by_genre[(by_genre[keys] == list(key)).all(axis=1)]
        found.setdefault(dataset, []).append(
            {
                "stem": stem,
                "input": source,
                "counts": rows.to_dict("records"),
                "figure": _figure(dataset, stem, rows),
                "genres": _genre_counts(here, list(rows["separator"])),
            }
        )
    return _by_stem(found)


def worth(found: pd.DataFrame) -> Rows:
    """Return what choosing by the best mean is worth, from `Report.candidates`.

    Returns
    -------
    dict
        {dataset: rows of `harness.selection.summary`, with ``ways``: {policy: held-out score}}.
    """
    policies = {name: selection.POLICIES[name] for name in POLICIES}
    table = selection.summary(found, policies=policies)
    table = table.assign(input=sources(table))
    keys = ["dataset", "input", "stem"]
    ways: dict[tuple[str, ...], dict[str, Any]] = {}
    for *key, policy, score in records(table, *keys, "policy", "score"):
        ways.setdefault(tuple(key), {})[policy] = text.encode(score)
    rows = _encoded(table[table["policy"] == POLICIES[0]])
    return {
        dataset: [{**row, "ways": ways[tuple(row[key] for key in keys)]} for row in part]
        for dataset, part in rows.items()
    }


def stability(report: Report) -> Rows:
    """Return how often each separator would be chosen if the artists were drawn again.

    Only where there are enough artists to draw from.

    Returns
    -------
    dict
        {dataset: rows with stem, input, stability and shares (in words, the largest first)}.
    """
    enough = {
        (grid.dataset, grid.source, grid.stem)
        for grid in map(Grid.complete, grids(report.candidates))
        if grid.n_artists >= selection.MIN_ARTISTS
    }
    table = report.frequencies.assign(input=sources(report.frequencies))
    out: Rows = {}
    for key, block in table.groupby(["dataset", "input", "stem"], sort=True):
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
    return _encoded(
        table.assign(weights=table["weights"].map(selection.in_words), input=sources(table))
    )


def _encoded(table: pd.DataFrame) -> Rows:
    """Return a table's rows by dataset, numbers as they are shown."""
    found: Rows = {}
    for row in table.to_dict("records"):
        shown = {str(k): text.encode(v) if isinstance(v, float) else v for k, v in row.items()}
        found.setdefault(str(row["dataset"]), []).append(shown)
    return found


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


def _genre_counts(rows: pd.DataFrame, separators: list[str]) -> dict[str, dict[str, list[int]]]:
    """Return {genre: {separator: [oracle, deployable]}}."""
    out: dict[str, dict[str, list[int]]] = {}
    columns = ("genre", "separator", "oracle", "deployable")
    for genre, separator, *chosen in records(rows, *columns):
        out.setdefault(genre, {name: [0, 0] for name in separators})[separator] = chosen
    return out
