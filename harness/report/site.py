"""The files beside the first page of a report: provenance, tables and figures for papers."""

from __future__ import annotations

from pathlib import Path

from harness.cache import write_atomic
from harness.report import drawings, provenance, sheets, table_files
from harness.results import Run


def write_rest(run: Run, folder: Path, *, figures: bool = False) -> None:
    """Write ``provenance.html``, ``tables/`` and, if asked for, ``figures/`` into a folder."""
    if figures:
        drawings.write_figures(run, folder / "figures")
    found = table_files.write_sheets(sheets.all_sheets(run), run, folder / "tables")
    page = provenance.render(run, found)
    write_atomic(folder / "provenance.html", page.encode("utf-8", "replace"))
