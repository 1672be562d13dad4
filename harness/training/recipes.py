"""Recipes: all that decides what a training run learns, as data.

A recipe and a seed name a run: with the same tracks they give the same weights. `docs/training.md`
says how the numbers here were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from harness.errors import HarnessError
from harness.registry import suggestion

SCHEDULES = ("cosine", "plateau")


@dataclass(frozen=True)
class Augment:
    """How excerpts are varied; each probability is in 0…1 and 0 turns its variation off.

    Attributes
    ----------
    remix
        Of taking the stems of one example from different places of different songs.
    gain, gain_db
        Of changing a stem's level, evenly within ±gain_db.
    polarity
        Of turning a stem upside down.
    swap
        Of exchanging a stem's two channels.
    speed, semitones
        Of playing faster or slower: pitch and time change together (by resampling), evenly within
        ±semitones. Stems of the same place keep together.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    remix: float = 0.5
    gain: float = 0.5
    gain_db: float = 4.0
    polarity: float = 0.5
    swap: float = 0.5
    speed: float = 0.2
    semitones: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """A network and how it is trained.

    Attributes
    ----------
    name
        What the weights will be called.
    input
        What is taken apart: ``mixture``, or a stem, whose children are then summed up.
    network, options
        A name of ``harness.networks.NETWORKS`` and the arguments it is built with.
    loss, loss_options
        A name of ``harness.training.losses.LOSSES`` and its options.
    segment
        Samples of a training excerpt; 0 is the network's own segment.
    batch, steps
        Excerpts a step; steps in all (the schedule is laid over them).
    learning_rate, warm_up, schedule, floor
        Highest rate; steps to rise to it; ``cosine`` falls to floor × rate at the last step,
        ``plateau`` halves it after `patience` / 3 validations without a better score.
    weight_decay, clip, ema
        AdamW's decay; largest norm of the gradient; decay of the averaged weights.
    validate_every, patience
        Steps between validations; how many of them without a better score end the run.
    valid_share, valid_tracks
        Share of the tracks, and largest number of them, that validation takes away from training.
    augment
        How excerpts are varied.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input: str = "mixture"
    loss: str = "waveform_stft"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    segment: int = 0
    batch: int = 8
    steps: int = 20_000
    learning_rate: float = 1e-3
    warm_up: int = 200
    schedule: str = "cosine"
    floor: float = 0.01
    weight_decay: float = 0.0
    clip: float = 5.0
    ema: float = 0.999
    validate_every: int = 500
    patience: int = 30
    valid_share: float = 0.1
    valid_tracks: int = 12
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        """Refuse what cannot be trained, before anything heavy starts."""
        if self.schedule not in SCHEDULES:
            raise HarnessError(
                f"recipe {self.name}: schedule is {self.schedule!r}; "
                f"{suggestion(self.schedule, SCHEDULES)}"
            )
        for key in ("batch", "steps", "validate_every", "patience", "valid_tracks"):
            if getattr(self, key) < 1:
                value = getattr(self, key)
                raise HarnessError(f"recipe {self.name}: {key} is {value}; give 1 or more")

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain values, for JSON."""
        return asdict(self)


def from_dict(values: Mapping[str, Any]) -> Recipe:
    """Build a recipe from what `Recipe.as_dict` gave.

    Examples
    --------
    >>> recipe = Recipe("a", "unet", batch=3)
    >>> from_dict(recipe.as_dict()) == recipe
    True

    Raises
    ------
    HarnessError
        If a field is unknown, missing, or not what it should be.
    """
    try:
        return TypeAdapter(Recipe).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = first["msg"][0].lower() + first["msg"][1:]
        raise HarnessError(f"recipe: {where}: {reason}; see docs/training.md") from error


PAPER = Recipe(  # the Polimi report, section 7.1; what it does not say is left as it is above
    "simplified_demucs",
    "simplified_demucs",
    loss="waveform_stft",
    loss_options={"stem_weights": {"drums": 1.2, "bass": 1.2}},
    schedule="plateau",
    augment=Augment(remix=0.0, polarity=0.0, speed=0.0),
)
SMALL = Recipe(  # five layers, a sixth of the work: for processors without a GPU
    "simplified_demucs_small",
    "simplified_demucs",
    options={"widths": [16, 32, 64, 128, 256], "hidden": 128, "segment": 65536},
    loss="waveform",
    batch=4,
    steps=60_000,
    learning_rate=3e-3,
    clip=0.1,
    validate_every=1000,
)
HYBRID = Recipe(
    "htdemucs_small",
    "htdemucs",
    loss="waveform",
    batch=2,
    steps=4000,
    learning_rate=3e-3,
    clip=0.1,
    validate_every=400,
)
MASKS = Recipe(
    "unet", "unet", loss="negative_snr", batch=4, segment=131072, learning_rate=2e-3,
    validate_every=250,
)  # fmt: skip
BANDS = Recipe(  # Mel-Band RoFormer with a hundredth of the published one's parameters
    "mel_roformer_small",
    "mel_roformer",
    loss="waveform",
    batch=2,
    steps=2500,
    learning_rate=2e-3,
    clip=0.1,
    validate_every=300,
)
SPARSE = Recipe(  # SCNet with half the bins, a quarter of the channels, four of six dual paths
    "scnet_small",
    "scnet",
    options={"widths": [8, 16, 32], "layers": 4, "n_fft": 2048, "segment": 88064},
    loss="waveform",
    batch=2,
    steps=3000,
    learning_rate=3e-3,
    clip=0.1,
    validate_every=250,
)
KIT = ("kick", "snare", "toms", "hihat_cymbals")


def _children(name: str, stem: str, children: tuple[str, ...]) -> Recipe:
    """Return the recipe of a small separator that takes a stem apart."""
    return replace(
        MASKS,
        name=name,
        network="asnet",
        input=stem,
        options={"stems": list(children)},
        loss_options={"pooled": True},  # toms are rare
        steps=800,
        validate_every=150,
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        PAPER,
        SMALL,
        HYBRID,
        MASKS,
        BANDS,
        SPARSE,
        _children("drums_small", "drums", KIT),
        _children("voices_small", "vocals", ("lead", "background")),
        replace(MASKS, name="asnet", network="asnet"),
    )
}


def find_recipe(name: str) -> Recipe:
    """Look up a recipe by name, or read one from a file (``.yaml`` or ``.json``).

    A file holds the fields of `Recipe`; of a model card its recipe is taken.

    Raises
    ------
    HarnessError
        If there is none of that name, or the file holds something else.
    """
    if Path(name).suffix in (".yaml", ".json"):
        return _read(Path(name))
    if name not in RECIPES:
        raise HarnessError(f"train {name}: no such recipe; {suggestion(name, RECIPES)}")
    return RECIPES[name]


def _read(path: Path) -> Recipe:
    """Read a recipe of the user's own."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (yaml.YAMLError, ValueError) as error:
        raise HarnessError(f"{path}: is not YAML or JSON; docs/training.md has a recipe") from error
    if not isinstance(found, dict):
        raise HarnessError(f"{path}: is not a mapping; docs/training.md has a recipe")
    return from_dict(found.get("recipe", found))
