"""The command line: one short function a verb. The only package that prints."""

from __future__ import annotations

import os
import sys

import typer

import harness
from harness.cli.choosing import compare, select, separate
from harness.cli.fetching import check, fetch_dataset, fetch_separator
from harness.cli.options import INTERRUPTED, SOME_FAILED, USER_ERROR
from harness.cli.reading import export, import_scores, list_everything, report, view
from harness.cli.running import run, score, train
from harness.cli.terminal import errors
from harness.errors import HarnessError

__all__ = ["INTERRUPTED", "SOME_FAILED", "USER_ERROR", "app", "errors", "main"]

app = typer.Typer(
    help="Benchmark and model selection for music source separation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
fetch_app = typer.Typer(help="Download weights and datasets.", no_args_is_help=True)
app.add_typer(fetch_app, name="fetch")


def version() -> None:
    """Print the version."""
    typer.echo(harness.__version__)


for verb in (run, train, score, select, separate, compare, report, view):
    app.command()(verb)
app.command(name="import")(import_scores)
app.command()(export)
app.command(name="list")(list_everything)
app.command()(check)
app.command()(version)
fetch_app.command("separator")(fetch_separator)
fetch_app.command("dataset")(fetch_dataset)


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
