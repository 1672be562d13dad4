"""The correlations of `correlations.py` on a CUDA device, in float64, many pieces at a time.

Signals go to the device, and correlations come back, once per call; the processor does the rest.
Nothing stays on the device between calls, since the separators need its memory. If that is full,
the processor computes the correlations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from harness.metrics.engine.correlations import (
    N_BLOCK,
    N_CROSSING,
    PAST,
    TAPS,
    Correlations,
    Correlator,
    NotFiniteError,
    Rows,
)

BATCH = 32  # pieces transformed at a time, 0.1 GB each way for eight channels


class DeviceCorrelator(Correlator):
    """A `Correlator` whose transforms and products run on a PyTorch device such as ``cuda:1``."""

    def __init__(
        self,
        references: Rows,
        bounds: Sequence[tuple[int, int]],
        device: str,
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__(references, bounds, threads=threads, cache_bytes=0)
        self._device = device

    def correlate(self, signals: Rows, *, lasting: bool = False) -> Correlations:
        """Correlate signals with the delayed references, on the device if its memory suffices."""
        try:
            return self._correlate_there(signals)
        except torch.OutOfMemoryError:
            return super().correlate(signals, lasting=lasting)

    def _correlate_there(self, signals: Rows) -> Correlations:
        """Correlate on the device, into new memory."""
        x, references = _send(signals, self._device), _send(self._rows, self._device)
        lags, energies = [], []
        for first in range(0, len(self._pieces), BATCH):
            blocks = self._cut(x, first, 0)
            energies.append(blocks.square().sum(dim=(2, 3)).T)
            with_past = self._cut(references, first, PAST)
            leading, delayed = (torch.fft.rfft(part, n=N_BLOCK) for part in (blocks, with_past))
            lags.append(_multiply(leading, delayed, N_BLOCK))
        pieces, of_pieces = (torch.cat(parts).cpu().numpy() for parts in (lags, energies))
        if not np.isfinite(of_pieces).all():
            raise NotFiniteError
        if len(self._pieces) > len(self.bounds):
            first_piece = np.flatnonzero([offset == 0 for _, offset in self._pieces])
            pieces = np.add.reduceat(pieces, first_piece, axis=0)
            of_pieces = np.add.reduceat(of_pieces, first_piece, axis=0)
        return Correlations(pieces, pieces.sum(axis=0) + self._across(x, references), of_pieces)

    def _cut(self, x: torch.Tensor, first: int, past: int) -> torch.Tensor:
        """Blocks of a batch of pieces with their past, (rows, pieces, blocks, samples)."""
        chosen = self._pieces[first : first + BATCH]
        begin = [self.bounds[segment][0] for segment, _ in chosen]
        end = [self.bounds[segment][1] for segment, _ in chosen]
        start = np.array(begin) + [offset for _, offset in chosen]
        at = start[:, None] + np.arange(self._blocks) * self._hop - past
        limits = np.array(begin)[:, None, None], np.array(end)[:, None, None]
        return _take(x, at, self._hop + past, limits)

    def _across(self, x: torch.Tensor, references: torch.Tensor) -> Any:
        """Correlations of all segments' heads with the references just before them."""
        if len(self.bounds) == 1:
            return np.zeros((len(x), len(references), TAPS))
        start, stop = (np.array(edge)[None, 1:] for edge in zip(*self.bounds, strict=True))
        heads = _take(x, start, PAST, (start[..., None], stop[..., None]))
        past = _take(references, start - PAST, PAST, (0 * start[..., None], start[..., None]))
        leading, delayed = (torch.fft.rfft(part, n=N_CROSSING) for part in (heads, past))
        return _multiply(leading, delayed, N_CROSSING)[0].cpu().numpy()


def _send(rows: Rows, device: str) -> torch.Tensor:
    """Rows on the device in their own type; blocks are made float64 as they are cut."""
    return torch.stack([torch.as_tensor(row) for row in rows]).to(device)


def _take(x: torch.Tensor, at: Any, length: int, limits: tuple[Any, Any]) -> torch.Tensor:
    """Stretches of x that start at `at`, as float64, zero outside their limits."""
    begin, low, high = (torch.as_tensor(y, device=x.device) for y in (at[..., None], *limits))
    index = begin + torch.arange(length, device=x.device)
    inside = (index >= low) & (index < high)
    return x[:, index.where(inside, 0)].double() * inside


def _multiply(leading: torch.Tensor, delayed: torch.Tensor, n: int) -> torch.Tensor:
    """Sum conj(leading)·delayed over the blocks and transform to lags 0 … 511, per piece."""
    products = torch.einsum("apkf,bpkf->pabf", leading.conj(), delayed)
    lags: torch.Tensor = torch.fft.irfft(products, n=n)[..., :TAPS].flip(-1)
    return lags
