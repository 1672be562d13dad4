"""Analyse the references of a track once, then score any number of separators against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.audio import Audio, check, check_pair
from harness.errors import HarnessError
from harness.metrics.definitions import DEFAULT
from harness.metrics.references import COMPUTED, Compat, References


def analyse(
    references: Mapping[str, Audio],
    sample_rate: int,
    *,
    metrics: Sequence[str] = DEFAULT,
    window: float = 1.0,
    hop: float | None = None,
    compat: Compat = "ours",
    threads: int | None = None,
    device: str = "cpu",
) -> References:
    """Analyse the references of a track, once for all separators.

    Parameters
    ----------
    references
        Stem name → true stem, shape (channels, samples), all of the same length. ``isr``, ``sir``
        and ``sar`` depend on the whole set.
    sample_rate
        In Hz.
    metrics
        Names from `METRICS`.
    window, hop
        Seconds of a frame of BSS Eval v4 and from one to the next; without `hop`, no overlap.
    compat
        ``museval`` leaves out the frames that museval 0.4.1 leaves out.
    threads
        Cores to use, all by default. No number depends on it.
    device
        Where the transforms run: ``cpu``, ``cuda``, ``cuda:1``. Scores agree to 1e-6 dB.

    Raises
    ------
    HarnessError
        If a metric is unknown, a signal is unfit, or the lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.5, -0.5, 0.25, 0.0]], np.float32)
    >>> scores = analyse({"bass": x}, 4, metrics=["snr"]).score({"bass": np.float32(0.9) * x})
    >>> round(scores["bass"]["snr"].value, 3)
    20.0
    """
    if unknown := [name for name in metrics if name not in COMPUTED]:
        raise HarnessError(f"metrics: {unknown} cannot be scored; choose from {list(COMPUTED)}")
    if not references:
        raise HarnessError("metrics: no references given; give at least one stem")
    for stem, signal in references.items():
        check(signal, f"{stem}, reference")
    if len({signal.shape[1] for signal in references.values()}) > 1:
        lengths = {stem: signal.shape[1] for stem, signal in references.items()}
        raise HarnessError(f"metrics: references differ in length, {lengths}; pad them first")
    frames = int(window * sample_rate), int((hop or window) * sample_rate)
    if min(frames) < 1:
        raise HarnessError(f"metrics: window {window} s and hop {hop} s; both must be positive")
    return References(references, sample_rate, metrics, frames, compat, threads, device)


def sdr(reference: Audio, estimate: Audio) -> float:
    """BSS Eval v3 SDR of the whole track, 512-tap distortion filters allowed.

    Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation",
    2006; for one channel the value of ``mir_eval.separation.bss_eval_sources``.

    Parameters
    ----------
    reference, estimate
        Shape (channels, samples).

    Returns
    -------
    float
        dB; NaN for a silent reference, −inf for a silent estimate, inf for a perfect one. Above
        some 120 dB the digits are those of rounding.

    Raises
    ------
    HarnessError
        If the shapes differ or a sample is not finite.
    """
    check_pair(reference, estimate, "sdr")
    references = analyse({"": reference}, 1, metrics=["sdr"], window=reference.shape[1])
    return references.score({"": estimate})[""]["sdr"].value
