"""A user's own music: taken apart block by block, and the files that come out.

Songs are read, separated and written in blocks, so that the memory needed does not grow with their
length. A song of up to `LONGEST` seconds is one block. Longer ones are cut into equal blocks that
fade into each other over `FADE` seconds; a separator that looks at the whole of what it is given
(REPET's repetitions, a network's normalisation) then looks at a block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
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
from harness.separators.files import safe_name
from harness.separators.running import made_of, run

LONGEST = 360.0  # seconds of a block, of two channels at 48 kHz; less of more
FADE = 10.0  # seconds
REFERENCE = 2 * 48000  # values a second up to which a block is that long
RESIDUAL = "residual"  # what the stems leave of the song
READ = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff")
DECODED = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka")  # by ffmpeg, and what libsndfile lacks
CONTAINERS = "mov,mp4,m4a,aac,asf,matroska,webm,ogg,mp3,wav,flac,aiff"  # no playlists
SUBTYPES = {("wav", "32f"): "FLOAT", ("wav", "24"): "PCM_24", ("flac", "24"): "PCM_24"}
BITS = {"wav": "32f", "flac": "24"}  # where nobody says
HEADER_BYTES = 4096  # of a WAV file, at most
TOP = 1 - 2.0**-23  # of 24 bits

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Target:
    """Where and how files are written.

    Attributes
    ----------
    folder
        Gets a folder a song.
    kind, bits
        ``wav`` with ``32f`` or ``24``, or ``flac`` with ``24``.
    residual
        Also write what the stems leave of the song.
    force
        Replace files that are there.
    """

    folder: Path
    kind: str = "wav"
    bits: str = "32f"
    residual: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if (self.kind, self.bits) not in SUBTYPES:
            known = ", ".join(f"{kind} with {bits}" for kind, bits in SUBTYPES)
            raise HarnessError(f"--format {self.kind} --bits {self.bits}: not known; use {known}")


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
    bits: str = "32f",
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
        See `Target`; in 24 bits what exceeds full scale is limited, and noted.
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
    target = Target(Path(out), kind, bits, residual, force)
    chosen = choice or choose(registry.load())
    names = find_songs([Path(song) for song in songs], target.folder)
    _check_writable(target.folder)
    seconds = {song: _seconds(song) for song in names}
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


def find_songs(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return the audio files, and what the folder of each is called in the target.

    Raises
    ------
    HarnessError
        If a path is not there, a folder holds no audio, or two songs would share a folder.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            inside = [p for p in sorted(path.rglob("*")) if _is_song(p, out)]
            if not inside:
                raise HarnessError(f"{path}: holds no audio file; name a folder that does")
            found |= {song: song.relative_to(path) for song in inside}
        elif path.exists():
            found[path] = Path(path.name)
        else:
            raise HarnessError(f"{path}: no such file or folder; check the path")
    short = {song: _named(where.with_suffix("")) for song, where in found.items()}
    taken = list(short.values())
    names = {
        song: _named(where) if taken.count(short[song]) > 1 else short[song]
        for song, where in found.items()
    }
    for song, name in names.items():
        if list(names.values()).count(name) > 1:
            raise HarnessError(f"{song}: another song is called {name!r} too; separate them apart")
    return names


def _named(where: Path) -> str:
    """Return a relative path made of safe names."""
    return "/".join(map(safe_name, where.parts))


def _is_song(path: Path, out: Path) -> bool:
    """Whether a file in a folder is one to separate: audio, not hidden, not of our own making."""
    return (
        path.suffix.lower() in READ + DECODED
        and not path.name.startswith(".")
        and path.is_file()
        and not path.resolve().is_relative_to(out.resolve())
    )


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
        with _decoded(song, target.folder) as readable:
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
    with _written(files, total, rate, soundfile.info(song).channels, target) as write:
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


@contextmanager
def _written(
    files: Mapping[str, Path], samples: int, rate: int, channels: int, target: Target
) -> Iterator[Callable[[str, Audio], int]]:
    """Give a function that adds to a stem's file and counts limited values.

    The files appear together, when the block ends well.
    """
    folder = next(iter(files.values())).parent
    wide = target.bits == "32f"
    size = samples * channels * (4 if wide else 3)
    form = {"format": target.kind.upper(), "subtype": SUBTYPES[target.kind, target.bits]}
    if target.kind == "wav" and size > 2**32 - HEADER_BYTES:
        form["format"] = "RF64"
    parts = {
        stem: path.with_name(f"{path.name}.{os.getpid()}.part") for stem, path in files.items()
    }
    opened: dict[str, soundfile.SoundFile] = {}

    def write(stem: str, signal: Audio) -> int:
        over = (signal > TOP) | (signal < -1)
        limited = 0 if wide else int(np.count_nonzero(over))
        with _storing(folder):
            opened[stem].write((np.clip(signal, -1, TOP) if limited else signal).T)
        return limited

    try:
        with ExitStack() as stack:
            with _storing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                _check_room(folder, size * len(files))
                for stem, part in parts.items():
                    file = soundfile.SoundFile(part, "w", rate, channels, **form)
                    opened[stem] = stack.enter_context(file)
            yield write
        with _storing(folder):
            for stem, part in parts.items():
                _without_date(part)
                part.replace(files[stem])
    finally:
        with suppress(OSError):
            for part in parts.values():
                part.unlink(missing_ok=True)
            folder.rmdir()  # if nothing came of it


@contextmanager
def _storing(folder: Path) -> Iterator[None]:
    """Say in one line why something cannot be written."""
    try:
        yield
    except (OSError, soundfile.SoundFileError, AssertionError) as error:  # soundfile asserts
        raise StorageError(
            f"{folder}: cannot be written ({error}); check permissions and free space"
        ) from error


def _check_room(folder: Path, size: int) -> None:
    """Refuse to begin what will not fit on the disk."""
    if shutil.disk_usage(folder).free < size:
        raise StorageError(
            f"{folder}: {size / 1e9:.1f} GB are needed and not free; free some space and run the "
            "same command again, finished songs are kept"
        )


def _without_date(path: Path) -> None:
    """Clear the time that libsndfile writes beside the peak of a WAV file of floats."""
    with path.open("r+b") as file:
        at = file.read(HEADER_BYTES).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)  # name, size and version come before it
            file.write(bytes(4))


@contextmanager
def _decoded(song: Path, folder: Path) -> Iterator[Path]:
    """Give a file that libsndfile can read: the song, or what ffmpeg makes of it."""
    if _seconds(song) or song.suffix.lower() in READ[:3]:
        yield song
        return
    if shutil.which("ffmpeg") is None:
        raise HarnessError(f"{song}: cannot be read; install ffmpeg, or convert it to WAV")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".decoding-") as room:
        wav = Path(room) / "song.wav"
        options = ["-nostdin", "-v", "error", "-protocol_whitelist", "file"]
        options += ["-format_whitelist", CONTAINERS, "-i", f"file:{song}", "-map", "0:a:0"]
        command = ["ffmpeg", *options, "-c:a", "pcm_f32le", "-rf64", "auto", f"file:{wav}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wav.is_file():
            reason = " ".join(done.stderr.split())[-200:]
            raise HarnessError(f"{song}: cannot be read as audio ({reason}); replace the file")
        yield wav


def _seconds(song: Path) -> float:
    """Return how long a song is; 0 where it cannot be read."""
    try:
        samples, rate = audio.length(song)
    except HarnessError:
        return 0.0
    return samples / rate


def _check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before any work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with -o"
        ) from error
