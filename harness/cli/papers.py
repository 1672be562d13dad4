"""``harness papers``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from harness import registry
from harness.benchmark import Settings, runner
from harness.cli import options
from harness.cli.arguments import find_run, parse_data
from harness.cli.options import argument, option
from harness.cli.terminal import print_json, print_table, progress, say, show
from harness.core.errors import HarnessError
from harness.core.machine import choose_device, default_jobs
from harness.core.text import count
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.registry import Entry, suggestion
from harness.report import printed_tables
from harness.results import printed
from harness.results.printed import Paper, Papers, PrintedCell
from harness.results.runs import read_run, runs_in
from harness.separators import is_learned, obstacle

FORMATS = ("terminal", "markdown")
RUNS = "papers_"  # how the names of the runs of this command begin


def papers(
    name: str = argument(
        "PAPER", "", "One paper only: asnet, ensemble, polimi, mir1k or review.", "all"
    ),
    data: list[str] = options.DATA,
    tracks: int | None = options.TRACKS,
    run: list[str] = option(
        "--run NAME",
        [],
        "Take our scores from this finished run. Repeat for several; the first one that has a "
        "score of the paper's dataset counts.",
        "all runs that this command made",
    ),
    device: str = options.DEVICE,
    jobs: int = options.JOBS,
    results_folder: Path = options.RESULTS,
    registry_file: Path | None = options.REGISTRY,
    file_format: str = option(
        "--format FORMAT", "terminal", f"Format of the output: {' or '.join(FORMATS)}."
    ),
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """Print the tables of five papers beside our scores, and say which may be compared.

    Each printed number gets our number, both definitions and a verdict. With --data, the separators
    that answer the tables separate these datasets first; finished work is kept.
    """
    known = printed.read_papers()
    chosen = _chosen(known.papers, name)
    if file_format not in FORMATS:
        raise HarnessError(f"--format {file_format}: not known; {suggestion(file_format, FORMATS)}")
    entries = registry.load(registry_file)
    settings = Settings(
        command=tuple(sys.argv[1:]), results=results_folder, jobs=jobs, device=device, force=True
    )
    made = _run_all(chosen, entries, parse_data(data), settings, tracks, as_json)
    earlier = run or [n for n in runs_in(results_folder) if n.startswith(RUNS) and n not in made]
    runs = [read_run(find_run(results_folder, each)) for each in (*made, *earlier)]
    cells = {n: printed.cells(n, paper, entries, runs) for n, paper in chosen.items()}
    if as_json:
        every = [asdict(cell) for mine in cells.values() for cell in mine]
        named = [s.model_dump() for s in known.systems if not name or name in s.papers]
        print_json({"cells": every, "systems": named})
    elif file_format == "markdown":
        for line in printed_tables.markdown(known, cells):
            show(line)
    else:
        _show(known, cells, name)


def _chosen(papers: Mapping[str, Paper], name: str) -> dict[str, Paper]:
    """Return the paper of that name, or all."""
    if not name:
        return dict(papers)
    if name not in papers:
        raise HarnessError(f"papers: no paper {name!r}; {suggestion(name, papers)}")
    return {name: papers[name]}


def _run_all(
    chosen: Mapping[str, Paper],
    entries: Mapping[str, Entry],
    folders: Mapping[str, Path],
    settings: Settings,
    tracks: int | None,
    quiet: bool,
) -> list[str]:
    """Run what answers the papers' tables on each given dataset; return the names of the runs."""
    known = printed.datasets_of(list(chosen.values()))
    if other := [dataset for dataset in folders if dataset not in known]:
        raise HarnessError(
            f"--data {other[0]}: no table is about it; the tables are about {', '.join(known)}"
        )
    made = []
    for name, paper in chosen.items():
        for dataset in folders:
            wanted, split = printed.separators_for(paper, dataset)
            able = [entries[n] for n in wanted if n in entries and not obstacle(entries[n])]
            if able:
                made.append(f"{RUNS}{name}_{dataset}")
                choice = DatasetChoice(folders, [dataset], split, tracks)
                _run(made[-1], choice, able, settings, quiet)
    return made


def _run(
    name: str, choice: DatasetChoice, able: Sequence[Entry], settings: Settings, quiet: bool
) -> None:
    """Separate and score one dataset."""
    device = choose_device(settings.device, learned=any(map(is_learned, able)))
    settings = replace(
        settings, run=name, device=device, jobs=settings.jobs or default_jobs(device)
    )
    found = choose_datasets(choice, settings.jobs)
    with progress(f"separating and scoring {choice.names[0]}", quiet) as advance:
        outcome = runner.run(able, found, settings, cascade=None, progress=advance, tell=say)
    if outcome.failed:
        say(f"{name}: {count(outcome.failed, 'unit')} failed: {'; '.join(outcome.failures)}")


def _show(known: Papers, cells: Mapping[str, Sequence[PrintedCell]], name: str) -> None:
    """Print the tables, the systems, and how often each verdict was given."""
    for paper, mine in cells.items():
        show(f"{known.papers[paper].title}: {known.papers[paper].reference}")
        for table in known.papers[paper].tables:
            text = printed_tables.table_text(table, mine)
            if text.rows:
                notes = (*text.definitions, *text.notes)
                print_table(text.title, text.head, text.rows, notes)
            else:
                show(text.title)
    rows = printed_tables.system_rows(known.systems, name)
    print_table("Systems that the papers name", printed_tables.SYSTEMS, rows)
    counts = Counter(cell.verdict for mine in cells.values() for cell in mine)
    show("verdicts: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.most_common()))
