"""Datasets as values: which there are, where they are found, and reading one.

A reader is a function ``(root) -> Dataset`` in a module of its own, imported when it is used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from harness.datasets.tracks import Dataset
from harness.errors import HarnessError


@dataclass(frozen=True)
class DatasetInfo:
    """What can be said of a dataset without having it.

    Attributes
    ----------
    title
        For people.
    reader
        ``module:function`` below ``harness.datasets``.
    holds
        What its folder holds.
    env
        Environment variables that name its folder, the first that is set counts.
    licence, url
        The terms, and where they are written.
    how_to
        How to get it.
    may_share_audio
        Whether its licence lets a report that others see contain its audio, with attribution.
    """

    title: str
    reader: str
    holds: str
    env: tuple[str, ...]
    licence: str
    url: str
    how_to: str
    may_share_audio: bool


DATASETS: dict[str, DatasetInfo] = {
    "musdb18hq": DatasetInfo(
        title="MUSDB18-HQ, 150 songs, four stems",
        reader="musdb18hq:musdb18hq",
        holds="{train,test}/<Artist - Title>/{mixture,drums,bass,other,vocals}.wav",
        env=("MUSDB18HQ_PATH", "MUSDB_PATH"),
        licence="educational use only; 46 songs CC BY-NC-SA 4.0, 2 CC BY-NC-SA 3.0, 102 restricted",
        url="https://zenodo.org/records/3338373",
        how_to="harness fetch dataset musdb18hq (22.7 GB)",
        may_share_audio=False,
    ),
    "musdb18": DatasetInfo(
        title="MUSDB18, 150 songs, four stems, AAC at 256 kbit/s",
        reader="musdb18:musdb18",
        holds="{train,test}/<Artist - Title>.stem.mp4",
        env=("MUSDB18_PATH", "MUSDB_PATH"),
        licence="educational use only; 46 songs CC BY-NC-SA 4.0, 2 CC BY-NC-SA 3.0, 102 restricted",
        url="https://zenodo.org/records/1117372",
        how_to="harness fetch dataset musdb18 (4.7 GB), or musdb18_7s for excerpts of 7 s (147 MB)",
        may_share_audio=False,
    ),
    "dsd100": DatasetInfo(
        title="DSD100, 100 songs, four stems; all of them are in MUSDB18 too",
        reader="dsd100:dsd100",
        holds="{Mixtures,Sources}/{Dev,Test}/<NNN - Artist - Title>/*.wav",
        env=("DSD_PATH", "DSD100_PATH"),
        licence="educational use only",
        url="https://sigsep.github.io/datasets/dsd100.html",
        how_to="download DSD100.zip from the page (MD5 e8964d97d6f320962647e24ebc6773e3), unzip it",
        may_share_audio=False,
    ),
    "moisesdb": DatasetInfo(
        title="MoisesDB, 240 songs, two levels of stems",
        reader="moisesdb:moisesdb",
        holds="[moisesdb_v0.1/]<uuid>/data.json and <uuid>/<stem>/<uuid>.wav",
        env=("MOISESDB_PATH",),
        licence="CC BY-NC-SA 4.0",
        url="https://music.ai/research/",
        how_to=(
            "ask for the download on the page, check the zip (SHA-256 "
            "4cde33ce416ac7c868cffcb60eb31f5c741ab7ae5601cbb9d99ed498b72c48c1) and unzip it"
        ),
        may_share_audio=True,
    ),
    "mir1k": DatasetInfo(
        title="MIR-1K, 1000 karaoke clips at 16 kHz, voice and accompaniment",
        reader="mir1k:mir1k",
        holds="[Wavfile/]<singer>_<song>_<clip>.wav, accompaniment left, voice right",
        env=("MIR1K_PATH",),
        licence="for research; none stated",
        url="http://mirlab.org/dataset/public/",
        how_to="download MIR-1K from the page and unpack it",
        may_share_audio=False,
    ),
    "demo": DatasetInfo(
        title="music rendered by this project, two levels of stems",
        reader="demo:demo",
        holds="nothing; it is rendered",
        env=(),
        licence="as this project",
        url="",
        how_to="nothing to get; it is rendered on first use",
        may_share_audio=True,
    ),
    "folder": DatasetInfo(
        title="songs of your own",
        reader="folder:folder",
        holds="<track>/{mixture,<stem>,…}.{wav,flac,mp3}",
        env=(),
        licence="yours",
        url="",
        how_to="make one folder a song; --data NAME=PATH with any other name reads it so",
        may_share_audio=False,
    ),
}


def find(name: str, data: Mapping[str, Path]) -> Path:
    """Return the folder of a dataset: what ``--data`` says, else an environment variable.

    Parameters
    ----------
    data
        {dataset: folder} from ``--data``.

    Raises
    ------
    HarnessError
        If neither says anything; the message says how to get the dataset.
    """
    if name in data:
        return data[name]
    info = DATASETS.get(name)
    if info is None:
        known = ", ".join(DATASETS)
        raise HarnessError(
            f"dataset {name}: not known; give its folder with --data {name}=PATH, "
            f"or use one of {known}"
        )
    for variable in info.env:
        value = os.environ.get(variable)
        if value and _layout_fits(name, Path(value)):
            return Path(value)
    raise HarnessError(f"dataset {name}: {_nothing_set(info)}; {advice(name)}")


def configured(data: Mapping[str, Path]) -> dict[str, Path]:
    """Return the folder of every dataset that ``--data`` or the environment names."""
    found = dict(data)
    for name, info in DATASETS.items():
        if any(os.environ.get(variable) for variable in info.env):
            try:
                found.setdefault(name, find(name, data))
            except HarnessError:
                continue  # MUSDB_PATH with the layout of the other MUSDB
    return found


def load(name: str, path: Path) -> Dataset:
    """Read a dataset; a name that is not in `DATASETS` is a folder of the user's own.

    Raises
    ------
    HarnessError
        If the folder is absent, or holds not one usable track.
    """
    from harness.datasets import folder

    if name not in DATASETS:
        return folder.folder(path, name=name)
    module, function = DATASETS[name].reader.split(":")
    reader = getattr(import_module(f"harness.datasets.{module}"), function)
    dataset: Dataset = reader(path)
    return dataset


def advice(name: str) -> str:
    """Say how to get a dataset and how to name its folder.

    Examples
    --------
    >>> advice("mysongs")
    'make the folder <track>/{mixture,<stem>,…}.{wav,flac,mp3} and give --data mysongs=PATH'
    """
    info = DATASETS.get(name, DATASETS["folder"])
    if not info.env:
        return f"make the folder {info.holds} and give --data {name}=PATH"
    return (
        f"to get it: {info.how_to}; then give --data {name}=PATH or set {info.env[0]} "
        f"to the folder that holds {info.holds}"
    )


def _layout_fits(name: str, path: Path) -> bool:
    """Whether MUSDB_PATH means this MUSDB: one variable serves the wav and the stem.mp4 layout."""
    if not name.startswith("musdb18"):
        return True
    has_streams = any(path.glob("*/*.stem.mp4"))
    return has_streams == (name == "musdb18")


def _nothing_set(info: DatasetInfo) -> str:
    """Say which environment variables were looked at."""
    values = [f"{name}={os.environ[name]}" for name in info.env if os.environ.get(name)]
    if values:
        return f"{' and '.join(values)} holds another layout"
    return "its folder is not given"
