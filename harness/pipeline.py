"""From a plan to a report: the stages one after another, with files between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from harness import importing, report, selection
from harness.benchmark import (
    Failures,
    Parents,
    Plan,
    Settings,
    Unit,
    blends,
    blends_of_run,
    clips,
    cost_rows,
    execute,
    find_blends,
    is_done,
    leak_rows,
    left_out,
    make_plan,
    plan_cascades,
    plan_for_files,
    score_rows,
    wanted_parents,
)
from harness.benchmark.parallel import Progress
from harness.benchmark.plan import PRECISION
from harness.cache import Fingerprints, Store, digest, only_one, write_atomic
from harness.datasets import DATASETS
from harness.datasets.tracks import Dataset
from harness.errors import HarnessError
from harness.metrics import DEFAULT, METRICS, Blend, write_museval
from harness.registry import Entry, find
from harness.report import tables
from harness.results import (
    SELECTION_COLUMNS,
    Run,
    environment,
    join,
    read_run,
    table,
    write_run,
)
from harness.separators.files import safe_name

MOST_BLENDED = 60  # tracks of a dataset; with more, harness select says what blends are worth
FIRST = "first"  # in cascade: feed with the separator that ranks first for the stem


@dataclass(frozen=True)
class Outcome:
    """What a run did.

    Attributes
    ----------
    folder
        Where its tables are.
    units, reused, failed
        Pieces of work: in all, found finished, failed.
    fresh
        Whether the tables were written anew.
    failures
        Reasons, once each, in the order of the plan.
    """

    folder: Path
    units: int
    reused: int
    failed: int
    fresh: bool
    failures: tuple[str, ...] = ()


def run(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    cascade: str | None = FIRST,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Separate, score and select; continue where an earlier run of the same work stopped.

    Parameters
    ----------
    cascade
        Whose drums and vocals are given to separators of these: the name of one of `entries`;
        `FIRST` takes, for each dataset and stem, the one that this run's scores rank first; None
        feeds them with the true stems only.

    Raises
    ------
    HarnessError
        If there is nothing to do, another run holds the folder, the folder holds imported scores,
        or the disk is full.
    """
    if cascade not in (FIRST, None):
        named = find({entry.name: entry for entry in entries}, str(cascade))
        if named.role == "oracle":
            raise HarnessError(f"--cascade {cascade}: knows the answers; name a separator")

    def plan(fingerprints: Fingerprints) -> Plan:
        return make_plan(entries, datasets, settings, fingerprints)

    return _do(plan, entries, datasets, settings, command, progress, cascade)


def score_folder(
    entry: Entry,
    folder: Path,
    datasets: Sequence[Dataset],
    settings: Settings,
    *,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Score the estimates in a folder as those of `entry`; as `run` else."""
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; name the one that holds the estimates")

    def plan(fingerprints: Fingerprints) -> Plan:
        return plan_for_files(entry, folder, datasets, settings, fingerprints)

    return _do(plan, [entry], datasets, settings, command, progress)


def _do(
    make: Callable[[Fingerprints], Plan],
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    command: Sequence[str],
    progress: Progress | None,
    cascade: str | None = None,
) -> Outcome:
    """Do a plan while holding the results folder, then its cascades, and write the tables."""
    started = time.time()
    folder = settings.results / settings.run
    with only_one(settings.results):
        importing.check_folder(folder, imports=False)
        store = Store(settings.work_folder)
        store.sweep()
        plan = make(Fingerprints(settings.work_folder / "fingerprints.jsonl"))
        plan = clips.mark(plan, settings.listen)
        if not plan.units:
            reasons = "; ".join(f"{s.separator}: {s.reason}" for s in plan.skips) or "no track"
            raise HarnessError(f"run: nothing can be done ({reasons}); see 'harness check'")
        reused = sum(is_done(unit, store, settings) for unit in plan.units)
        waiting = blends.tidy(settings.work_folder, plan.units)
        failures: Failures = {}
        if reused < len(plan.units) or waiting:
            failures = execute(plan, settings, progress)
        parents = _parents(plan, store, failures, cascade) if cascade else {}
        fed = plan_cascades(plan, parents) if cascade else Plan()
        reused += sum(is_done(unit, store, settings) for unit in fed.units)
        plan = Plan(plan.units + fed.units, plan.skips + fed.skips)
        state = _state(plan, datasets, entries, settings)
        if reused == len(plan.units) and not waiting and _is_current(folder, state):
            return Outcome(folder, len(plan.units), reused, 0, fresh=False)
        failures |= execute(fed, settings, progress)
        failed = sum(unit.key in failures for unit in plan.units)
        record = _record(entries, datasets, plan, settings) | {
            "command": list(command),
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
        write_run(folder, _tables(plan, store, failures, record))
    reasons_seen = dict.fromkeys(failures[u.key] for u in plan.units if u.key in failures)
    return Outcome(folder, len(plan.units), reused, failed, True, tuple(reasons_seen))


def _parents(plan: Plan, store: Store, failures: Failures, cascade: str) -> Parents:
    """Return whose estimate of a stem is given to the separators of that stem.

    The first is that of the leaderboard: by the mean of SNR and SDR, on the tracks that all ranked
    separators share and none has seen; of equals the first by name.
    """
    wanted = wanted_parents(plan)
    if cascade != FIRST or not wanted:
        return dict.fromkeys(wanted, cascade)
    scores = tables.add_harmonic(table(score_rows(plan, store, failures, "")))
    scores["track"] = scores["split"] + "/" + scores["track"]
    ranked = {unit.entry.name for unit in plan.units if unit.entry.role == "separator"}
    leaks = {
        (row["separator"], row["dataset"], f"{row['split']}/{row['track']}")
        for row in leak_rows(plan)
        if row["status"] == "leaked"
    }
    first: dict[tuple[str, str], str] = {}
    for dataset in {dataset for dataset, _ in wanted}:
        board = tables.leaderboard(scores, dataset, tables.HARMONIC, ranked=ranked, leaks=leaks)
        best = board[(board["input"] == "mixture") & (board["rank"] == 1)]
        for stem, separator in zip(best["stem"], best["separator"], strict=True):
            first.setdefault((dataset, stem), separator)
    return first


def write_report(
    folders: Sequence[Path],
    reports: Path,
    *,
    audio: str = "allowed",
    figures: bool = False,
    only_if_stale: bool = False,
) -> Path:
    """Write the pages of one run, or those of several as one, and return the path of the first.

    Parameters
    ----------
    audio
        Which audio goes into track pages: ``none``; ``allowed``, what the dataset's licence lets
        be passed on; ``private``, all.
    figures
        Whether to draw files for papers.
    """
    if only_if_stale and (reports / folders[0].name / "index.html").is_file():
        return reports / folders[0].name / "index.html"
    found = [read_run(folder) for folder in folders]
    run = found[0] if len(found) == 1 else with_selection(join(found))
    path = reports / "+".join(folder.name for folder in folders) / "index.html"
    listen = report.write_tracks(run, folders[0].parent / "work", path.parent, audio)
    report.write_rest(run, path.parent, figures=figures)
    few = run.scores.groupby(["dataset", "split"])["track"].nunique().max() <= MOST_BLENDED
    blended = worth_of_blends(run, folders[0].parent) if few else None
    page = report.render(run, listen, blended)
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def check_audio(audio: str | None) -> str:
    """Return what `write_report` takes for the audio that was asked for, ``allowed`` if none."""
    if audio is not None and audio not in report.AUDIO:
        raise HarnessError(f"--audio {audio}: not known; known: {', '.join(report.AUDIO)}")
    return audio or "allowed"


def export_museval(folder: Path, to: Path) -> list[Path]:
    """Write the frames of a run's separators as museval does: ``<to>/<separator>/<split>/<track>``.

    Only pieces of work whose inner products are kept can be written: no anchors, no oracles.

    Raises
    ------
    HarnessError
        If nothing is kept of the run.
    """
    written = []
    record = read_run(folder).record
    for unit in record.get("units", ()):
        found = find_blends(folder.parent / "work", unit["track_key"], [unit["key"]])
        frames = {
            stem: blend.frames({unit["key"]: 1.0})
            for stem, blend in found.items()
            if unit["key"] in blend.separators
        }
        if frames:
            place = to / unit["separator"] / unit["split"]
            written.append(place / f"{safe_name(unit['track'])}.json")
            write_museval(written[-1], frames)
    if not written:
        again = (
            "take --format csv" if importing.is_imported(record) else "run it again, then export"
        )
        raise HarnessError(f"{folder}: no frames are kept of this run; {again}")
    return written


def import_scores(
    paths: Sequence[Path],
    request: importing.Request,
    results: Path,
    *,
    command: Sequence[str] = (),
) -> Path:
    """Write scores that others published as a run, and return its folder.

    Raises
    ------
    HarnessError
        If they cannot be read, or the run's folder holds a run that was measured.
    """
    run = with_selection(importing.read_published(paths, request))
    folder = results / run.name
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {**run.record, "command": list(command), "created": now, "finished": now}
    with only_one(results):
        importing.check_folder(folder, imports=True)
        write_run(folder, replace(run, record=record))
    return folder


def select_again(folder: Path, on: str | None = None) -> Run:
    """Choose the best separators of a finished run anew, and write the run with that choice.

    The choice is made on other artists' tracks, or on the dataset `on`.
    """
    chosen = with_selection(read_run(folder), on)
    with only_one(folder.parent):
        write_run(folder, chosen)
    return chosen


def with_selection(run: Run, on: str | None = None) -> Run:
    """Return the run with its selection made from its scores."""
    chosen, ensembles, notes = selection.select(*may_choose(run), on=on)
    record = {**run.record, "selection_notes": notes}
    return replace(run, selection=chosen, ensembles=ensembles, record=record)


def may_choose(run: Run) -> tuple[pd.DataFrame, list[str], set[tuple[str, str, str, str]]]:
    """Return what selection is made from: scores, separators that may be chosen, leaked pairs.

    Scores of a cascade are those of two separators, and are left out.
    """
    alike = run.scores[~run.scores["input"].str.startswith("cascade:")]
    ranked = [n for n, row in run.record["separators"].items() if row["role"] == "separator"]
    statuses = selection.recorded_statuses(run.scores, run.record["leaks"])
    return alike, ranked, selection.leaked_pairs(statuses)


def kept_products(
    run: Run, results: Path, *, by_band: bool = False
) -> dict[tuple[str, str, str, str], Blend]:
    """Return the inner products of a run's separators: (dataset, split, track, stem) → products.

    Parameters
    ----------
    results
        The folder of all runs.
    by_band
        Those by frequency band, where the run was told to keep them.
    """
    scores, ranked, _ = may_choose(run)
    ours = scores[scores["separator"].isin(ranked)]
    units = run.record.get("units", ())
    return blends_of_run(results / "work", units, ours, by_band=by_band)


def worth_of_blends(run: Run, results: Path, on: str | None = None) -> pd.DataFrame:
    """Return what blends of a run are worth, those by band too where it was told to keep them.

    Parameters
    ----------
    on
        Choose on this dataset for all others.

    Returns
    -------
    DataFrame
        As from `harness.selection.blends`.
    """
    candidates = selection.candidates_of(*may_choose(run))
    each = [kept_products(run, results, by_band=by_band) for by_band in (False, True)]
    whole, by_band = (selection.blends(candidates, kept, on=on)[0] for kept in each)
    found = pd.concat([whole, by_band]) if len(by_band) else whole
    return found.sort_values(["dataset", "input", "stem"], kind="stable", ignore_index=True)


def _tables(plan: Plan, store: Store, failures: Failures, record: dict[str, Any]) -> Run:
    """Assemble the tables of a run and choose from them."""
    name = record["run"]
    bare = Run(
        name=name,
        scores=table(score_rows(plan, store, failures, name)),
        costs=table(cost_rows(plan, store, failures, name)),
        ensembles=table([]),
        selection=table([], SELECTION_COLUMNS),
        record=record,
    )
    return with_selection(bare)


def _state(
    plan: Plan, datasets: Sequence[Dataset], entries: Sequence[Entry], settings: Settings
) -> str:
    """Return a hash of all that the tables and the record of a run are made from."""
    return digest(
        {
            "environment": environment(),
            "run": settings.run,
            "units": [[unit.key, unit.entry.name, unit.track.name] for unit in plan.units],
            "skips": [asdict(skip) for skip in plan.skips],
            "entries": [entry.model_dump(mode="json") for entry in entries],
            "datasets": [[d.name, d.version, d.problems] for d in datasets],
        }
    )


def _is_current(folder: Path, state: str) -> bool:
    """Whether the tables in the folder were made from this very state."""
    try:
        return bool(read_run(folder).record.get("state") == state)
    except HarnessError:
        return False


def _record(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    plan: Plan,
    settings: Settings,
) -> dict[str, Any]:
    """Return what produced the rows."""
    return {
        "run": settings.run,
        **environment(),
        "device": settings.device,
        "precision": PRECISION,
        "jobs": settings.jobs,
        "seed": 0,
        "excerpt_seconds": settings.excerpt.seconds,
        "metrics": {
            name: {**asdict(METRICS[name]), "computed": name in DEFAULT} for name in METRICS
        },
        "separators": {entry.name: _describe(entry) for entry in entries},
        "datasets": {dataset.name: _describe_dataset(dataset, plan) for dataset in datasets},
        "leaks": leak_rows(plan),
        "units": [_where_kept(unit) for unit in plan.units if unit.parent is None],
        "skipped": [asdict(skip) for skip in plan.skips],
    }


def _where_kept(unit: Unit) -> dict[str, str]:
    """Return which piece of work a (separator, track) is, to find what is kept of it."""
    return {
        "dataset": unit.track.dataset,
        "split": unit.track.split,
        "track": unit.track.name,
        "separator": unit.entry.name,
        "track_key": unit.track_key,
        "key": unit.key,
    }


def _describe(entry: Entry) -> dict[str, Any]:
    """Return what a report says of a separator."""
    row = entry.model_dump(mode="json", exclude={"name", "weights", "published"})
    row["entry_sha256"] = entry.identity()
    row["weights_sha256"] = [w.sha256 for w in entry.weights]
    sizes = [w.size for w in entry.weights]
    row["weights_bytes"] = sum(filter(None, sizes)) if all(sizes) and sizes else None
    row["title"] = entry.title or entry.name
    return row


def _describe_dataset(dataset: Dataset, plan: Plan) -> Mapping[str, Any]:
    """Return what a report says of a dataset."""
    info = DATASETS.get(dataset.name)
    keys = sorted({unit.key for unit in plan.units if unit.track.dataset == dataset.name})
    return {
        "version": dataset.version,
        "sample_rate": dataset.sample_rate,
        "stems": list(dataset.stems),
        "n_tracks": len(dataset.tracks),
        "fingerprint": digest(keys),
        "license": info.licence if info else "not stated",
        "problems": list(dataset.problems),
        "left_out": left_out(dataset),
    }
