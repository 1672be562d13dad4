"""The papers' tables as text: a line per system and score, the definitions, the reasons below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.core.text import MISSING, decimals, short
from harness.results.printed import (
    AGREES,
    DIFFERS,
    IMPOSSIBLE,
    LEAKED,
    NOT_RUN,
    OTHER_DATA,
    OTHER_DEFINITION,
    VERDICTS,
    Measure,
    Papers,
    PrintedCell,
    PrintedTable,
    System,
)

BEGIN, END = "<!-- harness papers: begin -->", "<!-- harness papers: end -->"
SYSTEMS = ("system", "papers", "here")
MEANING = {
    AGREES: "one definition, the same tracks, at most 0.1 dB (or 10 % of a count) between them",
    DIFFERS: "one definition, the same tracks, and more than that between them",
    OTHER_DEFINITION: "the two numbers are not measured in one way",
    OTHER_DATA: "the two numbers are of other tracks",
    LEAKED: "our separator was trained on these tracks",
    IMPOSSIBLE: "the printed numbers contradict an identity, which is named below the table",
    NOT_RUN: "there is no number of ours, for the reason below the table",
}


@dataclass(frozen=True)
class TableText:
    """One table of a paper, to be shown."""

    title: str
    definitions: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]  # what decides the verdicts, and where a reading is uncertain


def table_text(table: PrintedTable, cells: Sequence[PrintedCell]) -> TableText:
    """Return a table as text; a cell is ``printed``, or ``printed / ours``."""
    mine = [cell for cell in cells if cell.table == table.name]
    columns = tuple(dict.fromkeys(cell.column for cell in mine))
    lines: dict[tuple[str, str], dict[str, PrintedCell]] = {}
    for cell in mine:
        lines.setdefault((cell.system, cell.measure), {})[cell.column] = cell
    rows = [
        (*names, *(_value(line[c]) if c in line else "" for c in columns), _verdicts(line.values()))
        for names, line in lines.items()
    ]
    where = ", ".join(filter(None, [table.data, table.part]))
    tracks = f"; {table.tracks} tracks" if table.tracks else ""
    used = {cell.measure for cell in mine}
    definitions = [_definition(n, m) for n, m in table.measures.items() if n in used]
    return TableText(
        f"{table.name}. {table.about}",
        (f"Data: {where}{tracks}", *definitions) if mine else (),
        ("system", "score", *columns, "verdict") if mine else (),
        tuple(rows),
        tuple(dict.fromkeys(_notes(table, mine))),
    )


def _value(cell: PrintedCell) -> str:
    """Return both numbers; of a stated order our difference."""
    ours = "" if cell.ours is None else decimals(cell.ours, 0 if cell.unit == "%" else 2)
    if cell.printed is None:
        return ours or MISSING
    printed = _digits(cell.printed) if cell.unit == "dB" else short(cell.printed)
    return f"{printed} / {ours}" if ours else printed


def _digits(value: float) -> str:
    """Return a printed score with two decimals, or with as many as it has."""
    text = repr(float(value)).replace("-", "−")
    return text if len(text.partition(".")[2]) > 1 else decimals(value)


def _verdicts(cells: Iterable[PrintedCell]) -> str:
    """Return the verdicts of a line; if they differ, with their columns."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(cell.verdict, []).append(cell.column)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{v}: {', '.join(found[v])}" for v in VERDICTS if v in found)


def _definition(name: str, measure: Measure) -> str:
    """Return the paper's definition of a score and ours."""
    if not measure.metric:
        return f"{name}, in the paper: {measure.says}"
    unclear = "not clear whether the same"
    same = unclear if measure.same == "unclear" else "the same" if measure.same else "another"
    return f"{name}, in the paper: {measure.says}; ours: {measure.metric}, {measure.over} ({same})"


def _notes(table: PrintedTable, cells: Sequence[PrintedCell]) -> Iterator[str]:
    """Yield the lines below a table: first what holds for all of it, then by system."""
    yield from filter(None, [table.note, *(cell.identity for cell in cells)])
    for part in ("finding", "note", "our_data", "why"):
        of_systems: dict[str, list[str]] = {}
        for cell in cells:
            text = getattr(cell, part)
            found = of_systems.setdefault(cell.system, [])
            if text and text not in found:
                found.append(text)
        groups: dict[str, list[str]] = {}
        for system, texts in of_systems.items():
            groups.setdefault("; ".join(texts), []).append(system)
        ours = "our tracks: " * (part == "our_data")
        for text, systems in groups.items():
            if text:
                yield f"{'; '.join(systems)}: {ours}{text}"


def system_rows(systems: Sequence[System], paper: str = "") -> list[tuple[str, str, str]]:
    """Return (name, papers, what of this project it is) of the systems that a paper names."""
    return [
        (system.name, ", ".join(system.papers), _answer(system))
        for system in systems
        if not paper or paper in system.papers
    ]


def _answer(system: System) -> str:
    """Return the row that runs a system, or why none does."""
    if system.row:
        return f"{system.row} (row of the registry)"
    if system.recipe:
        return f"harness train {system.recipe} (no trained weights are shipped)"
    return f"{system.catalog} (in the catalog)" if system.catalog else system.reason


def markdown(papers: Papers, cells: Mapping[str, Sequence[PrintedCell]]) -> list[str]:
    """Return the papers of which there are cells, and the systems that they name, in Markdown."""
    lines = [
        "A cell is the printed number, or `printed / ours`. Where a paper states an order without "
        "numbers, it is our difference; it is positive if the order holds here. The verdicts:",
        "",
    ]
    lines += [f"* **{verdict}**: {meaning}" for verdict, meaning in MEANING.items()]
    for name, mine in cells.items():
        paper = papers.papers[name]
        lines += ["", f"### {paper.title}", "", f"{paper.reference}."]
        for table in paper.tables:
            text = table_text(table, mine)
            lines += ["", f"**{_plain(text.title)}**", "", *_list(text.definitions)]
            if text.rows:
                lines += ["", *_table(text.head, text.rows), "", *_list(text.notes)]
    only = next(iter(cells)) if len(cells) == 1 else ""
    lines += ["", "### Every system that the papers name", ""]
    lines += _table(SYSTEMS, system_rows(papers.systems, only))
    return [line for i, line in enumerate(lines) if line or (i and lines[i - 1])]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    body = [f"| {' | '.join(map(_plain, row))} |" for row in rows]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *body]


def _list(texts: Iterable[str]) -> list[str]:
    return [f"* {_plain(text)}" for text in texts]


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for sign in "\\|*<[`":
        text = text.replace(sign, "\\" + sign)
    return " ".join(text.split())


def replaced(page: str, lines: Sequence[str]) -> str:
    """Return a page with other lines between its two markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise HarnessError(
            f"page: has no lines {BEGIN} and {END}; add them where the tables belong"
        )
    return "\n".join([before + begin, *lines, end + after])
