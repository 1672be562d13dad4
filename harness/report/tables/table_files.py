"""Tables of a report as files: CSV and Parquet for analysis, LaTeX and Markdown for print.

CSV and Parquet hold full precision, LaTeX and Markdown what the page shows. Each file starts with
what it shows, of which run, over how many tracks and by which version. Names from files stay text
in all of them. Equal tables give equal bytes.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from harness.core import text
from harness.core.files import write_stream
from harness.results.runs import Run

LONG = 45  # rows; a longer LaTeX table continues over pages
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "^": r"\textasciicircum{}", "_": r"\_", "%": r"\%", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
    "−": "$-$", "±": r"$\pm$", "∞": r"$\infty$", "×": r"$\times$", "–": "--",
    "Σ": r"$\Sigma$", "·": r"$\cdot$", "→": r"$\to$", "²": r"$^2$",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&$])")
_NUMBER = re.compile(r"[−–∞\d]|< ")
_HAT = re.compile("([A-Za-z])\u0302")
_LABEL = re.compile(r"[^A-Za-z0-9:-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


@dataclass(frozen=True)
class Block:
    """One printed table: header and cells are text; ``bold`` holds (row, column) of the best.

    ``label`` is its name in LaTeX; without one it has that of its sheet and a number.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    label: str = ""


@dataclass(frozen=True)
class Sheet:
    """One table of a report, for analysis and for print."""

    name: str  # of its files
    title: str
    about: str  # definition of its numbers
    frame: pd.DataFrame  # tidy, exact
    blocks: tuple[Block, ...]  # the same, laid out and rounded


@dataclass(frozen=True)
class Download:
    """The files of one table, for a page: {format: address}."""

    name: str
    title: str
    files: Mapping[str, str]


def plain_sheet(name: str, title: str, about: str, frame: pd.DataFrame) -> Sheet:
    """Return a sheet printed column by column as it is, numbers with two decimals."""
    shown = {
        c: list(map(text.probability, frame[c])) if c == "p" else frame[c].tolist() for c in frame
    }
    rows = tuple(tuple(map(cell_text, row)) for row in zip(*shown.values(), strict=True))
    head = tuple(str(c).replace("_", " ") for c in frame.columns)
    return Sheet(name, title, about, frame, (Block(title, head, rows),))


def cell_text(value: Any) -> str:
    """Return one value of a table as text."""
    if isinstance(value, float):
        return text.decimals(value)
    return text.MISSING if value is None else str(value)


def write_sheets(
    sheets: Iterable[Sheet], run: Run, folder: Path, formats: Iterable[str] = ()
) -> list[Download]:
    """Write each sheet in the formats given (all of `FORMATS` if none).

    The addresses returned are relative to the parent of `folder`.
    """
    found = []
    for sheet in sheets:
        files = {}
        for name in tuple(formats) or tuple(FORMATS):
            path = folder / f"{sheet.name}{SUFFIXES[name]}"
            with write_stream(path) as file:
                file.write(FORMATS[name](sheet, run))
            files[name] = f"{folder.name}/{path.name}"
        found.append(Download(sheet.name, sheet.title, files))
    return found


def head(sheet: Sheet, run: Run) -> dict[str, str]:
    """Return the lines at the head of each file."""
    tracks = run.scores.drop_duplicates(["dataset", "split", "track"]).groupby("dataset").size()
    record = run.record
    changed = " with uncommitted changes" if record.get("dirty") else ""
    return {
        "title": sheet.title,
        "definition": sheet.about,
        "run": run.name,
        "tracks": ", ".join(f"{name} n = {n}" for name, n in tracks.items()) or "none",
        "made by": f"harness {record.get('harness_version', '')}".strip(),
        "commit": f"{record.get('commit') or 'unknown'}{changed}",
        "scored": str(record.get("finished") or record.get("created") or ""),
    }


def to_csv(sheet: Sheet, run: Run) -> bytes:
    """Return the tidy table as CSV, its head as comment lines; texts are quoted, numbers exact.

    `pandas.read_csv(…, comment="#")` reads it.
    """
    lines = "".join(f"# {key}: {one_line(value)}\n" for key, value in head(sheet, run).items())
    body = sheet.frame.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    return (lines + body).encode("utf-8", "replace")


def to_parquet(sheet: Sheet, run: Run) -> bytes:
    """Return the tidy table as Parquet; its metadata holds the head under ``harness``."""
    table = pa.Table.from_pandas(sheet.frame, preserve_index=False)
    about = {**(table.schema.metadata or {}), b"harness": json.dumps(head(sheet, run)).encode()}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(about), sink, compression="zstd")
    return bytes(sink.getvalue())


def to_latex(sheet: Sheet, run: Run) -> bytes:
    """Return the printed tables as LaTeX for booktabs, and longtable for long ones."""
    lines = [f"% {key}: {one_line(value)}" for key, value in head(sheet, run).items()]
    lines.append(r"% needs \usepackage{booktabs,longtable,textcomp} and \usepackage[T1]{fontenc}")
    for number, block in enumerate(sheet.blocks, start=1):
        label = block.label or f"tab:{sheet.name}-{number}".replace("_", "-")
        lines += ["", *_latex_block(block, label)]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _latex_block(block: Block, label: str) -> list[str]:
    columns = "".join("r" if number else "l" for number in _numeric(block))
    caption = f"\\caption{{{latex(block.caption)}}}\\label{{{_LABEL.sub('-', label)}}}"
    names, *body = (" & ".join(row) + r" \\" for row in _cells(block, latex, (r"\textbf{", "}")))
    rules = [r"\toprule", names, r"\midrule"]
    if len(block.rows) > LONG:
        start = [f"\\begin{{longtable}}{{{columns}}}", f"{caption} \\\\", *rules, r"\endhead"]
        return [*start, *body, r"\bottomrule", r"\end{longtable}"]
    start = [r"\begin{table}", r"\centering", caption, f"\\begin{{tabular}}{{{columns}}}", *rules]
    return [*start, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]


def to_markdown(sheet: Sheet, run: Run) -> bytes:
    """Return the printed tables as Markdown."""
    about = head(sheet, run)
    lines = [f"# {markdown(about.pop('title'))}", ""]
    lines += [f"- {key}: {markdown(value)}" for key, value in about.items()]
    for block in sheet.blocks:
        lines += ["", f"## {markdown(block.caption)}", "", *_markdown_block(block)]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _markdown_block(block: Block) -> list[str]:
    names, *body = _cells(block, markdown, ("**", "**"))
    rule = ["--:" if number else ":--" for number in _numeric(block)]
    return [f"| {' | '.join(row)} |" for row in (names, rule, *body)]


def _cells(block: Block, escape: Callable[[str], str], bold: tuple[str, str]) -> list[list[str]]:
    """Return the header and the rows, escaped; `bold` goes around the best cells."""
    rows = [
        [
            escape(cell).join(bold if (i, j) in block.bold else ("", ""))
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(block.rows)
    ]
    return [[*map(escape, block.head)], *rows]


def _numeric(block: Block) -> list[bool]:
    """Return whether each column holds numbers, which are aligned right."""
    return [all(_NUMBER.match(row[i]) for row in block.rows) for i in range(len(block.head))]


def one_line(value: object) -> str:
    r"""Return a text without line breaks and other control characters.

    Examples
    --------
    >>> one_line("a\nb\u2028c")
    'a b c'
    """
    return _CONTROL.sub(" ", str(value))


def latex(words: str) -> str:
    r"""Escape a text for LaTeX.

    Examples
    --------
    >>> latex("AC_DC & 50% \\input{x}")
    'AC\\_DC \\& 50\\% \\textbackslash{}input\\{x\\}'
    """
    plain = "".join(_LATEX.get(sign, sign) for sign in one_line(words))
    return _HAT.sub(r"$\\hat{\1}$", plain).replace("\u0302", "")


def markdown(words: str) -> str:
    r"""Escape a text for Markdown.

    Examples
    --------
    >>> markdown("a|b <img> *c*")
    'a\\|b \\<img\\> \\*c\\*'
    """
    return _MARKDOWN.sub(r"\\\1", one_line(words))


FORMATS: dict[str, Callable[[Sheet, Run], bytes]] = {
    "csv": to_csv,
    "parquet": to_parquet,
    "latex": to_latex,
    "markdown": to_markdown,
}
SUFFIXES = {"csv": ".csv", "parquet": ".parquet", "latex": ".tex", "markdown": ".md"}
