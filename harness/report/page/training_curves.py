"""Training curves of the networks that come with the package."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

import harness
from harness.report import figures, names
from harness.report.computed import records

FOLDER = Path(harness.__file__).parent / "checkpoints"


def curves(separators: Collection[str], folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return name, parameters, steps and two charts of each shipped network in a run.

    `folder` holds ``<name>.curves.csv`` (columns step, loss, snr, snr_<stem>; in dB) and
    ``<name>.card.json``.
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
                    "figures": [_draw(name, table, *chart) for chart in _charts(table)],
                }
            )
    return found


def _charts(table: pd.DataFrame) -> Iterator[tuple[dict[str, str], str, str]]:
    """Yield {label: column}, title and axis of the charts: the scores and the loss."""
    stems = [str(column) for column in table if str(column).startswith("snr_")]
    by_stem = {names.stem_label(column.removeprefix("snr_")): column for column in stems}
    yield {"mean": "snr"} | by_stem, "Validation SNR of {} during training", "validation SNR, dB"
    yield {"loss": "loss"}, "Training loss of {}", "loss"


def _draw(name: str, table: pd.DataFrame, columns: dict[str, str], title: str, up: str) -> Markup:
    """Draw the known values of columns by training step."""
    known = {label: table[["step", column]].dropna() for label, column in columns.items()}
    series = {label: list(records(rows, *rows.columns)) for label, rows in known.items()}
    return figures.lines(series, title=title.format(name), across="training step", up=up)
