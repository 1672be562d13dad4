"""Which metrics agree with listeners: rank correlations, and pairs of estimates of one song.

An item is a separator's estimate of one stem of one song, with the listeners' mean rating. Items of
a song are not independent, so that songs are drawn for the intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.core.audio import Float64
from harness.results.grid import BoolArray, IntArray
from harness.results.importing.listening_tests import RATING, ListeningTest
from harness.selection.statistics import draw, percentile_ends

_CHUNK = 500  # resamples at a time, which stay in the cache of a core

ORDINARY, GENERATIVE, BOTH, ACROSS = "ordinary", "generative", "both", "across"
GROUPS = {
    ORDINARY: "ordinary separators",
    GENERATIVE: "generative separators",
    BOTH: "ordinary and generative separators together",
    ACROSS: "an ordinary against a generative separator",  # pairs only
}
_COLUMNS = [
    "test", "stem", "group", "metric", "better", "n", "songs", "spearman", "spearman_low",
    "spearman_high", "pairs", "in_order", "in_order_low", "in_order_high",
]  # fmt: skip


def agreement(test: ListeningTest) -> pd.DataFrame:
    """Compare every metric of a listening test with the ratings, per stem and kind of separators.

    There is one row per stem, group (a key of `GROUPS`, where it has items) and metric, the one
    that agrees best first: better (``higher`` or ``lower``), n (items), songs, spearman (rank
    correlation with the ratings, 1 if the metric orders all items as listeners do, also where lower
    is better), pairs (of estimates of one song that listeners rate differently), in_order (share of
    these pairs that the metric orders as listeners do; equal values are not in order). Both have
    the ends of their 95 % interval, NaN with fewer than 6 songs. Items without a value of a metric
    do not count for it.
    """
    rows = []
    for stem, items in test.table.groupby("stem", sort=True):
        for group in GROUPS:
            for metric in test.metrics:
                have = items[items[metric].notna()]
                sign = -1.0 if metric in test.lower else 1.0
                if found := _row(have, sign * have[metric].to_numpy(float), group):
                    better = "lower" if metric in test.lower else "higher"
                    named = {"test": test.name, "stem": stem, "group": group, "metric": metric}
                    rows.append({**named, "better": better, **found})
    table = pd.DataFrame(rows, columns=_COLUMNS)
    place = {group: i for i, group in enumerate(GROUPS)}
    order = table["group"].map(place), table[["spearman", "in_order"]].mean(axis=1)
    table = table.assign(_group=order[0], _score=order[1]).sort_values(
        ["stem", "_group", "_score"], ascending=[True, True, False], kind="stable"
    )
    return table[_COLUMNS].reset_index(drop=True)


def _row(items: pd.DataFrame, values: Float64, group: str) -> dict[str, object]:
    """Return what `agreement` says of one metric and group; empty if there is nothing to say."""
    generative = items["generative"].to_numpy(bool)
    if group in (ORDINARY, GENERATIVE):
        kept = generative == (group == GENERATIVE)
        items, values, generative = items[kept], values[kept], generative[kept]
    elif generative.all() or not generative.any():
        return {}
    if not len(values):
        return {}
    ratings = items[RATING].to_numpy(float)
    songs = np.unique(items["song"].to_numpy(object), return_inverse=True)[1].astype(np.intp)
    pairs, right = _pairs(ratings, values, songs, generative if group == ACROSS else None)
    if not pairs.sum():
        return {}
    spearman = np.full(3, np.nan)
    if group != ACROSS:
        spearman = _with_ends(partial(_spearman, values, ratings, songs), len(pairs))
    in_order = _with_ends(partial(_share, right, pairs), len(pairs))
    ends = ("", "_low", "_high")
    return {
        "n": len(values),
        "songs": len(pairs),
        "pairs": int(pairs.sum()),
        **{f"spearman{end}": float(x) for end, x in zip(ends, spearman, strict=True)},
        **{f"in_order{end}": float(x) for end, x in zip(ends, in_order, strict=True)},
    }


def _with_ends(of: Callable[[Float64], Float64], n_songs: int) -> Float64:
    """Return a statistic of all songs, and the ends of its interval, shape (3,).

    `of` takes how often each song was drawn, shape (resamples, songs).
    """
    value = float(of(np.ones((1, n_songs)))[0])
    return np.array([value, *percentile_ends(of(draw(n_songs)), n_songs, value)])


def _share(right: Float64, pairs: Float64, drawn: Float64) -> Float64:
    """Return the share of pairs that are in order; both are numbers per song."""
    counted = drawn @ pairs
    empty = np.full(len(drawn), np.nan)
    return np.asarray(np.divide(drawn @ right, counted, out=empty, where=counted > 0))


def _pairs(
    ratings: Float64, values: Float64, songs: IntArray, generative: BoolArray | None
) -> tuple[Float64, Float64]:
    """Return per song the number of pairs that listeners order, and of those in their order.

    With `generative` only pairs of which one is generative count.
    """
    first, second = np.triu_indices(len(songs), 1)
    wanted = (songs[first] == songs[second]) & (ratings[first] != ratings[second])
    if generative is not None:
        wanted &= generative[first] != generative[second]
    first, second = first[wanted], second[wanted]
    above, rated = values[first] > values[second], ratings[first] > ratings[second]
    right = (above == rated) & (values[first] != values[second])
    song, n = songs[first], int(songs.max()) + 1
    counted = np.bincount(song, minlength=n).astype(np.float64)
    return counted, np.bincount(song, right, n).astype(np.float64)


def _spearman(values: Float64, ratings: Float64, songs: IntArray, drawn: Float64) -> Float64:
    """Return Spearman's correlation in each resample; NaN where either side is constant.

    A rank in a resample is a sum over the drawn songs, so that all ranks are a matrix product.
    """
    below = [_below(side, songs, drawn.shape[1]) for side in (values, ratings)]
    found = []
    for part in np.array_split(drawn.astype(np.float32), max(1, len(drawn) // _CHUNK)):
        weights = part[:, songs]
        middle = weights.sum(axis=1, keepdims=True) / 2
        a, b = (part @ side - middle for side in below)
        weighted = weights * a
        size = np.sqrt((weighted * a).sum(axis=1) * (weights * b * b).sum(axis=1))
        product = (weighted * b).sum(axis=1)
        found.append(np.divide(product, size, out=np.full_like(size, np.nan), where=size > 0))
    return np.concatenate(found).astype(float)


def _below(values: Float64, songs: IntArray, n_songs: int) -> npt.NDArray[np.float32]:
    """Return how many items of each song are below each item, equal ones as a half.

    The result has shape (songs, items).
    """
    less = (values[:, None] < values) + (values[:, None] == values) / 2
    counts = np.zeros((n_songs, len(values)), dtype=np.float32)
    np.add.at(counts, songs, less.astype(np.float32))
    return counts
