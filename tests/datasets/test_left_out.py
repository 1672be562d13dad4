"""What a reader leaves out: which tracks and files, and why, in `Dataset.omitted`."""

import os
from pathlib import Path

import pytest
from conftest import song_stems, write_song
from test_datasets import moises_song, musdb_song, put, put_song

from harness.datasets import load
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.mixture_check import IN_PART, TOO_SHORT, examined
from harness.datasets.scan import FILE, TRACK
from harness.datasets.tracks import Dataset, Omission


def said(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """{name: (what, reason)} of all that is left out."""
    assert {omission.dataset for omission in dataset.omitted} <= {dataset.name}
    return {omission.name: (omission.what, omission.reason) for omission in dataset.omitted}


def outside(root: Path) -> None:
    put_song(root.parent / "outside", vocals=0.1, bass=0.2)
    (root / "B").symlink_to(root.parent / "outside")


def another_rate(root: Path) -> None:
    put(root / "B" / "vocals.wav", rate=48000)


def two_rates(root: Path) -> None:
    put(root / "B" / "vocals.wav")
    put(root / "B" / "bass.wav", rate=48000)


def no_stem(root: Path) -> None:
    put(root / "B" / "mixture.wav")


def noise(root: Path) -> None:
    (root / "B").mkdir()
    (root / "B" / "vocals.wav").write_bytes(b"noise")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (outside, "is a link to a place outside the dataset"),
        (another_rate, "sample rate is 48000 Hz, not 44100 Hz"),
        (two_rates, "its files have different sample rates [44100, 48000] Hz"),
        (no_stem, "has no .wav or .flac or .mp3 file of a stem"),
        (noise, "cannot be read"),
    ],
)
def test_a_song_that_is_left_out_is_named_with_the_reason(tmp_path, spoil, reason):
    put_song(tmp_path / "songs" / "A", vocals=0.1, bass=0.2)
    spoil(tmp_path / "songs")
    dataset = load("mine", tmp_path / "songs")
    assert [track.name for track in dataset.tracks] == ["A"]
    what, why = said(dataset)["B"]
    assert what == TRACK
    assert reason in why
    assert any(line.startswith("B: ") and "left out" in line for line in dataset.problems)


def test_the_rate_of_most_songs_counts_not_that_of_the_first(tmp_path):
    for name, rate in (("A", 48000), ("B", 44100), ("C", 44100)):
        put(tmp_path / name / "vocals.wav", rate=rate)
    dataset = load("mine", tmp_path)
    assert dataset.sample_rate == 44100
    assert [track.name for track in dataset.tracks] == ["B", "C"]
    assert said(dataset) == {"A": (TRACK, "sample rate is 48000 Hz, not 44100 Hz")}


def test_audio_that_is_not_read_is_named(tmp_path):
    put_song(tmp_path / "A", vocals=0.1, bass=0.2)
    for name in ("A/drums.m4a", "loose.wav", "A/cover.jpg", "A/notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert said(load("mine", tmp_path)) == {
        "A/drums.m4a": (FILE, "is not a .wav, .flac or .mp3 file"),
        "loose.wav": (FILE, "is not in the folder of a song"),
    }


def test_a_name_that_is_no_utf8_is_left_out_once(tmp_path):
    put_song(tmp_path / "A", vocals=0.1, bass=0.2)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).mkdir()
    assert said(load("mine", tmp_path)) == {"?": (TRACK, "its name is not UTF-8, rename it")}


def test_datasets_of_others_say_it_too(tmp_path):
    musdb_song(tmp_path / "hq", "A - B")
    (musdb_song(tmp_path / "hq", "C - D") / "mixture.wav").unlink()
    (musdb_song(tmp_path / "hq", "E - F", "train") / "vocals.wav").unlink()
    assert said(load("musdb18hq", tmp_path / "hq")) == {
        "C - D": (TRACK, "it has no mixture"),
        "E - F/vocals.wav": (FILE, "missing"),
    }
    moises_song(tmp_path / "moises", "0a", {"vocals": [{}]})
    (moises_song(tmp_path / "moises", "0b", {"vocals": [{}]}) / "data.json").write_text("[]")
    assert said(load("moisesdb", tmp_path / "moises")) == {
        "0b": (TRACK, "data.json is not a JSON object")
    }
    put(tmp_path / "mir1k" / "a_1_01.wav", rate=16000)
    (tmp_path / "mir1k" / "a_1_02.wav").touch()
    assert said(load("mir1k", tmp_path / "mir1k")) == {"a_1_02.wav": (TRACK, "empty")}


def test_only_what_the_split_lacks_is_said(tmp_path):
    for split in ("train", "test"):
        musdb_song(tmp_path, "A - B", split)
        (musdb_song(tmp_path, f"C - {split}", split) / "mixture.wav").unlink()

    def names(split):
        choice = DatasetChoice({"musdb18hq": tmp_path}, ["musdb18hq"], split)
        return [omission.name for omission in choose_datasets(choice, 1)[0].omitted]

    assert names("test") == ["C - test"]
    assert names("train") == ["C - train"]
    assert names("all") == ["C - train", "C - test"]


# --- files that end before the others ---


def cut(tmp_path: Path, seconds: float, keep: bool = False, file: str = "vocals") -> Dataset:
    """Two songs of 6 s, the first with one file that ends early."""
    stems = song_stems(0, 6.0)
    write_song(tmp_path / "songs" / "Ann - One", stems)
    write_song(tmp_path / "songs" / "Bob - Two", song_stems(1, 6.0))
    short = stems[file] if file in stems else sum(stems.values())
    write_song(tmp_path / "cut", {file: short[:, : round(8000 * seconds)]})
    (tmp_path / "cut" / f"{file}.wav").rename(tmp_path / "songs" / "Ann - One" / f"{file}.wav")
    fingerprints = Fingerprints(tmp_path / "fingerprints.jsonl")
    mine = load("mine", tmp_path / "songs")
    return examined(mine, fingerprints, tmp_path / "mixtures.jsonl", keep_unequal=keep)


@pytest.mark.parametrize("file", ["vocals", "mixture"])
def test_a_song_with_a_file_shorter_than_half_is_left_out_with_both_lengths(tmp_path, file):
    dataset = cut(tmp_path, 1.0, file=file)
    assert [track.name for track in dataset.tracks] == ["Bob - Two"]
    both = f"{file}.wav ends after 1.0 of 6.0 s"
    assert dataset.omitted == (Omission(TOO_SHORT, "Ann - One", "mine", "test", both),)
    assert dataset.problems == (f"Ann - One: {both}; left out, --keep-unequal keeps it",)


@pytest.mark.parametrize(("seconds", "keep"), [(1.0, True), (4.5, False)])
def test_a_song_that_is_scored_in_part_is_named_with_both_lengths(tmp_path, seconds, keep):
    dataset = cut(tmp_path, seconds, keep)
    (omission,) = dataset.omitted
    assert (omission.what, omission.name) == (IN_PART, "Ann - One")
    assert omission.detail == f"vocals.wav ends after {seconds} of 6.0 s"
    said = f"only the first {seconds} of 6.0 s are scored, vocals.wav ends there"
    assert [track.notes for track in dataset.tracks] == [(said,), ()]


def test_a_short_recording_of_moisesdb_is_no_puzzle(tmp_path):
    long = {"samples": 44100}
    moises_song(tmp_path, "0a", {"vocals": [long], "bass": [{"samples": 4410}]})
    moises_song(tmp_path, "0b", {"vocals": [long], "bass": [long]}, song="T")
    memory = tmp_path / "memory"
    dataset = examined(load("moisesdb", tmp_path), Fingerprints(memory / "f"), memory / "m")
    assert [track.name for track in dataset.tracks] == ["A - T"]
    (omission,) = dataset.omitted
    assert (omission.name, omission.detail) == ("A - S", "bass0.wav ends after 0.1 of 1.0 s")
