"""``harness validity``: what it prints, its page, and what it says without a table."""

import json
import sys

import pytest

from harness import cli

TABLE = "song,separator,generative,stem,rating,sdr,-<b>loss\n" + "".join(
    f"s{i},a,no,vocals,1,1,2\ns{i},b,no,vocals,2,2,1\ns{i},g,yes,vocals,3,-9,0\n" for i in range(6)
)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, expected=0):
        monkeypatch.setattr(sys, "argv", ["harness", "validity", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return out + err

    return run


def test_without_a_table_it_says_what_one_is(call):
    assert "song, separator, generative, stem, rating" in call(expected=2)


def test_it_prints_both_sides_of_the_border_and_writes_a_page(call, tmp_path):
    (tmp_path / "listening_tests").mkdir()
    (tmp_path / "listening_tests" / "mine.csv").write_text(TABLE)
    said = call()
    assert "mine, vocals: ordinary separators" in said
    assert "SDR orders 1.000 of the pairs of ordinary separators as listeners do, 0.333" in said
    page = (tmp_path / "reports" / "validity" / "index.html").read_text()
    assert "&lt;b&gt;loss ↓" in page
    assert "<b>loss" not in page
    assert "Why generative separators are not ranked" in page
    rows = json.loads(call("listening_tests/mine.csv", "--json"))
    assert {row["in_order"] for row in rows if row["metric"] == "<b>loss"} == {1.0}


def test_two_tables_of_one_name_are_refused(call, tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.csv").write_text(TABLE)
    assert "two tables are named mine" in call("one", "two", expected=2)
