"""Which files are the estimates of which track, and what their stems are."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from conftest import song_stems, write_song

from harness.benchmark import Settings, plan_for_files
from harness.core import audio
from harness.core.errors import HarnessError
from harness.datasets import load
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.tracks import Dataset, Excerpt, Source, Track
from harness.metrics import analyse
from harness.registry import Entry
from harness.separators import protocol
from harness.separators.from_disk import FromDisk, find_files, meaning

FOUR = ("vocals", "drums", "bass", "other")
ALL = (*FOUR, "accompaniment")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def planned(folder: Path, *tracks: str, listed: tuple[str, ...] = ()):
    """The plan for a folder of estimates; {track: {stem: name of its file}}, {track: notes}."""
    stems = {stem: (Source(folder / "absent.wav"),) for stem in ALL}
    mixture = (Source(folder / "absent.wav"),)
    songs = tuple(Track("d", name, "", "test", mixture, stems) for name in tracks)
    entry = Entry(name="model", family="files", trained_on=(), stems=listed)
    dataset = Dataset("d", "1", 8000, ALL, songs)
    fingerprints = Fingerprints(folder.parent / "fingerprints.jsonl")
    plan = plan_for_files(entry, folder, [dataset], Settings(), fingerprints)
    files, notes = {}, {}
    for unit in plan.units:
        params = unit.entry.params
        files[unit.track.name] = {s: Path(p).name for s, p in params["files"].items()}
        notes[unit.track.name] = list(params.get("notes", []))
    return plan, files, notes


def test_a_file_of_one_channel_for_a_stereo_stem_is_noted_with_what_it_costs(tmp_path):
    true = song_stems(0)["other"]  # to the right mostly
    audio.write(tmp_path / "other.wav", true.mean(axis=0, keepdims=True), 8000)
    files = {"other": str(tmp_path / "other.wav")}
    entry = Entry(name="m", family="files", trained_on=(), stems=("other",))
    separator = FromDisk(sample_rate=8000, stems=("other",), files=files)
    found, _ = protocol.run(separator, entry, true, 8000, where="m")
    note = analyse({"other": true}, 8000).score(found, checks=True)["other"]["snr"].note
    assert note == "channels equal, snr at most 5.8 dB"


@pytest.mark.parametrize("seconds", [2.0, 1.5])
def test_estimates_of_a_track_that_is_cut_are_cut_like_it(tmp_path, seconds):
    stems = song_stems(0)
    write_song(tmp_path / "songs/A", stems)
    n_samples = round(8000 * seconds)
    audio.write(tmp_path / "songs/A/vocals.wav", stems["vocals"][:, :n_samples], 8000)
    audio.write(tmp_path / "est/A/drums.wav", stems["drums"], 8000)
    dataset = load("mine", tmp_path / "songs")
    entry = Entry(name="model", family="files", trained_on=())
    fingerprints = Fingerprints(tmp_path / "fingerprints.jsonl")
    (unit,) = plan_for_files(entry, tmp_path / "est", [dataset], Settings(), fingerprints).units
    separator = FromDisk(sample_rate=8000, stems=("drums",), **unit.entry.params)
    source = np.zeros((2, n_samples), np.float32)
    found, notes = protocol.run(separator, unit.entry, source, 8000)
    np.testing.assert_allclose(found["drums"], stems["drums"][:, :n_samples], atol=1e-6)
    assert notes == []


def test_estimates_of_a_whole_track_are_cut_to_the_excerpt_and_others_are_left(tmp_path):
    stems = song_stems(0)
    write_song(tmp_path / "songs/A", stems)
    audio.write(tmp_path / "est/A/drums.wav", stems["drums"], 8000)
    audio.write(tmp_path / "est/A/bass.wav", stems["bass"][:, 4000:12000], 8000)
    dataset = load("mine", tmp_path / "songs")
    entry = Entry(name="model", family="files", trained_on=())
    fingerprints = Fingerprints(tmp_path / "fingerprints.jsonl")
    settings = Settings(excerpt=Excerpt(1.0))  # the middle one of two seconds
    (unit,) = plan_for_files(entry, tmp_path / "est", [dataset], settings, fingerprints).units
    separator = FromDisk(sample_rate=8000, stems=unit.given, **unit.entry.params)
    found, notes = protocol.run(separator, unit.entry, np.zeros((2, 8000), np.float32), 8000)
    for stem, signal in found.items():
        np.testing.assert_allclose(signal, stems[stem][:, 4000:12000], atol=1e-6)
    assert set(found) == {"drums", "bass"}
    assert notes == []


def test_an_estimate_longer_than_its_track_is_refused_unless_the_track_was_cut(tmp_path):
    audio.write(tmp_path / "drums.wav", song_stems(0)["drums"], 8000)
    source = np.zeros((2, 8000), np.float32)
    entry = Entry(name="m", family="files", trained_on=(), stems=("drums",))
    for whole in (0, 24000):
        files = {"drums": str(tmp_path / "drums.wav")}
        separator = FromDisk(sample_rate=8000, stems=("drums",), files=files, whole=whole)
        with pytest.raises(HarnessError, match="longer than the mixture"):
            protocol.run(separator, entry, source, 8000)


# --- names --- #

SONGS = {
    "Béla - Ö": unicodedata.normalize("NFD", "Béla - Ö"),
    "AC/DC? - Two: Live": "AC_DC_ - Two_ Live",
    "Motörhead - Ace": "Motorhead - Ace",
    'It\'s - "So" <1>': "Its - So 1",
    "名前 - 曲": "名前_曲",
}


@pytest.mark.parametrize("name", SONGS)
@pytest.mark.parametrize("layout", ["{}/vocals.wav", "test/{}/vocals.wav", "{}_vocals.wav",
                                    "{}_(Vocals)_model_v2.wav"])  # fmt: skip
def test_a_name_that_a_tool_wrote_differently_is_found_and_noted(tmp_path, name, layout):
    path = tmp_path / "est" / layout.format(SONGS[name])
    touch(path)
    plan, files, notes = planned(tmp_path / "est", name, "Another - Song")
    assert files == {name: {"vocals": path.name}}
    there = path.parent if path.name == "vocals.wav" else path
    assert notes[name] == [f"{there.name} is read as an estimate of this track"]
    assert [(o.what, o.name) for o in plan.omitted] == [
        ("track matched by its letters", name),
        ("track left out", "Another - Song"),
    ]


def test_the_very_name_counts_before_a_similar_one(tmp_path):
    touch(tmp_path / "A-B/vocals.wav", tmp_path / "A - B/vocals.wav")
    found, notes = find_files(tmp_path, ["A - B"], "test", FOUR, ["A - B"])
    assert found == {"vocals": tmp_path / "A - B/vocals.wav"}
    assert notes == []


def test_a_name_that_may_be_two_tracks_is_neither(tmp_path):
    touch(tmp_path / "est/A_B/vocals.wav")
    plan, files, _ = planned(tmp_path / "est", "A? B", "A: B")
    assert files == {}
    assert [o.name for o in plan.omitted] == ["A? B", "A: B", "A_B"]


def test_a_similar_name_does_not_take_the_file_of_another_track(tmp_path):
    touch(tmp_path / "est/A_no_vocals.wav")
    _, files, _ = planned(tmp_path / "est", "A!", "A_no")
    assert files == {"A_no": {"vocals": "A_no_vocals.wav"}}


def test_tracks_without_estimates_and_estimates_without_tracks_are_named(tmp_path):
    touch(tmp_path / "est/One/vocals.wav", tmp_path / "est/Uno/vocals.wav")
    touch(tmp_path / "est/Dos_vocals.wav", tmp_path / "est/Three/strange.wav")
    plan, files, _ = planned(tmp_path / "est", "One", "Two", "Three")
    assert set(files) == {"One"}
    assert [(o.what, o.name) for o in plan.omitted] == [
        ("track left out", "Two"),
        ("track left out", "Three"),
        ("estimate not used", "Dos_vocals.wav"),
        ("estimate not used", "Three"),
        ("estimate not used", "Uno"),
    ]
    assert "no estimate of 2 of 3 tracks" in plan.skips[0].reason


# --- what `other` is --- #


@pytest.mark.parametrize(
    ("stems", "listed", "other"),
    [
        (("vocals", "other"), (), "accompaniment"),
        (FOUR, (), "other"),
        ((*FOUR, "guitar", "piano"), (), "other_rest"),
        (("other",), ("vocals", "other"), "accompaniment"),
        (("other",), FOUR, "other"),
        (("other",), ("other",), "other"),
        (("other",), ("accompaniment",), "accompaniment"),
        (("vocals", "other"), FOUR, "other"),
        (("vocals", "other"), ("vocals", "drums", "other"), "other of a model with fewer than"),
        (("vocals", "other"), (*FOUR, "guitar", "piano"), "other_rest"),
        (("other",), ("vocals", "drums", "bass", "guitar", "piano", "other_rest"), "other_rest"),
    ],
)
def test_other_is_what_the_other_stems_of_the_model_leave(stems, listed, other):
    assert meaning(stems, listed)["other"].startswith(other)


def test_other_is_the_same_in_all_tracks_of_a_set(tmp_path):
    touch(*(tmp_path / f"est/A_({stem})_m.wav" for stem in ("Vocals", "Other")))
    touch(tmp_path / "est/B_(Other)_m.wav")
    _, files, notes = planned(tmp_path / "est", "A", "B")
    assert files["A"] == {"vocals": "A_(Vocals)_m.wav", "accompaniment": "A_(Other)_m.wav"}
    assert files["B"] == {"accompaniment": "B_(Other)_m.wav"}
    assert notes["B"] == ["B_(Other)_m.wav is read as accompaniment"]


def test_two_stems_of_one_track_are_two_of_four_if_another_track_has_four(tmp_path):
    touch(*(tmp_path / f"est/A/{stem}.wav" for stem in FOUR))
    touch(*(tmp_path / f"est/B/{stem}.wav" for stem in ("vocals", "other")))
    _, files, _ = planned(tmp_path / "est", "A", "B")
    assert set(files["B"]) == {"vocals", "other"}


@pytest.mark.parametrize("stems", [("other",), ("drums", "other"), ("vocals", "bass", "other")])
def test_an_other_that_the_files_do_not_explain_is_asked_for(tmp_path, stems):
    touch(*(tmp_path / f"est/A_({stem.title()})_m.wav" for stem in stems))
    with pytest.raises(HarnessError, match=r"A_\(Other\)_m.wav: .* model with --stems"):
        planned(tmp_path / "est", "A")
    _, files, _ = planned(tmp_path / "est", "A", listed=FOUR)
    assert files["A"]["other"] == "A_(Other)_m.wav"
    _, files, _ = planned(tmp_path / "est", "A", listed=("vocals", "other"))
    assert files["A"]["accompaniment"] == "A_(Other)_m.wav"


def test_an_other_of_a_known_set_that_is_none_of_ours_is_left_out_and_said(tmp_path):
    touch(*(tmp_path / f"est/A/{stem}.wav" for stem in (*FOUR, "piano")))
    _, files, notes = planned(tmp_path / "est", "A")
    assert set(files["A"]) == {"vocals", "drums", "bass"}
    assert notes["A"] == ["other.wav is left out: it is the other of a model with five stems"]
