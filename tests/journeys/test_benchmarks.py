"""Benchmarks say what they lack before any work."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.core import audio
from harness.datasets.mir1k import mir1k
from harness.separators import checkpoints
from harness.separators.networks.tasnet import TasNet

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TRY = """
import sys
sys.path.insert(0, {folder!r})
sys.argv = ["bench.py"]
from needs import need, package
{call}
"""


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("need('json', 'no_such', programs=['no-such'])", "no_such, no-such: not installed; "
         "pip install no_such and install the program no-such"),
        ("need(programs=['ffmpeg', 'ffprobe'])", "ffmpeg, ffprobe: not installed; "
         "install the program ffmpeg"),
        ("package('no_such.part')", "no_such: not installed; pip install no_such"),
    ],
)  # fmt: skip
def test_what_is_absent_is_named_in_one_line(call, said, tmp_path):
    code = TRY.format(folder=str(BENCHMARKS), call=call)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": str(tmp_path)}
    )
    assert (done.returncode, done.stderr) == (1, f"bench.py: {said}\n")


def test_what_is_installed_is_no_obstacle(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from needs import need, package

    need("json", "numpy")
    assert package("json.decoder").JSONDecoder


def test_what_one_row_lacks_is_a_hint(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from needs import lacking

    assert lacking("json") == ""
    assert lacking("no_such") == "no_such is not installed; pip install no_such"


def test_a_clip_of_mir1k_gets_the_network_that_never_heard_its_singer(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import mir1k_networks as bench

    singers = [singer for fold in bench.FOLDS for singer in fold]
    assert len(set(singers)) == len(singers) == 19
    network = TasNet(bench.TWO_STEMS, bench.RATE, 1, filters=4, narrow=4, wide=4, blocks=1)
    for protocol in bench.PROTOCOLS:
        for path in bench._files(tmp_path, "plain_tcn", protocol):
            about = {"network": "tasnet", "config": network.config(), "trained_on": []}
            checkpoints.save(path, network, about)
    rows = bench.rows(tmp_path)
    assert list(rows) == [f"TCN without gates, {protocol}" for protocol in "ABC"]
    used = {
        singer: [of_clip(Path(f"{singer}_1_01.wav")) for of_clip in rows.values()]
        for singer in ("amy", "leon", "Ani")
    }
    paths = {who: [s and s.files[0][0].parent.name for s in row] for who, row in used.items()}
    assert paths == {
        "amy": ["plain_tcn", None, "plain_tcn-1"],
        "leon": ["plain_tcn", "plain_tcn", "plain_tcn-3"],
        "Ani": ["plain_tcn", "plain_tcn", "plain_tcn-5"],
    }
    whole = mir1k(_clips(tmp_path / "data", ["amy", "abjones", "leon", "bug"]))
    trained = list(bench._trainings(tmp_path, "plain_tcn", whole))
    assert [len(dataset.tracks) for _, dataset in trained] == [2, 3, 3, 3, 3, 4]
    for path, dataset in trained:
        row = rows[f"TCN without gates, {path.parent.parent.name.upper()}"]
        used_by = [row(Path(f"{track.name}.wav")) for track in dataset.tracks]
        assert all(separator is None or separator.files[0][0] != path for separator in used_by)


def _clips(root, singers):
    for singer in singers:
        audio.write(root / f"{singer}_1_01.wav", np.zeros((2, 100), np.float32), 16000)
    return root
