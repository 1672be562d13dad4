"""Which songs are in which public collections, and so which separators were trained on them.

A half of a collection is written ``musdb18:train``. MUSDB18 and MUSDB18-HQ are one collection. All
of DSD100 is in it, in other halves: 27 of DSD100's 50 test songs are training songs of MUSDB18.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from harness.datasets.musdb_songs import find_song
from harness.datasets.tracks import Track

Leak = Literal["clean", "leaked", "unknown"]

# Other names of a collection.
_SAME = dict.fromkeys(["musdb", "musdb18hq", "musdb18-hq", "musdb18_hq"], "musdb18")
_SAME |= dict.fromkeys(["musdb18-7s", "musdb18_7s"], "musdb18")
_SAME |= {"dsd": "dsd100", "moises": "moisesdb", "mir-1k": "mir1k"}

# Collections with a known list of songs, so that a song is either in there or not.
_KNOWN = {"demo", "musdb18", "dsd100", "medleydb", "moisesdb", "mir1k"}
_KNOWN |= {"slakh2100", "stemgmd", "egmd"}


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
    halves = {normal(f"{track.dataset}:{track.split}")}
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

    `trained_on` names halves (``musdb18:train``) or whole collections (``moisesdb``); it is None if
    not known, empty if nothing was trained. Any other name, such as ``private``, is music that
    cannot be checked.

    The answer is ``leaked`` if one of the halves or collections contains the song, under any name.
    It is ``unknown`` if the training data is not known, or if some of it cannot be checked and may
    contain the song. It cannot contain the song if another half of one of the song's collections is
    named (then this half was held out), or if this project rendered the song.
    """
    if trained_on is None:
        return "unknown"
    entries = {normal(entry) for entry in trained_on}
    halves = collections(track)
    names = {half.partition(":")[0] for half in halves}
    if entries & (halves | names):
        return "leaked"
    trained = {entry.partition(":")[0] for entry in entries}
    held_out = "demo" in names or trained & names
    return "clean" if trained <= _KNOWN or held_out else "unknown"


def in_split(track: Track, split: str) -> bool:
    """Whether a track belongs to a split; ``valid`` is the field's 14 songs of MUSDB18's train.

    Examples
    --------
    >>> song = Track("musdb18hq", "Meaxic - Take A Step", "Meaxic", "train", (), {})
    >>> in_split(song, "train"), in_split(song, "valid"), in_split(song, "test")
    (True, True, False)
    """
    if split == "valid" and track.dataset in ("musdb18", "musdb18hq"):
        song = find_song(track.name)
        return song is not None and song.valid
    return track.split == split


def normal(entry: str) -> str:
    """Return the standard spelling of a half or a collection: ``musdb18:train``."""
    name, _, split = entry.strip().lower().partition(":")
    name, split = _SAME.get(name, name), "train" if split == "dev" else split
    return f"{name}:{split}" if split else name
