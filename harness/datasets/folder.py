"""Songs of the user's own, in the layout of the MSS-Training tool: a folder a song, a file a stem.

Stem names are taken in the words of other tools too (`taxonomy.canonical`). Parents that are not
there are the sums of their children. ``other`` beside ``guitar`` or ``piano`` is what is left of
six stems, `other_rest`; our `other` is then the sum of these. ``cymbals`` without ``hihat`` hold
the hi-hat too: they are `hihat_cymbals`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness import audio, taxonomy
from harness.datasets.scan import Scan, collect, unions
from harness.datasets.songs import find_song, split_name
from harness.datasets.tracks import Dataset, Source, Track
from harness.errors import HarnessError

SUFFIXES = (".wav", ".flac", ".mp3")  # the first is taken where there are several
# children first
PARENTS = ("lead", "vocals", "hihat_cymbals", "drums", "other_rest", "other", "accompaniment")
Stems = dict[str, tuple[Source, ...]]


def folder(root: Path, *, name: str = "folder") -> Dataset:
    """Read ``<root>/<track>/{mixture,<stem>,…}.{wav,flac,mp3}``.

    Without a mixture file the mixture is the sum of the stems. The first track's sample rate is the
    dataset's; tracks with another one are left out. All tracks are in the split ``test``; the
    artist is what stands before " - ".

    Parameters
    ----------
    name
        The dataset's name, so that there can be several.

    Raises
    ------
    HarnessError
        If there is no usable track.
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
    """Return the stems of one folder, `mixture` among them if it is there."""
    groups: dict[str, list[Path]] = {}
    for file in scan.files(path, SUFFIXES):
        stem = taxonomy.canonical(file.stem)
        if re.fullmatch(r"[a-z0-9_]+", stem):
            groups.setdefault(stem, []).append(file)
        else:
            scan.note(file, "its name cannot be that of a stem; left out")
    stems = {stem: _one_of(scan, stem, files) for stem, files in groups.items()}
    if "other" in stems and stems.keys() & {"guitar", "piano"}:
        stems.setdefault("other_rest", stems.pop("other"))
    if "cymbals" in stems and not stems.keys() & {"hihat", "hihat_cymbals"}:
        stems["hihat_cymbals"] = stems.pop("cymbals")
    return stems


def _one_of(scan: Scan, stem: str, files: list[Path]) -> tuple[Source, ...]:
    """Choose among files that mean one stem; parts of the cymbals are all taken."""
    by_name: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: SUFFIXES.index(file.suffix.lower())):
        by_name.setdefault(file.stem.lower(), file)
    if stem == "cymbals" and stem not in by_name:
        chosen = [by_name[name] for name in sorted(by_name)]
    else:
        chosen = [by_name.get(stem, by_name[min(by_name)])]
    for file in sorted(set(files) - set(chosen)):
        scan.note(file, f"left out, {chosen[0].name} is the {stem}")
    return tuple(Source(file) for file in chosen)


def _rate(scan: Scan, path: Path, stems: Stems) -> int:
    """Return the sample rate of all files in Hz; 0, with a note, where the track cannot be used."""
    if not stems.keys() - {"mixture"}:
        scan.note(path, f"holds no stem as {' or '.join(SUFFIXES)}; left out")
        return 0
    try:
        rates = {audio.length(source.path)[1] for files in stems.values() for source in files}
    except HarnessError as error:
        scan.note(path, f"left out, {error}")
        return 0
    if len(rates) > 1:
        scan.note(path, f"its files have several sample rates {sorted(rates)} Hz; left out")
        return 0
    return rates.pop()


def _track(path: Path, files: Stems, dataset: str) -> Track:
    """One song."""
    name = path.name
    song = find_song(name)
    stems = {stem: sources for stem, sources in files.items() if stem != "mixture"}
    mixture = files.get("mixture") or _sum(stems, _outermost(stems))
    return Track(
        dataset=dataset,
        name=name,
        artist=split_name(song.track if song else name)[0],
        split="test",
        mixture=mixture,
        stems=_with_parents(stems),
        genre=song.genre if song else "unknown",
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


def _outermost(stems: Stems) -> list[str]:
    """Return the stems that are no part of another one here; they sum to the mixture."""
    return [stem for stem in sorted(stems) if not stems.keys() & set(taxonomy.ancestors(stem))]


def _sum(stems: Stems, names: Sequence[str]) -> tuple[Source, ...]:
    """Join the sources of several stems."""
    return tuple(source for name in names for source in stems[name])
