"""From a run to the plain values a page is made of: what the templates and the script both read.

Everything here can be written as JSON. Rows of a dataset (competitors) and its tracks are counted
from 0 and referred to by that number; scores are already rounded to what is shown.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.report import names, tables, text
from harness.results import Run

Json = dict[str, Any]
CODES = {None: -32768, "u": -32767, "-inf": -32766, "inf": 32767}  # as in core.js
LARGEST = 32765
_ORDER = ["dataset", "split", "track", "separator", "input", "stem", "metric"]


@dataclass(frozen=True)
class _Context:
    """What all datasets of a run share."""

    roles: Mapping[str, str]
    titles: Mapping[str, str]
    metrics: list[Json]
    costs: Mapping[tuple[str, str, str, str], float]
    leaked: tables.Leaks
    unknown: tables.Leaks

    @property
    def how(self) -> Json:
        """Return how competitors are compared, as `tables` wants it."""
        ranked = {name for name, role in self.roles.items() if role == "separator"}
        return {"ranked": ranked, "leaks": self.leaked}


def build(run: Run) -> Json:
    """Return the values of a run's page.

    Returns
    -------
    dict
        ``metrics`` (list of name, label, unit, definition, version, higher), ``metric`` (the one
        shown first, or None), ``costs`` (likewise) and ``datasets``. Each of these has ``rows``,
        ``tracks``, ``stems``, ``levels`` (tables with their groups of rows), ``summary``,
        ``values``, ``genres``, ``failed``, ``leaked`` and ``unknown``.
    """
    scores, renamed = _unique_tracks(pd.concat([run.scores, run.ensembles], ignore_index=True))
    order = scores[_ORDER].astype("category").sort_values(_ORDER, kind="stable").index
    scores = tables.add_harmonic(scores.loc[order].reset_index(drop=True))
    context = _Context(
        roles=_roles(run),
        titles={n: e.get("title") or "" for n, e in part(run.record, "separators").items()},
        metrics=_metrics(run.record, scores),
        costs=_costs(run.costs),
        leaked=_leaks(run.record, renamed, "leaked"),
        unknown=_leaks(run.record, renamed, "unknown"),
    )
    scores = tables.add_overall(scores, context.how["ranked"])
    scores[_ORDER] = scores[_ORDER].astype("category")  # compared and grouped far faster
    datasets = sorted({*scores["dataset"], *part(run.record, "datasets")})
    measured = [cost for cost in names.COSTS if cost in set(run.costs["metric"])]
    return {
        "metrics": context.metrics,
        "metric": context.metrics[0]["name"] if context.metrics else None,
        "costs": [_about(run.record, cost) for cost in measured],
        "datasets": [
            {"index": i, "name": name, **_dataset(scores[scores["dataset"] == name], name, context)}
            for i, name in enumerate(datasets)
        ],
    }


def part(record: Mapping[str, Any], name: str) -> Any:
    """Return one part of the record, empty where it is not there."""
    return record.get(name) or {}


def records(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Walk over rows as plain Python values."""
    return zip(*(frame[column].tolist() for column in columns), strict=True)


def _roles(run: Run) -> dict[str, str]:
    """Return the role of every separator that has a row or an entry."""
    roles = {
        name: "oracle" if name.endswith("_oracle") else "ensemble"
        for name in map(str, run.ensembles["separator"].unique())
    }
    roles |= dict.fromkeys(map(str, run.scores["separator"].unique()), "separator")
    for name, entry in part(run.record, "separators").items():
        if entry.get("role") in names.ROLES and roles.get(name) != "oracle":
            roles[name] = entry["role"]
    return roles


def _unique_tracks(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], list[str]]]:
    """Give a track name that two splits of a dataset share one name each; say which."""
    splits = frame.groupby(["dataset", "track"])["split"].nunique()
    twice = set(splits.index[splits > 1])
    pairs = records(frame, "dataset", "track")
    both = pd.Series([pair in twice for pair in pairs], index=frame.index, dtype=bool)
    split = frame["track"].astype(str) + " (" + frame["split"].astype(str) + ")"
    new = frame["track"].mask(both, split)
    renamed: dict[tuple[str, str], set[str]] = {}
    for dataset, old, name in records(frame.assign(new=new)[both], "dataset", "track", "new"):
        renamed.setdefault((dataset, old), set()).add(name)
    return frame.assign(track=new), {key: sorted(found) for key, found in renamed.items()}


def _leaks(
    record: Mapping[str, Any], renamed: Mapping[tuple[str, str], list[str]], status: str
) -> set[tuple[str, str, str]]:
    """Return (separator, dataset, track) of the leak ledger with one status."""
    found = set()
    for row in part(record, "leaks"):
        if row["status"] == status:
            for track in renamed.get((row["dataset"], row["track"]), [row["track"]]):
                if "split" not in row or track in (
                    row["track"],
                    f"{row['track']} ({row['split']})",
                ):
                    found.add((row["separator"], row["dataset"], track))
    return found


def _metrics(record: Mapping[str, Any], scores: pd.DataFrame) -> list[Json]:
    """Return the metrics that have scores, in display order, with their definitions."""
    have = set(scores.loc[scores["status"] != "failed", "metric"]) - {""}
    order = [m for m in names.METRICS if m in have] + sorted(have - set(names.METRICS))
    return [_about(record, name) for name in order]


def _about(record: Mapping[str, Any], name: str) -> Json:
    """Return what is known of a metric."""
    entry = part(record, "metrics").get(name) or {}
    ours = name == tables.HARMONIC
    return {
        "name": name,
        "label": names.metric_label(name),
        "unit": entry.get("unit") or ("dB" if ours else ""),
        "version": entry.get("version", ""),
        "higher": bool(entry.get("higher_is_better", True)),
        "definition": entry.get("definition") or (names.HARMONIC_DEFINITION if ours else ""),
    }


def _costs(costs: pd.DataFrame) -> dict[tuple[str, str, str, str], float]:
    """Return {(dataset, separator, input, metric): cost of a track}."""
    columns = ("dataset", "separator", "input", "metric", "value")
    return {tuple(key): value for *key, value in records(tables.costs(costs), *columns)}


def _dataset(here: pd.DataFrame, name: str, context: _Context) -> Json:
    """Return one dataset, see `build`."""
    rows = _rows(here, name, context)
    number = {(row["separator"], row["input"]): i for i, row in enumerate(rows)}
    tracks = here.drop_duplicates("track").sort_values(["split", "track"])
    order = {track: i for i, track in enumerate(tracks["track"])}
    stems = sorted(set(here["stem"]) - {""}, key=names.stem_rank)
    shown = {m["name"]: here[here["metric"] == m["name"]] for m in context.metrics}
    summary = {
        m["name"]: _summary(here, name, m, (number, order), context) for m in context.metrics
    }
    return {
        "rows": rows,
        "tracks": {c: _texts(tracks[c]) for c in ("track", "artist", "genre", "split")},
        "stems": stems,
        "levels": _levels(stems, summary, rows, context) if summary else [],
        "summary": summary,
        "values": {metric: _values(scores, number, order) for metric, scores in shown.items()},
        "genres": {
            metric: _genres(s, name, metric, number, context) for metric, s in shown.items()
        },
        "failed": _failed(here, number, order),
        "leaked": _marks(context.leaked, name, rows, order),
        "unknown": _marks(context.unknown, name, rows, order),
    }


def _texts(column: pd.Series) -> list[str]:
    """Return a column as plain strings."""
    return [str(value) for value in column.fillna("")]


def _rows(here: pd.DataFrame, dataset: str, context: _Context) -> list[Json]:
    """Return the competitors of a dataset: by role, then input, then name."""
    roles = list(names.ROLES)
    first = {"mixture": 0, "cascade": 2}

    def place(row: Json) -> tuple[Any, ...]:
        source = row["input"]
        return roles.index(row["role"]), first.get(source, 1), source, row["separator"]

    pairs = here[["separator", "input"]].drop_duplicates()
    rows = [
        {
            "separator": separator,
            "input": source,
            "role": context.roles.get(separator, "separator"),
            "title": context.titles.get(separator, ""),
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
    places: tuple[Mapping[tuple[str, str], int], Mapping[str, int]],
    context: _Context,
) -> Json:
    """Return per stem its cells, and per input how many tracks are compared on and why not all.

    ``cells`` is {row: [mean, median, sd, q1, q3, n, rank, rank_median, leaked]}, ``n`` {input:
    common tracks}, ``out`` {input: the other tracks}, ``why`` {input: reasons with counts}.
    """
    number, order = places
    higher = metric["higher"]
    board = tables.leaderboard(here, name, metric["name"], higher_is_better=higher, **context.how)
    stems: Json = {}
    for row in board.to_dict("records"):
        stem = stems.setdefault(row["stem"], {"cells": {}, "n": {}, "out": {}, "why": {}})
        scores = [text.encode(row[x]) for x in ("mean", "median", "sd", "q1", "q3")]
        ranks = [None if pd.isna(row[x]) else int(row[x]) for x in ("rank", "rank_median")]
        cell = [*scores, row["n"], *ranks, int(row["leaked"])]
        stem["cells"][number[row["separator"], row["input"]]] = cell
        stem["n"][row["input"]] = row["common"]
    missing = tables.left_out(here, name, metric["name"], **context.how)
    for (source, stem), rows in missing.groupby(["input", "stem"], sort=True, observed=True):
        reasons = rows["reason"].value_counts().sort_index()
        about = stems[str(stem)]
        about["out"][source] = sorted(order[track] for track in rows["track"])
        about["why"][source] = "; ".join(
            f"{text.count(n, 'track')} ({why})" for why, n in reasons.items()
        )
    return stems


def _values(
    scores: pd.DataFrame, number: Mapping[tuple[str, str], int], order: Mapping[str, int]
) -> dict[str, dict[int, str | list[Any]]]:
    """Return per stem {row: one value a track}, in hundredths, packed."""
    out: dict[str, dict[int, list[Any]]] = {}
    columns = ("stem", "separator", "input", "track", "value", "status")
    for stem, separator, source, track, value, status in records(scores, *columns):
        cells = out.setdefault(stem, {})
        cell = cells.setdefault(number[separator, source], [None] * len(order))
        cell[order[track]] = "u" if status == "undefined" else _hundredths(value)
    return {
        stem: {row: pack(values) for row, values in sorted(cells.items())}
        for stem, cells in out.items()
    }


def pack(values: list[Any]) -> str | list[Any]:
    """Return hundredths as base64 of 16-bit integers, little end first; a third of the size.

    `CODES` stand for what is no number: null (no value), ``u`` (undefined: no or silent reference)
    and infinity. A list with a number that does not fit stays a list.

    Examples
    --------
    >>> pack([123, None]), pack([70000, "u"])
    ('ewAAgA==', [70000, 'u'])
    """
    if any(isinstance(value, int) and abs(value) > LARGEST for value in values):
        return values
    numbers = [value if isinstance(value, int) else CODES[value] for value in values]
    return base64.b64encode(struct.pack(f"<{len(numbers)}h", *numbers)).decode()


def _hundredths(value: float) -> int | str | None:
    """Return the value as it is shown, without its decimal point."""
    shown = text.encode(value)
    return round(shown * 100) if isinstance(shown, float) else shown


def _genres(
    here: pd.DataFrame,
    name: str,
    metric: str,
    number: Mapping[tuple[str, str], int],
    context: _Context,
) -> Json:
    """Return per stem and genre {row: [mean, sd, n]} on the common tracks."""
    means = tables.genre_means(here, name, metric, **context.how)
    out: Json = {}
    columns = ("stem", "genre", "separator", "input", "mean", "sd", "n")
    for stem, genre, separator, source, mean, sd, n in records(means, *columns):
        rows = out.setdefault(stem, {}).setdefault(genre, {})
        rows[number[separator, source]] = [text.encode(mean), text.encode(sd), n]
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


def _levels(stems: list[str], summary: Json, rows: list[Json], context: _Context) -> list[Json]:
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
                "groups": [
                    {"role": role, "input": source, "rows": _best_first(members, means, sign)}
                    for (role, source), members in groups.items()
                ],
            }
        )
    return out


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
