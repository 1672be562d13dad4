"""Devices, cores, and the description of the machine."""

import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

import harness
from harness.core import machine
from harness.core.errors import HarnessError
from harness.core.machine import (
    GPU_JOBS,
    choose_device,
    cores,
    default_jobs,
    environment,
    work_place,
)


@pytest.fixture
def gpus(monkeypatch):
    """Say which kinds of GPU there are."""

    def have(*names):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in names)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in names)

    return have


@pytest.mark.parametrize(
    ("there", "expected"), [((), "cpu"), (("cuda",), "cuda"), (("mps",), "mps")]
)
def test_auto_prefers_a_gpu(gpus, there, expected):
    gpus(*there)
    assert choose_device("auto", learned=True) == expected


def test_without_networks_the_device_is_the_cpu(gpus):
    gpus("cuda")
    assert choose_device("cuda", learned=False) == "cpu"


@pytest.mark.parametrize(
    ("name", "message"),
    [("tpu", "unknown device"), ("cuda", "not available")],
)
def test_a_device_that_is_not_there_is_refused(gpus, name, message):
    gpus()
    with pytest.raises(HarnessError, match=f"--device {name}: {message}.*; use"):
        choose_device(name, learned=True)


def test_device_and_threads_are_named(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    pools = [{"num_threads": 1}, {"num_threads": 2}]
    monkeypatch.setattr(machine, "threadpool_info", lambda: pools)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "A GPU")
    assert work_place("cpu", learned=True) == "cpu, 3 threads"
    assert work_place("cpu", learned=False) == "cpu, 2 threads"
    assert work_place("cuda", learned=True) == "cuda (A GPU)"
    assert work_place("mps", learned=True) == "mps"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux restricts a process to some cores")
def test_only_cores_of_this_process_count(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5})
    assert cores() == 3


def test_a_gpu_has_few_jobs(monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 64)
    assert (default_jobs("cpu"), default_jobs("cuda")) == (64, GPU_JOBS)
    monkeypatch.setattr(machine, "cores", lambda: 2)
    assert default_jobs("cuda") == 2


def test_the_environment_names_versions_and_processor():
    found = environment()
    assert found["harness_version"] == harness.__version__
    assert found["libraries"]["torch"] == torch.__version__
    assert found["cpu"]
    assert found["cores"] >= 1


def test_a_folder_without_a_repository_has_no_commit(monkeypatch, tmp_path):
    monkeypatch.setattr(harness, "__file__", str(tmp_path / "harness" / "__init__.py"))
    assert environment()["commit"] is None


def test_programs_end_with_a_worker_that_has_lost_its_parent(monkeypatch):
    ended = threading.Event()
    worker = SimpleNamespace(name="LokyProcess-1")
    monkeypatch.setattr(machine.multiprocessing, "current_process", lambda: worker)
    monkeypatch.setattr(machine.os, "_exit", lambda _: ended.set())
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as program:
        monkeypatch.setattr(machine, "GROUPS", {program.pid})
        monkeypatch.setattr(machine, "_ENDS_WITH", set())
        machine.end_with(-1)  # no process has this number
        assert ended.wait(20)
        assert program.wait(20) == -signal.SIGKILL
