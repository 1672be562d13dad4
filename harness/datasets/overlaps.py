"""Which songs are in which public collections, and so which separators were trained on them.

A half of a collection is written ``musdb18:train``. MUSDB18 and MUSDB18-HQ are one collection. All
of DSD100 is in it, in other halves: 27 of DSD100's 50 test songs are training songs of MUSDB18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from harness.datasets.musdb_songs import find_song
from harness.datasets.tracks import Track
from harness.registry.dataset_names import (
    DATASET_NAMES,
    LISTED,
    DatasetSplit,
    dataset_name,
    read_split,
    split_name,
)

Leak = Literal["clean", "leaked", "unknown"]


def collections(track: Track) -> frozenset[str]:
    """Return the halves of collections that contain this song.

    Its own dataset and split are one; the table of MUSDB18 and DSD100 names the others. Where they
    disagree, both are listed.

    Examples
    --------
    >>> song = Track("dsd100", "Actions - One Minute Smile", "Actions", "test", (), {})
    >>> sorted(collections(song))
    ['dsd100:test', 'musdb18:train', 'musdb18:valid']
    """
    own = collection(track.dataset)
    halves = {_part(DatasetSplit(own, split_name(track.split, own) or track.split))}
    named = read_split(track.dataset)
    if named.dataset in DATASET_NAMES and own not in DATASET_NAMES:  # a folder ``musdb18_train``
        halves.add(_part(named))
    song = find_song(track.name)
    if song is None:
        return frozenset(halves)
    halves.add(f"musdb18:{song.split}")
    if song.valid:
        halves.add("musdb18:valid")
    if song.dsd100_split:
        halves.add(f"dsd100:{song.dsd100_split}")
    if song.source == "MedleyDB":
        halves.add("medleydb")
    return frozenset(halves)


def leak(trained_on: Sequence[str] | None, track: Track) -> Leak:
    """Say whether a separator was trained on a song.

    `trained_on` names halves (``musdb18:train``) or whole collections (``moisesdb``), as
    `read_split` reads them; it is None if not known, empty if nothing was trained. Any other name,
    such as ``private``, is music that cannot be checked. ``not musdb18`` says that no song of it
    was used.

    The answer is ``leaked`` if one of the halves or collections contains the song, under any name.
    It is ``unknown`` if the training data is not known, if it is not clear what some of it is
    (``musdb18 plus extra``), if it is a part of the song's collection that has no list of songs
    (``moisesdb:train``), or if it cannot be checked and may contain the song. It cannot contain the
    song if another half of one of the song's collections is named (then this half was held out), if
    the song is excluded by a ``not``, or if this project rendered it.
    """
    if trained_on is None:
        return "unknown"
    halves = collections(track)
    names = {half.partition(":")[0] for half in halves}
    if {normal(entry) for entry in trained_on} & (halves | names):
        return "leaked"
    said = [read_split(entry) for entry in trained_on]
    excluded = {normal(str(replace(entry, excluded=False))) for entry in said if entry.excluded}
    entries = [entry for entry in said if not entry.excluded]
    trained = {collection(entry.dataset) for entry in entries}
    unlisted = {collection(entry.dataset) for entry in entries if not entry.exists}
    unclear = [f"{entry} {entry.meant}".lower() for entry in entries if not entry.clear]
    rendered = "demo" in names
    if unlisted & names or any("demo" in text or not rendered for text in unclear):
        return "unknown"
    held_out = bool(trained & names or excluded & (halves | names))
    return "clean" if rendered or held_out or trained <= LISTED else "unknown"


def in_split(track: Track, split: str) -> bool:
    """Whether a track belongs to a split; ``valid`` is the field's 14 songs of MUSDB18's train.

    Examples
    --------
    >>> song = Track("musdb18hq", "Meaxic - Take A Step", "Meaxic", "train", (), {})
    >>> in_split(song, "train"), in_split(song, "valid"), in_split(song, "test")
    (True, True, False)
    """
    if split == "valid" and collection(track.dataset) == "musdb18":
        song = find_song(track.name)
        return song is not None and song.valid
    return track.split == split


def collection(dataset: str) -> str:
    """Return the standard name of a collection, without a split: MUSDB18-HQ is ``musdb18``."""
    name = dataset_name(dataset)
    return "musdb18" if name == "musdb18hq" else name


def normal(entry: str) -> str:
    """Return the standard spelling of a half or a collection: ``musdb18:train``, ``moisesdb``."""
    return _part(read_split(entry))


def _part(split: DatasetSplit) -> str:
    """Return the text of a half; the only split of a collection is all of it."""
    name = collection(split.dataset)
    return str(DatasetSplit(name, "" if split.whole else split.split, excluded=split.excluded))
