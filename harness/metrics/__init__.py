"""Scores of estimates: ratios of energies, and BSS Eval.

`definitions` lists the metrics. `references` analyses the references of a track once and scores any
number of separators, `products` scores blends without their audio, `ratios` holds the formulas,
`tool_metrics` has the metrics of other tools, `onsets` those of attacks, `checks` finds wrong
estimates, `sameness` compares two separators, and ``engine/`` is BSS Eval.

A reference is a true stem, and an estimate is a separator's version of it, of the same shape
(channels, samples). Scores are in dB, NaN if undefined, and ``inf`` for a perfect estimate.
"""

from harness.metrics.checks import suspicions
from harness.metrics.definitions import (
    DEFAULT,
    METRICS,
    OPTIONAL,
    Metric,
    Score,
    When,
    harmonic_mean,
)
from harness.metrics.products import BlendProducts, read_blends, scorer, write_blends
from harness.metrics.ratios import csdr, si_sdr, snr
from harness.metrics.references import References, analyse, sdr
from harness.metrics.sameness import Difference, differences
from harness.metrics.tool_metrics import measure

__all__ = [
    "DEFAULT",
    "METRICS",
    "OPTIONAL",
    "BlendProducts",
    "Difference",
    "Metric",
    "References",
    "Score",
    "When",
    "analyse",
    "csdr",
    "differences",
    "harmonic_mean",
    "measure",
    "read_blends",
    "scorer",
    "sdr",
    "si_sdr",
    "snr",
    "suspicions",
    "write_blends",
]
