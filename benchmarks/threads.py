"""The time of `harness separate` on a free and on a busy machine, with all threads and with one.

    python benchmarks/threads.py song.wav --with scnet_small --busy 4     # prints Markdown

Each row is a process of its own, from start to end. The busy machine also runs `--busy` processes
that compute all the time. "Load" is that of the minute before a row; other programs then ran, too.
Waiting threads sleep in `harness`; with "spinning" they compute while they wait, as OpenMP may.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAYS = {
    "default": {},
    "one thread": {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    "spinning": {"OMP_WAIT_POLICY": "ACTIVE"},
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_WAIT_POLICY")


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Run so many processes that compute all the time."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def separate(song: Path, using: str, settings: dict[str, str]) -> tuple[float, float]:
    """Separate a song in a process of its own; return wall time and processor time in seconds."""
    plain = {name: value for name, value in os.environ.items() if name not in THREADS}
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "harness", "separate", str(song), "--offline", "-o", out]
        command += ["--with", using] if using else []
        before, started = os.times(), time.perf_counter()
        done = subprocess.run(command, env=plain | settings, capture_output=True, text=True)
        wall, after = time.perf_counter() - started, os.times()
    if done.returncode:
        raise SystemExit(done.stderr)
    used = after.children_user + after.children_system
    return wall, used - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("song", type=Path)
    parser.add_argument("--with", dest="using", default="", help="separator; the default one")
    parser.add_argument("--busy", type=int, default=2 * (os.cpu_count() or 1), metavar="N")
    parser.add_argument("--repeats", type=int, default=1, help="of which the fastest counts")
    options = parser.parse_args()
    print(f"{options.song.name}, {options.using or 'default'}, {os.cpu_count()} cores\n")
    print("| machine | threads | wall, s | processor, s | load |\n|---|---|---|---|---|")
    for count in (0, options.busy):
        for name, settings in WAYS.items():
            load = os.getloadavg()[0]
            with busy(count):
                found = [
                    separate(options.song, options.using, settings) for _ in range(options.repeats)
                ]
            wall, used = min(found)
            where = f"and {count} busy processes" if count else "as it is"
            print(f"| {where} | {name} | {wall:.1f} | {used:.1f} | {load:.1f} |", flush=True)


if __name__ == "__main__":
    main()
