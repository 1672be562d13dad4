"""Excerpts of a track to listen to: the worst, a typical and the best second by frame scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.audio import Float64
from harness.metrics.ratios import medians_of

QUIET = 30.0  # dB below its loudest second; quieter seconds of a stem are not chosen
KINDS = ("worst", "typical", "best")


@dataclass(frozen=True)
class ScoredExcerpt:
    """A part of a track, in whole seconds."""

    kind: str  # one of `KINDS`, or ``first`` if no second has a score
    second: int  # the one it was chosen for
    start: int
    stop: int


def choose(
    scores: Sequence[Float64],
    seconds: npt.NDArray[np.intp],
    window: tuple[int, int],
    length: int = 6,
) -> tuple[ScoredExcerpt, ...]:
    """Choose excerpts by the median over separators of each second's score.

    `scores` holds the SNR per second of each separator, shape (seconds,), in dB, NaN if undefined;
    `seconds` the candidates, see `sounding`. `window` is the first second that can be listened to
    and the first that cannot any more; excerpts have `length` seconds.

    Examples
    --------
    >>> [e.second for e in choose([np.array([9.0, 1.0, 5.0])], np.arange(3), (0, 3))]
    [1, 2, 0]
    """
    first, last = window
    if not len(seconds):
        return (ScoredExcerpt("first", first, first, min(first + length, last)),)
    typical = medians_of(np.stack([frames[seconds] for frames in scores]).T)
    ordered = seconds[np.argsort(typical, kind="stable")]
    chosen = (ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1])
    return tuple(
        ScoredExcerpt(kind, int(second), *_around(int(second), window, length))
        for kind, second in zip(KINDS, chosen, strict=True)
    )


def regions(excerpts: Sequence[ScoredExcerpt]) -> list[tuple[int, int]]:
    """Return (start, stop) of the regions that hold all excerpts; adjacent ones are joined.

    Examples
    --------
    >>> regions([ScoredExcerpt("worst", 7, 5, 11), ScoredExcerpt("best", 1, 0, 6)])
    [(0, 11)]
    """
    found: list[tuple[int, int]] = []
    for start, stop in sorted({(e.start, e.stop) for e in excerpts}):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def sounding(
    scores: Sequence[Float64], energy: Float64, window: tuple[int, int]
) -> npt.NDArray[np.intp]:
    """Return the seconds of a window that are loud enough and scored for all separators.

    Where a stem is `QUIET` dB below its loudest second, the score only measures leakage into a
    pause. `energy` is that of the reference in each second, `scores` are as in `choose`.
    """
    seconds = np.arange(window[0], min(window[1], len(energy)))
    loud = energy[seconds] > energy.max(initial=0.0) * 10 ** (-QUIET / 10)
    for frames in scores:
        loud &= ~np.isnan(frames[seconds])
    return seconds[loud] if scores else seconds[:0]


def _around(second: int, window: tuple[int, int], length: int) -> tuple[int, int]:
    """Return (start, stop) of `length` seconds, around this one, in the window."""
    first, last = window
    start = max(first, min(second - (length - 1) // 2, last - length))
    return start, min(start + length, last)
