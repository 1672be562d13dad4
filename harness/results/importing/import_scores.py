"""From published files to a run: its tables, and its record with sources and definitions."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.core import taxonomy, text
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.core.machine import environment
from harness.datasets import DATASETS, load
from harness.datasets.musdb_songs import find_song, split_name
from harness.datasets.overlaps import collection
from harness.datasets.tracks import Omission, Track
from harness.registry import Entry
from harness.results.importing.foreign_formats import (
    LeftOut,
    PublishedScore,
    ScoreFormat,
    find_files,
    find_format,
    read_file,
)
from harness.results.leaks import leak_statuses
from harness.results.ranking import NO_GENRE
from harness.results.runs import SELECTION_COLUMNS, Run, table

SONGS = ("musdb18", "dsd100")  # collections whose songs have known names
ORACLES = ("IBM", "IRM", "cIRM", "MWF")
ANCHORS = ("MIX",)
NOT_IMPORTED = "stem not imported"  # see `Omission.what`
NOT_OURS = "is not a stem that is known here"
NAMED = 10  # reasons for leaving scores out that are listed


@dataclass(frozen=True)
class Request:
    """What a user says about published scores."""

    layout: str = "auto"  # or a key of `FORMATS`
    run: str = ""  # the run's name; empty: that of the format
    dataset: str = ""  # of the scores; empty: as in the files
    split: str = ""
    trained_on: tuple[str, ...] | None = None  # for all separators; None: unknown
    folders: Mapping[str, Path] = field(default_factory=dict)  # local datasets, for track names
    entries: Mapping[str, Entry] = field(default_factory=dict)  # the registry, for training data


def read_published(paths: Sequence[Path], request: Request) -> Run:
    """Read files and folders of published scores as a run, without a selection."""
    files = find_files(paths)
    layout = find_format(request.layout, read_file(files[0]))
    left_out: LeftOut = Counter()
    sources, scores = list[dict[str, str]](), list[PublishedScore]()
    for path in files:
        file = read_file(path)
        scores += layout.read(file, left_out)
        sources.append({"by": layout.title, "file": str(path), "sha256": file.sha256})
    if not scores:
        raise HarnessError(f"{files[0]}: has no score of a known stem; name another file")
    from_path = re.sub(r"[^A-Za-z0-9_]+", "_", paths[0].absolute().stem).strip("_")
    run = request.run or layout.run or from_path or "published"
    found = _table(run, scores, _places(scores, layout, request))
    record = _record(found, layout, sources, left_out, request)
    empty = table([])
    return Run(run, found, empty, empty, table([], SELECTION_COLUMNS), {"run": run, **record})


def _places(
    scores: Sequence[PublishedScore], layout: ScoreFormat, request: Request
) -> dict[tuple[str, str], Track]:
    """Return the track for each (split, name) in the files."""
    named = dict.fromkeys((score.split, score.track) for score in scores)
    dataset = request.dataset or layout.dataset
    strangers = [track for _, track in named if not find_song(track)]
    if strangers and not (request.dataset or layout.split):
        raise HarnessError(
            f"{strangers[0]!r}: is not a song of MUSDB18; name dataset and split of the scores "
            "with --data-split DATASET:SPLIT"
        )
    here = load(dataset, request.folders[dataset]).tracks if dataset in request.folders else ()
    known = {key: track for track in here for key in (track.name, track.id) if key}
    return {
        (split, name): known.get(name)
        or _track(dataset, request.split or split or layout.split, name)
        for split, name in named
    }


def _track(dataset: str, split: str, name: str) -> Track:
    """Return a track as far as its name tells."""
    known = collection(dataset)
    song = find_song(name) if known in SONGS else None
    if song and not split:
        split = song.split if known == "musdb18" else song.dsd100_split
    if not split:
        raise HarnessError(f"{name!r}: its split is not known; give --data-split {dataset}:SPLIT")
    artist = split_name(name)[0] if " - " in name else ""
    title, genre = (song.track, song.genre) if song else (name, NO_GENRE)
    return Track(dataset, title, artist, split, (), {}, genre=genre)


def _table(
    run: str, scores: Sequence[PublishedScore], places: Mapping[tuple[str, str], Track]
) -> pd.DataFrame:
    """Return the rows of scores.parquet, in the order of separators and tracks."""
    rows: dict[tuple[str, ...], tuple[object, ...]] = {}
    for score in scores:
        at = places[score.split, score.track]
        key = (f"{run}:{score.separator}", at.split, at.name, score.stem, score.metric)
        status = "undefined" if math.isnan(score.value) else "ok"
        row = (
            *(run, at.dataset, at.split, at.name, at.artist, at.genre, key[0], "mixture", ""),
            *(score.stem, score.metric, score.value, status, f"published: {score.note}"),
        )
        if repr(rows.setdefault(key, row)) != repr(row):
            where = ", ".join(key[1:])
            raise HarnessError(
                f"{score.separator}: has two values for {where}; import only one of the files"
            )
    return table(rows[key] for key in sorted(rows))


def _record(
    scores: pd.DataFrame,
    layout: ScoreFormat,
    sources: Sequence[Mapping[str, str]],
    left_out: LeftOut,
    request: Request,
) -> dict[str, Any]:
    """Return the record of an imported run, without its name and selection."""
    separators = {
        str(name): _separator(str(name), rows, layout, request)
        for name, rows in scores.groupby("separator")
    }
    statuses = leak_statuses(scores, {n: known["trained_on"] for n, known in separators.items()})
    return {
        **environment(),
        "cpu": "published scores",  # nothing was measured on this machine
        "device": "unknown (published scores)",
        "precision": "unknown",
        "excerpt_seconds": None,
        "metrics": {name: layout.definitions[name] for name in scores["metric"].unique()},
        "separators": separators,
        "datasets": {
            str(name): _dataset(str(name), rows, layout, sources, left_out)
            for name, rows in scores.groupby("dataset")
        },
        "leaks": statuses[statuses["status"] != "clean"].to_dict("records"),
        "units": [],
        "skipped": [],
        "omitted": [
            asdict(
                Omission(NOT_OURS, stem, detail=text.count(n, "score"), what="stem not imported")
            )
            for stem, n in left_out.most_common()
        ],
        "published": list(sources),
    }


def role_of(name: str) -> str:
    """Return the role of a published method, from the usual names of oracles and anchors.

    Examples
    --------
    >>> role_of("IRM2"), role_of("oracle4_cIRM"), role_of("MIX"), role_of("TAU1")
    ('oracle', 'oracle', 'anchor', 'separator')
    """
    bare = name.rpartition("_")[2].rstrip("0123456789")
    return "oracle" if bare in ORACLES else "anchor" if bare in ANCHORS else "separator"


def _separator(
    name: str, rows: pd.DataFrame, layout: ScoreFormat, request: Request
) -> dict[str, Any]:
    """Return what is known about a published separator."""
    theirs = name.partition(":")[2]
    role = role_of(theirs)
    trained_on = request.trained_on if role == "separator" else ()
    if trained_on is None and layout.models:
        trained_on = _known_training(theirs, request.entries)
    return {
        "title": f"{theirs}, as published ({layout.title})",
        "family": "published",
        "role": role,
        "input": "mixture",
        "stems": taxonomy.in_order(rows["stem"].unique()),
        "trained_on": trained_on,
    }


def _known_training(model: str, entries: Mapping[str, Entry]) -> tuple[str, ...] | None:
    """Return the training data of a model that the registry knows by its name or file."""
    for entry in entries.values():
        files = {Path(weights.file).name for weights in entry.weights}
        if Path(model).stem == entry.name or model in files:
            return entry.trained_on
    return None


def _dataset(
    name: str,
    rows: pd.DataFrame,
    layout: ScoreFormat,
    sources: Sequence[Mapping[str, str]],
    left_out: LeftOut,
) -> dict[str, Any]:
    """Return what is known about a dataset of the scores."""
    known, reasons = DATASETS.get(name), left_out.most_common()
    problems = [f"not imported: {n} scores of {reason!r}" for reason, n in reasons[:NAMED]]
    if rest := reasons[NAMED:]:
        problems.append(f"not imported: scores of {len(rest)} more stems")
    return {
        "version": f"as published ({layout.title})",
        "sample_rate": None,
        "stems": taxonomy.in_order(rows["stem"].unique()),
        "n_tracks": len(rows[["split", "track"]].drop_duplicates()),
        "fingerprint": digest(sorted(source["sha256"] for source in sources)),
        "license": known.license if known else "not stated",
        "problems": [*_other_splits(name, rows), *problems],
        "left_out": [],
    }


def _other_splits(name: str, rows: pd.DataFrame) -> Iterator[str]:
    """Yield a note on tracks that the files assign to the wrong split of MUSDB18."""
    if collection(name) != "musdb18":
        return
    for split, part in rows.groupby("split"):
        songs = {track: find_song(track) for track in sorted(part["track"].unique())}
        halves = {t: {s.split, "valid" if s.valid else ""} for t, s in songs.items() if s}
        wrong = [track for track, known in halves.items() if split not in known]
        if wrong:
            yield f"{len(wrong)} tracks are not in {split}, unlike in the files: {wrong[0]}, …"
