"""Metrics of other tools, computed as these compute them, from the audio of reference and estimate.

Signals are float32 of shape (channels, samples), as everywhere. A tool that assumes 44.1 kHz is
followed in that, except where a definition says otherwise. What each metric is deaf to stands in
`harness.metrics.definitions` and in docs/metrics.md.

A metric names its tasks. Most add something up over short-time spectra, block by block, so that no
spectrogram is ever whole; all tasks of one size share the spectra. Spectra are in float32, and sums
over frames in float64.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.signal
import soxr
import torch

from harness.core.audio import Audio, Float64, check_pair
from harness.core.errors import HarnessError
from harness.metrics.engine import kernel
from harness.metrics.engine.spectra import SpectraBlock, blocks, filtered
from harness.metrics.engine.threads import in_threads
from harness.metrics.ratios import PIECE, inner_products

ASSUMED_RATE = 44100  # Hz, of the tools that are not told the rate
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


class _Task(NamedTuple):
    """Something to measure, which several metrics may share."""

    kind: str  # a key of `_SPECTRAL`, or of `_WHOLE`
    size: int = 0  # samples of a frame
    rate: int = 0  # Hz, for which a filter is made; 0 is that of the signals


class _Spectral(NamedTuple):
    """What is added up over the blocks of spectra of one size."""

    of_block: Callable[[SpectraBlock], Any]
    of_track: Callable[[list[list[Any]]], Float64]  # two numbers, from each channel's blocks
    padding: str = "reflect"
    weighted: bool = False  # whether signals are A-weighted


class _Tool(NamedTuple):
    """What a metric needs, and its score from what was found, one row per task."""

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
    needs = {
        name: [task._replace(rate=task.rate or sample_rate) for task in TOOLS[name].needs]
        for name in names
    }
    signals = _Signals(_float32(reference), _float32(estimate), mixture, sample_rate)
    found = _found({task for tasks in needs.values() for task in tasks}, signals, threads)
    return {
        name: TOOLS[name].score(np.array([found[task] for task in needs[name]])) for name in names
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


def _float32(signal: Audio) -> Audio:
    return np.ascontiguousarray(signal, np.float32)


def _found(
    tasks: Collection[_Task], signals: _Signals, threads: int | None
) -> dict[_Task, Float64]:
    """Do all tasks; those of one size share the spectra."""
    shared: dict[tuple[int, int], list[_Task]] = defaultdict(list)
    for task in sorted(tasks, reverse=True):
        if task.kind in _SPECTRAL:
            shared[task.size, task.rate * _SPECTRAL[task.kind].weighted].append(task)
    pair = signals.reference, signals.estimate
    rates = sorted({rate for _, rate in shared if rate})
    to_weigh = [(signal, _a_weighting(rate), 50) for rate in rates for signal in pair]
    heard = iter(_parallel([partial(filtered, *each) for each in to_weigh], threads))
    pairs: dict[int, tuple[Audio, Audio]] = {0: pair}
    pairs |= {rate: (next(heard), next(heard)) for rate in rates}
    jobs: list[Callable[[], dict[_Task, Float64]]] = [
        partial(_add_up, shared[size, rate], *pairs[rate], size)
        for size, rate in sorted(shared, reverse=True)  # those that take longest come first
    ]
    jobs += [partial(_alone, task, signals) for task in tasks if task.kind in _WHOLE]
    return {task: value for found in _parallel(jobs, threads) for task, value in found.items()}


def _alone(task: _Task, signals: _Signals) -> dict[_Task, Float64]:
    return {task: _WHOLE[task.kind](signals, task.rate)}


def _parallel(jobs: Sequence[Callable[[], Any]], threads: int | None) -> list[Any]:
    """Do jobs in threads."""

    def done(job: Callable[[], Any]) -> Any:
        with torch.inference_mode():
            return job()

    return in_threads(done, jobs, threads, transforms=True)


def _add_up(
    tasks: Sequence[_Task], reference: Audio, estimate: Audio, size: int
) -> dict[_Task, Float64]:
    """Do tasks that share spectra; NaN if the track is too short."""
    if reference.shape[1] <= size // 2:
        return {task: np.full(2, np.nan) for task in tasks}
    whats = {task: _SPECTRAL[task.kind] for task in tasks}
    found: dict[_Task, list[list[Any]]] = {task: [[] for _ in reference] for task in tasks}
    paddings = sorted({what.padding for what in whats.values()})
    for channel, pair in enumerate(zip(reference, estimate, strict=True)):
        for block in blocks(*pair, size, paddings):
            for task, what in whats.items():
                if block.padding in ("", what.padding):
                    found[task][channel].append(what.of_block(block))
    return {task: what.of_track(found[task]) for task, what in whats.items()}


def _sums(found: list[list[Any]]) -> Float64:
    """Add up blocks, (channels, sums)."""
    return np.array([np.sum(blocks, axis=0) for blocks in found])


def _l1_magnitudes(block: SpectraBlock) -> Float64:
    """Add up differences of magnitudes; rectangular windows that overlap by half."""
    frames = slice(block.first % 2, None, 2)
    x, y = (kernel.sizes(z[frames].copy(), windowed=False) for z in block.spectra)
    return np.array([np.abs(x - y).sum(dtype=np.float64), x.size])


def _mean(found: list[list[Float64]]) -> Float64:
    total, count = _sums(found).sum(axis=0)
    return np.array([total / count, 0.0])


def _l1_parts(block: SpectraBlock) -> Float64:
    """Add up differences of real and of imaginary parts, and parts; Hann windows of unit norm."""
    x, y = block.spectra
    norm = math.sqrt(3 / 4 * (x.shape[1] - 1))
    return np.array([*(kernel.parts(x, y) / norm), x.size])


def _d1_of_parts(found: list[list[Float64]]) -> Float64:
    *sums, count = _sums(found).sum(axis=0)
    error, true = np.reshape(sums, (2, 2)) / count
    return _d1(error, true)


def _l1_samples(signals: _Signals, rate: int) -> Float64:
    """D1 of the samples, and what a lost level adds."""
    x, y = signals.reference, signals.estimate
    sums = np.zeros(4)
    for start in range(0, x.shape[1], PIECE):
        part, other = (z[:, start : start + PIECE] for z in (x, y))
        absolute = [float(np.abs(z).sum()) for z in (other - part, part)]
        sums += [*absolute, *inner_products(part, other, 0, PIECE)[:2]]
    error, size, *energies = sums / x.size
    true, found = (10 * math.log10(energy + FLOOR) for energy in energies)
    apart = abs(found - true)
    share = 0.0
    if true > max(found, QUIET_DB):
        share = min(1.0, apart / max(true - QUIET_DB, 1e-6))
    return np.array([float(_d1(error, size)), (0.1 + 0.9 * share) * apart])


def _d1(error: npt.ArrayLike, true: npt.ArrayLike) -> Float64:
    """Ratio of mean absolute values in dB of power, softened."""
    return np.asarray(10 * np.log10(np.add(error, SOFT) / np.add(true, SOFT)))


def _distances(block: SpectraBlock) -> Float64:
    """Add up distances of magnitudes, see `_convergence`. Powers below `FLOOR` are raised to it."""
    x, y = block.sizes(FLOOR)
    return np.array([*kernel.distances(x, y), x.size])


def _mel_distances(block: SpectraBlock) -> Float64:
    """Do the same in mel bands."""
    x, y = _mel_bands(*block.sizes(FLOOR), _MELS)
    return np.array([*kernel.distances(x, y), x.size])


def _mel_levels(block: SpectraBlock) -> tuple[Audio, Audio]:
    """Return mel bands of both signals, a quarter as many as bins."""
    x, y = block.sizes(0.0)
    return _mel_bands(x, y, x.shape[1] // 4)


def _mel_bands(x: Audio, y: Audio, bands: int) -> tuple[Audio, Audio]:
    filters = _mel_filters(x.shape[1], bands)
    return kernel.bands(x, filters), kernel.bands(y, filters)


def _convergence(sums: Float64, *, swapped: bool) -> Float64:
    """Spectral convergence and mean difference of logarithms, of auraloss.

    The first is divided by the norm of the reference; if `swapped`, by that of the estimate.
    """
    apart, reference, estimate, logs, count = sums
    norm = estimate if swapped else reference
    return np.array([math.sqrt(apart / norm), logs / count])


def _swapped(found: list[list[Float64]]) -> Float64:
    """Distance of auraloss with its arguments swapped, as MSS-Training calls it."""
    return _convergence(_sums(found).sum(axis=0), swapped=True)


def _by_channel(found: list[list[Float64]]) -> Float64:
    """Distance of auraloss, mean of the channels."""
    each = [_convergence(sums, swapped=False) for sums in _sums(found)]
    return np.asarray(np.mean(each, axis=0))


def _levels(found: list[list[tuple[Audio, Audio]]]) -> Float64:
    """Mean dB by which mel bands of the estimate are above, and below, those of the reference.

    Each mean is over the bands and frames that are above, or below; 0 without any.
    """
    pairs = [pair for of_channel in found for pair in of_channel]
    loud = (max(float(bands.max()) for bands in each) for each in zip(*pairs, strict=True))
    x, y = (max(LEAST, LEVEL_RANGE * most) for most in loud)
    sums = np.sum([kernel.level_sums(*pair, (x, y)) for pair in pairs], axis=0)
    means = np.abs(sums[:2]) / np.maximum(sums[2:], 1)
    return np.asarray(20 / math.log(10) * means)


@cache
def _mel_filters(n_bins: int, bands: int) -> kernel.Filters:
    """Triangles between neighbors on Slaney's mel scale, of equal area, at 44.1 kHz.

    The scale is linear up to 1 kHz (15 mel) and logarithmic above, where 27 mel are a factor 6.4.
    """
    top = 15 + 27 * math.log(ASSUMED_RATE / 2 / 1000) / math.log(6.4)
    mels = np.linspace(0, top, bands + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, ASSUMED_RATE / 2, n_bins)
    low, middle, high = (edges[i : bands + i, None] for i in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    weights = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    counts = np.count_nonzero(weights, axis=1).astype(np.int32)
    firsts = np.argmax(weights > 0, axis=1).astype(np.int32)
    return kernel.Filters(firsts, counts, weights[weights > 0].astype(np.float32))


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


def _log_errors(signals: _Signals, rate: int) -> Float64:
    """Return logWMSE (i, j): the error in channel j against the mixture's level in channel i."""
    if signals.mixture is None:
        raise HarnessError("log_wmse: it compares with the level of the mixture; give the mixture")
    taps = _hearing(rate)
    start = len(taps) // 2 - 1 + len(taps) % 2  # one sample earlier than centered
    mixture = filtered(_float32(signals.mixture), taps, start)
    level = [math.sqrt(np.vdot(row, row) / row.size) + FLOOR for row in mixture]
    error = np.abs(filtered(signals.estimate - signals.reference, taps, start))
    sums = np.zeros((len(level), len(error)))
    for begin in range(0, error.shape[1], PIECE):
        piece = error[:, begin : begin + PIECE]
        for at, one in enumerate(level):
            heard = piece * (piece >= np.float32(GATE * one))
            sums[at] += [np.vdot(row, row) for row in heard]
    mean = sums / error.shape[1] / np.square(level)[:, None]
    return np.asarray(-4 * np.log(mean + FLOOR))


def _zimtohrli(signals: _Signals, rate: int) -> Float64:
    """Distance by Google's program; it takes one channel at 48 kHz."""
    require("zimtohrli")
    from zimtohrli import Pyohrli

    program = Pyohrli()
    one = [x.mean(axis=0) for x in (signals.reference, signals.estimate)]
    if rate != ZIMTOHRLI_RATE:
        one = [soxr.resample(x, rate, ZIMTOHRLI_RATE) for x in one]
    return np.array([float(program.distance(*one)), 0.0])


_SPECTRAL: Mapping[str, _Spectral] = {
    "l1_magnitudes": _Spectral(_l1_magnitudes, _mean),
    "l1_parts": _Spectral(_l1_parts, _d1_of_parts),
    "aura": _Spectral(_distances, _swapped),
    "aura_mel": _Spectral(_mel_distances, _swapped, weighted=True),
    "weighted": _Spectral(_distances, _by_channel, weighted=True),
    "levels": _Spectral(_mel_levels, _levels, padding="zeros"),
}
_WHOLE: Mapping[str, Callable[[_Signals, int], Float64]] = {
    "l1_samples": _l1_samples,
    "log_errors": _log_errors,
    "zimtohrli": _zimtohrli,
}


def _tasks(kind: str, *sizes: int, rate: int = 0) -> tuple[_Task, ...]:
    return tuple(_Task(kind, size, rate) for size in sizes or (0,))


def _percent(distance: Float64) -> float:
    """Turn a distance into 100 for none, and 0 for an infinite one."""
    return float(100 / (1 + 10 * distance))


def _l1_snr(found: Float64) -> float:
    """Half the time domain, half the mean of the spectra, in which both parts are added."""
    return -float(found[0].sum() + found[1:].sum(axis=1).mean()) / 2


_ONE, _MORE = _tasks("levels", 4096), _tasks("levels", *_BLEED_SIZES)
TOOLS: Mapping[str, _Tool] = {
    "bleedless": _Tool(_ONE, lambda found: float(np.mean(100 / (1 + found[:, 0])))),
    "fullness": _Tool(_ONE, lambda found: float(np.mean(100 / (1 + found[:, 1])))),
    "bleedless_mr": _Tool(_MORE, lambda found: float(np.mean(100 / (1 + found[:, 0])))),
    "fullness_mr": _Tool(_MORE, lambda found: float(np.mean(100 / (1 + found[:, 1])))),
    "l1_freq": _Tool(_tasks("l1_magnitudes", 2048), lambda found: _percent(found[0, 0])),
    "log_wmse": _Tool(_tasks("log_errors"), lambda found: float(np.diag(found[0]).mean())),
    "log_wmse_msst": _Tool(
        _tasks("log_errors", rate=ASSUMED_RATE), lambda found: float(found.mean())
    ),
    "aura_stft": _Tool(_tasks("aura", 1024), lambda found: _percent(found.sum())),
    "aura_mrstft": _Tool(
        _tasks("aura_mel", *_AURA_SIZES, rate=ASSUMED_RATE),
        lambda found: _percent(found.sum(axis=1).mean()),
    ),
    "l1_snr": _Tool((*_tasks("l1_samples"), *_tasks("l1_parts", *_L1_SIZES)), _l1_snr),
    "mrstft": _Tool(
        _tasks("weighted", *_MRSTFT_SIZES), lambda found: float(found.sum(axis=1).mean())
    ),
    "zimtohrli": _Tool(_tasks("zimtohrli"), lambda found: float(found[0, 0])),
}
