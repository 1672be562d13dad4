"""Estimates made elsewhere, read from disk in the layouts of common tools."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.files import safe_name

RESCALED = {1 / 1.01: "demucs", 0.9: "audio-separator"}  # peak after it, and which tool does it
FULL = 0.98  # peak from which an estimate may be clipped
CLIPPED = 1e-4  # share of samples at the peak of a clipped estimate
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")


class FromDisk:
    """A "separator" that only reads existing estimates, from `files`: {stem: path}.

    `notes` say how the files were chosen, and which were clipped or rescaled when written.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        stems: tuple[str, ...],
        input_stem: str = "mixture",
        files: Mapping[str, str],
        notes: Sequence[str] = (),
    ) -> None:
        self.sample_rate = sample_rate
        self.stems = stems
        self.input_stem = input_stem
        self._chosen, self.notes = tuple(notes), list(notes)
        self._files = {stem: Path(path) for stem, path in files.items()}

    def separate(self, mixture: Audio) -> dict[str, Audio]:
        """Return the estimates as they were written; the mixture is ignored."""
        estimates = {stem: self._read(path) for stem, path in self._files.items()}
        found = [_changed(self._files[stem], signal) for stem, signal in estimates.items()]
        self.notes = [*self._chosen, *filter(None, found)]
        return estimates

    def _read(self, path: Path) -> Audio:
        signal, rate = audio.read(path)
        if rate != self.sample_rate:
            raise HarnessError(
                f"{path}: sample rate is {rate} Hz, the references have {self.sample_rate} Hz; "
                "resample the estimates, and say so next to their scores"
            )
        return signal


def _changed(path: Path, signal: Audio) -> str:
    """Say whether a tool seems to have clipped or rescaled an estimate while writing it.

    Both lower scores by decibels, and only the files tell of it.
    """
    size = np.abs(signal)
    peak = float(size.max())
    if tool := next((tool for at, tool in RESCALED.items() if abs(peak - at) < 2**-14), ""):
        return f"{path.name} has a peak of exactly {peak:.4f}, as if {tool} had rescaled it"
    share = float(np.count_nonzero(size > peak * (1 - 2**-14)) / size.size)
    if peak < FULL or share < CLIPPED:
        return ""
    return f"{path.name} is clipped: {share:.2%} of its samples are at the peak of {peak:.3g}"


def find_files(
    folder: Path,
    names: Iterable[str],
    split: str,
    stems: Iterable[str],
    others: Iterable[str] = (),
) -> tuple[dict[str, Path], list[str]]:
    """Return {stem: path} of the estimates of one track, empty if there are none, and notes.

    The layouts are tried in this order: ``[split/]<track>/<stem>.<ext>`` (musdb, demucs,
    MSS-Training), ``[split/]<track>_<stem>.<ext>`` (MSS-Training's validation) and
    ``[split/]<track>_(<Stem>)_<model>.<ext>`` (audio-separator). A file may use any stem name that
    `taxonomy.canonical` knows. What an ``other`` is depends on the files beside it, see
    `taxonomy.of_model`; if it is none of our stems, a note says that it is left out.

    Parameters
    ----------
    names
        Possible names of the track on disk.
    stems
        The wanted ones; other files are ignored.
    others
        Names of other tracks. ``A_no_vocals.wav`` belongs to ``A_no`` if there is such a track.
    """
    wanted, others = set(stems), [safe_name(name) for name in others]
    for name in map(safe_name, names):
        for root in (folder / split, folder):
            found, notes = _as_meant(
                _in_own_folder(root / name, wanted) or _side_by_side(root, name, wanted, others),
                wanted,
            )
            if found:
                return found, notes
    return {}, []


def find_output(folder: Path, name: str, stems: Iterable[str]) -> tuple[dict[str, Path], list[str]]:
    """Return {stem: path} of what a program wrote for the song `name`, and notes.

    The files are in the folder itself, or in one of the layouts of `find_files` in it or in one
    folder of it, as the ``<model>/<track>/<stem>.wav`` of demucs.
    """
    roots = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    every = [find_files(folder.parent, [folder.name], "", stems)]
    every += [find_files(root, [name], "", stems) for root in roots]
    by_folder = {
        next(iter(files.values())).parent: (files, notes) for files, notes in every if files
    }
    if len(by_folder) > 1:
        where = " and ".join(str(path.relative_to(folder)) for path in by_folder)
        raise HarnessError(
            f"{where}: both hold estimates; let the program write those of one model"
        )
    return next(iter(by_folder.values()), ({}, []))


def _as_meant(found: Mapping[str, Path], wanted: set[str]) -> tuple[dict[str, Path], list[str]]:
    """Return the wanted stems of a model's files, and notes on an ``other`` of another kind."""
    meant = taxonomy.of_model(found) if len(found) > 1 else {stem: stem for stem in found}
    notes = []
    if (what := meant.get("other", "other")) != "other":
        word = f"is read as {what}" if what in taxonomy.STEMS else f"is left out: it is the {what}"
        notes = [f"{found['other'].name} {word}"]
    return {meant[s]: path for s, path in found.items() if meant[s] in wanted}, notes


def _in_own_folder(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """Return the stems in the folder of one track."""
    return _pick(((path, path.stem) for path in _listing(folder)), wanted) or _pick(
        (
            (path, match[1])
            for path in _listing(folder)
            if (match := re.search(r"_\(([^()]+)\)[^()]*$", path.stem))
        ),
        wanted,
    )


def _side_by_side(
    folder: Path, name: str, wanted: set[str], others: Iterable[str]
) -> dict[str, Path]:
    """Return the stems of one track in a folder of many."""
    longer = tuple(f"{other}_" for other in others if other.startswith(f"{name}_"))
    mine = [
        path
        for path in _listing(folder)
        if path.name.startswith(f"{name}_") and not path.name.startswith(longer)
    ]
    rests = [(path, path.stem[len(name) + 1 :]) for path in mine]
    in_brackets = [
        (path, match[1]) for path, rest in rests if (match := re.match(r"\(([^()]+)\)", rest))
    ]
    return _pick(in_brackets, wanted) or _pick(rests, wanted)


def _pick(named: Iterable[tuple[Path, str]], wanted: set[str]) -> dict[str, Path]:
    """Return {stem: path} of the files that are wanted or a known stem."""
    found: dict[str, Path] = {}
    for path, name in named:
        stem = taxonomy.canonical(name)
        if stem in wanted or stem in taxonomy.STEMS:
            if stem in found and stem in wanted:
                raise HarnessError(
                    f"{path.parent}: both {found[stem].name!r} and {path.name!r} are {stem}; "
                    "remove one, or name a folder with the estimates of one model"
                )
            found[stem] = path
    return found


def _listing(folder: Path) -> list[Path]:
    """Return the audio files of a folder, sorted; none if it is not a folder."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
