"""Scores as a matrix: the tracks of one dataset, input and stem against its separators.

Rules that hold wherever scores are compared (docs/selection.md says why):

* A track is (dataset, split, track), and counts once. Tracks of one artist are drawn, held out and
  tested together. A track without a known artist is a cluster of its own.
* A score in dB, infinite ones too, is limited to ±30 dB, so that no single track decides a mean.
* A score that is missing, undefined or leaked is NaN. Separators are compared on the tracks that
  all of them have (`Grid.complete`), without separators that have too few.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.metrics import DEFAULT, METRICS, OPTIONAL, harmonic_mean
from harness.registry import suggestion
from harness.results.runs import source_of

IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Names = npt.NDArray[np.object_]
Leaked = Collection[tuple[str, str, str, str]]  # (separator, dataset, split, track)

HARMONIC = "harmonic_mean"  # of SNR and SDR, what separators are chosen by
SUM = "+"  # between metrics of which the mean chooses, such as ``snr+si_sdr``
LIMIT = 30.0  # dB
MIN_TRACKS = 20  # a separator with fewer must not shrink the comparison of the others
TRACK = ["dataset", "split", "track", "artist", "genre"]
CELL = ["dataset", "split", "track", "separator", "input", "fed_by", "stem"]  # of one score
_PLACE = ["dataset", "input", "fed_by", "stem"]  # of a grid
_UNKNOWN_ARTIST = ("", "unknown")


@dataclass(frozen=True)
class Grid:
    """The scores of one stem."""

    dataset: str
    input: str  # the stem that the separators were given
    fed_by: str  # where it came from, see `harness.results.runs.COLUMNS`
    stem: str
    separators: tuple[str, ...]  # sorted
    splits: Names  # this and the next three: one per row of `scores`
    tracks: Names
    artists: Names
    genres: Names
    scores: Float64  # (tracks, separators), dB within ±`LIMIT`; NaN where there is none
    limited: BoolArray | None = None  # which of them were beyond ±`LIMIT`; None: not recorded

    @cached_property
    def source(self) -> str:
        """The input and where it came from, in one text."""
        return source_of(self.input, self.fed_by)

    @cached_property
    def keys(self) -> list[tuple[str, str]]:
        """(split, track) of each row."""
        return list(zip(self.splits, self.tracks, strict=True))

    @cached_property
    def clusters(self) -> IntArray:
        """Number of the artist of each track, from 0; see `who`."""
        return np.unique(self.who, return_inverse=True)[1].astype(np.intp)

    @cached_property
    def who(self) -> Names:
        """Key of the artist of each track, the same in every dataset; unknown ones differ."""
        keys = [
            f"track {split}/{track}"
            if (key := " ".join(artist.casefold().split())) in _UNKNOWN_ARTIST
            else f"artist {key}"
            for artist, (split, track) in zip(self.artists, self.keys, strict=True)
        ]
        return np.array(keys, dtype=object)

    @property
    def n_artists(self) -> int:
        """Number of artists: tracks of one artist are not independent."""
        return len(set(self.who))

    @cached_property
    def means(self) -> Float64:
        """Mean over all tracks per separator; NaN if it lacks a score, or there is no track.

        All code that names the best separator uses these, so that rounding decides the same.
        """
        if not len(self.scores):
            return np.full(len(self.separators), np.nan)
        return np.asarray(np.ascontiguousarray(self.scores).mean(axis=0))

    def take(self, rows: npt.NDArray[Any]) -> Grid:
        """Return the grid with these tracks alone, given as a mask or as indices."""
        fields = ["splits", "tracks", "artists", "genres", "scores"]
        fields += ["limited"] * (self.limited is not None)
        return replace(self, **{name: getattr(self, name)[rows] for name in fields})

    def only(self, separators: Collection[str]) -> Grid:
        """Return the grid with these separators alone."""
        keep = [i for i, name in enumerate(self.separators) if name in separators]
        names = tuple(self.separators[i] for i in keep)
        limited = None if self.limited is None else self.limited[:, keep]
        return replace(self, separators=names, scores=self.scores[:, keep], limited=limited)

    def counts(self) -> dict[str, int]:
        """Return how many scores each separator has."""
        have = np.isfinite(self.scores).sum(axis=0).tolist()
        return dict(zip(self.separators, have, strict=True))

    def full_enough(self, min_tracks: int = MIN_TRACKS) -> list[str]:
        """Return the separators that are compared.

        Left out are those without a score, and those which have both fewer than `min_tracks` scores
        and fewer than half as many as the fullest one.
        """
        have = self.counts()
        least = min(min_tracks, max(have.values(), default=0) / 2)
        return [name for name, n in have.items() if n and n >= least]

    def complete(self, min_tracks: int = MIN_TRACKS) -> Grid:
        """Return the separators that are compared, and the tracks that all of them have."""
        kept = self.only(self.full_enough(min_tracks))
        if not kept.separators:
            return kept.take(np.zeros(len(self.tracks), dtype=bool))
        return kept.take(np.asarray(np.isfinite(kept.scores).all(axis=1)))

    def parts(self) -> Iterator[Grid]:
        """Yield grids of the separators that have the same tracks, with these tracks alone."""
        have = np.isfinite(self.scores)
        for pattern in np.unique(have, axis=1).T:  # usually one: all have all
            if pattern.any():
                same = (have == pattern[:, None]).all(axis=0)
                yield self.only(np.array(self.separators)[same].tolist()).take(pattern)

    def at(self, names: Names) -> Float64:
        """Return the score of the named separator on each track; NaN where there is none."""
        column = {name: i for i, name in enumerate(self.separators)}
        at = np.array([column.get(name, -1) for name in names], dtype=np.intp)
        padded = np.column_stack([self.scores, np.full(len(self.tracks), np.nan)])
        return np.asarray(padded[np.arange(len(at)), at])


def limit_of(metric: str) -> float:
    """Return what scores are limited to in a mean: `LIMIT` in dB, infinity in other units."""
    return LIMIT if unit_of(metric) == "dB" else np.inf


def parts_of(metric: str) -> list[str]:
    """Return the metrics whose mean a metric is, itself if it is no mean of several."""
    return metric.split(SUM)


def unit_of(metric: str) -> str:
    """Return the unit of a metric, or of a mean of several; an unknown metric is in dB."""
    first = parts_of(metric)[0]
    return METRICS[first].unit if first in METRICS else "dB"


def check_by(by: str, scores: pd.DataFrame) -> str:
    """Return the metric that shall choose, without spaces, if the scores have it.

    It is one metric, or several with `SUM` between them, all of which are better where higher and
    have the same unit.
    """
    names = [name.strip() for name in by.split(SUM)]
    have = set(scores["metric"]) - {""}
    have |= {HARMONIC} if {"snr", "sdr"} <= have else set()
    for name in names:
        if name not in have:
            how = f"add them with --metrics {name}" if name in OPTIONAL else ""
            how = how or suggestion(name, have, 20)
            raise HarnessError(f"--by {by}: no scores of {name!r}; {how}")
        if name in METRICS and not METRICS[name].higher_is_better:
            raise HarnessError(
                f"--by {by}: a lower {name} is better; choose by a metric of which higher is better"
            )
    if not any(name not in METRICS or METRICS[name].ranks for name in names):
        raise HarnessError(
            f"--by {by}: never chooses alone, since it is deaf to too much (docs/metrics.md); "
            "choose by snr, or by a mean such as snr+si_sar"
        )
    if len({unit_of(name) for name in names}) > 1:
        raise HarnessError(f"--by {by}: the metrics have different units; name metrics of one unit")
    if len(set(names)) < len(names):
        raise HarnessError(f"--by {by}: names a metric twice; name each one once")
    return SUM.join(names)


def add_harmonic(scores: pd.DataFrame) -> pd.DataFrame:
    """Append the harmonic mean of SNR and SDR, in dB, as a metric; undefined where either is."""
    rows = _harmonic(scores)
    return pd.concat([scores, rows], ignore_index=True) if len(rows) else scores


def _harmonic(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that `add_harmonic` appends."""
    snr, sdr = (scores[scores["metric"] == name] for name in ("snr", "sdr"))
    both = snr.merge(sdr[[*CELL, "value", "status"]], on=CELL, suffixes=("", "_sdr"))
    mean = harmonic_mean(both["value"].to_numpy(float), both["value_sdr"].to_numpy(float))
    status = both["status"].where(both["status_sdr"] == "ok", both["status_sdr"])
    return both.assign(value=mean, metric=HARMONIC, status=status)[scores.columns]


def track_scores(scores: pd.DataFrame, metric: str = HARMONIC) -> pd.DataFrame:
    """Return one row per (track, separator, input, fed_by, stem) with its `score` by one metric.

    The metric is ``harmonic_mean``, one of the table, or a mean of several such as ``snr+si_sdr``,
    of which each is limited before the mean and a column ``limited`` says where. Rows that are not
    ok, or have no value, are left out. Scores that are not in dB have a column ``limit``.
    """
    index = [*TRACK, "separator", "fed_by", "input", "stem"]
    more = ["limited"] * (SUM in metric) + ["limit"] * (unit_of(metric) != "dB")
    ok = scores[scores["status"] == "ok"]
    ok = ok.assign(**{name: ok[name].fillna("") for name in ("artist", "genre")})
    if SUM in metric:
        rows = _mean_of(ok, parts_of(metric)).sort_values(index)
    elif metric == HARMONIC:
        rows = _harmonic(ok).sort_values(index)
    else:
        rows = ok[ok["metric"] == metric]
        if rows.empty and metric not in METRICS:
            known = suggestion(
                metric, {HARMONIC, *filter(None, scores["metric"].unique())}, most=20
            )
            raise HarnessError(f"metric {metric!r}: not in the table; {known}")
    rows = rows.rename(columns={"value": "score"}).assign(limit=limit_of(metric))
    return rows.dropna(subset=["score"])[[*index, "score", *more]]


def _mean_of(ok: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the rows of the mean of several metrics, where all of them have a value."""
    columns = [*TRACK, "separator", "fed_by", "input", "stem"]
    found = None
    for name in names:
        part = track_scores(ok, name)
        limit = limit_of(name)
        part = part.assign(value=part["score"].clip(-limit, limit))
        part = part.assign(limited=part["score"].abs() > limit)[[*columns, "value", "limited"]]
        if found is None:
            found = part
            continue
        both = found.merge(part, on=columns, suffixes=("", "_other"))
        limited = both["limited"] | both["limited_other"]
        found = both.assign(value=both["value"] + both["value_other"], limited=limited)
        found = found[[*columns, "value", "limited"]]
    assert found is not None
    return found.assign(value=found["value"] / len(names))


def chosen_by(scores: pd.DataFrame, by: str | None = None) -> dict[str, str]:
    """Return the metric that chooses, per dataset, from scores of separators that may be chosen.

    It is `by`, if it is given, without the datasets that lack it. Otherwise it is the harmonic mean
    where a separator has it. Published scores may lack SNR or SDR; then it is the first of
    `harness.metrics.DEFAULT` that any separator has.
    """
    ok = scores[scores["status"] == "ok"]
    found = {}
    for dataset, rows in ok.groupby("dataset", observed=True):
        if by is not None:
            if {*rows["metric"], HARMONIC}.issuperset(parts_of(by)):
                found[str(dataset)] = by
            continue
        have = rows.groupby("separator", observed=True)["metric"].agg(set)
        known = [metric for metric in DEFAULT if any(metric in metrics for metrics in have)]
        both = any({"snr", "sdr"} <= metrics for metrics in have)
        found[str(dataset)] = HARMONIC if both or not known else known[0]
    return found


def without_leaked(candidates: pd.DataFrame, leaked: Leaked) -> pd.DataFrame:
    """Return the rows of `track_scores` whose separator was not trained on the track."""
    pairs = zip(*(candidates[c] for c in ("separator", "dataset", "split", "track")), strict=True)
    return candidates[np.array([pair not in leaked for pair in pairs], dtype=bool)]


def grids(candidates: pd.DataFrame, limit: float = LIMIT) -> list[Grid]:
    """Return one grid per dataset, source and stem, in that order, from rows of `track_scores`.

    Scores are limited to ±`limit`, or to that of a column ``limit``. A column ``limited`` marks
    scores that are means of limited ones.
    """
    if not len(candidates):
        return []
    number = candidates.groupby(["dataset", "split", "track"], sort=True, observed=True).ngroup()
    at_track: IntArray = number.to_numpy().astype(np.intp)
    at_name, names = pd.factorize(candidates["separator"].astype(object), sort=True)
    labels = {name: _labels(candidates[name], at_track) for name in TRACK[1:]}
    raw = candidates["score"].to_numpy(np.float64)
    limits = np.full(len(raw), limit)
    if "limit" in candidates:
        limits = candidates["limit"].fillna(limit).to_numpy(float)
    beyond = np.abs(raw) > limits
    if "limited" in candidates:
        beyond |= candidates["limited"].fillna(False).to_numpy(bool)
    groups: dict[Any, Any] = candidates.groupby(_PLACE, sort=False, observed=True).indices
    found = []
    for key, at in groups.items():
        rows, row = np.unique(at_track[at], return_inverse=True)
        columns, column = np.unique(at_name[at], return_inverse=True)
        scores = np.full((len(rows), len(columns)), np.nan)
        scores[row, column] = np.clip(raw[at], -limits[at], limits[at])
        limited = np.zeros(scores.shape, dtype=bool)
        limited[row, column] = beyond[at]
        if len(np.unique(row * len(columns) + column)) < len(at):
            where = ", ".join(filter(None, map(str, key)))
            raise HarnessError(f"{where}: two scores of a separator on one track; keep one of them")
        place: dict[str, Any] = dict(zip(_PLACE, map(str, key), strict=True))
        place |= {f"{name}s": labels[name][rows] for name in TRACK[1:]}
        separators = tuple(map(str, names[columns]))
        found.append(Grid(**place, separators=separators, scores=scores, limited=limited))
    return sorted(found, key=lambda grid: (grid.dataset, grid.source, grid.stem))


def _labels(column: pd.Series, number: IntArray) -> Names:
    """Return one text per track; one that is known somewhere is known."""
    texts = column.astype(object).fillna("").to_numpy()
    known_last = np.argsort(texts != "", kind="stable")
    labels = np.empty(number.max() + 1, dtype=object)
    labels[number[known_last]] = texts[known_last]
    return labels
