"""One dataset's part of a page: its rows, tracks, values and tables, as plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report import cells, names, tables, text
from harness.report.certainty import Cell, Certainty, certainties, genre_intervals, grids
from harness.selection import MIN_ARTISTS, Grid

Json = dict[str, Any]
NAMED = 4  # separators that a reason names
NOTHING = Certainty(0, {}, pd.DataFrame())


@dataclass(frozen=True)
class Context:
    """What all datasets of a run share."""

    roles: Mapping[str, str]
    titles: Mapping[str, str]
    metrics: list[Json]
    weights: Mapping[str, Json]
    costs: Mapping[tuple[str, str, str, str], float]
    leaked: tables.Leaks
    unknown: tables.Leaks

    @property
    def how(self) -> Json:
        """Return how competitors are compared, as `tables` wants it."""
        ranked = {name for name, role in self.roles.items() if role == "separator"}
        return {"ranked": ranked, "leaks": self.leaked}


def view(here: pd.DataFrame, name: str, context: Context) -> Json:
    """Return one dataset; what is in it is said at `harness.report.payload.build`."""
    here = _without_idle_stems(here, context)
    rows = _rows(here, name, context)
    number = {(row["separator"], row["input"]): i for i, row in enumerate(rows)}
    tracks = here.drop_duplicates("track").sort_values(["split", "track"])
    order = {track: i for i, track in enumerate(tracks["track"])}
    stems = sorted(set(here["stem"]) - {""}, key=names.stem_rank)
    metrics = [m["name"] for m in context.metrics]
    shown = {m: here[here["metric"] == m] for m in metrics}
    common = {m: tables.common_tracks(here, name, m, **context.how) for m in metrics}
    scores = {m: grids(rows) for m, rows in common.items()}
    summary = {
        m["name"]: _summary(
            here, name, m, (common[m["name"]], scores[m["name"]]), (number, order), context
        )
        for m in context.metrics
    }
    return {
        "rows": rows,
        "tracks": {c: _texts(tracks[c]) for c in ("track", "artist", "genre", "split")},
        "stems": stems,
        "levels": _levels(stems, summary, rows, context) if summary else [],
        "summary": summary,
        "values": {metric: _values(scores, number, order) for metric, scores in shown.items()},
        "genres": {m: _genres(common[m], scores[m], number) for m in metrics},
        "failed": _failed(here, number, order),
        "leaked": _marks(context.leaked, name, rows, order),
        "unknown": _marks(context.unknown, name, rows, order),
    }


def _without_idle_stems(here: pd.DataFrame, context: Context) -> pd.DataFrame:
    """Leave out stems that only anchors were scored on: there is nothing to compare."""
    roles = here["separator"].map(lambda name: context.roles.get(name, "separator"))
    busy = set(here.loc[roles != "anchor", "stem"]) - {""}
    return here[here["stem"].isin(busy | {""})] if busy else here


def records(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Walk over rows as plain Python values."""
    return zip(*(frame[column].tolist() for column in columns), strict=True)


def _texts(column: pd.Series) -> list[str]:
    """Return a column as plain strings."""
    return [str(value) for value in column.fillna("")]


def _rows(here: pd.DataFrame, dataset: str, context: Context) -> list[Json]:
    """Return the competitors of a dataset: by role, then input, then name."""
    roles = list(names.ROLES)

    def place(row: Json) -> tuple[Any, ...]:
        return roles.index(row["role"]), names.input_rank(row["input"]), row["separator"]

    pairs = here[["separator", "input"]].drop_duplicates()
    rows = [
        {
            "separator": separator,
            "input": source,
            "fed": "" if source == "mixture" else names.input_label(source),
            "role": context.roles.get(separator, "separator"),
            "title": context.titles.get(separator, ""),
            **context.weights.get(separator, {"weights": None, "licence": ""}),
            "costs": {
                cost: context.costs[key]
                for cost in names.COSTS
                if (key := (dataset, separator, source, cost)) in context.costs
            },
        }
        for separator, source in records(pairs, "separator", "input")
    ]
    return sorted(rows, key=place)


def _summary(
    here: pd.DataFrame,
    name: str,
    metric: Json,
    basis: tuple[pd.DataFrame, Mapping[tuple[str, str], Grid]],
    places: tuple[Mapping[tuple[str, str], int], Mapping[str, int]],
    context: Context,
) -> Json:
    """Return per stem its cells, and per input how many tracks are compared on and why not all.

    ``cells`` is {row: values in the order of `cells.PLACES`}, ``n`` {input: common tracks}, ``out``
    {input: the other tracks}, ``why`` {input: reasons with counts}, ``artists`` {input: how many},
    ``pairs`` {input: as from `cells.pairs`}.
    """
    (common, scores), (number, order) = basis, places
    ranked, better = context.how["ranked"], {"higher_is_better": metric["higher"]}
    how = {"common": common, **better, **context.how}
    board = tables.leaderboard(here, name, metric["name"], **how)
    sure = certainties(common, scores, ranked, **better)
    stems: Json = {}
    for row in board.to_dict("records"):
        empty: Json = {part: {} for part in ("cells", "n", "out", "why", "artists", "pairs")}
        stem = stems.setdefault(row["stem"], empty)
        here_sure = sure.get((row["input"], row["stem"]), NOTHING)
        cell = cells.cell(row, here_sure.cells.get(row["separator"], Cell()))
        stem["cells"][number[row["separator"], row["input"]]] = cell
        stem["n"][row["input"]] = row["common"]
        stem["artists"][row["input"]] = here_sure.artists
    for (source, of), found in sure.items():
        stems[of]["pairs"][source] = cells.pairs(found.pairs, number, source)
    missing = tables.left_out(here, name, metric["name"], common, ranked)
    for (fed, where), rows in missing.groupby(["input", "stem"], sort=True, observed=True):
        about = stems[str(where)]
        about["out"][fed] = sorted(order[track] for track in rows["track"])
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
    scores: pd.DataFrame, number: Mapping[tuple[str, str], int], order: Mapping[str, int]
) -> dict[str, dict[int, str | list[Any]]]:
    """Return per stem {row: one value a track}, in hundredths, packed."""
    out: dict[str, dict[int, list[Any]]] = {}
    columns = ("stem", "separator", "input", "track", "value", "status")
    for stem, separator, source, track, value, status in records(scores, *columns):
        rows = out.setdefault(stem, {})
        row = rows.setdefault(number[separator, source], [None] * len(order))
        row[order[track]] = "u" if status == "undefined" else cells.hundredths(value)
    return {
        stem: {row: cells.pack(values) for row, values in sorted(rows.items())}
        for stem, rows in out.items()
    }


def _genres(
    common: pd.DataFrame,
    scores: Mapping[tuple[str, str], Grid],
    number: Mapping[tuple[str, str], int],
) -> Json:
    """Return per stem and genre {row: [mean, sd, n, low, high, artists]} on the common tracks."""
    means = tables.genre_means(common)
    keys = ["input", "stem", "genre", "separator"]
    means = means.astype(dict.fromkeys(keys, object)).merge(genre_intervals(scores), on=keys)
    out: Json = {}
    columns = ("stem", "genre", "separator", "input", "mean", "sd", "n", "low", "high", "artists")
    for stem, genre, separator, source, mean, sd, n, low, high, who in records(means, *columns):
        cell = [text.encode(mean), text.encode(sd), n, text.encode(low), text.encode(high), who]
        out.setdefault(stem, {}).setdefault(genre, {})[number[separator, source]] = cell
    return out


def _failed(
    here: pd.DataFrame, number: Mapping[tuple[str, str], int], order: Mapping[str, int]
) -> dict[int, dict[int, str]]:
    """Return {row: {track: reason}} of failed work."""
    out: dict[int, dict[int, str]] = {}
    failed = here[here["status"] == "failed"]
    for separator, source, track, note in records(failed, "separator", "input", "track", "note"):
        out.setdefault(number[separator, source], {})[order[track]] = str(note)
    return out


def _marks(
    leaks: tables.Leaks, dataset: str, rows: list[Json], order: Mapping[str, int]
) -> dict[int, list[int]]:
    """Return {row: tracks} that one status of the leak ledger is about."""
    marked: dict[str, list[int]] = {}
    for separator, where, track in leaks:
        if where == dataset and track in order:
            marked.setdefault(separator, []).append(order[track])
    named = enumerate(row["separator"] for row in rows)
    return {i: sorted(marked[name]) for i, name in named if name in marked}


def _levels(stems: list[str], summary: Json, rows: list[Json], context: Context) -> list[Json]:
    """Return the tables of a dataset: level, title, stems, and groups of rows, best first."""
    out: list[Json] = []
    first, sign = summary[context.metrics[0]["name"]], 1 if context.metrics[0]["higher"] else -1
    homeless = set(range(len(rows))) - _with_cells(summary, stems)
    for name, title in names.LEVELS.items():
        shown = [stem for stem in stems if tables.level(stem) == name]
        if not shown:
            continue
        by = shown[-1] if names.is_overall(shown[-1]) else shown[0]
        means = {i: cell[0] for i, cell in first[by]["cells"].items()} if by in first else {}
        present = _with_cells(summary, shown)
        if not out:  # who has no score anywhere stands in the first table, with its failures
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
                    {"role": role, "input": source, "rows": _best_first(members, means, sign)}
                    for (role, source), members in groups.items()
                ],
            }
        )
    return out


def _few(stem: Json | None) -> str:
    """Say that nothing can be told where there are too few artists."""
    artists = max(stem["artists"].values()) if stem else MIN_ARTISTS
    if artists >= MIN_ARTISTS:
        return ""
    return (
        f"Too few artists to tell separators apart ({artists}, {MIN_ARTISTS} are needed): no "
        "intervals and no groups. The order is that of these tracks alone."
    )


def _with_cells(summary: Json, stems: Iterable[str]) -> set[int]:
    """Return the rows that have a score of any metric for one of the stems."""
    wanted = set(stems)
    found = (metric[stem]["cells"] for metric in summary.values() for stem in wanted & set(metric))
    return {row for cells in found for row in cells}


def _best_first(members: list[int], means: Mapping[int, Any], sign: int) -> list[int]:
    """Order rows by their score, best first, as the script does; those without come last."""

    def place(i: int) -> tuple[bool, float, int]:
        mean = means.get(i)
        return mean is None, 0.0 if mean is None else -sign * float(mean), i

    return sorted(members, key=place)
