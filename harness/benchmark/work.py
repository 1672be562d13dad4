"""One unit of work, from files to scores. This is what runs in a worker process."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from harness import metrics
from harness.benchmark import clips, kept_products
from harness.benchmark.meter import Meter
from harness.benchmark.signals import Signals, Unit, read_signals
from harness.benchmark.store import Store
from harness.core import taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError, StorageError
from harness.datasets.tracks import WHOLE, Excerpt
from harness.metrics import DEFAULT, METRICS
from harness.metrics.definitions import SILENT_REFERENCE
from harness.registry import FILES
from harness.separators import Oracle, Separator, code_versions, load, parameters
from harness.separators.protocol import made_of, run

MAX_LOADED = 16  # separators that a worker holds in memory
_LOADED: dict[tuple[str, str, tuple[str, ...], int, str], Separator | Oracle] = {}


@dataclass(frozen=True)
class Settings:
    """How a run is done; every worker receives all of it. Only `excerpt` can change a score."""

    run: str = "main"  # name of the run and of its folder in `results`
    command: tuple[str, ...] = ()  # arguments of the command line, for the record
    results: Path = Path("results")  # of all runs, and of the units of work that they share
    jobs: int = 1  # units of work done at the same time
    backend: str = "loky"  # joblib's: loky on this machine, dask or ray on a running cluster
    device: str = "cpu"  # of learned separators: cpu, cuda or mps
    excerpt: Excerpt = WHOLE  # the part of each track that is separated and scored
    listen: int = 0  # tracks per dataset whose estimates are kept for the report
    again: bool = False  # repeat finished work if its estimates to listen to are missing
    edges: tuple[float, ...] = ()  # Hz, between bands with weights of their own; () for no bands
    keep_unequal: bool = False  # also tracks with a mixture that is not the sum of the stems
    estimates: str = ""  # the folder of estimates that are scored; empty if separators run
    force: bool = False  # take the place of any run of that name
    rehash: bool = False  # read every file, also those that look unchanged
    metrics: tuple[str, ...] = ()  # optional ones; see `harness.metrics.OPTIONAL`
    keep_estimates: bool = False  # all of them, whole, so that more metrics need no separation

    @property
    def work_folder(self) -> Path:
        """The folder of finished units of work, which all runs share."""
        return self.results / "work"

    @property
    def fingerprints(self) -> Path:
        """The file with the fingerprints of audio files."""
        return self.work_folder / "fingerprints.jsonl"

    @property
    def mixtures(self) -> Path:
        """The file with what is known of mixtures, see `harness.datasets.mixture_check`."""
        return self.work_folder / "mixtures.jsonl"

    def described(self) -> dict[str, Any]:
        """Return what a run's record says of them: what may matter later."""
        hidden = ("results", "excerpt", "force", "rehash", "metrics")
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in hidden}
        return {**named, "excerpt_seconds": self.excerpt.seconds}


def do_batch(
    units: Sequence[Unit], settings: Settings, partners: Sequence[Unit] = ()
) -> dict[str, str]:
    """Do several units of work on one track; return {key: reason} of the failed ones.

    The result of each is written as soon as it is done. A failure is not written, so that the next
    run tries again; only StorageError ends the batch. `partners` are all units on the track, if
    none of them is in another batch: their inner products are written at the end.
    """
    work_folder = settings.work_folder
    store = Store(work_folder)
    failures: dict[str, str] = {}
    import_module("torch")  # the limit holds for libraries that are loaded
    with threadpool_limits(1):  # one thread, always: sums must not depend on the number of workers
        try:
            signals = read_signals([*units, *partners], settings.excerpt, settings.device)
        except Exception as error:
            missing = (key for unit in units for key in keys_of(unit, settings))
            return {key: _reason(error) for key in missing if not store.has(key)}
        for unit in units:
            try:
                estimates = _scored(unit, signals, settings, store)
            except StorageError:
                raise
            except (Exception, SystemExit) as error:  # third-party code may call sys.exit
                failures |= dict.fromkeys(
                    (k for k in keys_of(unit, settings) if not store.has(k)), _reason(error)
                )  # without any, only its clips were missing
            else:
                failures |= _measure(unit, estimates, signals, settings, store)
        kept_products.keep(work_folder, partners, signals, settings.edges)
    return failures


def keys_of(unit: Unit, settings: Settings) -> list[str]:
    """Return the keys of all results that a unit has: its scores, and each optional metric's."""
    return [unit.key, *map(unit.metric_key, metrics_of(unit, settings))]


def metrics_of(unit: Unit, settings: Settings) -> list[str]:
    """Return the optional metrics that are for any stem of a unit."""
    return [m for m in settings.metrics if any(map(METRICS[m].is_for, unit.scored))]


def _scored(unit: Unit, signals: Signals, settings: Settings, store: Store) -> Mapping[str, Audio]:
    """Return the estimates of a unit; what is not stored of its scores, clips or estimates is."""
    folder = settings.work_folder
    if store.has(unit.key) and not (settings.again and clips.wanted(folder, unit)):
        if kept := kept_products.read_estimates(folder, unit):
            return kept
        source = _input(unit, signals, settings.device)
        given, _ = _run(_loaded(unit, settings.device), source, signals, unit)
        estimates = {stem: made_of(given, stem) for stem in unit.scored}
    else:
        result, estimates = do_unit(unit, signals, settings.device)
        clips.put(folder, unit, estimates, signals)
        if not store.has(unit.key):
            kept_products.put_scratch(folder, unit, estimates)
            store.put(unit.key, result)
    if settings.keep_estimates and unit.entry.family != FILES:
        kept_products.put_estimates(folder, unit, estimates)
    return estimates


def _measure(
    unit: Unit,
    estimates: Mapping[str, Audio],
    signals: Signals,
    settings: Settings,
    store: Store,
) -> dict[str, str]:
    """Compute and store the optional metrics that a unit lacks; return {key: reason} of failures.

    Each has a result of its own, so that asking for one more computes only that one. A metric that
    is for some stems only has no score of the others.
    """
    wanted = metrics_of(unit, settings)
    missing = [name for name in wanted if not store.has(unit.metric_key(name))]
    if not missing:
        return {}
    try:
        scores = _score(estimates, signals, [name for name in missing if METRICS[name].compute])
        tools = [name for name in missing if not METRICS[name].compute]
        for stem, found in _by_tools(estimates, signals, tools).items():
            scores[stem] |= found
    except Exception as error:
        return {unit.metric_key(name): _reason(error) for name in missing}
    for name in missing:
        put_metric(store, unit, name, {s: of[name] for s, of in scores.items() if name in of})
    return {}


def put_metric(store: Store, unit: Unit, name: str, values: Mapping[str, list[Any]]) -> None:
    """Store the scores of a unit by one optional metric, {stem: [value, note]}."""
    scores = {stem: {name: value} for stem, value in values.items()}
    store.put(unit.metric_key(name), {"scores": scores, "costs": {}, "notes": []})


def _by_tools(
    estimates: Mapping[str, Audio], signals: Signals, names: Sequence[str]
) -> dict[str, dict[str, list[Any]]]:
    """Score each stem by metrics of other tools."""
    scores: dict[str, dict[str, list[Any]]] = {}
    for stem, estimate in estimates.items() if names else ():
        reference = signals.stems[stem]
        found: dict[str, float] = {}
        if reference.any():
            rate, mixture = signals.sample_rate, signals.mixture
            found = metrics.measure(names, reference, estimate, rate, mixture=mixture, threads=1)
        for name in names:
            value = found.get(name, float("nan"))
            note = "" if found else SILENT_REFERENCE
            if found and math.isnan(value):
                note = "the track is too short for it"
            scores.setdefault(stem, {})[name] = [value, note]
    return scores


def do_unit(
    unit: Unit, signals: Signals, device: str = "cpu"
) -> tuple[dict[str, Any], dict[str, Audio]]:
    """Separate and score one track with one separator; return its result and its estimates.

    The result has scores {stem: {metric: [value, note]}}, costs {metric: value} and notes. In
    cascade the costs are those of this separator alone; the parent's are in the parent's own
    result. Estimates made elsewhere have none. The estimates are {stem: audio} of the scored stems.
    """
    source = _input(unit, signals, device)
    with Meter() as meter:
        separator = _loaded(unit, device)
        given, notes = _run(separator, source, signals, unit)
    estimates = {stem: made_of(given, stem) for stem in unit.scored}
    started = time.perf_counter()
    result: dict[str, Any] = {
        "scores": _score(estimates, signals),
        "costs": {},
        "notes": notes,
    }
    scoring = time.perf_counter() - started
    if unit.entry.family == FILES:
        return result, estimates
    length = source.shape[1] / signals.sample_rate
    result["costs"] = {
        "rtf": meter.seconds / length,
        "scoring": scoring / length,
        "cpu_seconds": meter.cpu_seconds,
        "peak_memory": meter.peak_memory,
    }
    if (trained := parameters(separator)) is not None:
        result["costs"]["parameters"] = trained
    return result, estimates


def _input(unit: Unit, signals: Signals, device: str) -> Audio:
    """Return the input of a unit; in cascade the parent separates it first, once per batch."""
    stem = unit.entry.input
    if unit.parent is None:
        return signals.mixture if stem == "mixture" else signals.stems[stem]
    place = (unit.parent.key, stem)
    if place not in signals.separated:
        given, _ = _run(_loaded(unit.parent, device), signals.mixture, signals, unit.parent)
        signals.separated[place] = made_of(given, stem)
    return signals.separated[place]


def _run(
    separator: Separator | Oracle, source: Audio, signals: Signals, unit: Unit
) -> tuple[dict[str, Audio], list[str]]:
    """Return the estimates, each of the shape of `source`, and notes; see `protocol.run`."""
    where = f"{unit.entry.name}, {unit.track.name!r}"
    rate = signals.sample_rate
    return run(separator, unit.entry, source, rate, where=where, references=signals.stems)


def _score(
    estimates: Mapping[str, Audio], signals: Signals, metrics: Sequence[str] = DEFAULT
) -> dict[str, dict[str, list[Any]]]:
    """Score each stem against the references of its level; default metrics with `suspicions`."""
    by_level: dict[tuple[str, ...], dict[str, Audio]] = {}
    for stem, estimate in estimates.items():
        by_level.setdefault(taxonomy.level_of(stem, signals.available), {})[stem] = estimate
    scores: dict[str, dict[str, list[Any]]] = {stem: {} for stem in estimates}
    for stems in by_level.values() if metrics else ():
        ready = signals.references(next(iter(stems)))
        found = ready.score(stems, checks=metrics is DEFAULT, metrics=metrics)
        for stem, values in found.items():
            scores[stem] = {metric: [s.value, s.note] for metric, s in values.items()}
    return scores


def _loaded(unit: Unit, device: str) -> Separator | Oracle:
    """Return the unit's separator; this process loads it once."""
    code = str(code_versions(unit.entry))
    key = (unit.entry.identity(), code, unit.given, unit.sample_rate, device)
    if key not in _LOADED:
        if len(_LOADED) >= MAX_LOADED:
            _LOADED.clear()
        _LOADED[key] = load(
            unit.entry, stems=unit.given, sample_rate=unit.sample_rate, device=device
        )
    return _LOADED[key]


def _reason(error: BaseException) -> str:
    """Return the error in one line; one that is not ours is named by its type."""
    text = " ".join(str(error).split())
    if isinstance(error, HarnessError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
