"""Tables of `harness.selection` as text: rounded, intervals in one cell, and remarks on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.cli.boards import Board
from harness.core.text import decimals
from harness.results.runs import sources
from harness.selection.statistics import MIN_ARTISTS
from harness.selection.worth import in_words

_HIDDEN = {
    "dataset", "input", "fed_by", "lacks_a", "lacks_b", "artists", "single_score", "held_out",
    "better", "withheld", "low", "high",
}  # fmt: skip
_TITLES = {
    "n": "tracks (artists)", "score": "held-out", "p": "p (Holm)", "mean_a": "A", "mean_b": "B",
    "difference": "A − B (95 %)", "gain": "gain (95 %)", "single": "over the best single",
    "edges": "bands cut at, Hz",
}  # fmt: skip


def table_boards(table: pd.DataFrame, title: str) -> list[Board]:
    """Lay a table of `harness.selection` out for a terminal: one board per dataset and input.

    Examples
    --------
    >>> row = {"dataset": "demo", "stem": "bass", "gain": 0.5, "low": -0.125, "high": 1.0}
    >>> table_boards(pd.DataFrame([row]), "worth")[0].rows
    [['bass', '0.50 (−0.12 to 1.00)']]
    """
    if "fed_by" in table:
        table = table.assign(input=sources(table))
    keys = [key for key in ("dataset", "input") if key in table]
    found = []
    for where, part in table.groupby(keys, sort=True):
        names = [str(n) for n in table if n not in _HIDDEN]
        rows = [[_cell(name, row) for name in names] for row in part.to_dict("records")]
        place = str(where[0])
        place += f", from {where[1]}" if where[1:] not in ((), ("mixture",)) else ""
        found.append(Board(f"{place}: {title}", [_TITLES.get(name, name) for name in names], rows))
    return found


def summary_boards(summary: pd.DataFrame, policy: str) -> list[Board]:
    """Lay `summary` out: all columns of the policy in use, and held-out scores of all policies."""
    if summary.empty:
        return []
    main = summary[summary["policy"] == policy].drop(columns=["policy", "chosen"])
    found = table_boards(main, "expected scores of the choice, dB")
    others = summary.pivot(
        index=["dataset", "input", "fed_by", "policy"], columns="stem", values="score"
    )
    stems = list(dict.fromkeys(summary["stem"]))
    others = others[stems].reindex(pd.unique(summary["policy"]), level="policy").reset_index()
    return found + table_boards(others, "held-out scores of ways to choose, dB")


def remarks(table: pd.DataFrame, a: str, b: str) -> list[str]:
    """Say where tracks are missing, or artists too few, in a table of `compare`."""
    lines = []
    for row in table.to_dict("records"):
        where = f"{row['dataset']}, {row['stem']}"
        lacks = [(name, row[f"lacks_{key}"]) for key, name in (("a", a), ("b", b))]
        missing = " and ".join(f"{name} lacks {n} more" for name, n in lacks if n)
        if missing:
            lines.append(f"{where}: compared on the {row['n']} tracks that both have; {missing}")
        if row["artists"] < MIN_ARTISTS:
            lines.append(
                f"{where}: tracks by {row['artists']} artists are too few to find a significant "
                f"difference; {MIN_ARTISTS} are needed"
            )
    return lines


def _cell(name: str, row: Mapping[Any, Any]) -> str:
    """Write one value for people."""
    value = row[name]
    if isinstance(value, Mapping):
        return ", ".join(f"{stem}: {chosen}" for stem, chosen in value.items())
    if name == "n" and "artists" in row:
        return f"{value} ({row['artists']})"
    if not isinstance(value, float):
        return str(value)
    if pd.isna(value):
        return "–"
    if name == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if name == "peak_memory":
        return f"{value / 1e9:.2f} GB"
    if name in ("rtf", "parameters", "cpu_seconds"):
        return f"{value:.3g}"
    if name in ("difference", "gain"):
        low, high = row["low"], row["high"]
        ends = "–" if pd.isna(low) else f"{decimals(low)} to {decimals(high)}"
        return f"{decimals(value)} ({ends})"
    return decimals(value)


def blend_boards(worth: pd.DataFrame) -> list[Board]:
    """Lay `blends` out for a terminal: the held-out scores, and the weights."""
    words = worth.assign(weights=worth["weights"].map(in_words))
    if not words["edges"].any():
        words = words.drop(columns="edges")
    place = [name for name in ("dataset", "input", "fed_by", "stem", "edges") if name in words]
    shown = words.drop(columns=["weights", "in_sample", "p"])
    return [
        *table_boards(shown, "blends against the best single separator, dB"),
        *table_boards(words[[*place, "weights"]], "weights that all tracks choose"),
    ]
