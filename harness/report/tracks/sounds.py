"""Audio in track pages: compressed, and within a limit of size.

A page holds the mixture, the reference and each estimate *minus* the reference as MP3; the page
adds the reference again. So the difference that is heard is not that of two compressed signals.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
from markupsafe import Markup

from harness.benchmark.clips import FULL_SCALE, Clip
from harness.core import audio
from harness.core.audio import Audio

MEGABYTES = 60  # of all pages with the default
PAGES = 12  # a page has at most this part of all
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz, those of MP3
# kbit/s between which soundfile spreads its levels of compression, from each sample rate on
_BIT_RATES = ((32000, 32, 320), (16000, 8, 160), (0, 8, 64))
_LEAST = 64  # kbit/s; frames below it have no room for the delay that browsers undo
_FRAMES = 0.3  # seconds that headers and padding take at most


@dataclass(frozen=True)
class Quality:
    """How much audio a page has of each source."""

    excerpts: int
    seconds: int  # of an excerpt
    kbps: int  # per channel, kbit/s


# Tried in this order. If none fits, estimates are left out, the worst first.
QUALITIES = (Quality(3, 6, 64), Quality(3, 6, 48), Quality(3, 4, 48), Quality(1, 4, 48))


def shares(needs: Mapping[str, int], total: float) -> dict[str, int]:
    """Return the bytes that each page may have, so that all have at most `total`.

    A page gets what it needs, but not more than a cap, which is equal for all.

    Examples
    --------
    >>> shares({"a": 10, "b": 50, "c": 90}, 90)
    {'a': 10, 'b': 40, 'c': 40}
    """
    found: dict[str, int] = {}
    left = total
    for i, name in enumerate(sorted(needs, key=lambda name: (needs[name], name))):
        found[name] = int(min(needs[name], left / (len(needs) - i)))
        left -= found[name]
    return found


def rest(estimates: int, seconds: int) -> int:
    """Return the bytes that a page without audio has at most, for tracks of so many seconds."""
    return 80_000 + 1500 * estimates + 25 * estimates * seconds


def size(stretches: Sequence[tuple[int, int]], rate: int, channels: int, kbps: int) -> int:
    """Return the bytes that one source takes in a page at most."""
    each = [stop - start + _FRAMES for start, stop in stretches]
    return int(sum(_bit_rate(rate, channels * kbps) * 125 * s * 4 / 3 + 100 for s in each))


def rate_of(rate: int) -> int:
    """Return the sample rate at which audio of this rate is put into a page.

    Examples
    --------
    >>> rate_of(44100), rate_of(96000), rate_of(1000)
    (44100, 48000, 8000)
    """
    return max((r for r in RATES if r <= rate), default=RATES[0])


def encoded(
    true: tuple[Clip, Clip],
    estimates: Sequence[Clip],
    stretches: Sequence[tuple[int, int]],
    kbps: int,
) -> dict[str, Markup]:
    """Return {id: MP3 as base64} of every source in every region, all scaled alike.

    `true` is the mixture and the reference. Every browser decodes MP3. The encoder delays all
    sources equally, so that they stay in step even where a browser does not undo the delay.
    """
    found = {}
    for i, (start, stop) in enumerate(stretches):
        cut = [clip.read(start, stop) for clip in (*true, *estimates)]
        if all(np.array_equal(signal[0], signal[-1]) for signal in cut):
            cut = [signal[:1] for signal in cut]
        reference, rate = cut[1], rate_of(true[1].rate)
        signals = [*cut[:2], *(signal - reference for signal in cut[2:])]
        peak = max(float(abs(signal).max(initial=0.0)) for signal in (*cut, *signals))
        scale = np.float32(max(1.0, peak / FULL_SCALE))
        for j, signal in enumerate(signals):
            content = _mp3(audio.resample(signal / scale, true[1].rate, rate), rate, kbps)
            found[f"audio-{i}-{j}"] = Markup(base64.b64encode(content).decode())
    return found


def _mp3(signal: Audio, rate: int, kbps: int) -> bytes:
    """Return a signal as MP3 of constant bit rate; `kbps` is that of a channel."""
    file = io.BytesIO()
    _, low, high = next(row for row in _BIT_RATES if rate >= row[0])
    level = (high - _bit_rate(rate, kbps * len(signal))) / (high - low)
    mode = {"bitrate_mode": "CONSTANT", "compression_level": level}
    soundfile.write(file, signal.T, rate, format="MP3", subtype="MPEG_LAYER_III", **mode)
    return file.getvalue()


def _bit_rate(rate: int, kbps: int) -> int:
    """Return the bit rate that MP3 has at a sample rate, in kbit/s."""
    return min(
        max(kbps, _LEAST), next(high for start, _, high in _BIT_RATES if rate_of(rate) >= start)
    )
