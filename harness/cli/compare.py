"""``harness compare``."""

from __future__ import annotations

from pathlib import Path

from harness import selection
from harness.cli import boards, options
from harness.cli.arguments import find_run
from harness.cli.options import argument, flag, option
from harness.cli.terminal import print_json, print_table, records, say, show
from harness.results import grid, ranking
from harness.results.runs import join, read_run


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
