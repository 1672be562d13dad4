"""The leaderboard in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness import ranking
from harness.grid import chosen_by
from harness.report.names import input_label, input_rank, metric_label
from harness.results import Run, leaked
from harness.taxonomy import in_order


@dataclass(frozen=True)
class Board:
    """One dataset's table: head and rows of text, and remarks below it."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def boards(run: Run) -> list[Board]:
    """Return one table per dataset and input: the mean score per ranked separator and stem.

    Best first. The score is the one that separators are chosen by, see `harness.grid.chosen_by`;
    the means are those of the page. Ensembles, which are not ranked with their members, follow in
    tables of their own.
    """
    scores, roles = ranking.add_harmonic(run.scores), ranking.roles(run)
    by_role = {
        role: chosen_by(scores[scores["separator"].map(roles) == role])
        for role in ("ensemble", ranking.SEPARATOR)
    }
    how: Any = {"ranked": ranking.ranked_in(run), "leaks": leaked(run.record)}
    found = [
        ranking.rank(scores, dataset, metric, **how)
        for dataset, metric in sorted({**by_role["ensemble"], **by_role["separator"]}.items())
    ]
    return [board for role in reversed(by_role) for one in found for board in _of(role, one, roles)]


def _of(role: str, found: ranking.Ranking, roles: Mapping[str, str]) -> Iterator[Board]:
    """Yield the tables of the separators of one role."""
    rows = found.board[found.board["separator"].map(roles) == role]
    shown = rows["rank"].notna() if role == ranking.SEPARATOR else (rows["n"] > 0) & ~rows["leaked"]
    for source in sorted(rows.loc[shown, "input"].unique(), key=input_rank):
        here = rows["input"] == source
        yield _board(found, source, role, rows[here & shown], rows[here & ~shown])


def _board(
    found: ranking.Ranking, source: str, role: str, board: pd.DataFrame, others: pd.DataFrame
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
    if found.metric == ranking.HARMONIC:
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
        yield f"Scores limited to ±{ranking.LIMIT:g} dB: {where}"
    few = others[others["why"] != ""]
    for (name, why), rows in few.groupby(["separator", "why"], sort=True):
        yield f"{name}, {', '.join(in_order(rows['stem']))}: {why}"
