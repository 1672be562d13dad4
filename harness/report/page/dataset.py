"""One dataset's part of a page: its rows, tracks, values and tables, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.core import text
from harness.core.text import Json
from harness.report import names
from harness.report.computed import Report, part, records
from harness.report.page import cells
from harness.report.page.certainty import Cell, Certainty, genre_intervals
from harness.results.grid import Leaked
from harness.results.ranking import Key, Ranking, level
from harness.selection import MIN_ARTISTS

NAMED = 4  # separators that a reason names
Place = tuple[str, str]  # (separator, input) of a row, (split, track) of a track


def view(report: Report, name: str) -> Json:
    """Return one dataset; `harness.report.page.payload.build` says what is in it."""
    scores = report.scores
    here = _without_idle_stems(scores[scores["dataset"] == name], report)
    rows = _rows(here, name, report)
    number = {(row["separator"], row["input"]): i for i, row in enumerate(rows)}
    tracks = here.drop_duplicates(["split", "track"]).sort_values(["split", "track"])
    order = {place: i for i, place in enumerate(records(tracks, "split", "track"))}
    stems = sorted(set(here["stem"]) - {""}, key=names.stem_rank)
    metrics = [metric["name"] for metric in report.metrics]
    found = {m: _shown(report.ranking(name, m), stems, order) for m in metrics}
    summary = {
        metric: _summary(ranking, report.certainties(name, metric), number, order)
        for metric, ranking in found.items()
    }
    return {
        "rows": rows,
        "tracks": {
            "track": names.of_tracks(order),
            **{c: _texts(tracks[c]) for c in ("artist", "genre", "split")},
            "notes": _notes(report, name, order),
        },
        "stems": stems,
        "levels": _levels(stems, summary, rows, report) if summary else [],
        "summary": summary,
        "values": {m: _values(here[here["metric"] == m], number, order) for m in found},
        "genres": {metric: _genres(ranking, number) for metric, ranking in found.items()},
        "failed": _failed(here, number, order),
        "leaked": _marks(report.leaked, name, rows, order),
        "unknown": _marks(report.unknown, name, rows, order),
    }


def _shown(found: Ranking, stems: Iterable[str], order: Mapping[Place, int]) -> Ranking:
    """Return a ranking of only these stems and tracks."""
    kept = {key: stem for key, stem in found.stems.items() if key[1] in stems}
    return replace(found, stems=kept, tracks=tuple(order))


def _without_idle_stems(here: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Leave out stems that only anchors were scored on: there is nothing to compare."""
    roles = here["separator"].map(lambda name: report.roles.get(name, "separator"))
    busy = set(here.loc[roles != "anchor", "stem"]) - {""}
    return here[here["stem"].isin(busy | {""})] if busy else here


def _notes(report: Report, dataset: str, order: Mapping[Place, int]) -> dict[int, str]:
    """Return what the record notes on tracks, such as a mixture that is not the sum: {track: …}."""
    about = part(part(report.run.record, "datasets"), dataset)
    return {
        order[place]: str(note["note"])
        for note in about.get("notes") or ()
        if (place := (note["split"], note["track"])) in order
    }


def _texts(column: pd.Series) -> list[str]:
    """Return a column as plain strings."""
    return [str(value) for value in column.fillna("")]


def _rows(here: pd.DataFrame, dataset: str, report: Report) -> list[Json]:
    """Return the competitors of a dataset: by role, then input, then name."""
    roles = list(names.ROLES)

    def place(row: Json) -> tuple[Any, ...]:
        return roles.index(row["role"]), names.input_rank(row["input"]), row["separator"]

    pairs = here[["separator", "source"]].drop_duplicates()
    rows = [
        {
            "separator": separator,
            "input": source,
            "fed": "" if source == "mixture" else names.input_label(source),
            "role": report.roles.get(separator, "separator"),
            "title": report.titles.get(separator, ""),
            **report.weights.get(separator, {"weights": None, "licence": ""}),
            "costs": {
                cost: report.costs[key]
                for cost in names.COSTS
                if (key := (dataset, separator, source, cost)) in report.costs
            },
        }
        for separator, source in records(pairs, "separator", "source")
    ]
    return sorted(rows, key=place)


def _summary(
    found: Ranking,
    sure: Mapping[Key, Certainty],
    number: Mapping[Place, int],
    order: Mapping[Place, int],
) -> Json:
    """Return per stem its cells, and per input how many tracks are compared on and why not all.

    ``cells`` is {row: values in the order of `cells.PLACES`}, ``n`` {input: common tracks}, ``out``
    {input: the other tracks}, ``why`` {input: reasons with counts}, ``artists`` {input: how many},
    ``pairs`` {input: as from `cells.pairs`}.
    """
    stems: Json = {}
    for row in found.board.to_dict("records"):
        empty: Json = {part: {} for part in ("cells", "n", "out", "why", "artists", "pairs")}
        stem = stems.setdefault(row["stem"], empty)
        here_sure = sure[row["source"], row["stem"]]
        cell = cells.cell(row, here_sure.cells.get(row["separator"], Cell()))
        stem["cells"][number[row["separator"], row["source"]]] = cell
        stem["n"][row["source"]] = row["common"]
        stem["artists"][row["source"]] = here_sure.artists
    for source, of in found.stems:
        stems[of]["pairs"][source] = cells.pairs(sure[source, of].pairs, number, source)
    for (fed, where), rows in found.left_out.groupby(["source", "stem"], sort=True):
        about = stems[str(where)]
        about["out"][fed] = sorted(order[place] for place in records(rows, "split", "track"))
        about["why"][fed] = _why(rows)
    return stems


def _why(rows: pd.DataFrame) -> str:
    """Sum up why tracks are left out, and because of which separators mostly."""
    parts = []
    for reason, block in rows.groupby("reason", sort=True):
        guilty = Counter(name for found in block["separators"] for name in found)
        ordered = sorted(guilty, key=lambda name: (-guilty[name], name))
        named = ", ".join(f"{name}: {guilty[name]}" for name in ordered[:NAMED])
        others = f", {text.count(len(ordered) - NAMED, 'other')}" if len(ordered) > NAMED else ""
        parts.append(f"{len(block)} {reason}" + (f" ({named}{others})" if named else ""))
    return f"{text.count(len(rows), 'track')}: " + ", ".join(parts)


def _values(
    scores: pd.DataFrame, number: Mapping[Place, int], order: Mapping[Place, int]
) -> dict[str, dict[int, str | list[Any]]]:
    """Return per stem {row: one value per track}, in hundredths, packed."""
    out: dict[str, dict[int, list[Any]]] = {}
    columns = ("stem", "separator", "source", "split", "track", "value", "status")
    for stem, separator, source, split, track, value, status in records(scores, *columns):
        rows = out.setdefault(stem, {})
        row = rows.setdefault(number[separator, source], [None] * len(order))
        row[order[split, track]] = "u" if status == "undefined" else cells.hundredths(value)
    return {
        stem: {row: cells.pack(values) for row, values in sorted(rows.items())}
        for stem, rows in out.items()
    }


def _genres(found: Ranking, number: Mapping[Place, int]) -> Json:
    """Return per stem and genre {row: cell} on the common tracks.

    A cell is [mean, sd, n, low, high, artists, limited scores].
    """
    keys = ["source", "stem", "genre", "separator"]
    means = found.genres.merge(genre_intervals(found), on=keys)
    out: Json = {}
    columns = ("mean", "sd", "low", "high", "n", "artists", "limited")
    for source, stem, genre, separator, *values in records(means, *keys, *columns):
        mean, sd, low, high = map(text.encode, values[:4])
        n, artists, limited = values[4:]
        cell = [mean, sd, n, low, high, artists, limited]
        out.setdefault(stem, {}).setdefault(genre, {})[number[separator, source]] = cell
    return out


def _failed(
    here: pd.DataFrame, number: Mapping[Place, int], order: Mapping[Place, int]
) -> dict[int, dict[int, str]]:
    """Return {row: {track: reason}} of failed work."""
    out: dict[int, dict[int, str]] = {}
    failed = here[here["status"] == "failed"]
    columns = ("separator", "source", "split", "track", "note")
    for separator, source, split, track, note in records(failed, *columns):
        out.setdefault(number[separator, source], {})[order[split, track]] = str(note)
    return out


def _marks(
    leaks: Leaked, dataset: str, rows: list[Json], order: Mapping[Place, int]
) -> dict[int, list[int]]:
    """Return {row: tracks} that one status of the leak ledger is about."""
    marked: dict[str, list[int]] = {}
    for separator, where, *place in leaks:
        if where == dataset and tuple(place) in order:
            marked.setdefault(separator, []).append(order[place[0], place[1]])
    named = enumerate(row["separator"] for row in rows)
    return {i: sorted(marked[name]) for i, name in named if name in marked}


def _levels(stems: list[str], summary: Json, rows: list[Json], report: Report) -> list[Json]:
    """Return the tables of a dataset: level, title, stems, and groups of rows, best first."""
    out: list[Json] = []
    first, sign = summary[report.metrics[0]["name"]], 1 if report.metrics[0]["higher"] else -1
    homeless = set(range(len(rows))) - _with_cells(summary, stems)
    for name, title in names.LEVELS.items():
        shown = [stem for stem in stems if level(stem) == name]
        if not shown:
            continue
        by = shown[-1] if names.is_overall(shown[-1]) else shown[0]
        by_row = first[by]["cells"] if by in first else {}
        present = _with_cells(summary, shown)
        if not out:  # separators without any score are in the first table, with their failures
            present |= homeless
        groups: dict[tuple[str, str], list[int]] = {}
        for i in sorted(present):
            groups.setdefault((rows[i]["role"], rows[i]["input"]), []).append(i)
        out.append(
            {
                "name": name,
                "title": title,
                "stems": shown,
                "by": by,
                "few": _few(first.get(by)),
                "groups": [
                    {"role": role, "input": source, "rows": _best_first(members, by_row, sign)}
                    for (role, source), members in groups.items()
                ],
            }
        )
    return out


def _few(stem: Json | None) -> str:
    """Say that nothing is significant where there are too few artists."""
    artists = max(stem["artists"].values()) if stem else MIN_ARTISTS
    if artists >= MIN_ARTISTS:
        return ""
    return (
        f"Too few artists for significant differences ({artists}, {MIN_ARTISTS} are needed): no "
        "intervals and no groups. The order is that of these tracks alone."
    )


def _with_cells(summary: Json, stems: Iterable[str]) -> set[int]:
    """Return the rows that have a score of any metric for one of the stems."""
    wanted = set(stems)
    found = (metric[stem]["cells"] for metric in summary.values() for stem in wanted & set(metric))
    return {row for cells in found for row in cells}


def _best_first(members: list[int], by_row: Mapping[int, list[Any]], sign: int) -> list[int]:
    """Order rows as the script does: by mean, those with too few tracks, those without a mean.

    `by_row` holds the cells of the column that orders.
    """

    def place(i: int) -> tuple[bool, bool, float, int]:
        mean, few = (by_row[i][cells.PLACES.index(n)] if i in by_row else None for n in _ORDER)
        return mean is None, bool(few), 0.0 if mean is None else -sign * float(mean), i

    return sorted(members, key=place)


_ORDER = ("mean", "why")
