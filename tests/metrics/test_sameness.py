"""Differences between two estimates that were planted."""

import numpy as np
import pytest

from harness.metrics import differences

RATE = 8000
SECONDS = 8


@pytest.fixture
def stems(rng):
    """A steady stem, and one with a beat every half second and silence between."""
    noise = 0.1 * rng.standard_normal((2, SECONDS * RATE))
    beat = np.exp(-(np.arange(SECONDS * RATE) % (RATE // 2)) / 400)
    return {
        "vocals": noise.astype(np.float32),
        "drums": (beat * rng.standard_normal(noise.shape)).astype(np.float32),
    }


def compared(stems, change, stem="vocals"):
    return differences(stems, {stem: change(stems[stem]).astype(np.float32)}, RATE)[stem]


def at(level, signal, rng):
    """Noise of a level in dB relative to a signal."""
    noise = rng.standard_normal(signal.shape)
    return noise * np.sqrt(np.mean(signal**2.0)) * 10 ** (level / 20)


def test_equal_estimates_do_not_differ(stems):
    found = compared(stems, lambda x: x.copy())
    assert (found.largest, found.median, found.where) == (-np.inf, -np.inf, "nowhere")
    assert found.within(-200)
    assert found.causes == ()


@pytest.mark.parametrize("level", [-20, -60, -90])
def test_the_level_of_a_difference_is_that_below_the_signal(stems, rng, level):
    found = compared(stems, lambda x: x + at(level, x, rng))
    assert found.median == pytest.approx(level, abs=0.5)
    assert level < found.largest < level + 2
    assert found.where == "everywhere"
    assert found.causes == ()
    assert found.within(level + 2)
    assert not found.within(level)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda x: 0.9 * x, "level −0.92 dB"),
        (lambda x: 1.002 * x, "level +0.02 dB"),
        (lambda x: -x, "polarity inverted"),
        (lambda x: x[::-1], "channels swapped"),
        (lambda x: np.pad(x, ((0, 0), (3, 0)))[:, :-3], "3 samples (0.375 ms) late"),
        (lambda x: np.pad(x, ((0, 0), (0, 500)))[:, 500:], "500 samples (62.5 ms) early"),
    ],
)
def test_simple_causes_are_named_with_what_is_left_without_them(stems, change, cause):
    found = compared(stems, change)
    assert found.causes == (cause,)
    assert found.largest > -60
    assert found.corrected < -100


def test_causes_are_found_together_and_not_where_they_explain_nothing(stems, rng):
    def change(x):
        late = -np.pad(x, ((0, 0), (7, 0)))[::-1, :-7]
        return 0.5 * (late + at(-50, x, rng))

    found = compared(stems, change)
    assert found.causes == (
        "7 samples (0.875 ms) late", "channels swapped", "polarity inverted", "level −6.02 dB",
    )  # fmt: skip
    assert found.corrected == pytest.approx(-49, abs=1.5)
    other = compared(stems, lambda x: at(0, x, rng))
    assert (other.causes, other.corrected) == ((), None)


@pytest.mark.parametrize("stem", ["vocals", "drums"])
def test_one_wrong_seam_is_found_at_its_second(stems, rng, stem):
    start = 3 * RATE + 1000

    def change(x):
        out = x.copy()
        out[:, start : start + 400] = at(0, x, rng)[:, start : start + 400]
        return out

    found = compared(stems, change, stem)
    assert found.largest > -10
    assert found.median == -np.inf
    assert found.second == pytest.approx(start / RATE, abs=0.051)
    assert found.where in ("only from 3.10 to 3.20 s", "only from 3.10 to 3.25 s")


@pytest.mark.parametrize("stem", ["vocals", "drums"])
def test_seams_at_equal_distances_are_named(stems, rng, stem):
    hop, fade = round(1.5 * RATE), 600

    def change(x):
        error = at(-70, x, rng) * (np.abs(x) / np.abs(x).mean() if stem == "drums" else 1)
        for seam in range(hop, x.shape[1], hop):
            error[:, seam : seam + fade] += 0.1 * x[:, seam : seam + fade]
        return x + error

    found = compared(stems, change, stem)
    assert found.where == "every 1.50 s, as chunk seams are"


def test_a_rhythm_is_not_taken_for_seams(stems, rng):
    """Neither where the difference follows the beat, nor where it fills the gaps."""
    found = compared(stems, lambda x: x * (1 + 1e-3 * rng.standard_normal(x.shape)), "drums")
    assert "seams" not in found.where
    gated = {"vocals": stems["vocals"].copy()}
    for start in range(0, SECONDS * RATE, RATE):
        gated["vocals"][:, start : start + RATE // 5] *= 1e-3
    found = compared(gated, lambda x: x + at(-70, x, rng))
    assert "seams" not in found.where


@pytest.mark.parametrize(("hz", "band"), [(180, (125, 250)), (3000, (2000, 4000)), (20, (0, 125))])
def test_the_band_is_that_of_the_difference(stems, hz, band):
    wave = 1e-3 * np.sin(2 * np.pi * hz * np.arange(SECONDS * RATE) / RATE)
    assert compared(stems, lambda x: x + wave).band == band


def test_a_stem_that_is_silent_counts_relative_to_the_song(stems):
    quiet = stems | {"bass": np.zeros_like(stems["vocals"])}
    rms = float(np.sqrt(np.mean(np.square(stems["vocals"] + stems["drums"]))))
    found = differences(quiet, {"bass": quiet["bass"] + np.float32(1e-6 * rms)}, RATE)["bass"]
    assert found.largest == pytest.approx(-60, abs=0.1)
    alone = {"bass": quiet["bass"]}
    assert differences(alone, {"bass": stems["vocals"]}, RATE)["bass"].largest > -1
    assert differences(alone, alone, RATE)["bass"].largest == -np.inf


def test_short_signals_are_compared(stems):
    short = {"vocals": stems["vocals"][:1, :7]}
    assert differences(short, {"vocals": 2 * short["vocals"]}, RATE)["vocals"].largest > -1
