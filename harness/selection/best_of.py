"""Best separator per stem, twice: an upper bound (oracle), and a choice that can be deployed.

Both use the harmonic mean of `snr` and `sdr` (`harness.metrics.harmonic_mean`). On every track the
*oracle* chooses the separator with the best score on that same track. The *deployable* choice for a
track is made on the tracks of all other artists of the dataset, or on another dataset.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.metrics import DEFAULT
from harness.results.grid import (
    HARMONIC,
    Grid,
    Leaked,
    chosen_by,
    grids,
    track_scores,
    without_leaked,
)
from harness.results.runs import COLUMNS, SELECTION_COLUMNS, table
from harness.selection.policies import NOBODY, Policy, best_mean, choose_on, cross_fit

ORACLE = "best_of_oracle"
DEPLOYABLE = "best_of"
KINDS = {ORACLE: "oracle", DEPLOYABLE: "ensemble"}  # which of them knows the answers
Note = dict[str, str]  # dataset ("" for none) and note

_PLACE = ["dataset", "split", "track", "fed_by", "input", "stem", "separator"]


def choose_oracle(candidates: pd.DataFrame) -> pd.DataFrame:
    """Choose for each track and stem the separator with the best score; ties go by name.

    `candidates` are as from `track_scores`, of separators that may be chosen. The result has the
    columns `SELECTION_COLUMNS` and split.
    """
    ordered = candidates.sort_values("separator", kind="stable")
    groups = ordered.groupby(_PLACE[:-1])
    return ordered.loc[groups["score"].idxmax()].assign(kind="oracle")


def choose_deployable(
    candidates: pd.DataFrame, *, policy: Policy = best_mean, on: str | None = None
) -> tuple[pd.DataFrame, list[Note]]:
    """Choose for each artist's tracks on the tracks of all other artists.

    A choice uses only tracks with scores of all candidates of a stem; see `Grid.complete`.

    Parameters
    ----------
    on
        Choose on this dataset for all others, instead of by cross-fitting within each.

    Returns
    -------
    chosen
        As from `choose_oracle`; `score` is that of the chosen separator on the track.
    notes
        Where no choice could be made, or not among all separators, and why.
    """
    found = grids(candidates)
    others = choosing(found, on)
    names, notes, alone = [], [], dict[tuple[str, str], list[str]]()
    for grid in found:
        other = others.get((grid.source, grid.stem))
        if on is None:
            picked = cross_fit(grid, policy)
        elif other is not None and grid.dataset != on:
            picked = choose_on(other, grid, policy)
        else:
            continue
        names.append(_named(grid, picked))
        if (picked == NOBODY).all() and on is None and grid.n_artists == 1:
            alone.setdefault((grid.dataset, grid.artists[0]), []).append(grid.stem)
        else:
            notes += _notes(other if other is not None else grid, picked)
    notes = [
        _note(
            dataset,
            f": all tracks are by {artist or 'an unknown artist'}; no other artist's tracks can "
            f"choose for {', '.join(stems)}",
        )
        for (dataset, artist), stems in alone.items()
    ] + notes
    keys = pd.concat(names) if names else pd.DataFrame(columns=_PLACE)
    return candidates.merge(keys, on=_PLACE).assign(kind="deployable"), notes


def choosing(found: Collection[Grid], on: str | None) -> dict[tuple[str, str], Grid]:
    """Return the grids of dataset `on`, by input and stem; empty if it is None."""
    if on is None:
        return {}
    if on not in (known := sorted({grid.dataset for grid in found})):
        raise HarnessError(f"choose on {on!r}: no scores of it; choose of {', '.join(known)}")
    return {(grid.source, grid.stem): grid for grid in found if grid.dataset == on}


def ensemble_rows(chosen: pd.DataFrame, scores: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the scores of the chosen separators as those of an ensemble `name`."""
    rows = scores.merge(chosen[_PLACE], on=_PLACE)
    rows["note"] = "chosen: " + rows["separator"]
    rows["separator"] = name
    return rows[list(COLUMNS)].sort_values(
        [*_PLACE[:-1], "metric"],
        key=lambda column: column.map(_METRIC_ORDER) if column.name == "metric" else column,
    )


_METRIC_ORDER = {name: i for i, name in enumerate(DEFAULT)}


def select(
    scores: pd.DataFrame,
    separators: Collection[str],
    leaked: Leaked,
    *,
    on: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, list[Note]]:
    """Make both choices for every dataset and stem.

    Parameters
    ----------
    scores
        Columns `harness.results.runs.COLUMNS`.
    separators
        Names of those that may be chosen: no anchors, no oracles.
    leaked
        (separator, dataset, split, track) that were trained on; they neither choose nor are chosen.
    on
        Dataset to choose on for all others; None cross-fits within each.

    Returns
    -------
    selection
        Columns `SELECTION_COLUMNS`.
    ensembles
        Columns `COLUMNS`: the scores of both choices.
    notes
        Where no choice could be made, and why.
    """
    candidates = candidates_of(scores, separators, leaked)
    if candidates.empty:
        return (
            table([], SELECTION_COLUMNS),
            table([]),
            [_note("", "no separator has a score to choose by")],
        )
    oracle = choose_oracle(candidates)
    deployable, notes = choose_deployable(candidates, on=on)
    notes = [*_metric_notes(scores[scores["separator"].isin(list(separators))]), *notes]
    selection = pd.concat([oracle, deployable], ignore_index=True)[list(SELECTION_COLUMNS)]
    order = ["dataset", "fed_by", "input", "stem", "kind", "track"]
    rows = [
        ensemble_rows(chosen, scores, name)
        for chosen, name in ((oracle, ORACLE), (deployable, DEPLOYABLE))
    ]
    ensembles = pd.concat(rows, ignore_index=True)
    return selection.sort_values(order, ignore_index=True), ensembles, notes


def candidates_of(
    scores: pd.DataFrame, separators: Collection[str], leaked: Leaked
) -> pd.DataFrame:
    """Return the scores by which separators may be chosen, as from `track_scores`."""
    ours = scores[scores["separator"].isin(list(separators))]
    parts = [
        track_scores(ours[ours["dataset"] == name], by) for name, by in chosen_by(ours).items()
    ]
    filled = [part for part in parts if len(part)]
    found = pd.concat(filled, ignore_index=True) if filled else track_scores(ours[:0])
    return without_leaked(found, leaked)


def _note(dataset: str, rest: str) -> Note:
    """Return a note on a dataset, which begins with its name."""
    return {"dataset": dataset, "note": dataset + rest}


def _metric_notes(scores: pd.DataFrame) -> list[Note]:
    """Say where another metric than the harmonic mean chooses, and which separators lack it."""
    notes = []
    for dataset, metric in chosen_by(scores).items():
        here = scores[(scores["dataset"] == dataset) & (scores["status"] == "ok")]
        if metric != HARMONIC:
            why = f": no separator has both SNR and SDR; {metric} chooses"
            notes.append(_note(dataset, why))
        lacks = sorted(set(here["separator"]) - set(track_scores(here, metric)["separator"]))
        if lacks:
            why = f": no {metric} of {', '.join(lacks)}; they cannot be chosen"
            notes.append(_note(dataset, why))
    return notes


def _named(grid: Grid, picked: np.ndarray) -> pd.DataFrame:
    """Return where each separator was picked, columns `_PLACE`."""
    frame = pd.DataFrame({"split": grid.splits, "track": grid.tracks, "separator": picked})
    return frame.assign(dataset=grid.dataset, input=grid.input, fed_by=grid.fed_by, stem=grid.stem)[
        _PLACE
    ]


def _notes(grid: Grid, picked: np.ndarray) -> list[Note]:
    """Say which separators could not be chosen, or why there was no choice."""
    stem = f", {grid.stem}: "
    if (picked == NOBODY).all():
        why = "no track has a score of every separator, so none can be chosen"
        return [_note(grid.dataset, stem + why)]
    have = dict(zip(grid.separators, np.isfinite(grid.scores).sum(axis=0), strict=True))
    left_out = sorted(set(grid.separators) - set(grid.complete().separators))
    return [
        _note(grid.dataset, f"{stem}{name} has {have[name]} tracks, too few to be chosen")
        for name in left_out
    ]
