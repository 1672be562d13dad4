"""A run's tables for other tools: files to calculate with, to print, and for model hubs."""

from __future__ import annotations

from pathlib import Path

from harness import pipeline, report
from harness.cache import write_atomic
from harness.errors import HarnessError
from harness.report import comparison, formats, model_card, sheets
from harness.results import read_run
from harness.separators.from_disk import safe_name

FORMATS = (*formats.FORMATS, "museval", "model-card")


def export(folder: Path, file_format: str, to: Path, *, source_url: str = "") -> list[Path]:
    """Write a run's tables in one format, and return the files.

    Parameters
    ----------
    folder
        Of the run.
    file_format
        One of `FORMATS`.
    source_url
        Where the report can be read; model cards name it.

    Raises
    ------
    HarnessError
        If the format is not known, or there is nothing to write.
    """
    if file_format not in FORMATS:
        raise HarnessError(f"--format {file_format}: not known; known: {', '.join(FORMATS)}")
    if file_format == "museval":
        return pipeline.export_museval(folder, to)
    run = read_run(folder)
    if file_format == "model-card":
        cards = model_card.cards(run, source_url)
        files = {to / f"{safe_name(name)}.md": text for name, text in cards.items()}
        for path, text in files.items():
            write_atomic(path, text.encode("utf-8", "replace"))
        found = list(files)
    else:
        written = formats.write_sheets(sheets.all_sheets(run), run, to, [file_format])
        found = [to / Path(address).name for table in written for address in table.files.values()]
    if not found:
        raise HarnessError(f"{folder}: holds no scores; run it again, then export")
    return found


def compare_runs(a: Path, b: Path, reports: Path) -> tuple[comparison.Comparison, Path]:
    """Compare two runs, write the page of it, and return both."""
    if a == b:
        raise HarnessError(f"{a.name}: is one run; name two to compare")
    found = report.compare_runs(read_run(a), read_run(b))
    return found, comparison.write(found, reports / f"{a.name} vs {b.name}")
