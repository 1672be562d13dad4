"""Separating a user's own music block by block, into one file per stem.

Songs are read, separated and written in blocks, so that memory does not grow with their length. A
song of up to `LONGEST` seconds is one block. Longer songs are cut into equal blocks that fade into
each other over `FADE` seconds. A separator that analyzes its whole input (REPET's repetitions, a
network's normalization) then analyzes one block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import ceil
from pathlib import Path
from typing import cast

import numpy as np

from harness import registry
from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.decoding import comment
from harness.core.errors import HarnessError, StorageError
from harness.core.machine import Progress
from harness.separators import Separator, load, progress
from harness.separators.protocol import made_of, run
from harness.songs.choosing import MARK, Choice, choose
from harness.songs.finding import RESIDUAL, decoded, find_songs, left_out, seconds_of
from harness.songs.stem_files import Target, check_writable, target_of, written

LONGEST = 360.0  # seconds of a block of stereo at 48 kHz; shorter with more channels or samples
FADE = 10.0  # seconds
REFERENCE = 2 * 48000  # values per second up to which a block has that length


@dataclass
class SeparatedSong:
    """The result for one song, or for a folder in which stems are left out."""

    song: Path  # that was read
    files: dict[str, Path]  # {stem: file}, written now or found there
    #: or ``there`` (all files existed, nothing was done), ``failed``, ``left out`` (see `left_out`)
    state: str = "done"
    notes: list[str] = field(default_factory=list)  # why it failed, or deviations from the request


@dataclass(frozen=True)
class _Job:
    """What is the same for all songs."""

    choice: Choice
    target: Target
    loaded: Callable[[int], Separator]  # separator for a sample rate

    def mark(self, stem: str) -> str:
        """Return the comment in the file of a stem, see `Choice.mark`."""
        return self.choice.mark(self.choice.stems if stem == RESIDUAL else [stem])


def separate_audio(
    song: Audio,
    sample_rate: int,
    using: str = "",
    *,
    stems: Sequence[str] = (),
    device: str = "cpu",
) -> dict[str, Audio]:
    """Separate one signal in memory.

    Parameters
    ----------
    song
        Shape (channels, samples), full scale ±1; it is left unchanged.
    using
        Separator or ensemble of the registry. By default the best one that can run here, see
        `harness.songs.choosing.choose`.
    stems
        Stems to return; by default all that it makes.
    device
        ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Returns
    -------
    dict
        {stem: estimate}, each of the shape and sample rate of `song`.
    """
    audio.check(song, "separate")
    choice = choose(registry.load(), using, stems)
    separator = load(choice.entry, sample_rate=sample_rate, device=device)
    estimates, _ = run(separator, choice.entry, song, sample_rate)
    return {stem: made_of(estimates, stem) for stem in choice.stems}


def separate(
    songs: Sequence[Path | str],
    out: Path | str,
    choice: Choice | None = None,
    *,
    kind: str = "wav",
    bits: str = "",
    residual: bool = False,
    force: bool = False,
    separator_folder: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[SeparatedSong]:
    """Separate songs into files ``<out>/<song>/<stem>.wav``.

    With `separator_folder` they are ``<out>/<separator>/<song>/<stem>.wav``. A song whose files
    are all there is left alone if the same separators made them; if others did, it fails.

    Each stem has the sample rate, channels and length of its song and is never rescaled. The files
    of a song appear together when all are complete. A song that cannot be separated or written
    does not stop the others. An error is raised before any work if a song is absent or the folder
    cannot be written, and later only if nothing more can be written.

    `songs` are files, or folders to search for audio. By default `choose` chooses from the default
    registry. For `kind`, `bits`, `residual` and `force` see `target_of`. With 24 bits, values
    beyond full scale are limited, and a note says so. `progress` is called with (seconds of music
    done, seconds in all).
    """
    target = target_of(Path(out), kind, bits, residual=residual, force=force)
    chosen = choice or choose(registry.load())
    paths = [Path(song) for song in songs]
    names = find_songs(paths, target.folder)
    folder = target.folder / chosen.entry.name if separator_folder else target.folder
    check_writable(target.folder)
    seconds = {song: _seconds(song) for song in names}
    total, before = ceil(sum(seconds.values())), 0.0

    @lru_cache(maxsize=2)  # sample rates
    def loaded(rate: int) -> Separator:
        return cast(Separator, load(chosen.entry, stems=(), sample_rate=rate, device=device))

    def report(start: float, length: float, share: float) -> None:
        if progress:
            progress(int(start + share * length), total)

    notes = left_out(paths, target.folder)
    results = [SeparatedSong(path, {}, "left out", [note]) for path, note in notes.items()]
    job = _Job(chosen, target, loaded)
    for song, name in names.items():
        tell = partial(report, before, seconds[song])
        results.append(_one(song, folder / name, job, tell))
        before += seconds[song]
    report(0, total, 1)
    return results


def _seconds(song: Path) -> float:
    """Return the length of a song for the progress; 0 if anything is wrong with it."""
    with suppress(Exception):  # which `_one` reports
        return seconds_of(song)
    return 0.0


def _one(song: Path, folder: Path, job: _Job, tell: Callable[[float], None]) -> SeparatedSong:
    """Separate one song; every error but a full disk becomes a note."""
    target, stems = job.target, [*job.choice.stems]
    stems += [RESIDUAL] if target.residual else []
    result = SeparatedSong(song, {stem: folder / f"{stem}.{target.kind}" for stem in stems})
    tell(0)
    try:
        there = [path for path in result.files.values() if path.exists()]
        if there and not target.force:
            makers = _other_makers(result.files, job)
            result.state = "there" if len(there) == len(stems) and not makers else "failed"
            found = f"{len(there)} of {len(stems)} files exist in {folder}{makers}"
            keeps = "; another -o, or --separator-folder, keeps both" if makers else ""
            result.notes = [f"{found}; nothing was changed, --force replaces them{keeps}"]
            return result
        with decoded(song, target.folder) as readable:
            result.notes = _blocks(readable, result.files, job, tell)
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # third-party code may call sys.exit
        text = " ".join(str(error).split())
        known = isinstance(error, HarnessError)
        result.state = "failed"
        result.notes = [text if known else f"{song}: {type(error).__name__}: {text}"]
    return result


def _other_makers(files: Mapping[str, Path], job: _Job) -> str:
    """Say what made the files that are there, if not what would make them now."""
    there = {stem: comment(path) for stem, path in files.items() if path.exists()}
    others = {stem: made for stem, made in there.items() if made != job.mark(stem)}
    if not others:
        return ""
    which = f"{', '.join(others)} " if len(others) < len(there) else ""
    theirs, mine = (
        ", ".join(dict.fromkeys(map(_maker, marks)))
        for marks in (others.values(), map(job.mark, others))
    )
    if theirs == mine:
        return f", {which}made by another version of {mine}"
    return f", {which}made by {theirs}, not by {mine}"


def _maker(mark: str) -> str:
    """Return the separators that a `Choice.mark` names."""
    found = MARK.fullmatch(mark)
    return found["makers"] if found else "an unknown program"


def _blocks(
    song: Path, files: Mapping[str, Path], job: _Job, tell: Callable[[float], None]
) -> list[str]:
    """Read, separate and write a song block by block, and return notes."""
    channels, total, rate = audio.form(song)
    size, fade = plan_blocks(total, rate, channels)
    notes: dict[str, None] = {}
    if size < total:
        notes[f"long: separated in blocks of {size / rate:.0f} s that fade into each other"] = None
    tails: dict[str, Audio] = {}
    done = 0

    def tell_block(first: int, last: int, share: float) -> None:
        tell((first + share * (last - first)) / total)

    comments = {stem: job.mark(stem) for stem in files}
    with written(files, total, rate, channels, job.target, comments) as write:
        for block in audio.blocks(song, size, fade):
            before, done = done, done + block.shape[1] - (fade if done else 0)
            with progress.told(partial(tell_block, before, done)):
                estimates, messages = run(job.loaded(rate), job.choice.entry, block, rate)
            notes |= dict.fromkeys(messages)
            for stem in files:
                if stem == RESIDUAL:
                    estimate = _residual(block, estimates, job.choice.stems)
                else:
                    estimate = made_of(estimates, stem)
                ready, tails[stem] = _joined(tails.get(stem), estimate, fade, last=done == total)
                if limited := write(stem, ready):
                    notes[f"{stem}: {limited} values exceed full scale and are limited"] = None
            tell(done / total)
    return list(notes)


def plan_blocks(samples: int, rate: int, channels: int) -> tuple[int, int]:
    """Return the length of a song's blocks and their overlap, in samples.

    Examples
    --------
    >>> plan_blocks(360 * 44100, 44100, 2) == (360 * 44100, 0)
    True
    >>> plan_blocks(600 * 44100, 44100, 2) == (305 * 44100, 10 * 44100)
    True
    """
    longest = int(LONGEST * rate * min(1.0, REFERENCE / (rate * channels)))
    if samples <= longest:
        return samples, 0
    fade = min(int(FADE * rate), longest // 4)
    count = ceil((samples - fade) / (longest - fade))
    return ceil((samples + (count - 1) * fade) / count), fade


def _joined(tail: Audio | None, block: Audio, fade: int, *, last: bool) -> tuple[Audio, Audio]:
    """Fade the end of the last block into this one; return what is ready, and the end kept back."""
    if tail is not None and fade:
        rise = np.arange(1, fade + 1, dtype=np.float32) / np.float32(fade + 1)
        head = block[:, :fade] * rise + tail * (1 - rise)
        block = np.concatenate([head, block[:, fade:]], axis=1)
    if last or not fade:
        return block, block[:, :0]
    return block[:, :-fade], block[:, -fade:].copy()


def _residual(block: Audio, estimates: Mapping[str, Audio], stems: Sequence[str]) -> Audio:
    """Return a signal minus its stems; a stem that is part of another one counts once."""
    residual = block.copy()
    for stem in stems:
        if not set(taxonomy.ancestors(stem)) & set(stems):
            residual -= made_of(estimates, stem)
    return residual
