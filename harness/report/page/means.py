"""SNR and SDR side by side, by separator and by genre: pictures of a dataset's first table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from harness.report import figures, names
from harness.report.page.cells import PLACES

Json = Mapping[str, Any]
PAIR = ("snr", "sdr")
_MEAN, _RANK, _LOW, _HIGH = (PLACES.index(name) for name in ("mean", "rank", "low", "high"))


def by_separator(dataset: Json) -> list[tuple[str, Markup]]:
    """Return per stem of the first table a picture of SNR and SDR by separator.

    Parameters
    ----------
    dataset
        As from `harness.report.page.payload.build`.
    """
    found = []
    for stem in _stems(dataset):
        cells = [dataset["summary"][metric].get(stem, {}).get("cells", {}) for metric in PAIR]
        rows = [i for i in _order(dataset) if any(i in part for part in cells)]
        series = {
            metric.upper(): [_span(part.get(i), _MEAN, _LOW, _HIGH) for i in rows]
            for metric, part in zip(PAIR, cells, strict=True)
        }
        labels = [dataset["rows"][i]["separator"] for i in rows]
        title = f"SNR and SDR of {names.stem_label(stem)} on {dataset['name']}, by separator"
        picture = figures.spans(labels, series, title=title, axis="mean over tracks, dB")
        found.append((stem, picture))
    return found


def by_genre(dataset: Json) -> list[tuple[str, str, Markup]]:
    """Return per stem of the first table its best separator, and its SNR and SDR by genre."""
    found = []
    for stem in _stems(dataset):
        best = best_row(dataset, stem, "mixture")
        parts = [dataset["genres"][metric].get(stem, {}) for metric in PAIR]
        genres = [genre for genre in parts[0] if best in parts[0][genre]]
        if best is None or len(genres) < 2:
            continue
        series = {
            metric.upper(): [_span(part.get(genre, {}).get(best), 0, 3, 4) for genre in genres]
            for metric, part in zip(PAIR, parts, strict=True)
        }
        counts = [f"{genre} ({parts[0][genre][best][2]})" for genre in genres]
        name = dataset["rows"][best]["separator"]
        title = f"SNR and SDR of {names.stem_label(stem)} by {name} on {dataset['name']}, by genre"
        picture = figures.spans(counts, series, title=title, axis="mean over tracks, dB")
        found.append((stem, name, picture))
    return found


def best_row(dataset: Json, stem: str, source: str) -> int | None:
    """Return the ranked row with the best mean of a stem among those with one input, or none.

    `source` may end in ``:`` for all inputs that begin so.
    """
    metric = next(iter(dataset["summary"]), "")
    cells = dataset["summary"].get(metric, {}).get(stem, {}).get("cells", {})

    def fits(row: int) -> bool:
        given = dataset["rows"][row]["input"]
        return bool(given.startswith(source) if source.endswith(":") else given == source)

    ranked = [i for i, cell in cells.items() if cell[_RANK] == 1 and fits(i)]
    return max(ranked, key=lambda i: (number(cells[i][_MEAN]), -i), default=None)


def number(value: float | str | None) -> float:
    """Return an encoded number as a float; NaN where there is none."""
    return math.nan if value is None else float(value)


def _stems(dataset: Json) -> list[str]:
    """Return the stems of the first table, where both metrics are there."""
    if not dataset["levels"] or not set(PAIR) <= set(dataset["summary"]):
        return []
    return [stem for stem in dataset["levels"][0]["stems"] if not names.is_overall(stem)]


def _order(dataset: Json) -> list[int]:
    """Return the rows of the first table fed with the mixture, without anchors, as they stand."""
    groups = dataset["levels"][0]["groups"]
    shown = [g["rows"] for g in groups if g["input"] == "mixture" and g["role"] != "anchor"]
    return [row for rows in shown for row in rows]


def _span(cell: Any, *places: int) -> figures.Span | None:
    """Return mean and ends of a cell, None without a mean."""
    if not cell or cell[places[0]] is None:
        return None
    mean, low, high = (number(cell[place]) for place in places)
    return mean, low, high
