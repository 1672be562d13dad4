"""Scores of estimates: ratios of energies, and BSS Eval.

`definitions` lists the metrics. `references` analyses the references of a track once and scores any
number of separators, `products` scores blends without their audio, `ratios` holds the formulas,
`tool_metrics` has the metrics of other tools, `onsets` those of attacks, `checks` finds wrong
estimates, `sameness` compares two separators, and ``engine/`` is BSS Eval.

A reference is a true stem, and an estimate is a separator's version of it, of the same shape
(channels, samples). Scores are in dB, NaN if undefined, and ``inf`` for a perfect estimate.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.metrics.definitions import (
    DEFAULT,
    METRICS,
    OPTIONAL,
    Metric,
    Score,
    When,
    harmonic_mean,
)
from harness.metrics.ratios import csdr, si_sdr, snr

if TYPE_CHECKING:
    from harness.metrics.checks import suspicions
    from harness.metrics.products import BlendProducts, read_blends, scorer, write_blends
    from harness.metrics.references import References, analyse, sdr
    from harness.metrics.sameness import Difference, differences
    from harness.metrics.tool_metrics import measure

_MODULES = {  # of names whose modules import much, such as torch
    "BlendProducts": "products",
    "Difference": "sameness",
    "References": "references",
    "analyse": "references",
    "differences": "sameness",
    "measure": "tool_metrics",
    "read_blends": "products",
    "scorer": "products",
    "sdr": "references",
    "suspicions": "checks",
    "write_blends": "products",
}
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


def __getattr__(name: str) -> Any:
    """Import the module of a name when the name is used for the first time."""
    if name not in _MODULES:
        raise AttributeError(f"module 'harness.metrics' has no attribute {name!r}")
    return getattr(import_module(f"harness.metrics.{_MODULES[name]}"), name)
