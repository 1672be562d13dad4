"""The training loop: from a recipe and datasets to weights, curves and a model card.

All numbers depend only on the recipe, the seed and the tracks: batches and dropout are seeded by
(seed, step), so that a killed run, resumed from its last state, has the same result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, cast

import torch

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.files import only_one
from harness.datasets.tracks import Dataset
from harness.separators import checkpoints
from harness.separators.chunked import kept_memory, separate_chunked
from harness.training import state as states
from harness.training.card import draw_curves, model_card, write_card, write_curves
from harness.training.recipes import Recipe
from harness.training.session import Session, TrainingResult, TrainingRun, prepare
from harness.training.step import learning_rate, repeatable, take_step
from harness.training.validation import mean_score, validate

ROW_EVERY = 50  # steps between two rows of the curves
STATE = "state.safetensors"


def train(
    recipe: Recipe,
    datasets: Sequence[Dataset],
    session: Session,
    *,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> TrainingResult:
    """Train a network, or resume its training.

    The datasets have no test tracks; the tracks of some artists become the validation set.
    `progress` is called with (steps done, steps in all) after each step, `say` with one line after
    each validation.
    """
    device = torch.device(session.device)
    with only_one(session.out, "--out"), repeatable(device), kept_memory():
        run = prepare(recipe, datasets, session, say or (lambda line: None))
        _resume(run)
        _learn(run, progress or (lambda done, total: None))
        return _finish(run)


def _resume(run: TrainingRun) -> None:
    """Fill the state from disk if there is one."""
    path = run.session.out / STATE
    if not path.is_file():
        if run.weights.exists():
            raise HarnessError(
                f"{run.weights}: is there without the state of its training, which would replace "
                "it; use another --out"
            )
        return
    if not run.session.resume:
        raise HarnessError(
            f"{run.session.out}: has a training run; use --resume to continue it, or another --out"
        )
    states.load(path, run.state, run.identity)


def _learn(run: TrainingRun, progress: Callable[[int, int], None]) -> None:
    """Take steps until the schedule, the patience or the time ends."""
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


def _ended(run: TrainingRun) -> str | None:
    """Return why there is no further step; None if there is one."""
    progress, limit = run.state.progress, run.session.seconds
    if progress.step >= run.recipe.steps:
        return "finished"
    if progress.stale >= run.recipe.patience:
        return "stopped early"
    if limit is not None and time.monotonic() - run.begun >= limit:
        return "paused"
    return None


def _record(run: TrainingRun, loss: float, norm: float) -> None:
    """Add a row to the curves every `ROW_EVERY` steps and at each validation, if one is due."""
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


def _validate(run: TrainingRun) -> dict[str, float]:
    """Score the averaged weights on whole tracks, and write them if they are the best so far."""
    progress, network = run.state.progress, cast(Any, run.state.average)

    def separate(mixture: Audio) -> Audio:
        options = {"segment": network.segment, "batch": 1, "device": run.session.device}
        return separate_chunked(network, mixture, **options)[0]

    scores = validate(run.validation, separate, (network.channels, network.sample_rate))
    value = mean_score(scores)
    better = progress.best is None or value > progress.best
    progress.stale = 0 if better else progress.stale + 1
    if better:
        progress.best, progress.best_step, progress.scores = value, progress.step, scores
        about = {
            "network": run.recipe.network,
            "config": network.config(),
            "trained_on": run.trained_on,
        }
        checkpoints.save(run.weights, network, about)
    elif progress.stale % max(1, run.recipe.patience // 3) == 0:
        progress.drops += 1
    run.say(f"step {progress.step}: validation SNR {value:.2f} dB, best {progress.best:.2f} dB")
    return scores


def _finish(run: TrainingRun) -> TrainingResult:
    """Write curves and card, and return the result."""
    progress, ended = run.state.progress, _ended(run) or "paused"
    if progress.best is None:  # paused before the first validation
        _validate(run)
    out = run.session.out / run.recipe.name
    write_curves(out.with_name(f"{out.name}.curves.csv"), progress.rows)
    note = draw_curves(out.with_name(f"{out.name}.curves.png"), progress.rows)
    write_card(out, model_card(run, ended))
    notes = (note,) if note else ()
    return TrainingResult(run.weights, progress.scores, progress.step, ended, notes)
