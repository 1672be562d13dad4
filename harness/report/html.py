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

from harness.core import text
from harness.report import names
from harness.selection import MIN_ARTISTS

HERE = Path(__file__).parent


def page(template: str, scripts: Sequence[str], **values: Any) -> str:
    """Fill a file of ``templates``; the named ``assets`` become its one script, in this order."""
    script = "\n".join(_asset(name) for name in scripts)
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_asset("style.css")),  # our own files, as they are
            script=Markup(script),
            script_hash=allowed,  # the page's policy runs this script and no other
            **values,
        )
    )


def as_json(view: Any) -> Markup:
    """Return JSON that cannot end a script element, whatever names it holds."""
    dumped = json.dumps(view, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        dumped = dumped.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(dumped)


@cache
def _environment() -> jinja2.Environment:
    """Return the template environment: it escapes everything; an unknown name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = (text.decimals, text.cost, text.moment, text.duration, text.plain)
    environment.filters |= {filter_.__name__: filter_ for filter_ in formats}
    environment.filters |= {"stem": names.stem_label, "fed": names.input_label}
    environment.globals |= {"count": text.count, "min_artists": MIN_ARTISTS, "below": _below}
    return environment


def _below(own: Any, anchor: list[Any] | None, higher: bool) -> bool:
    """Return whether the mean of a cell is not above that of the unprocessed input."""
    if own.mean is None or not anchor or anchor[0] is None:
        return False
    gain = float(own.mean) - float(anchor[0])
    return gain <= 0 if higher else gain >= 0


@cache
def _asset(name: str) -> str:
    return (HERE / "assets" / name).read_text(encoding="utf-8")
