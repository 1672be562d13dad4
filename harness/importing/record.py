"""What stands in an imported run's record: whose scores, of what, by which definitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import taxonomy
from harness.cache import digest
from harness.datasets import DATASETS
from harness.datasets.overlaps import leak, normal
from harness.datasets.songs import find_song
from harness.datasets.tracks import Track
from harness.importing.formats import Format, LeftOut
from harness.machine import environment
from harness.registry import Entry

FAMILY = "published"
ORACLES = ("IBM", "IRM", "cIRM", "MWF")
ANCHORS = ("MIX",)
NAMED = 10  # stems left out that are named

TrainedOn = tuple[str, ...] | None


@dataclass(frozen=True)
class Source:
    """A file that scores were read from, and whose they are."""

    by: str
    file: str
    sha256: str


def describe(
    scores: pd.DataFrame,
    layout: Format,
    sources: Sequence[Source],
    left_out: LeftOut,
    *,
    entries: Mapping[str, Entry],
    trained_on: TrainedOn,
) -> dict[str, Any]:
    """Return the record of an imported run, but for its name and selection.

    Parameters
    ----------
    scores
        Columns `harness.results.COLUMNS`.
    entries, trained_on
        See `harness.importing.Request`.
    """
    separators = {
        str(name): _separator(str(name), rows, layout, entries, trained_on)
        for name, rows in scores.groupby("separator")
    }
    return {
        **environment(),
        "cpu": "published scores",  # this machine has only read them
        "device": "machines of others",
        "precision": "unknown",
        "excerpt_seconds": None,
        "metrics": {name: layout.definitions[name] for name in scores["metric"].unique()},
        "separators": separators,
        "datasets": {
            str(name): _dataset(str(name), rows, layout, sources, left_out)
            for name, rows in scores.groupby("dataset")
        },
        "leaks": list(_leaks(scores, separators)),
        "units": [],
        "skipped": [],
        "published": [asdict(source) for source in sources],
    }


def is_imported(record: Any) -> bool:
    """Whether a run's record is that of scores that others published."""
    return isinstance(record, dict) and bool(record.get("published"))


def role_of(name: str) -> str:
    """Return the role of a published method, by the names that oracles have in the field.

    Examples
    --------
    >>> role_of("IRM2"), role_of("oracle4_cIRM"), role_of("MIX"), role_of("TAU1")
    ('oracle', 'oracle', 'anchor', 'separator')
    """
    bare = name.rpartition("_")[2].rstrip("0123456789")
    return "oracle" if bare in ORACLES else "anchor" if bare in ANCHORS else "separator"


def _separator(
    name: str,
    rows: pd.DataFrame,
    layout: Format,
    entries: Mapping[str, Entry],
    trained_on: TrainedOn,
) -> dict[str, Any]:
    """Return what is known of a published separator."""
    theirs = name.partition(":")[2]
    role = role_of(theirs)
    if role != "separator":
        trained_on = ()
    elif trained_on is None and layout.models:
        trained_on = _known_training(theirs, entries)
    return {
        "title": f"{theirs}, as published ({layout.title})",
        "family": FAMILY,
        "role": role,
        "input": "mixture",
        "stems": taxonomy.in_order(rows["stem"].unique()),
        "trained_on": trained_on,
    }


def _known_training(model: str, entries: Mapping[str, Entry]) -> TrainedOn:
    """Return what a model was trained on if the registry has it, by its name or its file."""
    for entry in entries.values():
        files = {Path(weights.file).name for weights in entry.weights}
        if Path(model).stem == entry.name or model in files:
            return entry.trained_on
    return None


def _leaks(
    scores: pd.DataFrame, separators: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, str]]:
    """Yield the (separator, track) pairs that were, or may have been, seen in training."""
    pairs = scores[["separator", "dataset", "split", "track"]].drop_duplicates()
    for row in pairs.to_dict("records"):
        track = Track(row["dataset"], row["track"], "", row["split"], (), {})
        status = leak(separators[row["separator"]]["trained_on"], track)
        if status != "clean":
            yield {**{str(key): value for key, value in row.items()}, "status": status}


def _dataset(
    name: str, rows: pd.DataFrame, layout: Format, sources: Sequence[Source], left_out: LeftOut
) -> dict[str, Any]:
    """Return what the scores are of."""
    known = DATASETS.get(name)
    return {
        "version": f"as published ({layout.title})",
        "sample_rate": None,
        "stems": taxonomy.in_order(rows["stem"].unique()),
        "n_tracks": len(rows[["split", "track"]].drop_duplicates()),
        "fingerprint": digest(sorted(source.sha256 for source in sources)),
        "license": known.licence if known else "not stated",
        "problems": [*_other_splits(name, rows), *_left_out(left_out)],
        "left_out": [],
    }


def _other_splits(name: str, rows: pd.DataFrame) -> Iterator[str]:
    """Say which tracks are said to be of one half of MUSDB18 and are of the other."""
    if normal(name) != "musdb18":
        return
    for split, part in rows.groupby("split"):
        songs = {track: find_song(track) for track in sorted(part["track"].unique())}
        halves = {t: {s.split, "valid" if s.valid else ""} for t, s in songs.items() if s}
        wrong = [track for track, known in halves.items() if split not in known]
        if wrong:
            yield f"{len(wrong)} tracks said to be {split} are not, first: {wrong[0]}"


def _left_out(left_out: LeftOut) -> Iterator[str]:
    """Say which scores were not taken over."""
    for stem, n in left_out.most_common(NAMED):
        yield f"not taken over: {n} scores of {stem!r}"
    if (rest := len(left_out) - NAMED) > 0:
        yield f"not taken over: scores of {rest} stems more"
