"""Tests by rank, with one value an artist, and what many of them together may claim."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from harness.errors import HarnessError
from harness.grid import BoolArray, FloatArray, Grid
from harness.selection.resampling import MIN_ARTISTS, cluster_sums


@dataclass(frozen=True)
class Friedman:
    """Whether any separator differs from the others, and which, by ranks within each artist.

    Attributes
    ----------
    statistic, p
        Friedman's χ² with its p.
    artists
        Blocks: one row of mean scores an artist.
    mean_ranks
        1 is best, by separator.
    nemenyi, conover
        Two-sided p of each pair, separators × separators: Nemenyi's (studentised range; correct for
        all pairs, and careful) and Conover's (t, with Holm's correction; finds more).
    """

    statistic: float
    p: float
    artists: int
    mean_ranks: pd.Series[float]
    nemenyi: pd.DataFrame
    conover: pd.DataFrame


def signed_rank(blocks: FloatArray) -> FloatArray:
    """Return the two-sided p of Wilcoxon's signed-rank test, per column of differences.

    Exact up to 50 differences without ties, else by the normal approximation with the correction
    for ties; differences of zero share their ranks (Pratt). All zero gives 1.
    """
    with warnings.catch_warnings():  # of samples too small for the approximation: ties in few
        warnings.simplefilter("ignore")
        found = stats.wilcoxon(np.round(blocks, 9), axis=0, zero_method="pratt").pvalue
    return np.where((np.round(blocks, 9) == 0).all(axis=0), 1.0, found)


def friedman(grid: Grid) -> Friedman:
    """Test whether the separators of a grid differ at all, by ranks within each artist.

    Raises
    ------
    HarnessError
        If there are fewer than three separators or too few artists on the tracks that all have.

    References
    ----------
    Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 7, 2006
    (Nemenyi); Conover, *Practical Nonparametric Statistics*, 3rd ed. 1999, chapter 5.8.
    """
    whole = grid.complete()
    blocks = artist_means(whole.scores, whole)
    n, k = blocks.shape
    if k < 3 or n < MIN_ARTISTS:
        raise HarnessError(
            f"{grid.dataset}, {grid.stem}: {k} separators by {n} artists; Friedman's test needs "
            f"3 and {MIN_ARTISTS}"
        )
    ranks = stats.rankdata(-blocks, axis=1)
    sums, squares = ranks.sum(axis=0), (ranks**2).sum()
    spread = squares - n * k * (k + 1) ** 2 / 4
    statistic = (k - 1) * ((sums - n * (k + 1) / 2) ** 2).sum() / spread if spread else 0.0
    gap = np.abs(sums[:, None] - sums)
    nemenyi = stats.studentized_range.sf(gap / n / np.sqrt(k * (k + 1) / (12 * n)), k, np.inf)
    freedom = (n - 1) * (k - 1)
    rest = max(n * squares - (sums**2).sum(), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.nan_to_num(gap / np.sqrt(2 * rest / freedom), nan=0.0, posinf=np.inf)
    conover = 2 * stats.t.sf(t, freedom)
    upper = np.triu_indices(k, 1)
    conover[upper] = holm(conover[upper])
    conover.T[upper] = conover[upper]
    names = list(whole.separators)
    return Friedman(
        statistic=float(statistic),
        p=float(stats.chi2.sf(statistic, k - 1)),
        artists=n,
        mean_ranks=pd.Series(sums / n, names),
        nemenyi=pd.DataFrame(np.clip(nemenyi, 0, 1), names, names),
        conover=pd.DataFrame(conover, names, names),
    )


def holm(p: npt.ArrayLike) -> FloatArray:
    """Return p values corrected for their number by Holm's step-down; NaN stays and counts none.

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
    """Return the compact letter display: those that share a letter cannot be told apart.

    Parameters
    ----------
    different
        Shape (k, k), symmetric: which pairs can be told apart.

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


def artist_means(values: FloatArray, grid: Grid) -> FloatArray:
    """Return each artist's mean of a column, shape (artists, columns)."""
    return np.asarray(cluster_sums(values, grid.clusters) / np.bincount(grid.clusters)[:, None])


def _letter(n: int) -> str:
    """Return the n-th name of a group: a … z, then a1 … z1.

    >>> _letter(0), _letter(27)
    ('a', 'b1')
    """
    return chr(ord("a") + n % 26) + (str(n // 26) if n >= 26 else "")
