"""Options that verbs share, and the exit statuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from harness.core.download import forbidden

SOME_FAILED = 3
USER_ERROR = 2
DIFFERENT = 1  # of `harness parity`
STILL_RUNNING, NOT_ENDED = 4, 5  # of `harness status`
INTERRUPTED = 130


def flag(name: str, text: str) -> Any:
    """Return a yes/no option, which is off by default; its help shows no type."""
    return typer.Option(False, name, metavar="", help=text)


def option(usage: str, default: Any, text: str, shown: str | bool = True, **limits: Any) -> Any:
    """Return an option with a value; its help shows `shown` if the default says too little."""
    name, metavar = usage.split()
    return typer.Option(default, name, metavar=metavar, help=text, show_default=shown, **limits)


def argument(metavar: str, default: Any, text: str, shown: str | bool = True) -> Any:
    """Return a positional argument, which is required if `default` is ...; see `option`."""
    return typer.Argument(default, metavar=metavar, help=text, show_default=shown)


DATA = option(
    "--data NAME=PATH",
    [],
    "Folder of a dataset. NAME is one from 'harness list', or any name for a folder of your own "
    "songs. Repeat for several.",
)
DATASET = option(
    "--dataset NAME",
    [],
    "Use only this dataset. Repeat for several.",
    "all with a folder; if none, demo (and for run real_song)",
)
SPLIT = option("--split SPLIT", "test", "Split of the datasets: train, valid, test or all.")
TRACKS = option(
    "--tracks N", None, "Use only the first N tracks of each dataset.", "all tracks", min=1
)
SECONDS = option(
    "--seconds N", None, "Use only the middle N seconds of each track.", "whole tracks", min=1.0
)
TRAINED_ON = option(
    "--trained-on DATASET:SPLIT",
    [],
    "Data that the separators were trained on. Repeat for several.",
    "unknown",
)
DEVICE = option("--device DEVICE", "auto", "Device for neural networks: auto, cpu, cuda or mps.")
JOBS = option(
    "--jobs N", 0, "Number of parallel jobs. 0 means one per CPU core, at most 4 on a GPU.", min=0
)
REGISTRY = option(
    "--registry FILE",
    None,
    "YAML file with your own separators.",
    "model_registry.yaml of this folder, if present",
)
RUN_NAME = argument("RUN", "main", "Name of the run.")
RESULTS = option("--results FOLDER", Path("results"), "Folder with the tables of all runs.")
REPORTS = option("--reports FOLDER", Path("reports"), "Folder with the reports of all runs.")
AUDIO = option(
    "--audio WHICH",
    None,
    "Audio in track pages: none; allowed (only what the dataset's license lets you share); or "
    "private (all of it; do not publish).",
    "allowed",
)
AS_JSON = flag("--json", "Print the result as JSON.")


def _offline(context: typer.Context, value: bool) -> bool:
    """Refuse every download until the command ends."""
    if value:
        context.with_resource(forbidden())
    return value


OFFLINE = typer.Option(
    False, "--offline", metavar="", help="Do not use the network.", callback=_offline
)
KEEP_UNEQUAL = flag(
    "--keep-unequal", "Keep tracks in which the mixture is not the sum of the stems."
)
METRICS = option(
    "--metrics NAME,…",
    "",
    "Also compute these metrics, such as sd_sdr,snri or bleedless,fullness; all for all of them, "
    "none to drop those that the run has.",
    "those that the run has",
)
REHASH = flag("--rehash", "Read every audio file again, also those that look unchanged.")
REPLACE = flag("--force", "Replace a run of that name, even if it was made from other data.")
