"""``harness select``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from harness import registry, selection
from harness.cli import boards, options
from harness.cli.arguments import find_run
from harness.cli.options import flag, option
from harness.cli.terminal import print_json, print_table, records, say, show
from harness.core.errors import HarnessError
from harness.core.text import decimals
from harness.results import grid, ranking
from harness.results.ranking import OVERALL
from harness.results.runs import Run, read_run
from harness.selection import finished_run, saving

IN_USE = "best mean"  # the policy that selects


@dataclass(frozen=True)
class Scope:
    """What to select on, and within which limits."""

    results: Path
    on: str | None  # dataset
    by: str | None  # the metric that chooses; None: the default
    budget: str
    limits: Mapping[str, float]  # the budget, parsed


def select(
    run_name: str = options.RUN_NAME,
    choose_on: str | None = option(
        "--choose-on DATASET", None, "Select on this dataset and test on the others."
    ),
    by: str = option(
        "--by METRIC",
        "",
        "Metric that chooses, or a mean of several such as 'snr+si_sdr'. The run keeps the choice "
        "by the default metric.",
        "harmonic_mean (of SNR and SDR)",
    ),
    budget: str = option(
        "--budget LIMITS",
        "",
        "Also show (with --save: save) the best separator per stem within limits, such as "
        "'rtf<0.5,memory<4GB'.",
    ),
    save: str = option(
        "--save NAME",
        "",
        "Save the selection as ensemble NAME in your registry, for 'run' and 'separate'.",
    ),
    how: str = option(
        "--how METHOD", "best", f"How to make the saved ensemble: {', '.join(selection.WAYS)}."
    ),
    consistent: bool = flag(
        "--consistent", "Make the stems of the saved ensemble sum to the mixture."
    ),
    force: bool = flag("--force", "Replace an ensemble that has the same name."),
    registry_file: Path | None = options.REGISTRY,
    results_folder: Path = options.RESULTS,
    as_json: bool = options.AS_JSON,
) -> None:
    """Select the best separator per stem from a run, and estimate its score on other music."""
    limits = selection.parse_budget(budget)
    saving.check_way(how)
    if not save and (how != "best" or consistent or force):
        raise HarnessError(
            "select: --how, --consistent and --force need --save; add --save NAME, or omit them"
        )
    folder = find_run(results_folder, run_name)
    metric = None
    if by:
        run = read_run(folder)
        metric = grid.check_by(by, ranking.may_choose(run)[0])
        run = finished_run.with_selection(run, choose_on, metric)
    else:
        run = finished_run.select_again(folder, choose_on)
    scope = Scope(results_folder, choose_on, metric, budget, limits)
    if save:
        params, warnings = _params(run, how, registry_file, scope)
        if consistent:
            params, note = saving.made_consistent(params)
            warnings = [*warnings, note]
        kind = "blend by band" if how == "bands" else how.replace("_", " ")
        within = f", {budget}" if budget else ""
        title = f"{kind.capitalize()} of {run.name} per stem{within}"
        saved = saving.save(save, params, title=title, path=registry_file, force=force)
        for line in (registry.describe_saved(saved), *warnings):
            say(line)
    tables = _tables(run, scope)
    notes = [row["note"] for row in run.record["selection_notes"]]  # where nothing was selected
    if as_json:
        print_json({**{name: records(table) for name, table in tables.items()}, "notes": notes})
    else:
        _print(run, tables, scope, notes)


def _params(
    run: Run, how: str, file: Path | None, scope: Scope
) -> tuple[dict[str, Any], list[str]]:
    """Return the `params` of the ensemble, and warnings."""
    entries = registry.load(file if file and file.exists() else None)
    if not scope.limits:
        products = finished_run.kept_products(run, scope.results, by_band=how == "bands")
        return saving.params_of(run, entries, scope.on, how=how, kept=products, by=scope.by)
    if how != "best":
        raise HarnessError(
            f"--budget with --how {how}: a budget selects the best separator per stem; use --how "
            "best, or blend a run of only the separators within the budget"
        )
    return saving.params_within(run, entries, scope.limits, scope.on, scope.by), []


def _tables(run: Run, scope: Scope) -> dict[str, pd.DataFrame]:
    """Return what was selected, its expected score, the blends, and the best within limits."""
    candidates = selection.candidates_of(*ranking.may_choose(run), scope.by)
    keys = ["dataset", "input", "fed_by", "stem", "kind", "separator"]
    tables = {
        "counts": run.selection.groupby(keys).size().rename("tracks").reset_index(),
        "summary": selection.summary(candidates, on=scope.on),
        "blends": finished_run.worth_of_blends(run, scope.results, scope.on, scope.by),
        "other_metrics": finished_run.choices_by(run, scope.on, scope.by),
    }
    if scope.limits:
        costs = selection.costs_of(run.costs)
        tables["within"] = selection.choose_within(candidates, costs, scope.limits)
    return tables


def _print(
    run: Run, tables: Mapping[str, pd.DataFrame], scope: Scope, notes: Sequence[str]
) -> None:
    """Print the tables, notes on them, and one line per stem that says what to use."""
    names = {grid.HARMONIC: "the harmonic mean of SNR and SDR"}
    by = sorted({names.get(m, m) for m in grid.chosen_by(run.scores, scope.by).values()})
    summary, unit = tables["summary"], grid.unit_of(scope.by or grid.HARMONIC)
    shown = boards.table_boards(tables["counts"], f"selected by {', '.join(by)}")
    shown += boards.summary_boards(summary, IN_USE, unit)
    shown += boards.blend_boards(tables["blends"])
    others, same = boards.other_boards(tables["other_metrics"])
    shown += others
    if "within" in tables:
        shown += boards.table_boards(tables["within"], f"the best within {scope.budget}")
    for board in shown:
        print_table(*board)
    if scope.on and summary.empty:
        show(f"--choose-on {scope.on}: the run has no other dataset to test this choice on")
    if "within" in tables and tables["within"].empty:
        show(f"nothing is within {scope.budget}; raise the budget")
    if summary["low"].isna().any():
        show(f"– means no interval: that needs tracks by at least {selection.MIN_ARTISTS} artists")
    for note in notes:
        show(note)
    for line in same:
        show(line)
    for row in summary[summary["policy"] == IN_USE].to_dict("records"):
        if not row["stem"].startswith(OVERALL):
            score = f"{decimals(row['score'])} {unit} on held-out tracks"
            show(f"{row['dataset']}, {row['stem']}: use {row['chosen']} ({score})")
