"""Verbs that make scores and networks: run, train, score."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from harness import inventory, pipeline, registry, taxonomy, weight_files
from harness.bands import EDGES
from harness.benchmark import Settings, clips
from harness.cli.fetching import fetch_files, show_terms
from harness.cli.options import (
    SOME_FAILED,
    AudioOption,
    DataOption,
    DatasetOption,
    JobsOption,
    JsonOption,
    OfflineOption,
    RegistryOption,
    ReportsOption,
    ResultsOption,
    SplitOption,
    TracksOption,
)
from harness.cli.terminal import agree, errors, print_json, print_table, progress
from harness.datasets.tracks import Excerpt
from harness.report import boards as report_boards
from harness.results import read_run
from harness.separators import is_learned

RUN_LIMIT = 4_000_000_000  # bytes of weights that `run` downloads at most
DEMO_TRAINING_TRACKS = 120  # rendered to learn from, where --tracks does not say


def run(
    everything: Annotated[
        bool, typer.Option("--all", help="Every separator of the registry.")
    ] = False,
    separator: Annotated[
        list[str], typer.Option(metavar="NAME", help="Only these separators.")
    ] = [],  # noqa: B006 (typer copies it)
    data: DataOption = [],  # noqa: B006
    dataset: DatasetOption = [],  # noqa: B006
    split: SplitOption = "test",
    tracks: TracksOption = None,
    seconds: Annotated[
        float | None, typer.Option(min=1.0, help="Only the middle N seconds of each track.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    jobs: JobsOption = 0,
    backend: Annotated[
        str, typer.Option(help="joblib's: loky here, or dask or ray on your cluster.")
    ] = "loky",
    cascade: Annotated[
        str, typer.Option(metavar="NAME", help="Whose drums and vocals to take apart; the best's.")
    ] = pipeline.FIRST,
    no_cascade: Annotated[
        bool, typer.Option("--no-cascade", help="Take only the true drums and vocals apart.")
    ] = False,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "main",
    results_folder: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
    listen: Annotated[
        int | None,
        typer.Option(min=0, help="Tracks of each dataset to keep estimates of, to listen to; 3."),
    ] = None,
    by_band: Annotated[
        bool,
        typer.Option("--bands", help="Keep what 'select --how bands' needs of what is done now."),
    ] = False,
    audio: AudioOption = None,
    registry_file: RegistryOption = None,
    offline: OfflineOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Download missing weights without asking, up to 4 GB.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run separators over datasets, score them, choose the best, write a report.

    Run the same command again to continue: finished work is never done twice.
    """
    pipeline.check_audio(audio)
    entries = inventory.choose_entries(registry.load(registry_file), separator, everything)
    if not offline:
        _offer_weights(entries, yes)
    chosen_device = inventory.choose_device(device, learned=any(is_learned(e) for e in entries))
    settings = Settings(
        run=inventory.check_name(name),
        results=results_folder,
        jobs=jobs or inventory.default_jobs(chosen_device),
        backend=backend,
        device=chosen_device,
        excerpt=Excerpt(seconds),
        listen=clips.TRACKS if listen is None else listen,
        again=listen is not None,
        edges=EDGES if by_band else (),
    )
    with progress("rendering the demo tracks", as_json) as advance:
        found = inventory.choose_datasets(
            inventory.parse_data(data), dataset, split, tracks, settings.jobs, advance
        )
    with progress("separating and scoring", as_json) as advance:
        outcome = pipeline.run(
            entries,
            found,
            settings,
            cascade=None if no_cascade else cascade,
            command=sys.argv[1:],
            progress=advance,
        )
    if by_band and not pipeline.kept_products(
        read_run(outcome.folder), results_folder, by_band=True
    ):
        errors.print(
            "--bands: keeps nothing of what was separated before; run into a new folder (--results)"
        )
    _finish(outcome, reports, as_json, audio)


def train(
    name: Annotated[str, typer.Argument(help="A recipe's name, or a file with one.")],
    data: DataOption = [],  # noqa: B006
    dataset: DatasetOption = [],  # noqa: B006
    split: SplitOption = "train",
    tracks: TracksOption = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's.")] = None,
    seconds_budget: Annotated[
        float | None, typer.Option(min=1.0, help="Pause after so long; --resume goes on.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    seed: Annotated[int, typer.Option(help="Another seed, another run.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for weights, curves and card; training/NAME.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where it stopped.")] = False,
) -> None:
    """Train a network of this project; a killed run goes on with --resume as if left alone."""
    from harness import training

    recipe = training.find_recipe(name)
    if steps:
        recipe = replace(recipe, steps=steps)
    with progress("rendering the demo tracks", quiet=False) as advance:
        found = inventory.choose_datasets(
            inventory.parse_data(data),
            dataset,
            split,
            tracks,
            inventory.cores(),
            advance,
            demo_tracks=DEMO_TRAINING_TRACKS,
        )
    session = training.Session(
        out or Path("training") / recipe.name,
        device=inventory.choose_device(device, learned=True),
        seed=seed,
        seconds=seconds_budget,
        resume=resume,
    )
    with progress("training", quiet=False) as advance:
        outcome = training.train(recipe, found, session, progress=advance, say=errors.print)
    scores = ", ".join(f"{stem} {value:.2f} dB" for stem, value in outcome.scores.items())
    errors.print(f"{outcome.ended} after {outcome.steps} steps; validation SNR: {scores or 'none'}")
    typer.echo(outcome.weights)


def score(
    folder: Annotated[Path, typer.Argument(help="Estimates, one folder or name a track.")],
    data: DataOption = [],  # noqa: B006
    dataset: DatasetOption = [],  # noqa: B006
    split: SplitOption = "test",
    tracks: TracksOption = None,
    name: Annotated[
        str | None, typer.Option(help="What to call the separator; else the folder's name.")
    ] = None,
    source: Annotated[
        str, typer.Option("--input", metavar="STEM", help="What was separated: drums, vocals.")
    ] = "mixture",
    trained_on: Annotated[
        list[str], typer.Option(metavar="DATASET:SPLIT", help="What it was trained on, if known.")
    ] = [],  # noqa: B006
    jobs: JobsOption = 0,
    results_folder: ResultsOption = Path("results"),
    reports: ReportsOption = Path("reports"),
    as_json: JsonOption = False,
) -> None:
    """Score estimates made elsewhere: folders as musdb, demucs, MSS-Training, audio-separator."""
    title = name or folder.resolve().name
    entry = registry.Entry(
        name=inventory.name_from(title),
        title=title,
        family="files",
        input=taxonomy.canonical(source),
        trained_on=tuple(trained_on) or None,
    )
    settings = Settings(
        run=entry.name, results=results_folder, jobs=jobs or inventory.cores(), listen=clips.TRACKS
    )
    found = inventory.choose_datasets(
        inventory.parse_data(data), dataset, split, tracks, settings.jobs, None
    )
    with progress("scoring", as_json) as advance:
        outcome = pipeline.score_folder(
            entry, folder, found, settings, command=sys.argv[1:], progress=advance
        )
    _finish(outcome, reports, as_json)


def _finish(
    outcome: pipeline.Outcome, reports: Path, as_json: bool, audio: str | None = None
) -> None:
    """Write the report, say what was done, and set the exit status."""
    current = not outcome.fresh and audio is None
    page = pipeline.write_report(
        [outcome.folder], reports, audio=pipeline.check_audio(audio), only_if_stale=current
    )
    if as_json:
        print_json({**asdict(outcome), "folder": str(outcome.folder), "report": str(page)})
    else:
        done = outcome.units - outcome.failed
        errors.print(f"{done} of {outcome.units} pieces of work done, {outcome.reused} found done")
        shown = report_boards(read_run(outcome.folder))
        for board in shown:
            print_table(board.title, board.head, board.rows, board.notes)
        if not shown:
            typer.echo("nothing to rank: seen in training, failed, or no separator; see the page")
        for reason in outcome.failures[:10]:
            errors.print(f"failed: {reason}", style="yellow", markup=False)
        typer.echo(page)
    if outcome.failed:
        raise typer.Exit(SOME_FAILED)


def _offer_weights(entries: Sequence[registry.Entry], yes: bool) -> None:
    """Download the weights that a run lacks, if that is wanted; it goes on without."""
    chosen = weight_files.within(entries, RUN_LIMIT)
    wanted = weight_files.to_fetch(chosen)
    if not wanted:
        return
    size = weight_files.size_of(wanted)
    if not (yes or sys.stdin.isatty()):
        names = " ".join(entry.name for entry in chosen)
        errors.print(f"weights not here ({size}): harness fetch separator {names}")
        return
    show_terms(chosen)
    question = f"Download {size} (a run takes at most 4 GB)? Without, they are left out."
    if yes or agree(question):
        fetch_files(wanted)
