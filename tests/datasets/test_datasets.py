import json
import os
import shutil
import subprocess
import time
from importlib import import_module
from pathlib import Path

import containers
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core import audio
from harness.core.errors import HarnessError
from harness.datasets import DATASETS, configured, find, load, real_song
from harness.datasets.available import default_names
from harness.datasets.folder import folder
from harness.datasets.musdb_songs import find_song, songs
from harness.datasets.overlaps import leak
from harness.datasets.stem_mp4 import STREAMS, stream_of
from harness.datasets.tracks import Dataset, Excerpt, Source, Track, read_sources, track_length

RATE = 44100
FOUR = ("vocals", "drums", "bass", "other")
KIT = {"kick", "snare", "toms", "hihat_cymbals", "hihat", "cymbals"}
SAMPLE = "reference_scores/museval/MUSDB18-7-SAMPLE"
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def put(
    path: Path,
    value: float = 0.1,
    *,
    samples: int = 64,
    channels: int = 2,
    rate: int = RATE,
) -> None:
    subtype = "PCM_24" if path.suffix == ".flac" else "FLOAT"
    audio.write(path, np.full((channels, samples), value, np.float32), rate, subtype=subtype)


def put_song(folder: Path, **values: float) -> None:
    """Four stems of constant value, and the mixture that is their sum."""
    for stem, value in values.items():
        put(folder / f"{stem}.wav", value)
    put(folder / "mixture.wav", sum(values.values()))


def musdb_song(root: Path, name: str, split: str = "test") -> Path:
    put_song(root / split / name, vocals=0.1, drums=0.2, bass=0.05, other=0.25)
    return root / split / name


def moises_song(root: Path, uuid: str, stems: dict[str, list[dict]], **facts: object) -> Path:
    """Write the data.json and one file a recording; `samples`, `channels`, `value` shape it."""
    folder = root / uuid
    record = {"song": "S", "artist": "A", "genre": "singer_songwriter", "stems": [], **facts}
    for stem, tracks in stems.items():
        entries = []
        for i, track in enumerate(tracks):
            shape = {k: track[k] for k in ("samples", "channels", "value") if k in track}
            entry = {"id": f"{stem.strip('+')}{i}{'b' if '+' in stem else ''}", "extension": "wav"}
            entry |= {"trackType": track.get("kind", ""), "has_bleed": track.get("bleed", False)}
            put(folder / stem.strip("+") / f"{entry['id']}.wav", **shape)
            entries.append(entry)
        record["stems"].append({"id": "x", "stemName": stem.strip("+"), "tracks": entries})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.json").write_text(json.dumps(record))
    return folder


def only(dataset: Dataset) -> Track:
    (track,) = dataset.tracks
    return track


def level(track: Track, stem: str) -> float:
    """The value of a stem made of constants, from its files."""
    return float(read_sources(track.stems[stem], RATE)[0, 0])


# --- the recordings beside the checkout: counts known beforehand ---


def test_musdb18hq_recordings(shared_data: Path) -> None:
    dataset = load("musdb18hq", shared_data / "musdb18hq")
    assert [(t.split, t.name.split(" - ")[1]) for t in dataset.tracks] == [
        ("test", "Hendrix"),
        ("test", "Reggae"),
        ("test", "Rock"),
        ("test", "Zeppelin"),
        ("train", "Beatles"),
        ("train", "Punk"),
    ]
    assert dataset.stems == (*FOUR, "accompaniment")
    assert dataset.problems == ()
    assert {t.artist for t in dataset.tracks} == {"Music Delta"}
    assert {t.name: t.genre for t in dataset.tracks}["Music Delta - Beatles"] == "singer/songwriter"


def test_zeppelin_has_silent_vocals_and_every_mixture_is_the_sum(shared_data: Path) -> None:
    dataset = load("musdb18hq", shared_data / "musdb18hq")
    silent = []
    for track in dataset.tracks:
        stems = {s: read_sources(track.stems[s], RATE) for s in (*FOUR, "accompaniment")}
        mixture = read_sources(track.mixture, RATE)
        assert np.abs(mixture - sum(stems[s] for s in FOUR)).max() < 1e-4
        assert np.abs(mixture - stems["vocals"] - stems["accompaniment"]).max() < 1e-4
        silent += [track.name for s in FOUR if audio.is_silent(stems[s])]
    assert silent == ["Music Delta - Zeppelin"]


def test_moisesdb_recordings(shared_data: Path) -> None:
    dataset = load("moisesdb", shared_data / "moisesdb")
    songs = {t.name.removeprefix("Software-Entwicklungskit - "): t for t in dataset.tracks}
    assert set(songs) == {"Lithium", "Lithium (break)", "Sodium"}
    lithium, lithium_break, sodium = (songs[k] for k in ("Lithium", "Lithium (break)", "Sodium"))
    assert lithium.id == "6513270e-269e-4d37-b2a7-4de452e6b438"
    assert {s: len(files) for s, files in lithium.stems.items()} == {
        "vocals": 4,
        "lead": 2,
        "lead_female": 2,
        "background": 2,
        "drums": 2,
        "kick": 1,
        "hihat_cymbals": 1,
        "hihat": 1,
        "other": 2,
        "other_rest": 2,
        "misc": 2,
        "accompaniment": 4,
    }
    assert not lithium.excluded
    for track in (lithium_break, sodium):
        assert set(track.excluded) == KIT
        assert all("'drum machine'" in why for why in track.excluded.values())
        assert not track.stems.keys() & track.excluded.keys()
    assert set(lithium_break.stems) == {
        *("vocals", "background", "drums", "keys", "other_rest", "other", "accompaniment")
    }
    assert "vocals" not in sodium.stems
    assert len(sodium.stems["drums"]) == 4
    assert track_length(sodium) == 441000


def test_mir1k_recordings(shared_data: Path) -> None:
    dataset = load("mir1k", shared_data / "mir1k")
    assert len(dataset.tracks) == 51
    assert dataset.sample_rate == 16000
    assert load("mir1k", shared_data / "mir1k" / "Wavfile").tracks == dataset.tracks
    clip = next(t for t in dataset.tracks if t.name == "abjones_5_08")
    assert (clip.artist, clip.split) == ("abjones", "train")
    assert sum(track.split == "train" for track in dataset.tracks) == 13
    assert {t.artist for t in dataset.tracks if t.split == "train"} == {"abjones", "amy"}
    raw, _ = soundfile.read(clip.mixture[0].path, dtype="float32")
    mixture = read_sources(clip.mixture, 16000)
    assert mixture.shape == (1, len(raw))
    np.testing.assert_array_equal(mixture[0], raw[:, 0] + raw[:, 1])
    np.testing.assert_array_equal(read_sources(clip.stems["vocals"], 16000)[0], raw[:, 1])


def test_drum_recordings_as_a_folder_of_ones_own(shared_data: Path) -> None:
    dataset = load("stemgmd", shared_data / "drums" / "tracks")
    assert dataset.name == "stemgmd"
    assert [len(t.stems["drums"]) for t in dataset.tracks] == [5, 5, 5]


# --- MUSDB18-HQ and DSD100 ---


def test_musdb18hq_stems_sum(tmp_path: Path) -> None:
    musdb_song(tmp_path, "PR - Oh No")
    track = only(load("musdb18hq", tmp_path))
    assert level(track, "accompaniment") == pytest.approx(0.5)
    assert float(read_sources(track.mixture, RATE)[0, 0]) == pytest.approx(0.6)
    assert (track.artist, track.genre, track.split) == ("PR", "electronic", "test")
    assert any("left channel" in note for note in track.notes)


def test_missing_and_empty_stems_are_excluded_with_the_reason(tmp_path: Path) -> None:
    folder = musdb_song(tmp_path, "A - B")
    (folder / "vocals.wav").unlink()
    (folder / "bass.wav").write_bytes(b"")
    dataset = load("musdb18hq", tmp_path)
    track = only(dataset)
    assert set(track.stems) == {"drums", "other"}
    assert set(track.excluded) == {"vocals", "bass", "accompaniment"}
    assert dataset.problems == ("test/A - B/vocals.wav: missing", "test/A - B/bass.wav: empty")


def test_song_without_mixture_is_left_out_and_the_rest_stays(tmp_path: Path) -> None:
    (musdb_song(tmp_path, "A - B") / "mixture.wav").unlink()
    musdb_song(tmp_path, "C - D")
    dataset = load("musdb18hq", tmp_path)
    assert only(dataset).name == "C - D"
    assert "test/A - B: it has no mixture; left out" in dataset.problems


def test_song_without_any_stem_is_left_out(tmp_path: Path) -> None:
    musdb_song(tmp_path, "A - B")
    put(tmp_path / "test" / "C - D" / "mixture.wav")
    dataset = load("musdb18hq", tmp_path)
    assert only(dataset).name == "A - B"
    assert "C - D: has no stem; left out" in dataset.problems


@pytest.mark.parametrize(
    "name",
    [
        "..'\"A - B",
        "<script>",
        "🎸 - 🥁",
        "a\x07\n - b",
        "\u202eabc - ד",
        "A & B",
    ],
)
def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    musdb_song(tmp_path, name)
    dataset = load("musdb18hq", tmp_path)
    assert only(dataset).name == name
    assert dataset.problems == ()


def test_name_that_is_no_utf8_is_a_problem_line(tmp_path: Path) -> None:
    folder = musdb_song(tmp_path, "A - B")
    folder.rename(os.fsdecode(os.fsencode(folder) + b"\xff"))
    musdb_song(tmp_path, "C - D")
    dataset = load("musdb18hq", tmp_path)
    assert only(dataset).name == "C - D"
    assert dataset.problems == ("test/A - B?: its name is not UTF-8, rename it; left out",)


@pytest.mark.parametrize("link", ["train", "test/A - B", "test/C - D/vocals.wav"])
def test_links_that_lead_out_are_refused(tmp_path: Path, link: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    musdb_song(outside, "A - B", "train")
    musdb_song(root, "C - D")
    target = {"train": outside / "train", "test/A - B": outside / "train/A - B"}.get(
        link, outside / "train/A - B/vocals.wav"
    )
    (root / link).unlink(missing_ok=True)
    (root / link).symlink_to(target)
    dataset = load("musdb18hq", root)
    assert only(dataset).name == "C - D"
    assert len([line for line in dataset.problems if "to a place outside the dataset" in line]) == 1
    used = [source.path for stem in only(dataset).stems.values() for source in stem]
    assert all(path.resolve().is_relative_to(root) for path in used)


def test_root_that_is_a_link_and_links_inside_it_are_fine(tmp_path: Path) -> None:
    folder = musdb_song(tmp_path / "real", "A - B")
    (folder / "vocals.wav").rename(folder / "v.wav")
    (folder / "vocals.wav").symlink_to(folder / "v.wav")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert set(only(load("musdb18hq", tmp_path / "link")).stems) == {*FOUR, "accompaniment"}


def test_links_in_a_circle_are_a_problem_line(tmp_path: Path) -> None:
    folder = musdb_song(tmp_path, "A - B")
    (folder / "vocals.wav").unlink()
    (folder / "vocals.wav").symlink_to(folder / "vocals.wav")
    assert "vocals" in only(load("musdb18hq", tmp_path)).excluded


def test_litter_of_archivers_is_no_track(tmp_path: Path) -> None:
    musdb_song(tmp_path, "...And A - B")
    for litter in ("__MACOSX", ".git"):
        (tmp_path / "test" / litter).mkdir()
    (tmp_path / "test" / ".DS_Store").touch()
    dataset = load("musdb18hq", tmp_path)
    assert only(dataset).name == "...And A - B"
    assert dataset.problems == ()


def test_150_tracks_load_in_well_under_a_second(tmp_path: Path) -> None:
    for song in songs().values():
        folder = tmp_path / song.split / song.track
        folder.mkdir(parents=True)
        for stem in (*FOUR, "mixture"):
            (folder / f"{stem}.wav").write_bytes(b"never read")
    start = time.perf_counter()
    dataset = load("musdb18hq", tmp_path)
    assert time.perf_counter() - start < 0.5
    assert [sum(t.split == s for t in dataset.tracks) for s in ("train", "test")] == [100, 50]
    assert sum("erratum" in note for t in dataset.tracks for note in t.notes) == 6
    assert sum(t.genre == "pop/rock" for t in dataset.tracks if t.split == "test") == 36
    assert len({t.artist for t in dataset.tracks if t.split == "test"}) == 46


def test_dsd100(tmp_path: Path) -> None:
    for half, name in (("Dev", "081 - Patrick Talbot - Set Free Me"), ("Test", "037 - X - Y")):
        put_song(tmp_path / "Sources" / half / name, vocals=0.1, drums=0.2, bass=0.05, other=0.25)
        put(tmp_path / "Mixtures" / half / name / "mixture.wav", 0.6)
    dev, test = sorted(load("dsd100", tmp_path).tracks, key=lambda t: t.split, reverse=True)
    assert (dev.split, dev.id, dev.name) == ("train", "081", "Patrick Talbot - Set Free Me")
    assert (dev.artist, dev.genre) == ("Patrick Talbot", "jazz")
    assert level(dev, "accompaniment") == pytest.approx(0.5)
    assert (test.split, test.artist, test.genre) == ("test", "X", "unknown")
    assert any("corrupt" in note for note in test.notes)


def test_table_of_songs() -> None:
    assert len(songs()) == 150
    assert sum(song.valid for song in songs().values()) == 14
    assert all(song.split == "train" for song in songs().values() if song.valid)
    assert sum(bool(song.dsd100_id) for song in songs().values()) == 100
    assert find_song("no such - song") is None
    assert find_song("🎸") is None


# --- MoisesDB ---


def test_moisesdb_taxonomy(tmp_path: Path) -> None:
    moises_song(
        tmp_path / "moisesdb_v0.1",
        "0a",
        {
            "vocals": [
                {"kind": "lead_male_singer", "value": 0.01},
                {"kind": "lead female singer", "value": 0.02},
                {"kind": "Human Choir", "value": 0.03},
            ],
            "drums": [
                {"kind": "kick_drum", "value": 0.04},
                {"kind": "hi-hat", "value": 0.05},
            ],
            "bass": [{"kind": "bass_guitar", "value": 0.06}],
            "guitar": [{"value": 0.07}],
            "other_keys": [{"value": 0.08}],
            "percussion": [{"value": 0.09}],
            "other": [{"value": 0.1}],
        },
    )
    track = only(load("moisesdb", tmp_path))
    assert {stem: round(level(track, stem), 3) for stem in track.stems} == {
        "vocals": 0.06,
        "lead": 0.03,
        "lead_male": 0.01,
        "lead_female": 0.02,
        "background": 0.03,
        "drums": 0.09,
        "kick": 0.04,
        "hihat_cymbals": 0.05,
        "hihat": 0.05,
        "bass": 0.06,
        "guitar": 0.07,
        "keys": 0.08,
        "percussion": 0.09,
        "misc": 0.1,
        "other_rest": 0.27,
        "other": 0.34,
        "accompaniment": 0.49,
    }
    assert float(read_sources(track.mixture, RATE)[0, 0]) == pytest.approx(0.55)
    assert (track.name, track.genre) == ("A - S", "singer/songwriter")


@pytest.mark.parametrize("kind", ["overheads", "full_acoustic_drumkit", "drum_machine", "gong"])
def test_moisesdb_kit_that_is_not_divided(tmp_path: Path, kind: str) -> None:
    moises_song(tmp_path, "0a", {"drums": [{"kind": "kick_drum"}, {"kind": kind}]})
    track = only(load("moisesdb", tmp_path))
    assert set(track.stems) == {"drums", "accompaniment"}
    assert set(track.excluded) == KIT
    assert kind in track.excluded["kick"]


def test_moisesdb_voices_that_are_not_divided(tmp_path: Path) -> None:
    kind = "other (vocoder, beatboxing etc)"
    moises_song(tmp_path, "0a", {"vocals": [{"kind": "lead male singer"}, {"kind": kind}]})
    track = only(load("moisesdb", tmp_path))
    assert set(track.stems) == {"vocals"}
    assert set(track.excluded) == {"lead", "lead_male", "lead_female", "background"}


def test_moisesdb_stem_named_twice_mono_and_unequal_lengths(tmp_path: Path) -> None:
    moises_song(
        tmp_path,
        "0a",
        {
            "bass": [{"value": 0.1, "samples": 90, "channels": 1}],
            "bass+": [{"value": 0.2, "samples": 70}],
            "wind": [{"value": 0.3, "samples": 50}],
        },
    )
    track = only(load("moisesdb", tmp_path))
    n = track_length(track)
    assert n == 50
    mixture = read_sources(track.mixture, RATE, frames=n)
    stems = [read_sources(track.stems[s], RATE, frames=n) for s in ("bass", "other")]
    assert [signal.shape for signal in (mixture, *stems)] == [(2, 50)] * 3
    np.testing.assert_allclose(mixture, stems[0] + stems[1], atol=1e-7)
    assert stems[0][1, 0] == pytest.approx(0.3)


def test_moisesdb_bleed_marks_every_stem_the_file_is_part_of(tmp_path: Path) -> None:
    drums = [{"kind": "snare drum", "bleed": True}, {"kind": "kick drum"}]
    moises_song(tmp_path, "0a", {"drums": drums, "bass": [{}]})
    assert only(load("moisesdb", tmp_path)).bleed == {"snare", "drums", "accompaniment"}


def test_moisesdb_stem_that_it_does_not_have(tmp_path: Path) -> None:
    moises_song(tmp_path, "good", {"bass": [{}]})
    moises_song(tmp_path, "bad", {"bass": [{}], "theremin": [{}]})
    dataset = load("moisesdb", tmp_path)
    assert only(dataset).id == "good"
    assert dataset.problems == ("bad: stemName 'theremin' is not one of MoisesDB's; left out",)


def test_moisesdb_songs_of_one_name_stay_two(tmp_path: Path) -> None:
    for uuid in ("12345678-a", "87654321-b"):
        moises_song(tmp_path, uuid, {"bass": [{}]})
    tracks = load("moisesdb", tmp_path).tracks
    assert [(t.name, t.id) for t in tracks] == [
        ("A - S (12345678)", "12345678-a"),
        ("A - S (87654321)", "87654321-b"),
    ]


ONE_FILE = '{"stems": [{"stemName": "bass", "tracks": [{"id": %s, "extension": "wav"}]}]}'
BAD_RECORDS = {
    "not json": "{",
    "not an object": "[]",
    "deep": "[" * 100_000,
    "stems is a number": '{"stems": 3}',
    "stem is a text": '{"stems": ["bass"]}',
    "no stems": '{"stems": []}',
    "no recordings": '{"stems": [{"stemName": "bass"}]}',
    "file is not there": ONE_FILE % '"x"',
    "id is a number": ONE_FILE % 1,
    "NaN": "NaN",
    "empty": "",
}


@pytest.mark.parametrize("content", BAD_RECORDS.values(), ids=BAD_RECORDS.keys())
def test_moisesdb_bad_record_costs_one_song(tmp_path: Path, content: str) -> None:
    moises_song(tmp_path, "good", {"bass": [{}]})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.json").write_text(content)
    dataset = load("moisesdb", tmp_path)
    assert only(dataset).id == "good"
    assert [line for line in dataset.problems if line.startswith("bad: ")]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["stems", "tracks", "stemName", "id", "extension", "trackType", "song"]
            ),
            inner | st.sampled_from(["bass", "drums", "wav", "bass0"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(record=ANY_JSON)
@settings(deadline=None, max_examples=150, derandomize=True)
def test_moisesdb_no_record_costs_more_than_its_song(
    tmp_path_factory: pytest.TempPathFactory, record: object
) -> None:
    root = tmp_path_factory.mktemp("db")
    moises_song(root, "good", {"bass": [{}]})
    (root / "bad").mkdir()
    (root / "bad" / "data.json").write_text(json.dumps(record))
    assert only(load("moisesdb", root)).id == "good"


@pytest.mark.parametrize("bad", ["../../out", "a/b", "a\\b", "..", "a\0", "", "\ud800", "x" * 300])
@pytest.mark.parametrize("field", ["id", "extension", "stemName"])
def test_moisesdb_fields_cannot_lead_elsewhere(tmp_path: Path, field: str, bad: str) -> None:
    moises_song(tmp_path / "db", "good", {"bass": [{}]})
    put(tmp_path / "out.wav")
    folder = moises_song(tmp_path / "db", "bad", {"bass": [{}]})
    record = json.loads((folder / "data.json").read_text())
    stem = record["stems"][0]
    (stem if field == "stemName" else stem["tracks"][0])[field] = bad
    (folder / "data.json").write_text(json.dumps(record))
    assert only(load("moisesdb", tmp_path / "db")).id == "good"


def test_moisesdb_stem_folder_that_is_a_link_out(tmp_path: Path) -> None:
    moises_song(tmp_path / "db", "good", {"bass": [{}]})
    folder = moises_song(tmp_path / "db", "bad", {"bass": [{}]})
    (folder / "bass").rename(tmp_path / "elsewhere")
    (folder / "bass").symlink_to(tmp_path / "elsewhere")
    assert only(load("moisesdb", tmp_path / "db")).id == "good"


# --- a folder of one's own ---


def test_folder_with_aliases_and_without_mixture(tmp_path: Path) -> None:
    put(tmp_path / "X - Y" / "Voice.flac", 0.1)
    put(tmp_path / "X - Y" / "Instrumental.wav", 0.3)
    put(tmp_path / "X - Y" / "Bateria.wav", 0.05)
    dataset = load("mine", tmp_path)
    track = only(dataset)
    assert (track.dataset, track.artist, track.split) == ("mine", "X", "test")
    assert set(track.stems) == {"vocals", "accompaniment", "drums"}
    mixture = read_sources(track.mixture, RATE)
    assert float(mixture[0, 0]) == pytest.approx(0.4)  # the drums are in the accompaniment


def test_folder_kit_in_other_words(tmp_path: Path) -> None:
    for i, name in enumerate(("bombo", "redoblante", "toms", "hh", "ride", "crash"), start=1):
        put(tmp_path / "kit" / f"{name}.wav", i / 100)
    track = only(load("kit", tmp_path))
    assert level(track, "cymbals") == pytest.approx(0.11)
    assert level(track, "hihat_cymbals") == pytest.approx(0.15)
    assert level(track, "drums") == pytest.approx(0.21)
    assert level(track, "kick") == pytest.approx(0.01)


def test_folder_kit_of_four_pieces_has_the_hihat_in_the_cymbals(tmp_path: Path) -> None:
    for i, name in enumerate(("bombo", "redoblante", "toms", "platillos"), start=1):
        put(tmp_path / "kit" / f"{name}.wav", i / 100)
    track = only(load("kit", tmp_path))
    assert set(track.stems) == {"kick", "snare", "toms", "hihat_cymbals", "drums"}
    assert level(track, "drums") == pytest.approx(0.10)


def test_folder_of_six_stems_has_the_other_of_four(tmp_path: Path) -> None:
    values = {"vocals": 0.1, "drums": 0.2, "bass": 0.05, "guitar": 0.03, "piano": 0.02}
    put_song(tmp_path / "six", **values, other=0.01)
    track = only(load("folder", tmp_path))
    assert level(track, "other_rest") == pytest.approx(0.01)
    assert level(track, "other") == pytest.approx(0.06)
    assert level(track, "accompaniment") == pytest.approx(0.31)
    assert only(load("folder", tmp_path)).name == "six"


def test_folder_of_two_stems_has_an_accompaniment_under_the_name_other(tmp_path: Path) -> None:
    for song in ("a", "b"):
        put_song(tmp_path / song, vocals=0.1, other=0.3)
    dataset = load("folder", tmp_path)
    assert dataset.stems == ("vocals", "accompaniment")
    assert [level(track, "accompaniment") for track in dataset.tracks] == pytest.approx([0.3] * 2)
    assert "it is the accompaniment" in "".join(dataset.problems)
    put_song(tmp_path / "c", vocals=0.1, drums=0.2, bass=0.05, other=0.01)
    dataset = load("folder", tmp_path)
    assert [level(track, "other") for track in dataset.tracks] == pytest.approx([0.3, 0.3, 0.01])
    assert dataset.problems == ()


def test_an_artist_has_one_name_however_accents_and_spaces_are_written(tmp_path: Path) -> None:
    for name in ("Be\u0301la - A", "B\u00e9la - B", "B\u00e9la  - C"):
        put_song(tmp_path / name, vocals=0.1, drums=0.2)
    tracks = load("folder", tmp_path).tracks
    assert {track.artist for track in tracks} == {"B\u00e9la"}
    assert len({track.name for track in tracks}) == 3


def test_folder_of_two_files_for_one_stem_takes_one(tmp_path: Path) -> None:
    put(tmp_path / "t" / "vocals.wav", 0.1)
    put(tmp_path / "t" / "vocal.wav", 0.2)
    put(tmp_path / "t" / "bass.wav", 0.3)
    put(tmp_path / "t" / "bass.flac", 0.4)
    dataset = load("folder", tmp_path)
    assert level(only(dataset), "vocals") == pytest.approx(0.1)
    assert level(only(dataset), "bass") == pytest.approx(0.3)
    assert dataset.problems == (
        "t/bass.flac: left out, bass.wav is used for bass",
        "t/vocal.wav: left out, vocals.wav is used for vocals",
    )


def test_folder_leaves_out_what_cannot_be_used(tmp_path: Path) -> None:
    put_song(tmp_path / "a good", vocals=0.1, bass=0.1)
    put(tmp_path / "b rate" / "vocals.wav", rate=22050)
    put(tmp_path / "c rates" / "vocals.wav")
    put(tmp_path / "c rates" / "bass.wav", rate=22050)
    (tmp_path / "d none").mkdir()
    put(tmp_path / "e mixture" / "mixture.wav")
    (tmp_path / "f noise").mkdir()
    (tmp_path / "f noise" / "vocals.wav").write_bytes(b"noise")
    put(tmp_path / "g" / "ボーカル.wav")
    dataset = load("folder", tmp_path)
    assert only(dataset).name == "a good"
    for name in ("b rate", "c rates", "d none", "e mixture", "f noise", "g"):
        assert any(line.startswith(f"{name}: ") for line in dataset.problems)
    assert "22050 Hz, not 44100 Hz" in "".join(dataset.problems)


# --- MUSDB18 as stem.mp4 ---


@needs_ffmpeg
def test_stem_mp4(shared_data: Path) -> None:
    dataset = load("musdb18", shared_data / SAMPLE)
    track = only(dataset)
    assert (track.name, track.split, track.genre) == ("Music Delta - 80s Rock", "train", "rock")
    n = track_length(track)
    assert 6.7 < n / RATE < 7.1
    mixture = read_sources(track.mixture, RATE, frames=n)
    total = sum(read_sources(track.stems[s], RATE, frames=n) for s in ("vocals", "accompaniment"))
    assert mixture.shape == total.shape == (2, n)
    error = float(np.sum((mixture - total) ** 2) / np.sum(mixture**2))
    assert 0 < error < 1e-2  # AAC: nearly the sum, not exactly


@needs_ffmpeg
def test_stem_mp4_part_is_the_part_of_the_whole(shared_data: Path) -> None:
    sources = only(load("musdb18", shared_data / SAMPLE)).stems["drums"]
    whole = read_sources(sources, RATE)
    part = read_sources(sources, RATE, start=12345, frames=999)
    np.testing.assert_array_equal(part, whole[:, 12345 : 12345 + 999])


@needs_ffmpeg
def test_stem_mp4_that_is_none(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "test" / "A - B.stem.mp4"
    path.parent.mkdir()
    path.write_bytes(b"noise")
    with pytest.raises(HarnessError, match=r"cannot be read as \.stem\.mp4"):
        read_sources(only(load("musdb18", tmp_path)).mixture, RATE)
    real = next((shared_data / SAMPLE).glob("train/*.mp4"))
    with pytest.raises(HarnessError, match="5 audio streams, number 7"):
        read_sources((Source(real, stream=7),), RATE)


def test_stem_mp4_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test" / "A - B.stem.mp4"
    path.parent.mkdir()
    path.write_bytes(b"x")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HarnessError, match=r"without ffmpeg and ffprobe.*harness\[stem-mp4\]"):
        load("musdb18", tmp_path)


def stem_mp4(path: Path, titles: tuple[str, ...]) -> None:
    """Write one stream per title, each a tone of its own: 500 Hz for the first, then 1000 Hz, …"""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["ffmpeg", "-v", "error"]
    for i in range(len(titles)):
        command += ["-f", "lavfi", "-i", f"sine={500 * (i + 1)}:duration=0.5:sample_rate={RATE}"]
    for i, title in enumerate(titles):
        command += ["-map", str(i), f"-metadata:s:a:{i}", f"handler_name={title}"]
    subprocess.run([*command, "-c:a", "aac", "-f", "mp4", str(path)], check=True)


def tone(sources: tuple[Source, ...]) -> int:
    """The loudest frequency in Hz, to the nearest 500."""
    signal = read_sources(sources, RATE)[0]
    peak = np.argmax(np.abs(np.fft.rfft(signal))) * RATE / len(signal)
    return 500 * round(peak / 500)


@needs_ffmpeg
def test_titles_of_streams_decide_which_stem_they_are(tmp_path: Path) -> None:
    pytest.importorskip("stempeg")
    name = "Music Delta - 80s Rock.STEM.MP4"
    stem_mp4(tmp_path / "train" / name, ("mix", "Vocals", "Drums", "Bass", "Other"))
    track = only(load("musdb18", tmp_path))
    assert (track.name, track.genre) == ("Music Delta - 80s Rock", "rock")
    order = {"vocals": 1000, "drums": 1500, "bass": 2000, "other": 2500}
    assert {stem: tone(track.stems[stem]) for stem in FOUR} == order
    assert tone(track.mixture) == 500


@needs_ffmpeg
def test_titles_of_streams_that_are_no_stems_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("stempeg")
    stem_mp4(tmp_path / "test" / "A - B.stem.mp4", ("mix", "Vocals", "Vocals", "Bass", "Other"))
    with pytest.raises(HarnessError, match=r"titled 'mix', 'Vocals', 'Vocals'.*correct the titles"):
        read_sources(only(load("musdb18", tmp_path)).stems["drums"], RATE)


@pytest.mark.parametrize(
    ("titles", "order"),
    [
        (["SoundHandler"] * 5, [0, 1, 2, 3, 4]),
        ([""] * 5, [0, 1, 2, 3, 4]),
        (["mixture", "drums", "bass", "other", "vocals"], [0, 1, 2, 3, 4]),
        (["Vox", "Bass", "Others", "Drum", "SoundHandler"], [4, 3, 1, 2, 0]),
        (["click", "vocals", "mix", "drums", "bass", "other"], [2, 3, 4, 5, 1]),
        (["mix", "drums", "drums", "other", "vocals"], None),
        (["", "Track 1", "Track 2", "Track 3", "Track 4"], None),
        (["mix", "drums", "bass", "guitar", "vocals"], None),
    ],
)
def test_order_of_titled_streams(titles: list[str], order: list[int] | None) -> None:
    if order is None:
        with pytest.raises(ValueError, match="not one stream for each of mixture, drums, bass"):
            stream_of(titles, 0)
    else:
        assert [stream_of(titles, number) for number in STREAMS.values()] == order


# --- files whose headers lie, and excerpts ---


def test_a_track_has_the_length_of_its_audio(tmp_path: Path) -> None:
    for track in ("a", "b"):
        (tmp_path / track).mkdir()
        for stem in ("vocals", "drums"):
            file = tmp_path / track / f"{stem}.mp3"
            file.write_bytes(containers.written("vbr.mp3", 30_000))  # no header gives its length
    cut = containers.written("mp3", 30_000)
    (tmp_path / "b/vocals.mp3").write_bytes(cut[: len(cut) // 2])
    dataset = folder(tmp_path)
    with pytest.raises(HarnessError, match=r"vocals\.mp3: truncated.* \d+ of 30000 samples"):
        track_length(dataset.tracks[1])
    n_samples = track_length(dataset.tracks[0])
    assert 30_000 <= n_samples <= 30_000 + 3 * 1152
    whole = read_sources(dataset.tracks[0].mixture, 44100)
    assert whole.shape == (2, n_samples)
    start, frames = Excerpt(0.1).window(n_samples, 44100)
    part = read_sources(dataset.tracks[0].mixture, 44100, start, frames)
    np.testing.assert_array_equal(part, whole[:, start : start + frames])


@pytest.mark.parametrize("seconds", [float("inf"), float("nan"), 0.0, -1.0])
def test_an_excerpt_has_a_length(seconds: float) -> None:
    with pytest.raises(HarnessError, match=f"--seconds {seconds}: is no length of an excerpt"):
        Excerpt(seconds)


def test_an_excerpt_longer_than_the_track_is_the_track() -> None:
    assert Excerpt(1e308).window(500, 44100) == (0, 500)


# --- finding folders ---


def test_data_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOISESDB_PATH", "/environment")
    assert find("moisesdb", {"moisesdb": tmp_path}) == tmp_path
    assert find("moisesdb", {}) == Path("/environment")
    assert configured({"mine": tmp_path})["mine"] == tmp_path


@pytest.mark.parametrize(("layout", "name"), [("hq", "musdb18hq"), ("streams", "musdb18")])
def test_musdb_path_serves_both_layouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, name: str
) -> None:
    musdb_song(tmp_path / "hq", "A - B")
    (tmp_path / "streams" / "test").mkdir(parents=True)
    (tmp_path / "streams" / "test" / "A - B.STEM.mp4").write_bytes(b"x")
    for variable in (v for info in DATASETS.values() for v in info.env):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("MUSDB_PATH", str(tmp_path / layout))
    assert configured({}) == {name: tmp_path / layout}
    other = {"musdb18hq": "musdb18", "musdb18": "musdb18hq"}[name]
    with pytest.raises(HarnessError, match=r"MUSDB_PATH=.* is a folder with a different layout"):
        find(other, {})


# --- the real song of the first run ---


def test_a_real_song_is_decoded_once_and_known_to_be_of_musdb18(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    if why := real_song.obstacle():
        pytest.skip(why)
    dataset = real_song.decoded()
    (song,) = dataset.tracks
    assert (song.artist, song.split) == ("The Easton Ellises", "test")
    read = {stem: read_sources(sources, 44100) for stem, sources in song.stems.items()}
    four = sum(read[stem] for stem in ("vocals", "drums", "bass", "other"))
    np.testing.assert_allclose(read_sources(song.mixture, 44100), four, atol=1e-6)
    assert four.shape == (2, round(5.9 * 44100))
    assert max(np.abs(signal).max() for signal in read.values()) < 0.9  # the clicks are cut off
    for trained, found in (
        ("musdb18hq:test", "leaked"), ("musdb18", "leaked"), ("real_song", "leaked"),
        ("musdb18:train", "clean"), ("private", "unknown"),
    ):  # fmt: skip
        assert leak([trained], song) == found
    assert song.notes == (real_song.NOTE,)
    monkeypatch.setattr("harness.datasets.stem_mp4.shutil.which", lambda tool: None)
    assert real_song.obstacle() == ""  # nothing has to be decoded again
    assert real_song.decoded() == dataset


def test_a_run_without_the_real_song_is_a_run_of_the_demo(tmp_path, monkeypatch) -> None:
    for variable in (v for info in DATASETS.values() for v in info.env):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr("harness.datasets.stem_mp4.shutil.which", lambda tool: None)
    names, why = default_names({}, "test")
    assert names == ["demo"]
    assert "ffmpeg" in why
    assert default_names({}, "train") == (["demo"], "")
    assert default_names({"mine": tmp_path}, "test") == (["mine"], "")
    monkeypatch.setattr(real_song, "obstacle", str)
    assert default_names({}, "test") == (["demo", "real_song"], "")


@pytest.mark.parametrize("suffix", [".stem.mp4", ".Stem.MP4"])
def test_stem_mp4_given_as_hq_is_explained(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / f"A - B{suffix}").write_bytes(b"x")
    with pytest.raises(HarnessError, match="--data musdb18="):
        load("musdb18hq", tmp_path)


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_names_a_reader_that_exists(name: str) -> None:
    module, _, function = DATASETS[name].reader.partition(":")
    assert callable(getattr(import_module(f"harness.datasets.{module}"), function))


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"demo", "real_song"}))
def test_folder_that_is_not_there_says_what_to_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError) as caught:
        load(name, tmp_path / "absent")
    message = str(caught.value)
    assert str(tmp_path / "absent") in message
    assert f"--data {name}=PATH" in message
    assert DATASETS[name].holds in message
    assert all(variable in message for variable in DATASETS[name].env[:1])


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - {"demo", "real_song"}))
def test_nothing_configured_says_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in DATASETS[name].env:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(HarnessError, match=f"--data {name}=PATH"):
        find(name, {})


def test_folder_in_which_nothing_is_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / "data.json").write_text("{")
    with pytest.raises(HarnessError, match=r"no usable track of .*data\.json cannot be read"):
        load("moisesdb", tmp_path)


def test_unknown_dataset_lists_the_known_ones() -> None:
    with pytest.raises(HarnessError, match="musdb18hq, musdb18, dsd100"):
        find("nosuch", {})


def test_mono_where_two_channels_are_needed_is_an_error_of_that_track(tmp_path: Path) -> None:
    put(tmp_path / "amy_1_01.wav", channels=1, rate=16000)
    track = only(load("mir1k", tmp_path))
    with pytest.raises(HarnessError, match="channel 1 is needed"):
        read_sources(track.stems["vocals"], 16000)
