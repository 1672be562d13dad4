"""Tables for a terminal: the leaderboard, two runs compared, and what `harness.selection` found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import pandas as pd

from harness.benchmark.forecast import Forecast
from harness.core.taxonomy import in_order
from harness.core.text import MISSING, cost, decimals, duration
from harness.core.text import count as counted
from harness.report.comparison import _ALONE, RunComparison, _label, _numbers
from harness.report.computed import Report, records
from harness.report.names import input_label, input_rank, metric_label
from harness.results import grid
from harness.results.ranking import GENERATIVE, OVERALL, SEPARATOR, Ranking
from harness.results.runs import sources
from harness.selection.comparing import SAME
from harness.selection.statistics import MIN_ARTISTS
from harness.selection.worth import in_words

_HIDDEN = {
    "dataset", "input", "fed_by", "lacks_a", "lacks_b", "artists", "single_score", "held_out",
    "better", "withheld", "low", "high",
}  # fmt: skip
_TITLES = {
    "n": "tracks (artists)", "score": "held-out", "p": "p (Holm)", "mean_a": "A", "mean_b": "B",
    "difference": "A − B (95 %)", "gain": "gain (95 %)", "single": "over the best single",
    "edges": "bands cut at, Hz",
}  # fmt: skip
MOST_NAMES = 3  # separators that a reason names

_APART = (SEPARATOR, "ensemble", GENERATIVE)  # roles with tables of their own


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
    ranked with their members, and generative separators follow in tables of their own.
    """
    role_of = report.scores["separator"].astype(object).map(report.roles)
    metrics = {
        dataset: metric
        for role in reversed(_APART)  # of a dataset with several, the metric of the first
        for dataset, metric in grid.chosen_by(report.scores[role_of == role]).items()
    }
    found = [report.ranking(*place) for place in sorted(metrics.items())]
    shown = []
    for role, ranking in product(_APART, found):
        rows = ranking.board[ranking.board["separator"].map(report.roles) == role]
        rows = rows[~rows["stem"].str.startswith(OVERALL)]
        mine = rows["rank"].notna() if role == SEPARATOR else (rows["n"] > 0) & ~rows["leaked"]
        for source in sorted(rows.loc[mine, "source"].unique(), key=input_rank):
            here = rows["source"] == source
            shown.append(_board(ranking, source, role, rows[here & mine], rows[here & ~mine]))
    return shown


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
    notes = list(_notes(board, others))
    if role == SEPARATOR and (line := _left_out(found, source)):
        notes.append(line)
    return Board(title, head, tuple(rows), tuple(notes))


def _left_out(found: Ranking, source: str) -> str:
    """Return why tracks are not among the n common ones, stems with equal reasons together."""
    rows = found.left_out[found.left_out["source"] == source]
    reasons: dict[str, Counter[str]] = {}
    for stem, reason, names in records(rows, "stem", "reason", "separators"):
        if not stem.startswith(OVERALL):
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            who = f" of {', '.join(names[:MOST_NAMES])}{more}" if names else ""
            reasons.setdefault(stem, Counter())[f"{reason}{who}"] += 1
    stems: dict[str, list[str]] = {}
    for stem in in_order(reasons):
        why = ", ".join(f"{n} {reason}" for reason, n in reasons[stem].most_common())
        stems.setdefault(why, []).append(stem)
    parts = [f"{', '.join(names)}: {why}" for why, names in stems.items()]
    return f"Left out of {counted(len(found.tracks), 'track')}: {'; '.join(parts)}" if parts else ""


def _notes(board: pd.DataFrame, others: pd.DataFrame) -> Iterator[str]:
    """Yield which scores were limited, and which separators are not ranked, and why."""
    limited = board[board["limited"] > 0]
    if len(limited):
        where = ", ".join(
            f"{row['limited']} of {row['separator']} ({row['stem']})"
            for row in limited.to_dict("records")
        )
        yield f"Scores limited to ±{grid.LIMIT:g} dB: {where}"
    few = others[others["why"] != ""]
    for (name, why), rows in few.groupby(["separator", "why"], sort=True):
        yield f"{name}, {', '.join(in_order(rows['stem']))}: {why}"


def forecast_board(ahead: Forecast) -> Board:
    """Return what a run would do: the jobs of each separator on each dataset."""
    rows = [
        (
            f"{row.separator} (in cascade)" if row.cascade else row.separator,
            row.dataset,
            str(row.jobs),
            str(row.finished),
            _time(row.seconds),
            _time(row.scoring),
        )
        for row in ahead.rows
    ]
    head = ("separator", "dataset", "jobs", "finished", "separating", "scoring")
    notes = [
        f"{skip.separator}{f', {skip.dataset}' if skip.dataset else ''}: left out: {skip.reason}"
        for skip in ahead.skips
    ]
    return Board("what this run would do, with the times of one worker", head, rows, notes)


def forecast_lines(ahead: Forecast, jobs: int) -> Iterator[str]:
    """Yield the jobs, the time and the disk space that a run would need."""
    every, finished = (
        sum(getattr(row, name) for row in ahead.rows) for name in ("jobs", "finished")
    )
    fed = sum(row.jobs for row in ahead.rows if row.cascade)
    cascades = f", {fed} of them in cascade" if fed else ""
    yield f"{counted(every, 'job')}{cascades}, {finished} of them finished by earlier runs"
    if every > finished:
        parts = {"separating": ahead.seconds, "scoring": ahead.scoring}
        known = [seconds for seconds in parts.values() if seconds is not None]
        said = ", ".join(f"{what} {_time(seconds)}" for what, seconds in parts.items())
        time = f"about {duration(sum(known))} ({said})" if known else "unknown"
        yield f"time with {counted(jobs, 'worker')}: {time}; reading, clips and reports come on top"
        lacks: dict[tuple[str, ...], list[str]] = {}
        for what, names in (("separating", ahead.unmeasured), ("scoring", ahead.unscored)):
            lacks.setdefault(names, []).append(what)
        for names, whats in lacks.items():
            if names:
                yield (
                    f"not included: {' and '.join(whats)} with {', '.join(names)}, never measured "
                    "on this machine and device by a run of this results folder"
                )
        space = {"kept estimates": ahead.clip_bytes, "inner products": ahead.product_bytes}
        words = ", ".join(
            f"{what} {'unknown (never measured)' if n is None else cost(n, 'bytes')}"
            for what, n in space.items()
        )
        yield f"disk: {words}; reports come on top"
    yield "nothing was done; omit --dry-run to start"


def _time(seconds: float | None) -> str:
    """Return a time span; – if it is unknown."""
    return MISSING if seconds is None else duration(seconds)


def comparison_boards(found: RunComparison) -> list[Board]:
    """Return the comparison for a terminal: the first metric, and how the runs were made."""
    shown = []
    for metric, table in list(found.differences.items())[:1]:
        head = ("dataset", "separator", "stem", "n", "A", "B", "B − A (95 %)", "p (Holm)", "B is")
        title = f"A is {found.a.name}, B is {found.b.name}: {metric_label(metric)}, dB"
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


def table_boards(table: pd.DataFrame, title: str) -> list[Board]:
    """Lay a table of `harness.selection` out for a terminal: one board per dataset and input.

    Examples
    --------
    >>> row = {"dataset": "demo", "stem": "bass", "gain": 0.5, "low": -0.125, "high": 1.0}
    >>> table_boards(pd.DataFrame([row]), "worth")[0].rows
    [['bass', '0.50 (−0.12 to 1.00)']]
    """
    if "fed_by" in table:
        table = table.assign(input=sources(table))
    keys = [key for key in ("dataset", "input") if key in table]
    found = []
    for where, part in table.groupby(keys, sort=True):
        names = [str(n) for n in table if n not in _HIDDEN]
        rows = [[_cell(name, row) for name in names] for row in part.to_dict("records")]
        place = str(where[0])
        place += f", from {where[1]}" if where[1:] not in ((), ("mixture",)) else ""
        found.append(Board(f"{place}: {title}", [_TITLES.get(name, name) for name in names], rows))
    return found


def other_boards(table: pd.DataFrame) -> tuple[list[Board], list[str]]:
    """Lay `harness.selection.other_choices` out: where a choice differs, and a line on the rest."""
    differs = table[table["differ"] > 0]
    texts = [f"{a}/{n}" for a, n in zip(differs["differ"], differs["n"], strict=True)]
    shown = differs.drop(columns=["differ", "n"]).assign(**{"other choice on tracks": texts})
    shown = shown.rename(
        columns={"chosen": "by default", "other": "by the metric", "loss": "lost by default score"}
    )
    same = [name for name in table["metric"].unique() if name not in set(differs["metric"])]
    line = f"the same choice as by default, on every track and stem: by {', '.join(same)}"
    found = (
        table_boards(shown, "where another metric would choose differently") if len(shown) else []
    )
    return found, [line] if same else []


def summary_boards(summary: pd.DataFrame, policy: str, unit: str = "dB") -> list[Board]:
    """Lay `summary` out: all columns of the policy in use, and held-out scores of all policies."""
    if summary.empty:
        return []
    main = summary[summary["policy"] == policy].drop(columns=["policy", "chosen"])
    found = table_boards(main, f"expected scores of the choice, {unit}")
    others = summary.pivot(
        index=["dataset", "input", "fed_by", "policy"], columns="stem", values="score"
    )
    stems = list(dict.fromkeys(summary["stem"]))
    others = others[stems].reindex(pd.unique(summary["policy"]), level="policy").reset_index()
    return found + table_boards(others, f"held-out scores of all ways to choose, {unit}")


def remarks(table: pd.DataFrame, a: str, b: str) -> list[str]:
    """Say where tracks are missing, or artists too few, in a table of `compare`."""
    lines = []
    for row in table.to_dict("records"):
        where = f"{row['dataset']}, {row['stem']}"
        lacks = [(name, row[f"lacks_{key}"]) for key, name in (("a", a), ("b", b))]
        missing = " and ".join(f"{name} has no score on {n} more" for name, n in lacks if n)
        if missing:
            lines.append(f"{where}: compared on {row['n']} tracks; {missing}")
        if row["artists"] < MIN_ARTISTS:
            lines.append(
                f"{where}: tracks by {row['artists']} artists are too few to find a significant "
                f"difference; {MIN_ARTISTS} are needed"
            )
    return lines


def _cell(name: str, row: Mapping[Any, Any]) -> str:
    """Return one value as text."""
    value = row[name]
    if isinstance(value, Mapping):
        return ", ".join(f"{stem}: {chosen}" for stem, chosen in value.items())
    if name == "n" and "artists" in row:
        return f"{value} ({row['artists']})"
    if not isinstance(value, float):
        return str(value)
    if pd.isna(value):
        return "–"
    if name == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if name == "peak_memory":
        return f"{value / 1e9:.2f} GB"
    if name in ("rtf", "parameters", "cpu_seconds"):
        return f"{value:.3g}"
    if name in ("difference", "gain"):
        low, high = row["low"], row["high"]
        ends = "–" if pd.isna(low) else f"{decimals(low)} to {decimals(high)}"
        return f"{decimals(value)} ({ends})"
    return decimals(value)


def blend_boards(worth: pd.DataFrame) -> list[Board]:
    """Lay `blends` out for a terminal: the held-out scores, and the weights."""
    words = worth.assign(weights=worth["weights"].map(in_words))
    if not words["edges"].any():
        words = words.drop(columns="edges")
    place = [name for name in ("dataset", "input", "fed_by", "stem", "edges") if name in words]
    shown = words.drop(columns=["weights", "in_sample", "p"])
    return [
        *table_boards(shown, "blends against the best single separator, dB"),
        *table_boards(words[[*place, "weights"]], "weights chosen on all tracks"),
    ]
