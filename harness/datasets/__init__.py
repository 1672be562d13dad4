"""Datasets: which ones exist, where they are, and reading one.

A reader is a function ``(root) -> Dataset``; its module is imported when it is used. It raises
`HarnessError` if the folder holds no usable track.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from harness.datasets.known import DATASETS, DatasetInfo, advice, configured, find
from harness.datasets.tracks import Dataset

__all__ = ["DATASETS", "DatasetInfo", "advice", "configured", "find", "load"]


def load(name: str, path: Path) -> Dataset:
    """Read a dataset; a name that is not in `DATASETS` is a folder of the user's own songs."""
    from harness.datasets import folder

    path = path.absolute()  # workers may run in another folder
    if name not in DATASETS:
        return folder.folder(path, name=name)
    module, function = DATASETS[name].reader.split(":")
    reader = getattr(import_module(f"harness.datasets.{module}"), function)
    dataset: Dataset = reader(path)
    return dataset
