"""Verbs on scores that are there, and on what there is: report, view, import, export, list."""

from __future__ import annotations

import sys
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from harness import datasets, exporting, importing, inventory, pipeline, registry, viewing
from harness.cli.options import (
    AudioOption,
    DataOption,
    JsonOption,
    RegistryOption,
    ReportsOption,
    ResultsOption,
)
from harness.cli.terminal import errors, print_json, print_table
from harness.errors import HarnessError
from harness.report import boards as report_boards
from harness.report import comparison as report_comparison
from harness.results import read_run


def report(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN…")] = None,
    results_folder: ResultsOption = Path("results"),
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
        print_table(board.title, board.head, board.rows)
    for line in report_comparison.remarks(found):
        errors.print(line, markup=False)
    typer.echo(page)


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
    results_folder: ResultsOption = Path("results"),
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
        print_json({"folder": str(folder), "report": str(page)})
        return
    for board in report_boards(read_run(folder)):
        print_table(board.title, board.head, board.rows, board.notes)
    typer.echo(page)


def export(
    run_name: Annotated[str, typer.Argument(metavar="RUN")] = "main",
    file_format: Annotated[
        str, typer.Option("--format", help=f"{', '.join(exporting.FORMATS)}.")
    ] = "museval",
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("export"),
    source_url: Annotated[
        str, typer.Option(metavar="URL", help="Where the report can be read, for model cards.")
    ] = "",
    results_folder: ResultsOption = Path("results"),
) -> None:
    """Write a run's tables for other tools: to calculate with, to print, for model hubs."""
    folder = results_folder / inventory.check_name(run_name)
    files = exporting.export(folder, file_format, to, source_url=source_url)
    typer.echo(f"{len(files)} files in {to}")


def list_everything(
    registry_file: RegistryOption = None,
    data: DataOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """List separators and datasets, and what each lacks to run."""
    entries = registry.load(registry_file)
    folders = inventory.parse_data(data)
    if as_json:
        print_json(inventory.as_dict(entries, folders))
        return
    rows = [
        (e.name, e.role, e.input, ", ".join(e.stems) or "any", inventory.state_of(e))
        for e in entries.values()
    ]
    print_table("Separators", ("name", "role", "takes", "gives", "state"), rows)
    print_table("Datasets", ("name", "what", "where"), inventory.dataset_rows(folders))
