"""The tables of a run as files for other tools, for papers and for model hubs."""

from __future__ import annotations

from pathlib import Path

from harness import report
from harness.core.errors import HarnessError
from harness.core.files import safe_name, write_atomic
from harness.registry import suggestion
from harness.report import comparison
from harness.report.computed import make_report
from harness.report.tables import model_card, paper_table, sheets, table_files
from harness.results.museval_format import write_museval
from harness.results.replacing import is_imported
from harness.results.run_products import find_blends
from harness.results.runs import read_run

FORMATS = (*table_files.FORMATS, "museval", "model-card")


def export(folder: Path, file_format: str, to: Path, *, source_url: str = "") -> list[Path]:
    """Write the tables of the run in `folder` in one of `FORMATS`, and return the files.

    `source_url`, the address of the report, is shown in model cards.
    """
    if file_format not in FORMATS:
        raise HarnessError(f"--format {file_format}: not known; {suggestion(file_format, FORMATS)}")
    if file_format == "museval":
        return export_museval(folder, to)
    found_report = make_report(read_run(folder))
    if file_format == "model-card":
        cards = model_card.cards(found_report, source_url)
        files = {to / f"{safe_name(name)}.md": text for name, text in cards.items()}
        for path, text in files.items():
            write_atomic(path, text.encode("utf-8", "replace"))
        found = list(files)
    else:
        tables = sheets.all_sheets(found_report)
        written = table_files.write_sheets(tables, found_report.run, to, [file_format])
        found = [to / Path(address).name for table in written for address in table.files.values()]
    if not found:
        raise HarnessError(f"{folder}: has no scores to export; repeat the run first")
    return found


def export_one(folder: Path, choice: paper_table.PaperChoice, path: Path | None, to: Path) -> Path:
    """Write one LaTeX table for a paper, by default into the folder `to`; return its path."""
    source = make_report(read_run(folder))
    sheet = paper_table.paper_table(source, choice)
    path = path or to / f"{safe_name(sheet.name)}.tex"
    write_atomic(path, table_files.to_latex(sheet, source.run))
    return path


def compare_runs(a: Path, b: Path, reports: Path) -> tuple[comparison.RunComparison, Path]:
    """Compare two runs, write the page of it, and return both."""
    if a == b:
        raise HarnessError(f"{a.name}: the same run twice; name two different runs")
    found = report.compare_runs(read_run(a), read_run(b))
    return found, comparison.write(found, reports / f"{a.name} vs {b.name}")


def export_museval(folder: Path, to: Path) -> list[Path]:
    """Write the frames of a run's separators as museval does: ``<to>/<separator>/<split>/<track>``.

    Only work whose inner products were kept can be written: no anchors, no oracles. It is an error
    if the run has none.
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
        again = "use --format csv" if is_imported(record) else "run it again, then export"
        raise HarnessError(f"{folder}: has no scores per frame; {again}")
    return written
