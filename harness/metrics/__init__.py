"""Scores: energy ratios and BSS Eval, with the references of a track analysed once.

Conventions: a reference is the true stem and an estimate what a separator made of it, both with
shape (channels, samples) and the same shape. Scores are in dB, NaN where they are undefined, and
``inf`` where the estimate is perfect.
"""

from harness.metrics.blends import Blend, read_blends, scorer, write_blends
from harness.metrics.checks import suspicions
from harness.metrics.definitions import DEFAULT, METRICS, Metric, Score, harmonic_mean
from harness.metrics.framewise import bss_eval_framewise
from harness.metrics.museval_format import read_museval, write_museval
from harness.metrics.ratios import csdr, si_sdr, snr
from harness.metrics.references import References
from harness.metrics.scoring import analyse, sdr

__all__ = [
    "DEFAULT",
    "METRICS",
    "Blend",
    "Metric",
    "References",
    "Score",
    "analyse",
    "bss_eval_framewise",
    "csdr",
    "harmonic_mean",
    "read_blends",
    "read_museval",
    "scorer",
    "sdr",
    "si_sdr",
    "snr",
    "suspicions",
    "write_blends",
    "write_museval",
]
