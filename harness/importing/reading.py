"""From published files to the tables of a run."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness.datasets import load
from harness.datasets.musdb_songs import MusdbSong, find_song, split_name
from harness.datasets.overlaps import normal
from harness.datasets.tracks import Track
from harness.errors import HarnessError
from harness.importing.files import find_files, read_file
from harness.importing.formats import Format, LeftOut, Score, find_format
from harness.importing.record import Source, describe, is_imported
from harness.registry import Entry
from harness.results import SELECTION_COLUMNS, Run, table

SONGS = ("musdb18", "dsd100")  # collections whose songs are known by name


@dataclass(frozen=True)
class Request:
    """What a user says of published scores.

    Attributes
    ----------
    layout
        A key of `FORMATS`, or ``auto``.
    run
        The run's name; empty for the format's own.
    dataset, split
        What the scores are of; empty for what the files say.
    trained_on
        Of all the separators; None where nobody knows.
    folders
        Of datasets that are here; of the one that the scores are of, published ids become names.
    entries
        The registry, which knows the training data of some models by their files.
    """

    layout: str = "auto"
    run: str = ""
    dataset: str = ""
    split: str = ""
    trained_on: tuple[str, ...] | None = None
    folders: Mapping[str, Path] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)


def read_published(paths: Sequence[Path], request: Request) -> Run:
    """Read files and folders of published scores as a run, without a selection.

    Raises
    ------
    HarnessError
        If a file is of no known layout or broken, two values contradict each other, or it cannot be
        told what the scores are of.
    """
    files = find_files(paths)
    layout = find_format(request.layout, read_file(files[0]))
    left_out: LeftOut = Counter()
    sources, scores = [], list[Score]()
    for path in files:
        file = read_file(path)
        scores += layout.read(file, left_out)
        sources.append(Source(layout.title, str(path), file.sha256))
    if not scores:
        raise HarnessError(f"{files[0]}: holds no score of a stem that is known here; name another")
    run = request.run or layout.run or _name_of(paths[0])
    found = _table(run, scores, _places(scores, layout, request))
    record = describe(
        found, layout, sources, left_out, entries=request.entries, trained_on=request.trained_on
    )
    empty = table([])
    return Run(run, found, empty, empty, table([], SELECTION_COLUMNS), {"run": run, **record})


def check_folder(folder: Path, new: Mapping[str, Any]) -> None:
    """Refuse a folder with a run that the new one is not a new state of.

    A measured run and an imported one never replace each other, and an imported one replaces only
    what was imported from the same files, or from some of them.

    Parameters
    ----------
    folder
        Where a run is to be written.
    new
        Its record; of a measured run it may be empty. What cannot be read there counts as measured.

    Raises
    ------
    HarnessError
        If scores would be lost.
    """
    path = folder / "run.json"
    if not path.is_file():
        return
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    old = found if isinstance(found, dict) else {}
    if is_imported(new) and not is_imported(old):
        raise HarnessError(f"{folder}: holds a run that was measured here; choose another --name")
    if is_imported(old) and not is_imported(new):
        raise HarnessError(
            f"{folder}: holds imported scores, which a run would replace; choose another --name"
        )
    sources = new.get("published", ())
    kept = {source[key] for source in sources for key in ("file", "sha256")}
    files = [s["file"] for s in old.get("published", ()) if not kept & {s["file"], s["sha256"]}]
    if files:
        more = f" and {len(files) - 1} more" if files[1:] else ""
        raise HarnessError(
            f"{folder}: holds scores imported from {files[0]}{more}, which these would replace; "
            "choose another --name, or import all together"
        )


def _places(
    scores: Sequence[Score], layout: Format, request: Request
) -> dict[tuple[str, str], Track]:
    """Return the track that each (split, name) of the files is of."""
    named = dict.fromkeys((score.split, score.track) for score in scores)
    dataset = request.dataset or layout.dataset
    if not (request.dataset or layout.split) and not all(find_song(track) for _, track in named):
        stranger = next(track for _, track in named if not find_song(track))
        raise HarnessError(
            f"{stranger!r}: is no song of MUSDB18; say with --data-split DATASET:SPLIT what the "
            "scores are of"
        )
    here = load(dataset, request.folders[dataset]).tracks if dataset in request.folders else ()
    known = {key: track for track in here for key in (track.name, track.id) if key}
    return {
        (split, name): known.get(name)
        or _track(dataset, request.split or split or layout.split, name)
        for split, name in named
    }


def _track(dataset: str, split: str, name: str) -> Track:
    """Return a track by what its name says."""
    collection = normal(dataset)
    song: MusdbSong | None = find_song(name) if collection in SONGS else None
    if song and not split:
        split = song.split if collection == "musdb18" else song.dsd100_split
    if not split:
        raise HarnessError(f"{name!r}: its split is not known; give --data-split {dataset}:SPLIT")
    artist = split_name(name)[0] if " - " in name else ""
    if song is None:
        return Track(dataset, name, artist, split, (), {})
    return Track(dataset, song.track, artist, split, (), {}, genre=song.genre)


def _table(
    run: str, scores: Sequence[Score], places: Mapping[tuple[str, str], Track]
) -> pd.DataFrame:
    """Return the rows of scores.parquet, in the order of separators and tracks.

    Raises
    ------
    HarnessError
        If two values are of the same track, separator, stem and metric.
    """
    rows: dict[tuple[str, ...], tuple[object, ...]] = {}
    for score in scores:
        at = places[score.split, score.track]
        key = (f"{run}:{score.separator}", at.split, at.name, score.stem, score.metric)
        status = "undefined" if math.isnan(score.value) else "ok"
        row = (
            *(run, at.dataset, at.split, at.name, at.artist, at.genre, key[0], "mixture"),
            *(score.stem, score.metric, score.value, status, f"published: {score.note}"),
        )
        if repr(rows.setdefault(key, row)) != repr(row):
            where = ", ".join(key[1:])
            raise HarnessError(f"{score.separator}: two values for {where}; import one alone")
    return table(rows[key] for key in sorted(rows))


def _name_of(path: Path) -> str:
    """Return a run's name made of a file's or folder's."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", path.absolute().stem).strip("_") or "published"
