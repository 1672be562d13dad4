"""What the first screen says of tables whose answer is known."""

import dataclasses
import re

import numpy as np
import pytest
from support.synthetic_run import demo_report, empty_run, row, rows_table

from harness.report.computed import make_report
from harness.report.page import story
from harness.report.page.index_page import render
from harness.results.runs import Run

NINE = {f"t{i}": f"artist {i}" for i in range(9)}  # track: artist
FIVE = {f"t{i}": f"artist {i % 5}" for i in range(8)}
EASY = (0.0, 1.0, -1.0, 0.5, -0.5, 0.2, -0.2, 0.1, -0.1)  # a mean of zero over nine tracks


def songs(means, tracks=NINE, stem="vocals"):
    """Rows of one stem: every separator has its mean plus what a track adds for all of them."""
    return [
        row(
            name,
            track,
            stem,
            metric,
            mean + EASY[i] + 0.01 * i * (name in ("next", "weak")),
            artist=artist,
        )
        for name, mean in means.items()
        for i, (track, artist) in enumerate(tracks.items())
        for metric in ("snr", "sdr")
    ]


def told(rows, *, leaked=(), failed=(), stat="mean"):
    """The report of these rows: what is first, and the sentences."""
    names = {r["separator"] for r in rows}
    record = {
        "separators": {n: {"role": "anchor" if n == "mixture" else "separator"} for n in names},
        "datasets": {"demo": {}},
        "metrics": {"snr": {"unit": "dB"}},
        "leaks": [
            {"separator": n, "dataset": "demo", "split": "test", "track": t, "status": "leaked"}
            for n, t in leaked
        ],
    }
    lost = [row(n, t, "", "", np.nan, status="failed", note="why") for n, t in failed]
    run = Run(**{**vars(empty_run(**record)), "scores": rows_table([*rows, *lost])})
    report = make_report(run)
    found = story.first_places(report, "demo", "snr", stat)
    return found, story.of_dataset(report, "demo", "snr")


def test_a_clear_winner_is_named_with_its_score():
    found, sentences = told(songs({"best": 6.0, "next": 2.0, "mixture": -5.0}))
    assert sentences == ["On 9 songs by 9 artists, best is the best for vocals (6.0 dB)."]
    assert found[0].winners == ("best",)
    assert found[0].gain == pytest.approx(11, abs=0.1)
    card = story.card(found[0], "dB")
    assert card.sure.endswith("significantly better than all others")
    assert card.fragile == "first whatever songs are left out"
    assert card.below == 0
    assert "over the mixture" in card.gain


def test_a_separator_that_could_be_as_good_is_named_too():
    rows = songs({"one": 6.0, "other": 2.0, "mixture": -5.0})
    near = [(6.0 + d + EASY[i]) for i, d in enumerate((1, -1.1, 1, -1.1, 1, -1.1, 1, -1.1, 0.2))]
    rows += [
        row("close", track, "vocals", metric, near[i], artist=artist)
        for i, (track, artist) in enumerate(NINE.items())
        for metric in ("snr", "sdr")
    ]
    found, sentences = told(rows)
    assert sentences == [
        "On 9 songs by 9 artists, one is the best for vocals (6.0 dB, could be close too)."
    ]
    assert "not significantly better than close" in story.card(found[0], "dB").sure


def test_equal_separators_are_equally_good():
    found, sentences = told(songs({"a": 6.0, "b": 6.0, "c": 1.0}))
    assert sentences == ["On 9 songs by 9 artists, a and b are equally good for vocals (6.0 dB)."]
    assert (found[0].winners, found[0].fragile) == (("a", "b"), None)
    assert story.card(found[0], "dB").winner == "a and b"


@pytest.mark.parametrize(("floor", "word"), [(-9.0, "worse than"), (-10.0, "no better than")])
def test_below_the_mixture_nothing_is_best(floor, word):
    rows = songs({"good": 6.0, "weak": 3.0, "mixture": -5.0})
    rows += songs({"good": -10.0, "weak": -12.0, "mixture": floor}, stem="bass")
    found, sentences = told(rows)
    assert sentences[0].endswith("for vocals (6.0 dB) and all stems together (−2.0 dB).")
    assert sentences[1:] == [
        f"No separator makes usable bass here: the best is {word} doing nothing (bass: good "
        f"−10.00 dB, the mixture itself {floor:.2f} dB).".replace(" -", " −")
    ]
    card = story.card(found[1], "dB")
    assert card.below == 1
    over = {-9.0: "worse than doing nothing: −1.00", -10.0: "0.00"}[floor]
    assert card.gain == f"{over} dB over the mixture"


def test_all_below_the_mixture():
    _, sentences = told(songs({"a": 1.0, "b": 0.5, "mixture": 6.0}))
    assert len(sentences) == 1
    assert sentences[0].startswith("No separator makes usable vocals here")


def test_few_artists_are_preliminary():
    for tracks, start in (
        (FIVE, "On 8 songs by 5 artists"),
        ({"t0": "x"}, "On 1 song by 1 artist"),
    ):
        found, sentences = told(songs({"best": 6.0, "next": 2.0, "mixture": -5.0}, tracks))
        assert sentences[0].startswith(f"{start}, best is the best for vocals")
        assert "This is preliminary: songs by fewer than 6 artists" in sentences[1]
        n = len(set(tracks.values()))
        assert story.card(found[0], "dB").sure == f"preliminary: {n} artist{'s' * (n > 1)}"


def test_a_leaked_separator_is_not_called_best():
    rows = songs({"seen": 12.0, "best": 6.0, "next": 2.0, "mixture": -5.0})
    _, sentences = told(rows, leaked=[("seen", t) for t in NINE])
    assert sentences == [
        "On 9 songs by 9 artists, best is the best for vocals (6.0 dB).",
        "seen was trained on these songs and therefore not ranked.",
    ]
    _, sentences = told(rows, leaked=[("seen", "t0")])
    assert sentences[-1] == "Songs that seen was trained on do not count."


def test_if_all_are_leaked_nothing_is_ranked():
    found, sentences = told(
        songs({"seen": 6.0, "mixture": 0.0}), leaked=[("seen", t) for t in NINE]
    )
    assert sentences[0] == (
        "Nothing is ranked for vocals: every separator was trained on all these songs."
    )
    assert story.card(found[0], "dB").sure == "every separator was trained on these songs"


def test_a_stem_that_nothing_gives_is_named():
    rows = songs({"best": 6.0, "next": 2.0, "mixture": -5.0})
    rows += songs({"mixture": -9.0}, stem="bass")
    _, sentences = told(rows)
    assert sentences[1:] == ["No separator here gives bass."]


def test_a_failed_separator_is_named():
    rows = songs({"best": 6.0, "next": 2.0, "mixture": -5.0})
    _, sentences = told(rows, failed=[("broken", t) for t in NINE] + [("next2", "t1")])
    assert sentences[-1] == "broken failed on every song and next2 failed on 1 of 9 songs."


def test_a_single_separator_is_no_winner():
    found, sentences = told(songs({"alone": 6.0, "mixture": -5.0}))
    assert "alone is the only separator compared for vocals (6.0 dB)" in sentences[0]
    assert story.card(found[0], "dB").fragile == ""


def test_the_median_has_a_card_of_its_own():
    rows = songs({"mean": 0.0, "median": 0.0, "mixture": -9.0})
    for r in rows:
        if r["separator"] == "mean":
            r["value"] = 20.0 if r["track"] in ("t0", "t1") else 1.0
        if r["separator"] == "median":
            r["value"] = 3.0
    assert told(rows)[0][0].winners == ("mean",)
    found = told(rows, stat="median")[0][0]
    assert (found.winners, found.score, found.fragile) == (("median",), 3.0, None)


def test_without_the_mixture_nothing_is_said_of_it():
    found, sentences = told(songs({"best": -6.0, "next": -16.0}))
    assert sentences[0].endswith("best is the best for vocals (−6.0 dB).")
    assert story.card(found[0], "dB").gain == ""


def test_names_of_many_are_cut():
    assert story.listed(["a"]) == "a"
    assert story.listed([]) == ""
    one = dataclasses.replace(
        story.First("bass", 9, 9, ("x",), score=1.0, low=0.0, high=2.0), also=tuple("abcdef")
    )
    assert story.card(one, "dB").sure.endswith("better than a, b or 4 others")


def test_the_page_shows_sentences_cards_and_shares_of_clean_tracks():
    html = render(demo_report())
    assert html.count('class="story name"') == 2
    cards = re.findall(r'<li data-dataset="0" data-stem="(\w+)".*?</li>', html)
    assert cards == ["vocals", "drums", "bass", "other", "accompaniment", "overall"]
    drums = re.search(r'<li data-dataset="0" data-stem="drums".*?</li>', html)[0]
    assert '<span class="winner name">scnet</span>' in drums
    assert " over the mixture</span>" in drums
    assert '<span class="license">CC-BY-NC-4.0</span>' in drums
    row_of = {
        re.search('"name">(.*?)<', line)[1]: line
        for line in re.findall(r'<tr data-row="\d+">.*?</tr>', html, re.DOTALL)[::-1]
    }
    assert 'seen">0 %<small>6 leaked</small>' in row_of["htdemucs"]
    assert 'seen">100 %</td>' in row_of["nmf"]
