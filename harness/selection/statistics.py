"""Statistics by artist: bootstrap intervals, shares of wins, and tests with their corrections.

One bootstrap resample draws as many artists as there are, with replacement, and takes all of their
tracks: tracks of one artist are alike, and drawing them one by one would promise more than the data
hold. Everything is a product of the counts of the drawn artists with sums by artist, so that ten
thousand resamples are one matrix product. The counts depend only on the number of artists, and are
cached.

In all functions `values` have shape (tracks, columns) without NaN (for a paired comparison, the
differences), `clusters` is the number of the artist of each track, from 0, and `weights` are as
from `draw`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy  # which imports its slow part `stats` when it is first used

from harness.core.audio import Float64
from harness.results.grid import BoolArray, IntArray

RESAMPLES = 10_000  # of every interval: page, tables, comparisons
LEVEL = 0.95
ALPHA = 1 - LEVEL
FAILURE = 20.0  # dB that a failed song costs; beyond this a score is soon limited
PRIOR_SONGS = 20  # without a failure, that count as seen
EXACT = 50  # differences up to which the signed-rank test counts all signs
MIN_ARTISTS = 6  # with 5 the signed-rank test cannot fall below p = 0.06, whatever the scores
_CHUNK = 256  # columns at a time: 20 MB for each intermediate of 10,000 resamples


class Intervals(NamedTuple):
    """Means or medians of columns with their intervals; all shape (columns,)."""

    mean: Float64
    low: Float64
    high: Float64


@lru_cache(maxsize=8)
def draw(n_clusters: int, resamples: int = RESAMPLES, seed: int = 0) -> Float64:
    """Return how often each cluster is in each resample, shape (resamples, clusters)."""
    drawn = np.random.default_rng(seed).integers(n_clusters, size=(resamples, n_clusters))
    cells = drawn + n_clusters * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * n_clusters)
    weights = counts.reshape(resamples, n_clusters).astype(float)
    weights.flags.writeable = False  # every caller has the same array
    return weights


def cluster_sums(values: Float64, clusters: IntArray) -> Float64:
    """Return the sums over each cluster's rows, shape (clusters, columns)."""
    sums = np.zeros((clusters.max(initial=-1) + 1, values.shape[1]))
    np.add.at(sums, clusters, values)
    return sums


def cluster_means(values: Float64, clusters: IntArray) -> Float64:
    """Return the means over each cluster's rows, shape (clusters, columns)."""
    return np.asarray(cluster_sums(values, clusters) / np.bincount(clusters)[:, None])


def resampled_means(values: Float64, clusters: IntArray, weights: Float64) -> Float64:
    """Return the mean over tracks in each resample, shape (resamples, columns)."""
    sizes = np.bincount(clusters).astype(float)
    return np.asarray((weights @ cluster_sums(values, clusters)) / (weights @ sizes)[:, None])


def mean_intervals(
    values: Float64, clusters: IntArray, *, resamples: int = RESAMPLES, seed: int = 0
) -> Intervals:
    """Return the mean over tracks of each column, with its expanded 95 % percentile interval.

    The percentiles are chosen such that with few artists the interval is as wide as Student's:
    Φ(−√(G/(G−1))·t) for G artists. `benchmarks/selection.py --coverage` measures how often it
    contains the truth, beside the plain percentile, BCa and percentile-t intervals. The first two
    are too short with few artists, and percentile-t explodes if one track decides. With fewer than
    `MIN_ARTISTS` artists the ends are NaN.

    References
    ----------
    Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69, 2015,
    section 4.2.
    """
    n = int(clusters.max(initial=-1)) + 1
    mean = values.mean(axis=0)
    low, high = np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    if n >= MIN_ARTISTS:
        tail = _tail(n)
        weights = draw(n, resamples, seed)
        for start in range(0, values.shape[1], _CHUNK):
            part = slice(start, start + _CHUNK)
            means = resampled_means(values[:, part], clusters, weights)
            low[part], high[part] = _ends(means.T, tail, mean[part])
    return Intervals(mean, low, high)


class Differences(NamedTuple):
    """What is known of columns of differences; all shape (columns,)."""

    mean: Float64
    low: Float64  # NaN, as `high` and both p, with fewer than `MIN_ARTISTS` artists
    high: Float64
    p_mean: Float64  # of the test that the mean is zero
    p_rank: Float64  # of the signed-rank test on the means of the artists
    ahead: Float64  # sign of the signed ranks: 1 where most artists have positive ones


def rare_failures(n: int, failure: float = FAILURE) -> float:
    """Return by how much failures that none of `n` songs shows could lower a mean, in dB.

    A failure costs `failure` dB. The failure rate that is assumed is the upper 97.5 % limit,
    1 − 0.025^(1 / (n + 20)), of a rate with the prior Beta(1, `PRIOR_SONGS`) after `n` songs
    without a failure (the rule of three with a prior: 8.8 % after 20 songs, 3.0 % after 100).

    References
    ----------
    Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249, 1983.

    Examples
    --------
    >>> [round(rare_failures(n), 2) for n in (20, 40, 100, 240)]
    [1.76, 1.19, 0.61, 0.28]
    """
    return float(failure * (1 - (ALPHA / 2) ** (1 / (n + PRIOR_SONGS))))


def differences(values: Float64, clusters: IntArray, *, failure: float = FAILURE) -> Differences:
    """Return mean, interval and tests of each column of differences, shape (tracks, columns).

    With e the jackknife's standard error of the mean over G artists, g the skewness of the
    artists' influence on it and W = mean / (e√G), the statistic
    √G · (W + gW²/3 + g²W³/27 + g/(6G)) is compared with Student's t: Hall's correction for skew.
    Its degrees of freedom are (Σn)²/Σn² − 1 of the artists' numbers of tracks n, so that a few
    artists with many tracks count as few. The interval consists of all means that this test does
    not reject, and at least of the mean ± `rare_failures`. Differences that are all exactly zero
    have an interval of zero.

    References
    ----------
    Hall, "On the removal of skewness by transformation", Journal of the Royal Statistical Society B
    54, 1992. Carter, Schnepel and Steigerwald, "Asymptotic behavior of a t-test robust to cluster
    heterogeneity", Review of Economics and Statistics 99, 2017 (artists of unequal size).
    """
    sizes = np.bincount(clusters)
    n, n_tracks = len(sizes), len(values)
    if not n_tracks:
        return Differences(*np.full((6, values.shape[1]), np.nan))
    mean = values.mean(axis=0)
    if n < MIN_ARTISTS:
        return Differences(mean, *np.full((5, values.shape[1]), np.nan))
    influence = cluster_sums(values - mean, clusters) / (n_tracks - sizes)[:, None]
    size = np.sqrt((influence**2).mean(axis=0))
    size[size < 1e-12 * np.abs(values).max(initial=0.0)] = 0.0  # rounding, not spread
    varies = size > 0
    scale = np.where(varies, size, 1.0)
    skew = np.where(varies, (influence**3).mean(axis=0) / scale**3, 0.0)
    spread = size * np.sqrt(n * (n - 1))  # √G times the standard error
    t = scipy.stats.t(n_tracks**2 / (sizes**2).sum() - 1)
    w = mean / np.where(varies, spread, 1.0)
    p = 2 * t.sf(np.abs(np.sqrt(n) * _unskewed(w, skew, n)))
    p = np.where(varies, p, mean == 0)
    least = np.where((values == 0).all(axis=0), 0.0, rare_failures(n_tracks, failure))
    up, down = (_skewed(end / np.sqrt(n), skew, n) for end in t.ppf([LEVEL + ALPHA / 2, ALPHA / 2]))
    low, high = mean - np.maximum(spread * up, least), mean + np.maximum(-spread * down, least)
    by_artist = cluster_means(values, clusters)
    return Differences(mean, low, high, p, signed_rank(by_artist), _ahead(by_artist))


def _unskewed(w: Float64, skew: Float64, n: int) -> Float64:
    """Return Hall's monotone cubic transform of a studentized mean, which removes its skew."""
    return w + skew * w**2 / 3 + skew**2 * w**3 / 27 + skew / (6 * n)


def _skewed(y: float, skew: Float64, n: int) -> Float64:
    """Return the inverse of `_unskewed`."""
    some = np.where(np.abs(skew) < 1e-6, 1e-6, skew)
    return np.asarray(3 / some * (np.cbrt(1 + some * (y - some / (6 * n))) - 1))


def _ahead(differences: Float64) -> Float64:
    """Return the sign of the sum of signed ranks of each column."""
    rounded = np.round(differences, 9)
    ranks = scipy.stats.rankdata(np.abs(rounded), axis=0)
    return np.asarray(np.sign((np.sign(rounded) * ranks).sum(axis=0)))


def _ends(rows: Float64, tail: float, mean: Float64) -> tuple[Float64, Float64]:
    """Return the percentiles of each row of resampled means; rounding must not exclude the mean."""
    rows = np.ascontiguousarray(rows)
    low, high = np.quantile(rows, [tail, 1 - tail], axis=1)
    return np.minimum(low, mean), np.maximum(high, mean)


def percentile_ends(resampled: Float64, n: int, value: float) -> tuple[float, float]:
    """Return the ends of the expanded 95 % interval of any statistic of `n` clusters.

    `resampled` holds it in each resample, shape (resamples,); NaN is left out. The percentiles are
    those of `mean_intervals`, and the ends NaN with fewer than `MIN_ARTISTS` clusters.
    """
    some = resampled[np.isfinite(resampled)]
    if n < MIN_ARTISTS or not len(some) or not np.isfinite(value):
        return np.nan, np.nan
    low, high = _ends(some[None], _tail(n), np.array([value]))
    return float(low[0]), float(high[0])


def rounded_mean(values: Float64, who: npt.NDArray[Any]) -> dict[str, float]:
    """Return score, low and high: the mean with its interval, rounded to two decimals.

    `values` has shape (tracks,), in dB; NaN is left out. There is no interval with fewer than
    `MIN_ARTISTS` artists, and nothing without a value.
    """
    some = np.isfinite(values)
    if not some.any():
        return {}
    found = mean_intervals(values[some, None], np.unique(who[some], return_inverse=True)[1])
    named = {"score": found.mean[0], "low": found.low[0], "high": found.high[0]}
    return {name: round(float(x), 2) for name, x in named.items() if np.isfinite(x)}


def median_intervals(
    values: Float64, clusters: IntArray, *, resamples: int = RESAMPLES
) -> Intervals:
    """Return the median over tracks of each column, with its interval as of `mean_intervals`.

    With an even number of tracks the lower end uses the lower of the two
    middle values, and the upper end the upper one.
    """
    n = int(clusters.max(initial=-1)) + 1
    median = np.median(values, axis=0)
    low, high = np.full_like(median, np.nan), np.full_like(median, np.nan)
    if n >= MIN_ARTISTS:
        tail = _tail(n)
        weights = draw(n, resamples).astype(np.float32)  # counts below 2^24 are exact
        ordered = np.sort(values, axis=0)
        columns = np.arange(values.shape[1])
        for end, share, strictly in ((low, tail, False), (high, 1 - tail, True)):
            end[:] = ordered[_first_rank(values, clusters, weights, share, strictly), columns]
    return Intervals(median, low, high)


def _first_rank(
    values: Float64,
    clusters: IntArray,
    weights: npt.NDArray[np.float32],
    share: float,
    strictly: bool,
) -> IntArray:
    """Return the first rank, from 0, up to which half of the tracks are in `share` of resamples.

    Half, or with `strictly` more than half. The share never falls with the rank, so that bisection
    finds it for all columns at once.
    """
    own = (clusters[:, None] == np.arange(weights.shape[1])).astype(np.float32)
    total = (weights @ own.sum(axis=0))[:, None]
    ranks = np.argsort(np.argsort(values, axis=0, kind="stable"), axis=0, kind="stable")
    first = np.zeros(values.shape[1], dtype=np.intp)
    last = np.full_like(first, len(values) - 1)
    while (first < last).any():
        middle = (first + last) // 2
        below = 2 * (weights @ (own.T @ (ranks <= middle).astype(np.float32)))
        enough = (below > total if strictly else below >= total).mean(axis=0) >= share
        last, first = np.where(enough, middle, last), np.where(enough, first, middle + 1)
        first = np.minimum(first, last)
    return first


def _tail(n: int) -> float:
    """Return the lower percentile that makes the interval of `n` clusters as wide as Student's."""
    return float(
        scipy.stats.norm.cdf(scipy.stats.t.ppf((1 - LEVEL) / 2, n - 1) * np.sqrt(n / (n - 1)))
    )


def means_and_errors(values: Float64, clusters: IntArray) -> tuple[Float64, Float64]:
    """Return mean and standard error of each column; tracks of a cluster are not independent."""
    sizes = np.bincount(clusters)
    mean = values.mean(axis=0)
    residuals = cluster_sums(values - mean, clusters)
    n = len(sizes)
    error = np.sqrt((residuals**2).sum(axis=0) * n / max(n - 1, 1)) / len(values)
    error[error < 1e-12 * np.abs(values).max(initial=0.0)] = 0.0  # rounding, not spread
    return mean, error


def studentized_means(values: Float64, clusters: IntArray, weights: Float64) -> Float64:
    """Return (mean of the resample − mean) / standard error of the resample, per column.

    Its quantiles are those of a t distribution estimated from the data. A resample without spread
    carries no information and counts as 0.
    """
    sizes = np.bincount(clusters).astype(float)
    sums = cluster_sums(values - values.mean(axis=0), clusters)
    total = (weights @ sizes)[:, None]
    shift = (weights @ sums) / total
    n = len(sizes)
    squares = (
        weights @ sums**2
        - 2 * shift * (weights @ (sums * sizes[:, None]))
        + shift**2 * (weights @ sizes**2)[:, None]
    )
    scale = (sums**2).sum(axis=0)
    squares[squares < 1e-12 * scale] = 0.0
    error = np.sqrt(squares * n / (n - 1)) / total
    return np.asarray(np.divide(shift, error, out=np.zeros_like(shift), where=error > 0))


def shares_of_best(means: Float64) -> Float64:
    """Return in which share of the resamples each column has the highest mean; ties are split.

    Examples
    --------
    >>> shares_of_best(np.array([[3.0, 1.0, 2.0], [3.0, 3.0, 0.0]]))
    array([0.75, 0.25, 0.  ])
    """
    best = means == means.max(axis=1, keepdims=True)
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))


def rank_intervals(means: Float64, level: float = LEVEL) -> tuple[npt.NDArray[np.int64], ...]:
    """Return the best and the worst rank that each column has in `level` of the resamples."""
    order = np.argsort(-means, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, means.shape[1] + 1)[None], axis=1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(ranks, tails, axis=0, method="nearest").astype(np.int64)
    return low, high


def signed_rank(differences: Float64) -> Float64:
    """Return the two-sided p of Wilcoxon's signed-rank test, per column; 1 if all are zero.

    Up to `EXACT` differences, ties or not, p is exact; beyond, it is the normal approximation with
    the correction for ties. Differences of zero share their ranks, which then do not count (Pratt).
    """
    rounded = np.round(differences, 9)
    if len(rounded) > EXACT:
        found = scipy.stats.wilcoxon(
            rounded, axis=0, zero_method="pratt", method="asymptotic"
        ).pvalue
        return np.where((rounded == 0).all(axis=0), 1.0, found)
    doubled = np.rint(2 * scipy.stats.rankdata(np.abs(rounded), axis=0)).astype(np.int64)
    return np.array([_of_signs(column, d) for column, d in zip(doubled.T, rounded.T, strict=True)])


def _of_signs(doubled: IntArray, differences: Float64) -> float:
    """Return the share of all signs of the ranks whose sum is as far from the middle, or farther.

    `doubled` is twice the rank of each difference, since ties have halves.
    """
    used = doubled[differences != 0]
    above = int(doubled[differences > 0].sum())
    tail = _sign_sums(tuple(np.sort(used).tolist()))
    return min(1.0, 2 * float(tail[max(above, len(tail) - 1 - above)]))


@lru_cache(maxsize=256)
def _sign_sums(ranks: tuple[int, ...]) -> Float64:
    """Return the probability that the sum of a random half of `ranks` is at least 0, 1, 2, …."""
    chance = np.zeros(sum(ranks) + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] = chance[rank:] / 2 + chance[: len(chance) - rank] / 2
        chance[:rank] /= 2
    return np.asarray(np.cumsum(chance[::-1])[::-1])


def holm(p: npt.ArrayLike) -> Float64:
    """Return p values corrected for their number by Holm's step-down; NaN stays and is not counted.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, float("nan")]).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    given = np.asarray(p, dtype=np.float64)
    out = np.full_like(given, np.nan)
    here = np.flatnonzero(~np.isnan(given))
    order = here[np.argsort(given[here], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return out


def letters(different: BoolArray) -> list[str]:
    """Return the compact letter display: two items share a letter exactly if they do not differ.

    `different` has shape (k, k) and is symmetric: which pairs differ significantly.

    References
    ----------
    Piepho, "An algorithm for a letter-based representation of all-pairwise comparisons", Journal of
    Computational and Graphical Statistics 13, 2004 (insert and absorb).

    Examples
    --------
    >>> letters(np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool))
    ['a', 'ab', 'b']
    """
    groups = [frozenset(range(len(different)))]
    for i, j in np.argwhere(np.triu(different)):
        split = [half for g in groups if {i, j} <= g for half in (g - {i}, g - {j})]
        kept = [g for g in groups if not {i, j} <= g]
        for half in split:
            if not any(half <= other for other in kept):
                kept = [other for other in kept if not other < half] + [half]
        groups = kept
    groups.sort(key=lambda g: sorted(g))
    return [
        "".join(_letter(n) for n, g in enumerate(groups) if i in g) for i in range(len(different))
    ]


def _letter(n: int) -> str:
    """Return the n-th name of a group: a … z, then a1 … z1.

    >>> _letter(0), _letter(27)
    ('a', 'b1')
    """
    return chr(ord("a") + n % 26) + (str(n // 26) if n >= 26 else "")
