"""Reading arguments: names of runs and separators, NAME=PATH, DATASET:SPLIT."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from harness.core.errors import HarnessError
from harness.core.files import own_path
from harness.metrics import OPTIONAL
from harness.registry import Entry, find, suggestion
from harness.registry.dataset_names import DATASET_NAMES, dataset_name, split_name, standard
from harness.results.replacing import check_name
from harness.results.runs import read_run, runs_or_how


def choose_entries(
    entries: Mapping[str, Entry], names: Sequence[str], everything: bool
) -> list[Entry]:
    """Return the named entries, or all, in the order of the registry; then the catalog's."""
    wanted = {entry.name: entry for entry in (find(entries, name) for name in names)}
    if not wanted and not everything:
        raise HarnessError("separators: none given; name one or more, or use --all")
    known = [entry for entry in entries.values() if not wanted or entry.name in wanted]
    own = {entry.name for entry in known}
    return known + [entry for name, entry in wanted.items() if name not in own]


def parse_data(pairs: Sequence[str]) -> dict[str, Path]:
    """Turn ``NAME=PATH`` arguments into {name: folder}.

    Examples
    --------
    >>> parse_data(["mir1k=/data/mir1k"])
    {'mir1k': PosixPath('/data/mir1k')}
    """
    found = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not (equals and path and re.fullmatch(r"[a-z0-9][a-z0-9_]*", name)):
            raise HarnessError(
                f"--data {pair}: not of the form NAME=PATH; "
                "write NAME=PATH, with only a-z, 0-9 and _ in NAME"
            )
        if name in found:
            raise HarnessError(
                f"--data {pair}: {name} is given twice; use a different name for each folder"
            )
        found[name] = own_path(path)
    return found


def parse_split(text: str) -> tuple[str, str]:
    """Split ``DATASET:SPLIT`` in two; either may be empty.

    Examples
    --------
    >>> parse_split("MUSDB18:testing"), parse_split(":test"), parse_split("")
    (('musdb18', 'test'), ('', 'test'), ('', ''))
    """
    found = re.fullmatch(r"([a-z0-9_]*)(?::([a-z]+))?", standard(text, "--data-split"))
    if not found:
        raise HarnessError(
            f"--data-split {text}: not of the form DATASET:SPLIT; write for example musdb18:test"
        )
    dataset, split = found[1], found[2] or ""
    known = split_name(split or "all")
    if known is None and dataset_name(dataset) in DATASET_NAMES:
        raise HarnessError(
            f"--data-split {text}: {dataset} has no split {split!r}; use train, valid or test"
        )
    return dataset, split if known is None else known


def parse_trained_on(texts: Sequence[str]) -> tuple[str, ...] | None:
    """Return training data in the standard spelling; None, which means unknown, if none is given.

    Examples
    --------
    >>> parse_trained_on(["MUSDB18-HQ train"]), parse_trained_on([])
    (('musdb18hq:train',), None)
    """
    return tuple(standard(text, "--trained-on") for text in texts) or None


def find_run(results: Path, name: str) -> Path:
    """Return the folder of a finished run."""
    folder = results / check_name(name)
    if not (folder / "run.json").is_file():
        if (results / "run.json").is_file():
            where = f"--results {results.resolve().parent}"
            raise HarnessError(f"{results}: is a run, not a folder of runs; use {where}")
        raise HarnessError(f"{results}: no run named {name!r}; {runs_or_how(results)}")
    return folder


def name_from(title: str) -> str:
    """Return a registry name made of a title.

    Examples
    --------
    >>> name_from("My Model v2")
    'my_model_v2'
    """
    return re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_") or "estimates"


def parse_metrics(text: str, run: Path) -> tuple[str, ...]:
    """Return the optional metrics that are named; of an empty text those that a run has.

    ``all`` leaves out those whose package is not installed.
    """
    if not text:
        try:
            known = read_run(run).record.get("metrics") or {}
        except HarnessError:
            return ()
        return tuple(name for name in OPTIONAL if known.get(name, {}).get("computed"))
    tools = import_module("harness.metrics.tool_metrics")  # which imports torch
    if text in ("all", "none"):
        return tuple(filter(tools.installed, OPTIONAL)) if text == "all" else ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in OPTIONAL:
            raise HarnessError(
                f"--metrics {text}: {name!r} is not an optional metric; "
                f"{suggestion(name, OPTIONAL, most=20)}"
            )
        tools.require(name)
    return tuple(name for name in OPTIONAL if name in names)
