"""Terminal output: lines, tables, progress bars, questions and JSON.

Names and messages from others may hold codes that a terminal obeys. Every text passes `readable`
here, and none is markup; the rest of the command line prints only with these functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich import box
from rich import progress as bars
from rich.console import Console
from rich.table import Table
from rich.text import Text

LONGEST = 24  # characters; shorter words in tables are not broken if there is room
CODES = re.compile(  # control characters, line and paragraph ends, changes of direction, no text
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def readable(text: object) -> str:
    r"""Return text in which characters that a terminal obeys are visible; it may have lines.

    Examples
    --------
    >>> print(readable("a\x1b[31mb"))
    a\x1b[31mb
    """
    return CODES.sub(lambda code: code[0].encode("unicode_escape").decode(), str(text))


def one_line(text: object) -> str:
    """Return readable text; an end of a line in it is visible too, so that it forges no line."""
    return readable(text).replace("\n", "\\n")


def say(text: object, style: str | None = None) -> None:
    """Print a message to standard error."""
    errors.print(Text(readable(text)), style=style)


def show(text: object) -> None:
    """Print one line of results to standard output."""
    typer.echo(one_line(text))


@contextmanager
def progress(what: str, quiet: bool) -> Iterator[Any]:
    """Yield a callback (done, total) that draws a bar with the time used and the time left."""
    name = bars.TextColumn("{task.description}", markup=False)
    share = bars.BarColumn(), bars.MofNCompleteColumn()
    labels = (bars.TextColumn(word) for word in ("elapsed", "left"))
    clocks = bars.TimeElapsedColumn(), bars.TimeRemainingColumn()
    times = [column for pair in zip(labels, clocks, strict=True) for column in pair]
    with bars.Progress(name, *share, *times, console=errors, disable=quiet) as bar:
        task = bar.add_task(one_line(what), total=None, visible=False)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        yield advance


def print_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()
) -> None:
    """Print a table and the lines below it.

    Cells are plain text, never markup, and words are not broken if they fit.
    """
    console = Console(emoji=False)
    columns = [[readable(cell) for cell in column] for column in zip(head, *rows, strict=True)]
    longest = [min(max(map(len, " ".join(c).split()), default=0), LONGEST) for c in columns]
    framed, bare = 3 * len(columns) + 1, 2 * len(columns) - 1
    dense = sum(longest) + framed > console.width
    if not console.is_terminal:  # a file has no edge
        console.width = max(console.width, sum(longest) + bare)
    room = console.width - (bare if dense else framed)
    widths = widened(longest, [max(map(len, column)) for column in columns], room)
    table = Table(title=Text(readable(title)), title_justify="left")
    if dense:
        table.box, table.show_edge, table.padding = box.SIMPLE_HEAD, False, (0, 1, 0, 0)
    for (name, *_), width in zip(columns, widths, strict=True):
        table.add_column(Text(name), overflow="fold", width=width)
    for row in rows:
        table.add_row(*(Text(readable(cell)) for cell in row))
    console.print(table)
    for note in notes:
        console.print(Text(readable(note)))


def widened(least: Sequence[int], most: Sequence[int], room: int) -> Sequence[int | None]:
    """Return column widths between `least` and `most`; None if `least` does not fit."""
    widths = list(least)
    while sum(widths) < room and any(w < m for w, m in zip(widths, most, strict=True)):
        widths[max(range(len(widths)), key=lambda i: most[i] / max(widths[i], 1))] += 1
    return widths if sum(widths) <= room else [None] * len(widths)


def records(table: Any) -> list[dict[str, Any]]:
    """Return the rows of a table for JSON; NaN is null."""
    rows: list[dict[str, Any]] = table.astype(object).where(table.notna(), None).to_dict("records")
    return rows


def print_json(value: Any) -> None:
    """Print JSON to standard output."""
    typer.echo(json.dumps(value, indent=1, default=str))


def agree(question: str, default: bool = False) -> bool:
    """Ask a yes/no question; an empty answer means the default, the end of input no."""
    try:
        answer = errors.input(Text(f"{one_line(question)} [{'Y/n' if default else 'y/N'}] "))
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes", *([""] if default else []))
