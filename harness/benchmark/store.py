"""Finished units of work, found by key, and the fingerprints of audio files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.core.files import file_digest, write_atomic


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
                with suppress(OSError):  # if this fails, the hash is computed again next time
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    with self._path.open("a") as file:
                        file.write(json.dumps([*key, self._known[key]]) + "\n")
        except OSError:
            return "absent"
        return self._known[key]


class Store:
    """Results of finished units of work, one JSON file each, found by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the path for this key, whether it exists or not."""
        return self.folder / key[:2] / f"{key}.json"

    def has(self, key: str) -> bool:
        """Whether this unit is finished and its result readable."""
        return self.get(key) is not None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a result, or None; a file that cannot be read counts as absent."""
        try:
            content = json.loads(self.path(key).read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a result."""
        write_atomic(self.path(key), json.dumps(content, sort_keys=True).encode())

    def sweep(self) -> None:
        """Delete the parts that killed writers left; call it only while the folder is locked."""
        for part in self.folder.rglob("*.part"):
            part.unlink(missing_ok=True)
