"""The whole state of a training run, in one safetensors file: tensors, and JSON beside them.

Random numbers need no state: every draw is seeded by (seed, step).
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

from harness.cache import write_atomic
from harness.errors import HarnessError

FORMAT = "1"  # of the file; to be raised when it changes
Row = dict[str, float | int | None]


@dataclass
class Progress:
    """All of the state that is not tensors.

    Attributes
    ----------
    step
        Steps done.
    seconds
        Time spent in training so far, over all sittings.
    best, best_step
        Best mean validation score in dB, and after which step; None before any.
    stale
        Validations since the best one.
    drops
        How often the plateau schedule has halved the learning rate.
    loss_sum, loss_count
        For the mean loss of the next row of the curves.
    rows
        The curves so far.
    scores
        {stem: dB} of the best validation.
    """

    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    drops: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    rows: list[Row] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)


@dataclass
class State:
    """Network, its averaged copy, optimiser and progress."""

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    progress: Progress = field(default_factory=Progress)


def averaged_copy(network: nn.Module) -> nn.Module:
    """Return a copy for the averaged weights, in evaluation mode and without gradients."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average a little towards the network; counts and statistics are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for ours, theirs in zip(average.buffers(), network.buffers(), strict=True):
        ours.copy_(theirs)


def save(path: Path, state: State, identity: dict[str, Any]) -> None:
    """Write the state; it is there whole or not at all.

    Parameters
    ----------
    identity
        What names the run; `load` refuses the file if it is another.
    """
    tensors = {name: _plain(tensor) for name, tensor in _tensors(state)}
    about = {"format": FORMAT, "identity": identity, "progress": asdict(state.progress)}
    write_atomic(path, pack(tensors, {"state": json.dumps(about)}))


def load(path: Path, state: State, identity: dict[str, Any]) -> None:
    """Fill the state from a file; nothing in it is ever executed.

    Raises
    ------
    HarnessError
        If the file cannot be read, or belongs to another recipe, seed or set of tracks.
    """
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("state", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, ValueError, SafetensorError) as error:
        raise HarnessError(
            f"{path}: cannot be read as a training state ({error}); start anew in another --out"
        ) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise HarnessError(f"{path}: is no training state; start anew in another --out")
    _check_identity(path, about["identity"], identity)
    _fill(state, tensors)
    state.progress = Progress(**about["progress"])


def _check_identity(path: Path, have: dict[str, Any], want: dict[str, Any]) -> None:
    """Refuse to go on with something else."""
    want = json.loads(json.dumps(want))  # tuples are lists there
    for key in sorted(want):
        if have.get(key) != want[key]:
            raise HarnessError(
                f"{path}: was begun with another {key} ({_short(have.get(key))}, now "
                f"{_short(want[key])}); give the same again, or another --out"
            )


def _short(value: Any) -> str:
    """Return a value for a message."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    """Give every tensor of the state a name."""
    for name, tensor in state.network.state_dict().items():
        yield f"network/{name}", tensor
    for name, tensor in state.average.state_dict().items():
        yield f"average/{name}", tensor
    for index, values in state.optimiser.state_dict()["state"].items():
        for name, tensor in values.items():
            yield f"optimiser/{index}/{name}", tensor


def _plain(tensor: Tensor) -> Tensor:
    """Return a copy on the CPU that shares nothing."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _fill(state: State, tensors: dict[str, Tensor]) -> None:
    """Put tensors back where `_tensors` found them."""
    state.network.load_state_dict(_part(tensors, "network/"))
    state.average.load_state_dict(_part(tensors, "average/"))
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _part(tensors, "optimiser/").items():
        index, _, key = name.partition("/")
        slots.setdefault(int(index), {})[key] = tensor
    groups = state.optimiser.state_dict()["param_groups"]
    state.optimiser.load_state_dict({"state": slots, "param_groups": groups})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
