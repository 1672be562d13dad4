"""Recipes: all settings that decide the result of a training run, as data.

A recipe and a seed identify a run: with the same tracks they lead to the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.core.files import check_folder_name
from harness.registry import suggestion

BUILT_IN = Path(__file__).with_name("recipes.yaml")
SCHEDULES = ("cosine", "plateau")


@dataclass(frozen=True)
class Augment:
    """How excerpts are varied; each probability is in 0…1, and 0 turns its variation off."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    remix: float = 0.5  # probability that the stems of an example come from different songs
    gain: float = 0.5  # probability of another level of a stem, uniform within ±gain_db
    gain_db: float = 4.0
    polarity: float = 0.5  # probability of inverting a stem
    swap: float = 0.5  # probability of exchanging a stem's two channels
    #: Probability of playing an excerpt faster or slower by resampling, which changes time and
    #: pitch together, uniform within ±semitones. Stems cut at the same place stay aligned.
    speed: float = 0.2
    semitones: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str  # of the weights
    network: str  # a key of `harness.separators.networks.NETWORKS`
    options: Mapping[str, Any] = field(default_factory=dict)  # arguments of the network
    input: str = "mixture"  # what is separated; a stem's input is the sum of its children
    loss: str = "waveform_stft"  # a key of `harness.training.losses.LOSSES`
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    segment: int = 0  # samples per excerpt; 0: the network's own segment
    batch: int = 8  # excerpts per step
    steps: int = 20_000  # also the length of the schedule
    learning_rate: float = 1e-3  # the highest
    warm_up: int = 200  # steps until it is reached
    #: ``cosine`` falls to floor · learning_rate at the last step; ``plateau`` halves the rate after
    #: patience / 3 validations without a better score.
    schedule: str = "cosine"
    floor: float = 0.01
    weight_decay: float = 0.0  # of AdamW
    clip: float = 5.0  # largest norm of the gradient
    ema: float = 0.999  # decay of the averaged weights
    validate_every: int = 500  # steps
    patience: int = 30  # validations without a better score that end the run
    valid_share: float = 0.1  # share of the tracks used for validation
    valid_tracks: int = 12  # at most
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        """Refuse values that cannot work, before anything heavy starts."""
        check_folder_name(self.name, "recipe", "name")
        if self.schedule not in SCHEDULES:
            raise HarnessError(
                f"recipe {self.name}: schedule is {self.schedule!r}; "
                f"{suggestion(self.schedule, SCHEDULES)}"
            )
        for key in ("batch", "steps", "validate_every", "patience", "valid_tracks"):
            if (value := getattr(self, key)) < 1:
                raise HarnessError(f"recipe {self.name}: {key} is {value}; use 1 or more")

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the result of `Recipe.as_dict`."""
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"][0].lower() + first["msg"][1:]
        raise HarnessError(f"recipe: {where}: {reason}; see docs/training.md") from error


def find_recipe(name: str) -> Recipe:
    """Look up a recipe by name, or read one from a file (``.yaml`` or ``.json``).

    A file has the fields of `Recipe`; a model card has them under ``recipe``.
    """
    if Path(name).suffix in (".yaml", ".json"):
        found = strict_yaml.read(Path(name), "recipe")
        if not isinstance(found, dict):
            raise HarnessError(f"{name}: is not a mapping; docs/training.md has a recipe")
        return from_dict(found.get("recipe", found))
    if name not in RECIPES:
        raise HarnessError(f"train {name}: no such recipe; {suggestion(name, RECIPES)}")
    return RECIPES[name]


RECIPES: dict[str, Recipe] = {
    name: from_dict({"name": name, **values})
    for name, values in strict_yaml.read(BUILT_IN, "recipe").items()
}
