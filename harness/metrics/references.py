"""The references of a track, analysed once, and the scores of separators against them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from harness.audio import Audio, check, check_pair
from harness.bands import low_passes
from harness.errors import HarnessError
from harness.metrics.blends import Blend
from harness.metrics.bss_eval import Analysis
from harness.metrics.checks import suspicions
from harness.metrics.correlations import NotFiniteError
from harness.metrics.definitions import Score
from harness.metrics.energies import Energies, Whole
from harness.metrics.parallel import in_threads
from harness.metrics.ratios import (
    PIECE,
    FrameEnergies,
    db,
    frame_bounds,
    frame_energies,
    median_of,
    si_sdr_of,
    snr_of,
)

Compat = Literal["ours", "museval"]
Float64 = npt.NDArray[np.float64]
T = TypeVar("T")

COMPUTED = ("snr", "sdr", "si_sdr", "csdr", "isr", "sir", "sar")
FRAMEWISE = ("csdr", "isr", "sir", "sar")
PROJECTED = ("isr", "sir", "sar")  # those that need the projection on all references
MUSEVAL_RIDGE = float(np.finfo(np.float64).eps)  # shows below some −60 dBFS
ILL_CONDITIONED = 1e-12  # eigenvalues of the Gram matrix; below it museval disagrees with itself

FIRST_LOOK = 64  # samples looked at for sound before more and more of the rest

SILENT_REFERENCE = "silent reference"
SILENT_ESTIMATE = "silent estimate"
NO_FRAME = "reference silent in every whole frame"
REFUSED = "museval refuses a track with a silent reference or estimate"


class References:
    """The true stems of one track, ready to score separators; made by `analyse`.

    Attributes
    ----------
    stems
        Names, in the order given.
    metrics
        What `score` computes.
    """

    def __init__(
        self,
        references: Mapping[str, Audio],
        sample_rate: int,
        metrics: Sequence[str],
        frames: tuple[int, int],
        compat: Compat,
        threads: int | None,
        device: str,
    ) -> None:
        self.stems, self.metrics = tuple(references), tuple(metrics)
        self._references, self._sample_rate = dict(references), sample_rate
        self._frames, self._compat, self._threads = frames, compat, threads
        self._device = device
        self._analysis: Analysis | None = None
        if {"sdr", *PROJECTED} & set(metrics):
            self._analysis = self._analysed()

    @property
    def conditioning(self) -> float:
        """Smallest eigenvalue of the references' Gram matrix against its largest, about.

        Below 1e-12 the references have an empty band or depend on each other: the filters of BSS
        Eval are arbitrary there, and ``isr``, ``sir`` and ``sar`` carry a note.
        """
        return self._analysed().conditioning

    def score(
        self, estimates: Mapping[str, Audio], *, checks: bool = False
    ) -> dict[str, dict[str, Score]]:
        """Score one separator's estimates.

        Parameters
        ----------
        estimates
            Stem name → estimate of the shape of its reference; other stems are ignored.
        checks
            Add to the notes what looks wrong about an estimate, see `suspicions`.

        Returns
        -------
        dict
            Stem → metric → `Score`, for the stems that both sides have. A silent reference gives
            NaN and the note ``silent reference``. A silent estimate gives 0 dB for ``snr``,
            ``csdr`` and ``isr``, −inf for the others, and the note ``silent estimate``.

        Raises
        ------
        HarnessError
            If an estimate has another shape than its reference or holds NaN or infinity.
        """
        given = self._shaped(estimates)
        energies = self._energies(given)
        kept = self._kept(given)
        doubts = suspicions(self._references, given, self._sample_rate) if checks else {}
        return {
            stem: {
                name: _noted(
                    self._score(name, stem, given[stem], energies.get(stem), kept[stem]),
                    doubts.get(stem, ""),
                )
                for name in self.metrics
            }
            for stem in given
        }

    def frames(self, estimates: Mapping[str, Audio]) -> dict[str, dict[str, Float64]]:
        """Score every frame with BSS Eval v4.

        Returns
        -------
        dict
            Stem → ``csdr``, ``isr``, ``sir``, ``sar`` → dB per frame, shape (frames,). NaN where
            the frame does not count: its reference is silent or, with ``compat="museval"``, any
            reference or estimate is.
        """
        given = self._shaped(estimates)
        energies = self._all_energies(given)
        kept = self._kept(given)
        none = np.full(len(self._bounds()), np.nan)
        return {
            stem: {
                name: np.where(kept[stem], energies[stem].frames()[name], np.nan)
                if stem in energies
                else none
                for name in FRAMEWISE
            }
            for stem in given
        }

    def bss_eval_sources(self, estimates: Mapping[str, Audio]) -> dict[str, dict[str, float]]:
        """BSS Eval v3 of the whole track, filters allowed: stem → ``sdr``, ``sir``, ``sar``.

        For one channel these are the values of ``mir_eval.separation.bss_eval_sources`` without
        permutation. A silent reference gives NaN.
        """
        energies = self._all_energies(given := self._shaped(estimates))
        none = dict.fromkeys(("sdr", "sir", "sar"), float("nan"))
        return {s: energies[s].sources() if s in energies else none for s in given}

    def bss_eval_images(self, estimates: Mapping[str, Audio]) -> dict[str, dict[str, float]]:
        """BSS Eval v3 of the whole track, images: stem → ``sdr``, ``isr``, ``sir``, ``sar``.

        The values of ``museval.metrics.bss_eval_images`` without permutation. A silent reference
        gives NaN.
        """
        energies = self._all_energies(given := self._shaped(estimates))
        none = dict.fromkeys(("sdr", "isr", "sir", "sar"), float("nan"))
        return {s: energies[s].images() if s in energies else none for s in given}

    def blend(
        self, stem: str, estimates: Mapping[str, Audio], *, edges: Sequence[float] = ()
    ) -> Blend:
        """Keep what any linear blend of several separators can be scored from.

        Parameters
        ----------
        stem
            One of `stems`.
        estimates
            Separator → its estimate of that stem.
        edges
            In Hz, rising: cut the estimates there into bands, for weights by band. Only ``snr``,
            ``sdr`` and ``si_sdr`` can then be scored.

        Raises
        ------
        HarnessError
            If there is no such stem or no estimate, or an estimate is unfit.
        """
        if stem not in self.stems or not estimates:
            raise HarnessError(
                f"blend: stem {stem!r} of {list(self.stems)} with {len(estimates)} "
                "estimates; give a stem of the references and its estimates"
            )
        for name, estimate in estimates.items():
            check_pair(self._references[stem], estimate, f"{name}, {stem}")
        given = list(estimates.values())
        arrays: dict[str, Any]
        if edges:
            alone = {stem: self._references[stem]}
            analysis = self._analysis_of(alone, 2 * alone[stem].shape[1:])  # of one frame
            taps = low_passes(self._sample_rate, edges)
            arrays = analysis.products_by_band(stem, given, taps)
        else:
            arrays = self._analysed().products(stem, given)
        return Blend(tuple(estimates), **arrays, edges=tuple(edges))

    def _score(
        self,
        name: str,
        stem: str,
        estimate: Audio,
        energies: Whole | FrameEnergies | None,
        kept: npt.NDArray[np.bool_],
    ) -> Score:
        """One metric of one stem."""
        if energies is None:
            return Score(float("nan"), SILENT_REFERENCE)
        plain = energies.plain if isinstance(energies, Whole) else energies
        xx, ee, _, _ = plain.total
        if xx == 0:
            return Score(float("nan"), SILENT_REFERENCE)
        note = "" if ee else SILENT_ESTIMATE
        if name == "snr":
            return Score(snr_of(plain), note)
        if name == "si_sdr":
            return Score(si_sdr_of(plain, self._references[stem], estimate), note)
        if name == "csdr":
            return self._median(db(plain.xx, plain.dd), kept, note)
        if name == "sdr" and isinstance(energies, Whole):
            return Score(energies.sdr, note)
        assert isinstance(energies, Energies)
        if plain.total[2] == 0 and self._compat == "ours":
            return Score(float("inf"), note)  # not the 200 and some dB of rounding
        if self.conditioning < ILL_CONDITIONED:
            note = _joined(note, f"ill-conditioned, {self.conditioning:.0e}")
        return self._median(energies.frames()[name], kept, note)

    def _median(self, frames: Float64, kept: npt.NDArray[np.bool_], note: str) -> Score:
        """Median over the frames that count; museval's leaves out infinite ones too."""
        if self._compat == "museval":
            kept = kept & np.isfinite(frames)
            return Score(median_of(frames[kept]), note if kept.any() else REFUSED)
        return Score(median_of(frames[kept]), note if kept.any() else NO_FRAME)

    def _energies(self, estimates: Mapping[str, Audio]) -> Mapping[str, Whole | FrameEnergies]:
        """Energies of every stem, with filters only where a metric asks for them."""
        if set(PROJECTED) & set(self.metrics):
            return self._all_energies(estimates)
        if "sdr" in self.metrics:
            return _finite(self._analysed().whole, estimates)
        return _finite(self._plain_energies, estimates)

    def _plain_energies(self, estimates: Mapping[str, Audio]) -> dict[str, FrameEnergies]:
        """Energies that no filter enters."""
        found = in_threads(
            lambda stem: frame_energies(self._references[stem], estimates[stem], *self._frames),
            estimates,
            self._threads,
        )
        if not np.isfinite([energies.total for energies in found]).all():
            raise NotFiniteError
        return dict(zip(estimates, found, strict=True))

    def _all_energies(self, estimates: Mapping[str, Audio]) -> Mapping[str, Energies]:
        """Energies of every stem whose reference sounds, filters included."""
        return _finite(self._analysed().energies, estimates)

    def _shaped(self, estimates: Mapping[str, Audio]) -> dict[str, Audio]:
        """Estimates of the stems that both sides have, in order, of the references' shapes."""
        given = {stem: estimates[stem] for stem in self.stems if stem in estimates}
        for stem, estimate in given.items():
            if estimate.shape != self._references[stem].shape:
                check_pair(self._references[stem], estimate, stem)
        return given

    def _analysed(self) -> Analysis:
        """Return the analysis of the references, made at its first use."""
        if self._analysis is None:
            self._analysis = self._analysis_of(self._references, self._frames)
        return self._analysis

    def _analysis_of(self, references: Mapping[str, Audio], frames: tuple[int, ...]) -> Analysis:
        """Analyse references, in frames of a window and a hop."""
        ridge = MUSEVAL_RIDGE if self._compat == "museval" else 0.0
        return Analysis(
            references, *frames, threads=self._threads, ridge=ridge, device=self._device
        )

    def _bounds(self) -> list[tuple[int, int]]:
        """First and last+1 sample of every frame."""
        n_samples = next(iter(self._references.values())).shape[1]
        return frame_bounds(n_samples, *self._frames)

    def _kept(self, estimates: Mapping[str, Audio]) -> dict[str, npt.NDArray[np.bool_]]:
        """Frames that count, per stem."""
        if self._compat == "ours":
            return {stem: self._reference_sounding[stem] for stem in estimates}
        frames = [*self._reference_sounding.values()]
        frames += in_threads(self._sounding, estimates.values(), self._threads)
        signals = [*self._references.values(), *estimates.values()]
        pairs = zip(frames, signals, strict=True)
        scored = all(frame.any() or _sounds(signal, added=True) for frame, signal in pairs)
        return dict.fromkeys(estimates, np.logical_and.reduce(frames) & scored)

    @cached_property
    def _reference_sounding(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Frames in which each reference sounds."""
        found = in_threads(self._sounding, self._references.values(), self._threads)
        return dict(zip(self._references, found, strict=True))

    def _sounding(self, signal: Audio) -> npt.NDArray[np.bool_]:
        """Whether each frame sounds; for museval the sum of its channels must."""
        added = self._compat == "museval"
        return np.array([_sounds(signal[:, a:b], added=added) for a, b in self._bounds()])


def _finite(compute: Callable[[Mapping[str, Audio]], T], estimates: Mapping[str, Audio]) -> T:
    """Compute, and say which estimate is not finite if one is found not to be."""
    try:
        return compute(estimates)
    except NotFiniteError:
        for stem, estimate in estimates.items():
            check(estimate, f"{stem}, estimate")
        raise


def _sounds(signal: Audio, *, added: bool) -> bool:
    """Whether a sample, or the sum of the channels as museval asks, is anywhere not zero."""
    start, length = 0, FIRST_LOOK
    while start < signal.shape[1]:
        piece = signal[:, start : start + length]
        if (piece.sum(axis=0, dtype=np.float64) if added else piece).any():
            return True
        start, length = start + length, min(4 * length, PIECE)
    return False


def _joined(*notes: str) -> str:
    """Join the notes that are not empty."""
    return "; ".join(note for note in notes if note)


def _noted(score: Score, note: str) -> Score:
    """Add to a score's note."""
    return Score(score.value, _joined(score.note, note))
