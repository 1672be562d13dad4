"""Optional metrics of a run: stored apart, computed alone, and nothing finished is done again."""

from pathlib import Path

import numpy as np
import planted
import pytest

from harness.benchmark import Settings, runner
from harness.cli.arguments import parse_metrics
from harness.core import audio
from harness.core.errors import HarnessError
from harness.datasets.folder import folder
from harness.metrics import OPTIONAL, measure
from harness.registry import FILES, Entry
from harness.results.runs import read_run
from harness.separators import FAMILIES, Family

TWO = ("bleedless", "l1_freq")


@pytest.fixture(autouse=True)
def families(monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    planted.Echo.seen.clear()


def run(songs: Path, results: Path, stems=("vocals",), role="separator", **settings):
    """Run the mixture as the vocals of two songs; return the outcome, its scores, what was told."""
    told: list[str] = []
    entry = Entry(name="echo", family="echo", stems=stems, role=role)
    dataset = folder(songs, name="songs")
    dataset = dataset.__class__(**{**dataset.__dict__, "tracks": dataset.tracks[:2]})
    chosen = Settings(results=results, listen=0, **settings)
    outcome = runner.run([entry], [dataset], chosen, tell=told.append)
    return outcome, read_run(outcome.folder).scores, told


def rows(scores, metric: str):
    return scores[scores["metric"] == metric].sort_values("track")


def test_metrics_are_those_of_the_audio(songs, tmp_path):
    _, scores, told = run(songs, tmp_path, metrics=TWO)
    where = songs / "Ann - One"
    vocals, mixture = (audio.read(where / f"{name}.wav")[0] for name in ("vocals", "mixture"))
    wanted = measure(TWO, vocals, mixture, 8000)
    for name in TWO:
        assert rows(scores, name)["value"].iloc[0] == pytest.approx(wanted[name], abs=1e-4)
        assert set(rows(scores, name)["status"]) == {"ok"}
    assert told == []  # nothing was finished before
    assert len(planted.Echo.seen) == 2


def test_kept_estimates_are_read_and_nothing_is_separated_or_scored_again(songs, tmp_path):
    _, before, _ = run(songs, tmp_path, keep_estimates=True)
    assert len(planted.Echo.seen) == 2
    outcome, after, told = run(songs, tmp_path, metrics=TWO)
    assert len(planted.Echo.seen) == 2
    assert told == [
        "bleedless, l1_freq: needs the audio of 2 finished jobs; "
        "2 read their estimates from disk, 0 separate again"
    ]
    assert outcome.failed == 0
    old = after[~after["metric"].isin(TWO)].reset_index(drop=True)
    assert old.equals(before.reset_index(drop=True))
    outcome, _, told = run(songs, tmp_path, metrics=TWO)
    assert (outcome.fresh, outcome.reused, told) == (False, 2, [])


def test_estimates_that_are_not_kept_are_separated_again_for_the_new_metric_alone(songs, tmp_path):
    run(songs, tmp_path, metrics=TWO[:1])
    stored = {path: path.read_bytes() for path in (tmp_path / "work").glob("??/*.json")}
    _, scores, told = run(songs, tmp_path, metrics=TWO)
    assert len(planted.Echo.seen) == 4
    assert told == [
        "l1_freq: needs the audio of 2 finished jobs; 0 read their estimates from disk, "
        "2 separate again (--keep-estimates keeps them)"
    ]
    assert all(path.read_bytes() == content for path, content in stored.items())
    assert len([*(tmp_path / "work").glob("??/*.json")]) == len(stored) + 2
    assert len(rows(scores, "bleedless")) == len(rows(scores, "l1_freq")) == 2


def test_kept_estimates_equal_those_that_are_separated_again(songs, tmp_path):
    run(songs, tmp_path / "a", keep_estimates=True)
    _, read, _ = run(songs, tmp_path / "a", metrics=TWO)
    run(songs, tmp_path / "b")
    _, again, _ = run(songs, tmp_path / "b", metrics=TWO)
    assert read["value"].equals(again["value"])


def test_a_damaged_estimate_is_separated_again(songs, tmp_path):
    run(songs, tmp_path, keep_estimates=True)
    for path in (tmp_path / "work" / "estimates").glob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    outcome, scores, _ = run(songs, tmp_path, metrics=TWO)
    assert len(planted.Echo.seen) == 4
    assert outcome.failed == 0
    assert np.isfinite(rows(scores, "bleedless")["value"]).all()


def test_a_metric_that_fails_leaves_the_scores_as_they_are(songs, tmp_path, monkeypatch):
    _, before, _ = run(songs, tmp_path)

    def broken(*_, **__):
        raise HarnessError("measure: out of order; mend it")

    monkeypatch.setattr("harness.benchmark.work.metrics.measure", broken)
    outcome, after, _ = run(songs, tmp_path, metrics=TWO[:1])
    assert outcome.failed == 2
    assert outcome.failures == ("measure: out of order; mend it",)
    assert set(rows(after, "bleedless")["status"]) == {"failed"}
    kept = after[after["metric"] != "bleedless"].reset_index(drop=True)
    assert kept.equals(before.reset_index(drop=True))
    monkeypatch.undo()
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    outcome, after, _ = run(songs, tmp_path, metrics=TWO[:1])
    assert outcome.failed == 0
    assert set(rows(after, "bleedless")["status"]) == {"ok"}


def test_estimates_of_others_are_read_from_their_folder(songs, tmp_path):
    for name in ("Ann - One", "Ann - Two"):
        signal, rate = audio.read(songs / name / "mixture.wav")
        audio.write(tmp_path / "est" / name / "vocals.wav", signal, rate, subtype="FLOAT")
    entry = Entry(name="mine", family=FILES, stems=("vocals",))
    told: list[str] = []
    for metrics in ((), TWO):
        chosen = Settings(results=tmp_path / "results", metrics=metrics)
        outcome = runner.score_folder(
            entry, tmp_path / "est", [folder(songs, name="songs")], chosen, tell=told.append
        )
    assert told == [
        "bleedless, l1_freq: needs the audio of 2 finished jobs; "
        "2 read their estimates from disk, 0 separate again"
    ]
    scores = read_run(outcome.folder).scores
    assert len(rows(scores, "l1_freq")) == 2


def test_a_command_without_metrics_keeps_those_of_the_run(songs, tmp_path):
    outcome, _, _ = run(songs, tmp_path, metrics=TWO)
    assert parse_metrics("", outcome.folder) == TWO
    assert parse_metrics("none", outcome.folder) == ()
    assert parse_metrics("", tmp_path / "nothing") == ()
    assert parse_metrics("l1_freq,bleedless", outcome.folder) == TWO
    assert {*TWO} <= {*parse_metrics("all", outcome.folder)} <= {*OPTIONAL}
    with pytest.raises(HarnessError, match=r"'bleedles' is not an optional metric; .*bleedless"):
        parse_metrics("bleedles", outcome.folder)


def test_free_metrics_come_from_kept_products_and_nothing_is_separated(songs, tmp_path):
    free = ("sd_sdr", "snri", "sdri", "si_sdri", "pes")
    _, before, _ = run(songs, tmp_path / "a")
    outcome, found, told = run(songs, tmp_path / "a", metrics=free)
    assert len(planted.Echo.seen) == 2  # of the first run
    assert told == [
        f"{', '.join(free)}: 2 finished jobs scored from stored inner products, without audio"
    ]
    assert (outcome.reused, outcome.fresh) == (2, True)
    old = found[~found["metric"].isin(free)].reset_index(drop=True)
    assert old.equals(before.reset_index(drop=True))
    _, heard, _ = run(songs, tmp_path / "b", metrics=free)  # all at once, from the audio
    for name in free:
        one, other = rows(found, name), rows(heard, name)
        assert one["value"].tolist() == pytest.approx(
            other["value"].tolist(), abs=1e-6, nan_ok=True
        )
        assert one[["status", "note"]].to_numpy().tolist() == (
            other[["status", "note"]].to_numpy().tolist()
        )
    mixture = rows(found, "snri")["value"]
    assert mixture.tolist() == pytest.approx([0, 0], abs=1e-6)  # echo gives the mixture


@pytest.mark.parametrize("damaged", [False, True])
def test_free_metrics_without_products_are_of_the_audio(songs, tmp_path, damaged):
    run(songs, tmp_path)
    for path in (tmp_path / "work" / "blends").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:50]) if damaged else path.unlink()
    _, scores, told = run(songs, tmp_path, metrics=("sd_sdr",))
    assert len(planted.Echo.seen) == 4
    assert told == [
        "sd_sdr: needs the audio of 2 finished jobs; 0 read their estimates from disk, "
        "2 separate again (--keep-estimates keeps them)"
    ]
    assert np.isfinite(rows(scores, "sd_sdr")["value"]).all()


def test_metrics_of_drums_are_for_drums_alone(songs, tmp_path):
    _, scores, told = run(songs, tmp_path, metrics=("onset_f",), stems=("vocals", "drums"))
    assert set(rows(scores, "onset_f")["stem"]) == {"drums"}
    assert rows(scores, "onset_f")["value"].between(0, 1).all()
    run(songs, tmp_path)
    seen = len(planted.Echo.seen)
    _, scores, told = run(songs, tmp_path, metrics=("onset_f",))  # of vocals: nothing to hear
    assert told == []
    assert len(planted.Echo.seen) == seen
    assert rows(scores, "onset_f").empty


def test_anchors_are_made_again_which_is_said_apart(songs, tmp_path):
    run(songs, tmp_path, role="anchor")
    _, _, told = run(songs, tmp_path, role="anchor", metrics=("snri",))
    assert told == [
        "snri: needs the audio of 2 finished jobs; 0 read their estimates from disk, "
        "0 separate again, 2 (anchors and oracles) are made again"
    ]
