"""Pictures that need no switch, drawn as SVG text; colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

Span = tuple[float, float, float]  # mean, low, high; NaN where there is no interval
_WIDTH = 560  # user units, about CSS pixels
_BAR = 13  # height of one bar
_CHARACTER = 6.6  # mean width of a letter at the size the style sheet gives
_LONGEST = 28  # letters of a label before it is cut
_HEIGHT = 220  # of a line chart


def nice_ticks(top: float, at_most: int = 5) -> list[float]:
    """Return round numbers from 0 to at least `top`, whole ones where they count things.

    Examples
    --------
    >>> nice_ticks(47)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    >>> nice_ticks(2)
    [0.0, 1.0, 2.0]
    """
    step = max(_step(max(top, 1.0), at_most), 1.0)
    return [step * i for i in range(math.ceil(max(top, 1.0) / step - 1e-9) + 1)]


def round_ticks(low: float, high: float, at_most: int = 6) -> list[float]:
    """Return round numbers that reach from below `low` to above `high`.

    Examples
    --------
    >>> round_ticks(-3.2, 11)
    [-5.0, 0.0, 5.0, 10.0, 15.0]
    """
    step = _step(max(high - low, 1e-9), at_most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * i for i in range(first, max(last, first + 1) + 1)]


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
    left = _left(labels)
    ticks = nice_ticks(max((v for row in series.values() for v in row), default=0))
    unit = (_WIDTH - left - 74) / ticks[-1]
    group = _BAR * len(series) + 9
    bottom = 6 + group * len(labels)
    places = [(t, left + t * unit) for t in ticks]
    parts = [_grid(places, bottom), _axis_label(axis, places, bottom)]
    for i, label in enumerate(labels):
        parts.append(_label(label, left - 8, 6 + group * i + (group - 9) / 2))
        for j, row in enumerate(series.values()):
            share = row[i] / (sum(row) or 1)
            parts.append(_bar(left, 6 + group * i + _BAR * j, unit, row[i], (j, share)))
    return _svg(bottom + 40, title, parts)


def spans(
    labels: Sequence[str], series: Mapping[str, Sequence[Span | None]], *, title: str, axis: str
) -> Markup:
    """Draw grouped horizontal bars of means from zero, each with its interval and number.

    Parameters
    ----------
    labels
        One group each, top to bottom.
    series
        Name and one mean with its ends per label; None, and what is not finite, is left out.
    """
    left = _left(labels)
    shown = [span for row in series.values() for span in row if span and math.isfinite(span[0])]
    ends = [0.0, *(end for span in shown for end in span if math.isfinite(end))]
    ticks = round_ticks(min(ends), max(ends))
    unit = (_WIDTH - left - 46) / (ticks[-1] - ticks[0])
    group = _BAR * len(series) + 9
    bottom = 6 + group * len(labels)
    places = [(t, left + (t - ticks[0]) * unit) for t in ticks]
    parts = [_grid(places, bottom), _axis_label(axis, places, bottom)]
    zero = left - ticks[0] * unit
    for i, label in enumerate(labels):
        parts.append(_label(label, left - 8, 6 + group * i + (group - 9) / 2))
        for j, row in enumerate(series.values()):
            span = row[i]
            if span and math.isfinite(span[0]):
                parts.append(_span(zero, 6 + group * i + _BAR * j, unit, span, j))
    return _svg(bottom + 40, title, parts)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]], *, title: str, across: str, up: str
) -> Markup:
    """Draw lines over a common axis, each with its name at its end.

    Parameters
    ----------
    series
        Name and points, at least one, in order.
    across, up
        Labels of the axes, with their units.
    """
    left, top, right = 52.0, 10.0, 96.0
    points = [point for line in series.values() for point in line]
    xs = round_ticks(0.0, max(x for x, _ in points))
    ys = round_ticks(min(y for _, y in points), max(y for _, y in points))
    wide = (_WIDTH - left - right) / xs[-1]
    high = (_HEIGHT - 2 * top) / (ys[-1] - ys[0])
    bottom = _HEIGHT - top
    places = [(x, left + x * wide) for x in xs]
    parts = [_grid(places, bottom), _axis_label(across, places, bottom), _upright(up, bottom)]
    for y in ys:
        at = bottom - (y - ys[0]) * high
        parts.append(
            f'<line class="grid" x1="{left}" x2="{_WIDTH - right}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="tick" x="{left - 7}" y="{at + 4:.1f}" text-anchor="end">{_number(y)}'
            "</text>"
        )
    taken: list[float] = []
    for i, (name, line) in enumerate(series.items()):
        drawn = [(left + x * wide, bottom - (y - ys[0]) * high) for x, y in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)
        parts.append(f'<path class="line line-{i % 6}" d="M{path}"/>')
        place = _free(drawn[-1][1], taken)
        parts.append(
            f'<text class="name" x="{drawn[-1][0] + 6:.1f}" y="{place + 4:.1f}">{escape(name)}'
            "</text>"
        )
    return _svg(_HEIGHT + 36, title, parts)


def _step(span: float, at_most: int) -> float:
    """Return the round step that parts a span into no more than so many."""
    rough = span / at_most
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


def _svg(height: float, title: str, parts: Sequence[str]) -> Markup:
    """Wrap a picture up."""
    head = (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-label="{escape(title)}">'
    )
    return Markup(head + "".join(parts) + "</svg>")  # every text in it went through escape


def _left(labels: Sequence[str]) -> float:
    """Return where the axis begins, right of the labels."""
    return 14 + _CHARACTER * min(max((len(label) for label in labels), default=0), _LONGEST)


def _number(value: float) -> str:
    """Write a tick with a true minus sign."""
    return f"{value:g}".replace("-", "−")


def _free(y: float, taken: list[float]) -> float:
    """Return the nearest height at which a label covers no other, and take it."""
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
        f'x2="{x:.1f}" y1="0" y2="{bottom:g}"/><text class="tick" x="{x:.1f}" '
        f'y="{bottom + 15:g}" text-anchor="middle">{_number(t)}</text>'
        for t, x in places
    )
    return "".join(drawn)


def _axis_label(text: str, places: Sequence[tuple[float, float]], bottom: float) -> str:
    """Write what the axis shows, centred below it."""
    x = f"{(places[0][1] + places[-1][1]) / 2:.1f}"
    return (
        f'<text class="axis" x="{x}" y="{bottom + 33:g}" text-anchor="middle">{escape(text)}</text>'
    )


def _upright(text: str, bottom: float) -> str:
    """Write what the upright axis shows."""
    turned = f'transform="translate(12 {bottom / 2:g}) rotate(-90)"'
    return f'<text class="axis" {turned} text-anchor="middle">{escape(text)}</text>'


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


def _span(zero: float, y: float, unit: float, span: Span, series: int) -> str:
    """Draw one bar from zero with its interval and number."""
    mean, low, high = span
    ends = [end for end in (low, high) if math.isfinite(end)]
    x, width = zero + min(mean, 0.0) * unit, abs(mean) * unit
    middle = y + _BAR / 2 - 1
    whisker = "".join(
        f'<path class="whisker" d="M{zero + low * unit:.1f} {middle:g}H{zero + high * unit:.1f}"/>'
        for _ in ends[1:]
    )
    outside = zero + max(mean, 0.0, *ends) * unit + 5
    number = f"{round(mean, 1) + 0.0:.1f}".replace("-", "−")
    return (
        f'<rect class="series-{series}" x="{x:.1f}" y="{y}" width="{width:.1f}" '
        f'height="{_BAR - 2}" rx="1"/>{whisker}<text class="value" x="{outside:.1f}" '
        f'y="{y + _BAR / 2 - 0.5}" dominant-baseline="middle">{number}</text>'
    )
