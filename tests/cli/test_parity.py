"""``harness parity`` on networks of the package, and on folders with planted faults."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
import yaml
from conftest import song_stems, write_song

from harness import cli, registry
from harness.core import audio
from harness.registry.weight_files import find
from harness.separators import checkpoints, load
from harness.separators.learned import load_network

RATE = 44100
NETWORK = "simplified_demucs_demo"
HOP = 0.6  # seconds between the chunks of `base`


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a song, rows of variants of a network, and its estimates."""
    folder = tmp_path_factory.mktemp("parity")
    mixture = sum(song_stems(0, 1.7, RATE).values())
    audio.write(folder / "song.wav", mixture, RATE)
    network = load_network(find(f"{NETWORK}.safetensors"))
    about = checkpoints.load(find(f"{NETWORK}.safetensors")).metadata
    checkpoints.save(folder / "again.safetensors", network, about)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # the weights of the package have 16 bits already
        for values in network.parameters():
            values *= 1 + 1e-3 * torch.rand(values.shape, generator=generator)
    checkpoints.save(folder / "full.safetensors", network, about)
    checkpoints.save(folder / "half.safetensors", network, about, half=True)
    rows = {
        "base": {"extends": NETWORK, "params": {"segment_seconds": 0.8}},
        "overlapping": {"extends": "base", "params": {"overlap": 0.5}},
    }
    for name in ("again", "full", "half"):
        sha256 = hashlib.sha256((folder / f"{name}.safetensors").read_bytes()).hexdigest()
        rows[name] = {
            "extends": "base", "weights": [{"file": f"{name}.safetensors", "sha256": sha256}],
        }  # fmt: skip
    (folder / "model_registry.yaml").write_text(yaml.safe_dump(rows))
    entry = registry.load(folder / "model_registry.yaml")["base"]
    for stem, estimate in load(entry).separate(mixture).items():
        audio.write(folder / "kept" / "song" / f"{stem}.wav", estimate, RATE)
    return folder


@pytest.fixture
def parity(made, monkeypatch, capsys):
    """Run the command in JSON; return its exit status and what it printed."""
    monkeypatch.chdir(made)

    def call(*arguments: str, as_json: bool = True):
        more = ["--json"] if as_json else []
        monkeypatch.setattr(sys, "argv", ["harness", "parity", *arguments, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        status = stop.value.code or 0
        return status, json.loads(out) if as_json and status < 2 else out + err

    return call


def stems_of(found):
    (song,) = found["songs"]
    return song["stems"]


def test_a_saved_copy_of_weights_is_the_same(parity):
    status, found = parity("kept", "again", "song.wav")
    assert (status, found["same"]) == (0, True)
    assert {stem["largest_db"] for stem in stems_of(found).values()} == {"-inf"}


def test_weights_of_16_bits_are_found(parity):
    status, found = parity("full", "half", "song.wav", "--within", "-80")
    assert (status, found["same"]) == (1, False)
    assert -80 < max(stem["largest_db"] for stem in stems_of(found).values()) < -30


def test_another_overlap_is_found(parity):
    status, found = parity("kept", "overlapping", "song.wav")
    assert (status, found["same"]) == (1, False)
    assert all(stem["largest_db"] > -60 for stem in stems_of(found).values())


def changed(made, folder, change):
    """Copy the estimates with a change of the vocals."""
    for path in (made / "kept" / "song").iterdir():
        signal, rate = audio.read(path)
        if path.stem == "vocals":
            signal = np.ascontiguousarray(change(signal), np.float32)
        audio.write(made / folder / "song" / path.name, signal, rate)


def test_one_wrong_seam_is_found(parity, made):
    seam = slice(round(2 * HOP * RATE), round((2 * HOP + 0.1) * RATE))

    def change(signal):
        out = signal.copy()
        out[:, seam] *= 0.5
        return out

    changed(made, "seam", change)
    status, found = parity("kept", "seam", "song.wav")
    vocals = stems_of(found)["vocals"]
    assert status == 1
    assert vocals["second"] == pytest.approx(2 * HOP, abs=0.1)
    assert vocals["where"] == "only from 1.20 to 1.30 s"
    assert vocals["median_db"] == "-inf"
    assert stems_of(found)["drums"]["same"]


def test_swapped_channels_are_found_and_the_text_says_so(parity, made):
    changed(made, "swapped", lambda signal: signal[::-1])
    status, text = parity("kept", "swapped", as_json=False)
    assert status == 1
    assert "channels swapped" in text
    assert "swapped differs from kept" in text
    assert parity("kept", "swapped", "--stems", "drums,bass")[0] == 0
    assert parity("kept", "swapped", "--within", "0")[0] == 0
    status, text = parity("kept", "swapped", "--stems", "bass", as_json=False)
    assert "swapped is the same as kept: no difference is above −60.0 dB" in text


def test_tracks_of_a_dataset_are_compared(parity, tmp_path):
    for seed in range(2):
        write_song(tmp_path / f"Ann - {seed}", song_stems(seed, 1.0), rate=8000)
    data = ("--data", f"songs={tmp_path}", "--seconds", "1")
    status, found = parity("repet", "repet", *data, "--tracks", "2")
    assert status == 0
    assert [song["song"] for song in found["songs"]] == ["Ann - 0", "Ann - 1"]
    status, found = parity("repet", "mixture", *data)
    assert status == 1
    assert len(found["songs"]) == 1
    assert found["songs"][0]["stems"].keys() == {"vocals", "accompaniment"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("base", "bse", "song.wav"), "no separator 'bse'; did you mean 'base'"),
        (("base", "irm", "song.wav"), "irm: is an oracle"),
        (("base", "again", "absent.wav"), "absent.wav: no such file"),
        (("kept", "kept", "--stems", "kick"), "--stems kick: no file has this name"),
        (("kept", "voices_pan", "song.wav"), "there is no stem to compare"),
        (("base", "base", "song.wav", "--within", "3"), "--within"),
        (("broken", "base", "song.wav"), "broken: failed (ZeroDivisionError: division by zero)"),
        (("kept", "empty", "song.wav"), "empty: has no estimate of song"),
    ],
)
def test_errors_have_another_exit_status(parity, made, monkeypatch, arguments, message):
    (made / "empty").mkdir(exist_ok=True)
    (made / "broken.py").write_text(
        "class B:\n    sample_rate, stems, input_stem = 44100, ['vocals'], 'mixture'\n"
        "    def __init__(self, **_): pass\n    def separate(self, audio): return 1 / 0\n"
    )
    rows = (made / "model_registry.yaml").read_text()
    row = {"family": "python", "stems": ["vocals"], "params": {"class": "broken:B"}}
    (made / "own.yaml").write_text(rows + yaml.safe_dump({"broken": row}))
    monkeypatch.setattr(sys, "path", [*sys.path])
    status, text = parity(*arguments, "--registry", "own.yaml", as_json=False)
    assert status == 2
    assert message in " ".join(text.split())
