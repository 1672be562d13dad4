"""One piece of work, from files to scores. This is what runs in a worker process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from harness import audio, taxonomy
from harness.audio import Audio
from harness.benchmark import blends, clips
from harness.benchmark.plan import Unit
from harness.cache import Store
from harness.costs import Meter
from harness.datasets.tracks import Excerpt, read_sources, track_length
from harness.errors import HarnessError, StorageError
from harness.metrics import References, analyse
from harness.separators import Oracle, Separator, load, parameters
from harness.separators.protocol import made_of, run

MAX_LOADED = 16  # separators a worker holds in memory
_LOADED: dict[tuple[str, tuple[str, ...], int, str], Separator | Oracle] = {}


@dataclass
class Signals:
    """The audio of one track, read once and shared by all separators.

    Attributes
    ----------
    mixture, stems
        Shape (channels, samples), all equal; only the stems that are needed.
    available
        All stems of the track: they decide on which level a stem is scored.
    separated
        {(key of a piece of work, stem): estimate} that others of the track are fed with.
    """

    mixture: Audio
    stems: dict[str, Audio]
    available: tuple[str, ...]
    sample_rate: int
    separated: dict[tuple[str, str], Audio] = field(default_factory=dict)
    _analysed: dict[tuple[str, ...], References] = field(default_factory=dict)

    def references(self, stem: str) -> References:
        """Return the analysed references of the level `stem` is scored on."""
        level = taxonomy.level_of(stem, self.available)
        if level not in self._analysed:
            true = {name: self.stems[name] for name in level}
            self._analysed[level] = analyse(true, self.sample_rate, threads=1)
        return self._analysed[level]


def do_batch(
    units: Sequence[Unit],
    excerpt: Excerpt,
    work_folder: Path,
    partners: Sequence[Unit] = (),
    *,
    device: str = "cpu",
    edges: Sequence[float] = (),
) -> dict[str, str]:
    """Do several pieces of work on one track; keep each as soon as it is done.

    Parameters
    ----------
    partners
        All pieces of work on the track, if none of them is in another batch: their inner products
        are kept at the end.
    edges
        As in `Settings`.

    Returns
    -------
    dict
        {key: reason} of those that failed. A failure is not kept: the next run tries again.

    Raises
    ------
    StorageError
        If results cannot be written any more.
    """
    store = Store(work_folder)
    failures: dict[str, str] = {}
    with threadpool_limits(1):  # one thread, always: sums must not depend on the number of workers
        try:
            signals = read_signals([*units, *partners], excerpt)
        except Exception as error:
            return {unit.key: _reason(error) for unit in units if not store.has(unit.key)}
        for unit in units:
            try:
                result, estimates = do_unit(unit, signals, device)
                clips.put(work_folder, unit, estimates, signals)
                if not store.has(unit.key):
                    blends.put_scratch(work_folder, unit, estimates)
                    store.put(unit.key, result)
            except StorageError:
                raise
            except (Exception, SystemExit) as error:  # third-party code may call sys.exit
                if not store.has(unit.key):  # else only its clips were wanted
                    failures[unit.key] = _reason(error)
        blends.keep(work_folder, partners, signals, edges)
    return failures


def read_signals(units: Sequence[Unit], excerpt: Excerpt) -> Signals:
    """Read the mixture of the units' track, and the stems that they need, equally long."""
    track, rate = units[0].track, units[0].sample_rate
    start, frames = excerpt.window(track_length(track), rate)
    mixture = read_sources(track.mixture, rate, start, frames)
    stems = {}
    for stem in sorted(_needed(units)):
        signal = read_sources(track.stems[stem], rate, start, frames)
        where = f"{track.name!r}, {stem}"
        stems[stem] = audio.to_channels(signal, mixture.shape[0], where)
    return Signals(mixture, stems, tuple(track.stems), rate)


def _needed(units: Sequence[Unit]) -> set[str]:
    """Return the stems that any of the units is scored against or fed with."""
    track = units[0].track
    needed = {unit.entry.input for unit in units if unit.parent is None}
    needed |= {stem for unit in units for stem in unit.given}
    for unit in units:
        for stem in unit.scored:
            needed.update(taxonomy.level_of(stem, track.stems))
    return needed & track.stems.keys()


def do_unit(
    unit: Unit, signals: Signals, device: str = "cpu"
) -> tuple[dict[str, Any], dict[str, Audio]]:
    """Separate and score one track with one separator.

    Returns
    -------
    result
        scores {stem: {metric: [value, note]}}, costs {metric: value}, notes. In cascade the costs
        are those of this separator alone; the parent's are in the parent's own result.
    estimates
        {stem: audio} of the stems that were scored.
    """
    source = _input(unit, signals, device)
    with Meter() as meter:
        separator = _loaded(unit, device)
        given, notes = _run(separator, source, signals, unit)
    estimates = {stem: made_of(given, stem) for stem in unit.scored}
    result: dict[str, Any] = {
        "scores": _score(estimates, unit, signals),
        "costs": {
            "rtf": meter.seconds / (source.shape[1] / signals.sample_rate),
            "cpu_seconds": meter.cpu_seconds,
            "peak_memory": meter.peak_memory,
        },
        "notes": notes,
    }
    if (trained := parameters(separator)) is not None:
        result["costs"]["parameters"] = trained
    return result, estimates


def _input(unit: Unit, signals: Signals, device: str) -> Audio:
    """Return what the separator is given; in cascade that is separated first, once a batch."""
    stem = unit.entry.input
    if unit.parent is None:
        return signals.mixture if stem == "mixture" else signals.stems[stem]
    place = (unit.parent.key, stem)
    if place not in signals.separated:
        separator = _loaded(unit.parent, device)
        given, _ = _run(separator, signals.mixture, signals, unit.parent)
        signals.separated[place] = made_of(given, stem)
    return signals.separated[place]


def _run(
    separator: Separator | Oracle, source: Audio, signals: Signals, unit: Unit
) -> tuple[dict[str, Audio], list[str]]:
    """Return the estimates, each of the shape of `source`, and notes; see `running.run`."""
    where = f"{unit.entry.name}, {unit.track.name!r}"
    rate = signals.sample_rate
    return run(separator, unit.entry, source, rate, where=where, references=signals.stems)


def _score(
    estimates: Mapping[str, Audio], unit: Unit, signals: Signals
) -> dict[str, dict[str, list[Any]]]:
    """Score each stem against the references of its level."""
    by_level: dict[tuple[str, ...], dict[str, Audio]] = {}
    for stem, estimate in estimates.items():
        by_level.setdefault(taxonomy.level_of(stem, signals.available), {})[stem] = estimate
    scores: dict[str, dict[str, list[Any]]] = {}
    for stems in by_level.values():
        for stem, values in signals.references(next(iter(stems))).score(stems, checks=True).items():
            scores[stem] = {metric: [s.value, s.note] for metric, s in values.items()}
    return scores


def _loaded(unit: Unit, device: str) -> Separator | Oracle:
    """Return the separator of an entry; this process reads its weights once."""
    key = (unit.entry.identity(), unit.given, unit.sample_rate, device)
    if key not in _LOADED:
        if len(_LOADED) >= MAX_LOADED:
            _LOADED.clear()
        _LOADED[key] = load(
            unit.entry, stems=unit.given, sample_rate=unit.sample_rate, device=device
        )
    return _LOADED[key]


def _reason(error: BaseException) -> str:
    """Return one line that says what went wrong."""
    text = " ".join(str(error).split())
    if isinstance(error, HarnessError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
