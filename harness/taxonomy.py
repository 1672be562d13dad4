"""The stem tree, and how stems of different depth are brought together.

A node's audio is the sum of its children's. ``other`` has two meanings in the field: what is left
of four stems, and what is left of six. Here `other` is always the former; the latter is
`other_rest` = `other` − `guitar` − `piano`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

TREE: dict[str, tuple[str, ...]] = {
    "mixture": ("vocals", "accompaniment"),
    "accompaniment": ("drums", "bass", "other"),
    "vocals": ("lead", "background"),
    "lead": ("lead_male", "lead_female"),
    "drums": ("kick", "snare", "toms", "hihat", "cymbals"),
    "other": ("guitar", "piano", "other_rest"),
    "other_rest": ("keys", "plucked", "percussion", "strings", "wind", "misc"),
}

# Order for display: parents before children, the four classical stems first.
STEMS: tuple[str, ...] = (
    "vocals",
    "drums",
    "bass",
    "other",
    "accompaniment",
    "guitar",
    "piano",
    "other_rest",
    "keys",
    "plucked",
    "percussion",
    "strings",
    "wind",
    "misc",
    "lead",
    "lead_male",
    "lead_female",
    "background",
    "kick",
    "snare",
    "toms",
    "hihat",
    "cymbals",
)

PARENTS: dict[str, str] = {child: node for node, children in TREE.items() for child in children}


def parent_level(stem: str) -> str:
    """Return which stem a separator takes apart to get this one: mixture, vocals or drums.

    Examples
    --------
    >>> parent_level("bass"), parent_level("snare"), parent_level("lead_male")
    ('mixture', 'drums', 'vocals')
    """
    node = PARENTS.get(stem, "mixture")
    while node not in ("mixture", "vocals", "drums"):
        node = PARENTS.get(node, "mixture")
    return node


def parts(stem: str, available: Collection[str]) -> tuple[str, ...] | None:
    """Return which of the available stems sum to `stem`, or None if they cannot.

    The stem itself is preferred; children that nobody has are not allowed to be missing.

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


def in_order(stems: Iterable[str]) -> list[str]:
    """Sort stems for display; names outside the tree come last, alphabetically.

    Examples
    --------
    >>> in_order(["snare", "theremin", "bass", "vocals"])
    ['vocals', 'bass', 'snare', 'theremin']
    """
    rank = {stem: i for i, stem in enumerate(STEMS)}
    return sorted(stems, key=lambda stem: (rank.get(stem, len(rank)), stem))
