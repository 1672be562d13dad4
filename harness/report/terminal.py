"""The leaderboard in a few lines, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from harness.report import tables
from harness.report.names import input_label, input_rank, metric_label
from harness.results import Run
from harness.selection import chosen_by
from harness.taxonomy import in_order


@dataclass(frozen=True)
class Board:
    """One dataset's table: head and rows of text."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def boards(run: Run) -> list[Board]:
    """Return a table a dataset and input: the mean score per ranked separator and stem.

    Best first. The score is what separators are chosen by, see `harness.selection.chosen_by`. The
    means are those of the page, on the tracks that all ranked separators share. Ensembles, which
    are not ranked with their members, follow in tables of their own.
    """
    leaks = {
        (row["separator"], row["dataset"], row["track"])
        for row in run.record["leaks"]
        if row["status"] == "leaked"
    }
    scores = tables.add_harmonic(run.scores)
    return [board for role in ("separator", "ensemble") for board in _of(role, run, scores, leaks)]


def _of(role: str, run: Run, scores: pd.DataFrame, leaks: tables.Leaks) -> Iterator[Board]:
    """Give the tables of the separators of one role."""
    names = {name for name, entry in run.record["separators"].items() if entry["role"] == role}
    for dataset, metric in chosen_by(scores[scores["separator"].isin(names)]).items():
        board = tables.leaderboard(scores, dataset, metric, ranked=names, leaks=leaks)
        board = board[board["rank"].notna()]
        for source in sorted(board["input"].unique(), key=input_rank):
            yield _board(dataset, source, metric, board[board["input"] == source], role)


def _board(dataset: str, source: str, metric: str, board: pd.DataFrame, role: str) -> Board:
    """Lay one dataset and input out: separators with the most and best stems first."""
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
    score = "harmonic mean of SNR and SDR" if metric == tables.HARMONIC else metric_label(metric)
    title = f"{dataset}{fed}: {score}, dB, mean over the n shared tracks"
    return Board(title, head, tuple(rows))
