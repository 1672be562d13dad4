"""What each metric is called, means and counts in; a changed definition gets a new version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Metric:
    """One column of the leaderboard.

    Attributes
    ----------
    name
        As in the table of scores.
    unit
        ``dB``, ``s``, ``bytes``, ``values``, or ``×`` for a pure ratio.
    higher_is_better
        Direction of the ranking.
    version
        Counts up when the definition changes; scores of another version are computed again.
    definition
        One line, stamped on every report.
    """

    name: str
    unit: str
    higher_is_better: bool
    version: int
    definition: str


@dataclass(frozen=True)
class Score:
    """A value, and what must be known about it (empty: nothing)."""

    value: float
    note: str = ""


_SCORES = {
    "snr": "10·log10(Σx² / Σ(x−x̂)²) over the whole track and all channels",
    "sdr": "BSS Eval v3: ‖P‖²/‖x̂−P‖², P the projection of x̂ on 512 delays of the target's channels",
    "si_sdr": "‖αx‖²/‖αx−x̂‖² with α = ⟨x̂,x⟩/⟨x,x⟩, one α for the whole track and all channels",
    "csdr": "BSS Eval v4 SDR: median over 1 s frames of Σx²/Σ(x−x̂)²",
    "isr": "BSS Eval v4: median over 1 s frames of Σx²/Σ(Pj−x)², one 512-tap filter a track",
    "sir": "BSS Eval v4: median over 1 s frames of ΣPj²/Σ(P−Pj)², one 512-tap filter a track",
    "sar": "BSS Eval v4: median over 1 s frames of ΣP²/Σ(P−x̂)², one 512-tap filter a track",
}
_COSTS = {
    "rtf": ("×", "processing seconds per second of audio"),
    "cpu_seconds": ("s", "CPU time of separating the track, all threads together"),
    "peak_memory": ("bytes", "largest resident memory while separating the track"),
    "parameters": ("values", "trained values; 0 of a method without training"),
}

METRICS: dict[str, Metric] = {
    **{name: Metric(name, "dB", True, 1, text) for name, text in _SCORES.items()},
    **{name: Metric(name, unit, False, 1, text) for name, (unit, text) in _COSTS.items()},
}

DEFAULT = ("snr", "sdr", "si_sdr", "csdr", "isr", "sir", "sar")


def harmonic_mean(snr: npt.ArrayLike, sdr: npt.ArrayLike) -> Any:
    """Harmonic mean of SNR and SDR in dB, made safe below zero.

    2ab/(a+b) where both are positive, else min(a, b). It is continuous and never rises when either
    value falls. NaN in gives NaN out; of an infinite and a positive value it is twice the latter,
    the limit.

    Parameters
    ----------
    snr, sdr
        dB, scalars or arrays that broadcast.

    Returns
    -------
    float or ndarray
        dB.

    Examples
    --------
    >>> harmonic_mean(4.0, 12.0)
    6.0
    >>> harmonic_mean(1.62, -6.25)
    -6.25
    """
    a, b = np.broadcast_arrays(np.asarray(snr, np.float64), np.asarray(sdr, np.float64))
    low, high = np.minimum(a, b), np.maximum(a, b)
    both = (low > 0) & np.isfinite(low)
    ratio = np.divide(low, high, out=np.ones_like(low), where=both)  # in (0, 1]: no overflow
    out = np.where(both, 2 * low / (1 + ratio), low)
    return float(out) if out.ndim == 0 else out
