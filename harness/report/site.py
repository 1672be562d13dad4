"""What stands beside the first page of a report: provenance, tables as files, printed figures."""

from __future__ import annotations

from pathlib import Path

from harness.cache import write_atomic
from harness.report import formats, printed, provenance, sheets
from harness.results import Run


def write_rest(run: Run, folder: Path, *, figures: bool = False) -> None:
    """Write ``provenance.html``, ``tables/`` and, if asked for, ``figures/`` into a folder."""
    if figures:
        printed.write_figures(run, folder / "figures")
    found = formats.write_sheets(sheets.all_sheets(run), run, folder / "tables")
    write_atomic(
        folder / "provenance.html", provenance.render(run, found).encode("utf-8", "replace")
    )
