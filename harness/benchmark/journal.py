"""What a run tells about itself while it works: its state, the time left, and a log.

The state is one small file, see `harness.results.run_states`, written every few seconds; the log
has one line per event. Neither may stop a run: what cannot be written is left out.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from statistics import median
from types import TracebackType

from harness.benchmark.forecast import times_of
from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings, keys_of
from harness.core.errors import StorageError
from harness.core.text import count
from harness.datasets.scan import printable
from harness.results.run_states import (
    BEAT,
    FAILED,
    FINISHED,
    LOG,
    PROGRESS,
    STOPPED,
    RunState,
    birth_of,
)

Kind = tuple[str, str, str, bool]  # separator, its input, its parent, whether it has scores already
MOST_REASONS = 20  # that the state names


class TimeLeft:
    """The time left, from what is known of pieces of work relative to each other.

    A piece takes as long as finished ones of its kind did in this run, per second of music. Those
    of a kind that has no finished one yet take as long as in earlier runs, times how much slower
    this run is than these; without earlier ones, as long as all others on average. The pace, which
    also includes reading and how many jobs there are, is that of the finished pieces as a whole.
    """

    def __init__(
        self, pieces: Mapping[str, tuple[Kind, float]], earlier: Mapping[Kind, float]
    ) -> None:
        self._pieces = pieces  # key → kind, seconds of music
        self._earlier = earlier  # seconds per second of music
        self._left: defaultdict[Kind, float] = defaultdict(float)  # seconds of music
        self._done: defaultdict[Kind, float] = defaultdict(float)
        for kind, length in pieces.values():
            self._left[kind] += length
        self._measured: dict[Kind, tuple[float, float]] = {}  # seconds, seconds of music

    def finish(self, key: str, seconds: float | None, *, failed: bool = False) -> None:
        """Note that a piece is done, and how long it took; a failed one says nothing of others."""
        kind, length = self._pieces[key]
        self._left[kind] -= length
        if not failed:
            self._done[kind] += length
        if seconds is not None:
            before = self._measured.get(kind, (0.0, 0.0))
            self._measured[kind] = before[0] + seconds, before[1] + length

    def left(self, elapsed: float, jobs: int = 1) -> float | None:
        """Return the seconds left after so many; None if nothing is known."""
        now = {kind: s / length for kind, (s, length) in self._measured.items() if length}
        shared = [now[kind] / self._earlier[kind] for kind in now if self._earlier.get(kind)]
        scale = median(shared) if shared else 1.0
        speeds = {kind: speed * scale for kind, speed in self._earlier.items()} | now
        usual = sum(speeds.values()) / len(speeds) if speeds else 1.0

        def work(music: Mapping[Kind, float]) -> float:
            return sum(speeds.get(kind, usual) * length for kind, length in music.items())

        done, ahead = work(self._done), work(self._left)
        if done > 0:
            return elapsed * ahead / done
        return ahead / jobs if self._earlier else None


class Journal:
    """The `state` and the log of one run; nothing is written before `begin`."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        pid = os.getpid()
        self._settings = replace(settings, results=settings.results.absolute())
        self._folder, self._clock = self._settings.results / settings.run, clock
        self.state = RunState(
            settings.run, host=platform.node(), pid=pid, birth=birth_of(pid), started=time.time()
        )
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread: threading.Thread | None = None
        self._reasons: Counter[str] = Counter()
        self._time: TimeLeft | None = None
        self._lengths: dict[str, float] = {}  # key → seconds of music
        self._since, self._here = 0.0, 0  # when this work began, and how much of it is done

    def begin(self, total: int, reused: int) -> None:
        """Say that the run works from now on, and repeat it until it ends."""
        if self._thread:
            return
        with self._lock:
            self.state = replace(self.state, total=total, done=reused, reused=reused)
        where = f"process {self.state.pid} on {self.state.host}"
        done = f"{count(total, 'job')}, {reused} of them done by earlier runs"
        self.log(f"started: {done}; {where}; {self._settings.jobs} at a time")
        self._write()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def more(self, units: int, reused: int) -> None:
        """Say that there are more jobs than the run began with, those in cascade."""
        now = self.state
        self._set(total=now.total + units, done=now.done + reused, reused=now.reused + reused)

    def expect(self, todo: Sequence[Unit]) -> None:
        """Prepare to say when this work will be done."""
        times, store = times_of(self._settings), Store(self._settings.work_folder)
        kinds = {unit.key: _kind(unit, again=store.path(unit.key).is_file()) for unit in todo}
        pieces = {unit.key: (kinds[unit.key], times.length(unit) or 1.0) for unit in todo}
        earlier: dict[Kind, float] = {}
        for unit in todo:
            speeds = times.speed.of(unit), times.scoring.of(unit)
            if kinds[unit.key] not in earlier and speeds[0] is not None and speeds[1] is not None:
                earlier[kinds[unit.key]] = speeds[0] + speeds[1]
        self._time, self._since, self._here = TimeLeft(pieces, earlier), self._clock(), 0
        self._lengths = {key: length for key, (_, length) in pieces.items()}

    def advance(self, ended: Sequence[Unit], failures: Mapping[str, str]) -> None:
        """Note the units that ended since the last time."""
        if self._time is None:
            return
        store = Store(self._settings.work_folder)
        for unit in ended:
            dataset, split, track = unit.place
            what = f"{unit.entry.name} on {track!r} of {dataset}:{split}"
            keys = keys_of(unit, self._settings)
            why = next((failures[key] for key in keys if key in failures), "")
            seconds = None
            if why:
                self._reasons[why] += 1
            else:
                with suppress(StorageError):
                    seconds = self._seconds(unit, store)
            self._time.finish(unit.key, seconds, failed=bool(why))
            self.log(f"failed: {what}: {why}" if why else f"done: {what}")
        self._here += len(ended)
        elapsed = self._clock() - self._since
        self._set(
            done=self.state.done + len(ended),
            failed=self._reasons.total(),
            reasons=dict(self._reasons.most_common(MOST_REASONS)),
            per_minute=60 * self._here / elapsed if self._here and elapsed > 0 else None,
            seconds_left=self._time.left(elapsed, self._settings.jobs),
        )

    def _seconds(self, unit: Unit, store: Store) -> float | None:
        """Return how long a finished unit took; None if it was not measured."""
        costs = (store.get(unit.key) or {}).get("costs") or {}
        known = [costs[name] for name in ("rtf", "scoring") if name in costs]
        return sum(known) * self._lengths[unit.key] if len(known) == 2 else None

    def settle(self, total: int) -> None:
        """Correct the state of an earlier run of this work that was killed at its very end."""
        with suppress(OSError):
            if b'"running"' in (self._folder / PROGRESS).read_bytes():
                self._set(state=FINISHED, total=total, done=total, reused=total)
                self._write()

    def log(self, text: str) -> None:
        """Append a line to the log."""
        stamp = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / LOG).open("a", encoding="utf-8") as file:
                file.write(f"{stamp} {printable(text)}\n")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if not self._thread:
            return
        self._ended.set()
        self._thread.join()
        if error is None:  # jobs of equal content are done once
            state, why, ended = FAILED if self.state.failed else FINISHED, "", self.state.total
        else:
            state, ended = STOPPED, self.state.done
            why = printable(f"{type(error).__name__}: {error}".removesuffix(": "))
        self._set(state=state, why=why, done=ended, seconds_left=None)
        self._write()
        done = f"{self.state.done} of {count(self.state.total, 'job')} done"
        self.log(f"{state}: {done}, {self.state.failed} of them failed" + f"; {why}" * bool(why))

    def _set(self, **changes: object) -> None:
        with self._lock:
            self.state = replace(self.state, **changes)  # type: ignore[arg-type]

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            self._write()

    def _write(self) -> None:
        with self._lock, suppress(StorageError):
            self.state = replace(self.state, updated=time.time())
            self.state.write(self._folder)


def _kind(unit: Unit, *, again: bool) -> Kind:
    return unit.entry.name, unit.entry.input, unit.parent.entry.name if unit.parent else "", again
