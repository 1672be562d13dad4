"""A run that is killed and continued ends with the same bytes as one left alone."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness import cli
from harness.results.run_states import FINISHED, KILLED, read_states

SEPARATORS = ("mixture", "irm", "hpss", "repet", "repet_sim", "nmf")
FEW = SEPARATORS[:3]
TABLES = ("scores.parquet", "ensembles.parquet", "selection.parquet")


def arguments(songs: Path, separators: Sequence[str], jobs: int) -> list[str]:
    names = [part for name in separators for part in ("--separator", name)]
    return ["run", *names, "--data", f"songs={songs}", "--jobs", str(jobs)]


def start(songs: Path, folder: Path, separators: Sequence[str] = SEPARATORS) -> subprocess.Popen:
    command = arguments(songs, separators, jobs=2)
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *command],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "results/main" / name).read_bytes() for name in TABLES}


def finish(songs: Path, folder: Path) -> dict[str, bytes]:
    assert start(songs, folder).wait() == 0, (folder / "log").read_text()
    return tables(folder)


def kill_after(songs: Path, folder: Path, seconds: float, whole_group: bool) -> bool:
    """Start a run and kill it; whether it was still running."""
    process = start(songs, folder)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()  # workers are orphans now and may still write what they had begun
        process.wait()
        return True
    return False


def check_kills(songs: Path, tmp_path: Path, kills: int, seed: int) -> None:
    """Kill runs at so many random moments, up to four times on one folder, and compare the ends."""
    (tmp_path / "left alone").mkdir()
    began = time.time()
    expected = finish(songs, tmp_path / "left alone")
    duration = time.time() - began
    draw = random.Random(seed)
    killed = 0
    while killed < kills:
        folder = tmp_path / f"killed {killed}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for _ in range(min(4, kills - killed)):
            if not kill_after(songs, folder, draw.uniform(0.1, duration), killed % 2 == 0):
                break  # it was done before; a new folder for the next kill
            killed += 1
        assert finish(songs, folder) == expected
        assert [p for p in folder.rglob("*.part") if p.is_file()] == []


def test_killed_and_continued_runs_end_with_the_same_bytes(mono_songs, tmp_path, monkeypatch):
    """One kill of two workers; the run is finished by one, in this process."""
    ends = []
    for name in ("killed", "left alone"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "killed":
            process = start(mono_songs, folder, FEW)
            while not list(folder.glob("results/work/*/*.json")):
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            assert [s.state for s in read_states(folder / "results", time.time())] == [KILLED]
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["harness", *arguments(mono_songs, FEW, jobs=1)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        ends.append(tables(folder))
        assert [s.state for s in read_states(folder / "results", time.time())] == [FINISHED]
        assert [p for p in folder.rglob("*.part") if p.is_file()] == []
    assert ends[0] == ends[1]


ENDLESS = """
import os, time
from pathlib import Path

def do_batch(*_):
    (Path(__file__).parent / f"{os.getpid()}.worker").touch()
    until = time.time() + 60
    while time.time() < until:
        sum(range(100_000))
    return {}
"""
RUN = """
import types, endless
from harness.benchmark import workers
workers.do_batch = endless.do_batch
workers._work([workers.TrackBatch(())] * 2, types.SimpleNamespace(backend='loky'), 2, {})
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not (state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(os.name == "nt", reason="a process keeps its parent's number")
def test_workers_end_soon_after_their_run_is_killed(tmp_path):
    (tmp_path / "endless.py").write_text(ENDLESS)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.DEVNULL,
    )
    while len(found := [int(p.stem) for p in tmp_path.glob("*.worker")]) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    until = time.monotonic() + 2
    while any(map(alive, found)) and time.monotonic() < until:
        time.sleep(0.05)
    left = [pid for pid in found if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == []


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "seed"), [(1, 1), (20, 2)])
def test_many_kills_at_any_moment(songs, tmp_path, kills, seed):
    check_kills(songs, tmp_path, kills, seed)
