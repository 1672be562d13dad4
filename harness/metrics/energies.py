"""The energies of an estimate, and the ratios of BSS Eval made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.metrics.ratios import FrameEnergies, db

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Whole:
    """Energies of one estimate e of one stem s, summed over its channels, whole track.

    Attributes
    ----------
    plain
        Those that no filter enters, per frame too.
    whole_own
        |Pj|², Pj being the projection of e on 512 delays of s.
    """

    plain: FrameEnergies
    whole_own: float

    @property
    def sdr(self) -> float:
        """BSS Eval v3 SDR in dB."""
        _, ee, dd, _ = self.plain.total
        return float(db(self.whole_own, max(ee - self.whole_own, 0.0))) if dd else float("inf")


@dataclass(frozen=True)
class Energies(Whole):
    """All energies of one estimate; P is its projection on 512 delays of all references.

    Attributes
    ----------
    whole_projected
        |P|² of the whole track.
    own, spatial, interference, projected, artifacts
        |Pj|², |Pj−s|², |P−Pj|², |P|² and |P−e|² per frame, shape (frames,), the filters being
        those of the whole track.
    """

    whole_projected: float
    own: Float64
    spatial: Float64
    interference: Float64
    projected: Float64
    artifacts: Float64

    def frames(self) -> dict[str, Float64]:
        """BSS Eval v4: ``csdr``, ``isr``, ``sir``, ``sar`` of each frame in dB."""
        return {
            "csdr": db(self.plain.xx, self.plain.dd),
            "isr": db(self.plain.xx, self.spatial),
            "sir": db(self.own, self.interference),
            "sar": db(self.projected, self.artifacts),
        }

    def sources(self) -> dict[str, float]:
        """BSS Eval v3 of the whole track, ``bss_eval_sources``: sdr, sir, sar in dB."""
        _, ee, dd, _ = self.plain.total
        inside, everything = self.whole_own, self.whole_projected
        if dd == 0:
            return dict.fromkeys(("sdr", "sir", "sar"), float("inf"))
        return {
            "sdr": self.sdr,
            "sir": float(db(inside, max(everything - inside, 0.0))),
            "sar": float(db(everything, max(ee - everything, 0.0))),
        }

    def images(self) -> dict[str, float]:
        """BSS Eval v3 of the whole track, ``bss_eval_images``: sdr, isr, sir, sar in dB."""
        xx, _, dd, xe = self.plain.total
        if dd == 0:
            return dict.fromkeys(("sdr", "isr", "sir", "sar"), float("inf"))
        spatial = max(self.whole_own - 2 * xe + xx, 0.0)  # s lies in the space that Pj projects on
        return {**self.sources(), "sdr": float(db(xx, dd)), "isr": float(db(xx, spatial))}
