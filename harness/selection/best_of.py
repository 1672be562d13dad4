"""Best separator per stem, twice: with the answers (an upper bound) and without (deployable).

Both use the harmonic mean of `snr` and `sdr` (`harness.metrics.harmonic_mean`). The *oracle* takes,
on every track, the separator with the best score on that very track, as the ensemble paper does.
The *deployable* choice for a track is made on the tracks of all other artists of the dataset.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from harness.metrics import DEFAULT, harmonic_mean
from harness.results import COLUMNS, SELECTION_COLUMNS, table

ORACLE = "best_of_oracle"
DEPLOYABLE = "best_of"
LIMIT = 100.0  # dB; a perfect (or silent) estimate counts as this in a mean, not as infinity

TRACK = ["dataset", "split", "track", "artist", "genre"]


def harmonic_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row a (track, separator, stem) with `score`, the harmonic mean in dB.

    Parameters
    ----------
    scores
        Columns `harness.results.COLUMNS`; rows that are not ok are left out.
    """
    rows = scores[(scores["status"] == "ok") & scores["metric"].isin(["snr", "sdr"])]
    index = [*TRACK, "separator", "input", "stem"]
    wide = rows.pivot(index=index, columns="metric", values="value").reset_index()
    if not {"snr", "sdr"} <= set(wide.columns):
        return pd.DataFrame(columns=[*index, "score"])
    wide["score"] = harmonic_mean(wide["snr"].to_numpy(), wide["sdr"].to_numpy())
    return wide.dropna(subset=["score"])[[*index, "score"]]


def choose_oracle(candidates: pd.DataFrame) -> pd.DataFrame:
    """Choose on each track and stem the separator with the best score there.

    Parameters
    ----------
    candidates
        As from `harmonic_scores`, of separators that may be chosen.

    Returns
    -------
    DataFrame
        Columns `SELECTION_COLUMNS` and split; of equals the first by name is taken.
    """
    ordered = candidates.sort_values("separator", kind="stable")
    best = ordered.loc[ordered.groupby(["dataset", "split", "track", "stem"])["score"].idxmax()]
    return best.assign(kind="oracle")


def choose_deployable(candidates: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Choose for each artist's tracks the separator that is best, on average, on all others'.

    Only tracks that all candidates of a stem were scored on take part in an average.

    Returns
    -------
    chosen
        As from `choose_oracle`; `score` is what the chosen separator reached on the track.
    notes
        Where no choice could be made, and why.
    """
    chosen = [candidates.head(0)]
    impossible: dict[str, list[str]] = {}
    for (dataset, stem), rows in candidates.groupby(["dataset", "stem"], sort=True):
        artists = sorted(rows["artist"].unique())
        if len(artists) > 1:
            chosen += [_choose_for(artist, rows) for artist in artists]
        else:
            where = f"{dataset}: all tracks are by {artists[0]}"
            impossible.setdefault(where, []).append(str(stem))
    notes = [
        f"{where}; nothing can be chosen on other artists' tracks for {', '.join(stems)}"
        for where, stems in impossible.items()
    ]
    return pd.concat(chosen, ignore_index=True).assign(kind="deployable"), notes


def _choose_for(artist: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, on one artist's tracks, of the separator that others' tracks favour."""
    others = rows[rows["artist"] != artist]
    per_track = others.groupby(["split", "track"])["separator"].transform("nunique")
    common = others[per_track == others["separator"].nunique()]
    means = (common if len(common) else others).assign(
        score=lambda frame: frame["score"].clip(-LIMIT, LIMIT)
    )
    best = means.groupby("separator")["score"].mean().idxmax()
    return rows[(rows["artist"] == artist) & (rows["separator"] == best)]


def ensemble_rows(chosen: pd.DataFrame, scores: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the scores of the chosen separators as those of an ensemble `name`."""
    keys = [*TRACK, "stem", "separator"]
    rows = scores.merge(chosen[keys], on=keys)
    rows["note"] = "chosen: " + rows["separator"]
    rows["separator"] = name
    return rows[list(COLUMNS)].sort_values(
        ["dataset", "split", "track", "stem", "metric"],
        key=lambda column: column.map(_METRIC_ORDER) if column.name == "metric" else column,
    )


_METRIC_ORDER = {name: i for i, name in enumerate(DEFAULT)}


def select(
    scores: pd.DataFrame, separators: Collection[str], leaked: Collection[tuple[str, str, str, str]]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Make both choices for every dataset and stem.

    Parameters
    ----------
    scores
        Columns `harness.results.COLUMNS`.
    separators
        Names of those that may be chosen: no anchors, no oracles.
    leaked
        (separator, dataset, split, track) that were seen in training; they neither choose nor are
        chosen.

    Returns
    -------
    selection
        Columns `SELECTION_COLUMNS`.
    ensembles
        Columns `COLUMNS`: what both choices score.
    notes
        What could not be chosen, and why.
    """
    found = harmonic_scores(scores[scores["separator"].isin(list(separators))])
    pairs = zip(found["separator"], found["dataset"], found["split"], found["track"], strict=True)
    clean = np.array([pair not in leaked for pair in pairs], dtype=bool)
    candidates = found[clean]
    if candidates.empty:
        return table([], SELECTION_COLUMNS), table([]), ["no separator has a score that may choose"]
    oracle = choose_oracle(candidates)
    deployable, notes = choose_deployable(candidates)
    selection = pd.concat([oracle, deployable], ignore_index=True)[list(SELECTION_COLUMNS)]
    selection = selection.sort_values(["dataset", "stem", "kind", "track"], ignore_index=True)
    ensembles = pd.concat(
        [
            ensemble_rows(oracle, scores, ORACLE),
            ensemble_rows(deployable, scores, DEPLOYABLE),
        ],
        ignore_index=True,
    )
    return selection, ensembles, notes
