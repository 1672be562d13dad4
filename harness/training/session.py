"""A training run, built from its parts: network, data, loss and optimizer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from harness.core.errors import HarnessError
from harness.core.files import digest, file_digest
from harness.datasets.tracks import Dataset
from harness.registry import suggestion
from harness.separators import checkpoints
from harness.separators.learned import fitting
from harness.separators.networks import NETWORKS
from harness.training.batches import Batches, ExcerptForm
from harness.training.data import MEMORY, Material, TrainingSong, split_by_artist, usable_songs
from harness.training.losses import make_loss
from harness.training.recipes import Recipe
from harness.training.state import State, averaged_copy
from harness.training.step import Loss, seed_step


@dataclass(frozen=True)
class Session:
    """Where and how long to train; only the seed influences what a step learns."""

    out: Path  # folder for state, weights, curves and card
    device: str = "cpu"  # or ``cuda``, ``mps``
    seed: int = 0
    seconds: float | None = None  # pause after this time; None: train to the end
    start: Path | None = None  # weights of an earlier run to begin from; None: random ones
    resume: bool = False  # continue from the state in `out`; without it, a used folder is refused
    save_seconds: float = 60.0  # between two states on disk: a kill loses at most this time
    workers: int = 1  # threads that make batches
    memory: int = MEMORY  # bytes of audio to keep


@dataclass(frozen=True)
class TrainingResult:
    """The result of a call of `train`."""

    weights: Path  # the best averaged weights
    scores: dict[str, float]  # {stem: SNR in dB} on the validation tracks
    steps: int  # done, over all sessions
    ended: str  # ``finished``, ``stopped early`` or ``paused``
    notes: tuple[str, ...] = ()  # what could not be done


@dataclass
class TrainingRun:
    """Everything that the loop needs."""

    recipe: Recipe
    session: Session
    state: State
    loss: Loss
    batches: Batches
    training: Material
    validation: Material
    earlier: tuple[str, ...]  # training data of the weights that it began from
    identity: dict[str, Any]  # must be the same to resume
    say: Callable[[str], None]
    begun: float = field(default_factory=time.monotonic)

    @property
    def trained_on(self) -> list[str]:
        """The datasets and splits behind the weights, sorted."""
        songs = (song.track for song in self.training.songs)
        return sorted({*self.earlier, *(f"{track.dataset}:{track.split}" for track in songs)})

    @property
    def weights(self) -> Path:
        """The file of the best averaged weights."""
        return self.session.out / f"{self.recipe.name}.safetensors"


def prepare(
    recipe: Recipe, datasets: Sequence[Dataset], session: Session, say: Callable[[str], None]
) -> TrainingRun:
    """Build network and data; only the headers of audio files are read."""
    if recipe.network not in NETWORKS:
        hint = suggestion(recipe.network, NETWORKS)
        raise HarnessError(f"recipe {recipe.name}: no network {recipe.network!r}; {hint}")
    seed_step(session.seed, -1)
    network: Any = NETWORKS[recipe.network](**recipe.options)
    earlier = begin_from(session.start, network) if session.start else ()
    network.to(session.device)
    optimiser = torch.optim.AdamW(  # the rate is set at each step
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    songs = usable_songs(datasets, network.stems, recipe.input)
    given = sum(len(dataset.tracks) for dataset in datasets)
    if len(songs) < given:
        say(
            f"{given - len(songs)} of {given} tracks are not used: their stems are absent, contain "
            "other stems (bleed) or cannot be scored"
        )
    training, held = split_by_artist(songs, recipe.valid_share, recipe.valid_tracks)
    material = Material(training, network.stems, recipe.input, memory=session.memory)
    form = ExcerptForm(network.channels, network.sample_rate, recipe.segment or network.segment)
    return TrainingRun(
        recipe,
        session,
        State(network, averaged_copy(network), optimiser),
        make_loss(recipe.loss, recipe.loss_options, network.stems),
        Batches(material, form, recipe.augment, size=recipe.batch, seed=session.seed),
        material,
        Material(held, network.stems, recipe.input, memory=session.memory),
        earlier,
        _identity(recipe, session, training, held),
        say,
    )


def begin_from(path: Path, network: Any) -> tuple[str, ...]:
    """Fill a network with the weights of an earlier run; return what those were trained on."""
    checkpoint = checkpoints.load(path)
    about = checkpoint.metadata
    with fitting(path, "the network of the recipe", "start from weights of the same network"):
        if tuple(about["config"]["stems"]) != network.stems:
            raise ValueError(f"its stems are {', '.join(about['config']['stems'])}")
        network.load_state_dict(checkpoints.named_for(network, checkpoint.state))
        return tuple(about["trained_on"])


def _identity(
    recipe: Recipe,
    session: Session,
    training: Sequence[TrainingSong],
    held: Sequence[TrainingSong],
) -> dict[str, Any]:
    """Return what must be the same to resume a run; the number of steps may change."""
    tracks = [[(s.track.dataset, s.track.split, s.track.name) for s in x] for x in (training, held)]
    fields = {key: value for key, value in recipe.as_dict().items() if key != "steps"}
    start = session.start and file_digest(session.start)
    return {"recipe": fields, "seed": session.seed, "tracks": digest(tracks), "start": start}
