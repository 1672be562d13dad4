"""`model_registry.yaml` → {name: Entry}: every separator as data, checked before anything runs.

The file that comes with the package is read first; a ``model_registry.yaml`` in the working folder,
or the one named by ``--registry``, adds entries of its own.
"""

from harness.registry.ensembles import ensemble
from harness.registry.reading import Name, built_in_path, find, load
from harness.registry.rows import ENSEMBLE, FILE_NAME, Blend, Entry, Published, Weights, suggestion

__all__ = [
    "ENSEMBLE",
    "FILE_NAME",
    "Blend",
    "Entry",
    "Name",
    "Published",
    "Weights",
    "built_in_path",
    "ensemble",
    "find",
    "load",
    "suggestion",
]
