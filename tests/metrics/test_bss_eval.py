"""BSS Eval against the other tools, on their own material and on real music."""

import itertools
import json
import math
import shutil
import subprocess
import warnings

import mir_eval.separation
import museval.metrics
import numpy as np
import pytest
from framewise import bss_eval_framewise, bss_eval_images

from harness.core.audio import read, to_channels
from harness.metrics import References, analyse
from harness.results.museval_format import parse_museval
from harness.separators.anchors import IdealRatioMask, Mixture
from harness.separators.classical import TWO_STEMS, Hpss, Repet, RepetSim4

V4 = ("csdr", "isr", "sir", "sar")
STEMS = ("vocals", "drums", "bass", "other")
RATE = 8000
SAMPLE = "Music Delta - 80s Rock"
CASES = ("01", "02", "03", "05", "06", "07", "08", "09")
TRACKS = ("Hendrix", "Reggae", "Rock", "Zeppelin")
SAME = 1e-6  # dB, per frame below 90 dB
LOST = np.finfo(np.float64).eps / 4  # dB: over the conditioning, what rounding may move
SINGULAR = 2e-4  # dB, for copied channels, with which the other side's matrix is singular
NEAR = 1e-5  # dB, for frames hardly longer than the filters, whose matrix is nearly singular
STORED = 1e-5  # dB, the last digit in museval's JSON
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


def tolerance(conditioning):
    """How far two sums of the same products may lie apart, in dB."""
    assert conditioning > 1e-12  # else nothing is promised, and the row says so
    return max(SAME, LOST / conditioning)


def assert_frames_equal(references, estimates, rate, expected, **options):
    ready = analyse(references, rate, compat="museval", **options)
    frames, atol = ready.frames(estimates), tolerance(ready.conditioning)
    for index, stem in enumerate(references):
        for name, other in zip(V4, expected[:, index], strict=True):
            ours, where = frames[stem][name], f"{stem} {name}"
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(other), where)
            np.testing.assert_array_equal(np.isinf(ours), np.isinf(other), where)
            kept = np.isfinite(other) & (other < ROUNDING)
            exact = SAME if name == "csdr" else atol
            np.testing.assert_allclose(ours[kept], other[kept], atol=exact, rtol=0, err_msg=where)
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


@pytest.mark.parametrize("level", [-80, -90])
def test_material_of_low_level_equals_museval(rng, level):
    gain, loud = np.float32(10 ** (level / 20)), stems_of(rng, ("a", "b"))
    references, estimates = (
        {name: gain * x for name, x in side.items()} for side in (loud, spoiled(loud, rng))
    )
    assert_frames_equal(references, estimates, RATE, theirs(references, estimates, RATE))


def test_whole_track_images_equal_museval(rng):
    references = stems_of(rng, ("a", "b"))
    estimates = spoiled(references, rng)
    expected = theirs(references, estimates, RATE, museval.metrics.bss_eval_images)
    ours = bss_eval_images(analyse(references, RATE), estimates)
    for index, stem in enumerate(references):
        values = [ours[stem][name] for name in ("sdr", "isr", "sir", "sar")]
        np.testing.assert_allclose(values, expected[:, index, 0], atol=SAME, rtol=0)


def mir_eval_case(folder, case, kind):
    """Stems, estimates and scores of one of mir_eval's cases, as its own test makes them."""
    expected = json.loads((folder / f"output{case}.json").read_text())[kind]
    sides = []
    for side, gain in (("ref", 1.0), ("est", expected.get("gain"))):
        files = sorted((folder / f"{side}{case}").glob("*.wav"))
        mono = [to_channels(read(file)[0], 1, file.name).astype(np.float64) for file in files]
        gains = np.array([1.0] + [gain] * (expected.get("nchan", 1) - 1))[:, None]
        sides.append({str(index): gains * x for index, x in enumerate(mono)})
    return *sides, expected


def assert_scores(ours, expected, names, atol):
    for theirs_name, name in names.items():
        values = np.array([scores[name] for scores in ours])
        np.testing.assert_allclose(values, expected[theirs_name], atol=atol, rtol=0, err_msg=name)


SOURCES = {
    "Source to Distortion": "sdr",
    "Source to Interference": "sir",
    "Source to Artifact": "sar",
}
IMAGES = {**SOURCES, "Image to Spatial": "isr"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("kind", "names", "scores_of"),
    [
        ("Sources", SOURCES, References.bss_eval_sources),
        ("Images", IMAGES, bss_eval_images),
    ],
)
def test_whole_tracks_of_mir_evals_cases(shared_data, case, kind, names, scores_of):
    folder = shared_data / "reference_scores" / "mir_eval"
    references, estimates, expected = mir_eval_case(folder, case, kind)
    ready = analyse(references, RATE)
    pairs = [scores_of(ready, dict.fromkeys(references, x)) for x in estimates.values()]

    def ordered(order):
        return [pairs[k][stem] for stem, k in zip(references, order, strict=True)]

    def mean_sir(order):
        return np.mean([scores["sir"] for scores in ordered(order)])

    best = max(itertools.permutations(range(len(pairs))), key=mean_sir)
    assert list(best) == expected["Source permutation"]
    atol = SINGULAR if expected.get("nchan", 1) > 1 else SAME
    assert_scores(ordered(best), expected, names, atol)


FRAMEWISE = [
    pytest.param(case, kind, marks=() if case in quick else pytest.mark.slow)
    for kind, quick in (("Framewise", ("01", "07")), ("Images Framewise", ("01", "09")))
    for case in CASES
]


@pytest.mark.parametrize(("case", "kind"), FRAMEWISE)
def test_frames_of_mir_evals_cases(shared_data, case, kind):
    folder = shared_data / "reference_scores" / "mir_eval"
    references, estimates, expected = mir_eval_case(folder, case, kind)
    images = kind == "Images Framewise"
    frames = bss_eval_framewise(
        references,
        estimates,
        1,
        window=expected["win"],
        hop=expected["hop"],
        kind="images" if images else "sources",
        compat="museval",
    )
    atol = SINGULAR if expected.get("nchan", 1) > 1 else NEAR
    assert_scores(list(frames.values()), expected, IMAGES if images else SOURCES, atol)
    for index, permutation in enumerate(expected["Source permutation"]):
        assert set(permutation) == {index}  # theirs does not search either


@pytest.mark.parametrize(("kind", "own_version"), [("images", False), ("sources", True)])
def test_filters_of_every_frame_equal_museval(rng, kind, own_version):
    references = stems_of(rng, ("a", "b"), samples=3 * 2500 + 100)
    estimates = spoiled(references, rng)
    estimates["a"][:, 2500:5000] = 0
    options = {"framewise_filters": True, "bsseval_sources_version": own_version}
    expected = theirs(references, estimates, 2500, **options)
    frames = bss_eval_framewise(references, estimates, 2500, kind=kind, compat="museval")
    assert np.isnan(frames["b"]["sar"]).tolist() == [False, True, False]
    for index, stem in enumerate(references):
        for name, other in zip(("sdr", "isr", "sir", "sar"), expected[:, index], strict=True):
            if name in frames[stem]:
                np.testing.assert_allclose(frames[stem][name], other, atol=SAME, rtol=0)
    ours = bss_eval_framewise(references, estimates, 2500, kind=kind)
    assert ours["b"]["sar"][0] == pytest.approx(frames["b"]["sar"][0], abs=SAME)
    assert np.isfinite(ours["b"]["sar"]).all()  # the other stem's silence is not its own
    assert ours["a"]["sar"][1] == -math.inf


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
    assert_frames_equal(references, estimates, 44100, expected)


@pytest.mark.slow
def test_museval_itself_moves_where_references_are_nearly_dependent(shared_data):
    folder = shared_data / "musdb18hq" / "test" / "Music Delta - Zeppelin"
    drums, mixture = (
        read(folder / f"{name}.wav", frames=2 * 44100)[0].astype(np.float64)
        for name in ("drums", "mixture")
    )
    references = {"drums": drums, "accompaniment": mixture - drums}
    estimates = dict.fromkeys(references, mixture)
    quieter = [{stem: x / 3 for stem, x in side.items()} for side in (references, estimates)]
    isr = [theirs(*sides, 44100)[1] for sides in ((references, estimates), quieter)]
    moved = np.abs(isr[0] - isr[1]).max()
    assert 1e-7 < moved < tolerance(analyse(references, 44100).conditioning)


@pytest.mark.slow
@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("separator", [Mixture, RepetSim4, IdealRatioMask])
def test_whole_real_tracks_with_their_stems_equal_museval(shared_data, track, separator):
    folder = shared_data / "musdb18hq" / "test" / f"Music Delta - {track}"
    part = {s: read(folder / f"{s}.wav")[0] for s in (*STEMS, "mixture")}
    mixture = part.pop("mixture")
    references = {stem: x for stem, x in part.items() if x.any()}  # Zeppelin has no voice
    tool = separator(sample_rate=44100, stems=STEMS)
    guided = separator is IdealRatioMask
    estimates = tool.separate_with(mixture, part) if guided else tool.separate(mixture)
    estimates = {stem: estimates[stem] for stem in references}
    expected = theirs(references, estimates, 44100)
    assert_frames_equal(references, estimates, 44100, expected)


needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="MP4 needs ffmpeg")


@needs_ffmpeg
def test_musevals_own_regression_data(shared_data):
    folder = shared_data / "reference_scores" / "museval"
    expected = parse_museval((folder / f"{SAMPLE}.json").read_bytes(), SAMPLE)
    references, _ = museval_sample(folder, "s16le", np.int16)  # as museval read it then
    random = np.random.RandomState(0)  # as museval's own test
    shape = references["vocals"].shape[::-1]
    estimates = {stem: random.random_sample(shape).T for stem in references}
    frames = analyse(references, 44100, compat="museval").frames(estimates)
    for stem, scores in expected.items():
        for metric, values in scores.items():
            np.testing.assert_allclose(frames[stem][metric], values, atol=STORED, rtol=0)


@needs_ffmpeg
def test_music_decoded_in_floating_point_is_called_ill_conditioned(shared_data):
    folder = shared_data / "reference_scores" / "museval"
    found = {}
    for name, dtype in (("f32le", np.float32), ("s16le", np.int16)):
        references, mixture = museval_sample(folder, name, dtype)
        ready = analyse(references, 44100)
        estimates = {stem: x + np.float32(0.2) * mixture for stem, x in references.items()}
        found[name] = ready.conditioning, ready.score(estimates)["vocals"]
    (narrow, in_float), (wide, in_16_bits) = found["f32le"], found["s16le"]
    assert narrow < 1e-14 < 1e-12 < wide
    for name in ("isr", "sir", "sar"):
        assert in_float[name].note.startswith("ill-conditioned, ")
        assert in_16_bits[name].note == ""
    for name in ("snr", "si_sdr", "csdr"):  # which no filter enters
        assert in_float[name].note == ""
        assert in_float[name].value == pytest.approx(in_16_bits[name].value, abs=1e-3)
    assert in_float["isr"].value < in_16_bits["isr"].value - 0.1  # for which the note is there


def museval_sample(folder, name, dtype):
    """References and mixture of museval's own test, decoded from AAC to samples of a type."""
    file = folder / "MUSDB18-7-SAMPLE" / "train" / f"{SAMPLE}.stem.mp4"
    scale = np.float32(32768 if dtype is np.int16 else 1)
    streams = []
    for stream in range(5):
        command = ["ffmpeg", "-v", "error", "-i", str(file), "-map", f"0:a:{stream}", "-f", name]
        raw = subprocess.run([*command, "-"], capture_output=True, check=True).stdout
        streams.append(np.frombuffer(raw, dtype).reshape(-1, 2).T / scale)
    mixture, drums, bass, other, vocals = streams
    return {"vocals": vocals, "accompaniment": drums + bass + other}, mixture


def test_mir_eval_scores_the_same_without_its_files(rng):
    references = stems_of(rng, ("a", "b", "c"), channels=1)
    estimates = spoiled(references, rng)
    pair = [np.concatenate([*x.values()]).astype(np.float64) for x in (references, estimates)]
    expected = mir_eval.separation.bss_eval_sources(*pair, compute_permutation=False)
    ours = analyse(references, RATE).bss_eval_sources(estimates)
    for name, values in zip(("sdr", "sir", "sar"), expected, strict=False):
        np.testing.assert_allclose([ours[s][name] for s in ours], values, atol=SAME, rtol=0)
    assert not any(math.isnan(v) for scores in ours.values() for v in scores.values())
