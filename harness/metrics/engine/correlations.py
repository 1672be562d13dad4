"""Correlations of estimates with delayed references, per frame and for the whole track.

A track is cut into segments (the frames of BSS Eval v4, and what remains at the end). Each is cut
into short blocks, whose spectra are multiplied bin by bin and summed; the inverse transform gives
the correlations within the segment. Those across each boundary are computed separately; segments
plus crossings are the correlations of the whole track. Everything is in float64. PyTorch does the
Fourier transforms, a quarter faster than NumPy; importing it takes seconds, so it is imported late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.audio import Float64
from harness.metrics.engine import kernel
from harness.metrics.engine.kernel import Complex128, Row
from harness.metrics.engine.threads import in_threads

Rows = Sequence[Row]  # one signal per row, all of one length

TAPS = 512  # BSS Eval's filter length: delays 0 … 511
PAST = TAPS - 1
N_BLOCK = 2048  # FFT length of a block; longer ones cost more to transform back
N_CROSSING = 1024  # FFT length of what crosses a boundary
CROSSINGS = 64  # boundaries treated at a time
MAX_BLOCKS = 40  # in one piece of a long segment; at most `kernel.MAX_BLOCKS`
CACHE_BYTES = 600_000_000  # of reference spectra kept; the rest are computed again


class NotFiniteError(Exception):
    """A signal contains NaN or infinity; found by its energy, since a search takes a while."""


@dataclass(frozen=True)
class Correlations:
    """Correlations of signals with delayed references, Σ_t signal[a, t]·reference[b, t−lag]."""

    segments: Float64  # within each segment, shape (segments, signals, references, 512)
    total: Float64  # over the whole track, shape (signals, references, 512)
    energies: Float64  # of each signal in each segment, shape (segments, signals)

    def of(self, signals: slice) -> Correlations:
        """Return the part that belongs to some of the signals."""
        within, energies = self.segments[:, signals], self.energies[:, signals]
        return Correlations(within, self.total[signals], energies)

    def first(self, count: int) -> Correlations:
        """Return the first segments; the total is still that of all segments."""
        return Correlations(self.segments[:count], self.total, self.energies[:count])


class Correlator:
    """References whose spectra are ready to be multiplied with those of any estimates.

    `bounds` are the first and last+1 sample of each segment; the total is valid only if they tile
    the track. The result does not depend on `threads`. Up to `cache_bytes` of spectra of the
    references are kept; the others are computed again.
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
        shape = kernel.packed_shape(len(references), self._blocks, N_BLOCK // 2 + 1)
        cached = min(len(self._pieces), cache_bytes // (8 * int(np.prod(shape))))
        self._packed, self._cache = shape, np.empty((cached, *shape))
        self._cached = np.zeros(cached, bool)
        self._crossings: dict[int, Float64] = {}
        self._spare: list[Scratch] = []
        self._results = Scratch()

    def correlate(self, signals: Rows, *, lasting: bool = False) -> Correlations:
        """Correlate signals with the delayed references.

        The next call overwrites the result, unless it is `lasting`.
        """
        shape = (len(self._pieces), len(signals))
        whole = (*shape, len(self._rows), TAPS)
        pieces = self._results.array("lasting" if lasting else "pieces", whole, float)
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
        energies, spectra = self._transform(signals, index, 0, scratch)
        if not np.isfinite(energies).all():
            raise NotFiniteError
        _lags(spectra, self._reference_spectra(index, scratch), N_BLOCK, out, scratch)
        return energies

    def _reference_spectra(self, index: int, scratch: Scratch) -> Float64:
        """Packed spectra of the reference blocks with their past, kept if they fit."""
        fits = index < len(self._cache)
        packed = self._cache[index] if fits else scratch.array("packed", self._packed, float)
        if not (fits and self._cached[index]):
            kernel.pack(self._transform(self._rows, index, PAST, scratch)[1], packed)
            self._cached[index : index + 1] = True
        return np.asarray(packed)

    def _transform(
        self, rows: Rows, index: int, past: int, scratch: Scratch
    ) -> tuple[Float64, list[Complex128]]:
        """Energy of each row and spectra of its blocks in a piece, shape (blocks, bins).

        Row by row, so that each stays in the second-level cache.
        """
        segment, offset = self._pieces[index]
        start, stop = self.bounds[segment]
        energies = np.zeros(len(rows))
        blocks = scratch.array("blocks", (self._blocks, N_BLOCK), float)
        spectra = []
        for channel, row in enumerate(rows):
            energies[channel] = _fill(blocks, row[start:stop], offset, self._hop, past)
            spectra.append(forward(blocks))
        return energies, spectra

    def _crossing(self, signals: Rows, first: int) -> Float64:
        """Correlations of segments' heads with the references just before them."""
        bounds = self.bounds[first : first + CROSSINGS]
        if first not in self._crossings:
            past = [(max(start - PAST, 0), start) for start, _ in bounds]
            of_past = _crossing_spectra(self._rows, past, -1)
            packed = self._crossings[first] = np.empty(kernel.packed_shape(*of_past.shape))
            kernel.pack(list(of_past), packed)
        heads = [(start, min(start + PAST, stop)) for start, stop in bounds]
        spectra = _crossing_spectra(signals, heads, 0)
        out = np.empty((len(signals), len(self._rows), TAPS))
        _lags(list(spectra), self._crossings[first], N_CROSSING, out, Scratch())
        return out


class Scratch:
    """Arrays with arbitrary content, reused from call to call: new memory is slow to get."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, shape: tuple[int, ...], kind: type) -> npt.NDArray[Any]:
        """Return the array of this name, a new one if its shape has changed."""
        kept = self._arrays.get(name)
        if kept is None or kept.shape != shape:
            kept = self._arrays[name] = np.empty(shape, kind)
        return kept


def _fill(blocks: Float64, row: Row, start: int, hop: int, past: int) -> float:
    """Cut a row into blocks of `hop` samples, zeros beyond its end, and return its energy.

    The `past` samples before each block are put at its end, as a cyclic transform needs them.
    """
    energy = kernel.cut(row[start : start + len(blocks) * hop], hop, blocks)
    if past:
        earlier = row[start - past : start] if start else row[:0]
        blocks[0, N_BLOCK - len(earlier) :] = earlier
        if len(blocks) > 1:  # a single block may be shorter than its past, which is empty
            blocks[1:, -past:] = blocks[:-1, hop - past : hop]
    return energy


def _crossing_spectra(rows: Rows, stretches: Sequence[tuple[int, int]], side: int) -> Complex128:
    """Spectra of stretches put at the start (0) or end (-1) of a block: (rows, blocks, bins)."""
    blocks = np.zeros((len(rows), len(stretches), N_CROSSING))
    for index, (start, stop) in enumerate(stretches):
        at = side * (stop - start) % N_CROSSING
        for row, block in zip(rows, blocks[:, index], strict=True):
            block[at : at + stop - start] = row[start:stop]
    return forward(blocks)


def _lags(
    leading: list[Complex128], delayed: Float64, n: int, out: Float64, scratch: Scratch
) -> None:
    """Sum the products of spectra over the blocks and transform to lags 0 … 511."""
    pairs = scratch.array("pairs", (*out.shape[:2], n // 2 + 1), complex)
    kernel.multiply(leading, delayed, pairs)
    out[...] = inverse(pairs, n)[..., :TAPS]


def forward(signals: Float64) -> Complex128:
    """Real FFT along the last axis."""
    import torch

    return np.asarray(torch.fft.rfft(torch.from_numpy(signals)).numpy())


def inverse(spectra: Complex128, n: int) -> Float64:
    """Inverse of the real FFT of length n along the last axis."""
    import torch

    return np.asarray(torch.fft.irfft(torch.from_numpy(spectra), n=n).numpy())
