"""Demucs and its descendants, through the classes of the ``demucs`` package.

Checkpoints are read as their authors publish them, by `harness.separators.checkpoints` and offline:
packages of class, arguments and tensors, as ``.th`` or ``.safetensors``. Chunks, their padding and
the normalisation are those of demucs' own program; so are the estimates.

References
----------
Défossez, Usunier, Bottou & Bach, "Music Source Separation in the Waveform Domain", 2019.
Défossez, "Hybrid Spectrogram and Waveform Source Separation", MDX workshop at ISMIR 2021.
Rouard, Massa & Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023.
"""

from __future__ import annotations

import importlib
import inspect
import json
import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import checkpoints, progress
from harness.separators.chunked import Estimates
from harness.separators.learned import Networked, fitting

EPSILON = 1e-8  # added to the deviation of a track, which may be silent
LONGEST_DELAY = 0.5  # seconds


class Demucs(Networked):
    """One model of the Demucs family, or a bag of several.

    `names` maps a model's names of stems to ours, where they differ. `bag` has for each file
    {stem: its weight in the mean over the files}; without it all files weigh the same. A chunk has
    `segment` seconds, by default the model's own, which a transformer cannot exceed. With `shifts`
    the result is the mean over so many separations of the track, each delayed by a random part of
    half a second; the delays are the same in every call.
    """

    stems = ("drums", "bass", "other", "vocals")

    def __init__(
        self,
        *wanted: Any,
        names: Mapping[str, str] | None = None,
        bag: Sequence[Mapping[str, float]] | None = None,
        segment: float | None = None,
        shifts: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(*wanted, **options)
        self.networks = [load_model(path, sha256=known) for path, known in self.files]
        self._names, self._segment, self._shifts = dict(names or {}), segment, shifts
        self._bag = bag or [dict.fromkeys(self.stems, 1.0) for _ in self.networks]
        self._check(", ".join(path.name for path, _ in self.files))

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        mixture = signals.to_channels(audio, self.networks[0].audio_channels, "demucs")
        mono = mixture.mean(axis=0)
        mean, deviation = mono.mean(), mono.std(ddof=min(1, mono.size - 1)) + EPSILON
        mixture = (mixture - mean) / deviation
        delays = random.Random(0)
        total: dict[str, Audio] = {}
        for i, (network, weights) in enumerate(zip(self.networks, self._bag, strict=True)):
            wanted = [stem for stem in self.stems if weights.get(stem)]
            part = _Part(network, [self._sources(network).index(stem) for stem in wanted])
            with progress.part(i, len(self.networks)):
                found = self._shifted(part, mixture, delays)
            for stem, estimate in zip(wanted, found, strict=True):
                estimate *= weights[stem] / self._total_weight(stem) * deviation
                estimate += total.get(stem, mean)
                total[stem] = estimate
        return total

    def _shifted(self, part: _Part, mixture: Audio, delays: random.Random) -> Estimates:
        """Return the mean over the delayed separations."""
        if not self._shifts:
            return self._once(part, mixture)
        longest = int(LONGEST_DELAY * self.sample_rate)
        total = np.zeros((len(part.chosen), *mixture.shape), np.float32)
        for i in range(self._shifts):
            delay = longest - delays.randint(0, longest)
            delayed = np.pad(mixture, ((0, 0), (delay, 0)))
            with progress.part(i, self._shifts):
                total += self._once(part, delayed)[..., delay:]
        total /= self._shifts
        return total

    def _once(self, part: _Part, mixture: Audio) -> Estimates:
        """Run one network over a track."""
        network = part.network
        samples = int(self.sample_rate * (self._segment or network.segment))
        fill: Callable[[int], int] = getattr(network, "valid_length", lambda given: given)
        if self._segment and _of_one_length(network):
            fill = lambda _: samples  # noqa: E731
        return self.chunked(part, mixture, samples, fill=fill)

    def _sources(self, network: Any) -> list[str]:
        """Return our names of a network's outputs, in its order."""
        return [self._names.get(source, source) for source in network.sources]

    def _total_weight(self, stem: str) -> float:
        return sum(weights.get(stem, 0.0) for weights in self._bag)

    def _check(self, files: str) -> None:
        """Refuse models and a bag that do not fit the entry."""
        if len(self._bag) != len(self.networks):
            raise HarnessError(
                f"{files}: {len(self._bag)} rows in the bag for {len(self.networks)} files; "
                "write one row per file"
            )
        for network, weights in zip(self.networks, self._bag, strict=True):
            self.check_fit(files, network.samplerate, self._sources(network), weights)
            if (self._segment or 0) > float(network.segment) and _of_one_length(network):
                raise HarnessError(
                    f"{files}: a segment of {self._segment} s is longer than the "
                    f"{float(network.segment)} s it was trained on; use at most that"
                )
        if absent := [stem for stem in self.stems if self._total_weight(stem) <= 0]:
            raise HarnessError(
                f"{files}: no network of the bag returns {absent[0]!r}; give it a weight above 0"
            )


def _of_one_length(network: nn.Module) -> bool:
    """Whether a network needs chunks of the length it was trained on, as transformers do."""
    return hasattr(network, "use_train_segment")


class _Part(nn.Module):
    """Some outputs of a model."""

    def __init__(self, network: nn.Module, chosen: Sequence[int]) -> None:
        super().__init__()
        self.network: Any = network
        self.chosen = list(chosen)

    def forward(self, mixture: Tensor) -> Tensor:
        """Return (batch, chosen, channels, samples)."""
        estimates: Tensor = self.network(mixture)
        return estimates[:, self.chosen]


def load_model(path: Path, *, sha256: str | None = None) -> Any:
    """Build the model of a published checkpoint with its weights, in evaluation mode.

    The file is ``.th`` as demucs 1 to 4 write it, or ``.safetensors`` as demucs 4.1 does. The model
    is a class of the demucs package, in 32 bits.
    """
    checkpoint = checkpoints.load(path, sha256=sha256)
    klass, args, kwargs = _package(checkpoint.metadata, path)
    with fitting(path, f"{klass.__name__} of demucs", "fetch it again"):
        model = klass(*args, **kwargs)
        model.load_state_dict(checkpoints.named_for(model, checkpoint.state))
    return model.eval()


def _package(metadata: Mapping[str, Any], path: Path) -> tuple[Any, list[Any], dict[str, Any]]:
    """Return the class named in a checkpoint, and its arguments."""
    name, args, kwargs = (metadata.get(key) for key in ("klass", "args", "kwargs"))
    if isinstance(name, type):
        name = f"{name.__module__}.{name.__name__}"
    if isinstance(args, str) and isinstance(kwargs, str):  # safetensors
        try:
            args, kwargs = (json.loads(text, object_hook=_fraction) for text in (args, kwargs))
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise HarnessError(f"{path}: its arguments are not JSON; fetch it again") from error
    if (
        name not in checkpoints.STAND_INS
        or not isinstance(args, (list, tuple))
        or not isinstance(kwargs, dict)
    ):
        raise HarnessError(
            f"{path}: is not a package of demucs; its klass must be one of "
            f"{', '.join(checkpoints.STAND_INS)}, with args and kwargs"
        )
    module, _, short = str(name).rpartition(".")
    klass = getattr(importlib.import_module(module), short)
    known = inspect.signature(klass).parameters  # demucs drops those of older versions, too
    return klass, list(args), {key: value for key, value in kwargs.items() if key in known}


def _fraction(value: dict[str, Any]) -> Any:
    """Read a fraction in demucs' JSON."""
    if value.get("_type") == "fraction":
        return Fraction(value["numerator"], value["denominator"])
    return value
