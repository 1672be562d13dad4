"""Ensembles as registry rows, saved from a run, and a user's own music taken apart."""

import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import planted
import pytest
import soundfile

from harness import audio, cli, registry, saving, separating
from harness.errors import HarnessError
from harness.separators import FAMILIES, Family, code_versions, load

RATE = 8000
ROWS = """
half: {family: echo, stems: [vocals, accompaniment], params: {gain: 0.5}, trained_on: ["a:train"]}
tenth:
  {extends: half, params: {gain: 0.1}, trained_on: ["b:train"], sample_rate: 44100, channels: 2}
quiet: {family: echo, stems: [vocals, drums, bass, other], params: {gain: 0.25}}
loud: {extends: quiet, params: {gain: 4.0}}
pair: {family: echo, input: vocals, stems: [lead, background], params: {gain: 0.5}}
blend:
  family: ensemble
  params:
    stems: {vocals: {half: 0.75, tenth: 0.25}, accompaniment: {half: 1}, lead: {pair: 1}}
    chosen_on: ["songs:test"]
# a comment of one's own
"""


@pytest.fixture(autouse=True)
def families(monkeypatch, tmp_path):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planted.Echo, "seen", [])


@pytest.fixture
def entries(tmp_path):
    (tmp_path / "model_registry.yaml").write_text(ROWS)
    return registry.load()


def noise(seconds=1.0, rate=RATE, channels=2, peak=0.5) -> np.ndarray:
    signal = np.random.default_rng(3).uniform(-peak, peak, (channels, round(seconds * rate)))
    return signal.astype(np.float32)


def song(path: Path, signal=None, rate=RATE) -> Path:
    audio.write(path, noise() if signal is None else signal, rate)
    return path


def harness(monkeypatch, capsys, *arguments: str, expected: int = 0) -> str:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    assert (stop.value.code or 0) == expected, err
    return err if expected else out


# --- ensembles ----------------------------------------------------------------------------------


def test_a_blend_is_the_weighted_mean_and_parts_come_in_cascade(entries):
    mixture = noise(channels=1)
    ensemble = load(entries["blend"], stems=(), sample_rate=44100)
    found = ensemble.separate(mixture)
    assert list(found) == ["vocals", "accompaniment", "lead"]
    np.testing.assert_allclose(found["vocals"], 0.4 * mixture, atol=1e-6)
    np.testing.assert_array_equal(found["accompaniment"], np.float32(0.5) * mixture)
    np.testing.assert_allclose(found["lead"], 0.2 * mixture, atol=1e-6)
    assert planted.Echo.seen == [(1, RATE), (2, RATE), (1, RATE)]  # each member once


def test_an_ensemble_has_seen_what_its_members_have_and_what_chose_it(entries, tmp_path):
    assert entries["blend"].trained_on == ("a:train", "b:train", "songs:test")
    row = "{params: {stems: {vocals: {pair2: 1}}}, family: ensemble}"
    text = ROWS + f"pair2: {{extends: half, trained_on: null}}\nunknown: {row}\n"
    (tmp_path / "model_registry.yaml").write_text(text)
    assert registry.load()["unknown"].trained_on is None


def test_an_ensemble_needs_the_weights_of_its_members():
    found = registry.ensemble(
        "e", {"stems": {"vocals": {"htdemucs": 0.5, "scnet": 0.5}}}, registry.load()
    )
    assert [w.file for w in found.weights] == [
        "955717e8-8726e21a.th",
        "scnet_checkpoint_musdb18.ckpt",
    ]


def test_identity_follows_members_and_weights_only(entries, tmp_path, monkeypatch):
    def changed(old, new):
        (tmp_path / "model_registry.yaml").write_text(ROWS.replace(old, new))
        return registry.load()["blend"].identity() != entries["blend"].identity()

    assert changed("half: 0.75, tenth: 0.25", "half: 0.25, tenth: 0.75")
    assert changed("gain: 0.1", "gain: 0.2")
    assert not changed('chosen_on: ["songs:test"]', "held_out: {vocals: 3.0}")
    before = code_versions(entries["blend"])
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 2))
    assert code_versions(entries["blend"]) != before


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        ("{vocals: {half: 0.5}}", "weights of vocals sum to 0.5"),
        ("{vocals: {half: 1.5, tenth: -0.5}}", "greater than or equal to 0"),
        ("{vocals: {haff: 1}}", "did you mean 'half'"),
        ("{vocals: {ibm: 1}}", "no separator 'ibm'"),
        ("{vocals: {blend: 1}}", "no separator 'blend'"),
        ("{bass: {half: 1}}", "half gives no bass"),
        ("{lead: {pair: 1}}", "which nobody gives; add vocals"),
        ("{lead: {pair: 1}, background: {pair: 1}}", "add vocals"),
        ("{}", "has no stems"),
        ("[vocals]", "params.stems"),
        ("{vocals: {half: .nan}}", "params.stems.vocals.half"),
    ],
)
def test_ensembles_that_cannot_work_are_refused(tmp_path, stems, message):
    row = f"bad: {{family: ensemble, params: {{stems: {stems}}}}}\n"
    (tmp_path / "model_registry.yaml").write_text(ROWS + row)
    with pytest.raises(HarnessError) as caught:
        registry.load()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_ensemble_does_not_say_what_its_members_say(tmp_path):
    row = "bad: {family: ensemble, trained_on: [], params: {stems: {vocals: {half: 1}}}}\n"
    (tmp_path / "model_registry.yaml").write_text(ROWS + row)
    with pytest.raises(HarnessError, match="trained_on from its members"):
        registry.load()


# --- saving -------------------------------------------------------------------------------------


def test_saving_adds_and_replaces_one_row_only(entries, tmp_path):
    path = tmp_path / "model_registry.yaml"
    saving.save("mine", {"stems": {"vocals": {"half": 1.0}}}, title="First")
    assert path.read_text().startswith(ROWS.rstrip())
    path.write_text(path.read_text() + "# kept\n")
    saving.save("zwei", {"stems": {"vocals": {"half": 1.0}}})
    with pytest.raises(HarnessError, match="is taken"):
        saving.save("mine", {"stems": {"vocals": {"tenth": 1.0}}})
    saving.save("mine", {"stems": {"vocals": {"tenth": 1.0}}}, force=True)
    found = registry.load()
    assert found["mine"].blend.stems == {"vocals": {"tenth": 1.0}}
    assert set(found) == {*entries, "mine", "zwei"}
    assert "# kept\n" in path.read_text()
    assert path.read_text().startswith(ROWS.rstrip())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("../x", "", "is no name"),
        ("nmf", "", "is taken"),
        ("best", "{mine: {extends: nmf}}", "add this"),
    ],
)
def test_saving_never_spoils_a_registry(tmp_path, name, text, message):
    path = tmp_path / "model_registry.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=message):
        saving.save(name, {"stems": {"vocals": {"repet": 1.0}}})
    assert path.read_text() == text


def test_a_run_is_chosen_saved_and_used(songs, entries, monkeypatch, capsys, tmp_path):
    def call(*arguments):
        return harness(monkeypatch, capsys, *arguments)

    names = ("--separator", "quiet", "--separator", "loud")
    call("run", *names, "--data", f"songs={songs}", "--jobs", "1")
    call("select", "--save", "best")
    best = registry.load()["best"].blend
    assert set(best.stems) >= {"vocals", "drums", "bass", "other"}
    assert all(weights == {"quiet": 1.0} for weights in best.stems.values())
    assert best.chosen_on == ("songs:test",)
    assert best.held_out.keys() == best.stems.keys()
    folder = call("separate", str(song(tmp_path / "song.wav")), "-o", "out").strip()
    assert folder == "out/song"
    assert {p.name for p in Path(folder).iterdir()} == {
        "vocals.wav", "drums.wav", "bass.wav", "other.wav",
    }  # fmt: skip
    harness(monkeypatch, capsys, "select", "--save", "best", expected=2)
    call("select", "--save", "best", "--force")


# --- choosing -----------------------------------------------------------------------------------


def test_the_best_is_the_ensemble_saved_last_then_the_best_published(entries, monkeypatch):
    assert separating.choose(entries).entry.name == "blend"
    assert separating.choose(entries).stems == ("vocals", "accompaniment")  # lead only if asked for
    built_in = registry.load(Path(registry.built_in_path()))
    assert separating.choose(built_in).entry.name == "repet_sim"
    monkeypatch.setattr("harness.separating.obstacle", lambda entry: entry.unavailable)
    assert separating.choose(built_in).entry.name == "scnet_large"
    assert "9.69 dB" in separating.choose(built_in).words


def test_parts_of_a_stem_are_taken_from_it(entries):
    choice = separating.choose(entries, "repet_sim", ["Kick", "hihat_cymbals", "accompaniment"])
    assert choice.stems == ("accompaniment", "kick", "hihat_cymbals")
    members = [member.name for member in choice.entry.members]
    assert sorted(members) == ["drum_nmf", "repet_sim"]
    assert separating.choose(entries, stems=["snare"]).entry.name == "repet_sim"


@pytest.mark.parametrize(
    ("name", "stems", "message"),
    [
        ("ibm", [], "is an oracle"),
        ("htdemucs", [], "harness fetch separator htdemucs"),
        ("nothing", [], "no separator"),
        ("half", ["kick"], "--stems kick: nothing here gives it"),
        ("", ["theremin"], "theremin"),
    ],
)
def test_what_cannot_be_separated_is_said_at_once(entries, name, stems, message):
    with pytest.raises(HarnessError, match=message):
        separating.choose(entries, name, stems)


# --- songs --------------------------------------------------------------------------------------


def test_stems_and_residual_sum_to_the_song(entries, tmp_path):
    given = noise(peak=1.5)
    choice = separating.choose(entries, "blend", ["vocals", "lead", "accompaniment"])
    (found,) = separating.separate([song(tmp_path / "s.wav", given)], "out", choice, residual=True)
    parts = [audio.read(found.files[s])[0] for s in ("vocals", "accompaniment", "residual")]
    np.testing.assert_allclose(sum(parts), given, atol=1e-6)  # lead is a part of vocals
    again = separating.separate([tmp_path / "s.wav"], "again", choice, residual=True)[0].files
    assert all(again[s].read_bytes() == path.read_bytes() for s, path in found.files.items())


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_24_bits_limit_and_say_so(entries, tmp_path, kind):
    given = np.array([[0.1, 0.2, -0.3, 0.2]], np.float32)
    choice = separating.choose(entries, "loud", ["vocals"])
    source = song(tmp_path / "s.wav", given)
    (found,) = separating.separate([source], "out", choice, kind=kind, bits="24")
    read, _ = audio.read(found.files["vocals"])
    np.testing.assert_allclose(read, [[0.4, 0.8, -1.0, 0.8]], atol=2e-7)
    assert found.notes == ["vocals: 1 values exceed full scale and are limited"]
    with pytest.raises(HarnessError, match="flac with 24"):
        separating.separate([source], "out", choice, kind="flac", bits="32f")


def test_a_mono_mp3_keeps_its_rate_and_length(entries, tmp_path):
    time = np.arange(22050 * 2) / 22050
    tone = (0.4 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    soundfile.write(tmp_path / "s.mp3", tone, 22050)
    decoded, rate = audio.read(tmp_path / "s.mp3")
    choice = separating.choose(entries, "tenth")
    (found,) = separating.separate([tmp_path / "s.mp3"], "out", choice)
    vocals, written = audio.read(found.files["vocals"])
    assert (written, vocals.shape) == (rate, decoded.shape) == (22050, (1, len(decoded[0])))
    middle = slice(2000, -2000)
    np.testing.assert_allclose(vocals[:, middle], 0.1 * decoded[:, middle], atol=1e-4)


def test_what_libsndfile_lacks_is_decoded_by_ffmpeg(entries, tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    source = song(tmp_path / "in/s.wav", noise(rate=44100, channels=2), 44100)
    command = ["ffmpeg", "-v", "error", "-i", str(source), str(tmp_path / "in/t.m4a")]
    assert subprocess.run(command, check=False).returncode == 0
    (tmp_path / "in/u.m4a").write_text("#EXTM3U\n#EXTINF:1,\ns.wav\n")
    found = separating.separate([tmp_path / "in"], "out", separating.choose(entries, "half"))
    assert [outcome.state for outcome in found] == ["done", "done", "failed"]
    assert audio.read(found[1].files["vocals"])[1] == 44100
    assert sorted(p.name for p in Path("out").iterdir()) == ["s", "t"]


def test_a_broken_file_does_not_stop_the_others(entries, tmp_path, monkeypatch, capsys):
    song(tmp_path / "in/a.wav")
    (tmp_path / "in/b.mp3").write_bytes(b"no music")
    song(tmp_path / "in/sub/c.wav")
    command = ("separate", "in", "--with", "half", "-o", "in/out")
    said = harness(monkeypatch, capsys, *command, expected=3)
    assert "b.mp3: cannot be read as audio" in " ".join(said.split())
    written = sorted(str(p.relative_to("in/out")) for p in Path("in/out").rglob("*") if p.is_file())
    assert written == [
        "a/accompaniment.wav", "a/vocals.wav", "sub/c/accompaniment.wav", "sub/c/vocals.wav",
    ]  # fmt: skip
    harness(monkeypatch, capsys, *command, expected=3)
    assert len(planted.Echo.seen) == 2  # what is there was left alone


def test_files_that_are_there_are_replaced_by_force_only(entries, tmp_path):
    path = song(tmp_path / "s.wav")
    choice = separating.choose(entries, "half")
    mine = tmp_path / "out/s/vocals.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (found,) = separating.separate([path], "out", choice)
    assert (found.state, mine.read_text()) == ("failed", "mine")
    assert "1 of 2 files are in out/s; left alone" in found.notes[0]
    assert separating.separate([path], "out", choice, force=True)[0].state == "done"
    assert separating.separate([path], "out", choice)[0].state == "there"


def test_a_separator_that_fails_leaves_nothing_behind(entries, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Faulty", 1))
    row = "bad: {family: echo, stems: [vocals], params: {fault: raise}}\n"
    (tmp_path / "model_registry.yaml").write_text(ROWS + row)
    choice = separating.choose(registry.load(), "bad")
    (found,) = separating.separate([song(tmp_path / "s.wav")], "out", choice)
    assert found.state == "failed"
    assert "RuntimeError: weights are gone" in found.notes[0]
    assert list(Path("out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_before_any_work(entries, tmp_path, monkeypatch):
    path, choice = song(tmp_path / "s.wav"), separating.choose(entries, "half")
    (tmp_path / "taken").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        separating.separate([path], "taken", choice)
    if hasattr(os, "geteuid") and os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(HarnessError, match="cannot be written"):
            separating.separate([path], "locked", choice)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    with pytest.raises(HarnessError, match="are needed and not free"):
        separating.separate([path], "full", choice)
    assert planted.Echo.seen == []


def test_songs_get_folders_of_their_own(tmp_path):
    for name in ("in/a.wav", "in/a.flac", "in/b/..wav", "in/.hidden.wav", "in/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in/b/...wav").touch()
    names = separating.find_songs([Path("in"), Path("in/b/...wav")], Path("out"))
    assert names == {
        Path("in/a.wav"): "a.wav",
        Path("in/a.flac"): "a.flac",
        Path("in/b/...wav"): "__",
    }
    with pytest.raises(HarnessError, match="no such file"):
        separating.find_songs([Path("absent")], Path("out"))
    with pytest.raises(HarnessError, match="holds no audio"):
        separating.find_songs([Path("in/b")], Path("in/b"))


@pytest.mark.parametrize("seconds", [4.99, 5.0, 5.01, 13.7])
def test_blocks_of_a_long_song_join_without_seams(entries, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(separating, "LONGEST", 5.0)
    monkeypatch.setattr(separating, "FADE", 0.5)
    given = noise(seconds)
    choice = separating.choose(entries, "half")
    path = song(tmp_path / "s.wav", given)
    (found,) = separating.separate([path], "out", choice, residual=True)
    vocals, rest = (audio.read(found.files[stem])[0] for stem in ("vocals", "residual"))
    np.testing.assert_allclose(vocals, 0.5 * given, atol=1e-6)
    assert np.abs(rest).max() < 1e-6
    assert (len(planted.Echo.seen) > 1) == (seconds > 5) == any("long" in n for n in found.notes)


def test_memory_does_not_grow_with_the_song(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(separating, "LONGEST", 12.0)
    monkeypatch.setattr(separating, "FADE", 1.0)
    choice = separating.choose(entries, "half")
    path = song(tmp_path / "s.wav", noise(600))
    block = 12 * RATE * 2 * 4  # bytes
    tracemalloc.start()
    try:
        separating.separate([path], "out", choice, residual=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 14 * block < 600 * RATE * 2 * 4 / 3
