"""``harness compare``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness import selection
from harness.cli import boards, options
from harness.cli.arguments import find_run
from harness.cli.options import argument, flag, option
from harness.cli.terminal import print_json, print_table, records, say, show
from harness.core.errors import HarnessError
from harness.results import grid, ranking
from harness.results.runs import join, read_run, runs_in


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
    results_folder: Path = options.RESULTS,
    as_json: bool = options.AS_JSON,
) -> None:
    """Test whether separator A is better than separator B on the tracks that both separated."""
    found = join([read_run(find_run(results_folder, name)) for name in dict.fromkeys(run_names)])
    for name in (a, b):
        if name not in set(found.scores["separator"]):
            _name_runs_with(name, run_names, results_folder)
    rows = found.scores[found.scores["dataset"].isin(dataset)] if dataset else found.scores
    excluded = set() if leaked else ranking.may_choose(found)[2]
    by = {*grid.chosen_by(rows[rows["separator"].isin([a, b])]).values()}
    metric = metric or (by.pop() if len(by) == 1 else grid.HARMONIC)
    table = selection.compare(rows, a, b, metric=metric, leaked=excluded)
    if as_json:
        print_json(records(table))
        return
    roles = ranking.roles(found)
    if len({roles.get(name) == ranking.GENERATIVE for name in (a, b)}) > 1:
        say(f"one of {a} and {b} is generative: {metric} does not tell which one sounds better")
    for board in boards.table_boards(table, f"A is {a}, B is {b}; {metric}, dB"):
        print_table(*board)
    for line in boards.remarks(table, a, b):
        show(line)


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
