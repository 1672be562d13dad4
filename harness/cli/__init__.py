"""The command line: a verb is a file. The only package that prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import typer

import harness
from harness.cli import (
    check,
    compare,
    export,
    fetch,
    import_,
    list_,
    own_models,
    report,
    run,
    score,
    select,
    separate,
    train,
    view,
)
from harness.cli.options import INTERRUPTED, SOME_FAILED, USER_ERROR
from harness.cli.terminal import say, show
from harness.core.errors import HarnessError

__all__ = ["INTERRUPTED", "SOME_FAILED", "USER_ERROR", "app", "main"]

app = typer.Typer(
    help="Benchmark and model selection for music source separation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
VERBS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "score": score.score,
    "import": import_.import_scores,
    "report": report.report,
    "view": view.view,
    "select": select.select,
    "compare": compare.compare,
    "separate": separate.separate,
    "export": export.export,
    "train": train.train,
    "list": list_.list_everything,
    "check": check.check,
}
for name, verb in VERBS.items():
    app.command(name)(verb)
app.add_typer(fetch.app, name="fetch")
app.add_typer(own_models.app, name="catalog")


@app.command()
def version() -> None:
    """Print the version."""
    show(harness.__version__)


def main() -> None:
    """Run the command line; an error that the user can fix is one line and exit status 2."""
    try:
        app()
    except HarnessError as error:
        say(f"error: {error}", style="red")
        sys.exit(USER_ERROR)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        say("interrupted; finished work is kept, repeat the command to continue")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # at once: worker processes must not hold up the end
