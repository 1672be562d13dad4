"""What a separator is: one method and three attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

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


def parameters(separator: Any) -> int | None:
    """Return how many trained values a separator has: what it says itself, or its networks hold.

    Returns
    -------
    int or None
        0 of a method without training; None where a separator cannot tell.
    """
    if hasattr(separator, "parameters"):
        own: int | None = separator.parameters
        return own
    networks = getattr(separator, "networks", ())
    return sum(int(values.numel()) for network in networks for values in network.parameters())
