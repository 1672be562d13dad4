"""Published scores beside measured ones, with a separator whose scores are known."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import song_stems

from harness import cli
from harness.benchmark import Settings
from harness.benchmark.reproduce import reproduce
from harness.core.errors import HarnessError
from harness.datasets.folder import folder
from harness.registry import Entry, Published
from harness.separators import FAMILIES, Family

GAIN = 0.5
STEMS = ("vocals", "drums", "bass", "other")


@pytest.fixture(autouse=True)
def families(monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))


def ratio(true: np.ndarray, estimate: np.ndarray) -> float:
    return float(10 * np.log10(np.sum(true**2) / np.sum((true - estimate) ** 2)))


def expected(definition: str, stem: str) -> float:
    """The score over the four songs of `songs`, by the definition's words."""
    tracks = []
    for seed in range(4):
        stems = song_stems(seed)
        true, estimate = stems[stem], GAIN * np.sum(list(stems.values()), axis=0)
        frames = [ratio(true[:, a : a + 8000], estimate[:, a : a + 8000]) for a in (0, 8000)]
        tracks.append(np.median(frames) if definition == "csdr" else ratio(true, estimate))
    return float(np.median(tracks) if definition == "csdr" else np.mean(tracks))


def entry(**published) -> Entry:
    defaults = {"metric": "csdr", "dataset": "songs:test", "source": "a paper"}
    return Entry(
        name="mine",
        family="echo",
        stems=STEMS,
        params={"gain": GAIN},
        published=(Published(**{**defaults, **published}),),
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Where the work is kept, which is the same for all tests and done by the first."""
    return tmp_path_factory.mktemp("results")


def compare(songs: Path, results: Path, **published):
    mine = entry(**published)
    settings = Settings(results=results)
    return reproduce(mine, mine.published[0], folder(songs, name="songs"), settings)


@pytest.mark.parametrize("definition", ["csdr", "usdr"])
def test_scores_are_measured_by_the_definition_they_were_printed_with(songs, results, definition):
    scores = {stem: round(expected(definition, stem), 2) for stem in STEMS}
    lines = compare(songs, results, metric=definition, scores=scores)
    assert [line.stem for line in lines] == list(STEMS)
    for line in lines:
        assert line.measured == pytest.approx(expected(definition, line.stem), abs=1e-4)
        assert line.agrees


@pytest.mark.parametrize(("off", "agrees"), [(0.09, True), (-0.09, True), (0.11, False)])
def test_a_score_agrees_within_the_tolerance(songs, results, off, agrees):
    printed = {"drums": expected("csdr", "drums") + off}
    (line,) = compare(songs, results, scores=printed)
    assert line.agrees is agrees
    assert line.verdict == ("agrees" if agrees else "differs")
    (wide,) = compare(songs, results, scores=printed, tolerance=0.3)
    assert wide.agrees


def test_a_score_of_other_tracks_does_not_agree(songs, results):
    (line,) = compare(songs, results, scores={"drums": expected("csdr", "drums")}, tracks=50)
    assert not line.agrees
    assert line.verdict == "4 of 50 tracks were scored"


def test_a_stem_that_is_not_scored_does_not_agree(songs, results):
    (line,) = compare(songs, results, scores={"guitar": 1.0})
    assert np.isnan(line.measured)
    assert not line.agrees


def test_a_definition_that_is_not_known_is_refused(songs, results):
    with pytest.raises(HarnessError, match="known: csdr, usdr"):
        compare(songs, results, metric="uSDR", scores={"drums": 1.0})


@pytest.mark.parametrize(("off", "status"), [(0.0, 0), (1.0, cli.SOME_FAILED)])
def test_check_reproduce_prints_a_table_and_sets_the_exit_status(
    songs, results, tmp_path, monkeypatch, capsys, off, status
):
    monkeypatch.chdir(tmp_path)
    row = entry(scores={"drums": expected("csdr", "drums") + off}).model_dump(mode="json")
    del row["name"]
    Path("model_registry.yaml").write_text(json.dumps({"mine": row}))
    arguments = ("check", "--reproduce", "mine", "--data", f"songs={songs}")
    arguments += ("--jobs", "1", "--results", str(results))
    for more in ((), ("--json",)):
        monkeypatch.setattr(sys, "argv", ["harness", *arguments, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code or 0) == status
        out = capsys.readouterr().out
        if more:
            (line,) = json.loads(out)
            assert line["agrees"] is (off == 0)
            assert line["measured"] == pytest.approx(expected("csdr", "drums"), abs=1e-4)
        else:
            assert ("agrees" if off == 0 else "differs") in out


@pytest.mark.parametrize(
    ("name", "reason"), [("nmf", "no published scores"), ("htdemucs", "htdemucs: ")]
)
def test_what_cannot_be_reproduced_says_why(tmp_path, monkeypatch, capsys, name, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["harness", "check", "--reproduce", name])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.USER_ERROR
    assert reason in capsys.readouterr().err
