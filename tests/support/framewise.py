"""BSS Eval v3 as museval and mir_eval also have it: as images, and with filters per frame.

No metric of the harness needs them; they compare the engine with those tools in more cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio, check_pair
from harness.metrics import References, analyse
from harness.metrics.ratios import db, frame_bounds
from harness.metrics.references import Compat

Float64 = npt.NDArray[np.float64]
Kind = Literal["images", "sources"]

NAMES: dict[Kind, tuple[str, ...]] = {
    "images": ("sdr", "isr", "sir", "sar"),
    "sources": ("sdr", "sir", "sar"),
}


def bss_eval_images(
    ready: References, estimates: Mapping[str, Audio]
) -> dict[str, dict[str, float]]:
    """BSS Eval v3 of the whole track, images: stem → ``sdr``, ``isr``, ``sir``, ``sar``.

    The values of ``museval.metrics.bss_eval_images`` without permutation; NaN for silence.
    """
    energies, sources = ready.energies(estimates), ready.bss_eval_sources(estimates)
    found = {stem: dict.fromkeys(NAMES["images"], float("nan")) for stem in sources}
    for stem, of_stem in energies.items():
        xx, _, dd, xe = of_stem.total
        spatial = max(of_stem.whole_own - 2 * xe + xx, 0.0)  # s is in the space of Pj
        isr = float(db(xx, spatial)) if dd else float("inf")
        found[stem] = {**sources[stem], "sdr": float(db(xx, dd)), "isr": isr}
    return found


def bss_eval_framewise(
    references: Mapping[str, Audio],
    estimates: Mapping[str, Audio],
    sample_rate: int,
    *,
    window: float = 1.0,
    hop: float | None = None,
    kind: Kind = "images",
    compat: Compat = "ours",
) -> dict[str, dict[str, Float64]]:
    """Score every frame with filters fitted to that frame alone.

    ``images`` is museval's mode ``v3`` and mir_eval's ``bss_eval_images_framewise``, ``sources``
    is mir_eval's ``bss_eval_sources_framewise``, all without permutation; mir_eval scores a track
    of a single window as a whole. A frame costs as much as the analysis of a track. ``museval``
    blanks a frame for all stems if the channels of a reference or an estimate add up to zero;
    otherwise a silent reference blanks the frame of its own stem.
    """
    for stem, estimate in estimates.items():
        check_pair(references[stem], estimate, stem)
    n_samples = next(iter(references.values())).shape[1]
    frames = int(window * sample_rate), int((hop or window) * sample_rate)
    scores = [
        _frame(_cut(references, *bounds), _cut(estimates, *bounds), kind, compat)
        for bounds in frame_bounds(n_samples, *frames)
    ]
    return {
        stem: {name: np.array([frame[stem][name] for frame in scores]) for name in NAMES[kind]}
        for stem in estimates
    }


def _frame(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], kind: Kind, compat: Compat
) -> dict[str, dict[str, float]]:
    """Score one frame as a track: stem → metric → dB."""
    signals = [*references.values(), *estimates.values()]
    if compat == "museval" and not all(x.sum(axis=0, dtype=np.float64).any() for x in signals):
        return {stem: dict.fromkeys(NAMES[kind], float("nan")) for stem in estimates}
    n_samples = next(iter(references.values())).shape[1]
    ready = analyse(references, 1, metrics=(), window=n_samples, compat=compat)
    images = kind == "images"
    return bss_eval_images(ready, estimates) if images else ready.bss_eval_sources(estimates)


def _cut(signals: Mapping[str, Audio], start: int, stop: int) -> dict[str, Audio]:
    """One stretch of every signal."""
    return {stem: signal[:, start:stop] for stem, signal in signals.items()}
