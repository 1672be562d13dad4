"""One table of a report as data: tidy and exact to calculate with, and laid out to print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report import text


@dataclass(frozen=True)
class Block:
    """One printed table: heads and cells are text; ``bold`` holds (row, column) of the best."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Sheet:
    """One table of a report.

    Attributes
    ----------
    name
        Of its files.
    title, about
        What it shows, and what its numbers are.
    frame
        One row a number or case.
    blocks
        The same, to print.
    """

    name: str
    title: str
    about: str
    frame: pd.DataFrame
    blocks: tuple[Block, ...]


def plain(name: str, title: str, about: str, frame: pd.DataFrame) -> Sheet:
    """Return a sheet that is printed as it is, numbers with two decimals."""
    shown = {c: [_p(p) for p in frame[c]] if c == "p" else frame[c].tolist() for c in frame}
    rows = tuple(tuple(map(cell_text, row)) for row in zip(*shown.values(), strict=True))
    head = tuple(str(c).replace("_", " ") for c in frame.columns)
    return Sheet(name, title, about, frame, (Block(title, head, rows),))


def cell_text(value: Any) -> str:
    """Write one value as it is read."""
    if isinstance(value, float):
        return text.decibels(text.encode(value))
    return text.MISSING if value is None else str(value)


def _p(p: float) -> str:
    """Write the probability of a test."""
    return text.MISSING if pd.isna(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"
