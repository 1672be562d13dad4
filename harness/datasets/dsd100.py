"""DSD100: 100 songs of SiSEC 2016, every one of them in MUSDB18 as well.

Its halves ``Dev`` and ``Test`` are the splits ``train`` and ``test``; they are other halves than
MUSDB18's, so what `overlaps` says counts, not the name of the split.
"""

from __future__ import annotations

import re
from pathlib import Path

from harness.datasets.musdb18hq import facts
from harness.datasets.scan import Scan, collect, four_stems
from harness.datasets.tracks import Dataset, Source, Track

SPLITS = {"Dev": "train", "Test": "test"}
CORRUPT = {"036", "037", "043", "044"}  # left out of the results of SiSEC 2016


def dsd100(root: Path) -> Dataset:
    """Read ``<root>/{Mixtures,Sources}/{Dev,Test}/<NNN - Artist - Title>/*.wav``.

    Raises
    ------
    HarnessError
        If there is no usable song.
    """
    scan = Scan(root)
    found = [
        _track(scan, folder, half)
        for half in SPLITS
        for folder in scan.songs(root / "Mixtures" / half)
    ]
    return collect(scan, "dsd100", found, version="1.0", sample_rate=44100)


def _track(scan: Scan, folder: Path, half: str) -> Track:
    """One song: its mixture's folder, and that of its sources."""
    number, name = _numbered(folder.name)
    artist, genre, notes = facts(name)
    if number in CORRUPT:
        notes = (*notes, "erratum: left out of SiSEC 2016 as corrupt")
    stems, excluded = four_stems(scan, scan.root / "Sources" / half / folder.name)
    return Track(
        dataset="dsd100",
        name=name,
        artist=artist,
        split=SPLITS[half],
        mixture=(Source(folder / "mixture.wav"),),
        stems=stems,
        genre=genre,
        excluded=excluded,
        notes=notes,
        id=number,
    )


def _numbered(name: str) -> tuple[str, str]:
    """Take the number off ``NNN - Artist - Title``; both as text."""
    match = re.fullmatch(r"(\d{3}) - (.+)", name, re.DOTALL)
    return (match[1], match[2]) if match else ("", name)
