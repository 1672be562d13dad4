"""Ways to make an ensemble of what a run knows: the weights of a stem, and what to expect of it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness import taxonomy
from harness.bands import Weight
from harness.grid import FloatArray, Grid, Names, grids, track_scores
from harness.selection.best_of import choosing
from harness.selection.blend_worth import BEATS, BLEND, blends, named_weights
from harness.selection.blending import Kept, choose_weights, products_of
from harness.selection.comparing import TOO_FEW
from harness.selection.policies import best_mean, choose_on, cross_fit
from harness.selection.resampling import in_short
from harness.selection.words import in_decibels

UNSCORED = ("median", "min_mag", "max_mag")  # of the audio, which inner products do not tell
BLENDED = ("blend", "bands")  # with weights chosen from inner products
WAYS = ("best", *BLENDED, "mean", *UNSCORED)
LEAST = 0.01  # of a blend, below which a member is not worth running

ALONE = "no blend of several seems better on these tracks; one separator is kept"
UNKNOWN = (
    "no inner products of these separators together are kept, so one of them is; run all of them "
    "into a new folder (--results) to choose a blend, with --bands to choose weights by band"
)

Place = tuple[str, str]  # input and stem
Expected = dict[str, float]  # score and, where it has an interval, low and high, in dB


def weights_of(grid: Grid, how: str, kept: Kept) -> dict[str, Weight]:
    """Return the weights of one stem, that all tracks choose; they sum to one, in every band.

    Parameters
    ----------
    grid
        Complete, with a track at least.
    how
        ``best`` takes the separator with the best mean score, ``blend`` and ``bands`` the weights
        of `choose_weights`, or the best where no inner products are kept; the other `WAYS` take all
        separators alike.
    kept
        By frequency band for ``bands``.
    """
    if how not in ("best", *BLENDED):
        return dict.fromkeys(grid.separators, 1 / len(grid.separators))
    products = products_of(grid, kept)
    if how == "best" or products.n_separators < 2 or not products.blends:
        return {str(best_mean(grid)(grid)[0]): 1.0}
    return rounded(products.grid.separators, choose_weights(products)[0])


def rounded(names: Sequence[str], weights: npt.ArrayLike) -> dict[str, Weight]:
    """Round weights to three digits, largest first, without those of less than `LEAST`.

    Parameters
    ----------
    weights
        Of one band after the other.

    Examples
    --------
    >>> rounded(["nmf", "asnet", "repet"], [0.3321, 0.6629, 0.005])
    {'asnet': 0.666, 'nmf': 0.334}
    >>> rounded(["nmf", "asnet"], [0.3321, 0.6679, 0.005, 0.995])
    {'asnet': (0.668, 1.0), 'nmf': (0.332, 0.0)}
    """
    each = np.reshape(weights, (-1, len(names))).copy()
    each[each < LEAST] = 0
    each = np.round(each / each.sum(axis=1, keepdims=True), 3)
    bands = np.arange(len(each))
    each[bands, each.argmax(axis=1)] += 1 - each.sum(axis=1)
    by_name = named_weights(names, np.round(each, 3))
    return {name: by_name[name] for name in sorted(by_name, key=lambda n: -np.mean(by_name[n]))}


def expected(
    candidates: pd.DataFrame,
    kept: Kept,
    how: str,
    on: str | None,
    wanted: Mapping[Place, Mapping[str, Weight]],
) -> tuple[dict[str, Expected], list[str]]:
    """Say what stems score on tracks that did not choose, and what to beware of.

    Parameters
    ----------
    candidates, kept, on
        As for `blends`.
    how
        One of `WAYS`; of `UNSCORED` nothing is known.
    wanted
        {(input, stem): weights} as from `weights_of`.

    Returns
    -------
    held_out
        {stem: mean harmonic mean of SNR and SDR, with its 95 % interval}: of the same way to
        choose, made on other artists' tracks or on dataset `on`.
    warnings
        Where a blend is not surely better than the best single separator, or the mean is worse.
    """
    if how in UNSCORED:
        said = f"what {how} is worth cannot be told without audio: put it into a run to see"
        return {}, [said]
    values: dict[Place, list[tuple[FloatArray, Names]]] = {}
    for place, scores, who in _held_out(candidates, kept, how, on):
        values.setdefault(place, []).append((scores, who))
    warnings: list[str] = []
    if how != "best":
        worth, rows = blends(candidates, kept, on=on)
        warnings = _warnings(worth, how, wanted, {stem for *_, stem in kept})
        blended = grids(track_scores(rows)) if how in BLENDED else []
        values |= {place: [] for place, by in wanted.items() if how in BLENDED and len(by) > 1}
        values |= {(grid.source, grid.stem): [] for grid in blended}
        for grid in blended:
            named = np.full(len(grid.tracks), BLEND, dtype=object)
            values[grid.source, grid.stem].append((grid.at(named), grid.who))
    found = {place[1]: zip(*values[place], strict=True) for place in wanted if values.get(place)}
    held_out = {stem: in_short(*map(np.concatenate, parts)) for stem, parts in found.items()}
    return {stem: known for stem, known in held_out.items() if known}, warnings


def _held_out(
    candidates: pd.DataFrame, kept: Kept, how: str, on: str | None
) -> Iterator[tuple[Place, FloatArray, Names]]:
    """Give the held-out scores and the artists of each stem: of the best, or of the plain mean."""
    found = [grid.complete() for grid in grids(candidates)]
    others = choosing(found, on)
    for grid in found:
        other, place = others.get((grid.source, grid.stem)), (grid.source, grid.stem)
        if grid.dataset == on or (on is not None and other is None) or not len(grid.tracks):
            continue
        if how == "mean":
            products = products_of(grid, kept)
            if products.blends:
                alike = np.full((1, products.n_separators), 1 / products.n_separators)
                yield place, products.scorer()(alike)[0], products.grid.who
            continue
        picked = choose_on(other, grid, best_mean) if other else cross_fit(grid, best_mean)
        yield place, grid.at(picked), grid.who


def _warnings(
    worth: pd.DataFrame,
    how: str,
    wanted: Mapping[Place, Mapping[str, Weight]],
    known: Collection[str],
) -> list[str]:
    """Say where one separator alone may do as well; stems of which the same is said together."""
    said: dict[str, list[str]] = {}
    for (_, stem), by in wanted.items():
        if how in BLENDED and len(by) == 1:
            said.setdefault(ALONE if stem in known else UNKNOWN, []).append(stem)
    for row in worth.to_dict("records"):
        by = wanted.get((row["input"], row["stem"]), {})
        if (how == "mean" or len(by) > 1) and (line := _warning(row, how)):
            said.setdefault(line, []).append(row["stem"])
    return [f"{', '.join(taxonomy.in_order(stems))}: {line}" for line, stems in said.items()]


def _warning(row: Mapping[Hashable, Any], how: str) -> str:
    """Say why one separator alone may do as well; empty where it does not."""
    where, single = f"on {row['dataset']}", row["single"]
    if how == "mean":
        mean, alone = row["uniform"], row["single_score"]
        said = f"{single} alone scores {in_decibels(alone)} dB {where}, the mean of all"
        return f"{said} {in_decibels(mean)}" if alone > mean else ""
    gain, low, high = (in_decibels(row[name]) for name in ("gain", "low", "high"))
    if row["verdict"] == TOO_FEW:
        return f"{TOO_FEW} {where} whether the blend is better than {single} alone"
    if row["verdict"] == BEATS:
        return ""
    said = f"the blend is not surely better {where} than {single} alone"
    return f"{said} ({gain} dB, {low} to {high})"
