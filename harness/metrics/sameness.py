"""Whether one separator's estimate is another's: how much they differ, where, and by what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.core.audio import Audio, Float64
from harness.metrics.checks import aligned, best_lag, in_time, loudest

FRAME = 0.05  # seconds, over which a difference is averaged
QUIETEST = 1e-3  # a stem counts as at least this loud, relative to the sum of all stems
OCTAVES = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 16000.0)  # Hz, between bands
BLOCK = 8192  # samples of a spectrum
HELPS = 6.0  # dB by which a correction must lower the largest difference to be reported
BELOW = 20.0  # dB below the largest difference, down to which a place counts as different
FEW = 0.25  # of all frames; a difference in more is everywhere
REPEATS = 3  # periods that a signal must have for seams to be found
SHORTEST = 4  # frames of a period
LOUDER = 10.0  # dB by which the difference at seams must exceed that between them
NARROW = 0.4  # of a period that may belong to a seam


@dataclass(frozen=True)
class Difference:
    """How an estimate differs from another one of the same stem.

    Levels are in dB relative to the first estimate: the energy of the difference in a frame of
    `FRAME` seconds, over the mean energy of such a frame; minus infinity if both are equal.
    """

    largest: float  # in any frame
    median: float  # over all frames
    second: float  # of the largest, from the start
    band: tuple[float, float]  # Hz, the octave with most of the difference
    where: str  # ``everywhere``, one place, or chunk seams
    causes: tuple[str, ...] = ()  # delay, polarity, gain, swapped channels
    corrected: float | None = None  # the largest without `causes`

    def within(self, limit: float) -> bool:
        """Whether the largest difference is at most `limit` dB."""
        return self.largest <= limit


def differences(
    a: Mapping[str, Audio], b: Mapping[str, Audio], sample_rate: int
) -> dict[str, Difference]:
    """Compare two separators' estimates of one song.

    Parameters
    ----------
    a, b
        {stem: estimate}, all of one shape (channels, samples). Stems of only one are ignored.
    sample_rate
        In Hz.

    Returns
    -------
    dict
        {stem: difference}, in the order of `a`.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal((2, 8000)).astype(np.float32)
    >>> found = differences({"bass": x}, {"bass": 0.5 * x}, 8000)["bass"]
    >>> found.causes, round(found.median, 1), found.corrected
    (('level −6.02 dB',), -6.0, -inf)
    """
    song = float(np.mean(np.square(np.sum([*a.values()], axis=0, dtype=np.float64))))
    found = {}
    for stem in (stem for stem in a if stem in b):
        power = max(float(np.mean(np.square(a[stem], dtype=np.float64))), QUIETEST**2 * song)
        found[stem] = _difference(a[stem], b[stem], power, sample_rate)
    return found


def _difference(a: Audio, b: Audio, power: float, sample_rate: int) -> Difference:
    """Compare two estimates; `power` is the mean square that levels are relative to."""
    change = b.astype(np.float64) - a
    frames = _power(change, sample_rate)
    if not frames.any():
        return Difference(-np.inf, -np.inf, 0.0, (0.0, sample_rate / 2), "nowhere")
    power = power or float(np.mean(np.square(b, dtype=np.float64)))  # if a is silent
    levels = _db(frames, power)
    worst = int(np.argmax(levels))
    largest = float(levels[worst])
    causes, corrected = _causes(a, b, power, sample_rate) if a.any() and b.any() else ([], None)
    if not causes or corrected is None or corrected > largest - HELPS:
        causes, corrected = [], None
    return Difference(
        largest=largest,
        median=float(np.median(levels)),
        second=worst * FRAME,
        band=_band(change, sample_rate),
        where=_where(levels, _power(a, sample_rate), power),
        causes=tuple(causes),
        corrected=corrected,
    )


def _power(signal: Audio | Float64, sample_rate: int) -> Float64:
    """Return the mean square of each frame; the last one may be shorter."""
    starts = np.arange(0, signal.shape[1], max(1, round(FRAME * sample_rate)))
    sums = np.add.reduceat(np.square(signal, dtype=np.float64).mean(axis=0), starts)
    lengths = np.diff(np.append(starts, signal.shape[1]))
    return np.asarray(sums / lengths)


def _db(frames: Float64, power: float) -> Float64:
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(frames / power))


def _band(change: Float64, sample_rate: int) -> tuple[float, float]:
    """Return the octave, in Hz, that has most of the energy of a difference."""
    size = min(BLOCK, change.shape[1])
    energy = np.zeros(size // 2 + 1)
    for start in range(0, change.shape[1] - size + 1, size):
        part = change[:, start : start + size] * np.hanning(size)
        energy += np.square(np.abs(np.fft.rfft(part))).sum(axis=0)
    edges = [0.0, *(edge for edge in OCTAVES if edge < sample_rate / 2), sample_rate / 2]
    of_bin = np.searchsorted(edges, np.fft.rfftfreq(size, 1 / sample_rate), side="right") - 1
    sums = np.bincount(np.minimum(of_bin, len(edges) - 2), energy, len(edges) - 1)
    best = int(np.argmax(sums))
    return edges[best], edges[best + 1]


def _where(levels: Float64, of_signal: Float64, power: float) -> str:
    """Return in words at which times a difference is.

    Chunk seams recur at equal distances. Beats of the music and the gaps between them do so, too:
    at seams, a difference is larger both by itself and relative to the signal.
    """
    relative = levels - _db(np.maximum(of_signal, QUIETEST * power), power)
    if period := _period(np.minimum(_above_median(levels), _above_median(relative))):
        return f"every {period * FRAME:.2f} s, as chunk seams are"
    places = np.flatnonzero(levels > levels.max() - BELOW)
    first, last = places[0], places[-1] + 1
    if last - first <= max(1, FEW * len(levels)) and len(levels) > SHORTEST:
        return f"only from {first * FRAME:.2f} to {last * FRAME:.2f} s"
    return "everywhere" if len(places) > FEW * len(levels) else "in places"


def _above_median(levels: Float64) -> Float64:
    """Return levels in dB relative to their median, which may be minus infinity."""
    values = np.maximum(levels, levels.max() - 5 * BELOW)
    return np.asarray(values - np.median(values))


def _period(excess: Float64) -> int:
    """Return the distance, in frames, of narrow places that are `LOUDER`; 0 if there is none."""
    for period in range(SHORTEST, len(excess) // REPEATS + 1):
        n = len(excess) // period
        by_phase = excess[: n * period].reshape(n, period)
        at_least = np.sort(by_phase, axis=0)[n // 4]  # the first or last seam may be missing
        stands_out = at_least > LOUDER
        if stands_out.any() and stands_out.mean() <= NARROW:
            return period
    return 0


def _causes(a: Audio, b: Audio, power: float, sample_rate: int) -> tuple[list[str], float]:
    """Return what simple changes make b most like a, and the largest difference after them."""
    causes = []
    lag, _ = best_lag(a, b, loudest(a, sample_rate), sample_rate)
    x, y = aligned(a, b, lag)
    if lag and _distance(x, y) < _distance(a, b):
        causes.append(in_time(lag, sample_rate))
    else:
        x, y = a, b
    if len(x) == 2 and _distance(x, y[::-1]) < _distance(x, y):
        causes.append("channels swapped")
        y = y[::-1]
    gain = float(np.vdot(x, y)) / max(float(np.vdot(x, x)), 1e-30)
    if gain < 0:
        causes.append("polarity inverted")
    level = 20 * np.log10(max(abs(gain), 1e-30))
    if abs(level) >= 0.005:
        causes.append(f"level {level:+.2f} dB".replace("-", "−"))
    if gain:
        y = y / np.float32(gain)
    return causes, float(_db(_power(y.astype(np.float64) - x, sample_rate), power).max())


def _distance(x: Audio, y: Audio) -> float:
    """Return what is left of y, in energy, when the best gain of x is taken from it."""
    xy, yy = float(np.vdot(x, y)), float(np.vdot(y, y))
    return 1 - xy * xy / max(float(np.vdot(x, x)) * yy, 1e-30)
