"""Checkpoints: verified first, and read without running any code in them.

A pickle can run any program when it is read. So ours are safetensors, which hold numbers only.
Pickles of other people are opened only after their sha256 was verified, by a reader that refuses
every class except those in `CLASSES`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.core.files import check_file, write_atomic

PICKLES = (".th", ".ckpt", ".pt", ".pth")
STATES = ("best_state", "state", "state_dict", "model_state_dict")  # keys of the tensors in pickles
WRAPPERS = ("module.", "model.")  # prefixes that trainers put before the names of tensors
COMPILED = "_orig_mod."  # which torch.compile puts before them, or before those of a part
CLASSES: tuple[type, ...] = (Fraction,)  # allowed besides tensors and plain Python values
DTYPES = tuple(type(np.dtype(kind)) for kind in ("float64", "float32", "int64"))
STAND_INS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs", "demucs.demucs.Demucs")
SETTINGS = (  # classes of options that trainers store beside the tensors; they are not read
    *(f"omegaconf.{name}" for name in (
        "dictconfig.DictConfig", "listconfig.ListConfig", "base.ContainerMetadata",
        "base.Metadata", "nodes.AnyNode", "nodes.StringNode", "nodes.IntegerNode",
        "nodes.FloatNode", "nodes.BooleanNode",
    )),
    "typing.Any",
)  # fmt: skip
CONTAINERS: tuple[type, ...] = (dict, list, int, defaultdict)  # within those
KEY = "harness"  # of the metadata in our files


@dataclass(frozen=True)
class Checkpoint:
    """The content of a file."""

    state: dict[str, Tensor]  # on the CPU, as stored
    # In our files ``network``, ``config`` and ``trained_on``; in others whatever is not a tensor.
    metadata: dict[str, Any] = field(default_factory=dict)


def check(path: Path, *, sha256: str | None = None, size: int | None = None) -> None:
    """Refuse a file that is absent or differs from the expected one; `size` is in bytes."""
    with _checked(path, sha256, size):
        pass


def save(path: Path, module: nn.Module, metadata: Mapping[str, Any], *, half: bool = False) -> None:
    """Write a network's tensors as safetensors; the file appears when it is complete.

    Of the metadata, JSON values, ``network`` and ``config`` build the network again, and
    ``trained_on`` lists its training data. `half` keeps 16 bits of each value: half the size,
    errors of at most 0.05 %.
    """
    if path.suffix != ".safetensors":
        raise HarnessError(f"{path}: only safetensors are written; name it {path.stem}.safetensors")
    tensors = {name: _stored(tensor, half) for name, tensor in module.state_dict().items()}
    text = {KEY: json.dumps(dict(metadata), sort_keys=True)}
    write_atomic(path, safetensors.torch.save(tensors, text))


def load(path: Path, *, sha256: str | None = None) -> Checkpoint:
    """Read safetensors, or a pickle as PyTorch writes it, after the file's bytes were verified.

    `sha256` is the hash of the whole file; a pickle is not opened without one.
    """
    kinds = (".safetensors", *PICKLES)
    if path.suffix not in kinds:
        raise HarnessError(f"{path}: unknown kind of checkpoint; use one of {', '.join(kinds)}")
    with _checked(path, sha256) as file:
        return _unpickle(file, path) if path.suffix in PICKLES else _read(file, path)


def named_for(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the network's names: without what trainers add to them.

    ``module.`` comes from several GPUs, ``model.`` from a trainer that holds network and losses,
    ``_orig_mod.`` from compiling. Tensors beside such a prefix are not of the network.
    """
    names = network.state_dict().keys()
    found = {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
    while found.keys().isdisjoint(names):
        wrapper = next((w for w in WRAPPERS if any(name.startswith(w) for name in found)), None)
        if wrapper is None:
            return dict(state)
        found = {n.removeprefix(wrapper): t for n, t in found.items() if n.startswith(wrapper)}
    return found


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of a published checkpoint from its YAML."""
    config = strict_yaml.read(path, "configuration")
    if not isinstance(config, dict):
        raise HarnessError(f"{path}: is not a mapping of names to values; replace the file")
    return config


@contextmanager
def _checked(path: Path, sha256: str | None, size: int | None = None) -> Iterator[BufferedReader]:
    """Yield the bytes that were checked, whatever happens to the name meanwhile."""
    try:
        with path.open("rb") as file:
            if sha256 is None and path.suffix in PICKLES:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                raise HarnessError(
                    f"{path}: a pickle is opened only if its sha256 is known; "
                    f"if you trust this file, add sha256: {found}"
                )
            check_file(path, size=size, sha256=sha256, file=file)
            yield file
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """Return an independent copy on the CPU."""
    copy = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return copy.half() if half and copy.is_floating_point() else copy


def _read(file: BufferedReader, path: Path) -> Checkpoint:
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
    """Read a pickle that names no classes but the known ones."""
    try:
        with _known_classes():
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways
        named = re.search(r"GLOBAL (\S+)", str(error))  # the rest advises unsafe reading
        reason = f"it names {named[1]}" if named else f"it is damaged ({type(error).__name__})"
        raise HarnessError(
            f"{path}: refused, {reason}; use a safetensors file, "
            "or a pickle of tensors and plain values only"
        ) from error
    return _split(content, path)


@contextmanager
def _known_classes() -> Iterator[None]:
    """Allow `CLASSES`, numpy's numbers and arrays, and empty classes with the known other names."""
    names = [name.rpartition(".") for name in (*STAND_INS, *SETTINGS)]
    stand_ins = [type(name, (), {"__module__": module}) for module, _, name in names]
    scalar: Any = np.float64().__reduce__()[0]  # trainers store scores with the tensors
    array: Any = np.empty(0).__reduce__()[0]  # some store arrays instead of tensors
    makers = [
        (maker, f"numpy.{core}.multiarray.{maker.__name__}")
        for core in ("core", "_core")
        for maker in (scalar, array)
    ]
    values: list[type] = [np.ndarray, np.dtype, *DTYPES]
    allowed: list[Any] = [*CLASSES, *CONTAINERS, *stand_ins, *makers, *values]
    with torch.serialization.safe_globals(allowed):
        yield


def _split(content: Any, path: Path) -> Checkpoint:
    """Split the content of a pickle into tensors and everything else."""
    if not isinstance(content, Mapping):
        raise HarnessError(f"{path}: holds a {type(content).__name__}; use one of named tensors")
    beside: dict[str, Any] = {}
    inner = next((key for key in STATES if isinstance(content.get(key), Mapping)), None)
    if inner is not None:
        beside = {str(key): value for key, value in content.items() if key not in STATES}
        content = content[inner]
    state = {
        str(name).removeprefix("module."): _tensor(value)
        for name, value in content.items()
        if isinstance(value, Tensor)
        or (isinstance(value, np.ndarray) and type(value.dtype) in DTYPES)
    }
    if not state:
        raise HarnessError(f"{path}: holds no tensors; use a checkpoint")
    return Checkpoint(state, beside)


def _tensor(value: Tensor | npt.NDArray[Any]) -> Tensor:
    """Return an array as a tensor, whatever its order of bytes."""
    if isinstance(value, Tensor):
        return value
    return torch.from_numpy(np.ascontiguousarray(value, value.dtype.newbyteorder("=")))
