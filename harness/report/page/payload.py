"""From a report to the plain values of a page: what both the templates and the script read.

Everything here can be written as JSON. Rows of a dataset (competitors) and its tracks are numbered
from 0 and referred to by that number; scores are already rounded to what is shown.
"""

from __future__ import annotations

from collections import Counter, namedtuple
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from harness.core import text
from harness.core.taxonomy import REFERENCE
from harness.core.text import Json
from harness.report import names
from harness.report.computed import Report, part, records
from harness.report.page import story
from harness.report.page.certainty import Cell, Certainty, genre_intervals
from harness.results.grid import Leaked
from harness.results.ranking import Key, Ranking, level
from harness.results.runs import leaked
from harness.selection import MIN_ARTISTS

NAMED = 4  # separators that a reason names
_PARTS = ("cells", "n", "out", "why", "artists", "pairs", "anchor")  # of a stem's summary
Number = Mapping[tuple[str, str], int]  # of rows by (separator, source), tracks by (split, track)
BoardCell = namedtuple(  # in JSON a list: the page would be a third larger with names
    "BoardCell",
    "mean median sd q1 q3 n rank rank_median leaked low high median_low median_high group rank_low "
    "rank_high p_best limited why",
)
GenreCell = namedtuple("GenreCell", "mean sd n low high artists limited")


def build(report: Report) -> Json:
    """Return the values of a run's page.

    ``metrics`` and ``costs`` are as from `computed.about`; ``metric`` is the one shown first, or
    None; each of ``datasets`` has ``rows``, ``tracks``, ``stems``, ``levels`` (tables with their
    groups of rows), ``summary``, ``cards`` (as from `story.cards`), ``values``, ``genres``,
    ``failed``, ``leaked`` and ``unknown``.
    """
    datasets = sorted({*report.datasets, *part(report.run.record, "datasets")})
    return {
        "metrics": report.metrics,
        "metric": report.metrics[0]["name"] if report.metrics else None,
        "costs": report.measured,
        "datasets": [
            {"index": i, "name": name, **_view(report, name)} for i, name in enumerate(datasets)
        ],
        "places": {
            "board": BoardCell._fields,
            "genre": GenreCell._fields,
            "card": story.Card._fields,
        },
    }


def _view(report: Report, name: str) -> Json:
    """Return one dataset."""
    scores, record = report.scores, report.run.record
    here = _without_idle_stems(scores[scores["dataset"] == name], report)
    rows = _rows(here, name, report)
    number = {(row["separator"], row["input"]): i for i, row in enumerate(rows)}
    tracks = here.drop_duplicates(["split", "track"]).sort_values(["split", "track"])
    order = {place: i for i, place in enumerate(records(tracks, "split", "track"))}
    here = here.assign(
        row=[number[key] for key in records(here, "separator", "source")],
        place=[order[key] for key in records(here, "split", "track")],
    )
    stems = sorted(set(here["stem"]) - {""}, key=names.stem_rank)
    found = {}
    for metric in (m["name"] for m in report.metrics):
        ranking = report.ranking(name, metric)
        kept = {key: stem for key, stem in ranking.stems.items() if key[1] in stems}
        found[metric] = replace(ranking, stems=kept, tracks=tuple(order))
    anchors = story.anchors_of(report)
    summary = {
        metric: _summary(ranking, report.certainties(name, metric), number, order, anchors)
        for metric, ranking in found.items()
    }
    marked = {
        status: _marks(leaked(record, status), name, rows, order)
        for status in ("leaked", "unknown")
    }
    for i, row in enumerate(rows):
        row["price"] = story.price(row["costs"])
        row["seen"] = {status: len(of[i]) for status, of in marked.items() if i in of}
    return {
        "rows": rows,
        "tracks": {
            "track": names.of_tracks(order),
            **{c: list(map(str, tracks[c].fillna(""))) for c in ("artist", "genre", "split")},
            "notes": _notes(report, name, order),
        },
        "stems": stems,
        "levels": _levels(stems, summary, rows, report) if summary else [],
        "summary": summary,
        "cards": story.cards(report, name, rows),
        "values": {m: _values(here[here["metric"] == m], len(order)) for m in found},
        "genres": {metric: _genres(ranking, number) for metric, ranking in found.items()},
        "failed": _failed(here[here["status"] == "failed"]),
        **marked,
    }


def _without_idle_stems(here: pd.DataFrame, report: Report) -> pd.DataFrame:
    """Leave out stems that only anchors were scored on: there is nothing to compare."""
    roles = here["separator"].map(lambda name: report.roles.get(name, "separator"))
    busy = set(here.loc[roles != "anchor", "stem"]) - {""}
    return here[here["stem"].isin(busy | {""})] if busy else here


def _rows(here: pd.DataFrame, dataset: str, report: Report) -> list[Json]:
    """Return the competitors of a dataset: by role, then input, then name.

    ``input`` is as from `harness.results.runs.source_of`; ``kind`` is mixture, reference (the true
    stem) or cascade (another separator's stem).
    """
    roles = list(names.ROLES)
    keys = ["separator", "source", "fed_by"]
    kinds = {"": "mixture", REFERENCE: "reference"}
    entries = part(report.run.record, "separators")
    rows = [
        {
            "separator": separator,
            "input": source,
            "kind": kinds.get(fed_by, "cascade"),
            "fed": "" if source == "mixture" else names.input_label(source),
            "role": report.roles.get(separator, "separator"),
            **_about(entries.get(separator) or {}),
            "costs": {
                cost: report.costs[key]
                for cost in names.COSTS
                if (key := (dataset, separator, source, cost)) in report.costs
            },
        }
        for separator, source, fed_by in records(here[keys].drop_duplicates(), *keys)
    ]
    rows.sort(key=lambda r: (roles.index(r["role"]), names.input_rank(r["input"]), r["separator"]))
    return rows


def _about(entry: Mapping[str, Any]) -> Json:
    """Return title, size of the weights in bytes (None if it is not known) and their license."""
    terms = entry.get("license") or ""
    if isinstance(terms, Mapping):
        terms = terms.get("weights") or terms.get("code") or ""
    size = entry.get("weights_bytes")
    weights = size if isinstance(size, int) else None
    return {"title": entry.get("title") or "", "weights": weights, "license": str(terms)}


def _summary(
    found: Ranking,
    sure: Mapping[Key, Certainty],
    number: Number,
    order: Number,
    anchors: Collection[str],
) -> dict[str, Json]:
    """Return per stem its cells, and per input how many tracks are compared on and why not all.

    ``cells`` is {row: `BoardCell`}, ``n`` {input: common tracks}, ``out`` {input: the other
    tracks}, ``why`` {input: reasons with counts}, ``artists`` {input: how many}, ``pairs`` {input:
    as from `_pairs`}, ``anchor`` {input: mean and median of the best of the `anchors`}.
    """
    stems: dict[str, Json] = {}
    for row in found.board.to_dict("records"):
        source, separator = row["source"], row["separator"]
        empty: Json = {part: {} for part in _PARTS}
        stem = stems.setdefault(row["stem"], empty)
        known = sure[source, row["stem"]]
        cell = _cell(row, known.cells.get(separator, Cell()))
        stem["cells"][number[separator, source]] = cell
        stem["n"][source], stem["artists"][source] = row["common"], known.artists
    for source, of in found.stems:
        stems[of]["pairs"][source] = _pairs(sure[source, of].pairs, number, source)
        floor = story.anchor_scores(found, (source, of), anchors)
        if floor[0] is not None:
            stems[of]["anchor"][source] = floor
    for (source, name), rows in found.left_out.groupby(["source", "stem"], sort=True):
        about = stems[str(name)]
        about["out"][source] = sorted(order[place] for place in records(rows, "split", "track"))
        about["why"][source] = _why(rows)
    return stems


def _cell(row: Mapping[Any, Any], sure: Cell) -> BoardCell:
    """Return one cell of a leaderboard as it is shown."""
    found = {**row, **sure._asdict()}
    values = (found[name] for name in BoardCell._fields)
    cell = BoardCell(*(text.encode(v) if isinstance(v, float) else v for v in values))
    rank, rank_median = (None if pd.isna(row[n]) else int(row[n]) for n in ("rank", "rank_median"))
    return cell._replace(rank=rank, rank_median=rank_median, leaked=int(row["leaked"]))


def _pairs(table: pd.DataFrame, number: Number, source: str) -> tuple[list[int], list[list[Any]]]:
    """Return the rows that are compared, and difference, low, high, p, apart of each pair.

    Pairs come in the order (0, 1), (0, 2) … (1, 2) … of the rows; p is in ten-thousandths, apart is
    1 where the two differ significantly.
    """
    rows = [number[name, source] for name in dict.fromkeys([*table["a"], *table["b"]])]
    values = [
        [*map(_hundredths, ends), None if pd.isna(p) else round(p * 10_000), int(apart)]
        for *ends, p, apart in records(table, "difference", "low", "high", "p", "apart")
    ]
    return rows, values


def _hundredths(value: float) -> int | str | None:
    """Return a number as it is shown, without its decimal point; otherwise as `text.encode`."""
    shown = text.encode(value)
    return round(shown * 100) if isinstance(shown, float) else shown


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


def _values(scores: pd.DataFrame, n_tracks: int) -> dict[str, dict[int, list[Any]]]:
    """Return per stem {row: one value per track}, in hundredths; "u" where it is undefined."""
    out: dict[str, dict[int, list[Any]]] = {}
    for stem, row, place, value, status in records(
        scores, "stem", "row", "place", "value", "status"
    ):
        values = out.setdefault(stem, {}).setdefault(row, [None] * n_tracks)
        values[place] = "u" if status == "undefined" else _hundredths(value)
    return {stem: dict(sorted(rows.items())) for stem, rows in out.items()}


def _genres(found: Ranking, number: Number) -> Json:
    """Return per stem and genre {row: `GenreCell`} on the common tracks."""
    keys = ["source", "stem", "genre", "separator"]
    means = found.genres.merge(genre_intervals(found), on=keys)
    out: Json = {}
    for source, stem, genre, separator, *values in records(means, *keys, *GenreCell._fields):
        cell = GenreCell(*(text.encode(v) if isinstance(v, float) else v for v in values))
        out.setdefault(stem, {}).setdefault(genre, {})[number[separator, source]] = cell
    return out


def _failed(failed: pd.DataFrame) -> dict[int, dict[int, str]]:
    """Return {row: {track: reason}} of failed work."""
    out: dict[int, dict[int, str]] = {}
    for row, place, note in records(failed, "row", "place", "note"):
        out.setdefault(row, {})[place] = str(note)
    return out


def _marks(leaks: Leaked, dataset: str, rows: list[Json], order: Number) -> dict[int, list[int]]:
    """Return {row: tracks} that one status of the leak ledger is about."""
    marked: dict[str, list[int]] = {}
    for separator, where, split, track in leaks:
        if where == dataset and (split, track) in order:
            marked.setdefault(separator, []).append(order[split, track])
    named = enumerate(row["separator"] for row in rows)
    return {i: sorted(marked[name]) for i, name in named if name in marked}


def _notes(report: Report, dataset: str, order: Number) -> dict[int, str]:
    """Return {track: note}, such as that its mixture is not the sum of its stems."""
    about = part(part(report.run.record, "datasets"), dataset)
    return {
        order[place]: str(note["note"])
        for note in about.get("notes") or ()
        if (place := (note["split"], note["track"])) in order
    }


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
    found = (of[stem]["cells"] for of in summary.values() for stem in stems if stem in of)
    return {row for cells in found for row in cells}


def _best_first(members: list[int], by_row: Mapping[int, BoardCell], sign: int) -> list[int]:
    """Order rows as the script does: by mean, those with too few tracks, those without a mean.

    `by_row` holds the cells of the column that orders.
    """

    def place(i: int) -> tuple[bool, bool, float]:
        cell = by_row.get(i)
        if cell is None or cell.mean is None:
            return True, bool(cell and cell.why), 0.0
        return False, bool(cell.why), -sign * float(cell.mean)

    return sorted(members, key=place)
