"""Who may have heard what: each (separator, track) is clean, leaked or unknown.

Leaked pairs never choose, are never chosen, and are not ranked unless asked for. Unknown ones are,
with the ledger beside them: most published separators do not say all that they were trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from harness.datasets.overlaps import leak
from harness.datasets.tracks import Track

PAIR = ["separator", "dataset", "split", "track"]
STATUSES = ("clean", "leaked", "unknown")


def leak_statuses(
    scores: pd.DataFrame, trained_on: Mapping[str, Sequence[str] | None]
) -> pd.DataFrame:
    """Decide for every (separator, track) of a table whether it was heard in training.

    Parameters
    ----------
    scores
        Columns separator, dataset, split, track.
    trained_on
        {separator: halves and collections}, see `harness.datasets.overlaps.leak`. None, and a
        separator that is not named, is one of which nobody knows.

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


def recorded_statuses(scores: pd.DataFrame, leaks: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Return the same from a run's record, which names the pairs that are not clean."""
    found = scores[PAIR].drop_duplicates(ignore_index=True)
    known = pd.DataFrame(list(leaks), columns=[*PAIR, "status"]).drop_duplicates(PAIR)
    return found.merge(known, on=PAIR, how="left").fillna({"status": "clean"})


def leaked_pairs(statuses: pd.DataFrame) -> set[tuple[str, str, str, str]]:
    """Return the leaked (separator, dataset, split, track), as selection takes them."""
    rows = statuses.loc[statuses["status"] == "leaked", PAIR]
    return set(rows.itertuples(index=False, name=None))


def ledger(statuses: pd.DataFrame) -> pd.DataFrame:
    """Count tracks by status: columns separator, dataset, split, tracks, clean, leaked, unknown."""
    keys = PAIR[:-1]
    counts = statuses.groupby([*keys, "status"]).size().unstack("status", fill_value=0)
    counts = counts.reindex(columns=list(STATUSES), fill_value=0)
    counts.insert(0, "tracks", counts.sum(axis=1))
    return counts.rename_axis(columns=None).reset_index()
