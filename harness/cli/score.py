"""``harness score``."""

from __future__ import annotations

import sys
from pathlib import Path

from harness import registry
from harness.benchmark import Settings, clips, runner
from harness.cli import options
from harness.cli.arguments import name_from, parse_data, parse_metrics, parse_trained_on
from harness.cli.options import argument, option
from harness.cli.outcome import finish
from harness.cli.terminal import progress, say
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.machine import cores
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.results.replacing import check_name
from harness.selection.budget import parse_costs

INPUTS = ("mixture", "drums", "vocals")


def score(
    folder: Path = argument(
        "FOLDER",
        ...,
        "Folder of estimates. Each track has a subfolder, or files that start with its name.",
    ),
    data: list[str] = options.DATA,
    dataset: list[str] = options.DATASET,
    split: str = options.SPLIT,
    tracks: int | None = options.TRACKS,
    name: str = option(
        "--name NAME", "", "Name of the separator and of the run.", "name of the folder"
    ),
    stems: str = option(
        "--stems LIST",
        "",
        "All stems that the model separates, such as vocals,other. They decide what 'other' is.",
        "those of the files",
    ),
    source: str = option(
        "--input STEM", "mixture", "Stem that was separated: mixture, drums or vocals."
    ),
    trained_on: list[str] = options.TRAINED_ON,
    force: bool = options.REPLACE,
    costs: str = option(
        "--costs COST=VALUE,…",
        "",
        "What the separator cost, such as rtf=0.5,memory=4GB,params=84M; reading its files does "
        "not show it.",
        "unknown",
    ),
    keep_unequal: bool = options.KEEP_UNEQUAL,
    rehash: bool = options.REHASH,
    metrics: str = options.METRICS,
    jobs: int = options.JOBS,
    results_folder: Path = options.RESULTS,
    reports: Path = options.REPORTS,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """Score estimates made by other programs.

    The file layouts of musdb, demucs, MSS-Training and audio-separator are recognized.
    """
    if taxonomy.canonical(source) not in INPUTS:
        raise HarnessError(f"--input {source}: not known; {registry.suggestion(source, INPUTS)}")
    listed = [taxonomy.canonical(stem) for stem in stems.split(",") if stem.strip()]
    if unknown := [stem for stem in listed if stem not in taxonomy.STEMS]:
        known = registry.suggestion(unknown[0], taxonomy.STEMS)
        raise HarnessError(f"--stems {stems}: {unknown[0]!r} is not a stem; {known}")
    title = name or folder.resolve().name
    entry = registry.Entry(
        name=name_from(title),
        title=title,
        family=registry.FILES,
        input=taxonomy.canonical(source),
        stems=tuple(listed),
        trained_on=parse_trained_on(trained_on),
        params={"costs": stated} if (stated := parse_costs(costs)) else {},
    )
    settings = Settings(
        run=check_name(entry.name),
        command=tuple(sys.argv[1:]),
        results=results_folder,
        jobs=jobs or cores(),
        listen=clips.TRACKS,
        keep_unequal=keep_unequal,
        force=force,
        rehash=rehash,
        metrics=parse_metrics(metrics, results_folder / entry.name),
    )
    choice = DatasetChoice(parse_data(data), dataset, split, tracks)
    found = choose_datasets(choice, settings.jobs)
    with progress("scoring", as_json) as advance:
        outcome = runner.score_folder(entry, folder, found, settings, progress=advance, tell=say)
    finish(outcome, reports, as_json)
