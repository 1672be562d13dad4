"""The leak ledger: each (separator, track) is clean, leaked (trained on) or unknown.

Leaked pairs never choose, are never chosen and are not ranked. Unknown ones are, and the ledger
says so: most published separators do not list everything that they were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.datasets.overlaps import leak
from harness.datasets.tracks import Track
from harness.results.runs import leaks

PAIR = ["separator", "dataset", "split", "track"]
STATUSES = ("clean", "leaked", "unknown")


def leak_statuses(
    scores: pd.DataFrame, trained_on: Mapping[str, Sequence[str] | None]
) -> pd.DataFrame:
    """Decide for every (separator, track) of a table whether it was trained on.

    Parameters
    ----------
    scores
        Columns separator, dataset, split, track.
    trained_on
        {separator: halves and collections}, see `harness.datasets.overlaps.leak`. None, and
        a separator that is not named, mean that nobody knows.

    Returns
    -------
    DataFrame
        Columns separator, dataset, split, track, status (clean, leaked or unknown).

    Examples
    --------
    >>> names = ["separator", "dataset", "split", "track"]
    >>> song = ("dsd100", "test", "Actions - One Minute Smile")
    >>> scores = pd.DataFrame([("nmf", *song), ("net", *song)], columns=names)
    >>> leak_statuses(scores, {"nmf": [], "net": ["musdb18:train"]})["status"].tolist()
    ['clean', 'leaked']
    """
    found = scores[PAIR].drop_duplicates(ignore_index=True)
    status = [
        leak(trained_on.get(separator), Track(dataset, track, "", split, (), {}))
        for separator, dataset, split, track in found.to_numpy().tolist()
    ]
    return found.assign(status=status)


def recorded_statuses(scores: pd.DataFrame, record: Mapping[str, Any]) -> pd.DataFrame:
    """Return the same from a run's record, which names the pairs that are not clean.

    Where the record does not say, or says any other word, the status is unknown.
    """
    found = scores[PAIR].drop_duplicates(ignore_index=True)
    known, others = leaks(record), "clean" if "leaks" in record else "unknown"
    status = [known.get(pair, others) for pair in found.itertuples(index=False, name=None)]
    return found.assign(status=[s if s in STATUSES else "unknown" for s in status])


def ledger(statuses: pd.DataFrame) -> pd.DataFrame:
    """Count tracks by status: columns separator, dataset, split, tracks, clean, leaked, unknown."""
    keys = PAIR[:-1]
    counts = statuses.groupby([*keys, "status"]).size().unstack("status", fill_value=0)
    counts = counts.reindex(columns=list(STATUSES), fill_value=0)
    counts.insert(0, "tracks", counts.sum(axis=1))
    return counts.rename_axis(columns=None).reset_index()
