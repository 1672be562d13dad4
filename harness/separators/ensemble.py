"""Ensembles: each stem is a weighted mean of several separators' estimates, or the like.

The other ways to combine estimates need the audio: unlike weighted means they cannot be scored from
inner products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from harness.core import bands, taxonomy
from harness.core.audio import Audio
from harness.core.bands import Weight
from harness.registry import Entry
from harness.separators import progress
from harness.separators.protocol import Separator, made_of, parameters, run
from harness.separators.spectral import Spectrum, Stft

Member = tuple[Entry, Separator]
Choice = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.intp]]

STFT = Stft(2048, 1024)  # Ultimate Vocal Remover's
PIECE = 1 << 18  # samples processed at once


class Ensemble:
    """A blend of separators; the best single one per stem is the blend with a weight of one.

    Every member runs once, at its own sample rate. Members with the ensemble's own input run first.
    The input of the others is the ensemble's own estimate of it, as in a cascade.

    Parameters
    ----------
    members
        Entries and separators; `harness.registry.ensembles` checks that they fit together.
    weights
        {stem: {name of a member: weight, or one per band}}.
    how
        ``mean`` by these weights, or another key of `COMBINE`.
    consistent
        Whether to correct the stems that make up the input so that they sum to it. If a member
        separates the accompaniment, the vocals stay as they are, the accompaniment is all that they
        leave, and drums, bass and other are corrected so that they sum to it.
    edges
        Between the frequency bands, in Hz.

    Attributes
    ----------
    notes
        Where members deviated from the request in the last call of `separate`.
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
        inputs = {entry.input for entry, _ in members} - {input_stem}
        self._in_steps = bool(self._whole) and {"vocals", "accompaniment"} <= {*self.stems}
        self._in_steps &= "accompaniment" in inputs
        if self._in_steps:
            self._whole = _make_up("accompaniment", self.stems)
        self._members = sorted(members, key=lambda m: len(taxonomy.ancestors(m[0].input)))
        self._last = {
            stem: next(e.name for e, _ in reversed(self._members) if weights[stem].get(e.name))
            for stem in self.stems
        }

    @property
    def parameters(self) -> int | None:
        """Number of trained values of all members; None if one member cannot tell."""
        each = [parameters(separator) for _, separator in self._members]
        return None if None in each else sum(n or 0 for n in each)

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        self.notes = []
        given: dict[str, list[Audio]] = {stem: [] for stem in self.stems}
        done: dict[str, Audio] = {}
        for i, (entry, separator) in enumerate(self._members):
            if entry.input == "accompaniment" and self._in_steps:
                done["accompaniment"] = audio - done["vocals"]
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
            whole = done["accompaniment"] if self._in_steps else audio
            done |= consistent(whole, {stem: done[stem] for stem in self._whole})
            if sums := taxonomy.parts("accompaniment", self._whole):
                done["accompaniment"] = np.sum([done[stem] for stem in sums], axis=0)
        return {stem: done[stem] for stem in self.stems}

    def _add(self, given: list[Audio], estimate: Audio, weight: Weight) -> None:
        """Add a member's estimate of a stem; for a mean, keep only the sum so far."""
        if self._how != "mean":
            given.append(estimate)
            return
        if isinstance(weight, tuple):
            estimate = bands.weighted(estimate, self.sample_rate, self._edges, weight)
        elif weight != 1:  # one separator's estimate stays as it is
            estimate = np.float32(weight) * estimate
        given[:] = [given[0] + estimate if given else estimate]

    def _combined(self, given: Sequence[Audio]) -> Audio:
        return given[0] if len(given) == 1 else COMBINE[self._how](given)


def _make_up(whole: str, stems: Sequence[str]) -> tuple[str, ...]:
    """Return the stems that sum to a whole; drums, bass and other instead of their sum."""
    others = set(stems) - {whole}
    return taxonomy.parts(whole, others - {"accompaniment"}) or taxonomy.parts(whole, others) or ()


def mean(estimates: Sequence[Audio]) -> Audio:
    """Return the plain mean of estimates of one stem, each of shape (channels, samples)."""
    return np.asarray(np.mean(estimates, axis=0, dtype=np.float32))


def median(estimates: Sequence[Audio]) -> Audio:
    """Return the median of each sample, so that one bad estimate of three or more is outvoted."""
    out = np.empty_like(estimates[0])
    for start in range(0, out.shape[1], PIECE):
        part = slice(start, start + PIECE)
        out[:, part] = np.median([estimate[:, part] for estimate in estimates], axis=0)
    return out


def min_mag(estimates: Sequence[Audio]) -> Audio:
    """Return, at each point of the spectrogram, the estimate with the smallest magnitude.

    This is the minimum spectrum of Ultimate Vocal Remover and of audio-separator: what only some
    estimates contain counts as bleed. Channels are independent; of equals the first one wins.
    """
    return _by_magnitude(estimates, lambda magnitudes: magnitudes.argmin(axis=0))


def max_mag(estimates: Sequence[Audio]) -> Audio:
    """Return, at each point of the spectrogram, the estimate with the largest magnitude."""
    return _by_magnitude(estimates, lambda magnitudes: magnitudes.argmax(axis=0))


COMBINE: dict[str, Callable[[Sequence[Audio]], Audio]] = {
    "mean": mean,
    "median": median,
    "min_mag": min_mag,
    "max_mag": max_mag,
}


def consistent(mixture: Audio, estimates: Mapping[str, Audio]) -> dict[str, Audio]:
    """Add an equal part of the remainder to each estimate, so that they sum to the mixture.

    No other change that achieves this has less energy (Wisdom et al., "Differentiable consistency
    constraints for improved deep speech enhancement", ICASSP 2019).
    """
    left = mixture - np.sum(list(estimates.values()), axis=0)
    left /= np.float32(len(estimates))
    return {stem: estimate + left for stem, estimate in estimates.items()}


def _by_magnitude(estimates: Sequence[Audio], choose: Choice) -> Audio:
    """Choose one estimate at each point of the spectrogram."""

    def chosen(spectra: Spectrum, frames: slice) -> Spectrum:
        each = spectra.reshape(len(estimates), -1, *spectra.shape[1:])
        return np.asarray(np.take_along_axis(each, choose(np.abs(each))[None], axis=0)[0])

    with progress.told(None):  # the members have reported all the work
        return STFT.filter(chosen, *estimates)
