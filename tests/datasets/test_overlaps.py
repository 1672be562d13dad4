from pathlib import Path

import pytest

from harness.datasets import load
from harness.datasets.musdb_songs import songs
from harness.datasets.overlaps import collections, in_split, leak, normal
from harness.datasets.tracks import Track


def song(dataset: str, name: str, split: str = "test") -> Track:
    return Track(dataset, name, name.partition(" - ")[0], split, (), {})


DSD100 = [song("dsd100", s.track, s.dsd100_split) for s in songs().values() if s.dsd100_id]
MUSDB18 = [song("musdb18hq", s.track, s.split) for s in songs().values()]
OTHERS = "Nobody - Nothing"


@pytest.mark.parametrize("split", ["train", "test"])
def test_27_of_50_songs_of_each_half_of_dsd100_train_musdb18(split: str) -> None:
    half = [track for track in DSD100 if track.split == split]
    verdicts = [leak(["musdb18:train"], track) for track in half]
    assert (len(half), verdicts.count("leaked"), verdicts.count("clean")) == (50, 27, 23)


def test_all_that_is_left_of_dsd100_is_in_the_test_half_of_musdb18() -> None:
    left = [track for track in DSD100 if leak(["musdb18hq:train"], track) == "clean"]
    assert len(left) == 46
    assert all("musdb18:test" in collections(track) for track in left)


def test_trained_on_dsd100_and_scored_on_musdb18() -> None:
    test = [track for track in MUSDB18 if track.split == "test"]
    assert sum(leak(["dsd100:dev"], track) == "leaked" for track in test) == 23
    assert sum(leak(["dsd100"], track) == "leaked" for track in test) == 46


def test_medleydb_holds_46_songs_of_musdb18() -> None:
    assert sum(leak(["medleydb"], track) == "leaked" for track in MUSDB18) == 46


def test_the_table_wins_over_the_folder(shared_data: Path) -> None:
    tracks = load("musdb18hq", shared_data / "musdb18hq").tracks
    hendrix = next(t for t in tracks if "Hendrix" in t.name)
    assert hendrix.split == "test"
    assert collections(hendrix) == {"musdb18:test", "musdb18:train", "medleydb"}
    assert leak(["musdb18:train"], hendrix) == "leaked"


def test_songs_of_musdb18_are_known_in_a_folder_of_ones_own() -> None:
    copy = song("mysongs", "AM CONTRA - heart peripheral")
    assert collections(copy) == {"mysongs:test", "musdb18:test", "dsd100:train"}
    assert leak(["musdb18"], copy) == "leaked"


@pytest.mark.parametrize(
    ("trained_on", "track", "verdict"),
    [
        (None, song("moisesdb", OTHERS), "unknown"),
        ([], song("moisesdb", OTHERS), "clean"),
        (["moisesdb"], song("moisesdb", OTHERS), "leaked"),
        (["MUSDB18-HQ:train"], song("moisesdb", OTHERS), "clean"),
        (["musdb18:train"], song("musdb18", OTHERS, "test"), "clean"),
        (["musdb18:train"], song("musdb18", OTHERS, "train"), "leaked"),
        (["musdb18"], song("musdb18hq", OTHERS, "test"), "leaked"),
        (["demo:train"], song("demo", OTHERS, "test"), "clean"),
        (["demo:train"], song("demo", OTHERS, "train"), "leaked"),
        (["private"], song("moisesdb", OTHERS), "unknown"),
        (["private"], song("demo", OTHERS), "clean"),
        (["musdb18:train", "private"], song("musdb18hq", OTHERS, "test"), "clean"),
        (["musdb18:train", "private"], song("moisesdb", OTHERS), "unknown"),
        (["musdb18:train", "private"], song("musdb18hq", OTHERS, "train"), "leaked"),
        (["private", "not musdb18"], song("musdb18hq", OTHERS, "test"), "clean"),
        (["private", "not musdb18"], song("mysongs", "AM CONTRA - heart peripheral"), "clean"),
        (["private", "not musdb18"], song("moisesdb", OTHERS), "unknown"),
        (["private", "not musdb18:test"], song("musdb18hq", OTHERS, "train"), "unknown"),
        (["musdb18:train", "not musdb18"], song("musdb18hq", OTHERS, "train"), "leaked"),
        (["musdb18 plus extra", "not musdb18"], song("musdb18hq", OTHERS, "test"), "unknown"),
        (["private", "not all of musdb18"], song("musdb18hq", OTHERS, "test"), "unknown"),
        (["musdb18:valid"], song("musdb18hq", "Meaxic - Take A Step", "train"), "leaked"),
    ],
)
def test_leak(trained_on: list[str] | None, track: Track, verdict: str) -> None:
    assert leak(trained_on, track) == verdict


TRAIN, TEST = (
    song("musdb18hq", name, split)
    for name, split in [("Meaxic - Take A Step", "train"), ("AM Contra - Heart Peripheral", "test")]
)


@pytest.mark.parametrize(
    ("said", "train", "test", "moisesdb", "demo"),
    [
        ("musdb18:all", "leaked", "leaked", "clean", "clean"),
        ("musdb18:training", "leaked", "clean", "clean", "clean"),
        ("MUSDB18:train", "leaked", "clean", "clean", "clean"),
        ("musdb:train", "leaked", "clean", "clean", "clean"),
        ("musdb18 train", "leaked", "clean", "clean", "clean"),
        ("musdb18/train", "leaked", "clean", "clean", "clean"),
        ("musdb18_train", "leaked", "clean", "clean", "clean"),
        ("musdbhq:train", "leaked", "clean", "clean", "clean"),
        ("musdb 18 hq (train)", "leaked", "clean", "clean", "clean"),
        ("the MUSDB18 training set", "leaked", "clean", "clean", "clean"),
        ("musdb18:testing", "clean", "leaked", "clean", "clean"),
        ("musdb18:eval", "clean", "leaked", "clean", "clean"),
        ("musdb18:validation", "leaked", "clean", "clean", "clean"),
        ("musdb18:dev", "leaked", "clean", "clean", "clean"),
        ("SiSEC 2018:test", "clean", "leaked", "clean", "clean"),
        ("DSD 100", "clean", "leaked", "clean", "clean"),
        ("dsd100:valid", "clean", "unknown", "clean", "clean"),
        ("musdb18:foo", "unknown", "unknown", "unknown", "clean"),
        ("musdb18 plus extra", "unknown", "unknown", "unknown", "clean"),
        ("musdb18:train+test", "unknown", "unknown", "unknown", "clean"),
        ("musbd18:train", "unknown", "unknown", "unknown", "clean"),
        ("musdb18:trian", "unknown", "unknown", "unknown", "clean"),
        ("MUSDB-XL", "unknown", "unknown", "unknown", "clean"),
        ("SiSEC", "unknown", "unknown", "unknown", "clean"),
        ("medleydb:train", "unknown", "clean", "clean", "clean"),
        ("moisesdb:train", "clean", "clean", "unknown", "clean"),
        ("MoisesDB test", "clean", "clean", "leaked", "clean"),
        ("demo:all", "clean", "clean", "clean", "leaked"),
        ("Demo/Training", "clean", "clean", "clean", "leaked"),
        ("demo:valid", "clean", "clean", "clean", "unknown"),
        ("demos:train", "unknown", "unknown", "unknown", "unknown"),
        ("slakh:train", "clean", "clean", "clean", "clean"),
        ("ccMixter", "unknown", "unknown", "unknown", "clean"),
        ("internal dataset of Deezer", "unknown", "unknown", "unknown", "clean"),
    ],
)
def test_what_is_not_understood_is_never_clean(said, train, test, moisesdb, demo):
    tracks = TRAIN, TEST, song("moisesdb", OTHERS), song("demo", OTHERS, "train")
    assert [leak([said], track) for track in tracks] == [train, test, moisesdb, demo]


def test_a_held_out_half_is_not_sure_if_more_of_the_collection_was_used():
    assert leak(["musdb18:train", "private"], TEST) == "clean"
    assert leak(["musdb18:train", "musdb18 plus extra"], TEST) == "unknown"
    assert leak(["musdb18:train", "musdb18 plus extra"], TRAIN) == "leaked"
    assert leak(["musdb18:train", "moisesdb:train"], TEST) == "clean"


@pytest.mark.parametrize("name", ["musdb18_mine", "musdb18_train", "demo_all", "demos", "songs"])
def test_a_dataset_of_ones_own_may_have_any_name(name):
    verdicts = [leak([said], song(name, OTHERS)) for said in (name, f"{name}:test", f"{name}:all")]
    assert verdicts[:2] == ["leaked", "leaked"]
    assert "clean" not in verdicts
    assert leak([f"{name}:foo"], song(name, OTHERS)) == "unknown"


def test_validation_songs_are_14_of_the_training_songs() -> None:
    valid = [track for track in MUSDB18 if in_split(track, "valid")]
    assert len(valid) == 14
    assert all(in_split(track, "train") for track in valid)
    assert not in_split(song("moisesdb", "Meaxic - Take A Step"), "valid")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("MUSDB18-HQ:train", "musdb18:train"),
        ("dsd100:Dev", "dsd100:train"),
        ("MoisesDB", "moisesdb"),
        ("moisesdb:test", "moisesdb"),
        ("Internal dataset", "internal dataset"),
    ],
)
def test_collections_have_one_spelling(entry, expected):
    assert normal(entry) == expected
