"""The stem tree, and conversion between stems of different depth; tables: ``taxonomy.yaml``.

A node's audio is the sum of its children's. In the field ``other`` means the rest of four stems or
the rest of six. Here `other` is always the former; the latter is `other_rest` = `other` − `guitar`
− `piano`. ``cymbals`` includes the hi-hat if a separator returns four parts of the drum kit, and
not if it returns five. Here `cymbals` is always without; with the hi-hat it is `hihat_cymbals`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from harness.core import strict_yaml

REFERENCE = "reference"  # where a true stem comes from; no separator has this name

_TABLES = strict_yaml.read(Path(__file__).with_suffix(".yaml"))
TREE: dict[str, tuple[str, ...]] = {node: tuple(below) for node, below in _TABLES["tree"].items()}
STEMS: tuple[str, ...] = tuple(_TABLES["stems"])
LEVELS: dict[str, tuple[str, ...]] = {
    level: tuple(stems) for level, stems in _TABLES["levels"].items()
}
ALIASES: dict[str, str] = {
    name: stem for stem, names in _TABLES["other_names"].items() for name in names
}
UNKNOWN_REST = "other of a model with fewer than four stems"
PARENTS: dict[str, str] = {child: node for node, children in TREE.items() for child in children}


def ancestors(stem: str) -> tuple[str, ...]:
    """Return the nodes that include a stem, nearest first; none for a stem outside the tree."""
    parent = PARENTS.get(stem)
    return (parent, *ancestors(parent)) if parent else ()


def parent_level(stem: str) -> str:
    """Return the stem that is separated to get this one: mixture, vocals or drums."""
    return next((node for node in ancestors(stem) if node in ("vocals", "drums")), "mixture")


def parts(stem: str, available: Collection[str]) -> tuple[str, ...] | None:
    """Return which of the available stems sum to `stem`, or None if they cannot.

    The stem itself is preferred. No child may be missing.

    Examples
    --------
    >>> parts("accompaniment", {"vocals", "drums", "bass", "other"})
    ('drums', 'bass', 'other')
    >>> parts("other", {"guitar", "piano"}) is None
    True
    """
    if stem in available:
        return (stem,)
    found: list[str] = []
    for child in TREE.get(stem, ()):
        below = parts(child, available)
        if below is None:
            return None
        found.extend(below)
    return tuple(found) or None


def canonical(name: str) -> str:
    """Return our name of a stem under any name of files and tools: ``Hi-Hat`` is `hihat`.

    Unknown names are returned in lower case, with _ between words.
    """
    words = "_".join(re.findall(r"\w+", name.lower().replace("_", " ")))
    return ALIASES.get(words, words)


def as_meant(stems: Collection[str]) -> dict[str, str]:
    """Return our names of the stems that one separator returns: {its name: ours}.

    Examples
    --------
    >>> as_meant(("kick", "cymbals"))
    {'kick': 'kick', 'cymbals': 'hihat_cymbals'}
    >>> as_meant(("hihat", "cymbals"))
    {'hihat': 'hihat', 'cymbals': 'cymbals'}
    """
    joined = {} if "hihat" in stems else {"cymbals": "hihat_cymbals"}
    return {stem: joined.get(stem, stem) for stem in stems}


def of_model(stems: Collection[str]) -> dict[str, str]:
    """Return what the stems of one model's estimates are: {our name: what it is}.

    ``other`` is what remains beside the model's other stems: the rest of four beside drums and
    bass, `other_rest` if guitar and piano are there too, and everything but the vocals if they are
    the only other stem. Otherwise it is none of our stems, and the value says what it is.

    Examples
    --------
    >>> of_model(("vocals", "other"))
    {'vocals': 'vocals', 'other': 'accompaniment'}
    >>> of_model(("drums", "other"))["other"]
    'other of a model with fewer than four stems'
    """
    have = set(stems)
    rest = "other" if {"drums", "bass"} <= have else UNKNOWN_REST
    if {"guitar", "piano"} <= have:
        rest = "other_rest"
    elif have & {"guitar", "piano"}:
        rest = "other of a model with five stems"
    elif have & set(STEMS) == {"vocals", "other"}:
        rest = "accompaniment"
    if rest in have:
        rest = "other"
    return {stem: rest if stem == "other" else stem for stem in stems}


def in_order(stems: Iterable[str]) -> list[str]:
    """Sort stems for display; names outside the tree come last, alphabetically."""
    rank = {stem: i for i, stem in enumerate(STEMS)}
    return sorted(stems, key=lambda stem: (rank.get(stem, len(rank)), stem))


def levels(available: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the levels a track can be scored on, each with the stems the track has.

    If only the sum of the instruments is known, as in MIR-1K, there is no level of four stems.

    Examples
    --------
    >>> levels({"vocals", "accompaniment"})
    {'two stems': ('vocals', 'accompaniment')}
    >>> levels({"drums", "bass", "other", "accompaniment"})["four stems"]
    ('drums', 'bass', 'other')
    """
    found = {}
    for level, stems in LEVELS.items():
        present = tuple(stem for stem in stems if stem in available)
        whole = level not in ("four stems", "six stems") or not (
            "accompaniment" in available and set(present) <= {"vocals"}
        )
        if len(present) > 1 and whole:
            found[level] = present
    return found


def level_of(stem: str, available: Collection[str]) -> tuple[str, ...]:
    """Return the stems that are scored together with `stem`: its first level, or itself alone."""
    return next((stems for stems in levels(available).values() if stem in stems), (stem,))
