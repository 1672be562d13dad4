"""Options that verbs share, and the exit statuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

SOME_FAILED = 3
USER_ERROR = 2
INTERRUPTED = 130


def flag(name: str, text: str) -> Any:
    """Return a yes/no option; its help shows no type."""
    return typer.Option(name, metavar="", help=text)


def option(usage: str, text: str, default: str | bool = True, **limits: Any) -> Any:
    """Return an option with a value; its help shows `default` if the real one says too little."""
    name, metavar = usage.split()
    return typer.Option(name, metavar=metavar, help=text, show_default=default, **limits)


def argument(metavar: str, text: str, default: str | bool = True) -> Any:
    """Return a positional argument; `default` as for `option`."""
    return typer.Argument(metavar=metavar, help=text, show_default=default)


Data = Annotated[
    list[str],
    option(
        "--data NAME=PATH",
        "Folder of a dataset: NAME is one from 'harness list', or any name for a folder of your "
        "own songs. Repeat for several.",
    ),
]
Dataset = Annotated[
    list[str],
    option(
        "--dataset NAME",
        "Use only this dataset. Repeat for several.",
        "all with a folder; if none, demo",
    ),
]
Split = Annotated[str, option("--split SPLIT", "Split of the datasets: train, valid, test or all.")]
Tracks = Annotated[
    int | None,
    option("--tracks N", "Use only the first N tracks of each dataset.", "all tracks", min=1),
]
TrainedOn = Annotated[
    list[str],
    option(
        "--trained-on DATASET:SPLIT",
        "Data that the separators were trained on. Repeat for several.",
        "unknown",
    ),
]
Device = Annotated[
    str, option("--device DEVICE", "Device for neural networks: auto, cpu, cuda or mps.")
]
Jobs = Annotated[
    int, option("--jobs N", "Parallel jobs. 0: one per CPU core, but at most 4 on a GPU.", min=0)
]
Registry = Annotated[
    Path | None,
    option(
        "--registry FILE",
        "YAML file with your own separators.",
        "model_registry.yaml of this folder, if present",
    ),
]
RunName = Annotated[str, argument("RUN", "Name of the run.")]
Results = Annotated[Path, option("--results FOLDER", "Folder with the tables of all runs.")]
Reports = Annotated[Path, option("--reports FOLDER", "Folder with the reports of all runs.")]
Audio = Annotated[
    str | None,
    option(
        "--audio WHICH",
        "Audio in track pages: none, allowed (only what the dataset's license lets you share) or "
        "private (all of it; do not publish).",
        "allowed",
    ),
]
Json = Annotated[bool, flag("--json", "Print the result as JSON.")]
Offline = Annotated[bool, flag("--offline", "Do not use the network.")]
KeepUnequal = Annotated[
    bool,
    flag("--keep-unequal", "Keep tracks in which the mixture is not the sum of the stems."),
]
Rehash = Annotated[
    bool, flag("--rehash", "Read every audio file again, also those that look unchanged.")
]
