"""What a registry row holds, and what is wrong with one."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    StringConstraints,
    Tag,
    ValidationError,
)

from harness.bands import Weight
from harness.errors import HarnessError

FILE_NAME = "model_registry.yaml"
ENSEMBLE = "ensemble"  # the family and the role

Role = Literal["separator", "anchor", "oracle", "ensemble"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$")]


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
Weighting = Annotated[
    Annotated[Part, Tag("weight")] | Annotated[tuple[Part, ...], Tag("band")],
    Discriminator(lambda given: "band" if isinstance(given, list | tuple) else "weight"),
    AfterValidator(_plain),
]


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
        `harness.separators.ensemble`.
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


def checked(name: str, row: dict[str, Any], path: Path) -> Entry:
    """Check one row; the first mistake is reported with its key."""
    try:
        return Entry.model_validate({**row, "name": name})
    except ValidationError as error:
        known = [*Entry.model_fields, "extends"]
        raise complaint(error, f"{path}: {name}: ", known) from error


def complaint(error: ValidationError, where: str, known: list[str]) -> HarnessError:
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
