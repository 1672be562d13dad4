"""What is there to run: separators, datasets, devices; and what is missing, with what to do."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import datasets as known
from harness.cache import cache_folder
from harness.datasets.overlaps import in_split
from harness.datasets.tracks import Dataset
from harness.errors import HarnessError
from harness.registry import Entry, expected_score_text, find, suggestion
from harness.weight_files import obstacle, terms

DEMO_TRACKS = 8
DEMO_SECONDS = 20.0
SPLITS = ("train", "valid", "test", "all")
DEVICES = ("auto", "cpu", "cuda", "mps")
GPU_JOBS = 4  # pieces of work at once that share a GPU

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """One line of ``harness check``: state is ready, absent or broken."""

    what: str
    state: str
    detail: str


def choose_entries(
    entries: Mapping[str, Entry], names: Sequence[str], everything: bool
) -> list[Entry]:
    """Return the entries to run, in the order of the registry.

    Raises
    ------
    HarnessError
        If none is named, or a name is unknown.
    """
    wanted = {find(entries, name).name for name in names}
    if not wanted and not everything:
        raise HarnessError("separators: none is named; name some, or give --all")
    return [entry for entry in entries.values() if not wanted or entry.name in wanted]


def choose_datasets(
    data: Mapping[str, Path],
    names: Sequence[str],
    split: str,
    tracks: int | None,
    jobs: int,
    progress: Progress | None,
    demo_tracks: int = DEMO_TRACKS,
) -> list[Dataset]:
    """Read the datasets to run on: those named, else all that are configured, else the demo.

    Parameters
    ----------
    data
        {name: folder} from ``--data``.
    tracks
        At most so many of each dataset, in order of name.
    demo_tracks
        How many demo tracks to render where `tracks` does not say.

    Raises
    ------
    HarnessError
        If a name is unknown, a folder absent, or no track is left.
    """
    if split not in SPLITS:
        raise HarnessError(f"--split {split}: no such split; known: {', '.join(SPLITS)}")
    found = []
    for name in names or list(known.configured(data)) or ["demo"]:
        if name == "demo":
            whole = _demo(data, split, tracks or demo_tracks, jobs, progress)
        else:
            whole = known.load(name, known.find(name, data))
        found.append(_narrow(whole, split, tracks))
    return found


def _narrow(dataset: Dataset, split: str, limit: int | None) -> Dataset:
    """Keep the tracks of a split, and the first few of those."""
    mine = [t for t in dataset.tracks if split == "all" or in_split(t, split)]
    if not mine:
        have = ", ".join(sorted({track.split for track in dataset.tracks}))
        raise HarnessError(
            f"{dataset.name}: no track in split {split!r}; it has {have}, choose with --split"
        )
    return replace(dataset, tracks=tuple(mine[:limit]))


def _demo(
    data: Mapping[str, Path], split: str, n_tracks: int, jobs: int, progress: Progress | None
) -> Dataset:
    """Render the demo tracks that are missing, and return those asked for."""
    from harness.datasets import demo

    wanted = {"train": (n_tracks, 0), "test": (0, n_tracks), "all": (n_tracks, n_tracks)}
    if split not in wanted:
        raise HarnessError(f"demo: has no split {split!r}; it has train and test")
    train, test = wanted[split]
    root = data.get("demo") or cache_folder() / f"demo-{demo.VERSION}-{DEMO_SECONDS:g}s"
    return demo.render(
        root, train=train, test=test, seconds=DEMO_SECONDS, jobs=jobs, progress=progress
    )


def parse_data(pairs: Sequence[str]) -> dict[str, Path]:
    """Turn ``NAME=PATH`` arguments into {name: folder}.

    Examples
    --------
    >>> parse_data(["mir1k=/data/mir1k"])
    {'mir1k': PosixPath('/data/mir1k')}
    """
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (equals and path and re.fullmatch(r"[a-z0-9][a-z0-9_]*", name)):
            raise HarnessError(
                f"--data {pair}: cannot be read; write NAME=PATH, the name in a-z, 0-9 and _"
            )
        if name in found:
            raise HarnessError(f"--data {pair}: {name} is given twice; give each folder a name")
        found[name] = Path(path).expanduser()
    return found


def parse_split(text: str) -> tuple[str, str]:
    """Take ``DATASET:SPLIT`` apart; either may be empty.

    Examples
    --------
    >>> parse_split("musdb18:test"), parse_split("")
    (('musdb18', 'test'), ('', ''))
    """
    found = re.fullmatch(r"([a-z0-9_]*)(?::([a-z]+))?", text)
    if not found:
        raise HarnessError(f"--data-split {text}: cannot be read; write DATASET:SPLIT")
    return found[1], found[2] or ""


def choose_device(name: str, *, learned: bool) -> str:
    """Return the device networks run on; ``auto`` takes the best there is.

    Parameters
    ----------
    learned
        Whether there is a network to run; without one nothing heavy is imported.

    Raises
    ------
    HarnessError
        If the device is unknown or not there.
    """
    if name not in DEVICES:
        raise HarnessError(f"--device {name}: no such device; {suggestion(name, DEVICES)}")
    if name == "cpu" or not learned:
        return "cpu"
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device, found in there.items() if found), "cpu")
    if not there[name]:
        raise HarnessError(f"--device {name}: is not there; use auto or cpu")
    return name


def cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs(device: str) -> int:
    """Return how many pieces of work to do at once on a device.

    On a GPU few, since each worker holds its networks there: while one computes, the others read
    and resample the next tracks and score the last ones.

    Examples
    --------
    >>> default_jobs("cuda") <= GPU_JOBS
    True
    """
    return cores() if device == "cpu" else min(cores(), GPU_JOBS)


def check_name(name: str) -> str:
    """Return the name of a run if it can be a folder."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name):
        raise HarnessError(f"run {name!r}: cannot be a folder; use letters, digits, _ and -")
    return name


def name_from(title: str) -> str:
    """Return a registry name made of a title.

    Examples
    --------
    >>> name_from("My Model v2")
    'my_model_v2'
    """
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "estimates"


def dataset_rows(data: Mapping[str, Path]) -> list[tuple[str, str, str]]:
    """Return (name, what it is, where it is or how to get it) of every dataset."""
    where = known.configured(data)
    names = [*known.DATASETS, *(name for name in where if name not in known.DATASETS)]
    return [(n, _info(n).title, str(where[n]) if n in where else _how(n)) for n in names]


def state_of(entry: Entry) -> str:
    """Say whether a separator can run, and of an ensemble what is known of it."""
    known = expected_score_text(entry) if entry.members else ""
    return "; ".join(filter(None, [obstacle(entry) or "ready", known]))


def as_dict(entries: Mapping[str, Entry], data: Mapping[str, Path]) -> dict[str, Any]:
    """Return what ``harness list`` shows, for a script."""
    where = known.configured(data)
    return {
        "separators": {name: entry.model_dump(mode="json") for name, entry in entries.items()},
        "datasets": {
            name: {"title": info.title, "license": info.license, "url": info.url}
            | {"folder": str(where[name]) if name in where else None}
            for name, info in known.DATASETS.items()
        },
    }


def check(entries: Mapping[str, Entry], data: Mapping[str, Path]) -> list[Finding]:
    """Look at every separator and dataset and at the programs some need."""
    return [
        *(_check_entry(entry) for entry in entries.values()),
        *(_check_dataset(name, data) for name in {**known.DATASETS, **data} if name != "folder"),
        _check_stem_mp4(),
    ]


def _check_entry(entry: Entry) -> Finding:
    """Say whether a separator can run."""
    about = [terms(entry)] if entry.weights else []
    if reason := obstacle(entry):
        return Finding(entry.name, "absent", "\n".join([reason, *about]))
    from harness.separators import load

    try:
        load(entry, stems=("vocals", "accompaniment"), sample_rate=44100)
    except HarnessError as error:
        return Finding(entry.name, "broken", "\n".join([str(error), *about]))
    gives = ", ".join(entry.stems) or "any stem"
    here = ["weights here and right"] if entry.weights else []
    return Finding(entry.name, "ready", "\n".join([gives, *here, *about]))


def _check_dataset(name: str, data: Mapping[str, Path]) -> Finding:
    """Say whether a dataset can be read, and what is wrong with it."""
    if name == "demo":
        return Finding(name, "ready", f"is rendered into {cache_folder()}")
    if name not in known.configured(data):
        return Finding(name, "absent", _how(name))
    try:
        found = known.load(name, known.find(name, data))
    except HarnessError as error:
        return Finding(name, "broken", str(error))
    lines = [f"{len(found.tracks)} tracks in {known.find(name, data)}", *found.problems]
    return Finding(name, "ready", "\n".join(lines))


def _check_stem_mp4() -> Finding:
    """Say whether .stem.mp4 files can be read."""
    import shutil

    if importlib.util.find_spec("stempeg") is None:
        return Finding("stem.mp4", "absent", "pip install 'harness[stem-mp4]' to read MUSDB18")
    if shutil.which("ffmpeg") is None:
        return Finding("stem.mp4", "absent", "install the ffmpeg program to read MUSDB18")
    return Finding("stem.mp4", "ready", "stempeg and ffmpeg are there")


def _info(name: str) -> known.DatasetInfo:
    """Return what is known of a dataset; a name of the user's own is a folder."""
    return known.DATASETS.get(name, known.DATASETS["folder"])


def _how(name: str) -> str:
    """Say how to get a dataset."""
    return _info(name).how_to
