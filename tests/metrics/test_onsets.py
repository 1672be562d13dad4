"""Attacks of drums: onsets, their F-measure against mir_eval's, and the slope of attacks."""

import mir_eval
import numpy as np
import pytest
from scipy.signal import lfilter

from harness.core import audio
from harness.core.errors import HarnessError
from harness.metrics import METRICS, analyse, onsets, snr
from harness.metrics.definitions import DRUMS, NO_ONSET
from harness.metrics.onsets import attack_slope, f_measure, onset_f

RATE = 44100
HITS = np.arange(0.2, 2.0, 0.25)  # s


def kit(times, rng, rate=RATE, seconds=2.2) -> np.ndarray:
    """Drum hits in stereo: decaying noise, each at its time to the sample."""
    signal = np.zeros((2, int(seconds * rate)))
    length = int(0.2 * rate)
    fall = np.exp(-np.arange(length) / (0.03 * rate))
    for time in times:
        at = round(time * rate)
        signal[:, at : at + length] += 0.3 * fall * rng.standard_normal((2, length))
    return signal.astype(np.float32)


@pytest.fixture(scope="module")
def drums() -> np.ndarray:
    return kit(HITS, np.random.default_rng(3))


@pytest.mark.parametrize("seed", range(40))
def test_f_is_that_of_mir_eval_on_the_same_onsets(seed):
    rng = np.random.default_rng(seed)
    true, found = (np.unique(rng.integers(0, 100, rng.integers(1, 40))) for _ in "xy")
    step = (0.01, 0.0171)[seed % 2]  # of the first, many are exactly 50 ms apart
    expected = mir_eval.onset.f_measure(true * step, found * step)[0]
    assert f_measure(true * step, found * step) == pytest.approx(expected, abs=1e-15)


def test_without_onsets_f_is_zero_as_in_mir_eval():
    some, none = np.array([1.0]), np.empty(0)
    for true, found in ((some, none), (none, some), (none, none)):
        with pytest.warns(UserWarning, match="onsets are empty"):
            expected = mir_eval.onset.f_measure(true, found)[0]
        assert f_measure(true, found) == expected == 0


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_hits_are_found_where_they_are(rate, rng):
    (found,) = onsets.onsets((kit(HITS, rng, rate),), rate)
    assert len(found) == len(HITS)
    assert np.abs(found - HITS).max() <= 0.02


def test_f_of_planted_hits_is_that_by_hand(rng, drums):
    assert onset_f(drums, drums, RATE) == 1
    missing, more = kit(HITS[:-2], rng), kit([*HITS, 0.3, 0.8, 1.3], rng)
    n = len(HITS)
    assert onset_f(drums, missing, RATE) == pytest.approx(2 * (n - 2) / (n + n - 2))
    assert onset_f(drums, more, RATE) == pytest.approx(2 * n / (n + n + 3))
    late = [np.pad(drums, ((0, 0), (round(s * RATE), 0)))[:, : drums.shape[1]] for s in (0.03, 0.1)]
    assert [onset_f(drums, x, RATE) for x in late] == [1, 0]


def test_f_is_deaf_to_level_and_to_what_sounds(drums):
    click = np.zeros_like(drums)
    click[:, np.round(HITS * RATE).astype(int)] = 0.5
    assert onset_f(drums, click, RATE) == 1
    assert onset_f(drums, 0.3 * drums, RATE) == 1
    assert onset_f(drums, -drums, RATE) == 1


def test_smeared_attacks_of_equal_snr_have_another_slope(rng, drums):
    kernel = np.hanning(round(0.02 * RATE))
    smeared = np.stack([np.convolve(x, kernel / kernel.sum(), "same") for x in drums])
    noise = np.where(np.abs(drums) > 0, rng.standard_normal(drums.shape), 0) * np.abs(drums)
    error = smeared - drums
    noise *= np.sqrt((error**2).sum() / (noise**2).sum())
    estimates = [(drums + e).astype(np.float32) for e in (error, noise)]
    assert snr(drums, estimates[0]) == pytest.approx(snr(drums, estimates[1]), abs=0.01)
    slopes = [attack_slope(drums, x, RATE) for x in estimates]
    assert slopes[0] > 10
    assert slopes[1] < 1


def test_slope_is_the_difference_of_energies_around_a_hit():
    signal = np.zeros((1, RATE), np.float32)
    signal[:, 20000:] = 0.5 * np.exp(-np.arange(RATE - 20000) / 5000)
    quiet = signal.copy()
    quiet[:, 19000:20000] = 0.05  # −20 dB before the hit
    after = np.mean(signal[:, 20000:20441] ** 2)
    rise = -10 * np.log10((0.05**2 / after + 1e-3) / (1 + 1e-3))
    assert attack_slope(signal, quiet, RATE) == pytest.approx(30 - rise, abs=0.01)
    assert attack_slope(quiet, signal, RATE) == pytest.approx(30 - rise, abs=0.01)
    assert attack_slope(signal, 0 * signal, RATE) == pytest.approx(30, abs=0.01)


def test_slope_is_deaf_to_level_and_to_what_is_between_the_hits(drums):
    assert attack_slope(drums, 0.1 * drums, RATE) == pytest.approx(0, abs=1e-6)
    longer = drums + lfilter([0] * 1000 + [0.05], [1], drums, axis=1)
    assert attack_slope(drums, longer.astype(np.float32), RATE) < 1


def test_they_are_for_drums_alone_and_need_an_onset(drums):
    swell = np.sin(np.linspace(0, np.pi, drums.shape[1])) ** 2
    level = (0.1 * swell * np.sin(0.01 * np.arange(swell.size)) * np.ones((2, 1))).astype(
        np.float32
    )
    silent = np.zeros_like(drums)
    stems = {"drums": drums, "kick": level, "snare": silent, "vocals": drums[::-1].copy()}
    names = ["onset_f", "attack_slope"]
    scores = analyse(stems, RATE, metrics=names).score({**stems, "drums": silent})
    assert scores["vocals"] == {}
    assert scores["drums"]["onset_f"].value == 0
    for name in names:
        assert METRICS[name].stems == DRUMS
        assert scores["kick"][name].note == NO_ONSET
        assert scores["snare"][name].note == "silent reference"
        assert np.isnan(scores["kick"][name].value)
    assert {"drums", "kick", "snare", "toms", "hihat", "cymbals"} <= {*DRUMS}
    assert not {"vocals", "bass", "other"} & {*DRUMS}


@pytest.mark.parametrize("samples", [1, 300, 2000])
def test_short_tracks_have_a_value_or_none(samples, drums):
    at = round(HITS[0] * RATE)
    short = drums[:, at : at + samples]
    for found in (onset_f(short, short, RATE), attack_slope(short, short, RATE)):
        assert np.isnan(found) or found in (0, 1)


def test_real_estimates_have_plausible_values(shared_data):
    """LarsNet's kicks: nearly all hits are there."""
    song = "funk-groove1 (roots)"
    folder = shared_data / "drums"
    paths = (
        folder / "tracks" / song / "kick.mp3",
        folder / "estimates" / "larsnet" / song / "kick.mp3",
    )
    kick, estimate = (audio.read(path, frames=10 * RATE)[0] for path in paths)
    true, found = onsets.onsets((kick, estimate), RATE)
    assert onset_f(kick, estimate, RATE) == mir_eval.onset.f_measure(true, found)[0] > 0.9
    assert 0 < attack_slope(kick, estimate, RATE) < 3


def test_unknown_metrics_are_refused(drums):
    ready = analyse({"drums": drums}, RATE, metrics=())
    with pytest.raises(HarnessError, match=r"\['attack'\] cannot be computed"):
        ready.score({"drums": drums}, metrics=["attack"])
