"""Ensembles from a run: the weights of a stem, their expected score, and whether blending helps.

Expected scores are held out: tracks are scored with weights that other artists' tracks chose.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.core import taxonomy
from harness.core.bands import Weight
from harness.core.bands import in_words as band_weights
from harness.core.text import decimals
from harness.results.grid import HARMONIC, FloatArray, Grid, IntArray, Names, grids, track_scores
from harness.results.runs import source_of, table
from harness.selection.best_of import choosing
from harness.selection.blending import (
    Kept,
    Products,
    best_single,
    choose_weights,
    products_of,
)
from harness.selection.comparing import TOO_FEW, compare
from harness.selection.policies import best_mean, choose_on, cross_fit, fold_of
from harness.selection.statistics import rounded_mean

BLEND, SINGLE = "blend", "best single"
BEATS, BEATS_NOT = "beats it", "does not beat it"
OUTER_FOLDS = 10

UNSCORED = ("median", "min_mag", "max_mag")  # of audio; inner products do not determine them
BLENDED = ("blend", "bands")  # with weights chosen from inner products
WAYS = ("best", *BLENDED, "mean", *UNSCORED)  # to make an ensemble
LEAST = 0.01  # weight below which a member is not worth its cost

ALONE = "on these tracks no blend seems better than one separator, which is saved instead"
UNKNOWN = (
    "there are no inner products of these separators together, so the best one is saved; to choose "
    "a blend, run all of them into a new folder (--results), with --bands for weights by band"
)

Place = tuple[str, str]  # source and stem
Expected = dict[str, float]  # score and, if it has an interval, low and high, in dB

_WORTH = [
    "dataset", "input", "fed_by", "stem", "edges", "n", "artists", "single", "single_score",
    "uniform", "score", "in_sample", "weights",
]  # fmt: skip
_GAIN = ["gain", "low", "high", "p", "verdict"]


def blends(
    candidates: pd.DataFrame, kept: Kept, *, metric: str = HARMONIC, on: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score blends, and the best single separator, on tracks of artists that did not choose them.

    The blend is chosen in `OUTER_FOLDS` folds of artists, and the best single separator of the stem
    with one artist left out at a time, as in `summary`. With `on`, both are chosen on that dataset.

    Parameters
    ----------
    candidates
        As from `track_scores`, of separators that may be chosen, without leaked tracks.
    kept
        Inner products, with separators by name. Those by band lead to weights by band.
    on
        Choose on this dataset for all others.

    Returns
    -------
    worth
        One row per dataset, input and stem with inner products of two separators or more: edges
        (between bands with weights of their own, in Hz, or empty), n, artists, single (that all
        tracks choose), single_score, uniform (the plain mean of all separators), score (of the
        blend), in_sample (of the blend that all tracks choose), gain (score − single_score) with
        low and high (95 %), p (Holm), verdict, weights ({separator: weight, or one per band} that
        all tracks choose). In dB and held out, except in_sample.
    rows
        Columns `COLUMNS`: held-out scores of `BLEND` and `SINGLE` on each track, by all metrics.
    """
    worth, rows = [], []
    for grid, other in _with_choosing(grids(candidates), on):
        products = products_of(grid, kept)
        apart = products_of(other, kept) if other is not None else None
        outcome = _outcome(products, apart, metric)
        if outcome:
            worth.append(outcome[0])
            rows += outcome[1]
    scores = table(rows)
    columns = pd.DataFrame(worth, columns=_WORTH)
    if not len(scores):
        return columns.reindex(columns=[*_WORTH, *_GAIN]), scores
    gains = compare(scores, BLEND, SINGLE, metric=metric, failure=0.0).rename(
        columns={"difference": "gain"}
    )
    conditions = [gains["p"].isna(), gains["better"] == BLEND]
    gains["verdict"] = np.select(conditions, [TOO_FEW, BEATS], BEATS_NOT).astype(object)
    key = ["dataset", "input", "fed_by", "stem"]
    return columns.merge(gains[[*key, *_GAIN]], on=key), scores


def _with_choosing(found: list[Grid], on: str | None) -> Iterator[tuple[Grid, Grid | None]]:
    """Yield the grids that can be scored, each with the grid of `on` that chooses for it."""
    others = choosing(found, on)
    for grid in found:
        other = others.get((grid.source, grid.stem))
        if grid.dataset != on and (on is None or other is not None):
            yield grid, other


def _outcome(
    products: Products, other: Products | None, metric: str
) -> tuple[tuple[object, ...], list[tuple[object, ...]]] | None:
    """Return a row of `blends` and rows of scores; None if nothing can be chosen or blended."""
    if other is not None:
        common = [n for n in products.grid.separators if n in other.grid.separators]
        products, other = products.only(common), other.only(common)
    source = other or products  # what chooses
    if products.n_separators < 2 or not products.blends or not source.blends:
        return None
    counts, held = _jobs(products.grid, other.grid if other else None, OUTER_FOLDS)
    if not counts.any(axis=1).all():
        return None
    counts_alone, held_alone = _jobs(products.grid, other.grid if other else None)
    n, grid, tracks = products.n_separators, products.grid, np.arange(len(products.blends))
    bands = products.n_bands
    every, score = np.ones((1, counts.shape[1])), products.scorer(metric)
    score_source = source.scorer(metric)
    weights = choose_weights(source, np.vstack([counts, every]), metric=metric)
    singles = best_single(score_source, np.vstack([counts_alone, every]), n, bands)
    blended, alone = weights[held], singles[held_alone]
    row = (
        grid.dataset,
        grid.input,
        grid.fed_by,
        grid.stem,
        ", ".join(f"{edge:g}" for edge in products.blends[0].edges),
        len(tracks),
        grid.n_artists,
        grid.separators[int(singles[-1, :n].argmax())],
        score(alone)[tracks, tracks].mean(),
        score(np.full((1, bands * n), 1 / n)).mean(),
        score(blended)[tracks, tracks].mean(),
        score_source(weights[-1:]).mean(),
        named_weights(grid.separators, weights[-1]),
    )
    return row, [*_rows(products, blended, BLEND), *_rows(products, alone, SINGLE)]


def _jobs(grid: Grid, other: Grid | None, folds: int | None = None) -> tuple[FloatArray, IntArray]:
    """Return which tracks make each choice, and with which choice each track is scored."""
    if other is None:
        held = fold_of(grid.clusters, folds)
        return np.array([held != fold for fold in np.unique(held)], dtype=float), held
    apart = ~np.isin(other.who, grid.who)
    return apart[None].astype(float), np.zeros(len(grid.tracks), dtype=np.intp)


def _rows(products: Products, weights: FloatArray, name: str) -> list[tuple[object, ...]]:
    """Return the scores of each track's blend, by all metrics, as rows of scores."""
    grid, found = products.grid, list[tuple[object, ...]]()
    for i, (blend, w) in enumerate(zip(products.blends, weights, strict=True)):
        place = ("", grid.dataset, grid.splits[i], grid.tracks[i], grid.artists[i], grid.genres[i])
        note = in_words(named_weights(grid.separators, w))
        for metric, values in blend.scores(w[None]).items():
            found.append(
                (*place, name, grid.input, grid.fed_by, grid.stem, metric, values[0], "ok", note)
            )
    return found


def in_words(weights: Mapping[str, Weight]) -> str:
    """Write weights, the largest first; those by band from the lowest to the highest band.

    Examples
    --------
    >>> in_words({"nmf": 0.25, "htdemucs": 0.75, "repet": 0.0})
    '0.75 htdemucs + 0.25 nmf'
    >>> in_words({"nmf": (0.5, 0.0), "htdemucs": (0.5, 1.0)})
    '0.50/1.00 htdemucs + 0.50/0.00 nmf'
    """
    ordered = sorted(weights.items(), key=lambda item: -float(np.mean(item[1])))
    return " + ".join(
        f"{band_weights(weight, '.2f')} {name}"
        for name, weight in ordered
        if np.max(weight) >= 0.005
    )


def named_weights(separators: Sequence[str], weights: FloatArray) -> dict[str, Weight]:
    """Return a row of weights as {separator: weight, or one per band}, without zero ones.

    Examples
    --------
    >>> named_weights(["a", "b"], np.array([1.0, 0.0, 0.25, 0.75]))
    {'a': (1.0, 0.25), 'b': (0.0, 0.75)}
    """
    by_name = np.reshape(weights, (-1, len(separators))).T.tolist()
    return {
        name: tuple(by) if len(by) > 1 else by[0]
        for name, by in zip(separators, by_name, strict=True)
        if any(by)
    }


def weights_of(grid: Grid, how: str, kept: Kept) -> dict[str, Weight]:
    """Return the weights of one stem that all tracks choose; in every band they sum to one.

    The grid is complete, with at least one track. Of the `WAYS`, ``best`` is the separator with the
    best mean score. ``blend`` and ``bands``, which needs products by band, use `choose_weights`, or
    ``best`` without inner products. The others weight all separators equally.
    """
    if how not in ("best", *BLENDED):
        return dict.fromkeys(grid.separators, 1 / len(grid.separators))
    products = products_of(grid, kept)
    if how == "best" or products.n_separators < 2 or not products.blends:
        return {str(best_mean(grid)(grid)[0]): 1.0}
    return rounded(products.grid.separators, choose_weights(products)[0])


def rounded(names: Sequence[str], weights: npt.ArrayLike) -> dict[str, Weight]:
    """Round weights, of one band after another, to three digits; leave out those below `LEAST`.

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
    """Return the expected scores of an ensemble's stems, on music that did not choose it.

    Parameters
    ----------
    candidates, kept, on
        As for `blends`.
    how
        One of `WAYS`; of `UNSCORED` nothing is known.
    wanted
        {(source, stem): weights} as from `weights_of`.

    Returns
    -------
    held_out
        {stem: mean harmonic mean of SNR and SDR, with its 95 % interval} of the same method,
        applied to other artists' tracks or to dataset `on`.
    warnings
        If a blend is not significantly better than the best single separator, or the mean is worse.
    """
    if how in UNSCORED:
        return {}, [f"the score of {how} is unknown until the ensemble is itself run"]
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
    held_out = {stem: rounded_mean(*map(np.concatenate, parts)) for stem, parts in found.items()}
    return {stem: known for stem, known in held_out.items() if known}, warnings


def _held_out(
    candidates: pd.DataFrame, kept: Kept, how: str, on: str | None
) -> Iterator[tuple[Place, FloatArray, Names]]:
    """Yield held-out scores and artists of each stem: of the best separator, or the plain mean."""
    for grid, other in _with_choosing([grid.complete() for grid in grids(candidates)], on):
        place = grid.source, grid.stem
        if not len(grid.tracks):
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
    """Say where one separator alone may be as good; stems with the same warning share a line."""
    found: dict[str, list[str]] = {}
    for (_, stem), by in wanted.items():
        if how in BLENDED and len(by) == 1:
            found.setdefault(ALONE if stem in known else UNKNOWN, []).append(stem)
    for row in worth.to_dict("records"):
        by = wanted.get((source_of(row["input"], row["fed_by"]), row["stem"]), {})
        if (how == "mean" or len(by) > 1) and (line := _warning(row, how)):
            found.setdefault(line, []).append(row["stem"])
    return [f"{', '.join(taxonomy.in_order(stems))}: {line}" for line, stems in found.items()]


def _warning(row: Mapping[Hashable, Any], how: str) -> str:
    """Say why one separator alone may be as good; empty if it is not."""
    where, single = f"on {row['dataset']}", row["single"]
    if how == "mean":
        mean, alone = decimals(row["uniform"]), decimals(row["single_score"])
        better = row["single_score"] > row["uniform"]
        return f"{single} alone scores {alone} dB {where}, the mean of all {mean}" if better else ""
    gain, low, high = (decimals(row[name]) for name in ("gain", "low", "high"))
    if row["verdict"] == TOO_FEW:
        return f"{TOO_FEW} {where} whether the blend is better than {single} alone"
    if row["verdict"] == BEATS:
        return ""
    difference = f"({gain} dB, {low} to {high})"
    return f"{where} the blend is not significantly better than {single} alone {difference}"
