"""Numbers, costs, counts and times as people read them: what is shown is rounded here only."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

MISSING = "–"
Json = dict[str, Any]  # an object of JSON


def encode(value: float | None) -> float | str | None:
    """Return a number for JSON, rounded to the two decimals that are shown.

    NaN becomes null and infinity "inf" or "-inf", so that every JSON reader accepts it.
    """
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return round(float(value), 2) + 0.0  # no negative zero


def decimals(value: float | str | None, places: int = 2) -> str:
    """Return a number, or what `encode` made of it, with so many decimals: ``−3.10``, ``∞``, ``–``.

    The minus sign is a true one, and zero has none.
    """
    number = math.nan if value is None else float(value)
    if math.isnan(number):
        return MISSING
    if math.isinf(number):
        return "∞" if number > 0 else "−∞"
    return f"{round(number, places) + 0.0:.{places}f}".replace("-", "−")


def short(value: float) -> str:
    """Return a number with no more digits than it needs, as on an axis: ``−20``, ``0.25``."""
    return f"{value:g}".replace("-", "−")


def probability(p: float) -> str:
    """Return the p of a test: ``0.031``, ``< 0.001``."""
    return MISSING if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def cost(value: float | None, unit: str) -> str:
    """Return a cost with its unit: ``1.50 GB``, ``0.59 M`` (a count), ``0.012 ×``."""
    if value is None or math.isnan(value):
        return MISSING
    if unit.lower() in ("b", "byte", "bytes"):
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
    if unit in ("", "1", "values"):
        return f"{value / 1e6:.2f} M" if value >= 1e4 else f"{value:,.0f}"
    digits = "< 0.001" if 0 < value < 0.001 else f"{value:.3f}"
    return f"{digits} {unit}".strip()


def count(n: int, what: str) -> str:
    """Return a number with its noun: ``1 track``, ``1,200 tracks``."""
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def moment(stamp: object) -> str:
    """Return an ISO time without its seconds, such as ``2026-01-31 14:05 UTC``.

    A text that is no time is returned unchanged.
    """
    try:
        when = datetime.fromisoformat(str(stamp))
    except ValueError:
        return str(stamp or "")
    return f"{when:%Y-%m-%d %H:%M} {when.tzname() or ''}".strip()


def duration(seconds: object) -> str:
    """Return a time span in its two largest units: ``1 h 2 min``, ``42 s``."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def plain(value: object) -> str:
    """Return any value of a run's record as text; – if it is empty."""
    if value is None or value == "" or value == [] or value == {}:
        return MISSING
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(part)}" for key, part in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
