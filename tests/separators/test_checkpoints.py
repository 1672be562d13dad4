import hashlib
import os
import pickle
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.core.errors import HarnessError
from harness.separators import checkpoints

ABOUT = {"network": "asnet", "config": {"stems": ["a", "b"]}, "trained_on": ["demo:train"]}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LSTM(4, 2, bidirectional=True))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def pickled(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


class Program:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


# --- safetensors ------------------------------------------------------------------------------
def test_saved_weights_come_back_with_what_they_are(tmp_path):
    module = network()
    checkpoints.save(tmp_path / "a.safetensors", module, ABOUT)
    found = checkpoints.load(tmp_path / "a.safetensors")
    assert found.metadata == ABOUT
    assert found.state.keys() == module.state_dict().keys()
    assert all(torch.equal(found.state[k], v) for k, v in module.state_dict().items())
    module.load_state_dict(found.state)


def test_the_same_weights_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        checkpoints.save(tmp_path / f"{name}.safetensors", network(), ABOUT)
    assert digest(tmp_path / "a.safetensors") == digest(tmp_path / "b.safetensors")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_half_is_half_the_size_and_loads_into_the_network(tmp_path):
    module = nn.Linear(500, 500)
    checkpoints.save(tmp_path / "full.safetensors", module, ABOUT)
    checkpoints.save(tmp_path / "half.safetensors", module, ABOUT, half=True)
    sizes = [(tmp_path / f"{n}.safetensors").stat().st_size for n in ("half", "full")]
    assert sizes[0] < 0.51 * sizes[1]
    wanted = module.weight.detach().clone()
    module.load_state_dict(checkpoints.load(tmp_path / "half.safetensors").state)
    assert module.weight.dtype == torch.float32
    assert torch.allclose(module.weight, wanted, rtol=5e-4, atol=1e-7)


def test_metadata_of_other_safetensors_is_kept_as_text(tmp_path):
    import safetensors.torch

    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.ones(1)}, path, {"klass": "demucs.HTDemucs"})
    assert checkpoints.load(path).metadata == {"klass": "demucs.HTDemucs"}


def test_only_safetensors_are_written(tmp_path):
    with pytest.raises(HarnessError, match=r"name it a\.safetensors"):
        checkpoints.save(tmp_path / "a.th", network(), ABOUT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 64, b"\x02" + b"\0" * 7 + b"{}xx"])
def test_damaged_safetensors_are_refused(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(HarnessError, match="is not safetensors"):
        checkpoints.load(tmp_path / "a.safetensors")


# --- the right file ---------------------------------------------------------------------------
def test_only_the_expected_file_is_opened(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoints.save(path, network(), ABOUT)
    size = path.stat().st_size
    checkpoints.load(path, sha256=digest(path).upper())
    checkpoints.check(path, sha256=digest(path), size=size)
    with pytest.raises(HarnessError, match="sha256 is"):
        checkpoints.check(path, sha256="0" * 64)
    with pytest.raises(HarnessError, match=f"has {size} bytes, 7 were expected"):
        checkpoints.check(path, sha256=digest(path), size=7)
    with pytest.raises(HarnessError, match=f"sha256 is {digest(path)}, 00"):
        checkpoints.load(path, sha256="0" * 64)
    with pytest.raises(HarnessError, match="cannot be read"):
        checkpoints.load(tmp_path / "absent.safetensors")
    with pytest.raises(HarnessError, match="unknown kind"):
        checkpoints.load(tmp_path / "a.onnx")


# --- pickles ----------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", checkpoints.PICKLES)
def test_a_pickle_without_a_hash_is_not_opened(tmp_path, suffix):
    path = pickled(tmp_path / f"a{suffix}", {"x": torch.ones(2)})
    with pytest.raises(HarnessError, match=digest(path)):
        checkpoints.load(path)
    assert torch.equal(checkpoints.load(path, sha256=digest(path)).state["x"], torch.ones(2))


def test_a_pickle_that_runs_a_program_is_refused_and_runs_nothing(tmp_path):
    written = tmp_path / "written"
    program = Program(written)
    files = [tmp_path / f"{name}.th" for name in ("zip", "old", "raw")]
    pickled(files[0], {"state": {"x": torch.ones(1)}, "extra": program})
    torch.save({"x": program}, files[1], _use_new_zipfile_serialization=False)
    files[2].write_bytes(pickle.dumps(program))
    for path in files:
        with pytest.raises(HarnessError, match="refused") as caught:
            checkpoints.load(path, sha256=digest(path))
        assert "weights_only" not in str(caught.value)  # no advice to read it all the same
        assert ".system" in str(caught.value) or path.stem == "raw"
        assert not written.exists()
    pickle.loads(files[2].read_bytes())  # it is what the test says it is
    assert written.exists()


def test_a_pickle_that_is_not_the_expected_one_is_not_read(tmp_path):
    path = pickled(tmp_path / "a.th", {"x": Program(tmp_path / "written")})
    with pytest.raises(HarnessError, match="sha256 is"):
        checkpoints.load(path, sha256="0" * 64)
    assert not (tmp_path / "written").exists()


class HTDemucs:
    """Stands where the class of the demucs package stands in its files."""


HTDemucs.__module__, HTDemucs.__qualname__ = "demucs.htdemucs", "HTDemucs"


def test_packages_of_demucs_are_read_without_demucs(tmp_path, monkeypatch):
    import sys
    import types

    fake = types.ModuleType("demucs.htdemucs")
    fake.HTDemucs = HTDemucs
    monkeypatch.setitem(sys.modules, "demucs", types.ModuleType("demucs"))
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", fake)
    package = {
        "klass": HTDemucs,
        "args": (),
        "kwargs": {"sources": ["drums", "bass"], "segment": Fraction(39, 5)},
        "state": OrderedDict(x=torch.ones(2, dtype=torch.float16)),
        "training_args": {"lr": 3e-4},
    }
    path = pickled(tmp_path / "955717e8.th", package)
    monkeypatch.undo()
    found = checkpoints.load(path, sha256=digest(path))
    assert found.state.keys() == {"x"}
    assert found.metadata["kwargs"]["segment"] == Fraction(39, 5)
    assert found.metadata["klass"].__name__ == "HTDemucs"
    assert found.metadata["klass"] is not HTDemucs


@pytest.mark.parametrize("key", [*checkpoints.STATES, None])
def test_tensors_are_found_where_trainers_keep_them(tmp_path, key):
    state = {"module.a.weight": torch.ones(2), "b": torch.zeros(1)}
    content = state if key is None else {key: state, "epoch": 3}
    path = pickled(tmp_path / "a.ckpt", content)
    found = checkpoints.load(path, sha256=digest(path))
    assert found.state.keys() == {"a.weight", "b"}
    assert found.metadata == ({} if key is None else {"epoch": 3})


@pytest.mark.parametrize("core", [b"_core", b"core"])  # as numpy 2 and 1 name it
def test_scores_that_trainers_keep_beside_the_tensors_are_read(tmp_path, core):
    path = tmp_path / "a.ckpt"
    beside = {"best_metric": np.float64(9.5), "loss": np.float32(0.25), "epoch": np.int64(3)}
    content = {"model_state_dict": {"x": torch.ones(2)}, **beside}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.", b"numpy." + core + b"."))
    assert checkpoints.load(path, sha256=digest(path)).metadata == beside


@pytest.mark.parametrize("core", [b"_core", b"core"])
def test_arrays_of_numpy_are_read_as_tensors(tmp_path, core):
    path = tmp_path / "a.ckpt"
    grid = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = {"c": grid, "f": np.asfortranarray(grid), "big": grid.astype(">f4"), "n": np.int64(3)}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.", b"numpy." + core + b"."))
    found = checkpoints.load(path, sha256=digest(path)).state
    assert found.keys() == {"c", "f", "big"}
    assert all(torch.equal(found[name], torch.from_numpy(grid)) for name in found)


def test_arrays_of_objects_are_refused_and_run_nothing(tmp_path):
    written = tmp_path / "written"
    named = {"program": Program(written), "masked": np.ma.array([1.0])}
    for name, thing in {**named, "objects": np.array([Program(written)], dtype=object)}.items():
        path = pickled(tmp_path / f"{name}.ckpt", {"x": np.ones(2, np.float32), "y": thing})
        with pytest.raises(HarnessError, match="refused"):
            checkpoints.load(path, sha256=digest(path))
        assert not written.exists()
    path = pickled(tmp_path / "o.ckpt", {"x": np.ones(1), "y": np.array([None, 1], dtype=object)})
    with pytest.raises(HarnessError, match="refused"):
        checkpoints.load(path, sha256=digest(path))


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.ones(2)])
def test_pickles_without_named_tensors_are_refused(tmp_path, content):
    path = pickled(tmp_path / "a.pt", content)
    with pytest.raises(HarnessError, match=r"use one of named tensors|no tensors"):
        checkpoints.load(path, sha256=digest(path))


def test_a_damaged_pickle_is_refused(tmp_path):
    path = pickled(tmp_path / "a.pt", {"x": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(HarnessError, match="refused"):
        checkpoints.load(path, sha256=digest(path))


# --- configurations ---------------------------------------------------------------------------
def test_configurations_with_tuples_are_read(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "model:\n  sizes: !!python/tuple [4096, 2048, !!python/tuple [1]]\n  dim: 384\n"
    )
    assert checkpoints.read_config(path) == {"model": {"sizes": (4096, 2048, (1,)), "dim": 384}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system ['touch x']", r"c\.yaml: line 1: could not"),
        ("model: {dim: 1,\n dim: 2}", r"c\.yaml: line 2: 'dim' occurs twice"),
        ("- a", r"c\.yaml: is not a mapping"),
    ],
)
def test_configurations_that_are_more_than_values_are_refused(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=message):
        checkpoints.read_config(path)


def test_configurations_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(HarnessError, match="cannot be read"):
        checkpoints.read_config(tmp_path / "absent.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(HarnessError, match="at most 1000000"):
        checkpoints.read_config(tmp_path / "huge.yaml")
