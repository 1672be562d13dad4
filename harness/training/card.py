"""What a run leaves beside its weights: curves as CSV and PNG, and a model card."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from harness.cache import write_atomic
from harness.machine import processor_name
from harness.training.data import Song
from harness.training.state import Row
from harness.training.validation import mean_score

HEAD = ("step", "seconds", "learning_rate", "loss", "gradient_norm", "snr")


@dataclass(frozen=True)
class Tracks:
    """Tracks of one split of a dataset, in numbers and by name."""

    dataset: str
    split: str
    tracks: int
    artists: int
    seconds: float
    names: tuple[str, ...]


@dataclass(frozen=True)
class Card:
    """A model card.

    Attributes
    ----------
    name, network, config, parameters
        What was trained, and the number of trained values.
    trained_on
        ``dataset:split``, as the registry has it.
    training, validation
        The tracks; no artist is in both.
    steps, best_step, ended
        Steps done, the step whose averaged weights were kept, and why there are no more.
    seconds, hardware
        Time spent in training and validation, over all sittings, and on what.
    scores, mixture_scores
        {stem: SNR in dB} on the validation tracks: of these weights, and of the mixture taken for
        every stem.
    recipe, seed
        What to give to train the same again.
    """

    name: str
    network: str
    config: Mapping[str, Any]
    parameters: int
    trained_on: tuple[str, ...]
    training: tuple[Tracks, ...]
    validation: tuple[Tracks, ...]
    steps: int
    best_step: int
    ended: str
    seconds: float
    hardware: Mapping[str, str | int]
    scores: Mapping[str, float]
    mixture_scores: Mapping[str, float]
    recipe: Mapping[str, Any]
    seed: int


def describe_tracks(songs: Sequence[Song]) -> tuple[Tracks, ...]:
    """Group songs by dataset and split."""
    groups: dict[tuple[str, str], list[Song]] = {}
    for song in songs:
        groups.setdefault((song.track.dataset, song.track.split), []).append(song)
    return tuple(
        Tracks(
            dataset,
            split,
            len(group),
            len({song.track.artist or song.track.name for song in group}),
            round(sum(song.seconds for song in group), 1),
            tuple(song.track.name for song in group),
        )
        for (dataset, split), group in sorted(groups.items())
    )


def hardware(device: str) -> dict[str, str | int]:
    """Return what the run used."""
    name = torch.cuda.get_device_name() if device == "cuda" else processor_name()
    return {
        "device": device,
        "name": name,
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def write_card(stem: Path, card: Card) -> None:
    """Write ``<stem>.card.json`` and ``<stem>.card.md``."""
    text = json.dumps(asdict(card), indent=1)
    write_atomic(stem.with_name(f"{stem.name}.card.json"), f"{text}\n".encode())
    write_atomic(stem.with_name(f"{stem.name}.card.md"), as_markdown(card).encode())


def as_markdown(card: Card) -> str:
    """Return the card as a page."""
    tracks = [
        f"| {use} | {t.dataset} | {t.split} | {t.tracks} | {t.artists} | {t.seconds:.0f} |"
        for use, group in (("training", card.training), ("validation", card.validation))
        for t in group
    ]
    stems = [
        f"| {stem} | {value:.2f} | {card.mixture_scores.get(stem, float('nan')):.2f} |"
        for stem, value in card.scores.items()
    ]
    mean = f"| mean | {mean_score(card.scores):.2f} | {mean_score(card.mixture_scores):.2f} |"
    return "\n".join(
        [
            f"# {card.name}",
            "",
            f"Network `{card.network}`, {card.parameters:,} parameters. "
            f"Trained on {', '.join(card.trained_on)} and on nothing else.",
            "",
            "| use | dataset | split | tracks | artists | seconds |",
            "|---|---|---|---|---|---|",
            *tracks,
            "",
            "SNR in dB on the validation tracks, whole tracks, mean over tracks; no artist of them "
            "was trained on. The best step was chosen on the same tracks.",
            "",
            "| stem | this network | mixture as estimate |",
            "|---|---|---|",
            *stems,
            mean,
            "",
            f"{card.steps:,} steps ({card.ended}; weights of step {card.best_step:,}) in "
            f"{card.seconds:,.0f} s on {card.hardware['name']}, {card.hardware['threads']} "
            f"threads, torch {card.hardware['torch']}. Seed {card.seed}.",
            "",
            "Recipe, configuration and names of all tracks are in the JSON file beside this one.",
            "",
        ]
    )


def write_curves(path: Path, rows: Sequence[Row]) -> None:
    """Write the curves as CSV; a cell is empty where there was no validation."""
    stems = sorted({key for row in rows for key in row} - set(HEAD))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*HEAD, *stems], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def draw_curves(path: Path, rows: Sequence[Row]) -> str:
    """Draw loss and validation SNR over steps as PNG; return why not where it cannot be done."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return f"{path.name}: not drawn, matplotlib is absent; pip install 'harness[train]'"
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw(left, rows, ["loss"])
    _draw(right, rows, sorted({key for row in rows for key in row if key.startswith("snr")}))
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel="validation SNR (dB)")
    if right.lines:
        right.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomic(path, content.getvalue())
    return ""


def _draw(axes: Any, rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Draw columns over steps."""
    for key in keys:
        points = [(row["step"], row[key]) for row in rows if key in row]
        label = "mean" if key == "snr" else key.removeprefix("snr_")
        axes.plot(*zip(*points, strict=True), label=label, linewidth=2 if key == "snr" else 1)
    axes.grid(alpha=0.3)
