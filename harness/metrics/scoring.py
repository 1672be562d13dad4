"""Analyse the references of a track once, then score any number of separators against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from harness.audio import Audio, check, check_pair, is_silent
from harness.errors import HarnessError
from harness.metrics.definitions import DEFAULT, Score
from harness.metrics.projection import Projection
from harness.metrics.ratios import (
    FrameEnergies,
    csdr_of,
    db,
    frame_bounds,
    frame_energies,
    si_sdr_of,
    snr_of,
)

Compat = Literal["ours", "museval"]

SILENT_REFERENCE = "silent reference"
SILENT_ESTIMATE = "silent estimate"
COMPUTED = ("snr", "sdr", "si_sdr", "csdr")


class References:
    """The true stems of one track, ready to score separators; made by `analyse`."""

    def __init__(
        self,
        references: Mapping[str, Audio],
        metrics: Sequence[str],
        window: int,
        hop: int,
        compat: Compat,
    ) -> None:
        self.stems = tuple(references)
        self._references = references
        self._metrics = tuple(metrics)
        self._window, self._hop, self._compat = window, hop, compat
        self._projections: dict[str, Projection] = {}

    def score(self, estimates: Mapping[str, Audio]) -> dict[str, dict[str, Score]]:
        """Score one separator's estimates.

        Parameters
        ----------
        estimates
            Stem name → estimate of the shape of its reference; other stems are ignored.

        Returns
        -------
        dict
            Stem → metric → `Score`, for the stems that both sides have. A silent reference gives
            NaN and the note ``silent reference``. A silent estimate gives 0 dB for ``snr`` and
            ``csdr``, −inf for ``sdr`` and ``si_sdr``, and the note ``silent estimate``.

        Raises
        ------
        HarnessError
            If an estimate has another shape than its reference or holds NaN or infinity.
        """
        stems = [stem for stem in self.stems if stem in estimates]
        energies = {}
        for stem in stems:
            check_pair(self._references[stem], estimates[stem], stem)
            pair = self._references[stem], estimates[stem]
            energies[stem] = frame_energies(*pair, self._window, self._hop)
        blanked = self._blanked(estimates, stems) if self._compat == "museval" else None
        return {
            stem: {
                name: self._score(name, stem, estimates[stem], energies[stem], blanked)
                for name in self._metrics
            }
            for stem in stems
        }

    def _score(
        self,
        name: str,
        stem: str,
        estimate: Audio,
        energies: FrameEnergies,
        blanked: set[int] | None,
    ) -> Score:
        """One metric of one stem."""
        reference = self._references[stem]
        xx, ee, _, _ = energies.total
        if xx == 0:
            return Score(float("nan"), SILENT_REFERENCE)
        note = SILENT_ESTIMATE if ee == 0 else ""
        if name == "snr":
            return Score(snr_of(energies), note)
        if name == "si_sdr":
            return Score(si_sdr_of(energies, reference, estimate), note)
        if name == "sdr":
            return Score(_sdr_of(energies, self._projection(stem), estimate), note)
        if blanked is not None:
            return _museval_median(energies, blanked)
        value = csdr_of(energies)
        return Score(value, note if value == value else "reference silent in every whole frame")

    def _projection(self, stem: str) -> Projection:
        """Return the projection on a stem's own channels, factorised at its first use."""
        if stem not in self._projections:
            self._projections[stem] = Projection(self._references[stem])
        return self._projections[stem]

    def _blanked(self, estimates: Mapping[str, Audio], stems: list[str]) -> set[int]:
        """Frames that museval scores for no stem: the channels of some signal sum to zero."""
        signals = [*self._references.values(), *(estimates[stem] for stem in stems)]
        bounds = frame_bounds(signals[0].shape[1], self._window, self._hop)
        sums = [signal.sum(axis=0, dtype=np.float64) for signal in signals]
        return {i for i, (a, b) in enumerate(bounds) if any(not s[a:b].any() for s in sums)}


def analyse(
    references: Mapping[str, Audio],
    sample_rate: int,
    *,
    metrics: Sequence[str] = DEFAULT,
    window: float = 1.0,
    hop: float | None = None,
    compat: Compat = "ours",
) -> References:
    """Analyse the references of a track, once for all separators.

    Parameters
    ----------
    references
        Stem name → true stem, shape (channels, samples), all of the same length.
    sample_rate
        In Hz.
    metrics
        Names from `METRICS`.
    window, hop
        Seconds of a frame of BSS Eval v4 and from one to the next; without `hop`, no overlap.
    compat
        ``museval`` leaves out the frames that museval 0.4.1 leaves out.

    Raises
    ------
    HarnessError
        If a metric is unknown, a signal is unfit, or the lengths differ.

    Examples
    --------
    >>> x = np.array([[0.5, -0.5, 0.25, 0.0]], np.float32)
    >>> analyse({"bass": x}, 4, metrics=["snr"]).score({"bass": 0.9 * x})["bass"]["snr"].note
    ''
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
    n_window = int(window * sample_rate)
    n_hop = n_window if hop is None else int(hop * sample_rate)
    if n_window < 1 or n_hop < 1:
        raise HarnessError(f"metrics: window {window} s and hop {hop} s; both must be positive")
    return References(references, metrics, n_window, n_hop, compat)


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
    if is_silent(reference):
        return float("nan")
    if np.array_equal(reference, estimate):
        return float("inf")
    return float(db(*Projection(reference).energy(estimate)))


def _sdr_of(energies: FrameEnergies, projection: Projection, estimate: Audio) -> float:
    """BSS Eval v3 SDR; exactly inf where the estimate is its reference."""
    _, _, dd, _ = energies.total
    return float(db(*projection.energy(estimate))) if dd else float("inf")


def _museval_median(energies: FrameEnergies, blanked: set[int]) -> Score:
    """Return museval's median: over the frames it scores, infinite ones left out."""
    kept = [i for i in range(len(energies.xx)) if i not in blanked]
    frames = db(energies.xx[kept], energies.dd[kept])
    frames = frames[np.isfinite(frames)]
    if not len(frames):
        return Score(float("nan"), "no frame that museval scores")
    return Score(float(np.median(frames)), "")
