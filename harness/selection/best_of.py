"""Best separator per stem, twice: an upper bound (oracle), and a choice that can be deployed.

Both use the harmonic mean of `snr` and `sdr` (`harness.metrics.harmonic_mean`), or the metric that
`by` names (`harness.results.grid.check_by`). On every track the
*oracle* chooses the separator with the best score on that same track. The *deployable* choice for a
track is made on the tracks of all other artists of the dataset, or on another dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import pandas as pd

from harness.core.errors import HarnessError
from harness.metrics import DEFAULT
from harness.results.grid import (
    HARMONIC,
    LIMIT,
    Grid,
    Leaked,
    chosen_by,
    grids,
    track_scores,
    without_leaked,
)
from harness.results.runs import COLUMNS, SELECTION_COLUMNS, table
from harness.selection.policies import NOBODY, PLACE, Policy, best_mean, held_out, place_of

ORACLE = "best_of_oracle"
DEPLOYABLE = "best_of"
KINDS = {ORACLE: "oracle", DEPLOYABLE: "ensemble"}  # which of them uses the scores of the track
Note = dict[str, str]  # dataset ("" for none) and note

_OTHER = ["metric", "chosen", "other", "differ", "n", "loss"]
_TRACK = ["dataset", "split", "track", "fed_by", "input", "stem"]
_CELL = [*_TRACK, "separator"]


def choose_oracle(candidates: pd.DataFrame) -> pd.DataFrame:
    """Choose for each track and stem the separator with the best score; ties go by name.

    `candidates` are as from `track_scores`, of separators that may be chosen. The result has the
    columns `SELECTION_COLUMNS` and split.
    """
    ordered = candidates.sort_values("separator", kind="stable")
    return ordered.loc[ordered.groupby(_TRACK)["score"].idxmax()].assign(kind="oracle")


def choose_deployable(
    candidates: pd.DataFrame, *, policy: Policy = best_mean, on: str | None = None
) -> tuple[pd.DataFrame, list[Note]]:
    """Choose for each artist's tracks on the tracks of all other artists, or on dataset `on`.

    A choice uses only tracks with scores of all candidates of a stem; see `Grid.complete`. The
    result is as from `choose_oracle`, where `score` is that of the chosen separator on the track,
    and notes on where no choice could be made, or not among all separators.
    """
    names, notes, alone = [], list[Note](), dict[tuple[str, str], list[str]]()
    for grid, other in with_choosing(grids(candidates), on):
        picked = held_out(grid, policy, other)
        place = {"split": grid.splits, "track": grid.tracks, **place_of(grid)}
        names.append(pd.DataFrame({**place, "separator": picked})[_CELL])
        if (picked == NOBODY).all() and on is None and grid.n_artists == 1:
            alone.setdefault((grid.dataset, grid.artists[0]), []).append(grid.stem)
        else:
            notes += _notes(other or grid, picked)
    of_one_artist = [
        _note(
            dataset,
            f": all tracks are by {artist or 'an unknown artist'}; no other artist's tracks can "
            f"choose for {', '.join(stems)}",
        )
        for (dataset, artist), stems in alone.items()
    ]
    keys = pd.concat(names) if names else pd.DataFrame(columns=_CELL)
    chosen = candidates.merge(keys, on=_CELL)
    return chosen.assign(kind="deployable"), of_one_artist + notes


def other_choices(
    candidates: pd.DataFrame, others: Mapping[str, pd.DataFrame], *, on: str | None = None
) -> pd.DataFrame:
    """Compare the deployable choice with those by other metrics.

    `candidates` and each of `others` ({metric: table}) are as from `candidates_of`. There is one
    row per dataset, input, fed_by, stem and other metric: chosen and other (what the default and
    the other metric choose for most tracks), differ (number of tracks with another choice) of n,
    and loss: by how much the other metric's choice lowers the mean score of `candidates` over these
    n tracks, negative if it raises it.
    """
    if candidates.empty:
        return pd.DataFrame(columns=[*PLACE, *_OTHER])
    ours, _ = choose_deployable(candidates, on=on)
    scored = candidates[[*_CELL, "score"]].rename(columns={"separator": "by", "score": "score_by"})
    rows = []
    for metric, table_by in others.items():
        theirs, _ = choose_deployable(table_by, on=on)
        both = ours.merge(theirs[_CELL].rename(columns={"separator": "by"}), on=_TRACK)
        both = both.merge(scored, on=[*_TRACK, "by"], how="left")
        limit = both.get("limit", LIMIT)
        loss = both["score"].clip(-limit, limit) - both["score_by"].clip(-limit, limit)
        differs = both["by"].astype(object) != both["separator"].astype(object)
        both = both.assign(loss=loss, differs=differs)
        for place, part in both.groupby(PLACE, sort=True, observed=True):
            rows.append(
                {
                    **dict(zip(PLACE, place, strict=True)),
                    "metric": metric,
                    "chosen": part["separator"].mode()[0],
                    "other": part["by"].mode()[0],
                    "differ": int(part["differs"].sum()),
                    "n": len(part),
                    "loss": float(part["loss"].mean()),
                }
            )
    return pd.DataFrame(rows, columns=[*PLACE, *_OTHER])


def choosing(found: Collection[Grid], on: str | None) -> dict[tuple[str, str], Grid]:
    """Return the grids of dataset `on`, by source and stem; empty if it is None."""
    if on is None:
        return {}
    if on not in (known := sorted({grid.dataset for grid in found})):
        raise HarnessError(f"choose on {on!r}: no scores of it; choose from {', '.join(known)}")
    return {(grid.source, grid.stem): grid for grid in found if grid.dataset == on}


def with_choosing(found: list[Grid], on: str | None) -> Iterator[tuple[Grid, Grid | None]]:
    """Yield the grids that can be scored, each with the grid of `on` that chooses for it."""
    others = choosing(found, on)
    for grid in found:
        other = others.get((grid.source, grid.stem))
        if grid.dataset != on and (on is None or other is not None):
            yield grid, other


def ensemble_rows(chosen: pd.DataFrame, scores: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the scores of the chosen separators as those of an ensemble `name`."""
    rows = scores.merge(chosen[_CELL], on=_CELL)
    rows["note"] = "chosen: " + rows["separator"]
    rows["separator"] = name
    order = {metric: i for i, metric in enumerate(DEFAULT)}
    return rows[list(COLUMNS)].sort_values(
        [*_TRACK, "metric"],
        key=lambda column: column.map(order) if column.name == "metric" else column,
    )


def select(
    scores: pd.DataFrame,
    separators: Collection[str],
    leaked: Leaked,
    *,
    on: str | None = None,
    by: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, list[Note]]:
    """Make both choices for every dataset and stem.

    Return them (columns `SELECTION_COLUMNS`), the scores of both as ensembles (columns `COLUMNS`),
    and notes on where no choice could be made.

    Parameters
    ----------
    separators
        Those that may be chosen: no anchors, no oracles.
    leaked
        (separator, dataset, split, track) that were trained on; they neither choose nor are chosen.
    on
        Dataset to choose on for all others; None cross-fits within each.
    by
        Metric that chooses, see `chosen_by`.
    """
    candidates = candidates_of(scores, separators, leaked, by)
    if candidates.empty:
        nothing = [_note("", "no separator has a score to choose by")]
        return table([], SELECTION_COLUMNS), table([]), nothing
    oracle = choose_oracle(candidates)
    deployable, notes = choose_deployable(candidates, on=on)
    notes = [*_metric_notes(scores[scores["separator"].isin(list(separators))], by), *notes]
    selection = pd.concat([oracle, deployable], ignore_index=True)[list(SELECTION_COLUMNS)]
    order = ["dataset", "fed_by", "input", "stem", "kind", "track"]
    rows = [
        ensemble_rows(chosen, scores, name)
        for chosen, name in ((oracle, ORACLE), (deployable, DEPLOYABLE))
    ]
    ensembles = pd.concat(rows, ignore_index=True)
    return selection.sort_values(order, ignore_index=True), ensembles, notes


def candidates_of(
    scores: pd.DataFrame, separators: Collection[str], leaked: Leaked, by: str | None = None
) -> pd.DataFrame:
    """Return the scores by which separators may be chosen: `track_scores` by `chosen_by`."""
    ours = scores[scores["separator"].isin(list(separators))]
    parts = [
        track_scores(ours[ours["dataset"] == name], metric)
        for name, metric in chosen_by(ours, by).items()
    ]
    filled = [part for part in parts if len(part)]
    found = pd.concat(filled, ignore_index=True) if filled else track_scores(ours[:0])
    return without_leaked(found, leaked)


def _note(dataset: str, rest: str) -> Note:
    """Return a note on a dataset, which begins with its name."""
    return {"dataset": dataset, "note": dataset + rest}


def _metric_notes(scores: pd.DataFrame, by: str | None) -> list[Note]:
    """Say where another metric than the harmonic mean chooses, and which separators lack it."""
    notes = []
    found = chosen_by(scores, by)
    for dataset in sorted(set(scores.loc[scores["status"] == "ok", "dataset"]) - set(found)):
        notes.append(_note(dataset, f": has no {by}; nothing is chosen"))
    for dataset, metric in found.items():
        here = scores[(scores["dataset"] == dataset) & (scores["status"] == "ok")]
        if metric not in (HARMONIC, by):
            why = f": no separator has both SNR and SDR; {metric} chooses"
            notes.append(_note(dataset, why))
        lacks = sorted(set(here["separator"]) - set(track_scores(here, metric)["separator"]))
        if lacks:
            why = f": no {metric} of {', '.join(lacks)}; they cannot be chosen"
            notes.append(_note(dataset, why))
    return notes


def _notes(grid: Grid, picked: np.ndarray) -> list[Note]:
    """Say which separators could not be chosen, or why there was no choice."""
    stem = f", {grid.stem}: "
    if (picked == NOBODY).all():
        why = "no track has a score of every separator, so none can be chosen"
        return [_note(grid.dataset, stem + why)]
    kept = grid.full_enough()
    return [
        _note(grid.dataset, f"{stem}{name} has {n} tracks, too few to be chosen")
        for name, n in grid.counts().items()
        if name not in kept
    ]
