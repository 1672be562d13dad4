"""Hashes of files whose sha256 nobody published: the first file that is used is the expected one.

They are kept beside the weights, in ``pinned.json``. A later file under the same name that differs
is refused.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path

from harness.core.download import one_at_a_time
from harness.core.errors import HarnessError
from harness.core.files import cache_folder, file_digest, write_atomic

NOTE = "pinned at first use"
_BEGINNING = re.compile(r"[-_]([0-9a-f]{8})\.pt?h$")  # of the sha256: torch names files so


def path_of_pins() -> Path:
    """Return the path of the table of hashes."""
    return cache_folder() / "weights" / "pinned.json"


def pin_of(file: str) -> str | None:
    """Return the sha256 of the first file that was used under a plain name; None if none was."""
    path = path_of_pins()
    try:
        changed = path.stat()
    except OSError:
        return None
    return _read(path, changed.st_mtime_ns, changed.st_size).get(file)


def pinned(file: str) -> str | None:
    """Return the hash of `pin_of` with the note, as records show it."""
    kept = pin_of(file)
    return kept and f"{kept} ({NOTE})"


def pin(path: Path) -> str:
    """Keep the sha256 of a file, unless one is kept, and return it; a file that differs is refused.

    `path` lies in the folder of downloaded weights. A name such as ``vocals-b62c91ce.pth`` says how
    the hash begins.
    """
    found, table = file_digest(path), path_of_pins()
    named = _BEGINNING.search(path.name)
    if named and not found.startswith(named[1]):
        raise HarnessError(
            f"{path}: sha256 is {found}, and by its name it begins with {named[1]}; "
            "delete the file, and fetch it again"
        )
    table.parent.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(table):
        kept = _parsed(table) if table.is_file() else {}
        if kept.setdefault(path.name, found) != found:
            wrong = f"sha256 is {found}, {_advice(path.name, kept[path.name])}"
            raise HarnessError(f"{path}: {wrong}")
        text = json.dumps(kept, indent=1, sort_keys=True)
        write_atomic(table, text.encode())
    return found


def differs(file: str) -> str:
    """Return what to add to the error about a file that differs from its pin; empty if it has none.

    The published file may have been replaced by its author, or by somebody else.
    """
    kept = pin_of(file)
    return "" if kept is None else _advice(file, kept)


def _advice(file: str, kept: str) -> str:
    return (
        f"{kept} was {NOTE}: the file has changed since; if that is right, delete the line of "
        f"{file} in {path_of_pins()}"
    )


@lru_cache(maxsize=8)
def _read(path: Path, changed: int, size: int) -> dict[str, str]:
    """Read the table; the state of the file is part of the key of the cache."""
    return _parsed(path)


def _parsed(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: is damaged ({error}); delete it") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{path}: is not a table of file names; delete it")
    return {str(name): str(value) for name, value in content.items()}
