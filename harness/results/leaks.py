"""The leak ledger: each (separator, track) is clean, leaked (trained on) or unknown.

Leaked pairs are neither ranked nor used in a selection. Unknown ones are, since most published
separators do not list everything that they were trained on; the ledger shows them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from harness.datasets.overlaps import leak
from harness.datasets.tracks import Track
from harness.results.runs import PAIR, leaks

STATUSES = ["clean", "leaked", "unknown"]


def leak_statuses(
    scores: pd.DataFrame, trained_on: Mapping[str, Sequence[str] | None]
) -> pd.DataFrame:
    """Decide for every `PAIR` of a table whether it was trained on: columns `PAIR` and status.

    `trained_on` is separator → splits and collections (`harness.datasets.overlaps.leak`). None, or
    no entry, means unknown.

    Examples
    --------
    >>> song = ("dsd100", "test", "Actions - One Minute Smile")
    >>> scores = pd.DataFrame([("nmf", *song), ("net", *song)], columns=PAIR)
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
    """Return the columns of `leak_statuses` from a run's record.

    Where the record does not say, or says any other word, the status is unknown.
    """
    found = scores[PAIR].drop_duplicates(ignore_index=True)
    known, others = leaks(record), "clean" if "leaks" in record else "unknown"
    status = [known.get(pair, others) for pair in found.itertuples(index=False, name=None)]
    return found.assign(status=[s if s in STATUSES else "unknown" for s in status])


def ledger(statuses: pd.DataFrame) -> pd.DataFrame:
    """Count tracks by status: columns separator, dataset, split, tracks, clean, leaked, unknown."""
    counts = statuses.groupby([*PAIR[:-1], "status"]).size().unstack("status", fill_value=0)
    counts = counts.reindex(columns=STATUSES, fill_value=0)
    counts.insert(0, "tracks", counts.sum(axis=1))
    return counts.rename_axis(columns=None).reset_index()
