"""Which datasets exist, where their folders are, and how to get them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HarnessError


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


_MUSDB_TERMS = "educational use only; 46 songs CC BY-NC-SA 4.0, 2 CC BY-NC-SA 3.0, 102 restricted"

DATASETS: dict[str, DatasetInfo] = {
    "musdb18hq": DatasetInfo(
        title="MUSDB18-HQ, 150 songs, four stems",
        reader="musdb:musdb18hq",
        holds="{train,test}/<Artist - Title>/{mixture,drums,bass,other,vocals}.wav",
        env=("MUSDB18HQ_PATH", "MUSDB_PATH"),
        license=_MUSDB_TERMS,
        url="https://zenodo.org/records/3338373",
        how_to="harness fetch dataset musdb18hq (22.7 GB)",
    ),
    "musdb18": DatasetInfo(
        title="MUSDB18, 150 songs, four stems, AAC at 256 kbit/s",
        reader="musdb:musdb18",
        holds="{train,test}/<Artist - Title>.stem.mp4",
        env=("MUSDB18_PATH", "MUSDB_PATH"),
        license=_MUSDB_TERMS,
        url="https://zenodo.org/records/1117372",
        how_to="harness fetch dataset musdb18 (4.7 GB), or musdb18_7s for excerpts of 7 s (147 MB)",
    ),
    "dsd100": DatasetInfo(
        title="DSD100, 100 songs, four stems; all of them are in MUSDB18 too",
        reader="musdb:dsd100",
        holds="{Mixtures,Sources}/{Dev,Test}/<NNN - Artist - Title>/*.wav",
        env=("DSD_PATH", "DSD100_PATH"),
        license="educational use only",
        url="https://sigsep.github.io/datasets/dsd100.html",
        how_to="download DSD100.zip from the page (MD5 e8964d97d6f320962647e24ebc6773e3), unzip it",
    ),
    "moisesdb": DatasetInfo(
        title="MoisesDB, 240 songs, two levels of stems",
        reader="moisesdb:moisesdb",
        holds="[moisesdb_v0.1/]<uuid>/data.json and <uuid>/<stem>/<uuid>.wav",
        env=("MOISESDB_PATH",),
        license="CC BY-NC-SA 4.0",
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
        license="for research; none stated",
        url="http://mirlab.org/dataset/public/",
        how_to="download MIR-1K from the page and unpack it",
    ),
    "demo": DatasetInfo(
        title="music rendered by this project, two levels of stems",
        reader="demo:demo",
        holds="what the program renders",
        license="as this project",
        how_to="it is rendered on first use",
        may_share_audio=True,
    ),
    "folder": DatasetInfo(
        title="your own songs",
        reader="folder:folder",
        holds="<track>/{mixture,<stem>,…}.{wav,flac,mp3}",
        license="yours",
        how_to="make one folder per song; --data NAME=PATH with any other name reads it this way",
    ),
}


def find(name: str, data: Mapping[str, Path]) -> Path:
    """Return the folder of a dataset from ``--data`` ({dataset: folder}) or the environment.

    If neither names it, the error says how to get the dataset.
    """
    if name in data:
        return data[name]
    info = DATASETS.get(name)
    if info is None:
        raise HarnessError(
            f"dataset {name}: not known; give its folder with --data {name}=PATH, "
            f"or use one of {', '.join(DATASETS)}"
        )
    folders = {variable: os.environ[variable] for variable in info.env if os.environ.get(variable)}
    for path in map(Path, folders.values()):
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
    """Say how to get a dataset and how to give its folder.

    Examples
    --------
    >>> advice("mysongs")
    'make the folder <track>/{mixture,<stem>,…}.{wav,flac,mp3} and give --data mysongs=PATH'
    """
    info = DATASETS.get(name, DATASETS["folder"])
    if name == "demo":
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
    return any(path.glob("*/*.stem.mp4")) == (name == "musdb18")
