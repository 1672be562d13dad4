"""What is written of a run: the rows of its tables, its record, and whether these still hold."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.benchmark.cascades import left_out
from harness.benchmark.plan import PRECISION, Plan
from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings
from harness.benchmark.workers import Failures
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.core.machine import environment
from harness.datasets import DATASETS
from harness.datasets.mixture_check import CUT
from harness.datasets.overlaps import leak
from harness.datasets.tracks import Dataset, Omission
from harness.metrics import DEFAULT, METRICS
from harness.registry import FILES, Entry
from harness.registry.pins import pinned
from harness.registry.weight_files import FETCH, lacking, size_of, to_fetch
from harness.results.runs import read_run

Row = tuple[Any, ...]
NOT_DONE = "not done yet: the run was interrupted"


def score_rows(
    plan: Plan, store: Store, failures: Failures, run: str, optional: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield the rows of scores.parquet; a unit without a result is one row with the reason.

    So is an optional metric of a stem that could not be computed.
    """
    for unit in plan.units:
        head = _head(unit, run)
        result = None if unit.key in failures else store.get(unit.key)
        if result is None:
            cut = [note for note in unit.track.notes if note.startswith(CUT)]
            why = "; ".join([failures.get(unit.key, NOT_DONE), *cut])
            yield (*head, "", "", math.nan, "failed", why)
            continue
        for stem in taxonomy.in_order(result["scores"]):
            notes = [*result["notes"], *unit.track.notes]
            notes += ["the reference holds bleed"] if stem in unit.track.bleed else []
            for metric in DEFAULT:
                if metric not in result["scores"][stem]:
                    continue  # scored before the metric existed, see `plan.unscored`
                value, note = result["scores"][stem][metric]
                status = "undefined" if math.isnan(value) else "ok"
                yield (*head, stem, metric, value, status, "; ".join(filter(None, [note, *notes])))
            for metric in (m for m in optional if METRICS[m].is_for(stem)):
                key = unit.metric_key(metric)
                found = None if key in failures else store.get(key)
                why = failures.get(key, NOT_DONE)
                value, note = found["scores"][stem][metric] if found else (math.nan, why)
                status = "undefined" if math.isnan(value) else "ok"
                status = status if found else "failed"
                yield (*head, stem, metric, value, status, note)


def cost_rows(plan: Plan, store: Store, failures: Failures, run: str) -> Iterator[Row]:
    """Yield the rows of costs.parquet: what each unit of work cost when it was done.

    Reading estimates says nothing about what it cost to make them: they have the stated costs, or
    none.
    """
    for unit in plan.units:
        result = None if unit.key in failures else store.get(unit.key)
        costs: Mapping[str, float] = result["costs"] if result else {}
        if unit.entry.family == FILES:
            costs = unit.entry.params.get("costs", {}) if result else {}
        for metric, value in costs.items():
            yield (*_head(unit, run), unit.entry.input, metric, float(value), "ok", "")


def leak_rows(plan: Plan) -> list[dict[str, str]]:
    """Return the (separator, track) pairs in which the track was, or may have been, trained on.

    In cascade the separator's own training decides: `plan_cascades` skips leaked parents.
    """
    return [
        {**_place(unit), "status": status}
        for unit in plan.units
        if (status := leak(unit.entry.trained_on, unit.track)) != "clean"
    ]


def _head(unit: Unit, run: str) -> Row:
    """Return the columns that name the unit of work of a row."""
    track, entry = unit.track, unit.entry
    return run, *unit.place, track.artist, track.genre, entry.name, entry.input, unit.fed_by


def state_of(
    plan: Plan, datasets: Sequence[Dataset], entries: Sequence[Entry], settings: Settings
) -> str:
    """Return a hash of all that the tables and the record of a run are made from."""
    return digest(
        {
            "environment": environment(),
            "run": settings.run,
            "metrics": [[name, METRICS[name].version] for name in settings.metrics],
            "units": [[unit.key, unit.entry.name, unit.track.name] for unit in plan.units],
            "skips": [asdict(skip) for skip in plan.skips],
            "entries": [entry.model_dump(mode="json") for entry in entries],
            "datasets": [[d.name, d.version, d.problems] for d in datasets],
            "omitted": [asdict(omission) for omission in omissions(datasets, plan, entries)],
        }
    )


def is_current(folder: Path, state: str) -> bool:
    """Whether the tables in the folder were made from this very state."""
    try:
        return bool(read_run(folder).record.get("state") == state)
    except HarnessError:
        return False


def made_of(
    entries: Sequence[Entry], datasets: Sequence[Dataset], plan: Plan, settings: Settings
) -> dict[str, Any]:
    """Return the part of a run's record that says what it was made of."""
    return {
        **settings.described(),
        "separators": {entry.name: _describe(entry) for entry in entries},
        "datasets": {dataset.name: _describe_dataset(dataset, plan) for dataset in datasets},
        "units": [  # to find what is kept of them
            {**_place(unit), "track_key": unit.track_key, "key": unit.key}
            for unit in plan.units
            if unit.parent is None
        ],
    }


def record_of(
    entries: Sequence[Entry], datasets: Sequence[Dataset], plan: Plan, settings: Settings
) -> dict[str, Any]:
    """Return what produced the rows."""
    return {
        **environment(),
        **made_of(entries, datasets, plan, settings),
        "precision": PRECISION,
        "seed": 0,
        "metrics": {
            name: {**metric.described(), "computed": name in (*DEFAULT, *settings.metrics)}
            for name, metric in METRICS.items()
        },
        "leaks": leak_rows(plan),
        "skipped": [asdict(skip) for skip in plan.skips],
        "omitted": [asdict(omission) for omission in omissions(datasets, plan, entries)],
    }


def omissions(
    datasets: Sequence[Dataset], plan: Plan, entries: Sequence[Entry]
) -> tuple[Omission, ...]:
    """Return all that a run lacks: tracks, files, estimates and separators, each with the reason.

    Separators that lack nothing but a download have one reason, with the command for all of them.
    What failed is not among them: it has rows in the tables.
    """
    tracks = [omission for dataset in datasets for omission in dataset.omitted]
    known = {omission.dataset for omission in plan.omitted}
    ran = {(unit.entry.name, unit.track.dataset) for unit in plan.units}
    skipped = {skip.separator: skip.reason for skip in plan.skips if skip.dataset is None}
    absent = [e for e in entries if skipped.get(e.name) == lacking(e) and to_fetch([e])]
    fetched = {entry.name: size_of(to_fetch([entry])) for entry in absent}
    why = f"{size_of(to_fetch(absent))} of weights missing: {FETCH} {' '.join(fetched)}"
    separators = []
    for skip in plan.skips:
        if skip.dataset is None and skip.separator in fetched:
            name, what = skip.separator, "separator not run"
            separators.append(Omission(why, name, detail=fetched[name], what=what))
        elif skip.dataset not in known:
            in_part = (skip.separator, skip.dataset) in ran  # such as not in cascade
            what = "separator run in part" if in_part else "separator not run"
            separators.append(Omission(skip.reason, skip.separator, skip.dataset or "", what=what))
    return (*tracks, *plan.omitted, *separators, *plan.unscored)


def _place(unit: Unit) -> dict[str, str]:
    """Return the separator and the track of a unit of work."""
    dataset, split, track = unit.place
    return {"separator": unit.entry.name, "dataset": dataset, "split": split, "track": track}


def _describe(entry: Entry) -> dict[str, Any]:
    """Return what a report says of a separator."""
    row = entry.model_dump(mode="json", exclude={"name", "weights", "published"})
    row["entry_sha256"] = entry.identity()
    row["weights_sha256"] = [w.sha256 or pinned(w.file) for w in entry.weights]
    sizes = [w.size for w in entry.weights]
    row["weights_bytes"] = sum(filter(None, sizes)) if all(sizes) and sizes else None
    row["title"] = entry.title or entry.name
    return row


def _describe_dataset(dataset: Dataset, plan: Plan) -> Mapping[str, Any]:
    """Return what a report says of a dataset."""
    info = DATASETS.get(dataset.name)
    keys = sorted({unit.key for unit in plan.units if unit.track.dataset == dataset.name})
    places = {str(s.path.parent) for t in dataset.tracks for s in t.mixture}
    return {
        "folder": os.path.commonpath(places) if places else "",
        "version": dataset.version,
        "sample_rate": dataset.sample_rate,
        "stems": list(dataset.stems),
        "n_tracks": len(dataset.tracks),
        "fingerprint": digest(keys),
        "license": info.license if info else "not stated",
        "problems": list(dataset.problems),
        "left_out": left_out(dataset),
        "notes": [
            {"split": track.split, "track": track.name, "note": "; ".join(track.notes)}
            for track in dataset.tracks
            if track.notes
        ],
        "bleed": [
            {"split": track.split, "track": track.name, "stem": stem}
            for track in dataset.tracks
            for stem in taxonomy.in_order(track.bleed)
        ],
    }
