"""A run takes the place of another only if it holds all of it, or if that is asked for."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import HarnessError
from harness.core.files import check_folder_name, folded
from harness.results.replacing import check_name, check_place


def record(tracks="ab", separators=("nmf",), content="1", family="nmf", **about: Any) -> dict:
    """Return the part of a record that says what a run was made of."""
    return {
        "separators": {name: {"family": family, "input": "mixture"} for name in separators},
        "datasets": {"mine": {"folder": "/songs"}},
        "excerpt_seconds": None,
        "estimates": "/A/test" if family == "files" else "",
        "units": [
            {
                **{"separator": name, "dataset": "mine", "split": "test", "track": track},
                **{"track_key": f"{track}{content}", "key": f"{name}{track}{content}"},
            }
            for name in separators
            for track in tracks
        ],
        **about,
    }


def put(results: Path, name: str, old: Any) -> None:
    (results / name).mkdir(parents=True)
    (results / name / "run.json").write_text(json.dumps(old))


ELSEWHERE = {"mine": {"folder": "/others"}}
DRUMS = {"nmf": {"family": "nmf", "input": "drums"}}


RENAMED = {
    "separators": {"mine": DRUMS["nmf"] | {"input": "mixture"}},
    "units": [unit | {"separator": "mine"} for unit in record()["units"]],
}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (record(), record(), ""),
        (record("ab"), record("abc", ["nmf", "hpss"]), ""),
        (record(), record(content="2"), ""),  # songs that were mended
        (record(), record(datasets=ELSEWHERE), ""),  # the same songs in another place
        (record(), record() | RENAMED, ""),
        (record(), record("a"), r"1 result that would be lost \(nmf on 'b' of mine:test"),
        (record("a", ["nmf", "hpss"]), record("a"), "lost .hpss on 'a' of mine:test"),
        (record(), record(content="2") | {"separators": DRUMS}, "2 results that would be lost"),
        (record(), record(content="2", datasets=ELSEWHERE), "has scores on mine in /songs;"),
        (record(), record(excerpt_seconds=10.0), "has scores of the whole of each track"),
        (record(excerpt_seconds=10.0), record(), "has scores of the middle 10 s of each track"),
        (record(family="files"), record(), "has a run of estimates"),
        (record(), record(family="files"), "has a run of separators"),
        (record(family="files"), record(family="files", content="2"), ""),  # made again
        (record(family="files"), record(family="files", estimates="/moved/test"), ""),
        (
            record(family="files"),
            record(family="files", content="2", estimates="/B/test"),
            r"has scores of the estimates in /A/test; choose another --name, such as b_test, or",
        ),
        ({"units": [7]}, record(), ""),  # not as we write it
    ],
)
def test_a_run_takes_the_place_of_one_that_it_holds(tmp_path, old, new, said):
    put(tmp_path, "test", old)
    check_place(tmp_path, "other", new)
    check_place(tmp_path, "test", new, force=True)
    if not said:
        check_place(tmp_path, "test", new)
        return
    with pytest.raises(HarnessError, match=said) as caught:
        check_place(tmp_path, "test", new)
    assert str(caught.value).endswith("or replace it with --force")


def test_the_suggested_name_is_free(tmp_path):
    for name in ("main", "Main_2", "main_3"):
        (tmp_path / name).mkdir()
    (tmp_path / "main" / "run.json").write_text(json.dumps(record()))
    with pytest.raises(HarnessError, match="such as main_4, or"):
        check_place(tmp_path, "main", record("a"))


@pytest.mark.parametrize("there", ["main", "MAIN", "main.", "main ", "main. ."])
def test_names_that_some_file_system_takes_for_one_are_one(tmp_path, there):
    put(tmp_path, there, record())
    for force in (False, True):
        with pytest.raises(HarnessError, match="some file systems take the two names for one"):
            check_place(tmp_path, "Main", record(), force=force)


def test_unicode_forms_and_cases_fold():
    name = "Måns – Straße"
    forms = {unicodedata.normalize(form, name) for form in ("NFC", "NFD")}
    assert len(forms) == 2
    assert len({folded(form) for form in (*forms, name.upper(), f"{name}. ")}) == 1
    assert folded("main2") != folded("main")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("con", "Windows has no such folder"),
        ("NUL.v2", "Windows has no such folder"),
        ("com1", "Windows has no such folder"),
        ("Work", "finished work is kept there"),
        ("a.", "not a valid name"),
        ("a ", "not a valid name"),
        (".a", "not a valid name"),
        ("../a", "not a valid name"),
        ("a/b", "not a valid name"),
        ("é", "not a valid name"),
        ("", "not a valid name"),
        ("a\n", "not a valid name"),
        ("a" * 101, "at most 100"),
    ],
)
def test_names_that_no_folder_can_have_everywhere_are_refused(name, said):
    with pytest.raises(HarnessError, match=said):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "main", "reproduce-nmf", "v1.2+x", "console", "a" * 100])
def test_other_names_are_taken(name):
    assert check_name(name) == check_folder_name(name, "recipe") == name
