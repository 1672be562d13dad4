import doctest
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selection_tables import one_grid, planted

from harness.cli.boards import summary_boards
from harness.core.errors import HarnessError
from harness.results.grid import grids, track_scores
from harness.results.leaks import leak_statuses, ledger, recorded_statuses
from harness.results.runs import leaked, table
from harness.selection import (
    POLICIES,
    best_mean,
    choose_within,
    costs_of,
    frequencies,
    genre_cells,
    pareto,
    parse_budget,
    ranking,
    select,
    summary,
)
from harness.selection.best_of import choose_deployable
from harness.selection.budget import within
from harness.selection.policies import (
    bagged,
    best_median,
    by_genre,
    choose_on,
    cross_fit,
    tuned,
)

FOUR = ("vocals", "drums", "bass", "other")
WINNERS = dict(zip(FOUR, "abca", strict=True))
STEMS = {s: {n: 2.0 * (n == WINNERS[s]) for n in "abc"} for s in FOUR}
GENRE = {"vocals": {"a": 1.0, "b": 0.0, "c": 0.0}}
BONUS = {("vocals", "rap", "c"): 3.0, ("vocals", "rock", "a"): 2.0}


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_finds_the_planted_winner_of_each_stem(policy):
    frame = planted(STEMS, artists=24)
    for grid in grids(track_scores(frame)):
        names = cross_fit(grid, POLICIES[policy], folds=8)
        assert set(names) == {WINNERS[grid.stem]}


def test_by_genre_finds_the_planted_winner_of_each_genre():
    frame = planted(GENRE, artists=40, bonus=BONUS)
    grid = one_grid(frame)
    names = cross_fit(grid, by_genre, folds=10)
    assert set(names[grid.genres == "rap"]) == {"c"}
    assert set(names[grid.genres == "rock"]) == {"a"}
    assert set(cross_fit(grid, best_mean)) == {"a"}
    cells = genre_cells(grid).set_index("genre")
    assert cells["strong"].to_dict() == {"rap": True, "rock": False}
    assert cells.loc["rap", ["n", "overall", "best"]].tolist() == [20, "a", "c"]


def test_by_genre_falls_back_if_the_cell_is_too_small_or_not_clear():
    few = one_grid(planted(GENRE, artists=12, bonus=BONUS))  # six of each: fewer than the eight
    assert not genre_cells(few)["strong"].any()
    assert set(by_genre(few)(few)) == set(best_mean(few)(few))
    strong = sum(
        genre_cells(one_grid(planted(GENRE, artists=24, seed=s)), resamples=300)["strong"].any()
        for s in range(40)
    )
    assert strong <= 5


def test_held_out_tracks_never_choose():
    grid = one_grid(planted(GENRE, artists=9, per_artist=2))
    seen = []

    def spy(choosing):
        def rule(held):
            seen.append((set(choosing.artists), set(held.artists)))
            assert not set(choosing.artists) & set(held.artists)
            return best_mean(choosing)(held)

        return rule

    for folds in (None, 4):
        seen.clear()
        cross_fit(grid, spy, folds=folds)
        assert set.union(*(held for _, held in seen)) == set(grid.artists)
    cross_fit(grid, tuned({"spy": spy}, folds=3))  # nested: the same inside


def test_an_outer_held_out_artist_does_not_tune():
    frame = planted(GENRE, artists=14)
    extreme = frame.copy()
    mine = (extreme["artist"] == "artist 3") & (extreme["separator"] == "b")
    extreme.loc[mine, "value"] = 29.0
    policy = tuned({"mean": best_mean, "median": best_median})
    at = one_grid(frame).artists == "artist 3"
    before, after = (cross_fit(one_grid(f), policy)[at] for f in (frame, extreme))
    assert before.tolist() == after.tolist()


def test_tuned_takes_the_policy_that_holds_out_better():
    frame = planted(GENRE, artists=40, bonus=BONUS)
    grid = one_grid(frame)
    policy = tuned({"best mean": best_mean, "by genre": by_genre})
    assert policy(grid)(grid).tolist() == by_genre(grid)(grid).tolist()


def test_median_and_mean_differ_if_one_track_fails():
    frame = planted({"vocals": {"x": 2.0, "y": 0.0}}, artists=15, spread=0.1)
    frame.loc[(frame["separator"] == "x") & (frame["track"] == "00-0"), "value"] = -30.0
    grid = one_grid(frame)
    assert best_mean(grid)(grid)[0] == "y"
    assert best_median(grid)(grid)[0] == "x"


def test_bagged_chooses_as_most_resamples_would():
    frame = planted({"vocals": {"x": 0.5, "y": 0.0}}, artists=12, spread=0.1)
    frame.loc[(frame["separator"] == "x") & (frame["track"] == "00-0"), "value"] -= 5.9
    grid = one_grid(frame)
    share = frequencies(track_scores(frame, "snr")).set_index("separator")["frequency"]
    assert bagged(grid)(grid)[0] == share.idxmax()
    assert share.sum() == pytest.approx(1)
    board = ranking(grid).set_index("separator")["p_best"]
    assert share.to_dict() == pytest.approx(board.to_dict())


def test_stability_is_the_chance_that_two_resamples_agree():
    found = frequencies(track_scores(planted({"vocals": {"x": 9.0, "y": 0.0}})))
    assert found["stability"].tolist() == [1.0, 1.0]
    close = frequencies(track_scores(planted({"vocals": {"x": 0.0, "y": 0.0}})))
    shares = close["frequency"].to_numpy()
    assert close["stability"].iloc[0] == pytest.approx((shares**2).sum())


def test_the_in_sample_score_is_optimistic_and_the_held_out_one_is_not():
    names = [f"s{i}" for i in range(8)]
    in_sample, held_out = [], []
    for seed in range(150):
        grid = one_grid(planted({"vocals": dict.fromkeys(names, 0.0)}, artists=10, seed=seed))
        own = grid.scores.mean(axis=1)  # truth: nobody is above it
        in_sample.append((grid.at(best_mean(grid)(grid)) - own).mean())
        held_out.append((grid.at(cross_fit(grid, best_mean)) - own).mean())
    error = np.std(held_out) / np.sqrt(150)
    assert abs(np.mean(held_out)) < 3 * error
    assert np.mean(in_sample) > 0.2


def test_summary_adds_up_and_knows_the_best_single_separator():
    frame = planted(STEMS, artists=20)
    rows = summary(track_scores(frame), policies={"best mean": best_mean}).set_index("stem")
    assert list(rows.index) == [*FOUR, "overall: four stems"]
    assert (rows["oracle"] >= rows["score"]).all()
    assert rows["regret"].to_numpy() == pytest.approx(rows["oracle"] - rows["score"])
    assert set(rows["single"]) == {"a"}  # wins two stems of four
    assert rows.loc["vocals", "gain"] == 0
    assert rows.loc["drums", "low"] > 0
    overall = rows.loc["overall: four stems"]
    assert overall["score"] == pytest.approx(rows["score"].iloc[:4].mean())
    assert overall["low"] < 1.0 < overall["high"]  # 2 dB on two stems of four
    assert overall["low"] > 0


def test_choosing_on_another_dataset_leaves_its_own_artists_out():
    here = planted({"vocals": {"x": 1.0, "y": 0.0}}, artists=8)
    there = planted({"vocals": {"x": 0.0, "y": 2.0}}, artists=8, dataset="other").assign(
        artist=lambda f: "other " + f["artist"]
    )
    same = planted({"vocals": {"x": 30.0, "y": 0.0}}, artists=8, dataset="other")
    same["split"] = "again"
    both = track_scores(pd.concat([here, there, same]), "snr")
    rows = summary(both, policies={"best mean": best_mean}, on="other")
    assert rows["dataset"].tolist() == ["set"]
    assert rows["chosen"].tolist() == ["y"]
    assert rows["optimism"].iloc[0] > 0.5
    picked, _ = choose_deployable(both, on="other")
    assert set(picked["separator"]) == {"y"}
    assert set(picked["dataset"]) == {"set"}
    target, other = grids(track_scores(here, "snr"))[0], grids(track_scores(same, "snr"))[0]
    assert set(choose_on(other, target, best_mean)) == {""}  # nobody is left to choose


def test_choosing_on_a_dataset_that_is_not_there_names_those_that_are():
    with pytest.raises(HarnessError, match="no scores of it; choose of set"):
        select(planted(GENRE, artists=2), ["a", "b"], set(), on="moisesdb")


def test_notes_name_separators_left_out_and_stems_without_a_common_track():
    frame = planted({"vocals": {"x": 1.0, "y": 0.0, "rare": 2.0}}, artists=20)
    rare = frame[(frame["separator"] != "rare") | (frame["track"] < "03")]
    _, notes = choose_deployable(track_scores(rare))
    text = "set, vocals: rare has 3 tracks, too few to be chosen"
    assert notes == [{"dataset": "set", "note": text}]
    apart = frame[(frame["separator"] == "x") == (frame["track"] < "10")]
    _, notes = choose_deployable(track_scores(apart[apart["separator"] != "rare"]))
    assert "no track has a score of every separator" in notes[0]["note"]


def test_boards_show_the_policy_in_use_and_the_others_held_out_scores():
    found = summary(track_scores(planted(GENRE, artists=8)))
    main, others = summary_boards(found, "best mean")
    assert main.title == "set: expected scores of the choice, dB"
    assert main.rows[0][:2] == ["vocals", "8 (8)"]
    assert [row[0] for row in others.rows] == list(POLICIES)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("", {}),
        ("rtf<0.5,memory<4GB", {"rtf": 0.5, "peak_memory": 4e9}),
        (" params <= 1.5M , cpu<60s", {"parameters": 1.5e6, "cpu_seconds": 60.0}),
        ("memory<2GiB", {"peak_memory": 2.0 * 1024**3}),
        ("rtf<1,rtf<0.25x", {"rtf": 0.25}),
    ],
)
def test_budgets_are_read(text, budget):
    assert parse_budget(text) == budget


@pytest.mark.parametrize("text", ["rtf>1", "speed<1", "rtf<fast", "memory<4 parsecs", "rtf<1.2.3"])
def test_an_invalid_budget_is_refused(text):
    with pytest.raises(HarnessError, match="not a limit; write rtf<"):
        parse_budget(text)


COSTS = pd.DataFrame(
    {"rtf": [0.3, 0.1, 0.4], "peak_memory": [1e9, 5e9, 2e9]}, index=["a", "b", "c"]
)


def test_costs_are_medians_and_memory_the_peak():
    head = ("r", "set", "test", "t", "a", "g", "x", "mixture", "", "mixture")
    values = [("rtf", v) for v in (1.0, 2.0, 9.0)] + [("peak_memory", v) for v in (1e6, 3e6)]
    found = costs_of(table((*head, metric, value, "ok", "") for metric, value in values))
    assert found.loc["x"].to_dict() == {"rtf": 2.0, "peak_memory": 3e6}


def test_the_pareto_front_is_not_dominated(rng):
    score, costs = rng.integers(0, 6, 40).astype(float), rng.integers(0, 6, (40, 2)).astype(float)
    costs[7, 0] = np.nan
    points = np.column_stack([-score, costs])
    beaten = [
        any((q <= p).all() and (q < p).any() for q in points if not np.isnan(q).any())
        for p in points
    ]
    expected = ~np.array(beaten) & ~np.isnan(points).any(axis=1)
    assert pareto(score, costs).tolist() == expected.tolist()


def test_the_best_within_a_budget_is_found_and_scored_on_other_artists():
    candidates = track_scores(planted(STEMS, artists=20))
    free = choose_within(candidates, COSTS, {}).iloc[0]
    assert free["chosen"] == {s: WINNERS[s] for s in free["chosen"]}
    assert (free["rtf"], free["peak_memory"]) == (pytest.approx(0.8), 5e9)  # sum and largest
    tight = choose_within(candidates, COSTS, {"rtf": 0.75, "peak_memory": 4e9}).iloc[0]
    assert set(tight["chosen"].values()) == {"a", "c"}
    assert tight["rtf"] == pytest.approx(0.7)
    assert tight["score"] < free["score"]
    held = tight["held_out"]
    assert held.keys() == tight["chosen"].keys()
    assert np.mean([known["score"] for known in held.values()]) == pytest.approx(
        tight["score"], abs=0.01
    )
    assert choose_within(candidates, COSTS, {"rtf": 0.01}).empty


def test_a_team_that_lacks_a_stem_is_not_completed_beyond_the_budget():
    frame = planted(STEMS, artists=10)
    frame = frame[(frame["separator"] != "c") | (frame["stem"] == "vocals")]
    candidates = track_scores(frame)
    costs = pd.DataFrame({"rtf": [0.3, 0.2, 0.1]}, index=["a", "b", "c"])
    assert choose_within(candidates, costs, {"rtf": 0.15}).empty  # c alone gives vocals alone
    assert choose_within(candidates, costs, {"rtf": 0.25})["chosen"][0].keys() == set(FOUR)


def test_a_budget_on_an_unmeasured_cost_is_refused():
    with pytest.raises(HarnessError, match="parameters was not measured; limit rtf, peak_memory"):
        within(COSTS, {"parameters": 1e6})


def test_ledger_counts_each_status():
    songs = ["Actions - One Minute Smile", "AM Contra - Heart Peripheral"]
    scores = pd.DataFrame(
        [
            (n, "musdb18hq", split, t)
            for n in "xyz"
            for t, split in zip(songs, ("train", "test"), strict=True)
        ],
        columns=["separator", "dataset", "split", "track"],
    )
    found = leak_statuses(scores, {"x": ["musdb18:train"], "y": []})
    counts = ledger(found).set_index(["separator", "split"])[["clean", "leaked", "unknown"]]
    assert counts.loc[("x", "train")].tolist() == [0, 1, 0]
    assert counts.loc[("y", "test")].tolist() == [1, 0, 0]
    assert counts.loc[("z", "test")].tolist() == [0, 0, 1]
    rows = found[found["status"] != "clean"].to_dict("records")
    assert leaked({"leaks": rows}) == {("x", "musdb18hq", "train", songs[0])}
    again = recorded_statuses(scores, {"leaks": rows})
    pd.testing.assert_frame_equal(again.reset_index(drop=True), found.reset_index(drop=True))


def test_published_medians_of_sisec_2018(shared_data):
    frame = pd.read_csv(shared_data / "reference_scores" / "sisec18_track_medians.csv")
    frame = frame[frame["metric"] == "SDR"]
    rows = table(
        ("", "musdb18", "test", r.track, r.track.partition(" - ")[0], "", r.method, "mixture", "",
         r.target, "csdr", r.median_over_frames_dB, "ok", "")
        for r in frame.itertuples()
    )  # fmt: skip
    published = {
        "vocals": {"MIX": 1.12, "REP2": 2.30, "STL2": 3.25, "TAU1": 7.15, "IRM2": 9.43},
        "bass": {"MIX": 0.67, "JY3": 3.67, "TAU1": 5.86, "MWF": 6.75},
        "drums": {"MIX": 1.33, "UHL2": 5.92, "TAK1": 6.43, "IBM1": 7.09},
        "other": {"MIX": 1.16, "TAU1": 4.73, "IRM1": 6.92},
        "accompaniment": {"MIX": 6.32, "HPSS": 4.37, "IRM2": 15.64},
    }
    for grid in grids(track_scores(rows, "csdr")):
        board = ranking(grid, resamples=100).set_index("separator")
        for name, value in published[grid.stem].items():
            assert board.loc[name, "median"] == pytest.approx(value, abs=0.0101)


def test_the_worked_example_runs():
    guide = Path(__file__).parents[2] / "docs" / "selection.md"
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    found = doctest.testfile(str(guide), module_relative=False, optionflags=flags)
    assert found.attempted > 5
    assert found.failed == 0
