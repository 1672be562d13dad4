"""One ranking: page, terminal, selection and cascade name the same winner on the same tracks."""

import dataclasses
import math
import re

import numpy as np
import pandas as pd
import pytest
from synthetic_run import empty_run, rows_table

from harness import report, selection
from harness.benchmark import cascades, runner
from harness.benchmark.cascades import wanted_parents
from harness.cli import boards
from harness.report import exporting
from harness.report.computed import make_report
from harness.report.page import payload
from harness.report.tables.paper_table import PaperChoice
from harness.results import grid, ranking, summaries
from harness.results.runs import write_run


def run_of(scores, leaks=(), roles=None):
    """A run of separators from {(name, split, track): dB}, the same as SNR and as SDR."""
    rows = [
        {
            "run": "r", "dataset": "d", "split": split, "track": track, "artist": f"by {track}",
            "genre": "", "separator": name, "input": "mixture", "fed_by": "", "stem": "vocals",
            "metric": metric, "value": float(value), "status": "ok", "note": "",
        }
        for (name, split, track), value in scores.items()
        for metric in ("snr", "sdr")
    ]  # fmt: skip
    about = {name: {"role": (roles or {}).get(name, "separator")} for name, *_ in scores}
    ledger = [
        {"separator": name, "dataset": "d", "split": split, "track": track, "status": "leaked"}
        for name, split, track in leaks
    ]
    record = empty_run(separators=about, leaks=ledger)
    return dataclasses.replace(record, scores=rows_table(rows))


def planted(**columns):
    """A run with one track per value; None is no score."""
    return run_of(
        {
            (name, "test", f"t{i:02}"): value
            for name, column in columns.items()
            for i, value in enumerate(column)
            if value is not None
        }
    )


def page_of(run):
    """{separator: cell by name}, and the summary of the stem."""
    view = payload.build(make_report(run))["datasets"][0]
    about = view["summary"]["harmonic_mean"]["vocals"]
    found = {view["rows"][i]["separator"]: c._asdict() for i, c in about["cells"].items()}
    return found, about


def page_best(run):
    """The first of the page, of equals the first by name; None if nobody is ranked."""
    return min((n for n, cell in page_of(run)[0].items() if cell["rank"] == 1), default=None)


def chosen(run):
    """What selection chooses by all tracks, and the grid it is chosen from."""
    candidates = selection.candidates_of(*ranking.may_choose(run))
    found = grid.grids(candidates)
    if not found:
        return None, None
    whole = found[0].complete()
    return selection.best_mean(whole)(whole)[0] if len(whole.tracks) else None, whole


def parent_of(run, monkeypatch):
    """Whose vocals a cascade is fed with."""
    monkeypatch.setattr(runner, "wanted_parents", lambda plan: [("d", "vocals")])
    monkeypatch.setattr(runner, "score_rows", lambda *_: run.scores.to_numpy().tolist())
    monkeypatch.setattr(runner, "leak_rows", lambda plan: run.record["leaks"])
    units = [
        type("U", (), {"entry": type("E", (), {"generative": False, "name": name, **about})})
        for name, about in run.record["separators"].items()
    ]
    plan = type("P", (), {"units": units})
    found = runner._parents(plan, None, {}, runner.FIRST)
    return found.get(("d", "vocals"))


def test_the_parent_is_asked_for_where_the_plan_says_so():
    assert cascades.wanted_parents is wanted_parents  # what `parent_of` stands in for


def test_one_track_beyond_30_db_wins_neither_page_nor_terminal_nor_selection(monkeypatch):
    for extreme in (60.0, math.inf):
        run = planted(a=[5.0] * 11 + [extreme], b=[8.0] * 12)
        (board,) = boards.boards(make_report(run))
        assert board.rows[0][0] == page_best(run) == chosen(run)[0] == "b"
        assert parent_of(run, monkeypatch) == "b"
        assert board.notes == ("Scores limited to ±30 dB: 1 of a (vocals)",)
        cell = page_of(run)[0]["a"]
        assert (cell["mean"], cell["limited"]) == (round(85 / 12, 2), 1)
        assert "1 limited to ±30 dB" in report.render(make_report(run))


def test_one_silent_estimate_costs_the_same_everywhere():
    run = planted(a=[8.36] * 7 + [-math.inf], b=[3.0] * 8)
    (table,) = selection.compare(run.scores, "a", "b").to_dict("records")
    cell, (board,) = page_of(run)[0]["a"], boards.boards(make_report(run))
    assert table["mean_a"] == pytest.approx((7 * 8.36 - 30) / 8)
    assert cell["mean"] == round(table["mean_a"], 2) == 3.56
    assert board.rows[0][:1] == ("a",)
    assert "3.56" in " ".join(map(str, board.rows[0]))


def test_a_generative_separator_has_no_place_whatever_its_scores_are(monkeypatch):
    run = planted(made=[9.0] * 12, a=[5.0] * 12, b=[6.0] * 12)
    run.record["separators"]["made"]["generative"] = True
    assert ranking.roles(run)["made"] == ranking.GENERATIVE
    cells = page_of(run)[0]
    assert math.isnan(cells["made"]["rank"] or math.nan)
    assert page_best(run) == chosen(run)[0] == parent_of(run, monkeypatch) == "b"
    ranked, apart = boards.boards(make_report(run))
    assert [row[0] for row in ranked.rows] == ["b", "a"]
    assert (apart.head[0], [row[0] for row in apart.rows]) == ("generative", ["made"])
    oracle = selection.select(*ranking.may_choose(run))[0]
    assert "made" not in set(oracle["separator"])


def test_a_track_is_shown_as_it_is_though_it_is_limited_in_means():
    run = planted(a=[5.0, math.inf], b=[8.0, 45.0])
    values = payload.build(make_report(run))["datasets"][0]["values"]["harmonic_mean"]["vocals"]
    assert values == {0: [500, "inf"], 1: [800, 4500]}


def test_a_separator_with_few_tracks_is_named_and_takes_none_from_the_others(monkeypatch):
    run = planted(a=[5.0] * 29 + [9.0], b=[8.0] * 29 + [4.0], c=[None] * 29 + [99.0])
    found, about = page_of(run)
    assert about["n"] == {"mixture": 30}
    assert [found[name]["n"] for name in "abc"] == [30, 30, 1]
    assert [found[name]["rank"] for name in "abc"] == [2, 1, None]
    why = "scored on 1 of 30 tracks: not ranked"
    assert found["c"]["why"] == why
    (board,) = boards.boards(make_report(run))
    assert (board.head[1], [row[0] for row in board.rows]) == ("vocals (n=30)", ["b", "a"])
    assert board.notes == (f"c, vocals: {why}",)
    assert chosen(run)[0] == parent_of(run, monkeypatch) == "b"
    assert why in report.render(make_report(run))
    assert payload.build(make_report(run))["datasets"][0]["levels"][0]["groups"][0]["rows"] == [
        1,
        0,
        2,
    ]


def test_few_are_fewer_than_20_and_than_half_of_the_fullest():
    enough = planted(a=[1.0] * 30, b=[2.0] * 15 + [None] * 15)
    assert page_of(enough)[1]["n"] == {"mixture": 15}
    few = planted(a=[1.0] * 30, b=[2.0] * 14 + [None] * 16)
    assert page_of(few)[1]["n"] == {"mixture": 30}
    twenty = planted(a=[1.0] * 60, b=[2.0] * 20 + [None] * 40)
    assert page_of(twenty)[1]["n"] == {"mixture": 20}


def test_few_clean_tracks_are_said_to_be_clean():
    leaks = [("b", "test", f"t{i:02}") for i in range(28)]
    scores = {(name, "test", f"t{i:02}"): v for name, v in (("a", 1), ("b", 2)) for i in range(30)}
    cell = page_of(run_of(scores, leaks))[0]["b"]
    assert cell["why"] == "scored on 2 of 30 tracks that it was not trained on: not ranked"
    assert (cell["leaked"], cell["rank"]) == (1, None)


def test_a_separator_trained_on_all_its_tracks_is_named():
    leaks = [("b", "test", f"t{i:02}") for i in range(4)]
    scores = {(name, "test", f"t{i:02}"): v for name, v in (("a", 1), ("b", 2)) for i in range(4)}
    run = run_of(scores, leaks)
    why = "trained on all 4 tracks that it has scores of: not ranked"
    assert page_of(run)[0]["b"]["why"] == why
    (board,) = boards.boards(make_report(run))
    assert board.head[1] == "vocals (n=4)"
    assert board.notes == (f"b, vocals: {why}",)


def test_the_terminal_says_why_tracks_are_left_out():
    scores = {(name, "test", f"t{i}"): v for name, v in (("a", 1), ("b", 2)) for i in range(6)}
    del scores["b", "test", "t0"]
    run = run_of(scores, leaks=[("a", "test", "t1"), ("a", "test", "t2")])
    silent = run.scores.iloc[[0]].assign(track="t9", status="undefined", value=np.nan)
    both = pd.concat([silent, silent.assign(metric="sdr")])
    run = dataclasses.replace(run, scores=pd.concat([run.scores, both], ignore_index=True))
    (board,) = boards.boards(make_report(run))
    assert board.head[1] == "vocals (n=3)"
    assert board.notes == (
        "Left out of 7 tracks: vocals: 2 in training data of a, 1 no score of b, "
        "1 absent or silent reference",
    )


def absurd():
    """Two instrumental songs, in which the accompaniment is the mixture, among four."""
    run = run_of(
        {
            (name, "test", f"t{i}"): value
            for name, column in {
                "a": [6.0, 8.0, math.inf, 138.29], "b": [5.0, 6.0, 61.0, -math.inf],
            }.items()
            for i, value in enumerate(column)
        }
    )  # fmt: skip
    return dataclasses.replace(run, scores=run.scores.assign(stem="accompaniment"))


def test_one_rule_limits_what_page_terminal_and_exports_show(tmp_path):
    run, means = absurd(), {"a": 74 / 4, "b": 11 / 4}
    made = make_report(run)
    (board,) = boards.boards(made)
    assert [row[1] for row in board.rows] == ["18.50", "2.75"]
    assert board.notes == (
        "Scores limited to ±30 dB: 2 of a (accompaniment), 2 of b (accompaniment)",
    )
    view = payload.build(made)["datasets"][0]
    for metric in ("snr", "sdr", "harmonic_mean"):
        for i, cell in view["summary"][metric]["accompaniment"]["cells"].items():
            name = view["rows"][i]["separator"]
            assert (cell.mean, cell.limited) == (means[name], 2)
            numbers = [v for v in cell if isinstance(v, float)]
            assert all(abs(value) <= 60 for value in numbers)  # no mean, median, quartile or SD
    write_run(tmp_path / "r", run)
    for kind in ("csv", "latex", "markdown", "model-card"):
        for path in exporting.export(tmp_path / "r", kind, tmp_path / kind):
            if path.stem == "tracks":  # a single score is shown as it is
                continue
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\binf|138|∞|infty|\b61\b", text), path
    card = (tmp_path / "model-card/a.md").read_text(encoding="utf-8")
    assert card.count("value: 18.5") == 3
    path = exporting.export_one(tmp_path / "r", PaperChoice(), tmp_path / "t.tex", tmp_path)
    assert "18.50" in path.read_text(encoding="utf-8")
    (compared,) = selection.compare(run.scores, "a", "b").to_dict("records")
    assert (compared["mean_a"], compared["mean_b"]) == (means["a"], means["b"])


def test_a_name_in_two_splits_is_two_tracks_everywhere(monkeypatch):
    scores = {
        ("a", "train", "Intro"): 20, ("a", "test", "Intro"): 5, ("a", "test", "Song"): 5,
        ("b", "train", "Intro"): 1, ("b", "test", "Intro"): 8, ("b", "test", "Song"): 8,
    }  # fmt: skip
    run = run_of(scores, leaks=[("a", "train", "Intro")])
    (board,) = boards.boards(make_report(run))
    found, about = page_of(run)
    assert board.head[1] == "vocals (n=2)"
    assert about["n"] == {"mixture": 2}
    assert board.rows[0][0] == page_best(run) == chosen(run)[0] == "b"
    assert parent_of(run, monkeypatch) == "b"
    assert found["a"]["mean"] == 5.0
    tracks = payload.build(make_report(run))["datasets"][0]["tracks"]["track"]
    assert tracks == ["Intro (test)", "Song", "Intro (train)"]


def test_failures_of_two_tracks_of_one_name_are_two():
    run = run_of({("a", split, "Intro"): 0 for split in ("train", "test")})
    failed = run.scores.assign(status="failed", note="no memory", stem="", metric="")
    assert summaries.failures(failed)["n"].tolist() == [2]


def test_ensembles_are_summarised_on_the_tracks_of_the_separators():
    scores = {("a", "test", f"t{i}"): 1.0 for i in range(4)}
    scores |= {("mix", "test", f"t{i}"): float(i) for i in range(8)}
    run = run_of(scores, roles={"mix": "ensemble"})
    first, second = boards.boards(make_report(run))
    assert (first.head[1], second.head[1]) == ("vocals (n=4)", "vocals (n=4)")
    assert second.rows == (("mix", "1.50"),)
    assert page_of(run)[0]["mix"]["mean"] == 1.5


def test_an_overall_score_is_a_mean_of_limited_scores():
    run = planted(a=[math.inf, 4.0])
    drums = run.scores.assign(stem="drums", value=2.0)
    overall = ranking.add_overall(pd.concat([run.scores, drums]), {"a"})
    found = ranking.rank(overall, "d", "snr", ranked={"a"}).board.set_index("stem")
    assert found.loc["overall", ["mean", "limited"]].tolist() == [(16.0 + 3.0) / 2, 1]


def test_a_mean_lies_inside_its_interval():
    run = planted(a=[5.0] * 11 + [200.0], b=[8.0] * 12, c=[0.1] * 12)
    for cell in page_of(run)[0].values():
        assert cell["low"] <= cell["mean"] <= cell["high"]


def random_run(rng):
    """A run with infinities, missing tracks, leaks, equal values, separators with few tracks."""
    n_tracks = int(rng.integers(1, 31))
    names = "abcdef"[: rng.integers(1, 7)]
    scores, leaks = {}, []
    for name in names:
        share = rng.choice([1.0, 1.0, 0.9, 0.4, 0.05])
        for i in range(n_tracks):
            split, track = ("train", f"t{i - 1}") if i % 7 == 6 else ("test", f"t{i}")
            value = round(rng.normal(5, 3), 1) * rng.choice([1, 1, 1, 1, 20])
            if rng.random() < 0.05:
                value = rng.choice([math.inf, -math.inf])
            if rng.random() < share:
                scores[name, split, track] = value
                if rng.random() < 0.1:
                    leaks.append((name, split, track))
    return run_of(scores or {("a", "test", "t0"): 1.0}, leaks)


@pytest.mark.parametrize("seed", range(40))
def test_whoever_asks_finds_the_same_winner(seed, monkeypatch):
    run = random_run(np.random.default_rng(seed))
    found, about = page_of(run)
    best, whole = chosen(run)
    assert page_best(run) == best == parent_of(run, monkeypatch)
    if best is None:
        assert boards.boards(make_report(run)) == []
        return
    assert about["n"] == {"mixture": len(whole.tracks)}
    assert {n for n, cell in found.items() if cell["rank"] is not None} == {*whole.separators}
    (board,) = boards.boards(make_report(run))
    assert {row[0] for row in board.rows} == {*whole.separators}
    assert board.head[1] == f"vocals (n={len(whole.tracks)})"
    assert found[board.rows[0][0]]["mean"] == found[best]["mean"]
    for name, mean in zip(whole.separators, whole.scores.mean(axis=0), strict=True):
        assert found[name]["mean"] == pytest.approx(mean, abs=0.00501)
    for cell in found.values():
        if cell["low"] is not None:
            assert cell["low"] <= cell["mean"] <= cell["high"]
