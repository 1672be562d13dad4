"""``harness train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import options
from harness.cli.arguments import parse_data
from harness.cli.options import argument, flag, option
from harness.cli.terminal import errors, progress
from harness.core.machine import choose_device, cores
from harness.datasets.available import DatasetChoice, choose_datasets

DEMO_TRAINING_TRACKS = 120  # rendered for training if --tracks is not given

Recipe = Annotated[str, argument("RECIPE", "Name of a recipe, or a YAML file with one.")]
Steps = Annotated[
    int | None, option("--steps N", "Number of training steps.", "from the recipe", min=1)
]
SecondsBudget = Annotated[
    float | None,
    option(
        "--seconds-budget N",
        "Stop after N seconds; continue later with --resume.",
        "no limit",
        min=1.0,
    ),
]
Seed = Annotated[int, option("--seed N", "Seed of the random numbers.")]
Out = Annotated[
    Path | None,
    option("--out FOLDER", "Folder for weights, curves and model card.", "training/RECIPE"),
]
Resume = Annotated[
    bool, flag("--resume", "Continue an earlier training from its last saved state.")
]


def train(
    name: Recipe,
    data: options.Data = [],  # noqa: B006
    dataset: options.Dataset = [],  # noqa: B006
    split: options.Split = "train",
    tracks: options.Tracks = None,
    steps: Steps = None,
    seconds_budget: SecondsBudget = None,
    device: options.Device = "auto",
    seed: Seed = 0,
    out: Out = None,
    resume: Resume = False,
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
    session = training.Session(
        out or Path("training") / recipe.name,
        device=choose_device(device, learned=True),
        seed=seed,
        seconds=seconds_budget,
        resume=resume,
    )
    with progress("training", quiet=False) as advance:
        outcome = training.train(recipe, found, session, progress=advance, say=errors.print)
    scores = ", ".join(f"{stem} {value:.2f} dB" for stem, value in outcome.scores.items())
    errors.print(f"{outcome.ended} after {outcome.steps} steps; validation SNR: {scores or 'none'}")
    typer.echo(outcome.weights)
