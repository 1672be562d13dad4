"""Shared by the readers: safe listing of folders, and building a `Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.datasets.known import advice
from harness.datasets.tracks import Dataset, Omission, Source, Sources, Track

FOUR_STEMS = ("vocals", "drums", "bass", "other")
BACKING = taxonomy.TREE["accompaniment"]
MIXTURE = "mixture.wav"
SPLIT_FOLDERS = ("train", "test")
TRACK, FILE = "track left out", "file left out"  # see `Omission.what`
AUDIO = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".aifc", ".m4a", ".aac",
    ".mp4", ".wma", ".caf", ".w64", ".au", ".snd", ".wv", ".rf64", ".alac", ".webm", ".mka",
)  # fmt: skip


@dataclass(frozen=True)
class Scan:
    """The files in one dataset's folder; problems are gathered, not raised."""

    root: Path  # links that lead out of it are refused
    problems: list[str] = field(default_factory=list)  # one line each
    omitted: list[Omission] = field(default_factory=list)  # tracks that are left out

    def folders(self, parent: Path) -> list[Path]:
        """Return the folders of songs in `parent`, by name, without hidden ones.

        Links to outside and names that are not UTF-8 are left out.
        """
        listed = self._visible(parent, TRACK)
        return [path for path in listed if path.is_dir() and self._inside(path, TRACK)]

    def files(self, parent: Path, suffixes: tuple[str, ...], what: str = FILE) -> list[Path]:
        """Return the non-empty files in `parent` with one of the suffixes, by name.

        `what` is `TRACK` if each file is one.
        """
        listed = self._visible(parent, what)
        named = [p for p in listed if p.name.lower().endswith(suffixes) and not p.is_dir()]
        return [path for path in named if self.usable(path, what)]

    def songs(self, parent: Path) -> list[Path]:
        """Return the folders in `parent` that have a ``mixture.wav``; the others are noted."""
        found = []
        for path in self.folders(parent):
            if self.usable(path / MIXTURE):
                found.append(path)
            else:
                self.leave_out(path, "it has no mixture")
        return found

    def usable(self, path: Path, what: str = "") -> bool:
        """Whether this is a non-empty file inside the root; if not, note why.

        `what` it is for is as in `leave_out`.
        """
        if not self._inside(path, what):
            return False
        try:
            size = path.stat().st_size if path.is_file() else None
        except OSError as error:
            self.leave_out(path, f"cannot be examined ({error.strerror})", what, "")
            return False
        if not size:
            self.leave_out(path, "missing" if size is None else "empty", what, "")
        return bool(size)

    def note(self, path: Path, what: str) -> None:
        """Add a problem about a path, which is written relative to the root."""
        where = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        line = f"{printable(where.as_posix())}: {what}"
        if line not in self.problems:
            self.problems.append(line)

    def leave_out(self, path: Path, why: str, what: str = TRACK, then: str = "; left out") -> None:
        """Add a problem that costs a track or a file; terminal and report name these.

        `what` is `TRACK`, `FILE`, or "" if another line says what is left out. `then` ends the
        line of the problem.
        """
        known = len(self.problems)
        self.note(path, f"{why}{then}")
        if what and len(self.problems) > known:
            inside = path.relative_to(self.root).parts if path.is_relative_to(self.root) else ()
            split = next((part for part in inside[:-1] if part in SPLIT_FOLDERS), "")
            name = path.name if what == TRACK else "/".join(inside[-2:])
            self.omitted.append(Omission(why, printable(name), split=split, what=what))

    @cached_property
    def _real_root(self) -> Path:
        """The root, which may itself be a link, resolved."""
        return self.root.resolve()

    def _visible(self, parent: Path, what: str) -> list[Path]:
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
            self.leave_out(path, "its name is not UTF-8, rename it", what)
        return text

    def _inside(self, path: Path, what: str) -> bool:
        """Whether no link leads out of the root on the way to the path; if one does, note that."""
        with suppress(OSError, RuntimeError):  # links in a circle
            if path.resolve().is_relative_to(self._real_root):
                return True
        self.leave_out(path, "is a link to a place outside the dataset", what)
        return False


def four_stems(scan: Scan, folder: Path) -> tuple[dict[str, Sources], dict[str, str]]:
    """Return the stems of a folder with ``vocals.wav`` and so on, and why others are absent.

    `accompaniment` is added as drums + bass + other.
    """
    stems: dict[str, Sources] = {}
    excluded: dict[str, str] = {}
    for stem in FOUR_STEMS:
        path = folder / f"{stem}.wav"
        if scan.usable(path, FILE):
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
            why = "has no stem"
        elif unique.setdefault((track.split, track.name), track) is not track:
            why = "is a second track of this name"
        else:
            continue
        scan.problems.append(f"{printable(track.name)}: {why}; left out")
        scan.omitted.append(Omission(why, printable(track.name), split=track.split))
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
        omitted=tuple(replace(omission, dataset=name) for omission in scan.omitted),
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
