"""What all separators with trained networks share, and the one for networks of this project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints as checkpoints
from harness.separators import progress
from harness.separators.chunked import Estimates, separate_chunked
from harness.separators.networks import NETWORKS


class Networked:
    """The keywords of every learned separator, and the checks that networks fit an entry.

    Parameters
    ----------
    sample_rate, stems, input_stem
        What is wanted; the networks must have been made for it.
    weights
        Files of the networks.
    sha256
        The hash of each file, where known; a pickle is not opened without one.
    device
        ``cpu``, ``cuda``, ``mps``.
    overlap, batch, mixed
        See `harness.separators.chunked.separate_chunked`. The CPU runs one chunk at a time, so
        its estimates do not depend on the batch at all.

    Attributes
    ----------
    files
        (path, hash) of each file.
    notes
        What differed from the request in the last call of `separate`.
    """

    networks: Sequence[Any]

    def __init__(
        self,
        sample_rate: int,
        stems: Sequence[str],
        input_stem: str,
        *,
        weights: Sequence[Path | str],
        sha256: Sequence[str | None] | None = None,
        device: str = "cpu",
        overlap: float = 0.25,
        batch: int = 4,
        mixed: bool = False,
    ) -> None:
        self.sample_rate, self.stems, self.input_stem = sample_rate, tuple(stems), input_stem
        hashes = sha256 or [None] * len(weights)
        self.files = list(zip(map(Path, weights), hashes, strict=True))
        self.notes: list[str] = []
        self._chunks: dict[str, Any] = {
            "overlap": overlap,
            "batch": 1 if device == "cpu" else batch,
            "device": device,
            "mixed": mixed,
        }

    def chunked(self, network: nn.Module, audio: Audio, segment: int, **options: Any) -> Estimates:
        """Run one network over a signal in chunks; its notes are kept, each once."""
        found, notes = separate_chunked(network, audio, segment=segment, **self._chunks, **options)
        self.notes += [note for note in notes if note not in self.notes]
        return found

    def check_rate(self, where: object, rate: int) -> None:
        """Refuse a network for another sample rate."""
        if rate != self.sample_rate:
            raise HarnessError(
                f"{where}: made for {rate} Hz, not {self.sample_rate}; "
                "correct the entry's sample_rate"
            )

    def check_stems(
        self, where: object, given: Iterable[str], wanted: Iterable[str] | None = None
    ) -> None:
        """Refuse networks that lack a stem; by default the entry's stems are wanted."""
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

    Parameters
    ----------
    segment_seconds
        Length of a chunk; None takes the one each network was trained on.
    options
        See `Networked`. Together the networks return the stems, each stem once.
    """

    def __init__(
        self,
        sample_rate: int = 44100,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        input_stem: str = "mixture",
        *,
        segment_seconds: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(sample_rate, stems, input_stem, **options)
        self.networks = [self._load(path, known) for path, known in self.files]
        self._segment = segment_seconds and round(segment_seconds * sample_rate)
        self._check()

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        self.notes = []
        estimates: dict[str, Audio] = {}
        for i, network in enumerate(self.networks):
            with progress.part(i, len(self.networks)):
                found = self.chunked(network, audio, self._segment or network.segment)
            estimates |= dict(zip(network.stems, found, strict=True))
        return {stem: estimates[stem] for stem in self.stems}

    def _load(self, path: Path, sha256: str | None) -> Any:
        return load_network(path, sha256=sha256)

    def _check(self) -> None:
        """Refuse networks that do not make up the wanted stems."""
        given: dict[str, Path] = {}
        for (path, _), network in zip(self.files, self.networks, strict=True):
            self.check_rate(path, network.sample_rate)
            for stem in network.stems:
                if stem in given:
                    raise HarnessError(
                        f"{stem}: {given[stem]} and {path} both return it; choose one"
                    )
                given[stem] = path
        self.check_stems(", ".join(str(path) for path, _ in self.files), sorted(given))


def load_network(path: Path, *, sha256: str | None = None, size: int | None = None) -> nn.Module:
    """Build the network of one of our checkpoints with its weights, in evaluation mode."""
    checkpoint = checkpoints.load(path, sha256=sha256, size=size)
    name, config = checkpoint.metadata.get("network"), checkpoint.metadata.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise HarnessError(f"{path}: names no network; use a checkpoint that harness has written")
    if name not in NETWORKS:
        raise HarnessError(f"{path}: unknown network {name!r}; {suggestion(name, NETWORKS)}")
    with fitting(path, f"the network {name}", "train or fetch it again"):
        module = NETWORKS[name](**config)
        module.load_state_dict(checkpoint.state)
    return module.eval()
