"""``harness import``."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from harness import datasets, registry
from harness.cli import options
from harness.cli.arguments import parse_data, parse_split, parse_trained_on
from harness.cli.options import argument, option
from harness.cli.outcome import print_ranking, say_left_out
from harness.cli.terminal import print_json, show
from harness.report import writing
from harness.results import importing
from harness.results.omitted import recorded
from harness.results.replacing import check_name
from harness.results.runs import read_run
from harness.selection import finished_run


def import_scores(
    paths: list[Path] = argument("PATH", ..., "Files with scores, or folders of such files."),
    file_format: str = option(
        "--format FORMAT", "auto", f"Format of the files: auto, {', '.join(importing.FORMATS)}."
    ),
    name: str = option("--name NAME", "", "Name of the run.", "name of the format"),
    data_split: str = option(
        "--data-split DATASET:SPLIT", "", "Dataset and split, if the files do not name them."
    ),
    trained_on: list[str] = options.TRAINED_ON,
    data: list[str] = options.DATA,
    registry_file: Path | None = options.REGISTRY,
    results_folder: Path = options.RESULTS,
    reports: Path = options.REPORTS,
    force: bool = options.REPLACE,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """Import scores that others published, one per track, and report them like a run."""
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
    folder = finished_run.import_scores(
        paths, request, results_folder, command=sys.argv[1:], force=force
    )
    page = writing.write_report([folder], reports)
    left_out = recorded(read_run(folder).record)
    if as_json:
        found = {"folder": str(folder), "report": str(page)}
        print_json({**found, "left_out": [asdict(omission) for omission in left_out]})
        return
    say_left_out(left_out)
    print_ranking([folder])
    show(page)
