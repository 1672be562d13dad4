"""The script for machines with a GPU runs to its end on one without."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_check.sh"
PAGE = Path(__file__).parents[2] / "docs" / "gpu.md"


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_a_dry_run_fills_the_table(tmp_path):
    done = run("--dry", cwd=tmp_path)
    table = (tmp_path / "gpu_check.md").read_text()
    assert done.returncode == 0, table
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][1:]
    assert {row[1] for row in rows} <= {"as expected", "left out"}
    names = " ".join(row[0] for row in rows)
    for name in ("metrics", "HT-Demucs", "SCNet-large", "Mel-Band RoFormer", "BS-RoFormer",
                 "too little memory", "ASNet", "training", "tests marked gpu"):  # fmt: skip
        assert name in names
        assert name in PAGE.read_text()
    assert table.startswith("Dry run")


def test_checks_that_fail_or_take_too_long_are_rows(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import gpu_check

    code = 'print(\'{"check": "a"}\', flush=True); import time; {rest}'
    for rest, limit, reason in (
        ("raise ValueError('no card')", 60, "ValueError: no card"),
        ("time.sleep(60)", 3, "took more than 3 s"),
        ("pass", 60, ""),
    ):
        command = [sys.executable, "-c", code.replace("{rest}", rest)]
        assert gpu_check._one(command, limit) == ([{"check": "a"}], reason)
