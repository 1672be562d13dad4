"""Check what runs on a GPU, and write one Markdown table; `gpu_check.sh` starts it.

    tools/gpu_check.sh [--out FILE] [--seconds N] [--dry]

Each check runs in a process of its own with a time limit, so that one that fails costs no other.
Networks have random weights and their published size. `--dry` runs all checks on the processor with
tiny sizes, to see that the script itself works. No network is used.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TOTAL = 470  # seconds for all checks
RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")
HEAD = ("check", "result", "seconds", "times real time", "peak on the GPU, MiB", "detail")
BATCH = 8  # chunks at once
EQUAL = 1e-3  # relative to the peak, largest difference that counts as the same output


@dataclass(frozen=True)
class Size:
    """What a check runs on."""

    device: str  # cuda, or cpu for a dry run
    seconds: float  # of music

    @property
    def dry(self) -> bool:
        """Whether tiny networks run."""
        return self.device == "cpu"

    def of(self, full: Any, tiny: Any) -> Any:
        """Return a size for this run."""
        return tiny if self.dry else full


def music(seconds: float) -> Any:
    """Stereo noise."""
    samples = round(seconds * RATE)
    return 0.1 * np.random.default_rng(0).standard_normal((2, samples), np.float32)


def timed(work: Callable[[], Any], size: Size, turns: int = 1) -> tuple[Any, float, float]:
    """Return a result, the best time of some turns, and the peak of GPU memory in bytes."""
    import torch

    best, result, peak = float("inf"), None, 0
    for _ in range(turns):
        if not size.dry:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        result = work()
        if not size.dry:
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated()
        best = min(best, time.perf_counter() - start)
    return result, best, peak


def far(a: Any, b: Any) -> float:
    """Largest difference, relative to the peak of b."""
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())


def row(what: str, good: bool, seconds: float, detail: str, **more: float) -> dict[str, Any]:
    return {"check": what, "result": "as expected" if good else "DIFFERS", "seconds": seconds,
            "detail": detail, **more}  # fmt: skip


# --- checks ---------------------------------------------------------------------------------------


def machine(size: Size) -> Iterator[dict[str, Any]]:
    """Name the machine."""
    import torch

    from harness.core.machine import environment

    found = environment()
    name = "none" if size.dry else torch.cuda.get_device_name()
    memory = 0 if size.dry else torch.cuda.get_device_properties(0).total_memory
    commit = str(found["commit"] or "unknown")[:10]
    yield row("machine", True, 0.0, f"GPU: {name}, {memory / 2**30:.0f} GiB; torch "
              f"{torch.__version__}, CUDA {torch.version.cuda}; {found['cpu']}, {found['cores']} "
              f"cores; commit {commit}")  # fmt: skip


def tests(size: Size) -> Iterator[dict[str, Any]]:
    """Run the tests marked `gpu`; without a GPU they are skipped."""
    if importlib.util.find_spec("pytest") is None:
        yield {"check": "tests marked gpu", "result": "left out", "detail": "no pytest"}
        return
    where = size.of("tests", "tests/metrics/test_engine.py")
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", where]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seen = time.perf_counter() - start
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    yield row("tests marked gpu", done.returncode == 0, seen, "; ".join([*failed[:5], lines[-1]]))


def metrics(size: Size) -> Iterator[dict[str, Any]]:
    """Score on the card and on the processor."""
    from harness.metrics import analyse

    rate = size.of(RATE, 8000)

    def scored(true: Any, device: str) -> dict[tuple[str, str], float]:
        noisy = {stem: x + 0.1 * np.roll(x, 3) for stem, x in true.items()}
        found = analyse(true, rate, device=device).score(noisy)
        return {(s, m): score.value for s, scores in found.items() for m, score in scores.items()}

    def signals(seconds: float) -> dict[str, Any]:
        rng = np.random.default_rng(0)
        return {stem: rng.standard_normal((2, round(seconds * rate)), np.float32) for stem in STEMS}

    short = signals(size.of(30, 2))
    there, on_device, _ = timed(lambda: scored(short, size.device), size)
    here, on_cpu, _ = timed(lambda: scored(short, "cpu"), size)
    error = max(abs(there[place] - here[place]) for place in here)
    yield row(f"metrics, {size.of(30, 2)} s", error < 1e-4, on_device, "largest difference from "
              f"the processor {error:.1e} dB, which takes {on_cpu:.2f} s")  # fmt: skip
    long, length = signals(size.of(240, 4)), size.of(240, 4)
    _, seconds, peak = timed(lambda: scored(long, size.device), size)
    yield row(f"metrics, {length} s", True, seconds, "four stems", real_time=length / seconds,
              peak=peak)  # fmt: skip


def network_rows(
    name: str,
    network: Any,
    segment: int,
    size: Size,
    overlap: float = 0.25,
) -> Iterator[dict[str, Any]]:
    """Compare a network on the card with the processor, and with 16 bits."""
    from harness.separators.chunked import separate_chunked
    from harness.separators.networks import count_parameters

    network = network.eval()
    options: dict[str, Any] = {"segment": segment, "overlap": overlap}
    one = music(segment / RATE)
    here = separate_chunked(network, one, **options, batch=1)[0]
    options["device"] = size.device
    there = separate_chunked(network, one, **options, batch=1)[0]
    error = far(there, here)
    song = music(size.seconds)
    work = lambda **more: separate_chunked(network, song, **options, **{"batch": BATCH, **more})  # noqa: E731
    (found, notes), seconds, peak = timed(work, size, turns=2)
    about = (
        f"{count_parameters(network):,} values; largest difference from the processor {error:.1e}"
    )
    yield row(name, error < EQUAL, seconds, "; ".join([about, *notes]),
              real_time=size.seconds / seconds, peak=peak)  # fmt: skip
    (half, _), seconds, peak = timed(
        lambda: separate_chunked(network, song, **options, mixed=True), size, turns=2
    )
    level = 10 * np.log10(np.sum(np.square(half - found)) / np.sum(np.square(found)) + 1e-30)
    yield row(f"{name}, 16 bits", level < -30, seconds, f"{level:.1f} dB from 32 bits",
              real_time=size.seconds / seconds, peak=peak)  # fmt: skip


def htdemucs(size: Size) -> Iterator[dict[str, Any]]:
    """HT-Demucs, next to `demucs.apply.apply_model`."""
    import torch
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    full = {"depth": 4, "dconv_mode": 3, "t_layers": 5, "bottom_channels": 512}
    tiny = {"channels": 8, "t_layers": 1, "bottom_channels": 32}
    length = size.of(Fraction(39, 5), Fraction(1))
    model = HTDemucs(list(STEMS), segment=length, **size.of(full, tiny)).eval()

    def theirs(song: Any) -> Any:
        given = torch.from_numpy(song)[None]
        return apply_model(model, given, shifts=0, overlap=0.25, device=size.device)[0].cpu()

    yield from network_rows("HT-Demucs", model, int(length * RATE), size)
    yield from _demucs_rows(model, size, theirs)


def _demucs_rows(model: Any, size: Size, theirs: Any) -> Iterator[dict[str, Any]]:
    """Run the family `demucs`, which chunks as its authors do, and their program."""
    import torch

    from harness.separators.demucs import Demucs

    args, kwargs = model._init_args_kwargs
    package = {"klass": type(model), "args": args, "kwargs": kwargs, "state": model.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.th"
        torch.save(package, path)
        known = hashlib.sha256(path.read_bytes()).hexdigest()
        ours = Demucs(RATE, STEMS, weights=[path], sha256=[known], device=size.device, batch=BATCH)
    song = music(size.seconds)
    song = (song - song.mean(0).mean()) / (song.mean(0).std(ddof=1) + 1e-8)
    found, mine, peak = timed(lambda: ours.separate(song), size, turns=2)
    given, other, more = timed(lambda: theirs(song), size, turns=2)
    error = max(far(found[stem], given[i]) for i, stem in enumerate(STEMS))
    yield row("HT-Demucs and demucs' apply_model", error < EQUAL, mine,
              f"theirs {other:.2f} s, {more / 2**20:.0f} MiB: {other / mine:.2f} times as long; "
              f"largest difference {error:.1e}", real_time=size.seconds / mine,
              peak=peak)  # fmt: skip


def scnet(size: Size) -> Iterator[dict[str, Any]]:
    """SCNet-large, with the sizes of its registry row."""
    import torch

    from harness import registry
    from harness.separators.networks.scnet import SCNet

    torch.manual_seed(0)
    options = registry.load()["scnet_large"].params["network"]
    network = SCNet(STEMS, **size.of(options, {"widths": [4, 8, 16]}))
    segment = size.of(network.segment, RATE // 2)
    yield from network_rows("SCNet-large", network, segment, size, overlap=0.5)


def mel_roformer(size: Size) -> Iterator[dict[str, Any]]:
    """Mel-Band RoFormer, with the configuration of its registry row."""
    import torch

    from harness import registry
    from harness.separators.networks.mel_roformer import MelRoformer
    from harness.separators.roformer import network_options

    torch.manual_seed(0)
    config = registry.load()["mel_roformer"].params["config"]
    options = network_options(config, Path("model_registry.yaml"))
    tiny = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "bands": 12}
    network = MelRoformer(["vocals"], **{**options, **size.of({}, tiny)})
    segment = size.of(network.segment, RATE // 2)
    yield from network_rows("Mel-Band RoFormer", network, segment, size, overlap=0.5)


def bs_roformer(size: Size) -> Iterator[dict[str, Any]]:
    """BS-RoFormer in its widest published size, if a class for it is installed."""
    import torch

    from harness.core.errors import HarnessError

    if importlib.util.find_spec("harness.separators.msst") is None:
        yield {"check": "BS-RoFormer", "result": "left out", "detail": "no class for it"}
        return
    build = importlib.import_module("harness.separators.msst").build
    model = {"dim": 512, "depth": 12, "stereo": True, "num_stems": 1, "time_transformer_depth": 1,
             "freq_transformer_depth": 1, "dim_head": 64, "heads": 8, "stft_n_fft": 2048,
             "stft_hop_length": 441, "stft_win_length": 2048,
             "mask_estimator_depth": 2}  # fmt: skip
    config = {
        "audio": {"chunk_size": 352800, "sample_rate": RATE, "num_channels": 2},
        "model": {**model, **size.of({}, {"dim": 16, "depth": 1, "heads": 2, "dim_head": 8})},
        "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals"},
        "inference": {"num_overlap": 2, "batch_size": 1},
    }
    torch.manual_seed(0)
    try:
        network = build(config, Path("bs_roformer.yaml"), "bs_roformer")
    except HarnessError as error:  # the package with the class is not installed
        yield {"check": "BS-RoFormer", "result": "left out", "detail": str(error)}
        return
    values = {  # the class comes without
        name: torch.ones(p.shape) if p.ndim < 2 else torch.empty(p.shape).normal_(0, 0.02)
        for name, p in network.named_parameters()
    }
    network.load_state_dict(values, strict=False, assign=True)
    network.register_forward_hook(lambda *given: given[-1].reshape(len(given[-1]), 1, 2, -1))
    segment = size.of(352800, RATE // 2)
    yield from network_rows("BS-RoFormer", network, segment, size, overlap=0.5)


def ladder(size: Size) -> Iterator[dict[str, Any]]:
    """Let the memory not suffice for all chunks at once; the estimates must stay the same."""
    import torch

    from harness.separators.chunked import separate_chunked
    from harness.separators.networks import NETWORKS

    torch.manual_seed(0)
    network: Any = NETWORKS["asnet"]().eval()
    song = music(size.of(60.0, 1.5))
    options = {"segment": size.of(10, 0.25) * RATE, "device": size.device}
    options["segment"] = int(options["segment"])

    def work(batch: int) -> Any:
        return separate_chunked(network, song, **options, batch=batch)

    (wanted, _), _, least = timed(lambda: work(1), size)
    if size.dry:
        forward = network.forward

        def limited(chunks: Any) -> Any:
            if len(chunks) > 1:
                raise torch.OutOfMemoryError("out of memory")
            return forward(chunks)

        network.forward = limited
    else:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, 1.5 * least / total))
    (found, notes), seconds, peak = timed(lambda: work(BATCH), size)
    error = far(found, wanted)
    good = error < EQUAL and any("out of memory" in note for note in notes)
    yield row("too little memory for 8 chunks", good, seconds,
              f"largest difference {error:.1e}; {'; '.join(notes) or 'no note'}",
              peak=peak)  # fmt: skip


def asnet(size: Size) -> Iterator[dict[str, Any]]:
    """One pass of ASNet over 5 s of stereo, audio in and audio out; its paper prints 0.63 s."""
    import torch

    from harness.separators.networks import NETWORKS

    torch.manual_seed(0)
    network = NETWORKS["asnet"]().eval().to(size.device)
    mixture = torch.from_numpy(music(size.of(5.0, 0.5)))[None]

    def work() -> Any:
        with torch.inference_mode():
            return network(mixture.to(size.device)).cpu()

    _, seconds, peak = timed(work, size, turns=size.of(10, 2))
    yield row(f"ASNet, {size.of(5.0, 0.5):g} s at once", True, seconds, "best of the turns",
              real_time=size.of(5.0, 0.5) / seconds, peak=peak)  # fmt: skip


def training(size: Size) -> Iterator[dict[str, Any]]:
    """Train with mixed precision, as `harness train` does on a GPU."""
    import torch

    from harness.separators.networks import NETWORKS
    from harness.training.batches import TrainingBatch
    from harness.training.losses import make_loss
    from harness.training.recipes import Recipe
    from harness.training.state import State, averaged_copy
    from harness.training.step import take_step

    torch.manual_seed(0)
    recipe = Recipe("check", size.of("htdemucs", "simplified_demucs"), warm_up=1, steps=100)
    options = size.of({}, {"widths": (8, 16)})
    network: Any = NETWORKS[recipe.network](**options).to(size.device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate)
    state = State(network, averaged_copy(network), optimiser)
    count, samples = size.of((4, network.segment), (1, 8192))
    target = 0.1 * np.random.default_rng(0).standard_normal(
        (count, len(network.stems), network.channels, samples), np.float32
    )
    batch = TrainingBatch(target.sum(axis=1), target)
    loss = make_loss(recipe.loss, recipe.loss_options, network.stems)
    losses, seconds, peak = timed(
        lambda: [take_step(state, batch, loss, recipe, 0)[0] for _ in range(size.of(5, 2))], size
    )
    good = all(np.isfinite(losses)) and losses[-1] < losses[0]
    yield row(f"training {recipe.network}, {len(losses)} steps", good, seconds,
              f"loss {losses[0]:.4f} to {losses[-1]:.4f}; batch of {count}", peak=peak)  # fmt: skip


CHECKS: Mapping[str, Callable[[Size], Iterator[dict[str, Any]]]] = {
    "machine": machine, "metrics": metrics, "htdemucs": htdemucs, "scnet": scnet,
    "mel_roformer": mel_roformer, "bs_roformer": bs_roformer, "ladder": ladder, "asnet": asnet,
    "training": training, "tests": tests,
}  # fmt: skip


# --- the table ------------------------------------------------------------------------------------


def run_all(options: argparse.Namespace, size: Size) -> list[dict[str, Any]]:
    """Run each check in a process of its own, until the time is up."""
    end = time.monotonic() + options.limit
    rows = []
    for i, name in enumerate(CHECKS):
        left = end - time.monotonic()
        limit = left if options.dry else min(left, max(60.0, left / (len(CHECKS) - i) * 2))
        command = [sys.executable, __file__, "--one", name, "--device", size.device]
        command += ["--seconds", str(size.seconds)]
        print(f"{name} …", file=sys.stderr, flush=True)
        found, reason = [], "no time left"
        if left > 5:
            found, reason = _one(command, limit)
        if reason:
            found.append({"check": name, "result": "FAILED", "detail": reason})
        rows += found
        write(options.out, rows, size)
    return rows


def _one(command: list[str], limit: float) -> tuple[list[dict[str, Any]], str]:
    """Run one check; return its rows, also those before it failed, and why it failed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.getenv('PYTHONPATH', '')}"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=limit, env=environment
        )
        out, reason = done.stdout, ""
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    except subprocess.TimeoutExpired as error:
        held = error.stdout or b""
        out = held if isinstance(held, str) else held.decode(errors="replace")
        reason = f"took more than {limit:.0f} s"
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], reason


def write(path: Path, rows: list[dict[str, Any]], size: Size) -> None:
    """Write the table as far as it is known."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for found in rows:
        seconds, real_time, peak = (found.get(key) for key in ("seconds", "real_time", "peak"))
        cells = [
            found["check"],
            found["result"],
            f"{seconds:.2f}" if seconds else "",
            f"{real_time:.1f}" if real_time else "",
            f"{peak / 2**20:.0f}" if peak else "",
            " ".join(found["detail"].replace("|", "/").split())[:300],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if size.dry:
        lines.insert(0, "Dry run on the processor with tiny networks: the times mean nothing.\n")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu_check.md"), help="file of the table")
    parser.add_argument("--seconds", type=float, help="length of the music")
    parser.add_argument("--limit", type=float, default=TOTAL, help="seconds for all checks")
    parser.add_argument("--dry", action="store_true", help="tiny networks, on the processor")
    parser.add_argument("--one", choices=CHECKS, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if importlib.util.find_spec("torch") is None:
        raise SystemExit(f"gpu_check: {sys.executable} has no torch; set PYTHON to one that has it")
    device = "cpu" if options.dry else options.device
    size = Size(device, options.seconds or (2.0 if device == "cpu" else 120.0))
    if options.one:
        for found in CHECKS[options.one](size):
            print(json.dumps(found), flush=True)
        return
    if not options.dry:
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("gpu_check: no CUDA device; use --dry to try the script without one")
    rows = run_all(options, size)
    print(options.out.read_text(encoding="utf-8"))
    if any(found["result"] in ("FAILED", "DIFFERS") for found in rows):
        raise SystemExit(3)


if __name__ == "__main__":
    main()
