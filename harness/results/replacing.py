"""Names of runs, and which run may take the place of another: one that holds all of it.

A run is what it was made of: the estimates or published files, the separators and their input, the
tracks, and the part of each track. Its name is only where it lies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from harness.core.errors import HarnessError
from harness.core.files import check_folder_name, folded
from harness.core.text import count as counted

TAKEN = ("work",)  # the folder of finished work beside the runs
Record = Mapping[str, Any]
Made = tuple[str, str, str, str, str]  # separator, its input, dataset, split, track


def check_name(name: str) -> str:
    """Return the name of a run if it can be the name of its folder on every file system."""
    if folded(name) in TAKEN:
        raise HarnessError(f"run {name!r}: finished work is kept there; choose another --name")
    return check_folder_name(name, "run")


def check_place(results: Path, name: str, new: Record, *, force: bool = False) -> None:
    """Refuse to write a run under a name if that would lose another run, or confuse the two.

    With `force` it may take the place of any run of exactly that name. `new` is the record of the
    run to write, or the part of it that says what it was made of; empty if that is not known yet.
    """
    check_name(name)
    folder = results / name
    for other in sorted(results.iterdir()) if results.is_dir() else ():
        if other.name != name and folded(other.name) == folded(name):
            raise HarnessError(
                f"{folder}: {other.name!r} is there, and some file systems take the two names for "
                f"one; use --name {other.name}, or a name that differs in more"
            )
    if not force and (reason := _lost(_record(folder), new)):
        raise HarnessError(
            f"{folder}: {reason}; choose another --name, such as {_free(results, name, new)}, or "
            "replace it with --force"
        )


def is_imported(record: Any) -> bool:
    """Whether a run's record is about scores that others published."""
    return isinstance(record, dict) and bool(record.get("published"))


def _record(folder: Path) -> Record | None:
    """Return the record of the run in a folder; empty if it cannot be read, None without a run."""
    path = folder / "run.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _lost(old: Record | None, new: Record) -> str:
    """Return what of a run another one in its place would lose; empty if nothing is known."""
    with suppress(AttributeError, KeyError, TypeError, ValueError):  # not as we write it
        if old is not None and (is_imported(old) or is_imported(new)):
            return _lost_scores(old, new)
        if old and new:
            return _lost_results(old, new)
    return ""


def _lost_results(old: Record, new: Record) -> str:
    """Return what would be lost of a measured run in whose place another one is measured."""
    if _from_files(old) != _from_files(new):
        return f"has a run of {'estimates' if _from_files(old) else 'separators'}"
    if (part := old.get("excerpt_seconds")) != new.get("excerpt_seconds"):
        return f"has scores of {f'the middle {part:g} s' if part else 'the whole'} of each track"
    if (before := old.get("estimates", "")) and _other(before, old, new):
        return f"has scores of the estimates in {before}"
    for name, about in _datasets(old).items():
        if (before := about.get("folder", "")) and _other(before, old, new, name):
            return f"has scores on {name} in {before}"
    now = _made(new)
    kept = {*now, *now.values()}
    lost = [made for made, key in _made(old).items() if not {made, key} & kept]
    if not lost:
        return ""
    separator, _, dataset, split, track = min(lost)
    what = counted(len(lost), "result")
    return f"has {what} that would be lost ({separator} on {track!r} of {dataset}:{split}, …)"


def _lost_scores(old: Record, new: Record) -> str:
    """Return what would be lost if one of two runs or both are imported."""
    if not is_imported(old):
        return "has a run that was measured here"
    if not is_imported(new):
        return "has imported scores, which a run would replace"
    kept = {source[key] for source in new["published"] for key in ("file", "sha256")}
    files = [s["file"] for s in old["published"] if not kept & {s["file"], s["sha256"]}]
    more = f" and {len(files) - 1} more" if files[1:] else ""
    return f"has scores imported from {files[0]}{more}, which these would replace" if files else ""


def _other(before: str, old: Record, new: Record, dataset: str = "") -> bool:
    """Whether a folder was another one, and nothing that was scored from it is the same."""
    about = _datasets(new).get(dataset, {}).get("folder", "") if dataset else new.get("estimates")
    if not about or about == before:
        return False
    which = "track_key" if dataset else "key"
    seen, now = (
        {
            unit[which]
            for unit in record.get("units", ())
            if unit["dataset"] == dataset or not dataset
        }
        for record in (old, new)
    )
    return seen.isdisjoint(now)


def _from_files(record: Record) -> bool:
    """Whether a run scored estimates that were made elsewhere."""
    families = {about.get("family") for about in record.get("separators", {}).values()}
    return families == {"files"}


def _datasets(record: Record) -> Mapping[str, Any]:
    found: Mapping[str, Any] = record.get("datasets", {})
    return found


def _made(record: Record) -> dict[Made, str]:
    """Return what a run measured, with the key of each result, which no name enters."""
    inputs = {name: about["input"] for name, about in record.get("separators", {}).items()}
    return {
        (u["separator"], inputs[u["separator"]], u["dataset"], u["split"], u["track"]): u["key"]
        for u in record.get("units", ())
    }


def _free(results: Path, name: str, new: Record) -> str:
    """Return a name that no run has: with the folder above the estimates, otherwise a number."""
    taken = {folded(path.name) for path in results.iterdir()}
    above = re.sub(r"[^a-z0-9]+", "_", Path(new.get("estimates", "")).parent.name.lower())

    def names() -> Iterator[str]:
        if above.strip("_"):
            yield f"{above.strip('_')}_{name}"
        yield from (f"{name}_{n}" for n in count(2))

    return next(found for found in names() if folded(found) not in taken)
