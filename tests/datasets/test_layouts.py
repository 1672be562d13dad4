"""Demo music, written in the layouts of other datasets, is read back sample by sample."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import LAYOUTS

from harness import datasets
from harness.core import audio
from harness.datasets.demo import rendering
from harness.datasets.demo.song_catalog import entry
from harness.datasets.tracks import Dataset, Source, Track, read_sources, track_length


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Tests 2 (drum bleed) and 3 (instrumental), and one training track, 5 s each."""
    whole = rendering.render(tmp_path_factory.mktemp("demo"), train=1, test=4, seconds=5.0)
    wanted = {entry("test", 2).name, entry("test", 3).name, entry("train", 0).name}
    return replace(whole, tracks=tuple(t for t in whole.tracks if t.name in wanted))


@pytest.fixture(scope="module")
def written(music: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    roots = {name: tmp_path_factory.mktemp(name) for name in LAYOUTS}
    for name, root in roots.items():
        LAYOUTS[name](music, root)
    return roots


def _named(dataset: Dataset, name: str) -> Track:
    return next(track for track in dataset.tracks if track.name == name)


def _read(track: Track, stem: str, dataset: Dataset) -> np.ndarray:
    sources = track.mixture if stem == "mixture" else track.stems[stem]
    return read_sources(sources, dataset.sample_rate, frames=track_length(track))


@pytest.mark.parametrize("layout", ["musdb18hq", "dsd100", "moisesdb", "folder"])
def test_every_stem_comes_back_exactly(
    music: Dataset, written: dict[str, Path], layout: str
) -> None:
    back = datasets.load(layout, written[layout])
    assert not back.problems
    assert {t.name for t in back.tracks} == {t.name for t in music.tracks}
    for track in music.tracks:
        found = _named(back, track.name)
        assert found.artist == track.artist
        for stem in ("mixture", *found.stems):
            ours, theirs = _read(track, stem, music), _read(found, stem, back)
            np.testing.assert_array_equal(ours, theirs, err_msg=stem)


@pytest.mark.parametrize("layout", ["musdb18hq", "dsd100"])
def test_splits_are_kept(music: Dataset, written: dict[str, Path], layout: str) -> None:
    back = datasets.load(layout, written[layout])
    assert {t.name: t.split for t in back.tracks} == {t.name: t.split for t in music.tracks}


def test_folder_has_all_stems_of_the_tree(music: Dataset, written: dict[str, Path]) -> None:
    assert set(datasets.load("folder", written["folder"]).stems) == set(music.stems)
    for track in music.tracks:
        assert not (written["folder"] / track.name / "other.wav").exists()


def test_dsd100_numbers_tests_from_1_and_others_from_51(written: dict[str, Path]) -> None:
    root = written["dsd100"] / "Mixtures"
    tests = sorted(path.name for path in (root / "Test").iterdir())
    others = sorted(path.name for path in (root / "Dev").iterdir())
    assert [name[:6] for name in tests] == ["001 - ", "002 - "]
    assert others == [f"051 - {entry('train', 0).name}"]


def test_moisesdb_is_as_varied_as_real_ones(written: dict[str, Path]) -> None:
    kinds: dict[str, set[object]] = {"channels": set(), "frames": set(), "files": set()}
    for path in written["moisesdb"].glob("*/*/data.json"):
        about = json.loads(path.read_text())
        assert about.keys() == {"song", "artist", "genre", "stems"}
        names = [stem["stemName"] for stem in about["stems"]]
        kinds["files"].add(tuple(len(s["tracks"]) for s in about["stems"] if len(s["tracks"]) > 1))
        if about["artist"] == entry("test", 2).artist:
            assert names.count("vocals") == 2
            bleeding = {
                t["trackType"] for s in about["stems"] for t in s["tracks"] if t["has_bleed"]
            }
            assert bleeding == {"kick drum", "snare drum", "toms"}
        for stem in about["stems"]:
            for track in stem["tracks"]:
                assert track.keys() == {"id", "trackType", "extension", "has_bleed"}
                file = path.parent / stem["stemName"] / f"{track['id']}.wav"
                signal, _ = audio.read(file)
                kinds["channels"].add(signal.shape[0])
                kinds["frames"].add(signal.shape[1])
    assert kinds["channels"] == {1, 2}
    assert kinds["frames"] == {5 * 44100, 5 * 44100 + 1000}
    assert any(kinds["files"])


def test_moisesdb_has_no_silent_files(music: Dataset, written: dict[str, Path]) -> None:
    back = datasets.load("moisesdb", written["moisesdb"])
    assert "vocals" not in _named(back, entry("test", 3).name).stems
    assert _named(back, entry("test", 2).name).bleed >= {"kick", "snare"}
    assert not any(audio.is_silent(audio.read(p)[0]) for p in written["moisesdb"].rglob("*.wav"))


def test_moisesdb_identifiers_are_the_same_every_time(
    music: Dataset, written: dict[str, Path], tmp_path: Path
) -> None:
    LAYOUTS["moisesdb"](music, tmp_path)
    first, again = (
        {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.*") if p.is_file()}
        for root in (written["moisesdb"], tmp_path)
    )
    assert first == again


def test_mir1k_has_accompaniment_left_and_voice_right(
    music: Dataset, written: dict[str, Path]
) -> None:
    back = datasets.load("mir1k", written["mir1k"])
    assert back.sample_rate == 16000
    assert len(back.tracks) == 3
    for clip in back.tracks:
        parts = [_read(clip, stem, back) for stem in ("vocals", "accompaniment")]
        np.testing.assert_allclose(_read(clip, "mixture", back), sum(parts), atol=1e-6)
    instrumental = entry("test", 3).artist.lower().replace(" ", "")
    for name in (entry("test", 2).name, entry("test", 3).name):
        track = _named(music, name)
        singer = track.artist.lower().replace(" ", "")
        both, rate = audio.read(written["mir1k"] / "Wavfile" / f"{singer}_1_01.wav")
        assert (both.shape, rate) == ((2, 5 * 16000), 16000)
        assert np.any(both[1]) == (singer != instrumental)
        for channel, stem in enumerate(("accompaniment", "vocals")):
            mono = _read(track, stem, music).mean(axis=0, keepdims=True)
            wanted = audio.resample(mono, 44100, 16000)[0]
            np.testing.assert_allclose(both[channel], wanted, atol=1.01 / 32768)


def _noise(root: Path, rng: np.random.Generator, seconds: int) -> Dataset:
    """One track of noise at 16 kHz with vocals and accompaniment only."""
    stems = {}
    for stem in ("vocals", "accompaniment"):
        signal = rng.uniform(-0.2, 0.2, (2, seconds * 16000)).astype(np.float32)
        audio.write(root / f"{stem}.wav", signal, 16000, subtype="PCM_16")
        stems[stem] = (Source(root / f"{stem}.wav"),)
    mixture = tuple(source for sources in stems.values() for source in sources)
    track = Track("noise", "A - B", "A", "test", mixture, stems)
    return Dataset("noise", "1", 16000, tuple(stems), (track,))


def test_mir1k_cuts_long_tracks_into_clips(tmp_path: Path, rng: np.random.Generator) -> None:
    LAYOUTS["mir1k"](_noise(tmp_path, rng, seconds=19), tmp_path / "out")
    clips = sorted((tmp_path / "out" / "Wavfile").iterdir())
    assert [clip.name for clip in clips] == ["a_1_01.wav", "a_1_02.wav"]
    assert {audio.length(clip) for clip in clips} == {(8 * 16000, 16000)}
