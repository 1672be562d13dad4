"""`model_registry.yaml` → {name: Entry}: every separator as data, checked before anything runs.

The built-in file is read first. A ``model_registry.yaml`` in the working folder, or the file that
``--registry`` names, adds entries.
"""

from harness.registry.ensembles import describe_saved, ensemble, expected_score_text
from harness.registry.entries import (
    ENSEMBLE,
    FILE_NAME,
    FILES,
    Entry,
    Published,
    Weights,
    checked,
    suggestion,
)
from harness.registry.loader import Name, built_in_path, find, load

__all__ = [
    "ENSEMBLE", "FILES", "FILE_NAME", "Entry", "Name", "Published", "Weights", "built_in_path",
    "checked",
    "describe_saved", "ensemble", "expected_score_text", "find", "load", "suggestion",
]  # fmt: skip
