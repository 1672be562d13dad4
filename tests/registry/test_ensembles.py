"""Ensembles: what follows from their members, and which are refused."""

import pytest

from harness import registry
from harness.core.errors import HarnessError
from harness.registry import Entry
from harness.registry.entries import License


def row(name: str, **fields) -> Entry:
    return Entry(name=name, family="nmf", **fields)


A = row("a", stems=("vocals", "drums"), trained_on=("musdb18:train",))
B = row("b", stems=("vocals", "accompaniment"), license=License(code="GPL", weights="CC BY"))
KIT = row("kit", input="drums", stems=("kick", "snare"))
ENTRIES = {entry.name: entry for entry in (A, B, KIT)}


def made(stems, entries=ENTRIES, **params) -> Entry:
    return registry.ensemble("mine", {"stems": stems, **params}, entries)


def test_fields_follow_from_the_members():
    mine = made({"drums": {"a": 1}, "vocals": {"a": 0.25, "b": 0.75}}, chosen_on=["demo:test"])
    assert [member.name for member in mine.members] == ["a", "b"]
    assert mine.stems == ("vocals", "drums")
    assert mine.trained_on == ("musdb18:train", "demo:test")
    assert mine.license == License(code="MIT, GPL", weights="CC BY")


def test_a_member_without_weight_is_none():
    assert made({"vocals": {"a": 1, "b": 0}}).members == (A,)


def test_unknown_training_data_of_one_member_is_unknown():
    entries = {**ENTRIES, "a": A.model_copy(update={"trained_on": None})}
    assert made({"vocals": {"a": 1}}, entries).trained_on is None


def test_an_ensemble_runs_only_if_its_members_do():
    entries = {**ENTRIES, "b": B.model_copy(update={"unavailable": "it is gone"})}
    assert made({"vocals": {"a": 0.5, "b": 0.5}}, entries).unavailable == "b: it is gone"


def test_a_member_may_separate_a_stem_that_the_ensemble_makes():
    assert made({"drums": {"a": 1}, "kick": {"kit": 1}}).stems == ("drums", "kick")


@pytest.mark.parametrize(
    ("stems", "params", "message"),
    [
        ({}, {}, "has no stems; give"),
        ({"vocals": {"a": 0.5}}, {}, "weights of vocals sum to 0.5; they must sum to 1"),
        ({"vocals": {"c": 1}}, {}, "no separator 'c'; known: a, b, kit"),
        ({"bass": {"a": 1}}, {}, "a has no bass, only vocals, drums; correct the stem"),
        ({"kick": {"kit": 1}}, {}, "kit separates drums, which no member returns; add drums"),
        ({"vocals": {"a": 1}}, {"consistent": True}, "vocals do not sum to the mixture; add stems"),
        ({"vocals": {"a": [0.5, 0.5, 1]}}, {"edges": [400]}, "are for 3 bands, but the edges make"),
        ({"vocals": {"a": 1}}, {"edges": [400, 200]}, "are not in increasing order; sort them"),
        ({"vocals": {"a": 0.2, "b": 0.8}}, {"how": "median"}, "median has no weights; make them"),
    ],
)
def test_impossible_ensembles_are_refused(stems, params, message):
    with pytest.raises(HarnessError, match=message.replace("'", ".")):
        made(stems, **params)


def test_weights_that_are_equal_in_all_bands_are_one_number():
    mine = made({"vocals": {"a": [0.5, 0.5], "b": [0.5, 0.5]}}, edges=[400])
    assert mine.blend.stems["vocals"] == {"a": 0.5, "b": 0.5}


def test_the_identity_follows_the_members():
    weights = {"vocals": {"a": 0.5, "b": 0.5}}
    other = {**ENTRIES, "a": A.model_copy(update={"params": {"seed": 1}})}
    assert made(weights).identity() != made(weights, other).identity()
    assert made(weights).identity() == made(weights, tracks=3).identity()


def test_saved_ensembles_are_described():
    mine = made({"vocals": {"a": [1, 0], "b": [0, 1]}, "drums": {"a": 1}}, edges=[400])
    assert registry.describe_saved(mine) == "saved: mine, vocals: 1/0 a + 0/1 b; drums: a"
