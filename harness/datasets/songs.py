"""Facts on the 150 songs of MUSDB18, of which 100 are DSD100; see ``metadata/README.md``."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

# Misspelled in the published lists, and so perhaps in a folder made from them.
_MISSPELLED = {"patricktalbotsetfreeme": "patricktalbotsetmefree"}


@dataclass(frozen=True)
class Song:
    """One song of MUSDB18.

    Attributes
    ----------
    track
        ``Artist - Title``, spelled as MUSDB18's folder.
    split
        Its half of MUSDB18: ``train`` or ``test``.
    valid
        Whether it is one of the 14 validation songs inside ``train``.
    genre
        AllMusic's, in lower case.
    source, licence
        Where the recording comes from (``DSD``, ``MedleyDB``, …), and ``Restricted`` or a licence.
    dsd100_id, dsd100_split
        Its number and half in DSD100 (``Dev`` is ``train``); empty if it is not in there.
    erratum
        What is known to be wrong with the recording; empty if nothing is.
    """

    track: str
    split: str
    valid: bool
    genre: str
    source: str
    licence: str
    dsd100_id: str
    dsd100_split: str
    erratum: str


def find_song(name: str) -> Song | None:
    """Look a song up by ``Artist - Title``, whatever its case and punctuation.

    Examples
    --------
    >>> find_song("jokers jacks & kings - Sea of Leaves").dsd100_id
    '023'
    >>> find_song("Patrick Talbot - Set Free Me").track
    'Patrick Talbot - Set Me Free'
    """
    key = _key(name)
    return _songs().get(_MISSPELLED.get(key, key))


def songs() -> tuple[Song, ...]:
    """Return all 150 songs, by name."""
    return tuple(_songs().values())


def split_name(name: str) -> tuple[str, str]:
    """Take ``Artist - Title`` apart at the first dash; without one the artist is the whole name.

    Examples
    --------
    >>> split_name("Music Delta - 80s Rock")
    ('Music Delta', '80s Rock')
    """
    artist, _, title = name.partition(" - ")
    return artist, title


@cache
def _songs() -> dict[str, Song]:
    """Every song under its key."""
    table = resources.files("harness.datasets") / "metadata" / "musdb18_dsd100.csv"
    rows = csv.DictReader(table.read_text(encoding="utf-8").splitlines())
    return {_key(row["track"]): _song(row) for row in rows}


def _song(row: dict[str, str]) -> Song:
    """One line of the table."""
    return Song(
        track=row["track"],
        split=row["split"],
        valid=row["valid"] == "yes",
        genre=row["genre"],
        source=row["source"],
        licence=row["licence"],
        dsd100_id=row["dsd100_id"],
        dsd100_split=row["dsd100_split"],
        erratum=row["erratum"],
    )


def _key(name: str) -> str:
    """Letters and digits alone, in lower case."""
    return re.sub(r"[\W_]+", "", name.casefold())
