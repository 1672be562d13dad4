"""BSS Eval against the other tools, on their own material and on real music."""

import json
import math
import shutil
import subprocess
import warnings

import mir_eval.separation
import museval.metrics
import numpy as np
import pytest

from harness.audio import read, to_channels
from harness.metrics import References, analyse, read_museval
from harness.separators.anchors import Mixture
from harness.separators.classical import TWO_STEMS, Hpss, Repet

V4 = ("csdr", "isr", "sir", "sar")
STEMS = ("vocals", "drums", "bass", "other")
RATE = 8000
CASES = ("01", "02", "03", "05", "06", "07", "08", "09")
TRACKS = ("Hendrix", "Reggae", "Rock", "Zeppelin")
SAME = 1e-6  # dB, per frame below 90 dB
SINGULAR = 2e-4  # dB, for copied channels, with which the other side's matrix is singular
NEAR = 1e-5  # dB, for music with nearly empty bands; museval with its stems in another order too
ROUNDING = 90.0  # dB; above it both sides hold what rounding leaves

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def stems_of(rng, names, samples=4 * RATE + 777, channels=2):
    """Coloured noise whose channels differ."""
    noise = {name: rng.standard_normal((channels, samples)) for name in names}
    return {
        name: (0.1 * (x + 0.7 * np.roll(x, 1 + i, axis=1))).astype(np.float32)
        for i, (name, x) in enumerate(noise.items())
    }


def spoiled(references, rng):
    """Every stem filtered, with some of the others and some noise."""
    mixture = sum(references.values())
    return {
        name: (
            0.7 * x
            + 0.2 * np.roll(x, 3, axis=1)
            + 0.1 * mixture
            + 0.01 * rng.standard_normal(x.shape)
        ).astype(np.float32)
        for name, x in references.items()
    }


def theirs(references, estimates, rate, function=museval.metrics.bss_eval, **options):
    """What museval gives, shape (4, stems, frames)."""
    names = [name for name in references if name in estimates]
    pair = [np.stack([x[n].T.astype(np.float64) for n in names]) for x in (references, estimates)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if function is museval.metrics.bss_eval:
            options = {"window": rate, "hop": rate, **options}
        return np.stack(function(*pair, compute_permutation=False, **options)[:4])


def assert_frames_equal(references, estimates, rate, expected, *, atol=SAME, **options):
    ready = analyse(references, rate, compat="museval", **options)
    frames = ready.frames(estimates)
    for index, stem in enumerate(references):
        for name, other in zip(V4, expected[:, index], strict=True):
            ours = frames[stem][name]
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(other), f"{stem} {name}")
            np.testing.assert_array_equal(np.isinf(ours), np.isinf(other), f"{stem} {name}")
            kept = np.isfinite(other) & (other < ROUNDING)
            np.testing.assert_allclose(ours[kept], other[kept], atol=atol, rtol=0)
            assert not np.any(ours[~kept] < ROUNDING - 1)


@pytest.mark.parametrize("channels", [1, 2])
def test_frames_equal_museval(rng, channels):
    references = stems_of(rng, ("a", "b"), channels=channels)
    estimates = spoiled(references, rng)
    references["b"][:, RATE : 2 * RATE] = 0
    estimates["a"][:, 3 * RATE :] = 0
    expected = theirs(references, estimates, RATE)
    assert np.isnan(expected).any(axis=(0, 1)).tolist() == [False, True, False, True]
    assert_frames_equal(references, estimates, RATE, expected)


def test_overlapping_windows_equal_museval(rng):
    references = stems_of(rng, ("a", "b"))
    estimates = spoiled(references, rng)
    expected = theirs(references, estimates, RATE, window=RATE, hop=RATE // 2)
    assert_frames_equal(references, estimates, RATE, expected, hop=0.5)


def test_a_track_shorter_than_a_window_is_one_frame(rng):
    references = stems_of(rng, ("a", "b"), samples=RATE // 2)
    estimates = spoiled(references, rng)
    expected = theirs(references, estimates, RATE)
    assert expected.shape == (4, 2, 1)
    assert_frames_equal(references, estimates, RATE, expected)


def test_material_at_minus_80_decibels_equals_museval(rng):
    references = {name: np.float32(1e-4) * x for name, x in stems_of(rng, ("a", "b")).items()}
    estimates = spoiled(references, rng)
    assert_frames_equal(references, estimates, RATE, theirs(references, estimates, RATE))


def test_whole_track_images_equal_museval(rng):
    references = stems_of(rng, ("a", "b"))
    estimates = spoiled(references, rng)
    expected = theirs(references, estimates, RATE, museval.metrics.bss_eval_images)
    ours = analyse(references, RATE).bss_eval_images(estimates)
    for index, stem in enumerate(references):
        values = [ours[stem][name] for name in ("sdr", "isr", "sir", "sar")]
        np.testing.assert_allclose(values, expected[:, index, 0], atol=SAME, rtol=0)


def mir_eval_case(folder, case, kind):
    """Recordings of one of mir_eval's cases, as its own test makes them, and their scores."""
    expected = json.loads((folder / f"output{case}.json").read_text())[kind]
    signals = []
    for side in ("ref", "est"):
        files = sorted((folder / f"{side}{case}").glob("*.wav"))
        signals.append([to_channels(read(file)[0], 1, file.name) for file in files])
    return *signals, expected


def assert_case(references, estimates, expected, names, scores_of, *, atol=NEAR):
    """Compare one stretch; estimates are put in the order that mir_eval found best."""
    order = [int(i) for i in expected["Source permutation"]]
    named = {str(i): x for i, x in enumerate(references)}
    scores = scores_of(analyse(named, RATE), {str(i): estimates[k] for i, k in enumerate(order)})
    for theirs_name, ours_name in names.items():
        ours = [scores[str(i)][ours_name] for i in range(len(references))]
        theirs_values = np.array(expected[theirs_name], float)
        kept = np.isfinite(theirs_values) & (theirs_values < ROUNDING)
        np.testing.assert_allclose(np.array(ours)[kept], theirs_values[kept], atol=atol, rtol=0)


SOURCES = {
    "Source to Distortion": "sdr",
    "Source to Interference": "sir",
    "Source to Artifact": "sar",
}
IMAGES = {**SOURCES, "Image to Spatial": "isr"}


@pytest.mark.parametrize("case", CASES)
def test_sources_of_mir_evals_cases(shared_data, case):
    folder = shared_data / "reference_scores" / "mir_eval"
    references, estimates, expected = mir_eval_case(folder, case, "Sources")
    assert_case(references, estimates, expected, SOURCES, References.bss_eval_sources)


@pytest.mark.parametrize("case", CASES)
def test_images_of_mir_evals_cases(shared_data, case):
    folder = shared_data / "reference_scores" / "mir_eval"
    references, estimates, expected = mir_eval_case(folder, case, "Images")
    gains = np.array([1.0] + [expected["gain"]] * (expected["nchan"] - 1))[:, None]
    wide = [np.repeat(x, expected["nchan"], axis=0) for x in references]
    panned = [x.astype(np.float64) * gains for x in estimates]
    assert_case(wide, panned, expected, IMAGES, References.bss_eval_images, atol=SINGULAR)


@pytest.mark.parametrize("case", CASES)
def test_frames_of_mir_evals_cases(shared_data, case):
    folder = shared_data / "reference_scores" / "mir_eval"
    references, estimates, expected = mir_eval_case(folder, case, "Framewise")
    samples = references[0].shape[1]
    for frame, start in enumerate(range(0, samples - expected["win"] + 1, expected["hop"])):
        part = slice(start, start + expected["win"])
        scores = {
            name: np.array(rows)[:, frame]
            for name, rows in expected.items()
            if name not in "winhop"
        }
        if np.isnan(scores["Source permutation"]).any():
            continue
        cut = [[x[:, part] for x in signals] for signals in (references, estimates)]
        assert_case(*cut, scores, SOURCES, References.bss_eval_sources)


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("separator", [Mixture, Hpss, Repet])
def test_real_tracks_with_three_separators_equal_museval(shared_data, track, separator):
    folder = shared_data / "musdb18hq" / "test" / f"Music Delta - {track}"
    part = {s: read(folder / f"{s}.wav", frames=2 * 44100)[0] for s in (*STEMS, "mixture")}
    voice = part["vocals"] if track != "Zeppelin" else part["drums"]  # Zeppelin has no voice
    references = {"vocals": voice, "accompaniment": (part["mixture"] - voice)}
    tool = separator(sample_rate=44100, stems=TWO_STEMS)
    estimates = tool.separate(part["mixture"])
    expected = theirs(references, estimates, 44100)
    assert_frames_equal(references, estimates, 44100, expected, atol=NEAR)


@pytest.mark.slow
def test_four_real_stems_equal_museval(shared_data):
    folder = shared_data / "musdb18hq" / "test" / "Music Delta - Rock"
    part = {s: read(folder / f"{s}.wav", frames=2 * 44100)[0] for s in STEMS}
    estimates = spoiled(part, np.random.default_rng(3))
    assert_frames_equal(part, estimates, 44100, theirs(part, estimates, 44100), atol=NEAR)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the sample is MP4; needs ffmpeg")
def test_musevals_own_regression_data(shared_data):
    folder = shared_data / "reference_scores" / "museval"
    name = "Music Delta - 80s Rock"
    file = folder / "MUSDB18-7-SAMPLE" / "train" / f"{name}.stem.mp4"
    expected = read_museval(folder / f"{name}.json")
    drums, bass, other, vocals = (decoded(file, stream) for stream in range(1, 5))
    references = {"vocals": vocals, "accompaniment": drums + bass + other}
    random = np.random.RandomState(0)  # as museval's own test
    estimates = {stem: random.random_sample(vocals.shape[::-1]).T for stem in references}
    frames = analyse(references, 44100, compat="museval").frames(estimates)
    for stem, scores in expected.items():
        for metric, values in scores.items():
            np.testing.assert_allclose(frames[stem][metric], values, atol=1e-3, rtol=0)


def decoded(file, stream):
    """Samples of one audio stream in 16 bits, as museval reads it, shape (2, samples)."""
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-map", f"0:a:{stream}"]
    raw = subprocess.run([*command, "-f", "s16le", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.int16).reshape(-1, 2).T / np.float32(32768)


def test_mir_eval_scores_the_same_without_its_files(rng):
    references = stems_of(rng, ("a", "b", "c"), channels=1)
    estimates = spoiled(references, rng)
    pair = [np.concatenate([*x.values()]).astype(np.float64) for x in (references, estimates)]
    expected = mir_eval.separation.bss_eval_sources(*pair, compute_permutation=False)
    ours = analyse(references, RATE).bss_eval_sources(estimates)
    for name, values in zip(("sdr", "sir", "sar"), expected, strict=False):
        np.testing.assert_allclose([ours[s][name] for s in ours], values, atol=SAME, rtol=0)
    assert not any(math.isnan(v) for scores in ours.values() for v in scores.values())
