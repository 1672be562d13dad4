"""The plan: one unit of work per (separator, track), with a key that is a hash of its inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.benchmark.signals import Unit
from harness.benchmark.work import Settings
from harness.core import taxonomy
from harness.core.files import digest
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.tracks import Dataset, Excerpt, Track
from harness.metrics import DEFAULT, METRICS
from harness.registry import Entry, Weights
from harness.registry.weight_files import obstacle
from harness.separators import code_versions
from harness.separators.from_disk import find_files

PRECISION = "float32"
Place = tuple[str, str, str]  # dataset, split, track


@dataclass(frozen=True)
class Skip:
    """A separator that is not run, on one dataset or (None) at all, and why."""

    separator: str
    dataset: str | None
    reason: str


@dataclass(frozen=True)
class Plan:
    """Units of work in the order of their rows, and what is skipped."""

    units: tuple[Unit, ...] = ()
    skips: tuple[Skip, ...] = ()


def make_plan(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    fingerprints: Fingerprints,
) -> Plan:
    """Plan every separator on every track; hashes audio files that are not in `fingerprints`."""
    units: list[Unit] = []
    why = {entry.name: obstacle(entry) for entry in entries}
    skips = [Skip(name, None, reason) for name, reason in why.items() if reason]
    able = [entry for entry in entries if not why[entry.name]]
    for dataset in datasets:
        tracks = [(track, fingerprints.of_track(track)) for track in dataset.tracks]
        for entry in able:
            found = [_unit(entry, track, dataset, content, settings) for track, content in tracks]
            planned = [unit for unit in found if unit]
            units += planned
            if not planned:
                reason = (
                    f"no track has a stem that it separates ({', '.join(entry.stems) or 'any'})"
                )
                if entry.input != "mixture":
                    reason = f"no track has the stem {entry.input} with its sub-stems"
                skips.append(Skip(entry.name, dataset.name, reason))
    return Plan(tuple(units), tuple(skips))


def plan_for_files(
    entry: Entry,
    folder: Path,
    datasets: Sequence[Dataset],
    settings: Settings,
    fingerprints: Fingerprints,
) -> Plan:
    """Plan to score the estimates in a folder, which were made elsewhere.

    The entry has name and description of their separator; its stems and files are found per track,
    in one of the layouts of `harness.separators.from_disk.find_files`.
    """
    units: list[Unit] = []
    skips = []
    for dataset in datasets:
        missing, every = 0, [track.name for track in dataset.tracks]
        for track in dataset.tracks:
            names = [track.name, track.id] if track.id else [track.name]
            files, notes = find_files(folder, names, track.split, dataset.stems, every)
            stems = tuple(taxonomy.in_order(files))
            found: dict[str, object] = {
                "stems": stems,
                "params": {**entry.params, "files": {stem: str(files[stem]) for stem in stems}}
                | ({"notes": notes} if notes else {}),
                "weights": tuple(Weights(file=s, sha256=fingerprints.of(files[s])) for s in stems),
            }
            mine = entry.model_copy(update=found)
            content = fingerprints.of_track(track)
            unit = _unit(mine, track, dataset, content, settings) if files else None
            units += [unit] if unit else []
            missing += unit is None
        if missing:
            reason = f"{folder} has no estimate of {missing} of {len(dataset.tracks)} tracks"
            skips.append(Skip(entry.name, dataset.name, reason))
    return Plan(tuple(units), tuple(skips))


def _unit(
    entry: Entry, track: Track, dataset: Dataset, content: str, settings: Settings
) -> Unit | None:
    """Return the unit of work, or None if no stem of the track can be scored."""
    if entry.input != "mixture" and entry.input not in track.stems:
        return None
    wanted = [
        stem
        for stem in taxonomy.in_order(track.stems)
        if stem in dataset.stems
        and entry.input in ("mixture", *taxonomy.ancestors(stem))
        and not why_unscored(track, stem, entry.input)
    ]
    given = entry.stems or _open_stems(entry, wanted)
    meant = taxonomy.as_meant(entry.stems).values() or given
    scored = tuple(stem for stem in wanted if taxonomy.parts(stem, meant))
    if not scored:
        return None
    rate, excerpt = dataset.sample_rate, settings.excerpt
    key = unit_key(entry, content, given, scored, rate, excerpt)
    track_key = digest([content, rate, excerpt.seconds])
    return Unit(entry, track, rate, given, scored, track_key, key)


def unit_key(
    entry: Entry,
    content: str,
    given: Sequence[str],
    scored: Sequence[str],
    sample_rate: int,
    excerpt: Excerpt,
) -> str:
    """Return the cache key of a unit of work: a hash of everything that can change its scores.

    These are the separator (parameters, weights and version of its code), the audio of the track,
    the stems, the sample rate, the excerpt, and the versions of the metrics. Names of separators,
    tracks and files are not among them, so that renaming one repeats nothing. `content` is a hash
    of the track's audio. A unit in cascade has the key of `Unit.in_cascade`.
    """
    return digest(
        {
            "entry": entry.identity(),
            "family": code_versions(entry),
            "given": given,
            "scored": scored,
            "audio": content,
            "sample_rate": sample_rate,
            "excerpt": excerpt.seconds,
            "precision": PRECISION,
            "metrics": {name: METRICS[name].version for name in DEFAULT},
        }
    )


def why_unscored(track: Track, stem: str, source: str) -> str:
    """Return why a part of the drums or vocals, separated from `source`, is not scored, or ""."""
    parent = taxonomy.parent_level(stem)
    if parent == "mixture":
        return ""
    if any(taxonomy.parent_level(other) == parent for other in track.bleed):
        return f"the parts of the {parent} bleed into each other"
    if source == parent and {*track.stems[stem]} == {*track.stems.get(parent, ())}:
        return f"the {parent} of the track consist of this stem only"
    return ""


def _open_stems(entry: Entry, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return stems for an entry that names none: those of one level for an oracle, or all."""
    top = [stem for stem in wanted if taxonomy.parent_level(stem) == entry.input] or wanted
    if entry.role != "oracle":
        return tuple(top)
    return next(iter(taxonomy.levels(top).values()), tuple(top[:1]))


def mark(plan: Plan, count: int) -> Plan:
    """Return the plan in which clips of `count` tracks per dataset are kept.

    Tracks of genres, then artists, that are not chosen yet come first.
    """
    tracks: dict[str, dict[Place, Track]] = {}
    for unit in plan.units:
        tracks.setdefault(unit.track.dataset, {})[unit.place] = unit.track
    chosen = {place for found in tracks.values() for place in _spread(found, count)}
    units = (replace(unit, listen=unit.place in chosen) for unit in plan.units)
    return replace(plan, units=tuple(units))


def _spread(tracks: Mapping[Place, Track], count: int) -> list[Place]:
    """Choose tracks of as many genres, then artists, as possible."""
    left = dict(tracks)
    chosen: list[Place] = []
    genres: Counter[str] = Counter()
    artists: Counter[str] = Counter()
    while left and len(chosen) < count:
        place = min(left, key=lambda p: (genres[left[p].genre], artists[left[p].artist]))
        track = left.pop(place)
        genres[track.genre] += 1
        artists[track.artist] += 1
        chosen.append(place)
    return chosen
