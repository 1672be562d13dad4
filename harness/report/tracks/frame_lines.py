"""A chart of the frame scores of all separators over a track."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from harness.core.audio import Float64
from harness.core.text import short
from harness.report.figures import MIDDLE, written
from harness.report.tracks.excerpts import ScoredExcerpt

LOWEST, HIGHEST = -20.0, 40.0  # dB; differences beyond these cannot be heard
_WIDTH, _HEIGHT = 960, 220  # user units, about CSS pixels
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 10, 38
_TICKS = 12  # along the time axis, at most


def limits(frames: Sequence[Float64]) -> tuple[int, int]:
    """Return the range of the axis in dB: tens that hold all values within LOWEST and HIGHEST.

    Examples
    --------
    >>> limits([np.array([-3.0, 12.5, np.nan, np.inf])])
    (-10, 40)
    >>> limits([])
    (0, 10)
    """
    values = np.concatenate([*frames, np.zeros(1)])
    kept = np.clip(values[~np.isnan(values)], LOWEST, HIGHEST)
    low, high = math.floor(kept.min() / 10) * 10, math.ceil(kept.max() / 10) * 10
    return low, max(high, low + 10)


def steps(frames: Float64, low: float, high: float) -> str:
    """Return the path of one separator: one flat step per second, x in seconds, y in −dB.

    Examples
    --------
    >>> steps(np.array([3.0, np.nan, 50.0]), 0, 40)
    'M0-3H1M2-40H3'
    """
    path, pen = [], False
    for second, value in enumerate(frames):
        if math.isnan(value):
            pen = False
            continue
        y = -round(min(max(float(value), low), high), 2) + 0.0
        path.append(f"V{y:g}" if pen else f"M{second}{'' if y < 0 else ' '}{y:g}")
        path.append(f"H{second + 1}")
        pen = True
    return "".join(path)


def draw(lines: Mapping[str, Float64], excerpts: Sequence[ScoredExcerpt], *, title: str) -> Markup:
    """Draw the frame SNR in dB of all separators, and shade the excerpts.

    The first line is highlighted; the page's script can highlight another.
    """
    seconds = max((len(frames) for frames in lines.values()), default=1)
    low, high = limits(list(lines.values()))
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    inner = (
        f'<svg class="plot" x="{_LEFT}" y="{_TOP}" width="{width}" height="{height}" '
        f'viewBox="0 {-high} {seconds} {high - low}" preserveAspectRatio="none">'
        f"{_stretches(excerpts, low, high)}<g>{_paths(lines, low, high)}</g></svg>"
    )
    return Markup(
        f'<svg class="chart overview" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{_levels(low, high, width, height)}'
        f"{_times(seconds, width, height)}{inner}</svg>"
    )  # every text in it went through escape


def _stretches(excerpts: Sequence[ScoredExcerpt], low: float, high: float) -> str:
    """Shade the seconds that can be listened to."""
    return "".join(
        f'<rect class="stretch {e.kind}" x="{e.start}" y="{-high}" width="{e.stop - e.start}" '
        f'height="{high - low}"><title>{e.kind}</title></rect>'
        f'<rect class="second {e.kind}" x="{e.second}" y="{-high}" width="1" '
        f'height="{high - low}"/>'
        for e in excerpts
    )


def _paths(lines: Mapping[str, Float64], low: float, high: float) -> str:
    """Draw one line per separator."""
    return "".join(
        f'<path data-line="{i}" class="line{"" if i else " on"}" d="{steps(frames, low, high)}">'
        f"<title>{escape(name)}</title></path>"
        for i, (name, frames) in enumerate(lines.items())
    )


def _levels(low: int, high: int, width: int, height: int) -> str:
    """Draw the horizontal lines with their dB."""
    found = []
    for level in range(low, high + 1, 10):
        y = _TOP + (high - level) / (high - low) * height
        found.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + width}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        found.append(written("tick", short(level), _LEFT - 6, y, "end", MIDDLE))
    return "".join(found) + written("axis", "dB", 4, 9)


def _times(seconds: int, width: int, height: int) -> str:
    """Write the times below the chart."""
    step = next(s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 3600) if seconds / s <= _TICKS)
    y, times = _TOP + height + 15, range(0, seconds + 1, step)
    marks = (written("tick", clock(t), _LEFT + t / seconds * width, y, "middle") for t in times)
    return "".join(marks) + written("axis", "time", _LEFT + width / 2, y + 17, "middle")


def clock(second: int) -> str:
    """Return a time in a track as minutes and seconds.

    Examples
    --------
    >>> clock(67)
    '1:07'
    """
    return f"{second // 60}:{second % 60:02d}"
