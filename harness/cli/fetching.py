"""Verbs that check and fetch what is needed: check, fetch separator, fetch dataset."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from harness import inventory, registry, weight_files
from harness.benchmark import Settings
from harness.cli.options import (
    SOME_FAILED,
    USER_ERROR,
    DataOption,
    JobsOption,
    JsonOption,
    OfflineOption,
    RegistryOption,
    ResultsOption,
)
from harness.cli.terminal import agree, errors, print_json, print_table, progress
from harness.errors import HarnessError
from harness.reproduce import Comparison
from harness.reproduce import reproduce as reproduce_scores
from harness.separators import is_learned

UNASKED = 200_000_000  # bytes of weights that `fetch separator` downloads without a question


def check(
    registry_file: RegistryOption = None,
    data: DataOption = [],  # noqa: B006
    reproduce: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Score NAME where its authors did, and compare."),
    ] = None,
    device: Annotated[str, typer.Option(help="Of --reproduce: auto, cpu, cuda or mps.")] = "auto",
    jobs: JobsOption = 0,
    results_folder: ResultsOption = Path("results"),
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
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(f.what, f.state, f.detail) for f in findings]
        print_table("Check", ("what", "state", "detail"), rows)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(USER_ERROR)


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
        with progress(f"scoring {published.dataset}", as_json) as advance:
            lines += reproduce_scores(
                entry, published, dataset, settings, command=sys.argv[1:], progress=advance
            )
    if as_json:
        print_json([asdict(line) | {"agrees": line.agrees} for line in lines])
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
        print_table(f"{entry.name}: scores in dB, as printed and as measured", head, rows)
    if not all(line.agrees for line in lines):
        raise typer.Exit(SOME_FAILED)


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
    show_terms(chosen)
    if not (yes or weight_files.fits(wanted, UNASKED) or agree(f"Download {size}?")):
        return
    failures = fetch_files(wanted)
    for entry in chosen:
        if reason := weight_files.lacking(entry):
            errors.print(f"{entry.name}: {reason}", style="yellow", markup=False)
            failures = True
        for file in (f for f in entry.weights if weight_files.is_here(f)):
            typer.echo(weight_files.find(file.file))
    if failures:
        raise typer.Exit(SOME_FAILED)


def fetch_dataset(
    name: Annotated[
        str,
        typer.Argument(help="musdb18hq, musdb18 or musdb18_7s; others: how to get them."),
    ],
    folder: Annotated[
        Path | None, typer.Option("--to", help="Its own folder; data/NAME if not given.")
    ] = None,
    offline: OfflineOption = False,
) -> None:
    """Download a dataset, if its license allows it."""
    from harness.datasets import dataset_downloads

    if offline:
        raise HarnessError("fetch: --offline forbids the network; leave it out to download")
    where = folder or Path("data") / name
    with progress(f"fetching {name}", quiet=False) as advance:
        dataset_downloads.fetch_dataset(name, where, progress=advance)
    typer.echo(where)


def show_terms(entries: Sequence[registry.Entry]) -> None:
    """Say what weights may be used for, before they are downloaded."""
    for entry in entries:
        errors.print(weight_files.terms(entry), markup=False)


def fetch_files(files: Sequence[registry.Weights]) -> bool:
    """Download files one after another; say which failed, and return whether any did."""
    failed = False
    for file in files:
        with progress(f"fetching {file.file}", quiet=False) as advance:
            try:
                weight_files.fetch(file, progress=advance)
            except HarnessError as error:
                errors.print(f"failed: {error}", style="yellow", markup=False)
                failed = True
    return failed
