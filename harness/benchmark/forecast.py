"""What a run would do, need and cost, before it starts: nothing is written, rendered or fetched.

Times and bytes are those that the runs of the same results folder measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.benchmark import clips
from harness.benchmark.cascades import wanted_parents
from harness.benchmark.plan import Plan, Skip, make_plan, mark
from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings
from harness.core.errors import HarnessError
from harness.core.machine import processor_name
from harness.datasets.available import SECONDS, is_missing
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.tracks import Dataset, track_length
from harness.registry import Entry
from harness.results.run_products import BY_BAND, WHOLE
from harness.results.runs import Run, read_run, runs_in

Case = tuple[str, str, str]  # separator, its input, dataset
Job = tuple[str, str, str, str]  # separator, dataset, split, track


@dataclass(frozen=True)
class ForecastRow:
    """The jobs of one separator on one dataset."""

    separator: str
    dataset: str
    jobs: int
    finished: int  # by earlier runs
    seconds: float | None  # to separate the others, one after another; None: never measured here


@dataclass(frozen=True)
class Forecast:
    """What a run would do; None stands for what no run has measured."""

    rows: tuple[ForecastRow, ...]
    skips: tuple[Skip, ...]
    rendered: dict[str, int]  # dataset → tracks that have to be rendered or decoded first
    cascades: int  # jobs that follow, with another separator's estimate as input
    seconds: float | None  # to separate everything with `Settings.jobs` jobs, as far as is known
    unmeasured: tuple[str, ...]  # separators without a time
    clip_bytes: float | None  # of the estimates that are kept to listen to
    product_bytes: float | None  # of the inner products


@dataclass(frozen=True)
class _Measured:
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
    cascade: bool = True,
) -> Forecast:
    """Say what `runner.run` would do; separators that are `coming` get their weights first.

    `datasets` may hold tracks that are yet to be made. Files that no run has read are not read:
    their work counts as not finished.
    """
    fingerprints = Fingerprints(settings.fingerprints, known_only=True)
    plan = make_plan(entries, datasets, settings, fingerprints, coming=coming)
    plan = mark(plan, settings.listen)
    todo = {_job(unit): unit for unit in plan.units if not _is_finished(unit, settings)}
    runs = list(_runs(settings.results))
    speed, clip, product = _speeds(runs, settings.device), *_bytes(runs, settings.work_folder)
    lengths = _lengths(todo.values(), settings)
    times = {job: _times(speed.of(unit), lengths[unit.place]) for job, unit in todo.items()}
    cases: dict[tuple[str, str], list[Job]] = {}
    for unit in plan.units:
        cases.setdefault((unit.entry.name, unit.track.dataset), []).append(_job(unit))
    rows = []
    for (name, dataset), jobs in cases.items():
        left = [job for job in jobs if job in todo]
        seconds = _total(times[job] for job in left)
        rows.append(ForecastRow(name, dataset, len(jobs), len(jobs) - len(left), seconds))
    known = [seconds for seconds in times.values() if seconds is not None]
    kept = [unit for unit in todo.values() if unit.listen]
    blended = [unit for unit in todo.values() if unit.entry.role == "separator"]
    return Forecast(
        rows=tuple(rows),
        skips=plan.skips,
        rendered={d.name: n for d in datasets if (n := sum(map(is_missing, d.tracks)))},
        cascades=_cascades(plan) if cascade else 0,
        seconds=sum(known) / max(1, settings.jobs) if known or not todo else None,
        unmeasured=tuple(sorted({row.separator for row in rows if row.seconds is None})),
        clip_bytes=_total(map(clip.of, kept)),
        product_bytes=_total(map(product.of, blended)),
    )


def _job(unit: Unit) -> Job:
    return unit.entry.name, *unit.place


def _is_finished(unit: Unit, settings: Settings) -> bool:
    """Whether a unit looks finished; unlike `workers.is_done` this renames no damaged file."""
    there = Store(settings.work_folder).path(unit.key).is_file()
    return there and not (settings.again and clips.wanted(settings.work_folder, unit))


def _cascades(plan: Plan) -> int:
    """Return how many units have a stem as input, which a separator can be asked for."""
    wanted = set(wanted_parents(plan))
    return sum((u.track.dataset, u.entry.input) in wanted for u in plan.units)


def _runs(results: Path) -> Iterable[Run]:
    """Yield the runs of a folder that can be read."""
    for name in runs_in(results):
        with suppress(HarnessError):
            yield read_run(results / name)


def _speeds(runs: Iterable[Run], device: str) -> _Measured:
    """Return the times per second of music that were measured on this machine and device."""
    found: dict[Case, list[float]] = {}
    for run in runs:
        here = run.record.get("cpu") == processor_name() and run.record.get("device") == device
        rows = run.costs[(run.costs["metric"] == "rtf") & run.costs["value"].notna()]
        for row in rows.to_dict("records") if here else ():
            case = row["separator"], row["input"], row["dataset"]
            found.setdefault(case, []).append(row["value"])
    return _Measured(found)


def _bytes(runs: Iterable[Run], work_folder: Path) -> tuple[_Measured, _Measured]:
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
                p for kind in (WHOLE, BY_BAND) for p in (work_folder / kind / track_key).glob("*")
            ]
            share = sum(path.stat().st_size for path in files) / len(cases)
            for case in cases if files else ():
                product.setdefault(case, []).append(share)
    return _Measured(clip), _Measured(product)


def _lengths(units: Iterable[Unit], settings: Settings) -> dict[tuple[str, str, str], float | None]:
    """Return the seconds of each track that are separated; None if it cannot be read."""
    found: dict[tuple[str, str, str], float | None] = {}
    for unit in units:
        if unit.place not in found:
            expected = SECONDS.get(unit.track.dataset) if is_missing(unit.track) else None
            found[unit.place] = expected and min(expected, settings.excerpt.seconds or expected)
            with suppress(HarnessError, OSError):
                length = track_length(unit.track)
                samples = settings.excerpt.window(length, unit.sample_rate)[1]
                found[unit.place] = samples / unit.sample_rate
    return found


def _times(speed: float | None, seconds: float | None) -> float | None:
    return None if speed is None or seconds is None else speed * seconds


def _total(values: Iterable[float | None]) -> float | None:
    """Return the sum; None if a value is not known."""
    listed = list(values)
    return None if None in listed else sum(value for value in listed if value is not None)
