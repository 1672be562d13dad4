"""Cascades: a separator of drums or vocals gets another separator's estimate of them as input.

Such a separator is scored twice. With the true stem as input, the score is its own. With the
estimate of another separator, its *parent*, it is the score that a user of both gets. The
difference is the cost of the parent's errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from harness.benchmark.plan import Plan, Skip, why_unscored
from harness.benchmark.signals import Unit
from harness.core import taxonomy
from harness.datasets.overlaps import leak
from harness.datasets.tracks import Dataset

FIRST = "first"  # names the separator that ranks first for a stem, which then feeds the others
Parents = Mapping[tuple[str, str], str]  # (dataset, stem) → the separator of that stem


def wanted_parents(plan: Plan) -> list[tuple[str, str]]:
    """Return the (dataset, stem) pairs that some separator of a plan has as its input."""
    return sorted({(unit.track.dataset, unit.entry.input) for unit in _children(plan)})


def plan_cascades(plan: Plan, parents: Parents) -> Plan:
    """Plan every separator of a stem once more, with its parent's estimate as input.

    In `plan` the input is the true stem. Stems without a parent are skipped, and so are tracks that
    a parent was trained on.
    """
    whole = {(unit.place, unit.entry.name): unit for unit in plan.units}
    units: list[Unit] = []
    without: Counter[tuple[str, str, str]] = Counter()
    for unit in _children(plan):
        dataset, stem = unit.track.dataset, unit.entry.input
        name = parents.get((dataset, stem), "")
        parent = whole.get((unit.place, name))
        if parent is None or stem not in parent.scored:
            why = f"{name} has no {stem}" if name else f"no ranked separator has {stem}"
        elif leak(parent.entry.trained_on, unit.track) == "leaked":
            why = f"{name} was trained on them"
        else:
            units.append(unit.in_cascade(parent))
            continue
        without[unit.entry.name, dataset, why] += 1
    skips = (
        Skip(separator, dataset, f"not in cascade on {n} tracks: {why}")
        for (separator, dataset, why), n in without.items()
    )
    return Plan(tuple(units), tuple(skips))


def possible_parents(plan: Plan, name: str = "") -> Iterator[tuple[Unit, list[Unit]]]:
    """Yield every unit whose input is a stem, with the units that `plan_cascades` may feed it from.

    These are units of the separator `name`; without it, of all whose scores could make them the
    parent. Units without any are left out.
    """
    by_place: dict[tuple[str, str, str], list[Unit]] = {}
    for unit in plan.units:
        ranked = unit.entry.role == "separator" and not unit.entry.generative
        if unit.entry.name == name or (ranked and not name):
            by_place.setdefault(unit.place, []).append(unit)
    for unit in _children(plan):
        found = [
            parent
            for parent in by_place.get(unit.place, ())
            if unit.entry.input in parent.scored
            and leak(parent.entry.trained_on, unit.track) != "leaked"
        ]
        if found:
            yield unit, found


def left_out(dataset: Dataset) -> list[str]:
    """Return one line per reason why stems are not scored: the stems, the tracks, the reason."""
    reasons: dict[str, dict[str, None]] = {}
    tracks: Counter[str] = Counter()
    for track in dataset.tracks:
        found = dict(track.excluded)
        for stem in taxonomy.in_order(track.stems):
            if reason := why_unscored(track, stem, taxonomy.parent_level(stem)):
                found[stem] = reason
        for stem, reason in found.items():
            reasons.setdefault(reason, {})[stem] = None
        tracks.update(set(found.values()))
    return [
        f"{', '.join(taxonomy.in_order(stems))} on {tracks[reason]} of {len(dataset.tracks)} "
        f"tracks: {reason}"
        for reason, stems in sorted(reasons.items())
    ]


def _children(plan: Plan) -> list[Unit]:
    """Return the units of separators whose input is a stem."""
    return [u for u in plan.units if u.entry.role == "separator" and u.entry.input != "mixture"]
