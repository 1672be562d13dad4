"""Programs and classes of the user as separators."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from harness import registry
from harness.benchmark import work
from harness.core import audio, machine
from harness.core.errors import HarnessError
from harness.registry import Entry
from harness.separators import code_versions, command, load, own_code, parameters
from harness.separators.protocol import run

RATE = 8000
STEMS = ("vocals", "accompaniment")
# a program that copies its input, so that estimates are known
COPY = """
song=$1; output=$2; shift 2
for name; do
    mkdir -p "$output/$(dirname "$name")"
    cp "$song" "$output/$name"
done
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    (tmp_path / "copy.sh").write_text(COPY)
    return tmp_path


@pytest.fixture
def mixture(rng):
    return rng.uniform(-0.5, 0.5, (2, RATE)).astype(np.float32)


def program(*more: str, name: str = "mine", stems=STEMS, **params) -> Entry:
    arguments = ["sh", "copy.sh", "{input}", "{output}", *more]
    params = {"command": arguments, **params}
    return Entry(name=name, family="command", stems=stems, params=params)


def shell(script: str, **params) -> Entry:
    command = ["sh", "-c", script, "sh", "{input}", "{output}", "{stems}"]
    return program(**{"command": command, **params})


def separated(entry: Entry, signal):
    return run(load(entry, sample_rate=RATE), entry, signal, RATE)


# --- programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("vocals.wav", "no_vocals.wav"),
        ("song/vocals.wav", "song/no_vocals.wav"),
        ("htdemucs/song/vocals.wav", "htdemucs/song/no_vocals.wav"),
        ("song_vocals.wav", "song_instrumental.wav"),
        ("song_(Vocals)_a model.wav", "song_(Instrumental)_a model.wav"),
    ],
)
def test_what_a_program_writes_is_found_in_the_layouts_of_the_field(mixture, names):
    found, notes = separated(program(*names), mixture)
    assert notes == []
    for stem in STEMS:
        np.testing.assert_array_equal(found[stem], mixture)
    assert parameters(load(program("vocals.wav"))) is None


def test_a_program_gets_stems_environment_and_its_folder(mixture, here, monkeypatch):
    monkeypatch.setenv("HIDDEN", "secret")
    monkeypatch.setenv("PASSED", "on")
    script = 'echo "$3 $OWN $HIDDEN $PASSED $(pwd)" > "$OUT"; cp "$1" "$2/vocals.wav"'
    log = here / "log"
    environment = {"OWN": 5, "HIDDEN": None, "OUT": str(log)}
    separated(shell(script, stems=("vocals",), environment=environment), mixture)
    assert log.read_text().split() == ["vocals", "5", "on", str(here)]


def test_braces_in_arguments_other_than_ours_stay(mixture):
    found, _ = separated(shell('cp "$1" "${2}/vocals.wav"; : {x} {}', stems=("vocals",)), mixture)
    np.testing.assert_array_equal(found["vocals"], mixture)


@pytest.mark.parametrize(("bits", "error"), [("32f", 0.0), (24, 2**-23), ("16", 2**-15)])
def test_the_input_has_the_bits_asked_for(mixture, bits, error):
    found, _ = separated(program("vocals.wav", stems=("vocals",), bits=bits), mixture)
    assert np.abs(found["vocals"] - mixture).max() <= error


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no model >&2; exit 3", "exit status 3; correct the command, it printed: no model$"),
        ("kill -9 $$", "ended with signal 9; .* it printed nothing"),
        (":", r"wrote no vocals, accompaniment \(no file\)"),
        ('cp "$1" "$2/vocals.wav"; echo half', r"wrote no accompaniment \(vocals.wav\).*half"),
        ('cp "$1" "$2/vocals.wav"; cp "$1" "$2/Vocals.WAV"', "both .* are vocals"),
        ('for m in a b; do mkdir -p "$2/$m/song"; cp "$1" "$2/$m/song/vocals.wav"; done',
         "both hold estimates; let the program write those of one model"),
        ('echo no audio > "$2/vocals.wav"; cp "$1" "$2/other.wav"', "cannot be read as audio"),
    ],
)  # fmt: skip
def test_a_failure_says_what_happened_and_what_the_program_printed(mixture, here, script, message):
    with pytest.raises(HarnessError, match=message):
        separated(shell(script), mixture)
    assert list((here / "temporary").iterdir()) == []


def test_a_failure_shows_the_end_of_a_long_output(mixture):
    lines = "i=0; while [ $i -lt 9000 ]; do echo line $i; i=$((i+1)); done"
    with pytest.raises(HarnessError) as caught:
        separated(shell(f"{lines}; printf '1%%\\r2%%\\r99%%\\n'; exit 1"), mixture)
    text = str(caught.value)
    assert "line 8999\n99%" in text
    assert "line 8000" not in text
    assert "2%" not in text
    assert len(text) < command.SHOWN + 500


def test_estimates_of_another_rate_or_length_are_refused(mixture, here):
    for name, rate, samples in (("rate", 22050, RATE), ("length", RATE, RATE // 2)):
        audio.write(here / f"{name}.wav", mixture[:, :samples], rate)
    for name, message in (("rate", "wrote vocals at 22050 Hz, its input has 8000 Hz"),
                          ("length", "vocals: 0.50 s shorter than the mixture")):  # fmt: skip
        with pytest.raises(HarnessError, match=message):
            separated(shell(f'cp {name}.wav "$2/vocals.wav"', stems=("vocals",)), mixture)


def test_a_program_ends_with_all_it_started_when_its_time_is_up(mixture, here):
    script = "sleep 60 & echo $! > pid; echo started; sleep 60"
    start = time.monotonic()
    with pytest.raises(HarnessError, match=r"took more than 0.3 s .* it printed: started"):
        separated(shell(script, time_limit=0.3), mixture)
    assert time.monotonic() - start < 10
    assert not alive(int((here / "pid").read_text()))
    assert list((here / "temporary").iterdir()) == []


def test_what_a_program_leaves_running_ends_with_it(mixture, here):
    separated(
        shell('sleep 60 & echo $! > pid; cp "$1" "$2/vocals.wav"', stems=("vocals",)), mixture
    )
    assert not alive(int((here / "pid").read_text()))
    assert not machine.GROUPS


def test_an_interrupt_ends_the_program(mixture, here, monkeypatch):
    def interrupted(self, timeout=None):
        if timeout is not None:
            while not (here / "pid").exists() or not (here / "pid").read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt
        return wait(self)

    wait = subprocess.Popen.wait
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        separated(shell("echo $$ > pid; sleep 60"), mixture)
    assert not alive(int((here / "pid").read_text()))


def alive(pid: int) -> bool:
    """Whether a process still runs a second later; one that waits for its parent does not."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return False
        if state == "Z":
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"command": "separate {input} {output}"}, "is not a list of texts"),
        ({"command": ["separate", 3]}, "is not a list of texts"),
        ({"command": 3}, "is not a list of texts"),
        ({"command": []}, "has no {input}"),
        ({"command": ["separate", "{input}"]}, "has no {output}"),
        ({"command": ["no_such_program", "{input}{output}"]}, "is not a program that can be run"),
        ({"command": ["./copy.sh", "{input}", "{output}"]}, "is not a program that can be run"),
        ({"time_limit": 0}, "time_limit 0: is not a number above 0"),
        ({"bits": "8"}, "bits '8': not known; use 32f, 24, 16"),
        ({"environment": ["A=1"]}, "is not a mapping"),
        ({"timeout": 5}, "params .* do not fit"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused_when_the_entry_is_loaded(params, message):
    with pytest.raises(HarnessError, match=message):
        load(program("vocals.wav", **params))
    assert isinstance(own_code([program(**params)])[0], str)


def test_work_is_done_again_if_the_command_or_a_file_that_it_names_changes(here):
    entry = program("vocals.wav")
    before = code_versions(entry)
    assert code_versions(program("vocals.wav", name="renamed")) == before
    assert program("other.wav").identity() != entry.identity()
    assert program("vocals.wav", version=2).identity() != entry.identity()
    (here / "copy.sh").write_text(COPY + "#")
    assert code_versions(entry) != before


# --- classes --------------------------------------------------------------------------------------

CODE = """
import gains

class Halves:
    def __init__(self, sample_rate, stems, input_stem, gain=gains.DEFAULT):
        self.sample_rate, self.stems, self.input_stem = sample_rate, stems, input_stem
        self.gain = gain
        self.notes = [f"gain {gain}"]

    def separate(self, audio):
        return {stem: self.gain * audio for stem in self.stems}
"""


def of_class(name: str = "halving:Halves", stems=STEMS, **params) -> Entry:
    return Entry(name="mine", family="python", stems=stems, params={"class": name, **params})


@pytest.fixture
def halving(here):
    (here / "halving.py").write_text(CODE)
    (here / "gains.py").write_text("DEFAULT = 0.5")
    return here / "halving.py"


def test_a_class_of_the_folder_is_a_separator(halving, mixture):
    found, notes = separated(of_class(), mixture)
    for stem in STEMS:
        np.testing.assert_array_equal(found[stem], 0.5 * mixture)
    assert notes == ["gain 0.5"]
    assert parameters(load(of_class())) is None
    louder, _ = separated(of_class(gain=0.25), mixture)
    np.testing.assert_array_equal(louder["vocals"], 0.25 * mixture)
    assert own_code([of_class()]) == [f"mine: runs the class halving:Halves in {halving}"]
    assert not (halving.parent / "__pycache__").exists()


@pytest.mark.parametrize("changed", ["halving.py", "gains.py"])
def test_changed_code_is_new_work_and_is_loaded_anew(halving, mixture, changed):
    entry = of_class()
    before = code_versions(entry)
    separated(entry, mixture)
    path = halving.with_name(changed)
    path.write_text(path.read_text().replace("0.5", "0.8").replace("self.gain *", "0.8 *"))
    assert code_versions(entry) != before
    found, _ = separated(entry, mixture)
    np.testing.assert_array_equal(found["vocals"], np.float32(0.8) * mixture)


def test_a_worker_does_not_keep_a_class_that_has_changed(halving, monkeypatch):
    monkeypatch.setattr(work, "_LOADED", {})
    unit = type("Unit", (), {"entry": of_class(), "given": STEMS, "sample_rate": RATE})
    first = work._loaded(unit, "cpu")
    assert work._loaded(unit, "cpu") is first
    (halving.parent / "gains.py").write_text("DEFAULT = 0.75")
    assert work._loaded(unit, "cpu") is not first


def test_packages_relative_imports_and_files_in_params_count(here, mixture):
    (here / "mine").mkdir()
    (here / "mine" / "__init__.py").write_text("")
    (here / "mine" / "model.py").write_text(CODE.replace("import gains", "from . import gains"))
    (here / "mine" / "gains.py").write_text("from .more import DEFAULT")
    (here / "mine" / "more.py").write_text("DEFAULT = 0.5")
    (here / "unused.py").write_text("")
    (here / "note.txt").write_text("0.5")
    entry = of_class("mine.model:Halves")
    found, _ = separated(entry, mixture)
    np.testing.assert_array_equal(found["vocals"], 0.5 * mixture)
    with_file = of_class("mine.model:Halves", gain="note.txt")
    for name, counts in (("mine/more.py", entry), ("note.txt", with_file), ("unused.py", None)):
        before = [code_versions(e) for e in (entry, with_file)]
        path = here / name
        path.write_text(path.read_text() + "#")
        after = [code_versions(e) for e in (entry, with_file)]
        assert (before[0] != after[0]) == (counts is entry)
        assert (before[1] != after[1]) == (counts is not None)


def test_weights_of_a_class_are_verified_and_given_to_it(halving, here):
    (here / "own.safetensors").write_bytes(b"12345")
    with_weights = CODE.replace("gain=gains.DEFAULT", "weights, sha256, device, gain=0.5").replace(
        "self.gain = gain", "self.gain, self.weights = gain, weights"
    )
    halving.write_text(with_weights)
    file = registry.Weights(file="own.safetensors", size=5)
    entry = of_class().model_copy(update={"weights": (file,)})
    assert load(entry)._separator.weights == [here / "own.safetensors"]
    wrong = entry.model_copy(update={"weights": (file.model_copy(update={"size": 6}),)})
    with pytest.raises(HarnessError, match="has 5 bytes, 6 were expected"):
        load(wrong)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("halving", CODE, "class 'halving': is not of the form module:Class"),
        ("../halving:Halves", CODE, "is not of the form module:Class"),
        ("absent:Halves", CODE, r"there is no absent.py in .*; run the command in the folder"),
        ("halving:Halvs", CODE, "has no class 'Halvs'; did you mean 'Halves'"),
        ("halving:Halves", "class Halves", r"cannot be imported \(SyntaxError"),
        ("halving:Halves", "import sys; sys.exit(1)", r"cannot be imported \(SystemExit: 1"),
        ("halving:Halves", "class Halves: pass", r"cannot be built with .* \(TypeError"),
        ("halving:Halves", CODE.replace("def separate", "def run"), "has no separate; add it"),
        ("halving:Halves", CODE.replace("self.stems, self.input_stem = sample_rate, stems,",
                                        "self.input_stem = sample_rate,"), "has no stems; add it"),
        ("json:Halves", CODE, "json is already the name of .*; rename your file"),
    ],
)  # fmt: skip
def test_a_class_that_cannot_be_used_is_refused(here, name, code, message):
    (here / "gains.py").write_text("DEFAULT = 0.5")
    for file in ("halving.py", "json.py"):
        (here / file).write_text(code)
    with pytest.raises(HarnessError, match=message):
        load(of_class(name))


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[audio]", "returned a list; return {stem: estimate}"),
        ("{stem: audio.tolist() for stem in self.stems}", "vocals: is a list; return NumPy arrays"),
        ("{'vocals': audio}", "accompaniment: no estimate was returned"),
        ("{stem: audio.T for stem in self.stems}", r"has shape \(8000, 2\)"),
        ("{stem: audio[:, :100] for stem in self.stems}", "shorter than the mixture"),
    ],
)
def test_what_a_class_returns_is_checked(halving, mixture, returned, message):
    halving.write_text(CODE.replace("{stem: self.gain * audio for stem in self.stems}", returned))
    with pytest.raises(HarnessError, match=message):
        separated(of_class(), mixture)


def test_own_code_is_named_also_in_an_ensemble(halving):
    entries = {"mine": of_class(), "repet": registry.load()["repet"]}
    mix = registry.ensemble("mix", {"stems": {"vocals": {"mine": 0.5, "repet": 0.5}}}, entries)
    assert len(own_code([mix])) == len(own_code([mix, of_class()])) == 1
    before = code_versions(mix)
    halving.write_text(CODE + "#")
    assert code_versions(mix) != before
    assert os.getcwd() == str(halving.parent)  # noqa: PTH109
