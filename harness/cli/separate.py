"""``harness separate``."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import typer

from harness import registry
from harness.cli import options
from harness.cli.fetch import fetch_files, show_terms
from harness.cli.options import SOME_FAILED, argument, flag, option
from harness.cli.terminal import agree, print_json, progress, say, show
from harness.core.machine import choose_device, work_place
from harness.core.text import count, duration
from harness.registry import weight_files
from harness.separators import is_learned, lacking_package, own_code
from harness.songs import choosing, separating
from harness.songs.finding import find_songs
from harness.songs.stem_files import target_of


def separate(
    songs: list[Path] = argument("SONG", ..., "Audio files, or folders of audio files."),
    using: str = option(
        "--with NAME", "", "Separator or ensemble to use.", "the best one that can run here"
    ),
    out: Path = typer.Option(
        "separated", "--out", "-o", metavar="FOLDER", help="Output folder; one subfolder per song."
    ),
    stems: str = option(
        "--stems STEM,…",
        "",
        "Stems to write, such as vocals,drums or kick,snare.",
        "all of the separator",
    ),
    residual: bool = flag("--residual", "Also write the residual: the mixture minus all stems."),
    file_format: str = option("--format FORMAT", "wav", "File format: wav or flac."),
    bits: str = option(
        "--bits BITS", "", "Bit depth: 32f (only wav) or 24.", "32f for wav, 24 for flac"
    ),
    device: str = options.DEVICE,
    force: bool = flag("--force", "Replace existing files."),
    separator_folder: bool = flag(
        "--separator-folder",
        "Add a folder with the separator's name: separated/SEPARATOR/SONG/vocals.wav.",
    ),
    registry_file: Path | None = options.REGISTRY,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """Separate songs into stems, such as separated/SONG/vocals.wav.

    Stems keep the sample rate, channels, length and loudness of the song.
    """
    find_songs(songs, out)  # what was typed is checked before anything is chosen
    target_of(out, file_format, bits, residual=residual, force=force)
    wanted = [stem for stem in stems.split(",") if stem.strip()]
    entries = registry.load(registry_file)
    if not (offline or as_json):
        _offer(entries, using)
    chosen = choosing.choose(entries, using, wanted)
    if chosen.better and not (offline or as_json) and _fetched(chosen.better):
        chosen = choosing.choose(entries, using, wanted)
    learned = is_learned(chosen.entry)
    where = choose_device(device, learned=learned)
    for line in own_code([chosen.entry]):
        say(line)
    if not as_json:
        used = f"device: {work_place(where, learned=learned)}"
        for line in filter(None, [chosen.words, chosen.caveat, used]):
            say(line)
    started = time.monotonic()
    with progress("separating, seconds of music", as_json) as advance:
        outcomes = separating.separate(
            songs,
            out,
            chosen,
            kind=file_format,
            bits=bits,
            residual=residual,
            force=force,
            separator_folder=separator_folder,
            device=where,
            progress=advance,
        )
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    for outcome in [] if as_json else outcomes:
        style = "yellow" if outcome.state in ("failed", "left out") else None
        for note in outcome.notes:
            line = note if str(outcome.song) in note else f"{outcome.song}: {note}"
            say(line, style=style)
        if outcome.files and outcome.state != "failed":
            show(next(iter(outcome.files.values())).parent)
    if len(outcomes) > 1 and not as_json:
        say(_summary(outcomes, time.monotonic() - started))
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


def _summary(outcomes: Sequence[separating.SeparatedSong], seconds: float) -> str:
    """Return how many songs of a batch were separated, in which time, and what of the others.

    Examples
    --------
    >>> songs = [separating.SeparatedSong(Path("a.wav"), {}, state) for state in ("done", "failed")]
    >>> _summary(songs, 185)
    'separated 1 of 2 songs in 3 min 5 s, 1 failed'
    """
    states = [outcome.state for outcome in outcomes if outcome.state != "left out"]
    others = {"failed": "failed", "there": "found finished"}
    found = [f", {n} {what}" for state, what in others.items() if (n := states.count(state))]
    songs = f"{states.count('done')} of {count(len(states), 'song')}"
    return f"separated {songs} in {duration(seconds)}{''.join(found)}"


def _offer(entries: Mapping[str, registry.Entry], name: str) -> None:
    """Offer the weights of the separator that was named, if a download is all that it lacks."""
    entry = entries.get(name)
    if (
        entry
        and not entry.unavailable
        and not lacking_package(entry)
        and all(file.urls for file in weight_files.to_fetch([entry]))
    ):
        _fetched(entry)


def _fetched(entry: registry.Entry) -> bool:
    """Offer missing weights where somebody can answer; return whether they were downloaded."""
    wanted = weight_files.to_fetch([entry])
    if not wanted or not sys.stdin.isatty():
        return False
    show_terms([entry])
    question = f"download {entry.name}, {weight_files.size_of(wanted)}?"
    return agree(question, default=True) and not fetch_files(wanted)
