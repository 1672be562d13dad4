"""Pictures of a dataset: SNR and SDR side by side, by separator and by genre; its genres.

Datasets are those of `harness.report.page.payload.build`.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from markupsafe import Markup

from harness.core.text import Json
from harness.report import figures, names
from harness.results.ranking import NO_GENRE, genre_name

PAIR = ("snr", "sdr")


def by_separator(dataset: Json) -> list[tuple[str, Markup]]:
    """Return per stem of the first table a picture of SNR and SDR by separator."""
    found = []
    for stem in _stems(dataset):
        cells = [dataset["summary"][metric].get(stem, {}).get("cells", {}) for metric in PAIR]
        rows = [i for i in _order(dataset) if any(i in part for part in cells)]
        labels = [dataset["rows"][i]["separator"] for i in rows]
        title = f"SNR and SDR of {names.stem_label(stem)} on {dataset['name']}, by separator"
        spans = [[_span(part.get(i)) for i in rows] for part in cells]
        found.append((stem, _picture(labels, spans, title)))
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
        labels = [f"{genre} ({parts[0][genre][best].n})" for genre in genres]
        name = dataset["rows"][best]["separator"]
        title = f"SNR and SDR of {names.stem_label(stem)} by {name} on {dataset['name']}, by genre"
        spans = [[_span(part.get(genre, {}).get(best)) for genre in genres] for part in parts]
        found.append((stem, name, _picture(labels, spans, title)))
    return found


def genres(dataset: Json) -> Markup | None:
    """Return the picture of how many tracks each genre has, None if no genre is known."""
    tracks = Counter(map(genre_name, dataset["tracks"]["genre"]))
    ordered = sorted(tracks, key=lambda genre: (-tracks[genre], genre))
    if not set(tracks) - {NO_GENRE}:
        return None
    listed = ", ".join(f"{genre} {tracks[genre]}" for genre in ordered)
    title = f"Genres of {dataset['name']}: {listed}"
    series = {"tracks": [tracks[genre] for genre in ordered]}
    return figures.bars(ordered, series, title=title, axis="number of tracks")


def best_row(dataset: Json, stem: str, kind: str) -> int | None:
    """Return the ranked row with the best mean of a stem among those with one kind of input.

    Kinds are mixture, reference and cascade. None if no such row is ranked.
    """
    first: Json = next(iter(dataset["summary"].values()), {})
    cells, rows = first.get(stem, {}).get("cells", {}), dataset["rows"]
    ranked = [i for i, cell in cells.items() if cell.rank == 1 and rows[i]["kind"] == kind]
    return max(ranked, key=lambda i: (_number(cells[i].mean), -i), default=None)


def _picture(labels: list[str], spans: list[list[figures.Span | None]], title: str) -> Markup:
    series = {metric.upper(): row for metric, row in zip(PAIR, spans, strict=True)}
    return figures.spans(labels, series, title=title, axis="mean over tracks, dB")


def _number(value: float | str | None) -> float:
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


def _span(cell: Any) -> figures.Span | None:
    """Return mean and ends of a cell, None without a mean."""
    if cell is None or cell.mean is None:
        return None
    return _number(cell.mean), _number(cell.low), _number(cell.high)
