"""Whether the files of a results folder are as they were written, and what redoing them costs.

Nothing is changed by `examine`; `set_aside` renames what the next run is to do again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.benchmark.store import set_aside, verified
from harness.core.errors import HarnessError
from harness.core.files import zip_damage
from harness.core.machine import Progress
from harness.core.text import count, duration
from harness.results.run_products import BY_BAND, WHOLE
from harness.results.run_states import PROGRESS, read_states
from harness.results.runs import Run, read_run, runs_in

ARRAYS = ("clips", "estimates", "scratch", WHOLE, BY_BAND)  # folders of .npz files in work


@dataclass(frozen=True)
class DamagedFile:
    """One file that is not as it was written."""

    path: Path
    what: str  # what it holds, and of which separator and track
    wrong: str
    redo: str  # how it is made again, and what that costs
    aside: tuple[Path, ...] = ()  # files without which the next run does it again


class _StoredJob(NamedTuple):
    """What is known of a unit of work."""

    separator: str
    dataset: str
    track: str
    seconds: float | None  # of CPU time that its separation took

    def __str__(self) -> str:
        return f"{self.separator} on {self.track!r} of {self.dataset}"


@dataclass
class _StoredJobs:
    """Units of work of all runs that can be read."""

    jobs: dict[str, _StoredJob] = field(default_factory=dict)  # by key
    tracks: dict[str, dict[str, _StoredJob]] = field(
        default_factory=dict
    )  # by key of the track, and key

    def add(self, run: Run) -> None:
        times = run.costs[run.costs["metric"] == "cpu_seconds"]
        names = ["separator", "dataset", "split", "track"]
        known = dict(
            zip(times[names].itertuples(index=False, name=None), times["value"], strict=True)
        )
        for unit in run.record.get("units") or ():
            with suppress(KeyError, TypeError):
                seconds = known.get(tuple(unit[name] for name in names))
                job = _StoredJob(unit["separator"], unit["dataset"], unit["track"], seconds)
                self.jobs[unit["key"]] = job
                self.tracks.setdefault(unit["track_key"], {})[unit["key"]] = job

    def about(self, key: str, kind: str) -> str:
        """Return what the file of a unit is."""
        return f"{kind} of {self.jobs.get(key, 'no run that is here')}"


def examine(
    results: Path, progress: Progress | None = None
) -> tuple[list[DamagedFile], dict[str, int]]:
    """Return the damaged files of a results folder, and how many files of each kind were read."""
    if not results.is_dir():
        raise HarnessError(f"{results}: no such folder; name the folder of the runs")
    work, known = results / "work", _StoredJobs()
    damaged = list(_tables(results, known))
    stored = sorted(work.glob("??/*.json"))
    arrays = [path for kind in ARRAYS for path in sorted((work / kind).rglob("*.npz"))]
    counts = {"run": len(runs_in(results)), "result": len(stored), "file": len(arrays)}
    for done, path in enumerate([*stored, *arrays], 1):
        found = _result(path, known) if path.suffix == ".json" else _arrays(path, work, known)
        damaged += [found] if found else []
        if progress:
            progress(done, len(stored) + len(arrays))
    return damaged, counts


def repair(damaged: Sequence[DamagedFile]) -> list[Path]:
    """Rename the files without which the next run does the work again; return the new names."""
    paths = dict.fromkeys(path for file in damaged for path in file.aside)
    return [aside for path in paths if (aside := set_aside(path))]


def _tables(results: Path, known: _StoredJobs) -> Iterator[DamagedFile]:
    """Examine what each run has in its own folder."""
    for name in runs_in(results):
        try:
            known.add(read_run(results / name))
        except HarnessError as error:
            redo = "repeat the run's command: its tables are written again from finished work"
            yield DamagedFile(results / name, "tables of a run", str(error), redo)
    for path in sorted(results.glob(f"*/{PROGRESS}")):
        try:
            list(read_states(path.parent, 0.0))
        except HarnessError as error:
            yield DamagedFile(path, "state of a run", str(error), "free", (path,))


def _result(path: Path, known: _StoredJobs) -> DamagedFile | None:
    """Examine the scores of a unit of work."""
    wrong = "is not as it was written"
    try:
        if verified(path) is not None:
            return None
    except FileNotFoundError:  # set aside by a run meanwhile
        return None
    except HarnessError as error:
        wrong = str(error)
    job = known.jobs.get(path.stem)
    what = known.about(path.stem, "scores")
    redo = f"run again: {_cost([job] if job else [])}"
    return DamagedFile(path, what, wrong, redo, (path,))


def _arrays(path: Path, work: Path, known: _StoredJobs) -> DamagedFile | None:
    """Examine clips, estimates or inner products."""
    if not (wrong := zip_damage(path)) or not path.is_file():
        return None
    kind, *_ = path.relative_to(work).parts
    track: Mapping[str, _StoredJob] = known.tracks.get(path.parent.name, {})
    if kind in (WHOLE, BY_BAND):
        name = next(iter(track.values())).track if track else ""
        what = f"inner products of {name!r}" if name else "inner products of no run that is here"
        redo = f"run again, which separates the track again: {_cost(list(track.values()))}"
        results = (work / key[:2] / f"{key}.json" for key in track)
        return DamagedFile(path, what, wrong, redo, (path, *filter(Path.is_file, results)))
    if kind == "clips":
        job = known.jobs.get(path.stem)
        jobs = [job] if job else list(track.values())
        what = known.about(path.stem, "clip")
        if path.name.startswith("true."):
            name = next(iter(track.values())).track if track else ""
            what = f"clip of {path.stem.removeprefix('true.')} of {name!r}"
        redo = f"run again with --listen: {_cost(jobs)}"
        return DamagedFile(path, what, wrong, redo, (path,))
    what = "estimates that are kept" if kind == "estimates" else "estimates that wait"
    redo = "free, until a metric is added; then that separation is done again"
    return DamagedFile(path, what, wrong, redo, (path,))


def _cost(jobs: Sequence[_StoredJob]) -> str:
    """Return what separating costs, as far as runs have measured it."""
    known = [job.seconds for job in jobs if job.seconds is not None]
    if not jobs or not known:
        return "its time is not known"
    more = "" if len(known) == len(jobs) else " or more"
    return f"{count(len(jobs), 'job')}, {duration(sum(known))} of CPU time{more} and the scoring"
