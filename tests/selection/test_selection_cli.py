"""`harness select` and `harness compare` on a run whose truth is known."""

import json
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from selection_tables import by_band, inner_products, planted
from synthetic_run import before_checksums

from harness import cli, registry
from harness.cli.list_ import state_of
from harness.core.bands import in_words
from harness.metrics import write_blends
from harness.results.grid import track_scores
from harness.results.runs import SELECTION_COLUMNS, Run, read_run, table, write_run

MEANS = {
    "vocals": {"good": 3.0, "fair": 0.0, "twin": 3.0},
    "drums": {"good": 0.0, "fair": 4.0, "twin": 0.0},
}
COSTS = {"good": 2.0, "fair": 0.1, "twin": 0.2}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command on a written run; returns what it printed."""
    scores = pd.concat(
        [planted(MEANS, artists=12), planted(MEANS, artists=9, dataset="other", seed=5)]
    )
    leaks = [{"separator": "twin", "dataset": "set", "split": "test", "track": "00-0"}]
    record = {
        "run": "main",
        "separators": {name: {"role": "separator"} for name in COSTS},
        "leaks": [{**row, "status": "leaked"} for row in leaks],
    }
    place = ("main", "set", "test", "00-0", "artist 0", "rock")
    costs = table(
        (*place, n, "mixture", "", "mixture", "rtf", c, "ok", "") for n, c in COSTS.items()
    )
    empty = table([]), table([], SELECTION_COLUMNS)
    write_run(tmp_path / "results" / "main", Run("main", scores, costs, *empty, record))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, expected: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return out + err

    return run


def test_compare_names_the_better_separator_or_no_difference(call):
    rows = json.loads(call("compare", "good", "fair", "--dataset", "set", "--json"))
    assert {row["stem"]: row["verdict"] for row in rows} == {
        "vocals": "good is better",
        "drums": "fair is better",
    }
    same = json.loads(call("compare", "good", "twin", "--metric", "snr", "--json"))
    assert {row["verdict"] for row in same} == {"no significant difference"}
    assert "A is good, B is fair; harmonic_mean, dB" in call("compare", "good", "fair")


def test_compare_reads_separators_of_several_runs(call, tmp_path):
    run = read_run(tmp_path / "results" / "main")
    scores = run.scores.assign(separator=["new_" + name for name in run.scores["separator"]])
    mine = replace(run, name="mine", scores=scores, record={**run.record, "leaks": []})
    write_run(tmp_path / "results" / "mine", mine)
    runs = ("--run", "main", "--run", "mine")
    rows = json.loads(call("compare", "good", "new_fair", "--dataset", "set", *runs, "--json"))
    assert {r["stem"]: r["verdict"] for r in rows if r["stem"] == "vocals"} == {
        "vocals": "good is better"
    }
    said = "compare: 'new_fair' is not in run main, but in mine; add --run main --run mine"
    assert said in call("compare", "good", "new_fair", expected=cli.USER_ERROR)
    wrong = call("compare", "good", "nobody", *runs, expected=cli.USER_ERROR)
    assert "'nobody' has no score by harmonic_mean to compare; choose from: fair, good" in wrong


@pytest.fixture
def shifted(tmp_path, call):
    """Write a run of `old` and `new`, which is `old` plus a known difference per stem."""

    def write(differences: dict[str, float], artists: int = 12, stem_names=str, spread=0.02):
        old = planted({stem: {"old": 0.0} for stem in differences}, artists=artists)
        noise = np.random.default_rng(1).normal(0, spread, len(old) // 2).repeat(2)
        noise -= noise.mean()
        new = old.assign(separator="new", value=old["value"] + old["stem"].map(differences) + noise)
        scores = pd.concat([old, new])
        scores["stem"] = scores["stem"].map(stem_names)
        run = read_run(tmp_path / "results" / "main")
        about = {name: {"role": "separator"} for name in ("old", "new")}
        record = {"run": "main", "separators": about}
        write_run(tmp_path / "results" / "main", replace(run, scores=scores, record=record))
        return scores

    return write


def states(said: str) -> dict[str, str]:
    return {row["stem"]: row["state"] for row in json.loads(said)["verdicts"]}


GATE = ("compare", "new", "old", "--fail-if-worse", "0.05")


def test_a_separator_fails_only_where_it_is_surely_worse_by_more_than_allowed(call, shifted):
    shifted({"vocals": -0.3, "drums": 0.3, "bass": -0.02})
    said = call(*GATE, "--json", expected=cli.SOME_FAILED)
    assert states(said) == {"vocals": "failed", "drums": "passed", "bass": "passed"}
    assert "failed: set, vocals: new is significantly worse" in call(*GATE, expected=3)
    assert "passed" in call("compare", "new", "old", "--fail-if-worse", "0.5")
    overall = call(*GATE, "--overall", "--json")  # −0.3, 0.3 and −0.02 cancel out
    assert states(overall) == {"all stems": "passed"}
    assert json.loads(overall)["rows"][0]["difference"] == pytest.approx(-0.02 / 3, abs=0.02)
    shifted({"vocals": -0.3}, spread=2.0)
    assert "lower by more than 0.05, but not significantly" in call(*GATE)


def test_with_too_few_artists_the_mean_alone_decides(call, shifted):
    shifted({"vocals": -0.3, "drums": -0.01}, artists=3)
    said = call(*GATE, "--json", expected=cli.SOME_FAILED)
    assert states(said) == {"vocals": "failed", "drums": "passed"}


@pytest.mark.parametrize("more", [(), ("--overall",)])
def test_a_crash_is_a_failure_and_does_not_raise_the_mean(call, shifted, tmp_path, more):
    scores = shifted({"vocals": 0.5})
    crashed = (scores["separator"] == "new") & (scores["track"] == "03-0")
    write = tmp_path / "results" / "main"
    write_run(write, replace(read_run(write), scores=scores[~crashed]))
    assert "new has no score on 1 track of old" in call(*GATE, *more, expected=cli.SOME_FAILED)


def test_stems_that_were_never_separated_are_skipped_and_failed_ones_fail(call, shifted, tmp_path):
    scores = shifted({"vocals": 0.0, "drums": 0.0})
    write = tmp_path / "results" / "main"
    lost = (scores["separator"] == "new") & (scores["stem"] == "drums")
    write_run(write, replace(read_run(write), scores=scores[~lost]))
    assert states(call(*GATE, "--json")) == {"vocals": "passed", "drums": "skipped"}
    failed = scores[lost].assign(stem="", metric="", value=np.nan, status="failed", note="OOM")
    write_run(write, replace(read_run(write), scores=pd.concat([scores[~lost], failed])))
    said = call(*GATE, "--json", expected=cli.SOME_FAILED)
    assert states(said) == {"vocals": "passed", "drums": "failed"}


def test_junit_has_a_case_per_stem_and_survives_hostile_names(call, shifted, tmp_path):
    hostile = '<a href="x">&\x01\ufffe'
    shifted({"vocals": -0.3, "drums": 0.0}, stem_names={"vocals": hostile, "drums": "drums"}.get)
    call(*GATE, "--junit", "out/junit.xml", expected=cli.SOME_FAILED)
    (suite,) = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "2", "failures": "1", "errors": "0", "skipped": "0"}
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert {case.get("classname") for case in cases.values()} == {"set"}
    assert set(cases) == {'<a href="x">&\\x01\\ufffe', "drums"}
    assert cases["drums"].find("failure") is None
    (wrong,) = suite.iter("failure")
    said = r"significantly worse: A − B −0\.\d+ dB \(95 % interval −0\.\d+ to −0\.\d+\), "
    assert re.search(said + r"p < 0\.001, 12 tracks by 12 artists$", wrong.get("message"))


def test_fail_if_worse_refuses_what_it_cannot_judge(call, shifted):
    shifted({"vocals": 0.0})
    said = call("compare", "new", "old", "--junit", "x.xml", expected=cli.USER_ERROR)
    assert "--junit: has nothing to write; add --fail-if-worse" in said
    said = call(*GATE, "--metric", "l1_freq", expected=cli.USER_ERROR)
    assert "l1_freq" in said


def test_compare_leaves_leaked_tracks_out_unless_asked(call):
    arguments = ("compare", "good", "twin", "--dataset", "set", "--json")
    assert {row["n"] for row in json.loads(call(*arguments))} == {11}
    assert {row["n"] for row in json.loads(call(*arguments, "--leaked"))} == {12}
    assert "compared on 11 tracks; twin has no score on 1 more" in call("compare", "good", "twin")


def test_compare_of_separators_without_a_common_track_says_so(call, tmp_path, recwarn):
    run = read_run(tmp_path / "results" / "main")
    mine = run.scores["separator"].isin(["good"]) == (run.scores["track"] == "00-0")
    write_run(tmp_path / "results" / "main", replace(run, scores=run.scores[mine]))
    said = call("compare", "good", "fair", "--dataset", "set", expected=cli.USER_ERROR)
    assert "'good' and 'fair' share no track of a stem, without the tracks that one was" in said
    assert "--leaked adds them" in said
    assert not recwarn.list


def test_select_says_what_the_choice_is_worth(call):
    found = json.loads(call("select", "--json"))
    rows = {(r["dataset"], r["stem"]): r for r in found["summary"] if r["policy"] == "best mean"}
    overall = rows["set", "overall: four stems"]
    assert overall["low"] > 0  # one separator a stem beats the best single one
    assert overall["regret"] >= 0
    assert rows["other", "drums"]["chosen"] == "fair"
    shown = call("select")
    assert "expected scores of the choice" in shown
    assert "held-out scores" in shown


@pytest.fixture
def disagree(call, tmp_path):
    """`call` on a run in which SI-SDR prefers the other separators: 10 dB less for `good`."""
    path = tmp_path / "results" / "main"
    found = read_run(path)
    here = found.scores[(found.scores["dataset"] == "set") & (found.scores["separator"] != "twin")]
    more = here[here["metric"] == "snr"].assign(metric="si_sdr")
    more["value"] -= 10.0 * (more["separator"] == "good")
    write_run(path, replace(found, scores=pd.concat([here, more], ignore_index=True)))
    return call


def test_select_by_another_metric_and_says_where_it_would_differ(disagree, tmp_path):
    default = json.loads(disagree("select", "--json"))
    rows = {(row["metric"], row["stem"]): row for row in default["other_metrics"]}
    assert rows["si_sdr", "vocals"]["chosen"] == "good"
    assert rows["si_sdr", "vocals"]["other"] == "fair"
    assert rows["si_sdr", "vocals"]["differ"] == rows["si_sdr", "vocals"]["n"] == 12
    assert rows["si_sdr", "vocals"]["loss"] > 1  # dB by the default metric
    assert rows["si_sdr", "drums"]["differ"] == rows["sdr", "vocals"]["differ"] == 0
    kept = read_run(tmp_path / "results" / "main").selection
    shown = disagree("select", "--by", "si_sdr")
    assert "selected by si_sdr" in shown
    assert "12/12" in shown
    assert "vocals: use fair" in shown
    after = read_run(tmp_path / "results" / "main").selection
    assert after.equals(kept)  # the run keeps the default choice


def test_a_mean_of_two_metrics_chooses_and_is_saved_with_its_name(disagree, tmp_path):
    rows = "".join(f"{n}: {{family: nmf, stems: [vocals, drums]}}\n" for n in COSTS)
    (tmp_path / "model_registry.yaml").write_text(rows)
    said = disagree("select", "--by", "snr + si_sdr", "--save", "both")
    assert "held out by snr+si_sdr vocals" in said
    saved = registry.load()["both"].blend
    assert saved.metric == "snr+si_sdr"
    assert saved.stems == {"vocals": {"fair": 1.0}, "drums": {"fair": 1.0}}
    scores = read_run(tmp_path / "results" / "main").scores
    mine = scores[(scores["separator"] == "fair") & (scores["stem"] == "vocals")]
    both = mine[mine["metric"].isin(["snr", "si_sdr"])]["value"].clip(-30, 30).mean()
    assert saved.held_out["vocals"].score == pytest.approx(both, abs=0.006)


def test_a_mean_limits_each_of_its_metrics_first():
    scores = planted({"vocals": {"a": 0.0}}, artists=1)
    scores.loc[scores["metric"] == "snr", "value"] = np.inf
    scores.loc[scores["metric"] == "sdr", "value"] = 10.0
    (row,) = track_scores(scores, "snr+sdr").to_dict("records")
    assert (row["score"], row["limited"]) == (20.0, True)


@pytest.mark.parametrize(
    ("by", "message"),
    [("isr", "no scores of 'isr'"), ("snr+snr", "twice"), ("snr+", "no scores of ''")],
)
def test_a_metric_that_cannot_choose_is_refused(call, by, message):
    assert message in call("select", "--by", by, expected=2)


def test_select_on_another_dataset_and_within_a_budget(call):
    found = json.loads(call("select", "--choose-on", "other", "--budget", "rtf<0.5", "--json"))
    assert {row["dataset"] for row in found["summary"]} == {"set"}
    assert [row["chosen"] for row in found["within"]] == [{"vocals": "twin", "drums": "fair"}] * 2
    assert "no scores of it; choose from other, set" in call(
        "select", "--choose-on", "moisesdb", expected=2
    )
    assert "not a limit" in call("select", "--budget", "cheap", expected=2)
    for lone in (("--how", "bands"), ("--consistent",), ("--force",)):
        assert "add --save" in call("select", *lone, expected=2)
    assert "nothing is within rtf<0.01; raise the budget" in call("select", "--budget", "rtf<0.01")


def test_select_says_that_no_other_dataset_is_there(call, tmp_path):
    path = tmp_path / "results" / "main"
    found = read_run(path)
    alone = found.scores[found.scores["dataset"] == "other"]
    write_run(path, replace(found, scores=alone))
    said = " ".join(call("select", "--choose-on", "other").split())
    assert "--choose-on other: the run has no other dataset" in said
    assert "no other dataset" not in call("select")


def test_a_dataset_of_one_artist_does_not_choose_beside_another(call, tmp_path):
    rows = "".join(f"{n}: {{family: nmf, stems: [vocals, drums]}}\n" for n in COSTS)
    (tmp_path / "model_registry.yaml").write_text(rows)
    said = call("select", "--save", "both", expected=2)
    assert "has scores on other, set; choose one with --choose-on" in said
    path = tmp_path / "results" / "main"
    found = read_run(path)
    alone = (found.scores["dataset"] != "other") | (found.scores["artist"] == "artist 0")
    write_run(path, replace(found, scores=found.scores[alone]))
    call("select", "--save", "both")
    assert registry.load()["both"].blend.chosen_on == ("set:test",)


def test_what_is_saved_stays_within_the_budget(call, tmp_path):
    rows = "".join(f"{n}: {{family: nmf, stems: [vocals, drums]}}\n" for n in COSTS)
    (tmp_path / "model_registry.yaml").write_text(rows)
    on = ("--choose-on", "other", "--budget")
    call("select", "--save", "free", "--choose-on", "other")
    call("select", "--save", "small", *on, "rtf<0.5")
    saved = {n: e.blend for n, e in registry.load().items() if n in ("free", "small")}
    assert set(saved["free"].stems["vocals"]) <= {"good", "twin"}
    assert saved["small"].stems == {"vocals": {"twin": 1.0}, "drums": {"fair": 1.0}}
    assert (saved["small"].chosen_on, saved["small"].tracks) == (("other:test",), 9)
    scores = read_run(tmp_path / "results" / "main").scores
    theirs = scores[(scores["dataset"] == "other") & (scores["separator"] == "twin")]
    vocals = theirs[theirs["stem"] == "vocals"].groupby("metric")["value"].mean()
    held = saved["small"].held_out["vocals"]
    assert held.score == pytest.approx(vocals.mean(), abs=0.1)
    assert held.low < held.score < held.high
    said = call("select", "--save", "tiny", *on, "rtf<0.01", expected=2)
    assert "nothing is within rtf<0.01; raise the budget" in " ".join(said.split())
    path = tmp_path / "results" / "main"
    found = read_run(path)
    costs = found.costs.assign(metric="peak_memory", value=9e9)
    write_run(path, replace(found, costs=costs))
    said = call("select", "--save", "tiny", *on, "memory<500MB", expected=2)
    assert "nothing is within peak_memory<0.5GB; raise the budget" in " ".join(said.split())
    write_run(path, found)
    said = call("select", "--save", "mix", "--how", "blend", *on, "rtf<0.5", expected=2)
    assert "a budget selects the best separator per stem" in " ".join(said.split())
    assert "tiny" not in registry.load()


def test_select_shows_what_a_blend_is_worth_where_inner_products_are_kept(call, tmp_path):
    assert json.loads(call("select", "--json"))["blends"] == []
    path = tmp_path / "results" / "main"
    found = read_run(path)
    tracks = found.scores.loc[found.scores["dataset"] == "other", "track"].unique()
    names = sorted(COSTS)
    units = [
        {"dataset": "other", "split": "test", "track": track, "separator": name}
        | {"track_key": f"of {track}", "key": f"{name} of {track}"}
        for track in tracks
        for name in names
    ]
    write_run(path, replace(found, record=found.record | {"units": units}))
    for track in tracks:
        folder = tmp_path / "results" / "work" / "blends" / f"of {track}"
        folder.mkdir(parents=True)
        keys = tuple(f"{name} of {track}" for name in names)
        write_blends(folder / "all.npz", {"drums": inner_products(np.eye(3) / 10, keys)})
    (row,) = json.loads(call("select", "--json"))["blends"]
    assert (row["stem"], row["verdict"]) == ("drums", "beats it")
    assert row["score"] == pytest.approx(10 + 10 * np.log10(3), abs=0.05)
    assert sorted(row["weights"]) == names
    assert "blends against the best single separator" in call("select")
    rows = "".join(f"{n}: {{family: nmf, stems: [vocals, drums]}}\n" for n in names)
    (tmp_path / "model_registry.yaml").write_text(rows)
    call("select", "--save", "mix", "--how", "blend", expected=2)  # two datasets: which chooses?
    said = call("select", "--save", "mix", "--how", "blend", "--choose-on", "other")
    blend = registry.load(tmp_path / "model_registry.yaml")["mix"].blend
    assert blend.stems["drums"] == pytest.approx(dict.fromkeys(names, 1 / 3), abs=0.02)
    assert (blend.chosen_on, blend.tracks, blend.artists) == (("other:test",), 9, 9)
    assert list(blend.held_out) == ["vocals"]  # no inner products of the drums of `set`
    assert "saved: mix, vocals: twin; drums: 0.33" in said
    assert "chosen on other:test (9 tracks, 9 artists); held out vocals" in " ".join(said.split())
    listed = registry.load(tmp_path / "model_registry.yaml")["mix"]
    assert "ready; chosen on other:test" in state_of(listed)
    said = call("select", "--save", "cut", "--how", "bands", "--choose-on", "other")
    assert "drums: there are no inner products of these separators" in " ".join(said.split())
    cut = tmp_path / "results" / "work" / "bands"
    for track in tracks:
        (cut / f"of {track}").mkdir(parents=True)
        keys = tuple(f"{name} of {track}" for name in names)
        noises = [np.diag([0.1, 0.9, 9.0]), np.diag([0.9, 0.1, 9.0])]
        write_blends(cut / f"of {track}" / "all.npz", {"drums": by_band(noises, keys)})
    rows = json.loads(call("select", "--json"))["blends"]
    assert [(row["stem"], row["edges"]) for row in rows] == [("drums", ""), ("drums", "100")]
    assert rows[1]["score"] == pytest.approx(-10 * np.log10(0.18), abs=0.1)
    assert "bands cut at, Hz" in " ".join(call("select").split())
    said = call("select", "--save", "cut", "--how", "bands", "--choose-on", "other", "--force")
    blend = registry.load(tmp_path / "model_registry.yaml")["cut"].blend
    assert blend.edges == (100.0,)
    first, second = (np.array(blend.stems["drums"][name]) for name in names[:2])
    assert first == pytest.approx([0.9, 0.1], abs=0.02)
    assert second == pytest.approx([0.1, 0.9], abs=0.02)
    words = f"{in_words(blend.stems['drums'][names[0]])} {names[0]}"
    assert words in " ".join(said.split())
    call("select", "--save", "odd", "--how", "mode", expected=2)
    said = call("select", "--save", "mid", "--how", "median", "--choose-on", "other")
    assert registry.load(tmp_path / "model_registry.yaml")["mid"].blend.how == "median"
    assert "saved: mid, vocals: median of fair, good, twin; drums: median of" in said


def test_runs_from_before_inputs_were_written_are_read(call, tmp_path):
    path = tmp_path / "results" / "main"
    call("select")
    found = read_run(path)
    assert set(found.selection["input"]) == {"mixture"}
    old = found.selection.drop(columns=["input", "fed_by"]).replace({"stem": {"drums": "kick"}})
    before_checksums(path)
    old.to_parquet(path / "selection.parquet", index=False)
    filled = read_run(path).selection
    assert set(filled.loc[filled["stem"] == "kick", "input"]) == {"drums"}
    assert set(filled.loc[filled["stem"] == "kick", "fed_by"]) == {"reference"}
    assert set(filled.loc[filled["stem"] == "vocals", "input"]) == {"mixture"}


def test_select_of_one_artist_says_that_nothing_can_be_chosen_held_out(call, tmp_path):
    path = tmp_path / "results" / "main"
    found = read_run(path)
    write_run(path, replace(found, scores=planted(MEANS, artists=1, per_artist=3)))
    said = call("select")
    assert "all tracks are by artist 0" in said
    assert "expected scores of the choice" not in said


def test_what_is_made_consistent_has_no_held_out_score_and_says_why(call, tmp_path):
    rows = "".join(f"{n}: {{family: nmf, stems: [vocals, accompaniment]}}\n" for n in COSTS)
    (tmp_path / "model_registry.yaml").write_text(rows)
    path = tmp_path / "results" / "main"
    found = read_run(path)
    scores = found.scores.replace({"stem": {"drums": "accompaniment"}})
    write_run(path, replace(found, scores=scores))
    said = call("select", "--save", "whole", "--choose-on", "other", "--consistent")
    assert "is unknown until the ensemble itself is run" in said
    saved = registry.load()["whole"].blend
    assert saved.consistent
    assert not saved.held_out


def test_a_registry_that_is_not_there_yet_is_made(call, tmp_path):
    path = tmp_path / "results" / "main"
    about = {name: {"role": "separator"} for name in ("hpss", "repet")}
    means = {"vocals": {"hpss": 3.0, "repet": 0.0}}
    found = read_run(path)
    record = found.record | {"separators": about, "leaks": []}
    write_run(path, replace(found, scores=planted(means, artists=12), record=record))
    call("select", "--save", "mine", "--registry", "new.yaml")
    assert registry.load(tmp_path / "new.yaml")["mine"].blend.stems == {"vocals": {"hpss": 1.0}}
