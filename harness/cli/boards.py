"""The leaderboard in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from harness.core.taxonomy import in_order
from harness.report import names
from harness.report.comparison import _ALONE, RunComparison, _label, _numbers
from harness.report.computed import Report
from harness.report.names import input_label, input_rank, metric_label
from harness.results import grid
from harness.results.ranking import OVERALL, SEPARATOR, Ranking
from harness.selection.comparing import SAME


class Board(NamedTuple):
    """One dataset's table: head and rows of text, and remarks below it."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def boards(report: Report) -> list[Board]:
    """Return one table per dataset and input: the mean score per ranked separator and stem.

    Best first. The score is the one that separators are chosen by, see
    `harness.results.grid.chosen_by`; the means are those of the page. Ensembles, which are not
    ranked with their members, follow in tables of their own.
    """
    role_of = report.scores["separator"].astype(object).map(report.roles)
    metrics = {
        role: grid.chosen_by(report.scores[role_of == role]) for role in ("ensemble", SEPARATOR)
    }
    found = [
        report.ranking(*place)
        for place in sorted({**metrics["ensemble"], **metrics[SEPARATOR]}.items())
    ]
    return [
        board
        for role in reversed(metrics)
        for one in found
        for board in _of(role, one, report.roles)
    ]


def _of(role: str, found: Ranking, roles: Mapping[str, str]) -> Iterator[Board]:
    """Yield the tables of the separators of one role."""
    rows = found.board[found.board["separator"].map(roles) == role]
    rows = rows[~rows["stem"].str.startswith(OVERALL)]
    shown = rows["rank"].notna() if role == SEPARATOR else (rows["n"] > 0) & ~rows["leaked"]
    for source in sorted(rows.loc[shown, "source"].unique(), key=input_rank):
        here = rows["source"] == source
        yield _board(found, source, role, rows[here & shown], rows[here & ~shown])


def _board(
    found: Ranking, source: str, role: str, board: pd.DataFrame, others: pd.DataFrame
) -> Board:
    """Lay out one dataset and input: separators with the most and best stems first."""
    means = board.pivot_table(index="separator", columns="stem", values="mean")
    common = board.groupby("stem")["common"].max()
    stems = in_order(means.columns)
    order = pd.DataFrame({"n": means.count(axis=1), "mean": means.mean(axis=1)})
    order = order.sort_values(["n", "mean"], ascending=False)
    rows = [
        (name, *("–" if pd.isna(v) else f"{v:.2f}" for v in means.loc[name, stems]))
        for name in order.index
    ]
    head = (role, *(f"{stem} (n={common[stem]})" for stem in stems))
    fed = "" if source == "mixture" else f", {input_label(source)}"
    label = metric_label(found.metric)
    if found.metric == grid.HARMONIC:
        label = "harmonic mean of SNR and SDR"
    title = f"{found.dataset}{fed}: {label}, dB, mean over the n common tracks"
    return Board(title, head, tuple(rows), tuple(_notes(board, others)))


def _notes(board: pd.DataFrame, others: pd.DataFrame) -> Iterator[str]:
    """Yield which scores were limited, and which separators have too few tracks to be ranked."""
    limited = board[board["limited"] > 0]
    if len(limited):
        where = ", ".join(
            f"{row['separator']} {row['stem']} {row['limited']}"
            for row in limited.to_dict("records")
        )
        yield f"Scores limited to ±{grid.LIMIT:g} dB: {where}"
    few = others[others["why"] != ""]
    for (name, why), rows in few.groupby(["separator", "why"], sort=True):
        yield f"{name}, {', '.join(in_order(rows['stem']))}: {why}"


def comparison_boards(found: RunComparison) -> list[Board]:
    """Return the comparison for a terminal: the first metric, and how the runs were made."""
    shown = []
    for metric, table in list(found.differences.items())[:1]:
        head = ("dataset", "separator", "stem", "n", "A", "B", "B − A (95 %)", "p (Holm)", "B is")
        title = f"A is {found.a.name}, B is {found.b.name}: {names.metric_label(metric)}, dB"
        rows = []
        for row in table[table["verdict"] != SAME].to_dict("records"):
            where = row["dataset"], _label(row), row["stem"], str(row["n"])
            rows.append((*where, *_numbers(row), row["verdict"]))
        shown.append(Board(title, head, tuple(rows)))
    if len(found.alone):
        alone = tuple(
            (row["run"], row["dataset"], _label(row), row["stem"], str(row["tracks"]))
            for row in found.alone.to_dict("records")
        )
        shown.append(Board("Only in one run", _ALONE, alone))
    if found.produced:
        made = tuple((what, old[:40], new[:40]) for what, old, new in found.produced)
        shown.append(Board("Made differently", ("what", "A", "B"), made))
    return shown
