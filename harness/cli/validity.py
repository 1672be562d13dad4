"""``harness validity``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.cli import options
from harness.cli.options import argument, option
from harness.cli.terminal import print_json, print_table, records, say, show
from harness.core.errors import HarnessError
from harness.core.text import count
from harness.report import validity_page
from harness.results.importing.listening_tests import (
    ITEM,
    RATING,
    find_tables,
    read_listening_test,
)
from harness.selection.agreement import ACROSS, GROUPS, agreement

FOLDER = Path("listening_tests")


def validity(
    tables: list[Path] = argument(
        "TABLE",
        [],
        "CSV files of listening tests, or folders of such files.",
        f"the folder {FOLDER}",
    ),
    lower: list[str] = option(
        "--lower-is-better METRIC",
        [],
        "Metric of which a lower value is better. Repeat for several.",
        "those of this program, and columns named -METRIC",
    ),
    reports: Path = options.REPORTS,
    as_json: bool = options.AS_JSON,
) -> None:
    """Show which metrics agree with listeners, from the tables of listening tests."""
    if not tables and not FOLDER.is_dir():
        raise HarnessError(
            f"validity: there is no folder {FOLDER}; name the table of a listening test, a CSV "
            f"file with the columns {', '.join((*ITEM, RATING))} and one column per metric"
        )
    tests = [read_listening_test(path, lower) for path in find_tables(tables or [FOLDER])]
    twice = {test.name for test in tests if sum(test.name == other.name for other in tests) > 1}
    if twice:
        raise HarnessError(f"validity: two tables are named {min(twice)}; rename one of them")
    found = pd.concat([agreement(test) for test in tests], ignore_index=True)
    page = validity_page.write(found, reports)
    if as_json:
        print_json(records(found))
        return
    for (test, stem, group), rows in found.groupby(["test", "stem", "group"], sort=False):
        _print(f"{test}, {stem}: {GROUPS[str(group)]}", rows, pairs_only=group == ACROSS)
    for line in validity_page.border(found):
        say(line)
    show(page)


def _print(title: str, rows: pd.DataFrame, *, pairs_only: bool) -> None:
    """Print the metrics of one stem and group of separators, the best first."""
    size = f"{count(rows['n'].max(), 'estimate')} of {count(rows['songs'].max(), 'song')}"
    columns = {
        "metric": [validity_page.label(row) for row in rows.to_dict("records")],
        "Spearman (95 %)": [
            validity_page.with_ends(row, "spearman") for row in rows.to_dict("records")
        ],
        "pairs in order (95 %)": [
            validity_page.with_ends(row, "in_order") for row in rows.to_dict("records")
        ],
        "pairs": rows["pairs"].astype(str).tolist(),
    }
    if pairs_only:
        del columns["Spearman (95 %)"]
    if rows["pairs"].nunique() == 1:  # then the table fits 80 characters
        size += f", {count(int(rows['pairs'].iloc[0]), 'pair')}"
        del columns["pairs"]
    print_table(
        f"{title}, {size}", [*columns], [list(row) for row in zip(*columns.values(), strict=True)]
    )
