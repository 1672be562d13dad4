"""How few tracks decide the first place.

An interval says how a mean would vary on other songs. It does not say that one odd song decides:
that is what is counted here, on these songs alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.results.grid import Grid

_ROUNDING = 1e-9  # dB, of a sum: two means that differ by less are equal


@dataclass(frozen=True)
class Fragility:
    """The fewest tracks without which another separator has the best mean."""

    tracks: tuple[tuple[str, str], ...]  # (split, track), those that favor the first most first
    rival: str  # which is first without them


def fragility(grid: Grid, first: str, sign: int = 1) -> Fragility | None:
    """Return the fewest tracks that `first` owes its place to; None if no such tracks exist.

    `grid` has every score, and `sign` is −1 where lower is better. A rival overtakes with the
    fewest removals if the tracks go that favor `first` over it most, so sorting finds what trying
    every set of tracks would. A rival must be ahead, not equal; of rivals which need equally many,
    the one with the best mean counts.
    """
    scores = sign * grid.scores
    lead = scores[:, [grid.separators.index(first)]] - scores  # (tracks, separators)
    order = np.argsort(-lead, axis=0, kind="stable")
    taken = np.cumsum(np.take_along_axis(lead, order, axis=0), axis=0)
    ahead = lead.sum(axis=0) - taken < -_ROUNDING  # without the first i + 1 tracks of `order`
    able = np.flatnonzero(ahead.any(axis=0))
    if not able.size:
        return None
    needed = ahead[:, able].argmax(axis=0) + 1
    best = np.lexsort((-scores.mean(axis=0)[able], needed))[0]
    rows = order[: needed[best], able[best]]
    return Fragility(tuple(grid.keys[i] for i in rows), grid.separators[able[best]])
