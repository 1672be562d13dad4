"""The page that shows which metrics agree with listeners."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

import harness
from harness.core import text
from harness.core.files import write_atomic
from harness.report import html, names, provenance
from harness.selection.agreement import ACROSS, GROUPS

FOLDER = "validity"  # below the folder of all reports
_WIDE = 200  # user units of a drawn interval
_STEP = 0.25  # of the left ends of the charts


def write(table: pd.DataFrame, reports: Path) -> Path:
    """Write the page of rows as from `harness.selection.agreement.agreement`; return its path."""
    page = html.page(
        "validity.html",
        provenance.SCRIPTS,
        parts=[
            _part(str(test), str(stem), rows)
            for (test, stem), rows in table.groupby(["test", "stem"], sort=False)
        ],
        version=harness.__version__,
    )
    path = reports / FOLDER / "index.html"
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def label(row: Mapping[Any, Any]) -> str:
    """Return a metric's name, with an arrow down where lower is better."""
    return f"{row['metric']}{' ↓' if row['better'] == 'lower' else ''}"


def with_ends(row: Mapping[Any, Any], name: str) -> str:
    """Return a statistic with its interval as text."""
    value = text.decimals(row[name], 3)
    low, high = (text.decimals(row[f"{name}{end}"]) for end in ("_low", "_high"))
    return value if low == text.MISSING else f"{value} ({low} to {high})"


def border(table: pd.DataFrame) -> list[str]:
    """Say, per test and stem, what SDR does with listeners' order inside and across the border.

    There is a line where a test has an SDR of ordinary and of generative separators.
    """
    lines = []
    for (test, stem), rows in table[table["metric"] == "sdr"].groupby(["test", "stem"], sort=False):
        share = dict(zip(rows["group"], rows["in_order"], strict=True))
        if {"ordinary", "both", ACROSS} <= set(share):
            inside, both, across = (f"{share[k]:.3f}" for k in ("ordinary", "both", ACROSS))
            lines.append(
                f"{test}, {names.stem_label(str(stem))}: SDR orders {inside} of the pairs of "
                f"ordinary separators as listeners do, {both} of all pairs, and {across} of those "
                "of an ordinary and a generative one (0.5 is chance)"
            )
    return lines


def _part(test: str, stem: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the section of one test and stem."""
    least = {name: _left_end(rows[[f"{name}_low", name]]) for name in ("spearman", "in_order")}
    groups = [
        {"title": GROUPS[str(group)], "rows": _rows(of.to_dict("records"), least)}
        | {"pairs_only": group == ACROSS, "n": int(of["n"].max()), "songs": int(of["songs"].max())}
        for group, of in rows.groupby("group", sort=False)
    ]
    ends = {name: text.decimals(end) for name, end in least.items()}
    return {"test": test, "stem": stem, "groups": groups, "border": border(rows), "least": ends}


def _left_end(values: pd.DataFrame) -> float:
    """Return where the charts of one statistic begin, the same for all groups; 0 at most."""
    least = values.min().min()
    return min(0.0, math.floor(least / _STEP) * _STEP) if pd.notna(least) else 0.0


def _rows(rows: Sequence[Mapping[Any, Any]], least: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        {
            "label": label(row),
            "n": row["n"],
            "pairs": row["pairs"],
            "spearman": with_ends(row, "spearman"),
            "spearman_picture": _interval(row, "spearman", least["spearman"], 0.0),
            "in_order": with_ends(row, "in_order"),
            "in_order_picture": _interval(row, "in_order", least["in_order"], 0.5),
        }
        for row in rows
    ]


def _interval(row: Mapping[Any, Any], name: str, least: float, chance: float) -> Markup:
    """Draw a statistic between `least` and 1 with its interval, and a line at chance."""
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(value):
        return Markup("")
    ends = (value if pd.isna(end) else end for end in (low, high, value))
    a, b, middle, zero = (_WIDE * (x - least) / (1 - least) for x in (*ends, chance))
    return Markup(
        f'<svg class="interval" viewBox="-3 0 {_WIDE + 6} 14" width="{_WIDE + 6}" height="14" '
        f'aria-hidden="true"><path class="axis" d="M0 7H{_WIDE}"/>'
        f'<path class="chance" d="M{zero:.1f} 0V14"/>'
        f'<line class="span" x1="{a:.1f}" x2="{b:.1f}" y1="7" y2="7"/>'
        f'<circle cx="{middle:.1f}" cy="7" r="3"/></svg>'
    )
