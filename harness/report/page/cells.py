"""Cells and pairs as the script reads them: rounded as they are shown, long rows packed."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

import pandas as pd

from harness.core import text
from harness.report.page.certainty import Cell

CODES = {None: -32768, "u": -32767, "-inf": -32766, "inf": 32767}  # as in core.js
LARGEST = 32765
PLACES = (
    "mean", "median", "sd", "q1", "q3", "n", "rank", "rank_median", "leaked", "low", "high",
    "median_low", "median_high", "group", "rank_low", "rank_high", "p_best", "limited", "why",
)  # fmt: skip


def cell(row: Mapping[Any, Any], sure: Cell) -> list[Any]:
    """Return one cell of a table, in the order of `PLACES`; see core.js."""
    ends = (sure.low, sure.high, sure.median_low, sure.median_high)
    return [
        *(text.encode(row[name]) for name in ("mean", "median", "sd", "q1", "q3")),
        row["n"],
        *(None if pd.isna(row[name]) else int(row[name]) for name in ("rank", "rank_median")),
        int(row["leaked"]),
        *map(text.encode, ends),
        sure.group,
        sure.rank_low,
        sure.rank_high,
        text.encode(sure.p_best),
        row["limited"],
        row["why"],
    ]


def pairs(
    table: pd.DataFrame, number: Mapping[tuple[str, str], int], source: str
) -> tuple[list[int], str | list[Any]]:
    """Return the rows that are compared, and difference, low, high, p, apart of each pair, packed.

    Pairs come in the order (0, 1), (0, 2) … (1, 2) … of the rows; p is in ten-thousandths.
    """
    names = list(dict.fromkeys([*table["a"], *table["b"]]))
    values: list[Any] = []
    for row in table.to_dict("records"):
        values += [hundredths(row[name]) for name in ("difference", "low", "high")]
        values += [None if pd.isna(row["p"]) else round(row["p"] * 10_000), int(row["apart"])]
    return [number[name, source] for name in names], pack(values)


def pack(values: list[Any]) -> str | list[Any]:
    """Return hundredths as base64 of 16-bit integers, little end first; a third of the size.

    `CODES` stand for what is no number: null (no value), ``u`` (undefined: no or silent reference)
    and infinity. A list with a number that does not fit stays a list.

    Examples
    --------
    >>> pack([123, None]), pack([70000, "u"])
    ('ewAAgA==', [70000, 'u'])
    """
    if any(isinstance(value, int) and abs(value) > LARGEST for value in values):
        return values
    numbers = [value if isinstance(value, int) else CODES[value] for value in values]
    return base64.b64encode(struct.pack(f"<{len(numbers)}h", *numbers)).decode()


def hundredths(value: float) -> int | str | None:
    """Return the value as it is shown, without its decimal point."""
    shown = text.encode(value)
    return round(shown * 100) if isinstance(shown, float) else shown
