"""The stem tree from the mixture down: who is best at each node, and what bleed does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from harness.core import text
from harness.core.taxonomy import STEMS, TREE
from harness.core.text import Json
from harness.report import names
from harness.report.computed import Rows, by_dataset
from harness.report.page.means import best_row
from harness.results import summaries
from harness.results.runs import sources

_KINDS = ("mixture", "reference", "cascade")  # of inputs


def tree(
    dataset: Json, scores: pd.DataFrame, bleeding: Iterable[Mapping[str, str]] = ()
) -> list[Json]:
    """Return the nodes of a dataset's stem tree, parents before children.

    `dataset` is as from `harness.report.page.payload.build`, `scores` are its rows as a run has
    them, `bleeding` {split, track, stem} of the references that hold bleed. A node has stem, depth,
    None or the best row and its cell for each kind of input, and ``bleed``, None or what `_bleed`
    returns of the best row of the first of these.
    """
    nodes = []
    with_bleed = {(row["stem"], row["split"], row["track"]) for row in bleeding}
    have = {stem for stem in dataset["stems"] if not names.is_overall(stem)}
    for stem, depth in _walk("mixture", have):
        best = {kind: _best(dataset, stem, kind) for kind in _KINDS}
        first = next(filter(None, best.values()), None)
        bleed = _bleed(scores, stem, first, with_bleed) if first else None
        nodes.append({"stem": stem, "depth": depth, **best, "bleed": bleed})
    return nodes


def _walk(node: str, have: set[str], depth: int = 0) -> Iterator[tuple[str, int]]:
    """Give the stems that are there, each below the nearest one that holds it; then the others."""
    for child in TREE.get(node, ()):
        if child in have:
            yield child, depth
        yield from _walk(child, have, depth + (child in have))
    if node == "mixture":
        yield from ((stem, 0) for stem in sorted(have - set(STEMS)))


def _best(dataset: Json, stem: str, kind: str) -> Json | None:
    """Return the best row of a stem and kind of input together with its cell."""
    row = best_row(dataset, stem, kind)
    if row is None:
        return None
    cell = next(iter(dataset["summary"].values()))[stem]["cells"][row]
    return {**dataset["rows"][row], **cell._asdict()}


def _bleed(
    scores: pd.DataFrame, stem: str, row: Json, with_bleed: Collection[tuple[str, str, str]]
) -> Json | None:
    """Return the mean of |SNR − SDR| and how many tracks, with bleed and without; None without any.

    After the ensemble paper, section 6.4: bleed in the reference makes the two differ.
    """
    mine = scores[
        (scores["separator"] == row["separator"])
        & (sources(scores) == row["input"])
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


def fed_apart(scores: pd.DataFrame) -> Rows:
    """Return per dataset what separators of a stem score with the true one and in cascade."""
    return by_dataset(
        summaries.hierarchy(scores), lambda row: (row["input"], names.stem_rank(row["stem"]))
    )
