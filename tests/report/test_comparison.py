"""Comparing two runs: known differences are found, and no others are claimed."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from synthetic_run import HOSTILE, demo_run, empty_run, row, rows_table

from harness.cli import boards
from harness.report import comparison
from harness.selection.comparing import changes, only_in_one


def scores(values, separator="a", stem="vocals", artists=12, **other):
    """Rows of one separator with one score per track; every two tracks share an artist."""
    return rows_table(
        [
            row(separator, f"t{i}", stem, "snr", v, artist=f"artist {i % artists}", **other)
            for i, v in enumerate(values)
        ]
    )


def test_a_planted_gain_is_found_with_its_size(rng):
    base = rng.normal(5, 3, 24)
    gain = 0.5 + rng.normal(0, 0.1, 24)
    (found,) = changes(scores(base), scores(base + gain), "snr").to_dict("records")
    assert found["difference"] == pytest.approx(gain.mean())
    assert found["mean_a"] == pytest.approx(base.mean())
    assert found["low"] < gain.mean() < found["high"]
    assert (found["n"], found["artists"], found["verdict"]) == (24, 12, "better")
    assert changes(scores(base + gain), scores(base), "snr")["verdict"].tolist() == ["worse"]


def test_equal_runs_show_no_change_and_noise_is_not_significant(rng):
    base = rng.normal(5, 3, 24)
    same = changes(scores(base), scores(base), "snr")
    assert same["verdict"].tolist() == ["no change"]
    assert np.isnan(same["p"]).all()
    noise = changes(scores(base), scores(base + rng.normal(0, 1, 24)), "snr")
    assert noise["verdict"].tolist() == ["change not significant"]


def test_few_artists_give_no_verdict():
    found = changes(scores([1.0, 2.0, 3.0], artists=3), scores([9.0, 9.5, 9.9], artists=3), "snr")
    assert found["verdict"].tolist() == ["too few artists for a test"]
    assert found["low"].isna().all()


def test_only_common_tracks_are_compared_and_the_others_are_counted():
    a, b = scores([1.0] * 12), scores([2.0] * 12)
    b = b[~b["track"].isin(["t0", "t1"])]
    b = pd.concat([b, scores([50.0], separator="a").assign(track="new")])
    (found,) = changes(a, b, "snr").to_dict("records")
    assert [found[c] for c in ("n", "only_a", "only_b", "mean_b")] == [10, 2, 1, 2.0]


def test_each_separator_is_compared_on_its_own_common_tracks(rng):
    base = rng.normal(5, 3, 24)
    a = pd.concat([scores(base), scores(base, "b")])
    b = pd.concat([scores(base + 1), scores(base[:20] + 2, "b")])
    found = changes(a, b, "snr").set_index("separator")
    assert found["n"].to_dict() == {"a": 24, "b": 20}
    assert found["difference"].to_dict() == pytest.approx({"a": 1.0, "b": 2.0})


def test_rows_of_only_one_run_are_listed():
    a = pd.concat([scores([1.0]), scores([1.0, 2.0], "old")])
    b = pd.concat([scores([1.0]), scores([1.0], stem="drums")])
    found = only_in_one(a, b)[["run", "separator", "stem", "tracks"]].to_numpy().tolist()
    assert found == [["A", "old", "vocals", 2], ["B", "a", "drums", 1]]


@pytest.fixture
def two():
    """Two runs: one separator better for one stem, another metric version, a new commit."""
    a = demo_run(14)
    s = a.scores.copy()
    hit = (s["separator"] == "nmf") & (s["stem"] == "vocals") & (s["dataset"] == "demo")
    s.loc[hit, "value"] += 1.0 + 0.1 * np.random.default_rng(0).normal(size=hit.sum())
    record = json.loads(json.dumps(a.record))
    record["metrics"]["csdr"]["version"] = 2
    record["commit"] = "f" * 40
    record["separators"]["nmf"]["entry_sha256"] = "00" * 32
    return a, dataclasses.replace(a, name=HOSTILE, scores=s, record=record)


def test_a_metric_of_another_version_is_not_compared_and_the_reason_is_given(two):
    found = comparison.compare_runs(*two)
    assert list(found.differences) == ["harmonic_mean", "snr", "sdr", "si_sdr"]
    assert found.refused == {"csdr": "not compared: version 1 in A, 2 in B"}
    assert "csdr: not compared: version 1 in A, 2 in B" in comparison.remarks(found)
    assert ("commit", "0123abcd" * 5, "f" * 40) in found.produced
    assert ("separator nmf: entry sha256", "ab" * 32, "00" * 32) in found.produced
    assert len(found.produced) == 3


def test_runs_with_different_excerpts_are_not_compared(two):
    a, b = two
    b.record["excerpt_seconds"] = 10.0
    found = comparison.compare_runs(a, b)
    assert not found.differences
    assert "excerpts of different lengths" in found.refused["snr"]


def test_tracks_with_different_audio_are_excluded():
    rows = scores([1.0] * 12)
    units = [
        {"dataset": "demo", "split": "test", "track": f"t{i}", "track_key": str(i)}
        for i in range(12)
    ]
    other = [
        {**unit, "track_key": unit["track_key"] + "x" * (i == 3)} for i, unit in enumerate(units)
    ]
    metrics = {"snr": {"version": 1}}
    a, b = (
        dataclasses.replace(empty_run(units=u, metrics=metrics), scores=rows)
        for u in (units, other)
    )
    found = comparison.compare_runs(a, b)
    assert found.differences["snr"]["n"].tolist() == [11]
    assert found.notes[0].startswith("1 track not compared: same name but different audio")


def test_the_page_and_the_terminal_show_the_same_numbers(two, tmp_path):
    found = comparison.compare_runs(*two)
    board = boards.comparison_boards(found)[0]
    (line,) = board.rows
    assert line[:4] == ("demo", "nmf", "vocals", "14")
    assert line[-1] == "better"
    page = comparison.write(found, tmp_path / "x")
    html = page.read_text(encoding="utf-8")
    assert line[6] in html
    assert "<img" not in html
    assert html.count("<script") == 1
    table = pd.read_csv(tmp_path / "x" / "tables" / "changes.csv", comment="#")
    sure = table[table["verdict"] == "better"]
    assert set(sure["separator"]) == {"nmf"}
    assert (
        f"{sure[sure['metric'] == 'harmonic_mean']['difference'].iloc[0]:.2f}" == line[6].split()[0]
    )
