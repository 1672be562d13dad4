"""What a run would do, need and cost, before it starts: nothing is written, rendered or fetched.

Times and bytes are those that the runs of the same results folder measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

from harness.benchmark import clips
from harness.benchmark.cascades import FIRST, possible_parents
from harness.benchmark.plan import Plan, Skip, make_plan, mark
from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings
from harness.core.errors import HarnessError
from harness.core.machine import processor_name
from harness.datasets.available import SECONDS, is_missing
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.tracks import WHOLE, Dataset, Excerpt, track_length
from harness.registry import Entry
from harness.results import run_products
from harness.results.runs import Run, read_run, runs_in

Case = tuple[str, str, str]  # separator, its input, dataset
Place = tuple[str, str, str]  # dataset, split, track


@dataclass(frozen=True)
class ForecastRow:
    """The jobs of one separator on one dataset; times are of those not finished, one by one.

    In cascade they have the time of the separator that feeds them, once per track and input.
    """

    separator: str
    dataset: str
    jobs: int
    finished: int  # by earlier runs
    seconds: float | None  # to separate; None: never measured here
    scoring: float | None  # seconds to score; None: never measured here
    cascade: bool = False  # whether another separator's estimate is the input


@dataclass(frozen=True)
class Forecast:
    """What a run would do; None stands for what no run has measured."""

    rows: tuple[ForecastRow, ...]
    skips: tuple[Skip, ...]
    rendered: dict[str, int]  # dataset → tracks that have to be rendered or decoded first
    seconds: float | None  # to separate everything with `Settings.jobs` jobs, as far as is known
    scoring: float | None  # seconds to score everything, likewise
    unmeasured: tuple[str, ...]  # separators without a time to separate
    unscored: tuple[str, ...]  # separators without a time to score
    clip_bytes: float | None  # of the estimates that are kept to listen to
    product_bytes: float | None  # of the inner products


@dataclass(frozen=True)
class MeasuredCosts:
    """Values per separator, input and dataset; of another dataset where this one has none."""

    values: dict[Case, list[float]]

    def of(self, unit: Unit) -> float | None:
        """Return the median for a unit; None if its separator was never measured."""
        name, source, dataset = unit.entry.name, unit.entry.input, unit.track.dataset
        found = self.values.get((name, source, dataset)) or [
            value
            for (other, given, _), values in self.values.items()
            if (other, given) == (name, source)
            for value in values
        ]
        return median(found) if found else None


def forecast(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    coming: Collection[str] = (),
    cascade: str | None = FIRST,
) -> Forecast:
    """Say what `runner.run` would do; separators that are `coming` get their weights first.

    `datasets` may hold tracks that are yet to be made. Files that no run has read are not read:
    their work counts as not finished. With `FIRST`, scores that are not known yet decide what feeds
    a cascade; the slowest separator is assumed, so that the time is rather too long.
    """
    fingerprints = Fingerprints(settings.fingerprints, known_only=True)
    plan = make_plan(entries, datasets, settings, fingerprints, coming=coming)
    plan = mark(plan, settings.listen)
    todo = [unit for unit in plan.units if not _is_finished(unit, settings)]
    runs = list(_runs(settings.results))
    clip, product = _bytes(runs, settings.work_folder)
    times = times_of(settings, runs)
    left = {unit.key for unit in todo}
    jobs = [times.of(unit, finished=unit.key not in left) for unit in plan.units]
    if cascade:
        jobs += _in_cascade(plan, settings, times, "" if cascade == FIRST else cascade)
    cases: dict[tuple[str, str, bool], list[_ForecastJob]] = {}
    for job in jobs:
        cases.setdefault((job.separator, job.dataset, job.cascade), []).append(job)
    rows = tuple(_row(*case, found) for case, found in cases.items())
    kept = [unit for unit in todo if unit.listen]
    blended = [unit for unit in todo if unit.entry.role == "separator"]
    return Forecast(
        rows=rows,
        skips=plan.skips,
        rendered={d.name: n for d in datasets if (n := sum(map(is_missing, d.tracks)))},
        seconds=_known([job.seconds for job in jobs if not job.finished], settings.jobs),
        scoring=_known([job.scoring for job in jobs if not job.finished], settings.jobs),
        unmeasured=tuple(sorted({row.separator for row in rows if row.seconds is None})),
        unscored=tuple(sorted({row.separator for row in rows if row.scoring is None})),
        clip_bytes=_total(map(clip.of, kept)),
        product_bytes=_total(map(product.of, blended)),
    )


class _ForecastJob(NamedTuple):
    """One unit of work, and what it takes; None: never measured here."""

    separator: str
    dataset: str
    cascade: bool
    finished: bool
    seconds: float | None
    scoring: float | None


@dataclass(frozen=True)
class Times:
    """What units take, by what earlier runs measured per second of music."""

    speed: MeasuredCosts
    scoring: MeasuredCosts
    excerpt: Excerpt = WHOLE
    lengths: dict[Place, float | None] = field(default_factory=dict)  # in seconds

    def of(self, unit: Unit, *, finished: bool, parents: Sequence[Unit] = ()) -> _ForecastJob:
        """Return the job of a unit; in cascade the slowest of its possible parents comes first."""
        length = None if finished else self.length(unit)
        seconds = _product(self.speed.of(unit), length)
        if parents:
            slowest = max(filter(None, map(self.speed.of, parents)), default=None)
            seconds = _total([seconds, _product(slowest, length)])
        scoring = _product(self.scoring.of(unit), length)
        name, dataset = unit.entry.name, unit.track.dataset
        return _ForecastJob(name, dataset, unit.parent is not None, finished, seconds, scoring)

    def length(self, unit: Unit) -> float | None:
        """Return how many seconds of a unit's track are separated; None if it cannot be read."""
        if unit.place not in self.lengths:
            expected = SECONDS.get(unit.track.dataset) if is_missing(unit.track) else None
            found = expected and min(expected, self.excerpt.seconds or expected)
            with suppress(HarnessError, OSError):
                samples = self.excerpt.window(track_length(unit.track), unit.sample_rate)[1]
                found = samples / unit.sample_rate
            self.lengths[unit.place] = found
        return self.lengths[unit.place]


def _in_cascade(plan: Plan, settings: Settings, times: Times, name: str) -> Iterator[_ForecastJob]:
    """Yield the jobs in cascade; the first of a track and input also has its parent's time."""
    fed: set[tuple[Place, str]] = set()
    for unit, parents in possible_parents(plan, name):
        units = [unit.in_cascade(parent) for parent in parents]
        finished = any(_is_finished(one, settings) for one in units)
        place = unit.place, unit.entry.input
        yield times.of(units[0], finished=finished, parents=() if place in fed else parents)
        if not finished:
            fed.add(place)


def _row(separator: str, dataset: str, cascade: bool, jobs: Sequence[_ForecastJob]) -> ForecastRow:
    """Sum up the jobs of one separator on one dataset."""
    left = [job for job in jobs if not job.finished]
    times = _total(job.seconds for job in left), _total(job.scoring for job in left)
    return ForecastRow(separator, dataset, len(jobs), len(jobs) - len(left), *times, cascade)


def _known(seconds: Sequence[float | None], jobs: int) -> float | None:
    """Return the time of several jobs at once, as far as is known; None if nothing is."""
    known = [value for value in seconds if value is not None]
    return sum(known) / max(1, jobs) if known or not seconds else None


def _is_finished(unit: Unit, settings: Settings) -> bool:
    """Whether a unit looks finished; unlike `workers.is_done` this renames no damaged file."""
    there = Store(settings.work_folder).path(unit.key).is_file()
    return there and not (settings.again and clips.wanted(settings.work_folder, unit))


def _runs(results: Path) -> Iterable[Run]:
    """Yield the runs of a folder that can be read."""
    for name in runs_in(results):
        with suppress(HarnessError):
            yield read_run(results / name)


def times_of(settings: Settings, runs: Iterable[Run] | None = None) -> Times:
    """Return what units take, by the `runs` of the settings' folder on this machine and device."""
    runs = list(_runs(settings.results) if runs is None else runs)
    speed, scoring = (_costs(runs, settings.device, name) for name in ("rtf", "scoring"))
    return Times(speed, scoring, settings.excerpt)


def _costs(runs: Iterable[Run], device: str, metric: str) -> MeasuredCosts:
    """Return a cost per second of music that was measured on this machine and device."""
    found: dict[Case, list[float]] = {}
    for run in runs:
        here = run.record.get("cpu") == processor_name() and run.record.get("device") == device
        rows = run.costs[(run.costs["metric"] == metric) & run.costs["value"].notna()]
        for row in rows.to_dict("records") if here else ():
            case = row["separator"], row["input"], row["dataset"]
            found.setdefault(case, []).append(row["value"])
    return MeasuredCosts(found)


def _bytes(runs: Iterable[Run], work_folder: Path) -> tuple[MeasuredCosts, MeasuredCosts]:
    """Return the bytes of kept clips and of inner products, per unit of work."""
    clip: dict[Case, list[float]] = {}
    product: dict[Case, list[float]] = {}
    for run in runs:
        about = run.record.get("separators") or {}
        tracks: dict[str, list[Case]] = {}
        for unit in run.record.get("units") or ():
            entry = about.get(unit["separator"]) or {}
            case = unit["separator"], str(entry.get("input")), unit["dataset"]
            path = clips.clip_path(work_folder, unit["track_key"], unit["key"])
            if path.is_file():
                clip.setdefault(case, []).append(path.stat().st_size)
            if entry.get("role") == "separator":
                tracks.setdefault(unit["track_key"], []).append(case)
        for track_key, cases in tracks.items():
            files = [
                p
                for kind in (run_products.WHOLE, run_products.BY_BAND)
                for p in (work_folder / kind / track_key).glob("*")
            ]
            share = sum(path.stat().st_size for path in files) / len(cases)
            for case in cases if files else ():
                product.setdefault(case, []).append(share)
    return MeasuredCosts(clip), MeasuredCosts(product)


def _product(speed: float | None, seconds: float | None) -> float | None:
    return None if speed is None or seconds is None else speed * seconds


def _total(values: Iterable[float | None]) -> float | None:
    """Return the sum; None if a value is not known."""
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)
