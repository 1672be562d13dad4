"""A training run taken together from its parts: network, data, loss, optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.cache import digest
from harness.datasets.tracks import Dataset
from harness.errors import HarnessError
from harness.networks import NETWORKS
from harness.registry import suggestion
from harness.training import state as states
from harness.training.batches import Batches, Form
from harness.training.data import MEMORY, Material, Song, split_by_artist, usable_songs
from harness.training.losses import make_loss
from harness.training.recipes import Recipe
from harness.training.state import State
from harness.training.step import Loss, seed_step


@dataclass(frozen=True)
class Session:
    """Where and how long to train; none of it but the seed changes what a step learns.

    Attributes
    ----------
    out
        Folder for state, weights, curves and card.
    device
        ``cpu``, ``cuda`` or ``mps``.
    seed
        Names the run together with the recipe.
    seconds
        Pause after so long; None trains to the end. `resume` goes on.
    resume
        Go on from the folder's state if there is one; else a folder in use is refused.
    save_seconds
        Time between two states on disk: as much as a kill can lose.
    workers, memory
        Threads that make batches; bytes of audio kept in memory.
    """

    out: Path
    device: str = "cpu"
    seed: int = 0
    seconds: float | None = None
    resume: bool = False
    save_seconds: float = 60.0
    workers: int = 1
    memory: int = MEMORY


@dataclass(frozen=True)
class Outcome:
    """What a call of `train` reached.

    Attributes
    ----------
    weights
        The best averaged weights.
    scores
        {stem: SNR in dB} on the validation tracks.
    steps
        Steps done, over all sittings.
    ended
        ``finished``, ``stopped early`` or ``paused``.
    notes
        What could not be done, one line each.
    """

    weights: Path
    scores: dict[str, float]
    steps: int
    ended: str
    notes: tuple[str, ...] = ()


@dataclass
class Run:
    """Everything the loop needs."""

    recipe: Recipe
    session: Session
    state: State
    loss: Loss
    batches: Batches
    training: Material
    validation: Material
    identity: dict[str, Any]
    say: Callable[[str], None]
    begun: float = field(default_factory=time.monotonic)


def prepare(
    recipe: Recipe, datasets: Sequence[Dataset], session: Session, say: Callable[[str], None]
) -> Run:
    """Build network and data; nothing is read but headers."""
    if recipe.network not in NETWORKS:
        hint = suggestion(recipe.network, NETWORKS)
        raise HarnessError(f"recipe {recipe.name}: no network {recipe.network!r}; {hint}")
    seed_step(session.seed, -1)
    network: Any = NETWORKS[recipe.network](**recipe.options).to(session.device)
    songs = usable_songs(datasets, network.stems, recipe.input)
    training, held = split_by_artist(songs, recipe.valid_share, recipe.valid_tracks)
    material = Material(training, network.stems, recipe.input, memory=session.memory)
    form = Form(network.channels, network.sample_rate, recipe.segment or network.segment)
    return Run(
        recipe,
        session,
        State(network, states.averaged_copy(network), _optimiser(network, recipe)),
        make_loss(recipe.loss, recipe.loss_options, network.stems),
        Batches(material, form, recipe.augment, size=recipe.batch, seed=session.seed),
        material,
        Material(held, network.stems, recipe.input, memory=session.memory),
        _identity(recipe, session.seed, training, held),
        say,
    )


def _optimiser(network: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW; the rate is set at each step."""
    return torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )


def _identity(
    recipe: Recipe, seed: int, training: Sequence[Song], held: Sequence[Song]
) -> dict[str, Any]:
    """Return what must be the same for a run to go on; more steps may be asked for."""
    tracks = [[(s.track.dataset, s.track.split, s.track.name) for s in x] for x in (training, held)]
    fields = {key: value for key, value in recipe.as_dict().items() if key != "steps"}
    return {"recipe": fields, "seed": seed, "tracks": digest(tracks)}
