"""What the metric engine promises by itself: symmetries, blends, notes, formats."""

import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor

import museval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from harness.core import bands
from harness.core.errors import HarnessError
from harness.metrics import DEFAULT, analyse, read_blends, sdr, suspicions, write_blends
from harness.metrics.engine.correlations import TAPS, Correlator
from harness.metrics.engine.device import DeviceCorrelator
from harness.metrics.engine.forms import FilteredEnergy, Frames
from harness.metrics.engine.threads import one_blas_thread
from harness.metrics.engine.toeplitz import Factor
from harness.results.museval_format import parse_museval, write_museval

RATE = 2000
SAME = 1e-7  # dB

few = settings(max_examples=4, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def track(seed, channels=2, seconds=4):
    """Two stems with a pause, and what a separator makes of them."""
    rng = np.random.default_rng(seed)
    shape = (channels, seconds * RATE + 123)
    refs = {}
    for stem in ("a", "b"):
        x = rng.standard_normal(shape)
        refs[stem] = (x + 0.8 * np.roll(x, 2, axis=1)).astype(np.float32)
    refs["a"][:, : RATE // 2] = 0
    ests = {
        "a": 0.8 * refs["a"]
        + 0.2 * np.roll(refs["b"], 5, axis=1)
        + 0.1 * rng.standard_normal(shape),
        "b": 0.9 * refs["b"] - 0.1 * refs["a"] + 0.2 * rng.standard_normal(shape),
    }
    return refs, {stem: x.astype(np.float32) for stem, x in ests.items()}


def values(refs, ests, **options):
    scores = analyse(refs, RATE, **options).score(ests)
    return {(s, name): score.value for s, row in scores.items() for name, score in row.items()}


def assert_same(one, two, names=DEFAULT):
    for key in one:
        if key[1] in names:
            assert one[key] == pytest.approx(two[key], abs=SAME), key


def changed(signals, change):
    return {stem: change(x) for stem, x in signals.items()}


@few
@given(seeds, st.floats(0.1, 10))
def test_gain_of_both_changes_nothing(seed, gain):
    refs, ests = track(seed)
    scale = 2.0 ** round(math.log2(gain))  # exact in float32
    louder = (changed(x, lambda y: (scale * y).astype(np.float32)) for x in (refs, ests))
    assert_same(values(refs, ests), values(*louder))


@few
@given(seeds, st.sampled_from([0.25, -0.5, 8.0]))
def test_gain_of_the_estimate_moves_only_what_has_no_filter(seed, gain):
    refs, ests = track(seed)
    one, two = values(refs, ests), values(refs, changed(ests, lambda x: np.float32(gain) * x))
    assert_same(one, two, ("sdr", "si_sdr", "sir", "sar"))
    assert abs(one["b", "snr"] - two["b", "snr"]) > 1


@few
@given(seeds)
def test_polarity_and_channel_order_and_stem_order_change_nothing(seed):
    refs, ests = track(seed)
    before = values(refs, ests)
    for change in (lambda x: -x, lambda x: x[::-1]):
        assert_same(before, values(changed(refs, change), changed(ests, change)))
    assert_same(before, values(dict(reversed(refs.items())), ests))


@few
@given(seeds)
def test_mono_scores_as_double_mono(seed):
    refs, ests = track(seed, channels=1)
    double = (changed(x, lambda y: np.repeat(y, 2, axis=0)) for x in (refs, ests))
    assert_same(values(refs, ests), values(*double))


@few
@given(seeds, st.integers(0, 2), st.integers(0, 2))
def test_whole_seconds_of_silence_around_change_nothing(seed, before, after):
    refs, ests = (changed(x, lambda y: y[:, : 3 * RATE]) for x in track(seed))
    room = (0, 0), (before * RATE, after * RATE)
    padded = (changed(x, lambda y: np.pad(y, room)) for x in (refs, ests))
    assert_same(values(refs, ests), values(*padded))


@few
@given(seeds, st.permutations(["a", "b", "c"]))
def test_names_of_stems_mean_nothing(seed, names):
    refs, ests = track(seed)
    mixture = refs["a"] - 0.5 * refs["b"]
    refs["c"] = (np.roll(mixture, 3, axis=1) ** 3).astype(np.float32)
    ests["c"] = refs["c"] + np.float32(0.1) * mixture
    new = dict(zip("abc", names, strict=True))
    before = {(new[stem], name): value for (stem, name), value in values(refs, ests).items()}
    renamed = ({new[stem]: signal for stem, signal in x.items()} for x in (refs, ests))
    assert_same(before, values(*renamed))


@few
@given(seeds)
def test_delaying_the_estimate_leaves_filtered_scores_alike(seed):
    refs, ests = (changed(x, lambda y: np.pad(y, ((0, 0), (0, 600)))) for x in track(seed))
    late = changed(ests, lambda x: np.roll(x, 7, axis=1))
    one, two = values(refs, ests), values(refs, late)
    assert two["a", "snr"] < one["a", "snr"] - 3
    assert two["a", "sdr"] == pytest.approx(one["a", "sdr"], abs=0.5)


def test_no_number_depends_on_the_threads():
    refs, ests = track(1)
    assert values(refs, ests, threads=1) == values(refs, ests, threads=3)


def test_a_second_separator_does_not_change_the_first():
    refs, ests = track(1)
    ready = analyse(refs, RATE)
    first, frames = ready.score(ests), ready.frames(ests)
    kept = {name: values.copy() for name, values in frames["a"].items()}
    ready.score(refs)
    assert ready.score(ests) == first
    for name, values in kept.items():
        np.testing.assert_array_equal(frames["a"][name], values)


def test_a_muted_stem_does_not_touch_the_others():
    refs, ests = track(1)
    muted = ests | {"a": 0 * ests["a"]}
    one, two = (analyse(refs, RATE).score(x) for x in (ests, muted))
    assert one["b"] == two["b"]
    theirs = analyse(refs, RATE, compat="museval").score(muted)
    assert all(math.isnan(theirs["b"][name].value) for name in ("csdr", "sar"))
    assert "museval" in theirs["b"]["sar"].note


def test_a_silent_reference_leaves_the_others_defined():
    refs, ests = track(1)
    quiet = {**refs, "c": np.zeros_like(refs["a"])}
    scores = analyse(quiet, RATE).score({**ests, "c": ests["a"]})
    assert math.isnan(scores["c"]["sar"].value)
    assert scores["a"] == analyse(refs, RATE).score(ests)["a"]


def test_a_track_of_silence_is_undefined_throughout():
    refs, ests = track(1)
    ready = analyse(changed(refs, lambda x: 0 * x), RATE)
    assert math.isnan(ready.conditioning)
    assert all(score.note == "silent reference" for score in ready.score(ests)["a"].values())
    assert np.isnan(ready.frames(ests)["a"]["sar"]).all()
    assert math.isnan(ready.bss_eval_sources(ests)["b"]["sir"])


def test_stems_may_differ_in_channels():
    refs, ests = track(1)
    refs["b"], ests["b"] = refs["b"][:1], ests["b"][:1]
    apart = {stem: sdr(refs[stem], ests[stem]) for stem in refs}
    scores = analyse(refs, RATE).score(ests)
    assert {stem: row["sdr"].value for stem, row in scores.items()} == pytest.approx(
        apart, abs=SAME
    )
    both = [{**side, "b": np.repeat(side["b"], 2, axis=0)} for side in (refs, ests)]
    wide = analyse(both[0], RATE).score(
        both[1]
    )  # a stem's level counts in no scale-invariant ratio
    for stem, name in itertools.product(refs, ("si_sir", "si_sar")):
        assert scores[stem][name].value == pytest.approx(wide[stem][name].value, abs=1e-4)


def test_one_object_may_be_asked_from_several_threads():
    refs, ests = track(1)
    ready = analyse(refs, RATE)
    expected = ready.score(ests)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ready.score, [ests] * 8)) == [expected] * 8


def test_copies_of_channels_and_empty_channels_are_left_out_exactly():
    refs, ests = track(1)
    copied = {**refs, "b": np.stack([refs["b"][0], -2 * refs["b"][0]])}
    single = {**refs, "b": refs["b"][:1]}
    wide, narrow = analyse(copied, RATE), analyse(single, RATE)
    estimates = np.stack([ests["b"][0], -2 * ests["b"][0]])
    one = wide.score({"b": estimates})["b"]
    two = narrow.score({"b": ests["b"][:1]})["b"]
    for name in set(DEFAULT) - {"si_sir", "si_sar"}:  # for which the channels of a stem are one
        assert one[name].value == pytest.approx(two[name].value, abs=SAME)
    empty = {**refs, "b": refs["b"] * np.array([[1], [0]], np.float32)}
    assert analyse(empty, RATE).conditioning > 1e-6


def test_a_stem_that_is_another_times_a_factor_adds_nothing():
    refs, ests = track(1)
    with_copy = {**refs, "c": np.float32(-0.5) * refs["a"]}
    one, two = values(refs, ests), values(with_copy, {**ests, "c": ests["a"]})
    assert_same(one, two)
    assert two["c", "sar"] == pytest.approx(one["a", "sar"], abs=SAME)
    conditioning = [analyse(x, RATE).conditioning for x in (refs, with_copy)]
    assert conditioning[1] == pytest.approx(conditioning[0])


def test_a_channel_of_zeros_adds_nothing():
    refs, ests = track(1)
    one, two = (changed(x, lambda y: y[:1]) for x in (refs, ests))
    half = (changed(x, lambda y: np.concatenate([y, 0 * y])) for x in (one, two))
    assert_same(values(one, two), values(*half))


def test_a_stem_that_is_another_delayed_is_called_ill_conditioned():
    refs, ests = (changed(x, lambda y: np.pad(y, ((0, 0), (0, 600)))) for x in track(1))
    late = {**refs, "c": np.roll(refs["b"], 40, axis=1)}
    ready = analyse(late, RATE)
    assert ready.conditioning < 1e-12
    found, alone = ready.score({**ests, "c": ests["b"]}), analyse(refs, RATE).score(ests)
    for stem in "ab":
        assert found[stem]["sdr"].value == pytest.approx(alone[stem]["sdr"].value, abs=SAME)
        assert found[stem]["sar"].note.startswith("ill-conditioned, ")
        # 40 more delays of a stem are nearly nothing to what 512 of it explain
        assert found[stem]["sar"].value == pytest.approx(alone[stem]["sar"].value, abs=0.3)


def test_an_empty_band_is_called_ill_conditioned():
    refs, ests = track(1)
    low = butter(12, 0.3, output="sos")
    narrow = changed(refs, lambda x: sosfiltfilt(low, x.astype(np.float64), axis=1))
    scores = analyse(narrow, RATE).score(changed(ests, lambda x: x.astype(np.float64)))
    assert "ill-conditioned" in scores["a"]["sar"].note
    assert scores["a"]["csdr"].note == ""
    hiss = np.random.default_rng(2)
    hissing = changed(narrow, lambda x: x + 1e-7 * hiss.standard_normal(x.shape))
    assert 1e-17 < analyse(hissing, RATE).conditioning < 1e-12
    quantised = changed(narrow, lambda x: (np.round(x * 3000) / 3000).astype(np.float32))
    assert analyse(quantised, RATE).score(ests)["a"]["sar"].note == ""


def test_delayed_copies_are_found_dependent(rng):
    x = np.zeros((2, 1800))
    x[0, :1000] = rng.standard_normal(1000)
    x[1] = np.roll(x[0], 100)  # adds 100 directions, not 512
    e = np.zeros((1, 1800))
    e[0, :1400] = rng.standard_normal(1400)
    correlate = Correlator(list(x), [(0, 1800)]).correlate
    factor = Factor(correlate(list(x)).total)
    assert factor.conditioning == 0
    whitened = factor.whiten(correlate(list(e)).total)
    delays = np.stack([np.roll(x[0], d) for d in range(TAPS + 100)], axis=1)
    with one_blas_thread():
        basis = np.linalg.qr(delays)[0]
    inside = basis @ (basis.T @ e[0])
    assert len(whitened) == TAPS + 100
    assert np.sum(whitened**2) == pytest.approx(np.sum(inside**2), rel=1e-9)
    filters = factor.filters(whitened)[0]
    filtered = sum(np.convolve(f, row)[:1800] for f, row in zip(filters, x, strict=True))
    np.testing.assert_allclose(filtered, inside, atol=1e-6)


@pytest.mark.parametrize("window", [300, 2000, 5000, 9000])
def test_correlations_are_those_of_the_definition_on_every_device(rng, window):
    x, e = rng.standard_normal((2, 5000)), rng.standard_normal((1, 5000)).astype(np.float32)
    bounds = [(start, min(start + window, 5000)) for start in range(0, 5000, window)]
    expected = np.stack([e[:, lag:] @ x[:, : 5000 - lag].T for lag in range(TAPS)], axis=-1)
    for correlator in (Correlator(x, bounds), DeviceCorrelator(x, bounds, "cpu")):
        found = correlator.correlate(e)
        np.testing.assert_allclose(found.total, expected, atol=1e-10)
        first = e[:, 100 : bounds[0][1]] @ x[:, : bounds[0][1] - 100].T
        np.testing.assert_allclose(found.segments[0, :, :, 100], first, atol=1e-10)
        np.testing.assert_allclose(found.energies.sum(), np.sum(np.square(e, dtype=float)))


def test_long_segments_are_cut_into_pieces(rng):
    x = rng.standard_normal((1, 200_000))
    whole = Correlator(x, [(0, 200_000)]).correlate(x)
    expected = [x[0, lag:] @ x[0, : 200_000 - lag] for lag in (0, 1, 511)]
    np.testing.assert_allclose(whole.segments[0, 0, 0, [0, 1, 511]], expected, atol=1e-8)


def test_scores_on_a_device_are_those_on_the_processor(monkeypatch):
    refs, ests = track(1)
    pretend_device(monkeypatch)
    assert_same(values(refs, ests), values(refs, ests, device="cuda"))


def test_the_processor_takes_over_where_a_device_has_too_little_memory(monkeypatch):
    refs, ests = track(1)
    pretend_device(monkeypatch)
    monkeypatch.setattr("harness.metrics.engine.device._send", out_of_memory)
    assert values(refs, ests, device="cuda") == values(refs, ests)


def test_devices_without_float64_are_not_asked(monkeypatch):
    refs, ests = track(1)
    monkeypatch.setattr("harness.metrics.engine.device._send", out_of_memory)
    assert values(refs, ests, device="mps") == values(refs, ests)


def pretend_device(monkeypatch):
    """Let PyTorch's processor device stand in for a GPU."""
    monkeypatch.setattr(
        "harness.metrics.engine.device.DeviceCorrelator",
        lambda rows, bounds, _, **options: DeviceCorrelator(rows, bounds, "cpu", **options),
    )


def out_of_memory(*_):
    raise torch.OutOfMemoryError


@pytest.mark.gpu
@pytest.mark.parametrize("hop", [None, 0.5])
def test_scores_on_cuda_are_those_on_the_processor(hop):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    refs, ests = track(1)
    assert_same(values(refs, ests, hop=hop), values(refs, ests, hop=hop, device="cuda"))
    one, two = (analyse(refs, RATE, hop=hop, device=device) for device in ("cpu", "cuda"))
    assert one.conditioning == pytest.approx(two.conditioning)
    for name, frames in one.frames(ests)["a"].items():
        np.testing.assert_allclose(two.frames(ests)["a"][name], frames, atol=1e-6, rtol=0)
    blends = [ready.blend("b", {"x": ests["a"], "y": ests["b"]}) for ready in (one, two)]
    scores = [blend.score({"x": 0.5, "y": 0.5}) for blend in blends]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_forms_are_recomputed_where_their_rounding_shows(rng):
    slow = np.sin(np.pi * np.arange(2000) / 2000) ** 4
    x = np.stack([np.tile(slow, 2), 1e-3 * rng.standard_normal(4000)])
    bounds = [(0, 2000), (2000, 4000)]
    frames = Frames(list(x), bounds, Correlator(x, bounds).correlate(x).segments, 2)
    taps = np.zeros((1, 2, TAPS))
    taps[0, 0, :3] = 1e6, -2e6, 1e6  # of something slow as good as nothing is left
    taps[0, 1, 0] = 1.0
    (found,) = frames.energies([FilteredEnergy([0, 1], taps)])
    for energy, (start, stop) in zip(found, bounds, strict=True):
        filtered = sum(np.convolve(taps[0, row], x[row, start:stop]) for row in range(2))
        assert energy == pytest.approx(np.sum(filtered**2), rel=1e-9)


@pytest.mark.parametrize("hop", [None, 0.5])
def test_a_blend_scores_as_its_audio(hop, tmp_path):
    refs, _ = track(1)
    systems = {f"m{seed}": track(1)[1]["a"] + track(seed)[1]["b"] * 0.1 for seed in (2, 3, 4)}
    ready = analyse(refs, RATE, hop=hop)
    blend = ready.blend("a", systems)
    weights = {"m2": 0.5, "m3": 0.7, "m4": -0.2}
    audio = sum(np.float64(w) * systems[m].astype(np.float64) for m, w in weights.items())
    from_audio = ready.score({"a": audio})["a"]
    for name, value in blend.score(weights).items():
        assert value == pytest.approx(from_audio[name].value, abs=1e-6)
    alone = ready.score({"a": systems["m3"]})["a"]
    assert blend.score({"m3": 1.0}) == pytest.approx(
        {name: alone[name].value for name in DEFAULT}, abs=1e-6
    )
    write_blends(tmp_path / "song.npz", {"a": blend})
    again = read_blends(tmp_path / "song.npz")
    assert again["a"].score(weights) == blend.score(weights)
    assert [path.name for path in tmp_path.iterdir()] == ["song.npz"]


@pytest.mark.parametrize("compat", ["ours", "museval"])
def test_a_blend_by_band_scores_as_its_audio(compat, tmp_path):
    refs, _ = track(1)
    systems = {f"m{seed}": track(1)[1]["a"] + track(seed)[1]["b"] * 0.1 for seed in (2, 3)}
    ready, edges = analyse(refs, RATE, compat=compat), (200.0, 600.0)
    blend = ready.blend("a", systems, edges=edges)
    weights = {"m2": (1.0, 0.3, 0.0), "m3": (0.0, 0.7, 1.0)}
    parts = [bands.weighted(systems[m], RATE, edges, w) for m, w in weights.items()]
    from_audio = ready.score({"a": parts[0] + parts[1]})["a"]
    write_blends(tmp_path / "song.npz", {"a": blend})
    found = read_blends(tmp_path / "song.npz")["a"].score(weights)
    assert found == {name: pytest.approx(from_audio[name].value, abs=1e-6) for name in found}
    assert list(found) == ["snr", "sdr", "si_sdr", "si_sir", "si_sar"]
    uncut, same = ready.blend("a", systems), {"m2": 0.5, "m3": 0.5}
    expected = {name: pytest.approx(uncut.score(same)[name], abs=1e-6) for name in found}
    assert blend.score(same) == expected
    refs["b"] = 0 * refs["b"]
    silent = analyse(refs, RATE).blend("b", systems, edges=edges)
    assert all(math.isnan(value) for value in silent.score(same).values())


def test_many_blends_score_as_one_by_one():
    refs, ests = track(1)
    blend = analyse(refs, RATE).blend("a", {"x": ests["a"], "y": ests["b"]})
    many = blend.scores([[1.0, 0.0], [0.5, 0.5]])
    single = blend.score({"x": 0.5, "y": 0.5})
    assert {name: found[1] for name, found in many.items()} == pytest.approx(single, abs=1e-12)


def test_a_blend_of_a_silent_stem_is_undefined():
    refs, ests = track(1)
    refs["b"] = 0 * refs["b"]
    scores = analyse(refs, RATE).blend("b", {"x": ests["b"]}).score({"x": 1.0})
    assert all(math.isnan(value) for value in scores.values())


def test_blends_refuse_what_they_do_not_have(tmp_path):
    refs, ests = track(1)
    ready = analyse(refs, RATE)
    with pytest.raises(HarnessError, match="stem 'c'"):
        ready.blend("c", {"x": ests["a"]})
    with pytest.raises(HarnessError, match="no estimate of"):
        ready.blend("a", {"x": ests["a"]}).score({"z": 1.0})
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(HarnessError, match=r"bad\.npz"):
        read_blends(tmp_path / "bad.npz")


def shifted(x, samples):
    """Late by so many samples, early if negative; what falls out of the track is lost."""
    late, early = max(samples, 0), max(-samples, 0)
    return np.pad(x, ((0, 0), (late, early)))[:, early : early + x.shape[1]]


def noisy(x, snr_db=20.0):
    """The signal with white noise that far below it."""
    other = np.random.default_rng(3).standard_normal(x.shape).astype(np.float32)
    gain = np.linalg.norm(x) / np.linalg.norm(other) * 10 ** (-snr_db / 20)
    return x + np.float32(gain) * other


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x, ""),
        (lambda x: shifted(x, 30), "30 samples (15 ms) late; snr without that: 20.0 dB"),
        (lambda x: shifted(x, -1), "1 sample (0.5 ms) early; snr without that: 20.0 dB"),
        (lambda x: -x, "polarity inverted; snr without that: 20.0 dB"),
        (lambda x: np.float32(0.1) * x, "level -20.0 dB"),
        (lambda x: x[::-1], "channels swapped; snr without that: 20.0 dB"),
        (lambda x: x * np.float32([[1], [0]]), "channel 2 silent"),
        (lambda x: 0 * x, ""),
    ],
)
def test_what_looks_wrong_is_said(change, words):
    refs, _ = track(1)
    estimate = change(noisy(refs["b"]) if refs["b"].any() else refs["b"])
    assert suspicions(refs, {"b": estimate}, RATE) == {"b": words}
    noted = analyse(refs, RATE).score({"b": estimate}, checks=True)["b"]["snr"].note
    assert words in noted


@pytest.mark.parametrize("samples", [1, -1, 9, 1_500, 30_000, -47_123, 90_000])
@pytest.mark.parametrize("snr_db", [5.0, 30.0])
def test_a_shift_is_found_to_the_sample_at_any_distance(samples, snr_db):
    x = np.random.default_rng(5).standard_normal((2, 60 * RATE)).astype(np.float32)
    fade = np.hanning(x.shape[1]).astype(np.float32)  # loudest in the middle
    words = suspicions({"a": fade * x}, {"a": shifted(fade * noisy(x, snr_db), samples)}, RATE)["a"]
    when = "late" if samples > 0 else "early"
    assert words.startswith(f"{abs(samples)} sample{'s' * (abs(samples) > 1)} (")
    assert f") {when}; snr without that: " in words
    assert float(words.split()[-2]) == pytest.approx(snr_db, abs=0.3)


def test_a_shift_that_costs_nothing_is_not_reported():
    slow = np.sin(2 * np.pi * np.arange(20 * RATE) / RATE)[np.newaxis].astype(np.float32)
    assert suspicions({"a": slow}, {"a": shifted(noisy(slow, 10), 1)}, RATE) == {"a": ""}


def test_equal_channels_are_noted_with_what_they_can_reach_at_most():
    rng = np.random.default_rng(4)
    mid, side = rng.standard_normal((2, 5 * RATE)).astype(np.float32)
    side *= np.float32(0.1) * np.linalg.norm(mid) / np.linalg.norm(side)  # 20 dB below
    wide = np.stack([mid + side, mid - side])
    mono = np.stack([mid, mid])
    assert suspicions({"a": wide}, {"a": mono}, RATE)["a"] == "channels equal, snr at most 20.0 dB"
    assert suspicions({"a": mono}, {"a": noisy(mono)}, RATE)["a"] == ""
    assert suspicions({"a": mono}, {"a": np.stack([mid, mid])}, RATE)["a"] == ""


def test_swapped_stems_are_noticed():
    refs, _ = track(1)
    found = suspicions(refs, {"a": refs["b"], "b": refs["a"]}, RATE)
    assert found == {"a": "resembles b", "b": "resembles a"}


def test_nothing_is_suspicious_about_a_poor_separation():
    refs, ests = track(1)
    mixture = refs["a"] + refs["b"]
    assert set(suspicions(refs, {"a": mixture, "b": ests["b"]}, RATE).values()) == {""}


def test_musevals_tools_read_our_scores(tmp_path):
    refs, ests = track(1)
    frames = analyse(refs, RATE, compat="museval").frames(ests)
    frames["a"]["isr"][2] = np.inf
    write_museval(tmp_path / "Song.json", frames)
    store = museval.TrackStore("Song")
    store.scores = json.loads((tmp_path / "Song.json").read_text())
    assert store.validate() is None
    table = store.df
    sdr = table[(table.target == "b") & (table.metric == "SDR")].score.to_numpy()
    np.testing.assert_allclose(sdr, frames["b"]["csdr"], atol=1e-5)
    again = parse_museval((tmp_path / "Song.json").read_bytes(), "Song.json")
    assert np.isnan(again["a"]["isr"][2])
    np.testing.assert_allclose(again["b"]["sar"], frames["b"]["sar"], atol=1e-5)


def test_other_json_is_refused():
    with pytest.raises(HarnessError, match=r"x\.json: not scores of museval"):
        parse_museval(b'{"targets": [{"name": "vocals"}]}', "x.json")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("metrics", [("csdr",), ("sdr",), ("sar",)])
def test_estimates_that_are_not_finite_are_refused_by_name(bad, metrics):
    refs, ests = track(1)
    ests["b"][1, 777] = bad
    with pytest.raises(HarnessError, match="b, estimate: contains NaN or infinity"):
        analyse(refs, RATE, metrics=metrics).score(ests)
