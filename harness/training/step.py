"""One repeatable step of training."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.training.batches import TrainingBatch
from harness.training.recipes import Recipe
from harness.training.state import State, update_average

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def learning_rate(recipe: Recipe, step: int, drops: int = 0) -> float:
    """Return the learning rate of a step, counted from 0.

    Examples
    --------
    >>> recipe = Recipe("a", "unet", learning_rate=1.0, warm_up=10, steps=100, floor=0.0)
    >>> [round(learning_rate(recipe, step), 2) for step in (0, 9, 50, 99)]
    [0.1, 0.98, 0.5, 0.0]
    """
    warm = min(1.0, (step + 1) / max(1, recipe.warm_up))
    if recipe.schedule == "plateau":
        return recipe.learning_rate * warm * max(recipe.floor, 0.5**drops)
    wave = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.learning_rate * warm * (recipe.floor + (1 - recipe.floor) * wave)


def take_step(
    state: State, batch: TrainingBatch, loss_of: Loss, recipe: Recipe, seed: int
) -> tuple[float, float]:
    """Train on one batch; return the loss and the norm of its gradient before clipping.

    On CUDA the network computes in bfloat16, the loss in float32.
    """
    step = state.progress.step
    seed_step(seed, step)
    device = next(state.network.parameters()).device
    mixture, target = (torch.from_numpy(x).to(device) for x in (batch.mixture, batch.target))
    state.network.train()
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        estimate = state.network(mixture)
    loss = loss_of(estimate.float(), target, mixture)
    state.optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip)
    value = float(loss.detach())
    if not (math.isfinite(value) and math.isfinite(float(norm))):
        raise HarnessError(
            f"train {recipe.name}: the loss is {value} at step {step}; lower the learning rate"
        )
    for group in state.optimiser.param_groups:
        group["lr"] = learning_rate(recipe, step, state.progress.drops)
    state.optimiser.step()
    update_average(state.average, state.network, min(recipe.ema, (1 + step) / (10 + step)))
    state.progress.step = step + 1
    return value, float(norm)


def seed_step(seed: int, step: int) -> None:
    """Seed torch (dropout) for one step; step −1 seeds the initial weights."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step + 1]).generate_state(1)[0]))


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Use deterministic algorithms, and restore the settings of torch afterwards.

    On CUDA an operation without a deterministic algorithm only warns: runs there repeat up to
    rounding.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before)
            torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
