"""The metric engine against museval, mir_eval and fast-bss-eval: speed, agreement, memory.

All tools see the same arrays in the same process and take turns; ratios are medians over the
turns, so that a busy machine spoils them little. ``first`` is a track with its first separator,
``further`` each separator after it. Fresh processes are started to measure memory and the cost of
a first call.

    python benchmarks/metrics.py --seconds 10 30 60 240 --threads 2
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from scipy.signal import lfilter

from harness.metrics import References, analyse

RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")
METRICS = ("csdr", "isr", "sir", "sar")
LONGEST_FOR_FAST_BSS_EVAL = 60  # seconds; it needs 15 GB for four minutes
Signals = dict[str, np.ndarray]


def make_track(seconds: int, seed: int = 0) -> tuple[Signals, Signals]:
    """Four stereo stems of coloured, gated noise in 16 bits, and what a separator makes of them."""
    rng = np.random.default_rng(seed)
    references = {}
    for index, stem in enumerate(STEMS):
        noise = rng.standard_normal((2, seconds * RATE))
        noise[1] = 0.6 * noise[0] + 0.8 * noise[1]
        coloured = lfilter([1.0], [1.0, -0.5 - 0.12 * index], noise)
        gate = np.repeat(rng.random(seconds * 4) > 0.15, RATE // 4)
        coloured *= 0.05 * gate * (1 + np.sin(np.arange(seconds * RATE) * (index + 1) / RATE))
        references[stem] = (np.round(coloured * 32768) / 32768).astype(np.float32)
    mixture = sum(references.values())
    estimates = {}
    for stem, signal in references.items():
        artifacts = 0.002 * rng.standard_normal(signal.shape)
        smeared = lfilter([0.7, 0.2, 0.1], [1.0], signal) + 0.1 * mixture + artifacts
        estimates[stem] = smeared.astype(np.float32)
    return references, estimates


def timed(work: Callable[[], Any]) -> tuple[Any, np.ndarray]:
    """Run; result, and (wall, CPU) seconds."""
    start = time.perf_counter(), time.process_time()
    result = work()
    return result, np.array([time.perf_counter() - start[0], time.process_time() - start[1]])


def museval_frames(references: Signals, estimates: Signals) -> np.ndarray:
    """SDR, ISR, SIR, SAR per frame, shape (4, stems, frames)."""
    import museval.metrics

    pair = (np.stack([x.T for x in signals.values()]) for signals in (references, estimates))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.stack(museval.metrics.bss_eval(*pair, window=RATE, hop=RATE)[:4])


def analysed(references: Signals, threads: int, metrics: tuple[str, ...] = METRICS) -> References:
    return analyse(references, RATE, metrics=metrics, compat="museval", threads=threads)


def framewise(seconds: int, threads: int, repeats: int) -> None:
    """BSS Eval v4 against museval: ratios of time, and agreement."""
    references, estimates = make_track(seconds)
    rows, theirs, ours = [], np.empty(0), np.empty(0)
    for turn in range(repeats):
        theirs, peer = timed(lambda: museval_frames(references, estimates))
        ready, track = timed(lambda: analysed(references, threads))
        scores, first = timed(lambda ready=ready: ready.frames(estimates))
        _, further = timed(lambda ready=ready: ready.score(estimates))
        only = analysed(references, threads, ("csdr",))
        _, alone = timed(lambda only=only: only.score(estimates))
        rows.append(np.concatenate([peer / (track + first), peer / further, peer / alone]))
        if turn == 0:
            print(f"{seconds} s: museval {peer[0]:.2f} s, track {track[0]:.3f} s, separator "
                  f"{further[0]:.3f} s, wall")  # fmt: skip
        ours = np.stack([[scores[stem][name] for stem in STEMS] for name in METRICS])
        del ready
    wall_cpu = np.median(rows, axis=0).reshape(3, 2)
    for name, (wall, cpu) in zip(("first", "further", "SDR alone"), wall_cpu, strict=True):
        print(f"  {name:10} {wall:7.0f} × wall {cpu:7.0f} × CPU")
    for name, a, b in zip(METRICS, ours, theirs, strict=True):
        both = np.isfinite(a) & np.isfinite(b)
        masks = np.array_equal(np.isnan(a), np.isnan(b)) and np.array_equal(
            np.isinf(a), np.isinf(b)
        )
        print(f"  {name:10} {np.abs(a - b)[both].max():.0e} dB apart at most, masks "
              f"{'equal' if masks else 'DIFFER'}, {both.sum()} frames")  # fmt: skip


def whole_track(seconds: int, threads: int, repeats: int) -> None:
    """BSS Eval v3 of mono stems against mir_eval and fast-bss-eval."""
    import fast_bss_eval
    import mir_eval.separation

    references, estimates = ({s: x[:1] for s, x in y.items()} for y in make_track(seconds))
    flat = [np.concatenate([*x.values()]).astype(np.float64) for x in (references, estimates)]
    peers: dict[str, Callable[[], Any]] = {
        "mir_eval": lambda: mir_eval.separation.bss_eval_sources(*flat, compute_permutation=False)
    }
    if seconds <= LONGEST_FOR_FAST_BSS_EVAL:
        peers["fast-bss-eval"] = lambda: fast_bss_eval.bss_eval_sources(*flat)
    for name, peer in peers.items():
        ratios, apart = [], 0.0
        for _ in range(repeats):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs, slow = timed(peer)
            ready, track = timed(lambda: analysed(references, threads, ("sir",)))
            scores, first = timed(lambda ready=ready: ready.bss_eval_sources(estimates))
            ratios.append(slow / (track + first))
            for metric, values in zip(("sdr", "sir", "sar"), theirs, strict=False):
                mine = [scores[stem][metric] for stem in STEMS]
                apart = max(apart, float(np.abs(mine - np.asarray(values)).max()))
        wall, cpu = np.median(ratios, axis=0)
        print(f"  v3 mono, {name}: {wall:.0f} × wall, {cpu:.0f} × CPU, {apart:.0e} dB apart")


def fresh(tool: str, seconds: int, threads: int) -> dict[str, float]:
    """Seconds and extra memory of one tool's first call in a process of its own."""
    command = [sys.executable, __file__, "--fresh", tool, "--seconds", str(seconds)]
    out = subprocess.run([*command, "--threads", str(threads)], capture_output=True, check=True)
    return json.loads(out.stdout)


def fresh_child(tool: str, seconds: int, threads: int) -> None:
    """Measure what `fresh` reports."""
    references, estimates = make_track(seconds)
    if tool == "engine":
        import torch  # noqa: F401 - loading a library is not scoring
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory("VmRSS")
    if tool == "museval":
        _, took = timed(lambda: museval_frames(references, estimates))
    else:
        _, took = timed(lambda: analysed(references, threads).score(estimates))
    print(json.dumps({"wall": took[0], "megabytes": memory("VmHWM") - before}))


def memory(line: str) -> float:
    """Resident memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at most since the reset."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(entry.split()[1]) for entry in status if entry.startswith(line)) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fresh", choices=("engine", "museval"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    with threadpoolctl.threadpool_limits(options.threads):
        if options.fresh:
            return fresh_child(options.fresh, options.seconds[0], options.threads)
        for seconds in options.seconds:
            framewise(seconds, options.threads, options.repeats)
            whole_track(seconds, options.threads, options.repeats)
            ours, theirs = (fresh(tool, seconds, options.threads) for tool in ("engine", "museval"))
            print(
                f"  fresh process: {theirs['wall'] / ours['wall']:.0f} × wall, extra memory "
                f"{ours['megabytes']:.0f} MB against {theirs['megabytes']:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
