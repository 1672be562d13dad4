"""`model_registry.yaml` → {name: Entry}: every separator as data, checked before anything runs.

The file that comes with the package is read first; a ``model_registry.yaml`` in the working folder,
or the one named by ``--registry``, adds entries of its own.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from harness.errors import HarnessError

FILE_NAME = "model_registry.yaml"
MAX_BYTES = 1_000_000  # a registry is written by hand; more is a mistake or an attack

Role = Literal["separator", "anchor", "oracle", "ensemble"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$")]
Name = re.compile(r"[a-z0-9][a-z0-9_]*")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class License(_Strict):
    """Terms of the code and of the weights, which usually differ."""

    code: str = "MIT"
    weights: str | None = None


class Weights(_Strict):
    """One checkpoint file.

    Attributes
    ----------
    file
        Name in the cache folder, or a path to a user's own file.
    sha256
        Of the whole file; None only where nobody published it.
    size
        In bytes.
    urls
        Tried in turn; empty where it must be fetched by hand.
    by_hand
        What to do then.
    """

    file: FileName
    sha256: Sha256 | None = None
    size: int | None = None
    urls: tuple[str, ...] = ()
    by_hand: str = ""


class Published(_Strict):
    """Scores someone printed, with what they mean.

    Attributes
    ----------
    metric
        How they are defined: a key of `harness.reproduce.DEFINITIONS`.
    dataset
        And its half, such as ``musdb18hq:test``.
    scores
        {stem: dB}.
    tracks
        How many they are an average of; None: all that the half has.
    tolerance
        By how many dB a measured score may differ. 0.1 where the very file was scored by the very
        definition; more where the file is only said to be like the one scored.
    """

    metric: str
    dataset: str
    source: str
    scores: Mapping[str, float]
    tracks: Annotated[int, Field(gt=0)] | None = None
    tolerance: Annotated[float, Field(gt=0)] = 0.1


class Entry(_Strict):
    """One registry row; CONTRIBUTING.md explains each field.

    Attributes
    ----------
    family
        Which code runs it: a key of `harness.separators.FAMILIES`.
    role
        ``separator`` is ranked; ``anchor`` and ``oracle`` are shown beside; ``ensemble`` is made of
        others.
    input
        The stem it takes apart.
    stems
        What it gives; empty means whatever stems the track has (anchors and oracles).
    sample_rate, channels
        What it was made for; None means any.
    params
        Keyword arguments of the family's class.
    trained_on
        Collections and halves such as ``musdb18:train``; empty for methods without training, None
        where nobody knows.
    unavailable
        Why it cannot run in this version; empty if it can.
    """

    name: str
    title: str = ""
    family: str
    role: Role = "separator"
    input: str = "mixture"
    stems: tuple[str, ...] = ()
    sample_rate: Annotated[int, Field(gt=0)] | None = None
    channels: Annotated[int, Field(gt=0)] | None = None
    params: Mapping[str, Any] = {}
    weights: tuple[Weights, ...] = ()
    trained_on: tuple[str, ...] | None = ()
    license: License = License()
    reference: str = ""
    url: str = ""
    published: tuple[Published, ...] = ()
    unavailable: str = ""

    def identity(self) -> str:
        """Return a hash of every field that can change an estimate; titles and links do not."""
        parts = self.model_dump(
            mode="json",
            include={"family", "role", "input", "stems", "sample_rate", "channels", "params"},
        )
        parts["weights"] = [w.sha256 or w.file for w in self.weights]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
        if taken := sorted(rows.keys() & mine.keys()):
            raise HarnessError(f"{own}: {taken[0]!r} is a built-in entry; choose another name")
        return _entries({**rows, **mine}, own)
    return _entries(rows, built_in)


def built_in_path() -> Path:
    """Return the registry that comes with the package, or the checkout's in an editable install."""
    packaged = Path(__file__).parent / FILE_NAME
    return packaged if packaged.is_file() else Path(__file__).parents[1] / FILE_NAME


def find(entries: Mapping[str, Entry], name: str) -> Entry:
    """Return the entry of that name, or an error with the nearest one."""
    if name in entries:
        return entries[name]
    raise HarnessError(f"{FILE_NAME}: no separator {name!r}; {suggestion(name, entries)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the nearest known name as a question, or all of them.

    Examples
    --------
    >>> suggestion("htdemucs-ft", ["htdemucs_ft", "nmf"])
    "did you mean 'htdemucs_ft'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"


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
    return {name: _entry(name, _extend(name, rows, path, ()), path) for name in rows}


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


def _entry(name: str, row: dict[str, Any], path: Path) -> Entry:
    """Check one row; the first mistake is reported with its key."""
    try:
        return Entry.model_validate({**row, "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = [*Entry.model_fields, "extends"] if len(first["loc"]) == 1 else []
            hint = suggestion(str(first["loc"][-1]), known) if known else "see CONTRIBUTING.md"
            raise HarnessError(f"{path}: {name}: unknown key {where!r}; {hint}") from error
        message = first["msg"][0].lower() + first["msg"][1:]
        value = "" if first["type"] == "missing" else f" (found {first['input']!r})"
        raise HarnessError(
            f"{path}: {name}: {where}: {message}{value}; see CONTRIBUTING.md"
        ) from error
