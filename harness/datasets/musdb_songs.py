"""Facts on the 150 songs of MUSDB18, 100 of which are DSD100; see ``metadata/README.md``."""

from __future__ import annotations

import csv
import re
import unicodedata
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources

# Misspelled in the published lists, and so perhaps in a folder made from them.
_MISSPELLED = {"patricktalbotsetfreeme": "patricktalbotsetmefree"}


@dataclass(frozen=True)
class MusdbSong:
    """One song of MUSDB18."""

    track: str  # "Artist - Title", spelled as in MUSDB18's folder
    split: str  # its half of MUSDB18: "train" or "test"
    valid: bool  # whether it is one of the 14 validation songs inside "train"
    genre: str  # AllMusic's, in lower case
    source: str  # of the recording: "DSD", "MedleyDB", …
    license: str  # "Restricted" or a license
    dsd100_id: str  # its number in DSD100; empty if it is not there
    dsd100_split: str  # its half of DSD100 ("Dev" is "train"); empty if it is not there
    erratum: str  # a known fault of the recording, or empty


def find_song(name: str) -> MusdbSong | None:
    """Look a song up by ``Artist - Title``, whatever its case and punctuation.

    The misspelled names of the published lists are found too.
    """
    key = _key(name)
    return songs().get(_MISSPELLED.get(key, key))


def song_facts(name: str) -> tuple[str, str, tuple[str, ...]]:
    """Return artist, genre and known errata of a song, by ``Artist - Title``.

    The genre of a song that is not in the table is "unknown".
    """
    song = find_song(name)
    if song is None:
        return split_name(name)[0], "unknown", ()
    errata = (f"erratum: {song.erratum}",) if song.erratum else ()
    return split_name(song.track)[0], song.genre, errata


def split_name(name: str) -> tuple[str, str]:
    """Split ``Artist - Title`` at the first dash; without one the artist is the whole name.

    Accents and spaces are written in one way (Unicode NFC), so that an artist has one name whatever
    system the folders come from: intervals are by artist.
    """
    artist, _, title = unicodedata.normalize("NFC", name).partition(" - ")
    return " ".join(artist.split()) or artist, title


@cache
def songs() -> dict[str, MusdbSong]:
    """Return all 150 songs: {letters and digits of the name, in lower case: song}."""
    table = resources.files("harness.datasets") / "metadata" / "musdb18_dsd100.csv"
    wanted = [field.name for field in fields(MusdbSong)]
    found = {}
    for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
        facts = {name: row[name] == "yes" if name == "valid" else row[name] for name in wanted}
        found[_key(row["track"])] = MusdbSong(**facts)  # type: ignore[arg-type]
    return found


def _key(name: str) -> str:
    """Keep letters and digits only, in lower case."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFC", name).casefold())
