"""Fingerprints of files: their sha256, remembered for as long as a file looks unchanged."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from harness.core.files import digest, file_digest
from harness.datasets.tracks import Source, Track

BLOCKS = 4  # of a file's content that are looked at: the first, the last, and some between
BLOCK_BYTES = 4096
UNREAD = "not read yet"
READING = {  # the version of the reading of a format, if it is not the first
    ".mp3": (2,),  # all frames count, and an excerpt is exactly a part of the whole
    ".mp4": (2,),  # a stream is found by its title, if it has one
}

Stamp = tuple[int, int, int, int]  # size in bytes, mtime and ctime in ns, inode
Looks = tuple[Stamp, str]  # and a hash of the blocks


class Fingerprints:
    """sha256 of files, read again if size, time stamps, inode or some blocks of a file changed.

    ``cp -p``, ``rsync -t`` and ``tar`` keep the size and the time of change (mtime). They cannot
    keep the time at which the file system wrote the file (ctime). A copy with the same content has
    the same sha256, so that its scores stay. With `rehash` every file is read.

    They are stored as JSON lines in a file that is only appended to; of two lines on one file the
    last counts. A line that is incomplete, or of an older version, is skipped. With `known_only` no
    file is read and nothing is written: the sha256 of a file that is not remembered is `UNREAD`.
    """

    def __init__(self, path: Path, *, rehash: bool = False, known_only: bool = False) -> None:
        self.read: set[str] = set()  # paths of the files that were read here
        self.looked_at: set[str] = set()  # and of those that were not, since they look unchanged
        self._path = path
        self._rehash, self._known_only = rehash, known_only
        self._known: dict[str, tuple[Looks, str]] = {}
        self._asked: dict[Path, tuple[Stamp, str]] = {}  # here, and what was found
        text = path.read_text(errors="replace") if path.is_file() else ""
        for line in text.split("\n"):
            with suppress(ValueError, TypeError):
                name, size, mtime, sha256, ctime, inode, blocks = json.loads(line)
                self._known[name] = ((size, mtime, ctime, inode), blocks), sha256

    def of(self, path: Path) -> str:
        """Return the sha256 of a file's bytes, or "absent"."""
        try:
            stat = path.stat()
            stamp = stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
            asked = self._asked.get(path)
            if asked is None or asked[0] != stamp:
                looks = stamp, _blocks(path, stat.st_size)
                asked = self._asked[path] = stamp, self._examine(str(path.resolve()), looks)
        except OSError:
            return "absent"
        return asked[1]

    def of_track(self, track: Track) -> str:
        """Return a hash of every signal of a track, which no name of a file or track enters.

        The version of the reading does, for formats of which the same file gives other samples now.
        """

        def signals(sources: Iterable[Source]) -> list[list[str | int | None]]:
            return [
                [self.of(s.path), s.channel, s.stream, *READING.get(s.path.suffix.lower(), ())]
                for s in sources
            ]

        stems = {stem: signals(sources) for stem, sources in track.stems.items()}
        return digest({"mixture": signals(track.mixture), "stems": stems})

    def _examine(self, name: str, looks: Looks) -> str:
        """Return the remembered sha256 of a file if it looks unchanged; otherwise read it."""
        known = self._known.get(name)
        if known and known[0] == looks and not self._rehash:
            self.looked_at.add(name)
            return known[1]
        if self._known_only:
            return UNREAD
        found = looks, file_digest(Path(name))
        self.looked_at.discard(name)
        self.read.add(name)
        if found != known:
            self._known[name] = found
            self._remember(name)
        return found[1]

    def _remember(self, name: str) -> None:
        """Add one line; if this fails, the file is read again next time."""
        ((size, mtime, ctime, inode), blocks), sha256 = self._known[name]
        line = json.dumps([name, size, mtime, sha256, ctime, inode, blocks])
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(line + "\n")


def _blocks(path: Path, size: int) -> str:
    """Return a hash of `BLOCKS` blocks of a file, evenly spread from its start to its end."""
    places = [i * max(0, size - BLOCK_BYTES) // (BLOCKS - 1) for i in range(BLOCKS)]
    file = os.open(path, os.O_RDONLY)
    try:
        content = b"".join(os.pread(file, BLOCK_BYTES, place) for place in places)
    finally:
        os.close(file)
    return hashlib.sha256(content).hexdigest()[:16]
