"""Inner products of all separators of a track, kept so that blends can be scored without audio.

Estimates wait in a scratch folder until the last separator of the track is done; then the products
are written and the estimates removed. If the run is killed in between, the next run finishes this.
Waiting on disk also bounds memory: only one stem of each separator is read at a time.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.benchmark.signals import Signals, Unit
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.files import complete_file, digest, write_stream, zip_damage
from harness.metrics import BlendProducts, Score, write_blends
from harness.results.run_products import BY_BAND, WHOLE, all_blends


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


def estimates_path(work_folder: Path, unit: Unit) -> Path:
    """Return where the estimates of a unit are kept whole, if they are."""
    return work_folder / "estimates" / f"{unit.made_from}.npz"


def put_estimates(work_folder: Path, unit: Unit, estimates: Mapping[str, Audio]) -> None:
    """Keep the scored estimates of a unit as they are, for metrics that are asked for later."""
    with write_stream(estimates_path(work_folder, unit)) as file:
        np.savez(file, allow_pickle=False, **estimates)


def read_estimates(work_folder: Path, unit: Unit) -> dict[str, Audio]:
    """Return the kept estimates of a unit; empty if they are not kept, or not as written."""
    path = estimates_path(work_folder, unit)
    if zip_damage(path):
        return {}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return {stem: np.asarray(file[stem], np.float32) for stem in unit.scored}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return {}


def scores_of(
    work_folder: Path, units: Iterable[tuple[Unit, Sequence[str]]]
) -> Iterator[tuple[Unit, str, dict[str, Score]]]:
    """Score units of one track from kept inner products: unit, metric, stem → score.

    `units` are given with the metrics of each. Those are left out that its products do not
    determine for every stem, see `BlendProducts.score_of`.
    """
    left = list(units)
    try:
        kept = list(all_blends(work_folder, left[0][0].track_key))
    except HarnessError:  # damaged; the audio will do
        return
    for blends in kept:
        here = {stem: {*blend.separators} for stem, blend in blends.items()}
        ready = [u for u in left if all(u[0].key in here.get(stem, ()) for stem in u[0].scored)]
        left = [u for u in left if u not in ready]
        for unit, metrics in ready:
            for metric in metrics:
                each = {stem: blends[stem].score_of(unit.key, metric) for stem in unit.scored}
                found = {stem: score for stem, score in each.items() if score}
                if len(found) == len(each):
                    yield unit, metric, found


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

    With edges, in Hz, also those of the frequency bands between them. Damaged estimates are
    removed: their scores stay, and blends of the track go without them.
    """
    ready = []
    for unit in waiting(work_folder, units):
        if zip_damage(path := scratch_path(work_folder, unit)):
            path.unlink(missing_ok=True)
        else:
            ready.append(unit)
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
            with complete_file(work_folder / kind / ready[0].track_key / name) as part:
                write_blends(part, found)
    for unit in ready:
        files[unit.key].close()
        scratch_path(work_folder, unit).unlink(missing_ok=True)
