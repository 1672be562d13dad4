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
from harness.core.audio import Float64
from harness.core.bands import Weight
from harness.core.bands import in_words as band_weights
from harness.core.text import decimals
from harness.results.grid import HARMONIC, Grid, IntArray, Names, grids, track_scores
from harness.results.runs import source_of, table
from harness.selection.best_of import with_choosing
from harness.selection.blending import Kept, Products, best_single, choose_weights, products_of
from harness.selection.comparing import TOO_FEW, compare
from harness.selection.policies import PLACE, best_mean, fold_of, held_out, place_of
from harness.selection.statistics import MIN_ARTISTS, rounded_mean

BLEND, SINGLE = "blend", "best single"
BEATS, BEATS_NOT = "beats it", "does not beat it"
OUTER_FOLDS = 10

UNSCORED = ("median", "min_mag", "max_mag")  # of audio; inner products do not determine them
BLENDED = ("blend", "bands")  # with weights chosen from inner products
WAYS = ("best", *BLENDED, "mean", *UNSCORED)  # to make an ensemble
LEAST = 0.01  # weight below which a member is not worth its cost

ALONE = "no blend is significantly better than one separator, which is saved instead"
UNKNOWN = (
    "there are no inner products of these separators together, so the best one is saved; to choose "
    "a blend, run all of them into a new folder (--results), with --bands for weights by band"
)

Place = tuple[str, str]  # source and stem
Expected = dict[str, float]  # score and, if it has an interval, low and high, in dB

_WORTH = [
    *PLACE, "edges", "n", "artists", "single", "single_score", "uniform", "score", "in_sample",
    "weights",
]  # fmt: skip
_GAIN = ["gain", "low", "high", "p", "verdict"]


def blends(
    candidates: pd.DataFrame, kept: Kept, *, metric: str = HARMONIC, on: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score blends, and the best single separator, on tracks of artists that did not choose them.

    The blend is chosen in `OUTER_FOLDS` folds of artists, and the best single separator of the stem
    with one artist left out at a time, as in `summary`. With `on`, both are chosen on that dataset.
    Candidates are without leaked tracks; inner products by band lead to weights by band.

    The first table has one row per dataset, input, fed_by and stem with inner products of two
    separators or more: edges (between bands with weights of their own, in Hz, or empty), n,
    artists, single (that all tracks choose), single_score, uniform (the plain mean of all
    separators), score (of the blend), in_sample (of the blend that all tracks choose), gain (score
    − single_score) with low and high (95 %), p (Holm), verdict, weights ({separator: weight, or one
    per band} that all tracks choose). Scores are in dB and held out, except in_sample. The second
    table has the columns `COLUMNS`: held-out scores of `BLEND` and `SINGLE` on each track, by all
    metrics.
    """
    worth, rows = [], []
    for grid, other in with_choosing(grids(candidates), on):
        row, scored = _outcome(
            products_of(grid, kept), products_of(other, kept) if other else None, metric
        )
        worth += row
        rows += scored
    scores = table(rows)
    columns = pd.DataFrame(worth, columns=_WORTH)
    if not len(scores):
        return columns.reindex(columns=[*_WORTH, *_GAIN]), scores
    gains = compare(scores, BLEND, SINGLE, metric=metric, failure=0.0).rename(
        columns={"difference": "gain"}
    )
    conditions = [gains["p"].isna(), gains["better"] == BLEND]
    gains["verdict"] = np.select(conditions, [TOO_FEW, BEATS], BEATS_NOT).astype(object)
    return columns.merge(gains[[*PLACE, *_GAIN]], on=PLACE), scores


def _outcome(
    products: Products, other: Products | None, metric: str
) -> tuple[list[dict[str, object]], list[tuple[object, ...]]]:
    """Return a row of `blends` and rows of scores; none if nothing can be chosen or blended."""
    if other is not None:
        common = [n for n in products.grid.separators if n in other.grid.separators]
        products, other = products.only(common), other.only(common)
    source = other or products  # what chooses
    if products.n_separators < 2 or not products.blends or not source.blends:
        return [], []
    counts, held = _jobs(products.grid, other, OUTER_FOLDS)
    if not counts.any(axis=1).all():
        return [], []
    counts_alone, held_alone = _jobs(products.grid, other)
    n, grid, bands = products.n_separators, products.grid, products.n_bands
    every, tracks = np.ones((1, counts.shape[1])), np.arange(len(products.blends))
    score, score_source = products.scorer(metric), source.scorer(metric)
    weights = choose_weights(source, np.vstack([counts, every]), metric=metric)
    singles = best_single(score_source, np.vstack([counts_alone, every]), n, bands)
    blended, alone = weights[held], singles[held_alone]
    row = {
        **place_of(grid),
        "edges": ", ".join(f"{edge:g}" for edge in products.blends[0].edges),
        "n": len(tracks),
        "artists": grid.n_artists,
        "single": grid.separators[int(singles[-1, :n].argmax())],
        "single_score": score(alone)[tracks, tracks].mean(),
        "uniform": score(np.full((1, bands * n), 1 / n)).mean(),
        "score": score(blended)[tracks, tracks].mean(),
        "in_sample": score_source(weights[-1:]).mean(),
        "weights": named_weights(grid.separators, weights[-1]),
    }
    return [row], [*_rows(products, blended, BLEND), *_rows(products, alone, SINGLE)]


def _jobs(grid: Grid, other: Products | None, folds: int | None = None) -> tuple[Float64, IntArray]:
    """Return which tracks make each choice, and with which choice each track is scored."""
    if other is None:
        held = fold_of(grid.clusters, folds)
        return np.array([held != fold for fold in np.unique(held)], dtype=float), held
    apart = ~np.isin(other.grid.who, grid.who)
    return apart[None].astype(float), np.zeros(len(grid.tracks), dtype=np.intp)


def _rows(products: Products, weights: Float64, name: str) -> list[tuple[object, ...]]:
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


def named_weights(separators: Sequence[str], weights: Float64) -> dict[str, Weight]:
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


def weights_of(grid: Grid, how: str, kept: Kept, metric: str = HARMONIC) -> dict[str, Weight]:
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
    return rounded(products.grid.separators, choose_weights(products, metric=metric)[0])


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
    metric: str = HARMONIC,
) -> tuple[dict[str, Expected], list[str]]:
    """Return the expected scores of an ensemble's stems, on music that did not choose it.

    They are {stem: mean of the metric that chooses, with its 95 % interval} of the same method
    (`how`, one of `WAYS`), applied to other artists' tracks or to dataset `on`. The warnings say if
    a blend is not significantly better than the best single separator, or the mean is worse, or the
    score is unknown (`UNSCORED`). `wanted` is {(source, stem): weights} as from `weights_of`.
    """
    if how in UNSCORED:
        return {}, [f"the score of {how} is unknown until the ensemble is itself run"]
    parts, warnings = list(_held_out(candidates, kept, how, on, metric)), list[str]()
    if how != "best":
        worth, rows = blends(candidates, kept, metric=metric, on=on)
        warnings = _warnings(worth, how, wanted, {stem for *_, stem in kept})
    if how in BLENDED:
        blended = [
            ((g.source, g.stem), g.scores[:, g.separators.index(BLEND)], g.who)
            for g in grids(track_scores(rows, metric))
        ]
        replaced = {place for place, by in wanted.items() if len(by) > 1}
        replaced |= {place for place, *_ in blended}
        parts = [part for part in parts if part[0] not in replaced] + blended
    known: dict[str, Expected] = {}
    for place in wanted:
        mine = [(scores, who) for at, scores, who in parts if at == place]
        if mine and (score := rounded_mean(*map(np.concatenate, zip(*mine, strict=True)))):
            known[place[1]] = score
    return known, warnings


def _held_out(
    candidates: pd.DataFrame, kept: Kept, how: str, on: str | None, metric: str
) -> Iterator[tuple[Place, Float64, Names]]:
    """Yield held-out scores and artists of each stem: of the best separator, or the plain mean."""
    for grid, other in with_choosing([grid.complete() for grid in grids(candidates)], on):
        place = grid.source, grid.stem
        if not len(grid.tracks):
            continue
        if how != "mean":
            yield place, grid.at(held_out(grid, best_mean, other)), grid.who
        elif (products := products_of(grid, kept)).blends:
            alike = np.full((1, products.n_separators), 1 / products.n_separators)
            yield place, products.scorer(metric)(alike)[0], products.grid.who


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
    where, alone = f"on {row['dataset']}", f"{row['single']} alone"
    if how == "mean":
        score, mean = row["single_score"], row["uniform"]
        text = f"{alone} scores {decimals(score)} dB {where}, the mean of all {decimals(mean)}"
        return text if score > mean else ""
    if row["verdict"] == BEATS:
        return ""
    if row["verdict"] == TOO_FEW:
        return (
            f"{where} tracks of {MIN_ARTISTS} artists are needed for an interval of the blend's "
            f"gain over {alone}; there are {row['artists']}"
        )
    gain, low, high = (decimals(row[name]) for name in ("gain", "low", "high"))
    better = f"{where} the blend is not significantly better than {alone}"
    return f"{better} ({gain} dB, {low} to {high})"
