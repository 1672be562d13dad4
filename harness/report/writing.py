"""Write the report of a run: pages, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files import digest, file_digest, write_atomic
from harness.registry import suggestion
from harness.report import drawings, provenance
from harness.report.computed import Report, make_report
from harness.report.page.index_page import render
from harness.report.tables import sheets, table_files
from harness.report.tracks.listening import AUDIO, write_tracks
from harness.report.tracks.sounds import MEGABYTES
from harness.results.runs import join, read_run
from harness.selection.finished_run import kept_products, with_selection, worth_of_blends

MOST_BLENDED = 60  # tracks of a dataset; with more, harness select says what blends are worth


def write_report(
    folders: Sequence[Path],
    reports: Path,
    *,
    audio: str = "allowed",
    megabytes: float = MEGABYTES,
    figures: bool = False,
    only_if_stale: bool = False,
    report: Report | None = None,
) -> Path:
    """Write the pages of one run, or those of several as one, and return the path of the first.

    `audio` is one of `AUDIO`, see `listening.why_silent`, and `megabytes` limits the pages that
    hold it; `figures` adds files for papers; `report` is that of the folders if it was made before.
    """
    path = reports / "+".join(folder.name for folder in folders) / "index.html"
    mark = _mark(folders)
    if only_if_stale and path.is_file() and path.read_bytes().endswith(mark):
        return path
    report = report or report_of(folders)
    work = folders[0].parent / "work"
    listen = write_tracks(report, work, path.parent, audio, megabytes=megabytes)
    write_rest(report, path.parent, figures=figures)
    run = report.run
    few = run.scores.groupby(["dataset", "split"])["track"].nunique().max() <= MOST_BLENDED
    kept = kept_products(run, folders[0].parent) if few else {}
    blended = worth_of_blends(run, folders[0].parent, kept=kept) if few else None
    page = render(report, listen, blended, kept)
    write_atomic(path, page.encode("utf-8", "replace") + mark)
    return path


def report_of(folders: Sequence[Path]) -> Report:
    """Return the report of one run, or that of several as one."""
    found = [read_run(folder) for folder in folders]
    return make_report(found[0] if len(found) == 1 else with_selection(join(found)))


def _mark(folders: Sequence[Path]) -> bytes:
    """Return the end of a page, which says of which runs it is: several may share its folder."""
    made = digest([file_digest(path) for f in folders if (path := f / "run.json").is_file()])
    return f"<!-- {made} -->\n".encode()


def check_audio(audio: str | None) -> str:
    """Return what `write_report` takes for the audio that was asked for, ``allowed`` if none."""
    if audio is not None and audio not in AUDIO:
        raise HarnessError(f"--audio {audio}: not known; {suggestion(audio, AUDIO)}")
    return audio or "allowed"


def write_rest(report: Report, folder: Path, *, figures: bool = False) -> None:
    """Write ``provenance.html``, ``tables/`` and, if asked for, ``figures/`` into a folder."""
    if figures:
        drawings.write_figures(report, folder / "figures")
    found = table_files.write_sheets(sheets.all_sheets(report), report.run, folder / "tables")
    page = provenance.render(report, found)
    write_atomic(folder / "provenance.html", page.encode("utf-8", "replace"))
