"""Separators of stems: fed with another separator's estimate, and scored where parts are known.

A separator that takes drums or vocals apart is scored twice. Fed with the true stem, its score is
its own; fed with what another separator makes of the mixture (*in cascade*), it is what a user of
both gets. The difference is what the parent's error costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import taxonomy
from harness.benchmark.plan import Plan, Skip, Unit, untold
from harness.cache import digest
from harness.datasets.overlaps import leak
from harness.datasets.tracks import Dataset

Parents = Mapping[tuple[str, str], str]  # (dataset, stem): the separator whose estimate is taken


def wanted_parents(plan: Plan) -> list[tuple[str, str]]:
    """Return the (dataset, stem) pairs that some separator of a plan takes apart."""
    return sorted({(unit.track.dataset, unit.entry.input) for unit in _children(plan)})


def plan_cascades(plan: Plan, parents: Parents) -> Plan:
    """Feed every separator of a stem with its parent's estimate, on the tracks both can be run on.

    Parameters
    ----------
    plan
        With the same separators fed with the true stems.
    parents
        The rest is skipped, and so are tracks that a parent has seen in training.
    """
    whole = {_place(unit, unit.entry.name): unit for unit in plan.units}
    units: list[Unit] = []
    without: Counter[tuple[str, str, str]] = Counter()
    for unit in _children(plan):
        dataset, stem = unit.track.dataset, unit.entry.input
        name = parents.get((dataset, stem), "")
        parent = whole.get(_place(unit, name))
        if parent is None or stem not in parent.scored:
            why = f"{name} gives no {stem}" if name else f"no ranked separator gives {stem}"
        elif leak(parent.entry.trained_on, unit.track) == "leaked":
            why = f"{name} saw them in training"
        else:
            units.append(replace(unit, parent=parent, key=digest([unit.key, parent.key])))
            continue
        without[unit.entry.name, dataset, why] += 1
    skips = (
        Skip(separator, dataset, f"not in cascade on {n} tracks: {why}")
        for (separator, dataset, why), n in without.items()
    )
    return Plan(tuple(units), tuple(skips))


def left_out(dataset: Dataset) -> list[str]:
    """Say on how many tracks which stems are not scored, and why; one line a reason."""
    reasons: dict[str, dict[str, None]] = {}
    tracks: Counter[str] = Counter()
    for track in dataset.tracks:
        found = dict(track.excluded)
        for stem in taxonomy.in_order(track.stems):
            if reason := untold(track, stem, taxonomy.parent_level(stem)):
                found[stem] = reason
        for stem, reason in found.items():
            reasons.setdefault(reason, {})[stem] = None
        tracks.update(set(found.values()))
    return [
        f"{', '.join(taxonomy.in_order(stems))} on {tracks[reason]} of {len(dataset.tracks)} "
        f"tracks: {reason}"
        for reason, stems in sorted(reasons.items())
    ]


def _children(plan: Plan) -> Sequence[Unit]:
    """Return the pieces of work of separators that take a stem apart."""
    return [u for u in plan.units if u.entry.role == "separator" and u.entry.input != "mixture"]


def _place(unit: Unit, separator: str) -> tuple[str, str, str, str]:
    """Return where that separator's piece of work on the unit's track is found."""
    track = unit.track
    return track.dataset, track.split, track.name, separator
