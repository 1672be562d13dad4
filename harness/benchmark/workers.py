"""Do all unfinished units of work in parallel, and survive workers that die."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import NamedTuple, cast

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from harness.benchmark import clips, kept_products
from harness.benchmark.journal import Journal
from harness.benchmark.plan import Plan
from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings, do_batch, keys_of
from harness.core.errors import HarnessError
from harness.core.machine import Progress, watched
from harness.registry.weight_files import anywhere

Failures = dict[str, str]  # key of a unit → reason

KILLED = "the worker process was killed (out of memory?)"
IDLE_SECONDS = 10  # after which a worker without work ends
POLL = 0.3  # seconds between two looks at what is finished
BUSY = 20  # times what a look takes, at least: that of many thousand jobs must not slow them down


class TrackBatch(NamedTuple):
    """Units of work on one track that one worker does together."""

    units: tuple[Unit, ...]
    partners: tuple[Unit, ...] = ()  # all units on the track, if no other batch has one of them


def execute(
    plan: Plan,
    settings: Settings,
    progress: Progress | None = None,
    journal: Journal | None = None,
) -> Failures:
    """Do all unfinished units; the result of each is written as soon as it is done.

    `progress` and the `journal` are told now and then, from another thread. StorageError ends the
    run: results can no longer be written.
    """
    settings = replace(settings, results=settings.results.absolute())
    store = Store(settings.work_folder)
    unique = list({unit.key: unit for unit in plan.units}.values())
    unique = list(map(_anywhere, unique))
    todo = [unit for unit in unique if not is_done(unit, store, settings)]
    failures: Failures = {}
    with _reporting(todo, store, settings, failures, progress, journal):
        try:
            _work(make_batches(todo, unique, settings.jobs), settings, settings.jobs, failures)
        except TerminatedWorkerError:
            left_over = [u for u in todo if not all(map(store.has, keys_of(u, settings)))]
            _work_apart(left_over, settings, failures)
        left = kept_products.waiting(settings.work_folder, unique)
        batches = [TrackBatch((), track) for track in _by_track(left).values()]
        _work(batches, settings, settings.jobs, failures)
    return failures


def _anywhere(unit: Unit) -> Unit:
    """Return a unit whose files are found from any working folder."""
    parent = unit.parent and _anywhere(unit.parent)
    return replace(unit, entry=anywhere(unit.entry), parent=parent)


def is_done(unit: Unit, store: Store, settings: Settings) -> bool:
    """Whether a unit has all its results, and its clips if the settings ask for them again."""
    folder = settings.work_folder
    done = all(store.has(key) for key in keys_of(unit, settings))
    return done and not (settings.again and clips.wanted(folder, unit))


def make_batches(todo: Sequence[Unit], units: Sequence[Unit], jobs: int) -> list[TrackBatch]:
    """Group by track, so that its audio is read once; split tracks if they are fewer than jobs.

    `todo` are the unfinished ones of `units`, the whole plan.
    """
    tracks = _by_track(todo)
    pieces = max(1, math.ceil(jobs / max(1, len(tracks))))
    if pieces > 1:
        parts = [track[i::pieces] for track in tracks.values() for i in range(pieces)]
        return [TrackBatch(part) for part in parts if part]
    whole = _by_track(units)
    return [TrackBatch(track, whole[key]) for key, track in tracks.items()]


def _by_track(units: Sequence[Unit]) -> dict[str, tuple[Unit, ...]]:
    """Group by the key of the track; the order within a track stays."""
    groups: dict[str, tuple[Unit, ...]] = {}
    for unit in units:
        groups[unit.track_key] = (*groups.get(unit.track_key, ()), unit)
    return groups


def _work(batches: Sequence[TrackBatch], settings: Settings, jobs: int, failures: Failures) -> None:
    """Do batches with `jobs` workers; failed units are added to `failures`."""
    if not batches:
        return
    call, parent = delayed(watched), os.getpid()
    with _workers(settings.backend, jobs):
        results = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs)(
            call(do_batch, parent, batch.units, settings, batch.partners) for batch in batches
        )
        for failed in results:
            failures.update(failed)


def _work_apart(units: Sequence[Unit], settings: Settings, failures: Failures) -> None:
    """Do each unit in a worker of its own, to find the one that killed its worker."""
    for unit in units:
        try:
            # two jobs, so that joblib does not fall back to this very process
            _work([TrackBatch((unit,))], settings, 2, failures)
        except TerminatedWorkerError:
            failures |= dict.fromkeys(keys_of(unit, settings), KILLED)


def _workers(backend: str, jobs: int) -> AbstractContextManager[object]:
    """Return joblib's setting for `jobs` workers."""
    if backend == "loky" and jobs == 1:
        backend = "sequential"
    # the workers of a killed run must not hold memory for long
    options = {"idle_worker_timeout": IDLE_SECONDS} if backend == "loky" else {}
    try:
        return cast("AbstractContextManager[object]", parallel_config(backend=backend, **options))
    except (ValueError, ImportError, RuntimeError) as error:
        raise HarnessError(
            f"--backend {backend}: cannot be used ({error}); start its cluster or omit --backend"
        ) from error


@contextmanager
def _reporting(
    todo: Sequence[Unit],
    store: Store,
    settings: Settings,
    failures: Failures,
    progress: Progress | None,
    journal: Journal | None,
) -> Iterator[None]:
    """Count finished units from another thread while the block runs.

    joblib reports whole batches, which may take an hour. So the files of results are counted: a
    file has its name only when it is complete.
    """
    if not todo or not (progress or journal):
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        def is_open(unit: Unit) -> bool:
            keys = keys_of(unit, settings)
            return not any(key in failures for key in keys) and not all(
                store.path(key).is_file() for key in keys
            )

        left, pause = list(todo), POLL
        if journal:
            journal.expect(todo)
        while True:
            last = ended.wait(pause)
            started = time.monotonic()
            opened = [unit for unit in left if is_open(unit)]
            still = {unit.key for unit in opened}
            if progress:
                progress(len(todo) - len(opened), len(todo))
            if journal:
                journal.advance([unit for unit in left if unit.key not in still], failures)
            if last:
                return
            left, pause = opened, max(POLL, BUSY * (time.monotonic() - started))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
