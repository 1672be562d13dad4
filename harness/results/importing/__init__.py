"""Scores that others published, imported as a run that can be viewed, compared and selected from.

An imported run records how its publishers define each metric. A run with other definitions cannot
be joined with one that measured the metric (`harness.results.runs.join`). Separators are named
``<run>:<name>``, which no registry entry can be.
"""

from harness.results.importing.foreign_formats import FORMATS
from harness.results.importing.import_scores import Request, read_published

__all__ = ["FORMATS", "Request", "read_published"]
