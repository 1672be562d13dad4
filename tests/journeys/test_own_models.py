"""The examples of docs/separators.md, run as a reader would."""

import hashlib
import json
import os
import re
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from harness import cli, registry
from harness.benchmark import workers
from harness.core import audio
from harness.results.runs import read_run
from harness.separators import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "separators.md").read_text(encoding="utf-8")
EXAMPLES = {
    section.partition("\n")[0]: dict(
        re.findall(r'^```\w+ title="([^"]+)"\n(.*?)^```', section, re.MULTILINE | re.DOTALL)
    )
    for section in PAGE.split("\n## ")[1:]
}
ROWS = "model_registry.yaml"
RATE = 44100
# what demucs' program does with its files, without a network: each stem is a share of the input
DEMUCS = """#!/bin/sh
while [ $# -gt 1 ]; do
    case $1 in -o) output=$2; shift;; -n) model=$2; shift;; esac
    shift
done
folder="$output/$model/$(basename "$1" .wav)"
mkdir -p "$folder"
for stem in vocals drums bass other; do cp "$1" "$folder/$stem.wav"; done
echo "Separated tracks will be stored in $output/$model"
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def harness(here, monkeypatch, capsys):
    def call(*arguments: str, expected: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return out, err

    return call


def write_example(section: str, folder: Path) -> str:
    """Write the files of an example; return the name of its separator."""
    for name, text in EXAMPLES[section].items():
        (folder / name).write_text(text, encoding="utf-8")
    (name,) = yaml.safe_load(EXAMPLES[section][ROWS])
    return str(name)


def song(folder: Path, rng: np.random.Generator) -> np.ndarray:
    signal = rng.uniform(-0.5, 0.5, (2, RATE // 4)).astype(np.float32)
    audio.write(folder / "song.wav", signal, RATE)
    return signal


def test_every_section_with_a_row_has_one_that_can_be_read(here):
    sections = [section for section, files in EXAMPLES.items() if ROWS in files]
    assert len(sections) == 5
    for section in sections:
        text = EXAMPLES[section][ROWS].replace("<of the file>", "a" * 64)
        (here / ROWS).write_text(text, encoding="utf-8")
        (name,) = yaml.safe_load(text)
        entry = registry.load()[name]
        assert entry.family in {*FAMILIES, "msst"}
        assert entry.stems
        assert f"`{entry.family}`" in PAGE


@pytest.mark.parametrize(("section", "width"), [("A program", 0.0), ("A class in Python", 0.25)])
def test_the_examples_separate_a_song(harness, here, rng, section, width):
    if section == "A program" and not shutil.which("ffmpeg"):
        pytest.skip("the example needs ffmpeg")
    name = write_example(section, here)
    given = song(here, rng)
    _, said = harness("separate", "song.wav", "--with", name)
    assert said.count(f"{name}: runs the ") == 1
    middle = given.mean(axis=0, keepdims=True)
    vocals = middle + width * (given - middle)
    found = {stem: audio.read(here / f"separated/song/{stem}.wav")[0] for stem in
             ("vocals", "accompaniment")}  # fmt: skip
    np.testing.assert_allclose(found["vocals"], vocals, atol=1e-6)
    np.testing.assert_allclose(found["accompaniment"], given - vocals, atol=1e-6)


def test_a_class_is_ranked_and_a_failing_program_is_a_row_with_what_it_printed(
    harness, here, songs
):
    name = write_example("A class in Python", here)
    command = ["sh", "-c", "echo no license; exit 7", "{input}", "{output}"]
    broken = {"family": "command", "stems": ["vocals"], "params": {"command": command}}
    rows = yaml.safe_load((here / ROWS).read_text())
    (here / ROWS).write_text(yaml.safe_dump({**rows, "broken": broken}))
    options = ("--data", f"songs={songs}", "--tracks", "1", "--jobs", "1", "--listen", "0")
    out, said = harness("run", "--separator", name, "--separator", "broken", *options, expected=3)
    assert said.count(": runs the ") == 2
    assert name in out
    scores = read_run(Path("results/main")).scores
    assert {*scores[scores["separator"] == name]["stem"]} == {"vocals", "accompaniment"}
    (failed,) = scores[scores["status"] == "failed"].to_dict("records")
    assert failed["separator"] == "broken"
    assert "exit status 7" in failed["note"]
    assert failed["note"].endswith("it printed: no license")


@pytest.mark.slow
def test_own_code_runs_in_workers_and_again_when_it_has_changed(harness, here, songs):
    name = write_example("A class in Python", here)
    options = ("--data", f"songs={songs}", "--tracks", "2", "--jobs", "2", "--listen", "0")
    run = ("run", "--separator", name, *options, "--json")
    first = json.loads(harness(*run)[0])
    assert (first["units"], first["reused"], first["failed"]) == (2, 0, 0)
    assert json.loads(harness(*run)[0])["reused"] == 2
    code = here / "stereo.py"
    code.write_text(code.read_text() + "\n# changed\n")
    again = json.loads(harness(*run)[0])
    assert (again["reused"], again["failed"]) == (0, 0)
    assert workers.KILLED not in str(again)


def test_own_code_is_used_only_if_it_is_named(harness, here, rng):
    write_example("A class in Python", here)
    (here / "stereo.py").write_text("open('ran', 'w').close()")
    song(here, rng)
    harness("separate", "song.wav", "--with", "repet")
    harness("list")
    assert not (here / "ran").exists()
    _, said = harness("check", expected=2)
    assert said.count("middle_class: runs the class stereo:Middle in") == 1
    assert (here / "ran").exists()


def test_the_layout_of_demucs_is_read(harness, here, rng):
    name = write_example("demucs' own program", here)
    program = here / "venvs/demucs/bin/demucs"
    program.parent.mkdir(parents=True)
    program.write_text(DEMUCS)
    program.chmod(0o755)
    given = song(here, rng)
    harness("separate", "song.wav", "--with", name)
    for stem in ("vocals", "drums", "bass", "other"):
        np.testing.assert_array_equal(audio.read(here / f"separated/song/{stem}.wav")[0], given)


@pytest.mark.slow
def test_the_real_program_of_demucs_is_the_same_separator(harness, here, rng):
    """Random weights, in a folder that the program reads instead of the network."""
    from demucs.htdemucs import HTDemucs

    name = write_example("demucs' own program", here)
    stems = ["drums", "bass", "other", "vocals"]
    options = {"channels": 8, "bottom_channels": 32, "t_layers": 1, "segment": Fraction(2)}
    torch.manual_seed(0)
    model = HTDemucs(stems, **options)
    args, kwargs = model._init_args_kwargs
    package = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": model.state_dict()}
    torch.save(package, here / "new.th")
    sha256 = hashlib.sha256((here / "new.th").read_bytes()).hexdigest()
    (here / "new.th").rename(here / f"htdemucs-{sha256[:8]}.th")
    program = Path(sys.executable).with_name("demucs")
    rows = yaml.safe_load((here / ROWS).read_text())
    own = rows[name]["params"]
    own["command"] = [str(program), *own["command"][1:-1]]
    own["command"] += ["--repo", str(here), "--shifts", "0", "-d", "cpu", "{input}"]
    own["environment"] |= {"HOME": os.environ["HOME"]}
    rows["same"] = {
        "family": "demucs",
        "stems": stems,
        "sample_rate": RATE,
        "channels": 2,
        "weights": [{"file": f"htdemucs-{sha256[:8]}.th", "sha256": sha256}],
    }
    (here / ROWS).write_text(yaml.safe_dump(rows))
    audio.write(here / "song.wav", rng.uniform(-0.5, 0.5, (2, 4 * RATE)).astype("float32"), RATE)
    out, _ = harness("parity", "same", name, "song.wav")
    assert "the same" in out
