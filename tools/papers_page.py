"""Write the tables of the papers into docs/papers.md, between its two markers.

    python tools/papers_page.py [--results FOLDER] [RUN …]

Our scores are those of the named runs; without a run, the page has the printed numbers only.
`harness papers --data …` makes such runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness import registry
from harness.core.files import write_atomic
from harness.report.printed_tables import markdown, replaced
from harness.results.printed import cells, read_papers
from harness.results.runs import read_run

PAGE = Path(__file__).parents[1] / "docs" / "papers.md"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("runs", nargs="*")
    given = parser.parse_args()
    runs = [read_run(given.results / name) for name in given.runs]
    known, entries = read_papers(), registry.load()
    found = {name: cells(name, paper, entries, runs) for name, paper in known.papers.items()}
    page = replaced(PAGE.read_text(encoding="utf-8"), markdown(known, found))
    write_atomic(PAGE, page.encode())


if __name__ == "__main__":
    main()
