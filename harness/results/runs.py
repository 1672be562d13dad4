"""The tidy table, what produced it, and reading and joining runs.

A run is a folder with one Parquet file per table of `TABLES`, and ``run.json``, which says what
produced them. The same work gives the same bytes, interrupted or not, except in ``costs.parquet``,
which holds measured times.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.files import digest, write_atomic
from harness.core.taxonomy import REFERENCE
from harness.registry import FILES

# One row per value. `input` is the stem that the separator was given (mixture, drums, vocals) and
# `fed_by` where it came from: "" for the mixture, `REFERENCE` for the true stem, otherwise the name
# of the separator that made it. `status` is ok, undefined (no score exists, see note) or failed
# (one row per unit of work: no stem, no metric, the reason in note).
COLUMNS = (
    "run", "dataset", "split", "track", "artist", "genre", "separator", "input", "fed_by", "stem",
    "metric", "value", "status", "note",
)  # fmt: skip
SELECTION_COLUMNS = (
    "dataset", "input", "fed_by", "stem", "kind", "track", "artist", "genre", "separator", "score",
)  # fmt: skip
TABLES = dict.fromkeys(("scores", "costs", "ensembles"), COLUMNS) | {"selection": SELECTION_COLUMNS}
FORMAT = 1  # of a run folder; those of earlier versions have none
CHECKSUM = "sha256"  # of the rest of ``run.json``
PAIR = ["separator", "dataset", "split", "track"]
_BLEED = ["split", "track", "stem"]
_NOT_IDENTITY = ("run", "artist", "genre", "value", "note", "status", "score")  # of a row


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run, as read from its folder."""

    name: str
    scores: pd.DataFrame  # columns `COLUMNS`, as in `costs` and `ensembles`
    costs: pd.DataFrame
    ensembles: pd.DataFrame
    selection: pd.DataFrame  # columns `SELECTION_COLUMNS`
    record: dict[str, Any]  # what produced them


def source_of(stem: str, fed_by: str) -> str:
    """Return an input and where it came from in one text, to label and group by.

    Examples
    --------
    >>> source_of("mixture", ""), source_of("drums", REFERENCE), source_of("drums", "htdemucs")
    ('mixture', 'reference:drums', 'cascade:htdemucs:drums')
    """
    if not fed_by:
        return stem
    return f"reference:{stem}" if fed_by == REFERENCE else f"cascade:{fed_by}:{stem}"


def sources(frame: pd.DataFrame) -> npt.NDArray[np.object_]:
    """Return `source_of` of each row of a table with columns input and fed_by."""
    found = np.full(len(frame), "", dtype=object)
    pairs: dict[Any, Any] = frame.groupby(["input", "fed_by"], observed=True, sort=False).indices
    for (stem, fed_by), rows in pairs.items():
        found[rows] = source_of(stem, fed_by)
    return found


def table(rows: Iterable[Sequence[Any]], columns: Sequence[str] = COLUMNS) -> pd.DataFrame:
    """Return rows as a table: value and score are float64, all other columns objects."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    numbers = {"value", "score"}
    return frame.astype({c: "float64" if c in numbers else "object" for c in columns})


def write_run(folder: Path, run: Run) -> None:
    """Write all files of a run; each is replaced only by a complete one.

    ``run.json`` comes last and has the checksums of the tables and its own.
    """
    sums = {}
    for name in TABLES:
        content = to_parquet(getattr(run, name))
        sums[name] = hashlib.sha256(content).hexdigest()
        write_atomic(folder / f"{name}.parquet", content)
    record = json.loads(json.dumps({**run.record, "format": FORMAT, "tables_sha256": sums}))
    signed = {**record, CHECKSUM: digest(record)}
    write_atomic(folder / "run.json", json.dumps(signed, indent=1, sort_keys=True).encode())


def to_parquet(frame: pd.DataFrame) -> bytes:
    """Return the table as Parquet; equal tables give equal bytes."""
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", compression="zstd", index=False)
    return buffer.getvalue()


def runs_in(results: Path) -> list[str]:
    """Return the names of the finished runs in a folder."""
    return sorted(path.parent.name for path in results.glob("*/run.json"))


def runs_or_how(results: Path) -> str:
    """Return which runs a folder has; if it has none, how to start one."""
    found = runs_in(results)
    return f"runs here: {', '.join(found)}" if found else "start one with: harness run --all"


def read_run(folder: Path) -> Run:
    """Read a run folder, also one that an earlier version wrote; those have no checksums."""
    if not (folder / "run.json").is_file():
        inside = runs_in(folder)
        hint = f"name one of: {', '.join(inside)}" if inside else runs_or_how(folder.parent)
        raise HarnessError(f"{folder}: holds no run; {hint}")
    try:
        record, sums = _verified_record(folder)
        frames = {name: _read_table(folder, name, sums.get(name)) for name in TABLES}
        frames, record = _upgraded(frames, record)
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise HarnessError(f"{folder}: cannot be read ({error}); run again") from error
    for name, columns in TABLES.items():
        if missing := [c for c in columns if c not in frames[name]]:
            raise HarnessError(f"{folder}/{name}.parquet: has no column {missing}; run again")
    return Run(name=record.get("run", folder.name), record=record, **frames)


def _verified_record(folder: Path) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the content of ``run.json`` without its checksums, and those of the tables."""
    record = dict(json.loads((folder / "run.json").read_bytes()))
    version = record.get("format", 0)
    if type(version) is int and version > FORMAT:
        raise HarnessError(
            f"{folder}: has format {version}, and this version reads up to {FORMAT}; update harness"
        )
    claimed = record.pop(CHECKSUM, None)
    if claimed not in (None, digest(record)):
        raise ValueError("run.json is not as it was written")
    record.pop("format", None)
    return record, record.pop("tables_sha256", {})


def _read_table(folder: Path, name: str, sha256: str | None) -> pd.DataFrame:
    """Return a table of a run if it has this checksum, or none is known."""
    content = (folder / f"{name}.parquet").read_bytes()
    if sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise ValueError(f"{name}.parquet is not as it was written")
    return pd.read_parquet(io.BytesIO(content))


def _upgraded(
    frames: Mapping[str, pd.DataFrame], record: Mapping[str, Any]
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """Return the tables and the record of a run of any version as this version writes them.

    Earlier versions wrote the input and where it came from as one text, or not at all in
    selection.parquet, and had bleed, the kinds of ensembles and the datasets of notes in texts.
    They wrote the costs of reading for estimates made elsewhere.
    """
    found, known = dict(frames), dict(record)
    chosen = found["selection"]
    if "input" not in chosen and "stem" in chosen:
        above = map(taxonomy.parent_level, chosen["stem"])
        given = [source_of(stem, "" if stem == "mixture" else REFERENCE) for stem in above]
        found["selection"] = chosen.assign(input=pd.Series(given, chosen.index, dtype=object))
    for name, frame in found.items():
        if "input" in frame and "fed_by" not in frame:
            pairs = list(map(_parsed, frame["input"]))
            parts = pd.DataFrame(pairs, frame.index, ["input", "fed_by"], dtype=object)
            found[name] = frame.assign(input=parts["input"], fed_by=parts["fed_by"])
    about = known.get("separators") or {}
    read = [
        name
        for name, row in about.items()
        if row.get("family") == FILES and not (row.get("params") or {}).get("costs")
    ]
    found["costs"] = found["costs"][~found["costs"]["separator"].isin(read)]
    if "ensembles" not in known and "separator" in found["ensembles"]:
        known["ensembles"] = {
            name: "oracle" if name.endswith("_oracle") else "ensemble"
            for name in sorted(found["ensembles"]["separator"].unique())
        }
    datasets = known.get("datasets") or {}
    if any("bleed" not in about for about in datasets.values()):
        noted = found["scores"]["note"].str.contains("the reference holds bleed", na=False)
        rows = found["scores"].loc[noted, ["dataset", *_BLEED]].drop_duplicates()
        known["datasets"] = {
            name: {"bleed": rows.loc[rows["dataset"] == name, _BLEED].to_dict("records"), **about}
            for name, about in datasets.items()
        }
    names = set(datasets) | set(found["scores"]["dataset"])
    known["selection_notes"] = [
        {"dataset": head if (head := re.split("[:,]", note)[0]) in names else "", "note": note}
        if isinstance(note, str)
        else note
        for note in known.get("selection_notes") or ()
    ]
    return found, known


def _parsed(text: str) -> tuple[str, str]:
    """Return (input, fed_by) of a text that `source_of` returns."""
    kind, _, rest = text.partition(":")
    fed_by, _, stem = rest.rpartition(":")
    pair = (stem, fed_by) if kind == "cascade" else (rest, REFERENCE) if rest else (kind, "")
    if source_of(*pair) != text:
        raise ValueError(f"input {text!r} is not known")
    return pair


def join(runs: Sequence[Run]) -> Run:
    """Put several runs in one; of a row that several runs have, the first run's is kept.

    Joined runs must have scored equal excerpts, and define the metrics and separators that they
    share equally.
    """
    if len(runs) == 1:
        return runs[0]
    metrics: dict[str, Any] = {}
    for run in runs:
        excerpt = {"excerpt_seconds": run.record.get("excerpt_seconds")}
        for name, about in (excerpt | (run.record.get("metrics") or {})).items():
            if metrics.setdefault(name, about) != about:
                raise HarnessError(
                    f"{run.name}: defines {name} differently from {runs[0].name}, so no table "
                    "can hold both; use each run by itself, or make one of them again"
                )
    known: dict[str, Any] = {}
    for run in runs:
        for name, about in (run.record.get("separators") or {}).items():
            content = about.get("entry_sha256")
            if known.setdefault(name, content) != content:
                raise HarnessError(
                    f"{run.name}: its {name} is another separator than that of {runs[0].name}; "
                    "report each run separately, or run one of them again"
                )
    del metrics["excerpt_seconds"]
    merged = {
        name: pd.concat([getattr(run, name) for run in runs], ignore_index=True).drop_duplicates(
            [c for c in columns if c not in _NOT_IDENTITY]
        )
        for name, columns in TABLES.items()
    }
    name = " + ".join(run.name for run in runs)
    record = {**runs[0].record, "run": name, "metrics": metrics}
    for part in ("separators", "datasets", "ensembles"):
        record[part] = {k: v for run in reversed(runs) for k, v in run.record.get(part, {}).items()}
    for part in ("skipped", "omitted", "leaks", "selection_notes", "units", "published"):
        record[part] = [row for run in runs for row in run.record.get(part, ())]
    return Run(name=name, record=record, **merged)


def leaks(record: Mapping[str, Any]) -> dict[tuple[str, str, str, str], str]:
    """Return the status of each `PAIR` that is ``leaked`` (trained on) or ``unknown``."""
    found: dict[Any, str] = {}
    for row in record.get("leaks") or ():
        found.setdefault(tuple(row.get(name, "") for name in PAIR), row["status"])
    return found


def leaked(record: Mapping[str, Any], status: str = "leaked") -> set[tuple[str, str, str, str]]:
    """Return the pairs of one status of `leaks`."""
    return {pair for pair, found in leaks(record).items() if found == status}
