"""How far runs are, read from the small file that each keeps up to date.

Reading changes nothing and takes no lock. A run that was killed cannot say so: on its own machine
its process is looked for, elsewhere it counts as killed when it was silent for `SILENT` seconds, so
that clocks must agree to within a minute.
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.files import write_atomic

VERSION = 1
PROGRESS, LOG = "progress.json", "run.log"  # in the folder of a run
BEAT = 5.0  # seconds between two writes
SILENT = 60.0  # seconds after which a run on another machine counts as killed
RUNNING, FINISHED, FAILED = "running", "finished", "finished, some jobs failed"
STOPPED, KILLED = "stopped", "killed"


@dataclass(frozen=True)
class RunState:
    """How far a run is. Times are seconds since 1970; a number that is not known is None."""

    run: str
    state: str = RUNNING  # one of those above
    done: int = 0  # jobs, with those that failed
    total: int = 0
    reused: int = 0  # of those done, finished by earlier runs
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why jobs failed → how many
    host: str = ""
    pid: int = 0
    birth: str = ""  # of the process, so that another one with its number is not taken for it
    started: float | None = None
    updated: float | None = None
    per_minute: float | None = None  # jobs
    seconds_left: float | None = None
    why: str = ""  # it stopped

    def write(self, folder: Path) -> None:
        """Write the file of a run."""
        content = {"version": VERSION, **asdict(self)}
        write_atomic(folder / PROGRESS, json.dumps(content, indent=1).encode())


_TEXTS, _COUNTS = ("run", "state", "host", "birth", "why"), ("done", "total", "reused", "failed")
_NUMBERS = ("started", "updated", "per_minute", "seconds_left")


def read_states(results: Path, now: float) -> Iterator[RunState]:
    """Yield the state of each run in a folder, or of the run whose folder it is, at a time."""
    if not results.is_dir():
        raise HarnessError(f"{results}: no such folder; name the folder of the runs")
    folders = [results] if _has_state(results) else sorted(filter(_has_state, results.iterdir()))
    for folder in folders:
        yield _state_of(folder, now)


def _has_state(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (PROGRESS, "run.json"))


def _state_of(folder: Path, now: float) -> RunState:
    """Return the state of a run; without the file, which earlier versions lack, of its record."""
    try:
        content = json.loads((folder / PROGRESS).read_bytes())
    except FileNotFoundError:
        return _of_record(folder)
    except (OSError, ValueError, RecursionError) as error:
        raise HarnessError(f"{folder / PROGRESS}: cannot be read ({error}); delete it") from error
    found = _checked(folder, content)
    if found.state != RUNNING:
        return found
    if found.host == platform.node() and os.name == "posix":
        alive = birth_of(found.pid) == found.birth and _exists(found.pid)
    else:
        alive = now - (found.updated or 0.0) < SILENT
    return found if alive else replace(found, state=KILLED, per_minute=None, seconds_left=None)


def _checked(folder: Path, content: Any) -> RunState:
    """Return the content of the file of a run if it is as `RunState.write` writes it."""
    if not isinstance(content, dict):
        content = {}
    version = content.pop("version", None)
    if isinstance(version, int) and version > VERSION:
        raise HarnessError(
            f"{folder / PROGRESS}: has format {version}, and this version reads up to {VERSION}; "
            "update harness"
        )
    reasons = content.get("reasons")
    ok = (
        content.keys() == {part.name for part in fields(RunState)}
        and all(isinstance(content[name], str) for name in _TEXTS)
        and all(type(content[name]) is int for name in (*_COUNTS, "pid"))
        and all(_is_number(content[name]) for name in _NUMBERS)
        and isinstance(reasons, dict)
        and all(type(n) is int for n in reasons.values())
    )
    if not ok:
        raise HarnessError(f"{folder / PROGRESS}: is not as it was written; delete it")
    return RunState(**content)


def _is_number(value: object) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(float(str(value))))


def _of_record(folder: Path) -> RunState:
    """Return the state of a run without the file, which has ended: its tables are there."""
    try:
        work = json.loads((folder / "run.json").read_bytes()).get("work") or {}
        units, failed = int(work.get("units", 0)), int(work.get("failed", 0))
        reused = int(work.get("reused", 0))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise HarnessError(f"{folder / 'run.json'}: cannot be read ({error}); run again") from error
    state = FAILED if failed else FINISHED
    return RunState(folder.name, state, done=units, total=units, reused=reused, failed=failed)


def birth_of(pid: int) -> str:
    """Return when a process of this machine began, as the system counts; empty if not known.

    A process that has ended, and for whose end nobody has asked yet, has none.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if stat[0] in "ZX" else stat[19]


def _exists(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0
