"""What a run lacks, in one line per dataset and kind."""

from dataclasses import asdict

from harness.datasets.tracks import Omission
from harness.results.omitted import lacks, recorded

FOUND = (
    Omission("is empty", "A", "songs"),
    Omission("is a link", "B", "songs"),
    Omission("is empty", "C", "songs", detail="0 bytes"),
    Omission("is empty", "C", "songs", detail="0 bytes"),
    Omission("has no weights", "net", what="separator not run"),
)


def test_equal_reasons_are_said_together_and_counted():
    assert [lack.line(10) for lack in lacks(FOUND)] == [
        "songs: 3 tracks left out: is empty (A, C: 0 bytes); is a link (B)",
        "1 separator not run: has no weights (net)",
    ]


def test_many_names_and_reasons_are_cut_and_the_rest_counted():
    many = [Omission("is empty", f"t{i}", "songs") for i in range(2000)]
    assert lacks(many)[0].line(2) == (
        "songs: 2,000 tracks left out: is empty (t0, t1, and 1998 more)"
    )
    many = [Omission(f"reason {i}", "t", "songs") for i in range(4)]
    assert lacks(many)[0].line(3).endswith("; reason 2 (t); and 1 more")


def test_a_record_gives_back_what_it_was_made_of():
    assert recorded({"omitted": [asdict(omission) for omission in FOUND]}) == FOUND
    assert recorded({}) == ()
    assert recorded({"omitted": [{"name": "x", "more": 1}]}) == (Omission("", "x", what=""),)
