"""Speed, agreement and memory of the separators without training.

    python benchmarks/classical.py              # against librosa, same data and process, in turns
    python benchmarks/classical.py --long       # ten minutes of stereo, one process per separator
    python benchmarks/classical.py --long rpca  # one row of that table

Everything runs on one thread.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from needs import package
from threadpoolctl import threadpool_limits

from harness import registry
from harness.core.audio import Audio
from harness.separators import load
from harness.separators.anchors import IdealBinaryMask, IdealRatioMask, MultichannelWiener
from harness.separators.classical import Hpss, Repet, RepetSim, RepetSim4
from harness.separators.drum_nmf import DrumNmf
from harness.separators.low_rank import Rpca
from harness.separators.nmf import Nmf, factorise
from harness.separators.protocol import Oracle
from harness.separators.repetition import similar_background
from harness.separators.spectral import Magnitude, Stft, harmonic_mask
from harness.separators.statistical import Ica, Ilrma

librosa = package("librosa")

RATE = 44100
REPEATS = 5
SEPARATORS = {
    "hpss": Hpss,
    "repet": Repet,
    "repet_sim (voice)": RepetSim,
    "repet_mfcc (voice)": partial(RepetSim, features="mfcc"),
    "repet_sim (4 stems)": RepetSim4,
    "nmf": Nmf,
    "drum_nmf": DrumNmf,
    "drum_nmfd": partial(DrumNmf, shifts=10),
    "rpca": Rpca,
    "weighted_rpca": partial(Rpca, weighting=5.0),
    "ica": Ica,
    "ilrma": Ilrma,
    "t_ilrma": partial(Ilrma, degrees=5.0),
    "consistent_ilrma": partial(Ilrma, consistent=True),
    "idlma": lambda sample_rate: load(registry.load(None)["idlma"], sample_rate=sample_rate),
    "ibm": IdealBinaryMask,
    "irm": IdealRatioMask,
    "mwf": MultichannelWiener,
}


def music(seconds: int) -> Audio:
    """Stereo: a noisy loop of two seconds and a tone that wanders slowly, so nothing repeats."""
    rng = np.random.default_rng(0)
    loop = rng.standard_normal((2, 2 * RATE), np.float32)
    loop *= np.exp(-np.linspace(0, 8, 2 * RATE, dtype=np.float32))
    audio = np.tile(loop, seconds // 2 + 1)[:, : seconds * RATE]
    phase = 2 * np.pi * np.cumsum(rng.uniform(200, 2000, seconds).repeat(RATE)) / RATE
    audio += 0.3 * np.sin(phase).astype(np.float32)
    return np.ascontiguousarray(0.2 * audio)


def noise(seconds: int) -> Audio:
    """Stereo noise under a slow swell: the longest work for methods that stop when they agree."""
    audio = np.random.default_rng(0).standard_normal((2, seconds * RATE), np.float32)
    audio *= 0.1 + 0.1 * np.sin(np.linspace(0, seconds, seconds * RATE, dtype=np.float32))
    return audio


def seconds_of(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Best time of each over a few turns, after one turn to warm up."""
    best = [np.inf, np.inf]
    for turn in range(REPEATS + 1):
        for which, work in enumerate((ours, theirs)):
            start = time.perf_counter()
            work()
            if turn:
                best[which] = min(best[which], time.perf_counter() - start)
    return best[0], best[1]


def decibels(wanted: Audio, got: Audio) -> float:
    return float(10 * np.log10(np.sum(wanted**2) / np.sum((wanted - got) ** 2)))


def compare_hpss(magnitude: Magnitude) -> tuple[str, float, float, str]:
    ours = partial(harmonic_mask, magnitude)
    theirs = partial(librosa.decompose.hpss, magnitude.T, mask=True)
    difference = np.abs(ours() - theirs()[0].T).max()
    return "HPSS mask, mono", *seconds_of(ours, theirs), f"max. difference {difference:.1e}"


def compare_signals(audio: Audio) -> tuple[str, float, float, str]:
    stft = Stft(2048, 512)

    def ours() -> Audio:
        mono = audio[:1]
        return stft.apply_mask(mono, harmonic_mask(stft.magnitude(mono)))

    theirs = partial(librosa.effects.harmonic, audio[0])
    alike = decibels(theirs(), ours()[0])
    return "HPSS, signal to signal, mono", *seconds_of(ours, theirs), f"{alike:.0f} dB alike"


def compare_neighbours(magnitude: Magnitude) -> tuple[str, float, float, str]:
    width, count = 172, 100
    ours = partial(similar_background, magnitude, magnitude, count=count, exclude=width)
    theirs = partial(
        librosa.decompose.nn_filter,
        magnitude.T,
        aggregate=np.median,
        metric="cosine",
        mode="distance",
        width=width,
        k=count,
    )
    alike = decibels(theirs().T, ours())
    return "REPET-SIM background, mono", *seconds_of(ours, theirs), f"{alike:.0f} dB alike"


def compare_nmf(magnitude: Magnitude) -> tuple[str, float, float, str]:
    rank, sweeps = 6, 100

    def ours() -> tuple[Magnitude, Magnitude]:
        return factorise(magnitude, rank, sweeps, np.random.default_rng(0))

    def theirs() -> tuple[Magnitude, Magnitude]:
        return librosa.decompose.decompose(
            magnitude.T, n_components=rank, max_iter=sweeps, tol=0, init="random", random_state=0
        )

    activations, templates = ours()
    shapes, gains = theirs()
    error = np.linalg.norm(magnitude - activations @ templates)
    ratio = error / np.linalg.norm(magnitude.T - shapes @ gains)
    return "NMF, 6 components, 100 sweeps", *seconds_of(ours, theirs), f"error × {ratio:.4f}"


def print_comparison(seconds: int) -> None:
    audio = music(seconds)
    magnitude = Stft(2048, 512).magnitude(audio)
    print(
        f"| {seconds} s at 44.1 kHz | ours, s | librosa {librosa.__version__}, s | ratio | same |"
    )
    print("|---|---|---|---|---|")
    for compare, given in (
        (compare_hpss, magnitude),
        (compare_signals, audio),
        (compare_neighbours, magnitude),
        (compare_nmf, magnitude),
    ):
        name, ours, theirs, same = compare(given)
        print(f"| {name} | {ours:.3f} | {theirs:.3f} | {theirs / ours:.1f} | {same} |", flush=True)


def print_times(seconds: int) -> None:
    audio = music(seconds)
    print(f"\n| stereo, {seconds} s | s of one core | real-time factor |\n|---|---|---|")
    for name in SEPARATORS:
        run(name, audio[:, :RATE])
        taken = min(run(name, audio) for _ in range(3))
        print(f"| {name} | {taken:.2f} | {taken / seconds:.4f} |", flush=True)


def run(name: str, audio: Audio) -> float:
    """Separate once and return the seconds of the processor it took."""
    separator = SEPARATORS[name](sample_rate=RATE)
    parts = zip(separator.stems, np.float32([0.4, 0.3, 0.2, 0.1]), strict=False)
    references = {stem: part * audio for stem, part in parts if isinstance(separator, Oracle)}
    start = time.process_time()
    if isinstance(separator, Oracle):
        separator.separate_with(audio, references)
    else:
        separator.separate(audio)
    return time.process_time() - start


def print_long(names: Iterable[str], seconds: int) -> None:
    """One process per separator. Python, libraries, audio and oracles' references are counted."""
    print(f"| {seconds} s of stereo noise | peak, MiB | processor time per second of audio |")
    print("|---|---|---|", flush=True)
    for name in names:
        command = [sys.executable, __file__, "--seconds", str(seconds), "--one", name]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")
        sys.stdout.flush()


def print_one(name: str, seconds: int) -> None:
    taken = run(name, noise(seconds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| `{name}` | {peak:.0f} | {taken / seconds:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, help="length of the audio (30; 600 for --long)")
    parser.add_argument(
        "--long", nargs="*", choices=SEPARATORS, help="memory and time of ten minutes; rows of it"
    )
    parser.add_argument("--one", choices=SEPARATORS, help="this separator in this process")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    threadpool_limits(1)
    if options.one:
        print_one(options.one, options.seconds or 600)
    elif options.long is not None:
        print_long(options.long or SEPARATORS, options.seconds or 600)
    else:
        print_comparison(options.seconds or 30)
        print_times(options.seconds or 30)


if __name__ == "__main__":
    main()
