"""Costs of a unit of work: wall time, CPU time, peak memory."""

from __future__ import annotations

import ctypes
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of the system's account of memory


@dataclass
class Meter:
    """Measure a block of code, with the programs that it starts and waits for.

    Of programs, the largest so far counts. The memory of this process is exact on Linux; elsewhere
    only growth beyond its earlier peak is measured.

    Examples
    --------
    >>> with Meter() as meter:
    ...     block = bytearray(50_000_000)
    >>> meter.peak_memory > 40_000_000
    True
    """

    seconds: float = 0.0  # wall time
    cpu_seconds: float = 0.0  # CPU time of all threads
    peak_memory: int = 0  # bytes: highest resident memory in the block, minus that at its start
    _start: tuple[float, float, float, int] = field(default=(0.0, 0.0, 0.0, 0), repr=False)

    def __enter__(self) -> Meter:
        programs, _ = _programs()
        self._start = (time.perf_counter(), time.process_time(), programs, _reset_peak())
        return self

    def __exit__(self, *error: object) -> None:
        wall, cpu, before, memory = self._start
        self.seconds = time.perf_counter() - wall
        programs, largest = _programs()
        self.cpu_seconds = time.process_time() - cpu + programs - before
        self.peak_memory = max(0, _peak() - memory) + (largest if programs > before else 0)


def _programs() -> tuple[float, int]:
    """Return the CPU time of all programs that have ended, and the memory of the largest."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss * UNIT


def _reset_peak() -> int:
    """Reset the peak if the system can do it; return the memory held now, in bytes.

    Freed memory is returned to the system first: what an earlier unit left would hide growth.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return _peak()


def _peak() -> int:
    """Return the highest resident memory since the last reset, in bytes."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def _status(field_name: str) -> int:
    """Return one figure of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field_name}")
