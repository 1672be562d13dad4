"""The stem tree from the mixture down: who is best at each node, and what bleed does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from harness.core import text
from harness.core.taxonomy import STEMS, TREE
from harness.core.text import Json
from harness.report import names
from harness.report.page.cells import PLACES
from harness.report.page.means import best_row
from harness.results import summaries
from harness.results.runs import sources

_SOURCES = {"mixture": "mixture", "reference": "reference:", "cascade": "cascade:"}
_SHOWN = [PLACES.index(name) for name in ("mean", "low", "high", "n")]


def tree(
    dataset: Mapping[str, Any], scores: pd.DataFrame, bleeding: Iterable[Mapping[str, str]] = ()
) -> list[Json]:
    """Return the nodes of a dataset's stem tree, parents before children.

    Parameters
    ----------
    dataset
        As from `harness.report.page.payload.build`.
    scores
        Of this dataset, as a run has them.
    bleeding
        {split, track, stem} of the references that hold bleed.

    Returns
    -------
    list of dict
        stem, depth; for each way to feed a separator (``mixture``, ``reference``, ``cascade``)
        None or separator, fed, mean, low, high, n of the best; and ``bleed``, None or what `_bleed`
        returns of the best separator of the first of these.
    """
    nodes, scores = [], scores.assign(input=sources(scores))
    with_bleed = {(row["stem"], row["split"], row["track"]) for row in bleeding}
    have = {stem for stem in dataset["stems"] if not names.is_overall(stem)}
    for stem, depth in _walk("mixture", have):
        best = {name: best_row(dataset, stem, source) for name, source in _SOURCES.items()}
        first = next((row for row in best.values() if row is not None), None)
        about = dataset["rows"][first] if first is not None else None
        node = {name: _best(dataset, stem, row) for name, row in best.items()}
        bleed = _bleed(scores, stem, about, with_bleed) if about else None
        nodes.append({"stem": stem, "depth": depth, **node, "bleed": bleed})
    return nodes


def _walk(node: str, have: set[str], depth: int = 0) -> Iterator[tuple[str, int]]:
    """Give the stems that are there, each below the nearest one that holds it; then the others."""
    for child in TREE.get(node, ()):
        if child in have:
            yield child, depth
        yield from _walk(child, have, depth + (child in have))
    if node == "mixture":
        yield from ((stem, 0) for stem in sorted(have - set(STEMS)))


def _best(dataset: Mapping[str, Any], stem: str, row: int | None) -> Json | None:
    """Return who a row is and what it scores."""
    if row is None:
        return None
    metric = next(iter(dataset["summary"]))
    cell = dataset["summary"][metric][stem]["cells"][row]
    mean, low, high, n = (cell[place] for place in _SHOWN)
    about = dataset["rows"][row]
    named = {"separator": about["separator"], "fed": about["fed"]}
    return {**named, "mean": mean, "low": low, "high": high, "n": n}


def _bleed(
    scores: pd.DataFrame,
    stem: str,
    row: Mapping[str, Any],
    with_bleed: Collection[tuple[str, str, str]],
) -> Json | None:
    """Return the mean of |SNR − SDR| and how many tracks, with bleed and without; None without any.

    After the ensemble paper, section 6.4: bleed in the reference parts the two.
    """
    mine = scores[
        (scores["separator"] == row["separator"])
        & (scores["input"] == row["input"])
        & (scores["stem"] == stem)
        & (scores["status"] == "ok")
    ]
    wide = mine[mine["metric"].isin(["snr", "sdr"])].pivot(
        index=["split", "track"], columns="metric", values="value"
    )
    if not {"snr", "sdr"} <= set(wide):
        return None
    apart = (wide["snr"] - wide["sdr"]).abs().dropna()
    bleeds = np.array([(stem, *place) in with_bleed for place in apart.index], dtype=bool)
    if not bleeds.any():
        return None
    parts = {"with": apart[bleeds], "without": apart[~bleeds]}
    return {name: [text.encode(part.mean()), len(part)] for name, part in parts.items()}


def fed_apart(scores: pd.DataFrame) -> dict[str, list[Json]]:
    """Return per dataset what separators of a stem score with the true one and in cascade."""
    found: dict[str, list[Json]] = {}
    table = summaries.hierarchy(scores)
    for row in table.assign(input=sources(table)).to_dict("records"):
        found.setdefault(str(row["dataset"]), []).append(
            {str(name): text.encode(x) if isinstance(x, float) else x for name, x in row.items()}
        )
    return {
        dataset: sorted(rows, key=lambda row: (row["input"], names.stem_rank(row["stem"])))
        for dataset, rows in found.items()
    }
