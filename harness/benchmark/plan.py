"""The plan: one unit of work per (separator, track), with a key that is a hash of its inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.benchmark.signals import Unit
from harness.benchmark.store import Store
from harness.benchmark.work import Settings
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.scan import printable
from harness.datasets.tracks import Dataset, Excerpt, Omission, Track, cut_short, track_length
from harness.metrics import DEFAULT, METRICS, When
from harness.registry import Entry, Weights
from harness.separators import code_versions, obstacle
from harness.separators.from_disk import as_meant, find_files, meaning, not_of

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
    omitted: tuple[Omission, ...] = ()  # what a folder of estimates lacks
    unscored: tuple[Omission, ...] = ()  # metrics that earlier work lacks, see `unscored`


def make_plan(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    fingerprints: Fingerprints,
    *,
    coming: Collection[str] = (),
) -> Plan:
    """Plan every separator on every track; hashes audio files that are not in `fingerprints`.

    Separators that are `coming` are planned as if their weights were already here.
    """
    units: list[Unit] = []
    why = {entry.name: "" if entry.name in coming else obstacle(entry) for entry in entries}
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

    The entry has name and description of their separator, and its stems if the user lists them.
    The files are found per track, in one of the layouts of `from_disk.find_files`. What an
    ``other`` is depends on all stems in the folder; if they do not tell, the error asks.
    """
    places = [(dataset, track) for dataset in datasets for track in dataset.tracks]
    found = [_estimates_of(track, dataset, folder) for dataset, track in places]
    every = {stem: path for files, _ in found for stem, path in files.items()}
    meant = meaning(every, entry.stems)
    if not entry.stems and meant.get("other") == taxonomy.UNKNOWN_REST:
        others = ", ".join(stem for stem in taxonomy.in_order(every) if stem != "other")
        raise HarnessError(
            f"{every['other']}: what an 'other' contains depends on the model's other stems, and "
            f"the folder has {others or 'no other one'}; name all stems of the model with "
            "--stems, such as vocals,other or vocals,drums,bass,other"
        )
    units: list[Unit] = []
    omitted: list[Omission] = []
    for (dataset, track), (files, renamed) in zip(places, found, strict=True):
        mine, notes = as_meant(files, meant, dataset.stems)
        unit = None
        if mine:
            lengths = _lengths(track, dataset.sample_rate, settings.excerpt)
            own = _with_files(entry, mine, [*renamed, *notes], lengths, fingerprints)
            unit = _unit(own, track, dataset, fingerprints.of_track(track), settings)
            if unit:  # has its key, which no path enters
                paths = {stem: str(mine[stem]) for stem in own.stems}
                params = {**own.params, "files": paths}
                unit = replace(unit, entry=own.model_copy(update={"params": params}))
        at = Omission("", printable(track.name), dataset.name, track.split)
        if unit:
            units.append(unit)
            if renamed:
                why = "the name of the estimates is written differently"
                omitted.append(replace(at, reason=why, what="track matched by its letters"))
        elif files:
            why = f"{folder} has no stem of it that can be scored"
            omitted.append(replace(at, reason=why, detail=", ".join(files)))
        else:
            omitted.append(replace(at, reason=f"{folder} has no estimate of it"))
    lost = Counter(o.dataset for o in omitted if o.what == Omission.what)
    skips = [
        Skip(entry.name, d.name, f"{folder} has no estimate of {n} of {len(d.tracks)} tracks")
        for d in datasets
        if (n := lost[d.name])
    ]
    if lost:
        splits = {track.split for _, track in places}
        strange = not_of(folder, splits, {path for files, _ in found for path in files.values()})
        why, what = "its name is not that of a track", "estimate not used"
        omitted += [Omission(why, printable(name), what=what) for name in strange]
    return Plan(tuple(units), tuple(skips), tuple(omitted))


def _estimates_of(
    track: Track, dataset: Dataset, folder: Path
) -> tuple[dict[str, Path], list[str]]:
    """Return the files of one track, see `from_disk.find_files`."""
    names = [track.name, track.id] if track.id else [track.name]
    others = [other.name for other in dataset.tracks]
    return find_files(folder, names, track.split, dataset.stems, others)


def _lengths(track: Track, sample_rate: int, excerpt: Excerpt) -> dict[str, Any]:
    """Return the parameters `whole` and `window` of `FromDisk`, where a track is used in part."""
    found: dict[str, Any] = {}
    with suppress(HarnessError):  # reading the track says what is wrong
        if cut := cut_short(track, sample_rate):
            found["whole"] = round(cut[2] * sample_rate)
        if excerpt.seconds is not None:
            length = track_length(track)
            found["window"] = [length, excerpt.window(length, sample_rate)[0]]
    return found


def _with_files(
    entry: Entry,
    files: Mapping[str, Path],
    notes: Sequence[str],
    lengths: Mapping[str, Any],
    fingerprints: Fingerprints,
) -> Entry:
    """Return the entry of a separator that reads these estimates of one track, without paths."""
    stems = tuple(taxonomy.in_order(files))
    params = {**entry.params, **({"notes": list(notes)} if notes else {}), **lengths}
    weights = tuple(Weights(file=stem, sha256=fingerprints.of(files[stem])) for stem in stems)
    return entry.model_copy(update={"stems": stems, "params": params, "weights": weights})


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
    inputs = _inputs(entry, content, given, scored, rate, excerpt)
    key = unit_key(entry, content, given, scored, rate, excerpt)
    track_key = digest([content, rate, excerpt.seconds])
    return Unit(entry, track, rate, given, scored, track_key, key, made_from=digest(inputs))


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
    the stems, the sample rate, the excerpt, and the versions of the metrics, but not that metrics
    of `When.NEW_WORK` exist: work that lacks them stays valid. Names of separators,
    tracks and files are not among them, so that renaming one repeats nothing. `content` is a hash
    of the track's audio. A unit in cascade has the key of `Unit.in_cascade`.
    """
    inputs = _inputs(entry, content, given, scored, sample_rate, excerpt)
    versions = {
        name: metric.version
        for name in DEFAULT
        if (metric := METRICS[name]).when is When.ALWAYS or metric.version > 1
    }
    return digest({**inputs, "metrics": versions})


def _inputs(
    entry: Entry,
    content: str,
    given: Sequence[str],
    scored: Sequence[str],
    sample_rate: int,
    excerpt: Excerpt,
) -> dict[str, Any]:
    """Return everything that the estimates of a unit of work depend on."""
    return {
        "entry": entry.identity(),
        "family": code_versions(entry),
        "given": given,
        "scored": scored,
        "audio": content,
        "sample_rate": sample_rate,
        "excerpt": excerpt.seconds,
        "precision": PRECISION,
    }


def unscored(units: Iterable[Unit], store: Store) -> tuple[Omission, ...]:
    """Return which separators were scored before some metrics existed, per dataset."""
    found: dict[tuple[str, str], set[str]] = {}
    for unit in units:
        scores = (store.get(unit.key) or {}).get("scores", {}).values()
        lacking = {name for of_stem in scores for name in DEFAULT if name not in of_stem}
        if lacking:
            found.setdefault((unit.track.dataset, unit.entry.name), set()).update(lacking)
    return tuple(
        Omission(
            f"scored before {', '.join(METRICS[m].label for m in DEFAULT if m in lacking)} "
            "existed, so these are not shown; to have them, run into a new folder (--results)",
            separator,
            dataset,
            what="separator scored in part",
        )
        for (dataset, separator), lacking in found.items()
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
