"""The stem tree, and conversion between stems of different depth.

A node's audio is the sum of its children's. In the field ``other`` means the rest of four stems or
the rest of six. Here `other` is always the former; the latter is `other_rest` = `other` − `guitar`
− `piano`. ``cymbals`` includes the hi-hat if a separator returns four pieces of the drum kit, and
not if it returns five. Here `cymbals` is always without; with the hi-hat it is `hihat_cymbals`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

TREE: dict[str, tuple[str, ...]] = {
    "mixture": ("vocals", "accompaniment"),
    "accompaniment": ("drums", "bass", "other"),
    "vocals": ("lead", "background"),
    "lead": ("lead_male", "lead_female"),
    "drums": ("kick", "snare", "toms", "hihat_cymbals"),
    "hihat_cymbals": ("hihat", "cymbals"),
    "other": ("guitar", "piano", "other_rest"),
    "other_rest": ("keys", "plucked", "percussion", "strings", "wind", "misc"),
}

REFERENCE = "reference"  # where a true stem comes from; no separator has this name

# Order for display: parents before children, the four classical stems first.
STEMS: tuple[str, ...] = (
    *("vocals", "drums", "bass", "other", "accompaniment"),
    *("guitar", "piano", "other_rest", "keys", "plucked", "percussion", "strings", "wind", "misc"),
    *("lead", "lead_male", "lead_female", "background"),
    *("kick", "snare", "toms", "hihat_cymbals", "hihat", "cymbals"),
)

# Stems that are scored together: each level's stems sum to its parent. A stem belongs to the first
# level that has it; interference (SIR) is from the other stems of that level.
LEVELS: dict[str, tuple[str, ...]] = {
    "four stems": ("vocals", "drums", "bass", "other"),
    "two stems": ("vocals", "accompaniment"),
    "six stems": ("vocals", "drums", "bass", "guitar", "piano", "other_rest"),
    "instruments": ("guitar", "piano", "keys", "plucked", "percussion", "strings", "wind", "misc"),
    "voices": ("lead", "background"),
    "singers": ("lead_male", "lead_female", "background"),
    "drum kit": ("kick", "snare", "toms", "hihat", "cymbals"),
    "drum kit, four pieces": ("kick", "snare", "toms", "hihat_cymbals"),
}

# Other names of our stems, from tools, layouts and other languages. Drum kit pieces that no dataset
# here separates go to the stem that includes them, so ride and crash together are `cymbals`.
_OTHER_NAMES = {
    "mixture": "mix",
    "vocals": "vocal voice vox singing",
    "drums": "drum bateria",
    "other": "others",
    "accompaniment": "instrumental instrum inst no_vocals backing_track",
    "guitar": "guitars",
    "keys": "keyboard keyboards other_keys",
    "plucked": "other_plucked",
    "percussion": "perc",
    "strings": "bowed_strings",
    "lead": "lead_vocals",
    "lead_male": "lead_male_singer",
    "lead_female": "lead_female_singer",
    "background": "background_vocals backing_vocals back_vocals",
    "kick": "kick_drum bass_drum bombo",
    "snare": "snare_drum redoblante",
    "toms": "tom",
    "hihat": "hh hi_hat hats",
    "cymbals": "platillos cymbal ride crash",
    "hihat_cymbals": "hh_cymbals",
}
ALIASES = {name: stem for stem, names in _OTHER_NAMES.items() for name in names.split()}

PARENTS: dict[str, str] = {child: node for node, children in TREE.items() for child in children}


def ancestors(stem: str) -> tuple[str, ...]:
    """Return the nodes that include a stem, nearest first.

    Examples
    --------
    >>> ancestors("hihat"), ancestors("theremin")
    (('hihat_cymbals', 'drums', 'accompaniment', 'mixture'), ())
    """
    parent = PARENTS.get(stem)
    return (parent, *ancestors(parent)) if parent else ()


def parent_level(stem: str) -> str:
    """Return the stem that is separated to get this one: mixture, vocals or drums.

    Examples
    --------
    >>> parent_level("bass"), parent_level("snare"), parent_level("lead_male")
    ('mixture', 'drums', 'vocals')
    """
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
    """Return our name of a stem under any name of files and tools; unknown ones in lower case.

    Examples
    --------
    >>> canonical("Hi-Hat"), canonical("No Vocals"), canonical("theremin")
    ('hihat', 'accompaniment', 'theremin')
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


def in_order(stems: Iterable[str]) -> list[str]:
    """Sort stems for display; names outside the tree come last, alphabetically.

    Examples
    --------
    >>> in_order(["snare", "theremin", "bass", "vocals"])
    ['vocals', 'bass', 'snare', 'theremin']
    """
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
    """Return the stems that are scored together with `stem`: its first level, or itself alone.

    Examples
    --------
    >>> level_of("accompaniment", {"vocals", "drums", "bass", "other", "accompaniment"})
    ('vocals', 'accompaniment')
    """
    for stems in levels(available).values():
        if stem in stems:
            return stems
    return (stem,)
