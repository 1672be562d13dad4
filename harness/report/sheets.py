"""The tables of a run's report as data; `harness.report.formats` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.ranking import HARMONIC, NO_GENRE, Ranking, genre_name, level
from harness.report import names, payload, provenance, sure_sheets, tables, text
from harness.report.dataset import Context, records
from harness.report.sheet import Block, Sheet, cell_text, plain
from harness.results import Run

COMMON = (
    "means over the common tracks: those on which all ranked separators have a clean score; scores "
    "beyond ±30 dB count as ±30 dB (limited: how many)"
)


@dataclass(frozen=True)
class Source:
    """What the sheets are made from: a run, its scores as `payload.prepare` gives them."""

    run: Run
    scores: pd.DataFrame
    context: Context
    _rankings: dict[tuple[str, str], Ranking] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """Return {metric: name with unit}."""
        about = self.context.metrics
        return {m["name"]: f"{m['label']}, {m['unit']}".rstrip(", ") for m in about}

    def ranking(self, dataset: str, metric: dict[str, Any]) -> Ranking:
        """Return a dataset's ranking by one metric, made once."""
        key = dataset, metric["name"]
        if key not in self._rankings:
            self._rankings[key] = self.context.rank(self.scores, dataset, metric)
        return self._rankings[key]

    def each(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give each dataset with each metric."""
        for dataset in sorted(self.scores["dataset"].unique()):
            for metric in self.context.metrics:
                yield str(dataset), metric


def all_sheets(run: Run) -> list[Sheet]:
    """Return the tables of a run's report that have rows, in the order of the page."""
    source = Source(run, *payload.prepare(run))
    makers: list[Callable[[Source], Sheet]] = [
        _leaderboard, _genres, _selection, _hierarchy, _costs, _tracks,
    ]  # fmt: skip
    found = [make(source) for make in makers]
    found += sure_sheets.of_means(_first_metric(source))
    found += sure_sheets.of_choices(run) + _records(run)
    return [sheet for sheet in found if len(sheet.frame)]


def _first_metric(source: Source) -> list[Ranking]:
    """Return the ranking of each dataset by the metric that selects."""
    return [source.ranking(*each) for each in source.each() if each[1]["name"] == HARMONIC]


def _gather(source: Source, make: Callable[[Ranking], pd.DataFrame]) -> pd.DataFrame:
    """Return one table over all datasets and metrics."""
    found = []
    for dataset, metric in source.each():
        about = {"dataset": dataset, "metric": metric["name"], "unit": metric["unit"]}
        found.append(make(source.ranking(dataset, metric)).assign(**about))
    if not found:
        return pd.DataFrame()
    frame = pd.concat(found, ignore_index=True)
    frame["role"] = [source.context.roles.get(str(name), "") for name in frame["separator"]]
    return frame.astype(dict.fromkeys(("input", "stem", "separator"), "object"))


def _leaderboard(source: Source) -> Sheet:
    """Return what the boards show: one row per dataset, input, stem, separator and metric."""
    frame = _gather(source, lambda ranking: ranking.board)
    if len(frame):
        frame.insert(0, "level", [level(str(stem)) for stem in frame["stem"]])
        first = ["dataset", "level", "input", "stem", "metric", "unit", "role", "separator"]
        frame = _first(frame, first).astype({"rank": "Int64", "rank_median": "Int64"})
    about = f"{_definitions(source)}. All {COMMON}; sd is that of the tracks"
    blocks = tuple(_boards(frame, source)) if len(frame) else ()
    return Sheet("leaderboard", "Leaderboard", about, frame, blocks)


def _boards(frame: pd.DataFrame, source: Source) -> Iterator[Block]:
    """Lay the leaderboard out: a block a dataset, level, input and metric, best first."""
    order = [m["name"] for m in source.context.metrics]
    keys = ["dataset", "level", "input"]
    for (dataset, name, fed), part in frame.groupby(keys, sort=True):
        stems = sorted(part["stem"].unique(), key=names.stem_rank)
        for metric in order:
            rows = part[part["metric"] == metric]
            if len(rows):
                where = f"{dataset}: {names.LEVELS[str(name)]}"
                fed_with = "" if fed == "mixture" else f", {names.input_label(str(fed))}"
                yield _board(f"{where}{fed_with}: {source.labels[metric]}", rows, stems)


def _board(caption: str, rows: pd.DataFrame, stems: Sequence[str]) -> Block:
    """Lay one board out: separators by role, then by their place in the last column."""
    cells = {(r["separator"], r["stem"]): r for r in rows.to_dict("records")}
    n = rows.groupby("stem")["common"].max()
    here = [s for s in stems if s in n.index]
    by = next((s for s in here if names.is_overall(s)), here[0])
    roles = list(names.ROLES)

    def place(who: tuple[str, str]) -> tuple[Any, ...]:
        cell = cells.get((who[0], by))
        rank = cell["rank"] if cell else pd.NA
        mean = -cell["mean"] if cell and cell["n"] else float("inf")
        return roles.index(who[1]), pd.isna(rank), mean if pd.isna(rank) else rank, who[0]

    who = sorted(set(records(rows, "separator", "role")), key=place)
    head = ("separator", *(f"{names.stem_label(s)} (n = {n[s]})" for s in here))
    body, bold = [], set()
    for i, (name, role) in enumerate(who):
        found = [cells.get((name, stem)) for stem in here]
        mark = "" if role == "separator" else f" ({role})"
        body.append((f"{name}{mark}", *map(_spread, found)))
        bold |= {(i, j + 1) for j, cell in enumerate(found) if _is_first(cell)}
    return Block(f"{caption}, mean ± SD of tracks", head, tuple(body), frozenset(bold))


def _is_first(cell: Mapping[Any, Any] | None) -> bool:
    """Whether it is the best of its column."""
    return cell is not None and not pd.isna(cell["rank"]) and cell["rank"] == 1


def _spread(cell: Mapping[Any, Any] | None) -> str:
    """Write a mean with its spread, marked where it holds tracks seen in training."""
    if not cell or not cell["n"]:
        return text.MISSING
    seen = " leaked" if cell["leaked"] else ""
    return f"{cell_text(float(cell['mean']))} ± {cell_text(float(cell['sd']))}{seen}"


def _genres(source: Source) -> Sheet:
    """Return the means by genre."""
    frame = _gather(source, lambda ranking: ranking.genres)
    if not len(frame) or set(frame["genre"]) == {NO_GENRE}:
        frame = frame.iloc[:0]
    blocks = []
    keys = ["dataset", "input", "stem", "metric"]
    if len(frame):
        frame = _first(frame, [*keys, "unit", "genre", "role", "separator"])
        for (dataset, fed, stem, metric), rows in frame.groupby(keys, sort=True):
            where = f"{dataset}: {names.stem_label(str(stem))}, {source.labels[str(metric)]}"
            fed_with = "" if fed == "mixture" else f", {names.input_label(str(fed))}"
            blocks.append(_pivot(where + fed_with, rows, "genre"))
    about = f"{_definitions(source)}. All {COMMON}"
    return Sheet("genres", "Genres", about, frame, tuple(blocks))


def _pivot(caption: str, rows: pd.DataFrame, by: str) -> Block:
    """Lay means out with separators as columns; in brackets the number of tracks."""
    wide = {(r[by], r["separator"]): r for r in rows.to_dict("records")}
    columns = sorted(rows["separator"].unique())
    body = [
        (str(key), *(_counted(wide.get((key, name))) for name in columns))
        for key in sorted(rows[by].unique())
    ]
    return Block(f"{caption}, mean (tracks)", (by, *columns), tuple(body))


def _counted(cell: Mapping[Any, Any] | None) -> str:
    """Write a mean with the number of tracks behind it."""
    return f"{cell_text(float(cell['mean']))} ({cell['n']})" if cell else text.MISSING


def _selection(source: Source) -> Sheet:
    """Return how often each separator was chosen, by genre."""
    named = source.run.selection
    named = named.assign(genre=named["genre"].map(genre_name))
    about = (
        "on how many tracks each separator is the one to take, by the harmonic mean of SNR and SDR:"
        " oracle with the answers of the track, deployable chosen on other artists' tracks"
    )
    return plain("selection", "Selection", about, tables.selection_counts(named, by=["genre"]))


def _hierarchy(source: Source) -> Sheet:
    """Return what separators of a stem score with the true one and in cascade."""
    about = "harmonic mean of SNR and SDR, dB, on the tracks that have both"
    title = "Fed with the true stem and in cascade"
    return plain("hierarchy", title, about, tables.hierarchy(source.run.scores))


def _costs(source: Source) -> Sheet:
    """Return what separators cost."""
    known = payload.part(source.run.record, "metrics")
    frame = tables.costs(source.run.costs)
    units = [(known.get(metric) or {}).get("unit", "") for metric in frame["metric"]]
    about = "the median of tracks; of memory the largest"
    printed = frame.assign(value=list(map(text.cost, frame["value"], units)))
    sheet = plain("costs", "Costs", about, printed)
    return Sheet("costs", "Costs", about, frame.assign(unit=units), sheet.blocks)


def _tracks(source: Source) -> Sheet:
    """Return the scores track by track, one column a separator; printed is the first metric."""
    ok = source.scores[source.scores["status"] == "ok"]
    keys = ["dataset", "split", "track", "artist", "genre", "input", "stem", "metric"]
    texts = {c: ok[c].astype("object").fillna("") for c in keys}
    wide = ok.assign(**texts).pivot(index=keys, columns="separator", values="value")
    frame = wide.rename(columns=str).rename_axis(columns=None).reset_index()
    about = f"{_definitions(source)}. Empty where no score is defined"
    blocks = []
    if len(frame):
        first = frame[frame["metric"] == source.context.metrics[0]["name"]]
        label = next(iter(source.labels.values()))
        for (dataset, fed, stem), rows in first.groupby(["dataset", "input", "stem"], sort=True):
            columns = [c for c in frame.columns[len(keys) :] if rows[c].notna().any()]
            tracks = names.of_tracks(list(records(rows, "split", "track")))
            values = records(rows, *columns)
            body = tuple((t, *map(cell_text, v)) for t, v in zip(tracks, values, strict=True))
            where = f"{dataset}, {names.stem_label(str(stem))}"
            fed_with = "" if fed == "mixture" else f", {names.input_label(str(fed))}"
            blocks.append(Block(f"{where}{fed_with}: {label}", ("track", *columns), body))
    return Sheet("tracks", "Track by track", about, frame, tuple(blocks))


def _records(run: Run) -> list[Sheet]:
    """Return what the provenance page lists."""
    return [plain(*sheet) for sheet in provenance.lists(run)]


def _definitions(source: Source) -> str:
    """Return the definition of each metric, with its version."""
    return "; ".join(
        f"{m['name']} (version {m['version']}): {m['definition']}".replace(" (version )", "")
        for m in source.context.metrics
    )


def _first(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the frame sorted by these columns, which come first."""
    rest = [c for c in frame.columns if c not in columns]
    return frame[[*columns, *rest]].sort_values(columns, ignore_index=True)
