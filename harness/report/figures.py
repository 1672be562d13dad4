"""Pictures that need no switch, drawn as SVG text; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

_WIDTH = 560  # user units, about CSS pixels
_BAR = 13  # height of one bar
_CHARACTER = 6.6  # mean width of a letter at the size the style sheet gives
_LONGEST = 28  # letters of a label before it is cut


def nice_ticks(top: float, at_most: int = 5) -> list[float]:
    """Return round numbers from 0 to at least `top`, whole ones where they count things.

    Examples
    --------
    >>> nice_ticks(47)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    >>> nice_ticks(2)
    [0.0, 1.0, 2.0]
    """
    rough = max(top, 1.0) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    step = max(step, 1.0)
    return [step * i for i in range(math.ceil(max(top, 1.0) / step - 1e-9) + 1)]


def bars(
    labels: Sequence[str], series: Mapping[str, Sequence[float]], *, title: str, axis: str
) -> Markup:
    """Draw grouped horizontal bars of counts, each with its number and share.

    Parameters
    ----------
    labels
        One group each, top to bottom.
    series
        Name and one count per label; drawn in this order, coloured by position.
    title
        What a screen reader says of the picture.
    axis
        Label of the horizontal axis, with its unit.
    """
    left = 14 + _CHARACTER * min(max((len(label) for label in labels), default=0), _LONGEST)
    ticks = nice_ticks(max((v for row in series.values() for v in row), default=0))
    unit = (_WIDTH - left - 74) / ticks[-1]
    group = _BAR * len(series) + 9
    bottom = 6 + group * len(labels)
    parts = [_grid(ticks, left, unit, bottom), _axis_label(axis, left, unit * ticks[-1], bottom)]
    for i, label in enumerate(labels):
        parts.append(_label(label, left - 8, 6 + group * i + (group - 9) / 2))
        for j, row in enumerate(series.values()):
            share = row[i] / (sum(row) or 1)
            parts.append(_bar(left, 6 + group * i + _BAR * j, unit, row[i], (j, share)))
    box = f"0 0 {_WIDTH} {bottom + 40}"
    head = f'<svg class="chart" viewBox="{box}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")  # every text in it went through escape


def _grid(ticks: Sequence[float], left: float, unit: float, bottom: float) -> str:
    """Draw the vertical lines and their numbers."""
    lines = (
        f'<line class="grid" x1="{left + t * unit:.1f}" x2="{left + t * unit:.1f}" y1="0" '
        f'y2="{bottom}"/><text class="tick" x="{left + t * unit:.1f}" y="{bottom + 15}" '
        f'text-anchor="middle">{t:g}</text>'
        for t in ticks
    )
    return "".join(lines)


def _axis_label(text: str, left: float, width: float, bottom: float) -> str:
    """Write what the axis shows, centred below it."""
    x = f"{left + width / 2:.1f}"
    return (
        f'<text class="axis" x="{x}" y="{bottom + 33}" text-anchor="middle">{escape(text)}</text>'
    )


def _label(text: str, x: float, y: float) -> str:
    """Write a group's name right-aligned, cut if long; the whole name is its tooltip."""
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="end" dominant-baseline="middle"'
    return f'<text class="name" {place}>{escape(shown)}<title>{escape(text)}</title></text>'


def _bar(x: float, y: float, unit: float, value: float, look: tuple[int, float]) -> str:
    """Draw one bar with its number and share; `look` is (position of the series, share)."""
    series, share = look
    width = value * unit
    number = f"{value:g}" + (f" · {share:.0%}" if value else "")
    return (
        f'<rect class="series-{series}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
        f'height="{_BAR - 2}" rx="2"/><text class="value" x="{x + width + 5:.1f}" '
        f'y="{y + _BAR / 2 - 0.5}" dominant-baseline="middle">{number}</text>'
    )
