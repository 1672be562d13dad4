"""``harness compare``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from harness import selection
from harness.cli import boards, options
from harness.cli.arguments import find_run
from harness.cli.options import SOME_FAILED, argument, flag, option
from harness.cli.terminal import print_json, print_table, records, say, show
from harness.core.errors import HarnessError
from harness.core.files import write_atomic
from harness.metrics import METRICS
from harness.results import grid, ranking
from harness.results.runs import join, read_run, runs_in
from harness.selection import regression
from harness.selection.regression import StemVerdict


def compare(
    a: str = argument("A", ..., "Name of a separator."),
    b: str = argument("B", ..., "Name of the separator to compare it with."),
    metric: str = option(
        "--metric METRIC",
        "",
        "Metric to compare: snr, sdr, csdr, … or harmonic_mean (of SNR and SDR).",
        "the one used for selection",
    ),
    dataset: list[str] = option(
        "--dataset NAME", [], "Compare only on this dataset. Repeat for several.", "all"
    ),
    run_names: list[str] = option(
        "--run RUN", ["main"], "Name of the run. Repeat it if A and B are in different runs."
    ),
    leaked: bool = flag("--leaked", "Include tracks that either separator was trained on."),
    overall: bool = flag("--overall", "Compare the mean over the stems of each track."),
    fail_if_worse: float | None = option(
        "--fail-if-worse DB",
        None,
        "Exit with status 3 if A is significantly worse than B by more than this, or has no score "
        "on a track that B has.",
        "never",
        min=0.0,
    ),
    junit: Path | None = option(
        "--junit FILE", None, "Write what --fail-if-worse finds as JUnit XML to FILE.", "none"
    ),
    results_folder: Path = options.RESULTS,
    as_json: bool = options.AS_JSON,
) -> None:
    """Test whether separator A is better than separator B on the tracks that both separated.

    With --fail-if-worse, A is a new version and B the one that it must not fall behind.
    """
    if junit and fail_if_worse is None:
        raise HarnessError("--junit: has nothing to write; add --fail-if-worse, such as 0.05")
    found = join([read_run(find_run(results_folder, name)) for name in dict.fromkeys(run_names)])
    for name in (a, b):
        if name not in set(found.scores["separator"]):
            _name_runs_with(name, run_names, results_folder)
    rows = found.scores[found.scores["dataset"].isin(dataset)] if dataset else found.scores
    excluded = set() if leaked else ranking.may_choose(found)[2]
    by = {*grid.chosen_by(rows[rows["separator"].isin([a, b])]).values()}
    metric = metric or (by.pop() if len(by) == 1 else grid.HARMONIC)
    how: dict[str, Any] = {"metric": metric, "leaked": excluded, "overall": overall}
    if fail_if_worse is None:
        table = selection.compare(rows, a, b, **how)
        verdicts: list[StemVerdict] = []
    else:
        _check_direction(metric)
        table = selection.compare(rows, a, b, failure=0.0, **how)  # rare ones would hide a loss
        verdicts = regression.judge(table, rows, a, b, fail_if_worse, **how)
    if junit:
        about = {"metric": metric, "allowed": f"{fail_if_worse:g}", "run": found.name}
        title = f"{a} is not worse than {b}"
        write_atomic(junit, regression.junit(verdicts, title, about, grid.unit_of(metric)))
    if as_json:
        listed = records(table)
        print_json({"rows": listed, "verdicts": _plain(verdicts)} if verdicts else listed)
    else:
        roles = ranking.roles(found)
        if len({roles.get(name) == ranking.GENERATIVE for name in (a, b)}) > 1:
            say(f"one of {a} and {b} is generative: {metric} does not tell which one sounds better")
        for board in boards.table_boards(table, f"A is {a}, B is {b}; {metric}, dB"):
            print_table(*board)
        for line in boards.remarks(table, a, b):
            show(line)
        for verdict in verdicts:
            where = f"{verdict.state}: {verdict.dataset}, {verdict.stem}"
            where += f" from {verdict.input}" if verdict.input != "mixture" else ""
            show(f"{where}: {verdict.reason}")
    if any(verdict.state == regression.FAILED for verdict in verdicts):
        raise typer.Exit(SOME_FAILED)


def _check_direction(metric: str) -> None:
    """Refuse a metric of which a lower value is better."""
    if any(n in METRICS and not METRICS[n].higher_is_better for n in grid.parts_of(metric)):
        raise HarnessError(
            f"--fail-if-worse: a lower {metric} is better; choose a --metric of which higher is"
        )


def _plain(verdicts: Sequence[StemVerdict]) -> list[dict[str, Any]]:
    """Return verdicts for JSON; NaN is null."""
    return records(pd.DataFrame(verdicts))


def _name_runs_with(separator: str, given: Sequence[str], results: Path) -> None:
    """Raise an error that names the runs that have a separator, if there is any."""
    having = []
    for name in runs_in(results):
        with suppress(HarnessError):
            if separator in set(read_run(results / name).scores["separator"]):
                having.append(name)
    if having:
        options = " ".join(f"--run {name}" for name in [*given, having[0]])
        raise HarnessError(
            f"compare: {separator!r} is not in run {', '.join(given)}, but in "
            f"{', '.join(having)}; add {options}"
        )
