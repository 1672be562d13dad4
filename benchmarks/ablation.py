"""ASNet's two ablations on demo music: which features, and how many channels at the bottleneck.

Every reading is trained from the same seeds on the same batches and scored on the demo tracks of
the test split, whole tracks, mean SNR over tracks and then over stems.

    python benchmarks/ablation.py                          # 250 steps, two seeds: half an hour
    python benchmarks/ablation.py --steps 20000 --seeds 5  # what a GPU is for
    python benchmarks/ablation.py --data demo_folder       # keep the rendered tracks there

A few hundred steps say how fast a reading learns, not where it ends: the table is labelled with
its steps, and a difference smaller than that between two seeds says nothing.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.machine import cores
from harness.datasets.available import DEMO_TRACKS, DatasetChoice, choose_datasets
from harness.datasets.tracks import Dataset, track_length
from harness.separators.chunked import separate_chunked
from harness.separators.learned import load_network
from harness.separators.networks import count_parameters
from harness.training import RECIPES, Session, train
from harness.training.data import Material, TrainingSong
from harness.training.validation import mean_score, validate

READINGS: dict[str, dict[str, Any]] = {
    "both, 256 channels (default)": {},
    "spectral features": {"features": "spectral"},
    "temporal features": {"features": "temporal"},
    "128 channels": {"bottleneck": 128},
    "512 channels": {"bottleneck": 512},
}
PAPER = {  # mean SDR in dB on MUSDB18-HQ, tables of the ablation
    "both, 256 channels (default)": "11.80",
    "128 channels": "5.03",
    "512 channels": "6.86",
}


def score(network: Any, dataset: Dataset) -> dict[str, float]:
    """Return {stem: mean SNR in dB} over the tracks of a dataset."""
    songs = [TrainingSong(t, dataset.sample_rate, track_length(t)) for t in dataset.tracks]

    def separate(mixture: Any) -> Any:
        return separate_chunked(network, mixture, segment=network.segment, batch=1)[0]

    return validate(Material(songs, network.stems), separate, (2, dataset.sample_rate))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tracks", type=int, default=120, help="of the train split")
    parser.add_argument("--data", type=Path, help="folder for the rendered demo tracks")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = {"demo": options.data or Path(scratch) / "demo"}
        learn, test = (
            choose_datasets(DatasetChoice(root, ["demo"], split, demo_tracks=tracks), cores())[0]
            for split, tracks in (("train", options.tracks), ("test", DEMO_TRACKS))
        )
        print(
            f"{options.steps} steps of {RECIPES['asnet'].batch} excerpts, {options.seeds} seeds, "
            f"{len(learn.tracks)} demo tracks to learn from, {len(test.tracks)} to test on\n"
        )
        print("| ASNet | parameters | SNR by seed, dB | mean | vocals | drums | bass | other | "
              "printed SDR, dB |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
        for reading, changes in READINGS.items():
            print(row(reading, changes, learn, test, Path(scratch), options), flush=True)


def row(
    reading: str,
    changes: dict[str, Any],
    learn: Dataset,
    test: Dataset,
    scratch: Path,
    options: argparse.Namespace,
) -> str:
    """Train one reading from every seed; return its line of the table."""
    base = RECIPES["asnet"]
    recipe = replace(
        base,
        options={**base.options, **changes},
        steps=options.steps,
        validate_every=options.steps,
    )
    found = []
    for seed in range(options.seeds):
        out = scratch / f"{reading}-{seed}"
        outcome = train(recipe, [learn], Session(out, device=options.device, seed=seed))
        network = load_network(outcome.weights)
        found.append(score(network, test))
    means = [mean_score(scores) for scores in found]
    stems = " | ".join(f"{np.mean([scores[s] for scores in found]):.2f}" for s in found[0])
    return (
        f"| {reading} | {count_parameters(network):,} | {', '.join(f'{m:.2f}' for m in means)} "
        f"| {np.mean(means):.2f} | {stems} | {PAPER.get(reading, '–')} |"
    )


if __name__ == "__main__":
    main()
