"""``harness export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.arguments import find_run
from harness.cli.options import option
from harness.report import exporting

Format = Annotated[
    str, option("--format FORMAT", f"Format to write: {', '.join(exporting.FORMATS)}.")
]
To = Annotated[Path, option("--to FOLDER", "Folder to write to.")]
SourceUrl = Annotated[
    str, option("--source-url URL", "Web address of the report, shown in model cards.")
]


def export(
    run_name: options.RunName = "main",
    file_format: Format = "museval",
    to: To = Path("export"),
    source_url: SourceUrl = "",
    results_folder: options.Results = Path("results"),
) -> None:
    """Export the tables of a run: as data, for papers, or as model cards."""
    folder = find_run(results_folder, run_name)
    files = exporting.export(folder, file_format, to, source_url=source_url)
    typer.echo(f"{len(files)} files in {to}")
