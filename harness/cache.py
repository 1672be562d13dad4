"""Files that survive a kill: atomic writing, checks, fingerprints, and a store of finished work.

The key of a piece of work covers everything that can change its result. The file under that key is
complete or absent.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs
from filelock import FileLock, Timeout

from harness.errors import HarnessError, StorageError


def cache_folder() -> Path:
    """Return the folder of rendered music and weights; HARNESS_CACHE overrides the system's."""
    chosen = os.environ.get("HARNESS_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("harness"))


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
    the name must be told the format.

    Raises
    ------
    StorageError
        If the disk is full or the folder cannot be written.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
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
    """Return the sha256 of a value's canonical JSON.

    Examples
    --------
    >>> digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


@contextmanager
def only_one(folder: Path, option: str = "--results") -> Iterator[None]:
    """Lock the folder for this process; the lock ends with the process, even if it is killed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout as error:
        raise HarnessError(
            f"{folder}: another run is writing here; wait for it or choose another {option}"
        ) from error
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be written ({error.strerror}); choose another {option}"
        ) from error
    try:
        yield
    finally:
        lock.release()


class Fingerprints:
    """sha256 of files, remembered by path, size and time of change.

    They are stored as JSON lines in a file that is only appended to; an incomplete line is skipped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[tuple[str, int, int], str] = {}
        text = path.read_text(errors="replace") if path.is_file() else ""
        for line in text.split("\n"):
            with suppress(ValueError, TypeError):  # an incomplete line
                name, size, changed, sha256 = json.loads(line)
                self._known[name, size, changed] = sha256

    def of(self, path: Path) -> str:
        """Return the sha256 of a file's bytes, or "absent"."""
        try:
            stat = path.stat()
            key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
            if key not in self._known:
                self._known[key] = file_digest(path)
                self._remember(key)
        except OSError:
            return "absent"
        return self._known[key]

    def _remember(self, key: tuple[str, int, int]) -> None:
        """Add one line; if this fails, the hash is computed again next time."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps([*key, self._known[key]]) + "\n")


class Store:
    """Finished pieces of work, one JSON file each, found by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the path for this key, whether it exists or not."""
        return self.folder / key[:2] / f"{key}.json"

    def has(self, key: str) -> bool:
        """Whether this piece is finished and readable."""
        return self.get(key) is not None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a finished piece, or None; a file that cannot be read counts as absent."""
        try:
            content = json.loads(self.path(key).read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a finished piece."""
        write_atomic(self.path(key), json.dumps(content, sort_keys=True).encode())

    def sweep(self) -> None:
        """Delete leftovers of killed writers; call it only while the folder is locked."""
        for part in self.folder.rglob("*.part"):
            part.unlink(missing_ok=True)
