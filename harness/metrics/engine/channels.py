"""Which channels of the references are independent, and how the others follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.audio import Audio
from harness.metrics.engine.kernel import Row

PROBE = 1009  # proportional channels are first compared at every 1009th sample


@dataclass(frozen=True)
class StemRows:
    """Where the channels of a stem are among the independent rows: channel = scale · row."""

    rows: list[int]  # the stem's rows; channels proportional to an earlier one have none
    channels: list[tuple[int, float]]  # (index into `rows`, scale) per channel; 0 for zeros
    exact: bool  # whether channel = scale · row holds in every digit


def independent(rows: Sequence[Row]) -> list[int]:
    """List the rows that are neither zero nor proportional to an earlier one.

    Examples
    --------
    >>> independent(np.array([[1, 2], [2, 4], [0, 0], [1, 0]], np.float32))
    [0, 3]
    """
    kept: list[int] = []
    for index, row in enumerate(rows):
        if row.any() and not any(proportion(rows[k], row) for k in kept):
            kept.append(index)
    return kept


def proportion(x: Row, y: Row) -> float:
    """Return the factor k of y = k·x if that holds in every digit of their type, otherwise 0."""
    probe = int(np.argmax(np.abs(x[::PROBE]))) * PROBE
    peak = probe if x[probe] else int(np.argmax(np.abs(x)))
    scale = float(y[peak]) / float(x[peak])
    if not np.allclose(scale * x[::PROBE], y[::PROBE], rtol=1e-6, atol=0):
        return 0.0
    return scale if np.array_equal((scale * x.astype(np.float64)).astype(y.dtype), y) else 0.0


def place(signal: Audio, rows: list[Row]) -> StemRows:
    """Append the independent channels of a stem to `rows` and return where each channel is."""
    kept = independent(list(signal))
    channels, exact = [], True
    for index, channel in enumerate(signal):
        scales = [1.0 if k == index else proportion(signal[k], channel) for k in kept]
        row = next((i for i, scale in enumerate(scales) if scale), 0)
        scale = scales[row] if channel.any() else 0.0
        whole = signal[kept[row]].astype(np.float64) * scale if kept and kept[row] != index else 0
        exact = exact and (kept[row : row + 1] == [index] or np.array_equal(whole, channel))
        channels.append((row, scale))
    first = len(rows)
    rows.extend(signal[k] for k in kept)
    return StemRows(list(range(first, len(rows))), channels, exact)
