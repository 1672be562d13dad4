"""Charts of the page that no switch changes, drawn as SVG; the style sheet gives their colors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from harness.core.text import decimals, short

Span = tuple[float, float, float]  # mean, low, high; NaN where there is no interval
_WIDTH = 560  # user units, about CSS pixels
_BAR = 13  # height of one bar
_CHARACTER = 6.6  # mean width of a letter at the size in the style sheet
_LONGEST = 28  # letters of a label before it is cut
_HEIGHT = 220  # of a line chart
MIDDLE = ' dominant-baseline="middle"'


def round_ticks(low: float, high: float, at_most: int = 6, *, whole: bool = False) -> list[float]:
    """Return round numbers from at or below `low` to at or above `high`; `whole` ones for counts.

    Examples
    --------
    >>> round_ticks(-3.2, 11)
    [-5.0, 0.0, 5.0, 10.0, 15.0]
    >>> round_ticks(0, 2), round_ticks(0, 2, whole=True)
    ([0.0, 0.5, 1.0, 1.5, 2.0], [0.0, 1.0, 2.0])
    """
    rough = max(high - low, 1e-9) / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


def bars(
    labels: Sequence[str], series: Mapping[str, Sequence[float]], *, title: str, axis: str
) -> Markup:
    """Draw grouped horizontal bars of counts, each with its number and share of its series.

    `labels` has one group each, top to bottom; `series` one count per label, in the order of the
    style sheet's series colors. `title` is for screen readers; `axis` names the unit.
    """
    drawn: list[list[tuple[Span, str] | None]] = []
    for row in series.values():
        total = sum(row) or 1
        texts = [f"{value:g} · {value / total:.0%}" if value else f"{value:g}" for value in row]
        drawn.append([((v, math.nan, math.nan), t) for v, t in zip(row, texts, strict=True)])
    top = max((value for row in series.values() for value in row), default=0)
    ticks = round_ticks(0, top, 5, whole=True)
    return _groups(labels, drawn, ticks, room=74, title=title, axis=axis)


def spans(
    labels: Sequence[str], series: Mapping[str, Sequence[Span | None]], *, title: str, axis: str
) -> Markup:
    """Draw grouped horizontal bars of means from zero, each with its interval and number.

    None and infinite means are left out. The parameters are those of `bars`.
    """
    drawn = [
        [(span, decimals(span[0], 1)) if span and math.isfinite(span[0]) else None for span in row]
        for row in series.values()
    ]
    shown = [found[0] for row in drawn for found in row if found]
    ends = [0.0, *(end for span in shown for end in span if math.isfinite(end))]
    ticks = round_ticks(min(ends), max(ends))
    return _groups(labels, drawn, ticks, room=46, title=title, axis=axis)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]], *, title: str, across: str, up: str
) -> Markup:
    """Draw lines of at least one point on common axes, each with its name at its end."""
    left, top, right = 52.0, 10.0, 96.0
    points = [point for line in series.values() for point in line]
    xs = round_ticks(0.0, max(x for x, _ in points))
    ys = round_ticks(min(y for _, y in points), max(y for _, y in points))
    wide = (_WIDTH - left - right) / xs[-1]
    high = (_HEIGHT - 2 * top) / (ys[-1] - ys[0])
    bottom = _HEIGHT - top
    places = [(x, left + x * wide) for x in xs]
    parts = [_grid(places, bottom), _axis_label(across, places, bottom)]
    turned = f' transform="translate(12 {bottom / 2:g}) rotate(-90)"'
    parts.append(written("axis", up, 0, 0, "middle", turned))
    for y in ys:
        at = bottom - (y - ys[0]) * high
        parts.append(
            f'<line class="grid" x1="{left}" x2="{_WIDTH - right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        parts.append(written("tick", short(y), left - 7, at + 4, "end"))
    taken: list[float] = []
    for i, (name, line) in enumerate(series.items()):
        drawn = [(left + x * wide, bottom - (y - ys[0]) * high) for x, y in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)
        parts.append(f'<path class="line line-{i % 6}" d="M{path}"/>')
        parts.append(written("name", name, drawn[-1][0] + 6, _free(drawn[-1][1], taken) + 4))
    return _svg(_HEIGHT + 36, title, parts)


def _groups(
    labels: Sequence[str],
    series: Sequence[Sequence[tuple[Span, str] | None]],
    ticks: Sequence[float],
    *,
    room: float,
    title: str,
    axis: str,
) -> Markup:
    """Draw a group of bars per label, with `room` for the numbers right of the longest."""
    left = 14 + _CHARACTER * min(max((len(label) for label in labels), default=0), _LONGEST)
    unit = (_WIDTH - left - room) / (ticks[-1] - ticks[0])
    group = _BAR * len(series) + 9
    bottom = 6 + group * len(labels)
    places = [(tick, left + (tick - ticks[0]) * unit) for tick in ticks]
    parts = [_grid(places, bottom), _axis_label(axis, places, bottom)]
    zero = left - ticks[0] * unit
    for i, label in enumerate(labels):
        top = 6 + group * i
        parts.append(_label(label, left - 8, top + (group - 9) / 2))
        for j, row in enumerate(series):
            if found := row[i]:
                parts.append(_bar(zero, top + _BAR * j, unit, *found, j))
    return _svg(bottom + 40, title, parts)


def _bar(zero: float, y: float, unit: float, span: Span, number: str, series: int) -> str:
    """Draw one bar from zero with its number and, where there is one, its interval."""
    mean, low, high = span
    x, width = zero + min(mean, 0.0) * unit, abs(mean) * unit
    ends = [end for end in (low, high) if math.isfinite(end)]
    whisker = ""
    if len(ends) == 2:
        start, stop = zero + low * unit, zero + high * unit
        whisker = f'<path class="whisker" d="M{start:.1f} {y + _BAR / 2 - 1:g}H{stop:.1f}"/>'
    end = zero + max(mean, 0.0, *ends) * unit + 5
    return (
        f'<rect class="series-{series}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
        f'height="{_BAR - 2}" rx="2"/>{whisker}'
        + written("value", number, end, y + _BAR / 2 - 0.5, more=MIDDLE)
    )


def _svg(height: float, title: str, parts: Sequence[str]) -> Markup:
    head = (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    return Markup(head + "".join(parts) + "</svg>")  # every text in it was escaped


def _free(y: float, taken: list[float]) -> float:
    """Return the nearest height at which a label covers no other, and add it to `taken`."""
    place = min(
        (y + step * sign for step in range(0, 200, 2) for sign in (1, -1)),
        key=lambda at: (any(abs(at - other) < 12 for other in taken), abs(at - y)),
    )
    taken.append(place)
    return place


def _grid(places: Sequence[tuple[float, float]], bottom: float) -> str:
    """Draw the vertical lines and their numbers; each place is (number, x)."""
    drawn = (
        f'<line class="grid{"" if t or places[0][0] == 0 else " zero"}" x1="{x:.1f}" '
        f'x2="{x:.1f}" y1="0" y2="{bottom:g}"/>'
        + written("tick", short(t), x, bottom + 15, "middle")
        for t, x in places
    )
    return "".join(drawn)


def _axis_label(text: str, places: Sequence[tuple[float, float]], bottom: float) -> str:
    return written("axis", text, (places[0][1] + places[-1][1]) / 2, bottom + 33, "middle")


def _label(text: str, x: float, y: float) -> str:
    """Write a group's name right-aligned, cut if long; its tooltip is the whole name."""
    shown = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return written("name", shown, x, y, "end", MIDDLE, f"<title>{escape(text)}</title>")


def written(
    css: str, text: str, x: float, y: float, anchor: str = "start", more: str = "", tip: str = ""
) -> str:
    """Write an escaped text; `more` are attributes and `tip` is a title element."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{css}" {place}{more}>{escape(text)}{tip}</text>'
