"""MoisesDB: 240 songs with two levels of stems (Pereira et al., ISMIR 2023).

The four stems are those of the dataset's own library: everything but vocals, bass and drums is
`other`, including percussion. Stems without a recording are absent. The mixture is the sum of all
files. A choir counts as background vocals.

If a file mixes parts of the drum kit (overheads, whole kit, drum machine), all parts of the kit are
excluded; if a file may be lead or background (such as a vocoder), all parts of the vocals.
A file marked `has_bleed` marks every stem it is a part of.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core.taxonomy import TREE
from harness.datasets.scan import Scan, collect, printable, storable, unions
from harness.datasets.tracks import Dataset, Source, Sources, Track

TAXONOMY = "moises-official-4"

# stemName → our stem; `drums` and `vocals` also have parts.
STEMS = {
    name: name for name in ("vocals", "drums", "bass", "guitar", "piano", "percussion", "wind")
}
STEMS |= {"otherkeys": "keys", "otherplucked": "plucked", "bowedstrings": "strings"}
STEMS |= {"other": "misc"}

# trackType → our stem, inside vocals and inside drums; any other type may be several of them.
PARTS = {
    "vocals": {"leadmalesinger": "lead_male", "leadfemalesinger": "lead_female"}
    | {"backgroundvocals": "background", "humanchoir": "background"},
    "drums": {"kickdrum": "kick", "snaredrum": "snare"}
    | {name: name for name in ("toms", "hihat", "cymbals")},
}
LEVEL = {
    "vocals": ("lead", "lead_male", "lead_female", "background"),
    "drums": ("kick", "snare", "toms", "hihat_cymbals", "hihat", "cymbals"),
}

_SUMS = ("lead", "hihat_cymbals", "other_rest", "other", "accompaniment", "mixture")
GROUPS = {node: TREE[node] for node in _SUMS}  # children first


@dataclass(frozen=True)
class _File:
    """One recording."""

    path: Path
    stem: str
    part: str  # of that stem; "" if unknown
    kind: str  # its trackType
    has_bleed: bool


class _BadRecordError(Exception):
    """A data.json that cannot be used; the message says why."""


def moisesdb(root: Path) -> Dataset:
    """Read ``<root>/<provider>/<uuid>/data.json``, or the same without a provider.

    Tracks are called ``Artist - Song``, and their `id` is the uuid that published scores use. There
    is no official split; all are ``test``.
    """
    scan = Scan(root)
    found: list[Track] = []
    for folder in _song_folders(scan):
        try:
            found.append(_track(scan, folder))
        except _BadRecordError as error:
            scan.leave_out(folder, str(error))
    version = f"taxonomy {TAXONOMY}"
    return collect(scan, "moisesdb", _unique(found), version=version, sample_rate=44100)


def _song_folders(scan: Scan) -> Iterator[Path]:
    """Yield the folders with a data.json, one or two levels down."""
    for folder in scan.folders(scan.root):
        here = (folder / "data.json").is_file()
        for song in [folder] if here else scan.folders(folder):
            if (song / "data.json").is_file():
                yield song


def _track(scan: Scan, folder: Path) -> Track:
    """Describe one song."""
    record = _record(scan, folder / "data.json")
    files = list(_files(scan, folder, record))
    if not files:
        raise _BadRecordError("data.json names no recording")
    excluded = dict(_ambiguous(files))
    stems = unions(_leaves(files, excluded), GROUPS)
    artist, song = (storable(_text(record, key)).strip() for key in ("artist", "song"))
    genre = storable(_text(record, "genre")).strip().lower().replace("_", " ")
    bleeding = {Source(file.path) for file in files if file.has_bleed}
    return Track(
        dataset="moisesdb",
        name=f"{artist or 'unknown'} - {song or folder.name}",
        artist=artist or "unknown",
        split="test",
        mixture=stems.pop("mixture"),
        stems=stems,
        genre=genre.replace("singer songwriter", "singer/songwriter") or "unknown",
        bleed=frozenset(stem for stem, sources in stems.items() if bleeding & {*sources}),
        excluded=excluded,
        id=folder.name,
    )


def _record(scan: Scan, path: Path) -> dict[str, Any]:
    """Read a data.json."""
    if not scan.usable(path):
        raise _BadRecordError("data.json cannot be used")
    try:
        record = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _BadRecordError(f"data.json cannot be read ({type(error).__name__})") from error
    if not isinstance(record, dict):
        raise _BadRecordError("data.json is not a JSON object")
    return record


def _files(scan: Scan, folder: Path, record: Mapping[str, Any]) -> Iterator[_File]:
    """Yield every recording of a song; the same stem may occur more than once."""
    for stem in _objects(record, "stems"):
        name = _safe(stem, "stemName")
        ours = STEMS.get(_plain(name))
        if ours is None:
            raise _BadRecordError(f"stemName {name!r} is not one of MoisesDB's")
        for entry in _objects(stem, "tracks"):
            path = folder / name / f"{_safe(entry, 'id')}.{_safe(entry, 'extension')}"
            if not scan.usable(path):
                raise _BadRecordError(f"{name}/{path.name} cannot be used")
            kind = _text(entry, "trackType")
            part = PARTS.get(ours, {}).get(_plain(kind), "")
            yield _File(path, ours, part, kind, entry.get("has_bleed") is True)


def _ambiguous(files: list[_File]) -> Iterator[tuple[str, str]]:
    """Yield (stem, reason) for the parts of a level that one file may mix."""
    for level, parts in LEVEL.items():
        kinds = sorted({f.kind for f in files if f.stem == level and not f.part})
        if kinds:
            reason = f"{level} has {', '.join(repr(printable(kind)) for kind in kinds)}"
            yield from ((part, f"{reason}, which may hold it") for part in parts)


def _leaves(files: list[_File], excluded: Mapping[str, str]) -> dict[str, Sources]:
    """Return the sources of each stem and part that is not excluded."""
    leaves: dict[str, Sources] = {}
    for file in files:
        for stem in (file.stem, file.part):
            if stem and stem not in excluded:
                leaves[stem] = (*leaves.get(stem, ()), Source(file.path))
    return leaves


def _unique(tracks: list[Track]) -> list[Track]:
    """Add the start of the uuid to the names of songs with the same name."""
    count = Counter(track.name for track in tracks)
    return [
        replace(track, name=f"{track.name} ({track.id[:8]})") if count[track.name] > 1 else track
        for track in tracks
    ]


def _objects(record: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects."""
    value = record.get(key)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _BadRecordError(f"{key!r} in data.json is not a list of objects")
    return value


def _text(record: Mapping[str, Any], key: str) -> str:
    """Return a text, or "" if there is none."""
    value = record.get(key, "")
    return value if isinstance(value, str) else ""


def _safe(record: Mapping[str, Any], key: str) -> str:
    """Return a text for use in a path; refuse one that would lead elsewhere."""
    value = _text(record, key)
    leads_out = any(bad in value for bad in ("/", "\\", "..", "\0"))
    if not value or leads_out or storable(value) != value:
        raise _BadRecordError(f"{key!r} in data.json is {value!r}, which is not a file name")
    return value


def _plain(name: str) -> str:
    """Drop case, spaces, underscores and hyphens of a name, to compare it."""
    return "".join(char for char in name.lower() if char not in " _-")
