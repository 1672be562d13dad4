"""What is in an estimate that should not be: which other stem, how much, and when.

An estimate is the sum of its projection on the references of its track, one gain per reference, and
of a rest that no stem explains. A gain holds for all channels together and without delays. So what
a separator has filtered or cut out of another stem counts as rest, except for what is left of it.
Everything follows from the inner products that are kept for blends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.metrics.products import BlendProducts
from harness.metrics.ratios import db, inverted

MISSING, TOO_LOUD, NO_STEM = "missing", "too loud", "no stem"
QUIET = 0.01  # of the mean energy of the reference's seconds, which errors are compared with


@dataclass(frozen=True)
class SecondErrors:
    """What the error of one estimate consists of in each frame."""

    kinds: tuple[str, ...]  # `MISSING`, `TOO_LOUD`, the other stems, `NO_STEM`
    levels: Float64  # dB relative to the reference, −20 dB of its mean at least, shape (frames,)
    shares: Float64  # of the error's energy, shape (frames, kinds); they add up to 1, or are 0


def levels(products: BlendProducts) -> Float64:
    """Return how loud each stem is in each separator's estimate, shape (separators, sources + 1).

    In dB relative to that stem: 0 dB of the estimate's own stem and −inf of all others is perfect.
    The last value is of the rest that no stem explains, relative to the estimate's own stem. NaN
    where the stem is silent.

    Examples
    --------
    An estimate that holds a tenth of the amplitude of another stem has it at −20 dB.
    """
    among, cross = _whole(products)
    gains = inverted(among) @ cross
    rest = _rest(np.diagonal(products.whole)[1:], cross, gains)
    found = np.vstack([db(gains**2, 1.0), _relative(rest, among[0, 0])[None]]).T
    found[:, :-1][:, np.diagonal(among) == 0] = np.nan
    return np.asarray(found)


def second_errors(products: BlendProducts, separator: str) -> SecondErrors:
    """Return what one separator's error consists of in each frame.

    The projection is that of the frame. `MISSING` is what lacks of the own stem, and `TOO_LOUD`
    what is more than all of it.
    """
    _whole(products)
    at = products.separators.index(separator)
    among, cross = products.among, products.cross[..., at]
    gains = (inverted(among) @ cross[..., None])[..., 0]
    energies = np.diagonal(among, axis1=1, axis2=2)
    wrong = gains - np.eye(among.shape[-1])[0]
    parts = wrong**2 * energies
    rest = _rest(products.plain[:, 1 + at, 1 + at], cross.T, gains.T)
    quiet = wrong[:, 0] < 0
    own = np.stack([parts[:, 0] * quiet, parts[:, 0] * ~quiet], axis=1)
    kinds = np.hstack([own, parts[:, 1:], rest[:, None]])
    total = kinds.sum(axis=1)
    own_energy = energies[:, 0] if energies[:, 0].any() else energies.sum(axis=1)
    base = np.maximum(energies[:, 0], QUIET * own_energy.mean())
    shares = np.divide(kinds, total[:, None], out=np.zeros_like(kinds), where=total[:, None] > 0)
    names = (MISSING, TOO_LOUD, *products.sources[1:], NO_STEM)
    return SecondErrors(names, db(total, base), shares)


def _whole(products: BlendProducts) -> tuple[Float64, Float64]:
    """Return the inner products with all references over the whole track."""
    if not products.sources:
        raise HarnessError(
            "bleed: the inner products with the other stems were not kept, as in runs of earlier "
            "versions; run again into a new folder (--results)"
        )
    return products.whole_among, products.whole_cross


def _rest(energies: Float64, cross: Float64, gains: Float64) -> Float64:
    """Energy of estimates beside their projections, shape (estimates,)."""
    return np.asarray(np.maximum(energies - np.sum(cross * gains, axis=0), 0))


def _relative(energies: Float64, base: float) -> Float64:
    """Return energies in dB relative to one, NaN if that is zero."""
    return db(energies, base) if base > 0 else np.full(len(energies), np.nan)
