"""Files beside the stems of a song: the mixture under other names, copies, sums."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import song_stems

from harness.core import audio
from harness.datasets.folder import folder
from harness.datasets.tracks import Dataset, read_sources

RATE = 8000
SONG = "Ann - Some Song"
STEMS = song_stems(0)
SUM = np.sum(list(STEMS.values()), axis=0).astype(np.float32)
NO_VOCALS = SUM - STEMS["vocals"]


def read(root: Path, files: dict[str, np.ndarray], stems: dict | None = None) -> Dataset:
    """Read a song of four stems and these files."""
    named = {f"{stem}.wav": signal for stem, signal in (STEMS if stems is None else stems).items()}
    for name, signal in {**named, **files}.items():
        path = root / SONG / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subtype = "PCM_24" if path.suffix == ".flac" else "FLOAT"
        soundfile.write(path, signal.T, RATE, subtype=subtype)
    return folder(root, name="songs")


def is_good(dataset: Dataset) -> bool:
    """Whether there are four stems and their accompaniment, and the mixture is their sum."""
    (track,) = dataset.tracks
    assert set(track.stems) == {*STEMS, "accompaniment"}
    for stem, signal in (*STEMS.items(), ("accompaniment", NO_VOCALS)):
        np.testing.assert_allclose(read_sources(track.stems[stem], RATE), signal, atol=1e-5)
    np.testing.assert_allclose(read_sources(track.mixture, RATE), SUM, atol=1e-5)
    return True


@pytest.mark.parametrize(
    "name",
    [
        *("mixdown.wav", f"{SONG}.wav", "Some Song.wav", f"{SONG}_MIX.wav", "full_mix.flac"),
        *("master.wav", "Full Mix.wav", "mixture (1).wav", "ANN - SOME SONG - Master.WAV"),
    ],
)
def test_the_mixture_under_another_name_is_the_mixture(tmp_path, name):
    dataset = read(tmp_path, {name: SUM})
    assert is_good(dataset)
    assert dataset.problems == (f"{SONG}/{name}: is used as the mixture",)
    assert [source.path.name for source in dataset.tracks[0].mixture] == [name]


def test_of_several_mixtures_the_least_mastered_counts(tmp_path):
    dataset = read(tmp_path, {"master.wav": SUM / 2, "mixdown.wav": SUM, f"{SONG}.wav": SUM / 3})
    assert is_good(dataset)
    assert f"{SONG}/master.wav: left out, mixdown.wav is used for mixture" in dataset.problems


def test_the_mixture_under_no_usual_name_is_found_by_its_sound(tmp_path):
    dataset = read(tmp_path, {"komplett.wav": SUM})
    assert is_good(dataset)
    said = "komplett.wav: is the sum of bass, drums, other, vocals; used as the mixture"
    assert dataset.problems == (f"{SONG}/{said}",)


def test_a_second_mixture_is_left_out(tmp_path):
    dataset = read(tmp_path, {"mixture.wav": SUM, "komplett.wav": SUM})
    assert is_good(dataset)
    assert dataset.problems == (f"{SONG}/komplett.wav: is the mixture again; left out",)


def test_two_mixtures_of_no_usual_name_are_counted_once(tmp_path):
    dataset = read(tmp_path, {"komplett.wav": SUM, "alles.wav": SUM})
    assert is_good(dataset)


def test_stems_of_unknown_names_with_their_sum(tmp_path):
    dataset = read(tmp_path, {f"x{stem}.wav": s for stem, s in STEMS.items()} | {"z.wav": SUM}, {})
    (track,) = dataset.tracks
    np.testing.assert_allclose(read_sources(track.mixture, RATE), SUM, atol=1e-5)
    assert set(track.stems) == {f"x{stem}" for stem in STEMS}


@pytest.mark.parametrize(
    ("name", "signal", "said"),
    [
        ("minus_drums.wav", SUM - STEMS["drums"], "is the sum of bass, other, vocals; left out"),
        ("gesang.wav", STEMS["vocals"], "is the vocals again; left out"),
        ("band.wav", NO_VOCALS, "is the sum of bass, drums, other; left out"),
        *(
            (name, signal, "left out, vocals.wav is used for vocals")
            for name in (
                *("vocals (1).wav", "vocals copy.wav", "vocals - Copy.wav", "Copy of vocals.wav"),
                *("vocals_backup.wav", "vocals copy 2.wav", "vocals.old.wav", "vocals.flac"),
                f"{SONG}_vocals.wav",
            )
            for signal in (STEMS["vocals"],)
        ),
        ("vocals_old.wav", 0.3 * STEMS["drums"], "left out, vocals.wav is used for vocals"),
    ],
)
def test_a_file_that_is_a_stem_again_is_not_counted_twice(tmp_path, name, signal, said):
    dataset = read(tmp_path, {name: signal})
    assert is_good(dataset)
    assert dataset.problems == (f"{SONG}/{name}: {said}",)


@pytest.mark.parametrize(
    "name", ["instrumental.wav", "accompaniment.wav", "no_vocals.wav", "._vocals.wav"]
)
def test_an_accompaniment_beside_its_parts_and_hidden_files_are_not_counted(tmp_path, name):
    dataset = read(tmp_path, {name: STEMS["vocals"] if name[0] == "." else NO_VOCALS})
    assert is_good(dataset)
    assert dataset.problems == ()


def test_parts_of_a_stem_are_not_counted_beside_it(tmp_path, rng):
    high = rng.normal(0, 0.05, SUM.shape)
    dataset = read(tmp_path, {"voice high.wav": high, "voice low.wav": STEMS["vocals"] - high})
    assert is_good(dataset)
    said = "is a part of the vocals; left out"
    assert dataset.problems == tuple(f"{SONG}/voice {x}.wav: {said}" for x in ("high", "low"))


def test_a_residual_is_named_and_counted_if_there_is_no_mixture(tmp_path):
    residual = 0.01 * song_stems(9)["other"]
    dataset = read(tmp_path, {"residual.wav": residual})
    (track,) = dataset.tracks
    np.testing.assert_allclose(read_sources(track.mixture, RATE), SUM + residual, atol=1e-5)
    said = "has no mixture; it is the sum of all stems, also of residual.wav"
    assert dataset.problems == (f"{SONG}: {said}",)


def test_stems_with_the_song_in_front(tmp_path):
    dataset = read(tmp_path, {f"{SONG}_{stem}.wav": signal for stem, signal in STEMS.items()}, {})
    assert is_good(dataset)


def test_a_song_called_bass_keeps_its_bass_drum(tmp_path):
    for name in ("bass.wav", "bass_drum.wav"):
        audio.write(tmp_path / "Bass" / name, STEMS["bass"], RATE)
    (track,) = folder(tmp_path).tracks
    assert {"bass", "kick"} <= set(track.stems)


def test_a_copy_that_stands_alone_is_used(tmp_path):
    rest = {stem: signal for stem, signal in STEMS.items() if stem != "vocals"}
    dataset = read(tmp_path, {"vocals (1).wav": STEMS["vocals"]}, rest)
    assert is_good(dataset)
    assert dataset.problems == (f"{SONG}/vocals (1).wav: is used as the vocals",)


def test_a_stem_of_its_own_is_kept(tmp_path, rng):
    choir = rng.normal(0, 0.1, SUM.shape)
    dataset = read(tmp_path, {"choir.wav": choir, "mixture.wav": SUM + choir})
    assert "choir" in dataset.tracks[0].stems
    assert dataset.problems == ()
