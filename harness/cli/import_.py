"""``harness import``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness import datasets, registry
from harness.cli import options
from harness.cli.arguments import check_name, parse_data, parse_split, parse_trained_on
from harness.cli.options import argument, option
from harness.cli.outcome import print_ranking
from harness.cli.terminal import print_json
from harness.report import writing
from harness.results import importing
from harness.selection import finished_run

Paths = Annotated[list[Path], argument("PATH", "Files with scores, or folders of such files.")]
Format = Annotated[
    str, option("--format FORMAT", f"Format of the files: auto, {', '.join(importing.FORMATS)}.")
]
Name = Annotated[str, option("--name NAME", "Name of the run.", "name of the format")]
DataSplit = Annotated[
    str, option("--data-split DATASET:SPLIT", "Dataset and split, if the files do not name them.")
]


def import_scores(
    paths: Paths,
    file_format: Format = "auto",
    name: Name = "",
    data_split: DataSplit = "",
    trained_on: options.TrainedOn = [],  # noqa: B006
    data: options.Data = [],  # noqa: B006
    registry_file: options.Registry = None,
    results_folder: options.Results = Path("results"),
    reports: options.Reports = Path("reports"),
    as_json: options.Json = False,
) -> None:
    """Import scores per track that others published, as a run."""
    dataset, split = parse_split(data_split)
    request = importing.Request(
        layout=file_format,
        run=check_name(name) if name else "",
        dataset=dataset,
        split=split,
        trained_on=parse_trained_on(trained_on),
        folders=datasets.configured(parse_data(data)),
        entries=registry.load(registry_file),
    )
    folder = finished_run.import_scores(paths, request, results_folder, command=sys.argv[1:])
    page = writing.write_report([folder], reports)
    if as_json:
        print_json({"folder": str(folder), "report": str(page)})
        return
    print_ranking(folder)
    typer.echo(page)
