"""Rows of a run's tables, in the order of its plan, from the finished units of work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from harness.benchmark.plan import Plan, Unit
from harness.benchmark.store import Store
from harness.benchmark.workers import Failures
from harness.core import taxonomy
from harness.datasets.overlaps import leak
from harness.metrics import DEFAULT

Row = tuple[Any, ...]
NOT_DONE = "not done yet: the run was interrupted"


def score_rows(plan: Plan, store: Store, failures: Failures, run: str) -> Iterator[Row]:
    """Yield the rows of scores.parquet; a unit without a result is one row with the reason."""
    for unit in plan.units:
        head = _head(unit, run)
        result = None if unit.key in failures else store.get(unit.key)
        if result is None:
            yield (*head, "", "", math.nan, "failed", failures.get(unit.key, NOT_DONE))
            continue
        for stem in taxonomy.in_order(result["scores"]):
            notes = [*result["notes"], *unit.track.notes]
            notes += ["the reference holds bleed"] if stem in unit.track.bleed else []
            for metric in DEFAULT:
                value, note = result["scores"][stem].get(metric, (math.nan, "not computed"))
                status = "undefined" if math.isnan(value) else "ok"
                yield (*head, stem, metric, value, status, "; ".join(filter(None, [note, *notes])))


def cost_rows(plan: Plan, store: Store, failures: Failures, run: str) -> Iterator[Row]:
    """Yield the rows of costs.parquet: what each unit of work cost when it was done."""
    for unit in plan.units:
        result = None if unit.key in failures else store.get(unit.key)
        costs: Mapping[str, float] = result["costs"] if result else {}
        for metric, value in costs.items():
            yield (*_head(unit, run), unit.entry.input, metric, float(value), "ok", "")


def leak_rows(plan: Plan) -> list[dict[str, str]]:
    """Return the (separator, track) pairs in which the track was, or may have been, trained on.

    In cascade the separator's own training decides: `plan_cascades` skips leaked parents.
    """
    return [
        {
            "separator": unit.entry.name,
            "dataset": unit.track.dataset,
            "split": unit.track.split,
            "track": unit.track.name,
            "status": status,
        }
        for unit in plan.units
        if (status := leak(unit.entry.trained_on, unit.track)) != "clean"
    ]


def _head(unit: Unit, run: str) -> Row:
    """Return the columns that name the unit of work of a row."""
    track, entry = unit.track, unit.entry
    about = track.dataset, track.split, track.name, track.artist, track.genre
    return run, *about, entry.name, unit.fed
