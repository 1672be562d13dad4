"""The stem tree and its names."""

import pytest

from harness.core import taxonomy
from harness.core.taxonomy import ALIASES, LEVELS, PARENTS, STEMS, TREE

NODES = {*TREE, *PARENTS}


def test_every_node_but_the_root_has_one_parent_and_a_place_in_the_display():
    children = [child for below in TREE.values() for child in below]
    assert len(children) == len(set(children))
    assert {*STEMS} == NODES - {"mixture"}
    assert len(STEMS) == len(set(STEMS))


def test_the_four_classical_stems_come_first():
    assert STEMS[:4] == ("vocals", "drums", "bass", "other")


@pytest.mark.parametrize(
    ("level", "whole"),
    [
        ("four stems", "mixture"),
        ("two stems", "mixture"),
        ("six stems", "mixture"),
        ("instruments", "other"),
        ("voices", "vocals"),
        ("singers", "vocals"),
        ("drum kit", "drums"),
        ("drum kit, four pieces", "drums"),
    ],
)
def test_the_stems_of_a_level_sum_to_its_whole(level, whole):
    assert sorted(taxonomy.parts(whole, LEVELS[level])) == sorted(LEVELS[level])


def test_other_names_are_no_names_of_stems():
    assert not ALIASES.keys() & NODES
    assert {*ALIASES.values()} <= NODES


@pytest.mark.parametrize(
    ("name", "stem"),
    [("Hi-Hat", "hihat"), ("No Vocals", "accompaniment"), ("bombo", "kick"), ("X y", "x_y")],
)
def test_stems_are_known_under_names_of_other_tools(name, stem):
    assert taxonomy.canonical(name) == stem


def test_ancestors_are_nearest_first():
    assert taxonomy.ancestors("hihat") == ("hihat_cymbals", "drums", "accompaniment", "mixture")
    assert taxonomy.ancestors("theremin") == ()


@pytest.mark.parametrize(
    ("stem", "source"), [("bass", "mixture"), ("snare", "drums"), ("lead_male", "vocals")]
)
def test_a_part_is_separated_from_its_whole(stem, source):
    assert taxonomy.parent_level(stem) == source


def test_unknown_stems_come_last():
    stems = ["snare", "theremin", "bass", "accordion", "vocals"]
    assert taxonomy.in_order(stems) == ["vocals", "bass", "snare", "accordion", "theremin"]


def test_a_stem_that_has_no_level_is_scored_alone():
    assert taxonomy.level_of("vocals", {"vocals"}) == ("vocals",)
    two = {"vocals", "accompaniment"}
    assert taxonomy.level_of("accompaniment", two) == ("vocals", "accompaniment")


def test_the_rest_of_six_stems_is_not_the_rest_of_four():
    assert taxonomy.parts("other", {"guitar", "piano", "other_rest"}) == (
        "guitar",
        "piano",
        "other_rest",
    )
    assert taxonomy.parts("other", {"guitar", "piano"}) is None
