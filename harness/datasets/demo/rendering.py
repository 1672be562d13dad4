"""The demo dataset: music rendered by this package, with the full two-level stem tree.

A track is a function of (seed, split, index, seconds). Its bytes are the same with the same library
versions and type of processor. On disk::

    <root>/demo.json                         version, seed, seconds
    <root>/<split>/<artist - title>/track.json   artist, genre, bleed
    <root>/<split>/<artist - title>/<leaf>.wav   16-bit; the sums of leaves are exact
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from filelock import FileLock
from threadpoolctl import threadpool_limits

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.files import storing, write_atomic
from harness.core.machine import Progress, watched
from harness.datasets.demo.mix import LEAVES, perform
from harness.datasets.demo.song_catalog import SPLITS, entry
from harness.datasets.demo.synth import RATE
from harness.datasets.tracks import Dataset, Omission, Source, Track

VERSION = "1"  # raise it whenever the rendered audio changes
MIN_SECONDS = 5.0
_SUMS = ("vocals", "lead", "drums", "hihat_cymbals", "other", "other_rest", "accompaniment")
NODES: dict[str, tuple[str, ...]] = {  # the leaves that sum to each node
    node: tuple(leaf for leaf in LEAVES if node in (leaf, *taxonomy.ancestors(leaf)))
    for node in (*_SUMS, *LEAVES)
}


@dataclass(frozen=True)
class RenderedTrack:
    """A track in memory."""

    split: str
    name: str
    artist: str
    genre: str
    stems: Mapping[str, Audio]  # every leaf, shape (2, samples), on the 16-bit grid
    bleed: frozenset[str]
    sample_rate: int = RATE


def render_track(split: str, index: int, *, seconds: float = 30.0, seed: int = 0) -> RenderedTrack:
    """Compose and render one track of at least 5 s.

    The splits are ``train`` and ``test``; no artist is in both. The index counts from 0, without
    limit.
    """
    if seconds < MIN_SECONDS:
        raise HarnessError(f"demo: {seconds} s is too short; use {MIN_SECONDS} s or more")
    facts = entry(split, index)
    artist = np.random.default_rng([seed, facts.number, 1])
    track = np.random.default_rng([seed, SPLITS.index(split), index, 2])
    with threadpool_limits(limits=1):
        stems, bleed = perform(facts, round(seconds * RATE), artist, track)
    return RenderedTrack(split, facts.name, facts.artist, facts.genre.name, stems, bleed)


def demo(root: Path) -> Dataset:
    """Find the tracks of a rendered folder; those without all files are left out and noted.

    A folder without a demo dataset, or with one of another version, is refused.
    """
    about = _read_json(root / "demo.json")
    if about.get("version") != VERSION:
        raise HarnessError(
            f"{root}: contains demo version {about.get('version')!r}, this is version {VERSION!r}; "
            "delete the folder and render it again"
        )
    folders = [
        (folder, split)
        for split in SPLITS
        for folder in sorted((root / split).glob("*"))
        if (folder / "track.json").is_file() and not folder.name.startswith(".")
    ]
    problems = {
        folder: f"{folder}: has no {leaf}.wav, left out; delete the folder and render again"
        for folder, _ in folders
        for leaf in LEAVES
        if not (folder / f"{leaf}.wav").is_file()
    }
    tracks = [_track(folder, split) for folder, split in folders if folder not in problems]
    return Dataset(
        name="demo",
        version=f"{VERSION}-seed{about.get('seed')}-{about.get('seconds')}s",
        sample_rate=RATE,
        stems=tuple(taxonomy.in_order(NODES)),
        tracks=tuple(sorted(tracks, key=lambda t: (t.split, t.name))),
        problems=tuple(problems.values()),
        omitted=tuple(
            Omission("a file is absent, delete the folder and render again", f.name, "demo", s)
            for f, s in folders
            if f in problems
        ),
    )


def render(
    root: Path,
    *,
    train: int,
    test: int,
    seconds: float,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Dataset:
    """Render the tracks that are missing, then return the `train` + `test` requested ones.

    A track's folder appears when it is complete, so the next call continues a killed one. Other
    tracks in the folder are kept, but not returned. A folder with another version, seed or length,
    or with anything but demo music, is refused. The audio does not depend on the number of
    processes, `jobs`.
    """
    wanted = [("test", i) for i in range(test)] + [("train", i) for i in range(train)]
    advice = "give another folder with --data demo=FOLDER, or set HARNESS_CACHE to one"
    with storing(root, advice):
        _check_ours(root)
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".lock"):  # a second process waits, and finds all tracks done
            _claim(root, {"version": VERSION, "seed": seed, "seconds": float(seconds)})
            for leftover in root.glob("*/.*.part"):
                shutil.rmtree(leftover, ignore_errors=True)
            missing = [w for w in wanted if not (_folder(root, *w) / "track.json").is_file()]
            job = partial(joblib.delayed(watched), _write_track, os.getpid())
            work = (job(root, *w, seconds, seed) for w in missing)
            done = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(work)
            for count, _ in enumerate(done, start=len(wanted) - len(missing) + 1):
                if progress is not None:
                    progress(count, len(wanted))
    whole = demo(root)
    names = {(split, entry(split, index).name) for split, index in wanted}
    return replace(whole, tracks=tuple(t for t in whole.tracks if (t.split, t.name) in names))


def planned(root: Path, *, train: int, test: int, seconds: float) -> Dataset:
    """Return what `render` would, without rendering: files of missing tracks do not exist.

    Where parts of the drums or vocals of these will bleed, one stem is named for all.
    """
    bleed = {"drum bleed": ["kick"], "vocal bleed": ["lead"]}
    _check_ours(root)
    wanted = [("test", i) for i in range(test)] + [("train", i) for i in range(train)]
    found = []
    for split, index in wanted:
        facts, folder = entry(split, index), _folder(root, split, index)
        about = {
            "artist": facts.artist,
            "genre": facts.genre.name,
            "bleed": bleed.get(facts.case, ()),
        }
        there = (folder / "track.json").is_file()
        found.append(_track(folder, split, None if there else about))
    version = f"{VERSION}-seed0-{float(seconds)}s"
    stems = tuple(taxonomy.in_order(NODES))
    return Dataset("demo", version, RATE, stems, tuple(sorted(found, key=lambda t: t.name)))


def _folder(root: Path, split: str, index: int) -> Path:
    return root / split / entry(split, index).name


def _write_track(root: Path, split: str, index: int, seconds: float, seed: int) -> None:
    """Render a track into a hidden folder, then rename it."""
    track = render_track(split, index, seconds=seconds, seed=seed)
    folder = _folder(root, split, index)
    part = folder.with_name(f".{index}.part")
    for leaf, stem in track.stems.items():
        audio.write(part / f"{leaf}.wav", stem, RATE, subtype="PCM_16")
    about = {"artist": track.artist, "genre": track.genre, "bleed": sorted(track.bleed)}
    (part / "track.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def _check_ours(root: Path) -> None:
    """Refuse a folder that holds anything but demo music."""
    if (root / "demo.json").is_file() or not root.exists():
        return
    if any(not path.name.startswith(".") for path in root.iterdir()):
        raise HarnessError(
            f"{root}: is not a folder of demo music, which would be rendered into it; "
            "choose another name than demo for your own songs, or an empty folder"
        )


def _claim(root: Path, about: dict[str, Any]) -> None:
    """Write what the folder contains, or check that it is the same."""
    path = root / "demo.json"
    if not path.is_file():
        write_atomic(path, json.dumps(about, indent=1).encode())
    elif (have := _read_json(path)) != about:
        raise HarnessError(
            f"{root}: contains a demo dataset rendered with {have}, not {about}; "
            "choose another folder or delete this one"
        )


def _track(folder: Path, split: str, about: Mapping[str, Any] | None = None) -> Track:
    """Describe one rendered folder; `about` is what its track.json says or will say."""
    about = _read_json(folder / "track.json") if about is None else about
    sources = {leaf: Source(folder / f"{leaf}.wav") for leaf in LEAVES}
    return Track(
        dataset="demo",
        name=folder.name,
        artist=str(about.get("artist", "")),
        split=split,
        mixture=tuple(sources.values()),
        stems={node: tuple(sources[leaf] for leaf in NODES[node]) for node in NODES},
        genre=str(about.get("genre", "unknown")),
        bleed=frozenset(map(str, about.get("bleed", ()))),
    )


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise HarnessError(f"{path}: no such file; render the demo dataset first") from error
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: cannot be read as JSON; delete the folder") from error
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: is not a JSON object; delete the folder")
    return found
