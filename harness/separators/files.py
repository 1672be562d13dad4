"""Estimates made elsewhere, found on disk in the layouts that the field's tools write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness import audio, taxonomy
from harness.audio import Audio
from harness.errors import HarnessError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")


class Files:
    """A "separator" whose estimates lie on disk; it only reads them.

    Parameters
    ----------
    files
        {stem: path}.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        stems: tuple[str, ...],
        input_stem: str = "mixture",
        files: Mapping[str, str],
    ) -> None:
        self.sample_rate = sample_rate
        self.stems = stems
        self.input_stem = input_stem
        self._files = {stem: Path(path) for stem, path in files.items()}

    def separate(self, mixture: Audio) -> dict[str, Audio]:
        """Return the estimates as they were written; the mixture is not looked at."""
        return {stem: self._read(path) for stem, path in self._files.items()}

    def _read(self, path: Path) -> Audio:
        signal, rate = audio.read(path)
        if rate != self.sample_rate:
            raise HarnessError(
                f"{path}: sample rate is {rate} Hz, the references have {self.sample_rate} Hz; "
                "resample the estimates, and say so beside their scores"
            )
        return signal


def find_files(
    folder: Path, names: Iterable[str], split: str, stems: Iterable[str]
) -> dict[str, Path]:
    """Find the estimates of one track.

    Looked for, in turn: ``[split/]<track>/<stem>.<ext>`` (musdb, demucs, MSS-Training),
    ``[split/]<track>_<stem>.<ext>`` (MSS-Training's validation) and
    ``[split/]<track>_(<Stem>)_<model>.<ext>`` (audio-separator). Stem names may be any that
    `taxonomy.canonical` knows.

    Parameters
    ----------
    names
        What the track may be called on disk.
    stems
        Those wanted; other files are left alone.

    Returns
    -------
    dict
        {stem: path}; empty if there are none.
    """
    wanted = set(stems)
    for name in map(safe_name, names):
        for root in (folder / split, folder):
            found = _in_own_folder(root / name, wanted) or _side_by_side(root, name, wanted)
            if found:
                return found
    return {}


def safe_name(name: str) -> str:
    """Return the name as one path component, never one that leads elsewhere.

    Examples
    --------
    >>> safe_name("AC/DC"), safe_name("..")
    ('AC_DC', '__')
    """
    flat = re.sub(r"[/\\\x00-\x1f]", "_", name)
    return re.sub(r"^\.+$", lambda dots: "_" * len(dots[0]), flat) or "_"


def _in_own_folder(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """Return the stems in a folder that belongs to one track."""
    return _pick(((path, path.stem) for path in _listing(folder)), wanted) or _pick(
        (
            (path, match[1])
            for path in _listing(folder)
            if (match := re.search(r"_\(([^()]+)\)[^()]*$", path.stem))
        ),
        wanted,
    )


def _side_by_side(folder: Path, name: str, wanted: set[str]) -> dict[str, Path]:
    """Return the stems of one track in a folder that holds many."""
    mine = [path for path in _listing(folder) if path.name.startswith(name + "_")]
    rests = [(path, path.stem[len(name) + 1 :]) for path in mine]
    in_brackets = [
        (path, match[1]) for path, rest in rests if (match := re.match(r"\(([^()]+)\)", rest))
    ]
    return _pick(in_brackets, wanted) or _pick(rests, wanted)


def _pick(named: Iterable[tuple[Path, str]], wanted: set[str]) -> dict[str, Path]:
    """Keep the files whose name is that of a wanted stem."""
    found: dict[str, Path] = {}
    for path, name in named:
        stem = taxonomy.canonical(name)
        if stem in wanted:
            if stem in found:
                raise HarnessError(
                    f"{path.parent}: both {found[stem].name!r} and {path.name!r} are {stem}; "
                    "remove one, or name a folder with one model in it"
                )
            found[stem] = path
    return found


def _listing(folder: Path) -> list[Path]:
    """Return the audio files of a folder, sorted; none if it is no folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
