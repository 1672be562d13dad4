"""Reading ``.stem.mp4`` files: several audio streams in one file, decoded by ffmpeg.

A stream is named by its place in MUSDB18, `STREAMS`. Titles of streams that say otherwise decide,
see `stream_of`.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError

SUFFIX = ".stem.mp4"  # in any case
STREAMS = {"mixture": 0, "drums": 1, "bass": 2, "other": 3, "vocals": 4}
_MIXTURES = ("mixture", "mix", "full_mix", "master")
_TITLES = ("title", "name", "handler_name")  # tags of a stream; the first that is there counts


def read_stream(path: Path, stream: int, *, start: int = 0, frames: int = -1) -> tuple[Audio, int]:
    """Decode one stream, or a part of it; return audio, shape (channels, samples), and rate in Hz.

    The whole stream is decoded and cut, so a part equals that part of the whole, sample by sample.
    """
    stempeg = _stempeg(path)
    header, found = _header(stempeg, path, stream)
    try:
        samples, rate = stempeg.read_stems(
            str(path), stem_id=found, dtype=np.float32, always_3d=True, info=header
        )
    except (Warning, RuntimeError, ValueError) as error:
        raise HarnessError(f"{path}: cannot be decoded ({error}); replace the file") from error
    if samples.shape[1] < header.samples(found):
        raise HarnessError(
            f"{path}: truncated, {samples.shape[1]} of {header.samples(found)} samples can be "
            "decoded; replace the file"
        )
    stop = None if frames < 0 else start + frames
    signal = np.ascontiguousarray(samples[0].T[:, start:stop])
    audio.check(signal, f"{path}, stream {stream}")
    return signal, int(rate)


def stream_length(path: Path, stream: int) -> int:
    """Return a stream's samples per channel, from the header."""
    header, found = _header(_stempeg(path), path, stream)
    return int(header.samples(found))


def stream_of(titles: Sequence[str], stream: int) -> int:
    """Return which stream of a file holds what MUSDB18 has in `stream`, by the titles.

    Equal titles say nothing (ffmpeg calls every stream ``SoundHandler``), and the order is that of
    `STREAMS`. Otherwise each of `STREAMS` must have one title, and the mixture may be the only
    stream that is not titled as a stem; if not, ValueError is raised.

    Examples
    --------
    >>> stream_of(["mix", "Vocals", "Drums", "Bass", "Other"], STREAMS["vocals"])
    1
    """
    if len(set(titles)) < 2:
        return stream
    names = [taxonomy.canonical(title) for title in titles]
    names = ["mixture" if name in _MIXTURES else name for name in names]
    unnamed = [i for i, name in enumerate(names) if name not in STREAMS]
    if "mixture" not in names and len(unnamed) == 1:
        names[unnamed[0]] = "mixture"
    if any(names.count(name) != 1 for name in STREAMS):
        raise ValueError(f"not one stream for each of {', '.join(STREAMS)}")
    return names.index({number: name for name, number in STREAMS.items()}[stream])


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


def _header(stempeg: ModuleType, path: Path, stream: int) -> tuple[Any, int]:
    """Read a file's header, a `stempeg.Info`, and find the number of a stream in the file.

    A stream that is not there is refused, and so are titles that cannot be understood.
    """
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; check the path or fetch the dataset again")
    try:
        header = _probe(stempeg, str(path), path.stat().st_mtime_ns)
    except Exception as error:  # the ffmpeg wrapper's own class, which it does not export
        raise HarnessError(f"{path}: cannot be read as .stem.mp4; replace the file") from error
    if stream >= header.nb_audio_streams:
        raise HarnessError(
            f"{path}: has {header.nb_audio_streams} audio streams, number {stream} is needed; "
            "replace the file"
        )
    titles = [_title(one.get("tags") or {}) for one in header.audio_streams]
    try:
        return header, stream_of(titles, stream)
    except ValueError as error:
        raise HarnessError(
            f"{path}: its streams are titled {', '.join(map(repr, titles))[:200]}: {error}; "
            "correct the titles, or give all streams the same title if the order is this one"
        ) from error


@lru_cache(maxsize=256)
def _probe(stempeg: ModuleType, path: str, _changed: int) -> Any:
    """Let ffprobe read the header of a file, once for all of its streams."""
    return stempeg.Info(path)


def _title(tags: Mapping[str, str]) -> str:
    """Return the title of a stream, or ""."""
    return next((str(tags[tag]) for tag in _TITLES if tags.get(tag)), "")


def _stempeg(path: Path) -> ModuleType:
    """Import the decoder when it is needed."""
    check_tools(path)
    import stempeg

    module: ModuleType = stempeg
    return module
