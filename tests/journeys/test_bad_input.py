"""Bad input through the command line: a clear error or an error row, and the rest goes on."""

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import left_of, song_stems, write_song

from harness import cli
from harness.results.runs import Run, read_run

SEPARATORS = ("--separator", "repet", "--separator", "mixture")


@pytest.fixture
def library(mono_songs, tmp_path) -> Path:
    """The four songs, free to be spoilt."""
    return Path(shutil.copytree(mono_songs, tmp_path / "songs"))


@pytest.fixture
def harness(tmp_path, monkeypatch, capsys):
    """Run a command in-process; returns (exit status, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        return status, out, err

    return call


def run(harness, library: Path, *more: str) -> tuple[int, str, Run]:
    arguments = ("run", *SEPARATORS, "--data", f"songs={library}", "--jobs", "1", *more)
    status, _, err = harness(*arguments)
    return status, err, read_run(Path("results/main"))


def failed(result: Run) -> dict[str, set[str]]:
    rows = result.scores[result.scores["status"] == "failed"]
    return {track: set(group["note"]) for track, group in rows.groupby("track")}


def test_good_input_ends_well(harness, library):
    status, err, result = run(harness, library)
    assert status == 0, err
    assert failed(result) == {}
    page = Path("reports/main/index.html").read_text(encoding="utf-8")
    assert "Ann - One" in page


# --- audio ----------------------------------------------------------------------------------------


def test_truncated_audio(harness, library):
    file = library / "Bob - One" / "bass.wav"
    file.write_bytes(file.read_bytes()[:-5000])
    status, err, result = run(harness, library)
    assert status == cli.SOME_FAILED
    notes = failed(result)
    assert list(notes) == ["Bob - One"]
    assert all(f"{file}: truncated" in note for note in notes["Bob - One"])
    assert "truncated" in err
    assert len(set(result.scores[result.scores["status"] == "ok"]["track"])) == 3


def test_truncated_mixture(harness, library):
    file = library / "Bob - One" / "mixture.wav"
    file.write_bytes(file.read_bytes()[:-5000])
    _, _, result = run(harness, library)
    assert list(failed(result)) == ["Bob - One"]


def test_files_that_are_no_audio(harness, library):
    contents = {
        "Ann - One": b"",
        "Ann - Two": b"not audio at all",
        "Bob - One": b"RIFF\x10\x00\x00\x00WAVEfmt ",
    }
    for track, content in contents.items():
        (library / track / "drums.wav").write_bytes(content)
    _, err, result = run(harness, library)
    told = [line for line in result.record["datasets"]["songs"]["problems"] if "drums" in line]
    broken = set(failed(result)) | {t for t in contents if any(t in line for line in told)}
    assert broken == set(contents)
    assert "Traceback" not in err


def test_audio_without_samples(harness, library):
    soundfile.write(library / "Ann - One" / "drums.wav", np.zeros((0, 1)), 8000)
    _, err, result = run(harness, library)
    text = str(failed(result)) + str(result.record["datasets"]["songs"]["problems"])
    assert "drums.wav" in text
    assert "no samples" in text
    assert "Traceback" not in err


def test_nan_in_audio(harness, library):
    signal_ = song_stems(0)["bass"][:1].T.copy()
    signal_[7] = np.nan
    soundfile.write(library / "Ann - One" / "bass.wav", signal_, 8000, subtype="FLOAT")
    status, _, result = run(harness, library)
    assert status == cli.SOME_FAILED
    assert "NaN or infinity" in str(failed(result)["Ann - One"])


def test_wrong_sample_rate(harness, library):
    soundfile.write(library / "Ann - One" / "bass.wav", song_stems(0)["bass"][:1].T, 11025)
    _, _, result = run(harness, library)
    text = str(failed(result)) + str(result.record["datasets"]["songs"]["problems"])
    assert "sample rates [8000, 11025] Hz" in text
    ok = result.scores[result.scores["status"] == "ok"]
    assert {"Ann - Two", "Bob - One", "Bob - Two"} <= set(ok["track"])


def test_mono_stem_in_a_stereo_song_counts_on_both_channels(harness, tmp_path):
    stems = song_stems(0)
    stems["bass"] = np.repeat(stems["bass"][:1], 2, axis=0)
    write_song(tmp_path / "songs" / "A - B", stems)
    soundfile.write(tmp_path / "songs/A - B/bass.wav", stems["bass"][0], 8000, subtype="FLOAT")
    status, err, result = run(harness, tmp_path / "songs")
    assert status == 0, err
    mixture = np.sum(list(stems.values()), axis=0)
    error = np.sum((stems["bass"] - mixture) ** 2)
    expected = 10 * np.log10(np.sum(stems["bass"] ** 2) / error)
    rows = result.scores.query("separator == 'mixture' and stem == 'bass' and metric == 'snr'")
    assert rows["value"].to_numpy() == pytest.approx([expected], abs=1e-4)


def test_unequal_lengths_are_trimmed_to_the_shortest(harness, tmp_path):
    stems = left_of(song_stems(0))
    write_song(tmp_path / "songs" / "A - B", stems)
    short = {stem: x[:, :12000] for stem, x in stems.items()}
    soundfile.write(tmp_path / "songs/A - B/bass.wav", short["bass"].T, 8000, subtype="FLOAT")
    status, err, result = run(harness, tmp_path / "songs")
    assert status == 0, err
    mixture = np.sum(list(short.values()), axis=0)
    error = np.sum((short["drums"] - mixture) ** 2)
    expected = 10 * np.log10(np.sum(short["drums"] ** 2) / error)
    rows = result.scores.query("separator == 'mixture' and stem == 'drums' and metric == 'snr'")
    assert rows["value"].to_numpy() == pytest.approx([expected], abs=1e-4)


def test_missing_stem_is_a_missing_row_never_a_zero(harness, library):
    (library / "Bob - Two" / "vocals.wav").unlink()
    _, _, result = run(harness, library)
    bob = result.scores[result.scores["track"] == "Bob - Two"]
    assert "vocals" not in set(bob["stem"])
    assert "drums" in set(bob["stem"])


def test_song_without_any_stem_is_left_out_and_named(harness, library):
    for stem in song_stems(0):
        (library / "Bob - Two" / f"{stem}.wav").unlink()
    _, _, result = run(harness, library)
    assert "Bob - Two" not in set(result.scores["track"])
    assert any("Bob - Two" in line for line in result.record["datasets"]["songs"]["problems"])


# --- what is left out ---------------------------------------------------------------------------


def test_all_that_a_run_lacks_is_said_at_its_end_and_on_the_first_page(harness, library):
    short = song_stems(2)["vocals"][:1, :4000]
    soundfile.write(library / "Bob - One" / "vocals.wav", short.T, 8000, subtype="FLOAT")
    for stem, sound in left_of(song_stems(0)).items():
        soundfile.write(library / "Ann - One" / f"{stem}.wav", sound.T, 12000)
    soundfile.write(library / "Ann - One" / "mixture.wav", short.T, 12000)
    (library / "Bob - Two").rename(library.parent / "elsewhere")
    (library / "Bob - Two").symlink_to(library.parent / "elsewhere")
    (library / "Ann - Two" / "<i>.m4a").touch()
    command = ("run", "--separator", "mixture", "--data", f"songs={library}", "--jobs", "1")
    status, _, err = harness(*command)
    assert status == 0, err
    assert set(read_run(Path("results/main")).scores["track"]) == {"Ann - Two"}
    said = " ".join(err.split())
    whys = (
        "songs: 3 tracks left out: is a link to a place outside the dataset (Bob - Two); "
        "sample rate is 12000 Hz, not 8000 Hz (Ann - One); a file is shorter than half of the "
        "song, --keep-unequal keeps it (Bob - One: vocals.wav ends after 0.5 of 2.0 s)"
    )
    assert whys in said
    assert "songs: 1 file left out: empty (Ann - Two/<i>.m4a)" in said
    pages = Path("reports/main")
    page = (pages / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page[page.index('id="left-out"') :]))
    assert whys in text
    assert "(Ann - Two/&lt;i&gt;.m4a)" in text
    table = (pages / "provenance.html").read_text(encoding="utf-8")
    assert "vocals.wav ends after 0.5 of 2.0 s" in table[table.index('id="left-out"') :]
    status, _, err = harness(*command)  # nothing is computed, and the same is said
    assert status == 0
    assert whys in " ".join(err.split())


def test_tracks_without_estimates_are_said_by_score(harness, songs, tmp_path):
    shutil.copytree(songs / "Ann - One", tmp_path / "est" / "Ann_One")
    for other in ("drums", "bass", "vocals"):
        (tmp_path / "est" / "Ann_One" / f"{other}.wav").unlink()
    arguments = ("score", "est", "--data", f"songs={songs}", "--tracks", "2", "--jobs", "1")
    status, _, err = harness(*arguments)
    assert status == cli.USER_ERROR
    assert "name all stems of the model with --stems" in " ".join(err.split())
    status, _, err = harness(*arguments, "--stems", "vocal,Drum,gitar")
    assert (status, "'gitar' is not a stem" in " ".join(err.split())) == (cli.USER_ERROR, True)
    status, _, err = harness(*arguments, "--stems", "vocals,drums,bass,other")
    said = " ".join(err.split())
    assert status == 0, err
    assert "songs: 1 track matched by its letters: the name of the estimates is written" in said
    assert "songs: 1 track left out: " in said
    assert "/est has no estimate of it (Ann - Two)" in said
    assert set(read_run(Path("results/est")).scores["stem"]) == {"other"}


# --- names ----------------------------------------------------------------------------------------

NAMES = (
    '<script>alert(1)</script> - It\'s "quoted" & `ticked`',
    "...",
    "..hidden",
    "名前 - 🎵🥁",
    "-rf --all",
    "%2e%2e%2f $(touch pwned)",
    "tab\there",
    "right\u202eleft",
)


def test_strange_names_are_text_everywhere(harness, tmp_path):
    names = [name.replace("/", "∕") for name in NAMES]
    for seed, name in enumerate(names):
        write_song(tmp_path / "songs" / name, left_of(song_stems(seed, seconds=1.0)))
    status, err, result = run(harness, tmp_path / "songs")
    assert status == 0, err
    assert set(result.scores["track"]) == set(names)
    page = Path("reports/main/index.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "alert(1)" in page
    assert not (tmp_path / "pwned").exists()


def test_slashes_and_dots_from_metadata_lead_nowhere(harness, tmp_path):
    track = tmp_path / "moisesdb" / "0a1b"
    stems = song_stems(0, rate=44100, seconds=1.0)
    entries = []
    for number, stem in enumerate(("vocals", "drums")):
        soundfile.write(_made(track / stem / f"{number}.wav"), stems[stem].T, 44100)
        part = {"id": str(number), "trackType": "drum machine", "extension": "wav", "has_bleed": 0}
        entries.append({"id": stem, "stemName": stem, "tracks": [part]})
    data = {"song": "../../../etc/passwd", "artist": "AC/DC", "genre": "<b>", "stems": entries}
    (track / "data.json").write_text(json.dumps(data))
    soundfile.write(tmp_path / "moisesdb" / "secret.wav", stems["bass"].T, 44100)
    outside = {"id": "../../secret", "trackType": "x", "extension": "wav", "has_bleed": False}
    data["stems"] = [{"id": "b", "stemName": "bass", "tracks": [outside]}]
    _made(tmp_path / "moisesdb" / "0c2d" / "data.json").write_text(json.dumps(data))
    arguments = ("--data", f"moisesdb={tmp_path / 'moisesdb'}", "--split", "all", "--jobs", "1")
    status, _, err = harness("run", *SEPARATORS, *arguments)
    assert status == 0, err
    result = read_run(Path("results/main"))
    assert "bass" not in set(result.scores["stem"])
    assert "secret" in str(result.record["datasets"]["moisesdb"]["problems"])
    assert sorted(p.name for p in Path("results").iterdir() if p.is_dir()) == ["main", "work"]


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


# --- arguments and files of settings --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "name one or more, or use --all"),
        (("run", "--separator", "repet_sin"), "did you mean 'repet_sim'?"),
        (("run", "--all", "--data", "mir1k"), "write NAME=PATH"),
        (("run", "--all", "--data", "mir1k=/nowhere"), "/nowhere"),
        (("run", "--all", "--data", "a=x", "--data", "a=y"), "given twice"),
        (("run", "--all", "--dataset", "musdb18hqq"), "musdb18hqq"),
        (("run", "--all", "--split", "tset"), "unknown split"),
        (("run", "--all", "--device", "cdua"), "use auto, cpu, cuda or mps"),
        (("run", "--all", "--name", "../up"), "not a valid name"),
        (("run", "--all", "--registry", "none.yaml"), "none.yaml"),
        (("run", "--all", "--tracks", "0"), "--tracks"),
        (("run", "--al"), "--al"),
        (("score", "nowhere", "--dataset", "demo"), "nowhere"),
        (("report", "nothing"), "no run named 'nothing'; start one with"),
        (("select", "nothing"), "no run named 'nothing'; start one with"),
    ],
)
def test_mistakes_are_one_line_and_status_2(harness, arguments, message):
    status, _, err = harness(*arguments)
    assert status == cli.USER_ERROR
    assert message in err
    assert "Traceback" not in err


def test_unknown_backend_is_named(harness, library):
    arguments = ("--data", f"songs={library}", "--jobs", "2", "--backend", "lokey")
    status, _, err = harness("run", *SEPARATORS, *arguments)
    assert status == cli.USER_ERROR
    assert "--backend lokey: cannot be used" in err


def test_unreadable_yaml_stops_before_any_work(harness, library, tmp_path):
    (tmp_path / "model_registry.yaml").write_text("mine: {family: nmf\n")
    status, _, err = harness("run", *SEPARATORS, "--data", f"songs={library}")
    assert status == cli.USER_ERROR
    assert "model_registry.yaml: line" in err
    assert not Path("results").exists()


def test_damaged_tables_are_named(harness, library):
    run(harness, library)
    Path("results/main/scores.parquet").write_bytes(b"PAR1 nonsense")
    status, _, err = harness("report")
    assert status == cli.USER_ERROR
    assert "run again" in err
    assert run(harness, library)[0] == 0  # and running again mends them


# --- the machine ----------------------------------------------------------------------------------


def command(library: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m", "harness", "run", *SEPARATORS, "--separator", "nmf"]
    return [*start, "--data", f"songs={library}", *more]


def test_full_disk(harness, mono_songs, tmp_path):
    def no_file_may_grow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    process = subprocess.run(
        command(mono_songs, "--jobs", "1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=no_file_may_grow,
    )
    assert process.returncode == cli.USER_ERROR
    assert "the disk is full; free some space" in process.stderr
    assert "Traceback" not in process.stderr
    status, err, _ = run(harness, mono_songs, "--separator", "nmf")
    assert status == 0, err


def test_ctrl_c_keeps_what_is_done(harness, tmp_path):
    library = tmp_path / "songs"
    for number in range(4):
        write_song(library / f"A - {number}", left_of(song_stems(number, seconds=4.0)))
    process = subprocess.Popen(
        command(library, "--separator", "hpss", "--jobs", "2"),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the shell may ignore it
    )
    work = tmp_path / "results" / "work"
    deadline = time.time() + 60
    while len(list(work.glob("*/*.json"))) < 2 and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == cli.INTERRUPTED, err
    assert "repeat the command to continue" in err
    assert "Traceback" not in err
    kept = len(list(work.glob("*/*.json")))
    assert 2 <= kept < 16
    status, out, err = harness(
        *command(library, "--separator", "hpss", "--jobs", "1", "--json")[3:]
    )
    assert status == 0, err
    assert json.loads(out)["reused"] >= kept
