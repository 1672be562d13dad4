"""The catalog: artists, genres, names and special cases of the tracks.

Everything is a fixed function of (split, index), so a song has its name before it is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.datasets.demo.genre_styles import GENRES, Genre
from harness.datasets.demo.synth import METADATA

SPLITS = ("train", "test")
ARTISTS_OF = (0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1)  # in a block of twelve tracks

# Special cases by index modulo the length of the cycle; they are rarer in training material.
CASES = {2: "drum bleed", 3: "instrumental", 5: "vocal bleed", 6: "no drums", 7: "duet"}
CYCLE = {"test": 8, "train": 20}
WORDS: dict[str, list[str]] = strict_yaml.read(METADATA / "demo_names.yaml")


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
        """``Artist - Title``."""
        return f"{self.artist} - {self.title}"


def entry(split: str, index: int) -> DemoEntry:
    """Look up a track; its index counts from 0."""
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
    first, second = WORDS["first"], WORDS["second"]
    again, number = divmod(number, len(first) * len(second))
    turn = (number // len(first) + 11 * number) % len(second)
    suffix = f" {again + 1}" if again else ""
    return f"{first[number % len(first)]} {second[turn]}{suffix}"


def _title(number: int, song: int) -> str:
    """Name the artist's song; the songs of an artist differ in both words."""
    rng = np.random.default_rng([number, 977])
    word, shape = (
        str(words[int(rng.permutation(len(words))[song])])
        for words in (WORDS["word"], WORDS["shape"])
    )
    return shape.format(word)
