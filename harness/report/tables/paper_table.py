"""The one table that a paper needs: separators against stems, one dataset and metric, as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.core import taxonomy, text
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.report import names
from harness.report.computed import Report
from harness.report.tables.table_files import Block, Sheet
from harness.results.grid import LIMIT, chosen_by, limit_of
from harness.results.ranking import SEPARATOR, level

INTERVAL, SD, NONE = "interval", "sd", "none"
SPREADS = (INTERVAL, SD, NONE)


@dataclass(frozen=True)
class PaperChoice:
    """What a table shows; empty means the usual."""

    dataset: str = ""  # the only one
    metric: str = ""  # what separators are chosen by
    stems: Sequence[str] = ()  # of the mixture, with their overall score
    separators: Sequence[str] = ()  # all that are ranked
    spread: str = ""  # one of `SPREADS`; the interval where there is one, otherwise the SD


def paper_table(source: Report, choice: PaperChoice) -> Sheet:
    """Return the table as a sheet of one block, best separator first, best means in bold."""
    spread = _one("--spread", choice.spread, SPREADS) if choice.spread else ""
    dataset = _dataset(source, choice.dataset)
    by = chosen_by(source.scores[source.scores["separator"].isin(source.ranked)])
    first: str = source.metrics[0]["name"]
    metric = choice.metric or by.get(dataset, first)
    about = next(m for m in source.metrics if m["name"] == _metric(source, metric))
    ranking = source.ranking(dataset, metric)
    fed, stems = _stems(ranking.board, [taxonomy.canonical(stem) for stem in choice.stems])
    board = ranking.board[ranking.board["source"] == fed]
    usual = board["rank"].notna() if about["ranks"] else board["separator"].isin(source.ranked)
    shown = _separators(board, stems, choice.separators, usual, higher=about["higher"])
    cells = {(row["separator"], row["stem"]): row for row in board.to_dict("records")}
    sure = {
        stem: found.cells for (at, stem), found in source.certainties(dataset, metric).items()
        if at == fed
    }  # fmt: skip
    ends = {
        (name, stem): (cell.low, cell.high)
        for stem, of_stem in sure.items()
        for name, cell in of_stem.items()
        if not pd.isna(cell.low)
    }
    spread = spread or (INTERVAL if ends else SD)
    n = board.groupby("stem")["common"].max()
    if spread == SD and n[stems].max() <= 1:
        spread = NONE
    same = len({n[stem] for stem in stems}) == 1
    head = ("separator", *(names.stem_label(s) + ("" if same else f" (n = {n[s]})") for s in stems))
    rows, bold = [], set()
    for i, name in enumerate(shown):
        found = [cells.get((name, stem)) for stem in stems]
        role = source.roles.get(name, "")
        texts = [_cell(cell, ends.get((name, stem)), spread)
                 for stem, cell in zip(stems, found, strict=True)]  # fmt: skip
        rows.append((name if role == SEPARATOR else f"{name} ({role})", *texts))
        bold |= {(i, j + 1) for j, cell in enumerate(found) if cell and cell["rank"] == 1}
    caption = _caption(about, names.with_input(dataset, fed), spread, n[stems[0]] if same else None)
    label = f"tab:{dataset}-{metric}".replace("_", "-")
    block = Block(caption, head, tuple(rows), frozenset(bold), label)
    frame = board[board["separator"].isin(shown) & board["stem"].isin(stems)]
    title = f"{dataset}: {about['label']}"
    return Sheet(f"{dataset}_{metric}", title, about["definition"], frame, (block,))


def _caption(about: dict[str, Any], where: str, spread: str, n: int | None) -> str:
    """Return what the numbers are: metric, definition, dataset, tracks, spread, limit."""
    unit = (
        f"{',' if about['unit'][0].isdigit() else ' in'} {about['unit']}" if about["unit"] else ""
    )
    tracks = "the n tracks" if n is None else f"the {n} tracks"
    what = "n = 1" if n == 1 else f"mean over {tracks} that all ranked separators have"
    spreads = {
        INTERVAL: ", with its 95 % interval (bootstrap by artist)",
        SD: " ± standard deviation over tracks",
        NONE: "",
    }
    limit = limit_of(about["name"])
    limited = f" Scores beyond ±{LIMIT:g} dB count as ±{LIMIT:g} dB." if limit == LIMIT else ""
    bold = " Bold: the best separator per stem." if about["ranks"] else ""
    meaning = f" ({about['definition']})" if about["definition"] else ""
    return f"{about['label']}{unit}{meaning} on {where}: {what}{spreads[spread]}.{limited}{bold}"


def _cell(cell: Any, ends: tuple[float, float] | None, spread: str) -> str:
    """Return a mean with its spread; – if there is none."""
    if not cell or not cell["n"]:
        return text.MISSING
    mean = text.decimals(cell["mean"]) + (" (trained on it)" if cell["leaked"] else "")
    if spread == INTERVAL and ends:
        return f"{mean} [{text.decimals(ends[0])}, {text.decimals(ends[1])}]"
    if spread == SD and not pd.isna(cell["sd"]):
        return f"{mean} ± {text.decimals(cell['sd'])}"
    return mean


def _dataset(source: Report, name: str) -> str:
    """Return the dataset of the table."""
    if not source.datasets:
        raise HarnessError(f"{source.run.name}: has no scores to export; repeat the run first")
    if not name and len(source.datasets) > 1:
        known = ", ".join(source.datasets)
        raise HarnessError(f"{source.run.name}: has {known}; choose one with --dataset")
    return _one("--dataset", name or source.datasets[0], source.datasets)


def _metric(source: Report, name: str) -> str:
    return _one("--metric", name, [m["name"] for m in source.metrics])


def _one(option: str, value: str, known: Sequence[str]) -> str:
    """Return a value that is known, or refuse it."""
    if value not in known:
        raise HarnessError(f"{option} {value}: not known; {suggestion(value, known)}")
    return value


def _stems(board: pd.DataFrame, wanted: Sequence[str]) -> tuple[str, list[str]]:
    """Return the input, and the stems from it that are shown; the mixture comes first."""
    inputs = sorted(board["source"].unique(), key=names.input_rank)
    of = {fed: set(board.loc[board["source"] == fed, "stem"]) for fed in inputs}
    if not wanted:
        fed = inputs[0]
        main = [stem for stem in of[fed] if level(stem) == "main"] or list(of[fed])
        return fed, sorted(main, key=names.stem_rank)
    for stem in wanted:
        _one("--stems", stem, sorted(set().union(*of.values())))
    for fed in inputs:
        if set(wanted) <= of[fed]:
            return fed, list(dict.fromkeys(wanted))
    raise HarnessError(
        f"--stems {','.join(wanted)}: no input has all of them; export stems of one level at a time"
    )


def _separators(
    board: pd.DataFrame,
    stems: Sequence[str],
    wanted: Sequence[str],
    usual: pd.Series,
    *,
    higher: bool,
) -> list[str]:
    """Return the separators that are shown: with the most ranks first, then by their mean.

    They are those `wanted`, or those of the rows that are `usual`.
    """
    here = board[board["stem"].isin(stems) & (board["n"] > 0)]
    for name in wanted:
        _one("--separator", name, sorted(here["separator"].unique()))
    kept = here["separator"].isin(wanted) if wanted else usual[here.index]
    about = here[kept].groupby("separator").agg(n=("mean", "count"), mean=("mean", "mean"))
    about["mean"] *= 1 if higher else -1
    return list(about.sort_values(["n", "mean"], ascending=False, kind="stable").index)
