"""Benchmarks say what they lack before any work."""

import subprocess
import sys
from pathlib import Path

import pytest

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
