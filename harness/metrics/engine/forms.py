"""Energies of filtered references, per frame, without filtering anything.

An energy |Σ filter ∗ row|² is a quadratic form of the filters whose coefficients are the frame's
correlations. Its rounding error is that of the correlations times the size of the filters. Where
it is too large, because filters are large in a nearly empty band or the result is a small
difference, the frame is filtered in the frequency domain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

from harness.core.audio import Audio, Float64
from harness.metrics.engine.correlations import PAST, Correlations, forward
from harness.metrics.engine.kernel import Row
from harness.metrics.engine.threads import in_threads

LONGEST = 1 << 20  # samples; longer frames are never filtered, which would take much memory
CHUNK = 32  # frames contracted at a time
ROUNDING = 1e-15  # error of a correlation, relative to the energies of its two signals
DOUBT = 1e-8  # relative error above which a value is computed again: 4e-8 dB


@dataclass(frozen=True)
class FilteredEnergy:
    """The energy of some rows filtered and added up, minus an estimate."""

    rows: list[int]  # indices of the rows that are filtered
    filters: Float64  # shape (channels, len(rows), lags)
    # the estimate to subtract, shape (channels, samples), and its correlations with all rows
    less: tuple[Audio, Correlations] | None = None


class Frames:
    """Frames of the references, ready to evaluate energies of filtered rows.

    `bounds` are the first and last+1 sample of each frame, `correlations` are Σ_t a(t)·b(t−lag) of
    the rows within each frame, shape (frames, rows, rows, lags).
    """

    def __init__(
        self,
        rows: Sequence[Row],
        bounds: Sequence[tuple[int, int]],
        correlations: Float64,
        threads: int | None,
    ) -> None:
        self._rows, self._bounds, self._threads = rows, bounds, threads
        self._correlations = correlations
        self._energies: Float64 = np.einsum("fbb->fb", correlations[..., 0])
        self._copies: dict[tuple[int, ...], Float64] = {}

    def energies(self, forms: Sequence[FilteredEnergy]) -> list[Float64]:
        """Evaluate forms in every frame; each result has shape (frames,).

        A form that subtracts an estimate must follow the same form without it.
        """
        values, errors = np.empty((2, len(forms), len(self._bounds)))
        plain = [i for i, form in enumerate(forms) if form.less is None]
        for rows in {tuple(forms[i].rows) for i in plain}:
            chosen = [i for i in plain if tuple(forms[i].rows) == rows]
            filters = [forms[i].filters for i in chosen]
            values[chosen], errors[chosen] = self._quadratic(rows, filters)
        for i, form in enumerate(forms):
            if form.less is not None:
                values[i], errors[i] = values[i - 1], errors[i - 1]
                self._subtract(values[i], errors[i], form)
        if max(stop - start for start, stop in self._bounds) <= LONGEST:
            self._again(forms, values, errors > DOUBT * np.maximum(values, 0))
        return list(values)

    def products(self, rows: list[int], filters: Float64) -> Float64:
        """Inner products between the same rows filtered in K ways.

        From filters of shape (K, channels, len(rows), lags) to shape (frames, K, K).
        """
        lags = self._within(tuple(rows))
        out = np.empty((len(lags), len(filters), len(filters)))
        for k, one in enumerate(filters):
            both = [0.5 * (_correlation(one, x) + _correlation(x, one)) for x in filters[k:]]
            out[:, k, k:] = self._contract(np.stack(both).reshape(len(both), -1), lags).T
            out[:, k:, k] = out[:, k, k:]
        return out

    def _contract(self, columns: Float64, lags: Float64) -> Float64:
        """Sum the products of each column with each frame's correlations, (columns, frames)."""
        flat = lags.reshape(len(lags), -1)
        parts = [flat[first : first + CHUNK] for first in range(0, len(flat), CHUNK)]
        return np.hstack(in_threads(lambda part: columns @ part.T, parts, self._threads))

    def _within(self, rows: tuple[int, ...]) -> Float64:
        """Return the correlations among some of the rows, copied once."""
        if len(rows) == len(self._rows):
            return self._correlations
        if rows not in self._copies:
            among = self._correlations[:, np.array(rows)[:, None], np.array(rows)]
            self._copies[rows] = np.ascontiguousarray(among)
        return self._copies[rows]

    def _quadratic(self, rows: tuple[int, ...], filters: list[Float64]) -> Float64:
        """Energies of filtered rows, and their errors, shape (2, filters, frames)."""
        columns = np.stack([_correlation(taps, taps) for taps in filters])
        values = self._contract(columns.reshape(len(filters), -1), self._within(rows))
        size = np.einsum("fabl,fabl->fab", columns, columns)
        energies = self._energies[:, rows]
        errors = np.sqrt(np.einsum("ta,tb,fab->ft", energies, energies, size, optimize=True))
        return np.stack([values, ROUNDING * errors])

    def _subtract(self, value: Float64, error: Float64, form: FilteredEnergy) -> None:
        """Turn |P|² into |P−e|² and add up the errors, in place."""
        assert form.less is not None
        estimate = form.less[1]
        lags = estimate.segments
        cross = lags.reshape(len(lags), -1) @ form.filters.ravel()
        energy = estimate.energies.sum(axis=1)
        value += energy - 2 * cross
        size = np.einsum("cbl,cbl->b", form.filters, form.filters)
        error += 2 * ROUNDING * np.sqrt(energy * (self._energies[:, form.rows] @ size))

    def _again(
        self, forms: Sequence[FilteredEnergy], values: Float64, doubtful: npt.NDArray[np.bool_]
    ) -> None:
        """Evaluate doubtful forms from the signals, in place."""
        spectra: dict[tuple[int, int], Float64] = {}

        def work(frame: int) -> None:
            start, stop = self._bounds[frame]
            n = next_fast_len(stop - start + PAST, real=True)
            chosen = np.flatnonzero(doubtful[:, frame]).tolist()
            rows = sorted({row for form in chosen for row in forms[form].rows})
            parts = _spectra([self._rows[row][start:stop] for row in rows], n)
            of_rows = dict(zip(rows, parts, strict=True))
            for index in chosen:
                form = forms[index]
                of_filters = spectra.get((index, n))
                if of_filters is None:
                    of_filters = spectra[index, n] = rfft(form.filters, n)
                output = sum(of_filters[:, i] * of_rows[row] for i, row in enumerate(form.rows))
                if form.less is not None:
                    output -= _spectra(list(form.less[0][:, start:stop]), n)
                values[index, frame] = _energy(output, n)

        if doubtful.any():
            frames = np.flatnonzero(doubtful.any(axis=0)).tolist()
            in_threads(work, frames, self._threads, transforms=True)


def _spectra(rows: Sequence[Row], n: int) -> npt.NDArray[np.complex128]:
    """Real FFT of zero-padded rows, shape (rows, bins)."""
    padded = np.zeros((len(rows), n))
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return forward(padded)


def _energy(spectra: npt.NDArray[np.complex128], n: int) -> float:
    """Energy of the signals of length n with these spectra, by Parseval's theorem."""
    power = np.einsum("ck,ck->k", spectra.real, spectra.real)
    power += np.einsum("ck,ck->k", spectra.imag, spectra.imag)
    once = power[0] + (power[-1] if n % 2 == 0 else 0.0)
    return float(2 * power.sum() - once) / n


def _correlation(f: Float64, g: Float64) -> Float64:
    """Σ_channels Σ_l f[a,l]·g[b,l+lag] for all pairs of rows, doubled where lag > 0."""
    n = 2 * f.shape[-1]
    products = np.einsum("cak,cbk->abk", rfft(f, n).conj(), rfft(g, n))
    lags: Float64 = irfft(products, n)[..., : n // 2]
    lags[..., 1:] *= 2
    return lags
