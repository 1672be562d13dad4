"""Separators together: each stem a weighted mean of several separators' estimates, or the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from harness import bands, taxonomy
from harness.audio import Audio
from harness.bands import Weight
from harness.registry import Entry
from harness.separators import progress
from harness.separators.ensembling import COMBINE, consistent
from harness.separators.protocol import Separator, parameters
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
        {stem: {name of a member: weight, or one for each band}}.
    how
        ``mean`` by these weights, else a key of `harness.separators.ensembling.COMBINE`.
    consistent
        Whether the stems that make up the input are made to sum to it in the end.
    edges
        Between the frequency bands, in Hz.

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
        weights: Mapping[str, Mapping[str, Weight]],
        how: str = "mean",
        consistent: bool = False,
        edges: Sequence[float] = (),
    ) -> None:
        self.sample_rate, self.stems, self.input_stem = sample_rate, tuple(stems), input_stem
        self.notes: list[str] = []
        self._weights, self._how, self._edges = weights, how, edges
        self._whole = _make_up(input_stem, self.stems) if consistent else ()
        self._members = sorted(members, key=lambda m: len(taxonomy.ancestors(m[0].input)))
        self._last = {
            stem: next(e.name for e, _ in reversed(self._members) if weights[stem].get(e.name))
            for stem in self.stems
        }

    @property
    def parameters(self) -> int | None:
        """How many trained values all members have together; None where one does not tell."""
        each = [parameters(separator) for _, separator in self._members]
        return None if None in each else sum(n or 0 for n in each)

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        self.notes = []
        given: dict[str, list[Audio]] = {stem: [] for stem in self.stems}
        done: dict[str, Audio] = {}
        for i, (entry, separator) in enumerate(self._members):
            source = audio if entry.input == self.input_stem else made_of(done, entry.input)
            with progress.part(i, len(self._members)):
                estimates, notes = run(separator, entry, source, self.sample_rate)
            self.notes += [f"{entry.name}: {note}" for note in notes]
            for stem in self.stems:
                if weight := self._weights[stem].get(entry.name, 0):
                    self._add(given[stem], made_of(estimates, stem), weight)
                    if entry.name == self._last[stem]:
                        done[stem] = self._combined(given.pop(stem))
        if self._whole:
            done |= consistent(audio, {stem: done[stem] for stem in self._whole})
            if sums := taxonomy.parts("accompaniment", self._whole):
                done["accompaniment"] = np.sum([done[stem] for stem in sums], axis=0)
        return {stem: done[stem] for stem in self.stems}

    def _add(self, given: list[Audio], estimate: Audio, weight: Weight) -> None:
        """Take in a member's estimate of a stem; of a mean only the sum so far is held."""
        if self._how != "mean":
            given.append(estimate)
            return
        if isinstance(weight, tuple):
            estimate = bands.weighted(estimate, self.sample_rate, self._edges, weight)
        elif weight != 1:  # one separator's estimate stays as it is
            estimate = np.float32(weight) * estimate
        given[:] = [given[0] + estimate if given else estimate]

    def _combined(self, given: Sequence[Audio]) -> Audio:
        """Make one estimate of what was taken in."""
        return given[0] if len(given) == 1 else COMBINE[self._how](given)


def _make_up(whole: str, stems: Sequence[str]) -> tuple[str, ...]:
    """Return the stems that sum to a whole, drums, bass and other rather than their sum."""
    others = set(stems) - {whole}
    return taxonomy.parts(whole, others - {"accompaniment"}) or taxonomy.parts(whole, others) or ()
