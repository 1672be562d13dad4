import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from selection_tables import one_grid, planted

from harness.cli.boards import remarks
from harness.core.errors import HarnessError
from harness.results.grid import grids, track_scores, without_leaked
from harness.selection import MIN_ARTISTS, compare, mean_intervals, pairs, ranking
from harness.selection.statistics import (
    differences,
    draw,
    holm,
    letters,
    means_and_errors,
    rank_intervals,
    signed_rank,
    studentized_means,
)

TWO = {"vocals": {"x": 1.0, "y": 0.0}}


def test_scores_beyond_the_limit_count_as_the_limit():
    frame = planted(TWO, artists=3)
    frame.loc[(frame["separator"] == "x") & (frame["track"] == "00-0"), "value"] = math.inf
    frame.loc[(frame["separator"] == "y") & (frame["track"] == "01-0"), "value"] = -math.inf
    scores = one_grid(frame).scores
    assert scores[0, 0] == 30.0
    assert scores[1, 1] == -30.0


def test_a_separator_with_too_few_tracks_removes_none_of_the_others():
    frame = planted({"vocals": {"x": 1.0, "y": 0.0, "rare": 2.0}}, artists=20)
    frame = frame[(frame["separator"] != "rare") | (frame["track"] < "04")]
    whole = one_grid(frame).complete()
    assert whole.separators == ("x", "y")
    assert len(whole.tracks) == 20
    assert one_grid(frame).complete(min_tracks=4).scores.shape == (4, 3)


def test_tracks_of_unknown_artists_are_not_one_artist():
    frame = planted(TWO, artists=4)
    assert one_grid(frame.assign(artist="unknown")).n_artists == 4
    assert one_grid(frame.assign(artist=None)).n_artists == 4
    spelled = frame["artist"].replace("artist 1", " Artist  0")
    assert one_grid(frame.assign(artist=spelled)).n_artists == 3


def test_a_metric_that_is_not_there_is_named():
    with pytest.raises(HarnessError, match=r"'sdrr': not in the table; (did you mean|known:)"):
        track_scores(planted(TWO, artists=1), "sdrr")


def test_tracks_of_one_artist_are_drawn_as_one(rng):
    values, artists = rng.normal(size=(12, 1)), np.arange(12)
    once = mean_intervals(values, artists)
    thrice = mean_intervals(values.repeat(3, axis=0), artists.repeat(3))
    np.testing.assert_allclose(once.low, thrice.low)
    np.testing.assert_allclose(once.high, thrice.high)
    apart = mean_intervals(values.repeat(3, axis=0), np.arange(36))
    assert apart.high - apart.low < 0.7 * (once.high - once.low)


def test_standard_error_of_single_tracks_is_the_usual_one(rng):
    values = rng.normal(size=(15, 2))
    _, errors = means_and_errors(values, np.arange(15))
    np.testing.assert_allclose(errors, stats.sem(values))
    weights = draw(15, 7)
    resample = values[np.arange(15).repeat(weights[3].astype(int))]
    error = np.sqrt(((resample - resample.mean(0)) ** 2).sum(0) * 15 / 14) / 15
    expected = (resample.mean(0) - values.mean(0)) / error
    np.testing.assert_allclose(studentized_means(values, np.arange(15), weights)[3], expected)


def test_intervals_cover_the_truth_at_their_rate(rng):
    hits = 0
    for seed in range(400):
        artist = rng.exponential(size=12).repeat(2) + rng.exponential(size=24) - 2
        found = mean_intervals(artist[:, None], np.arange(12).repeat(2), resamples=500, seed=seed)
        hits += found.low[0] <= 0 <= found.high[0]
    assert 0.89 <= hits / 400 <= 0.98


def test_the_same_seed_gives_the_same_interval_and_few_artists_none(rng):
    values = rng.normal(size=(8, 3))
    first, again = (mean_intervals(values, np.arange(8)) for _ in range(2))
    np.testing.assert_array_equal(first.low, again.low)
    assert np.isnan(mean_intervals(values, np.arange(8) % (MIN_ARTISTS - 1)).low).all()


def test_signed_rank_can_claim_from_six_artists_on():
    clear = np.arange(1.0, MIN_ARTISTS + 1)[:, None]
    assert signed_rank(clear)[0] < 0.05
    assert signed_rank(clear[:-1])[0] > 0.05
    assert signed_rank(np.zeros((8, 1)))[0] == 1.0


@pytest.mark.parametrize("ties", [False, True])
def test_signed_rank_counts_all_signs(rng, ties):
    draws = rng.integers(-3, 5, (11, 40)).astype(float) if ties else rng.normal(0.5, 1, (11, 40))
    signs = np.array(list(itertools.product((-1, 1), repeat=11)))
    for column, found in zip(draws.T, signed_rank(draws), strict=True):
        ranks = stats.rankdata(abs(column)) * (column != 0)
        sums, observed = signs @ ranks, np.sign(column) @ ranks
        assert found == pytest.approx(np.mean(abs(sums) >= abs(observed)))


@pytest.mark.parametrize("n", [30, 50, 51, 200])
def test_signed_rank_is_scipys(rng, n):
    values = rng.normal(0.3, 1, (n, 5))
    expected = stats.wilcoxon(values, axis=0).pvalue
    np.testing.assert_allclose(signed_rank(values), expected, rtol=1e-9)


def test_holm_steps_down():
    assert holm([0.005, 0.04, 0.011]).tolist() == pytest.approx([0.015, 0.04, 0.022])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 7), st.integers(0, 2**21 - 1))
def test_separators_share_a_letter_exactly_if_they_do_not_differ(k, bits):
    different = np.zeros((k, k), dtype=bool)
    for n, (i, j) in enumerate(zip(*np.triu_indices(k, 1), strict=True)):
        different[i, j] = different[j, i] = bool(bits >> n & 1)
    names = letters(different)
    for i, j in zip(*np.triu_indices(k, 1), strict=True):
        assert bool(set(names[i]) & set(names[j])) != different[i, j]


def test_a_clear_difference_is_significant_and_measured():
    frame = planted({"vocals": {"x": 3.0, "y": 0.0}}, artists=25)
    row = compare(frame, "x", "y").iloc[0]
    assert (row["better"], row["withheld"], row["verdict"]) == ("x", "", "x is better")
    assert 0 < row["low"] < 3.0 < row["high"]
    assert row["p"] < 0.01
    turned = compare(frame, "y", "x").iloc[0]
    assert turned["verdict"] == "x is better"
    assert turned["difference"] == pytest.approx(-row["difference"])


def test_a_lead_that_rare_failures_could_cancel_is_no_claim():
    row = compare(planted(TWO, artists=25), "x", "y").iloc[0]
    assert row["p"] < 0.05
    assert (row["better"], row["withheld"]) == ("", "rare failures")
    assert row["verdict"].startswith("x is ahead on these songs, but failures too rare")
    assert row["low"] == pytest.approx(row["difference"] - 20 * (1 - 0.025 ** (1 / 45)))
    free = compare(planted(TWO, artists=25), "x", "y", failure=0.0).iloc[0]
    assert free["verdict"] == "x is better"


def test_seen_failures_leave_only_a_lead_with_most_artists():
    frame = planted({"vocals": {"x": 1.0, "y": 0.0}}, artists=40, spread=0.2)
    frame.loc[(frame["separator"] == "x") & frame["track"].isin(["00-0", "07-0"]), "value"] -= 20
    row = compare(frame, "x", "y").iloc[0]
    assert (row["better"], row["withheld"]) == ("", "mean")
    assert row["verdict"] == "x is ahead with most artists, but not clearly on average"


@pytest.mark.parametrize("n_artists", [10, 20])
def test_rare_failures_are_rarely_called_better(n_artists):
    claims = covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values = 1 + rng.normal(0, 0.5, (2 * n_artists, 1))  # a mean of zero: 5 % fail by 20 dB
        values -= 20 * (rng.random(values.shape) < 0.05)
        found = differences(values, np.arange(n_artists).repeat(2))
        covered += found.low[0] <= 0 <= found.high[0]
        claims += found.low[0] > 0 and found.p_rank[0] < 0.05
    assert claims / 60 <= 0.07
    assert covered / 60 >= 0.9


def test_the_same_separator_twice_does_not_differ():
    frame = planted(TWO)
    twin = frame[frame["separator"] == "x"].assign(separator="twin")
    row = compare(pd.concat([frame, twin]), "x", "twin").iloc[0]
    assert (row["low"], row["high"], row["p"]) == (0.0, 0.0, 1.0)
    assert row["verdict"] == "no significant difference"


def test_too_few_artists_claim_nothing_however_clear():
    table = compare(planted({"vocals": {"x": 20.0, "y": 0.0}}, artists=5), "x", "y")
    assert table.iloc[0]["verdict"] == "too few artists for a test"
    assert np.isnan(table.iloc[0]["p"])
    assert "tracks by 5 artists are too few" in remarks(table, "x", "y")[0]


def test_only_common_tracks_are_compared_and_counted():
    frame = planted(TWO, artists=20)
    frame = frame[(frame["separator"] != "y") | (frame["track"] >= "03")]
    table = compare(frame, "x", "y")
    assert table.loc[0, ["n", "lacks_a", "lacks_b"]].tolist() == [17, 0, 3]
    said = remarks(table, "x", "y")
    assert said == ["set, vocals: compared on 17 tracks; y has no score on 3 more"]


def test_leaked_tracks_do_not_count_in_a_comparison():
    leaked = {("x", "set", "test", "00-0")}
    assert compare(planted(TWO), "x", "y", leaked=leaked).iloc[0]["n"] == 19
    found = track_scores(planted(TWO))
    assert len(without_leaked(found, leaked)) == len(found) - 1


def test_comparing_an_unknown_separator_names_the_known_ones():
    with pytest.raises(
        HarnessError, match="'z' has no score by harmonic_mean to compare; choose from: x, y"
    ):
        compare(planted(TWO), "x", "z")


def test_equal_separators_are_rarely_claimed_to_differ():
    claims = 0
    for seed in range(120):
        frame = planted({"vocals": dict.fromkeys("abcd", 0.0)}, artists=10, seed=seed)
        verdicts = pairs(one_grid(frame))["verdict"]
        claims += (verdicts != "no significant difference").any()
    assert claims / 120 < 0.10  # 5 % is asked for; 0.10 is 2.5 standard errors above


def test_ranking_finds_the_planted_order():
    means = {"vocals": {"a": 0.0, "b": 4.0, "c": 2.0, "twin": 4.0}}
    board = ranking(one_grid(planted(means, artists=30)))
    assert board["separator"].tolist()[2:] == ["c", "a"]
    assert board["group"].tolist() == ["a", "a", "b", "c"]
    assert board["p_best"].sum() == pytest.approx(1)
    assert board["p_best"].iloc[2:].tolist() == [0, 0]
    assert (board["rank_low"] <= board["rank"]).all()
    assert (board["rank"] <= board["rank_high"]).all()


def test_rank_intervals_by_hand():
    low, high = rank_intervals(np.array([[3.0, 2.0, 1.0]] * 9 + [[3.0, 1.0, 2.0]]), level=0.5)
    assert low.tolist() == [1, 2, 3]
    assert high.tolist() == [1, 2, 3]


def test_stems_and_inputs_are_never_mixed():
    frame = planted(TWO)
    fed = frame.assign(input="vocals", fed_by="reference", value=frame["value"] + 9)
    found = grids(track_scores(pd.concat([frame, fed]), "snr"))
    assert [(g.source, g.scores.shape) for g in found] == [
        ("mixture", (20, 2)),
        ("reference:vocals", (20, 2)),
    ]
