"""The machine: cores, devices, the processor, library versions and the commit of the code."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import threadpool_info

import harness
from harness.core.errors import HarnessError
from harness.core.text import count

DEVICES = ("auto", "cpu", "cuda", "mps")
GPU_JOBS = 4  # units of work that share a GPU at a time
LIBRARIES = ("numpy", "scipy", "soundfile", "soxr", "pandas", "pyarrow", "joblib", "torch")

WATCH = 0.5  # seconds between two looks at whether the parent process has ended
_ENDS_WITH: set[int] = set()  # the parents that this process watches
GROUPS: set[int] = set()  # process groups of running programs, which end with this process

P = ParamSpec("P")
R = TypeVar("R")
Progress = Callable[[int, int], None]  # called with (units done, all units)


def choose_device(name: str, *, learned: bool) -> str:
    """Return the device for networks: ``cpu``, ``cuda`` or ``mps``; ``auto`` prefers a GPU.

    Without `learned`, no network runs: the answer is ``cpu``, and PyTorch is not imported.
    """
    if name not in DEVICES:
        raise HarnessError(f"--device {name}: unknown device; use auto, cpu, cuda or mps")
    if name == "cpu" or not learned:
        return "cpu"
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next((device for device, found in available.items() if found), "cpu")
    if not available[name]:
        raise HarnessError(f"--device {name}: not available on this machine; use auto or cpu")
    return name


def work_place(device: str, *, learned: bool) -> str:
    """Return on which device, and with how many threads at most, this process separates.

    Threads are those of PyTorch with `learned`, otherwise of the BLAS libraries in use.
    """
    if device != "cpu":
        import torch

        return f"{device} ({torch.cuda.get_device_name(device)})" if "cuda" in device else device
    if learned:
        import torch

        threads = torch.get_num_threads()
    else:
        threads = max((pool["num_threads"] for pool in threadpool_info()), default=1)
    return f"cpu, {count(threads, 'thread')}"


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_jobs(device: str) -> int:
    """Return the number of parallel jobs for a device.

    On a GPU there are few, since each worker keeps its networks there. While one computes, the
    others read and resample the next tracks and score the last ones.
    """
    return cores() if device == "cpu" else min(cores(), GPU_JOBS)


def end_with(parent: int) -> None:
    """End this process soon after `parent`, which started it, has ended in any way.

    A killed parent cannot end its workers, and they would compute on for it. Files that they have
    written are complete, see `files.complete_file`. Only workers that joblib starts on this machine
    end. On Windows none does, since a process there keeps its parent's number.
    """
    worker = multiprocessing.current_process().name.startswith("LokyProcess")
    if not worker or parent in (os.getpid(), *_ENDS_WITH):
        return
    _ENDS_WITH.add(parent)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        for group in [*GROUPS]:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
        os._exit(1)  # at once: no process waits for an answer

    threading.Thread(target=watch, daemon=True).start()


def watched(work: Callable[P, R], parent: int, *args: P.args, **options: P.kwargs) -> R:
    """Do work for process `parent`, and `end_with` it; for workers."""
    end_with(parent)
    return work(*args, **options)


def environment() -> dict[str, Any]:
    """Return what a number may depend on besides the code: versions, machine, commit."""
    versions: dict[str, str] = {}
    for package in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):  # not installed
            versions[package] = metadata.version(package)
    return {
        "harness_version": harness.__version__,
        **_commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "libraries": versions,
    }


def processor_name() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> dict[str, Any]:
    """Return the commit of the checkout that holds this package, and whether it was changed."""
    here = Path(harness.__file__).resolve().parents[1]
    if (here / ".git").exists():
        with suppress(OSError, subprocess.CalledProcessError):
            commit, status = (
                subprocess.run(
                    ["git", "-C", str(here), *command], capture_output=True, text=True, check=True
                ).stdout.strip()
                for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
            )
            return {"commit": commit, "dirty": bool(status)}
    return {"commit": None, "dirty": None}
