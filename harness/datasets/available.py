"""The datasets on this machine, and their tracks that a command works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import datasets
from harness.core.errors import HarnessError
from harness.core.files import cache_folder
from harness.core.machine import Progress
from harness.datasets import real_song
from harness.datasets.overlaps import collection, in_split
from harness.datasets.tracks import Dataset, Omission, Track
from harness.registry import suggestion
from harness.registry.dataset_names import split_name

DEMO_TRACKS = 8
DEMO_SECONDS = 20.0
SECONDS = {  # of tracks that are made here
    "demo": DEMO_SECONDS,
    real_song.NAME: real_song.CLEAN[1] - real_song.CLEAN[0],
}
SPLITS = ("train", "valid", "test", "all")


@dataclass(frozen=True)
class DatasetChoice:
    """The tracks that a command works on."""

    folders: Mapping[str, Path]  # {dataset: folder}
    names: Sequence[str] = ()  # empty: every dataset with a folder; if there is none, the demo
    split: str = "test"
    tracks: int | None = None  # at most this many per dataset, in order of name
    demo_tracks: int = DEMO_TRACKS  # rendered if `tracks` is None

    def __post_init__(self) -> None:
        if split_name(self.split) is None:
            hint = suggestion(self.split.lower(), SPLITS)
            raise HarnessError(f"--split {self.split}: unknown split; {hint}")


def choose_datasets(
    choice: DatasetChoice,
    jobs: int,
    progress: Progress | None = None,
    *,
    make: bool = True,
) -> list[Dataset]:
    """Read the chosen datasets; up to `jobs` processes render demo tracks.

    Without `make` nothing is rendered or decoded: the files of such tracks may not exist.
    """
    found = []
    for name in choice.names or list(datasets.configured(choice.folders)) or ["demo"]:
        split = split_name(choice.split, collection(name)) or "all"
        if name == "demo":
            n_tracks = choice.tracks or choice.demo_tracks
            whole = _demo(choice.folders.get("demo"), split, n_tracks, jobs, progress, make)
        elif name == real_song.NAME:
            of_song = real_song.decoded if make else real_song.planned
            whole = of_song(choice.folders.get(name))
        else:
            whole = datasets.load(name, datasets.find(name, choice.folders))
        found.append(_narrow(whole, split, choice.tracks))
    return found


def is_missing(track: Track) -> bool:
    """Whether files of a track are yet to be made, see `choose_datasets`."""
    return not all(source.path.is_file() for source in track.mixture)


def default_names(folders: Mapping[str, Path], split: str) -> tuple[list[str], str]:
    """Return the datasets of a run if the user names none, and why the real song is not in it.

    They are those with a folder; if there is none, the demo and, in the split ``test``, a real
    song.
    """
    found = list(datasets.configured(folders)) or ["demo"]
    if found != ["demo"] or split_name(split) not in ("test", ""):
        return found, ""
    why = real_song.obstacle()
    return found + ([] if why else [real_song.NAME]), why


def _narrow(dataset: Dataset, split: str, limit: int | None) -> Dataset:
    """Keep the first tracks of a split."""
    mine = [t for t in dataset.tracks if split == "all" or in_split(t, split)]
    if not mine:
        have = ", ".join(sorted({track.split for track in dataset.tracks}))
        raise HarnessError(
            f"{dataset.name}: no track in split {split!r}, only in {have}; choose with --split"
        )
    omitted = tuple(o for o in dataset.omitted if _is_in(o, dataset.name, split))
    return replace(dataset, tracks=tuple(mine[:limit]), omitted=omitted)


def _is_in(omission: Omission, dataset: str, split: str) -> bool:
    """Whether a track that is left out may be one of a split."""
    track = Track(dataset, omission.name, "", omission.split, (), {})
    return "all" in (split, omission.split or "all") or in_split(track, split)


def _demo(
    root: Path | None,
    split: str,
    n_tracks: int,
    jobs: int,
    progress: Progress | None,
    make: bool,
) -> Dataset:
    """Render the demo tracks that are missing, and return the requested ones."""
    from harness.datasets.demo import rendering

    wanted = {"train": (n_tracks, 0), "test": (0, n_tracks), "all": (n_tracks, n_tracks)}
    if split not in wanted:
        raise HarnessError(f"demo: no split {split!r}; use train, test or all")
    train, test = wanted[split]
    root = root or cache_folder() / f"demo-{rendering.VERSION}-{DEMO_SECONDS:g}s"
    if not make:
        return rendering.planned(root, train=train, test=test, seconds=DEMO_SECONDS)
    return rendering.render(
        root, train=train, test=test, seconds=DEMO_SECONDS, jobs=jobs, progress=progress
    )


def dataset_rows(data: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """Return (name, title, folder or how to get it) of every dataset."""
    where = datasets.configured(data)
    own = datasets.DATASETS["folder"]
    known = datasets.DATASETS | {n: own for n in where if n not in datasets.DATASETS}
    return [(n, info.title, str(where.get(n, info.how_to))) for n, info in known.items()]
