"""All metrics: the record of each has its name, its definition, and how it is computed.

Runs, tables, reports and blends read `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio, Float64
from harness.core.taxonomy import STEMS, ancestors
from harness.metrics.onsets import attack_slope, onset_f
from harness.metrics.ratios import (
    Energies,
    db,
    improvement,
    inverted,
    of_mixture,
    sdr_of,
    si_sar_of,
    si_sdr_of,
    si_sir_of,
    snr_of,
)

EMPTY = 1e-12  # energy added to that of silent frames, so that they have a value in dB
DRUMS = tuple(stem for stem in STEMS if "drums" in (stem, *ancestors(stem)))

SILENT_REFERENCE = "silent reference"
SILENT_ESTIMATE = "silent estimate"
NO_FRAME = "reference silent in every whole frame"
NEVER_SILENT = "reference silent in no whole frame"
IS_MIXTURE = "the mixture is the stem itself"
NO_ONSET = "no onset in the reference"


class When(StrEnum):
    """When a metric is computed."""

    ALWAYS = "always"  # in every run: work that was finished without it is done again
    NEW_WORK = "new work"  # in every run: work that was finished without it stays valid, lacks it
    ON_REQUEST = "on request"  # of `--metrics`; it is stored apart, so that nothing else changes


class Needs(IntEnum):
    """What a metric is computed from; each value includes the ones before."""

    SIGNALS = 0  # the audio and its energies
    REFERENCES = 1  # and inner products with all references, `Energies.among`
    OWN_FILTERS = 2  # and the projection on the stem's own delays, `Energies.whole_own`
    ALL_FILTERS = 3  # and the projection on all stems' delays, all other fields of `Energies`


@dataclass(frozen=True)
class Pair:
    """The reference of one stem of one track, an estimate of it, and their energies."""

    reference: Audio  # (channels, samples), not silent
    estimate: Audio  # of the same shape
    sample_rate: int
    energies: Energies  # as far as the metrics of the run need them
    references: tuple[Audio, ...] = ()  # all of the track, this stem's first


def _none() -> Float64:
    return np.empty((0, 0))


@dataclass(frozen=True)
class InnerProducts:
    """Inner products of a reference x and K estimates e of it; Pj and P as in `Energies`.

    The R references of the track begin with x. What earlier versions did not keep is empty.
    """

    plain: Float64  # of x, e₁, …, eK per frame, shape (frames, K+1, K+1)
    own: Float64  # of x, Pj₁, …, PjK per frame, shape (frames, K+1, K+1)
    rest: Float64  # of P−Pj per frame, shape (frames, K, K)
    projected: Float64  # of P per frame, shape (frames, K, K)
    artifacts: Float64  # of P−e per frame, shape (frames, K, K)
    whole: Float64  # of x, e₁, …, eK over the whole track, shape (K+1, K+1)
    whole_own: Float64  # of Pj over the whole track, shape (K, K)
    #: of references, per frame, (frames, R, R)
    among: Float64 = field(default_factory=_none, kw_only=True)
    #: of them and e₁, …, eK, (frames, R, K)
    cross: Float64 = field(default_factory=_none, kw_only=True)
    #: of the whole track, (R, R)
    whole_among: Float64 = field(default_factory=_none, kw_only=True)
    #: of the whole track, (R, K)
    whole_cross: Float64 = field(default_factory=_none, kw_only=True)
    #: |Pj|² of the mixture, (1, 1)
    mixture_own: Float64 = field(default_factory=_none, kw_only=True)


# The energies above and below a metric's fraction bar, as quadratic forms in (−1, weights): two
# arrays of shape (frames, K+1, K+1), with one frame if the metric is of the whole track.
Forms = tuple[Float64, Float64]


@dataclass(frozen=True)
class Metric:
    """One score of an estimate, or one cost of a separator."""

    name: str  # in tables
    label: str  # in headings
    definition: str  # one line, printed on every report
    #: None: a cost, which the run measures, or a metric of another tool, see `tool_metrics`
    compute: Callable[[Pair], float | Float64] | None = None
    forms: Callable[[InnerProducts], Forms] | None = None  # None: a blend cannot be scored by it
    needs: Needs = Needs.SIGNALS
    with_references: bool = False  # `forms` use the other references, too
    per_frame: bool = False  # `compute` and `forms` return frames; the score is their median
    at_silence: bool = False  # over the frames in which the reference is silent
    unit: str = "dB"  # or ``s``, ``bytes``, ``values``, ``×`` for a pure ratio
    higher_is_better: bool = True
    version: int = 1  # raise it if a value would change: old scores are then computed again
    when: When = When.ALWAYS
    stems: tuple[str, ...] = ()  # the only ones that it is for; empty: all
    ranks: bool = True  # False: it is deaf to too much to place or choose separators by it alone
    undefined: str = ""  # note on a value that is NaN

    def is_for(self, stem: str) -> bool:
        """Whether the metric is computed for a stem."""
        return not self.stems or stem in self.stems

    def described(self) -> dict[str, Any]:
        """Return what the record of a run says about the metric."""
        names = ("name", "unit", "higher_is_better", "version", "definition")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Score:
    """A value, and a note on what readers must know about it (often empty)."""

    value: float
    note: str = ""


def _of_reference(products: Float64) -> Float64:
    """Return the reference's energy as a form in (−1, w)."""
    form = np.zeros_like(products)
    form[:, 0, 0] = products[:, 0, 0]
    return form


def _of_estimates(products: Float64) -> Float64:
    """Return forms in w as forms in (−1, w)."""
    return np.pad(products, ((0, 0), (1, 0), (1, 0)))


def _sdr_forms(products: InnerProducts) -> Forms:
    inside = products.whole_own[None]
    return _of_estimates(inside), _of_estimates(products.whole[None, 1:, 1:] - inside)


def _si_sdr_forms(products: InnerProducts) -> Forms:
    whole = products.whole[None]
    inside = whole[:, 1:, :1] * whole[:, :1, 1:] / whole[:, :1, :1]
    return _of_estimates(inside), _of_estimates(whole[:, 1:, 1:] - inside)


def _parts_forms(products: InnerProducts) -> tuple[Float64, Float64, Float64]:
    """Forms in w of target, interference and artifacts, see `ratios.scaled_parts`."""
    whole, among, cross = products.whole[None], products.whole_among, products.whole_cross
    target = whole[:, 1:, :1] * whole[:, :1, 1:] / whole[:, :1, :1]
    beside = cross - among[:, :1] * cross[:1] / among[0, 0]
    beside[0] = 0  # without the rounding
    interference = (beside.T @ inverted(among) @ beside)[None]
    return target, interference, whole[:, 1:, 1:] - target - interference


def _si_sir_forms(products: InnerProducts) -> Forms:
    target, interference, _ = _parts_forms(products)
    return _of_estimates(target), _of_estimates(interference)


def _si_sar_forms(products: InnerProducts) -> Forms:
    target, _, artifacts = _parts_forms(products)
    return _of_estimates(target), _of_estimates(artifacts)


def _sd_sdr_forms(products: InnerProducts) -> Forms:
    return _si_sdr_forms(products)[0], products.whole[None]


def _sd_sdr(pair: Pair) -> float:
    xx, _, dd, xe = pair.energies.total
    return float(db(xe**2 / xx, dd))


def _snr_forms(products: InnerProducts) -> Forms:
    return _of_reference(products.whole[None]), products.whole[None]


def _over_mixture(
    metric: str, forms: Callable[[InnerProducts], Forms]
) -> Callable[[InnerProducts], Forms]:
    """Return the forms of a metric's improvement over the mixture."""

    def improved(products: InnerProducts) -> Forms:
        own = float(products.mixture_own[0, 0])
        above, below = of_mixture(products.whole_among, own)[metric]
        kept = slice(None) if below > 0 else slice(0)  # without frames: NaN
        estimate = forms(products)
        return estimate[0][kept] * below, estimate[1][kept] * above

    return improved


def _pes_forms(products: InnerProducts) -> Forms:
    above, below = _of_estimates(products.plain[:, 1:, 1:]), np.zeros_like(products.plain)
    above[:, 0, 0], below[:, 0, 0] = EMPTY, 1
    return above, below


_new = partial(Metric, when=When.NEW_WORK)
_optional = partial(Metric, when=When.ON_REQUEST)
_deaf = partial(_optional, ranks=False)
_attack = partial(_deaf, stems=DRUMS, undefined=NO_ONSET)
_SCORES = (
    Metric(
        "snr",
        "SNR",
        "10·log10(Σx² / Σ(x−x̂)²) over the whole track and all channels",
        lambda pair: snr_of(pair.energies),
        _snr_forms,
    ),
    Metric(
        "sdr",
        "SDR",
        "BSS Eval v3: ‖P‖²/‖x̂−P‖², P the projection of x̂ on 512 delays of the target's channels",
        lambda pair: sdr_of(pair.energies),
        _sdr_forms,
        Needs.OWN_FILTERS,
    ),
    Metric(
        "si_sdr",
        "SI-SDR",
        "‖αx‖²/‖αx−x̂‖² with α = ⟨x̂,x⟩/⟨x,x⟩, one α for the whole track and all channels",
        lambda pair: si_sdr_of(pair.energies, pair.reference, pair.estimate),
        _si_sdr_forms,
    ),
    Metric(
        "csdr",
        "cSDR",
        "BSS Eval v4 SDR: median over 1 s frames of Σx²/Σ(x−x̂)²",
        lambda pair: db(pair.energies.xx, pair.energies.dd),
        lambda of: (_of_reference(of.plain), of.plain),
        per_frame=True,
    ),
    Metric(
        "isr",
        "ISR",
        "BSS Eval v4: median over 1 s frames of Σx²/Σ(Pj−x)², one 512-tap filter per track",
        lambda pair: db(pair.energies.xx, pair.energies.spatial),
        lambda of: (_of_reference(of.plain), of.own),
        Needs.ALL_FILTERS,
        per_frame=True,
    ),
    Metric(
        "sir",
        "SIR",
        "BSS Eval v4: median over 1 s frames of ΣPj²/Σ(P−Pj)², one 512-tap filter per track",
        lambda pair: db(pair.energies.own, pair.energies.interference),
        lambda of: (_of_estimates(of.own[:, 1:, 1:]), _of_estimates(of.rest)),
        Needs.ALL_FILTERS,
        per_frame=True,
    ),
    Metric(
        "sar",
        "SAR",
        "BSS Eval v4: median over 1 s frames of ΣP²/Σ(P−x̂)², one 512-tap filter per track",
        lambda pair: db(pair.energies.projected, pair.energies.artifacts),
        lambda of: (_of_estimates(of.projected), _of_estimates(of.artifacts)),
        Needs.ALL_FILTERS,
        per_frame=True,
    ),
    _new(
        "si_sir",
        "SI-SIR",
        "‖αx‖²/‖I‖² with α as in SI-SDR, I the projection of x̂−αx on all references (no delays)",
        lambda pair: si_sir_of(pair.energies, pair.references, pair.estimate),
        _si_sir_forms,
        Needs.REFERENCES,
        with_references=True,
    ),
    _new(
        "si_sar",
        "SI-SAR",
        "‖αx‖²/‖x̂−αx−I‖² with α and I as in SI-SIR",
        lambda pair: si_sar_of(pair.energies, pair.references, pair.estimate),
        _si_sar_forms,
        Needs.REFERENCES,
        with_references=True,
    ),
    _optional(
        "sd_sdr",
        "SD-SDR",
        "‖αx‖²/‖x−x̂‖² with α as in SI-SDR: SNR that also charges a wrong level",
        _sd_sdr,
        _sd_sdr_forms,
    ),
    _optional(
        "snri",
        "SNRi",
        "SNR minus that of the mixture, which is the sum of the references",
        lambda pair: improvement("snr", snr_of(pair.energies), pair.energies),
        _over_mixture("snr", _snr_forms),
        Needs.REFERENCES,
        with_references=True,
        undefined=IS_MIXTURE,
    ),
    _optional(
        "sdri",
        "SDRi",
        "SDR minus that of the mixture, which is the sum of the references",
        lambda pair: improvement("sdr", sdr_of(pair.energies), pair.energies),
        _over_mixture("sdr", _sdr_forms),
        Needs.OWN_FILTERS,
        with_references=True,
        undefined=IS_MIXTURE,
    ),
    _optional(
        "si_sdri",
        "SI-SDRi",
        "SI-SDR minus that of the mixture, which is the sum of the references",
        lambda pair: improvement(
            "si_sdr", si_sdr_of(pair.energies, pair.reference, pair.estimate), pair.energies
        ),
        _over_mixture("si_sdr", _si_sdr_forms),
        Needs.REFERENCES,
        with_references=True,
        undefined=IS_MIXTURE,
    ),
    _optional(
        "pes",
        "PES",
        "predicted energy at silence: median over 1 s frames with a silent reference of Σx̂²+1e-12",
        lambda pair: db(pair.energies.ee + EMPTY, 1.0),
        _pes_forms,
        per_frame=True,
        at_silence=True,
        higher_is_better=False,
    ),
    _attack(
        "onset_f",
        "Onset F",
        "F-measure of the onsets of x̂ against those of x, 50 ms apart at most; drums only; deaf to "
        "level and to what sounds: a click at the time of a hit counts as the hit",
        lambda pair: onset_f(pair.reference, pair.estimate, pair.sample_rate),
        unit="0–1",
    ),
    _attack(
        "attack_slope",
        "Attack slope",
        "median over the onsets of x of how much the rise of x̂ differs from that of x; the rise is "
        "the energy of the 10 ms after the attack over that of the 10 ms before, at most 30 dB; "
        "drums only; deaf to level, to decay and to all that is between the hits",
        lambda pair: attack_slope(pair.reference, pair.estimate, pair.sample_rate),
        higher_is_better=False,
    ),
)
_cost = partial(Metric, higher_is_better=False)
_COSTS = (
    _cost("rtf", "Speed (RTF)", "processing seconds per second of audio", unit="×"),
    _cost(
        "scoring",
        "scoring",
        "seconds of scoring per second of audio, all stems together; the first separator of a "
        "track also analyzes its references",
        unit="×",
    ),
    _cost(
        "cpu_seconds",
        "cpu seconds",
        "CPU time of separating the track, all threads together",
        unit="s",
    ),
    _cost(
        "peak_memory", "Memory", "largest resident memory while separating the track", unit="bytes"
    ),
    _cost(
        "parameters",
        "Parameters",
        "number of trained values; 0 for a method without training",
        unit="values",
    ),
)

_percent = partial(_deaf, unit="0–100")
_TOOLS = (
    _percent(
        "bleedless",
        "Bleedless",
        "100/(1+d), d the mean dB by which mel bands (512, window 4096, 44.1 kHz, 80 dB deep) of x̂ "
        "are above those of x, over the bands that are; any added energy counts, not only other "
        "stems; deaf to what is missing: a silent x̂ gets 100; deaf to phase and polarity",
    ),
    _percent(
        "fullness",
        "Fullness",
        "100/(1+d), d the mean dB by which mel bands (512, window 4096, 44.1 kHz, 80 dB deep) of x̂ "
        "are below those of x, over the bands that are; deaf to what is added, to phase and "
        "polarity, not to level: −1 dB of gain gives 50",
    ),
    _percent(
        "bleedless_mr",
        "Bleedless MR",
        "mean of bleedless with windows of 1024, 2048, 4096 and 8192 samples, an eighth as many "
        "mel bands; deaf to what bleedless is deaf to",
    ),
    _percent(
        "fullness_mr",
        "Fullness MR",
        "mean of fullness with windows of 1024, 2048, 4096 and 8192 samples, an eighth as many mel "
        "bands; deaf to what fullness is deaf to",
    ),
    _percent(
        "l1_freq",
        "L1 freq",
        "100/(1+10·mean||X̂|−|X||), rectangular windows of 2048, hop 1024; not relative to the "
        "level of x, so that quiet stems score high; deaf to phase and polarity",
    ),
    _deaf(
        "log_wmse",
        "log-WMSE",
        "−4·ln(mean e²+1e-8) per channel, e the error filtered like hearing, over the RMS of the "
        "mixture's channel, 0 below −68 dB; at most 73.68; deaf to errors that are small against "
        "the mixture, however quiet x is",
        unit="",
    ),
    _deaf(
        "log_wmse_msst",
        "log-WMSE (MSST)",
        "as MSS-Training calls log-WMSE: the error of every channel over the RMS of every channel "
        "of the mixture, left and right crossed, always at 44.1 kHz; deaf to what log_wmse is",
        unit="",
    ),
    _percent(
        "aura_stft",
        "Aura STFT",
        "100/(1+10·d), d = ‖|X̂|−|X|‖/‖X̂‖ + mean|ln|X̂|−ln|X||, Hann windows of 1024, hop 256; the "
        "norm is of x̂, as MSS-Training calls it; deaf to phase, polarity and bins below 1e-4",
    ),
    _percent(
        "aura_mrstft",
        "Aura MRSTFT",
        "100/(1+10·d), d the mean of aura_stft's at windows of 1024, 2048 and 4096, of 128 mel "
        "bands of A-weighted signals at 44.1 kHz; deaf to phase, polarity and low bass",
    ),
    _deaf(
        "l1_snr",
        "L1-SNR",
        "half of each: −10·log10((mean|x−x̂|+1e-3)/(mean|x|+1e-3)) less a term for lost level, and "
        "the same of real plus imaginary parts at windows of 512, 1024 and 2048; deaf to errors "
        "of stems that are quiet against 1e-3",
    ),
    _deaf(
        "mrstft",
        "MRSTFT",
        "mean over channels and windows of 256 to 4096 of ‖|X̂|−|X|‖/‖X‖ + mean|ln|X̂|−ln|X||, "
        "A-weighted; deaf to phase, polarity, low bass and bins below 1e-4",
        unit="",
        higher_is_better=False,
    ),
    _deaf(
        "zimtohrli",
        "Zimtohrli",
        "psychoacoustic distance of x and x̂, the mean of their channels at 48 kHz, 0 for none; "
        "deaf to the stereo image",
        unit="",
        higher_is_better=False,
    ),
)

METRICS = {metric.name: metric for metric in (*_SCORES, *_COSTS, *_TOOLS)}
DEFAULT = tuple(metric.name for metric in _SCORES if metric.when is not When.ON_REQUEST)
OPTIONAL = tuple(name for name, metric in METRICS.items() if metric.when is When.ON_REQUEST)


def harmonic_mean(snr: npt.ArrayLike, sdr: npt.ArrayLike) -> Any:
    """Harmonic mean of SNR and SDR in dB (scalars or arrays), defined below zero too.

    2ab/(a+b) where both are positive, otherwise min(a, b): continuous, and never rising when either
    value falls. NaN if either is NaN; of an infinite and a positive value twice the latter.

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
