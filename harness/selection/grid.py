"""Scores as a matrix: the tracks of one dataset, input and stem against its separators.

Rules that hold wherever scores are compared:

* A track counts once, and what is not independent counts together: tracks of one artist are drawn,
  held out and tested as one. A track without a known artist stands for itself.
* Above 30 dB counts as 30 dB, perfect estimates (+inf) too, and below −30 dB as −30 dB, silent ones
  (−inf) too: by then all is well or all is lost, and one such track must not decide a mean.
* A score that is missing, undefined or leaked is NaN. Separators are compared on the tracks that
  all of them have (`Grid.complete`), and whoever has too few of them is left out by name.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.errors import HarnessError
from harness.metrics import DEFAULT, METRICS, harmonic_mean

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]
Leaked = Collection[
    tuple[str, str, str, str]
]  # (separator, dataset, split, track) seen in training

HARMONIC = "harmonic_mean"  # of SNR and SDR, what separators are chosen by
LIMIT = 30.0  # dB
MIN_TRACKS = 20  # with fewer a separator would take the others' tracks from the comparison
TRACK = ["dataset", "split", "track", "artist", "genre"]
_NOBODY = ("", "unknown")


@dataclass(frozen=True)
class Grid:
    """The scores of one stem.

    Attributes
    ----------
    dataset, source, stem
        What was scored; `source` is the input that the separators were given.
    separators
        Names, sorted.
    splits, tracks, artists, genres
        One a row of `scores`.
    scores
        Shape (tracks, separators), dB within ±`LIMIT`; NaN where there is none.
    """

    dataset: str
    source: str
    stem: str
    separators: tuple[str, ...]
    splits: Names
    tracks: Names
    artists: Names
    genres: Names
    scores: FloatArray

    @cached_property
    def clusters(self) -> IntArray:
        """Number of the artist of each track, from 0; a track of nobody known is its own."""
        return np.unique(self.who, return_inverse=True)[1].astype(np.intp)

    @cached_property
    def who(self) -> Names:
        """Key of the artist of each track, the same in every dataset."""
        keys = [
            f"track {split}/{track}" if (key := " ".join(artist.casefold().split())) in _NOBODY
            else f"artist {key}"
            for artist, split, track in zip(self.artists, self.splits, self.tracks, strict=True)
        ]  # fmt: skip
        return np.array(keys, dtype=object)

    @property
    def n_artists(self) -> int:
        """How many artists there are, and so how many independent pieces of evidence."""
        return len(set(self.who))

    def take(self, rows: npt.NDArray[Any]) -> Grid:
        """Return the grid with these tracks alone, given as a mask or as indices."""
        fields = ("splits", "tracks", "artists", "genres", "scores")
        return replace(self, **{name: getattr(self, name)[rows] for name in fields})

    def only(self, separators: Collection[str]) -> Grid:
        """Return the grid with these separators alone."""
        keep = [i for i, name in enumerate(self.separators) if name in separators]
        names = tuple(self.separators[i] for i in keep)
        return replace(self, separators=names, scores=self.scores[:, keep])

    def complete(self, min_tracks: int = MIN_TRACKS) -> Grid:
        """Return the tracks that all separators have, without separators that have too few.

        Too few is fewer than `min_tracks` and fewer than half of what the fullest has.
        """
        have = np.isfinite(self.scores).sum(axis=0)
        enough = (have > 0) & (have >= min(min_tracks, have.max(initial=0) / 2))
        kept = self.only([n for n, yes in zip(self.separators, enough, strict=True) if yes])
        if not kept.separators:
            return kept.take(np.zeros(len(self.tracks), dtype=bool))
        return kept.take(np.asarray(np.isfinite(kept.scores).all(axis=1)))

    def at(self, names: Names) -> FloatArray:
        """Return the score of the named separator on each track; NaN where there is none."""
        column = {name: i for i, name in enumerate(self.separators)}
        at = np.array([column.get(name, -1) for name in names], dtype=np.intp)
        padded = np.column_stack([self.scores, np.full(len(self.tracks), np.nan)])
        return np.asarray(padded[np.arange(len(at)), at])


def track_scores(scores: pd.DataFrame, metric: str = HARMONIC) -> pd.DataFrame:
    """Return one row a (track, separator, input, stem) with its `score` by one metric.

    Parameters
    ----------
    scores
        Columns `harness.results.COLUMNS`; rows that are not ok, or without a value, are left out.
    metric
        ``harmonic_mean`` (of `snr` and `sdr`, see `harness.metrics.harmonic_mean`) or any metric of
        the table in dB, of which more is better.

    Raises
    ------
    HarnessError
        If the table has no such metric.
    """
    index = [*TRACK, "separator", "input", "stem"]
    ok = scores[scores["status"] == "ok"]
    ok = ok.assign(**{name: ok[name].fillna("") for name in ("artist", "genre")})
    if metric == HARMONIC:
        rows = ok[ok["metric"].isin(["snr", "sdr"])]
        wide = rows.pivot(index=index, columns="metric", values="value").reset_index()
        if not {"snr", "sdr"} <= set(wide.columns):
            return pd.DataFrame(columns=[*index, "score"])
        wide["score"] = harmonic_mean(wide["snr"].to_numpy(), wide["sdr"].to_numpy())
    else:
        wide = ok[ok["metric"] == metric].rename(columns={"value": "score"})
        if wide.empty and metric not in METRICS:
            known = ", ".join([HARMONIC, *sorted(filter(None, scores["metric"].unique()))])
            raise HarnessError(f"metric {metric!r}: the table has none of it; it has {known}")
    return wide.dropna(subset=["score"])[[*index, "score"]]


def chosen_by(scores: pd.DataFrame) -> dict[str, str]:
    """Return for each dataset the metric that chooses: the harmonic mean where a separator has it.

    Published scores may lack SNR or SDR; of these the first of `harness.metrics.DEFAULT` is taken
    that there is.

    Parameters
    ----------
    scores
        Columns `harness.results.COLUMNS`, of separators that may be chosen.
    """
    ok = scores[scores["status"] == "ok"]
    found = {}
    for dataset, rows in ok.groupby("dataset", observed=True):
        have = rows.groupby("separator", observed=True)["metric"].agg(set)
        known = [metric for metric in DEFAULT if any(metric in metrics for metrics in have)]
        both = any({"snr", "sdr"} <= metrics for metrics in have)
        found[str(dataset)] = HARMONIC if both or not known else known[0]
    return found


def without_leaked(candidates: pd.DataFrame, leaked: Leaked) -> pd.DataFrame:
    """Return the rows of `track_scores` that were not seen in training."""
    pairs = zip(*(candidates[c] for c in ("separator", "dataset", "split", "track")), strict=True)
    return candidates[np.array([pair not in leaked for pair in pairs], dtype=bool)]


def grids(candidates: pd.DataFrame) -> list[Grid]:
    """Return one grid a dataset, input and stem, in that order.

    Parameters
    ----------
    candidates
        As from `track_scores`.
    """
    found = []
    for (dataset, source, stem), rows in candidates.groupby(["dataset", "input", "stem"]):
        wide = rows.pivot(
            index=["split", "track", "artist", "genre"], columns="separator", values="score"
        )
        split, track, artist, genre = (wide.index.get_level_values(i) for i in range(4))
        found.append(
            Grid(
                dataset=str(dataset),
                source=str(source),
                stem=str(stem),
                separators=tuple(map(str, wide.columns)),
                splits=split.to_numpy(object),
                tracks=track.to_numpy(object),
                artists=artist.to_numpy(object),
                genres=genre.to_numpy(object),
                scores=np.clip(wide.to_numpy(np.float64), -LIMIT, LIMIT),
            )
        )
    return found
