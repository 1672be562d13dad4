"""Systems that papers name and that have no row: each has a reason, in data and in the docs."""

from pathlib import Path

import harness
from harness import registry
from harness.core import strict_yaml

LIST = Path(harness.__file__).parent / "catalog" / "papers_without_row.yaml"
PAGE = Path(harness.__file__).parents[1] / "docs" / "papers.md"
ROWS = strict_yaml.read(LIST, "list of papers")
NAMED = {  # read in the papers, not in the list
    "AST", "LRCN", "HR-LSTM", "Dense-U-Net", "Res-U-Net", "VAT-SNet", "MMDilDenseLSTM",
    "Beam-TasNet", "SepFormer", "HS-TasNet", "WaveNet", "NAE", "teacher–student",
    "few-shot FiLM U-Net", "Apollo", "Banquet", "Moises-Light", "SAM-Audio", "xumx-slicq-v2",
}  # fmt: skip


def test_every_system_without_a_row_has_a_reason():
    names = [row["name"] for row in ROWS]
    assert set(names) >= NAMED
    assert len(names) == len(set(names))
    for row in ROWS:
        assert set(row) == {"name", "paper", "named_in", "reason"}
        assert row["named_in"] in ("review", "")
        assert row["paper"]
        assert row["reason"].endswith(".")
        assert "|" not in str(row)


def test_none_of_them_has_a_row():
    titles = " ".join(entry.title.lower() for entry in registry.load().values())
    assert [row["name"] for row in ROWS if row["name"].lower() in titles.split()] == []


def test_the_page_has_the_same_table():
    wanted = [f"| {row['name']} | {row['paper']} | {row['reason']} |" for row in ROWS]
    page = PAGE.read_text(encoding="utf-8").splitlines()
    first = page.index(wanted[0])
    assert page[first : first + len(wanted)] == wanted
