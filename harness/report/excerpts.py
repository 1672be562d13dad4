"""Which seconds of a track are listened to: the worst, a typical and the best, by frame scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.metrics.ratios import medians_of

Float64 = npt.NDArray[np.float64]

SECONDS = 6  # of an excerpt
QUIET = 30.0  # dB below its loudest second at which a stem is too quiet to choose a second by
KINDS = ("worst", "typical", "best")


@dataclass(frozen=True)
class Excerpt:
    """A stretch of a track, in whole seconds.

    Attributes
    ----------
    kind
        One of `KINDS`, or ``first`` where no second has a score.
    second
        The one it was chosen for.
    start, stop
        Where it begins and ends.
    """

    kind: str
    second: int
    start: int
    stop: int


def choose(
    scores: Sequence[Float64], seconds: npt.NDArray[np.intp], window: tuple[int, int]
) -> tuple[Excerpt, ...]:
    """Choose excerpts by the median over separators of each second's score.

    Parameters
    ----------
    scores
        Frame SNR of each separator, shape (seconds,), in dB; NaN where there is none.
    seconds
        Those to choose from, see `sounding`.
    window
        First and last+1 second that can be listened to.

    Examples
    --------
    >>> [e.second for e in choose([np.array([9.0, 1.0, 5.0])], np.arange(3), (0, 3))]
    [1, 2, 0]
    """
    first, last = window
    if not len(seconds):
        return (Excerpt("first", first, first, min(first + SECONDS, last)),)
    typical = medians_of(np.stack([frames[seconds] for frames in scores]).T)
    ordered = seconds[np.argsort(typical, kind="stable")]
    chosen = (ordered[0], ordered[(len(ordered) - 1) // 2], ordered[-1])
    return tuple(
        Excerpt(kind, int(second), *_around(int(second), window))
        for kind, second in zip(KINDS, chosen, strict=True)
    )


def regions(excerpts: Sequence[Excerpt]) -> list[tuple[int, int]]:
    """Return the stretches that hold all excerpts; those that touch are one.

    Examples
    --------
    >>> regions([Excerpt("worst", 7, 5, 11), Excerpt("best", 40, 38, 44), Excerpt("", 1, 0, 6)])
    [(0, 11), (38, 44)]
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
    """Return the seconds of a window that all have scores for and that are loud enough.

    A stem `QUIET` dB below its loudest second is too quiet: the score there says how much leaks
    into a pause, whatever the separator does else.

    Parameters
    ----------
    scores
        As of `choose`.
    energy
        Of the reference in each second.
    """
    seconds = np.arange(window[0], min(window[1], len(energy)))
    loud = energy[seconds] > energy.max(initial=0.0) * 10 ** (-QUIET / 10)
    for frames in scores:
        loud &= ~np.isnan(frames[seconds])
    return seconds[loud] if scores else seconds[:0]


def _around(second: int, window: tuple[int, int]) -> tuple[int, int]:
    """Return a stretch of `SECONDS` in the window with this second in its middle, if it can be."""
    first, last = window
    start = max(first, min(second - (SECONDS - 1) // 2, last - SECONDS))
    return start, min(start + SECONDS, last)
