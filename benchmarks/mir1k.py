"""Score the voice separators on MIR-1K beside the figures of a published comparison.

    python benchmarks/mir1k.py --data PATH    # PATH holds Wavfile/*.wav; prints Markdown
    python benchmarks/mir1k.py --data PATH --networks FOLDER         # with networks in FOLDER
    python benchmarks/mir1k.py --data PATH --networks FOLDER --tune  # trained on MIR-1K first

`mir1k_networks.py` says what the folder holds, and what A, B and C are.

Scores are BSS Eval version 3 (`mir_eval.separation.bss_eval_sources`, no permutation search) of the
whole clip, and SNR; means over the clips, with 95 % intervals of SDR from resampled singers.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mir1k_networks
import numpy as np
from mir1k_networks import singer_of
from needs import package

from harness.core import audio
from harness.core.audio import Audio
from harness.datasets.mir1k import TRAINING_SINGERS
from harness.selection.statistics import rounded_mean
from harness.separators.anchors import IdealRatioMask, Mixture
from harness.separators.classical import TWO_STEMS, Hpss, Repet, RepetSim
from harness.separators.low_rank import Rpca
from harness.separators.protocol import Oracle
from harness.separators.spectral import harmonic_mask, stft_of

separation = package("mir_eval.separation")

RATE = 16000
EXACT = 100.0  # dB; no more than rounding is left
STEMS = {"accompaniment": "Background (Table 3)", "vocals": "Voice (Table 4)"}


class OneStage:
    """Plain HPSS with a window of 256 ms: the percussive part is called voice."""

    def __init__(self, *, sample_rate: int) -> None:
        self.stft = stft_of(sample_rate, overlap=4, seconds=0.256)

    def separate(self, mixture: Audio) -> dict[str, Audio]:
        """Return music and voice."""
        music = self.stft.apply_mask(mixture, harmonic_mask(self.stft.magnitude(mixture)))
        return {"accompaniment": music, "vocals": mixture - music}


SEPARATORS = {
    "HPSS": Hpss,
    "HPSS, one stage": OneStage,
    "REPET": Repet,
    "REPET-SIM": RepetSim,
    "REPET-MFCC": partial(RepetSim, features="mfcc"),
    "RPCA": Rpca,
    "RPCA, weighted": partial(Rpca, weighting=5.0),
    "RPCA, as in 2012": partial(Rpca, mask="binary", high_pass=0.0, seconds=60.0),
    "REPET, binary": partial(Repet, binary=True),
    "REPET-SIM, binary": partial(RepetSim, binary=True),
    "REPET-MFCC, binary": partial(RepetSim, features="mfcc", binary=True),
    "mixture": partial(Mixture, stems=TWO_STEMS),
    "IRM (oracle)": partial(IdealRatioMask, stems=TWO_STEMS),
}
# Mean SDR, SIR and SAR over all 1000 clips, from Yang, "Real-time audio source separation in live
# music performances using edge AI technology", tables 3 and 4.
PUBLISHED = {
    ("HPSS", "accompaniment"): (1.927, 4.157, 8.211),
    ("REPET", "accompaniment"): (2.151, 8.307, 4.622),
    ("REPET-SIM", "accompaniment"): (1.542, 4.619, 6.563),
    ("REPET-MFCC", "accompaniment"): (2.293, 7.381, 5.255),
    ("dual-gate TCN", "accompaniment"): (4.211, 11.762, 8.359),
    ("HPSS", "vocals"): (-0.683, 11.853, 0.502),
    ("REPET", "vocals"): (2.5582, 6.481, 6.943),
    ("REPET-SIM", "vocals"): (1.247, 6.073, 5.002),
    ("REPET-MFCC", "vocals"): (2.874, 6.382, 7.574),
    ("dual-gate TCN", "vocals"): (4.236, 14.228, 6.511),
}

Row = tuple[float, float, float, float]  # SDR, SIR, SAR, SNR in dB
Rows = dict[tuple[str, str], dict[Path, Row]]  # {(method, stem): {clip: row}}
Methods = Mapping[str, Callable[[Path], Any]]  # {method: separator of a clip, None: not scored}
COMPARED = ("TCN without gates", "Conv-TasNet of the same size")  # with the dual-gate TCN


def read_clip(path: Path) -> dict[str, Audio]:
    """Read a clip as true stems: music is left, voice is right."""
    both, rate = audio.read(path)
    if rate != RATE or len(both) != 2:
        raise SystemExit(f"{path}: {len(both)} channel(s) at {rate} Hz; MIR-1K has 2 at {RATE} Hz")
    return {"accompaniment": both[:1], "vocals": both[1:]}


def estimate(separator: Any, references: dict[str, Audio]) -> dict[str, Audio]:
    """Separate the sum of the true stems."""
    mixture = sum(references.values(), np.zeros_like(references["vocals"]))
    if isinstance(separator, Oracle):
        return separator.separate_with(mixture, references)
    return separator.separate(mixture)


def score(references: dict[str, Audio], estimates: dict[str, Audio]) -> dict[str, Row]:
    """Score both stems of a clip."""
    true = np.concatenate([references[stem] for stem in STEMS]).astype(np.float64)
    found = np.concatenate([estimates[stem] for stem in STEMS]).astype(np.float64)
    sdr, sir, sar, _ = separation.bss_eval_sources(true, found, compute_permutation=False)
    error = np.sum((true - found) ** 2, axis=1)
    snr = 10 * np.log10(np.sum(true**2, axis=1) / error)
    return {stem: (sdr[i], sir[i], sar[i], snr[i]) for i, stem in enumerate(STEMS)}


def score_all(paths: list[Path], methods: Methods) -> Rows:
    """Score every method on every clip that its protocol scores."""
    rows: Rows = {}
    for path in paths:
        references = read_clip(path)
        for name, separator_of in methods.items():
            if (separator := separator_of(path)) is None:
                continue
            for stem, row in score(references, estimate(separator, references)).items():
                rows.setdefault((name, stem), {})[path] = row
    return rows


def interval(values: Mapping[Path, float]) -> dict[str, float]:
    """Return the mean of a value per clip, with its interval over singers."""
    singers = np.array([singer_of(path) for path in values])
    return rounded_mean(np.array(list(values.values())), singers)


def as_range(found: Mapping[str, float]) -> str:
    return f"{found['low']:.2f} to {found['high']:.2f}" if "low" in found else "–"


def print_table(stem: str, rows: Rows, names: Collection[str], paths: Collection[Path]) -> None:
    """Print the means over these clips, of methods that have scores for all of them."""
    print(f"\n**{STEMS[stem]}, {len(paths)} clips**\n")
    print("| method | SDR | 95 % by singer | paper | SIR | paper | SAR | paper | SNR "
          "| SDR, spread over clips |\n|---|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name in names:
        found = rows[name, stem]
        if not found.keys() >= set(paths):
            continue
        clips = [found[path] for path in paths]
        means = [statistics.fmean(column) for column in zip(*clips, strict=True)]
        spread = statistics.stdev(row[0] for row in clips) if len(clips) > 1 else 0.0
        paper = PUBLISHED.get((name.partition(",")[0], stem))
        cells = []
        for i in range(3):
            ours = f"{means[i]:.2f}" if means[i] < EXACT else "∞"
            cells += [ours, f"{paper[i]:.2f}" if paper else "–"]
        cells.insert(1, as_range(interval({path: found[path][0] for path in paths})))
        print(f"| {name} | {' | '.join(cells)} | {round(means[3], 2) + 0:.2f} | {spread:.2f} |")


def print_gains(rows: Rows) -> None:
    """Print what the gates bring: differences of SDR on the same clips."""
    print("\n| dual-gate TCN minus | protocol | clips | voice, dB | 95 % by singer "
          "| background, dB | 95 % by singer |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for other in COMPARED:
        for protocol in mir1k_networks.PROTOCOLS:
            cells, clips = [], 0
            for stem in ("vocals", "accompaniment"):
                names = (f"{name}, {protocol}" for name in ("dual-gate TCN", other))
                with_gates, without = (rows.get((name, stem), {}) for name in names)
                both = {p: row[0] - without[p][0] for p, row in with_gates.items() if p in without}
                if both:
                    clips, found = len(both), interval(both)
                    cells += [f"{found['score']:+.2f}", as_range(found)]
            if cells:
                print(f"| {other} | {protocol} | {clips} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds Wavfile/")
    parser.add_argument("--networks", type=Path, help="folder with trained networks")
    parser.add_argument("--tune", action="store_true", help="train those of protocols B and C")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # mir_eval announces that its separation module goes
    paths = sorted((options.data / "Wavfile").glob("*.wav"))
    if not paths:
        parser.error(f"{options.data}: no Wavfile/*.wav; give the folder that holds Wavfile/")
    methods = {name: partial(_plain, build) for name, build in SEPARATORS.items()}
    if options.networks:
        if options.tune:
            mir1k_networks.tune(options.networks, options.data, partial(print, flush=True))
        methods |= mir1k_networks.rows(options.networks)
    start = time.perf_counter()
    rows = score_all(paths, methods)
    print(f"{len(paths)} clips, {time.perf_counter() - start:.0f} s")
    literature = [path for path in paths if singer_of(path) not in TRAINING_SINGERS]
    for clips in (paths, literature) if any(name.endswith(", B") for name in methods) else (paths,):
        for stem in STEMS:
            print_table(stem, rows, methods, clips)
    if options.networks:
        print_gains(rows)


def _plain(build: Callable[..., Any], _: Path) -> Any:
    """Return a separator that does not depend on the clip."""
    return build(sample_rate=RATE)


if __name__ == "__main__":
    main()
