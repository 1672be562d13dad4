"""Size, speed and memory of every separator that can run here, and ASNet beside its paper.

    python benchmarks/separators.py                  # networks, registry, ASNet beside its paper
    python benchmarks/separators.py --seconds 120    # longer music
    python benchmarks/separators.py --threads 1      # as a run of the harness works
    python benchmarks/separators.py --readings       # parameters of every reading of the papers
    python benchmarks/separators.py --peers          # beside other programs, same weights
    python benchmarks/separators.py --peers spleeter # one row of that table

Each row is measured in a process of its own, best of three after one to warm up. Networks that have
no weights yet are measured with random ones, which take as long. Memory is that of the whole
process, Python and libraries included (about 300 MiB); on a GPU that of its tensors.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import peers
import torch
from needs import lacking

from harness import registry
from harness.core.audio import Audio
from harness.registry import Entry
from harness.separators import load
from harness.separators.chunked import separate_chunked
from harness.separators.networks import NETWORKS, count_parameters
from harness.separators.networks.bsrnn import BSRNN
from harness.separators.networks.dttnet import DTTNet
from harness.separators.networks.mmdenselstm import PAPER as MMDENSELSTM
from harness.separators.networks.open_unmix import OpenUnmix

RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")
UNTRAINED = "random weights"
PUBLISHED: dict[str, tuple[Callable[..., Any], float]] = {  # and the overlap of their rows
    "open_unmix": (OpenUnmix, 0.25),
    "bsrnn": (BSRNN, 1 / 12),
    "dttnet": (DTTNet, 0.75),  # of one stem
}
PAPER = {"cpu": (315.4, 4.2), "cuda": (42.7, 2.6)}  # ms for 5 s, GB: ASNet, section 4.3
PAPER_ON = {"cpu": "Xeon Silver 4210", "cuda": "RTX 3090"}
BATCH = {"cpu": 1, "cuda": 8}
READINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "as printed (default)": ("asnet", {}),
    "no skip": ("asnet", {"skip": "none"}),
    "no skip, units of each direction": ("asnet", {"skip": "none", "units": "each"}),
    "no skip, 3 taps": ("asnet", {"skip": "none", "kernel": (1, 3)}),
    "no skip, 3 taps, units of each": (
        "asnet",
        {"skip": "none", "kernel": (1, 3), "units": "each"},
    ),
    "3 taps, dense of the bottleneck": ("asnet", {"skip": "bottleneck", "kernel": (1, 3)}),
    "bottleneck 128": ("asnet", {"bottleneck": 128}),
    "bottleneck 512": ("asnet", {"bottleneck": 512}),
    "a channel for each feature": ("asnet", {"fusion": "stack"}),
    "a network for each stem": ("asnet", {"per_stem": True}),
    "as printed, 513 bins, one stem": (
        "unet",
        {"width": 256, "n_fft": 1024, "hop": 256, "stems": ["vocals"]},
    ),
    "width 24, four stems (default)": ("unet", {}),
    "three layers (default)": ("simplified_demucs", {}),
    "four layers": ("simplified_demucs", {"widths": (16, 32, 64, 128)}),
    "twelve levels (default)": ("wave_u_net", {}),
    "published sizes, one stem": ("mmdenselstm", {**MMDENSELSTM, "stems": ["vocals"]}),
    "four stems (default)": ("mmdenselstm", {}),
}
Work = Callable[[], object]


def music(seconds: int) -> Audio:
    """Stereo noise under a slow swell; no separator here is faster or slower on real music."""
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((2, seconds * RATE), np.float32)
    swell = 0.1 + 0.1 * np.sin(np.linspace(0, seconds, seconds * RATE, dtype=np.float32))
    return audio * swell


def runnable() -> Iterator[Entry]:
    """Give every separator of the registry that can run; anchors and oracles are no separators."""
    for entry in registry.load().values():
        if entry.role == "separator" and not entry.unavailable:
            yield entry


def prepare(name: str, device: str, audio: Audio) -> tuple[Work, int]:
    """Return what to time and the number of parameters."""
    if name.endswith(UNTRAINED):
        torch.manual_seed(0)
        short = name.split(",")[0]
        build, overlap = PUBLISHED.get(short) or (NETWORKS[short], 0.25)
        network: Any = build().eval()
        options = {
            "overlap": overlap,
            "segment": network.segment,
            "batch": BATCH[device],
            "device": device,
        }
        work = functools.partial(separate_chunked, network, audio, **options)
        return work, count_parameters(network)
    entry = registry.find(registry.load(), name)
    where = {"device": device} if entry.weights else {}
    separator: Any = load(entry, stems=entry.stems or STEMS, sample_rate=RATE, **where)
    parameters = sum(map(count_parameters, getattr(separator, "networks", [])))
    return lambda: separator.separate(audio.copy()), parameters


def five_seconds(device: str) -> tuple[Work, int]:
    """Return one pass of the default ASNet over 5 s of stereo, audio in and audio out."""
    torch.manual_seed(0)
    network = NETWORKS["asnet"]().eval().to(device)
    mixture = torch.from_numpy(music(5))[None]

    def work() -> object:
        with torch.inference_mode():
            return network(mixture.to(device)).cpu()

    return work, count_parameters(network)


def measure(work: Work, device: str, turns: int) -> dict[str, float]:
    """Time some turns after one to warm up; give the peak of memory in bytes."""
    times = []
    for _ in range(turns + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
    return {"best": min(times[1:]), "median": statistics.median(times[1:]), "peak": peak}


def print_one(options: argparse.Namespace) -> None:
    """Measure one separator in this process and print the figures as JSON."""
    warnings.simplefilter("ignore")
    if options.pair:
        logging.disable(logging.CRITICAL)  # of the other programs
        with contextlib.redirect_stdout(sys.stderr):
            found = peers.measure(options.one, music(options.seconds), options.device)
        print(json.dumps(found))
        return
    if options.one == "five":
        work, parameters = five_seconds(options.device)
        figures = measure(work, options.device, turns=20)
    else:
        work, parameters = prepare(options.one, options.device, music(options.seconds))
        figures = measure(work, options.device, turns=3)
    print(json.dumps({**figures, "parameters": parameters}))


def apart(name: str, device: str, options: argparse.Namespace, *more: str) -> dict[str, float]:
    """Measure one separator in a process of its own."""
    threads = str(options.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    command = [sys.executable, __file__, "--one", name, "--device", device]
    command += ["--seconds", str(options.seconds), *more]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    found: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return found


def print_table(options: argparse.Namespace, devices: list[str]) -> None:
    names = [f"{name}, {UNTRAINED}" for name in [*NETWORKS, *PUBLISHED]]
    print(
        f"| {options.seconds} s stereo | device | parameters | s | real-time factor | peak, MiB |"
    )
    print("|---|---|---|---|---|---|")
    learned = {entry.name for entry in runnable() if entry.weights}
    for name in [*names, *(entry.name for entry in runnable())]:
        for device in devices if name in learned or name in names else ["cpu"]:
            found = apart(name, device, options)
            print(
                f"| {name} | {device} | {found['parameters'] or '–'} | {found['best']:.2f} "
                f"| {found['best'] / options.seconds:.4f} | {found['peak'] / 2**20:.0f} |",
                flush=True,
            )


def print_asnet(options: argparse.Namespace, devices: list[str]) -> None:
    print("\n| ASNet, 5 s stereo | median, ms | best, ms | printed, ms | times faster | peak, GB "
          "| printed, GB |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for device in devices:
        found, (printed, memory) = apart("five", device, options), PAPER[device]
        median, best = 1000 * found["median"], 1000 * found["best"]
        print(
            f"| {device}, {options.threads} threads (printed: {PAPER_ON[device]}) | {median:.1f} "
            f"| {best:.1f} | {printed} | {printed / median:.1f} | {found['peak'] / 1e9:.2f} "
            f"| {memory} |",
            flush=True,
        )


def print_peers(options: argparse.Namespace, devices: list[str]) -> None:
    print(f"| {options.seconds} s stereo, threads: {options.threads} | compared with | device "
          "| ours, s | theirs, s | times faster | with the same chunks | largest difference |\n"
          "|---|---|---|---|---|---|---|---|")  # fmt: skip
    absent = set()
    for name in options.peers or peers.PEERS:
        peer = peers.PEERS[name]
        if missing := lacking(peer.program.replace("-", "_")):
            absent.add(missing)
            continue
        for device in devices:
            found = apart(name, device, options, "--pair")
            print(
                f"| {peer.network} | {peer.program} | {device} | {found['ours']:.1f} "
                f"| {found['theirs']:.1f} | {found['times']:.2f} | {found['same']:.2f} "
                f"| {found['error']:.0e} |",
                flush=True,
            )
    for missing in sorted(absent):
        print(f"\nNot compared: {missing}")


def print_readings() -> None:
    print("| network | reading | parameters |\n|---|---|---|")
    for reading, (name, options) in READINGS.items():
        module: Any = NETWORKS[name](**options)
        print(f"| {name} | {reading} | {count_parameters(module):,} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="length of the music")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the CPU")
    parser.add_argument("--one", help="measure this separator in this process")
    parser.add_argument("--device", choices=PAPER, default="cpu", help="for --one")
    parser.add_argument("--asnet", action="store_true", help="only ASNet beside its paper")
    parser.add_argument(
        "--peers", nargs="*", choices=peers.PEERS, help="only beside other programs; rows of it"
    )
    parser.add_argument("--pair", action="store_true", help="for --one: both programs")
    parser.add_argument("--readings", action="store_true", help="only count parameters")
    options = parser.parse_args()
    if options.one or options.readings:
        print_one(options) if options.one else print_readings()
        return
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if options.peers is not None:
        print_peers(options, devices)
        return
    if not options.asnet:
        print_table(options, devices)
    print_asnet(options, devices)


if __name__ == "__main__":
    main()
