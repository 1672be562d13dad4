"""What a run has chosen, and what it may choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from harness import selection
from harness.core.files import only_one
from harness.metrics import METRICS, BlendProducts
from harness.results import importing
from harness.results.grid import parts_of
from harness.results.ranking import may_choose
from harness.results.replacing import check_place
from harness.results.run_products import blends_of_run
from harness.results.runs import Run, read_run, write_run
from harness.selection.best_of import KINDS
from harness.selection.blending import Kept

USUAL = ("snr+si_sar",)  # means that `select` tries, where a run has their parts


def select_again(folder: Path, on: str | None = None) -> Run:
    """Choose the best separators of a finished run again, and write the run with that choice."""
    chosen = with_selection(read_run(folder), on)
    with only_one(folder.parent):
        write_run(folder, chosen)
    return chosen


def with_selection(run: Run, on: str | None = None, by: str | None = None) -> Run:
    """Return the run with its selection, made on other artists' tracks or on dataset `on`.

    `by` is the metric that chooses; a run that is written has the default choice, so that its
    report and its tables are of one choice.
    """
    chosen, ensembles, notes = selection.select(*may_choose(run), on=on, by=by)
    record = {**run.record, "selection_notes": notes, "ensembles": KINDS}
    return replace(run, selection=chosen, ensembles=ensembles, record=record)


def kept_products(
    run: Run, results: Path, *, by_band: bool = False
) -> dict[tuple[str, str, str, str], BlendProducts]:
    """Return the inner products of a run's separators: (dataset, split, track, stem) → products.

    `results` is the folder of all runs. Products by frequency band exist only if the run kept them.
    """
    scores, ranked, _ = may_choose(run)
    ours = scores[scores["separator"].isin(ranked)]
    units = run.record.get("units", ())
    return blends_of_run(results / "work", units, ours, by_band=by_band)


def worth_of_blends(
    run: Run,
    results: Path,
    on: str | None = None,
    by: str | None = None,
    *,
    kept: Kept | None = None,
) -> pd.DataFrame:
    """Return the first table of `harness.selection.blends`, also of blends by band if kept.

    It is empty if inner products do not determine the metric `by`. `kept` are the `kept_products`
    of the run if they were read already.
    """
    candidates, metric = selection.candidates_of(*may_choose(run), by), by or selection.HARMONIC
    each = kept_products(run, results) if kept is None else kept
    whole, by_band = (
        selection.blends(candidates, selection.scored_by(found, metric), metric=metric, on=on)[0]
        for found in (each, kept_products(run, results, by_band=True))
    )
    found = pd.concat([whole, by_band]) if len(by_band) else whole
    return found.sort_values(
        ["dataset", "fed_by", "input", "stem"], kind="stable", ignore_index=True
    )


def choices_by(run: Run, on: str | None = None, by: str | None = None) -> pd.DataFrame:
    """Return `harness.selection.other_choices`: the default choice beside those by other metrics.

    These are `by`, if it is given, otherwise all metrics of the run that rank and of which higher
    is better, and `USUAL` means of several.
    """
    scores, ranked, leaks = may_choose(run)
    ours = scores[scores["separator"].isin(ranked) & (scores["status"] == "ok")]
    have = {*map(str, ours["metric"].unique())}
    records = [METRICS[name] for name in METRICS if name in have]
    names = [metric.name for metric in records if metric.higher_is_better and metric.ranks]
    names += [name for name in USUAL if have.issuperset(parts_of(name))]
    default = selection.candidates_of(ours, ranked, leaks)
    others = {
        name: selection.candidates_of(ours, ranked, leaks, name) for name in ([by] if by else names)
    }
    return selection.other_choices(default, others, on=on)


def import_scores(
    paths: Sequence[Path],
    request: importing.Request,
    results: Path,
    *,
    command: Sequence[str] = (),
    force: bool = False,
) -> Path:
    """Write scores that others published as a run, and return its folder.

    Other scores of that name are only replaced with `force`, see `replacing.check_place`.
    """
    run = with_selection(importing.read_published(paths, request))
    folder = results / run.name
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = {**run.record, "command": list(command), "created": now, "finished": now}
    with only_one(results):
        check_place(results, run.name, record, force=force)
        write_run(folder, replace(run, record=record))
    return folder


def best_per_stem(run: Run, on: str | None = None) -> pd.DataFrame:
    """Return the separator to use for each stem, with its expected score on new music.

    The score is held out: it comes from tracks of other artists than those that chose, or from all
    other datasets than `on`.

    Returns
    -------
    DataFrame
        Columns dataset, input, fed_by, stem, chosen, score (dB), oracle (dB, with the best
        separator of each track), n (tracks), artists.
    """
    policy = {"best mean": selection.POLICIES["best mean"]}
    found = selection.summary(selection.candidates_of(*may_choose(run)), policies=policy, on=on)
    names = ["dataset", "input", "fed_by", "stem", "chosen", "score", "oracle", "n", "artists"]
    return found.loc[found["chosen"] != "", names].reset_index(drop=True)
