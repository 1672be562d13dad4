"""Checkpoints: checked, and read without ever running what is in them.

A pickle can run any program when it is read. So ours are safetensors, which hold numbers only, and
other people's pickles are opened after their sha256 was checked, by a reader that refuses every
class but the few in `CLASSES`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from harness.cache import write_atomic
from harness.errors import HarnessError

MAX_CONFIG_BYTES = 1_000_000
PICKLES = (".th", ".ckpt", ".pt", ".pth")
STATES = ("best_state", "state", "state_dict", "model_state_dict")  # where pickles keep the tensors
CLASSES: tuple[type, ...] = (Fraction,)  # beside tensors and plain Python values
DTYPES = tuple(type(np.dtype(kind)) for kind in ("float64", "float32", "int64"))
STAND_INS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
KEY = "harness"  # of the metadata in files of ours


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes
    ----------
    state
        {name: tensor}, on the CPU, as stored.
    metadata
        In files of ours ``network``, ``config`` and ``trained_on``; else what stood beside the
        tensors.
    """

    state: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)


def check(path: Path, *, sha256: str | None = None, size: int | None = None) -> None:
    """Refuse a file that is absent or not the one expected; see `load`."""
    with _opened(path) as file:
        _check(file, path, sha256, size)


def save(path: Path, module: nn.Module, metadata: Mapping[str, Any], *, half: bool = False) -> None:
    """Write a network's tensors as safetensors; the file appears when it is complete.

    Parameters
    ----------
    path
        Ends in ``.safetensors``.
    module
        All of its state is kept.
    metadata
        JSON values: ``network`` and ``config`` build it again, ``trained_on`` says what it saw.
    half
        Keep 16 bits of each value: half the size, errors of at most 0.05 %.
    """
    if path.suffix != ".safetensors":
        raise HarnessError(f"{path}: is not written; name it {path.stem}.safetensors")
    tensors = {name: _stored(tensor, half) for name, tensor in module.state_dict().items()}
    text = {KEY: json.dumps(dict(metadata), sort_keys=True)}
    write_atomic(path, safetensors.torch.save(tensors, text))


def load(path: Path, *, sha256: str | None = None, size: int | None = None) -> Checkpoint:
    """Read a checkpoint whose bytes were checked first.

    Parameters
    ----------
    path
        ``.safetensors``, or a pickle as PyTorch writes it: ``.th``, ``.ckpt``, ``.pt``, ``.pth``.
    sha256
        Of the whole file; pickles are not opened without one.
    size
        In bytes, if known.

    Raises
    ------
    HarnessError
        If the file is absent, is not the one expected, or holds anything but values.
    """
    kinds = (".safetensors", *PICKLES)
    if path.suffix not in kinds:
        raise HarnessError(f"{path}: unknown kind of checkpoint; known are {', '.join(kinds)}")
    with _opened(path) as file:
        _check(file, path, sha256, size)
        file.seek(0)  # the bytes that were checked, whatever happens to the name meanwhile
        return _unpickle(file, path) if path.suffix in PICKLES else _read(file, path)


def read_config(path: Path) -> dict[str, Any]:
    """Read the YAML configuration of a published checkpoint.

    Tuples (``!!python/tuple``) are read as such; every other tag that names Python is refused.

    Raises
    ------
    HarnessError
        If it is absent, too large, or not a mapping of plain values.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if len(text) > MAX_CONFIG_BYTES:
        raise HarnessError(
            f"{path}: has {len(text)} bytes; a configuration has at most {MAX_CONFIG_BYTES}"
        )
    try:
        config = yaml.load(text, Loader=_ConfigLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = getattr(error, "problem", None) or type(error).__name__
        raise HarnessError(f"{path}: is not plain YAML ({problem}); mend or replace it") from error
    if not isinstance(config, dict):
        raise HarnessError(f"{path}: is not a mapping; replace it")
    return config


class _ConfigLoader(yaml.SafeLoader):
    """Plain values, and tuples."""

    def construct_tuple(self, node: yaml.Node) -> tuple[Hashable, ...]:
        """Return the values of a sequence."""
        if not isinstance(node, yaml.SequenceNode):
            raise yaml.MarkedYAMLError(problem="a tuple is not a sequence")
        return tuple(self.construct_sequence(node, deep=True))


_ConfigLoader.add_constructor("tag:yaml.org,2002:python/tuple", _ConfigLoader.construct_tuple)


@contextmanager
def _opened(path: Path) -> Iterator[BufferedReader]:
    """Open a file, or say that it cannot be read."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """Return a copy of its own, on the CPU."""
    copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return copy.half() if half and copy.is_floating_point() else copy


def _check(file: BufferedReader, path: Path, sha256: str | None, size: int | None) -> None:
    """Refuse a file that is not the one expected, and a pickle of which nothing is expected."""
    found_size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size is not None and found_size != size:
        raise HarnessError(f"{path}: has {found_size} bytes, not {size}; fetch it again")
    if sha256 is None and path.suffix not in PICKLES:
        return
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is None:
        raise HarnessError(
            f"{path}: a pickle is opened only if its sha256 is known; "
            f"if you trust this file, give it: {found}"
        )
    if found != sha256.lower():
        raise HarnessError(f"{path}: sha256 is {found}, not {sha256.lower()}; fetch it again")


def _read(file: BufferedReader, path: Path) -> Checkpoint:
    """Read safetensors."""
    content = file.read()
    try:
        state = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        written: dict[str, str] = header.get("__metadata__", {})
        metadata = json.loads(written[KEY]) if KEY in written else dict(written)
    except (safetensors.SafetensorError, ValueError) as error:
        raise HarnessError(f"{path}: is not safetensors ({error}); fetch it again") from error
    return Checkpoint(state, metadata)


def _unpickle(file: BufferedReader, path: Path) -> Checkpoint:
    """Read a pickle that names no class but the known ones."""
    try:
        with _known_classes():
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways
        named = re.search(r"GLOBAL (\S+)", str(error))  # the rest tells to read without care
        reason = f"it names {named[1]}" if named else f"it is damaged ({type(error).__name__})"
        raise HarnessError(
            f"{path}: refused, {reason}; only tensors and plain values are read from a pickle, "
            "use a safetensors file"
        ) from error
    return _sorted_out(content, path)


@contextmanager
def _known_classes() -> Iterator[None]:
    """Let the reader meet `CLASSES`, numpy's scalars, and names of networks as empty classes."""
    names = [name.rpartition(".") for name in STAND_INS]
    stand_ins = [type(name, (), {"__module__": module}) for module, _, name in names]
    scalar: Any = np.float64().__reduce__()[0]  # trainers keep scores beside the tensors
    scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    with torch.serialization.safe_globals([*CLASSES, *stand_ins, *scalars, np.dtype, *DTYPES]):
        yield


def _sorted_out(content: Any, path: Path) -> Checkpoint:
    """Tell the tensors of a pickle from what stands beside them."""
    if not isinstance(content, Mapping):
        raise HarnessError(f"{path}: holds a {type(content).__name__}; expected named tensors")
    beside: dict[str, Any] = {}
    inner = next((key for key in STATES if isinstance(content.get(key), Mapping)), None)
    if inner is not None:
        beside = {str(key): value for key, value in content.items() if key not in STATES}
        content = content[inner]
    state = {
        str(name).removeprefix("module."): tensor
        for name, tensor in content.items()
        if isinstance(tensor, Tensor)
    }
    if not state:
        raise HarnessError(f"{path}: holds no tensors; check that it is a checkpoint")
    return Checkpoint(state, beside)
