"""Runs that earlier versions wrote are read as this version writes them."""

import json

import pytest
from synthetic_run import demo_run, row, rows_table

from harness.core.errors import HarnessError
from harness.results import ranking
from harness.results.runs import join, read_run, source_of, write_run

SOURCES = (("mixture", ""), ("drums", "reference"), ("drums", "htdemucs"))
NOTES = ("demo: all tracks are by x", "demo, vocals: b has 3 tracks", "no separator has a score")


def old_run(folder):
    """Write a run as the versions did that had inputs, bleed and roles in texts."""
    run = demo_run(4)
    rows = [
        row("kit", "t", "kick", "snr", 1.0, input=stem, fed_by=fed_by) for stem, fed_by in SOURCES
    ]
    rows[0]["note"] = "short; the reference holds bleed"
    object.__setattr__(run, "scores", rows_table(rows))
    write_run(folder, run)
    for name in ("scores", "costs", "ensembles", "selection"):
        frame = getattr(run, name)
        texts = [source_of(*pair) for pair in zip(frame["input"], frame["fed_by"], strict=True)]
        frame.assign(input=texts).drop(columns="fed_by").to_parquet(folder / f"{name}.parquet")
    record = {k: v for k, v in run.record.items() if k != "ensembles"}
    (folder / "run.json").write_text(json.dumps(record | {"selection_notes": list(NOTES)}))
    return folder


def test_a_run_with_its_facts_in_texts_is_read(tmp_path):
    run = read_run(old_run(tmp_path))
    pairs = zip(run.scores["input"], run.scores["fed_by"], strict=True)
    assert tuple(pairs) == SOURCES
    assert set(run.costs["fed_by"]) == {""}
    assert run.record["datasets"]["demo"]["bleed"] == [
        {"split": "test", "track": "t", "stem": "kick"}
    ]
    assert run.record["datasets"]["musdb18hq"]["bleed"] == []
    assert [row["dataset"] for row in run.record["selection_notes"]] == ["demo", "demo", ""]
    assert [row["note"] for row in run.record["selection_notes"]] == list(NOTES)
    assert ranking.roles(run)["best_of_oracle"] == "oracle"
    assert ranking.roles(run)["best_of"] == "ensemble"


def test_a_run_that_was_read_is_written_and_read_as_it_is(tmp_path):
    first = read_run(old_run(tmp_path / "old"))
    write_run(tmp_path / "new", first)
    again = read_run(tmp_path / "new")
    assert again.record == first.record
    assert again.scores.to_dict("records") == first.scores.to_dict("records")
    assert join([first, again]).record["ensembles"] == first.record["ensembles"]


def test_an_input_of_an_unknown_kind_is_refused(tmp_path):
    run = read_run(old_run(tmp_path))
    run.scores.assign(input="guess:drums").drop(columns="fed_by").to_parquet(
        tmp_path / "scores.parquet"
    )
    with pytest.raises(HarnessError, match=r"input 'guess:drums' is not known.*run again"):
        read_run(tmp_path)
