import math

import pandas as pd
import pytest

from harness.metrics import DEFAULT
from harness.results.grid import track_scores
from harness.results.runs import COLUMNS, table
from harness.selection import select
from harness.selection.best_of import choose_deployable, choose_oracle


def rows(values: dict[tuple[str, str, str], float], stem: str = "vocals") -> pd.DataFrame:
    """Scores from {(artist, track, separator): dB}; snr and sdr are equal, so is their mean."""
    return table(
        ("r", "set", "test", f"{artist}-{track}", artist, "rock", separator, "mixture", "", stem,
         metric, value, "ok", "")
        for (artist, track, separator), value in values.items()
        for metric in ("snr", "sdr")
    )  # fmt: skip


PLANTED = {
    ("ann", "1", "x"): 9.0, ("ann", "1", "y"): 5.0,
    ("ann", "2", "x"): 9.0, ("ann", "2", "y"): 5.0,
    ("bob", "1", "x"): 2.0, ("bob", "1", "y"): 3.0,
    ("cid", "1", "x"): 6.0, ("cid", "1", "y"): 5.0,
}  # fmt: skip


def chosen(frame: pd.DataFrame) -> dict[tuple[str, str], str]:
    return {(r.artist, r.track.partition("-")[2]): r.separator for r in frame.itertuples()}


def test_oracle_chooses_the_best_on_every_track():
    picked = choose_oracle(track_scores(rows(PLANTED)))
    assert chosen(picked) == {
        ("ann", "1"): "x",
        ("ann", "2"): "x",
        ("bob", "1"): "y",
        ("cid", "1"): "x",
    }


def test_deployable_choice_never_looks_at_the_artist_itself():
    picked, notes = choose_deployable(track_scores(rows(PLANTED)))
    # without ann, x has (2 + 6) / 2 and y (3 + 5) / 2: a tie, the first by name; others favour x
    assert set(chosen(picked).values()) == {"x"}
    assert notes == []
    better = {**PLANTED, ("bob", "1", "y"): 3.5}
    assert chosen(choose_deployable(track_scores(rows(better)))[0])["ann", "1"] == "y"
    own = {**better, ("ann", "1", "x"): 90.0, ("ann", "2", "x"): 90.0}
    assert chosen(choose_deployable(track_scores(rows(own)))[0])["ann", "1"] == "y"


def test_one_artist_only_gives_a_note_and_no_choice():
    only = {key: value for key, value in PLANTED.items() if key[0] == "ann"}
    picked, notes = choose_deployable(track_scores(rows(only)))
    assert picked.empty
    assert [row["dataset"] for row in notes] == ["set"]
    assert [row["note"] for row in notes] == [
        "set: all tracks are by ann; no other artist's tracks can choose for vocals"
    ]


def test_renaming_separators_keeps_the_choice():
    renamed = {(a, t, {"x": "zz", "y": "aa"}[s]): v for (a, t, s), v in PLANTED.items()}
    names = chosen(choose_oracle(track_scores(rows(renamed))))
    assert names["ann", "1"] == "zz"
    assert names["bob", "1"] == "aa"


def test_another_bad_separator_changes_nothing():
    worse = {**PLANTED, **{(a, t, "bad"): -20.0 for a, t, _ in PLANTED}}
    assert chosen(choose_oracle(track_scores(rows(worse)))) == chosen(
        choose_oracle(track_scores(rows(PLANTED)))
    )


def test_a_separator_that_failed_on_hard_tracks_gains_nothing():
    # y was not scored on bob's hard track; on the tracks both have, x is better
    values = {key: value for key, value in PLANTED.items() if key != ("bob", "1", "y")}
    picked, _ = choose_deployable(
        track_scores(rows({**values, ("dan", "1", "x"): 7.0, ("dan", "1", "y"): 6.0}))
    )
    assert chosen(picked)["dan", "1"] == "x"


def test_leaked_pairs_neither_choose_nor_are_chosen():
    leaked = {("x", "set", "test", f"{a}-{t}") for a, t, _ in PLANTED}
    selection, ensembles, _ = select(rows(PLANTED), ["x", "y"], leaked)
    assert set(selection["separator"]) == {"y"}
    assert set(ensembles["note"]) == {"chosen: y"}


def test_anchors_and_oracles_are_never_chosen():
    with_anchor = {**PLANTED, **{(a, t, "irm"): 50.0 for a, t, _ in PLANTED}}
    selection, _, _ = select(rows(with_anchor), ["x", "y"], set())
    assert "irm" not in set(selection["separator"])


def test_ensemble_rows_are_the_scores_of_the_chosen():
    selection, ensembles, _ = select(rows(PLANTED), ["x", "y"], set())
    assert tuple(ensembles.columns) == COLUMNS
    oracle = ensembles[ensembles["separator"] == "best_of_oracle"]
    assert sorted(oracle["value"]) == sorted([9.0, 9.0, 3.0, 6.0] * 2)
    assert len(selection) == 8


def test_parts_are_chosen_separately_by_their_input():
    whole = rows(PLANTED)
    kicks = {(a, t, s): -v for (a, t, s), v in PLANTED.items()}  # the better one is the worse one
    parts = rows(kicks, stem="kick").assign(input="drums", fed_by="reference")
    before, ensembles, _ = select(whole, ["x", "y"], set())
    after, both, _ = select(pd.concat([whole, parts]), ["x", "y"], set())
    mixture = after["input"] == "mixture"
    pd.testing.assert_frame_equal(after[mixture].reset_index(drop=True), before)
    pd.testing.assert_frame_equal(
        both[both["input"] == "mixture"].reset_index(drop=True), ensembles
    )
    kick = after[~mixture & (after["kind"] == "oracle")]
    assert set(kick["fed_by"]) == {"reference"}
    assert chosen(kick) == {
        ("ann", "1"): "y", ("ann", "2"): "y", ("bob", "1"): "x", ("cid", "1"): "y",
    }  # fmt: skip


def test_oracle_is_never_below_any_single_separator(rng):
    values = {
        (f"a{i % 5}", str(i), s): float(rng.normal()) for i in range(30) for s in ("p", "q", "r")
    }
    found = track_scores(rows(values))
    oracle = choose_oracle(found)["score"].mean()
    assert oracle >= found.groupby("separator")["score"].mean().max()
    deployable, _ = choose_deployable(found)
    assert oracle >= deployable["score"].mean()


def test_perfect_and_silent_estimates_do_not_break_the_choice():
    values = {**PLANTED, ("cid", "1", "x"): math.inf, ("bob", "1", "y"): -math.inf}
    picked, _ = choose_deployable(track_scores(rows(values)))
    assert len(picked) == 4


def test_nothing_scored_gives_empty_tables_and_a_note():
    selection, ensembles, notes = select(table([]), [], set())
    assert selection.empty
    assert ensembles.empty
    assert len(notes) == 1


def test_harmonic_score_needs_both_metrics():
    one = rows(PLANTED)
    assert track_scores(one[one["metric"] == "snr"]).empty


@pytest.mark.parametrize("metric", ["snr", "sdr"])
def test_selection_metrics_are_computed_by_default(metric):
    assert metric in DEFAULT
