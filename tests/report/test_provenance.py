"""The provenance page: commands, leaks and their reasons, failures; every name stays text."""

import dataclasses
import json
import re

import pytest
from synthetic_run import HOSTILE, demo_report, demo_run, empty_run, row, rows_table

from harness.report import provenance
from harness.report.computed import make_report
from harness.results.runs import Run


def ledger(trained_on, tracks, statuses, dataset="dsd100"):
    """Return the one row of the ledger of a separator that was scored on these tracks."""
    scores = rows_table([row("net", t, "vocals", "snr", 1.0, dataset=dataset) for t in tracks])
    leaks = [
        {"separator": "net", "dataset": dataset, "split": "test", "track": t, "status": s}
        for t, s in zip(tracks, statuses, strict=True)
        if s != "clean"
    ]
    about = empty_run(separators={"net": {"trained_on": trained_on}}, leaks=leaks)
    (found,) = provenance.leaks(make_report(dataclasses.replace(about, scores=scores)))
    return found


def test_the_reason_names_the_collection_through_which_a_track_leaked():
    song = "Actions - One Minute Smile"  # a test song of DSD100, a training song of MUSDB18
    found = ledger(["musdb18:train"], [song, "Nobody - Unheard"], ["leaked", "clean"])
    assert [found[key] for key in ("tracks", "clean", "leaked", "unknown")] == [2, 1, 1, 0]
    assert found["tracks_of"] == {"leaked": [song]}
    assert found["reason"] == (
        "trained on musdb18:train, which includes 1 of 2 tracks of the split "
        "(as songs of musdb18:train)"
    )


@pytest.mark.parametrize(
    ("trained_on", "status", "reason"),
    [
        (None, "unknown", "its training data is unknown"),
        ([], "clean", "not trained on any data"),
        (["mir1k"], "clean", "trained on mir1k, which includes none of these tracks"),
        (
            ["dsd100:test"],
            "leaked",
            "trained on dsd100:test, which includes all tracks of the split",
        ),
        (["x"], "unknown", "trained on x; it is not known whether that includes these tracks"),
    ],
)  # fmt: skip
def test_reasons(trained_on, status, reason):
    assert ledger(trained_on, ["a", "b"], [status, status])["reason"] == reason


def test_commands_can_be_pasted():
    record = {"command": ["run", "--data", "x=/my music; rm"], "commit": "abc", "run": "r"}
    assert provenance.commands(record) == [
        "git checkout abc",
        "harness run --data 'x=/my music; rm'",
        "harness report r",
    ]
    assert provenance.commands({}) == []


def test_the_page_lists_failures_and_separators_that_were_not_run():
    html = provenance.render(demo_report())
    for said in (
        "harness run --all --data &#39;musdb18hq=/data/my music&#39;",
        "MemoryError: 5.1 GB wanted, 4.0 GB free &lt;b&gt;",
        "not yet available",
        "with uncommitted changes",
        "6 tracks in the training data",
        "ab" * 32,
        "cd" * 32,
    ):
        assert said in html


def test_a_run_without_anything_has_a_page():
    html = provenance.render(make_report(empty_run()))
    assert "The run has no scores" in html
    assert "Nothing failed" in html
    assert "does not record the command" in html


def test_hostile_names_stay_text():
    run = demo_run(6)
    swap = {"demo": HOSTILE, "nmf": HOSTILE}
    record = json.loads(
        json.dumps(run.record).replace("made up", HOSTILE).replace('"nmf"', '"<i>"')
    )
    record["command"] = ["harness", HOSTILE]
    html = provenance.render(make_report(Run(HOSTILE, **{
        **{n: getattr(run, n) for n in ("costs", "ensembles", "selection")},
        "scores": run.scores.replace(swap), "record": record,
    })))  # fmt: skip
    assert not re.search(r"<(img|i)\b", html)
    assert html.count("<script") == 1
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_links_have_targets():
    html = provenance.render(demo_report())
    ids = re.findall(r'id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {t[1:] for t in re.findall(r'href="(#[^"]*)"', html)} <= set(ids)
    links = re.findall(r'href="([^"]*)"', html)
    assert all(link.startswith(("#", "data:,", "index.html")) for link in links)
