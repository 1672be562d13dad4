"""Correlations of estimates with delayed references, per frame and for the whole track.

A track is cut into segments (the frames of BSS Eval v4, and what remains at the end). Each is cut
into short blocks whose spectra are multiplied bin by bin, a small matrix product each, and summed
over the segment; the inverse transform gives the segment's correlations as if it stood alone. What
crosses from one segment to the next is summed apart, so that segments plus crossings are the
correlations of the whole track. Everything is in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.metrics.fourier import correlations, forward
from harness.metrics.parallel import in_threads

Float64 = npt.NDArray[np.float64]
Row = npt.NDArray[np.floating[Any]]
Rows = Sequence[Row]  # one signal a row, all of one length

TAPS = 512  # BSS Eval's filter length: delays 0 … 511
PAST = TAPS - 1
N_BLOCK = 2048  # FFT length of a block; longer ones cost more to transform back
N_CROSSING = 1024  # FFT length of what crosses a boundary
CROSSINGS = 64  # boundaries treated at a time
GROUP = 8  # blocks transformed at a time: they stay in the second-level cache
HUGE = 1 << 22  # bytes from which NumPy asks for huge pages, which halve the time of a transpose
MAX_BLOCKS = 40  # in one piece of a long segment
CACHE_BYTES = 600_000_000  # of reference spectra kept; the rest are computed again


class NotFiniteError(Exception):
    """A signal holds NaN or infinity; found on the way, since looking for them takes a while."""


@dataclass(frozen=True)
class Correlations:
    """Correlations of some signals with the delayed references.

    Attributes
    ----------
    segments
        Σ_t signal[a, t]·reference[b, t−lag] within each segment,
        shape (segments, signals, references, 512).
    total
        The same for the whole track, shape (signals, references, 512).
    energies
        Energy of each signal in each segment, shape (segments, signals).
    """

    segments: Float64
    total: Float64
    energies: Float64

    def of(self, signals: slice) -> Correlations:
        """Return the part that belongs to some of the signals."""
        return Correlations(
            self.segments[:, signals], self.total[signals], self.energies[:, signals]
        )

    def first(self, count: int) -> Correlations:
        """Return the first segments; the total stays that of all."""
        return Correlations(self.segments[:count], self.total, self.energies[:count])


class Correlator:
    """References whose spectra are ready to be multiplied with those of any estimates.

    Parameters
    ----------
    references
        Rows of equal length.
    bounds
        First and last+1 sample of each segment. Only where these tile the track is the total
        meaningful.
    threads
        Pieces treated at the same time; the result does not depend on it.
    cache_bytes
        Memory for the spectra of the references.
    """

    def __init__(
        self,
        references: Rows,
        bounds: Sequence[tuple[int, int]],
        *,
        threads: int | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._rows, self._threads, self.bounds = references, threads, bounds
        longest = max(stop - start for start, stop in bounds)
        pieces = -(-longest // (MAX_BLOCKS * (N_BLOCK - PAST)))
        self._blocks = -(-longest // (pieces * (N_BLOCK - PAST)))
        self._hop = -(-longest // (pieces * self._blocks))
        self._pieces = [
            (segment, offset)
            for segment, (start, stop) in enumerate(bounds)
            for offset in range(0, stop - start, self._blocks * self._hop)
        ]
        shape = self._shape(len(references))
        cached = min(len(self._pieces), cache_bytes // (8 * int(np.prod(shape))))
        self._cache: Float64 = np.empty((cached, *shape))
        self._cached = np.zeros(cached, bool)
        self._crossings: dict[int, Float64] = {}
        self._spare: list[Scratch] = []
        self._results = Scratch()

    def correlate(self, signals: Rows, *, lasting: bool = False) -> Correlations:
        """Correlate signals with the delayed references.

        Parameters
        ----------
        signals
            Rows of the length of the references.
        lasting
            Give the result memory of its own; else the next call overwrites it, which saves the
            time of taking new memory.
        """
        shape = (len(self._pieces), len(signals))
        whole = (*shape, len(self._rows), TAPS)
        pieces = np.empty(whole) if lasting else self._results.array("pieces", whole)
        energies = np.empty(shape)

        def work(index: int) -> None:
            scratch = self._spare.pop() if self._spare else Scratch()
            energies[index] = self._piece(signals, index, pieces[index], scratch)
            self._spare.append(scratch)

        in_threads(work, range(len(self._pieces)), self._threads, transforms=True)
        starts = range(1, len(self.bounds), CROSSINGS)
        cross = in_threads(
            lambda first: self._crossing(signals, first), starts, self._threads, transforms=True
        )
        if len(self._pieces) > len(self.bounds):
            first = np.flatnonzero([offset == 0 for _, offset in self._pieces])
            pieces, energies = (np.add.reduceat(x, first, axis=0) for x in (pieces, energies))
        return Correlations(pieces, np.sum([pieces.sum(axis=0), *cross], axis=0), energies)

    def _piece(self, signals: Rows, index: int, out: Float64, scratch: Scratch) -> Float64:
        """Correlations within one piece, written to `out`; returns the signals' energies."""
        own = self._reference_spectra(index, scratch)
        spectra = scratch.array("spectra", self._shape(len(signals)))
        energies = self._transform(signals, index, 0, spectra, scratch)
        if not np.isfinite(energies).all():
            raise NotFiniteError
        product = scratch.array("product", (len(own), spectra.shape[2], own.shape[2]))
        _lags(spectra, own, product, N_BLOCK, out)
        return energies

    def _reference_spectra(self, index: int, scratch: Scratch) -> Float64:
        """Spectra of the reference blocks with their past, from the cache where they fit."""
        kept = index < len(self._cache)
        if kept and self._cached[index]:
            known: Float64 = self._cache[index]
            return known
        shape = self._shape(len(self._rows))
        spectra = self._cache[index] if kept else scratch.array("own", shape)
        self._transform(self._rows, index, PAST, spectra, scratch)
        if kept:
            self._cached[index] = True
        return spectra

    def _transform(
        self, rows: Rows, index: int, past: int, out: Float64, scratch: Scratch
    ) -> Float64:
        """Write the spectra of the blocks of a piece to `out`; returns the rows' energies."""
        segment, offset = self._pieces[index]
        start, stop = self.bounds[segment]
        within = [row[start:stop] for row in rows]
        energies = np.zeros(len(rows))
        blocks = scratch.array(f"blocks {past}", (GROUP, len(rows), N_BLOCK))
        for first in range(0, self._blocks, GROUP):
            group = blocks[: self._blocks - first]
            _fill(group, within, offset + first * self._hop, self._hop, past)
            if not past:
                energies += np.vecdot(group, group).sum(axis=0)
            _spectra(group, out[:, first : first + GROUP])
        return energies

    def _shape(self, rows: int) -> tuple[int, int, int]:
        """Shape of the spectra of a piece."""
        return N_BLOCK // 2 + 1, self._blocks, 2 * rows

    def _crossing(self, signals: Rows, first: int) -> Float64:
        """Correlations of segments' heads with the references just before them."""
        bounds = self.bounds[first : first + CROSSINGS]
        shape = (N_CROSSING // 2 + 1, len(bounds))
        if first not in self._crossings:
            past = np.zeros((len(bounds), len(self._rows), N_CROSSING))
            for block, (start, _) in zip(past, bounds, strict=True):
                length = min(PAST, start)
                for target, row in zip(block, self._rows, strict=True):
                    target[PAST - length : PAST] = row[start - length : start]
            self._crossings[first] = np.empty((*shape, 2 * len(self._rows)))
            _spectra(past, self._crossings[first])
        heads = np.zeros((len(bounds), len(signals), N_CROSSING))
        for block, (start, stop) in zip(heads, bounds, strict=True):
            length = min(PAST, stop - start)
            for target, row in zip(block, signals, strict=True):
                target[:length] = row[start : start + length]
        spectra = np.empty((*shape, 2 * len(signals)))
        _spectra(heads, spectra)
        own = self._crossings[first]
        product = np.empty((shape[0], spectra.shape[2], own.shape[2]))
        out = np.empty((len(signals), len(self._rows), TAPS))
        _lags(spectra, own, product, N_CROSSING, out)
        return out


class Scratch:
    """Memory that is used again and again; zero at first."""

    def __init__(self) -> None:
        self._arrays: dict[str, Float64] = {}

    def array(self, name: str, shape: tuple[int, ...]) -> Float64:
        """Return the array of this name, made anew if its shape has changed."""
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape:
            size = int(np.prod(shape))
            kept = self._arrays[name] = np.zeros(max(size, HUGE // 8))[:size].reshape(shape)
        return kept


def _fill(blocks: Float64, rows: Rows, start: int, hop: int, past: int) -> None:
    """Cut rows into blocks of `hop` samples after `past` earlier ones; zeros outside the rows."""
    for channel, row in enumerate(rows):
        part = row[start : start + len(blocks) * hop]
        full, rest = divmod(len(part), hop)
        whole, out = part[: full * hop].reshape(full, hop), blocks[:, channel]
        out[:full, past : past + hop] = whole
        out[full:, past : past + hop] = 0
        if rest:
            out[full, past : past + rest] = part[full * hop :]
        if past:
            out[:, :past] = 0
            earlier = row[start - past : start] if start else row[:0]
            out[0, : len(earlier)] = earlier
            if len(out) > 1:  # else the block may be shorter than its past, which is empty
                out[1 : full + 1, :past] = whole[: len(out) - 1, hop - past :]


def _spectra(blocks: Float64, out: Float64) -> None:
    """Real FFT of (blocks, channels, n) as (bins, blocks, 2·channels), re and im side by side."""
    np.copyto(out.view(np.complex128), forward(blocks).transpose(2, 0, 1))


def _lags(leading: Float64, delayed: Float64, product: Float64, n: int, out: Float64) -> None:
    """Sum conj(leading)·delayed over the blocks and transform to lags 511 … 0."""
    np.matmul(leading.transpose(0, 2, 1), delayed, out=product)
    out[...] = correlations(product, n)[..., PAST::-1]
