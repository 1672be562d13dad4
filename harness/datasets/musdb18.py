"""MUSDB18: 150 songs as ``.stem.mp4`` (Rafii et al. 2017, doi:10.5281/zenodo.1117372).

Five AAC streams a file, band-limited to 16 kHz; the mixture was encoded by itself, so it is not
exactly the sum of the stems, and scores are not comparable with MUSDB18-HQ's. The excerpts of seven
seconds have the same layout.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness import audio
from harness.audio import Audio
from harness.datasets.musdb18hq import SPLITS, facts
from harness.datasets.scan import BACKING, FOUR_STEMS, Scan, collect, unions
from harness.datasets.tracks import Dataset, Source, Track
from harness.errors import HarnessError

SUFFIX = ".stem.mp4"
STREAMS = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}


def musdb18(root: Path) -> Dataset:
    """Read ``<root>/{train,test}/<Artist - Title>.stem.mp4``; nothing is decoded.

    Raises
    ------
    HarnessError
        If there is no song, or what decodes them is not installed.
    """
    scan = Scan(root)
    found = [
        _track(path, split) for split in SPLITS for path in scan.files(root / split, (SUFFIX,))
    ]
    dataset = collect(scan, "musdb18", found, version="1.0", sample_rate=44100)
    _check_tools(root)
    return dataset


def read_stream(path: Path, stream: int, *, start: int = 0, frames: int = -1) -> tuple[Audio, int]:
    """Decode one stream, or a part of it.

    The whole stream is decoded and cut, so a part equals that part of the whole, sample by sample.

    Returns
    -------
    audio
        Shape (channels, samples).
    sample_rate
        In Hz.

    Raises
    ------
    HarnessError
        If the file cannot be decoded, or what decodes it is not installed.
    """
    stempeg = _stempeg(path)
    header = _header(stempeg, path, stream)
    try:
        samples, rate = stempeg.read_stems(
            str(path), stem_id=stream, dtype=np.float32, always_3d=True, info=header
        )
    except (Warning, RuntimeError, ValueError) as error:
        raise HarnessError(f"{path}: cannot be decoded ({error}); replace the file") from error
    if samples.shape[1] < header.samples(stream):
        raise HarnessError(
            f"{path}: truncated, {samples.shape[1]} of {header.samples(stream)} samples can be "
            "decoded; replace the file"
        )
    stop = None if frames < 0 else start + frames
    signal = np.ascontiguousarray(samples[0].T[:, start:stop])
    audio.check(signal, f"{path}, stream {stream}")
    return signal, int(rate)


def stream_length(path: Path, stream: int) -> int:
    """Return the samples per channel that the header gives a stream."""
    return int(_header(_stempeg(path), path, stream).samples(stream))


def _track(path: Path, split: str) -> Track:
    """One file."""
    name = path.name.removesuffix(SUFFIX)
    artist, genre, errata = facts(name)
    leaves = {stem: (Source(path, stream=STREAMS[stem]),) for stem in FOUR_STEMS}
    return Track(
        dataset="musdb18",
        name=name,
        artist=artist,
        split=split,
        mixture=(Source(path, stream=STREAMS["mixture"]),),
        stems=unions(leaves, {"accompaniment": BACKING}),
        genre=genre,
        notes=errata,
    )


def _header(stempeg: ModuleType, path: Path, stream: int) -> Any:
    """Read a file's header, a `stempeg.Info`; refuse a stream that is not there."""
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; check the path or fetch the dataset again")
    try:
        header = stempeg.Info(str(path))
    except Exception as error:  # the ffmpeg wrapper's own class, which it does not export
        raise HarnessError(f"{path}: cannot be read as .stem.mp4; replace the file") from error
    if stream >= header.nb_audio_streams:
        raise HarnessError(
            f"{path}: has {header.nb_audio_streams} audio streams, number {stream} is needed; "
            "replace the file"
        )
    return header


def _stempeg(path: Path) -> ModuleType:
    """Import what decodes, when it is needed."""
    _check_tools(path)
    import stempeg

    module: ModuleType = stempeg
    return module


def _check_tools(path: Path) -> None:
    """Refuse with advice where stempeg or the programs it calls are not installed."""
    missing = [tool for tool in ("ffmpeg", "ffprobe") if shutil.which(tool) is None]
    if importlib.util.find_spec("stempeg") is None:
        missing.append("the Python package stempeg")
    if missing:
        raise HarnessError(
            f"{path}: .stem.mp4 cannot be decoded without {' and '.join(missing)}; "
            "install ffmpeg and the extra stem-mp4 (pip install 'harness[stem-mp4]')"
        )
