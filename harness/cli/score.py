"""``harness score``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from harness import registry
from harness.benchmark import Settings, clips, runner
from harness.cli import options
from harness.cli.arguments import (
    find_run,
    name_from,
    parse_data,
    parse_metrics,
    parse_trained_on,
)
from harness.cli.options import argument, option
from harness.cli.outcome import finish
from harness.cli.terminal import progress, say
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.machine import cores
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.tracks import Excerpt
from harness.registry.entries import License
from harness.results.replacing import check_name
from harness.results.runs import read_run
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
    seconds: float | None = options.SECONDS,
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
    run_name: str = option(
        "--run NAME",
        "",
        "Show the estimates beside the separators of run NAME, in one report. Without --seconds, "
        "the part of each track that this run used is scored.",
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
        license=License(code="not stated"),
        params={"costs": stated} if (stated := parse_costs(costs)) else {},
    )
    settings = Settings(
        run=check_name(entry.name),
        command=tuple(sys.argv[1:]),
        results=results_folder,
        jobs=jobs or cores(),
        excerpt=Excerpt(seconds),
        listen=clips.TRACKS,
        keep_unequal=keep_unequal,
        force=force,
        rehash=rehash,
        metrics=parse_metrics(metrics, results_folder / entry.name),
    )
    beside = None
    if run_name:
        beside = find_run(results_folder, run_name)
        settings = replace(settings, excerpt=_excerpt_beside(beside, entry.name, seconds))
    choice = DatasetChoice(parse_data(data), dataset, split, tracks)
    found = choose_datasets(choice, settings.jobs)
    with progress("scoring", as_json) as advance:
        outcome = runner.score_folder(entry, folder, found, settings, progress=advance, tell=say)
    finish(outcome, reports, as_json, beside=beside)


def _excerpt_beside(folder: Path, name: str, seconds: float | None) -> Excerpt:
    """Return the part of each track that a run used; refuse estimates that cannot join the run."""
    record = read_run(folder).record
    if name == folder.name or name in (record.get("separators") or {}):
        what = "run" if name == folder.name else "separator of that run"
        raise HarnessError(
            f"score --run {folder.name}: {name!r} is also the name of the {what}; give the "
            "estimates another one with --name"
        )
    used: float | None = record.get("excerpt_seconds")
    if seconds not in (None, used):
        part = f"the middle {used:g} s" if used else "the whole"
        raise HarnessError(
            f"score --run {folder.name}: the run scored {part} of each track, not the middle "
            f"{seconds:g} s; omit --seconds"
        )
    return Excerpt(used)
