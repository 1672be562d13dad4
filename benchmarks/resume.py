"""How long a run takes when everything is done already: 150 tracks, 8 separators.

Makes short songs in a temporary folder, runs them once, then times the same command again and the
bare start-up of the command line. Prints medians of several runs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.core import audio

SEPARATORS = ("mixture", "ibm", "irm", "mwf", "hpss", "repet", "repet_sim", "nmf")


def make_songs(root: Path, n_tracks: int) -> None:
    """Write noise in four stems, one second a song."""
    for number in range(n_tracks):
        rng = np.random.default_rng(number)
        stems = {s: rng.normal(0, 0.1, (2, 8000)) for s in ("vocals", "drums", "bass", "other")}
        for name, signal in (*stems.items(), ("mixture", sum(stems.values()))):
            path = root / f"Artist {number % 46} - Song {number}" / f"{name}.wav"
            audio.write(path, np.asarray(signal, np.float32), 8000)


def seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "harness", *command], cwd=folder, check=True, capture_output=True
    )
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tracks", type=int, default=150)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_songs(folder / "songs", arguments.tracks)
        chosen = [part for s in SEPARATORS for part in ("--separator", s)]
        run = ["run", *chosen, "--data", f"songs={folder / 'songs'}"]
        first = seconds(run, folder)
        again = statistics.median(seconds(run, folder) for _ in range(arguments.repeats))
        start = statistics.median(seconds(["version"], folder) for _ in range(arguments.repeats))
    print(f"{arguments.tracks} tracks x {len(SEPARATORS)} separators")
    print(f"first run        {first:8.2f} s")
    print(f"same run again   {again:8.2f} s")
    print(f"start-up alone   {start:8.2f} s")
    print(f"again, less start-up {again - start:4.2f} s")


if __name__ == "__main__":
    main()
