"""Factorise the Gram matrix of delayed signals, which is block Toeplitz, and solve with it.

The generalised Schur algorithm needs n² instead of n³ operations; its block hyperbolic steps are
done in the mixed form, which is the stable one (Bojanczyk, Brent, Van Dooren and de Hoog, "A note
on downdating the Cholesky factorization", 1987). Where the matrix is numerically singular, a
Cholesky factorisation with pivoting keeps as many directions as the digits carry.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, solve_triangular
from scipy.linalg.lapack import dpstrf

Float64 = npt.NDArray[np.float64]

RANK_TOLERANCE = 1e-14  # pivots below this part of the largest are dependent directions


class Factor:
    """Triangular factor R of a Gram matrix G = RᵀR of delayed signals.

    Parameters
    ----------
    correlations
        ⟨a(t), b(t−lag)⟩ of the whole track, shape (signals, signals, lags).

    Attributes
    ----------
    conditioning
        Smallest pivot of the factorisation against the largest; 0 where it is lost in rounding.
        The smaller, the more arbitrary are the filters in some band.
    rank
        Directions kept, at most signals × lags.
    """

    def __init__(self, correlations: Float64) -> None:
        signals, _, lags = correlations.shape
        self._shape = signals, lags
        first = correlations.transpose(0, 2, 1).reshape(signals, -1)
        self._order: npt.NDArray[np.intp] | None = None
        try:
            self._upper = _schur(first)
            self.conditioning = _pivot_ratio(self._upper)
        except LinAlgError:
            self.conditioning = 0.0
        if self.conditioning < RANK_TOLERANCE:
            self._upper, self._order = _pivoted(_assemble(first))
            self.conditioning = 0.0
        self.rank = len(self._upper)

    def whiten(self, cross: Float64) -> Float64:
        """Solve Rᵀy = d: the coordinates of each projection in an orthonormal basis.

        Parameters
        ----------
        cross
            ⟨e(t), b(t−lag)⟩, shape (estimates, signals, lags).

        Returns
        -------
        ndarray
            Shape (rank, estimates); the energy of a projection is the sum of its squares.
        """
        right = cross.transpose(2, 1, 0).reshape(-1, len(cross))
        if self._order is not None:
            right = right[self._order]
        y: Float64 = solve_triangular(self._upper, right, trans=1, check_finite=False)
        return y

    def filters(self, whitened: Float64) -> Float64:
        """Solve Rc = y: the filters of each projection, shape (estimates, signals, lags)."""
        signals, lags = self._shape
        solved = solve_triangular(self._upper, whitened, check_finite=False)
        if self._order is not None:
            kept, solved = solved, np.zeros((signals * lags, solved.shape[1]))
            solved[self._order] = kept
        return np.ascontiguousarray(solved.reshape(lags, signals, -1).transpose(2, 1, 0))


def _schur(first: Float64) -> Float64:
    """Cholesky factor R of the block Toeplitz matrix with this first block row."""
    m, n = first.shape
    upper = np.zeros((n, n))
    a = solve_triangular(np.linalg.cholesky(first[:, :m]), first, lower=True, check_finite=False)
    upper[:m] = a
    b, eye = a[:, m:].copy(), np.eye(m)
    for row in range(m, n, m):
        a = upper[row - m : row, row - m : n - m]
        w = solve_triangular(a[:, :m], b[:, :m].T, trans=1, check_finite=False)
        left, right = np.linalg.cholesky(eye - w @ w.T), np.linalg.cholesky(eye - w.T @ w)
        inverse = np.linalg.inv(left)
        new = upper[row : row + m, row:]
        np.matmul(inverse, a, out=new)
        new -= (inverse @ w) @ b
        b = right.T @ b[:, m:] - (right.T @ w.T @ inverse.T) @ new[:, m:]
    return upper


def _pivot_ratio(upper: Float64) -> float:
    """Smallest pivot of a triangular factor against the largest."""
    pivots = upper.diagonal() ** 2
    return float(pivots.min() / pivots.max())


def _assemble(first: Float64) -> Float64:
    """Write out the block Toeplitz matrix with this first block row."""
    m, n = first.shape
    gram = np.zeros((n, n))
    for row in range(0, n, m):
        gram[row : row + m, row:] = first[:, : n - row]
        gram[row:, row : row + m] = first[:, : n - row].T
    return gram


def _pivoted(gram: Float64) -> tuple[Float64, npt.NDArray[np.intp]]:
    """Cholesky factor of as many rows as are independent, and which they are."""
    largest = float(gram.diagonal().max(initial=0.0))
    factor, order, rank, _ = dpstrf(gram, tol=RANK_TOLERANCE * largest, overwrite_a=1)
    return np.triu(factor[:rank, :rank]), np.asarray(order[:rank] - 1)
