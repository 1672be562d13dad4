"""The training loop: from a recipe and datasets to weights, curves and a model card.

Every number depends on the recipe, the seed and the tracks alone: batches and dropout are seeded by
(seed, step), so a run that was killed goes on from its last state as if nothing had happened.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from harness import weights
from harness.audio import Audio
from harness.cache import only_one
from harness.datasets.tracks import Dataset
from harness.errors import HarnessError
from harness.networks import count_parameters
from harness.separators.chunked import kept_memory, separate_chunked
from harness.training import card
from harness.training import state as states
from harness.training.recipes import Recipe
from harness.training.run import Outcome, Run, Session, prepare
from harness.training.step import learning_rate, repeatable, take_step
from harness.training.validation import mean_score, mixture_scores, validate

ROW_EVERY = 50  # steps between two rows of the curves
STATE = "state.safetensors"


def train(
    recipe: Recipe,
    datasets: Sequence[Dataset],
    session: Session,
    *,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Train a network, or go on with training it.

    Parameters
    ----------
    recipe
        See `harness.training.recipes`.
    datasets
        Tracks to learn from; validation takes some artists away. Never give test tracks.
    progress
        Called with (steps done, steps in all) after each step.
    say
        Called with one line after each validation.

    Raises
    ------
    HarnessError
        If the recipe, the tracks or the folder do not fit, or the loss is no longer a number.
    """
    device = torch.device(session.device)
    with only_one(session.out, "--out"), repeatable(device), kept_memory():
        run = prepare(recipe, datasets, session, say or (lambda line: None))
        _begin(run)
        _learn(run, progress or (lambda done, total: None))
        return _leave(run)


def _begin(run: Run) -> None:
    """Fill the state from disk if the run is to go on."""
    path = run.session.out / STATE
    if path.is_file() and not run.session.resume:
        raise HarnessError(
            f"{run.session.out}: holds a training run; give --resume to go on with it, "
            "or another --out"
        )
    if path.is_file():
        states.load(path, run.state, run.identity)


def _learn(run: Run, progress: Callable[[int, int], None]) -> None:
    """Take steps until the schedule, patience or time is at its end."""
    state, recipe, session = run.state, run.recipe, run.session
    before, saved = state.progress.seconds, time.monotonic()
    made = run.batches.stream(state.progress.step, recipe.steps, workers=session.workers)
    with closing(made) as stream:
        while _ended(run) is None:
            loss, norm = take_step(state, next(stream), run.loss, recipe, session.seed)
            state.progress.seconds = before + time.monotonic() - run.begun
            _record(run, loss, norm)
            progress(state.progress.step, recipe.steps)
            if time.monotonic() - saved >= session.save_seconds:
                states.save(session.out / STATE, state, run.identity)
                saved = time.monotonic()
    states.save(session.out / STATE, state, run.identity)


def _ended(run: Run) -> str | None:
    """Say why there is no further step, or None."""
    progress, limit = run.state.progress, run.session.seconds
    if progress.step >= run.recipe.steps:
        return "finished"
    if progress.stale >= run.recipe.patience:
        return "stopped early"
    if limit is not None and time.monotonic() - run.begun >= limit:
        return "paused"
    return None


def _record(run: Run, loss: float, norm: float) -> None:
    """Add a row to the curves now and then, with a validation where one is due."""
    progress, recipe = run.state.progress, run.recipe
    progress.loss_sum += loss
    progress.loss_count += 1
    step = progress.step
    validation = step % recipe.validate_every == 0 or step == recipe.steps
    if not validation and step % ROW_EVERY:
        return
    scores = _validate(run) if validation else {}
    progress.rows.append(
        {
            "step": step,
            "seconds": round(progress.seconds, 1),
            "learning_rate": learning_rate(recipe, step - 1, progress.drops),
            "loss": progress.loss_sum / progress.loss_count,
            "gradient_norm": norm,
            **({"snr": mean_score(scores)} if scores else {}),
            **{f"snr_{stem}": value for stem, value in scores.items()},
        }
    )
    progress.loss_sum, progress.loss_count = 0.0, 0


def _validate(run: Run) -> dict[str, float]:
    """Score the averaged weights; keep them if they are the best so far."""
    progress = run.state.progress
    scores = _scores(run)
    value = mean_score(scores)
    better = progress.best is None or value > progress.best
    progress.stale = 0 if better else progress.stale + 1
    if better:
        progress.best, progress.best_step, progress.scores = value, progress.step, scores
        _write_best(run)
    elif progress.stale % max(1, run.recipe.patience // 3) == 0:
        progress.drops += 1
    run.say(f"step {progress.step}: validation SNR {value:.2f} dB, best {progress.best:.2f} dB")
    return scores


def _scores(run: Run) -> dict[str, float]:
    """Score the averaged weights on whole validation tracks."""
    network: Any = run.state.average

    def separate(mixture: Audio) -> Audio:
        options = {"segment": network.segment, "batch": 1, "device": run.session.device}
        return separate_chunked(network, mixture, **options)[0]

    return validate(run.validation, separate, (network.channels, network.sample_rate))


def _write_best(run: Run) -> None:
    """Write the averaged weights, with what is needed to build the network again."""
    network: Any = run.state.average
    about = {
        "network": run.recipe.network,
        "config": network.config(),
        "trained_on": sorted({f"{s.track.dataset}:{s.track.split}" for s in run.training.songs}),
    }
    weights.save(_weights(run), network, about)


def _weights(run: Run) -> Path:
    """Return where the weights lie."""
    return run.session.out / f"{run.recipe.name}.safetensors"


def _leave(run: Run) -> Outcome:
    """Write curves and card, and say what was reached."""
    progress, ended = run.state.progress, _ended(run) or "paused"
    if progress.best is None:  # paused before the first validation
        _validate(run)
    out = run.session.out / run.recipe.name
    card.write_curves(out.with_name(f"{out.name}.curves.csv"), progress.rows)
    note = card.draw_curves(out.with_name(f"{out.name}.curves.png"), progress.rows)
    card.write_card(out, _card(run, ended))
    notes = (note,) if note else ()
    return Outcome(_weights(run), progress.scores, progress.step, ended, notes)


def _card(run: Run, ended: str) -> card.Card:
    """Fill in the model card."""
    network: Any = run.state.average
    progress, training = run.state.progress, card.describe_tracks(run.training.songs)
    return card.Card(
        name=run.recipe.name,
        network=run.recipe.network,
        config=network.config(),
        parameters=count_parameters(network),
        trained_on=tuple(f"{t.dataset}:{t.split}" for t in training),
        training=training,
        validation=card.describe_tracks(run.validation.songs),
        steps=progress.step,
        best_step=progress.best_step,
        ended=ended,
        seconds=round(progress.seconds, 1),
        hardware=card.hardware(run.session.device),
        scores=progress.scores,
        mixture_scores=mixture_scores(run.validation, (network.channels, network.sample_rate)),
        recipe=run.recipe.as_dict(),
        seed=run.session.seed,
    )
