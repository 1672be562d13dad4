"""Training curves of the networks that come with the package."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

import harness
from harness.report import figures, names

FOLDER = Path(harness.__file__).parent / "checkpoints"


def curves(separators: Collection[str], folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return name, parameters, steps and two charts of each shipped network in a run.

    Parameters
    ----------
    folder
        Holds ``<name>.curves.csv`` (columns step, loss, snr, snr_<stem>) and ``<name>.card.json``.
    """
    found = []
    for path in sorted(folder.glob("*.curves.csv")):
        name = path.name.removesuffix(".curves.csv")
        if name in separators:
            table = pd.read_csv(path)
            card = json.loads((folder / f"{name}.card.json").read_text(encoding="utf-8"))
            found.append(
                {
                    "name": name,
                    "parameters": card["parameters"],
                    "steps": int(table["step"].max()),
                    "figures": [_scores(name, table), _loss(name, table)],
                }
            )
    return found


def _scores(name: str, table: pd.DataFrame) -> Any:
    """Draw the validation SNR, mean and per stem."""
    columns = {"mean": "snr"} | {
        names.stem_label(column.removeprefix("snr_")): column
        for column in map(str, table)
        if column.startswith("snr_")
    }
    return figures.lines(
        {label: _points(table, column) for label, column in columns.items()},
        title=f"Validation SNR of {name} during training",
        across="training step",
        up="validation SNR, dB",
    )


def _loss(name: str, table: pd.DataFrame) -> Any:
    return figures.lines(
        {"loss": _points(table, "loss")},
        title=f"Training loss of {name}",
        across="training step",
        up="loss",
    )


def _points(table: pd.DataFrame, column: str) -> list[tuple[float, float]]:
    """Return the known values of a column by training step."""
    known = table[["step", column]].dropna()
    return list(known.itertuples(index=False, name=None))
