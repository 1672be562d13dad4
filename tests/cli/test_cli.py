"""The verbs as a script meets them."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import left_of, song_stems, write_song
from synthetic_run import before_checksums
from test_help import COMMANDS

from harness import cli
from harness.cli import terminal
from harness.core import audio
from harness.core.bands import EDGES
from harness.core.errors import HarnessError
from harness.report.computed import make_report
from harness.results.runs import read_run, to_parquet
from harness.selection import budget, finished_run


@pytest.fixture
def harness(tmp_path, monkeypatch, capsys):
    """Run a command that must end well, or with the expected status; returns standard output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    for variable in ("MUSDB_PATH", "DSD_PATH", "MOISESDB_PATH", "MIR1K_PATH"):
        monkeypatch.delenv(variable, raising=False)

    def call(*arguments: str, expected: int = 0, errors: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return err if errors else out

    return call


def noisy(reference: np.ndarray, snr_db: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(reference.shape)
    gain = np.linalg.norm(reference) / np.linalg.norm(noise) * 10 ** (-snr_db / 20)
    return (reference + gain * noise).astype(np.float32)


LAYOUTS = {
    "musdb": "test/{track}/{stem}.wav",
    "demucs": "{track}/{stem}.wav",
    "mss-training": "{track}_{stem}.wav",
    "audio-separator": "{track}_({Stem})_some_model (v2).wav",
    "audio-separator in folders": "{track}/{track}_({Stem})_some_model.wav",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_score_reads_the_layouts_of_the_field(harness, songs, tmp_path, layout):
    planted = {"vocals": 3.0, "drums": 12.0, "bass": -4.0, "other": 0.5}
    for seed, track in enumerate(("Ann - One", "Ann - Two", "Bob - One", "Bob - Two")):
        for stem, reference in song_stems(seed).items():
            name = LAYOUTS[layout].format(track=track, stem=stem, Stem=stem.title())
            audio.write(tmp_path / "est" / name, noisy(reference, planted[stem], seed), 8000)
    where = ("--data", f"songs={songs}", "--tracks", "2", "--jobs", "1")
    harness("score", "est", *where, "--name", "My Model")
    result = read_run(Path("results/my_model"))
    assert result.record["skipped"] == []
    for stem, snr_db in planted.items():
        rows = result.scores.query(f"stem == {stem!r} and metric == 'snr'")
        assert len(rows) == 2
        assert rows["value"].to_numpy() == pytest.approx([snr_db] * 2, abs=1e-4)


def test_two_folders_of_one_name_are_two_runs(harness, songs, tmp_path):
    where = ("--data", f"songs={songs}", "--tracks", "1", "--jobs", "1")
    for model, snr_db in (("A", 3.0), ("B", 9.0)):
        estimate = noisy(song_stems(0)["vocals"], snr_db, 0)
        audio.write(tmp_path / model / "test/Ann - One/vocals.wav", estimate, 8000)
    table = Path("results/test/scores.parquet")
    harness("score", "A/test", *where)
    before = table.read_bytes()
    said = harness("score", "B/test", *where, expected=cli.USER_ERROR, errors=True)
    assert said.strip() == (
        f"error: results/test: has scores of the estimates in {tmp_path}/A/test; choose another "
        "--name, such as b_test, or replace it with --force"
    )
    assert table.read_bytes() == before
    harness("score", "B/test", *where, "--name", "b_test")
    Path("A").rename("C")  # the same estimates, whatever their folder is called
    harness("score", "C/test", *where)
    assert table.read_bytes() == before
    harness("score", "B/test", *where, "--force")
    assert table.read_bytes() != before


@pytest.fixture
def mynet(songs, tmp_path):
    """A folder of estimates of all songs, which are far better than any separator's."""
    for seed, track in enumerate(("Ann - One", "Ann - Two", "Bob - One", "Bob - Two")):
        for stem, reference in song_stems(seed).items():
            path = tmp_path / "mynet" / track / f"{stem}.wav"
            audio.write(path, noisy(reference, 20.0, seed), 8000)
    return tmp_path / "mynet"


def test_score_shows_estimates_beside_a_run(harness, songs, mynet):
    where = ("--data", f"songs={songs}", "--jobs", "1")
    harness("run", *where, "--separator", "mixture", "--separator", "repet", "--seconds", "1")
    before = Path("results/main/scores.parquet").read_bytes()
    printed = harness("score", str(mynet), *where, "--run", "main")
    board = [line for line in printed.splitlines() if "mynet " in line or "repet " in line]
    assert ["mynet" in line for line in board] == [True, False]  # best first
    page = Path(printed.splitlines()[-1])
    assert page == Path("reports/main+mynet/index.html")
    assert read_run(Path("results/mynet")).record["excerpt_seconds"] == 1.0  # as in the run
    assert set(read_run(Path("results/mynet")).scores["separator"]) == {"mynet"}
    assert Path("results/main/scores.parquet").read_bytes() == before
    mine = page.read_bytes()
    assert harness("score", str(mynet), *where, "--run", "main") == printed
    assert page.read_bytes() == mine
    compared = harness("report", "--compare", "main", "mynet", errors=True)
    assert "harness compare repet mynet --run main --run mynet" in compared
    assert "mynet" in harness("compare", "repet", "mynet", "--run", "main", "--run", "mynet")


def test_score_beside_a_run_that_it_cannot_join(harness, songs, tmp_path):
    where = ("--data", f"songs={songs}", "--jobs", "1", "--tracks", "1")
    (tmp_path / "mynet").mkdir()
    harness("run", *where, "--separator", "mixture", "--seconds", "1")
    before = _files(tmp_path)
    for arguments, said in (
        (("--run", "nosuch"), "no run named 'nosuch'; runs here: main"),
        (("--run", "main", "--seconds", "2"), "the run scored the middle 1 s of each track"),
        (("--run", "main", "--name", "mixture"), "'mixture' is also the name of the separator"),
        (("--run", "main", "--name", "main"), "'main' is also the name of the run"),
    ):
        wrong = harness("score", "mynet", *where, *arguments, expected=cli.USER_ERROR, errors=True)
        assert said in wrong
    assert _files(tmp_path) == before


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_dry_run_says_what_would_be_done_and_does_nothing(harness, songs, tmp_path):
    where = ("--data", f"songs={songs}", "--jobs", "1", "--separator", "mixture")
    more = ("--separator", "repet", "--dry-run")
    first = harness("run", *where, *more)
    assert "8 jobs, 0 of them finished" in first
    assert "time with 1 worker: unknown" in first
    assert (
        "not included: separating and scoring with mixture, repet, never measured on this" in first
    )
    assert _files(tmp_path) == {}
    harness("run", *where, "--separator", "repet", "--tracks", "1")
    before = _files(tmp_path)
    found = json.loads(harness("run", *where, *more, "--json"))
    assert [(row["separator"], row["jobs"], row["finished"]) for row in found["rows"]] == [
        ("mixture", 4, 1), ("repet", 4, 1)
    ]  # fmt: skip
    costs = read_run(Path("results/main")).costs.set_index(["separator", "metric"])["value"]
    for row in found["rows"]:  # three songs of two seconds are left
        assert row["seconds"] == pytest.approx(6 * costs[row["separator"], "rtf"])
        assert row["scoring"] == pytest.approx(6 * costs[row["separator"], "scoring"]) != 0
    assert found["seconds"] == pytest.approx(sum(row["seconds"] for row in found["rows"]))
    (blend,) = Path("results/work/blends").rglob("*.npz")
    assert found["product_bytes"] == 3 * blend.stat().st_size
    assert found["clip_bytes"] > 0
    assert _files(tmp_path) == before


def test_a_dry_run_renders_and_downloads_nothing(harness, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.core.download.download", lambda *_, **__: pytest.fail("fetched"))
    names = ("--separator", "mixture", "--separator", "htdemucs", "--dataset", "demo")
    printed = harness("run", *names, "--dry-run", "--yes")
    assert "demo: 8 tracks to render or decode first" in printed
    assert "16 jobs, 0 of them finished" in printed
    (terms,) = (line for line in printed.splitlines() if line.startswith("  htdemucs: "))
    assert "of the weights:" in terms
    assert _files(tmp_path) == {}
    offline = harness("run", *names, "--dry-run", "--offline")
    assert "8 jobs" in offline
    assert "htdemucs: left out: weights missing" in offline


def test_a_narrower_run_or_one_of_another_case_does_not_replace(harness, songs, tmp_path):
    where = ("--data", f"songs={songs}", "--jobs", "1", "--separator", "mixture")
    harness("run", *where)
    for more, said in (
        (("--tracks", "1"), "3 results that would be lost (mixture on 'Ann - Two' of songs:test"),
        (("--seconds", "1"), "has scores of the whole of each track"),
        (("--name", "Main"), "'main' is there, and some file systems take the two names for one"),
        (("--name", "work"), "finished work is kept there"),
    ):
        assert said in harness("run", *where, *more, expected=cli.USER_ERROR, errors=True)
    assert read_run(Path("results/main")).scores["track"].nunique() == 4
    harness("run", *where, "--tracks", "1", "--force")
    assert read_run(Path("results/main")).scores["track"].nunique() == 1


def test_a_page_of_another_folder_of_runs_is_written_again(harness, songs, tmp_path):
    where = ("--data", f"songs={songs}", "--jobs", "1", "--separator", "mixture", "--results")
    page = Path("reports/main/index.html")
    harness("run", *where, "first")
    mine = page.read_bytes()
    harness("run", *where, "second", "--tracks", "1")
    assert page.read_bytes() != mine
    harness("run", *where, "first")  # finds all its work done
    assert page.read_bytes() == mine


def test_a_bug_shows_its_traceback_without_codes(harness, monkeypatch):
    def broken(_: object) -> None:
        raise RuntimeError("\x1b[31mred")

    monkeypatch.setattr("harness.cli.list_.registry.load", broken)
    said = harness("list", expected=1, errors=True)
    assert "RuntimeError: \\x1b[31mred" in said
    assert "\x1b" not in said


def test_score_knows_other_tools_stem_names_and_says_what_is_missing(harness, songs, tmp_path):
    stems = song_stems(0)
    rest = stems["drums"] + stems["bass"] + stems["other"]
    audio.write(tmp_path / "est/Ann - One_(Instrumental)_m.wav", noisy(rest, 7.0, 1), 8000)
    harness("score", "est", "--data", f"songs={songs}", "--jobs", "1")
    result = read_run(Path("results/est"))
    rows = result.scores.query("metric == 'snr'")
    assert list(rows["stem"]) == ["accompaniment"]
    assert rows["value"].to_numpy() == pytest.approx([7.0], abs=1e-4)
    assert "no estimate of 3 of 4 tracks" in result.record["skipped"][0]["reason"]


def test_an_other_is_scored_as_what_its_model_separates(harness, tmp_path):
    stems = left_of(song_stems(0))
    parts = {
        stem: noisy(stems["other"], 0.0, seed) for seed, stem in enumerate(("guitar", "piano"))
    }
    rest = stems["other"] - parts["guitar"] - parts["piano"]
    stems |= {"other": stems["other"], **parts}
    references = {**stems, "other": rest}
    no_vocals = sum(stems[stem] for stem in ("drums", "bass", "other"))
    models = {
        "two": {"vocals": stems["vocals"], "other": no_vocals},
        "five": {**{s: stems[s] for s in ("vocals", "drums", "bass", "piano")}, "other": rest},
        "six": references,
    }
    for stem, signal in references.items():
        audio.write(tmp_path / f"songs/Ann - One/{stem}.wav", signal, 8000)
    found = {}
    for model, estimates in models.items():
        for stem, signal in estimates.items():
            audio.write(tmp_path / model / "Ann - One" / f"{stem}.wav", signal, 8000)
        harness("score", model, "--data", f"songs={tmp_path / 'songs'}", "--jobs", "1")
        rows = read_run(Path("results") / model).scores.query("metric == 'snr'")
        found[model] = dict(zip(rows["stem"], rows["value"], strict=True))
        said = set(rows["note"])
        assert all(
            {"two": "read as accompaniment", "five": "left out"}.get(model, "") in n for n in said
        )
    assert all(value > 100 for scores in found.values() for value in scores.values())
    assert set(found["two"]) == {"vocals", "accompaniment"}
    assert set(found["five"]) == {"vocals", "drums", "bass", "piano"}
    assert {"other_rest", "other", "accompaniment", "guitar"} <= set(found["six"])


def test_files_belong_to_the_track_with_the_longest_name(harness, tmp_path):
    for seed, track in enumerate(("A", "A_no", "A_bass")):
        for stem, signal in left_of(song_stems(seed)).items():
            audio.write(tmp_path / f"songs/{track}/{stem}.wav", signal, 8000)
        if track != "A":
            path = tmp_path / f"est/{track}_vocals.wav"
            audio.write(path, song_stems(seed)["vocals"][:1], 8000)
    audio.write(tmp_path / "est/A_bass_drums.wav", song_stems(2)["drums"][:1], 8000)
    harness("score", "est", "--data", f"songs={tmp_path / 'songs'}", "--jobs", "1")
    rows = read_run(Path("results/est")).scores.query("metric == 'snr'")
    assert set(zip(rows["track"], rows["stem"], strict=True)) == {
        *(("A_no", "vocals"), ("A_bass", "vocals"), ("A_bass", "drums"))
    }
    assert set(rows["value"]) == {np.inf}


def test_estimates_that_their_tool_changed_while_writing_are_noted(harness, tmp_path):
    stems = {stem: signal / np.abs(signal).max() * 1.3 for stem, signal in song_stems(0).items()}
    for stem, signal in stems.items():
        audio.write(tmp_path / f"songs/Ann - One/{stem}.wav", signal, 8000)
    written = {
        "vocals": stems["vocals"] / (1.01 * 1.3),
        "drums": stems["drums"] * 0.9 / 1.3,
        "bass": np.clip(stems["bass"], -0.99, 0.99),
        "other": stems["other"],
    }
    for stem, signal in written.items():
        subtype = "FLOAT" if stem == "other" else "PCM_16"
        audio.write(tmp_path / f"est/Ann - One/{stem}.wav", signal, 8000, subtype=subtype)
    harness("score", "est", "--data", f"songs={tmp_path / 'songs'}", "--jobs", "1")
    rows = read_run(Path("results/est")).scores.query("metric == 'snr'").set_index("stem")
    note = rows["note"]["other"]
    assert "vocals.wav has a peak of exactly 0.9901, as if demucs had rescaled it" in note
    assert "drums.wav has a peak of exactly 0.9000, as if audio-separator had rescaled it" in note
    assert "bass.wav is clipped" in note
    assert "other.wav" not in note
    assert rows["note"]["vocals"].startswith("level -2.4 dB; snr without that: ")
    assert rows["value"]["vocals"] == pytest.approx(-20 * np.log10(1 - 1 / 1.01 / 1.3), abs=0.01)


def test_estimates_of_another_rate_are_a_failure_with_both_rates(harness, songs, tmp_path):
    audio.write(tmp_path / "est/Ann - One/vocals.wav", song_stems(0)["vocals"], 8001)
    arguments = ("score", "est", "--data", f"songs={songs}", "--jobs", "1")
    said = harness(*arguments, expected=cli.SOME_FAILED, errors=True)
    assert "8001 Hz, the references have 8000 Hz" in said


def test_estimates_from_disk_cost_nothing_unless_it_is_stated(harness, songs, tmp_path):
    for track in ("Ann - One", "Bob - One"):
        for stem in ("vocals", "drums"):
            audio.write(tmp_path / f"est/{track}/{stem}.wav", song_stems(0)[stem], 8000)
    arguments = ("score", "est", "--data", f"songs={songs}", "--jobs", "1")
    harness(*arguments)
    before = read_run(Path("results/est"))
    assert before.costs.empty
    assert make_report(before).costs == {}
    assert before.record["separators"]["est"]["license"]["code"] == "not stated"
    with pytest.raises(HarnessError, match="budget: rtf was not measured; limit nothing"):
        budget.within(budget.costs_of(before.costs), {"rtf": 1.0})
    work = len(list(Path("results/work").rglob("*.json")))
    harness(*arguments, "--costs", "rtf=0.5, memory=2GB")
    after = read_run(Path("results/est"))
    stated = after.costs.groupby("metric")["value"].unique().map(list).to_dict()
    assert stated == {"rtf": [0.5], "peak_memory": [2e9]}
    assert len(list(Path("results/work").rglob("*.json"))) == work  # nothing was scored again
    said = harness(*arguments, "--costs", "rtf<0.5", expected=cli.USER_ERROR, errors=True)
    assert "--costs 'rtf<0.5': not one cost; write rtf=0.5" in said


def test_costs_that_an_earlier_version_wrote_for_files_are_not_read(harness, songs, tmp_path):
    audio.write(tmp_path / "est/Ann - One/vocals.wav", song_stems(0)["vocals"], 8000)
    harness("score", "est", "--data", f"songs={songs}", "--jobs", "1")
    folder = Path("results/est")
    row = read_run(folder).scores.iloc[[0]].assign(metric="rtf", value=0.001)
    before_checksums(folder)
    (folder / "costs.parquet").write_bytes(to_parquet(row))
    assert read_run(folder).costs.empty


def test_two_files_for_one_stem_are_refused(harness, songs, tmp_path):
    for model in ("a", "b"):
        audio.write(tmp_path / f"est/Ann - One_(Vocals)_{model}.wav", song_stems(0)["bass"], 8000)
    arguments = ("score", "est", "--data", f"songs={songs}")
    said = harness(*arguments, expected=cli.USER_ERROR, errors=True)
    assert "name a folder with the estimates of one model" in said


def test_report_of_two_runs_shows_both(harness, songs, tmp_path):
    for name, snr_db in (("good", 10.0), ("bad", 1.0)):
        for seed, track in enumerate(("Ann - One", "Ann - Two", "Bob - One", "Bob - Two")):
            path = tmp_path / name / track / "vocals.wav"
            audio.write(path, noisy(song_stems(seed)["vocals"], snr_db, seed), 8000)
        harness("score", name, "--data", f"songs={songs}", "--jobs", "1")
    page = Path(harness("report", "good", "bad").strip())
    text = page.read_text(encoding="utf-8")
    assert page == Path("reports/good+bad/index.html")
    assert "good" in text
    assert "bad" in text


def test_list_and_check_as_json(harness, songs):
    listed = json.loads(harness("list", "--json"))
    assert listed["separators"]["nmf"]["stems"] == ["vocals", "drums", "bass", "other"]
    assert listed["datasets"]["mir1k"]["folder"] is None
    found = json.loads(harness("check", "--json", "--data", f"mine={songs}"))
    states = {row["what"]: row["state"] for row in found}
    assert states["nmf"] == "ready"
    assert states["htdemucs"] == "absent"
    assert states["mine"] == "ready"
    assert states["musdb18hq"] == "absent"


@pytest.fixture
def half(tmp_path):
    """Two songs; the mixture of the second is 6 dB quieter than the sum of its stems."""
    for seed, name in enumerate(("Ann - Good", "Bob - Half")):
        write_song(tmp_path / "half" / name, song_stems(seed))
    path = tmp_path / "half" / "Bob - Half" / "mixture.wav"
    audio.write(path, np.float32(10 ** (-6 / 20)) * audio.read(path)[0], 8000)
    return tmp_path / "half"


HALF = "Bob - Half: the mixture is 6.0 dB quieter than the sum of the stems"


def test_check_names_unequal_mixtures_and_counts_what_it_only_looked_at(harness, half):
    def lines(*more):
        found = json.loads(harness("check", "--json", "--data", f"mine={half}", *more))
        return next(row["detail"] for row in found if row["what"] == "mine").splitlines()

    first = lines()
    assert first[0] == f"2 tracks in {half}"
    assert first[1] == "10 files: 10 read, 0 only looked at"
    assert first[2] == f"{HALF}; left out, --keep-unequal keeps it"
    assert lines()[1].startswith("10 files: 0 read, 10 only looked at (")
    assert lines("--rehash")[1] == "10 files: 10 read, 0 only looked at"


def test_run_leaves_unequal_mixtures_out_and_the_report_says_so(harness, half):
    data = ("--data", f"mine={half}", "--jobs", "1")
    run = ("run", "--separator", "mixture", *data, "--json", "--force")
    pages = [Path(json.loads(harness(*run, *more))["report"]) for more in ([], ["--keep-unequal"])]
    result = read_run(Path("results/main"))
    assert set(result.scores["track"]) == {"Ann - Good", "Bob - Half"}
    about = result.record["datasets"]["mine"]
    assert about["problems"] == [HALF]
    assert about["notes"][0]["track"] == "Bob - Half"
    assert HALF in pages[1].read_text(encoding="utf-8")
    said = f"{HALF}; left out, --keep-unequal keeps it"
    (omission,) = json.loads(harness(*run, "--force"))["left_out"]
    assert (omission["dataset"], omission["name"]) == ("mine", "Bob - Half")
    assert omission["detail"] == "is 6.0 dB quieter than the sum of the stems"
    result = read_run(Path("results/main"))
    assert set(result.scores["track"]) == {"Ann - Good"}
    assert result.record["datasets"]["mine"]["problems"] == [said]
    assert said in pages[0].read_text(encoding="utf-8")


def test_run_without_any_equal_mixture_says_what_to_do(half, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "only").mkdir()
    (half / "Bob - Half").rename(tmp_path / "only" / "Bob - Half")
    arguments = ["run", "--separator", "mixture", "--data", "mine=only", "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.USER_ERROR
    error = " ".join(capsys.readouterr().err.split())
    assert "mine: no mixture is the sum of its stems" in error
    assert "use --keep-unequal" in error


def test_check_as_tables(harness):
    assert "repet_sim" in harness("list")
    assert "demo" in harness("check")


def test_run_prints_json_for_scripts(harness, songs):
    arguments = ("run", "--separator", "repet", "--data", f"songs={songs}", "--jobs", "1", "--json")
    first, second = (json.loads(harness(*arguments)) for _ in range(2))
    assert (first["units"], first["reused"], first["failed"], first["fresh"]) == (4, 0, 0, True)
    assert (second["reused"], second["fresh"]) == (4, False)
    assert Path(first["report"]).is_file()


def test_a_run_says_why_it_ranks_nobody(harness, songs):
    Path("model_registry.yaml").write_text("known: {extends: repet, trained_on: ['songs:test']}\n")
    arguments = ("--data", f"songs={songs}", "--tracks", "1", "--jobs", "1")
    shown = [harness("run", "--separator", name, *arguments) for name in ("known", "repet")]
    assert "no ranking: every separator failed" in shown[0]
    assert "no ranking" not in shown[1]


def test_bands_are_kept_of_what_is_separated_now(harness, songs):
    arguments = ("run", "--separator", "hpss", "--data", f"songs={songs}", "--tracks", "1")
    arguments += ("--jobs", "1", "--listen", "0")
    assert "--bands" not in harness(*arguments, errors=True)
    assert "use a new folder" in harness(*arguments, "--bands", errors=True)
    assert "--bands" not in harness(*arguments, "--bands", "--results", "fresh", errors=True)
    run = read_run(Path("fresh/main"))
    kept = finished_run.kept_products(run, Path("fresh"), by_band=True)
    assert {blend.edges for blend in kept.values()} == {EDGES}


def test_select_counts_who_won(harness, songs):
    names = ("--separator", "repet", "--separator", "hpss")
    harness("run", *names, "--data", f"songs={songs}", "--jobs", "1")
    found = json.loads(harness("select", "--json"))
    oracle = [row for row in found["counts"] if row["kind"] == "oracle"]
    assert {row["stem"] for row in oracle} == {"vocals", "accompaniment"}
    assert sum(row["tracks"] for row in oracle) == 8
    shown = harness("select")
    assert "selected by the harmonic mean" in shown
    lines = [line for line in shown.splitlines() if ": use " in line]
    assert [line.split(":")[0] for line in lines] == ["songs, vocals", "songs, accompaniment"]
    assert [line.split(" dB ")[1] for line in lines] == ["on held-out tracks)"] * 2


def test_metrics_of_a_finished_run_separate_nothing_and_may_choose(harness, mono_songs):
    names = ("--separator", "repet", "--separator", "hpss", "--data", f"songs={mono_songs}")
    command = ("run", *names, "--tracks", "2", "--jobs", "1", "--listen", "0", "--keep-estimates")
    harness(*command)
    assert "add them with --metrics sd_sdr" in harness(
        "select", "--by", "sd_sdr", expected=2, errors=True
    )
    said = harness(*command, "--metrics", "sd_sdr,snri", errors=True)
    assert "sd_sdr, snri: 4 finished jobs scored from stored inner products, without audio" in said
    assert "separate" not in said
    said = harness(*command, "--metrics", "sd_sdr,snri,bleedless,onset_f", errors=True)
    assert "bleedless: needs the audio of 4 finished jobs; 4 read their estimates" in said
    assert "0 separate again" in said
    found = read_run(Path("results/main")).scores
    assert {"sd_sdr", "snri", "bleedless"} < set(found["metric"])
    assert "onset_f" not in set(found["metric"])  # of vocals and accompaniment
    assert "selected by sd_sdr" in harness("select", "--by", "sd_sdr")
    assert "never chooses alone" in harness("select", "--by", "bleedless", expected=2, errors=True)


def test_tracks_and_split_narrow_the_run(harness, tmp_path):
    for split, seeds in (("train", (1, 2)), ("test", (3, 4))):
        for seed in seeds:
            stems = {s: x.repeat(2, axis=1) for s, x in left_of(song_stems(seed)).items()}
            write_song(tmp_path / "mus" / split / f"A{seed} - Song", stems, rate=44100)
    run = ("run", "--separator", "mixture", "--jobs", "1", "--force")
    run += ("--data", f"musdb18hq={tmp_path / 'mus'}")
    tracks = {
        arguments: set(_run_tracks(harness, *run, *arguments))
        for arguments in ((), ("--split", "train"), ("--split", "all", "--tracks", "3"))
    }
    assert tracks[()] == {"A3 - Song", "A4 - Song"}
    assert tracks["--split", "train"] == {"A1 - Song", "A2 - Song"}
    assert len(tracks["--split", "all", "--tracks", "3"]) == 3


def _run_tracks(harness, *arguments: str) -> list[str]:
    harness(*arguments)
    return list(read_run(Path("results/main")).scores["track"])


def test_environment_variables_name_datasets(harness, tmp_path, monkeypatch):
    stereo = np.stack([0.1 * np.ones(16000), np.linspace(-0.5, 0.5, 16000)]).astype(np.float32)
    audio.write(tmp_path / "mir1k/Wavfile/ann_1_01.wav", stereo, 16000)
    monkeypatch.setenv("MIR1K_PATH", str(tmp_path / "mir1k"))
    assert _run_tracks(harness, "run", "--separator", "mixture", "--jobs", "1")[0] == "ann_1_01"


def test_a_registry_of_ones_own_adds_separators(harness, songs, tmp_path):
    (tmp_path / "model_registry.yaml").write_text("mine: {extends: repet, params: {longest: 1.0}}")
    harness("run", "--separator", "mine", "--data", f"songs={songs}", "--jobs", "1")
    assert set(read_run(Path("results/main")).scores["separator"]) == {"mine"}


def test_demo_music_is_rendered_on_first_use(harness, monkeypatch):
    monkeypatch.setattr("harness.datasets.available.DEMO_SECONDS", 5.0)
    monkeypatch.setattr("harness.datasets.real_song.obstacle", lambda: "not here")
    harness("run", "--separator", "repet", "--tracks", "2", "--jobs", "1")
    first = read_run(Path("results/main"))
    assert set(first.scores["dataset"]) == {"demo"}
    assert first.scores["track"].nunique() == 2


def test_export_for_museval_gives_its_frames(harness, songs):
    museval = pytest.importorskip("museval")
    harness("run", "--separator", "repet", "--data", f"songs={songs}", "--jobs", "1")
    assert "4 files" in harness("export", "--to", "out")
    store = museval.EvalStore()
    store.add_eval_dir("out/repet")
    rows = read_run(Path("results/main")).scores.query("stem == 'vocals' and metric == 'csdr'")
    theirs = store.df[(store.df["target"] == "vocals") & (store.df["metric"] == "SDR")]
    medians = theirs.groupby("track")["score"].median()
    for row in rows.itertuples():
        assert medians[row.track] == pytest.approx(row.value, abs=2e-5)


def test_a_trained_network_is_a_row_of_ones_own_registry(harness, songs, tmp_path):
    torch = pytest.importorskip("torch")
    from harness.separators import checkpoints
    from harness.separators.networks import NETWORKS

    torch.manual_seed(0)
    network = NETWORKS["simplified_demucs"](widths=(8, 8, 8), hidden=8, sample_rate=8000)
    about = {"network": "simplified_demucs", "config": network.config(), "trained_on": ["songs"]}
    checkpoints.save(tmp_path / "mine.safetensors", network, about)
    digest = hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()
    row = f"""
mine:
  family: network
  stems: [vocals, drums, bass, other]
  sample_rate: 8000
  channels: 2
  weights: [{{file: mine.safetensors, sha256: {digest}}}]
  trained_on: [songs]
"""
    (tmp_path / "model_registry.yaml").write_text(row)
    harness("run", "--separator", "mine", "--data", f"songs={songs}", "--jobs", "1")
    scores = read_run(Path("results/main")).scores
    assert set(scores["status"]) == {"ok"}
    assert set(scores["stem"]) == {"vocals", "drums", "bass", "other", "accompaniment"}
    (tmp_path / "model_registry.yaml").write_text(row.replace(digest, "f" * 64))
    found = json.loads(harness("check", "--json", expected=cli.USER_ERROR))
    (broken,) = (line for line in found if line["what"] == "mine")
    assert "sha256" in broken["detail"]


def test_train_writes_weights_curves_and_card(harness, songs, tmp_path):
    (tmp_path / "tiny.yaml").write_text(
        """
name: tiny
network: simplified_demucs
options: {widths: [8, 8, 8], hidden: 8, sample_rate: 8000, segment: 4000}
loss: waveform
batch: 2
steps: 2
validate_every: 1
"""
    )
    arguments = ("train", "tiny.yaml", "--data", f"songs={songs}", "--split", "all")
    checkpoints = Path(harness(*arguments, "--device", "cpu", "--out", "trained").strip())
    assert checkpoints == Path("trained/tiny.safetensors")
    assert checkpoints.is_file()
    assert {"tiny.curves.csv", "tiny.card.md"} <= {p.name for p in Path("trained").iterdir()}


def test_file_names_are_told_as_they_are(capsys):
    terminal.say("a:smile:b.wav: cannot be read")
    assert capsys.readouterr().err == "a:smile:b.wav: cannot be read\n"


@pytest.mark.parametrize("n_columns", [2, 5, 9])
def test_printed_tables_tear_no_word_and_take_names_as_they_are(capsys, n_columns):
    head = ["separator", *(f"accompaniment {i}" for i in range(1, n_columns))]
    rows = [["run:a:simplified_demucs_demo", *["[b]:a: 1.25 (−0.50"] * (n_columns - 1)]]
    terminal.print_table("of :a: and [b]run[/b]", head, rows)
    shown = capsys.readouterr().out
    assert shown.startswith("of :a: and [b]run[/b]")
    words = shown.replace("┃", " ").replace("│", " ").split()
    assert words.count("accompaniment") == words.count("[b]:a:") == n_columns - 1
    assert words.count("(−0.50") == n_columns - 1


def test_columns_share_what_room_there_is():
    assert terminal.widened([3, 9], [3, 12], 20) == [3, 12]
    assert terminal.widened([2, 5, 5], [2, 20, 10], 24) == [2, 15, 7]  # as many lines in either
    assert terminal.widened([5, 9], [5, 9], 13) == [None, None]


def test_every_verb_has_its_help(harness, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    for name in COMMANDS:
        assert "Usage:" in harness(*name.split()[1:], "--help")


def test_every_verb_is_a_file():
    verbs = {path.stem for path in Path(cli.__file__).parent.glob("*.py")}
    for name in cli.VERBS:
        assert verbs & {name, f"{name}_"}, name


def test_an_unknown_run_is_named_with_the_known_ones(harness, songs):
    where = ("--data", f"songs={songs}", "--tracks", "1", "--jobs", "1")
    harness("run", "--separator", "mixture", *where)
    said = harness("select", "mian", expected=cli.USER_ERROR, errors=True)
    assert said == "error: results: no run named 'mian'; runs here: main\n"


@pytest.mark.parametrize(
    "arguments",
    [("select",), ("export",), ("report",), ("compare", "a", "b"), ("view",), ("view", "mine")],
)
def test_without_any_run_a_command_says_what_to_run(harness, tmp_path, arguments):
    for present in (False, True):
        if present:
            (tmp_path / "results" / "main").mkdir(parents=True)
            (tmp_path / "reports").mkdir()
        said = harness(*arguments, expected=cli.USER_ERROR, errors=True)
        assert "harness run --all" in said


def test_a_run_given_as_the_folder_of_runs_is_named(harness, tmp_path):
    (tmp_path / "out" / "main").mkdir(parents=True)
    (tmp_path / "out" / "main" / "run.json").touch()
    said = harness("select", "--results", "out/main", expected=cli.USER_ERROR, errors=True)
    assert (
        said == f"error: out/main: is a run, not a folder of runs; use --results {tmp_path}/out\n"
    )


def test_an_unknown_report_is_named_with_the_known_ones(harness, tmp_path):
    (tmp_path / "reports" / "main").mkdir(parents=True)
    (tmp_path / "reports" / "main" / "index.html").touch()
    said = harness("view", "mian", expected=cli.USER_ERROR, errors=True)
    assert said.startswith("error: reports: no report of 'mian'; reports here: main;")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.wav",), "nothing.wav: no such file or folder; check the path"),
        (("s.wav", "--format", "mp3"), "--format mp3: cannot be written; use wav or flac"),
        (("s.wav", "--bits", "16"), "--bits 16: not possible with wav; use 32f or 24"),
        (("s.wav", "--device", "gpu"), "--device gpu: unknown device; use auto, cpu, cuda or mps"),
        (("s.wav", "--stems", "vocls"), "--stems vocls: no ready separator returns it; did you "),
    ],
)
def test_separate_checks_what_was_typed_before_it_says_what_it_uses(
    harness, tmp_path, arguments, said
):
    (tmp_path / "s.wav").touch()
    found = harness("separate", *arguments, "--offline", expected=cli.USER_ERROR, errors=True)
    assert found.startswith(f"error: {said}")
    assert len(found.splitlines()) == 1
    assert not (tmp_path / "separated").exists()


@pytest.mark.parametrize(
    "arguments",
    [("--split", "tests"), ("--cascade", "no"), ("--dataset", "no"), ("--data", "no"),
     ("--audio", "loud"), ("--name", "a/b")],
)  # fmt: skip
def test_run_checks_what_was_typed_before_it_offers_weights(harness, monkeypatch, arguments):
    monkeypatch.setattr("harness.cli.run._offer_weights", lambda *_: pytest.fail("offered first"))
    said = harness("run", "--all", *arguments, expected=cli.USER_ERROR, errors=True)
    assert arguments[1] in said.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("run", "--all", "--split", "tests"),
            "did you mean 'test'? (known: all, test, train, val",
        ),
        (("select", "--how", "bst"), "--how bst: not known; did you mean 'best'? (known: bands,"),
        (("score", ".", "--input", "vocal part"), "known: drums, mixture, vocals"),
        (
            ("report", "--audio", "alowed"),
            "did you mean 'allowed'? (known: allowed, none, private)",
        ),
    ],
)
def test_an_unknown_choice_is_named_with_all_that_there_are(harness, arguments, said):
    assert said in harness(*arguments, expected=cli.USER_ERROR, errors=True)
