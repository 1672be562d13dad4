"""Published scores as a run: known answers, hostile files, and the real tables where they are."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from synthetic_run import demo_run

from harness import cli, registry
from harness.core.errors import HarnessError
from harness.datasets.tracks import Dataset, Track
from harness.metrics import METRICS
from harness.results.grid import HARMONIC, chosen_by
from harness.results.importing import (
    Request,
    foreign_formats,
    import_scores,
    read_published,
)
from harness.results.museval_format import NAMES, write_museval
from harness.results.omitted import recorded
from harness.results.replacing import check_place
from harness.results.runs import join, read_run, write_run
from harness.selection import finished_run

SONGS = ("Zeno - Signs", "Al James - Schoolboy Facination", "AM Contra - Heart Peripheral")
HEAD = "method,target,metric,track,median_over_frames_dB"
DIGIT = 0.005  # dB, half of the last digit of a published table


@pytest.fixture
def harness(tmp_path, monkeypatch, capsys):
    """Run the command line in a folder of its own; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, expected: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return out + err

    return run


def frames(csdr):
    """Frames of one stem with this SDR and other metrics of their own."""
    return {name: np.asarray(csdr, float) + i for i, name in enumerate(NAMES)}


def sisec_table(path: Path, methods: dict[str, float], n_tracks: int = 16) -> Path:
    """Write a table of medians: each method its mean plus an offset of the track that all share."""
    lines = [HEAD]
    for name, mean in methods.items():
        for i in range(n_tracks):
            value = mean + 0.1 * i + 0.01 * (i % 3) * len(name)
            lines += [
                f"{name},{stem},{metric},Artist {i} - Song,{value:.4f}"
                for stem in ("vocals", "drums")
                for metric in ("SDR", "SIR")
            ]
    path.write_text("\n".join(lines) + "\n")
    return path


def models(scores: dict[str, dict], stems: list[str] | None = None, track: str = SONGS[0]) -> dict:
    """Return the scores of one model on one track, as audio-separator keeps them."""
    return {"stems": stems or [], "track_scores": [{"track_name": track, "scores": scores}]}


def four(sdr: float) -> dict[str, float]:
    return {"SDR": sdr, "SIR": 1.0, "SAR": 2.0, "ISR": 3.0}


def test_museval_is_read_as_the_median_over_frames_with_a_number(tmp_path):
    estimated = {"vocals": frames([1, np.nan, 9, 2]), "accompaniment": frames([np.nan, np.nan])}
    write_museval(tmp_path / "TAU9" / "test" / f"{SONGS[0]}.json", estimated)
    run = read_published([tmp_path], Request(run="x"))
    rows = run.scores.set_index(["stem", "metric"])
    assert rows.loc[("vocals", "csdr"), "value"] == 2.0
    assert rows.loc[("vocals", "isr"), "value"] == 2.0 + [*NAMES].index("isr")
    assert rows.loc[("vocals", "csdr"), "note"] == "published: median over 3 of 4 frames"
    assert set(rows.loc["accompaniment", "status"]) == {"undefined"}
    assert set(run.scores["metric"]) == {"csdr", "isr", "sir", "sar"}
    place = run.scores[["dataset", "split", "track", "artist", "separator", "input"]]
    assert set(place.itertuples(index=False, name=None)) == {
        ("musdb18", "test", SONGS[0], "Zeno", "x:TAU9", "mixture")
    }
    (source,) = run.record["published"]
    assert source["file"].endswith("Signs.json")
    assert len(source["sha256"]) == 64
    assert "museval" in run.record["metrics"]["csdr"]["definition"]


@pytest.mark.parametrize("split", ["", "train"])
def test_the_split_is_that_of_the_folder_or_of_the_song(tmp_path, split):
    write_museval(tmp_path / "M" / split / f"{SONGS[0]}.json", {"bass": frames([1])})
    run = read_published([tmp_path], Request())
    assert set(run.scores["split"]) == {split or "test"}
    problems = run.record["datasets"]["musdb18"]["problems"]
    assert problems == (
        [f"1 tracks are not in train, unlike in the files: {SONGS[0]}, …"] if split else []
    )


def test_halves_of_dsd100_are_its_own(tmp_path):
    song = "Actions - One Minute Smile"  # a test song there, a training song of MUSDB18
    write_museval(tmp_path / "M" / f"{song}.json", {"bass": frames([1])})
    for dataset, split in (("dsd100", "test"), ("musdb18", "train")):
        run = read_published([tmp_path], Request(dataset=dataset, trained_on=("musdb18:train",)))
        assert set(run.scores["split"]) == {split}
        assert [row["status"] for row in run.record["leaks"]] == ["leaked"]


def test_unknown_songs_need_a_dataset_and_a_split(tmp_path):
    write_museval(tmp_path / "M" / "Nobody - Knows.json", {"bass": frames([1])})
    for request in (Request(), Request(dataset="mine")):
        with pytest.raises(HarnessError, match="--data-split"):
            read_published([tmp_path], request)
    run = read_published([tmp_path], Request(dataset="mine", split="test"))
    assert set(run.scores["dataset"]) == {"mine"}
    assert set(run.scores["split"]) == {"test"}


def test_frames_of_another_length_are_another_definition(tmp_path):
    path = tmp_path / "M" / f"{SONGS[0]}.json"
    write_museval(path, {"bass": frames([1, 2])})
    path.write_text(path.read_text().replace('"duration": 1.0', '"duration": 2.0'))
    with pytest.raises(HarnessError, match="frame 0 lasts 2 s from 0 s on; only frames of 1 s"):
        read_published([tmp_path], Request())


def test_audio_separator_tells_leaked_from_unknown_and_leaves_out_stems_that_the_model_lacks(
    tmp_path,
):
    path = tmp_path / "models-scores.json"
    content = {
        "htdemucs.yaml": models({s: four(5.0) for s in ("vocals", "drums", "bass", "other")}),
        "secret.ckpt": models({"vocals": four(7.0), "instrumental": four(9.0)}),
        "only.onnx": models({"bass": four(1.0), "instrumental": four(2.0)}, ["bass", "no bass"]),
        "six.yaml": models(
            {s: four(3.0) for s in ("vocals", "drums", "bass", "other")},
            ["vocals", "drums", "bass", "guitar", "piano", "other"],
        ),
        "two.ckpt": models({"vocals": four(1.0), "other": four(1.0), "seconds_per_minute_m3": 9.0}),
    }
    path.write_text(json.dumps(content))
    run = read_published([path], Request(entries=registry.load(None)))
    stems = run.scores.groupby("separator")["stem"].agg(set).to_dict()
    assert stems["audio-separator:secret.ckpt"] == {"vocals", "accompaniment"}
    assert stems["audio-separator:only.onnx"] == {"bass"}
    assert stems["audio-separator:six.yaml"] == {"vocals", "drums", "bass"}
    assert stems["audio-separator:two.ckpt"] == {"vocals"}
    assert set(run.scores["split"]) == {"train"}
    leaks = {row["separator"]: row["status"] for row in run.record["leaks"]}
    assert leaks["audio-separator:htdemucs.yaml"] == "leaked"
    assert leaks["audio-separator:secret.ckpt"] == "unknown"
    left_out = recorded(run.record)
    assert {one.what for one in left_out} == {"stem not imported"}
    told = " ".join(run.record["datasets"]["musdb18"]["problems"])
    assert all(f"scores of {one.name!r}" in told for one in left_out)
    assert left_out
    assert "4 scores of 'instrumental, which is not a stem of the model'" in told
    known = read_published([path], Request(trained_on=("moisesdb",)))
    assert known.record["leaks"] == []


def test_moisesdb_is_snr_and_its_rest_of_six_stems_is_not_that_of_four(tmp_path, monkeypatch):
    six = [("vocals", 9.5), ("drums", 1), ("bass", 1), ("guitar", 3), ("piano", 2), ("other", 0.5)]
    lines = [f"{i},uuid-1,{stem},{value}" for i, (stem, value) in enumerate(six)]
    (tmp_path / "net6.csv").write_text("\n".join([",track_id,stem,sdr", *lines]))
    oracles = ["0,uuid-1,IRM,vocals,10.5", "1,uuid-1,IBM,vocals,"]
    (tmp_path / "oracle4.csv").write_text("\n".join([",track_id,model,stem,sdr", *oracles]))
    song = Track("moisesdb", "A - B", "A", "test", (), {}, genre="jazz", id="uuid-1")
    monkeypatch.setattr(
        import_scores, "load", lambda *_: Dataset("moisesdb", "", 44100, (), (song,))
    )
    run = read_published([tmp_path], Request(folders={"moisesdb": tmp_path}))
    values = run.scores.set_index(["separator", "stem"])["value"]
    assert values["moisesdb:net6", "other_rest"] == 0.5
    assert ("moisesdb:net6", "other") not in values
    assert math.isnan(values["moisesdb:oracle4_IBM", "vocals"])
    assert set(run.scores["track"]) == {"A - B"}
    assert set(run.scores["genre"]) == {"jazz"}
    assert run.record["metrics"] == {"snr": {**METRICS["snr"].described(), "computed": True}}
    roles = {name: about["role"] for name, about in run.record["separators"].items()}
    assert roles["moisesdb:oracle4_IRM"] == "oracle"
    assert roles["moisesdb:net6"] == "separator"


MUSEVAL = '{"targets": [{"name": "bass", "frames": [%s]}]}'
FRAME = '{"time": 0, "duration": 1, "metrics": {"SDR": %s, "SIR": 1, "ISR": 1, "SAR": 1}}'
HOSTILE = {
    "text.json": MUSEVAL % FRAME % '"seven"',
    "bool.json": MUSEVAL % FRAME % "true",
    "huge.json": MUSEVAL % FRAME % ("9" * 400),
    "long.json": MUSEVAL % FRAME % ("9" * 5000),
    "loud.json": MUSEVAL % FRAME % "1e300",
    "cut.json": '{"targets": [',
    "deep.json": '{"targets": ' + "[" * 100_000,
    "list.json": '["targets"]',
    "stem.json": MUSEVAL.replace('"bass"', "{}") % FRAME % 1,
    "none.json": MUSEVAL.replace("bass", "theremin") % FRAME % 1,
    "frames.json": '{"targets": [{"name": "bass", "frames": 7}]}',
    "other.json": '{"scores": 1}',
    "latin.csv": f"{HEAD}\nM,bass,SDR,Caf\xe9 - X,1".encode("latin-1"),
    "nul.csv": f"{HEAD}\nM,bass,SDR,A\0B,1",
    "escape.csv": f"{HEAD}\nM,bass,SDR,../../etc/passwd,1",
    "dots.csv": f"{HEAD}\nM,bass,SDR,..,1",
    "lines.csv": f'{HEAD}\nM,bass,SDR,"two\u2028lines",1',
    "noname.csv": f"{HEAD}\n ,bass,SDR,A - B,1",
    "short.csv": f"{HEAD}\nM,bass,SDR",
    "wide.csv": f"{HEAD}\nM,bass,SDR,A - B,1,2",
    "field.csv": f"{HEAD}\nM,bass,SDR,{'x' * 200_000},1",
    "word.csv": f"{HEAD}\nM,bass,SDR,A - B,seven",
    "metric.csv": f"{HEAD}\nM,bass,PESQ,A - B,1",
    "empty.csv": HEAD,
    "twice.csv": f"{HEAD}\nM,bass,SDR,A - B,1\nM,bass,SDR,A - B,2",
    "slash.json": json.dumps({"a/../b": models({"vocals": four(1.0)})}),
    "nan.json": json.dumps({"a": models({"vocals": {**four(1.0), "SIR": "x"}})}),
    "lacks.json": json.dumps({"a": models({"vocals": {"SDR": 1.0}})}),
    "null.json": '{"a": {"stems": null, "track_scores": null}}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_and_nothing_is_written(harness, tmp_path, name):
    folder = tmp_path / "in" / "test"
    folder.mkdir(parents=True)
    content = HOSTILE[name]
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    said = harness("import", folder / name, "--data-split", "mine:test", expected=cli.USER_ERROR)
    assert said.startswith("error: ")
    assert len(said) < 1000
    assert [*tmp_path.rglob("*.parquet")] == []
    assert not (tmp_path / "reports").exists()


def test_paths_without_scores_are_refused(harness, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    table = sisec_table(tmp_path / "t.csv", {"A": 1.0})
    for arguments, reason in (
        (["absent"], "no such file"),
        (["empty"], "has no .json"),
        ([table, "--format", "musval"], "museval"),
        ([table, "--format", "moisesdb"], "no column 'track_id'"),
        ([table, "--name", "../up"], "not a valid name"),
        ([table, "--data-split", "../up:test"], "not of the form DATASET:SPLIT"),
    ):
        assert reason in harness("import", *arguments, expected=cli.USER_ERROR)
    monkeypatch.setattr(foreign_formats, "LARGEST", 10)
    assert "larger than 10 bytes" in harness("import", table, expected=cli.USER_ERROR)


def test_an_imported_run_is_shown_compared_and_chosen_from(harness, tmp_path):
    table = sisec_table(tmp_path / "t.csv", {"GOOD": 6.0, "<i>FAIR": 4.0, "IRM1": 9.0})
    shown = harness("import", table)
    assert "musdb18: cSDR, dB" in shown
    assert "sisec18:GOOD" in shown
    assert "IRM1" not in shown
    told = json.loads(harness("select", "sisec18", "--json"))
    deployable = [row for row in told["counts"] if row["kind"] == "deployable"]
    assert {row["separator"] for row in deployable} == {"sisec18:GOOD"}
    assert "musdb18: no separator has both SNR and SDR; csdr chooses" in told["notes"]
    assert "selected by csdr" in harness("select", "sisec18")
    rows = json.loads(
        harness("compare", "sisec18:GOOD", "sisec18:<i>FAIR", "--run", "sisec18", "--json")
    )
    assert {row["verdict"] for row in rows} == {"sisec18:GOOD is better"}
    said = harness("select", "sisec18", "--save", "best", expected=cli.USER_ERROR)
    assert "sisec18: none of its separators is in the registry" in said
    assert "use --format csv" in harness("export", "sisec18", expected=cli.USER_ERROR)
    page = (tmp_path / "reports" / "sisec18" / "index.html").read_text()
    assert "museval" in page
    assert "as published (SiSEC 2018)" in page
    assert "<i>FAIR" not in page
    made = (tmp_path / "reports" / "sisec18" / "provenance.html").read_text()
    assert read_run(tmp_path / "results" / "sisec18").record["published"][0]["sha256"] in made
    assert "Finished jobs are cached" not in made


def test_importing_again_replaces_but_never_a_measured_run(tmp_path):
    for methods in ({"A": 1.0}, {"A": 2.0, "B": 1.0}):
        table = sisec_table(tmp_path / "t.csv", methods)
        folder = finished_run.import_scores([table], Request(run="mine"), tmp_path)
        assert len(read_run(folder).record["separators"]) == len(methods)
    other = sisec_table(tmp_path / "u.csv", {"C": 3.0})
    with pytest.raises(HarnessError, match=r"imported from .*t\.csv, which these would"):
        finished_run.import_scores([other], Request(run="mine"), tmp_path)
    finished_run.import_scores([table, other], Request(run="mine"), tmp_path)
    assert len(read_run(folder).record["separators"]) == 3
    measured = demo_run(4)
    write_run(tmp_path / "main", measured)
    with pytest.raises(HarnessError, match="measured here"):
        finished_run.import_scores([table], Request(run="main"), tmp_path)
    assert read_run(tmp_path / "main").record["run"] == measured.record["run"]


def test_a_measured_run_never_replaces_an_imported_one(harness, songs, tmp_path):
    harness("import", sisec_table(tmp_path / "t.csv", {"A": 1.0}), "--name", "mine")
    folder, estimates = tmp_path / "results", tmp_path / "mine"
    estimates.mkdir()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    song = ("--data", f"songs={songs}", "--jobs", "1")
    for command in (("run", "--separator", "mixture", "--name", "mine"), ("score", estimates)):
        said = harness(*command, *song, expected=cli.USER_ERROR)
        assert "results/mine: has imported scores" in said
        assert "choose another --name" in said
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_unreadable_record_is_not_an_import(tmp_path):
    for text in ("{", "7", "[]", '{"published": []}'):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / "run.json").write_text(text)
        check_place(tmp_path, "run", {})
        with pytest.raises(HarnessError, match="choose another --name, such as run_2, or"):
            check_place(tmp_path, "run", {"published": [{"file": "t.csv"}]})


def test_runs_are_joined_only_where_they_define_a_metric_alike(tmp_path):
    theirs = read_published([sisec_table(tmp_path / "t.csv", {"A": 1.0})], Request())
    path = tmp_path / "net4.csv"
    path.write_text("track_id,stem,sdr\nuuid-1,vocals,3\n")
    moises = read_published([path], Request())
    ours = read_published([path], Request(run="other"))
    ours.record["metrics"] = {n: {**m.described(), "computed": True} for n, m in METRICS.items()}
    both = join([ours, moises])
    assert set(both.scores["separator"]) == {"other:net4", "moisesdb:net4"}
    assert [source["by"] for source in both.record["published"]] == ["MoisesDB"] * 2
    with pytest.raises(HarnessError, match="sisec18: defines csdr differently from other"):
        join([ours, theirs])
    assert {*join([theirs, moises]).record["metrics"]} == {"csdr", "sir", "snr"}


def test_the_metric_to_choose_by_is_decided_per_dataset(tmp_path):
    run = read_published([sisec_table(tmp_path / "t.csv", {"A": 1.0})], Request())
    assert chosen_by(run.scores) == {"musdb18": "csdr"}
    measured = demo_run(4).scores
    assert set(chosen_by(measured).values()) == {HARMONIC}
    apart = measured[(measured["metric"] == "snr") == (measured["separator"] == "scnet")]
    assert set(chosen_by(apart).values()) == {"snr"}  # no separator has both


SISEC = {  # separators.md: medians over the 50 tracks, cSDR
    ("MIX", "vocals"): 1.12, ("MIX", "bass"): 0.67, ("MIX", "drums"): 1.33, ("MIX", "other"): 1.16,
    ("MIX", "accompaniment"): 6.32, ("HPSS", "vocals"): -0.34, ("HPSS", "accompaniment"): 4.37,
    ("REP1", "vocals"): 0.21, ("REP2", "vocals"): 2.30, ("RPCA", "vocals"): 0.05,
    ("2DFT", "vocals"): 0.56, ("MELO", "vocals"): 1.97, ("HPLP", "vocals"): -3.05,
    ("STL2", "vocals"): 3.25, ("JY3", "drums"): 4.66, ("TAK1", "bass"): 5.16,
    ("UHL2", "other"): 4.19, ("TAU1", "vocals"): 7.15, ("TAU1", "bass"): 5.86,
    ("TAU1", "drums"): 6.96, ("TAU1", "other"): 4.73,
    ("IBM1", "vocals"): 7.67, ("IRM1", "drums"): 7.33, ("IRM2", "vocals"): 9.43,
    ("IRM2", "accompaniment"): 15.64, ("MWF", "other"): 7.56,
}  # fmt: skip


def test_sisec_2018_has_its_published_medians(tmp_path, shared_data):
    path = shared_data / "reference_scores" / "sisec18_track_medians.csv"
    run = read_run(finished_run.import_scores([path], Request(), tmp_path))
    csdr = run.scores[run.scores["metric"] == "csdr"]
    assert csdr.groupby(["separator", "stem"])["track"].nunique().unique().tolist() == [50]
    medians = csdr.groupby(["separator", "stem"])["value"].median()
    for (name, stem), printed in SISEC.items():
        assert medians[f"sisec18:{name}", stem] == pytest.approx(printed, abs=DIGIT + 1e-9)
    sir = run.scores[(run.scores["metric"] == "sir") & (run.scores["stem"] == "vocals")]
    assert sir.groupby("separator")["value"].median()["sisec18:HPSS"] == pytest.approx(
        -4.19, abs=DIGIT + 1e-9
    )


def test_moisesdb_has_its_published_means(shared_data):
    path = shared_data / "reference_scores" / "moisesdb" / "htdemucs4.csv"
    means = read_published([path], Request()).scores.groupby("stem")["value"].mean()
    printed = {"vocals": 10.05, "bass": 11.64, "drums": 10.94, "other": 7.00}
    assert means.to_dict() == pytest.approx(printed, abs=DIGIT + 1e-9)


def test_musevals_own_regression_file_is_read(shared_data):
    path = shared_data / "reference_scores" / "museval" / "Music Delta - 80s Rock.json"
    run = read_published([path], Request())
    assert set(run.scores["split"]) == {"train"}
    assert set(run.scores["status"]) == {"ok"}
