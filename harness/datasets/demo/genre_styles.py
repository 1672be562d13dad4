"""The sound of the genres; the tables are in ``metadata/demo_genres.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.core import strict_yaml
from harness.datasets.demo.synth import METADATA


@dataclass(frozen=True)
class Part:
    """How one instrument plays; a pattern is one bar of sixteen steps."""

    sound: str  # several with "|" between: one per artist
    style: str
    verse: str
    chorus: str
    chance: float = 1.0  # that it plays in a song


@dataclass(frozen=True)
class Genre:
    """A genre's rules."""

    name: str
    tempo: tuple[float, float]  # lowest and highest, beats per minute
    major: tuple[str, ...]  # progressions
    minor: tuple[str, ...]
    minor_chance: float
    verse: Mapping[str, str]  # drum sound → pattern
    chorus: Mapping[str, str]
    levels: Mapping[str, float]  # dB, by stem
    bass: Part
    guitar: Part | None = None
    piano: Part | None = None
    keys: Part | None = None
    electronic: bool = False
    rap: bool = False
    swing: float = 0.0  # delay of off-beat eighths, in eighths
    room: float = 0.6  # seconds of reverberation


def _genre(name: str, rules: dict[str, Any]) -> Genre:
    """Build one genre from its table."""
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in rules.items()
    }
    for key in values.keys() & {"bass", "guitar", "piano", "keys"}:
        values[key] = Part(*values[key])
    return Genre(name, **values)


GENRES = tuple(_genre(*row) for row in strict_yaml.read(METADATA / "demo_genres.yaml").items())
