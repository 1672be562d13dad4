"""The user's own songs: one folder per song, one file per stem, as the MSS-Training tool has it.

Stem names of other tools are understood too (`taxonomy.canonical`). A missing parent is the sum of
its children. ``other`` beside ``guitar`` or ``piano`` is the rest of six stems, `other_rest`; our
`other` is then the sum of the three. ``cymbals`` without ``hihat`` include the hi-hat: they are
`hihat_cymbals`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.core import audio, taxonomy
from harness.core.errors import HarnessError
from harness.datasets.musdb_songs import song_facts
from harness.datasets.scan import Scan, collect, unions
from harness.datasets.tracks import Dataset, Source, Sources, Track

SUFFIXES = (".wav", ".flac", ".mp3")  # if there are several, the first counts
# children first
PARENTS = ("lead", "vocals", "hihat_cymbals", "drums", "other_rest", "other", "accompaniment")
Stems = dict[str, Sources]


def folder(root: Path, *, name: str = "folder") -> Dataset:
    """Read ``<root>/<track>/{mixture,<stem>,…}.{wav,flac,mp3}``.

    Without a mixture file the mixture is the sum of the stems. The first track's sample rate is the
    dataset's; tracks with another one are left out. All tracks are in the split ``test``. The
    artist is the part of the folder's name before " - ".
    """
    scan = Scan(root)
    tracks: list[Track] = []
    sample_rate = 0
    for path in scan.folders(root):
        stems = _read(scan, path)
        rate = _rate(scan, path, stems)
        sample_rate = sample_rate or rate
        if rate == sample_rate != 0:
            tracks.append(_track(path, stems, name))
        elif rate:
            scan.note(path, f"sample rate is {rate} Hz, not {sample_rate} Hz; left out")
    return collect(scan, name, tracks, version="1.0", sample_rate=sample_rate)


def _read(scan: Scan, path: Path) -> Stems:
    """Return the stems of one folder, with `mixture` if it is there."""
    groups: dict[str, list[Path]] = {}
    for file in scan.files(path, SUFFIXES):
        stem = taxonomy.canonical(file.stem)
        if re.fullmatch(r"[a-z0-9_]+", stem):
            groups.setdefault(stem, []).append(file)
        else:
            scan.note(file, "its name is not usable as a stem name; left out")
    stems = {stem: _one_of(scan, stem, files) for stem, files in groups.items()}
    if "other" in stems and stems.keys() & {"guitar", "piano"}:
        stems.setdefault("other_rest", stems.pop("other"))
    if "cymbals" in stems and not stems.keys() & {"hihat", "hihat_cymbals"}:
        stems["hihat_cymbals"] = stems.pop("cymbals")
    return stems


def _one_of(scan: Scan, stem: str, files: list[Path]) -> Sources:
    """Choose among files for one stem; of parts of the cymbals, all are taken."""
    by_name: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: SUFFIXES.index(file.suffix.lower())):
        by_name.setdefault(file.stem.lower(), file)
    if stem == "cymbals" and stem not in by_name:
        chosen = [by_name[name] for name in sorted(by_name)]
    else:
        chosen = [by_name.get(stem, by_name[min(by_name)])]
    for file in sorted(set(files) - set(chosen)):
        scan.note(file, f"left out, {chosen[0].name} is used for {stem}")
    return tuple(Source(file) for file in chosen)


def _rate(scan: Scan, path: Path, stems: Stems) -> int:
    """Return the sample rate of all files in Hz; 0, with a note, if the track cannot be used."""
    if not stems.keys() - {"mixture"}:
        scan.note(path, f"has no {' or '.join(SUFFIXES)} file of a stem; left out")
        return 0
    try:
        rates = {audio.length(source.path)[1] for files in stems.values() for source in files}
    except HarnessError as error:
        scan.note(path, f"left out, {error}")
        return 0
    if len(rates) > 1:
        scan.note(path, f"its files have different sample rates {sorted(rates)} Hz; left out")
        return 0
    return rates.pop()


def _track(path: Path, files: Stems, dataset: str) -> Track:
    """Describe one song."""
    artist, genre, _ = song_facts(path.name)
    stems = {stem: sources for stem, sources in files.items() if stem != "mixture"}
    # stems that are not a part of another one here sum to the mixture
    outermost = [s for s in sorted(stems) if not stems.keys() & set(taxonomy.ancestors(s))]
    mixture = files.get("mixture") or _sum(stems, outermost)
    return Track(
        dataset=dataset,
        name=path.name,
        artist=artist,
        split="test",
        mixture=mixture,
        stems=_with_parents(stems),
        genre=genre,
    )


def _with_parents(stems: Stems) -> Stems:
    """Add the parents that the stems sum to."""
    if "other_rest" in stems and "other" not in stems:
        stems = unions(stems, {"other": taxonomy.TREE["other"]})
    for parent in PARENTS:
        below = taxonomy.parts(parent, stems)
        if below:
            stems = {**stems, parent: _sum(stems, below)}
    return stems


def _sum(stems: Stems, names: Sequence[str]) -> Sources:
    """Join the sources of several stems."""
    return tuple(source for name in names for source in stems[name])
