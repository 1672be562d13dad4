"""The metric engine against museval, mir_eval and fast-bss-eval: speed, agreement, memory.

All tools score the same arrays in the same process and take turns, with the same number of threads;
times are medians over the turns, of which the engine has more. ``first`` is a track with its first
separator, ``further`` each separator after it. *Warm* is a process that has scored before, *fresh*
one that has only loaded its libraries. The table is in Markdown.

    python benchmarks/metrics.py --seconds 10 30 60 240 --threads 2
    python benchmarks/metrics.py --added --seconds 60 --threads 1 --repeats 3
    python benchmarks/metrics.py --tools --seconds 240 --threads 2
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
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from needs import need
from scipy.signal import lfilter

from harness.metrics import BlendProducts, References, analyse, bleed, measure
from harness.metrics.engine.bss_eval import gram
from harness.metrics.tool_metrics import TOOLS, installed

RATE = 44100
STEMS = ("vocals", "drums", "bass", "other")
METRICS = ("csdr", "isr", "sir", "sar")
BEFORE = ("snr", "sdr", "si_sdr", *METRICS)
FREE = ("si_sir", "si_sar", "sd_sdr", "snri", "sdri", "si_sdri", "pes")
LONGEST_FOR_FAST_BSS_EVAL = 60  # seconds; it needs 15 GB for four minutes
TURNS = 5  # of the engine to each of another tool's
Signals = dict[str, np.ndarray]


def make_track(seconds: int, seed: int = 0) -> tuple[Signals, Signals]:
    """Four stereo stems of coloured, gated noise in 16 bits, and estimates of them."""
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


def framewise(seconds: int, threads: int, repeats: int) -> dict[str, str]:
    """BSS Eval v4 against museval: times, ratios of time, memory, and agreement."""
    references, estimates = make_track(seconds)
    analysed(references, threads).score(estimates)  # warm
    theirs, peers = np.empty(0), []
    firsts, furthers, alone = [], [], []
    for _ in range(repeats):
        before = reset_memory()
        theirs, took = timed(lambda: museval_frames(references, estimates))
        megabytes = memory("VmHWM") - before
        peers.append(took)
        only = analysed(references, threads, ("csdr",))
        for _ in range(TURNS):
            ready, track = timed(lambda: analysed(references, threads))
            scores, separator = timed(lambda ready=ready: ready.frames(estimates))
            firsts.append(track + separator)
            furthers.append(timed(lambda ready=ready: ready.score(estimates))[1])
            alone.append(timed(lambda only=only: only.score(estimates))[1])
            del ready
    peer, first, further, sdr = (np.median(x, axis=0) for x in (peers, firsts, furthers, alone))
    new = [fresh(seconds, threads) for _ in range(repeats)]
    new_first, new_further = (np.median([x[k] for x in new], axis=0) for k in ("first", "further"))
    ours = np.stack([[scores[stem][name] for stem in STEMS] for name in METRICS])
    both = np.isfinite(ours) & np.isfinite(theirs)
    masks = all(np.array_equal(f(ours), f(theirs)) for f in (np.isnan, np.isposinf, np.isneginf))
    apart = [np.abs(a - b)[m].max() for a, b, m in zip(ours, theirs, both, strict=True)]
    return {
        "museval, s": f"{peer[0]:.1f} wall, {peer[1]:.1f} CPU",
        "engine warm, s: first": f"{first[0]:.3f} wall, {first[1]:.3f} CPU",
        "engine warm, s: further": f"{further[0]:.3f} wall, {further[1]:.3f} CPU",
        "**first**, warm": ratio(peer, first),
        "**first**, fresh": ratio(peer, new_first),
        "**further**, warm": ratio(peer, further),
        "**further**, fresh": ratio(peer, new_further),
        "**SDR alone**, warm": ratio(peer, sdr),
        "memory, MB": f"{max(x['megabytes'] for x in new):.0f}, museval {megabytes:.0f}",
        "largest difference, dB: SDR, ISR, SIR, SAR": ", ".join(f"{x:.0e}" for x in apart),
        "NaN and inf": f"{'the same' if masks else 'DIFFERENT'} ({both[0].sum()} finite frames)",
    }


def whole_track(seconds: int, threads: int, repeats: int) -> dict[str, str]:
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
    rows = {}
    for name, peer in peers.items():
        theirs, slow, firsts, apart = (), [], [], 0.0
        for _ in range(repeats):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs, took = timed(peer)
            slow.append(took)
            for _ in range(TURNS):
                scores, took = timed(
                    lambda: analysed(references, threads, ("sir",)).bss_eval_sources(estimates)
                )
                firsts.append(took)
        for metric, values in zip(("sdr", "sir", "sar"), theirs, strict=False):
            mine = [scores[stem][metric] for stem in STEMS]
            apart = max(apart, float(np.abs(mine - np.asarray(values)).max()))
        times = ratio(np.median(slow, axis=0), np.median(firsts, axis=0))
        rows[f"v3 mono against {name}, first"] = f"{times}; {apart:.0e} dB"
    return rows


def ratio(slow: np.ndarray, fast: np.ndarray) -> str:
    """How many times faster in wall and in CPU time."""
    wall, cpu = slow / fast
    return f"{wall:.0f}× wall, {cpu:.0f}× CPU"


def fresh(seconds: int, threads: int) -> dict[str, Any]:
    """Measure times and extra memory of the engine in a process of its own."""
    command = [sys.executable, __file__, "--fresh", "--seconds", str(seconds)]
    out = subprocess.run([*command, "--threads", str(threads)], capture_output=True, check=True)
    return json.loads(out.stdout)


def fresh_child(seconds: int, threads: int) -> None:
    """Measure in the new process of `fresh` and print JSON."""
    references, estimates = make_track(seconds)
    import torch  # noqa: F401 - loading a library is not scoring

    before = reset_memory()
    ready, track = timed(lambda: analysed(references, threads))
    _, separator = timed(lambda: ready.frames(estimates))
    _, further = timed(lambda: ready.score(estimates))
    megabytes = memory("VmHWM") - before
    first = (track + separator).tolist()
    print(json.dumps({"first": first, "further": further.tolist(), "megabytes": megabytes}))


def reset_memory() -> float:
    """Forget the peak of this process so far; returns its resident memory in MB."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")


def memory(line: str) -> float:
    """Resident memory of this process in MB: ``VmRSS`` now, ``VmHWM`` at most since the reset."""
    status = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(entry.split()[1]) for entry in status if entry.startswith(line))
    return kibibytes * 1024 / 1e6


def added(seconds: int, threads: int, repeats: int) -> dict[str, str]:
    """CPU time that the metrics of `FREE` and bleed add to scoring a track with three separators.

    Scoring is the analysis of the references, the scores of each separator, and the inner products
    that are kept for blends.
    """
    references, estimates = make_track(seconds)
    systems = "abc"

    def whole(metrics: tuple[str, ...]) -> list[BlendProducts]:
        ready = analyse(references, RATE, metrics=metrics, threads=threads)
        for _ in systems:
            ready.score(estimates)
        return [ready.blend(s, dict.fromkeys(systems, estimates[s])) for s in STEMS]

    def extra(stem: str, products: BlendProducts) -> np.ndarray:
        """Time what is new of `blend`, and the levels and errors for the report."""
        own = [references[stem], *[estimates[stem]] * len(systems)]
        others = [references[name] for name in STEMS if name != stem]
        took = timed(lambda: gram([*own, *others]))[1] - timed(lambda: gram(own))[1]
        took += timed(lambda: bleed.levels(products))[1]
        return took + timed(lambda: [bleed.second_errors(products, name) for name in systems])[1]

    turns = []
    for turn in range(repeats + 1):
        before = timed(lambda: whole(BEFORE))[1][1]
        kept, after = timed(lambda: whole((*BEFORE, *FREE)))
        rest = sum(extra(*pair)[1] for pair in zip(STEMS, kept, strict=True))
        if turn:  # the first one is slower
            turns.append((before, after[1] - before, rest))
    before, scores, rest = np.median(turns, axis=0)
    return {
        "scoring, CPU s": f"{before:.2f}",
        "added by metrics": f"{100 * scores / before:.1f} %",
        "added by kept products and bleed": f"{100 * rest / before:.1f} %",
    }


def tools(seconds: int, threads: int, repeats: int) -> dict[str, str]:
    """Time of the metrics of other tools for one stereo stem, each alone and all together.

    Zimtohrli, which is a program of its own, is timed alone.
    """
    references, estimates = make_track(seconds)
    mixture = np.sum([*references.values()], axis=0)

    def took(names: list[str]) -> str:
        work = partial(
            measure, names, references["vocals"], estimates["vocals"], RATE,
            mixture=mixture, threads=threads,
        )  # fmt: skip
        wall, cpu = np.median([timed(work)[1] for _ in range(repeats)], axis=0)
        return f"{wall:.2f} wall, {cpu:.2f} CPU"

    here = [name for name in TOOLS if installed(name)]
    together = [name for name in here if name != "zimtohrli"]
    timed(lambda: measure(together, *[np.ones((1, RATE), np.float32)] * 2, RATE, mixture=mixture))
    return {"**together**, s": took(together), **{f"`{name}`, s": took([name]) for name in here}}


def table(columns: dict[int, dict[str, str]]) -> str:
    """Return the results as a Markdown table, one column per track length."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [["", *(f"{seconds} s" for seconds in columns)], ["---"] * (len(columns) + 1)]
    lines += [[name, *(column.get(name, "–") for column in columns.values())] for name in names]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=1, help="turns of the other tools")
    parser.add_argument("--added", action="store_true", help="only what free metrics add")
    parser.add_argument("--tools", action="store_true", help="only metrics of other tools")
    parser.add_argument("--fresh", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with threadpoolctl.threadpool_limits(options.threads):
        if options.fresh:
            return fresh_child(options.seconds[0], options.threads)
        if options.added or options.tools:
            measured = added if options.added else tools
            return print(
                table({n: measured(n, options.threads, options.repeats) for n in options.seconds})
            )
        need("museval", "mir_eval", "fast_bss_eval", programs=("ffmpeg", "ffprobe"))
        columns = {}
        for seconds in options.seconds:
            columns[seconds] = {
                **framewise(seconds, options.threads, options.repeats),
                **whole_track(seconds, options.threads, options.repeats),
            }
            print(f"{seconds} s done", file=sys.stderr, flush=True)
        print(f"{options.threads} threads, four stereo stems\n\n{table(columns)}")


if __name__ == "__main__":
    main()
