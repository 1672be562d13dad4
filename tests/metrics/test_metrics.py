import doctest
import math
import warnings
from pathlib import Path

import fast_bss_eval
import mir_eval
import museval.metrics
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.audio import read
from harness.core.errors import HarnessError
from harness.metrics import (
    DEFAULT,
    METRICS,
    References,
    analyse,
    csdr,
    harmonic_mean,
    sdr,
    si_sdr,
    snr,
)
from harness.metrics.checks import suspicions

RATE = 8000
SAME = 1e-9  # dB; both sides compute in float64 and differ by rounding
STEMS = ("vocals", "drums", "bass", "other")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

finite = st.floats(-200, 200)
levels = st.one_of(finite, st.sampled_from([math.inf, -math.inf]))


def noise(rng, shape=(2, 3 * RATE)):
    return rng.standard_normal(shape).astype(np.float32)


def with_noise(reference, snr_db, rng):
    other = rng.standard_normal(reference.shape)
    gain = np.linalg.norm(reference) / np.linalg.norm(other) * 10 ** (-snr_db / 20)
    return (reference + gain * other).astype(np.float32)


def peer(function, *arrays, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arrays, **options)


def test_the_manual_says_what_happens():
    manual = Path(__file__).parents[2] / "docs" / "metrics.md"
    failed, attempted = doctest.testfile(str(manual), module_relative=False)
    assert attempted > 20
    assert not failed


@pytest.mark.parametrize("snr_db", [-10.0, 0.0, 10.0, 30.0])
def test_reference_plus_noise_scores_its_level(rng, snr_db):
    reference = noise(rng)
    assert snr(reference, with_noise(reference, snr_db, rng)) == pytest.approx(snr_db, abs=1e-5)


def test_si_sdr_ignores_gain_and_snr_does_not(rng):
    reference = noise(rng)
    estimate = with_noise(reference, 12, rng)
    assert si_sdr(reference, 4 * estimate) == pytest.approx(si_sdr(reference, estimate), abs=SAME)
    assert snr(reference, 4 * estimate) < 0


def test_a_delay_is_allowed_by_sdr_up_to_its_filter(rng):
    reference = noise(rng, (1, RATE))
    late = {d: np.pad(reference, ((0, 0), (d, 0)))[:, :RATE] for d in (511, 512)}
    assert sdr(reference, late[511]) > 10
    assert sdr(reference, late[512]) < 0


def test_perfect_estimates_score_infinity(rng):
    reference = noise(rng)
    scores = analyse({"bass": reference}, RATE).score({"bass": reference.copy()})["bass"]
    assert {name: score.value for name, score in scores.items()} == dict.fromkeys(DEFAULT, math.inf)
    assert sdr(reference, reference) == math.inf


def test_a_silent_reference_is_undefined_and_says_so(rng):
    x = noise(rng)
    scores = analyse({"vocals": 0 * x, "bass": x}, RATE).score({"vocals": x, "bass": x})
    for score in scores["vocals"].values():
        assert math.isnan(score.value)
        assert score.note == "silent reference"
    for metric in (snr, si_sdr, sdr):
        assert math.isnan(metric(0 * x, x))


def test_a_silent_estimate_is_defined(rng):
    x = noise(rng)
    scores = analyse({"bass": x}, RATE).score({"bass": 0 * x})["bass"]
    values = {name: score.value for name, score in scores.items()}
    nothing = dict.fromkeys(("sdr", "si_sdr", "sir", "sar", "si_sir", "si_sar"), -math.inf)
    assert values == {"snr": 0.0, "csdr": 0.0, "isr": 0.0, **nothing}
    assert {score.note for score in scores.values()} == {"silent estimate"}


def test_out_of_phase_stereo_is_not_silent(rng):
    left = noise(rng, (1, 3 * RATE))
    x = np.concatenate([left, -left])
    scores = analyse({"bass": x}, RATE).score({"bass": with_noise(x, 20, rng)})["bass"]
    assert scores["snr"].value == pytest.approx(20, abs=1e-5)
    assert scores["csdr"].value == pytest.approx(20, abs=0.5)


def test_muting_part_of_an_estimate_never_helps(rng):
    x = noise(rng, (2, 6 * RATE))
    estimate = with_noise(x, np.where(np.arange(6 * RATE) < 4 * RATE, 3, 20), rng)
    muted = estimate.copy()
    muted[:, : 4 * RATE] = 0
    ours, theirs = (
        analyse({"a": x}, RATE, metrics=["csdr"], compat=c) for c in ("ours", "museval")
    )
    before, after = ({"a": estimate}, {"a": muted})
    assert ours.score(after)["a"]["csdr"].value < ours.score(before)["a"]["csdr"].value
    assert theirs.score(after)["a"]["csdr"].value > theirs.score(before)["a"]["csdr"].value


def test_frames_with_a_silent_reference_do_not_count(rng):
    x = noise(rng, (2, 4 * RATE))
    x[:, : 2 * RATE] = 0
    estimate = with_noise(x, 10, rng)
    expected = np.median(
        [snr(x[:, a : a + RATE], estimate[:, a : a + RATE]) for a in (16000, 24000)]
    )
    assert csdr(x, estimate, RATE) == pytest.approx(expected, abs=SAME)


def test_csdr_is_undefined_when_only_a_partial_frame_sounds(rng):
    x = noise(rng, (1, RATE + 100))
    x[:, :RATE] = 0
    score = analyse({"a": x}, RATE, metrics=["csdr"]).score({"a": x})["a"]["csdr"]
    assert math.isnan(score.value)
    assert score.note


def test_mono_scores_as_the_same_signal_twice(rng):
    x = noise(rng, (1, 2 * RATE))
    e = with_noise(x, 8, rng)
    twice = [np.repeat(signal, 2, axis=0) for signal in (x, e)]
    one, two = (analyse({"a": a}, RATE).score({"a": b})["a"] for a, b in ((x, e), twice))
    for name in DEFAULT:
        assert two[name].value == pytest.approx(one[name].value, abs=SAME)


def test_swapping_channels_of_both_changes_nothing(rng):
    x = noise(rng)
    e = with_noise(x, 8, rng)
    one, two = (
        analyse({"a": a}, RATE).score({"a": b})["a"] for a, b in ((x, e), (x[::-1], e[::-1]))
    )
    for name in DEFAULT:
        assert two[name].value == pytest.approx(one[name].value, abs=SAME)


def test_dependent_directions_are_left_out(rng):
    x = noise(rng, (1, 2 * RATE))
    late = np.pad(x, ((0, 0), (100, 0)))[:, : 2 * RATE]
    e = with_noise(x, 8, rng)
    x, late, e = (np.pad(signal, ((0, 0), (0, 200))) for signal in (x, late, e))
    late[:] = np.roll(x, 100, axis=1)  # spans 100 more delays and nothing else
    both = np.concatenate([x, late])
    alone = sdr(both, np.concatenate([e, 0 * e]))
    assert sdr(x, e) <= alone < sdr(x, e) + 1


def test_sdr_equals_mir_eval_and_fast_bss_eval(rng):
    x = noise(rng, (1, 2 * RATE))
    e = with_noise(x, 5, rng)
    pair = x.astype(np.float64), e.astype(np.float64)
    theirs = peer(mir_eval.separation.bss_eval_sources, *pair, compute_permutation=False)[0][0]
    assert sdr(x, e) == pytest.approx(theirs, abs=SAME)
    assert si_sdr(x, e) == pytest.approx(float(fast_bss_eval.si_sdr(*pair)[0]), abs=SAME)


def test_real_tracks_score_as_with_the_other_tools(shared_data):
    for track in ("Music Delta - Zeppelin",):
        folder = shared_data / "musdb18hq" / "test" / track
        part = {
            name: read(folder / f"{name}.wav", frames=2 * 44100)[0] for name in (*STEMS, "mixture")
        }
        refs = {stem: part[stem] for stem in STEMS}
        ests = {
            stem: (0.7 * part[stem] + 0.2 * part["mixture"]).astype(np.float32) for stem in STEMS
        }
        scores = analyse(refs, 44100).score(ests)
        for stem in STEMS:
            if not refs[stem].any():
                assert math.isnan(scores[stem]["sdr"].value)
                continue
            x, e = (signal[stem].T[None].astype(np.float64) for signal in (refs, ests))
            source = peer(museval.metrics.bss_eval_sources, x, e, compute_permutation=False)[0]
            assert scores[stem]["sdr"].value == pytest.approx(np.ravel(source)[0], abs=1e-6)
            frames = csdr(refs[stem], ests[stem], 44100)
            assert scores[stem]["csdr"].value == pytest.approx(frames, abs=SAME)
            flat = x.reshape(1, -1), e.reshape(1, -1)
            assert scores[stem]["si_sdr"].value == pytest.approx(
                float(fast_bss_eval.si_sdr(*flat)[0]), abs=SAME
            )


def test_csdr_is_the_median_of_musevals_frames(rng):
    refs = {stem: noise(rng, (2, 5 * RATE + 77)) for stem in ("a", "b")}
    refs["b"][:, RATE : 2 * RATE] = 0
    ests = {stem: with_noise(x, 6, rng) for stem, x in refs.items()}
    x, e = (
        np.stack([s.T for s in signals.values()]).astype(np.float64) for signals in (refs, ests)
    )
    theirs = peer(museval.metrics.bss_eval, x, e, window=RATE, hop=RATE, filters_len=8)[0]
    ours = analyse(refs, RATE, metrics=["csdr"], compat="museval").score(ests)
    for stem, frames in zip(refs, theirs, strict=True):
        assert ours[stem]["csdr"].value == pytest.approx(np.nanmedian(frames), abs=SAME)


@pytest.mark.parametrize(
    ("references", "estimates", "message"),
    [
        ({"a": np.ones((2, 9), np.float32)}, {"a": np.ones((2, 8), np.float32)}, r"\(2, 8\)"),
        ({"a": np.ones((2, 9), np.float32)}, {"a": np.full((2, 9), np.nan, np.float32)}, "NaN"),
        ({}, {}, "no references"),
        (
            {"a": np.ones((1, 9), np.float32), "b": np.ones((1, 8), np.float32)},
            {},
            "differ in length",
        ),
    ],
)
def test_unfit_signals_are_refused(references, estimates, message):
    with pytest.raises(HarnessError, match=message):
        analyse(references, RATE).score(estimates)


def test_unknown_metrics_are_refused():
    with pytest.raises(HarnessError, match="usdr"):
        analyse({"a": np.ones((1, 9), np.float32)}, RATE, metrics=["usdr"])


def test_only_stems_of_both_sides_are_scored(rng):
    refs = {"a": noise(rng), "b": noise(rng)}
    scored = analyse(refs, RATE).score({"b": refs["a"], "c": refs["a"]})
    assert isinstance(analyse(refs, RATE), References)
    assert set(scored) == {"b"}


def test_metrics_are_named_after_themselves():
    assert all(metric.name == name for name, metric in METRICS.items())
    assert [name for name, metric in METRICS.items() if not metric.higher_is_better] == [
        "pes",
        "attack_slope",
        "rtf",
        "scoring",
        "cpu_seconds",
        "peak_memory",
        "parameters",
        "mrstft",
        "zimtohrli",
    ]


@given(levels, levels, levels)
def test_harmonic_mean_never_rises_when_a_value_falls(a, b, c):
    low, high = min(a, c), max(a, c)
    slack = 1e-12 * abs(harmonic_mean(high, b)) if math.isfinite(high + b) else 0
    assert harmonic_mean(low, b) <= harmonic_mean(high, b) + slack
    assert harmonic_mean(a, b) == harmonic_mean(b, a)
    assert min(a, b) <= harmonic_mean(a, b) + slack


@given(finite, finite)
def test_harmonic_mean_is_continuous(a, b):
    assert abs(harmonic_mean(a + 1e-9, b) - harmonic_mean(a, b)) <= 2.001e-9


def test_harmonic_mean_of_arrays_and_limits():
    a = np.array([4.0, 1.62, math.inf, math.inf, -math.inf, math.nan, 0.0])
    b = np.array([12.0, -6.25, 3.0, math.inf, 5.0, 3.0, 5.0])
    expected = [6.0, -6.25, 6.0, math.inf, -math.inf, math.nan, 0.0]
    np.testing.assert_allclose(harmonic_mean(a, b), expected)


def test_a_level_is_reported_if_it_is_most_of_a_good_estimates_error():
    rng = np.random.default_rng(0)
    x, noise = (rng.standard_normal((2, 8000)).astype(np.float32) * 0.1 for _ in range(2))
    said = suspicions({"a": x}, {"a": 0.8 * (x + 0.05 * noise)}, 8000)["a"]
    assert said == "level -1.9 dB; snr without that: 26.0 dB"
    half = (x + 0.7 * noise) / 1.49  # a Wiener filter's estimate, at the level that is best
    assert suspicions({"a": x}, {"a": half}, 8000)["a"] == ""
    assert suspicions({"a": x}, {"a": x}, 8000)["a"] == ""


def test_a_reference_of_dither_is_reported():
    dither = np.random.default_rng(0).integers(-1, 2, (2, 8000)).astype(np.float32) / 32768
    silence = np.zeros((2, 8000), np.float32)
    found = suspicions({"a": dither, "b": silence}, {"a": 0.5 * dither, "b": silence}, 8000)
    assert found["a"].startswith("the reference is below -90.3 dBFS")
    assert found["b"] == ""


def test_an_estimate_of_all_stems_but_one_is_reported():
    rng = np.random.default_rng(0)
    x = {s: rng.standard_normal((2, 8000)).astype(np.float32) * 0.1 for s in "abcd"}
    total = sum(x.values())
    found = suspicions(x, {"d": total - x["a"], "c": total, "b": x["b"] + x["c"]}, 8000)
    assert found["d"] == "resembles everything but the a"
    assert "but" not in found["c"]
    assert "but" not in found["b"]
