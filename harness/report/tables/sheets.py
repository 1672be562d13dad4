"""The tables of a run's report as data; `harness.report.tables.table_files` writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product, starmap
from typing import Any

import pandas as pd

from harness import selection
from harness.core import text
from harness.report import names, provenance
from harness.report.computed import Report, part, records
from harness.report.page.certainty import Certainty
from harness.report.page.choices import POLICIES
from harness.report.tables.table_files import Block, Sheet, cell_text, plain_sheet
from harness.results import summaries
from harness.results.grid import HARMONIC
from harness.results.ranking import NO_GENRE, Ranking, genre_name, level

COMMON = (
    "means over the common tracks: those on which all ranked separators have a clean score; scores "
    "beyond ±30 dB count as ±30 dB (limited: how many)"
)
_SCORE = "harmonic mean of SNR and SDR, dB"
_SURE = f"{_SCORE}, on the common tracks; 95 % interval (bootstrap by artist)"


def _labels(source: Report) -> dict[str, str]:
    """Return {metric: label with unit}."""
    return {m["name"]: f"{m['label']}, {m['unit']}".rstrip(", ") for m in source.metrics}


def _definitions(source: Report) -> str:
    """Return the definition of each metric, with its version."""
    found = []
    for metric in source.metrics:
        version = f" (version {metric['version']})" if metric["version"] != "" else ""
        found.append(f"{metric['name']}{version}: {metric['definition']}")
    return "; ".join(found)


def _certainties(source: Report) -> Iterator[tuple[dict[str, str], Certainty]]:
    """Yield the certainty of the metric that selects, per dataset, input and stem."""
    if HARMONIC in (metric["name"] for metric in source.metrics):
        for dataset in source.datasets:
            for (fed, stem), one in source.certainties(dataset, HARMONIC).items():
                yield {"dataset": dataset, "input": fed, "stem": stem}, one


def all_sheets(source: Report) -> list[Sheet]:
    """Return the tables of a run's report that have rows, in the order of the page."""
    lists = starmap(plain_sheet, provenance.lists(source))
    found = [_leaderboard(source), _genres(source), *_plain(source), *lists]
    return [sheet for sheet in found if len(sheet.frame)]


def _gather(source: Report, make: Callable[[Ranking], pd.DataFrame]) -> pd.DataFrame:
    """Return one table over all datasets and metrics."""
    found = []
    for dataset, metric in product(source.datasets, source.metrics):
        about = {"dataset": dataset, "metric": metric["name"], "unit": metric["unit"]}
        made = make(source.ranking(dataset, metric["name"])).rename(columns={"source": "input"})
        found.append(made.assign(**about))
    if not found:
        return pd.DataFrame()
    frame = pd.concat(found, ignore_index=True)
    frame["role"] = [source.roles.get(str(name), "") for name in frame["separator"]]
    return frame.astype(dict.fromkeys(("input", "stem", "separator"), "object"))


def _leaderboard(source: Report) -> Sheet:
    """Return what the boards show: one row per dataset, input, stem, separator and metric."""
    frame = _gather(source, lambda ranking: ranking.board)
    if len(frame):
        frame.insert(0, "level", [level(str(stem)) for stem in frame["stem"]])
        first = ["dataset", "level", "input", "stem", "metric", "unit", "role", "separator"]
        frame = _first(frame, first).astype({"rank": "Int64", "rank_median": "Int64"})
    about = f"{_definitions(source)}. All are {COMMON}; sd is the standard deviation over tracks"
    blocks = tuple(_boards(frame, source)) if len(frame) else ()
    return Sheet("leaderboard", "Leaderboard", about, frame, blocks)


def _boards(frame: pd.DataFrame, source: Report) -> Iterator[Block]:
    """Lay the leaderboard out: one block per dataset, level, input and metric, best first."""
    labels = _labels(source)
    keys = ["dataset", "level", "input"]
    for (dataset, name, fed), here in frame.groupby(keys, sort=True):
        stems = sorted(here["stem"].unique(), key=names.stem_rank)
        for metric in labels:
            rows = here[here["metric"] == metric]
            if len(rows):
                where = names.with_input(f"{dataset}: {names.LEVELS[str(name)]}", str(fed))
                yield _board(f"{where}: {labels[metric]}", rows, stems)


def _board(caption: str, rows: pd.DataFrame, stems: Sequence[str]) -> Block:
    """Lay one board out: separators by role, then by rank in the last column."""
    cells = {(r["separator"], r["stem"]): r for r in rows.to_dict("records")}
    n = rows.groupby("stem")["common"].max()
    here = [s for s in stems if s in n.index]
    by = next((s for s in here if names.is_overall(s)), here[0])
    roles = list(names.ROLES)

    def place(row: tuple[str, str]) -> tuple[Any, ...]:
        cell = cells.get((row[0], by))
        rank = cell["rank"] if cell else pd.NA
        mean = -cell["mean"] if cell and cell["n"] else float("inf")
        return roles.index(row[1]), pd.isna(rank), mean if pd.isna(rank) else rank, row[0]

    head = ("separator", *(f"{names.stem_label(s)} (n = {n[s]})" for s in here))
    body, bold = [], set()
    for i, (name, role) in enumerate(sorted(set(records(rows, "separator", "role")), key=place)):
        found = [cells.get((name, stem)) for stem in here]
        mark = "" if role == "separator" else f" ({role})"
        body.append((f"{name}{mark}", *map(_spread, found)))
        bold |= {
            (i, j + 1)
            for j, cell in enumerate(found)
            if cell is not None and not pd.isna(cell["rank"]) and cell["rank"] == 1
        }
    numbers = "mean ± SD of tracks" if max(n[s] for s in here) > 1 else "n = 1"
    return Block(f"{caption}, {numbers}", head, tuple(body), frozenset(bold))


def _spread(cell: Mapping[Any, Any] | None) -> str:
    """Return a mean with its spread, marked where the separator was trained on a track."""
    if not cell or not cell["n"]:
        return text.MISSING
    leaked = " leaked" if cell["leaked"] else ""
    spread = "" if pd.isna(cell["sd"]) else f" ± {cell_text(float(cell['sd']))}"
    return f"{cell_text(float(cell['mean']))}{spread}{leaked}"


def _genres(source: Report) -> Sheet:
    """Return the means by genre."""
    frame = _gather(source, lambda ranking: ranking.genres)
    if not len(frame) or set(frame["genre"]) == {NO_GENRE}:
        frame = frame.iloc[:0]
    blocks, labels = [], _labels(source)
    keys = ["dataset", "input", "stem", "metric"]
    if len(frame):
        frame = _first(frame, [*keys, "unit", "genre", "role", "separator"])
        for (dataset, fed, stem, metric), rows in frame.groupby(keys, sort=True):
            where = f"{dataset}: {names.stem_label(str(stem))}, {labels[str(metric)]}"
            blocks.append(_by_genre(names.with_input(where, str(fed)), rows))
    about = f"{_definitions(source)}. All are {COMMON}"
    return Sheet("genres", "Genres", about, frame, tuple(blocks))


def _by_genre(caption: str, rows: pd.DataFrame) -> Block:
    """Lay means out with a column per separator and the number of tracks in brackets."""
    cells = {(r["genre"], r["separator"]): r for r in rows.to_dict("records")}
    columns = sorted(rows["separator"].unique())
    body = []
    for genre in sorted(rows["genre"].unique()):
        found = (cells.get((genre, name)) for name in columns)
        means = (f"{cell_text(float(c['mean']))} ({c['n']})" if c else text.MISSING for c in found)
        body.append((str(genre), *means))
    return Block(f"{caption}, mean (tracks)", ("genre", *columns), tuple(body))


def _plain(source: Report) -> Iterator[Sheet]:
    """Yield the tables after the first two: selection, costs, tracks, how sure the means are."""
    chosen = source.run.selection
    by_genre = chosen.assign(genre=chosen["genre"].map(genre_name))
    yield plain_sheet(
        "selection",
        "Selection",
        "number of tracks on which each separator is chosen by the harmonic mean of SNR and SDR: "
        "oracle by the scores of the track itself, deployable by those of other artists' tracks",
        summaries.selection_counts(by_genre, by=["genre"]),
    )
    yield plain_sheet(
        "hierarchy",
        "From the true stem and in cascade",
        f"{_SCORE}, on the tracks that have both",
        summaries.hierarchy(source.run.scores),
    )
    yield _costs(source)
    yield _tracks(source)
    sure = list(_certainties(source))
    cells = [
        {**where, "separator": name, "artists": one.artists, **cell._asdict()}
        for where, one in sure
        for name, cell in one.cells.items()
    ]
    yield plain_sheet(
        "intervals",
        "Intervals and groups",
        f"{_SURE}; scores beyond ±30 dB count as ±30 dB; separators that share a letter in group "
        "do not differ significantly",
        pd.DataFrame(cells),
    )
    pairs = [one.pairs.assign(**where)[[*where, *one.pairs.columns]] for where, one in sure]
    yield plain_sheet(
        "pairs",
        "Pairwise differences",
        f"a minus b: {_SCORE}, on the common tracks; 95 % interval and p of a t-test by artist and "
        "the signed-rank test, after Holm's correction",
        pd.concat(pairs, ignore_index=True) if pairs else pd.DataFrame(),
    )
    best_mean = {POLICIES[0]: selection.POLICIES[POLICIES[0]]}
    yield plain_sheet(
        "worth",
        "Expected score of choosing per stem",
        f"{_SCORE}, held out: chosen by the best mean on other artists' tracks; regret: gap to the "
        "oracle; optimism: score on the tracks that chose minus held-out score; gain: over the "
        "best single separator",
        selection.summary(source.candidates, policies=best_mean),
    )
    yield plain_sheet(
        "stability",
        "Stability of the choice",
        "share of bootstrap resamples of the artists in which each separator has the best mean",
        source.frequencies,
    )


def _costs(source: Report) -> Sheet:
    """Return the costs of separators."""
    known = part(source.run.record, "metrics")
    frame = summaries.costs(source.run.costs)
    units = [(known.get(metric) or {}).get("unit", "") for metric in frame["metric"]]
    about = "median over tracks; memory: the maximum"
    shown = frame.assign(value=list(map(text.cost, frame["value"], units)))
    blocks = plain_sheet("costs", "Costs", about, shown).blocks
    return Sheet("costs", "Costs", about, frame.assign(unit=units), blocks)


def _tracks(source: Report) -> Sheet:
    """Return the score of each track, one column per separator; print shows the first metric."""
    ok = source.scores[source.scores["status"] == "ok"]
    keys = ["dataset", "split", "track", "artist", "genre", "input", "stem", "metric"]
    ok = ok.assign(input=ok["source"])
    texts = {c: ok[c].astype("object").fillna("") for c in keys}
    wide = ok.assign(**texts).pivot(index=keys, columns="separator", values="value")
    frame = wide.rename(columns=str).rename_axis(columns=None).reset_index()
    about = f"{_definitions(source)}. Empty where no score is defined"
    blocks = []
    if len(frame):
        first = frame[frame["metric"] == source.metrics[0]["name"]]
        label = next(iter(_labels(source).values()))
        for (dataset, fed, stem), rows in first.groupby(["dataset", "input", "stem"], sort=True):
            columns = [c for c in frame.columns[len(keys) :] if rows[c].notna().any()]
            tracks = names.of_tracks(list(records(rows, "split", "track")))
            values = records(rows, *columns)
            body = tuple((t, *map(cell_text, v)) for t, v in zip(tracks, values, strict=True))
            where = names.with_input(f"{dataset}, {names.stem_label(str(stem))}", str(fed))
            blocks.append(Block(f"{where}: {label}", ("track", *columns), body))
    return Sheet("tracks", "Track by track", about, frame, tuple(blocks))


def _first(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Return the frame sorted by these columns, which come first."""
    rest = [c for c in frame.columns if c not in columns]
    return frame[[*columns, *rest]].sort_values(columns, ignore_index=True)
