"""What goes out of a run and what comes in from others: reports, exports, published scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from harness import importing, report
from harness.benchmark import find_blends
from harness.cache import only_one, write_atomic
from harness.errors import HarnessError
from harness.metrics import write_museval
from harness.pipeline.choosing import with_selection, worth_of_blends
from harness.results import join, read_run, write_run
from harness.separators.from_disk import safe_name

MOST_BLENDED = 60  # tracks of a dataset; with more, harness select says what blends are worth


def write_report(
    folders: Sequence[Path],
    reports: Path,
    *,
    audio: str = "allowed",
    figures: bool = False,
    only_if_stale: bool = False,
) -> Path:
    """Write the pages of one run, or those of several as one, and return the path of the first.

    Parameters
    ----------
    audio
        Which audio goes into track pages: ``none``; ``allowed``, what the dataset's licence lets
        be passed on; ``private``, all.
    figures
        Whether to draw files for papers.
    """
    if only_if_stale and (reports / folders[0].name / "index.html").is_file():
        return reports / folders[0].name / "index.html"
    found = [read_run(folder) for folder in folders]
    run = found[0] if len(found) == 1 else with_selection(join(found))
    path = reports / "+".join(folder.name for folder in folders) / "index.html"
    listen = report.write_tracks(run, folders[0].parent / "work", path.parent, audio)
    report.write_rest(run, path.parent, figures=figures)
    few = run.scores.groupby(["dataset", "split"])["track"].nunique().max() <= MOST_BLENDED
    blended = worth_of_blends(run, folders[0].parent) if few else None
    page = report.render(run, listen, blended)
    write_atomic(path, page.encode("utf-8", "replace"))
    return path


def check_audio(audio: str | None) -> str:
    """Return what `write_report` takes for the audio that was asked for, ``allowed`` if none."""
    if audio is not None and audio not in report.AUDIO:
        raise HarnessError(f"--audio {audio}: not known; known: {', '.join(report.AUDIO)}")
    return audio or "allowed"


def export_museval(folder: Path, to: Path) -> list[Path]:
    """Write the frames of a run's separators as museval does: ``<to>/<separator>/<split>/<track>``.

    Only pieces of work whose inner products are kept can be written: no anchors, no oracles.

    Raises
    ------
    HarnessError
        If nothing is kept of the run.
    """
    written = []
    record = read_run(folder).record
    for unit in record.get("units", ()):
        found = find_blends(folder.parent / "work", unit["track_key"], [unit["key"]])
        frames = {
            stem: blend.frames({unit["key"]: 1.0})
            for stem, blend in found.items()
            if unit["key"] in blend.separators
        }
        if frames:
            place = to / unit["separator"] / unit["split"]
            written.append(place / f"{safe_name(unit['track'])}.json")
            write_museval(written[-1], frames)
    if not written:
        again = (
            "take --format csv" if importing.is_imported(record) else "run it again, then export"
        )
        raise HarnessError(f"{folder}: no frames are kept of this run; {again}")
    return written


def import_scores(
    paths: Sequence[Path], request: importing.Request, results: Path, *, command: Sequence[str] = ()
) -> Path:
    """Write scores that others published as a run, and return its folder.

    Raises
    ------
    HarnessError
        If they cannot be read, or the run's folder holds other scores.
    """
    run = with_selection(importing.read_published(paths, request))
    folder = results / run.name
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {**run.record, "command": list(command), "created": now, "finished": now}
    with only_one(results):
        importing.check_folder(folder, record)
        write_run(folder, replace(run, record=record))
    return folder
