"""``harness run``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness import registry
from harness.benchmark import Settings, clips, forecast, runner
from harness.benchmark.cascades import FIRST
from harness.cli import boards, options
from harness.cli.arguments import choose_entries, parse_data, parse_metrics
from harness.cli.fetch import fetch_files, show_terms
from harness.cli.options import flag, option
from harness.cli.outcome import finish
from harness.cli.terminal import agree, print_json, print_table, progress, say, show
from harness.core.bands import EDGES
from harness.core.machine import choose_device, default_jobs
from harness.core.text import count
from harness.datasets import real_song
from harness.datasets.available import DatasetChoice, choose_datasets, default_names
from harness.datasets.tracks import Excerpt
from harness.registry import weight_files
from harness.report import writing
from harness.results.replacing import check_name
from harness.results.runs import read_run
from harness.selection import finished_run
from harness.separators import is_learned, lacking_package, own_code

DOWNLOAD_LIMIT = 4_000_000_000  # bytes of weights that one run downloads at most


def run(
    everything: bool = flag("--all", "Run every separator in the registry."),
    separator: list[str] = option(
        "--separator NAME", [], "Run this separator. Repeat for several.", False
    ),
    data: list[str] = options.DATA,
    dataset: list[str] = options.DATASET,
    split: str = options.SPLIT,
    tracks: int | None = options.TRACKS,
    seconds: float | None = options.SECONDS,
    device: str = options.DEVICE,
    jobs: int = options.JOBS,
    backend: str = option(
        "--backend NAME",
        "loky",
        "Where jobs run: loky (this machine), or dask or ray (a cluster that is running).",
    ),
    cascade: str = option(
        "--cascade NAME",
        FIRST,
        "Separators of drum parts or voices also separate the drums or vocals of separator NAME.",
        "the top-ranked one",
    ),
    no_cascade: bool = flag(
        "--no-cascade",
        "Separators of drum parts or voices separate only the true drums and vocals.",
    ),
    name: str = option("--name NAME", "main", "Name of the run."),
    results_folder: Path = options.RESULTS,
    reports: Path = options.REPORTS,
    listen: int | None = option(
        "--listen N",
        None,
        "Keep the estimates of N tracks per dataset, to play them in the report. If you set N, "
        "tracks that were separated without keeping estimates are separated again.",
        str(clips.TRACKS),
        min=0,
    ),
    by_band: bool = flag(
        "--bands", "Also keep statistics per frequency band, for 'harness select --how bands'."
    ),
    force: bool = options.REPLACE,
    keep_unequal: bool = options.KEEP_UNEQUAL,
    rehash: bool = options.REHASH,
    metrics: str = options.METRICS,
    keep_estimates: bool = flag(
        "--keep-estimates",
        "Keep all estimates whole, so that more metrics need no separation later. A stereo stem of "
        "4 minutes takes 85 MB.",
    ),
    audio: str | None = options.AUDIO,
    registry_file: Path | None = options.REGISTRY,
    offline: bool = options.OFFLINE,
    yes: bool = flag("--yes", "Download missing weights without asking, up to 4 GB in total."),
    dry_run: bool = flag(
        "--dry-run", "Only show what the run would do, download and need; change nothing."
    ),
    as_json: bool = options.AS_JSON,
) -> None:
    """Separate and score datasets, select the best separators and write a report.

    Repeat the command to continue an interrupted run; finished work is kept.
    """
    writing.check_audio(audio)
    entries = choose_entries(registry.load(registry_file), separator, everything)
    where = choose_device(device, learned=any(is_learned(entry) for entry in entries))
    settings = Settings(
        run=check_name(name),
        command=tuple(sys.argv[1:]),
        results=results_folder,
        jobs=jobs or default_jobs(where),
        backend=backend,
        device=where,
        excerpt=Excerpt(seconds),
        listen=clips.TRACKS if listen is None else listen,
        again=listen is not None,
        edges=EDGES if by_band else (),
        keep_unequal=keep_unequal,
        force=force,
        rehash=rehash,
        metrics=parse_metrics(metrics, results_folder / check_name(name)),
        keep_estimates=keep_estimates,
    )
    folders = parse_data(data)
    names, lacking = (dataset, "") if dataset else default_names(folders, split)
    choice = DatasetChoice(folders, names, split, tracks)
    if lacking:
        say(f"{real_song.NAME} is left out: {lacking}")
    feed = None if no_cascade else cascade
    runner.check_cascade(feed, entries)
    if dry_run:
        _forecast(entries, choice, settings, offline=offline, cascade=feed, json=as_json)
        return
    with progress("rendering the demo tracks", as_json) as advance:
        found = choose_datasets(choice, settings.jobs, advance)
    if not offline:  # last: what was typed is correct
        _offer_weights(entries, yes)
    weight_files.pin_files(entries)
    for line in own_code(entries):
        say(line)
    with progress("separating and scoring", as_json) as advance:
        outcome = runner.run(entries, found, settings, cascade=feed, progress=advance, tell=say)
    if by_band and not finished_run.kept_products(
        read_run(outcome.folder), results_folder, by_band=True
    ):
        say(
            "--bands: these tracks were separated earlier without per-band statistics; "
            "use a new folder with --results"
        )
    finish(outcome, reports, as_json, audio)


def _forecast(
    entries: Sequence[registry.Entry],
    choice: DatasetChoice,
    settings: Settings,
    *,
    offline: bool,
    cascade: str | None,
    json: bool,
) -> None:
    """Show what a run would do."""
    found = choose_datasets(choice, settings.jobs, make=False)
    coming = [] if offline else weight_files.within(entries, DOWNLOAD_LIMIT)
    names = [entry.name for entry in coming]
    ahead = forecast.forecast(entries, found, settings, coming=names, cascade=cascade)
    wanted = weight_files.to_fetch(coming)
    if json:
        weights = [{"file": file.file, "bytes": file.size} for file in wanted]
        print_json({**asdict(ahead), "downloads": weights})
        return
    print_table(*boards.forecast_board(ahead))
    for dataset, tracks in ahead.rendered.items():
        show(f"{dataset}: {count(tracks, 'track')} to render or decode first")
    if wanted:
        show(f"downloads: {count(len(wanted), 'file')}, {weight_files.size_of(wanted)}")
        for entry in coming:
            files = ", ".join(file.file for file in weight_files.to_fetch([entry]))
            show(f"  {weight_files.terms(entry)}; files: {files}")
    for line in boards.forecast_lines(ahead, settings.jobs):
        show(line)


def _offer_weights(entries: Sequence[registry.Entry], yes: bool) -> None:
    """Download missing weights if the user agrees; otherwise the run continues without them."""
    able = [entry for entry in entries if not lacking_package(entry)]
    chosen = weight_files.within(able, DOWNLOAD_LIMIT)
    wanted = weight_files.to_fetch(chosen)
    if not wanted:
        return
    size = weight_files.size_of(wanted)
    if not (yes or sys.stdin.isatty()):
        names = " ".join(entry.name for entry in chosen)
        say(f"{size} of weights are missing; get them: harness fetch separator {names}")
        return
    show_terms(chosen)
    if yes or agree(f"Download {size} of weights? If not, these separators are skipped."):
        fetch_files(wanted)
