"""Names of datasets and splits, in every place that takes them."""

import pytest
from conftest import song_stems, write_song

from harness import registry
from harness.cli.arguments import parse_split, parse_trained_on
from harness.core.errors import HarnessError
from harness.datasets import DATASETS
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.registry.dataset_names import DATASET_NAMES, dataset_name, read_split, split_name

MISSPELLED = {
    "musdb118:train": "musdb18:train",
    "musbd18:train": "musdb18:train",
    "MUSDB19-HQ": "musdb18hq",
    "musdb18:trian": "musdb18:train",
    "musdb18hq tset": "musdb18hq:test",
    "moisedb": "moisesdb",
    "medlydb": "medleydb",
    "dsd10:dev": "dsd100:train",
    "demos:train": "demo:train",
}


@pytest.mark.parametrize(
    ("text", "standard"),
    [
        ("musdb18", "musdb18"),
        ("musdb18:all", "musdb18"),
        ("MUSDB18:train", "musdb18:train"),
        ("musdb18:training", "musdb18:train"),
        ("musdb18 train", "musdb18:train"),
        ("musdb18/train", "musdb18:train"),
        ("musdb18-train", "musdb18:train"),
        ("musdb18_train", "musdb18:train"),
        (" MusDB 18 : Training ", "musdb18:train"),
        ("the MUSDB18 training set", "musdb18:train"),
        ("musdb:testing", "musdb18:test"),
        ("musdb18_7s:eval", "musdb18:test"),
        ("musdb18:validation", "musdb18:valid"),
        ("MUSDB18-HQ", "musdb18hq"),
        ("musdb18_hq (test)", "musdb18hq:test"),
        ("musdbhq/train", "musdb18hq:train"),
        ("SiSEC 2018:test", "musdb18:test"),
        ("SiSEC16 test", "dsd100:test"),
        ("dsd100:Dev", "dsd100:train"),
        ("musdb18:dev", "musdb18:train"),
        ("slakh:dev", "slakh2100:valid"),
        ("DSD 100", "dsd100"),
        ("MedleyDB", "medleydb"),
        ("Moises", "moisesdb"),
        ("MoisesDB all", "moisesdb"),
        ("MIR-1K:test", "mir1k:test"),
        ("ccMixter", "ccmixter"),
        ("Demo/Training", "demo:train"),
    ],
)
def test_known_datasets_have_many_spellings_and_one_standard_one(text, standard):
    found = read_split(text)
    assert (str(found), found.clear, found.meant) == (standard, True, "")


@pytest.mark.parametrize("text", ["private", "internal dataset of Deezer", "songs:test", "a", "-"])
def test_names_of_other_music_are_kept(text):
    found = read_split(text)
    assert (str(found), found.clear, found.meant) == (text, True, "")


@pytest.mark.parametrize(
    "text",
    ["musdb18:foo", "musdb18 plus extra", "musdb18+private", "musdb18:train+test", "MUSDB-XL",
     "songs of musdb18", "SiSEC", "MSD100", "Mixing Secrets", "MoisesDB without jazz"],
)  # fmt: skip
def test_what_is_said_of_a_known_dataset_in_other_words_is_not_clear(text):
    found = read_split(text)
    assert (str(found), found.clear, found.meant) == (text, False, "")


def test_not_says_that_nothing_of_a_known_dataset_was_used():
    assert str(read_split("Not MUSDB18-HQ / training")) == "not musdb18hq:train"
    assert read_split("not musdb18").excluded
    assert read_split("not musbd18").problem.endswith("did you mean 'not musdb18'?")
    for text in (
        "not foo",
        "not musdb18:foo",
        "not moisesdb:train",
        "not all of musdb18",
        "not not musdb18",
    ):
        found = read_split(text)
        assert (found.clear, found.excluded) == (False, False)


def test_datasets_without_splits_are_known():
    exists = {text: read_split(text).exists for text in ("moisesdb:test", "moisesdb:train")}
    assert exists == {"moisesdb:test": True, "moisesdb:train": False}
    assert read_split("moisesdb:test").whole
    assert not read_split("musdb18:test").whole
    assert read_split("songs:valid").exists


def test_every_dataset_with_a_reader_has_a_name():
    assert {*DATASETS} - {"folder"} <= DATASET_NAMES
    assert dataset_name("MUSDB18-HQ") == "musdb18hq"
    assert dataset_name("My Songs") == "my songs"


def test_names_of_splits():
    assert [split_name(word) for word in ("Training", "eval", "dev", "all", "foo")] == [
        "train", "test", "valid", "", None,
    ]  # fmt: skip
    assert split_name("dev", "dsd100") == "train"


@pytest.mark.parametrize("text", MISSPELLED)
def test_a_misspelled_name_is_an_error_everywhere(tmp_path, text):
    hint = f"no dataset or split {text!r}; did you mean {MISSPELLED[text]!r}?"
    own, chosen = tmp_path / "own.yaml", f"stems: {{vocals: {{hpss: 1}}}}, chosen_on: ['{text}']"
    rows = {
        "trained_on": f"mine: {{extends: nmf, trained_on: ['demo:train', '{text}']}}",
        "params.chosen_on": f"mine: {{family: ensemble, role: ensemble, params: {{{chosen}}}}}",
        "published": f"mine: {{extends: nmf, published: [{{metric: csdr, dataset: '{text}', "
        "source: a, scores: {vocals: 1}}]}",
    }
    for key, row in rows.items():
        own.write_text(row)
        with pytest.raises(HarnessError) as error:
            registry.load(own)
        assert str(error.value).startswith(f"{own}: mine: {key}.")
        assert str(error.value).endswith(hint)
    with pytest.raises(HarnessError) as error:
        parse_trained_on(["musdb18:train", text])
    assert str(error.value) == f"--trained-on: {hint}"
    with pytest.raises(HarnessError) as error:
        parse_split(text)
    assert str(error.value) == f"--data-split: {hint}"


def test_rows_and_options_have_the_standard_spelling(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "net: {extends: nmf, trained_on: ['MUSDB18-HQ train', 'internal dataset of Deezer'],"
        " published: [{metric: csdr, dataset: MUSDB18-HQ/eval, source: a, scores: {vocals: 1}}]}\n"
        "both: {family: ensemble, role: ensemble, params: {stems: {vocals: {net: 1}},"
        " chosen_on: ['musdbhq:training', 'DSD100 Dev']}}\n"
    )
    entries = registry.load(own)
    trained_on = ("musdb18hq:train", "internal dataset of Deezer")
    assert entries["net"].trained_on == trained_on
    assert entries["net"].published[0].dataset == "musdb18hq:test"
    assert entries["both"].blend.chosen_on == ("musdb18hq:train", "dsd100:train")
    assert entries["both"].trained_on == (*trained_on, "dsd100:train")
    assert parse_trained_on(["musdb/train"]) == ("musdb18:train",)
    assert parse_split("MUSDB18-HQ:testing") == ("musdb18hq", "test")
    assert parse_split("musdb18:all") == ("musdb18", "")
    assert parse_split("mysongs:live") == ("mysongs", "live")
    with pytest.raises(HarnessError, match="musdb18 has no split 'foo'"):
        parse_split("musdb18:foo")


def test_split_option_has_aliases_and_suggestions(tmp_path):
    for split, seed in (("train", 1), ("test", 2)):
        stems = song_stems(seed, seconds=1.0)
        write_song(tmp_path / split / f"A{seed} - Song", stems, rate=44100)
    for word, splits in {
        "Training": {"train"},
        "EVAL": {"test"},
        "full": {"train", "test"},
    }.items():
        found = choose_datasets(DatasetChoice({"musdb18hq": tmp_path}, split=word), 1)
        assert {track.split for track in found[0].tracks} == splits
    with pytest.raises(HarnessError, match="--split trian: unknown split; did you mean 'train'"):
        choose_datasets(DatasetChoice({}, ["demo"], "trian"), 1)


def test_a_dataset_with_another_name_is_suggested():
    with pytest.raises(HarnessError, match="dataset MUSDB18-HQ: not known; did you mean 'musdb18h"):
        choose_datasets(DatasetChoice({}, ["MUSDB18-HQ"]), 1)
