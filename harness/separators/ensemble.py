"""Separators together: each stem a weighted mean of several separators' estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness import taxonomy
from harness.audio import Audio
from harness.registry import Entry
from harness.separators.protocol import Separator
from harness.separators.running import made_of, run

Member = tuple[Entry, Separator]


class Ensemble:
    """A blend of separators; the one best of several is the blend with a weight of one.

    Every member runs once, at its own sample rate. Members of what the ensemble takes apart run
    first; the others are given the ensemble's own estimate of their input, as in a cascade.

    Parameters
    ----------
    sample_rate, stems, input_stem
        What is wanted.
    members
        Entries and separators; see `harness.registry.ensemble` for what fits together.
    weights
        {stem: {name of a member: weight}}.

    Attributes
    ----------
    notes
        What members did otherwise than asked for in the last call of `separate`.
    """

    def __init__(
        self,
        sample_rate: int,
        stems: Sequence[str],
        input_stem: str = "mixture",
        *,
        members: Sequence[Member],
        weights: Mapping[str, Mapping[str, float]],
    ) -> None:
        self.sample_rate, self.stems, self.input_stem = sample_rate, tuple(stems), input_stem
        self.notes: list[str] = []
        self._weights = weights
        self._members = sorted(members, key=lambda m: len(taxonomy.ancestors(m[0].input)))

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        self.notes = []
        done: dict[str, Audio] = {}
        for entry, separator in self._members:
            whole = entry.input == self.input_stem
            source = audio if whole else made_of(done, entry.input)
            estimates, notes = run(separator, entry, source, self.sample_rate)
            self.notes += [f"{entry.name}: {note}" for note in notes]
            for stem in self.stems:
                if weight := self._weights[stem].get(entry.name, 0):
                    part = made_of(estimates, stem)
                    if weight != 1:  # one separator's estimate stays as it is
                        part = np.float32(weight) * part
                    done[stem] = done[stem] + part if stem in done else part
        return {stem: done[stem] for stem in self.stems}
