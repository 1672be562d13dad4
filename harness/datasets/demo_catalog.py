"""Who plays what: artists, genres, names, and which tracks are special cases.

All of it is a fixed function of (split, index), so that a song has its name before it is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.datasets.demo_genres import GENRES, Genre
from harness.errors import HarnessError

SPLITS = ("train", "test")
ARTISTS_OF = (0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1)  # in a block of twelve tracks

# Special cases by index modulo the length of the cycle; training material has them more rarely.
CASES = {2: "drum bleed", 3: "instrumental", 5: "vocal bleed", 6: "no drums", 7: "duet"}
CYCLE = {"test": 8, "train": 20}


def _words(text: str) -> list[str]:
    """Take a list apart."""
    return text.split("|")


_FIRST = _words(
    "Amber|Broken|Silver|Northern|Velvet|Paper|Hollow|Electric|Golden|Crooked|Midnight|Gentle|"
    "Rusty|Distant|Scarlet|Quiet|Burning|Marble|Lucky|Wooden|Frozen|Little|Neon|Copper|Hidden|"
    "Salty|Morning|Thirsty|Painted|Lonely|Thunder|Sleeping"
)
_SECOND = _words(
    "Harbour|Foxes|Lanterns|Radio|Orchard|Pilots|Canyon|Sparrows|Avenue|Tides|Machine|Gardens|"
    "Wolves|Signal|Meadow|Carousel|Engines|Ravens|Parade|Lighthouse|Giants|Kites|Station|"
    "Brothers|Mirrors|Comets|Valley|Dancers|Horizon|Anchors|Pepper|Satellites|Theatre|Owls|"
    "Bridges|Cartographers|Gravel"
)
_TITLE = _words(
    "Rain|Home|Tomorrow|Fire|Gravity|Glass|Summer|Shadows|Water|Letters|Ghosts|Paradise|"
    "Silence|Diamonds|Winter|Strangers"
)
_SHAPE = _words(
    "{}|Under the {}|No More {}|{} Again|Waiting for {}|All the {}|Running from {}|{} Tonight|"
    "Into the {}|Dear {}|{} and I|Half of {}|Back to {}"
)


@dataclass(frozen=True)
class DemoEntry:
    """A track before it is rendered; `case` is empty for an ordinary song."""

    split: str
    index: int
    number: int  # of the artist, over both splits
    artist: str
    title: str
    genre: Genre
    female: bool
    case: str

    @property
    def name(self) -> str:
        """Return ``Artist - Title``."""
        return f"{self.artist} - {self.title}"


def entry(split: str, index: int) -> DemoEntry:
    """Look up a track.

    Raises
    ------
    HarnessError
        If the split does not exist or the index is negative.

    Examples
    --------
    >>> entry("test", 3).case
    'instrumental'
    """
    if split not in SPLITS:
        raise HarnessError(f"demo: no split {split!r}; choose one of {', '.join(SPLITS)}")
    if index < 0:
        raise HarnessError(f"demo: track number {index} is negative; count from 0")
    block, place = divmod(index, len(ARTISTS_OF))
    own = block * (max(ARTISTS_OF) + 1) + ARTISTS_OF[place]
    number = 2 * own + SPLITS.index(split)
    song = ARTISTS_OF[:place].count(ARTISTS_OF[place])
    style = own * 2 if split == "train" else own * 4  # strides without a common divisor with 9
    abroad = song == 2 and own % 2 == 1
    return DemoEntry(
        split=split,
        index=index,
        number=number,
        artist=_artist(number),
        title=_title(number, song),
        genre=GENRES[(style + abroad) % len(GENRES)],
        female=own % 2 == 1,
        case=CASES.get(index % CYCLE[split], ""),
    )


def _artist(number: int) -> str:
    """Name an artist; no two numbers share a name."""
    again, number = divmod(number, len(_FIRST) * len(_SECOND))
    first = number % len(_FIRST)
    second = (number // len(_FIRST) + 11 * number) % len(_SECOND)
    suffix = f" {again + 1}" if again else ""
    return f"{_FIRST[first]} {_SECOND[second]}{suffix}"


def _title(number: int, song: int) -> str:
    """Name the artist's song; the songs of an artist differ in both words."""
    rng = np.random.default_rng([number, 977])
    word = _TITLE[int(rng.permutation(len(_TITLE))[song])]
    shape = _SHAPE[int(rng.permutation(len(_SHAPE))[song])]
    return shape.format(word)
