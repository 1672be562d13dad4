"""What is to be done: one piece of work a (separator, track), with a key made of its content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import taxonomy
from harness.cache import Fingerprints, digest
from harness.datasets.tracks import WHOLE, Dataset, Excerpt, Source, Track
from harness.metrics import DEFAULT, METRICS
from harness.registry import Entry, Weights
from harness.separators import code_versions
from harness.separators.from_disk import find_files
from harness.weight_files import obstacle

PRECISION = "float32"


@dataclass(frozen=True)
class Settings:
    """How a run is done; only `excerpt` can change a number.

    Attributes
    ----------
    run
        Name of the run and of its folder in `results`.
    results
        Folder of all runs and of the work they share.
    jobs
        Pieces of work done at once.
    backend
        joblib's: ``loky`` on this machine, ``dask`` or ``ray`` on a cluster set up before.
    device
        Where learned separators run: ``cpu``, ``cuda``, ``mps``.
    excerpt
        The part of each track that is separated and scored.
    listen
        Tracks of each dataset whose estimates are kept for the report.
    again
        Whether finished work is done once more where only its estimates to listen to lack.
    edges
        Between frequency bands, in Hz, for which weights may be chosen later; none keeps less.
    """

    run: str = "main"
    results: Path = Path("results")
    jobs: int = 1
    backend: str = "loky"
    device: str = "cpu"
    excerpt: Excerpt = WHOLE
    listen: int = 0
    again: bool = False
    edges: tuple[float, ...] = ()

    @property
    def work_folder(self) -> Path:
        """Where finished pieces of work lie, shared by all runs."""
        return self.results / "work"


@dataclass(frozen=True)
class Unit:
    """One piece of work: one separator on one track.

    Attributes
    ----------
    given
        Stems the separator is asked for, as it calls them.
    scored
        Stems of the track that can be made from those, in display order.
    track_key
        Changes with the audio of the track and the part of it that is scored.
    key
        Changes with everything that can change a score, and with nothing else.
    parent
        In cascade: the piece of work whose estimate of the entry's input stem is the input.
    listen
        Whether its estimates are kept for the report.
    """

    entry: Entry
    track: Track
    sample_rate: int
    given: tuple[str, ...]
    scored: tuple[str, ...]
    track_key: str
    key: str
    parent: Unit | None = None
    listen: bool = False

    @property
    def fed(self) -> str:
        """What the input is: ``mixture``, ``reference:drums`` or ``cascade:htdemucs:drums``."""
        stem = self.entry.input
        if stem == "mixture":
            return stem
        return f"cascade:{self.parent.entry.name}:{stem}" if self.parent else f"reference:{stem}"


@dataclass(frozen=True)
class Skip:
    """A separator that was not run, on one dataset or (None) at all, and why."""

    separator: str
    dataset: str | None
    reason: str


@dataclass(frozen=True)
class Plan:
    """Pieces of work in the order of their rows, and what was left out."""

    units: tuple[Unit, ...] = ()
    skips: tuple[Skip, ...] = field(default=())


def make_plan(
    entries: Sequence[Entry],
    datasets: Sequence[Dataset],
    settings: Settings,
    fingerprints: Fingerprints,
) -> Plan:
    """Cross separators with tracks; reads (and remembers) the fingerprint of every audio file.

    Raises
    ------
    HarnessError
        If an entry that claims to be available has a family nobody knows.
    """
    units: list[Unit] = []
    why = {entry.name: obstacle(entry) for entry in entries}
    skips = [Skip(name, None, reason) for name, reason in why.items() if reason]
    able = [entry for entry in entries if not why[entry.name]]
    for dataset in datasets:
        tracks = [(track, _content(track, fingerprints)) for track in dataset.tracks]
        for entry in able:
            mine = [
                unit
                for track, content in tracks
                if (unit := _unit(entry, track, dataset, content, settings))
            ]
            units += mine
            if not mine:
                skips.append(Skip(entry.name, dataset.name, _why_nothing(entry)))
    return Plan(tuple(units), tuple(skips))


def plan_for_files(
    entry: Entry,
    folder: Path,
    datasets: Sequence[Dataset],
    settings: Settings,
    fingerprints: Fingerprints,
) -> Plan:
    """Plan to score estimates that lie in a folder, made elsewhere.

    Parameters
    ----------
    entry
        Name and description of what made them; its stems and files are found per track.
    folder
        In one of the layouts that `harness.separators.from_disk.find_files` knows.
    """
    units: list[Unit] = []
    skips = []
    for dataset in datasets:
        missing = 0
        for track in dataset.tracks:
            names = [track.name, track.id] if track.id else [track.name]
            files = find_files(folder, names, track.split, dataset.stems)
            stems = tuple(taxonomy.in_order(files))
            hashes = {stem: fingerprints.of(files[stem]) for stem in stems}
            update = {
                "stems": stems,
                "params": {"files": {stem: str(files[stem]) for stem in stems}},
                "weights": tuple(Weights(file=stem, sha256=hashes[stem]) for stem in stems),
            }
            content = _content(track, fingerprints)
            mine = entry.model_copy(update=update)
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
    """Return the piece of work, or None if the track has nothing to score this separator on."""
    if entry.input != "mixture" and entry.input not in track.stems:
        return None
    wanted = [
        stem
        for stem in taxonomy.in_order(track.stems)
        if stem in dataset.stems and _asked(entry, stem) and not untold(track, stem, entry.input)
    ]
    given = entry.stems or _open_stems(entry, wanted)
    meant = taxonomy.as_meant(entry.stems).values() or given
    scored = tuple(stem for stem in wanted if taxonomy.parts(stem, meant))
    if not scored:
        return None
    track_key = digest([content, dataset.sample_rate, settings.excerpt.seconds])
    key = digest(
        {
            "entry": entry.identity(),
            "family": code_versions(entry),
            "given": given,
            "scored": scored,
            "audio": content,
            "sample_rate": dataset.sample_rate,
            "excerpt": settings.excerpt.seconds,
            "precision": PRECISION,
            "metrics": {name: METRICS[name].version for name in DEFAULT},
        }
    )
    return Unit(entry, track, dataset.sample_rate, given, scored, track_key, key)


def _asked(entry: Entry, stem: str) -> bool:
    """Whether a stem is a part of what the separator takes apart; any may be one of a mixture."""
    return entry.input == "mixture" or entry.input in taxonomy.ancestors(stem)


def untold(track: Track, stem: str, source: str) -> str:
    """Say why a part of drums or vocals cannot be scored on a track; empty where it can.

    Parameters
    ----------
    source
        What the stem is separated from.
    """
    parent = taxonomy.parent_level(stem)
    if parent == "mixture":
        return ""
    if any(taxonomy.parent_level(heard) == parent for heard in track.bleed):
        return f"the {parent} have bleed between their parts"
    if source == parent and {*track.stems[stem]} == {*track.stems.get(parent, ())}:
        return f"it is all there is of the {parent}"
    return ""


def _open_stems(entry: Entry, wanted: Sequence[str]) -> tuple[str, ...]:
    """Choose stems for an entry without any: an oracle needs a partition, an anchor takes all."""
    top = [stem for stem in wanted if taxonomy.parent_level(stem) == entry.input] or wanted
    if entry.role != "oracle":
        return tuple(top)
    return next(iter(taxonomy.levels(top).values()), tuple(top[:1]))


def _content(track: Track, fingerprints: Fingerprints) -> str:
    """Return a hash of every signal of the track; names of files and tracks do not enter."""

    def signals(sources: Iterable[Source]) -> list[list[str | int | None]]:
        return [[fingerprints.of(s.path), s.channel, s.stream] for s in sources]

    stems = {stem: signals(sources) for stem, sources in track.stems.items()}
    return digest({"mixture": signals(track.mixture), "stems": stems})


def _why_nothing(entry: Entry) -> str:
    """Say why a separator has no work on a dataset."""
    if entry.input != "mixture":
        return f"no track has {entry.input} with their parts"
    return f"no track has a stem that it gives ({', '.join(entry.stems) or 'any'})"
