import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import planted
import pytest
from conftest import left_of, song_stems, write_song

from harness.benchmark import Settings, execute, make_plan, runner
from harness.benchmark.store import Store
from harness.benchmark.work import do_batch
from harness.benchmark.workers import KILLED, make_batches
from harness.core import audio
from harness.core.bands import weighted
from harness.core.errors import HarnessError, StorageError
from harness.core.files import file_digest
from harness.datasets import load as load_dataset
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.folder import folder
from harness.datasets.tracks import Excerpt
from harness.metrics import METRICS, analyse
from harness.registry import Entry
from harness.results.run_products import blends_of_run, find_blends
from harness.results.runs import read_run
from harness.separators import FAMILIES, Family, load

FOUR = ("vocals", "drums", "bass", "other")


@pytest.fixture(autouse=True)
def families(monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    monkeypatch.setitem(FAMILIES, "faulty", Family("planted:Faulty", 1))


def entry(name: str = "echo", family: str = "echo", stems=FOUR, **fields) -> Entry:
    return Entry(name=name, family=family, stems=stems, **fields)


def run(root: Path, entries, tmp_path: Path, **settings):
    chosen = Settings(results=tmp_path / "results", **settings)
    outcome = runner.run(entries, [folder(root, name="songs")], chosen)
    return outcome, read_run(outcome.folder)


def values(frame, **where):
    for column, wanted in where.items():
        frame = frame[frame[column] == wanted]
    return frame["value"].to_numpy()


def snr(reference, estimate) -> float:
    return 10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2))


# --- scores -------------------------------------------------------------------------------------


def test_mixture_as_estimate_scores_the_stem_to_rest_ratio(songs, tmp_path):
    _, result = run(songs, [entry()], tmp_path)
    stems = song_stems(0)
    mixture = np.sum(list(stems.values()), axis=0)
    for stem, reference in stems.items():
        found = values(result.scores, track="Ann - One", stem=stem, metric="snr")
        assert found == pytest.approx([snr(reference, mixture)], abs=1e-4)


def test_accompaniment_is_the_sum_of_what_was_given(songs, tmp_path):
    _, result = run(songs, [entry()], tmp_path)
    stems = song_stems(1)
    rest = stems["drums"] + stems["bass"] + stems["other"]
    three = 3 * np.sum(list(stems.values()), axis=0)
    found = values(result.scores, track="Ann - Two", stem="accompaniment", metric="snr")
    assert found == pytest.approx([snr(rest, three)], abs=1e-4)


def test_separator_of_one_stem_has_rows_of_that_stem_only(mono_songs, tmp_path):
    _, result = run(mono_songs, [entry(stems=("vocals",))], tmp_path)
    assert set(result.scores["stem"]) == {"vocals"}


def test_the_input_column_names_the_stem_that_was_fed(tmp_path):
    parts = song_stems(3)
    kit = dict(zip(("kick", "snare", "toms", "hihat"), parts.values(), strict=True))
    kit["cymbals"] = song_stems(4)["drums"]
    write_song(tmp_path / "songs" / "A - B", {**kit, "vocals": song_stems(5)["vocals"]})
    sub = entry("sub", input="drums", stems=("kick", "snare"))
    _, result = run(tmp_path / "songs", [sub], tmp_path)
    assert set(result.scores["input"]) == {"drums"}
    assert set(result.scores["fed_by"]) == {"reference"}
    drums = np.sum(list(kit.values()), axis=0)
    found = values(result.scores, stem="kick", metric="snr")
    assert found == pytest.approx([snr(kit["kick"], drums)], abs=1e-4)


def test_separators_have_their_own_rate_and_channels_and_scores_the_datasets(songs, tmp_path):
    planted.Echo.seen.clear()
    _, result = run(songs, [entry(sample_rate=16000, channels=1)], tmp_path)
    assert set(planted.Echo.seen) == {(1, 32000)}
    said = (
        "separated at 16000 Hz, given and wanted at 8000 Hz; "
        "separated with 1 channels, given and wanted with 2"
    )
    assert all(said in note for note in result.scores["note"])


def test_excerpt_is_the_middle(songs, tmp_path):
    planted.Echo.seen.clear()
    _, result = run(songs, [entry()], tmp_path, excerpt=Excerpt(1.0))
    assert set(planted.Echo.seen) == {(2, 8000)}
    middle = {stem: x[:, 4000:12000] for stem, x in song_stems(0).items()}
    mixture = np.sum(list(middle.values()), axis=0)
    found = values(result.scores, track="Ann - One", stem="bass", metric="snr")
    assert found == pytest.approx([snr(middle["bass"], mixture)], abs=1e-4)
    assert result.record["excerpt_seconds"] == 1.0


def test_silent_reference_is_undefined_with_a_note_and_the_rest_is_scored(tmp_path):
    stems = song_stems(0) | {"vocals": np.zeros_like(song_stems(0)["vocals"])}
    write_song(tmp_path / "songs" / "A - B", stems)
    _, result = run(tmp_path / "songs", [entry()], tmp_path)
    vocals = result.scores[result.scores["stem"] == "vocals"]
    assert set(vocals["status"]) == {"undefined"}
    assert all(note.startswith("silent reference") for note in vocals["note"])
    assert vocals["value"].isna().all()
    assert set(result.scores[result.scores["stem"] == "drums"]["status"]) == {"ok"}


def test_costs_are_a_table_of_their_own(mono_songs, tmp_path):
    _, result = run(mono_songs, [entry()], tmp_path)
    costs = result.costs.groupby("metric")["value"]
    assert set(costs.groups) == {"rtf", "scoring", "cpu_seconds", "peak_memory", "parameters"}
    assert costs.size().tolist() == [4] * 5
    assert costs.get_group("parameters").tolist() == [0] * 4
    assert not set(result.scores["metric"]) & set(result.costs["metric"])


# --- faults -------------------------------------------------------------------------------------

FAULTS = {
    "raise": "RuntimeError: weights are gone",
    "exit": "SystemExit: 1",
    "nan": "contains NaN",
    "missing": "no estimate was returned",
    "transposed": "give it as (channels, samples)",
    "cut": "1.00 s shorter than the mixture",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_separator_is_a_row_and_the_others_go_on(songs, tmp_path, fault):
    bad = entry("bad", "faulty", params={"fault": fault})
    outcome, result = run(songs, [bad, entry()], tmp_path)
    assert outcome.failed == 4
    failed = result.scores[result.scores["separator"] == "bad"]
    assert set(failed["status"]) == {"failed"}
    assert len(failed) == 4
    assert all(FAULTS[fault] in note for note in failed["note"])
    assert not any("\n" in note for note in failed["note"])
    assert len(values(result.scores, separator="echo", metric="snr")) == 4 * 5


def test_a_song_of_equal_channels_fails_for_ica_and_the_run_goes_on(tmp_path):
    stereo, equal = (
        song_stems(0),
        {stem: x[:1].repeat(2, axis=0) for stem, x in song_stems(1).items()},
    )
    for name, stems in {"Ann": stereo, "Bob": equal, "Cleo": left_of(song_stems(2))}.items():
        write_song(tmp_path / "songs" / f"{name} - One", stems)
    ica = entry("ica", "ica", ("vocals", "accompaniment"), channels=2)
    outcome, result = run(tmp_path / "songs", [ica], tmp_path)
    assert outcome.failed == 2
    by_track = result.scores.groupby("track")
    assert by_track["status"].unique().map(list).to_dict() == {
        "Ann - One": ["ok"],
        "Bob - One": ["failed"],
        "Cleo - One": ["failed"],
    }
    failed = result.scores[result.scores["status"] == "failed"]
    assert all("Ica: both channels hold one signal" in note for note in failed["note"])


def test_slightly_short_estimates_are_fixed_and_the_row_says_so(mono_songs, tmp_path):
    _, result = run(mono_songs, [entry("short", "faulty", params={"fault": "short"})], tmp_path)
    assert set(result.scores["status"]) == {"ok"}
    assert all("vocals 100 samples shorter" in note for note in result.scores["note"])


def test_a_separator_that_overwrites_its_input_harms_nobody_else(mono_songs, tmp_path):
    vandal = entry("vandal", "faulty", params={"fault": "in place"})
    _, after = run(mono_songs, [vandal, entry()], tmp_path)
    _, alone = run(mono_songs, [entry()], tmp_path / "alone")
    where = {"separator": "echo", "metric": "snr"}
    assert np.array_equal(values(after.scores, **where), values(alone.scores, **where))


def test_failures_are_tried_again(mono_songs, tmp_path, monkeypatch):
    bad = entry("bad", "faulty", params={"fault": "raise"})
    assert run(mono_songs, [bad], tmp_path)[0].failed == 4
    monkeypatch.setattr(planted.Faulty, "separate", planted.Echo.separate)
    outcome, result = run(mono_songs, [bad], tmp_path)
    assert (outcome.failed, outcome.reused) == (0, 0)
    assert set(result.scores["status"]) == {"ok"}


def test_a_killed_worker_costs_one_row(mono_songs, tmp_path, monkeypatch):
    names = {"echo": entry(), "deadly": entry("deadly", params={"gain": 2.0})}

    def dying(units, settings, partners):
        from harness import separators

        separators.FAMILIES["echo"] = separators.Family("planted:Echo", 1)  # in the worker
        failed = {}
        for unit in units:
            if unit.entry.name == "deadly" and unit.track.name == "Bob - One":
                os.kill(os.getpid(), signal.SIGKILL)
            failed |= do_batch((unit,), settings)
        return failed | do_batch((), settings, partners)

    monkeypatch.setattr("harness.benchmark.workers.do_batch", dying)
    outcome, result = run(mono_songs, list(names.values()), tmp_path, jobs=2)
    assert outcome.failures == (KILLED,)
    failed = result.scores[result.scores["status"] == "failed"]
    assert [(r.separator, r.track) for r in failed.itertuples()] == [("deadly", "Bob - One")]


def test_full_disk_stops_the_run_and_keeps_what_was_done(mono_songs, tmp_path, monkeypatch):
    real, calls = Store.put, []

    def put(self, key, content):
        calls.append(key)
        if len(calls) > 2:
            raise StorageError("results: the disk is full; free some space")
        real(self, key, content)

    monkeypatch.setattr(Store, "put", put)
    with pytest.raises(StorageError, match="disk is full"):
        run(mono_songs, [entry()], tmp_path)
    monkeypatch.undo()
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    outcome, _ = run(mono_songs, [entry()], tmp_path)
    assert outcome.reused == 2
    assert outcome.failed == 0


# --- what is repeated, and what is not ------------------------------------------------------------


def test_a_second_run_does_nothing(mono_songs, tmp_path, monkeypatch):
    first, _ = run(mono_songs, [entry()], tmp_path)
    before = {p: p.stat().st_mtime_ns for p in first.folder.iterdir()}
    monkeypatch.setattr("harness.benchmark.work.do_unit", lambda *_: pytest.fail("worked again"))
    second, _ = run(mono_songs, [entry()], tmp_path)
    assert (second.reused, second.fresh) == (4, False)
    assert {p: p.stat().st_mtime_ns for p in first.folder.iterdir()} == before


def test_workers_may_run_in_another_folder(songs, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    shutil.copytree(songs, "mine")
    Path("own.th").touch()
    own = entry("own", weights=[{"file": "own.th", "sha256": file_digest(Path("own.th"))}])

    def work(units, *given):
        os.chdir(elsewhere)
        assert [str(w.file) for u in units for w in u.entry.weights] == [str(tmp_path / "own.th")]
        try:
            return do_batch(units, *given)
        finally:
            os.chdir(tmp_path)

    monkeypatch.setattr("harness.benchmark.workers.do_batch", work)
    dataset = load_dataset("mine", Path("mine"))
    found = runner.run([own], [replace(dataset, tracks=dataset.tracks[:1])], Settings())
    assert found.failed == 0
    assert list(elsewhere.iterdir()) == []
    assert Path("results/main/run.json").is_file()


def plan_keys(root, entries, tmp_path):
    dataset = folder(root, name="songs")
    plan = make_plan(entries, [dataset], Settings(), Fingerprints(tmp_path / "f.jsonl"))
    return {(u.entry.name, u.track.name): u.key for u in plan.units}


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_a_changed_entry_repeats_only_that_entry(songs, tmp_path):
    two = [entry("a"), entry("b")]
    before = plan_keys(songs, two, tmp_path)
    after = plan_keys(songs, [two[0], entry("b", params={"gain": 2.0})], tmp_path)
    assert {name for name, _ in changed(before, after)} == {"b"}


def test_a_changed_checkpoint_redoes_that_entry_only(songs, tmp_path):
    (tmp_path / "a.th").touch()  # what lacks its weights is not planned
    file = str(tmp_path / "a.th")
    weights = [{"file": file, "sha256": digit * 64} for digit in "01"]
    one = [entry("a", weights=[weights[0]]), entry("b")]
    other = [entry("a", weights=[weights[1]]), entry("b")]
    difference = changed(plan_keys(songs, one, tmp_path), plan_keys(songs, other, tmp_path))
    assert {name for name, _ in difference} == {"a"}


def test_a_new_family_version_redoes_that_family_only(songs, tmp_path, monkeypatch):
    two = [entry("a"), entry("b", "faulty")]
    before = plan_keys(songs, two, tmp_path)
    monkeypatch.setitem(FAMILIES, "faulty", Family("planted:Faulty", 2))
    assert {name for name, _ in changed(before, plan_keys(songs, two, tmp_path))} == {"b"}


def test_a_new_metric_version_redoes_all(songs, tmp_path, monkeypatch):
    before = plan_keys(songs, [entry()], tmp_path)
    monkeypatch.setitem(METRICS, "snr", replace(METRICS["snr"], version=99))
    assert len(changed(before, plan_keys(songs, [entry()], tmp_path))) == 4


def test_changed_audio_redoes_that_track_only(tmp_path):
    for seed, name in enumerate(("A - One", "A - Two")):
        write_song(tmp_path / "songs" / name, song_stems(seed))
    before = plan_keys(tmp_path / "songs", [entry()], tmp_path)
    write_song(tmp_path / "songs" / "A - Two", song_stems(9))
    after = plan_keys(tmp_path / "songs", [entry()], tmp_path)
    assert {track for _, track in changed(before, after)} == {"A - Two"}


def test_audio_replaced_by_some_of_equal_size_and_time_redoes_that_track_only(tmp_path):
    for seed, name in enumerate(("A - One", "A - Two")):
        write_song(tmp_path / "songs" / name, song_stems(seed))
    before = plan_keys(tmp_path / "songs", [entry()], tmp_path)
    old = tmp_path / "songs" / "A - Two" / "drums.wav"
    new = tmp_path / "new.wav"
    audio.write(new, song_stems(9)["drums"], 8000)
    os.utime(new, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    assert new.stat().st_size == old.stat().st_size
    shutil.copy2(new, old)
    after = plan_keys(tmp_path / "songs", [entry()], tmp_path)
    assert {track for _, track in changed(before, after)} == {"A - Two"}


def test_a_copied_dataset_keeps_its_scores(mono_songs, tmp_path):
    run(mono_songs, [entry()], tmp_path)
    shutil.copytree(mono_songs, tmp_path / "copy", copy_function=shutil.copyfile)
    outcome, _ = run(tmp_path / "copy", [entry()], tmp_path)
    assert (outcome.reused, outcome.units) == (4, 4)


def test_a_mixture_that_is_not_the_sum_is_left_out_and_can_be_kept(tmp_path):
    for seed, name in enumerate(("A - One", "A - Two")):
        write_song(tmp_path / "songs" / name, song_stems(seed))
    path = tmp_path / "songs" / "A - Two" / "mixture.wav"
    audio.write(path, np.pad(audio.read(path)[0], ((0, 0), (200, 0)))[:, :-200], 8000)
    said = "the mixture is 25.0 ms (200 samples) later than the sum of the stems"
    outcome, result = run(tmp_path / "songs", [entry()], tmp_path)
    (omission,) = outcome.left_out
    assert (omission.name, f"the mixture {omission.detail}") == ("A - Two", said)
    assert set(result.scores["track"]) == {"A - One"}
    outcome, result = run(tmp_path / "songs", [entry()], tmp_path, keep_unequal=True)
    assert (outcome.left_out, outcome.reused) == ((), 1)
    notes = result.scores[result.scores["track"] == "A - Two"]["note"]
    assert all(said in note for note in notes)


def test_a_renamed_entry_is_not_repeated(mono_songs, tmp_path):
    run(mono_songs, [entry("old")], tmp_path)
    outcome, result = run(mono_songs, [entry("new")], tmp_path)
    assert outcome.reused == 4
    assert set(result.scores["separator"]) == {"new"}


@pytest.mark.parametrize(
    ("root", "names", "most"),
    [
        ("mono_songs", ("repet", "hpss"), 2),
        pytest.param("songs", ("repet_sim", "nmf", "irm"), 3, marks=pytest.mark.slow),
    ],
)
def test_the_number_of_jobs_changes_no_byte(root, names, most, tmp_path, request):
    from harness import registry

    songs, entries = request.getfixturevalue(root), [registry.load()[name] for name in names]
    many, one = (
        run(songs, entries, tmp_path / str(jobs), jobs=jobs)[0].folder for jobs in (most, 1)
    )
    for name in ("scores.parquet", "ensembles.parquet", "selection.parquet"):
        assert (many / name).read_bytes() == (one / name).read_bytes()


def test_batches_keep_a_track_together_and_use_all_jobs(songs):
    dataset = folder(songs, name="songs")
    entries = [entry(str(i)) for i in range(5)]
    plan = make_plan(entries, [dataset], Settings(), Fingerprints(Path("/nonexistent/f")))
    units = plan.units
    assert [len(b.units) for b in make_batches(units, units, 2)] == [5, 5, 5, 5]
    one = [u for u in units if u.track.name == "Ann - One"]
    assert sorted(len(b.units) for b in make_batches(one, units, 2)) == [2, 3]
    for batch in make_batches(units, units, 9):
        assert len({u.track.name for u in batch.units}) == 1
    (rest,) = make_batches(one[3:], units, 1)
    assert (rest.units, rest.partners) == (tuple(one[3:]), tuple(one))


def test_progress_ends_at_all(mono_songs, tmp_path):
    seen = []
    settings = Settings(results=tmp_path / "results")
    dataset = folder(mono_songs, name="songs")
    plan = make_plan([entry()], [dataset], settings, Fingerprints(tmp_path / "f.jsonl"))
    execute(plan, settings, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (4, 4)


def test_nothing_to_do_is_an_error_that_says_why(songs, tmp_path):
    waiting = entry("later", unavailable="it is not part of this version")
    with pytest.raises(HarnessError, match="later: it is not part of this version"):
        run(songs, [waiting], tmp_path)


def test_skipped_separators_are_recorded_with_their_reason(mono_songs, tmp_path):
    waiting = entry("later", unavailable="it is not part of this version")
    drums_only = entry("sub", input="drums", stems=("kick",))
    outcome, result = run(mono_songs, [entry(), waiting, drums_only], tmp_path)
    assert {row["separator"]: row["reason"] for row in result.record["skipped"]} == {
        "later": "it is not part of this version",
        "sub": "no track has the stem drums with its sub-stems",
    }
    assert {omission.name: omission.what for omission in outcome.left_out} == {
        "later": "separator not run",
        "sub": "separator not run",
    }


# --- inner products -------------------------------------------------------------------------------


def noisy_pair() -> list[Entry]:
    """Two separators that differ, both with all four stems."""
    from harness import registry

    return [registry.load()[name] for name in ("repet_sim", "nmf")]


def blends_of(result, folder, track="Ann - One"):
    """The inner products of a track, and the keys of its pieces of work."""
    units = [u for u in result.record["units"] if u["track"] == track]
    keys = [u["key"] for u in units]
    return find_blends(folder.parent / "work", units[0]["track_key"], keys), keys


# 2 jobs: more than tracks, so that the track is split
@pytest.mark.parametrize(("root", "jobs"), [("songs", 1), ("mono_songs", 2)])
def test_blends_are_scored_from_inner_products_as_from_audio(root, jobs, tmp_path, request):
    entries = noisy_pair()
    dataset = folder(request.getfixturevalue(root), name="songs")
    dataset = replace(dataset, tracks=dataset.tracks[:1])
    settings = Settings(results=tmp_path / "results", jobs=jobs)
    outcome = runner.run(entries, [dataset], settings)
    result = read_run(outcome.folder)
    products, keys = blends_of(result, outcome.folder)
    stems = song_stems(0) if root == "songs" else left_of(song_stems(0))
    mixture = np.sum(list(stems.values()), axis=0)
    made = [load(e, stems=FOUR, sample_rate=8000).separate(mixture) for e in entries]
    references = analyse(stems, 8000)
    for stem in FOUR:
        mixed = {stem: np.float32(0.3) * made[0][stem] + np.float32(0.7) * made[1][stem]}
        expected = references.score(mixed)[stem]
        found = products[stem].score({keys[0]: 0.3, keys[1]: 0.7})
        for metric, value in found.items():
            assert value == pytest.approx(expected[metric].value, abs=1e-4)
    assert list((tmp_path / "results/work/scratch").glob("*")) == []


def test_blends_by_band_are_scored_from_inner_products_as_from_audio(mono_songs, tmp_path):
    entries, edges = noisy_pair(), (500.0, 2000.0)
    dataset = folder(mono_songs, name="songs")
    dataset = replace(dataset, tracks=dataset.tracks[:1])
    settings = Settings(results=tmp_path / "results", edges=edges)
    outcome = runner.run(entries, [dataset], settings)
    result = read_run(outcome.folder)
    units = [u for u in result.record["units"] if u["track"] == "Ann - One"]
    keys = [u["key"] for u in units]
    work = outcome.folder.parent / "work"
    products = find_blends(work, units[0]["track_key"], keys, by_band=True)
    weights = (0.3, 0.0, 1.0), (0.7, 1.0, 0.0)
    stems = left_of(song_stems(0))
    mixture = np.sum(list(stems.values()), axis=0)
    made = [load(e, stems=FOUR, sample_rate=8000).separate(mixture) for e in entries]
    for stem in stems:
        parts = [weighted(m[stem], 8000, edges, w) for m, w in zip(made, weights, strict=True)]
        expected = analyse(stems, 8000).score({stem: parts[0] + parts[1]})[stem]
        found = products[stem].score(dict(zip(keys, weights, strict=True)))
        assert set(found) == {"snr", "sdr", "si_sdr", "si_sir", "si_sar"}
        for metric, value in found.items():
            assert value == pytest.approx(expected[metric].value, abs=1e-5)
    scores = result.scores[result.scores["track"] == "Ann - One"]
    kept = blends_of_run(work, result.record["units"], scores, by_band=True)
    assert {blend.edges for blend in kept.values()} == {edges}
    assert blends_of_run(work, result.record["units"], scores).keys() == kept.keys()


def test_products_interrupted_are_finished_by_the_next_run(mono_songs, tmp_path, monkeypatch):
    entries = noisy_pair()
    monkeypatch.setattr("harness.benchmark.kept_products.keep", lambda *_: None)
    outcome, result = run(mono_songs, entries, tmp_path)
    assert blends_of(result, outcome.folder)[0] == {}
    monkeypatch.undo()
    outcome, result = run(mono_songs, entries, tmp_path)
    assert outcome.reused == 8
    assert set(blends_of(result, outcome.folder)[0]) == {*FOUR, "accompaniment"}
    assert list((tmp_path / "results/work/scratch").glob("*")) == []


# --- damage -------------------------------------------------------------------------------------


def _flip_a_digit(path):
    text = path.read_text()
    at = next(i for i in range(text.index("snr"), len(text)) if text[i] in "12345678")
    path.write_text(text[:at] + str(int(text[at]) + 1) + text[at + 1 :])


def _folder_in_its_place(path):
    path.unlink()
    (path / "inside").mkdir(parents=True)


def _file_in_place_of_its_folder(path):
    shutil.rmtree(path.parent)
    path.parent.write_text("no folder")


def _of_an_earlier_version(content):
    """Write a result without a checksum."""
    return lambda path: path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_digit,
        _folder_in_its_place,
        _file_in_place_of_its_folder,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-9]),
        lambda path: path.write_bytes(b"[" * 100_000),
        lambda path: path.write_text("null"),
        lambda path: path.write_text(path.read_text().replace("sha256", "sha257")),
        _of_an_earlier_version({}),
        _of_an_earlier_version({"scores": None}),
        _of_an_earlier_version({"scores": {"bass": None}, "costs": {}, "notes": []}),
        _of_an_earlier_version({"scores": {"bass": {"snr": [None, ""]}}, "costs": {}, "notes": []}),
        _of_an_earlier_version({"scores": {}, "costs": {"rtf": "1"}, "notes": []}),
    ],
)
def test_a_damaged_result_is_absent_and_set_aside(tmp_path, damage):
    store = Store(tmp_path)
    scores = {"bass": {"snr": [1.25, ""]}}
    store.put("ab12", {"scores": scores, "costs": {}, "notes": []})
    damage(store.path("ab12"))
    assert store.get("ab12") is None
    (aside,) = store.damaged
    assert aside.exists()
    assert ".damaged" in aside.name
    store.put("ab12", {"scores": scores, "costs": {}, "notes": []})
    assert store.has("ab12")


@pytest.mark.parametrize("damage", [_flip_a_digit, _folder_in_its_place])
def test_a_damaged_result_is_named_and_done_again(mono_songs, tmp_path, damage):
    _, before = run(mono_songs, [entry()], tmp_path)
    damage(sorted((tmp_path / "results" / "work").glob("??/*.json"))[0])
    outcome, after = run(mono_songs, [entry()], tmp_path)
    assert (outcome.reused, outcome.failed) == (outcome.units - 1, 0)
    assert len(outcome.damaged) == 1
    pd.testing.assert_frame_equal(before.scores, after.scores)


def test_results_of_an_earlier_version_need_no_checksum(mono_songs, tmp_path):
    run(mono_songs, [entry()], tmp_path)
    for path in (tmp_path / "results" / "work").glob("??/*.json"):
        content = json.loads(path.read_bytes())
        del content["sha256"]
        path.write_text(json.dumps(content))
    outcome, _ = run(mono_songs, [entry()], tmp_path)
    assert (outcome.reused, outcome.damaged) == (outcome.units, ())


def test_work_from_before_a_metric_existed_stays_and_says_what_it_lacks(songs, tmp_path):
    outcome, _ = run(songs, [entry()], tmp_path, listen=0)
    store = Store(tmp_path / "results" / "work")
    for path in store.folder.glob("??/*.json"):
        result = store.get(path.stem)
        for scores in result["scores"].values():
            del scores["si_sir"], scores["si_sar"]
        store.put(path.stem, result)
    again, result = run(songs, [entry()], tmp_path, listen=0)
    assert again.reused == again.units == outcome.units
    assert "snr" in set(result.scores["metric"])
    assert not {"si_sir", "si_sar"} & set(result.scores["metric"])
    (lack,) = [one for one in again.left_out if one.what == "separator scored in part"]
    assert (lack.name, lack.dataset) == ("echo", "songs")
    assert lack.reason.startswith("scored before SI-SIR, SI-SAR existed")


def test_torch_is_loaded_before_threads_are_limited():
    code = (
        "import sys; from harness.benchmark import work; seen = []\n"
        "work.read_signals = lambda *a: seen.append('torch' in sys.modules) or 1 / 0\n"
        "assert 'torch' not in sys.modules\n"
        "work.do_batch([], work.Settings()); sys.exit(seen != [True])"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
