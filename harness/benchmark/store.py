"""Finished units of work, found by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from harness.core.errors import StorageError
from harness.core.files import digest, write_atomic

CHECKSUM = "sha256"  # of the rest of a result, see `harness.core.files.digest`


class Store:
    """Results of finished units of work, one JSON file each, found by key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []  # what was found not to be as written, under its new name

    def path(self, key: str) -> Path:
        """Return the path for this key, whether it exists or not."""
        return self.folder / key[:2] / f"{key}.json"

    def has(self, key: str) -> bool:
        """Whether this unit is finished and its result undamaged."""
        return self.get(key) is not None

    def get(self, key: str) -> dict[str, Any] | None:
        """Return a result, or None; a file that is not as it was written is set aside.

        Results of earlier versions carry no checksum; of these only the form is checked.
        """
        path = self.path(key)
        try:
            content = json.loads(path.read_bytes())
            claimed = content.pop(CHECKSUM, None)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError, TypeError, RecursionError):
            content = None
        if not _well_formed(content) or claimed not in (None, digest(content)):
            self._set_aside(path if path.parent.is_dir() else path.parent)
            return None
        return dict(content)

    def _set_aside(self, path: Path) -> None:
        """Rename a damaged file, or whatever stands in its place, so that it can be looked at."""
        names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in count())
        aside = next(name for name in names if not name.exists())
        try:
            path.rename(aside)
        except FileNotFoundError:  # another process did so
            return
        except OSError as error:
            raise StorageError(
                f"{path}: damaged, cannot be renamed ({error}); delete it"
            ) from error
        self.damaged.append(aside)

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a result."""
        signed = {**content, CHECKSUM: digest(content)}
        write_atomic(self.path(key), json.dumps(signed, sort_keys=True).encode())

    def sweep(self) -> None:
        """Delete the parts that killed writers left; call it only while the folder is locked."""
        for part in self.folder.rglob("*.part"):
            part.unlink(missing_ok=True)


def _well_formed(content: Any) -> bool:
    """Whether a result has the form that `harness.benchmark.work.do_unit` gives it."""
    if not isinstance(content, dict) or content.keys() != {"scores", "costs", "notes"}:
        return False
    scores, costs, notes = content["scores"], content["costs"], content["notes"]
    if not isinstance(scores, dict) or not isinstance(costs, dict) or not isinstance(notes, list):
        return False
    if not all(isinstance(of_stem, dict) for of_stem in scores.values()):
        return False
    pairs = [pair for of_stem in scores.values() for pair in of_stem.values()]
    return (
        all(isinstance(pair, list) and [type(x) for x in pair[1:]] == [str] for pair in pairs)
        and all(isinstance(x, int | float) for x in [pair[0] for pair in pairs] + [*costs.values()])
        and all(isinstance(note, str) for note in notes)
    )
