"""The command line: one short function a verb. The only module that prints."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

import harness
from harness import (
    choice,
    datasets,
    exporting,
    importing,
    inventory,
    pipeline,
    registry,
    saving,
    selection,
    separating,
    taxonomy,
    viewing,
    weight_files,
)
from harness.bands import EDGES
from harness.benchmark import Settings, clips
from harness.datasets.tracks import Excerpt
from harness.errors import HarnessError
from harness.report import boards as report_boards
from harness.report import comparison as report_comparison
from harness.reproduce import Comparison
from harness.reproduce import reproduce as reproduce_scores
from harness.results import Run, read_run
from harness.separators import is_learned

SOME_FAILED = 3
USER_ERROR = 2
INTERRUPTED = 130
UNASKED = 200_000_000  # bytes of weights that `fetch separator` downloads without a question
RUN_LIMIT = 4_000_000_000  # bytes of weights that `run` downloads at most
LONGEST = 24  # characters of a word in a table that are never torn apart where there is room
DEMO_TRAINING_TRACKS = 120  # rendered to learn from, where --tracks does not say

app = typer.Typer(
    help="Benchmark and model selection for music source separation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
fetch_app = typer.Typer(help="Download weights and datasets.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")

errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

DataOption = Annotated[
    list[str],
    typer.Option("--data", metavar="NAME=PATH", help="Folder of a dataset; may be repeated."),
]
DatasetOption = Annotated[
    list[str], typer.Option("--dataset", metavar="NAME", help="Only these datasets.")
]
SplitOption = Annotated[str, typer.Option(help="train, valid, test, or all.")]
TracksOption = Annotated[
    int | None, typer.Option(min=1, help="Only the first N tracks of each dataset.")
]
RegistryOption = Annotated[
    Path | None, typer.Option("--registry", help="Registry of your own entries.")
]
ResultsOption = Annotated[Path, typer.Option(help="Folder for the tables of all runs.")]
ReportsOption = Annotated[Path, typer.Option(help="Folder for the pages of all runs.")]
JobsOption = Annotated[
    int, typer.Option(min=0, help="Pieces of work done at once; 0: one a processor, 4 on a GPU.")
]
AudioOption = Annotated[
    str | None,
    typer.Option(help="In track pages: none, private, or allowed: what licences let be passed on."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]


@app.command()
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
        str,
        typer.Option(metavar="NAME", help="Whose drums and vocals to take apart; the best's."),
    ] = pipeline.FIRST,
    no_cascade: Annotated[
        bool, typer.Option("--no-cascade", help="Take only the true drums and vocals apart.")
    ] = False,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "main",
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
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
    with _progress("rendering the demo tracks", as_json) as advance:
        found = inventory.choose_datasets(
            inventory.parse_data(data), dataset, split, tracks, settings.jobs, advance
        )
    with _progress("separating and scoring", as_json) as advance:
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


@app.command()
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
    with _progress("rendering the demo tracks", quiet=False) as advance:
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
    with _progress("training", quiet=False) as advance:
        outcome = training.train(recipe, found, session, progress=advance, say=errors.print)
    scores = ", ".join(f"{stem} {value:.2f} dB" for stem, value in outcome.scores.items())
    errors.print(f"{outcome.ended} after {outcome.steps} steps; validation SNR: {scores or 'none'}")
    typer.echo(outcome.weights)


@app.command()
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
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
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
        run=entry.name,
        results=results_folder,
        jobs=jobs or inventory.cores(),
        listen=clips.TRACKS,
    )
    found = inventory.choose_datasets(
        inventory.parse_data(data), dataset, split, tracks, settings.jobs, None
    )
    with _progress("scoring", as_json) as advance:
        outcome = pipeline.score_folder(
            entry, folder, found, settings, command=sys.argv[1:], progress=advance
        )
    _finish(outcome, reports, as_json)


@app.command()
def select(
    run_name: Annotated[str, typer.Argument(metavar="RUN")] = "main",
    choose_on: Annotated[
        str | None,
        typer.Option(metavar="DATASET", help="Choose on this dataset for all others."),
    ] = None,
    budget: Annotated[
        str, typer.Option(help="Show, or save, the best ensemble within: rtf<0.5,memory<4GB.")
    ] = "",
    save: Annotated[
        str,
        typer.Option(metavar="NAME", help="Keep the choice in your registry, for 'separate'."),
    ] = "",
    how: Annotated[
        str, typer.Option(help=f"What to keep of each stem: {', '.join(selection.WAYS)}.")
    ] = "best",
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Make its stems sum to the mixture.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an ensemble of NAME.")] = False,
    registry_file: RegistryOption = None,
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Choose the best separator per stem from the scores of a run, and say what that is worth."""
    limits = selection.parse_budget(budget)
    if not save and (how != "best" or consistent or force):
        raise HarnessError(
            "select: --how, --consistent and --force are of what is kept; add --save"
        )
    chosen = pipeline.select_again(results_folder / inventory.check_name(run_name), choose_on)
    if save:
        params, warnings = _to_save(chosen, registry_file, results_folder, choose_on, how, limits)
        if consistent:
            params, told = saving.made_consistent(params)
            warnings = [*warnings, told]
        kind = "blend by band" if how == "bands" else how.replace("_", " ")
        title = f"{kind.capitalize()} of {chosen.name} per stem{f', {budget}' if budget else ''}"
        saved = saving.save(save, params, title=title, path=registry_file, force=force)
        for line in (choice.said_when_saved(saved), *warnings):
            errors.print(line, markup=False)
    candidates = selection.candidates_of(*pipeline.may_choose(chosen))
    keys = ["dataset", "input", "stem", "kind", "separator"]
    counts = chosen.selection.groupby(keys).size().rename("tracks").reset_index()
    found = {"counts": counts, "summary": selection.summary(candidates, on=choose_on)}
    found["blends"] = pipeline.worth_of_blends(chosen, results_folder, choose_on)
    if limits:
        costs = selection.costs_of(chosen.costs)
        found["within"] = selection.choose_within(candidates, costs, limits)
    if as_json:
        rows = {name: _records(frame) for name, frame in found.items()}
        _print_json({**rows, "notes": chosen.record["selection_notes"]})
        return
    words = {selection.HARMONIC: "the harmonic mean of SNR and SDR"}
    by = sorted(words.get(m, m) for m in {*selection.chosen_by(chosen.scores).values()})
    shown = selection.boards(counts, f"chosen by {', '.join(by)}")
    shown += selection.summary_boards(found["summary"], "best mean")
    shown += selection.blend_boards(found["blends"])
    if limits:
        shown += selection.boards(found["within"], f"the best within {budget}")
    for board in shown:
        _print_table(*board)
    if choose_on and found["summary"].empty:
        typer.echo(
            f"--choose-on {choose_on}: on no other dataset can it be told what that is worth"
        )
    if limits and found["within"].empty:
        typer.echo(f"nothing is within {budget}; raise the budget")
    if found["summary"]["low"].isna().any():
        typer.echo(f"–: tracks of fewer than {selection.MIN_ARTISTS} artists carry no interval")
    for note in chosen.record["selection_notes"]:
        typer.echo(note)


def _to_save(
    run: Run,
    registry_file: Path | None,
    results: Path,
    on: str | None,
    how: str,
    budget: Mapping[str, float],
) -> tuple[dict[str, Any], list[str]]:
    """Return the `params` of the ensemble that `select --save` keeps, and what to beware of."""
    entries = registry.load(registry_file if registry_file and registry_file.exists() else None)
    if not budget:
        products = pipeline.kept_products(run, results, by_band=how == "bands")
        return saving.params_of(run, entries, on, how=how, kept=products)
    if how != "best":
        raise HarnessError(
            f"--budget with --how {how}: a budget chooses the best of each stem; to combine what "
            "you can afford, run only that: harness run --separator A --separator B --name NAME"
        )
    return saving.params_within(run, entries, budget, on), []


@app.command()
def separate(
    songs: Annotated[
        list[Path], typer.Argument(metavar="SONG…", help="Audio files, or folders with some.")
    ],
    using: Annotated[
        str, typer.Option("--with", metavar="NAME", help="Separator or ensemble; the best here.")
    ] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Gets a folder a song.")] = Path(
        "separated"
    ),
    stems: Annotated[
        str, typer.Option(metavar="STEM,…", help="Only these; also of drums and vocals.")
    ] = "",
    residual: Annotated[
        bool, typer.Option("--residual", help="Write what the stems leave, too.")
    ] = False,
    file_format: Annotated[str, typer.Option("--format", help="wav or flac.")] = "wav",
    bits: Annotated[str, typer.Option(help="32f or 24; of flac 24.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    registry_file: RegistryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take your own music apart: SONG becomes OUT/SONG/vocals.wav and so on.

    Stems keep the sample rate, channels, length and loudness of the song.
    """
    wanted = [stem for stem in stems.split(",") if stem.strip()]
    chosen = choice.choose(registry.load(registry_file), using, wanted)
    if not as_json:
        errors.print(chosen.words, markup=False)
    with _progress("separating, seconds of music", as_json) as advance:
        outcomes = separating.separate(
            songs,
            out,
            chosen,
            kind=file_format,
            bits=bits,
            residual=residual,
            force=force,
            device=inventory.choose_device(device, learned=is_learned(chosen.entry)),
            progress=advance,
        )
    if as_json:
        _print_json([asdict(outcome) for outcome in outcomes])
    else:
        _show_separated(outcomes)
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(SOME_FAILED)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A separator.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    metric: Annotated[
        str, typer.Option(help="Of the table, or harmonic_mean; if not given, what chooses.")
    ] = "",
    dataset: DatasetOption = [],  # noqa: B006
    run_name: Annotated[str, typer.Option("--run", help="Name of the run.")] = "main",
    leaked: Annotated[
        bool, typer.Option("--leaked", help="Count tracks seen in training too.")
    ] = False,
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Say whether separator A is better than B, on the tracks that both have, and how surely."""
    found = read_run(results_folder / inventory.check_name(run_name))
    rows = found.scores[found.scores["dataset"].isin(dataset)] if dataset else found.scores
    seen = set() if leaked else pipeline.may_choose(found)[2]
    by = {*selection.chosen_by(rows[rows["separator"].isin([a, b])]).values()}
    metric = metric or (by.pop() if len(by) == 1 else selection.HARMONIC)
    table = selection.compare(rows, a, b, metric=metric, leaked=seen)
    if as_json:
        _print_json(_records(table))
        return
    for board in selection.boards(table, f"A is {a}, B is {b}; {metric}, dB"):
        _print_table(*board)
    for line in selection.remarks(table, a, b):
        typer.echo(line)


@app.command()
def report(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN…")] = None,
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
    reports: ReportsOption = Path("reports"),
    audio: AudioOption = None,
    figures: Annotated[
        bool, typer.Option("--figures", help="Draw PDF and PNG for papers, too.")
    ] = False,
    compare_two: Annotated[
        bool, typer.Option("--compare", help="Say what changed from the first of two runs.")
    ] = False,
) -> None:
    """Write the pages of a run again, or those of several runs as one."""
    folders = [results_folder / inventory.check_name(name) for name in runs or ["main"]]
    if not compare_two:
        listen = pipeline.check_audio(audio)
        typer.echo(pipeline.write_report(folders, reports, audio=listen, figures=figures))
        return
    if len(folders) != 2:
        raise HarnessError(f"report --compare: takes two runs, not {len(folders)}; name A and B")
    found, page = exporting.compare_runs(folders[0], folders[1], reports)
    for board in report_comparison.boards(found):
        _print_table(board.title, board.head, board.rows)
    for line in report_comparison.remarks(found):
        errors.print(line, markup=False)
    typer.echo(page)


@app.command()
def view(
    run_name: Annotated[str, typer.Argument(metavar="RUN")] = "",
    reports: ReportsOption = Path("reports"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="A free one, if not given.")] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address.")
    ] = False,
) -> None:
    """Serve the reports to this machine alone, and open the browser; Ctrl-C ends it."""
    if run_name and not (reports / inventory.check_name(run_name) / "index.html").is_file():
        raise HarnessError(f"{reports / run_name}: holds no report; try: harness report {run_name}")
    with viewing.serving(reports, port) as server:
        where = viewing.address(server, f"{run_name}/" if run_name else "")
        typer.echo(where)
        if not no_browser:
            webbrowser.open(where)
        with suppress(KeyboardInterrupt):
            server.serve_forever()


@app.command(name="import")
def import_scores(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="Files, or folders with some.")
    ],
    file_format: Annotated[
        str, typer.Option("--format", help=f"auto, {', '.join(importing.FORMATS)}.")
    ] = "auto",
    name: Annotated[str, typer.Option(help="Of the run; if not given, the format's.")] = "",
    data_split: Annotated[
        str, typer.Option(metavar="DATASET:SPLIT", help="What the scores are of, if not told.")
    ] = "",
    trained_on: Annotated[
        list[str], typer.Option(metavar="DATASET:SPLIT", help="What all were trained on, if known.")
    ] = [],  # noqa: B006
    data: DataOption = [],  # noqa: B006
    registry_file: RegistryOption = None,
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
    reports: ReportsOption = Path("reports"),
    as_json: JsonOption = False,
) -> None:
    """Read scores that others published, per track, as a run of their own."""
    dataset, split = inventory.parse_split(data_split)
    request = importing.Request(
        layout=file_format,
        run=inventory.check_name(name) if name else "",
        dataset=dataset,
        split=split,
        trained_on=tuple(trained_on) or None,
        folders=datasets.configured(inventory.parse_data(data)),
        entries=registry.load(registry_file),
    )
    folder = pipeline.import_scores(paths, request, results_folder, command=sys.argv[1:])
    page = pipeline.write_report([folder], reports)
    if as_json:
        _print_json({"folder": str(folder), "report": str(page)})
        return
    for board in report_boards(read_run(folder)):
        _print_table(board.title, board.head, board.rows)
    typer.echo(page)


@app.command()
def export(
    run_name: Annotated[str, typer.Argument(metavar="RUN")] = "main",
    file_format: Annotated[
        str, typer.Option("--format", help=f"{', '.join(exporting.FORMATS)}.")
    ] = "museval",
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("export"),
    source_url: Annotated[
        str, typer.Option(metavar="URL", help="Where the report can be read, for model cards.")
    ] = "",
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
) -> None:
    """Write a run's tables for other tools: to calculate with, to print, for model hubs."""
    folder = results_folder / inventory.check_name(run_name)
    files = exporting.export(folder, file_format, to, source_url=source_url)
    typer.echo(f"{len(files)} files in {to}")


@app.command(name="list")
def list_everything(
    registry_file: RegistryOption = None,
    data: DataOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """List separators and datasets, and what each lacks to run."""
    entries = registry.load(registry_file)
    folders = inventory.parse_data(data)
    if as_json:
        _print_json(inventory.as_dict(entries, folders))
        return
    rows = [
        (e.name, e.role, e.input, ", ".join(e.stems) or "any", inventory.state_of(e))
        for e in entries.values()
    ]
    _print_table("Separators", ("name", "role", "takes", "gives", "state"), rows)
    _print_table("Datasets", ("name", "what", "where"), inventory.dataset_rows(folders))


@app.command()
def check(
    registry_file: RegistryOption = None,
    data: DataOption = [],  # noqa: B006
    reproduce: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Score NAME where its authors did, and compare."),
    ] = None,
    device: Annotated[str, typer.Option(help="Of --reproduce: auto, cpu, cuda or mps.")] = "auto",
    jobs: JobsOption = 0,
    results_folder: Annotated[
        Path, typer.Option("--results", help="Folder for the tables of all runs.")
    ] = Path("results"),
    as_json: JsonOption = False,
) -> None:
    """Say what is found, what is missing, and what to do about it."""
    if reproduce:
        entry = registry.find(registry.load(registry_file), reproduce)
        settings = Settings(
            results=results_folder,
            jobs=jobs or inventory.cores(),
            device=inventory.choose_device(device, learned=is_learned(entry)),
        )
        _reproduce(entry, inventory.parse_data(data), settings, as_json)
        return
    findings = inventory.check(registry.load(registry_file), inventory.parse_data(data))
    if as_json:
        _print_json([asdict(finding) for finding in findings])
    else:
        rows = [(f.what, f.state, f.detail) for f in findings]
        _print_table("Check", ("what", "state", "detail"), rows)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(USER_ERROR)


@fetch_app.command("separator")
def fetch_separator(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every separator of the registry that can run.")
    ] = False,
    registry_file: RegistryOption = None,
    offline: OfflineOption = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Download without asking, whatever the size.")
    ] = False,
) -> None:
    """Download the weights of separators, each checked before it gets its name.

    More than 200 MB are downloaded only after a question, or with --yes.
    """
    entries = inventory.choose_entries(registry.load(registry_file), names or [], everything)
    chosen = [e for e in entries if e.weights and not (everything and e.unavailable)]
    wanted = weight_files.to_fetch(chosen, wrong=True)
    size = weight_files.size_of(wanted)
    if wanted and offline:
        raise HarnessError(f"fetch: --offline forbids the network; leave it out to download {size}")
    if not (yes or weight_files.fits(wanted, UNASKED)) and not sys.stdin.isatty():
        raise HarnessError(f"fetch: {size} is more than 200 MB; give --yes to download it")
    if not chosen:
        errors.print("nothing to fetch: these separators have no weights, or cannot run")
    _show_terms(chosen)
    if not (yes or weight_files.fits(wanted, UNASKED) or _agree(f"Download {size}?")):
        return
    failures = _fetch_files(wanted)
    for entry in chosen:
        if reason := weight_files.lacking(entry):
            errors.print(f"{entry.name}: {reason}", style="yellow", markup=False)
            failures = True
        for file in (f for f in entry.weights if weight_files.is_here(f)):
            typer.echo(weight_files.find(file.file))
    if failures:
        raise typer.Exit(SOME_FAILED)


@fetch_app.command("dataset")
def fetch_dataset(
    name: Annotated[
        str, typer.Argument(help="musdb18hq, musdb18, musdb18_7s, demo; others explain.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--to", help="Its own folder; data/NAME if not given.")
    ] = None,
    layout: Annotated[
        str, typer.Option(help="Of demo: musdb18hq, dsd100, moisesdb, mir1k or folder.")
    ] = "musdb18hq",
    tracks: Annotated[int, typer.Option(min=1, help="Of demo: tracks in each split.")] = 8,
    offline: OfflineOption = False,
) -> None:
    """Download a dataset that may be downloaded, or write demo music in another's layout."""
    from harness.datasets import fetch

    where = folder or Path("data") / name
    with _progress(f"fetching {name}", quiet=False) as advance:
        if name == "demo":
            inventory.write_demo(where, layout, tracks, advance)
        elif offline:
            raise HarnessError("fetch: --offline forbids the network; leave it out to download")
        else:
            where = fetch.fetch_dataset(name, where, progress=advance)
    typer.echo(where)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(harness.__version__)


def main() -> None:
    """Run the command line; a mistake the user can mend is one line and exit status 2."""
    try:
        status = app(standalone_mode=False)
    except HarnessError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        status = USER_ERROR
    except Exception as error:
        if not hasattr(error, "show"):
            raise
        error.show()  # a mistake in the arguments
        status = USER_ERROR
    if status == INTERRUPTED:
        errors.print("interrupted; finished work is kept, run the same command to continue")
        _leave(INTERRUPTED)
    sys.exit(status)


def _leave(status: int) -> None:
    """Leave at once: worker processes must not hold up an interrupted run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _reproduce(
    entry: registry.Entry, data: dict[str, Path], settings: Settings, as_json: bool
) -> None:
    """Compare an entry's published scores with measured ones; exit status 3 if they differ."""
    if reason := weight_files.obstacle(entry):
        raise HarnessError(f"{entry.name}: {reason}")
    if not entry.published:
        raise HarnessError(f"{entry.name}: has no published scores; add some to the registry")
    lines: list[Comparison] = []
    for published in entry.published:
        name, _, split = published.dataset.partition(":")
        (dataset,) = inventory.choose_datasets(data, [name], split, None, settings.jobs, None)
        with _progress(f"scoring {published.dataset}", as_json) as advance:
            lines += reproduce_scores(
                entry, published, dataset, settings, command=sys.argv[1:], progress=advance
            )
    if as_json:
        _print_json([asdict(line) | {"agrees": line.agrees} for line in lines])
    else:
        head = ("stem", "by", "dataset", "source", "printed", "measured", "within", "verdict")
        rows = [
            (
                line.stem,
                line.definition,
                line.dataset,
                line.source,
                f"{line.published:.2f}",
                f"{line.measured:.2f}",
                f"{line.tolerance:g}",
                line.verdict,
            )
            for line in lines
        ]
        _print_table(f"{entry.name}: scores in dB, as printed and as measured", head, rows)
    if not all(line.agrees for line in lines):
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
    _show_terms(chosen)
    question = f"Download {size} (a run takes at most 4 GB)? Without, they are left out."
    if yes or _agree(question):
        _fetch_files(wanted)


def _show_separated(outcomes: Sequence[separating.Outcome]) -> None:
    """Print the folder of each song, and what there is to say of it."""
    for outcome in outcomes:
        style = "yellow" if outcome.state == "failed" else None
        for note in outcome.notes:
            said = note if str(outcome.song) in note else f"{outcome.song}: {note}"
            errors.print(said, style=style, markup=False)
        if outcome.state != "failed":
            typer.echo(next(iter(outcome.files.values())).parent)


def _show_terms(entries: Sequence[registry.Entry]) -> None:
    """Say what weights may be used for, before they are downloaded."""
    for entry in entries:
        errors.print(weight_files.terms(entry), markup=False)


def _fetch_files(files: Sequence[registry.Weights]) -> bool:
    """Download files one after another; say which failed, and return whether any did."""
    failed = False
    for file in files:
        with _progress(f"fetching {file.file}", quiet=False) as advance:
            try:
                weight_files.fetch(file, progress=advance)
            except HarnessError as error:
                errors.print(f"failed: {error}", style="yellow", markup=False)
                failed = True
    return failed


def _agree(question: str) -> bool:
    """Ask; no answer is no."""
    try:
        answer = errors.input(f"{question} [y/N] ", markup=False)
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _finish(
    outcome: pipeline.Outcome, reports: Path, as_json: bool, audio: str | None = None
) -> None:
    """Write the report, say what was done, and set the exit status."""
    current = not outcome.fresh and audio is None
    page = pipeline.write_report(
        [outcome.folder], reports, audio=pipeline.check_audio(audio), only_if_stale=current
    )
    if as_json:
        _print_json({**asdict(outcome), "folder": str(outcome.folder), "report": str(page)})
    else:
        done = outcome.units - outcome.failed
        errors.print(f"{done} of {outcome.units} pieces of work done, {outcome.reused} found done")
        shown = report_boards(read_run(outcome.folder))
        for board in shown:
            _print_table(board.title, board.head, board.rows)
        if not shown:
            typer.echo("nothing to rank: seen in training, failed, or no separator; see the page")
        for reason in outcome.failures[:10]:
            errors.print(f"failed: {reason}", style="yellow", markup=False)
        typer.echo(page)
    if outcome.failed:
        raise typer.Exit(SOME_FAILED)


@contextmanager
def _progress(what: str, quiet: bool) -> Iterator[Any]:
    """Give a callback (done, total) that draws a bar with the time left."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors, disable=quiet) as bar:
        task = bar.add_task(what, total=None, visible=False)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield advance


def _print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; names from files are text, never markup, and words stay whole if they fit."""
    console = Console(emoji=False)
    columns = [[str(cell) for cell in column] for column in zip(head, *rows, strict=True)]
    longest = [min(max(map(len, " ".join(c).split()), default=0), LONGEST) for c in columns]
    framed, bare = 3 * len(columns) + 1, 2 * len(columns) - 1
    dense = sum(longest) + framed > console.width
    if not console.is_terminal:  # a file has no edge
        console.width = max(console.width, sum(longest) + bare)
    room = console.width - (bare if dense else framed)
    widths = _widened(longest, [max(map(len, column)) for column in columns], room)
    table = Table(title=Text(title), title_justify="left")
    if dense:
        table.box, table.show_edge, table.padding = box.SIMPLE_HEAD, False, (0, 1, 0, 0)
    for (name, *_), width in zip(columns, widths, strict=True):
        table.add_column(Text(name), overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def _widened(least: Sequence[int], most: Sequence[int], room: int) -> Sequence[int | None]:
    """Return the widths of columns, from `least` up to `most`; None where there is no room."""
    widths = list(least)
    while sum(widths) < room and any(w < m for w, m in zip(widths, most, strict=True)):
        widths[max(range(len(widths)), key=lambda i: most[i] / max(widths[i], 1))] += 1
    return widths if sum(widths) <= room else [None] * len(widths)


def _records(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table for JSON; NaN is null."""
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


def _print_json(value: Any) -> None:
    """Print JSON to standard output."""
    typer.echo(json.dumps(value, indent=1, default=str))
