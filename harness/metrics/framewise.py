"""BSS Eval v3 frame by frame: filters of their own for every frame, as if it were a track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from harness.audio import Audio, check_pair
from harness.metrics.ratios import frame_bounds
from harness.metrics.references import Compat
from harness.metrics.scoring import analyse

Float64 = npt.NDArray[np.float64]
Kind = Literal["images", "sources"]

NAMES: dict[Kind, tuple[str, ...]] = {
    "images": ("sdr", "isr", "sir", "sar"),
    "sources": ("sdr", "sir", "sar"),
}


def bss_eval_framewise(
    references: Mapping[str, Audio],
    estimates: Mapping[str, Audio],
    sample_rate: int,
    *,
    window: float = 1.0,
    hop: float | None = None,
    kind: Kind = "images",
    compat: Compat = "ours",
    threads: int | None = None,
) -> dict[str, dict[str, Float64]]:
    """Score every frame with filters fitted to that frame alone.

    ``images`` is museval's mode ``v3`` and mir_eval's ``bss_eval_images_framewise``, ``sources``
    is mir_eval's ``bss_eval_sources_framewise``, all without permutation; mir_eval scores a track
    of a single window as a whole. A frame costs as much as the analysis of a track.

    Parameters
    ----------
    references, estimates
        Stem → shape (channels, samples), as for `analyse`; estimates of other stems are ignored.
    sample_rate
        In Hz.
    window, hop
        Seconds; without `hop`, frames do not overlap.
    kind
        Whether a filtered reference counts as distorted (images) or not (sources).
    compat
        ``museval`` blanks a frame for all stems where the channels of a reference or an estimate
        add up to zero; else a silent reference blanks its own stem's.
    threads
        Cores to use, all by default.

    Returns
    -------
    dict
        Stem → ``sdr``, ``isr`` (images only), ``sir``, ``sar`` → dB, shape (frames,).

    Raises
    ------
    HarnessError
        If a signal is unfit, or the shapes differ.

    Examples
    --------
    >>> x = np.random.default_rng(1).standard_normal((1, 4000))
    >>> late = np.pad(x, ((0, 0), (1, 0)))[:, :4000]
    >>> scores = bss_eval_framewise({"bass": x}, {"bass": 2 * late}, 1000, kind="sources")
    >>> (scores["bass"]["sdr"] > 20).tolist()
    [True, True, True, True]
    """
    analyse(references, sample_rate, metrics=(), window=window, hop=hop)  # which checks them
    given = {stem: estimates[stem] for stem in references if stem in estimates}
    for stem, estimate in given.items():
        check_pair(references[stem], estimate, stem)
    n_samples = next(iter(references.values())).shape[1]
    frames = int(window * sample_rate), int((hop or window) * sample_rate)
    scores = [
        _frame(_cut(references, *bounds), _cut(given, *bounds), kind, compat, threads)
        for bounds in frame_bounds(n_samples, *frames)
    ]
    return {
        stem: {name: np.array([frame[stem][name] for frame in scores]) for name in NAMES[kind]}
        for stem in given
    }


def _frame(
    references: Mapping[str, Audio],
    estimates: Mapping[str, Audio],
    kind: Kind,
    compat: Compat,
    threads: int | None,
) -> dict[str, dict[str, float]]:
    """Score one frame as a track: stem → metric → dB."""
    signals = [*references.values(), *estimates.values()]
    if compat == "museval" and not all(x.sum(axis=0, dtype=np.float64).any() for x in signals):
        return {stem: dict.fromkeys(NAMES[kind], float("nan")) for stem in estimates}
    n_samples = next(iter(references.values())).shape[1]
    ready = analyse(references, 1, metrics=(), window=n_samples, compat=compat, threads=threads)
    return (
        ready.bss_eval_images(estimates) if kind == "images" else ready.bss_eval_sources(estimates)
    )


def _cut(signals: Mapping[str, Audio], start: int, stop: int) -> dict[str, Audio]:
    """One stretch of every signal."""
    return {stem: signal[:, start:stop] for stem, signal in signals.items()}
