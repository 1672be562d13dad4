"""A user's own music: taken apart block by block, and the files that come out.

Songs are read, separated and written in blocks, so that the memory needed does not grow with their
length. A song of up to `LONGEST` seconds is one block. Longer ones are cut into equal blocks that
fade into each other over `FADE` seconds; a separator that looks at the whole of what it is given
(REPET's repetitions, a network's normalisation) then looks at a block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import ceil
from pathlib import Path
from typing import cast

import numpy as np
import soundfile

from harness import audio, registry, taxonomy
from harness.audio import Audio
from harness.choice import Choice, choose
from harness.errors import HarnessError, StorageError
from harness.separators import Separator, load, progress
from harness.separators.protocol import made_of, run
from harness.songs import decoded, find_songs, seconds_of
from harness.stem_files import BITS, Target, check_writable, written

LONGEST = 360.0  # seconds of a block, of two channels at 48 kHz; less of more
FADE = 10.0  # seconds
REFERENCE = 2 * 48000  # values a second up to which a block is that long
RESIDUAL = "residual"  # what the stems leave of the song

Progress = Callable[[int, int], None]


@dataclass
class Outcome:
    """What became of one song.

    Attributes
    ----------
    song
        The file that was read.
    files
        {stem: file}, of those written now or found there.
    state
        ``done``, ``there`` (all files were there, nothing was done) or ``failed``.
    notes
        Why it failed, and what was done otherwise than asked for.
    """

    song: Path
    files: dict[str, Path]
    state: str = "done"
    notes: list[str] = field(default_factory=list)


def separate(
    songs: Sequence[Path | str],
    out: Path | str,
    choice: Choice | None = None,
    *,
    kind: str = "wav",
    bits: str = "",
    residual: bool = False,
    force: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> list[Outcome]:
    """Take songs apart into files ``<out>/<song>/<stem>.wav``.

    Every stem has the sample rate, channels and length of its song and is never rescaled. A file
    appears under its name when all of its song are complete.

    Parameters
    ----------
    songs
        Files, or folders to look for audio in.
    choice
        From `choose`; that of the default registry if not given.
    kind, bits, residual, force
        See `Target`; without `bits` those of `BITS`. In 24 bits what exceeds full scale is limited,
        and noted.
    device
        Where networks run.
    progress
        Called with the seconds of music done, and of all songs.

    Returns
    -------
    list of Outcome
        One a song; a song that cannot be separated does not stop the others.

    Raises
    ------
    HarnessError
        Before any work, if a song is not there or the folder cannot be written; also if the disk is
        full.
    """
    target = Target(Path(out), kind, bits or BITS.get(kind, ""), residual, force)
    chosen = choice or choose(registry.load())
    names = find_songs([Path(song) for song in songs], target.folder)
    check_writable(target.folder)
    seconds = {song: seconds_of(song) for song in names}
    total, before = ceil(sum(seconds.values())), 0.0

    @lru_cache(maxsize=2)  # sample rates
    def loaded(rate: int) -> Separator:
        return cast(Separator, load(chosen.entry, stems=(), sample_rate=rate, device=device))

    outcomes = []
    for song, name in names.items():
        tell = partial(_tell, progress, before, seconds[song], total)
        outcomes.append(_one(song, target.folder / name, chosen, target, loaded, tell))
        before += seconds[song]
    _tell(progress, 0, total, total, 1)
    return outcomes


def _tell(
    progress: Progress | None, before: float, seconds: float, total: int, share: float
) -> None:
    """Report how much of all songs is done when so much of one is."""
    if progress:
        progress(int(before + share * seconds), total)


def _one(
    song: Path,
    folder: Path,
    choice: Choice,
    target: Target,
    loaded: Callable[[int], Separator],
    tell: Callable[[float], None],
) -> Outcome:
    """Separate one song; what goes wrong is an outcome too, but for a disk that is full."""
    stems = [*choice.stems, RESIDUAL] if target.residual else [*choice.stems]
    outcome = Outcome(song, {stem: folder / f"{stem}.{target.kind}" for stem in stems})
    there = [path for path in outcome.files.values() if path.exists()]
    if there and not target.force:
        outcome.state = "there" if len(there) == len(stems) else "failed"
        left = f"{len(there)} of {len(stems)} files are in {folder}"
        outcome.notes = [f"{left}; left alone, --force replaces them"]
        return outcome
    tell(0)
    try:
        with decoded(song, target.folder) as readable:
            outcome.notes = _blocks(readable, outcome.files, choice, target, loaded, tell)
    except StorageError:
        raise
    except (Exception, SystemExit) as error:  # third-party code may call sys.exit
        text = " ".join(str(error).split())
        outcome.state = "failed"
        known = isinstance(error, HarnessError)
        outcome.notes = [text if known else f"{song}: {type(error).__name__}: {text}"]
    return outcome


def _blocks(
    song: Path,
    files: Mapping[str, Path],
    choice: Choice,
    target: Target,
    loaded: Callable[[int], Separator],
    tell: Callable[[float], None],
) -> list[str]:
    """Read, separate and write a song block by block, and return notes."""
    total, rate = audio.length(song)
    size, fade = plan_blocks(total, rate, soundfile.info(song).channels)
    notes: dict[str, None] = {}
    if size < total:
        notes[f"long: separated in blocks of {size / rate:.0f} s that fade into each other"] = None
    tails: dict[str, Audio] = {}
    done = 0
    with written(files, total, rate, soundfile.info(song).channels, target) as write:
        for block in audio.blocks(song, size, fade):
            before, done = done, done + block.shape[1] - (fade if done else 0)
            with progress.told(partial(_tell_within, tell, before / total, done / total)):
                estimates, said = run(loaded(rate), choice.entry, block, rate)
            notes |= dict.fromkeys(said)
            for stem in files:
                estimate = (
                    _left(block, estimates, choice.stems)
                    if stem == RESIDUAL
                    else made_of(estimates, stem)
                )
                ready, tails[stem] = _joined(tails.get(stem), estimate, fade, last=done == total)
                if limited := write(stem, ready):
                    notes[f"{stem}: {limited} values exceed full scale and are limited"] = None
            tell(done / total)
    return list(notes)


def _tell_within(tell: Callable[[float], None], first: float, last: float, share: float) -> None:
    """Report how much of a song is done when so much of one block is."""
    tell(first + share * (last - first))


def plan_blocks(samples: int, rate: int, channels: int) -> tuple[int, int]:
    """Return the length of a song's blocks and how much each repeats, in samples.

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
    """Fade the end of the block before into this one, and keep the end of this one back."""
    if tail is not None and fade:
        rise = np.arange(1, fade + 1, dtype=np.float32) / np.float32(fade + 1)
        head = block[:, :fade] * rise + tail * (1 - rise)
        block = np.concatenate([head, block[:, fade:]], axis=1)
    if last or not fade:
        return block, block[:, :0]
    return block[:, :-fade], block[:, -fade:].copy()


def _left(block: Audio, estimates: Mapping[str, Audio], stems: Sequence[str]) -> Audio:
    """Return what stems leave of a signal; those that lie in another of them count once."""
    left = block.copy()
    for stem in stems:
        if not set(taxonomy.ancestors(stem)) & set(stems):
            left -= made_of(estimates, stem)
    return left
