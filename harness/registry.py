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

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
)

from harness import taxonomy
from harness.bands import Weight
from harness.errors import HarnessError

FILE_NAME = "model_registry.yaml"
MAX_BYTES = 1_000_000  # a registry is written by hand; more is a mistake or an attack
ENSEMBLE = "ensemble"  # the family and the role
FROM_MEMBERS = {"stems", "sample_rate", "channels", "weights", "trained_on", "unavailable"}

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


class HeldOut(_Strict):
    """What is to be expected of a stem on other music.

    Attributes
    ----------
    score
        Mean over tracks that did not choose, in dB.
    low, high
        Its 95 % interval; None where too few artists tell.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    score: float
    low: float | None = None
    high: float | None = None


def _plain(weight: Weight) -> Weight:
    """Return weights that are the same in all bands as one."""
    return weight[0] if isinstance(weight, tuple) and len(set(weight)) == 1 else weight


Part = Annotated[float, Field(ge=0)]
Weighting = Annotated[Part | tuple[Part, ...], AfterValidator(_plain)]


class Blend(_Strict):
    """The `params` of an ensemble: what it is made of, and what is known of it.

    Attributes
    ----------
    stems
        {stem: {separator: weight, or one for each band}}; the weights of a stem sum to one.
    edges
        Between the frequency bands that have weights of their own, in Hz, rising.
    how
        ``mean`` by these weights; or ``median``, ``min_mag``, ``max_mag`` of equal ones, see
        `harness.separators.ensembling`.
    consistent
        Whether the stems are then made to sum to what is taken apart.
    metric
        What it was chosen by, and is judged by in `held_out`.
    chosen_on
        Datasets and halves it was chosen on, such as ``musdb18hq:test``.
    tracks, artists
        How many of these chose; of the stem that has most.
    held_out
        {stem: what it scores on tracks that did not choose}.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    stems: Mapping[str, Mapping[str, Weighting]]
    edges: tuple[Annotated[float, Field(gt=0)], ...] = ()
    how: Literal["mean", "median", "min_mag", "max_mag"] = "mean"
    consistent: bool = False
    metric: str = ""
    chosen_on: tuple[str, ...] = ()
    tracks: Annotated[int, Field(ge=0)] = 0
    artists: Annotated[int, Field(ge=0)] = 0
    held_out: Mapping[str, HeldOut] = {}


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
    members
        The separators of an ensemble, found by name when the registry is read.
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
    _members: tuple[Entry, ...] = PrivateAttr(())

    @property
    def members(self) -> tuple[Entry, ...]:
        """The separators of an ensemble; nobody else has any."""
        return self._members

    @property
    def blend(self) -> Blend:
        """What an ensemble is made of."""
        return Blend.model_validate(dict(self.params))

    def identity(self) -> str:
        """Return a hash of every field that can change an estimate; titles and links do not."""
        parts = self.model_dump(
            mode="json",
            include={"family", "role", "input", "stems", "sample_rate", "channels", "params"},
        )
        parts["weights"] = [w.sha256 or w.file for w in self.weights]
        if self.members:
            parts["params"] = self.blend.model_dump(
                mode="json", include={"stems", "edges", "how", "consistent"}, exclude_defaults=True
            )
            parts["members"] = {member.name: member.identity() for member in self.members}
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
        if taken := [name for name in mine if name in rows and mine[name] != rows[name]]:
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


def ensemble(
    name: str, params: Mapping[str, Any], entries: Mapping[str, Entry], **fields: Any
) -> Entry:
    """Return the entry of an ensemble of other entries.

    Parameters
    ----------
    params
        See `Blend`.
    fields
        Of `Entry`, such as `title` and `input`.

    Raises
    ------
    HarnessError
        If the weights of a stem do not sum to one, or a member is unknown or gives no such stem.
    """
    row = {"family": ENSEMBLE, "role": ENSEMBLE, "params": dict(params), **fields}
    where = Path(FILE_NAME)
    return _with_members(_entry(name, row, where), entries, where)


def _entries(rows: Mapping[str, dict[str, Any]], path: Path) -> dict[str, Entry]:
    """Check all rows; ensembles come last, when their members are known."""
    found = {name: _entry(name, _extend(name, rows, path, ()), path) for name in rows}
    return {name: _with_members(entry, found, path) for name, entry in found.items()}


def _with_members(entry: Entry, entries: Mapping[str, Entry], path: Path) -> Entry:
    """Give an ensemble its members, and from them its weights and what they were trained on.

    What it was chosen on counts as seen: its score there says nothing of other music.
    """
    if entry.family != ENSEMBLE:
        return entry
    where = f"{path}: {entry.name}"
    if given := sorted(FROM_MEMBERS & entry.model_fields_set):
        raise HarnessError(f"{where}: an ensemble has its {given[0]} from its members; drop it")
    try:
        blend = entry.blend
    except ValidationError as error:
        raise _complaint(error, f"{where}: params.", [*Blend.model_fields]) from error
    names = dict.fromkeys(n for weights in blend.stems.values() for n in weights if weights[n])
    for name in names:
        known = [n for n, e in entries.items() if e.role == "separator" and e.family != ENSEMBLE]
        if name not in known:
            raise HarnessError(f"{where}: no separator {name!r}; {suggestion(name, known)}")
    members = tuple(entries[name] for name in names)
    if problem := _misfit(blend, entry.input, {m.name: m for m in members}):
        raise HarnessError(f"{where}: {problem}")
    seen = [m.trained_on for m in members]
    unknown = None in seen
    trained_on = [*(half for halves in seen for half in halves or ()), *blend.chosen_on]
    ours = License(
        code=", ".join(dict.fromkeys(m.license.code for m in members)),
        weights=", ".join(dict.fromkeys(filter(None, (m.license.weights for m in members))))
        or None,
    )
    found = entry.model_copy(
        update={
            "role": ENSEMBLE,
            "stems": tuple(taxonomy.in_order(blend.stems)),
            "weights": tuple(dict.fromkeys(file for m in members for file in m.weights)),
            "trained_on": None if unknown else tuple(dict.fromkeys(trained_on)),
            "license": ours,
            "unavailable": next(
                (f"{m.name}: {m.unavailable}" for m in members if m.unavailable), ""
            ),
        }
    )
    found._members = members
    return found


def _misfit(blend: Blend, source: str, members: Mapping[str, Entry]) -> str:
    """Say why stems cannot be made of members; empty if they can.

    A member takes apart what the ensemble does, or one of the ensemble's own stems that is made
    before: by members whose input lies higher in the tree.
    """
    stems = blend.stems
    if not stems:
        return "has no stems; give {stem: {separator: weight}}"
    if "cymbals" in stems and "hihat" not in stems:
        return "has cymbals without hihat; give hihat_cymbals, which holds both, or both"
    if blend.consistent and not taxonomy.parts(source, set(stems) - {source}):
        return f"is consistent, but {', '.join(stems)} do not make up the {source}; add stems"
    if sorted(set(blend.edges)) != list(blend.edges):
        return f"edges {list(blend.edges)} do not rise; order them"
    depth = {name: len(taxonomy.ancestors(member.input)) for name, member in members.items()}
    for stem, weights in stems.items():
        if problem := _unfit(weights, blend):
            return f"weights of {stem} {problem}"
        for name in (n for n in weights if weights[n]):
            member = members[name]
            given = taxonomy.as_meant(member.stems).values()
            if not taxonomy.parts(stem, given):
                return f"{name} gives no {stem}, only {', '.join(given)}; correct the stem"
            earlier = [
                s for s, by in stems.items() if all(depth[n] < depth[name] for n in by if by[n])
            ]
            if member.input != source and not taxonomy.parts(member.input, earlier):
                return f"{name} takes {member.input} apart, which nobody gives; add {member.input}"
    return ""


def _unfit(weights: Mapping[str, Weight], blend: Blend) -> str:
    """Say why these cannot be the weights of a stem; empty if they can."""
    by_band = [weight for weight in weights.values() if isinstance(weight, tuple)]
    n_bands = len(blend.edges) + 1
    if wrong := [len(weight) for weight in by_band if len(weight) != n_bands]:
        return f"are of {wrong[0]} bands, the edges make {n_bands}; give one for each"
    each = [np.broadcast_to(weight, n_bands) for weight in weights.values()]
    for total in np.sum(each, axis=0) if each else [0.0]:
        if abs(total - 1) > 1e-6:
            return f"sum to {total:g}; make that 1"
    if blend.how != "mean" and (by_band or np.ptp(each) > 1e-6):
        return f"differ, but {blend.how} knows none; make them equal"
    return ""


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
        known = [*Entry.model_fields, "extends"]
        raise _complaint(error, f"{path}: {name}: ", known) from error


def _complaint(error: ValidationError, where: str, known: list[str]) -> HarnessError:
    """Say the first mistake in one line; `known` are the keys of the first level."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        own = len(first["loc"]) == 1
        hint = suggestion(str(first["loc"][-1]), known) if own else "see CONTRIBUTING.md"
        return HarnessError(f"{where}unknown key {key!r}; {hint}")
    message = first["msg"][0].lower() + first["msg"][1:]
    value = "" if first["type"] == "missing" else f" (found {first['input']!r})"
    return HarnessError(f"{where}{key}: {message}{value}; see CONTRIBUTING.md")
