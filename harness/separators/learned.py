"""What all separators with trained networks share, and the one for networks of this project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints, progress
from harness.separators.chunked import Estimates, separate_chunked
from harness.separators.networks import NETWORKS


class Networked:
    """What every learned separator takes, and the checks that networks fit an entry."""

    stems: tuple[str, ...] = ("vocals", "drums", "bass", "other")  # in a subclass: its default
    networks: Sequence[Any]
    files: list[tuple[Path, str | None]]  # path and hash of each file
    notes: list[str]  # what differed from the request in the last call of `separate`

    def __init__(
        self,
        sample_rate: int = 44100,
        stems: Sequence[str] = (),
        input_stem: str = "mixture",
        *,
        weights: Sequence[Path | str],
        sha256: Sequence[str | None] | None = None,  # of each file; pickles need one
        device: str = "cpu",
        overlap: float = 0.25,  # this and the next two: see `separate_chunked`
        batch: int = 4,  # on a CPU 1, so that no estimate depends on it
        mixed: bool = False,
    ) -> None:
        self.sample_rate, self.input_stem = sample_rate, input_stem
        self.stems = tuple(stems) or self.stems
        hashes = sha256 or [None] * len(weights)
        self.files = list(zip(map(Path, weights), hashes, strict=True))
        self.notes = []
        batch = 1 if device == "cpu" else batch
        self._chunks: dict[str, Any] = {
            "overlap": overlap,
            "batch": batch,
            "device": device,
            "mixed": mixed,
        }

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        self.notes = []
        found = self._separate(audio)
        return {s: signals.to_channels(found[s], audio.shape[0], s) for s in self.stems}

    def _separate(self, audio: Audio) -> Mapping[str, Audio]:
        """Return estimates of at least the stems, with any number of channels."""
        raise NotImplementedError

    def chunked(self, network: nn.Module, audio: Audio, segment: int, **options: Any) -> Estimates:
        """Run one network over a signal in chunks; its notes are kept, each once."""
        found, notes = separate_chunked(network, audio, segment=segment, **self._chunks, **options)
        self.notes += [note for note in notes if note not in self.notes]
        return found

    def check_fit(
        self, where: object, rate: int, given: Iterable[str], wanted: Iterable[str] | None = None
    ) -> None:
        """Refuse a network for another sample rate, or without a wanted stem: by default ours."""
        if rate != self.sample_rate:
            raise HarnessError(
                f"{where}: made for {rate} Hz, not {self.sample_rate}; "
                "correct the entry's sample_rate"
            )
        given = list(given)
        for stem in self.stems if wanted is None else wanted:
            if stem not in given:
                raise HarnessError(
                    f"{where}: no {stem!r}, only {', '.join(given)}; "
                    "correct the entry's stems or names"
                )


@contextmanager
def fitting(path: Path, what: str, advice: str) -> Iterator[None]:
    """Turn whatever goes wrong while a network is built and filled into one error."""
    try:
        yield
    except (TypeError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        raise HarnessError(f"{path}: does not fit {what} ({reason(error)}); {advice}") from error


def reason(error: BaseException) -> str:
    """Return the beginning of an error's text, in one line."""
    return " ".join(str(error).split())[:200]


class Learned(Networked):
    """One or more networks of this project, from safetensors that name ``network`` and ``config``.

    Together they return the stems, each stem once. A chunk has `segment_seconds`, by default what
    each network was trained on.
    """

    def __init__(self, *wanted: Any, segment_seconds: float | None = None, **options: Any) -> None:
        super().__init__(*wanted, **options)
        self.networks = [self._load(path, known) for path, known in self.files]
        self._segment = segment_seconds and round(segment_seconds * self.sample_rate)
        given: dict[str, Path] = {}
        for (path, _), network in zip(self.files, self.networks, strict=True):
            self.check_fit(path, network.sample_rate, network.stems, wanted=())
            for stem in network.stems:
                if stem in given:
                    raise HarnessError(
                        f"{stem}: {given[stem]} and {path} both return it; choose one"
                    )
                given[stem] = path
        paths = ", ".join(str(path) for path, _ in self.files)
        self.check_fit(paths, self.sample_rate, sorted(given))

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        estimates: dict[str, Audio] = {}
        for i, network in enumerate(self.networks):
            with progress.part(i, len(self.networks)):
                found = self.chunked(network, audio, self._segment or network.segment)
            estimates |= dict(zip(network.stems, found, strict=True))
        return estimates

    def _load(self, path: Path, sha256: str | None) -> nn.Module:
        return load_network(path, sha256=sha256)


def load_network(path: Path, *, sha256: str | None = None) -> nn.Module:
    """Build the network of one of our checkpoints with its weights, in evaluation mode."""
    checkpoint = checkpoints.load(path, sha256=sha256)
    name, config = checkpoint.metadata.get("network"), checkpoint.metadata.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise HarnessError(f"{path}: names no network; use a checkpoint that harness has written")
    if name not in NETWORKS:
        raise HarnessError(f"{path}: unknown network {name!r}; {suggestion(name, NETWORKS)}")
    with fitting(path, f"the network {name}", "train or fetch it again"):
        module = NETWORKS[name](**config)
        module.load_state_dict(checkpoints.named_for(module, checkpoint.state))
    return module.eval()
