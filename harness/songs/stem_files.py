"""Stem files: written block by block; all files of a song appear together when it is done."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from harness.core.audio import Audio
from harness.core.errors import HarnessError, StorageError

SUBTYPES = {("wav", "32f"): "FLOAT", ("wav", "24"): "PCM_24", ("flac", "24"): "PCM_24"}
BITS = {"wav": ("32f", "24"), "flac": ("24",)}  # the default first
HEADER_BYTES = 4096  # of a WAV file, at most
NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
TOP = 1 - 2.0**-23  # largest value of 24 bits


@dataclass(frozen=True)
class Target:
    """Where and how files are written."""

    folder: Path  # with one folder per song
    kind: str = "wav"
    bits: str = "32f"  # 32f or 24 for wav, 24 for flac
    residual: bool = False  # also write the song minus its stems
    force: bool = False  # replace existing files


def target_of(
    folder: Path, kind: str = "wav", bits: str = "", *, residual: bool = False, force: bool = False
) -> Target:
    """Return a target of a known format; no `bits` are those of `BITS`."""
    if kind not in BITS:
        raise HarnessError(f"--format {kind}: cannot be written; use {' or '.join(BITS)}")
    if bits and bits not in BITS[kind]:
        known = " or ".join(BITS[kind])
        others = [f"--format {name}" for name, able in BITS.items() if bits in able]
        raise HarnessError(
            f"--bits {bits}: not possible with {kind}; use {', or '.join([known, *others])}"
        )
    return Target(folder, kind, bits or BITS[kind][0], residual, force)


@contextmanager
def written(
    files: Mapping[str, Path],
    samples: int,
    rate: int,
    channels: int,
    target: Target,
    comments: Mapping[str, str] | None = None,
) -> Iterator[Callable[[str, Audio], int]]:
    """Yield a function that appends to a stem's file and returns how many values it limited.

    The files appear together when the block ends without an error. `comments` are written into
    them: {stem: text}.
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
        limited = 0 if wide else int(np.count_nonzero((signal > TOP) | (signal < -1)))
        with _storing(folder):
            opened[stem].write((np.clip(signal, -1, TOP) if limited else signal).T)
        return limited

    try:
        with ExitStack() as stack:
            with _storing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                if taken := [path for path in files.values() if path.is_dir()]:
                    raise HarnessError(f"{taken[0]}: is a folder; move it away, or use another -o")
                if shutil.disk_usage(folder).free < size * len(files):
                    raise HarnessError(
                        f"{folder}: {size * len(files) / 1e9:.1f} GB are needed but not free; free "
                        "some space and run the same command again, finished songs are kept"
                    )
                for part in parts.values():
                    part.touch()  # its error says why, unlike that of the library
            for stem, part in parts.items():
                opened[stem] = stack.enter_context(_opened(part, rate, channels, form))
                if comments:
                    opened[stem].comment = comments[stem]
            yield write
        with _storing(folder):
            for stem, part in parts.items():
                _without_date(part)
                part.replace(files[stem])
    finally:
        with suppress(OSError):
            for part in parts.values():
                part.unlink(missing_ok=True)
            folder.rmdir()  # if nothing was written


def native(path: Path) -> Path | bytes:
    """Return a path as libsndfile takes it, also if its name is not UTF-8."""
    return os.fsencode(path) if os.name == "posix" else path


def _opened(part: Path, rate: int, channels: int, form: Mapping[str, str]) -> soundfile.SoundFile:
    """Open a file for writing; not every format can hold every song."""
    try:
        return soundfile.SoundFile(native(part), "w", rate, channels, **form)
    except (soundfile.SoundFileError, ValueError) as error:
        kind = form["format"].lower()
        advice = "use --format wav" if kind == "flac" else "convert the song first"
        raise HarnessError(
            f"{part.parent}: {channels} channels at {rate} Hz cannot be written as {kind}; {advice}"
        ) from error


@contextmanager
def _storing(folder: Path) -> Iterator[None]:
    """Turn errors of writing into one line: a `StorageError` if nothing more can be written."""
    try:
        yield
    except OSError as error:
        kind = StorageError if error.errno in NO_MORE else HarnessError
        raise kind(
            f"{folder}: cannot be written ({error.strerror or error}); check its permissions, the "
            "free space and what is in its place"
        ) from error
    except (soundfile.SoundFileError, AssertionError) as error:  # soundfile asserts
        raise StorageError(
            f"{folder}: cannot be written ({error}); check permissions and free space"
        ) from error


def _without_date(path: Path) -> None:
    """Clear the time that libsndfile writes into float WAV files, so that runs repeat exactly."""
    with path.open("r+b") as file:
        at = file.read(HEADER_BYTES).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)  # name, size and version come before it
            file.write(bytes(4))


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written, before any work starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder with -o"
        ) from error
