"""``harness train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.cli import options
from harness.cli.arguments import parse_data
from harness.cli.options import argument, flag, option
from harness.cli.outcome import say_left_out
from harness.cli.terminal import progress, say, show
from harness.core.machine import choose_device, cores
from harness.datasets.available import DatasetChoice, choose_datasets

DEMO_TRAINING_TRACKS = 120  # rendered for training if --tracks is not given


def train(
    name: str = argument("RECIPE", ..., "Name of a recipe, or a YAML file with one."),
    data: list[str] = options.DATA,
    dataset: list[str] = options.DATASET,
    split: str = option("--split SPLIT", "train", "Split to train on: train, valid, test or all."),
    tracks: int | None = options.TRACKS,
    steps: int | None = option(
        "--steps N", None, "Number of training steps.", "from the recipe", min=1
    ),
    seconds_budget: float | None = option(
        "--seconds-budget N",
        None,
        "Stop after N seconds; continue later with --resume.",
        "no limit",
        min=1.0,
    ),
    device: str = options.DEVICE,
    seed: int = option("--seed N", 0, "Seed of the random numbers."),
    out: Path | None = option(
        "--out FOLDER", None, "Folder for weights, curves and model card.", "training/RECIPE"
    ),
    start_from: Path | None = option(
        "--start-from FILE", None, "Begin with these weights of the same network.", "random weights"
    ),
    resume: bool = flag("--resume", "Continue an earlier training from its last saved state."),
    offline: bool = options.OFFLINE,
) -> None:
    """Train a network of this project.

    Add --resume to continue an interrupted training; the result is the same.
    """
    from harness import training

    recipe = training.find_recipe(name)
    if steps:
        recipe = replace(recipe, steps=steps)
    choice = DatasetChoice(parse_data(data), dataset, split, tracks, DEMO_TRAINING_TRACKS)
    with progress("rendering the demo tracks", quiet=False) as advance:
        found = choose_datasets(choice, cores(), advance)
    say_left_out(omission for dataset in found for omission in dataset.omitted)
    session = training.Session(
        out or Path("training") / recipe.name,
        device=choose_device(device, learned=True),
        seed=seed,
        seconds=seconds_budget,
        start=start_from,
        resume=resume,
    )
    with progress("training", quiet=False) as advance:
        outcome = training.train(recipe, found, session, progress=advance, say=say)
    scores = ", ".join(f"{stem} {value:.2f} dB" for stem, value in outcome.scores.items())
    say(f"{outcome.ended} after {outcome.steps} steps; validation SNR: {scores or 'none'}")
    show(outcome.weights)
