"""What a separator is: one method and three attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from harness.audio import Audio


@runtime_checkable
class Separator(Protocol):
    """Takes one signal apart.

    Attributes
    ----------
    input_stem
        What it takes apart: ``mixture``, or a stem such as ``drums``.
    stems
        What it gives.
    sample_rate
        In Hz; the caller resamples.
    """

    input_stem: str
    stems: tuple[str, ...]
    sample_rate: int

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the shape (channels, samples) of the input."""
        ...


@runtime_checkable
class Oracle(Protocol):
    """Like a separator, but it is given the answers: an upper bound, never ranked beside others."""

    input_stem: str
    stems: tuple[str, ...]
    sample_rate: int

    def separate_with(self, audio: Audio, references: Mapping[str, Audio]) -> dict[str, Audio]:
        """Return {stem: estimate} from the input and its true stems, for the stems given."""
        ...
