"""Separate, score and select; continue where an earlier run of the same work stopped."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from harness.benchmark import kept_products
from harness.benchmark.cascades import FIRST, Parents, plan_cascades, wanted_parents
from harness.benchmark.journal import Journal
from harness.benchmark.plan import Plan, make_plan, mark, plan_for_files, unscored
from harness.benchmark.record import (
    cost_rows,
    is_current,
    leak_rows,
    made_of,
    omissions,
    record_of,
    score_rows,
    state_of,
)
from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings, keys_of, metrics_of, put_metric
from harness.benchmark.workers import Failures, execute, is_done
from harness.core.errors import HarnessError
from harness.core.files import only_one
from harness.core.machine import Progress
from harness.core.text import count
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.mixture_check import TOO_SHORT, examined
from harness.datasets.tracks import Dataset, Omission
from harness.metrics import METRICS
from harness.registry import FILES, Entry, find
from harness.results import grid, ranking
from harness.results.replacing import check_place
from harness.results.runs import SELECTION_COLUMNS, Run, leaked, table, write_run
from harness.selection.finished_run import with_selection

NAMED = 5  # estimates of no track that an error names


@dataclass(frozen=True)
class Outcome:
    """What a run did."""

    folder: Path  # of its tables
    units: int  # units of work of the plan
    reused: int  # of them, finished earlier
    failed: int
    fresh: bool  # whether the tables were written anew
    failures: tuple[str, ...] = ()  # reasons, once each, in the order of the plan
    damaged: tuple[str, ...] = ()  # stored results that were set aside, under their new names
    left_out: tuple[Omission, ...] = ()  # what the run lacks, as in its record


def run(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    cascade: str | None = FIRST,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Separate, score and select; continue where an earlier run of the same work stopped.

    `cascade` names the one of `entries` that provides drums and vocals for the separators of these;
    with `FIRST` it is, per dataset and stem, the one that this run's scores rank first; with None
    only true stems are separated further. A HarnessError is raised if there is nothing to do,
    another run holds the folder, another run would be lost (`replacing.check_place`), or the disk
    is full.
    """
    check_cascade(cascade, entries)
    make = partial(make_plan, entries)
    return _do(make, entries, datasets, settings, progress, tell, cascade)


def check_cascade(name: str | None, entries: Sequence[Entry]) -> None:
    """Refuse a name for `cascade` of `run` that is not `FIRST` or one of `entries` that fits."""
    if name in (FIRST, None):
        return
    if find({entry.name: entry for entry in entries}, str(name)).role == "oracle":
        raise HarnessError(f"--cascade {name}: is an oracle; name a separator")


def score_folder(
    entry: Entry,
    folder: Path,
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Outcome:
    """Score the estimates in a folder as those of `entry`; otherwise like `run`."""
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; name the one that holds the estimates")
    folder = folder.resolve()
    settings = replace(settings, estimates=str(folder))
    make = partial(plan_for_files, entry, folder)
    return _do(make, [entry], datasets, settings, progress, tell)


def _do(
    make: Callable[[Sequence[Dataset], Settings, Fingerprints], Plan],
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    progress: Progress | None,
    tell: Callable[[str], None] | None = None,
    cascade: str | None = None,
) -> Outcome:
    """Do a plan while holding the results folder, then its cascades, and write the tables.

    `tell` is given what finished work is read or separated again for more metrics, before it is.
    """
    started = time.time()
    folder = settings.results / settings.run
    with only_one(settings.results), Journal(settings) as journal:
        check_place(settings.results, settings.run, {}, force=settings.force)
        store = Store(settings.work_folder)
        store.sweep()
        fingerprints = Fingerprints(settings.fingerprints, rehash=settings.rehash)
        datasets = [_equal(dataset, fingerprints, settings) for dataset in datasets]
        plan = mark(make(datasets, settings, fingerprints), settings.listen)
        if not plan.units:
            reasons = "; ".join(f"{s.separator}: {s.reason}" for s in plan.skips) or "no track"
            strange = [o.name for o in plan.omitted if not o.dataset]
            reasons += f", only of {', '.join(strange[:NAMED])}" if strange else ""
            raise HarnessError(f"run: nothing can run ({reasons}); see 'harness check'")
        made = made_of(entries, datasets, plan, settings)
        check_place(settings.results, settings.run, made, force=settings.force)
        _from_products(plan, store, settings, tell)
        reused = sum(is_done(unit, store, settings) for unit in plan.units)
        waiting = kept_products.tidy(settings.work_folder, plan.units)
        _tell_again(plan, store, settings, tell)
        failures: Failures = {}
        if reused < len(plan.units) or waiting:
            journal.begin(len(plan.units), reused)
            failures = execute(plan, settings, progress, journal)
        parents = _parents(plan, store, failures, cascade) if cascade else {}
        fed = plan_cascades(plan, parents) if cascade else Plan()
        finished = sum(is_done(unit, store, settings) for unit in fed.units)
        reused += finished
        plan = replace(plan, units=plan.units + fed.units, skips=plan.skips + fed.skips)
        plan = replace(plan, unscored=unscored(plan.units, store))
        out = omissions(datasets, plan, entries)
        state = state_of(plan, datasets, entries, settings)
        if reused == len(plan.units) and not waiting and is_current(folder, state):
            journal.settle(len(plan.units))
            return Outcome(folder, len(plan.units), reused, 0, fresh=False, left_out=out)
        _tell_again(fed, store, settings, tell)
        journal.begin(len(plan.units) - len(fed.units), reused - finished)
        journal.more(len(fed.units), finished)
        failures |= execute(fed, settings, progress, journal)
        failed = sum(not failures.keys().isdisjoint(keys_of(u, settings)) for u in plan.units)
        record = record_of(entries, datasets, plan, settings) | {
            "created": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "state": None if failed else state,
            "work": {
                "units": len(plan.units),
                "reused": reused,
                "computed": len(plan.units) - reused - failed,
                "failed": failed,
                "seconds": round(time.time() - started, 1),
            },
        }
        bare = Run(
            name=settings.run,
            scores=table(score_rows(plan, store, failures, settings.run, settings.metrics)),
            costs=table(cost_rows(plan, store, failures, settings.run)),
            ensembles=table([]),
            selection=table([], SELECTION_COLUMNS),
            record=record,
        )
        write_run(folder, with_selection(bare))
    keys = (key for unit in plan.units for key in keys_of(unit, settings))
    reasons_seen = dict.fromkeys(failures[key] for key in keys if key in failures)
    damaged = tuple(map(str, store.damaged))
    done = folder, len(plan.units), reused, failed, True
    return Outcome(*done, tuple(reasons_seen), damaged, out)


def _from_products(
    plan: Plan, store: Store, settings: Settings, tell: Callable[[str], None] | None
) -> None:
    """Score finished jobs by the metrics that they lack, where kept inner products suffice."""
    tracks: dict[str, dict[str, tuple[Unit, list[str]]]] = {}
    for unit in plan.units:
        lacking = [n for n in metrics_of(unit, settings) if not store.has(unit.metric_key(n))]
        free = [name for name in lacking if METRICS[name].forms]
        if free and store.has(unit.key):
            tracks.setdefault(unit.track_key, {})[unit.key] = unit, free
    done: dict[str, set[str]] = {}  # metric → keys of units
    for units in tracks.values():
        for unit, name, scores in kept_products.scores_of(settings.work_folder, units.values()):
            put_metric(store, unit, name, {s: [v.value, v.note] for s, v in scores.items()})
            done.setdefault(name, set()).add(unit.key)
    if tell and done:
        jobs = count(len(set().union(*done.values())), "finished job")
        tell(f"{', '.join(done)}: {jobs} scored from stored inner products, without audio")


def _tell_again(
    plan: Plan, store: Store, settings: Settings, tell: Callable[[str], None] | None
) -> None:
    """Say how many finished jobs are read or separated again for metrics that they lack."""
    unique = {unit.key: unit for unit in plan.units}.values()
    lacking = [
        unit
        for unit in unique
        if store.has(unit.key) and not all(map(store.has, keys_of(unit, settings)[1:]))
    ]
    if not (tell and lacking):
        return
    folder = settings.work_folder
    ways = Counter(
        "read"
        if unit.entry.family == FILES or kept_products.estimates_path(folder, unit).is_file()
        else "simple"
        if unit.entry.role in ("anchor", "oracle")
        else "made"
        for unit in lacking
    )
    simple = f", {ways['simple']} (anchors and oracles) are made again" if ways["simple"] else ""
    names = [
        name
        for name in settings.metrics
        if any(
            name in metrics_of(unit, settings) and not store.has(unit.metric_key(name))
            for unit in lacking
        )
    ]
    tell(
        f"{', '.join(names)}: needs the audio of {count(len(lacking), 'finished job')}; "
        f"{ways['read']} read their estimates from disk, {ways['made']} separate again{simple}"
        + ("" if settings.keep_estimates or not ways["made"] else " (--keep-estimates keeps them)")
    )


def _equal(dataset: Dataset, fingerprints: Fingerprints, settings: Settings) -> Dataset:
    """Return a dataset without the tracks that cannot be scored, see `mixture_check`."""
    keep, jobs = settings.keep_unequal, settings.jobs
    found = examined(dataset, fingerprints, settings.mixtures, keep_unequal=keep, jobs=jobs)
    if dataset.tracks and not found.tracks:
        raise HarnessError(
            f"{dataset.name}: {_why_all(found)} ({found.problems[-1]}); "
            "see 'harness check --data', or use --keep-unequal"
        )
    return found


def _why_all(dataset: Dataset) -> str:
    """Say why all tracks of a dataset are left out."""
    short = any(o.reason == TOO_SHORT for o in dataset.omitted)
    return "no track can be scored" if short else "no mixture is the sum of its stems"


def _parents(plan: Plan, store: Store, failures: Failures, cascade: str) -> Parents:
    """Return which separator's estimate of a stem is given to the separators of that stem.

    `FIRST` is the best by the harmonic mean of SNR and SDR; of equals, the first by name.
    """
    wanted = wanted_parents(plan)
    if cascade != FIRST or not wanted:
        return dict.fromkeys(wanted, cascade)
    scores = grid.add_harmonic(table(score_rows(plan, store, failures, "")))
    entries = [unit.entry for unit in plan.units if not unit.entry.generative]
    names = {entry.name for entry in entries if entry.role == ranking.SEPARATOR}
    leaks = leaked({"leaks": leak_rows(plan)})
    found = {}
    for dataset in {dataset for dataset, _ in wanted}:
        how = ranking.rank(scores, dataset, grid.HARMONIC, ranked=names, leaks=leaks)
        found.update({(dataset, stem): name for stem, name in how.best().items()})
    return found
