"""Do the pieces of work that are not done yet, in parallel, and survive workers that die."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import cast

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

from harness.benchmark import blends, clips
from harness.benchmark.plan import Plan, Settings, Unit
from harness.benchmark.work import do_batch
from harness.cache import Store
from harness.errors import HarnessError

Failures = dict[str, str]
Progress = Callable[[int, int], None]

KILLED = "the worker process was killed (out of memory?)"
IDLE_SECONDS = 10  # after which a worker without work ends
POLL = 0.3  # seconds between two looks at what is finished


@dataclass(frozen=True)
class Batch:
    """Pieces of work on one track, done in one go.

    Attributes
    ----------
    partners
        All pieces of work on the track, if no other batch has one of them.
    """

    units: tuple[Unit, ...]
    partners: tuple[Unit, ...] = ()


def execute(plan: Plan, settings: Settings, progress: Progress | None = None) -> Failures:
    """Do what is not done; every finished piece is kept at once.

    Parameters
    ----------
    progress
        Called with (pieces done, pieces in all) now and then, from another thread.

    Returns
    -------
    dict
        {key: reason} of what failed.

    Raises
    ------
    StorageError
        If results cannot be written any more.
    """
    store = Store(settings.work_folder)
    unique = list({unit.key: unit for unit in plan.units}.values())
    todo = [unit for unit in unique if not is_done(unit, store, settings)]
    failures: Failures = {}
    with _reporting(todo, store, failures, progress):
        try:
            _work(make_batches(todo, unique, settings.jobs), settings, settings.jobs, failures)
        except TerminatedWorkerError:
            _work_apart([u for u in todo if not store.has(u.key)], settings, failures)
        left = blends.waiting(settings.work_folder, unique)
        _work([Batch((), track) for track in _by_track(left)], settings, settings.jobs, failures)
    return failures


def is_done(unit: Unit, store: Store, settings: Settings) -> bool:
    """Whether a piece of work is finished, and what is to be heard of it is kept."""
    return store.has(unit.key) and not (settings.again and clips.wanted(settings.work_folder, unit))


def make_batches(todo: Sequence[Unit], units: Sequence[Unit], jobs: int) -> list[Batch]:
    """Group by track, so that its audio is read once; split where tracks are fewer than jobs.

    Parameters
    ----------
    todo
        What is to be done, of `units`, the whole plan.
    """
    tracks = _by_track(todo)
    pieces = max(1, math.ceil(jobs / max(1, len(tracks))))
    if pieces > 1:
        return [Batch(part) for t in tracks for i in range(pieces) if (part := t[i::pieces])]
    whole = {track[0].track_key: track for track in _by_track(units)}
    return [Batch(track, whole[track[0].track_key]) for track in tracks]


def _by_track(units: Sequence[Unit]) -> list[tuple[Unit, ...]]:
    """Group by track; within one the order stays."""
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.track_key, []).append(unit)
    return [tuple(group) for group in groups.values()]


def _work(batches: Sequence[Batch], settings: Settings, jobs: int, failures: Failures) -> None:
    """Do batches with that many workers; what failed is added to `failures`."""
    if not batches:
        return
    call = delayed(do_batch)
    with _workers(settings.backend, jobs):
        results = Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs)(
            call(
                batch.units,
                settings.excerpt,
                settings.work_folder,
                batch.partners,
                device=settings.device,
                edges=settings.edges,
            )
            for batch in batches
        )
        for failed in results:
            failures.update(failed)


def _work_apart(units: Sequence[Unit], settings: Settings, failures: Failures) -> None:
    """After a worker died: do the rest one by one, each in a worker of its own, to find which."""
    for unit in units:
        try:
            # two jobs, so that joblib does not fall back to this very process
            _work([Batch((unit,))], settings, 2, failures)
        except TerminatedWorkerError:
            failures[unit.key] = KILLED


def _workers(backend: str, jobs: int) -> AbstractContextManager[object]:
    """Return joblib's setting for that many workers.

    Raises
    ------
    HarnessError
        If the backend is unknown or its cluster is not there.
    """
    if backend == "loky" and jobs == 1:
        backend = "sequential"
    # workers whose run was killed must not hold memory for long
    options = {"idle_worker_timeout": IDLE_SECONDS} if backend == "loky" else {}
    try:
        return cast("AbstractContextManager[object]", parallel_config(backend=backend, **options))
    except (ValueError, ImportError, RuntimeError) as error:
        raise HarnessError(
            f"--backend {backend}: cannot be used ({error}); start its cluster, or leave it out"
        ) from error


@contextmanager
def _reporting(
    todo: Sequence[Unit], store: Store, failures: Failures, progress: Progress | None
) -> Iterator[None]:
    """Count finished pieces from a thread of its own while the block runs."""
    if progress is None or not todo:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        left = list(todo)
        while True:
            last = done.wait(POLL)
            left = [u for u in left if not (store.has(u.key) or u.key in failures)]
            progress(len(todo) - len(left), len(todo))
            if last:
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
