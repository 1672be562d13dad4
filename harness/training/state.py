"""The complete state of a training run, in one safetensors file with JSON in its header.

Random numbers need no state: each draw is seeded by (seed, step).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as pack
from torch import Tensor, nn

from harness.core.errors import HarnessError
from harness.core.files import write_atomic

FORMAT = "1"  # of the file; raise it when it changes
Row = dict[str, float | int | None]


@dataclass
class TrainingProgress:
    """The part of the state that is not tensors."""

    step: int = 0  # steps done
    seconds: float = 0.0  # spent so far, over all sessions
    best: float | None = None  # best mean validation score in dB; None before the first validation
    best_step: int = 0
    stale: int = 0  # validations since the best one
    drops: int = 0  # how often the plateau schedule halved the learning rate
    loss_sum: float = 0.0  # for the mean loss of the next row of the curves
    loss_count: int = 0
    rows: list[Row] = field(default_factory=list)  # the curves so far
    scores: dict[str, float] = field(default_factory=dict)  # {stem: dB} of the best validation


@dataclass
class State:
    """Network, its averaged copy, optimizer and progress."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    progress: TrainingProgress = field(default_factory=TrainingProgress)


def averaged_copy(network: nn.Module) -> nn.Module:
    """Return a copy for the averaged weights, in evaluation mode and without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged parameters towards the network; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for ours, theirs in zip(average.buffers(), network.buffers(), strict=True):
        ours.copy_(theirs)


def save(path: Path, state: State, identity: dict[str, Any]) -> None:
    """Write the state atomically; `load` refuses it for a run with another `identity`."""
    tensors = {n: t.detach().to("cpu", copy=True).contiguous() for n, t in _tensors(state)}
    about = {"format": FORMAT, "identity": identity, "progress": asdict(state.progress)}
    write_atomic(path, pack(tensors, {"state": json.dumps(about)}))


def load(path: Path, state: State, identity: dict[str, Any]) -> None:
    """Fill the state from a file; no code in it is executed."""
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("state", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise HarnessError(
            f"{path}: cannot be read as a training state ({error}); start again with another --out"
        ) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise HarnessError(f"{path}: is not a training state; start again with another --out")
    for key in sorted(identity):
        old, new = (json.dumps(x.get(key), sort_keys=True) for x in (about["identity"], identity))
        if old != new:
            old, new = (text if len(text) <= 60 else f"{text[:57]}…" for text in (old, new))
            raise HarnessError(
                f"{path}: was started with another {key} ({old}, now {new}); use the same, or "
                "another --out"
            )
    _fill(state, tensors)
    state.progress = TrainingProgress(**about["progress"])


def _tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for all tensors of the state."""
    for part, network in (("network", state.network), ("average", state.average)):
        for name, tensor in network.state_dict().items():
            yield f"{part}/{name}", tensor
    for index, values in state.optimiser.state_dict()["state"].items():
        for name, tensor in values.items():
            yield f"optimiser/{index}/{name}", tensor


def _fill(state: State, tensors: dict[str, Tensor]) -> None:
    """Restore the tensors that `_tensors` yielded."""
    state.network.load_state_dict(_part(tensors, "network/"))
    state.average.load_state_dict(_part(tensors, "average/"))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimiser/").items():
        index, _, key = name.partition("/")
        slots.setdefault(int(index), {})[key] = tensor
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": slots, "param_groups": groups})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, with the prefix removed."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
