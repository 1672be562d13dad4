"""What a run lacks, in the words that terminal and report share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from harness.core import text
from harness.datasets.tracks import Omission


class Lack(NamedTuple):
    """What one dataset of a run lacks of one kind."""

    head: str  # such as "songs: 3 tracks left out"
    reasons: dict[str, list[str]]  # {reason: names, each with what concerns it alone}

    def line(self, most: int) -> str:
        """Return one line with at most so many reasons, and so many names for each."""
        said = [f"{reason} ({_first(names, most)})" for reason, names in self.reasons.items()]
        return f"{self.head}: {_first(said, most, '; ')}"


def lacks(omissions: Iterable[Omission]) -> list[Lack]:
    """Group what is left out by dataset, kind and reason, in the order in which it was found."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for one in dict.fromkeys(omissions):
        names = groups.setdefault((one.dataset, one.what), {}).setdefault(one.reason, [])
        names.append(f"{one.name}: {one.detail}" if one.detail else one.name)
    found = []
    for (dataset, what), reasons in groups.items():
        noun, _, rest = what.partition(" ")
        many = f"{text.count(sum(map(len, reasons.values())), noun)} {rest}"
        found.append(Lack(f"{dataset}: {many}" if dataset else many, reasons))
    return found


def recorded(record: Mapping[str, Any]) -> tuple[Omission, ...]:
    """Return what a run's record says that the run lacks; records of earlier versions do not."""
    names = [field.name for field in fields(Omission)]
    rows = record.get("omitted") or ()
    return tuple(Omission(*(str(row.get(name) or "") for name in names)) for row in rows)


def _first(texts: list[str], most: int, between: str = ", ") -> str:
    """Join the first texts, and say how many there are besides."""
    rest = f"{between}and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(texts[:most]) + rest
