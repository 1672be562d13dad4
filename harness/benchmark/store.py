"""Finished units of work, found by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError, StorageError
from harness.core.files import digest, write_atomic

CHECKSUM = "sha256"  # of the rest of a result, see `harness.core.files.digest`
FORMAT = "format"  # of a result, in a later version that changes it; format 1 does not say so


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
            content = verified(path)
        except FileNotFoundError:
            return None
        if content is None:
            aside = set_aside(path if path.parent.is_dir() else path.parent)
            self.damaged += [aside] if aside else []
        return content

    def put(self, key: str, content: Mapping[str, Any]) -> None:
        """Store a result."""
        signed = {**content, CHECKSUM: digest(content)}
        write_atomic(self.path(key), json.dumps(signed, sort_keys=True).encode())

    def sweep(self) -> None:
        """Delete the parts that killed writers left; call it only while the folder is locked."""
        for part in self.folder.rglob("*.part"):
            part.unlink(missing_ok=True)


def set_aside(path: Path) -> Path | None:
    """Rename a damaged file, or whatever stands in its place, so that it can be looked at.

    The new name is returned, or None if another process did so.
    """
    names = (path.with_name(f"{path.name}.damaged{n or ''}") for n in count())
    aside = next(name for name in names if not name.exists())
    try:
        path.rename(aside)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path}: damaged, cannot be renamed ({error}); delete it") from error
    return aside


def verified(path: Path) -> dict[str, Any] | None:
    """Return the result in a file; None if it is not as it was written."""
    try:
        content = json.loads(path.read_bytes())
        claimed, version = content.pop(CHECKSUM, None), content.pop(FORMAT, 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return None
    if type(version) is int and version > 1:
        raise HarnessError(
            f"{path}: has format {version}, and this version reads format 1; update harness, or "
            "use another --results"
        )
    good = _well_formed(content) and claimed in (None, digest(content))
    return dict(content) if good else None


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
