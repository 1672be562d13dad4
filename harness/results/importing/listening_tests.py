"""Listening tests: what people said of separators' estimates, beside the values of metrics.

A table is CSV in UTF-8 with one row per estimate and the columns `ITEM` and ``rating``; all other
columns are metrics. ``-name`` in the header says that lower is better, which the record of a metric
of this program says already. Empty cells are missing values.

The ratings of Bereuter et al. 2025 (gensvs, singing voice, five separators) are read as they were
published.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.metrics import METRICS
from harness.results.importing.foreign_formats import ForeignFile, read_file

RATING = "rating"
ITEM = ("song", "separator", "generative", "stem")
YES, NO = ("yes", "true", "1"), ("no", "false", "0")
_GENSVS = {  # its column: ours
    "file_id": "song",
    "model_name": "separator",
    "model_type": "generative",
    "DMOS": RATING,
}
_GENSVS_NO_METRIC = ("filepath", "trial_id", "group_id")
_GENSVS_LOWER = ("emb_mse_", "fad_", "multi_res_loss")  # how names of distances begin


@dataclass(frozen=True)
class ListeningTest:
    """One listening test: its items, and which way each metric counts."""

    name: str
    table: pd.DataFrame  # columns `ITEM`, rating and `metrics`; NaN where a value is missing
    metrics: tuple[str, ...]
    lower: frozenset[str]  # those of which a lower value is better


def read_listening_test(path: Path, lower: Collection[str] = ()) -> ListeningTest:
    """Read the table of a listening test; `lower` names metrics of which lower is better."""
    file = read_file(path)
    rows = list(file.rows(()))
    if not rows:
        raise file.error("has no row")
    name = path.stem
    if set(_GENSVS) <= set(rows[0]):
        name = "gensvs"
        rows = [_from_gensvs(row) for row in rows]
    if missing := [name for name in (*ITEM, RATING) if name not in rows[0]]:
        raise file.error(
            f"has no column {missing[0]!r}; a listening test has {', '.join((*ITEM, RATING))} and "
            "one column per metric"
        )
    signed = [name for name in rows[0] if name not in (*ITEM, RATING)]
    names = {name: file.name(name.removeprefix("-")) for name in signed}
    if len(set(names.values())) < len(names):
        raise file.error("has two columns of one metric")
    if not names:
        raise file.error("has no column of a metric")
    if unknown := sorted(set(lower) - set(names.values())):
        raise HarnessError(
            f"{path}: has no metric {unknown[0]!r}; it has {', '.join(names.values())}"
        )
    falling = {name for sign, name in names.items() if sign != name} | set(lower)
    if wrong := [n for n in falling if n in METRICS and METRICS[n].higher_is_better]:
        raise file.error(f"says that a lower {wrong[0]} is better; higher is better")
    falling |= {n for n in names.values() if n in METRICS and not METRICS[n].higher_is_better}
    table = pd.DataFrame([_item(file, row, names) for row in rows])
    if len(twice := table[table.duplicated(["song", "separator", "stem"])]):
        song, separator = twice.iloc[0][["song", "separator"]]
        raise file.error(f"rates {separator!r} on {song!r} twice")
    return ListeningTest(name, table, tuple(names.values()), frozenset(falling))


def find_tables(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and the CSV files of the folders, in order."""
    found = []
    for path in paths:
        inside = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not inside:
            raise HarnessError(f"{path}: has no CSV file; name the table of a listening test")
        found += inside
    return found


def _item(file: ForeignFile, row: Mapping[str, str], names: Mapping[str, str]) -> dict[str, object]:
    """Return one row of the table, with every value checked."""
    said = row["generative"].strip().casefold()
    if said not in (*YES, *NO):
        raise file.error(f"generative: {row['generative'][:40]!r} is neither yes nor no")
    rating = _number(file, RATING, row[RATING])
    if not math.isfinite(rating):
        raise file.error(f"rating: {row[RATING][:40]!r} is not a number")
    return {
        "song": file.name(row["song"]),
        "separator": file.name(row["separator"]),
        "generative": said in YES,
        "stem": taxonomy.canonical(file.name(row["stem"])),
        RATING: rating,
        **{name: _number(file, name, row[column]) for column, name in names.items()},
    }


def _number(file: ForeignFile, column: str, cell: str) -> float:
    """Return the number of a cell; NaN if it is empty."""
    try:
        return float(cell) if cell.strip() else math.nan
    except ValueError:
        raise file.error(f"{column}: {cell[:40]!r} is not a number") from None


def _from_gensvs(row: Mapping[str, str]) -> dict[str, str]:
    """Return a row of the published gensvs ratings as one of ours; SI-SDR has our name."""
    found = {"stem": "vocals"}
    for column, cell in row.items():
        name = _GENSVS.get(column) or {"sisdr": "si_sdr"}.get(column, column.removesuffix("_df"))
        if column not in _GENSVS_NO_METRIC:
            found[f"-{name}" if column.startswith(_GENSVS_LOWER) else name] = cell
    found["generative"] = "yes" if row["model_type"] == "generative" else "no"
    return found
