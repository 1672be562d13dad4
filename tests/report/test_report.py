"""The report: every number of its tables is known beforehand, every name stays text."""

import dataclasses
import functools
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from synthetic_run import (
    FOUR,
    HOSTILE,
    HOSTILE_TAIL,
    demo_report,
    demo_run,
    empty_run,
    row,
    rows_table,
)

from harness import report, selection
from harness.cli import boards
from harness.core import text
from harness.core.errors import HarnessError
from harness.metrics import harmonic_mean
from harness.report import figures
from harness.report.computed import make_report
from harness.report.page import (
    certainty,
    choices,
    payload,
    stem_tree,
    training_curves,
)
from harness.report.writing import write_report
from harness.results import grid, ranking, summaries
from harness.results.runs import SELECTION_COLUMNS, Run, leaked, table, write_run
from harness.selection.statistics import differences


def scored(values, stem="vocals", metric="snr", **other):
    """Rows of a table from {separator: [one value a track]}; None is no row."""
    return [
        row(separator, f"t{i}", stem, metric, value, **other)
        for separator, column in values.items()
        for i, value in enumerate(column)
        if value is not None
    ]


@functools.cache
def demo_page(n_tracks=6):
    """The page of the made-up run, for tests that only look at it."""
    return report.render(demo_report(n_tracks))


@functools.cache
def demo_view(n_tracks=6):
    """The values of its page."""
    return payload.build(demo_report(n_tracks))


def ranked(scores, ranked=("a", "b"), **how):
    return ranking.rank(scores, "demo", "snr", ranked=set(ranked), **how)


def board(rows, names=("a", "b"), **how):
    return ranked(rows_table(rows), names, **how).board.set_index(["stem", "separator"])


class Page(HTMLParser):
    """The elements, attributes and texts of a page, as a browser's parser sees them."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.scripts = [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_data(self, data):
        (self.scripts if self.tags and self.tags[-1] == "script" else self.texts).append(data)


# ---- tables


def test_only_tracks_that_all_ranked_separators_have_count():
    rows = scored({"a": [1.0, 3.0, 100.0], "b": [2.0, 6.0, None], "mixture": [0.0, 1.0, 50.0]})
    summary = board(rows).loc["vocals"]
    assert summary["n"].to_dict() == {"a": 2, "b": 2, "mixture": 2}
    assert summary["left_out"].to_dict() == {"a": 1, "b": 1, "mixture": 1}
    assert summary["mean"].to_dict() == {"a": 2.0, "b": 4.0, "mixture": 0.5}
    assert summary.loc["a", ["median", "q1", "q3"]].tolist() == [2.0, 1.5, 2.5]
    assert summary.loc["a", "sd"] == pytest.approx(math.sqrt(2))
    assert summary["rank"].fillna(0).to_dict() == {"a": 2, "b": 1, "mixture": 0}


def test_an_unranked_separator_with_few_tracks_takes_nothing_from_the_others():
    summary = board(scored({"a": [1.0, 2.0], "b": [3.0, 4.0], "irm": [9.0, None]})).loc["vocals"]
    assert summary["n"].to_dict() == {"a": 2, "b": 2, "irm": 1}


def test_a_separator_without_the_stem_takes_no_track_of_it_away():
    rows = scored({"a": [1.0, 2.0], "b": [3.0, 4.0]}) + scored({"a": [5.0, 6.0]}, stem="drums")
    summary = board(rows)
    assert summary.loc[("drums", "a"), ["n", "rank"]].tolist() == [2, 1]
    assert ("drums", "b") not in summary.index


def test_a_silent_reference_leaves_its_track_out_and_is_no_zero():
    rows = scored({"a": [4.0], "b": [2.0]}) + [
        row(s, "t1", "vocals", "snr", np.nan, status="undefined", note="silent") for s in "ab"
    ]
    summary = board(rows).loc["vocals"]
    assert summary["mean"].to_dict() == {"a": 4.0, "b": 2.0}
    assert summary["left_out"].tolist() == [1, 1]
    assert math.isnan(summary.loc["a", "sd"])


def test_infinite_scores_count_as_30_db():
    rows = scored(
        {"a": [1.0, math.inf, 2.0], "b": [1.0, 2.0, 3.0], "irm": [-math.inf, math.inf, 45.0]}
    )
    summary = board(rows).loc["vocals"]
    columns = ["n", "mean", "median", "rank", "rank_median", "limited"]
    assert summary.loc["a", columns].tolist() == [3, 11.0, 2.0, 1, 1, 1]
    assert summary.loc["irm", ["mean", "median", "limited"]].tolist() == [10.0, 30.0, 3]
    assert summary.loc["b", "limited"] == 0


def test_equal_separators_share_the_better_place():
    summary = board(scored({"a": [1.0], "b": [1.0], "c": [0.5]}), names="abc").loc["vocals"]
    assert summary["rank"].to_dict() == {"a": 1, "b": 1, "c": 3}


def test_a_metric_may_be_better_when_lower():
    summary = board(scored({"a": [1.0], "b": [2.0]}), higher_is_better=False).loc["vocals"]
    assert summary["rank"].to_dict() == {"a": 1, "b": 2}


def test_tracks_seen_in_training_do_not_rank():
    rows = scored({"a": [9.0, 1.0], "b": [2.0, 2.0]})
    partly = board(rows, leaks={("a", "demo", "test", "t0")}).loc["vocals"]
    assert partly["n"].tolist() == [1, 1]
    assert partly["rank"].to_dict() == {"a": 2, "b": 1}
    assert not partly["leaked"].any()
    wholly = board(rows, leaks={("a", "demo", "test", "t0"), ("a", "demo", "test", "t1")}).loc[
        "vocals"
    ]
    assert wholly["n"].tolist() == [2, 2]
    assert wholly["leaked"].to_dict() == {"a": True, "b": False}
    assert wholly["rank"].fillna(0).to_dict() == {"a": 0, "b": 1}
    elsewhere = board(rows, leaks={("a", "musdb18hq", "test", "t0")}).loc["vocals"]
    assert elsewhere["n"].tolist() == [2, 2]


def test_oracles_alone_are_compared_with_each_other():
    summary = board(scored({"irm": [9.0, 8.0], "ibm": [7.0, None]})).loc["vocals"]
    assert summary["n"].to_dict() == {"ibm": 1, "irm": 1}
    assert summary["rank"].isna().all()


def test_competitors_with_different_inputs_are_compared_apart():
    rows = scored({"a": [1.0, 1.0]}, stem="kick")
    rows += scored({"a": [5.0, None]}, stem="kick", input="drums", fed_by="reference")
    summary = ranked(rows_table(rows), "a").board
    assert summary.set_index("source")["n"].to_dict() == {"mixture": 2, "reference:drums": 1}


def test_reasons_for_leaving_tracks_out():
    rows = scored({"a": [1.0, 1.0, 1.0, None, 1.0], "b": [2.0, None, 2.0, None, 2.0]})
    rows.append(row("a", "t3", "", "", np.nan, status="failed", note="no memory"))
    rows.append(row("a", "t5", "vocals", "snr", np.nan, status="undefined"))
    missing = ranked(rows_table(rows), leaks={("b", "demo", "test", "t2")}).left_out
    assert missing[["track", "reason", "separators"]].to_numpy().tolist() == [
        ["t1", "no score", ["b"]],
        ["t2", "in training data", ["b"]],
        ["t3", "failed", []],
        ["t5", "absent or silent reference", []],
    ]


def test_reasons_are_summed_up_with_the_separators_behind_them():
    reasons = [("no score", ["a", "b"]), ("no score", ["b"]), ("failed", [])]
    rows = pd.DataFrame(reasons, columns=["reason", "separators"])
    assert payload._why(rows) == "3 tracks: 1 failed, 2 no score (b: 2, a: 1)"
    many = pd.DataFrame([("no score", list("abcdefg"))], columns=["reason", "separators"])
    assert payload._why(many) == "1 track: 1 no score (a: 1, b: 1, c: 1, d: 1, 3 others)"


def test_overall_is_the_mean_over_stems_within_a_track():
    rows = [
        *scored({"a": [2.0, 4.0], "b": [1.0, 1.0]}, stem="vocals"),
        *scored({"a": [4.0, 8.0], "b": [1.0, None]}, stem="drums"),
        *scored({"c": [50.0, 50.0]}, stem="vocals"),
    ]
    scores = ranking.add_overall(rows_table(rows), {"a", "b", "c"})
    overall = scores[scores["stem"] == "overall"].set_index(["separator", "track"])["value"]
    assert overall.to_dict() == {("a", "t0"): 3.0, ("a", "t1"): 6.0, ("b", "t0"): 1.0}
    summary = ranked(scores, "abc").board.set_index(["stem", "separator"])
    assert summary.loc[("overall", "a"), ["n", "mean"]].tolist() == [1, 3.0]
    assert ("overall", "c") not in summary.index


def test_overall_counts_no_sound_twice():
    stems = ("vocals", "drums", "bass", "other", "accompaniment")
    rows = [r for i, s in enumerate(stems) for r in scored({"a": [float(i)]}, stem=s)]
    scores = ranking.add_overall(rows_table(rows), {"a"})
    assert scores.loc[scores["stem"] == "overall", "value"].tolist() == [1.5]


def test_sub_stems_have_their_own_overall():
    rows = scored({"a": [1.0]}, stem="kick") + scored({"a": [3.0]}, stem="snare")
    scores = ranking.add_overall(rows_table(rows), {"a"})
    assert scores.loc[scores["stem"] == "overall:drums", "value"].tolist() == [2.0]


def test_harmonic_mean_is_added_where_snr_and_sdr_are():
    rows = scored({"a": [4.0, -3.0, 1.0]}) + scored({"a": [12.0, 9.0, None]}, metric="sdr")
    added = grid.add_harmonic(rows_table(rows))
    values = added.loc[added["metric"] == "harmonic_mean", "value"].tolist()
    assert values == [6.0, -3.0] == [harmonic_mean(4.0, 12.0), harmonic_mean(-3.0, 9.0)]


def test_genre_means_on_common_tracks_only():
    rows = scored({"a": [1.0, 3.0, 9.0], "b": [1.0, 1.0, None]})
    rows += [row(s, "t9", "vocals", "snr", 5.0, genre=" ") for s in "ab"]
    means = ranked(rows_table(rows)).genres.set_index(["genre", "separator"])
    assert means.loc[("Rock", "a"), ["n", "mean"]].tolist() == [2, 2.0]
    assert means.loc[("unknown", "b"), ["n", "mean"]].tolist() == [1, 5.0]


def test_selection_counts():
    rows = [
        ["demo", "mixture", "", "bass", "oracle", f"t{i}", "x", "Rock", "a", 1.0] for i in range(3)
    ]
    rows += [["demo", "mixture", "", "bass", "deployable", "t0", "x", "Rock", "b", 1.0]]
    counts = summaries.selection_counts(table(rows, SELECTION_COLUMNS)).set_index("separator")
    assert counts[["oracle", "deployable"]].to_numpy().tolist() == [[3, 0], [0, 1]]
    assert summaries.selection_counts(table([], SELECTION_COLUMNS)).empty


def test_costs_are_medians_but_memory_is_the_largest():
    rows = [row("a", f"t{i}", "mixture", "rtf", v) for i, v in enumerate([1.0, 2.0, 9.0])]
    rows += [row("a", f"t{i}", "mixture", "peak_memory", v) for i, v in enumerate([1e9, 3e9])]
    costs = summaries.costs(rows_table(rows)).set_index("metric")["value"]
    assert costs.to_dict() == {"rtf": 2.0, "peak_memory": 3e9}


# ---- what the page holds


def test_every_number_of_the_page_is_that_of_the_table():
    run, data = demo_report(12).run, demo_view(12)["datasets"][0]
    ranked = {"nmf", "repet_sim", "scnet", "mel_roformer", "htdemucs"}
    everything = pd.concat([run.scores, run.ensembles])
    ok = everything[(everything["status"] == "ok") & (everything["dataset"] == "demo")]
    checked = 0
    for metric in ("snr", "csdr"):
        for stem, about in data["summary"][metric].items():
            if stem.startswith("overall"):
                continue
            rows = ok[(ok["metric"] == metric) & (ok["stem"] == stem)]
            wide = rows.pivot(index="track", columns="separator", values="value")
            asked = [s for s in wide if s in ranked and s != "htdemucs"] or list(wide)
            common = wide[wide[asked].notna().all(axis=1)]
            assert about["n"]["mixture"] == len(common)
            for index, cell in about["cells"].items():
                values = common[data["rows"][index]["separator"]].to_numpy()
                wanted = [values.mean(), np.median(values), values.std(ddof=1)]
                assert list(cell[:3]) == [round(x, 2) for x in wanted]
                assert cell[5] == len(values)
                checked += 1
    assert checked > 60


def compared_tracks(dataset, stem):
    """Tracks of `demo_run(12)` that are compared on, as made by `synthetic_run._scores`."""
    gone = {3} if stem in FOUR else set()  # repet_sim failed
    gone |= {5} if stem == "bass" else set()  # silent reference
    kept = set(range(12 if dataset == "demo" else 6)) - gone
    return {{1: HOSTILE, 2: HOSTILE_TAIL}.get(i, f"Song {i:03d}") for i in kept}


def test_all_tables_of_a_written_page_are_those_of_the_parquet(tmp_path):
    write_run(tmp_path / "results", demo_run(12))
    html = write_report([tmp_path / "results"], tmp_path / "reports").read_text(encoding="utf-8")
    page = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])
    files = [
        pd.read_parquet(tmp_path / f"results/{name}.parquet") for name in ("scores", "ensembles")
    ]
    scores = pd.concat(files)
    pair = [scores[scores["metric"] == m].drop(columns=["metric", "note"]) for m in ("snr", "sdr")]
    keys = ["dataset", "track", "separator", "stem", "input", "fed_by"]
    both = pair[0].merge(pair[1][[*keys, "value", "status"]], on=keys, suffixes=("", "_sdr"))
    both = both[(both["status"] == "ok") & (both["status_sdr"] == "ok")]
    mean = [harmonic_mean(a, b) for a, b in zip(both["value"], both["value_sdr"], strict=True)]
    scores = pd.concat([scores, both.assign(value=mean, metric="harmonic_mean")])
    ok = scores[(scores["status"] == "ok") & scores["value"].notna()]
    checked = {"cells": 0, "values": 0, "genres": 0}
    for data in page["datasets"]:
        for metric, stems in data["summary"].items():
            here = ok[(ok["dataset"] == data["name"]) & (ok["metric"] == metric)]
            for stem, about in stems.items():
                if stem.startswith("overall"):
                    continue
                rows = here[here["stem"] == stem]
                common = compared_tracks(data["name"], stem)
                assert about["n"]["mixture"] == len(common)
                for index, cell in about["cells"].items():
                    name = data["rows"][int(index)]["separator"]
                    own = rows[rows["separator"] == name]
                    shown = own[own["track"].isin(common)]
                    values = shown["value"].to_numpy()
                    quartiles = np.quantile(values, [0.25, 0.75])
                    wanted = [values.mean(), np.median(values), values.std(ddof=1), *quartiles]
                    assert cell[:6] == [
                        *(pytest.approx(w, abs=0.00501) for w in wanted),
                        len(values),
                    ]
                    checked["cells"] += 1
                    by_track = dict(zip(own["track"], own["value"], strict=True))
                    values = data["values"][metric][stem][index]
                    found = [v / 100 if isinstance(v, int) else math.nan for v in values]
                    wanted = [by_track.get(track, math.nan) for track in data["tracks"]["track"]]
                    np.testing.assert_allclose(found, wanted, atol=0.00501)
                    checked["values"] += len(found)
                    for genre, group in shown.groupby("genre"):
                        mean, _, n = data["genres"][metric][stem][genre][index][:3]
                        assert mean == pytest.approx(group["value"].mean(), abs=0.00501)
                        assert n == len(group)
                        checked["genres"] += 1
    assert min(checked.values()) > 300


def test_values_of_tracks_are_those_shown_in_hundredths():
    assert payload._hundredths(1.2349) == 123
    assert payload._hundredths(-0.044) == -4
    assert [payload._hundredths(x) for x in (math.nan, math.inf, -math.inf)] == [
        None,
        "inf",
        "-inf",
    ]


def test_rounding_is_of_the_exact_value_and_gives_no_minus_zero():
    assert text.encode(-0.001) == 0.0
    assert text.decimals(text.encode(-0.001)) == "0.00"
    assert text.decimals(text.encode(2.675)) == "2.67"  # the double below 2.675
    assert text.decimals(text.encode(-math.inf)) == "−∞"
    assert text.decimals(text.encode(math.nan)) == "–"


def test_a_level_orders_its_rows_best_first_and_roles_apart():
    musdb = payload.build(make_report(demo_run()))["datasets"][1]
    level, rows = musdb["levels"][0], musdb["rows"]
    groups = [[rows[i]["separator"] for i in group["rows"]] for group in level["groups"]]
    assert groups[0][:2] == ["scnet", "htdemucs"]
    assert groups[0][-1] == "mel_roformer"  # has no overall score
    assert groups[1:] == [["best_of"], ["irm", "best_of_oracle"], ["mixture"]]
    assert level["by"] == "overall"


def test_levels_are_tables_of_their_own():
    levels = demo_view()["datasets"][0]["levels"]
    assert [level["title"] for level in levels] == ["Stems", "Sub-stems of drums"]
    assert levels[1]["stems"] == ["kick", "snare", "toms", "hihat", "cymbals", "overall:drums"]


def test_what_is_noted_of_a_track_is_shown_with_it():
    run = demo_run(6)
    said = "the mixture is 6.0 dB quieter than the sum of the stems"
    tracks = run.scores[run.scores["dataset"] == "demo"].drop_duplicates(["split", "track"])
    split, name = tracks.sort_values(["split", "track"]).iloc[1][["split", "track"]]
    notes = [{"split": split, "track": track, "note": said} for track in (name, "gone")]
    demo = {**run.record["datasets"]["demo"], "notes": notes}
    record = {**run.record, "datasets": {**run.record["datasets"], "demo": demo}}
    found = payload.build(make_report(dataclasses.replace(run, record=record)))["datasets"]
    assert [dataset["tracks"]["notes"] for dataset in found] == [{1: said}, {}]


def test_a_track_name_in_two_splits_is_two_tracks():
    rows = scored({"a": [1.0]}) + scored({"a": [3.0]}, split="train")
    leak = {
        "separator": "a",
        "dataset": "demo",
        "split": "train",
        "track": "t0",
        "status": "leaked",
    }
    run = Run("r", rows_table(rows), table([]), table([]), table([], SELECTION_COLUMNS), {})
    view = payload.build(make_report(Run(**{**vars(run), "record": {"leaks": [leak]}})))
    demo = view["datasets"][0]
    assert demo["tracks"]["track"] == ["t0 (test)", "t0 (train)"]
    assert demo["summary"]["snr"]["vocals"]["cells"][0][0] == 1.0
    assert demo["leaked"] == {0: [1]}


def test_written_from_a_folder_and_the_same_bytes_twice(tmp_path: Path):
    run = demo_run(6)
    write_run(tmp_path / "run", run)
    first = write_report([tmp_path / "run"], tmp_path / "a")
    second = write_report([tmp_path / "run"], tmp_path / "b")
    assert first == tmp_path / "a" / "run" / "index.html"
    assert first.read_bytes() == second.read_bytes()
    made = {path.name for path in first.parent.iterdir()}
    assert made == {"index.html", "provenance.html", "tables"}
    shuffled = Run(**{**vars(run), "scores": run.scores.sample(frac=1, random_state=1)})
    page, _, mark = first.read_text(encoding="utf-8").rpartition("<!-- ")
    assert report.render(make_report(shuffled)) == page
    assert re.fullmatch(r"[0-9a-f]{64} -->\n", mark)  # of which run the page is


def test_no_run_is_a_clear_error(tmp_path: Path):
    empty = tmp_path / "results"
    with pytest.raises(HarnessError, match="holds no run; start one with: harness run --all"):
        write_report([empty], tmp_path / "out")
    (empty / "mine").mkdir(parents=True)
    (empty / "mine" / "run.json").touch()
    with pytest.raises(HarnessError, match=r"results: holds no run; name one of: mine$"):
        write_report([empty], tmp_path / "out")
    with pytest.raises(HarnessError, match=r"other: holds no run; runs here: mine$"):
        write_report([empty / "other"], tmp_path / "out")


def test_hostile_names_stay_text():
    run = demo_run(6)
    hostile = "x\" onmouseover='alert(3)' " + HOSTILE
    swap = {"demo": hostile, "nmf": hostile, "Rock": hostile, "Artist 1": hostile}
    changed = {
        n: getattr(run, n).replace(swap) for n in ("scores", "costs", "ensembles", "selection")
    }
    changed["scores"]["note"] = changed["scores"]["note"].replace("silent reference", hostile)
    record = json.loads(json.dumps(run.record).replace("made up", "<script>alert(4)</script>"))
    record["command"] = ["harness", HOSTILE_TAIL]
    page = Page(report.render(make_report(Run(hostile, record=record, **changed))))
    assert page.tags.count("script") == 2  # the data and the page's own
    assert "img" not in page.tags
    assert not [a for a in page.attributes if a[1].startswith("on")]
    assert any(hostile in t for t in page.texts)
    assert any("<script>alert(4)</script>" in t for t in page.texts)


def test_data_survive_the_way_into_the_page():
    html = demo_page()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    assert "<" not in found[1]
    assert "\u2028" not in found[1]
    tracks = json.loads(found[1])["datasets"][0]["tracks"]["track"]
    assert {HOSTILE, HOSTILE_TAIL} <= set(tracks)


def test_nothing_is_asked_of_a_network():
    page = Page(demo_page())
    links = [v for _, name, v in page.attributes if name in ("src", "href", "srcset", "action")]
    assert links
    assert all(link.startswith(("#", "data:,", "provenance.html")) for link in links)
    style = "".join(page.texts)
    assert "url(" not in style
    assert "@import" not in style


def test_each_switch_region_and_table_has_a_name():
    page = Page(demo_page())
    regions = [a for a in page.attributes if a[1:] == ("role", "region")]
    labels = [a for a in page.attributes if a[1] == "aria-label" and a[2]]
    assert 0 < len(regions) <= len(labels)
    ids = [v for _, name, v in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = [v[1:] for _, name, v in page.attributes if name == "href" and v.startswith("#")]
    assert set(targets) <= set(ids)


def test_what_the_page_says_without_a_script():
    html = demo_page(12)
    rows = re.findall(r'<tr data-row="\d+">.*?</tr>', html, re.DOTALL)
    scnet = next(r for r in rows if ">scnet<" in r)
    assert "best" in scnet
    assert re.search(r"<b>\d+\.\d\d</b>", scnet)
    htdemucs = next(r for r in rows if ">htdemucs<" in r)
    assert "trained on 12 of 12 tracks" in htdemucs
    assert "leaked" in htdemucs
    assert "training data unknown" in next(r for r in rows if ">mel_roformer<" in r)
    assert "2 jobs failed" in html


@pytest.mark.parametrize("datasets", [{}, {"demo": {"n_tracks": 0, "problems": []}}])
def test_a_run_without_scores_says_so(datasets):
    html = report.render(make_report(empty_run(datasets=datasets)))
    assert "This run has no scores" in html
    assert "Nothing failed" in html


def test_long_lists_of_what_is_left_out_are_folded():
    few, many = ([f"net{i}" for i in range(n)] for n in (4, 5))
    rows = [("first", name) for name in few] + [("second", name) for name in many]
    omitted = [{"reason": a, "name": b, "what": "separator not run"} for a, b in rows]
    page = report.render(make_report(empty_run(omitted=omitted)))
    (notice,) = re.findall(r'<div id="left-out">(.*?)</div>', page)
    assert re.sub('<span class="name">|</span>', "", notice) == (
        "<ul><li><b>9 separators not run</b>: first (net0, net1, net2, net3); second"
        "<details><summary>5 names</summary>net0, net1, net2, net3, net4</details></li></ul>"
    )


def test_a_run_in_which_everything_failed_says_so():
    rows = [row("a", f"t{i}", "", "", np.nan, status="failed", note="no memory") for i in range(3)]
    run = empty_run()
    html = report.render(make_report(Run(**{**vars(run), "scores": rows_table(rows)})))
    assert "everything failed" in html
    assert "3 jobs failed" in html


def test_one_failed_separator_stands_in_the_table_without_scores():
    rows = [*scored({"a": [1.0]}), row("b", "t0", "", "", np.nan, status="failed", note="why")]
    run = empty_run()
    html = report.render(make_report(Run(**{**vars(run), "scores": rows_table(rows)})))
    assert "failed on 1 track" in html


# ---- how sure it is


def apart(run, metric="snr", stem="drums"):
    """The scores of one stem of the demo dataset: tracks × ranked separators, and the artists."""
    rows = run.scores[(run.scores["dataset"] == "demo") & (run.scores["status"] == "ok")]
    rows = rows[(rows["metric"] == metric) & (rows["stem"] == stem)]
    wide = rows.pivot(index=["track", "artist"], columns="separator", values="value")
    wide = wide[["nmf", "repet_sim", "scnet"]].dropna()
    artists = np.unique(wide.index.get_level_values("artist"), return_inverse=True)[1]
    return wide, artists


def test_intervals_groups_and_pairs_are_those_of_the_scores():
    wide, artists = apart(demo_report(16).run)
    data = demo_view(16)["datasets"][0]
    about = data["summary"]["snr"]["drums"]
    number = {row["separator"]: i for i, row in enumerate(data["rows"])}
    means = selection.mean_intervals(wide.to_numpy(), artists)
    medians = selection.median_intervals(wide.to_numpy(), artists)
    for i, name in enumerate(wide):
        cell = about["cells"][number[name]]
        ends = [means.low[i], means.high[i], medians.low[i], medians.high[i]]
        found = [cell.low, cell.high, cell.median_low, cell.median_high]
        assert found == [text.encode(x) for x in ends]
        assert means.low[i] < means.mean[i] < means.high[i]
    assert about["artists"]["mixture"] == len(set(artists))
    groups = {name: about["cells"][number[name]].group for name in wide}
    assert groups["scnet"] == "a"  # 5 dB ahead
    assert "a" not in groups["nmf"]
    rows, values = about["pairs"]["mixture"]
    values = np.array(values)
    assert [data["rows"][i]["separator"] for i in rows] == list(wide)
    left, right = np.triu_indices(3, 1)
    gaps = wide.to_numpy()[:, left] - wide.to_numpy()[:, right]
    assert values[:, 0].tolist() == [round(x * 100) for x in gaps.mean(axis=0)]
    ends = differences(gaps, artists)
    assert values[:, 1].tolist() == [round(round(x, 2) * 100) for x in ends.low]
    assert values[1, 4] == 1  # nmf and scnet


def test_medians_have_intervals_that_hold_them_and_shrink_with_the_tracks():
    rng = np.random.default_rng(2)
    few, many = (
        selection.median_intervals(rng.normal(3, 1, (n, 2)), np.arange(n)) for n in (10, 400)
    )
    assert (few.low < few.mean).all()
    assert (few.mean < few.high).all()
    assert (many.high - many.low < 0.5 * (few.high - few.low)).all()
    alike = selection.median_intervals(np.full((8, 1), 2.0), np.arange(8))
    assert (alike.low[0], alike.mean[0], alike.high[0]) == (2.0, 2.0, 2.0)
    assert np.isnan(selection.median_intervals(np.ones((9, 1)), np.arange(9) % 5).low[0])


def test_lower_may_be_better_in_intervals_and_groups_too():
    values = {"a": [1.0, 2.0, 1.5, 1.0, 2.0, 1.5], "b": [5.0, 6.1, 5.5, 5.2, 6.0, 5.3]}
    rows = [
        row(name, f"t{i}", "vocals", "snr", value, artist=f"artist {i}")
        for name, column in values.items()
        for i, value in enumerate(column)
    ]
    found = ranked(rows_table(rows), higher_is_better=False)
    sure = certainty.certainties(found)["mixture", "vocals"]
    assert (sure.cells["a"].rank_low, sure.cells["a"].p_best) == (1, 1.0)
    assert sure.cells["a"].low < 1.5 < sure.cells["a"].high
    pair = sure.pairs.iloc[0]
    assert pair["difference"] == pytest.approx(-24.1 / 6)
    assert pair["low"] < pair["difference"] < pair["high"] < 0


def test_with_too_few_artists_nothing_is_claimed():
    rows = [
        row(name, f"t{i}", "vocals", "snr", value + i, artist="one artist")
        for name, value in (("a", 9.0), ("b", 1.0))
        for i in range(9)
    ]
    run = dataclasses.replace(empty_run(), scores=rows_table(rows))
    about = payload.build(make_report(run))["datasets"][0]["summary"]["snr"]["vocals"]
    assert about["artists"] == {"mixture": 1}
    assert about["cells"][0][9:] == (None, None, None, None, "", 0, 0, None, 0, "")
    assert about["pairs"]["mixture"][1] == [[800, None, None, None, 0]]
    assert "Too few artists for significant differences (1, 6 are needed)" in report.render(
        make_report(run)
    )


def test_genre_intervals_are_of_the_genre_alone():
    rows = [
        row(name, f"t{i}", "vocals", "snr", value, artist=f"artist {i}", genre=genre)
        for name in "ab"
        for i, (value, genre) in enumerate([(float(i), "Rock") for i in range(8)] + [(9.0, "Pop")])
    ]
    found = certainty.genre_intervals(ranked(rows_table(rows)))
    found = found.set_index(["genre", "separator"])
    wanted = selection.mean_intervals(np.arange(8.0)[:, None], np.arange(8))
    assert found.loc[("Rock", "a"), ["low", "high", "artists"]].tolist() == [
        wanted.low[0], wanted.high[0], 8,
    ]  # fmt: skip
    assert math.isnan(found.loc[("Pop", "a"), "low"])


# ---- sections


def cells_of(html, name):
    """The texts of the body cells of the table in the region with this name."""
    found = re.search(rf'aria-label="{name}".*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    assert found, name
    rows = re.findall(r"<tr.*?</tr>", found[1], re.DOTALL)
    plain = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", r, re.DOTALL) for r in rows]
    return [[" ".join(re.sub(r"<.*?>", " ", c).split()) for c in r] for r in plain]


def test_the_worth_of_choosing_is_that_of_the_tables():
    run = demo_report(16).run
    shown = cells_of(demo_page(16), "demo: expected score of choosing")
    ranked = [n for n, e in run.record["separators"].items() if e["role"] == "separator"]
    seen = leaked(run.record)
    assert len(seen) == 16
    found = selection.candidates_of(run.scores, ranked, seen)
    wanted = selection.summary(
        found[found["dataset"] == "demo"],
        policies={"best mean": selection.POLICIES["best mean"]},
    )
    columns = ["oracle", "score", "regret", "optimism"]
    for line, want in zip(shown, wanted.to_dict("records"), strict=True):
        assert line[0] == want["stem"]
        assert line[2] == f"{want['n']} ({want['artists']})"
        assert line[3:7] == [text.decimals(text.encode(want[name])) for name in columns]
        gain, low, high = (text.decimals(text.encode(want[n])) for n in ("gain", "low", "high"))
        assert line[9] == f"{gain} {low} to {high}"


def test_stability_is_told_only_where_artists_can_be_drawn_again():
    found = [
        (
            "demo",
            "test",
            f"{stem} {i}",
            f"artist {i if stem == 'bass' else 0}",
            "",
            name,
            "mixture",
            "",
            stem,
            v,
        )
        for stem in ("bass", "drums")
        for i in range(8)
        for name, v in (("a", 5.0), ("b", 4.0 + 4 * (i == 0)))
    ]
    columns = [
        "dataset",
        "split",
        "track",
        "artist",
        "genre",
        "separator",
        "input",
        "fed_by",
        "stem",
    ]
    candidates = pd.DataFrame(found, columns=[*columns, "score"])
    shares = selection.frequencies(candidates)
    report = SimpleNamespace(candidates=candidates, frequencies=shares)
    (row,) = choices.stability(report)["demo"]
    assert row["stem"] == "bass"
    assert re.fullmatch(r"a \d+%, b \d+%", row["shares"])  # b leads where bass 0 is drawn often
    shares = [int(n) / 100 for n in re.findall(r"\d+", row["shares"])]
    assert sum(shares) == pytest.approx(1, abs=0.02)
    assert int(row["stability"][:-1]) / 100 == pytest.approx(sum(x * x for x in shares), abs=0.02)


def test_the_stem_tree_names_the_best_of_each_node():
    run, view = demo_report(16).run, demo_view(16)
    nodes = stem_tree.tree(view["datasets"][0], run.scores[run.scores["dataset"] == "demo"])
    placed = {node["stem"]: (node["depth"], node["mixture"]["separator"]) for node in nodes}
    assert placed["vocals"][0] == placed["accompaniment"][0] == 0
    assert placed["drums"] == (1, "scnet")
    assert (placed["kick"][0], placed["hihat"][0]) == (2, 2)
    drums = next(node["mixture"] for node in nodes if node["stem"] == "drums")
    summary = view["datasets"][0]["summary"]["harmonic_mean"]["drums"]["cells"]
    assert drums["mean"] == max(cell[0] for cell in summary.values() if cell[6])
    lines = cells_of(demo_page(16), "demo: stem tree")
    assert [line[0].removeprefix("└ ") for line in lines] == [
        node["stem"].replace("_", " ") for node in nodes
    ]


def test_bleed_parts_snr_and_sdr():
    rows = []
    for i, (snr, sdr) in enumerate([(5, 9), (5, 6), (7, 5)]):
        rows += [
            row("a", f"t{i}", "drums", metric, float(value))
            for metric, value in (("snr", snr), ("sdr", sdr))
        ]
    run = dataclasses.replace(empty_run(), scores=rows_table(rows))
    bleed = [{"split": "test", "track": "t0", "stem": "drums"}]
    (node,) = stem_tree.tree(payload.build(make_report(run))["datasets"][0], run.scores, bleed)
    assert node["bleed"] == {"with": [4.0, 1], "without": [1.5, 2]}


def test_true_stem_and_cascade_stand_at_their_node():
    rows = scored({"a": [4.0, 6.0]}, stem="drums") + scored({"a": [4.0, 6.0]}, "drums", "sdr")
    for source, value in (("reference", 8.0), ("a", 3.0)):
        for metric in ("snr", "sdr"):
            rows += scored({"kit": [value, value]}, "kick", metric, input="drums", fed_by=source)
    run = dataclasses.replace(empty_run(), scores=rows_table(rows))
    drums, kick = stem_tree.tree(payload.build(make_report(run))["datasets"][0], run.scores)
    assert (drums["mixture"]["separator"], drums["mixture"]["mean"]) == ("a", 5.0)
    assert kick["mixture"] is None
    assert (kick["reference"]["separator"], kick["reference"]["mean"]) == ("kit", 8.0)
    assert (kick["cascade"]["fed"], kick["cascade"]["mean"]) == ("from drums by a", 3.0)


def test_a_genre_chooses_only_where_it_is_sure():
    found = [
        (
            "demo",
            "test",
            f"{genre} {i}",
            f"{genre} artist {i}",
            genre,
            name,
            "mixture",
            "",
            "bass",
            v,
        )
        for genre, gap in (("Rock", 2.0), ("Jazz", -3.0), ("Pop", 0.0))
        for i in range(3 if genre == "Pop" else 30)
        for name, v in (("a", 5.0 + gap + 0.1 * (i % 3)), ("b", 5.0))
    ]
    columns = [
        "dataset",
        "split",
        "track",
        "artist",
        "genre",
        "separator",
        "input",
        "fed_by",
        "stem",
    ]
    rows = choices.genre_policy(pd.DataFrame(found, columns=[*columns, "score"]))["demo"]
    verdicts = {line["genre"]: (line["overall"], line["best"], line["verdict"]) for line in rows}
    assert verdicts["Rock"][1] == "a"
    assert verdicts["Jazz"][1] == "b"
    assert {verdicts["Rock"][2], verdicts["Jazz"][2]} == {
        "same as the overall choice",
        "significantly better than the overall choice: chooses "
        f"{'a' if verdicts['Rock'][0] == 'b' else 'b'}",
    }  # fmt: skip
    assert verdicts["Pop"][2] == "too few tracks or artists (8 and 6 needed): overall choice"


def test_curves_are_those_of_networks_in_the_run(tmp_path: Path):
    for name in ("net", "other"):
        (tmp_path / f"{name}.curves.csv").write_text(
            "step,loss,snr,snr_bass\n0,2.0,,\n50,1.0,3.0,4.0\n"
        )
        (tmp_path / f"{name}.card.json").write_text('{"parameters": 1200}')
    (only,) = training_curves.curves({"net", "../net"}, tmp_path)
    assert (only["name"], only["steps"], only["parameters"]) == ("net", 50, 1200)
    assert ">bass</text>" in only["figures"][0]


def test_weights_and_their_license_stand_beside_the_costs():
    run = demo_run(6)
    run.record["separators"]["scnet"]["weights_bytes"] = 42_000_000
    html = report.render(make_report(run))
    line = next(r for r in re.findall(r"<tr data-row.*?</tr>", html, re.DOTALL) if ">scnet<" in r)
    assert "42 MB<small>CC-BY-NC-4.0</small>" in line


def test_what_blends_are_worth_is_shown_where_it_is_known():
    one = {
        "dataset": "demo", "input": "mixture", "fed_by": "", "stem": "bass", "edges": "", "n": 9,
        "artists": 7,
        "single": "nmf", "single_score": 3.0, "uniform": 2.5, "score": 4.125,
        "in_sample": 4.5, "weights": {"nmf": 0.75, "scnet": 0.25}, "gain": 1.125,
        "low": 0.5, "high": 2.0, "p": 0.01, "verdict": "beats it",
    }  # fmt: skip
    cut = {**one, "edges": "400, 1600", "weights": {"nmf": (1.0, 0.5, 0.0), "scnet": (0, 0.5, 1)}}
    page = report.render(demo_report(), blends=pd.DataFrame([one, cut]))
    line, by_band = cells_of(page, "demo: blends")
    assert line[:6] == ["bass", "9 (7)", "nmf", "3.00", "2.50", "4.12"]
    assert line[6:] == ["1.12 0.50 to 2.00", "beats it", "0.75 nmf + 0.25 scnet"]
    assert "by band: 400, 1600 Hz" in by_band[0]
    assert by_band[-1] == "1.00/0.50/0.00 nmf + 0.00/0.50/1.00 scnet"
    assert "its held-out score may include other choices" in page
    assert "Single,<br>held out" in page
    said = "one weight per frequency band"
    assert said in page
    assert said not in report.render(demo_report(), blends=pd.DataFrame([one]))
    assert "Expected score of blends" not in demo_page()


# ---- pictures


def test_bars_are_as_long_as_their_numbers():
    svg = figures.bars(["a<b", "c"], {"x": [10, 5]}, title='t"', axis="n")
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', svg)]
    assert widths[0] == pytest.approx(2 * widths[1], rel=0.01)
    assert "a&lt;b" in svg
    assert "10 · 67%" in svg
    assert 'aria-label="t&#34;"' in svg


def test_bars_of_means_start_at_zero_and_go_both_ways():
    series = {"SNR": [(4.0, 3.0, 5.0), (-2.0, math.nan, math.nan)], "SDR": [(2.0, 1.0, 3.0), None]}
    svg = figures.spans(["a", "b"], series, title="t", axis="dB")
    boxes = re.findall(r'<rect [^>]*x="([\d.]+)"[^>]*width="([\d.]+)"', svg)
    (x, long), (_, short), (left, back) = [tuple(map(float, box)) for box in boxes]
    assert long == pytest.approx(2 * short, rel=0.01) == pytest.approx(2 * back, rel=0.01)
    assert left + back == pytest.approx(x, abs=0.2)  # ends where the others begin
    assert svg.count("whisker") == 2
    assert "−2.0" in svg


def test_lines_are_named_and_their_names_do_not_cover_each_other():
    series = {"mean": [(0.0, 1.0), (10.0, 3.0)], "a<b": [(0.0, 0.0), (10.0, 3.01)]}
    svg = figures.lines(series, title="t", across="step", up="dB")
    heights = [float(y) for y in re.findall(r'<text class="name" x="[\d.]+" y="([\d.]+)"', svg)]
    assert abs(heights[0] - heights[1]) >= 12
    assert "a&lt;b" in svg


@pytest.mark.parametrize("top", [0, 1, 3, 7, 50, 51, 999])
def test_ticks_are_whole_numbers_that_reach_the_top(top):
    ticks = figures.round_ticks(0, top, 5, whole=True)
    assert ticks[0] == 0
    assert ticks[-1] >= top
    assert len(ticks) <= 7
    assert all(tick == int(tick) for tick in ticks)


def test_stems_that_only_anchors_have_are_not_shown():
    given = [("mixture", "guitar", -9.0), ("mixture", "vocals", -3.0), ("nmf", "vocals", 2.0)]
    scores = rows_table([row(name, "t", stem, "snr", value) for name, stem, value in given])
    roles = {"mixture": {"role": "anchor"}, "nmf": {"role": "separator"}}
    run = dataclasses.replace(empty_run(separators=roles), scores=scores)
    assert payload.build(make_report(run))["datasets"][0]["stems"] == ["vocals"]


def test_terminal_board_shows_means_on_shared_tracks_best_first():
    given = {"a": [1.0, 3.0, None], "b": [5.0, 9.0, 100.0], "irm": [20.0, 20.0, 20.0]}
    both = scored(given, metric="snr") + scored(given, metric="sdr")
    roles = {name: {"role": "oracle" if name == "irm" else "separator"} for name in given}
    about = empty_run(separators=roles, leaks=[])
    (board,) = boards.boards(make_report(dataclasses.replace(about, scores=rows_table(both))))
    assert board.head == ("separator", "vocals (n=2)")
    # harmonic means of equal values are those values: a has 1 and 3, b has 5 and 9
    assert board.rows == (("b", "7.00"), ("a", "2.00"))


def test_terminal_shows_ensembles_in_a_table_of_their_own():
    given = {"a": [1.0, 3.0], "mix": [4.0, 6.0], "seen": [9.0, 9.0]}
    both = scored(given, metric="snr") + scored(given, metric="sdr")
    roles = {name: {"role": "separator" if name == "a" else "ensemble"} for name in given}
    rows = rows_table(both)
    leaks = [
        {"separator": "seen", "dataset": dataset, "split": "test", "track": t, "status": "leaked"}
        for dataset, t in rows[["dataset", "track"]].drop_duplicates().itertuples(index=False)
    ]
    run = dataclasses.replace(empty_run(separators=roles, leaks=leaks), scores=rows)
    first, second = boards.boards(make_report(run))
    assert (first.head[0], first.rows) == ("separator", (("a", "2.00"),))
    assert (second.head[0], second.rows) == ("ensemble", (("mix", "5.00"),))
