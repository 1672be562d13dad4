"""What a blend is worth on other artists' music, and whether it beats the best single separator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from harness.bands import Weight
from harness.bands import in_words as words_of
from harness.grid import HARMONIC, FloatArray, Grid, IntArray, grids
from harness.results import table
from harness.selection.best_of import choosing
from harness.selection.blending import (
    Kept,
    Products,
    best_single,
    choose_weights,
    products_of,
)
from harness.selection.comparing import TOO_FEW, compare
from harness.selection.policies import fold_of
from harness.selection.words import Board, boards

BLEND, SINGLE = "blend", "best single"
BEATS, BEATS_NOT = "beats it", "does not beat it"
OUTER_FOLDS = 10


def blends(
    candidates: pd.DataFrame, kept: Kept, *, metric: str = HARMONIC, on: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Say what a blend is worth on tracks of artists that did not choose it.

    Both are chosen on tracks of other artists: the blend in `OUTER_FOLDS` folds, the best single
    separator of the stem with one artist left out at a time, as in `summary`; or on another
    dataset.

    Parameters
    ----------
    candidates
        As from `track_scores`, of separators that may be chosen; tracks seen in training left out.
    kept
        Inner products, with separators by name; those by band give weights by band.
    on
        Choose on this dataset for all others.

    Returns
    -------
    worth
        One row a dataset, input and stem with inner products of two separators or more: edges
        (between bands that have weights of their own, in Hz, or none), n, artists, single (that all
        tracks choose) and single_score, uniform (the plain mean of all
        separators), score (of the blend), in_sample (of the blend that all tracks choose), gain
        (score − single_score) with low and high (95 %), p (Holm), verdict, weights ({separator:
        weight, or one a band} that all tracks choose). In dB, held out but for in_sample.
    rows
        Columns `COLUMNS`: what `BLEND` and `SINGLE` score on each track, by all metrics, held out.
    """
    found = grids(candidates)
    others = choosing(found, on)
    worth, rows = [], []
    for grid in found:
        other = others.get((grid.source, grid.stem))
        if grid.dataset == on or (on is not None and other is None):
            continue
        products = products_of(grid, kept)
        apart = products_of(other, kept) if other is not None else None
        outcome = _outcome(products, apart, metric)
        if outcome:
            worth.append(outcome[0])
            rows += outcome[1]
    scores = table(rows)
    columns = pd.DataFrame(worth, columns=[*_WORTH])
    if not len(scores):
        return columns.reindex(columns=[*_WORTH, *_GAIN]), scores
    gains = compare(scores, BLEND, SINGLE, metric=metric).rename(columns={"difference": "gain"})
    gains["verdict"] = [
        TOO_FEW if verdict == TOO_FEW else BEATS if verdict.startswith(BLEND) else BEATS_NOT
        for verdict in gains["verdict"]
    ]
    key = ["dataset", "input", "stem"]
    return columns.merge(gains[[*key, *_GAIN]], on=key), scores


_WORTH = (
    "dataset", "input", "stem", "edges", "n", "artists", "single", "single_score", "uniform",
    "score", "in_sample", "weights",
)  # fmt: skip
_GAIN = ("gain", "low", "high", "p", "verdict")


def in_words(weights: Mapping[str, Weight]) -> str:
    """Write weights, the largest first; those by band from the lowest to the highest.

    Examples
    --------
    >>> in_words({"nmf": 0.25, "htdemucs": 0.75, "repet": 0.0})
    '0.75 htdemucs + 0.25 nmf'
    >>> in_words({"nmf": (0.5, 0.0), "htdemucs": (0.5, 1.0)})
    '0.50/1.00 htdemucs + 0.50/0.00 nmf'
    """
    ordered = sorted(weights.items(), key=lambda item: -float(np.mean(item[1])))
    return " + ".join(
        f"{words_of(weight, '.2f')} {name}" for name, weight in ordered if np.max(weight) >= 0.005
    )


def named_weights(separators: Sequence[str], weights: FloatArray) -> dict[str, Weight]:
    """Return a row of weights as {separator: weight, or one a band}, without those that are zero.

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


def blend_boards(worth: pd.DataFrame) -> list[Board]:
    """Lay `blends` out for a terminal: what they are worth, and the weights."""
    words = worth.assign(weights=worth["weights"].map(in_words))
    if not words["edges"].any():
        words = words.drop(columns="edges")
    place = [name for name in ("dataset", "input", "stem", "edges") if name in words]
    shown = words.drop(columns=["weights", "in_sample", "p"])
    return [
        *boards(shown, "blends against the best single separator, dB"),
        *boards(words[[*place, "weights"]], "weights that all tracks choose"),
    ]


def _outcome(
    products: Products, other: Products | None, metric: str
) -> tuple[tuple[object, ...], list[tuple[object, ...]]] | None:
    """Return a row of `blends` and rows of scores; None where nothing can be chosen or blended."""
    if other is not None:
        common = [n for n in products.grid.separators if n in other.grid.separators]
        products, other = products.only(common), other.only(common)
    choosing = other or products
    if products.n_separators < 2 or not products.blends or not choosing.blends:
        return None
    counts, held = _jobs(products.grid, other.grid if other else None, OUTER_FOLDS)
    if not counts.any(axis=1).all():
        return None
    counts_alone, held_alone = _jobs(products.grid, other.grid if other else None)
    n, grid, tracks = products.n_separators, products.grid, np.arange(len(products.blends))
    bands = products.n_bands
    every, score = np.ones((1, counts.shape[1])), products.scorer(metric)
    score_choosing = choosing.scorer(metric)
    weights = choose_weights(choosing, np.vstack([counts, every]), metric=metric)
    singles = best_single(score_choosing, np.vstack([counts_alone, every]), n, bands)
    blended, alone = weights[held], singles[held_alone]
    row = (
        grid.dataset,
        grid.source,
        grid.stem,
        ", ".join(f"{edge:g}" for edge in products.blends[0].edges),
        len(tracks),
        grid.n_artists,
        grid.separators[int(singles[-1, :n].argmax())],
        score(alone)[tracks, tracks].mean(),
        score(np.full((1, bands * n), 1 / n)).mean(),
        score(blended)[tracks, tracks].mean(),
        score_choosing(weights[-1:]).mean(),
        named_weights(grid.separators, weights[-1]),
    )
    return row, [*_rows(products, blended, BLEND), *_rows(products, alone, SINGLE)]


def _jobs(grid: Grid, other: Grid | None, folds: int | None = None) -> tuple[FloatArray, IntArray]:
    """Return which tracks choose in each choice, and which choice each track is scored with."""
    if other is None:
        held = fold_of(grid.clusters, folds)
        return np.array([held != fold for fold in np.unique(held)], dtype=float), held
    apart = ~np.isin(other.who, grid.who)
    return apart[None].astype(float), np.zeros(len(grid.tracks), dtype=np.intp)


def _rows(products: Products, weights: FloatArray, name: str) -> list[tuple[object, ...]]:
    """Return what each track's blend scores, by all metrics, as rows of scores."""
    grid, found = products.grid, list[tuple[object, ...]]()
    for i, (blend, w) in enumerate(zip(products.blends, weights, strict=True)):
        place = ("", grid.dataset, grid.splits[i], grid.tracks[i], grid.artists[i], grid.genres[i])
        note = in_words(named_weights(grid.separators, w))
        for metric, values in blend.scores(w[None]).items():
            found.append((*place, name, grid.source, grid.stem, metric, values[0], "ok", note))
    return found
