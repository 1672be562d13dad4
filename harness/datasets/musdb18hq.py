"""MUSDB18-HQ: 150 songs as WAV (Rafii et al. 2019, doi:10.5281/zenodo.3338373).

The 14 validation songs of the field stay in the split ``train``, where their folders are;
`overlaps.in_split` picks them for ``valid``.
"""

from __future__ import annotations

from pathlib import Path

from harness.datasets.scan import Scan, collect, four_stems
from harness.datasets.songs import find_song, split_name
from harness.datasets.tracks import Dataset, Source, Track
from harness.errors import HarnessError

SPLITS = ("train", "test")


def musdb18hq(root: Path) -> Dataset:
    """Read ``<root>/{train,test}/<Artist - Title>/{mixture,drums,bass,other,vocals}.wav``.

    A song without its mixture is left out, a stem without its file is excluded.

    Raises
    ------
    HarnessError
        If there is no usable song.
    """
    if any(root.glob("*/*.stem.mp4")):
        raise HarnessError(
            f"{root}: holds MUSDB18 as .stem.mp4, not MUSDB18-HQ; give it as --data musdb18={root}"
        )
    scan = Scan(root)
    found = [_track(scan, folder, split) for split in SPLITS for folder in scan.songs(root / split)]
    return collect(scan, "musdb18hq", found, version="1.0", sample_rate=44100)


def facts(name: str) -> tuple[str, str, tuple[str, ...]]:
    """Return artist, genre and known errata of a song of MUSDB18 or DSD100, by its name."""
    song = find_song(name)
    artist = split_name(song.track if song else name)[0]
    errata = (f"erratum: {song.erratum}",) if song and song.erratum else ()
    return artist, song.genre if song else "unknown", errata


def _track(scan: Scan, folder: Path, split: str) -> Track:
    """One song's folder."""
    name = folder.name
    artist, genre, errata = facts(name)
    stems, excluded = four_stems(scan, folder)
    return Track(
        dataset="musdb18hq",
        name=name,
        artist=artist,
        split=split,
        mixture=(Source(folder / "mixture.wav"),),
        stems=stems,
        genre=genre,
        excluded=excluded,
        notes=errata,
    )
