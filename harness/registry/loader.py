"""Registry files as rows, read safely."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.registry.ensembles import with_members
from harness.registry.rows import FILE_NAME, Entry, checked, suggestion

MAX_BYTES = 1_000_000  # a registry is written by hand; more is a mistake or an attack
Name = re.compile(r"[a-z0-9][a-z0-9_]*")


def load(path: Path | None = None) -> dict[str, Entry]:
    """Read the built-in registry, and the user's own where there is one.

    Parameters
    ----------
    path
        The user's file; None takes ``model_registry.yaml`` of the working folder, if there.

    Raises
    ------
    HarnessError
        If a file is unreadable, a key unknown, a value of the wrong type, or a name taken twice.
    """
    built_in = built_in_path()
    rows = _read(built_in)
    own = path or Path(FILE_NAME)
    if path is not None or (own.is_file() and own.read_bytes() != built_in.read_bytes()):
        mine = _read(own)
        if taken := [name for name in mine if name in rows and mine[name] != rows[name]]:
            raise HarnessError(f"{own}: {taken[0]!r} is a built-in entry; choose another name")
        return _entries({**rows, **mine}, own)
    return _entries(rows, built_in)


def built_in_path() -> Path:
    """Return the registry that comes with the package, or the checkout's in an editable install."""
    packaged = Path(__file__).parents[1] / FILE_NAME
    return packaged if packaged.is_file() else Path(__file__).parents[2] / FILE_NAME


def find(entries: Mapping[str, Entry], name: str) -> Entry:
    """Return the entry of that name, or an error with the nearest one."""
    if name in entries:
        return entries[name]
    raise HarnessError(f"{FILE_NAME}: no separator {name!r}; {suggestion(name, entries)}")


class _Loader(yaml.SafeLoader):
    """Safe YAML without repeated keys and without aliases, which can grow without bound."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases are not read", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for i, key in enumerate(keys):
            if key in keys[:i]:
                mark = node.value[i][0].start_mark
                raise yaml.MarkedYAMLError(problem=f"{key!r} stands twice", problem_mark=mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return {name: raw row} of one file."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if len(text) > MAX_BYTES:
        raise HarnessError(f"{path}: has {len(text)} bytes; a registry has at most {MAX_BYTES}")
    try:
        rows = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise HarnessError(f"{path}:{line} {problem}; mend the YAML") from error
    if rows is None:
        return {}
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()):
        raise HarnessError(f"{path}: expected a mapping of names to fields; see CONTRIBUTING.md")
    for name in rows:
        if not (isinstance(name, str) and Name.fullmatch(name)):
            raise HarnessError(f"{path}: bad name {name!r}; use a-z, 0-9 and _")
    return rows


def _entries(rows: Mapping[str, dict[str, Any]], path: Path) -> dict[str, Entry]:
    """Check all rows; ensembles come last, when their members are known."""
    found = {name: checked(name, _extend(name, rows, path, ()), path) for name in rows}
    return {name: with_members(entry, found, path) for name, entry in found.items()}


def _extend(
    name: str, rows: Mapping[str, dict[str, Any]], path: Path, seen: tuple[str, ...]
) -> dict[str, Any]:
    """Lay a row over the one it extends; ``params`` are merged key by key."""
    if name in seen:
        raise HarnessError(f"{path}: {' → '.join((*seen, name))} extends itself; break the circle")
    row = dict(rows[name])
    parent = row.pop("extends", None)
    if parent is None:
        return row
    if parent not in rows:
        raise HarnessError(f"{path}: {name} extends {parent!r}; {suggestion(str(parent), rows)}")
    base = _extend(parent, rows, path, (*seen, name))
    merged = {**base, **row}
    if isinstance(base.get("params"), dict) and isinstance(row.get("params"), dict):
        merged["params"] = {**base["params"], **row["params"]}
    return merged
