"""The tables of a run as files for other tools, for papers and for model hubs."""

from __future__ import annotations

from pathlib import Path

from harness import pipeline, report
from harness.cache import write_atomic
from harness.errors import HarnessError
from harness.report import comparison, model_card, sheets, table_files
from harness.results import read_run
from harness.separators.from_disk import safe_name

FORMATS = (*table_files.FORMATS, "museval", "model-card")


def export(folder: Path, file_format: str, to: Path, *, source_url: str = "") -> list[Path]:
    """Write the tables of the run in `folder` in one of `FORMATS`, and return the files.

    `source_url`, the address of the report, is shown in model cards.
    """
    if file_format not in FORMATS:
        raise HarnessError(f"--format {file_format}: unknown format; known: {', '.join(FORMATS)}")
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
        written = table_files.write_sheets(sheets.all_sheets(run), run, to, [file_format])
        found = [to / Path(address).name for table in written for address in table.files.values()]
    if not found:
        raise HarnessError(f"{folder}: has no scores to export; repeat the run first")
    return found


def compare_runs(a: Path, b: Path, reports: Path) -> tuple[comparison.RunComparison, Path]:
    """Compare two runs, write the page of it, and return both."""
    if a == b:
        raise HarnessError(f"{a.name}: the same run twice; name two different runs")
    found = report.compare_runs(read_run(a), read_run(b))
    return found, comparison.write(found, reports / f"{a.name} vs {b.name}")
