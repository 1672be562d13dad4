"""Finished units of work, found by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core.files import write_atomic


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
