"""Files: the cache folder, writing that survives a kill, digests and checks, locks, names."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import platformdirs
from filelock import FileLock, Timeout

from harness.core.errors import HarnessError, StorageError

LONGEST_NAME = 100  # characters of a folder's name; file systems allow 255 bytes for one
DEVICES = {"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in range(10))}
_END_OF_ZIP = 22  # bytes of the record at the end, which has the number of members
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder() -> Path:
    """Return the folder of rendered music and weights; HARNESS_CACHE overrides the system's."""
    chosen = os.environ.get("HARNESS_CACHE")
    return own_path(chosen) if chosen else Path(platformdirs.user_cache_dir("harness"))


def own_path(text: str | Path) -> Path:
    """Return a path that a user gave as an absolute one, which other processes can use, too.

    ``~`` is the home folder, ``~name`` that of another user if there is one.
    """
    path = Path(text)
    with suppress(RuntimeError):  # no such user
        path = path.expanduser()
    return path.absolute()


@contextmanager
def storing(where: Path, advice: str) -> Iterator[None]:
    """Turn every failure to write below a folder into a `StorageError` with the advice."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in FULL else error.strerror or error
        raise StorageError(f"{where}: cannot be written ({reason}); {advice}") from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only when it is complete; see `complete_file`."""
    with write_stream(path) as file:
        file.write(content)


@contextmanager
def write_stream(path: Path) -> Iterator[BinaryIO]:
    """Yield an open file to write to; see `complete_file`."""
    with complete_file(path) as part, part.open("wb") as file:
        yield file


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which is renamed to `path` when the block ends well.

    If the block fails, the temporary file is deleted and an earlier file at `path` is kept. The
    folder is made. The temporary name ends in ``.part``, so a library that guesses the format from
    the name needs the format as an argument. A full or read-only disk is a `StorageError`.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno in FULL:
            raise StorageError(
                f"{path.parent}: the disk is full; free some space and run the same command again, "
                "finished work is kept"
            ) from error
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder's permissions"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def mismatch(file: BufferedReader, size: int | None, hashes: Mapping[str, str]) -> str:
    """Return how an open file differs from the expected one; empty if it does not.

    `hashes` maps an algorithm of `hashlib` to a hexadecimal digest. A size of None is not checked.
    Afterwards the file is at its start.
    """
    found_size = file.seek(0, os.SEEK_END)
    if size is not None and found_size != size:
        return f"has {found_size} bytes, {size} were expected"
    for algorithm, wanted in hashes.items():
        file.seek(0)
        found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != wanted.lower():
            return f"{algorithm} is {found}, {wanted.lower()} was expected"
    file.seek(0)
    return ""


def check_file(
    path: Path, *, size: int | None, sha256: str | None, file: BufferedReader | None = None
) -> None:
    """Refuse a file of another size or content than expected; None is not checked.

    `file` is the same file, already open, if it must be the one that is read afterwards.
    """
    with nullcontext(file) if file is not None else path.open("rb") as opened:
        wrong = mismatch(opened, size, {"sha256": sha256} if sha256 else {})
    if wrong:
        raise HarnessError(f"{path}: {wrong}; fetch it again")


def digest(value: object) -> str:
    """Return the sha256 of a value's canonical JSON; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def zip_damage(path: Path) -> str:
    """Return what is wrong with a zip file, such as an ``.npz``; empty if all is as written.

    A zip file has a checksum of each member (CRC-32), names each one twice, and counts them.
    """
    try:
        with path.open("rb") as raw, zipfile.ZipFile(raw) as file:
            wrong = file.testzip()
            raw.seek(-_END_OF_ZIP, os.SEEK_END)
            end = raw.read()
            if end[:4] == b"PK\5\6" and int.from_bytes(end[10:12], "little") != len(file.filelist):
                return f"{len(file.filelist)} members are not all that it had"
    except Exception as error:  # a damaged header may ask for anything
        return str(error) or type(error).__name__
    return f"the checksum of {wrong} is wrong" if wrong else ""


@contextmanager
def only_one(folder: Path, option: str = "--results") -> Iterator[None]:
    """Lock the folder for this process; the lock ends with the process, even if it is killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HarnessError(
            f"{folder}: another run is writing here; wait for it, or choose another {option}"
        ) from error
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror}); choose another {option}"
        ) from error
    try:
        yield
    finally:
        lock.release()


def safe_name(name: str) -> str:
    """Return the name as one path component that cannot lead to another folder: ``AC_DC``."""
    flat = re.sub(r"[/\\\x00-\x1f]", "_", name)
    return re.sub(r"^\.+$", lambda dots: "_" * len(dots[0]), flat) or "_"


def folded(name: str) -> str:
    """Return what names have in common that are one name to some file systems.

    These ignore case (Windows, macOS), the Unicode form (macOS), or dots and spaces at the end
    (Windows).

    Examples
    --------
    >>> folded("Main. ") == folded("main")
    True
    """
    return unicodedata.normalize("NFC", name).casefold().rstrip(". ")


def check_folder_name(name: str, what: str, option: str = "--name") -> str:
    """Return a name if every file system can have a folder of that name, and none hides it."""
    form = r"[A-Za-z0-9]([A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?"
    if re.fullmatch(form, name) and len(name) <= LONGEST_NAME:
        if name.partition(".")[0].lower() not in DEVICES:
            return name
        raise HarnessError(f"{what} {name!r}: Windows has no such folder; choose another {option}")
    raise HarnessError(
        f"{what} {name[: LONGEST_NAME + 1]!r}: not a valid name; use letters, digits, _ and -, at "
        f"most {LONGEST_NAME}"
    )
