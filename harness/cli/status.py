"""``harness status``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from harness.cli.options import (
    AS_JSON,
    NOT_ENDED,
    SOME_FAILED,
    STILL_RUNNING,
    argument,
    flag,
    option,
)
from harness.cli.terminal import print_json, print_table, show
from harness.core.errors import HarnessError
from harness.core.text import MISSING, count, duration, moment
from harness.results.run_states import (
    BEAT,
    FAILED,
    KILLED,
    LOG,
    RUNNING,
    STOPPED,
    RunState,
    read_states,
)
from harness.results.runs import runs_or_how

EXITS = {RUNNING: STILL_RUNNING, KILLED: NOT_ENDED, STOPPED: NOT_ENDED, FAILED: SOME_FAILED}


def status(
    results: Path = argument("RESULTS", Path("results"), "Folder of all runs, or of one run."),
    run_names: list[str] = option(
        "--run RUN", [], "Only the run of this name. Repeat for several.", "all"
    ),
    watch: bool = flag("--watch", "Show it again every few seconds until no run is running."),
    as_json: bool = AS_JSON,
) -> None:
    """Show how far the runs of a folder are: done, failed, where, speed and time left.

    The exit status is 4 if a run is running, otherwise 5 if one was killed or stopped, otherwise 3
    if some of its jobs failed, otherwise 0.
    """
    while True:
        found = _states(results, run_names)
        if as_json:
            print_json([asdict(state) for state in found])
        else:
            _print(found, results)
        ends = {EXITS.get(state.state, 0) for state in found}
        if not (watch and STILL_RUNNING in ends):
            break
        time.sleep(BEAT)
    code = next((code for code in (STILL_RUNNING, NOT_ENDED, SOME_FAILED) if code in ends), 0)
    raise typer.Exit(code)


def _states(results: Path, names: Sequence[str]) -> list[RunState]:
    """Return the states of the runs that are asked for."""
    found = list(read_states(results, time.time()))
    known = {state.run for state in found}
    if not found or (absent := [name for name in names if name not in known]):
        which = f"no run named {absent[0]!r}" if found else "no run"
        raise HarnessError(f"{results}: {which}; {runs_or_how(results)}")
    return [state for state in found if not names or state.run in names]


def _print(states: Sequence[RunState], results: Path) -> None:
    """Print one row per run, and why jobs failed."""
    head = ("run", "state", "done", "failed", "where", "since (UTC)", "jobs per minute", "left")
    rows = []
    for state in states:
        where = f"{state.host}, process {state.pid}" if state.host else MISSING
        speed = MISSING if state.per_minute is None else f"{state.per_minute:.3g}"
        left = duration(state.seconds_left) or MISSING
        done = f"{state.done} of {state.total}"
        rows.append(
            (state.run, state.state, done, state.failed, where, _when(state.started), speed, left)
        )
    print_table(f"{results}, {_when(time.time())}", head, rows)
    for state in states:
        if state.why:
            show(f"{state.run}: {state.state}: {state.why}; repeat the command to continue")
        elif state.state == KILLED:
            last = f"the last sign of life is of {_when(state.updated)}"
            show(f"{state.run}: {state.state}: {last}; repeat the command to continue")
        for reason, n in state.reasons.items():
            show(f"{state.run}: {count(n, 'job')} failed: {reason}")
        if state.state != RUNNING and state.failed:
            show(f"{state.run}: {LOG} in its folder names each failed job")


def _when(seconds: float | None) -> str:
    """Return a time without its date's zone, such as ``2026-01-31 14:05``."""
    if seconds is None:
        return MISSING
    try:
        return moment(datetime.fromtimestamp(seconds, UTC).isoformat()).removesuffix(" UTC")
    except (OverflowError, OSError, ValueError):  # no such year
        return MISSING
