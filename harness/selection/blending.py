"""Blends: per stem, a weighted mean of the separators' estimates, chosen from inner products.

Weights are convex: none is negative and they sum to one. All that is asked of a track are the inner
products that a run keeps (`harness.metrics.Blend`), so that thousands of blends are scored exactly
in the time it takes to read one song. Two ways to choose weights:

* `greedy` adds one separator after another, with replacement, for any metric (Caruana et al. 2004).
* `programme` is for `snr` alone: the mean SNR is −Σ log of quadratic forms of the noise, and each
  step minimises Σ of these forms over their last values, a quadratic programme that never makes the
  mean worse.

Both are shrunk towards the best single separator: by how much, tracks of other artists say.

What the inner products cannot tell: they are sums over all frequencies, so there are no weights by
band; and over one stem alone, so what the stems of a track sum to is not known. For the same reason
a mixture-consistent blend is not scored here. Where every separator's stems sum to the mixture and
all stems have the same weights, the blend's do too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls

from harness.errors import HarnessError
from harness.metrics import Blend, harmonic_mean, scorer
from harness.selection.grid import HARMONIC, LIMIT, FloatArray, Grid, IntArray
from harness.selection.policies import fold_of
from harness.selection.resampling import draw

Score = Callable[[npt.ArrayLike], FloatArray]  # weights (blends, K) → dB (blends, tracks)
Chooser = Callable[[FloatArray], FloatArray]  # counts (jobs, tracks) → weights (jobs, K)
Kept = Mapping[tuple[str, str, str, str], Blend]  # (dataset, split, track, stem) → inner products

ROUNDS = 20  # of greedy selection, and so the finest weight of one bag
BAGS = 8
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the blend, the rest is the best single separator's
INNER_FOLDS = 5
MIN_CHOOSING = 3  # artists, below which nobody can say whether a blend is better than a single
STEPS = 100  # of the quadratic programme; some ten are needed
RIDGE = 1e-10  # against equal estimates, of the mean energy of the noise


@dataclass(frozen=True)
class Products:
    """What the blends of one stem are scored from.

    Attributes
    ----------
    grid
        Tracks that all of its separators have a score of; weights are in the order of these.
    blends
        Inner products, one a track.
    """

    grid: Grid
    blends: tuple[Blend, ...]

    @property
    def n_separators(self) -> int:
        """How many weights there are."""
        return len(self.grid.separators)

    def scorer(self, metric: str = HARMONIC) -> Score:
        """Return the function that scores blends by one metric, within ±`grid.LIMIT` dB.

        Parameters
        ----------
        metric
            ``harmonic_mean`` or one of `harness.metrics.DEFAULT`.

        Raises
        ------
        HarnessError
            If there is no such metric.
        """
        if metric != HARMONIC:
            one = scorer(self.blends, metric)
            return lambda weights: np.clip(one(weights), -LIMIT, LIMIT)
        snr, sdr = scorer(self.blends, "snr"), scorer(self.blends, "sdr")
        return lambda weights: np.clip(harmonic_mean(snr(weights), sdr(weights)), -LIMIT, LIMIT)

    def only(self, separators: Sequence[str]) -> Products:
        """Return what blends of these separators alone are scored from, in this order."""
        column = [self.grid.separators.index(name) for name in separators]
        scores = self.grid.scores[:, column]
        grid = replace(self.grid, separators=tuple(separators), scores=scores)
        return Products(grid, tuple(blend.only(separators) for blend in self.blends))


def products_of(grid: Grid, kept: Kept) -> Products:
    """Return the tracks of a grid whose inner products are kept.

    Parameters
    ----------
    grid
        As from `grids`; separators that have too few tracks are left out (`Grid.complete`).
    kept
        The separators of each `Blend` go by their names.
    """
    whole = grid.complete()
    found = [
        blend
        if (blend := kept.get((grid.dataset, split, track, grid.stem)))
        and set(whole.separators) <= set(blend.separators)
        else None
        for split, track in zip(whole.splits, whole.tracks, strict=True)
    ]
    there = whole.take(np.array([blend is not None for blend in found], dtype=bool))
    return Products(there, tuple(blend.only(whole.separators) for blend in found if blend))


def best_single(score: Score, counts: FloatArray, n_separators: int) -> FloatArray:
    """Choose the separator with the best mean; weights (jobs, K), one of each row is 1.

    Parameters
    ----------
    counts
        How often each track counts in each choice, shape (jobs, tracks).
    """
    means = counts @ score(np.eye(n_separators)).T
    return np.asarray(np.eye(n_separators)[means.argmax(axis=1)])


def greedy(
    score: Score, counts: FloatArray, n_separators: int, *, rounds: int = ROUNDS
) -> FloatArray:
    """Choose weights by adding separators one by one, each as often as it helps.

    The blend of a round is the plain mean of what was added so far; the round with the best mean
    score is kept, so that the result is never worse on these tracks than the best single separator.

    Parameters
    ----------
    score
        As from `Products.scorer`.
    counts
        How often each track counts in each choice, shape (jobs, tracks).

    Returns
    -------
    ndarray
        Weights, shape (jobs, K).

    References
    ----------
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


def bagged_greedy(
    score: Score, counts: FloatArray, n_separators: int, clusters: IntArray, *, bags: int = BAGS
) -> FloatArray:
    """Return the mean of the weights that `greedy` chooses on resamples of the artists.

    The first bag holds every track once. Bags are of artists, not of separators as in the paper,
    whose libraries hold thousands: half of five separators may lack the one good one.
    """
    drawn = draw(int(clusters.max()) + 1, bags, seed=0)[:, clusters]
    drawn[0] = 1
    each = counts[:, None] * drawn
    each = np.where(each.any(axis=2, keepdims=True), each, counts[:, None])
    weights = greedy(score, each.reshape(-1, counts.shape[1]), n_separators)
    return np.asarray(weights.reshape(len(counts), bags, n_separators).mean(axis=1))


def programme(products: Products, counts: FloatArray) -> FloatArray:
    """Choose the weights with the best mean SNR, as `greedy` with any number of rounds.

    Noise of less than −`LIMIT` dB against the reference is as good as none.

    Returns
    -------
    ndarray
        Weights, shape (jobs, K); a local optimum, since a sum of logarithms may have several.
    """
    whole = np.concatenate([blend.forms("snr")[1] for blend in products.blends])
    target = whole[:, :1, :1]
    noise = target - whole[:, :1, 1:] - whole[:, 1:, :1] + whole[:, 1:, 1:]
    noise, floor = noise / target, 10 ** (-LIMIT / 10)
    return np.array([_programme(noise, floor, row) for row in counts])


def _programme(noise: FloatArray, floor: float, counts: FloatArray) -> FloatArray:
    """Minimise Σ counts·log(wᵀ·noise·w + floor) on the simplex."""
    weights = np.full(noise.shape[-1], 1 / noise.shape[-1])
    for _ in range(STEPS):
        energies = np.einsum("k,tkl,l->t", weights, noise, weights).clip(min=0)
        new = _least(np.tensordot(counts / (energies + floor), noise, 1))
        if np.abs(new - weights).max() < 1e-9:
            return new
        weights = new
    return weights


def _least(form: FloatArray) -> FloatArray:
    """Minimise wᵀ·form·w on the simplex.

    Its conditions are, but for a factor, those of ½zᵀ·form·z − Σz with z ≥ 0, and that is a least
    squares problem of non-negative z.
    """
    scale = np.trace(form) / len(form)
    if scale <= 0:
        return np.full(len(form), 1 / len(form))
    lower = np.linalg.cholesky(form / scale + RIDGE * np.eye(len(form)))
    z = nnls(lower.T, np.linalg.solve(lower, np.ones(len(form))))[0]
    return np.asarray(z / z.sum())


def shrunk(choose: Chooser, score: Score, counts: FloatArray, grid: Grid) -> FloatArray:
    """Draw weights towards the best single separator, as far as other artists' tracks say.

    Of the tracks that choose, each fold of artists is held out in turn: the rest chooses a blend
    and a single separator, and the share of the blend (`SHARES`) that scores best on the tracks
    held out is taken; of equals the smallest. With fewer than `MIN_CHOOSING` artists it is none.

    Returns
    -------
    ndarray
        Weights, shape (jobs, K).
    """
    n = len(grid.separators)
    blend, single = choose(counts), best_single(score, counts, n)
    held = fold_of(grid.clusters, INNER_FOLDS, seed=1)
    inside = counts[:, None] * (held != np.unique(held)[:, None])  # (jobs, folds, tracks)
    outside = counts[:, None] - inside
    flat = inside.reshape(-1, inside.shape[2])
    parts = choose(flat), best_single(score, flat, n)
    shares = np.array(SHARES)
    tries = shares[:, None, None] * parts[0] + (1 - shares[:, None, None]) * parts[1]
    scores = score(tries.reshape(-1, n)).reshape(len(shares), *inside.shape)
    best = shares[np.einsum("sjft,jft->js", scores, outside).argmax(axis=1)]
    artists = np.array([len(set(grid.clusters[row > 0])) for row in counts])
    best = np.where(artists < MIN_CHOOSING, 0.0, best)[:, None]
    return np.asarray(best * blend + (1 - best) * single)


def choose_weights(
    products: Products, counts: npt.ArrayLike | None = None, *, metric: str = HARMONIC
) -> FloatArray:
    """Choose the weights of a blend.

    Parameters
    ----------
    counts
        How often each track counts in each choice, shape (jobs, tracks); by default one choice in
        which each counts once.
    metric
        ``snr`` takes `programme`, any other `bagged_greedy`; both are `shrunk`.

    Returns
    -------
    ndarray
        Weights in the order of ``products.grid.separators``, shape (jobs, K).

    Raises
    ------
    HarnessError
        If there is no track.
    """
    grid, n = products.grid, products.n_separators
    if not products.blends:
        raise HarnessError(f"blend of {grid.stem}: no track can choose; score one with products")
    once = np.ones((1, len(products.blends)))
    counted = once if counts is None else np.asarray(counts, np.float64)
    score = products.scorer(metric)

    def choose(rows: FloatArray) -> FloatArray:
        if metric == "snr":
            return programme(products, rows)
        return bagged_greedy(score, rows, n, grid.clusters)

    return shrunk(choose, score, counted, grid)
