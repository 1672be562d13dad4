"""Options that verbs share, and what a verb ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SOME_FAILED = 3
USER_ERROR = 2
INTERRUPTED = 130

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
ResultsOption = Annotated[
    Path, typer.Option("--results", help="Folder for the tables of all runs.")
]
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
