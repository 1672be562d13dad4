"""Benchmark and model selection for music source separation.

The names below are the public API; docs/api.md shows them at work. Everything else is private by
convention and may change. Audio is float32, shape (channels, samples), full scale ±1, keyed by stem
name. Nothing heavy is imported until a name is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.core.audio import read as read_audio
    from harness.core.audio import write as write_audio
    from harness.core.errors import HarnessError
    from harness.datasets import load as load_dataset
    from harness.metrics import METRICS, analyse
    from harness.registry import load as load_registry
    from harness.results.ranking import rank_run as rank
    from harness.results.runs import read_run
    from harness.selection.comparing import compare
    from harness.selection.finished_run import best_per_stem as select
    from harness.separators import load as load_separator
    from harness.songs.separating import separate_audio as separate

__version__ = "0.1.0"

_PUBLIC = {
    "HarnessError": "core.errors:HarnessError",
    "METRICS": "metrics:METRICS",
    "analyse": "metrics:analyse",
    "compare": "selection.comparing:compare",
    "load_dataset": "datasets:load",
    "load_registry": "registry:load",
    "load_separator": "separators:load",
    "rank": "results.ranking:rank_run",
    "read_audio": "core.audio:read",
    "read_run": "results.runs:read_run",
    "select": "selection.finished_run:best_per_stem",
    "separate": "songs.separating:separate_audio",
    "write_audio": "core.audio:write",
}
__all__ = [
    "METRICS", "HarnessError", "analyse", "compare", "load_dataset", "load_registry",
    "load_separator", "rank", "read_audio", "read_run", "select", "separate", "write_audio",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import a public name when it is used for the first time."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(import_module(f"harness.{module}"), attribute)
