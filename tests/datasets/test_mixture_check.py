"""What is said of a mixture that is not the sum of its stems, and what is done then."""

from pathlib import Path

import numpy as np
import pytest
from conftest import song_stems

from harness.core import audio
from harness.core.errors import HarnessError
from harness.datasets import load
from harness.datasets import mixture_check as check
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.folder import folder
from harness.datasets.tracks import Dataset

RATE = 8000
STEMS = song_stems(0)
SUM = np.sum(list(STEMS.values()), axis=0).astype(np.float32)
PEAK = float(np.max(np.abs(SUM)))


def later(signal: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(signal, ((0, 0), (samples, 0)))[:, : signal.shape[1]]


def compare(mixture: np.ndarray) -> check.MixtureDifference:
    return check.compare(mixture.astype(np.float32), SUM, RATE)


def song(
    root: Path,
    mixture: np.ndarray,
    stems: dict | None = None,
    name: str = "A - B",
    rate: int = RATE,
) -> None:
    for stem, signal in {**(STEMS if stems is None else stems), "mixture": mixture}.items():
        audio.write(root / name / f"{stem}.wav", signal.astype(np.float32), rate)


def examined(root: Path, **options) -> Dataset:
    memory = root.parent / "mixtures.jsonl"
    fingerprints = Fingerprints(root.parent / "fingerprints.jsonl")
    return check.examined(folder(root, name="songs"), fingerprints, memory, **options)


def test_nothing_is_said_of_the_sum_in_16_bits():
    found = compare(np.round(SUM * 32768) / 32768)
    assert str(found) == ""
    assert not found.unequal


UNEQUAL = {
    "is 6.0 dB quieter than the sum of the stems": 10 ** (-6 / 20) * SUM,
    "is 5.0 dB louder than the sum of the stems": 10 ** (5 / 20) * SUM,
    "is 25.0 ms (200 samples) later than the sum of the stems": later(SUM, 200),
    "is 12.5 ms (100 samples) earlier than the sum of the stems": later(SUM[:, ::-1], 100)[:, ::-1],
    "is 6.0 dB quieter and 25.0 ms (200 samples) later than the sum of the stems": later(
        10 ** (-6 / 20) * SUM, 200
    ),
    "is the sum of the stems with inverted polarity": -SUM,
}


@pytest.mark.parametrize("said", UNEQUAL)
def test_a_gain_or_lag_is_named_and_the_track_left_out(tmp_path, said):
    song(tmp_path / "data", UNEQUAL[said])
    song(tmp_path / "data", SUM, name="C - D")
    dataset = examined(tmp_path / "data")
    assert [track.name for track in dataset.tracks] == ["C - D"]
    line = f"A - B: the mixture {said}; left out, --keep-unequal keeps it"
    assert dataset.problems == (line,)
    kept = examined(tmp_path / "data", keep_unequal=True)
    assert [track.notes for track in kept.tracks] == [(f"the mixture {said}",), ()]
    assert kept.problems == (f"A - B: the mixture {said}",)


def test_a_lossy_lag_says_what_remains(rng):
    noise = rng.normal(0, 1, SUM.shape)
    noise *= np.linalg.norm(SUM) / np.linalg.norm(noise) * 10 ** (-25 / 20)
    found = compare(later(SUM + noise, 200))
    assert found.lag == 200
    assert found.remaining == pytest.approx(-25, abs=0.1)
    said = (
        "25.0 ms (200 samples) later than the sum of the stems, and otherwise differs by -25.0 dB"
    )
    assert said in str(found)


def test_another_song_is_left_out(tmp_path):
    song(tmp_path / "data", np.sum(list(song_stems(7).values()), axis=0))
    dataset = examined(tmp_path / "data")
    assert dataset.tracks == ()
    assert "the mixture differs from the sum of the stems by" in dataset.problems[0]


def test_a_silent_mixture_is_left_out(tmp_path):
    song(tmp_path / "data", 0 * SUM)
    assert examined(tmp_path / "data").tracks == ()


def test_a_small_gain_is_named_and_stays(tmp_path):
    song(tmp_path / "data", 10 ** (-1 / 20) * SUM)
    dataset = examined(tmp_path / "data")
    assert len(dataset.tracks) == 1
    assert dataset.problems == ("A - B: the mixture is 1.0 dB quieter than the sum of the stems",)


def test_a_clipped_mixture_is_named_and_stays(tmp_path):
    clipped = np.clip(SUM, -0.4 * PEAK, 0.4 * PEAK)
    song(tmp_path / "data", clipped)
    dataset = examined(tmp_path / "data")
    assert len(dataset.tracks) == 1
    assert dataset.problems[0].startswith("A - B: the mixture is clipped, and differs from")


def test_a_mono_mixture_is_named_and_scored_in_mono(tmp_path):
    song(tmp_path / "data", SUM.mean(axis=0, keepdims=True))
    dataset = examined(tmp_path / "data")
    said = "the mixture is mono, so that its stems are scored in mono"
    assert [track.notes for track in dataset.tracks] == [(said,)]
    song(tmp_path / "data", SUM.sum(axis=0, keepdims=True))
    assert "6.0 dB louder" in examined(tmp_path / "data").problems[0]


def test_another_sample_rate_is_named(tmp_path):
    song(tmp_path / "data" / "test", SUM)
    for stem in ("vocals", "drums", "bass", "other"):
        audio.write(tmp_path / "data" / "test" / "A - B" / f"{stem}.wav", STEMS[stem], 44100)
    found = load("musdb18hq", tmp_path / "data")
    dataset = check.examined(found, Fingerprints(tmp_path / "f"), tmp_path / "m")
    assert "its mixture cannot be checked" in dataset.problems[0]
    assert "sample rate is 8000 Hz, the dataset has 44100 Hz" in dataset.problems[0]


def test_lossy_mixtures_are_summed_up_in_one_line(tmp_path, rng):
    for i, level in enumerate((-20, -30)):
        noise = rng.normal(0, 1, SUM.shape)
        noise *= np.linalg.norm(SUM) / np.linalg.norm(noise) * 10 ** (level / 20)
        song(tmp_path / "data", SUM + noise, name=f"{i} - B")
    dataset = examined(tmp_path / "data")
    said = "2 tracks: the mixture differs from the sum of the stems by -30.0 to -20.0 dB"
    assert dataset.problems == (said,)
    assert "by -30.0 dB" in dataset.tracks[1].notes[0]


def test_stems_that_are_a_part_of_the_mixture_prove_nothing(tmp_path):
    song(tmp_path / "data", SUM, {"vocals": STEMS["vocals"]})
    dataset = examined(tmp_path / "data")
    assert len(dataset.tracks) == 1
    said = "1 track: the stems are only a part of the mixture, which is not checked"
    assert dataset.problems == (said,)


def test_instrumental_songs_need_no_vocals(tmp_path):
    parts = {stem: STEMS[stem] for stem in ("drums", "bass", "other")}
    total = np.sum(list(parts.values()), axis=0)
    song(tmp_path / "data", total / 2, parts)
    assert "6.0 dB quieter" in examined(tmp_path / "data").problems[0]


def test_a_click_track_beside_a_good_mixture_does_no_harm(tmp_path):
    song(tmp_path / "data", SUM, {**STEMS, "click": 0.5 * song_stems(8)["drums"]})
    assert examined(tmp_path / "data").problems == ()


@pytest.mark.parametrize(("name", "left"), [("PR - Oh No", 1), ("PR - Other", 0)])
def test_only_a_published_erratum_stays(tmp_path, name, left):
    song(tmp_path / "data" / "test", SUM / 2, name=name, rate=44100)
    found = load("musdb18hq", tmp_path / "data")
    dataset = check.examined(found, Fingerprints(tmp_path / "f"), tmp_path / "m")
    assert len(dataset.tracks) == left
    assert "6.0 dB quieter" in dataset.problems[0]


def test_a_result_is_remembered_by_the_content(tmp_path, monkeypatch):
    song(tmp_path / "data", SUM / 2)
    first = examined(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "moved" / "A - B").rename(tmp_path / "moved" / "E - F")
    with monkeypatch.context() as patch:
        patch.setattr(check, "of_track", lambda *_: pytest.fail("computed again"))
        again = examined(tmp_path / "moved")
    assert again.problems[0].replace("E - F", "A - B") == first.problems[0]
    song(tmp_path / "moved", SUM, name="E - F")
    assert examined(tmp_path / "moved").problems == ()


def test_jobs_change_nothing(tmp_path):
    for i in range(5):
        song(tmp_path / "data", SUM / (i + 1), name=f"{i} - B")
    one = examined(tmp_path / "data")
    (tmp_path / "mixtures.jsonl").unlink()
    assert examined(tmp_path / "data", jobs=4) == one


def test_foreign_lines_in_the_memory_are_skipped(tmp_path):
    song(tmp_path / "data", SUM / 2)
    first = examined(tmp_path / "data").problems
    with (tmp_path / "mixtures.jsonl").open("a") as file:
        file.write('["x", {"nonsense": 1}]\n5\n["y"]\n["z", {"sam')
    assert examined(tmp_path / "data").problems == first


# --- the recordings beside the checkout: none is left out ---


@pytest.mark.parametrize(
    ("name", "where", "said"),
    [
        ("musdb18hq", "musdb18hq", ()),
        ("moisesdb", "moisesdb", ()),
        ("mir1k", "mir1k", ()),
        (
            "stemgmd",
            "drums/tracks",
            ("3 tracks: the mixture differs from the sum of the stems by -23.8 to -21.8 dB",),
        ),
    ],
)
def test_recordings_stay_and_their_inequality_is_named(tmp_path, shared_data, name, where, said):
    found = load(name, shared_data / where)
    dataset = check.examined(found, Fingerprints(tmp_path / "f"), tmp_path / "m")
    assert len(dataset.tracks) == len(found.tracks)
    assert dataset.problems == said


def test_lossy_streams_stay(tmp_path, shared_data):
    try:
        found = load("musdb18", shared_data / "reference_scores/museval/MUSDB18-7-SAMPLE")
    except HarnessError as error:
        pytest.skip(str(error))
    dataset = check.examined(found, Fingerprints(tmp_path / "f"), tmp_path / "m")
    assert len(dataset.tracks) == 1
    said = "1 track: the mixture differs from the sum of the stems by -31.6 dB"
    assert dataset.problems == (said,)


def test_a_stem_that_ends_early_is_said_for_the_track_and_once_for_the_dataset(tmp_path):
    drums = STEMS["drums"].shape[1] // 2
    short = STEMS | {"drums": STEMS["drums"][:, :drums]}
    for name in ("A - B", "C - D"):
        song(tmp_path / "songs", SUM, short, name=name)
    song(tmp_path / "songs", SUM, name="E - F")
    found = examined(tmp_path / "songs")
    whole = SUM.shape[1] / RATE
    said = f"only the first {whole / 2:.1f} of {whole:.1f} s are scored, drums.wav ends there"
    assert [track.notes for track in found.tracks] == [(said,), (said,), ()]
    assert found.problems == (f"A - B: {said} (the first of 2 such tracks)",)
