"""Numbers as people read them; the only place where anything is rounded."""

from __future__ import annotations

import math
from datetime import datetime

MISSING = "–"


def encode(value: float | None) -> float | str | None:
    """Return a number for JSON, rounded to the two decimals that are shown.

    NaN becomes null, infinity a string, so that every JSON reader takes it.

    Examples
    --------
    >>> encode(6.017), encode(math.nan), encode(-math.inf)
    (6.02, None, '-inf')
    """
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return round(float(value), 2) + 0.0  # no negative zero


def decibels(value: float | str | None) -> str:
    """Return an encoded number with two decimals and a true minus sign.

    Examples
    --------
    >>> decibels(-3.1), decibels("inf"), decibels(None)
    ('−3.10', '∞', '–')
    """
    if value is None:
        return MISSING
    if isinstance(value, str):
        return {"inf": "∞", "-inf": "−∞"}[value]
    return f"{value:.2f}".replace("-", "−")


def cost(value: float | None, unit: str) -> str:
    """Return a cost with its unit: bytes as MB or GB, counts in millions, else to the thousandth.

    Examples
    --------
    >>> cost(1.5e9, "bytes"), cost(0.01234, "×"), cost(2e-5, "×"), cost(589325, "")
    ('1.50 GB', '0.012 ×', '< 0.001 ×', '0.59 M')
    """
    if value is None or math.isnan(value):
        return MISSING
    if unit.lower() in ("b", "byte", "bytes"):
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
    if unit in ("", "1", "values"):
        return f"{value / 1e6:.2f} M" if value >= 1e4 else f"{value:,.0f}"
    digits = "< 0.001" if 0 < value < 0.001 else f"{value:.3f}"
    return f"{digits} {unit}".strip()


def count(n: int, what: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> count(1, "track"), count(1200, "track")
    ('1 track', '1,200 tracks')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def moment(stamp: object) -> str:
    """Return an ISO time as `2026-01-31 14:05 UTC+00:00` without its seconds; else as it is.

    Examples
    --------
    >>> moment("2026-01-31T14:05:09+00:00")
    '2026-01-31 14:05 UTC'
    """
    try:
        when = datetime.fromisoformat(str(stamp))
    except ValueError:
        return str(stamp or "")
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()


def duration(seconds: object) -> str:
    """Return a span of time in its two largest units.

    Examples
    --------
    >>> duration(3725), duration(42.31)
    ('1 h 2 min', '42 s')
    """
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
