"""Separators with trained weights of this project's networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from torch import nn

from harness import weights as checkpoints
from harness.audio import Audio
from harness.errors import HarnessError
from harness.networks import NETWORKS, Network
from harness.registry import suggestion
from harness.separators import progress
from harness.separators.chunked import separate_chunked


class Learned:
    """One or more networks, run in chunks.

    Parameters
    ----------
    sample_rate, stems
        What is wanted; the networks must have been made for it.
    input_stem
        What they take apart.
    weights
        Checkpoints in safetensors, each with its ``network`` and ``config``; together they give
        the stems, each stem once.
    sha256
        Of each of them, where known.
    device
        ``cpu``, ``cuda``, ``mps``.
    segment_seconds
        Length of a chunk; None takes the one each network was trained on.
    overlap, batch, mixed
        See `harness.separators.chunked.separate_chunked`. The CPU takes chunks one by one, so its
        estimates do not depend on the batch at all.

    Attributes
    ----------
    notes
        What was done otherwise than asked for in the last call of `separate`.
    """

    def __init__(
        self,
        sample_rate: int = 44100,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        input_stem: str = "mixture",
        *,
        weights: Sequence[Path | str],
        sha256: Sequence[str | None] | None = None,
        device: str = "cpu",
        segment_seconds: float | None = None,
        overlap: float = 0.25,
        batch: int = 4,
        mixed: bool = False,
    ) -> None:
        self.sample_rate, self.stems, self.input_stem = sample_rate, tuple(stems), input_stem
        hashes = sha256 or [None] * len(weights)
        self.networks = [
            self._load(Path(path), known) for path, known in zip(weights, hashes, strict=True)
        ]
        self.notes: list[str] = []
        self._segment = segment_seconds and round(segment_seconds * sample_rate)
        self._options: dict[str, Any] = {
            "overlap": overlap,
            "batch": 1 if device == "cpu" else batch,
            "device": device,
            "mixed": mixed,
        }
        self._check([str(path) for path in weights])

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        self.notes = []
        estimates: dict[str, Audio] = {}
        for i, module in enumerate(self.networks):
            network = _interface(module)
            segment = self._segment or network.segment
            with progress.part(i, len(self.networks)):
                found, notes = separate_chunked(module, audio, segment=segment, **self._options)
            estimates |= dict(zip(network.stems, found, strict=True))
            self.notes += [note for note in notes if note not in self.notes]
        return {stem: estimates[stem] for stem in self.stems}

    def _load(self, path: Path, sha256: str | None) -> nn.Module:
        """Build the network of one file."""
        return load_network(path, sha256=sha256)

    def _check(self, files: Sequence[str]) -> None:
        """Refuse networks that are not for the wanted stems and sample rate."""
        given: dict[str, str] = {}
        for file, module in zip(files, self.networks, strict=True):
            network = _interface(module)
            if network.sample_rate != self.sample_rate:
                raise HarnessError(
                    f"{file}: made for {network.sample_rate} Hz, not {self.sample_rate}; "
                    "correct the entry's sample_rate"
                )
            for stem in network.stems:
                if stem in given:
                    raise HarnessError(f"{stem}: {given[stem]} and {file} both give it; choose one")
                given[stem] = file
        if missing := [stem for stem in self.stems if stem not in given]:
            raise HarnessError(
                f"{', '.join(files)}: no {missing[0]!r}, only {', '.join(sorted(given))}; "
                "correct the entry's stems"
            )


def load_network(path: Path, *, sha256: str | None = None, size: int | None = None) -> nn.Module:
    """Build the network of a checkpoint of ours and give it its weights, in evaluation mode.

    Raises
    ------
    HarnessError
        If the checkpoint is not one of ours, or does not fit the network it names.
    """
    checkpoint = checkpoints.load(path, sha256=sha256, size=size)
    name, config = checkpoint.metadata.get("network"), checkpoint.metadata.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        raise HarnessError(f"{path}: names no network; use a checkpoint that harness has written")
    if name not in NETWORKS:
        raise HarnessError(f"{path}: unknown network {name!r}; {suggestion(name, NETWORKS)}")
    try:
        module = NETWORKS[name](**config)
        module.load_state_dict(checkpoint.state)
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HarnessError(
            f"{path}: does not fit the network {name} ({reason}); train or fetch it again"
        ) from error
    return module.eval()


def _interface(module: nn.Module) -> Network:
    """See a module as what every network offers."""
    return cast(Network, module)
