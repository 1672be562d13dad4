"""Summaries of a run besides its ranking: choices, costs, failures, cascades."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from harness.core.taxonomy import REFERENCE
from harness.results.grid import CELL, HARMONIC, LIMIT, add_harmonic


def hierarchy(scores: pd.DataFrame) -> pd.DataFrame:
    """Compare separators which were given the true stem, and another separator's estimate of it.

    Columns dataset, input, fed_by (of the cascade), stem, separator, n (tracks that have both),
    reference and cascade (means on these of the harmonic mean of SNR and SDR, in dB, each score
    limited to ±`LIMIT`) and difference (cascade minus reference).
    """
    below = add_harmonic(scores[scores["fed_by"] != ""])
    rows = below[(below["metric"] == HARMONIC) & below["value"].notna() & (below["status"] == "ok")]
    rows = rows.assign(value=np.clip(rows["value"].to_numpy(float), -LIMIT, LIMIT))
    keys = [name for name in CELL if name != "fed_by"]
    true = rows["fed_by"] == REFERENCE
    own = rows[true].rename(columns={"value": "reference"})
    fed = rows[~true].rename(columns={"value": "cascade"})
    groups = fed.merge(own[[*keys, "reference"]], on=keys).groupby(
        ["dataset", "input", "fed_by", "stem", "separator"]
    )
    means = groups[["reference", "cascade"]].mean()
    difference = means["cascade"] - means["reference"]
    return means.assign(difference=difference, n=groups.size()).reset_index()


def selection_counts(selection: pd.DataFrame, by: Collection[str] = ()) -> pd.DataFrame:
    """Count how often each separator was chosen, per dataset, stem, kind and the columns `by`."""
    keys = ["dataset", "stem", *by, "separator", "kind"]
    if selection.empty:
        return pd.DataFrame(columns=[*keys[:-1], "oracle", "deployable"])
    counts = selection.groupby(keys, sort=True, observed=True).size().unstack("kind", fill_value=0)
    return counts.reindex(columns=["oracle", "deployable"], fill_value=0).reset_index()


def costs(table: pd.DataFrame) -> pd.DataFrame:
    """Return the median cost of a track per source and separator; for memory the largest."""
    ok = table[(table["status"] == "ok") & table["value"].notna()]
    keys = ["dataset", "input", "fed_by", "separator", "metric"]
    wide = ok.groupby(keys, sort=True, observed=True)["value"].agg(["median", "max"]).reset_index()
    wide["value"] = wide["median"].where(wide["metric"] != "peak_memory", wide["max"])
    return wide[[*keys, "value"]]


def failures(scores: pd.DataFrame) -> pd.DataFrame:
    """Count failed tracks per source, separator and reason (note): columns n and tracks."""
    keys = ["dataset", "input", "fed_by", "separator", "note"]
    failed = scores[scores["status"] == "failed"].drop_duplicates([*keys, "split", "track"])
    grouped = failed.groupby(keys, sort=True, observed=True)["track"]
    return grouped.agg(n="size", tracks=sorted).reset_index()
