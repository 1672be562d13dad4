"""Shared by the readers: safe listing of folders, and building a `Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.datasets.known import advice
from harness.datasets.tracks import Dataset, Source, Sources, Track

FOUR_STEMS = ("vocals", "drums", "bass", "other")
BACKING = taxonomy.TREE["accompaniment"]
MIXTURE = "mixture.wav"


@dataclass(frozen=True)
class Scan:
    """The files in one dataset's folder; problems are gathered, not raised."""

    root: Path  # links that lead out of it are refused
    problems: list[str] = field(default_factory=list)  # one line each

    def folders(self, parent: Path) -> list[Path]:
        """Return the folders in `parent`, by name, without hidden ones and links to outside."""
        return [path for path in self._visible(parent) if path.is_dir() and self._inside(path)]

    def files(self, parent: Path, suffixes: tuple[str, ...]) -> list[Path]:
        """Return the non-empty files in `parent` with one of the suffixes, by name."""
        named = [path for path in self._visible(parent) if path.name.lower().endswith(suffixes)]
        return [path for path in named if self.usable(path)]

    def songs(self, parent: Path) -> list[Path]:
        """Return the folders in `parent` that have a ``mixture.wav``; the others are noted."""
        found = []
        for path in self.folders(parent):
            if self.usable(path / MIXTURE):
                found.append(path)
            else:
                self.note(path, "left out, it has no mixture")
        return found

    def usable(self, path: Path) -> bool:
        """Whether this is a non-empty file inside the root; if not, note why."""
        if not self._inside(path):
            return False
        try:
            size = path.stat().st_size if path.is_file() else None
        except OSError as error:
            self.note(path, f"cannot be examined ({error.strerror})")
            return False
        if not size:
            self.note(path, "missing" if size is None else "empty")
        return bool(size)

    def note(self, path: Path, what: str) -> None:
        """Add a problem about a path, which is written relative to the root."""
        where = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        self.problems.append(f"{printable(where.as_posix())}: {what}")

    @cached_property
    def _real_root(self) -> Path:
        """The root, which may itself be a link, resolved."""
        return self.root.resolve()

    def _visible(self, parent: Path) -> list[Path]:
        """List `parent`, without what desktops and archivers leave behind."""
        try:
            paths = sorted(path for path in parent.iterdir() if not _is_litter(path.name))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self.note(parent, f"cannot be listed ({error.strerror})")
            return []
        text = [path for path in paths if storable(path.name) == path.name]
        for path in sorted({*paths} - {*text}):  # no table can store such a name
            self.note(path, "its name is not UTF-8; left out, rename it")
        return text

    def _inside(self, path: Path) -> bool:
        """Whether no link leads out of the root on the way to the path; if one does, note that."""
        with suppress(OSError, RuntimeError):  # links in a circle
            if path.resolve().is_relative_to(self._real_root):
                return True
        self.note(path, "is a link to a place outside the dataset; left out")
        return False


def four_stems(scan: Scan, folder: Path) -> tuple[dict[str, Sources], dict[str, str]]:
    """Return the stems of a folder with ``vocals.wav`` and so on, and why others are absent.

    `accompaniment` is added as drums + bass + other.
    """
    stems: dict[str, Sources] = {}
    excluded: dict[str, str] = {}
    for stem in FOUR_STEMS:
        path = folder / f"{stem}.wav"
        if scan.usable(path):
            stems[stem] = (Source(path),)
        else:
            excluded[stem] = f"{path.name} cannot be used"
    lost = [stem for stem in BACKING if stem in excluded]
    if lost:
        excluded["accompaniment"] = f"{', '.join(lost)} cannot be used"
    else:
        stems["accompaniment"] = tuple(source for stem in BACKING for source in stems[stem])
    return stems, excluded


def collect(
    scan: Scan, name: str, tracks: Iterable[Track], *, version: str, sample_rate: int
) -> Dataset:
    """Sort the tracks into a `Dataset`; of two with the same name the second is left out.

    If there is no track, the error says how to get the dataset.
    """
    unique: dict[tuple[str, str], Track] = {}
    for track in tracks:
        if not track.stems:
            scan.problems.append(f"{printable(track.name)}: has no stem; left out")
        elif unique.setdefault((track.split, track.name), track) is not track:
            scan.problems.append(f"{printable(track.name)}: a second track of this name; left out")
    if not unique:
        raise HarnessError(f"{scan.root}: {_why_empty(scan, name)}; {advice(name)}")
    stems = {stem for track in unique.values() for stem in track.stems}
    return Dataset(
        name=name,
        version=version,
        sample_rate=sample_rate,
        stems=tuple(taxonomy.in_order(stems)),
        tracks=tuple(unique[key] for key in sorted(unique)),
        problems=tuple(scan.problems),
    )


def unions(
    leaves: Mapping[str, Sources], groups: Mapping[str, tuple[str, ...]]
) -> dict[str, Sources]:
    """Return `leaves` and, for each group, the sources of those members that exist."""
    stems = dict(leaves)
    for parent, members in groups.items():
        sources = tuple(source for stem in members for source in stems.get(stem, ()))
        if sources:
            stems[parent] = sources
    return stems


def storable(name: str) -> str:
    """Replace the characters of a name that cannot be written as UTF-8."""
    return name.encode("utf-8", "replace").decode("utf-8")


def printable(name: str) -> str:
    """Return a name on one line that a terminal can show; ? replaces other characters."""
    return "".join(char if char.isprintable() else "?" for char in storable(name))


def _is_litter(name: str) -> bool:
    """Whether a name is hidden or from an archiver; a band may be called ``...And You``."""
    return name == "__MACOSX" or (name.startswith(".") and not name.startswith(".."))


def _why_empty(scan: Scan, name: str) -> str:
    """Say why there is no track."""
    if not scan.root.exists():
        return f"no such folder; {name} was expected here"
    if not scan.root.is_dir():
        return f"is not a folder; {name} was expected here"
    if scan.problems:
        return f"has no usable track of {name} (first problem: {scan.problems[0]})"
    return f"has no track of {name}"
