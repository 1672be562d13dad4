"""Inner products of all separators of a track, kept so that blends can be scored without audio.

Estimates wait in a scratch folder until the last separator of the track is done; then the products
are written and the estimates removed. If the run is killed in between, the next run finishes this.
Waiting on disk also bounds memory: only one stem of each separator is read at a time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from harness.audio import Audio
from harness.benchmark.plan import Unit
from harness.benchmark.signals import Signals
from harness.cache import digest, write_stream
from harness.errors import StorageError
from harness.metrics import BlendProducts, read_blends, write_blends

WHOLE, BY_BAND = "blends", "bands"  # folders inside the work folder


def scratch_path(work_folder: Path, unit: Unit) -> Path:
    """Return where the estimates of a unit wait."""
    return work_folder / "scratch" / f"{unit.key}.npz"


def put_scratch(work_folder: Path, unit: Unit, estimates: Mapping[str, Audio]) -> None:
    """Write the scored estimates of a separator, which wait for the others of its track.

    Those in cascade are left out: blends are made of separators that have the same input.
    """
    if unit.entry.role == "separator" and unit.parent is None:
        with write_stream(scratch_path(work_folder, unit)) as file:
            np.savez(file, allow_pickle=False, **estimates)


def waiting(work_folder: Path, units: Iterable[Unit]) -> list[Unit]:
    """Return the units whose estimates still wait."""
    there = {path.stem for path in (work_folder / "scratch").glob("*.npz")}
    return [unit for unit in units if unit.key in there]


def tidy(work_folder: Path, units: Iterable[Unit]) -> list[Unit]:
    """Remove the waiting estimates of all other units; return the units whose estimates wait."""
    ready = waiting(work_folder, units)
    awaited = {scratch_path(work_folder, unit) for unit in ready}
    for path in (work_folder / "scratch").glob("*.npz"):
        if path not in awaited:
            path.unlink()
    return ready


def keep(
    work_folder: Path, units: Sequence[Unit], signals: Signals, edges: Sequence[float] = ()
) -> None:
    """Write the inner products of the waiting estimates of one track, and remove the estimates.

    With edges, in Hz, also those of the frequency bands between them.
    """
    ready = waiting(work_folder, units)
    if not ready:
        return
    files = {unit.key: np.load(scratch_path(work_folder, unit)) for unit in ready}
    products: dict[str, BlendProducts] = {}
    by_band: dict[str, BlendProducts] = {}
    for stem in sorted({stem for unit in ready for stem in unit.scored}):
        estimates = {key: file[stem] for key, file in sorted(files.items()) if stem in file}
        references = signals.references(stem)
        products[stem] = references.blend(stem, estimates)
        if edges:
            by_band[stem] = references.blend(stem, estimates, edges=edges)
    name = f"{digest(sorted(unit.key for unit in ready))}.npz"
    for kind, found in ((WHOLE, products), (BY_BAND, by_band)):
        if found:
            _write(work_folder / kind / ready[0].track_key / name, found)
    for unit in ready:
        files[unit.key].close()
        scratch_path(work_folder, unit).unlink(missing_ok=True)


def find_blends(
    work_folder: Path, track_key: str, keys: Collection[str], *, by_band: bool = False
) -> dict[str, BlendProducts]:
    """Return the inner products of one track's units of work: stem → products.

    The keys are as in ``units`` of a run's record. The result is empty if these separators were
    never run together. The separators of each `BlendProducts` have the keys of their units as names, and
    may be more than those asked for.
    """
    folder = work_folder / (BY_BAND if by_band else WHOLE) / track_key
    for path in sorted(folder.glob("*.npz")):
        found = read_blends(path)
        if set(keys) <= {key for blend in found.values() for key in blend.separators}:
            return found
    return {}


def blends_of_run(
    work_folder: Path,
    units: Iterable[Mapping[str, str]],
    scores: pd.DataFrame,
    *,
    by_band: bool = False,
) -> dict[tuple[str, str, str, str], BlendProducts]:
    """Return all inner products of a run: (dataset, split, track, stem) → products.

    Units are those of the run's record, scores those of the wanted separators. A track has products
    if all its separators with scores were run together. Each `BlendProducts` has separators by name.
    """
    place = ["dataset", "split", "track"]
    ok = scores[scores["status"] == "ok"]
    wanted = set(zip(*(ok[name] for name in (*place, "separator")), strict=True))
    tracks: dict[tuple[str, ...], dict[str, str]] = {}
    for unit in units:
        where = tuple(unit[name] for name in place)
        if (*where, unit["separator"]) in wanted:
            names = tracks.setdefault((*where, unit["track_key"]), {})
            names[unit["key"]] = unit["separator"]
    found = {}
    for (dataset, split, track, track_key), names in tracks.items():
        products = find_blends(work_folder, track_key, names, by_band=by_band)
        for stem, blend in products.items():
            here = [key for key in blend.separators if key in names]
            ours = replace(blend.only(here), separators=tuple(names[key] for key in here))
            found[dataset, split, track, stem] = ours
    return found


def _write(path: Path, products: Mapping[str, BlendProducts]) -> None:
    """Write the inner products of a track."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_blends(path, products)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written ({error.strerror}); free space") from error
