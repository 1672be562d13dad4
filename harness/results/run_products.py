"""The inner products that a run keeps: any blend of its separators can be scored from them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from harness.metrics import BlendProducts, read_blends

WHOLE, BY_BAND = "blends", "bands"  # folders inside the work folder


def all_blends(
    work_folder: Path, track_key: str, *, by_band: bool = False
) -> Iterator[dict[str, BlendProducts]]:
    """Yield the inner products of one track, stem → products, once per set that was run together.

    Separators have the names of their keys, as in `find_blends`.
    """
    folder = work_folder / (BY_BAND if by_band else WHOLE) / track_key
    yield from map(read_blends, sorted(folder.glob("*.npz")))


def find_blends(
    work_folder: Path, track_key: str, keys: Collection[str], *, by_band: bool = False
) -> dict[str, BlendProducts]:
    """Return the inner products of one track's units of work: stem → products.

    Separators have the names of their `keys`, which are those of ``units`` in a run's record, and
    may be more than these. The result is empty if these were never run together.
    """
    for found in all_blends(work_folder, track_key, by_band=by_band):
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

    `units` are of the run's record, `scores` of the wanted separators. A track has products if all
    its separators with scores were run together.
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
