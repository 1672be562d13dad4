"""Blends: per stem, a weighted mean of the separators' estimates, chosen from inner products.

Weights are convex: none is negative and they sum to one. The inner products that a run keeps
(`harness.metrics.BlendProducts`) suffice to score any blend of a track exactly. Two algorithms
choose weights:

* `greedy` adds one separator after another, with replacement, for any metric (Caruana et al. 2004).
* `programme` is for `snr` alone. The mean SNR is −Σ log of quadratic forms of the noise. Each step
  minimizes Σ of these forms over their last values, a quadratic program that never makes the mean
  worse.

Both are shrunk towards the best single separator, by an amount that tracks of other artists decide.
From inner products by frequency band (`BlendProducts.edges`), `programme` chooses weights for each
band, convex in each, which are also shrunk towards the same weights in all bands.

The inner products are those of one stem alone. They do not determine the sum of a track's stems, so
a mixture-consistent blend is not scored here. If every separator's stems sum to the mixture and all
stems have the same weights, the blend's stems sum to the mixture, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
import numpy.typing as npt
import scipy  # which imports `optimize` when it is first used

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.metrics import BlendProducts, harmonic_mean, scorer
from harness.results.grid import HARMONIC, LIMIT, Grid, IntArray, parts_of
from harness.selection.policies import fold_of
from harness.selection.statistics import draw

# A row of weights has one per separator or, by band, those of the lowest band, then the next one.
# One row is one choice (a job); counts are how often each track counts in it, (jobs, tracks).
Score = Callable[[npt.ArrayLike], Float64]  # weights (blends, K) → dB (blends, tracks)
Chooser = Callable[[Float64], Float64]  # counts (jobs, tracks) → weights (jobs, K)
Kept = Mapping[tuple[str, str, str, str], BlendProducts]  # by (dataset, split, track, stem)

_MADE_OF = {HARMONIC: ("snr", "sdr")}
ROUNDS = 20  # of greedy selection, and so the finest weight of one bag
BAGS = 8
QUARTERS = 4  # a blend is mixed with the best single separator in shares of 0, ¼ … 1
INNER_FOLDS = 5
MIN_CHOOSING = 3  # artists; with fewer a blend cannot be compared with a single separator
STEPS = 100  # of the quadratic program; about ten are needed
RIDGE = 1e-10  # relative to the mean energy of the noise; against equal estimates


@dataclass(frozen=True)
class Products:
    """The inner products of one stem, from which its blends are scored."""

    grid: Grid  # complete; weights are in the order of its separators
    blends: tuple[BlendProducts, ...]  # one per track of the grid

    @property
    def n_separators(self) -> int:
        """Number of weights in a band."""
        return len(self.grid.separators)

    @property
    def n_bands(self) -> int:
        """Number of bands with weights of their own."""
        return self.blends[0].n_bands if self.blends else 1

    def scorer(self, metric: str = HARMONIC) -> Score:
        """Return the function that scores blends by one metric, within ±`grid.LIMIT` dB."""
        if len(parts := parts_of(metric)) > 1:
            each = [self.scorer(part) for part in parts]
            return lambda weights: np.asarray(np.mean([one(weights) for one in each], axis=0))
        if metric != HARMONIC:
            one = scorer(self.blends, metric)
            return lambda weights: np.clip(one(weights), -LIMIT, LIMIT)
        snr, sdr = scorer(self.blends, "snr"), scorer(self.blends, "sdr")
        return lambda weights: np.clip(harmonic_mean(snr(weights), sdr(weights)), -LIMIT, LIMIT)

    def together(self) -> Products:
        """Return the products of blends with the same weights in all bands."""
        return replace(self, blends=tuple(blend.together() for blend in self.blends))

    def only(self, separators: Sequence[str]) -> Products:
        """Return the products of these separators alone; they are sorted, as those of a grid."""
        blends = tuple(blend.only(separators) for blend in self.blends)
        return Products(self.grid.only(separators), blends)


def scored_by(kept: Kept, metric: str) -> Kept:
    """Return the inner products that determine a metric of blends, or a mean of several."""
    needed = {name for part in parts_of(metric) for name in _MADE_OF.get(part, (part,))}
    return {place: blend for place, blend in kept.items() if needed <= set(blend.metrics)}


def products_of(grid: Grid, kept: Kept) -> Products:
    """Return the tracks of a grid with inner products, without separators that have too few."""
    whole = grid.complete()
    names = set(whole.separators)
    found = {
        row: blend.only(whole.separators)
        for row, track in enumerate(whole.keys)
        if (blend := kept.get((grid.dataset, *track, grid.stem))) and names <= set(blend.separators)
    }
    return Products(whole.take(np.array([*found], dtype=np.intp)), tuple(found.values()))


def best_single(score: Score, counts: Float64, n_separators: int, n_bands: int = 1) -> Float64:
    """Choose the separator with the best mean; in each band one of the weights (jobs, K) is 1."""
    singles = np.tile(np.eye(n_separators), n_bands)
    means = counts @ score(singles).T
    return np.asarray(singles[means.argmax(axis=1)])


def greedy(score: Score, counts: Float64, n_separators: int, *, rounds: int = ROUNDS) -> Float64:
    """Choose weights (jobs, K) by adding separators one by one, each as often as it helps.

    The blend of a round is the plain mean of the separators added so far. The round with the best
    mean score wins, so that on these tracks no single separator is better than the result. See
    Caruana, Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML
    2004, sections 2.1 and 2.2.
    """
    jobs = np.arange(len(counts))
    added = np.zeros((len(counts), n_separators))
    best, weights = np.full(len(counts), -np.inf), added.copy()
    for n in range(1, rounds + 1):
        tries = (added[:, None] + np.eye(n_separators)) / n
        scores = score(tries.reshape(-1, n_separators)).reshape(len(counts), n_separators, -1)
        sums = np.einsum("jkt,jt->jk", scores, counts)
        pick = sums.argmax(axis=1)
        added[jobs, pick] += 1
        better = sums[jobs, pick] > best
        best = np.where(better, sums[jobs, pick], best)
        weights[better] = added[better] / n
    return weights


def bagged_greedy(score: Score, counts: Float64, n_separators: int, clusters: IntArray) -> Float64:
    """Return the mean of the weights that `greedy` chooses on resamples of the artists.

    The first bag contains every track once. Bags are of artists, not of separators as in the paper,
    whose libraries contain thousands: half of five separators may lack the only good one.
    """
    drawn = draw(int(clusters.max()) + 1, BAGS)[:, clusters]
    drawn[0] = 1
    each = counts[:, None] * drawn
    each = np.where(each.any(axis=2, keepdims=True), each, counts[:, None])
    weights = greedy(score, each.reshape(-1, counts.shape[1]), n_separators)
    return np.asarray(weights.reshape(len(counts), BAGS, n_separators).mean(axis=1))


def programme(products: Products, counts: Float64) -> Float64:
    """Choose the weights (jobs, K) with the best mean SNR; the limit of `greedy` for many rounds.

    Noise below −`LIMIT` dB relative to the reference counts as none. The result is a local optimum:
    a sum of logarithms may have several.
    """
    noise = np.concatenate([blend.forms("snr")[1] for blend in products.blends])
    noise, floor = noise / noise[:, :1, :1], 10 ** (-LIMIT / 10)
    return np.array([_programme(noise, floor, row, products.n_bands) for row in counts])


def _programme(noise: Float64, floor: float, counts: Float64, n_bands: int) -> Float64:
    """Minimize Σ counts·log(noise + floor), noise being forms in (−1, w), w convex in each band."""
    n = (noise.shape[-1] - 1) // n_bands
    v = np.concatenate([[-1], np.full(n_bands * n, 1 / n)])
    for _ in range(STEPS):
        energies = np.einsum("k,tkl,l->t", v, noise, v).clip(min=0)
        form, new = np.tensordot(counts / (energies + floor), noise, 1), v.copy()
        for first in range(1, len(v), n):
            band = slice(first, first + n)
            new[band] = 0
            rest = form @ new  # products of the noise that the other bands leave with each estimate
            new[band] = _least(form[band, band] + rest[band, None] + rest[band] + new @ rest)
        if np.abs(new - v).max() < 1e-9:
            return new[1:]
        v = new
    return v[1:]


def _least(form: Float64) -> Float64:
    """Minimize wᵀ·form·w on the simplex.

    Up to a factor, the conditions are those of ½zᵀ·form·z − Σz with z ≥ 0: non-negative least
    squares.
    """
    scale = np.trace(form) / len(form)
    if scale <= 0:
        return np.full(len(form), 1 / len(form))
    lower = np.linalg.cholesky(form / scale + RIDGE * np.eye(len(form)))
    z = scipy.optimize.nnls(lower.T, np.linalg.solve(lower, np.ones(len(form))))[0]
    return np.asarray(z / z.sum())


def shrunk(choosers: Sequence[Chooser], score: Score, counts: Float64, grid: Grid) -> Float64:
    """Shrink weights (jobs, K) towards simpler ones, by an amount that held-out artists decide.

    Of the tracks that choose, each fold of artists is held out in turn while the rest chooses. Of
    all weighted means of the choosers' results, the one with the best held-out score is returned;
    ties go to the simplest, which is the first chooser's, as does every choice by fewer than
    `MIN_CHOOSING` artists.
    """
    held = fold_of(grid.clusters, INNER_FOLDS, seed=1)
    inside = counts[:, None] * (held != np.unique(held)[:, None])  # (jobs, folds, tracks)
    outside = counts[:, None] - inside
    parts = np.stack([choose(inside.reshape(-1, inside.shape[2])) for choose in choosers])
    shares = _shares(len(choosers))
    tries = np.tensordot(shares, parts, 1)
    scores = score(tries.reshape(-1, tries.shape[-1])).reshape(len(shares), *inside.shape)
    best = np.einsum("sjft,jft->js", scores, outside).argmax(axis=1)
    artists = np.array([len(set(grid.clusters[row > 0])) for row in counts])
    best = np.where(artists < MIN_CHOOSING, 0, best)
    whole = np.stack([choose(counts) for choose in choosers])
    return np.asarray(np.einsum("jp,pjk->jk", shares[best], whole))


def _shares(parts: int) -> Float64:
    """Return all ways to share quarters among parts, largest shares of the first parts first.

    Examples
    --------
    >>> _shares(2)[:, 0].tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    """
    every = product(range(QUARTERS + 1), repeat=parts)
    return np.array([way[::-1] for way in every if sum(way) == QUARTERS]) / QUARTERS


def choose_weights(
    products: Products, counts: npt.ArrayLike | None = None, *, metric: str = HARMONIC
) -> Float64:
    """Choose the weights of a blend, shape (jobs, K), by default on all tracks in one job.

    ``snr`` uses `programme`, any other metric `bagged_greedy`. Weights by band are always those of
    `programme`, which by `HARMONIC` is as good and 20 times as fast. All are `shrunk`.
    """
    grid, n, bands = products.grid, products.n_separators, products.n_bands
    if not products.blends:
        raise HarnessError(f"blend of {grid.stem}: no track has inner products; run all separators")
    counted = np.ones((1, len(grid.tracks))) if counts is None else np.asarray(counts, np.float64)
    score, same = products.scorer(metric), products.together() if bands > 1 else products

    def choose(rows: Float64) -> Float64:
        if metric == "snr":
            return np.tile(programme(same, rows), bands)
        return np.tile(bagged_greedy(of_same, rows, n, grid.clusters), bands)

    of_same = same.scorer(metric)
    single: Chooser = partial(best_single, score, n_separators=n, n_bands=bands)
    by_band = [partial(programme, products)] if bands > 1 else []
    return shrunk([single, choose, *by_band], score, counted, grid)
