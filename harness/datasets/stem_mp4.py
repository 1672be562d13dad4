"""Reading ``.stem.mp4`` files: several audio streams in one file, decoded by ffmpeg."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.core import audio
from harness.core.audio import Audio
from harness.core.errors import HarnessError


def read_stream(path: Path, stream: int, *, start: int = 0, frames: int = -1) -> tuple[Audio, int]:
    """Decode one stream, or a part of it; return audio, shape (channels, samples), and rate in Hz.

    The whole stream is decoded and cut, so a part equals that part of the whole, sample by sample.
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
    """Return a stream's samples per channel, from the header."""
    return int(_header(_stempeg(path), path, stream).samples(stream))


def check_tools(path: Path) -> None:
    """Refuse with advice if stempeg or the programs it calls are not installed."""
    missing = [tool for tool in ("ffmpeg", "ffprobe") if shutil.which(tool) is None]
    if importlib.util.find_spec("stempeg") is None:
        missing.append("the Python package stempeg")
    if missing:
        raise HarnessError(
            f"{path}: .stem.mp4 cannot be decoded without {' and '.join(missing)}; "
            "install ffmpeg and the extra stem-mp4 (pip install 'mss-harness[stem-mp4]')"
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
    """Import the decoder when it is needed."""
    check_tools(path)
    import stempeg

    module: ModuleType = stempeg
    return module
