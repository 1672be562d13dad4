"""``harness parity``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from harness import registry
from harness.benchmark import side_by_side
from harness.benchmark.side_by_side import ComparedSong
from harness.cli import options
from harness.cli.arguments import parse_data
from harness.cli.options import DIFFERENT, argument, option
from harness.cli.terminal import print_json, print_table, progress, say, show
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.machine import choose_device, cores
from harness.core.text import decimals, encode
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.tracks import Excerpt
from harness.metrics import Difference
from harness.registry import Entry
from harness.separators import is_learned, own_code


def parity(
    a: str = argument("A", ..., "Separator of the registry, or folder of estimates."),
    b: str = argument("B", ..., "Separator or folder that should be the same."),
    songs: list[Path] = argument(
        "SONG", [], "Audio files, or folders of audio files. Without them, see --data.", False
    ),
    within: float = option(
        "--within DB",
        -60.0,
        "Level, relative to the stem, up to which a difference is accepted.",
        max=0.0,
    ),
    stems: str = option("--stems STEM,…", "", "Stems to compare, such as vocals,drums.", "all"),
    data: list[str] = options.DATA,
    dataset: list[str] = options.DATASET,
    split: str = options.SPLIT,
    tracks: int = option("--tracks N", 1, "Use only the first N tracks of each dataset.", min=1),
    seconds: float | None = option(
        "--seconds N", None, "Use only the middle N seconds of each song.", "whole songs", min=1.0
    ),
    device: str = options.DEVICE,
    registry_file: Path | None = options.REGISTRY,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """Check that separator B is the same as A: a port, another version, other chunks, 16 bits.

    The exit status is 0 if they are the same, 1 if they differ, and 2 after an error. Two folders
    can be compared without songs.
    """
    entries = registry.load(registry_file)
    sides = [side_by_side.side_of(name, entries) for name in (a, b)]
    separators = [side for side in sides if isinstance(side, Entry)]
    where = choose_device(device, learned=any(is_learned(entry) for entry in separators))
    wanted = [taxonomy.canonical(stem) for stem in stems.split(",") if stem.strip()]
    excerpt = Excerpt(seconds)
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        found: list[side_by_side.Song] = []
        if songs:
            found = side_by_side.songs_at(songs, excerpt, Path(scratch))
        elif separators or data or dataset:
            choice = DatasetChoice(parse_data(data), dataset, split, tracks)
            with progress("rendering the demo tracks", as_json) as advance:
                found = side_by_side.songs_of(choose_datasets(choice, cores(), advance), excerpt)
        for line in own_code(separators):
            say(line)
        with progress("separating and comparing", as_json) as advance:
            compare = side_by_side.compare_sides
            one, two = sides
            results = [
                *compare(one, two, found, stems=wanted, device=where, progress=advance),
            ]
    if not results:
        raise HarnessError(f"--stems {stems}: no file has this name; choose another stem")
    same = all(
        not result.missing and all(d.within(within) for d in result.stems.values())
        for result in results
    )
    if as_json:
        print_json(_for_json(a, b, within, same, results))
    else:
        _print(a, b, within, same, results)
    if not same:
        raise typer.Exit(DIFFERENT)


def _print(a: str, b: str, within: float, same: bool, results: Sequence[ComparedSong]) -> None:
    """Print one row per song and stem, and the verdict."""
    rows = []
    for result in results:
        for stem, found in result.stems.items():
            verdict = "same" if found.within(within) else "differs"
            levels = decimals(found.largest, 1), decimals(found.median, 1)
            rows.append((result.song, stem, *levels, _place(found), _reasons(found), verdict))
        for stem, side in result.missing.items():
            rows.append((result.song, stem, "–", "–", "", f"{side} lacks it", "differs"))
    title = f"{b} minus {a}: level in dB, relative to the stem of {a}"
    head = "song", "stem", "largest", "median", "largest at", "what differs", "verdict"
    print_table(title, head, rows)
    limit = decimals(within, 1)
    if same:
        show(f"{b} is the same as {a}: no difference is above {limit} dB")
    else:
        show(f"{b} differs from {a}: by more than {limit} dB, or in its stems")


def _place(found: Difference) -> str:
    """Return when, and at which frequencies, the difference is largest."""
    if found.where == "nowhere":
        return ""
    low, high = (f"{edge:g} Hz" if edge < 1000 else f"{edge / 1000:g} kHz" for edge in found.band)
    return f"{found.second:.2f} s, {low} to {high}"


def _reasons(found: Difference) -> str:
    """Return where the difference is, and what explains it."""
    texts = [found.where, *found.causes]
    if found.corrected is not None:
        texts.append(f"{decimals(found.corrected, 1)} dB without that")
    return "; ".join(texts)


def _for_json(
    a: str, b: str, within: float, same: bool, results: Sequence[ComparedSong]
) -> dict[str, Any]:
    songs = [
        {
            "song": result.song,
            "stems": {
                stem: {
                    "same": found.within(within),
                    "largest_db": encode(found.largest),
                    "median_db": encode(found.median),
                    "second": round(found.second, 2),
                    "band_hz": list(found.band),
                    "where": found.where,
                    "causes": list(found.causes),
                    "corrected_db": encode(found.corrected),
                }
                for stem, found in result.stems.items()
            },
            "missing": dict(result.missing),
        }
        for result in results
    ]
    return {"a": a, "b": b, "within_db": within, "same": same, "songs": songs}
