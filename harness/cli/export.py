"""``harness export``."""

from __future__ import annotations

from pathlib import Path

from harness.cli import options
from harness.cli.arguments import find_run
from harness.cli.options import option
from harness.cli.terminal import show
from harness.report import exporting


def export(
    run_name: str = options.RUN_NAME,
    file_format: str = option(
        "--format FORMAT", "museval", f"Format to write: {', '.join(exporting.FORMATS)}."
    ),
    to: Path = option("--to FOLDER", Path("export"), "Folder to write to."),
    source_url: str = option(
        "--source-url URL", "", "Web address of the report, for links in model cards."
    ),
    results_folder: Path = options.RESULTS,
) -> None:
    """Export the tables of a run: as data, for papers, or as model cards."""
    run = find_run(results_folder, run_name)
    files = exporting.export(run, file_format, to, source_url=source_url)
    show(f"{len(files)} files in {to}")
