"""Check estimates before they are scored: what looks wrong is reported and never fixed.

The output of a working separator is in time, in phase, near the level of its reference and in its
channels. If it is not, a reader, a resampler or a wrong file name is usually the cause, and the
score means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy  # which imports `fft` when it is first used

from harness.core.audio import Audio, Float64
from harness.metrics.ratios import db

EXCERPT = 10.0  # seconds around the loudest part, enough to be sure
REACH = 1.0  # seconds around it that are searched first; the whole track comes next
COARSE = 8  # samples added up for a first, coarse search
LONGEST = 0.8  # of the track; a longer shift leaves too little to compare
ALIKE = 0.6  # correlation from which two signals count as the same music
SURE = 0.9  # correlation from which no better shift is looked for
BLOCK = 4096  # samples
COSTS = 0.25  # dB of SNR that a shift or a swap must cost to be reported
ANOTHER = 0.8, 0.3  # at least this correlation with another stem, at most this with its own
REST, CLEARLY = 0.9, 0.1  # correlation with all but one stem, and by how much it exceeds its own
GAIN = 6.0  # dB, largest difference in level that is not reported
LOST, GOOD = 3.0, 10.0  # dB that a smaller one must cost, and the SNR without it, to be reported
QUIET = 1e-3  # peak of a reference below which its scores mean little; dither of 16 bits is below
MONO = 40.0  # dB; a best possible SNR of equal channels below it is reported


def suspicions(
    references: Mapping[str, Audio], estimates: Mapping[str, Audio], sample_rate: int
) -> dict[str, str]:
    """Find estimates that are late or early, inverted, at a wrong level, or another stem.

    Swapped, equal and silent channels are found, too, and references that hold only dither. Stems
    of both sides have equal shapes (channels, samples). The result is stem → what is suspicious,
    empty if nothing is. Where an estimate is shifted, inverted or swapped, the result says the SNR
    of the corrected one.

    Examples
    --------
    >>> x, y = np.random.default_rng(1).standard_normal((2, 1, 8000)).astype(np.float32)
    >>> e = -np.pad(x + 0.1 * y, ((0, 0), (20, 0)))[:, :8000]
    >>> suspicions({"bass": x}, {"bass": e}, 8000)
    {'bass': '20 samples (2.5 ms) late; polarity inverted; snr without that: 20.0 dB'}
    """
    found = {}
    for stem in (stem for stem in estimates if stem in references):
        part = loudest(references[stem], sample_rate)
        others = {name: _mono(x[:, part]) for name, x in references.items() if name != stem}
        sounding = references[stem][:, part].any() and estimates[stem].any()
        words = _faults(references[stem], estimates[stem], part, sample_rate) if sounding else []
        x, e = _mono(references[stem][:, part]), _mono(estimates[stem][:, part])
        peak = float(np.max(np.abs(references[stem])))
        if 0 < peak < QUIET:
            words.insert(0, f"the reference is below {20 * np.log10(peak) + 0.05:.1f} dBFS")
        found[stem] = "; ".join([*words, *_another(x, e, others)])
    return found


def _faults(reference: Audio, estimate: Audio, part: slice, sample_rate: int) -> list[str]:
    """Words on shift, polarity, level and channels of one estimate."""
    lag, alike = best_lag(reference, estimate, part, sample_rate)
    if abs(alike) < ALIKE:
        return _channels(reference[:, part], estimate[:, part])
    corrected = -estimate if alike < 0 else estimate
    if _snr(*aligned(reference, corrected, lag)) < _snr(reference, corrected) + COSTS:
        lag = 0
    words = [in_time(lag, sample_rate)] if lag else []
    if alike < 0:
        words.append("polarity inverted")
    x, e = aligned(reference, corrected, lag)
    if words:
        words.append(f"snr without that: {_snr(x, e):.1f} dB")
    part = loudest(x, sample_rate)
    if channels := _channels(x[:, part], e[:, part]):
        return words + channels
    true, ours = _mono(x[:, part]), _mono(e[:, part])
    gain = abs(float(true @ ours)) / float(true @ true)
    level = 20 * float(np.log10(max(gain, 1e-30)))
    if abs(level) > GAIN:
        return [*words, f"level {level:+.1f} dB"]
    now, better = _snr(x, e), _snr(x, e / np.float32(max(gain, 1e-30)))
    if abs(level) < 0.05 or now > better - LOST or better < GOOD:
        return words
    return [*words, f"level {level:+.1f} dB; snr without that: {better:.1f} dB"]


def in_time(lag: int, sample_rate: int) -> str:
    """Words on a shift by so many samples."""
    samples = f"{abs(lag)} sample{'' if abs(lag) == 1 else 's'}"
    return f"{samples} ({abs(lag) / sample_rate * 1e3:.3g} ms) {'late' if lag > 0 else 'early'}"


def best_lag(reference: Audio, estimate: Audio, part: slice, sample_rate: int) -> tuple[int, float]:
    """Find how many samples the estimate is late, and the correlation there.

    A part of the reference is compared with the estimate at lag 0 and within `REACH` of it; if
    nothing there is alike, the whole tracks are compared.
    """

    def sharpened(near: int) -> tuple[int, float]:
        x, e = aligned(reference, estimate, near)
        here = slice(part.start + min(near, 0), part.stop + min(near, 0))
        if here.start < 0 or here.stop > x.shape[1]:
            here = loudest(x, sample_rate)
        lag, alike = _sharpest(x, e, here)
        return near + lag, alike

    best = sharpened(0)
    if abs(best[1]) > SURE and abs(best[0]) < COARSE:
        return best
    reach = round(REACH * sample_rate)
    around = slice(max(part.start - reach, 0), part.stop + reach)
    for whole, there in ((part, around), (slice(None), slice(None))):
        late = _coarse_lags(_mono(reference[:, whole]), _mono(estimate[:, there]))
        offset = (there.start or 0) - (whole.start or 0)
        found = [
            sharpened(lag + offset)
            for lag in late
            if abs(lag + offset) <= LONGEST * reference.shape[1]
        ]
        best = max(best, *found, key=lambda one: abs(one[1]))
        if abs(best[1]) >= ALIKE:
            break
    return best


def _coarse_lags(x: Float64, e: Float64) -> list[int]:
    """Lags, to some `COARSE` samples, at which e is most like x in waveform and in envelope."""
    lags = []
    for signals in ((x, e), (x**2 - np.mean(x**2), e**2 - np.mean(e**2))):
        short, long = (np.add.reduceat(s, np.arange(0, len(s), COARSE)) for s in signals)
        fft = scipy.fft
        size = fft.next_fast_len(len(short) + len(long), real=True)
        found = np.abs(fft.irfft(fft.rfft(long, size) * fft.rfft(short, size).conj(), size))
        best = int(np.argmax(found))
        lags.append(COARSE * (best if best < len(long) else best - size))
    return lags


def _sharpest(x: Audio, e: Audio, part: slice) -> tuple[int, float]:
    """Find the lag within `COARSE` samples at which e is most like a part of x; of equals near 0.

    Returns the lag and the correlation there.
    """
    true, length = _mono(x[:, part]), part.stop - part.start
    padded = np.zeros(length + 2 * COARSE)
    first, last = max(part.start - COARSE, 0), min(part.stop + COARSE, e.shape[1])
    padded[first - part.start + COARSE :][: last - first] = _mono(e[:, first:last])
    blocks = range(0, length, BLOCK)  # that stay in the cache
    products = np.sum(
        [np.correlate(padded[i : i + BLOCK + 2 * COARSE], true[i : i + BLOCK]) for i in blocks],
        axis=0,
    )
    power = np.cumsum(np.pad(padded**2, (1, 0)))
    norms = np.sqrt((true @ true) * (power[length:] - power[:-length]))
    alike = np.divide(products, norms, where=norms > 0, out=np.zeros(2 * COARSE + 1))
    best = max(range(2 * COARSE + 1), key=lambda i: (abs(alike[i]), -abs(i - COARSE)))
    return best - COARSE, float(alike[best])


def aligned(reference: Audio, estimate: Audio, lag: int) -> tuple[Audio, Audio]:
    """Return the overlap of both, where the estimate is `lag` samples late."""
    length = reference.shape[1] - abs(lag)
    return reference[:, max(-lag, 0) :][:, :length], estimate[:, max(lag, 0) :][:, :length]


def _snr(x: Audio, e: Audio) -> float:
    """SNR in dB of whole signals of equal shape."""
    return float(db(np.vdot(x, x), float(np.sum(np.square(x - e), dtype=np.float64))))


def _channels(x: Audio, e: Audio) -> list[str]:
    """Words on channels that are swapped, equal or silent."""
    if len(x) < 2 or not e.any():
        return []
    pairs = enumerate(zip(x, e, strict=True), 1)
    if silent := [f"channel {i} silent" for i, (x_i, e_i) in pairs if x_i.any() and not e_i.any()]:
        return silent
    if (e == e[0]).all():
        best = _snr(x, np.broadcast_to(x.mean(axis=0), x.shape))
        return [f"channels equal, snr at most {best:.1f} dB"] if best < MONO else []
    swapped = _snr(x, e[::-1])
    if swapped <= max(_snr(x, e) + COSTS, 0.0):
        return []
    return [f"channels swapped; snr without that: {swapped:.1f} dB"]


def _another(x: Float64, e: Float64, others: Mapping[str, Float64]) -> list[str]:
    """Words on an estimate that is more like another stem, or like all stems but one."""
    least, most = ANOTHER
    if len(others) > 1:
        total = np.sum([x, *others.values()], axis=0)
        rests = {name: abs(_alike(total - y, e)) for name, y in others.items()}
        name = max(rests, key=lambda name: rests[name])
        if rests[name] > max(REST, abs(_alike(x, e)) + CLEARLY, abs(_alike(total, e))):
            return [f"resembles everything but the {name}"]
    if abs(_alike(x, e)) > most:
        return []
    return [f"resembles {name}" for name, y in others.items() if abs(_alike(y, e)) > least]


def _alike(x: Float64, e: Float64) -> float:
    """Correlation coefficient."""
    norm = float(np.sqrt((x @ x) * (e @ e)))
    return float(x @ e) / norm if norm else 0.0


def _mono(signal: Audio) -> Float64:
    """Sum of the channels, or the first channel if they cancel."""
    total: Float64 = signal.sum(axis=0, dtype=np.float64)
    return total if total.any() else signal[0].astype(np.float64)


def loudest(signal: Audio, sample_rate: int) -> slice:
    """Find the excerpt with the most energy, on a grid of whole seconds."""
    length = round(EXCERPT * sample_rate)
    if signal.shape[1] <= length:
        return slice(0, signal.shape[1])
    power = np.square(signal[:, ::COARSE]).sum(axis=0)
    seconds = np.add.reduceat(power, np.arange(0, len(power), max(sample_rate // COARSE, 1)))
    start = int(np.argmax(np.convolve(seconds, np.ones(round(EXCERPT)), "valid"))) * sample_rate
    return slice(start, min(start + length, signal.shape[1]))
