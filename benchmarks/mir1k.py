"""Score the voice separators on MIR-1K beside the figures of a published comparison.

    python benchmarks/mir1k.py --data PATH    # PATH holds Wavfile/*.wav; prints Markdown

Scores are BSS Eval version 3 (`mir_eval.separation.bss_eval_sources`, no permutation search) of the
whole clip, and SNR; means over the clips.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
from needs import package

from harness.core import audio
from harness.core.audio import Audio
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
    ("HPSS", "vocals"): (-0.683, 11.853, 0.502),
    ("REPET", "vocals"): (2.5582, 6.481, 6.943),
    ("REPET-SIM", "vocals"): (1.247, 6.073, 5.002),
    ("REPET-MFCC", "vocals"): (2.874, 6.382, 7.574),
}

Row = tuple[float, float, float, float]  # SDR, SIR, SAR, SNR in dB


def read_clip(path: Path) -> dict[str, Audio]:
    """Read a clip as true stems: music is left, voice is right."""
    both, rate = audio.read(path)
    if rate != RATE or len(both) != 2:
        raise SystemExit(f"{path}: {len(both)} channel(s) at {rate} Hz; MIR-1K has 2 at {RATE} Hz")
    return {"accompaniment": both[:1], "vocals": both[1:]}


def estimate(name: str, references: dict[str, Audio]) -> dict[str, Audio]:
    """Separate the sum of the true stems."""
    mixture = sum(references.values(), np.zeros_like(references["vocals"]))
    separator = SEPARATORS[name](sample_rate=RATE)
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


def score_all(paths: list[Path]) -> dict[tuple[str, str], list[Row]]:
    """Score every separator on every clip: {(separator, stem): a row for each clip}."""
    rows: dict[tuple[str, str], list[Row]] = {}
    for path in paths:
        references = read_clip(path)
        for name in SEPARATORS:
            for stem, row in score(references, estimate(name, references)).items():
                rows.setdefault((name, stem), []).append(row)
    return rows


def print_table(stem: str, rows: dict[tuple[str, str], list[Row]]) -> None:
    print(f"\n**{STEMS[stem]}**\n")
    print("| method | SDR | paper | SIR | paper | SAR | paper | SNR | SDR, spread over clips |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in SEPARATORS:
        clips = rows[name, stem]
        means = [statistics.fmean(column) for column in zip(*clips, strict=True)]
        spread = statistics.stdev(row[0] for row in clips) if len(clips) > 1 else 0.0
        paper = PUBLISHED.get((name.partition(",")[0], stem))
        cells = []
        for i in range(3):
            ours = f"{means[i]:.2f}" if means[i] < EXACT else "∞"
            cells += [ours, f"{paper[i]:.2f}" if paper else "–"]
        print(f"| {name} | {' | '.join(cells)} | {round(means[3], 2) + 0:.2f} | {spread:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds Wavfile/")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # mir_eval announces that its separation module goes
    paths = sorted((options.data / "Wavfile").glob("*.wav"))
    if not paths:
        parser.error(f"{options.data}: no Wavfile/*.wav; give the folder that holds Wavfile/")
    start = time.perf_counter()
    rows = score_all(paths)
    print(f"{len(paths)} clips, {time.perf_counter() - start:.0f} s")
    for stem in STEMS:
        print_table(stem, rows)


if __name__ == "__main__":
    main()
