"""What is written down of a run beside its tables, and whether it still holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.benchmark import Plan, Settings, Unit, leak_rows, left_out
from harness.benchmark.plan import PRECISION
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.core.machine import environment
from harness.datasets import DATASETS
from harness.datasets.tracks import Dataset
from harness.metrics import DEFAULT, METRICS
from harness.registry import Entry
from harness.results.runs import read_run


def state_of(
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


def is_current(folder: Path, state: str) -> bool:
    """Whether the tables in the folder were made from this very state."""
    try:
        return bool(read_run(folder).record.get("state") == state)
    except HarnessError:
        return False


def record_of(
    entries: Sequence[Entry], datasets: Sequence[Dataset], plan: Plan, settings: Settings
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
            name: {**metric.described(), "computed": name in DEFAULT}
            for name, metric in METRICS.items()
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
        "license": info.license if info else "not stated",
        "problems": list(dataset.problems),
        "left_out": left_out(dataset),
    }
