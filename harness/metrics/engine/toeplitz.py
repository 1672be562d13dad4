"""Factorise the Gram matrix of delayed signals, which is block Toeplitz, and solve with it.

The generalized Schur algorithm needs n² instead of n³ operations. Its block hyperbolic steps use
the mixed form, which is stable (Bojanczyk, Brent, Van Dooren and de Hoog, "A note on downdating the
Cholesky factorization", 1987). If the matrix is numerically singular, a Cholesky factorization with
pivoting keeps as many directions as float64 can represent.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.linalg import LinAlgError, solve_triangular
from scipy.linalg.lapack import dpstrf, dtrtrs

from harness.core.audio import Float64
from harness.metrics.engine.threads import one_blas_thread

INVERSE_STEPS = 2  # of the iteration for the smallest eigenvalue: within 10 %
PANEL = 64  # blocks of rows that are stored together
RANK_TOLERANCE = 1e-14  # smaller pivots, relative to the largest, are dependent directions


class Factor:
    """Triangular factor R of a Gram matrix G = RᵀR of delayed signals.

    `correlations` are ⟨a(t), b(t−lag)⟩ of the whole track, shape (signals, signals, lags).
    """

    def __init__(self, correlations: Float64) -> None:
        self._correlations = correlations
        signals, _, lags = correlations.shape
        self._shape = signals, lags
        first = correlations.transpose(0, 2, 1).reshape(signals, -1)
        self._order: npt.NDArray[np.intp] | None = None
        with one_blas_thread():
            try:
                self._panels = _schur(first)
                pivots = np.concatenate([panel.diagonal() for panel in self._panels]) ** 2
                singular = pivots.min() / pivots.max() < RANK_TOLERANCE
            except LinAlgError:
                singular = True
            if singular:
                upper, self._order = _pivoted(_assemble(first))
                self._panels = [upper]
        self._corners = [np.ascontiguousarray(panel[:, : len(panel)].T) for panel in self._panels]

    @cached_property
    def conditioning(self) -> float:
        """Smallest eigenvalue of G over the largest, roughly; 0 if it is lost in rounding.

        The smaller it is, the more arbitrary are the filters in some band.
        """
        if self._order is not None:
            return 0.0
        vector = np.random.default_rng(0).standard_normal((np.prod(self._shape), 1))
        for _ in range(INVERSE_STEPS):
            vector = self._backward(self._forward(vector / np.linalg.norm(vector)))
        return float(1 / np.linalg.norm(vector)) / _largest_eigenvalue(self._correlations)

    def whiten(self, cross: Float64) -> Float64:
        """Solve Rᵀy = d: the coordinates of each projection in an orthonormal basis.

        From ⟨e(t), b(t−lag)⟩ of shape (estimates, signals, lags) to shape (rank, estimates); their
        squares add up to the energy of a projection.
        """
        right = cross.transpose(2, 1, 0).reshape(-1, len(cross))
        return self._forward(right if self._order is None else right[self._order])

    def filters(self, whitened: Float64) -> Float64:
        """Solve Rc = y: the filters of each projection, shape (estimates, signals, lags)."""
        signals, lags = self._shape
        solved = self._backward(whitened)
        if self._order is not None:
            kept, solved = solved, np.zeros((signals * lags, solved.shape[1]))
            solved[self._order] = kept
        return np.ascontiguousarray(solved.reshape(lags, signals, -1).transpose(2, 1, 0))

    def _forward(self, right: Float64) -> Float64:
        """Solve Rᵀy = right."""
        y, start = right.copy(), 0
        with one_blas_thread():
            for panel, corner in zip(self._panels, self._corners, strict=True):
                rows = len(panel)
                own, rest = y[start : start + rows], y[start + rows :]
                own[...] = solve_triangular(corner.T, own, trans=1, check_finite=False)
                rest -= panel[:, rows:].T @ own
                start += rows
        return y

    def _backward(self, right: Float64) -> Float64:
        """Solve Ry = right."""
        y, stop = right.copy(), len(right)
        with one_blas_thread():
            for panel, corner in zip(self._panels[::-1], self._corners[::-1], strict=True):
                rows = len(panel)
                own = y[stop - rows : stop]
                rest = own - panel[:, rows:] @ y[stop:]
                own[...] = solve_triangular(corner.T, rest, check_finite=False)
                stop -= rows
        return y


def _largest_eigenvalue(correlations: Float64) -> float:
    """Largest eigenvalue of the block Toeplitz matrix, from the spectrum of its signals."""
    lags = correlations.shape[-1]
    falling = correlations * (1 - np.arange(lags) / lags)
    one_sided = rfft(falling, 2 * lags).transpose(2, 0, 1)
    matrices = one_sided + one_sided.conj().transpose(0, 2, 1) - falling[..., 0]
    return float(np.linalg.eigvalsh(matrices).max())


def _schur(first: Float64) -> list[Float64]:
    """Cholesky factor of the block Toeplitz matrix with this first block row.

    It is a list of panels of rows, each without the zeros on its left.
    """
    m, n = first.shape
    starts = range(0, n, PANEL * m)
    panels = [np.empty((min(PANEL * m, n - start), n - start)) for start in starts]
    a = solve_triangular(np.linalg.cholesky(first[:, :m]), first, lower=True, check_finite=False)
    panels[0][:m] = a
    b, eye = a[:, m:].copy(), np.eye(m)
    for row in range(m, n, m):
        a = a[:, : n - row]
        w, singular = dtrtrs(a[:, :m], b[:, :m].T, trans=1)  # the blocks are small: no wrapper
        if singular:
            raise LinAlgError
        left, right = np.linalg.cholesky([eye - w @ w.T, eye - w.T @ w])
        inverse = np.linalg.inv(left)
        panel, within = divmod(row, PANEL * m)
        panels[panel][within : within + m, :within] = 0
        new = panels[panel][within : within + m, within:]
        np.matmul(inverse, a, out=new)
        new -= (inverse @ w) @ b
        b = right.T @ b[:, m:] - (right.T @ w.T @ inverse.T) @ new[:, m:]
        a = new
    return panels


def _assemble(first: Float64) -> Float64:
    """Write out the block Toeplitz matrix with this first block row."""
    m, n = first.shape
    gram = np.zeros((n, n))
    for row in range(0, n, m):
        gram[row : row + m, row:] = first[:, : n - row]
        gram[row:, row : row + m] = first[:, : n - row].T
    return gram


def _pivoted(gram: Float64) -> tuple[Float64, npt.NDArray[np.intp]]:
    """Cholesky factor of the independent rows, and their indices."""
    largest = float(gram.diagonal().max(initial=0.0))
    factor, order, rank, _ = dpstrf(gram, tol=RANK_TOLERANCE * largest, overwrite_a=1)
    return np.triu(factor[:rank, :rank]), np.asarray(order[:rank] - 1)
