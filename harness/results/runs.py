"""The tidy table, what produced it, and reading and joining runs.

A run is a folder: ``scores.parquet``, ``costs.parquet``, ``ensembles.parquet`` and
``selection.parquet`` are the same bytes whenever the same work is done, however often it was
interrupted (but for ``costs.parquet``, which holds measured times); ``run.json`` says what produced
them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.files import write_atomic

# One row a value. `input` is what the separator was given: mixture, or reference:<stem>.
# `status` is ok, undefined (no score exists, see note) or failed (one row for the whole piece of
# work: no stem, no metric, the reason in note).
COLUMNS = (
    "run",
    "dataset",
    "split",
    "track",
    "artist",
    "genre",
    "separator",
    "input",
    "stem",
    "metric",
    "value",
    "status",
    "note",
)
SELECTION_COLUMNS = (
    "dataset",
    "input",
    "stem",
    "kind",
    "track",
    "artist",
    "genre",
    "separator",
    "score",
)
TABLES: dict[str, tuple[str, ...]] = {
    "scores": COLUMNS,
    "costs": COLUMNS,
    "ensembles": COLUMNS,
    "selection": SELECTION_COLUMNS,
}
_NOT_IDENTITY = ("run", "artist", "genre", "value", "note", "status", "score")  # of a row


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run, as read from its folder.

    Attributes
    ----------
    scores, costs, ensembles
        Columns `COLUMNS`.
    selection
        Columns `SELECTION_COLUMNS`.
    record
        What produced them.
    """

    name: str
    scores: pd.DataFrame
    costs: pd.DataFrame
    ensembles: pd.DataFrame
    selection: pd.DataFrame
    record: dict[str, Any]


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Return rows as a table with the columns and types every table of a run has.

    Examples
    --------
    >>> table([]).dtypes["value"]
    dtype('float64')
    """
    frame = pd.DataFrame(list(rows), columns=list(columns))
    numbers = {"value", "score"}
    return frame.astype({c: "float64" if c in numbers else "object" for c in columns})


def write_run(folder: Path, run: Run) -> None:
    """Write all files of a run; each is complete or the old one stays."""
    for name in TABLES:
        write_atomic(folder / f"{name}.parquet", to_parquet(getattr(run, name)))
    write_atomic(folder / "run.json", json.dumps(run.record, indent=1, sort_keys=True).encode())


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Return the table as Parquet; equal tables give equal bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", compression="zstd", index=False)
    return buffer.getvalue()


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises
    ------
    HarnessError
        If the folder is no run, or a table is unreadable or lacks a column.
    """
    if not (folder / "run.json").is_file():
        raise HarnessError(f"{folder}: holds no run; name a folder with run.json in it")
    try:
        record = json.loads((folder / "run.json").read_bytes())
        frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    except (OSError, ValueError) as error:
        raise HarnessError(f"{folder}: cannot be read ({error}); run again") from error
    if "input" not in frames["selection"]:  # of runs before it was written
        frames["selection"]["input"] = [_fed(stem) for stem in frames["selection"]["stem"]]
    for name, columns in TABLES.items():
        if missing := [c for c in columns if c not in frames[name]]:
            raise HarnessError(f"{folder}/{name}.parquet: has no column {missing}; run again")
    return Run(name=record.get("run", folder.name), record=record, **frames)


def _fed(stem: str) -> str:
    """Return what those that a stem was chosen from were given."""
    level = taxonomy.parent_level(stem)
    return level if level == "mixture" else f"reference:{level}"


def join(runs: Sequence[Run]) -> Run:
    """Put several runs in one table; of rows that two runs share the first run's are kept.

    Only runs that define the metrics they share alike and scored equal excerpts can be joined.
    """
    if len(runs) == 1:
        return runs[0]
    first = runs[0].record
    metrics: dict[str, Any] = {}
    for run in runs:
        if run.record.get("excerpt_seconds") != first.get("excerpt_seconds"):
            raise _other("excerpt_seconds", run, runs[0])
        for name, about in (run.record.get("metrics") or {}).items():
            if metrics.setdefault(name, about) != about:
                raise _other(name, run, runs[0])
    merged = {
        name: pd.concat([getattr(run, name) for run in runs], ignore_index=True).drop_duplicates(
            [c for c in columns if c not in _NOT_IDENTITY]
        )
        for name, columns in TABLES.items()
    }
    record = {**first, "run": " + ".join(run.name for run in runs), "metrics": metrics}
    for part in ("separators", "datasets"):
        record[part] = {k: v for run in reversed(runs) for k, v in run.record[part].items()}
    for part in ("skipped", "leaks", "selection_notes", "units", "published"):
        record[part] = [row for run in runs for row in run.record.get(part, ())]
    return Run(name=record["run"], record=record, **merged)


def leaks(record: Mapping[str, Any]) -> dict[tuple[str, str, str, str], str]:
    """Return the status of each (separator, dataset, split, track) that is not clean.

    It is ``leaked`` (in training data) or ``unknown``. Nothing else reads a record's ledger.
    """
    names = ("separator", "dataset", "split", "track")
    found: dict[Any, str] = {}
    for row in record.get("leaks") or ():
        found.setdefault(tuple(row.get(name, "") for name in names), row["status"])
    return found


def leaked(record: Mapping[str, Any], status: str = "leaked") -> set[tuple[str, str, str, str]]:
    """Return the (separator, dataset, split, track) of one status; see `leaks`."""
    return {pair for pair, found in leaks(record).items() if found == status}


def _other(what: str, run: Run, first: Run) -> HarnessError:
    """Return the error that says that two runs differ."""
    return HarnessError(
        f"{run.name}: defines {what} differently from {first.name}, so one report cannot show "
        "both; report each run separately"
    )
