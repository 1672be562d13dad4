"""Which datasets exist (``metadata/datasets.yaml``), where their folders are, how to get them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.core.files import own_path
from harness.datasets.stem_mp4 import SUFFIX
from harness.registry.dataset_names import dataset_name


@dataclass(frozen=True)
class DatasetInfo:
    """Facts on a dataset that are known without having it."""

    title: str
    reader: str  # "module:function" below harness.datasets
    holds: str  # the layout of its folder
    license: str  # its terms
    how_to: str  # get it
    url: str = ""  # of the terms
    env: tuple[str, ...] = ()  # variables that name its folder; the first one that is set counts
    may_share_audio: bool = False  # whether the license allows its audio in a published report


_TABLE = Path(__file__).parent / "metadata" / "datasets.yaml"
DATASETS = {
    name: DatasetInfo(**{**row, "env": tuple(row.get("env", ()))})
    for name, row in strict_yaml.read(_TABLE).items()
}


def find(name: str, data: Mapping[str, Path]) -> Path:
    """Return the folder of a dataset from ``--data`` ({dataset: folder}) or the environment.

    If neither names it, the error says how to get the dataset.
    """
    if name in data:
        return data[name]
    info = DATASETS.get(name)
    if info is None:
        meant = dataset_name(name)
        raise HarnessError(
            f"dataset {name}: not known; did you mean {meant!r}?"
            if meant in DATASETS
            else f"dataset {name}: not known; give its folder with --data {name}=PATH, "
            f"or use one of {', '.join(DATASETS)}"
        )
    folders = {variable: os.environ[variable] for variable in info.env if os.environ.get(variable)}
    for path in map(own_path, folders.values()):
        if _layout_fits(name, path):
            return path
    wrong = " and ".join(f"{variable}={value}" for variable, value in folders.items())
    why = f"{wrong} is a folder with a different layout" if wrong else "its folder is not given"
    raise HarnessError(f"dataset {name}: {why}; {advice(name)}")


def configured(data: Mapping[str, Path]) -> dict[str, Path]:
    """Return the folders of all datasets that ``--data`` or the environment names."""
    found = dict(data)
    for name, info in DATASETS.items():
        if any(os.environ.get(variable) for variable in info.env):
            try:
                found.setdefault(name, find(name, data))
            except HarnessError:
                continue  # MUSDB_PATH with the layout of the other MUSDB
    return found


def advice(name: str) -> str:
    """Say how to get a dataset and how to give its folder."""
    info = DATASETS.get(name, DATASETS["folder"])
    if name in ("demo", "real_song"):
        return info.how_to
    if not info.env:
        return f"make the folder {info.holds} and give --data {name}=PATH"
    return (
        f"to get it: {info.how_to}; then give --data {name}=PATH or set {info.env[0]} "
        f"to the folder with {info.holds}"
    )


def _layout_fits(name: str, path: Path) -> bool:
    """Whether MUSDB_PATH means this MUSDB: the variable serves the wav and the stem.mp4 layout."""
    if not name.startswith("musdb18"):
        return True
    found = any(file.name.lower().endswith(SUFFIX) for file in path.glob("*/*"))
    return found == (name == "musdb18")
