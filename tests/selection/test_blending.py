"""Blends of inner products with known best weights, and other ways to combine audio."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_tables import by_band, inner_products

from harness import selection
from harness.cli import boards
from harness.core.errors import HarnessError
from harness.metrics import analyse, harmonic_mean, scorer
from harness.results.grid import HARMONIC, grids, track_scores
from harness.results.runs import table
from harness.selection import blending
from harness.selection.worth import BEATS, BEATS_NOT
from harness.separators.ensemble import COMBINE, consistent, max_mag, mean, median, min_mag


def stem_of(noises: list, per_artist: int = 1, dataset: str = "set"):
    """Candidates and inner products of tracks with these noises, or with a list of one per band."""
    rows, kept = [], {}
    for i, noise in enumerate(noises):
        place = (dataset, "test", f"track {i}", f"{dataset} artist {i // per_artist}", "")
        make = by_band if isinstance(noise, list) else inner_products
        names = tuple("abcdefgh"[: np.shape(noise)[-1]])
        kept[dataset, "test", f"track {i}", "vocals"] = blend = make(noise, names)
        for name in names:
            for metric in ("snr", "sdr"):
                value = blend.score({name: 1.0})[metric]
                rows.append(("r", *place, name, "mixture", "", "vocals", metric, value, "ok", ""))
    return track_scores(table(rows)), kept


def of_stem(noises: list[np.ndarray], per_artist: int = 1) -> blending.Products:
    candidates, kept = stem_of(noises, per_artist)
    return blending.products_of(grids(candidates)[0], kept)


def independent(*energies: float) -> np.ndarray:
    return np.diag(np.array(energies))


def random_noises(seed: int, tracks: int, n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(tracks, n, 2 * n)) * rng.uniform(0.1, 1, (tracks, 1, 1))
    return list(mixed @ mixed.transpose(0, 2, 1))


# --- choosing -----------------------------------------------------------------------------------


def test_independent_noise_is_weighted_by_its_inverse():
    stem = of_stem([independent(0.1, 0.2, 0.4), independent(0.01, 0.02, 0.04)])
    found = blending.programme(stem, np.ones((1, 2)))[0]
    assert found == pytest.approx(np.array([4, 2, 1]) / 7, abs=1e-7)
    best = stem.scorer("snr")([found]).mean()
    greedy = blending.greedy(stem.scorer(), np.ones((1, 2)), 3)
    assert stem.scorer("snr")(greedy).mean() == pytest.approx(best, abs=0.005)


def test_a_separator_that_repeats_the_noise_of_a_better_one_has_no_weight():
    noise = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) / 100
    stem = of_stem([noise, noise / 10])
    assert blending.programme(stem, np.ones((1, 2)))[0] == pytest.approx([1, 0, 0], abs=1e-6)
    assert blending.greedy(stem.scorer(), np.ones((1, 2)), 3)[0].tolist() == [1, 0, 0]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 5))
def test_no_blend_is_found_that_beats_the_programme(seed, tracks, n):
    noises = random_noises(seed, tracks, n)
    stem = of_stem(noises)
    counts, score = np.ones((1, tracks)), stem.scorer("snr")
    weights = blending.programme(stem, counts)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    here = np.random.default_rng(seed).dirichlet(np.ones(n), 200)
    near = 0.98 * weights + 0.02 * here
    energies = np.einsum("bk,tkl,bl->bt", near, np.array(noises), near)
    least = np.einsum("bk,tkl,bl->bt", weights, np.array(noises), weights)
    with_floor = [np.log(x + 1e-3).mean(axis=1) for x in (energies, least)]
    assert with_floor[0].min() >= with_floor[1].item() - 1e-6
    greedy = blending.greedy(score, counts, n)
    assert greedy.min() >= 0
    assert greedy.sum() == pytest.approx(1)
    assert score(np.eye(n)).mean(axis=1).max() - 1e-9 <= score(greedy).mean()


def test_each_choice_is_made_on_its_own_tracks():
    stem = of_stem([independent(0.1, 10.0), independent(10.0, 0.1), independent(0.1, 0.1)])
    counts = np.eye(3)
    for weights in (
        blending.programme(stem, counts),
        blending.greedy(stem.scorer(), counts, 2, rounds=100),
    ):
        assert weights[:, 0] == pytest.approx([100 / 101, 1 / 101, 0.5], abs=0.01)
    assert blending.best_single(stem.scorer(), counts, 2)[:2].tolist() == [[1, 0], [0, 1]]


def test_perfect_and_equal_estimates_have_weights():
    stem = of_stem([np.zeros((2, 2)), independent(0.1, 0.1)])
    assert blending.programme(stem, np.array([[1.0, 0.0], [1.0, 1.0]])) == pytest.approx(
        np.full((2, 2), 0.5)
    )
    twins = of_stem([np.full((2, 2), 0.1)] * 2)
    assert np.isfinite(blending.programme(twins, np.ones((1, 2)))).all()


def test_with_few_artists_the_best_single_separator_stays():
    noises = [independent(0.1, 0.11)] * 4
    assert blending.choose_weights(of_stem(noises, per_artist=2)).tolist() == [[1, 0]]
    assert blending.choose_weights(of_stem(noises))[0] == pytest.approx([0.52, 0.48], abs=0.05)
    assert blending.choose_weights(of_stem(noises), metric="snr")[0] == pytest.approx(
        [0.11 / 0.21, 0.1 / 0.21], abs=1e-6
    )


def test_weights_that_only_one_artist_wants_are_shrunk():
    odd = [independent(30.0, 0.001)]  # 45 dB for b, on one artist's track
    noises = [np.array([[0.1, 0.14], [0.14, 0.2]])] * 7 + odd
    stem = of_stem(noises)
    counts = np.ones((1, 8))
    free = blending.bagged_greedy(stem.scorer(), counts, 2, stem.grid.clusters)
    shrunk = blending.choose_weights(stem, counts)
    assert free[0, 1] > 0.1
    assert shrunk[0].max() >= free[0].max()


def test_without_tracks_no_weights_can_be_chosen():
    stem = of_stem([independent(0.1, 0.2)])
    empty = blending.Products(stem.grid.take(np.zeros(1, dtype=bool)), ())
    with pytest.raises(HarnessError, match="blend of vocals: no track"):
        blending.choose_weights(empty)


# --- by band ------------------------------------------------------------------------------------

EACH_ITS_BAND = [independent(0.01, 0.04), independent(0.04, 0.01)]


def test_each_band_has_weights_of_its_own():
    stem = of_stem([EACH_ITS_BAND, EACH_ITS_BAND])
    expected = pytest.approx(np.array([0.8, 0.2, 0.2, 0.8]), abs=1e-7)
    assert blending.programme(stem, np.ones((1, 2)))[0] == expected
    assert stem.together().blends[0].score({"a": 0.5, "b": 0.5})["snr"] == pytest.approx(
        -10 * np.log10(0.025)
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 3), st.integers(2, 3))
def test_no_weights_near_those_of_the_programme_are_better_where_bands_overlap(
    seed, tracks, n, n_bands
):
    stem = of_stem([[np.eye(n)] * n_bands] * tracks)
    mixed = random_noises(seed, tracks, n * n_bands)
    overlapping = [
        replace(blend, whole=blend.whole + np.pad(noise, (1, 0)) / 100)
        for blend, noise in zip(stem.blends, mixed, strict=True)
    ]
    stem, counts = replace(stem, blends=tuple(overlapping)), np.ones((1, tracks))
    weights = blending.programme(stem, counts)[0]
    assert weights.min() >= 0
    assert weights.reshape(n_bands, n).sum(axis=1) == pytest.approx(np.ones(n_bands))
    here = np.random.default_rng(seed).dirichlet(np.ones(n), (200, n_bands)).reshape(200, -1)
    score = stem.scorer("snr")
    best = score([weights]).mean()
    assert score(0.98 * weights + 0.02 * here).mean(axis=1).max() <= best + 0.01


def test_bands_with_the_same_noise_have_the_same_weights():
    alike = [independent(0.05, 0.1)] * 2
    for metric in ("snr", HARMONIC):
        found = blending.choose_weights(of_stem([alike] * 6), metric=metric)[0]
        assert found[:2] == pytest.approx(found[2:], abs=1e-6)
        assert found[0] == pytest.approx(2 / 3, abs=0.05)
    few = of_stem([EACH_ITS_BAND] * 4, per_artist=2)
    assert blending.choose_weights(few).tolist() == [[1, 0, 1, 0]]


def test_expected_scores_of_weights_by_band():
    worth, rows = selection.blends(*stem_of([EACH_ITS_BAND] * 8))
    row = worth.iloc[0]
    assert (row["edges"], row["verdict"]) == ("100", BEATS)
    assert row["single_score"] == pytest.approx(-10 * np.log10(0.05))
    assert row["uniform"] == pytest.approx(-10 * np.log10(0.025))
    assert row["score"] == pytest.approx(-10 * np.log10(0.016), abs=0.01)
    assert row["weights"]["a"] == pytest.approx((0.8, 0.2), abs=1e-6)
    assert set(rows["metric"]) == {"snr", "sdr", "si_sdr"}
    words = boards.blend_boards(worth)[-1].rows[0][-1]
    assert sorted(words.split(" + ")) == ["0.20/0.80 b", "0.80/0.20 a"]


def test_inner_products_by_band_are_added_reduced_and_refused():
    blend = by_band([random_noises(1, 1, 3)[0], random_noises(2, 1, 3)[0]], ("a", "b", "c"))
    weights = {"c": (0.75, 0.5), "a": (0.25, 0.5)}
    assert blend.only(["c", "a"]).score(weights) == pytest.approx(blend.score(weights))
    same = {"a": 0.75, "c": 0.25}
    assert blend.together().score(same)["snr"] == pytest.approx(blend.score(same)["snr"])
    with pytest.raises(HarnessError, match=r"'csdr' .* choose from snr, sdr, si_sdr"):
        scorer([blend], "csdr")
    with pytest.raises(HarnessError, match="different separators"):
        scorer([blend, replace(blend, edges=(200.0,))], "snr")


# --- expected scores ----------------------------------------------------------------------------


def test_a_blend_of_two_with_independent_noise_gains_three_decibels():
    worth, rows = selection.blends(*stem_of([independent(0.1, 0.1)] * 8))
    row = worth.iloc[0]
    assert row["gain"] == pytest.approx(10 * np.log10(2), abs=0.05)
    assert row["score"] == pytest.approx(row["in_sample"])
    assert row["low"] > 2.9
    assert row["verdict"] == BEATS
    assert (row["n"], row["artists"], row["single"]) == (8, 8, "a")
    assert row["uniform"] == pytest.approx(10 + 10 * np.log10(2))
    assert set(rows["separator"]) == {"blend", "best single"}
    assert set(rows["metric"]) >= {"snr", "sdr", "csdr"}
    assert boards.blend_boards(worth)[-1].rows[0][-1].count(" + ") == 1


def test_verdicts_say_if_a_blend_is_not_better_or_artists_are_too_few():
    repeated = np.outer([1.0, 2.0], [1.0, 2.0]) / 100
    worth, _ = selection.blends(*stem_of([repeated] * 8))
    assert worth["verdict"].tolist() == [BEATS_NOT]
    assert worth["gain"].item() == pytest.approx(0)
    worth, _ = selection.blends(*stem_of([independent(0.1, 0.1)] * 4))
    assert worth["verdict"].tolist() == [selection.TOO_FEW]


@pytest.mark.parametrize("metric", ["harmonic_mean", "snr"])
def test_an_artists_own_tracks_do_not_choose_for_them(metric):
    noises = [independent(0.1, 0.2)] * 8
    _, before = selection.blends(*stem_of(noises, per_artist=2), metric=metric)
    changed = noises[:6] + [independent(20.0, 0.01)] * 2  # the last artist
    _, after = selection.blends(*stem_of(changed, per_artist=2), metric=metric)
    theirs = before["track"].isin(["track 6", "track 7"])
    assert before["note"][theirs].tolist() == after["note"][theirs].tolist()
    assert before["note"][~theirs].tolist() != after["note"][~theirs].tolist()
    assert before["value"][theirs].tolist() != after["value"][theirs].tolist()


def test_another_dataset_can_choose():
    here, kept = stem_of([independent(0.1, 0.4)] * 6)
    there, more = stem_of([independent(0.3, 0.1)] * 6, dataset="other")
    candidates = pd.concat([here, there])
    worth, rows = selection.blends(candidates, kept | more, metric="snr", on="other")
    assert worth[["dataset", "single"]].to_numpy().tolist() == [["set", "b"]]
    assert worth["weights"][0] == pytest.approx({"a": 0.25, "b": 0.75})
    assert set(rows["dataset"]) == {"set"}


def test_without_products_or_with_one_artist_there_is_no_row():
    candidates, kept = stem_of([independent(0.1, 0.1)] * 8)
    worth, rows = selection.blends(candidates, {})
    assert worth.empty
    assert rows.empty
    assert "verdict" in worth
    assert selection.blends(*stem_of([independent(0.1, 0.1)] * 3, per_artist=3))[0].empty
    alone = {key: blend.only(["a"]) for key, blend in kept.items()}
    assert selection.blends(candidates, alone)[0].empty


# --- ways to make an ensemble -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "weights", "held_out"),
    [
        ("best", {"a": 1.0}, 10.0),
        ("blend", {"a": 0.5, "b": 0.5}, 13.01),
        ("bands", {"a": 0.5, "b": 0.5}, 13.01),
        ("mean", {"a": 0.5, "b": 0.5}, 13.01),
        ("median", {"a": 0.5, "b": 0.5}, None),
    ],
)
def test_weights_and_expected_score_of_each_way(how, weights, held_out):
    candidates, kept = stem_of([independent(0.1, 0.1)] * 8)
    (grid,) = grids(candidates)
    found = selection.weights_of(grid, how, kept)
    assert found == pytest.approx(weights, abs=0.05)
    assert sum(found.values()) == pytest.approx(1, abs=1e-9)
    wanted = {("mixture", "vocals"): found}
    known, warnings = selection.expected(candidates, kept, how, None, wanted)
    if held_out is None:
        assert (known, len(warnings)) == ({}, 1)
    else:
        expected = {"score": held_out, "low": held_out, "high": held_out}
        assert known["vocals"] == pytest.approx(expected, abs=0.05)
        assert warnings == []


@pytest.mark.parametrize(
    ("how", "noise", "tracks", "said"),
    [
        (
            "blend",
            np.outer([1.0, 2.0], [1.0, 2.0]) / 100,
            8,
            "vocals: on set the blend is not significantly better than a alone",
        ),
        (
            "blend",
            independent(0.1, 0.1),
            4,
            "too few artists to tell on set whether the blend is better",
        ),
        ("mean", independent(0.01, 1.0), 8, "a alone scores 20.00 dB on set, the mean of all 5.98"),
    ],
)
def test_a_warning_if_one_separator_alone_may_be_as_good(how, noise, tracks, said):
    candidates, kept = stem_of([noise] * tracks)
    wanted = {("mixture", "vocals"): {"a": 0.5, "b": 0.5}}
    (warning,) = selection.expected(candidates, kept, how, None, wanted)[1]
    assert said in warning


def test_a_warning_if_a_blend_has_only_one_separator():
    candidates, kept = stem_of([np.outer([1.0, 2.0], [1.0, 2.0]) / 100] * 8)
    wanted = {("mixture", "vocals"): {"a": 1.0}}
    for products, said in ((kept, "no blend seems better"), ({}, "no inner products")):
        (warning,) = selection.expected(candidates, products, "blend", None, wanted)[1]
        assert said in warning


def test_a_blend_without_scores_on_the_other_dataset_has_no_expected_score():
    here, kept = stem_of([independent(0.1, 0.1)] * 8)
    there, _ = stem_of([independent(0.1, 0.1)] * 8, dataset="other")
    candidates, wanted = pd.concat([here, there]), {("mixture", "vocals"): {"a": 0.5, "b": 0.5}}
    assert selection.expected(candidates, kept, "blend", "set", wanted)[0] == {}
    assert "vocals" in selection.expected(candidates, kept, "best", "set", wanted)[0]


# --- exactness ----------------------------------------------------------------------------------


def test_many_tracks_at_once_score_as_each_by_itself_and_as_audio():
    rate, rng = 4000, np.random.default_rng(3)
    weights = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
    found, expected = [], []
    for seconds in (1, 2):
        stems = {s: rng.normal(size=(2, seconds * rate)).astype("float32") / 8 for s in "vw"}
        noise = rng.normal(size=(3, *stems["v"].shape)).astype("float32") / 20
        made = {name: stems["v"] + n for name, n in zip("abc", noise, strict=True)}
        ready = analyse(stems, rate)
        found.append(ready.blend("v", made))
        audio = [sum(w * made[n].astype("float64") for w, n in zip(ws, "abc", strict=True))
                 for ws in weights]  # fmt: skip
        expected.append([ready.score({"v": a.astype("float32")})["v"] for a in audio])
    for metric in ("snr", "sdr", "si_sdr", "csdr", "isr", "sir", "sar"):
        many = scorer(found, metric)(weights)
        assert pytest.approx(np.array([b.scores(weights)[metric] for b in found])) == many.T
        audio = np.array([[s[metric].value for s in track] for track in expected])
        assert pytest.approx(audio, abs=1e-6) == many.T


def test_harmonic_means_of_blends_stay_within_the_limits():
    stem = of_stem([independent(1e-9, 1e9), independent(0.1, 0.2)])
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    snr, sdr = (stem.scorer(metric)(weights) for metric in ("snr", "sdr"))
    assert stem.scorer()(weights) == pytest.approx(harmonic_mean(snr, sdr))
    assert stem.scorer()(weights)[:2, 0].tolist() == [30, -30]


def test_some_separators_of_a_blend_score_as_before():
    blend = inner_products(random_noises(1, 1, 4)[0], ("a", "b", "c", "d"))
    weights = {"d": 0.75, "b": 0.25}
    assert blend.only(["d", "b"]).score(weights) == pytest.approx(blend.score(weights))


def test_other_separators_and_metrics_are_refused():
    one = inner_products(independent(0.1, 0.2), ("a", "b"))
    with pytest.raises(HarnessError, match="different separators"):
        scorer([one, one.only(["b", "a"])], "snr")
    with pytest.raises(HarnessError, match="'pesq' cannot be computed"):
        scorer([one], "pesq")


# --- audio --------------------------------------------------------------------------------------


def tones(*frequencies: float) -> np.ndarray:
    time = np.arange(16000) / 16000
    waves = np.sum([np.sin(2 * np.pi * f * time) for f in frequencies], axis=0)
    return (0.2 * np.stack([waves, -waves])).astype("float32")


def test_mean_and_median_of_estimates():
    good, bad = tones(440), tones(440) + 9
    assert mean([good, bad]) == pytest.approx(good + 4.5, abs=1e-5)
    assert np.array_equal(median([good, bad, good]), good)


def test_least_and_most_of_each_point_of_the_spectrogram():
    low, both = tones(500), tones(500, 3000)
    inside = slice(2048, -2048)
    assert min_mag([both, low])[:, inside] == pytest.approx(low[:, inside], abs=1e-3)
    assert max_mag([low, both])[:, inside] == pytest.approx(both[:, inside], abs=1e-3)
    assert max_mag([tones(500), tones(3000)])[:, inside] == pytest.approx(both[:, inside], abs=2e-3)


@pytest.mark.parametrize("how", COMBINE)
def test_equal_estimates_stay_as_they_are(how):
    one = tones(440, 1234)
    assert COMBINE[how]([one, one, one]) == pytest.approx(one, abs=1e-6)


def test_what_the_stems_leave_is_shared_equally():
    stems = {"vocals": tones(440), "drums": tones(1000)}
    mixture = stems["vocals"] + stems["drums"] + np.float32(0.5)
    found = consistent(mixture, stems)
    assert found["vocals"] + found["drums"] == pytest.approx(mixture, abs=1e-6)
    assert found["vocals"] - stems["vocals"] == pytest.approx(np.full((2, 16000), 0.25), abs=1e-6)
    again = consistent(mixture, found)
    assert again["drums"] == pytest.approx(found["drums"], abs=1e-6)
