"""The command line: a verb is a file. The only package that prints.

A verb is imported when it is used, so that the help and the version appear at once.
"""

from __future__ import annotations

import os
import sys
import traceback
from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

import harness
from harness.cli.options import INTERRUPTED, SOME_FAILED, USER_ERROR
from harness.cli.terminal import say, show
from harness.core.errors import HarnessError

__all__ = ["INTERRUPTED", "SOME_FAILED", "USER_ERROR", "app", "main"]

VERBS = {  # verb: (module:function of harness.cli, the first sentence of its help)
    "run": (
        "run:run",
        "Separate and score datasets, select the best separators and write a report.",
    ),
    "status": (
        "status:status",
        "Show how far the runs of a folder are: done, failed, where, speed and time left.",
    ),
    "score": ("score:score", "Score estimates made by other programs."),
    "import": (
        "import_:import_scores",
        "Import scores that others published, one per track, and report them like a run.",
    ),
    "report": ("report:report", "Write the report of one run, or one report of several runs."),
    "view": ("view:view", "Open the reports in your browser."),
    "select": (
        "select:select",
        "Select the best separator per stem from a run, and estimate its score on other music.",
    ),
    "compare": (
        "compare:compare",
        "Test whether separator A is better than separator B on the tracks that both separated.",
    ),
    "parity": (
        "parity:parity",
        "Check that separator B is the same as A: a port, another version, other chunks, 16 bits.",
    ),
    "validity": (
        "validity:validity",
        "Show which metrics agree with listeners, from the tables of listening tests.",
    ),
    "separate": (
        "separate:separate",
        "Separate songs into stems, such as separated/SONG/vocals.wav.",
    ),
    "export": (
        "export:export",
        "Export the tables of a run: as data, for papers, or as model cards.",
    ),
    "papers": (
        "papers:papers",
        "Print the tables of five papers beside our scores, and say which may be compared.",
    ),
    "train": ("train:train", "Train a network of this project."),
    "list": (
        "list_:list_everything",
        "List separators and datasets, and what is missing to use them.",
    ),
    "check": (
        "check:check",
        "Check that separators and datasets can be loaded, and say what to do if not.",
    ),
    "fetch": ("fetch:app", "Download weights and datasets."),
    "catalog": (
        "catalog:app",
        "Add a model of your own to the registry; 'harness list --catalog' shows those of others.",
    ),
}
STYLE: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


@cache
def command(verb: str) -> Any:
    """Return the command of a verb, with its options."""
    module, _, name = VERBS[verb][0].partition(":")
    target = getattr(import_module(f"harness.cli.{module}"), name)
    if not isinstance(target, typer.Typer):
        alone = typer.Typer(**STYLE)
        alone.command(verb)(target)
        target = alone
    made = typer.main.get_command(target)
    made.name = verb
    return made


class _Verbs(TyperGroup):
    """The verbs; `VERBS` is enough for their list, and `command` imports the one that is used."""

    def resolve_command(self, context: Any, words: list[str]) -> Any:
        name, found, rest = super().resolve_command(context, words)
        return name, command(name) if name in VERBS else found, rest


app = typer.Typer(cls=_Verbs, no_args_is_help=True, **STYLE)
for _verb, (_, _text) in VERBS.items():
    app.command(_verb, help=_text)(lambda: None)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(harness.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False,
        "--version",
        metavar="",
        help="Print the version of this program.",
        callback=_print_version,
        is_eager=True,
    ),
) -> None:
    """Benchmark and model selection for music source separation."""


@app.command()
def version() -> None:
    """Print the version."""
    show(harness.__version__)


def main() -> None:
    """Run the command line; an error that the user can fix is one line and exit status 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads leave others the cores
    try:
        app()
    except HarnessError as error:
        say(f"error: {error}", style="red")
        sys.exit(USER_ERROR)
    except Exception:  # a bug; its text may be that of a file, so it is made readable
        say(traceback.format_exc())
        sys.exit(1)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        say("interrupted; finished work is kept, repeat the command to continue")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # at once: worker processes must not hold up the end
