"""MUSDB18-HQ, MUSDB18 and DSD100: songs as vocals, drums, bass and other.

* MUSDB18-HQ (Rafii et al. 2019, doi:10.5281/zenodo.3338373): 150 songs as WAV.
* MUSDB18 (2017, doi:10.5281/zenodo.1117372): the same songs as ``.stem.mp4``, five AAC streams per
  file, band-limited to 16 kHz. The mixture was encoded separately, so it is not exactly the sum of
  the stems, and scores are not comparable with MUSDB18-HQ's. The 7 s excerpts have the same layout.
* DSD100 (SiSEC 2016): 100 of these songs in other halves. Whether a separator was trained on a song
  therefore depends on `overlaps`, not on the name of the split.

The field's 14 validation songs stay in the split ``train``, where their folders are;
`overlaps.in_split` picks them for ``valid``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.core.errors import HarnessError
from harness.datasets.musdb_songs import song_facts
from harness.datasets.scan import (
    BACKING,
    FOUR_STEMS,
    MIXTURE,
    SPLIT_FOLDERS,
    TRACK,
    Scan,
    collect,
    four_stems,
    unions,
)
from harness.datasets.stem_mp4 import STREAMS, SUFFIX, check_tools
from harness.datasets.tracks import Dataset, Source, Sources, Track

HALVES = {"Dev": "train", "Test": "test"}  # of DSD100
CORRUPT = {"036", "037", "043", "044"}  # songs of DSD100 left out of the results of SiSEC 2016


def musdb18hq(root: Path) -> Dataset:
    """Read ``<root>/{train,test}/<Artist - Title>/{mixture,drums,bass,other,vocals}.wav``.

    A song without its mixture is left out, a stem without its file is excluded.
    """
    if any(path.name.lower().endswith(SUFFIX) for path in root.glob("*/*")):
        raise HarnessError(
            f"{root}: holds MUSDB18 as .stem.mp4, not MUSDB18-HQ; give it as --data musdb18={root}"
        )
    scan = Scan(root)
    tracks = [
        _track("musdb18hq", folder.name, split, Source(folder / MIXTURE), *four_stems(scan, folder))
        for split in SPLIT_FOLDERS
        for folder in scan.songs(root / split)
    ]
    return collect(scan, "musdb18hq", tracks, version="1.0", sample_rate=44100)


def musdb18(root: Path) -> Dataset:
    """Read ``<root>/{train,test}/<Artist - Title>.stem.mp4``; nothing is decoded.

    The titles of a file's streams are read with its audio, see `stem_mp4.stream_of`.
    """
    scan = Scan(root)
    tracks = []
    for split in SPLIT_FOLDERS:
        for path in scan.files(root / split, (SUFFIX,), TRACK):
            leaves = {stem: (Source(path, stream=STREAMS[stem]),) for stem in FOUR_STEMS}
            stems = unions(leaves, {"accompaniment": BACKING})
            mixture = Source(path, stream=STREAMS["mixture"])
            name = path.name[: -len(SUFFIX)]
            tracks.append(_track("musdb18", name, split, mixture, stems))
    dataset = collect(scan, "musdb18", tracks, version="1.0", sample_rate=44100)
    check_tools(root)
    return dataset


def dsd100(root: Path) -> Dataset:
    """Read ``<root>/{Mixtures,Sources}/{Dev,Test}/<NNN - Artist - Title>/*.wav``."""
    scan = Scan(root)
    tracks = []
    for half, split in HALVES.items():
        for folder in scan.songs(root / "Mixtures" / half):
            match = re.fullmatch(r"(\d{3}) - (.+)", folder.name, re.DOTALL)
            number, name = (match[1], match[2]) if match else ("", folder.name)
            stems = four_stems(scan, root / "Sources" / half / folder.name)
            track = _track("dsd100", name, split, Source(folder / MIXTURE), *stems)
            corrupt = ("erratum: left out of SiSEC 2016 as corrupt",) if number in CORRUPT else ()
            tracks.append(replace(track, notes=track.notes + corrupt, id=number))
    return collect(scan, "dsd100", tracks, version="1.0", sample_rate=44100)


def _track(
    dataset: str,
    name: str,
    split: str,
    mixture: Source,
    stems: Mapping[str, Sources],
    excluded: Mapping[str, str] | None = None,
) -> Track:
    """Describe one song, with what the table of songs says."""
    artist, genre, errata = song_facts(name)
    return Track(
        dataset,
        name,
        artist,
        split,
        (mixture,),
        stems,
        genre=genre,
        excluded=excluded or {},
        notes=errata,
    )
