"""Estimates made elsewhere, read from disk in the layouts of common tools."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
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

    `notes` say how the files were chosen, and which were clipped or rescaled when written. Of a
    track that is cut to its shortest file, `whole` is the length of the longest one, in samples:
    estimates of that length are cut like the track. `window` is the length of a track of which an
    excerpt is scored, and the first sample of that: estimates of the whole track are cut. `costs`
    are what making them cost as their maker states it; reading them does not show it.
    """

    def __init__(
        self,
        *,
        sample_rate: int,
        stems: tuple[str, ...],
        input_stem: str = "mixture",
        files: Mapping[str, str],
        notes: Sequence[str] = (),
        whole: int = 0,
        window: Sequence[int] = (),
        costs: Mapping[str, float] | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.stems = stems
        self.input_stem = input_stem
        self.costs = dict(costs or {})
        self._chosen, self.notes = tuple(notes), list(notes)
        self._files = {stem: Path(path) for stem, path in files.items()}
        self._whole, self._window = whole, tuple(window)

    def separate(self, mixture: Audio) -> dict[str, Audio]:
        """Return the estimates as they were written; of the mixture only the length counts."""
        estimates = {s: self._read(path, mixture.shape[1]) for s, path in self._files.items()}
        found = [_changed(self._files[stem], signal) for stem, signal in estimates.items()]
        self.notes = [*self._chosen, *filter(None, found)]
        return estimates

    def _read(self, path: Path, samples: int) -> Audio:
        signal, rate = audio.read(path)
        if rate != self.sample_rate:
            raise HarnessError(
                f"{path}: sample rate is {rate} Hz, the references have {self.sample_rate} Hz; "
                "resample the estimates, and say so next to their scores"
            )
        length, start = self._window or (samples, 0)
        near = audio.MAX_LENGTH_ERROR * rate
        if self._whole and abs(signal.shape[1] - self._whole) <= near:
            signal = signal[:, :length]
        beyond = abs(signal.shape[1] - length)
        if self._window and beyond <= near and beyond < abs(signal.shape[1] - samples):
            signal = signal[:, start : start + samples]
        return np.ascontiguousarray(signal)


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
    `taxonomy.canonical` knows. If no file has the very name of the track, one with the same letters
    and digits counts, and a note says so: systems and tools write accents and signs differently.

    Parameters
    ----------
    names
        Possible names of the track on disk.
    stems
        The wanted ones; of other files those with the name of a known stem are returned.
    others
        Names of other tracks. ``A_no_vocals.wav`` belongs to ``A_no`` if there is such a track.
    """
    wanted, others, names = set(stems), [*map(safe_name, others)], [*map(safe_name, names)]
    roots = (folder / split, folder)
    for name in names:
        for root in roots:
            found = _in_own_folder(root / name, wanted) or _side_by_side(root, name, wanted, others)
            if found:
                return found, []
    for root in roots:
        folders, files = _written_differently(root, names[0], others)
        in_folders = (_in_own_folder(path, wanted) for path in folders)
        if found := next(filter(None, in_folders), {}) or _pick(files.items(), wanted):
            file = next(iter(found.values()))
            there = file if file in files else file.parent
            return found, [f"{there.name} is read as an estimate of this track"]
    return {}, []


def meaning(stems: Collection[str], listed: Sequence[str] = ()) -> dict[str, str]:
    """Return what the stems of a folder of one model's estimates are, see `taxonomy.of_model`.

    `listed` are the stems that the model separates, if the user says so. An ``other`` that is none
    of these is the one of `accompaniment` and `other_rest` for which there is no file.
    """
    meant = taxonomy.of_model(listed or stems)
    if tuple(listed) == ("other",):
        meant = {"other": "other"}
    rests = [s for s in listed if s in ("accompaniment", "other_rest") and s not in stems]
    if listed and "other" not in listed and len(rests) == 1:
        meant["other"] = rests[0]
    return {stem: meant.get(stem, stem) for stem in stems}


def as_meant(
    found: Mapping[str, Path], meant: Mapping[str, str], wanted: Collection[str]
) -> tuple[dict[str, Path], list[str]]:
    """Return the wanted stems of one track's files, and notes on an ``other`` of another kind."""
    notes = []
    if "other" in found and (what := meant["other"]) != "other":
        word = f"is read as {what}" if what in taxonomy.STEMS else f"is left out: it is the {what}"
        notes = [f"{found['other'].name} {word}"]
    return {meant[s]: path for s, path in found.items() if meant[s] in wanted}, notes


def find_output(folder: Path, name: str, stems: Sequence[str]) -> tuple[dict[str, Path], list[str]]:
    """Return {stem: path} of what a program that separates `stems` wrote for a song, and notes.

    The files are in the folder itself, or in one of the layouts of `find_files` in it or in one
    folder of it, as the ``<model>/<track>/<stem>.wav`` of demucs.
    """
    roots = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
    every = [find_files(folder.parent, [folder.name], "", stems)]
    every += [find_files(root, [name], "", stems) for root in roots]
    by_folder = {next(iter(files.values())).parent: files for files, _ in every if files}
    if len(by_folder) > 1:
        where = " and ".join(str(path.relative_to(folder)) for path in by_folder)
        raise HarnessError(
            f"{where}: both hold estimates; let the program write those of one model"
        )
    files = next(iter(by_folder.values()), {})
    own = {stem: stem for stem in files}
    return as_meant(files, own if "other" in stems else meaning(files, stems), stems)


def not_of(folder: Path, splits: Iterable[str], used: Collection[Path]) -> list[str]:
    """Return the names of folders and files with estimates that belong to no track."""
    roots = {folder, *(folder / split for split in splits)}
    below = [path for root in roots if root.is_dir() for path in root.iterdir() if path.is_dir()]
    mine = {path.parent for path in used} | roots
    folders = {p.name for p in below if p not in mine and _listing(p)}
    files = {p.name for root in roots for p in _listing(root) if p not in used}
    return sorted(folders | files)


def _written_differently(
    root: Path, name: str, others: Sequence[str]
) -> tuple[list[Path], dict[Path, str]]:
    """Return the folders of a track by `_letters` alone, and files with the names of their stems.

    Names that may belong to another track are not used.
    """
    mine = _letters(name)
    if not mine or not root.is_dir() or sum(_letters(other) == mine for other in others) > 1:
        return [], {}
    theirs = tuple(f"{other}_" for other in others)
    folders = [p for p in sorted(root.iterdir()) if p.is_dir() and _letters(p.name) == mine]
    found = {}
    for path in _listing(root):
        parts = path.stem.split("_")
        heads = ["_".join(parts[:n]) for n in range(1, len(parts))]
        head = next((h for h in heads if _letters(h) == mine), "")
        if head and not path.name.startswith(theirs):
            rest = path.stem[len(head) + 1 :]
            match = re.match(r"\(([^()]+)\)", rest)
            found[path] = match[1] if match else rest
    return folders, found


def _letters(name: str) -> str:
    """Return the letters and digits of a name, in lower case and without accents."""
    return re.sub(r"[\W_\u0300-\u036f]+", "", unicodedata.normalize("NFKD", name).casefold())


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
