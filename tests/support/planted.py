"""Separators whose behaviour is known, for tests: families of `FAMILIES` while a test runs."""

import sys
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from harness.separators import progress


@dataclass(kw_only=True)
class Echo:
    """Give the input times `gain` as every stem."""

    sample_rate: int
    stems: tuple[str, ...]
    input_stem: str = "mixture"
    gain: float = 1.0
    seen: ClassVar[list[tuple[int, int]]] = []

    def separate(self, audio):
        self.seen.append(audio.shape)
        return {stem: np.float32(self.gain) * audio for stem in self.stems}


class Telling(Echo):
    """Tell of half the work, then of all."""

    def separate(self, audio):
        progress.tell(0.5)
        progress.tell(1.0)
        return super().separate(audio)


@dataclass(kw_only=True)
class Faulty(Echo):
    """Go wrong as `fault` says."""

    fault: str = "raise"
    extra: dict = field(default_factory=dict)

    def separate(self, audio):
        good = {stem: audio.copy() for stem in self.stems}
        if self.fault == "raise":
            raise RuntimeError("weights are\n gone")
        if self.fault == "exit":
            sys.exit(1)
        if self.fault == "nan":
            good[self.stems[0]][0, 3] = np.nan
        if self.fault == "missing":
            del good[self.stems[0]]
        if self.fault == "transposed":
            good[self.stems[0]] = audio.T
        if self.fault == "short":
            good = {stem: x[:, :-100] for stem, x in good.items()}
        if self.fault == "cut":
            good = {stem: x[:, : x.shape[1] // 2] for stem, x in good.items()}
        if self.fault == "in place":
            audio *= 0
            good = dict.fromkeys(self.stems, audio)
        return good
