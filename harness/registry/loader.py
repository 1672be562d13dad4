"""Registry files → entries: reading, `extends`, and looking a name up."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.core.taxonomy import REFERENCE
from harness.registry import checkpoint_catalog as catalog
from harness.registry.ensembles import with_guide, with_members
from harness.registry.entries import FILE_NAME, Entry, checked, suggestion

Name = re.compile(r"[a-z0-9][a-z0-9_]*")


class Known(dict[str, Entry]):
    """The entries of the registry; those of the catalog are found by name, but not listed."""

    def __missing__(self, name: str) -> Entry:
        row = catalog.find_row(name) if catalog.has(name) else None
        if row is None:
            raise KeyError(name)
        return row.entry()

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and catalog.has(name))


def load(path: Path | None = None) -> dict[str, Entry]:
    """Read the built-in registry and the user's own; names of the catalog are found in it too.

    `path` is the user's file; by default ``model_registry.yaml`` of the working folder, if any.
    """
    built_in = built_in_path()
    rows = _built_in(built_in)
    own = path or Path(FILE_NAME)
    if path is not None or (os.path.lexists(own) and not _same(own, built_in)):
        mine = _read(own)
        if taken := [name for name in mine if name in rows and mine[name] != rows[name]]:
            raise HarnessError(f"{own}: {taken[0]!r} is a built-in entry; choose another name")
        return _entries({**rows, **mine}, own)
    return _entries(rows, built_in)


def built_in_path() -> Path:
    """Return the path of the built-in registry: in the package, or in the checkout if editable."""
    packaged = Path(__file__).parents[1] / FILE_NAME
    return packaged if packaged.is_file() else Path(__file__).parents[2] / FILE_NAME


def find(entries: Mapping[str, Entry], name: str) -> Entry:
    """Return the entry of that name, of the catalog if the registry has none.

    In the catalog a file name counts too. An error suggests the nearest names.
    """
    if name in entries:
        return entries[name]
    if row := catalog.find_row(name):
        return row.entry()
    hint = suggestion(name, entries)
    if listed := catalog.near(name):
        others = f"{' or '.join(map(repr, listed))} of the catalog"
        hint = hint.replace("?", f", or {others}?") if "?" in hint else f"did you mean {others}?"
    raise HarnessError(f"{FILE_NAME}: no separator {name!r}; {hint} (more: harness list --catalog)")


@cache
def _built_in(path: Path) -> dict[str, dict[str, Any]]:
    """Return {name: raw row} of the built-in registry, which is read once."""
    return _read(path)


def _same(own: Path, built_in: Path) -> bool:
    """Whether a file is the built-in registry; one that cannot be read is not."""
    try:
        return filecmp.cmp(own, built_in, shallow=False)
    except OSError:
        return False


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return {name: raw row} of one file."""
    rows = strict_yaml.read(path, "registry")
    if rows is None:
        return {}
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise HarnessError(f"{path}: expected a mapping of names to fields; see CONTRIBUTING.md")
    for name in rows:
        if not (isinstance(name, str) and Name.fullmatch(name)):
            raise HarnessError(f"{path}: bad name {name!r}; use a-z, 0-9 and _")
        if name == REFERENCE:
            raise HarnessError(f"{path}: {name!r} means the true stem; choose another name")
    return rows


def _entries(rows: Mapping[str, dict[str, Any]], path: Path) -> dict[str, Entry]:
    """Check all rows; ensembles last, because they need their members."""
    merged: dict[str, dict[str, Any]] = {}
    for name in rows:
        for link in reversed(_chain(name, rows, merged, path)):
            base = merged.get(rows[link].get("extends") or "", {})
            merged.setdefault(link, _merged(base, rows[link]))
    found = {name: checked(name, merged[name], path) for name in rows}
    found = {name: with_guide(entry, Known(found), path) for name, entry in found.items()}
    whole = Known(found)
    return Known({name: with_members(entry, whole, path) for name, entry in found.items()})


def _chain(
    name: str, rows: Mapping[str, dict[str, Any]], merged: dict[str, dict[str, Any]], path: Path
) -> list[str]:
    """Return a row, the row that it extends, and so on, up to one that is merged or a first one.

    A row of the catalog that is extended is added to `merged`.
    """
    chain = [name]
    while chain[-1] not in merged and (parent := rows[chain[-1]].get("extends")) is not None:
        if parent in chain:
            circle = " → ".join((*chain, parent))
            raise HarnessError(f"{path}: {circle} extends itself; break the circle")
        named = isinstance(parent, str)
        if named and parent in rows:
            chain.append(parent)
            continue
        if not named or not (listed := catalog.find_row(parent)):
            hint = suggestion(str(parent), rows)
            raise HarnessError(f"{path}: {chain[-1]} extends {parent!r}; {hint}")
        row = listed.entry().model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
        merged[parent] = row
        break
    return chain


def _merged(base: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row merged into the one that it extends; ``params`` are merged key by key."""
    whole = {**base, **row}
    whole.pop("extends", None)
    if isinstance(base.get("params"), dict) and isinstance(row.get("params"), dict):
        whole["params"] = {**base["params"], **row["params"]}
    return whole
