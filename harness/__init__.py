"""Benchmark and model selection for music source separation.

Six stages, files between them: registry, datasets, separate, score, select, report. Audio is
float32, shape (channels, samples), full scale ±1, keyed by stem name; see `harness.core.audio`.
"""

__version__ = "0.1.0"
