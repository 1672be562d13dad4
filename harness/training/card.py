"""The files beside trained weights: curves as CSV and PNG, and a model card."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from harness.core.files import write_atomic
from harness.core.machine import processor_name
from harness.separators.networks import count_parameters
from harness.training.data import TrainingSong
from harness.training.session import TrainingRun
from harness.training.state import Row
from harness.training.validation import mean_score, mixture_scores

HEAD = ("step", "seconds", "learning_rate", "loss", "gradient_norm", "snr")
Card = Mapping[str, Any]  # as in the JSON file


def model_card(run: TrainingRun, ended: str) -> Card:
    """Return the facts about a run and its weights; recipe and seed train the same weights again.

    Scores are {stem: SNR in dB} on the validation tracks: of these weights, and of the mixture as
    estimate of every stem.
    """
    network: Any = run.state.average
    progress, training = run.state.progress, describe_tracks(run.training.songs)
    return {
        "name": run.recipe.name,
        "network": run.recipe.network,
        "config": network.config(),
        "parameters": count_parameters(network),
        "trained_on": run.trained_on,
        "training": training,
        "validation": describe_tracks(run.validation.songs),
        "steps": progress.step,
        "best_step": progress.best_step,  # the weights are those after this step
        "ended": ended,
        "seconds": round(progress.seconds, 1),  # training and validation, over all sessions
        "hardware": hardware(run.session.device),
        "scores": progress.scores,
        "mixture_scores": mixture_scores(run.validation, (network.channels, network.sample_rate)),
        "recipe": run.recipe.as_dict(),
        "seed": run.session.seed,
    }


def describe_tracks(songs: Sequence[TrainingSong]) -> list[dict[str, Any]]:
    """Return numbers and names of tracks, grouped by dataset and split."""
    groups: dict[tuple[str, str], list[TrainingSong]] = {}
    for song in songs:
        groups.setdefault((song.track.dataset, song.track.split), []).append(song)
    return [
        {
            "dataset": dataset,
            "split": split,
            "tracks": len(group),
            "artists": len({song.track.artist or song.track.name for song in group}),
            "seconds": round(sum(song.seconds for song in group), 1),
            "names": [song.track.name for song in group],
        }
        for (dataset, split), group in sorted(groups.items())
    ]


def hardware(device: str) -> dict[str, str | int]:
    """Return the device, its name, and the number of processors and threads."""
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
    for kind, text in (("json", f"{json.dumps(card, indent=1)}\n"), ("md", as_markdown(card))):
        write_atomic(stem.with_name(f"{stem.name}.card.{kind}"), text.encode())


def as_markdown(card: Card) -> str:
    """Return the card as a page."""
    row = "| {use} | {dataset} | {split} | {tracks} | {artists} | {seconds:.0f} |"
    uses = ("training", "validation")
    scores, floor, used = card["scores"], card["mixture_scores"], card["hardware"]
    means = {"mean": mean_score(scores)}, {"mean": mean_score(floor)}
    values, floors = ({**given, **mean} for given, mean in zip((scores, floor), means, strict=True))
    return _PAGE.format(
        **card,
        used=used,
        data=", ".join(card["trained_on"]),
        groups="\n".join(row.format(use=use, **group) for use in uses for group in card[use]),
        stems="\n".join(
            f"| {stem} | {value:.2f} | {floors.get(stem, float('nan')):.2f} |"
            for stem, value in values.items()
        ),
    )


_PAGE = """\
# {name}

Network `{network}`, {parameters:,} parameters. Trained only on {data}.

| use | dataset | split | tracks | artists | seconds |
|---|---|---|---|---|---|
{groups}

SNR in dB of whole tracks, mean over the validation tracks. Their artists are not in the training \
tracks. The best step was chosen on the same tracks.

| stem | this network | mixture as estimate |
|---|---|---|
{stems}

{steps:,} steps ({ended}; weights of step {best_step:,}) in {seconds:,.0f} s on {used[name]}, \
{used[threads]} threads, torch {used[torch]}. Seed {seed}.

Recipe, configuration and names of all tracks are in the JSON file beside this one.
"""


def write_curves(path: Path, rows: Sequence[Row]) -> None:
    """Write the curves as CSV; score cells are empty in rows without a validation."""
    stems = sorted({key for row in rows for key in row} - set(HEAD))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [*HEAD, *stems], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode())


def draw_curves(path: Path, rows: Sequence[Row]) -> str:
    """Draw loss and validation SNR over steps as PNG; return a note if that is not possible."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return f"{path.name}: not drawn, matplotlib is absent; run pip install 'mss-harness[train]'"
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
