"""Scores: energy ratios and BSS Eval, with the references of a track analysed once.

Conventions: a reference is the true stem and an estimate is a separator's version of it; both have
the same shape (channels, samples). Scores are in dB, NaN if they are undefined, and ``inf`` for a
perfect estimate.
"""

from harness.metrics.checks import suspicions
from harness.metrics.definitions import DEFAULT, METRICS, Metric, Score, harmonic_mean
from harness.metrics.products import BlendProducts, read_blends, scorer, write_blends
from harness.metrics.ratios import csdr, si_sdr, snr
from harness.metrics.references import References, analyse, sdr

__all__ = [
    "DEFAULT",
    "METRICS",
    "BlendProducts",
    "Metric",
    "References",
    "Score",
    "analyse",
    "csdr",
    "harmonic_mean",
    "read_blends",
    "scorer",
    "sdr",
    "si_sdr",
    "snr",
    "suspicions",
    "write_blends",
]
