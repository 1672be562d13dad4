"""What is said of a run from outside: running, finished, stopped, killed."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace

import pytest

from harness import cli
from harness.core.errors import HarnessError
from harness.results import run_states
from harness.results.run_states import (
    FAILED,
    FINISHED,
    KILLED,
    RUNNING,
    STOPPED,
    RunState,
    birth_of,
    read_states,
)

HERE = RunState(
    "main",
    host=platform.node(),
    pid=os.getpid(),
    birth=birth_of(os.getpid()),
    done=4,
    total=9,
    started=1000.0,
    updated=1000.0,
    per_minute=1.5,
    seconds_left=200.0,
)


def seen(folder, state: RunState, now: float = 1000.0) -> str:
    state.write(folder / state.run)
    return {found.run: found.state for found in read_states(folder, now)}[state.run]


def test_a_run_whose_process_lives_is_running_however_long_it_was_silent(tmp_path):
    assert seen(tmp_path, HERE, now=1e9) == RUNNING
    assert next(read_states(tmp_path / "main", 1e9)) == HERE


def test_a_run_whose_process_ended_or_is_another_one_was_killed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    assert gone.wait() == 0
    assert seen(tmp_path, replace(HERE, pid=gone.pid)) == KILLED
    if HERE.birth:
        assert seen(tmp_path, replace(HERE, birth="1")) == KILLED


def test_a_process_that_ended_unnoticed_is_no_running_one(tmp_path):
    if not HERE.birth:
        pytest.skip("this system has no /proc")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    state = replace(HERE, pid=child.pid, birth=birth_of(child.pid))
    assert seen(tmp_path, state) == RUNNING
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert seen(tmp_path, state) == KILLED
    child.communicate()


@pytest.mark.parametrize(("silent", "state"), [(59.0, RUNNING), (61.0, KILLED)])
def test_a_run_on_another_machine_is_judged_by_its_last_sign_of_life(tmp_path, silent, state):
    assert seen(tmp_path, replace(HERE, host="elsewhere"), now=1000.0 + silent) == state


def test_a_run_of_an_earlier_version_has_its_record_alone(tmp_path):
    (tmp_path / "old").mkdir()
    work = {"units": 8, "reused": 3, "computed": 4, "failed": 1}
    (tmp_path / "old" / "run.json").write_text(json.dumps({"work": work}))
    (state,) = read_states(tmp_path, 0.0)
    assert (state.run, state.state, state.done, state.failed) == ("old", FAILED, 8, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "has format 2, and this version reads up to 1; update harness"),
        ({"done": "many"}, "is not as it was written; delete it"),
        ({"updated": float("nan")}, "is not as it was written"),
        ({"reasons": [1]}, "is not as it was written"),
        ({"more": 1}, "is not as it was written"),
    ],
)
def test_a_strange_file_is_named(tmp_path, change, said):
    HERE.write(tmp_path / "main")
    path = tmp_path / "main" / run_states.PROGRESS
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(HarnessError, match="progress.json: " + said):
        list(read_states(tmp_path, 0.0))


@pytest.fixture
def status(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str]:
        words = ["harness", "status", str(tmp_path), *arguments]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, "".join(capsys.readouterr())

    return call


def test_the_exit_status_tells_scripts_what_to_do(status, tmp_path):
    assert status()[0] == cli.USER_ERROR
    for state, code in ((FINISHED, 0), (FAILED, 3), (STOPPED, 5), (RUNNING, 4)):
        replace(HERE, run=f"r{code}", state=state).write(tmp_path / f"r{code}")
        assert status()[0] == code  # that of the worst one so far
        assert status("--run", f"r{code}")[0] == code
    assert status("--run", "r0", "--run", "r3")[0] == 3
    assert "no run named 'r9'" in status("--run", "r9")[1]


def test_status_shows_numbers_and_reasons_and_hides_codes(status, tmp_path):
    reasons = {"out of memory\x1b[2J": 2}
    replace(HERE, failed=2, reasons=reasons).write(tmp_path / "main")
    code, said = status()
    assert code == 4
    for part in ("4 of 9", f"process {os.getpid()}", "1970-01-01 00:16", "1.5", "3 min 20 s"):
        assert part in said
    assert "main: 2 jobs failed: out of memory\\x1b[2J" in said
    (row,) = json.loads(status("--json")[1])
    assert (row["done"], row["total"], row["seconds_left"]) == (4, 9, 200.0)


def test_watching_ends_with_the_run(status, tmp_path, monkeypatch):
    HERE.write(tmp_path / "main")
    ends = replace(HERE, state=FINISHED, done=9)
    monkeypatch.setattr("harness.cli.status.time.sleep", lambda _: ends.write(tmp_path / "main"))
    code, said = status("--watch")
    assert code == 0
    assert said.index("4 of 9") < said.index("9 of 9")
