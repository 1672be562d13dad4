"""What all pages of a report share: templates, assets, and data that cannot break out of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.report import names, text
from harness.selection import MIN_ARTISTS

HERE = Path(__file__).parent


def page(template: str, scripts: Sequence[str], **values: Any) -> str:
    """Fill a template; it finds ``style``, ``script`` and ``script_hash`` beside the values.

    Parameters
    ----------
    template
        A file in ``templates``.
    scripts
        Files in ``assets`` that become one script, in this order.
    """
    script = "\n".join(_asset(name) for name in scripts)
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_asset("style.css")),  # our own file, as is
            script=Markup(script),  # our own files, as they are
            script_hash=_hash(script),
            **values,
        )
    )


def as_json(view: Any) -> Markup:
    """Return JSON that cannot end a script element, whatever the names in it."""
    dumped = json.dumps(view, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        dumped = dumped.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(dumped)


@cache
def _environment() -> jinja2.Environment:
    """Return the templates' environment: everything is escaped, unknown names are errors."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "decibels": text.decibels,
        "cost": text.cost,
        "moment": text.moment,
        "duration": text.duration,
        "stem": names.stem_label,
        "fed": names.input_label,
        "plain": plain,
    }
    environment.globals["count"] = text.count
    environment.globals["min_artists"] = MIN_ARTISTS
    return environment


@cache
def _asset(name: str) -> str:
    """Return the text of a style sheet or script that goes into the page."""
    return (HERE / "assets" / name).read_text(encoding="utf-8")


def _hash(script: str) -> str:
    """Return the hash by which the page's policy allows this script and no other."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def plain(value: object) -> str:
    """Return a value of the record as a reader wants it: lists with commas, nothing as a dash."""
    if value is None or value == "" or value == [] or value == {}:
        return text.MISSING
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(part)}" for key, part in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
