"""Analyse the references of a track once, then score any number of separators against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio, Float64, check, check_pair
from harness.core.bands import low_passes
from harness.core.errors import HarnessError
from harness.metrics.checks import suspicions
from harness.metrics.definitions import (
    DEFAULT,
    METRICS,
    NEVER_SILENT,
    NO_FRAME,
    SILENT_ESTIMATE,
    SILENT_REFERENCE,
    Metric,
    Needs,
    Pair,
    Score,
)
from harness.metrics.engine.bss_eval import Analysis, gram, own_first
from harness.metrics.engine.correlations import NotFiniteError
from harness.metrics.engine.threads import in_threads
from harness.metrics.products import BlendProducts
from harness.metrics.ratios import (
    PIECE,
    Energies,
    db,
    frame_bounds,
    frame_energies,
    median_of,
    sdr_of,
)

Compat = Literal["ours", "museval"]

MUSEVAL_RIDGE = float(np.finfo(np.float64).eps)  # changes scores below about −60 dBFS
ILL_CONDITIONED = 1e-12  # eigenvalues of the Gram matrix; below it museval disagrees with itself
FIRST_LOOK = 64  # samples that are searched for sound first; each further piece is longer

REFUSED = "museval refuses a track with a silent reference or estimate"


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

    References are stem → shape (channels, samples), of equal lengths; ``isr``, ``sir`` and ``sar``
    depend on the whole set. Metrics per frame have frames of `window` seconds, one per `hop`
    seconds; without `hop`, frames do not overlap. With ``compat="museval"``, frames that museval
    0.4.1 leaves out are left out. No score depends on `threads` (all cores by default). With a CUDA
    `device` such as ``cuda:1`` the transforms run there as long as its memory suffices, and scores
    agree to 1e-6 dB.

    Examples
    --------
    >>> x = np.array([[0.5, -0.5, 0.25, 0.0]], np.float32)
    >>> scores = analyse({"bass": x}, 4, metrics=["snr"]).score({"bass": np.float32(0.9) * x})
    >>> round(scores["bass"]["snr"].value, 3)
    20.0
    """
    chosen = _records(metrics)
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
    return References(dict(references), sample_rate, chosen, frames, compat, threads, device)


def sdr(reference: Audio, estimate: Audio) -> float:
    """BSS Eval v3 SDR of the whole track in dB, 512-tap distortion filters allowed.

    Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation",
    2006; for one channel the value of ``mir_eval.separation.bss_eval_sources``. NaN for a silent
    reference, −inf for a silent estimate, inf for a perfect one. Above about 120 dB the digits are
    rounding.
    """
    check_pair(reference, estimate, "sdr")
    references = analyse({"": reference}, 1, metrics=["sdr"], window=reference.shape[1])
    return references.score({"": estimate})[""]["sdr"].value


@dataclass(eq=False, repr=False)
class References:
    """The true stems of one track, ready to score separators; made by `analyse`."""

    _references: dict[str, Audio]
    _sample_rate: int
    _metrics: Sequence[Metric]
    _frames: tuple[int, int]  # length of a frame and distance between frames, in samples
    _compat: Compat
    _threads: int | None
    _device: str

    def __post_init__(self) -> None:
        self.stems = tuple(self._references)
        self._bounds = frame_bounds(self._references[self.stems[0]].shape[1], *self._frames)
        if _needs(self._metrics) >= Needs.OWN_FILTERS:
            _ = self._analysis  # now, so that the first separator does not wait for it

    @property
    def conditioning(self) -> float:
        """Smallest eigenvalue of the references' Gram matrix over its largest, roughly.

        Below 1e-12 the references have an empty band or depend on each other: the filters of BSS
        Eval are arbitrary there, and ``isr``, ``sir`` and ``sar`` have a note.
        """
        return self._analysis.conditioning

    def score(
        self,
        estimates: Mapping[str, Audio],
        *,
        checks: bool = False,
        metrics: Sequence[str] | None = None,
    ) -> dict[str, dict[str, Score]]:
        """Score one separator's estimates, for the stems that it and the references have.

        `metrics` are those given to `analyse`, unless others are named here.

        The result is stem → metric → `Score`. A silent reference gives NaN; a silent estimate gives
        0 dB for ``snr``, ``csdr`` and ``isr``, −inf for the others; notes say so. With `checks`,
        notes also say what looks wrong about an estimate, see `suspicions`.
        """
        given = self._shaped(estimates)
        chosen = self._metrics if metrics is None else _records(metrics)
        pairs = self._pairs(given, _needs(chosen))
        if any(metric.at_silence for metric in chosen):
            pairs |= self._silent_pairs(given)
        kept = self._kept(given)
        doubts = suspicions(self._references, given, self._sample_rate) if checks else {}
        scores: dict[str, dict[str, Score]] = {stem: {} for stem in given}
        for stem, of_stem in scores.items():
            for metric in chosen:
                if not metric.is_for(stem):
                    continue
                frames = ~self._reference_sounding[stem] if metric.at_silence else kept[stem]
                score = self._score(metric, pairs.get(stem), frames)
                of_stem[metric.name] = Score(score.value, _joined(score.note, doubts.get(stem, "")))
        return scores

    def frames(self, estimates: Mapping[str, Audio]) -> dict[str, dict[str, Float64]]:
        """Score every frame by all default metrics per frame (BSS Eval v4).

        Stem → ``csdr``, ``isr``, ``sir``, ``sar`` → dB, shape (frames,). NaN if the reference or,
        with ``compat="museval"``, any reference or estimate is silent in the frame.
        """
        given = self._shaped(estimates)
        pairs = self._pairs(given, Needs.ALL_FILTERS)
        kept = self._kept(given)
        none = np.full(len(self._bounds), np.nan)
        return {
            stem: {
                name: np.where(kept[stem], metric.compute(pairs[stem]), np.nan)
                if stem in pairs
                else none
                for name in DEFAULT
                if (metric := METRICS[name]).compute and metric.per_frame
            }
            for stem in given
        }

    def bss_eval_sources(self, estimates: Mapping[str, Audio]) -> dict[str, dict[str, float]]:
        """BSS Eval v3 of the whole track, filters allowed: stem → ``sdr``, ``sir``, ``sar`` in dB.

        For one channel these are the values of ``mir_eval.separation.bss_eval_sources`` without
        permutation. A silent reference gives NaN.
        """
        nothing = dict.fromkeys(("sdr", "sir", "sar"), float("nan"))
        found = dict.fromkeys(self._shaped(estimates), nothing)
        for stem, energies in self.energies(estimates).items():
            _, ee, dd, _ = energies.total
            own, everything = energies.whole_own, energies.whole_projected
            sir = db(own, max(everything - own, 0.0)) if dd else np.inf
            sar = db(everything, max(ee - everything, 0.0)) if dd else np.inf
            found[stem] = {"sdr": sdr_of(energies), "sir": float(sir), "sar": float(sar)}
        return found

    def energies(self, estimates: Mapping[str, Audio]) -> dict[str, Energies]:
        """Compute all energies of BSS Eval per stem; stems with a silent reference are left out."""
        return self._energies(self._shaped(estimates), Needs.ALL_FILTERS)

    def blend(
        self, stem: str, estimates: Mapping[str, Audio], *, edges: Sequence[float] = ()
    ) -> BlendProducts:
        """Compute the inner products from which any linear blend of separators can be scored.

        Estimates are separator → its estimate of the stem. Rising `edges` in Hz cut the estimates
        into bands, for weights per band; then metrics per frame cannot be scored.
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
            reference, n = self._references[stem], self._references[stem].shape[1]
            analysis = self._analysis_of({stem: reference}, n, n)  # one frame
            taps, others = low_passes(self._sample_rate, edges), own_first(stem, self.stems)[1:]
            arrays = analysis.products_by_band(
                stem, given, taps, [self._references[name] for name in others]
            )
            arrays["mixture_own"] = np.array([[self._analysis.mixture_own(stem)]])
        else:
            arrays = self._analysis.products(stem, given)
        return BlendProducts(
            **arrays,
            separators=tuple(estimates),
            edges=tuple(edges),
            sources=tuple(own_first(stem, self.stems)),
        )

    def _score(self, metric: Metric, pair: Pair | None, kept: npt.NDArray[np.bool_]) -> Score:
        """Score one stem by one metric."""
        silent = pair is None or (pair.energies.total[0] == 0 and not metric.at_silence)
        if metric.compute is None or pair is None or silent:
            return Score(float("nan"), SILENT_REFERENCE)
        _, ee, dd, _ = pair.energies.total
        note = "" if ee else SILENT_ESTIMATE
        if metric.needs is Needs.ALL_FILTERS:
            if dd == 0 and self._compat == "ours":
                return Score(float("inf"), note)  # filters would leave rounding, over 200 dB
            if self.conditioning < ILL_CONDITIONED:
                note = _joined(note, f"ill-conditioned, {self.conditioning:.0e}")
        value = metric.compute(pair)
        if not metric.per_frame:
            undefined = metric.undefined if np.isnan(value) else ""
            return Score(float(value), _joined(undefined, note))
        frames, empty = np.asarray(value), NEVER_SILENT if metric.at_silence else NO_FRAME
        if self._compat == "museval":  # which leaves out infinite frames, too
            kept, empty = kept & np.isfinite(frames), REFUSED
        return Score(median_of(frames[kept]), note if kept.any() else empty)

    def _pairs(self, given: Mapping[str, Audio], needs: Needs) -> dict[str, Pair]:
        """Each estimate with its reference and energies; without silent references."""
        return {
            stem: self._pair(stem, given[stem], energies)
            for stem, energies in self._energies(given, needs).items()
            if energies.total[0] > 0
        }

    def _silent_pairs(self, given: Mapping[str, Audio]) -> dict[str, Pair]:
        """Pairs of references that are silent throughout, for metrics of silence."""
        silent = [stem for stem in given if not self._references[stem].any()]
        return {
            stem: self._pair(
                stem,
                given[stem],
                frame_energies(self._references[stem], given[stem], *self._frames),
            )
            for stem in silent
        }

    def _pair(self, stem: str, estimate: Audio, energies: Energies) -> Pair:
        """Return what metrics are computed from."""
        references = tuple(self._references[name] for name in own_first(stem, self.stems))
        return Pair(references[0], estimate, self._sample_rate, energies, references)

    def _energies(self, given: Mapping[str, Audio], needs: Needs) -> dict[str, Energies]:
        """Energies of the stems, with the filters needed; those may lack stems that are silent."""
        try:
            if needs >= Needs.OWN_FILTERS:
                return self._analysis.energies(given, joint=needs is Needs.ALL_FILTERS)
            pairs = [(self._references[stem], given[stem], *self._frames) for stem in given]
            found = in_threads(lambda pair: frame_energies(*pair), pairs, self._threads)
            if not np.isfinite([energies.total for energies in found]).all():
                raise NotFiniteError
            if needs is Needs.REFERENCES:
                found = [
                    replace(energies, among=self._among(stem, given[stem]))
                    for stem, energies in zip(given, found, strict=True)
                ]
            return dict(zip(given, found, strict=True))
        except NotFiniteError:
            for stem, estimate in given.items():
                check(estimate, f"{stem}, estimate")
            raise

    def _among(self, stem: str, estimate: Audio) -> Float64:
        """Compute `Energies.among` from the signals."""
        order = own_first(stem, self.stems)
        return gram([*(self._references[name] for name in order), estimate])

    def _shaped(self, estimates: Mapping[str, Audio]) -> dict[str, Audio]:
        """Estimates of the stems that both sides have, in order, checked for their shape."""
        given = {stem: estimates[stem] for stem in self.stems if stem in estimates}
        for stem, estimate in given.items():
            if estimate.shape != self._references[stem].shape:
                check_pair(self._references[stem], estimate, stem)
        return given

    @cached_property
    def _analysis(self) -> Analysis:
        """The analysis of all references."""
        return self._analysis_of(self._references, *self._frames)

    def _analysis_of(self, references: Mapping[str, Audio], window: int, hop: int) -> Analysis:
        """Analyse references; `window` and `hop` in samples."""
        ridge = MUSEVAL_RIDGE if self._compat == "museval" else 0.0
        return Analysis(references, window, hop, ridge, self._threads, self._device)

    def _kept(self, estimates: Mapping[str, Audio]) -> dict[str, npt.NDArray[np.bool_]]:
        """Frames that are scored, per stem."""
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
        """Frames in which each reference is not silent."""
        found = in_threads(self._sounding, self._references.values(), self._threads)
        return dict(zip(self._references, found, strict=True))

    def _sounding(self, signal: Audio) -> npt.NDArray[np.bool_]:
        """Whether each frame is not silent; for museval, whether the sum of its channels is not."""
        added = self._compat == "museval"
        return np.array([_sounds(signal[:, a:b], added=added) for a, b in self._bounds])


def _records(metrics: Sequence[str]) -> list[Metric]:
    """Return the records of metrics that are computed from energies and signals."""
    known = [name for name, metric in METRICS.items() if metric.compute]
    if unknown := [name for name in metrics if name not in known]:
        raise HarnessError(f"metrics: {unknown} cannot be computed; choose from {known}")
    return [METRICS[name] for name in metrics]


def _needs(metrics: Sequence[Metric]) -> Needs:
    """Return what metrics are computed from, together."""
    return max((metric.needs for metric in metrics), default=Needs.SIGNALS)


def _sounds(signal: Audio, *, added: bool) -> bool:
    """Whether any sample, or any sum of the channels if `added`, is not zero."""
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
