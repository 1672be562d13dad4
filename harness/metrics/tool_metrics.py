"""Metrics of other tools, computed as these compute them, from the audio of reference and estimate.

Signals are float32 of shape (channels, samples), as everywhere. A tool that assumes 44.1 kHz is
followed in that, except where a definition says otherwise. Sums are in float64. What each metric is
deaf to stands in `harness.metrics.definitions` and in docs/metrics.md.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.signal
import scipy.sparse
import soxr
import torch

from harness.core.audio import Audio, Float64, check_pair
from harness.core.errors import HarnessError
from harness.metrics.engine.threads import in_threads

ASSUMED_RATE = 44100  # Hz, of the tools that are not told the rate
CHUNK = 1 << 18  # samples that are transformed at a time, so that they stay in the cache
FLOOR = 1e-8  # smallest power of a bin (auraloss), and of an error (logWMSE)
LEVEL_RANGE = 1e-4  # bleedless: values below a signal's own maximum times this are raised to it
LEAST = 1e-10  # bleedless: smallest magnitude
GATE = 10 ** (-68 / 20)  # logWMSE: differences below it count as none
SOFT = 1e-3  # L1-SNR: added to both mean absolute values
ZIMTOHRLI_RATE = 48000  # Hz
QUIET_DB = -60.0  # L1-SNR: a reference below it adds no weight to a loss of level
RESPONSE = "filter_ir.f32"  # of the package torch_log_wmse: 4000 taps at 44.1 kHz, float32
RESPONSE_SHA256 = "bc9950e4f6be2846bf178017a5cca1e5407244d7b255d60de17b882f304998ab"
_BLEED_SIZES = (1024, 2048, 4096, 8192)
_L1_SIZES = (512, 1024, 2048)
_AURA_SIZES = (1024, 2048, 4096)
_MRSTFT_SIZES = (256, 512, 1024, 2048, 4096)
_MELS = 128  # bands of aura_mrstft


class _Signals(NamedTuple):
    """The audio; signals have one shape, (channels, samples)."""

    reference: Audio
    estimate: Audio
    mixture: Audio | None  # for logWMSE, which measures errors against its level
    sample_rate: int
    weighted: dict[int, tuple[Audio, Audio]]  # reference and estimate, A-weighted as at this rate


class _Task(NamedTuple):
    """One pass over the signals, whose sums several metrics may share."""

    kind: str  # a key of `_PASSES`
    size: int = 0  # samples of a window

    def of(self, signals: _Signals) -> Float64:
        """Return the numbers that this pass finds; NaN if the track is too short."""
        with torch.inference_mode():
            if signals.reference.shape[1] <= self.size // 2:
                return np.full(2, np.nan)
            return _PASSES[self.kind](signals, self.size)


class _Tool(NamedTuple):
    """The passes that a metric needs, and its score from what they found, one row per pass."""

    needs: tuple[_Task, ...]
    score: Callable[[Float64], float]


def measure(
    names: Collection[str],
    reference: Audio,
    estimate: Audio,
    sample_rate: int,
    *,
    mixture: Audio | None = None,
    threads: int | None = None,
) -> dict[str, float]:
    """Compute metrics of other tools for one estimate: {name: value}.

    What several of `names` need is computed once. A track that is too short for the largest window
    of a metric has NaN. No value depends on `threads` (all cores by default). Units, ranges and
    directions are those of `harness.metrics.definitions`.

    Examples
    --------
    >>> x = np.random.default_rng(1).standard_normal((1, 9000)).astype(np.float32)
    >>> round(measure(["fullness"], x, x * np.float32(10 ** (-1 / 20)), 44100)["fullness"], 3)
    50.0
    """
    check_pair(reference, estimate, "measure")
    if unknown := [name for name in names if name not in TOOLS]:
        raise HarnessError(f"measure: {unknown} are not known; choose from {sorted(TOOLS)}")
    tasks = list(dict.fromkeys(task for name in names for task in TOOLS[name].needs))
    rates = {"aura_mel": ASSUMED_RATE, "weighted": sample_rate}  # by the passes that weigh
    weighted = {
        rate: (_filtered(reference, taps), _filtered(estimate, taps))
        for rate in {rates[task.kind] for task in tasks if task.kind in rates}
        for taps in [_a_weighting(rate)]
    }
    signals = _Signals(reference, estimate, mixture, sample_rate, weighted)
    done = in_threads(lambda task: task.of(signals), tasks, threads, transforms=True)
    found = dict(zip(tasks, done, strict=True))
    return {
        name: TOOLS[name].score(np.array([found[task] for task in TOOLS[name].needs]))
        for name in names
    }


def installed(name: str) -> bool:
    """Whether a metric can be computed here: log-WMSE and Zimtohrli need a package."""
    if name == "zimtohrli":
        return find_spec("zimtohrli") is not None
    return not name.startswith("log_wmse") or _response() is not None


def require(name: str) -> None:
    """Raise an error if the package that a metric needs is not installed."""
    if not installed(name):
        extra = "zimtohrli" if name == "zimtohrli" else "log-wmse"
        raise HarnessError(
            f"{name}: needs a package that is not installed; "
            f"install it with: pip install 'mss-harness[{extra}]'"
        )


def _response() -> Path | None:
    """Return the file with the filter of logWMSE, if its package is installed."""
    package = find_spec("torch_log_wmse")
    places = package.submodule_search_locations if package else None
    path = Path(places[0], RESPONSE) if places else None
    return path if path and path.is_file() else None


def _frames(
    pair: torch.Tensor, size: int, hop: int, window: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield spectra of padded signals, shape (signals, channels, frames, bins), piece by piece."""
    cut = pair.unfold(-1, size, hop)
    step = max(1, CHUNK // (size * pair.shape[0] * pair.shape[1]))
    for start in range(0, cut.shape[2], step):
        yield torch.fft.rfft(cut[:, :, start : start + step] * window)


def _padded(reference: Audio, estimate: Audio, size: int, mode: str = "reflect") -> torch.Tensor:
    """Return both signals, (2, channels, samples), with half a window more at each end."""
    pair = torch.from_numpy(np.stack([reference, estimate]))
    return torch.nn.functional.pad(pair, (size // 2, size // 2), mode=mode)


def _l1_magnitudes(signals: _Signals, size: int) -> Float64:
    """Mean difference of magnitudes; rectangular windows that overlap by half."""
    total, count = 0.0, 0
    pair = _padded(signals.reference, signals.estimate, size)
    for spectra in _frames(pair, size, size // 2, torch.ones(size)):
        x, y = spectra.abs()
        total += float((x - y).abs().sum())
        count += x.numel()
    return np.array([total / count, 0.0])


def _l1_parts(signals: _Signals, size: int) -> Float64:
    """D1 of the real and of the imaginary parts; Hann windows of unit norm."""
    window = torch.hann_window(size, dtype=torch.float64)
    window = (window / window.square().sum().sqrt()).float()
    sums, count = np.zeros((2, 2)), 0
    for spectra in _frames(
        _padded(signals.reference, signals.estimate, size), size, size // 4, window
    ):
        x, y = spectra
        for row, part in enumerate((y - x, x)):
            sums[row] += torch.view_as_real(part).abs().sum(dim=(0, 1, 2)).double().numpy()
        count += x.numel()
    error, true = sums / count
    return np.asarray(_d1(error, true))


def _l1_samples(signals: _Signals, size: int) -> Float64:
    """D1 of the samples, and what a lost level adds."""
    x, y = (z.astype(np.float64) for z in (signals.reference, signals.estimate))
    d1 = _d1(np.abs(y - x).mean(), np.abs(x).mean())
    true, found = (10 * np.log10((z**2).mean() + FLOOR) for z in (x, y))
    apart = abs(found - true)
    share = 0.0
    if true > max(found, QUIET_DB):
        share = min(1.0, apart / max(true - QUIET_DB, 1e-6))
    return np.array([float(d1), (0.1 + 0.9 * share) * apart])


def _d1(error: Float64, true: Float64) -> Float64:
    """Ratio of mean absolute values in dB of power, softened."""
    return np.asarray(10 * np.log10((error + SOFT) / (true + SOFT)))


def _convergence(
    reference: Audio, estimate: Audio, size: int, *, swapped: bool = False, mel: bool = False
) -> Float64:
    """Spectral convergence and mean difference of logarithms, of auraloss.

    The first is divided by the norm of the reference; if `swapped`, by that of the estimate. Powers
    below `FLOOR` are raised to it.
    """
    window = torch.hann_window(size)
    apart = norm = logs = 0.0
    count = 0
    for spectra in _frames(_padded(reference, estimate, size), size, size // 4, window):
        power = torch.view_as_real(spectra).square().sum(-1).clamp(min=FLOOR)
        if mel:
            sizes = _mel_bands(power.sqrt(), size, _MELS)
            log = (sizes[1].log() - sizes[0].log()).abs()
        else:
            sizes = power.sqrt()
            log = (power[1] / power[0]).log().abs() / 2
        apart += float((sizes[1] - sizes[0]).square().sum())
        norm += float(sizes[int(swapped)].square().sum())
        logs += float(log.sum())
        count += log.numel()
    return np.array([math.sqrt(apart / norm), logs / count])


def _aura(signals: _Signals, size: int) -> Float64:
    """Spectral distance of auraloss with its arguments swapped, as MSS-Training calls it."""
    return _convergence(signals.reference, signals.estimate, size, swapped=True)


def _aura_mel(signals: _Signals, size: int) -> Float64:
    """Do the same in mel bands of A-weighted signals."""
    reference, estimate = signals.weighted[ASSUMED_RATE]
    return _convergence(reference, estimate, size, swapped=True, mel=True)


def _weighted(signals: _Signals, size: int) -> Float64:
    """Spectral distance of A-weighted signals, mean of the channels."""
    reference, estimate = signals.weighted[signals.sample_rate]
    pairs = zip(reference, estimate, strict=True)
    each = [_convergence(x[None], y[None], size) for x, y in pairs]
    return np.asarray(np.mean(each, axis=0))


def _levels(signals: _Signals, size: int) -> Float64:
    """Mean dB by which mel bands of the estimate are above, and below, those of the reference.

    Each mean is over the bands and frames that are above, or below; 0 without any.
    """
    bands: list[torch.Tensor] = []
    pair = _padded(signals.reference, signals.estimate, size, "constant")
    for spectra in _frames(pair, size, size // 4, torch.hann_window(size)):
        bands.append(_mel_bands(spectra.abs(), size, size // 8))
    loud = [max(float(part[at].max()) for part in bands) for at in (0, 1)]
    least = [max(LEAST, LEVEL_RANGE * most) for most in loud]
    sums, counts = np.zeros(2), np.zeros(2)
    for part in bands:
        ratio = 20 * (part[1].clamp(min=least[1]) / part[0].clamp(min=least[0])).log10()
        for at, side in enumerate((ratio.clamp(min=0), ratio.clamp(max=0))):
            sums[at] += abs(float(side.sum()))
            counts[at] += int(torch.count_nonzero(side))
    return np.asarray(sums / np.maximum(counts, 1))


def _mel_bands(sizes: torch.Tensor, size: int, bands: int) -> torch.Tensor:
    """Return mel bands of magnitudes (signals, channels, frames, bins), bands first at the end."""
    flat = sizes.reshape(-1, sizes.shape[-1]).numpy()
    summed = (_mel_filters(size, bands) @ np.ascontiguousarray(flat.T)).T
    return torch.from_numpy(summed).reshape(*sizes.shape[:-1], bands)


@cache
def _mel_filters(size: int, bands: int) -> scipy.sparse.csr_array:
    """Triangles between neighbors on Slaney's mel scale, of equal area, at 44.1 kHz.

    The scale is linear up to 1 kHz (15 mel) and logarithmic above, where 27 mel are a factor 6.4.
    """
    top = 15 + 27 * math.log(ASSUMED_RATE / 2 / 1000) / math.log(6.4)
    mels = np.linspace(0, top, bands + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, ASSUMED_RATE / 2, size // 2 + 1)
    low, middle, high = (edges[i : bands + i, None] for i in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    weights = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return scipy.sparse.csr_array(weights.astype(np.float32))


@cache
def _a_weighting(sample_rate: int) -> Audio:
    """A-weighting as a filter of 101 taps, fitted to that of IEC 61672 by least squares."""
    poles = 2 * np.pi * np.array([20.598997, 107.65265, 737.86223, 12194.217])
    gain = poles[3] ** 2 * 10 ** (1.9997 / 20)
    twice = [[1, 2 * pole, pole**2] for pole in (poles[3], poles[0])]
    below = np.polymul(np.polymul(np.polymul(*twice), [1, poles[2]]), [1, poles[1]])
    b, a = scipy.signal.bilinear([gain, 0, 0, 0, 0], below, fs=sample_rate)
    frequencies, response = scipy.signal.freqz(b, a, worN=512, fs=sample_rate)
    taps = scipy.signal.firls(101, frequencies, np.abs(response), fs=sample_rate)
    return np.asarray(taps, np.float32)


def _filtered(signal: Audio, taps: Audio) -> Audio:
    """Filter each channel; the middle tap is at the sample itself."""
    found = scipy.signal.oaconvolve(signal, taps[None], mode="same", axes=-1)
    return np.asarray(found, np.float32)


@cache
def _hearing(sample_rate: int) -> Audio:
    """Return the filter of logWMSE, read as numbers from the package that has it."""
    require("log_wmse")
    path = _response()
    content = path.read_bytes() if path else b""
    if hashlib.sha256(content).hexdigest() != RESPONSE_SHA256:
        raise HarnessError(f"{path}: not the known filter; install torch-log-wmse again")
    taps = np.frombuffer(content, "<f4").astype(np.float32)
    if sample_rate == ASSUMED_RATE:
        return taps
    return np.asarray(soxr.resample(taps, ASSUMED_RATE, sample_rate), np.float32)


def _log_errors(signals: _Signals, taps: Audio) -> Float64:
    """Return logWMSE (i, j): the error in channel j against the mixture's level in channel i."""
    if signals.mixture is None:
        raise HarnessError("log_wmse: it compares with the level of the mixture; give the mixture")
    error = _weighed(signals.estimate - signals.reference, taps)
    mixture = _weighed(signals.mixture, taps)
    level = np.sqrt(np.mean(mixture.astype(np.float64) ** 2, axis=1)) + FLOOR
    found = np.empty((len(level), len(error)))
    for at, one in np.ndenumerate(level):
        heard = np.where(np.abs(error) < GATE * one, 0.0, error.astype(np.float64) / one)
        found[at] = -4 * np.log(np.mean(heard**2, axis=1) + FLOOR)
    return found


def _weighed(signal: Audio, taps: Audio) -> Audio:
    """Filter for logWMSE, whose samples come out one earlier than centered."""
    full = scipy.signal.oaconvolve(signal, taps[None], axes=-1)
    start = len(taps) // 2 - 1 + len(taps) % 2
    return np.asarray(full[:, start : start + signal.shape[1]], np.float32)


def _zimtohrli(signals: _Signals, size: int) -> Float64:
    """Distance by Google's program; it takes one channel at 48 kHz."""
    require("zimtohrli")
    from zimtohrli import Pyohrli

    program, rate = Pyohrli(), signals.sample_rate
    one = [x.mean(axis=0) for x in (signals.reference, signals.estimate)]
    if rate != ZIMTOHRLI_RATE:
        one = [soxr.resample(x, rate, ZIMTOHRLI_RATE) for x in one]
    return np.array([float(program.distance(*one)), 0.0])


def _log_wmse(signals: _Signals, size: int) -> Float64:
    return np.array([np.diag(_log_errors(signals, _hearing(signals.sample_rate))).mean(), 0.0])


def _log_wmse_crossed(signals: _Signals, size: int) -> Float64:
    return np.array([_log_errors(signals, _hearing(ASSUMED_RATE)).mean(), 0.0])


_PASSES: Mapping[str, Callable[[_Signals, int], Float64]] = {
    "l1_magnitudes": _l1_magnitudes,
    "l1_parts": _l1_parts,
    "l1_samples": _l1_samples,
    "aura": _aura,
    "aura_mel": _aura_mel,
    "weighted": _weighted,
    "levels": _levels,
    "log_wmse": _log_wmse,
    "log_wmse_crossed": _log_wmse_crossed,
    "zimtohrli": _zimtohrli,
}


def _passes(kind: str, *sizes: int) -> tuple[_Task, ...]:
    return tuple(_Task(kind, size) for size in sizes or (0,))


def _percent(distance: Float64) -> float:
    """Turn a distance into 100 for none, and 0 for an infinite one."""
    return float(100 / (1 + 10 * distance))


def _l1_snr(found: Float64) -> float:
    """Half the time domain, half the mean of the spectra, in which both parts are added."""
    return -float(found[0].sum() + found[1:].sum(axis=1).mean()) / 2


_ONE, _MORE = _passes("levels", 4096), _passes("levels", *_BLEED_SIZES)
TOOLS: Mapping[str, _Tool] = {
    "bleedless": _Tool(_ONE, lambda found: float(np.mean(100 / (1 + found[:, 0])))),
    "fullness": _Tool(_ONE, lambda found: float(np.mean(100 / (1 + found[:, 1])))),
    "bleedless_mr": _Tool(_MORE, lambda found: float(np.mean(100 / (1 + found[:, 0])))),
    "fullness_mr": _Tool(_MORE, lambda found: float(np.mean(100 / (1 + found[:, 1])))),
    "l1_freq": _Tool(_passes("l1_magnitudes", 2048), lambda found: _percent(found[0, 0])),
    "log_wmse": _Tool(_passes("log_wmse"), lambda found: float(found[0, 0])),
    "log_wmse_msst": _Tool(_passes("log_wmse_crossed"), lambda found: float(found[0, 0])),
    "aura_stft": _Tool(_passes("aura", 1024), lambda found: _percent(found.sum())),
    "aura_mrstft": _Tool(
        _passes("aura_mel", *_AURA_SIZES), lambda found: _percent(found.sum(axis=1).mean())
    ),
    "l1_snr": _Tool((*_passes("l1_samples"), *_passes("l1_parts", *_L1_SIZES)), _l1_snr),
    "mrstft": _Tool(
        _passes("weighted", *_MRSTFT_SIZES), lambda found: float(found.sum(axis=1).mean())
    ),
    "zimtohrli": _Tool(_passes("zimtohrli"), lambda found: float(found[0, 0])),
}
