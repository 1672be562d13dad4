"""``harness run``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from harness import registry
from harness.benchmark import Settings, clips, runner
from harness.cli import options
from harness.cli.arguments import check_name, choose_entries, parse_data
from harness.cli.fetch import fetch_files, show_terms
from harness.cli.options import flag, option
from harness.cli.outcome import finish
from harness.cli.terminal import agree, errors, progress
from harness.core.bands import EDGES
from harness.core.machine import choose_device, default_jobs
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.tracks import Excerpt
from harness.registry import weight_files
from harness.report import writing
from harness.results.runs import read_run
from harness.selection import finished_run
from harness.separators import is_learned

DOWNLOAD_LIMIT = 4_000_000_000  # bytes of weights that one run downloads at most

All = Annotated[bool, flag("--all", "Run every separator in the registry.")]
Separator = Annotated[
    list[str], option("--separator NAME", "Run this separator. Repeat for several.")
]
Seconds = Annotated[
    float | None,
    option("--seconds N", "Use only the middle N seconds of each track.", "whole tracks", min=1.0),
]
Backend = Annotated[
    str, option("--backend NAME", "joblib backend: loky on this machine, dask or ray on a cluster.")
]
Cascade = Annotated[
    str,
    option(
        "--cascade NAME",
        "Separator that supplies the input of drum and vocal separators.",
        "the top-ranked one",
    ),
]
NoCascade = Annotated[
    bool,
    flag("--no-cascade", "Give drum and vocal separators only the reference drums and vocals."),
]
Name = Annotated[str, option("--name NAME", "Name of the run.")]
Listen = Annotated[
    int | None,
    option(
        "--listen N",
        "Keep the estimates of N tracks per dataset for listening. If given, finished tracks "
        "without kept estimates are separated again.",
        str(clips.TRACKS),
        min=0,
    ),
]
Bands = Annotated[
    bool, flag("--bands", "Also keep per-band statistics, needed by 'select --how bands'.")
]
Yes = Annotated[
    bool, flag("--yes", "Download missing weights without asking, up to 4 GB in total.")
]


def run(
    everything: All = False,
    separator: Separator = [],  # noqa: B006 (typer copies it)
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = [],  # noqa: B006
    split: options.Split = "test",
    tracks: options.Tracks = None,
    seconds: Seconds = None,
    device: options.Device = "auto",
    jobs: options.Jobs = 0,
    backend: Backend = "loky",
    cascade: Cascade = runner.FIRST,
    no_cascade: NoCascade = False,
    name: Name = "main",
    results_folder: options.Results = Path("results"),
    reports: options.Reports = Path("reports"),
    listen: Listen = None,
    by_band: Bands = False,
    keep_unequal: options.KeepUnequal = False,
    rehash: options.Rehash = False,
    audio: options.Audio = None,
    registry_file: options.Registry = None,
    offline: options.Offline = False,
    yes: Yes = False,
    as_json: options.Json = False,
) -> None:
    """Separate and score datasets, select the best separators and write a report.

    Repeat the command to continue an interrupted run; finished work is kept.
    """
    writing.check_audio(audio)
    entries = choose_entries(registry.load(registry_file), separator, everything)
    if not offline:
        _offer_weights(entries, yes)
    where = choose_device(device, learned=any(is_learned(entry) for entry in entries))
    settings = Settings(
        run=check_name(name),
        results=results_folder,
        jobs=jobs or default_jobs(where),
        backend=backend,
        device=where,
        excerpt=Excerpt(seconds),
        listen=clips.TRACKS if listen is None else listen,
        again=listen is not None,
        edges=EDGES if by_band else (),
        keep_unequal=keep_unequal,
        rehash=rehash,
    )
    choice = DatasetChoice(parse_data(data), dataset, split, tracks)
    feed = None if no_cascade else cascade
    outcome = _separate_and_score(entries, choice, settings, feed, as_json)
    finish(outcome, reports, as_json, audio)


def _separate_and_score(
    entries: Sequence[registry.Entry],
    choice: DatasetChoice,
    settings: Settings,
    cascade: str | None,
    quiet: bool,
) -> runner.Outcome:
    """Do the work of a run, with progress bars."""
    with progress("rendering the demo tracks", quiet) as advance:
        found = choose_datasets(choice, settings.jobs, advance)
    with progress("separating and scoring", quiet) as advance:
        outcome = runner.run(
            entries, found, settings, cascade=cascade, command=sys.argv[1:], progress=advance
        )
    if settings.edges:
        finished = read_run(outcome.folder)
        if not finished_run.kept_products(finished, settings.results, by_band=True):
            errors.print(
                "--bands: these tracks were separated earlier without per-band statistics; "
                "use a new folder with --results"
            )
    return outcome


def _offer_weights(entries: Sequence[registry.Entry], yes: bool) -> None:
    """Download missing weights if the user agrees; the run goes on without them if not."""
    chosen = weight_files.within(entries, DOWNLOAD_LIMIT)
    wanted = weight_files.to_fetch(chosen)
    if not wanted:
        return
    size = weight_files.size_of(wanted)
    if not (yes or sys.stdin.isatty()):
        names = " ".join(entry.name for entry in chosen)
        errors.print(
            f"weights not downloaded ({size}); to get them: harness fetch separator {names}"
        )
        return
    show_terms(chosen)
    question = f"Download {size}? Without them, these separators are skipped."
    if yes or agree(question):
        fetch_files(wanted)
