"""``harness score``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from harness import registry
from harness.benchmark import Settings, clips, runner
from harness.cli import options
from harness.cli.arguments import name_from, parse_data
from harness.cli.options import argument, option
from harness.cli.outcome import finish
from harness.cli.terminal import progress
from harness.core import taxonomy
from harness.core.machine import cores
from harness.datasets.available import DatasetChoice, choose_datasets

Estimates = Annotated[
    Path, argument("FOLDER", "Folder of estimates: one subfolder or file name prefix per track.")
]
Name = Annotated[
    str | None, option("--name NAME", "Name of the separator and of the run.", "name of the folder")
]
Input = Annotated[str, option("--input STEM", "What was separated: mixture, drums or vocals.")]


def score(
    folder: Estimates,
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = [],  # noqa: B006
    split: options.Split = "test",
    tracks: options.Tracks = None,
    name: Name = None,
    source: Input = "mixture",
    trained_on: options.TrainedOn = [],  # noqa: B006
    keep_unequal: options.KeepUnequal = False,
    rehash: options.Rehash = False,
    jobs: options.Jobs = 0,
    results_folder: options.Results = Path("results"),
    reports: options.Reports = Path("reports"),
    as_json: options.Json = False,
) -> None:
    """Score estimates made by other programs.

    The file layouts of musdb, demucs, MSS-Training and audio-separator are recognized.
    """
    title = name or folder.resolve().name
    entry = registry.Entry(
        name=name_from(title),
        title=title,
        family="files",
        input=taxonomy.canonical(source),
        trained_on=tuple(trained_on) or None,
    )
    settings = Settings(
        run=entry.name,
        results=results_folder,
        jobs=jobs or cores(),
        listen=clips.TRACKS,
        keep_unequal=keep_unequal,
        rehash=rehash,
    )
    choice = DatasetChoice(parse_data(data), dataset, split, tracks)
    found = choose_datasets(choice, settings.jobs)
    with progress("scoring", as_json) as advance:
        outcome = runner.score_folder(
            entry, folder, found, settings, command=sys.argv[1:], progress=advance
        )
    finish(outcome, reports, as_json)
