"""Recipes: all that decides what a training run learns, as data.

A recipe and a seed name a run: with the same tracks they give the same weights. `docs/training.md`
says how the numbers here were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

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

    name: str
    network: str
    options: Mapping[str, Any] = field(default_factory=dict)
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
    """
    known = {f.name for f in fields(Recipe)}
    if unknown := sorted(set(values) - known):
        raise HarnessError(f"recipe: unknown field {unknown[0]!r}; {suggestion(unknown[0], known)}")
    return Recipe(**{**values, "augment": Augment(**values.get("augment", {}))})


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("simplified_demucs", "simplified_demucs"),
        Recipe("unet", "unet", loss="spectrogram"),
        Recipe("asnet", "asnet", loss="spectrogram"),
    )
}


def find_recipe(name: str) -> Recipe:
    """Look up a recipe by name.

    Raises
    ------
    HarnessError
        If there is none of that name.
    """
    if name not in RECIPES:
        raise HarnessError(f"train {name}: no such recipe; {suggestion(name, RECIPES)}")
    return RECIPES[name]
