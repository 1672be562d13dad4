"""The array contract: every signal in this package is float32, shape (channels, samples).

Full scale is ±1, sample rates are in Hz. Files are checked once, when they are read here, and
trusted afterwards. Nothing is ever transposed, rescaled or clipped silently.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from harness.core.errors import HarnessError, StorageError
from harness.core.files import complete_file

Audio = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]  # what is computed from signals

MAX_LENGTH_ERROR = 0.1  # seconds; a larger difference in length is an error
MAX_CHANNELS = 32  # with more, the axes are probably swapped
MAX_PEAK = 100.0  # 40 dB over full scale; more are integers
MAX_TRAILER = 2**16  # bytes after the audio of a WAV file that need not be chunks


def read(path: Path, *, start: int = 0, frames: int = -1) -> tuple[Audio, int]:
    """Read an audio file, or `frames` samples from `start` on; -1 reads to the end.

    Any format of libsndfile is read: WAV, FLAC, OGG, MP3 and others. Returns the signal, shape
    (channels, samples), C-contiguous, and the sample rate in Hz. A file that is absent, unreadable,
    truncated, empty, or contains NaN, infinity or samples beyond `MAX_PEAK` is refused.
    """
    with _opened(path) as file:
        total, sample_rate = file.frames, int(file.samplerate)
        file.seek(min(start, total))
        samples = file.read(frames, dtype="float32", always_2d=True)
    wanted = max(total - start, 0) if frames < 0 else min(frames, max(total - start, 0))
    if len(samples) == 0:
        raise HarnessError(f"{path}: contains no samples; replace the file")
    if len(samples) < wanted:
        raise _truncated(path, len(samples), wanted)
    audio = np.ascontiguousarray(samples.T)
    _check_read(audio, path)
    return audio, sample_rate


def blocks(path: Path, size: int, overlap: int = 0) -> Iterator[Audio]:
    """Read an audio file in blocks of `size` samples, with the same errors as `read`.

    Each begins with the last `overlap` samples of the one before; the last may be shorter.
    """
    with _opened(path) as file:
        total, end = file.frames, 0
        for block in file.blocks(size, overlap, dtype="float32", always_2d=True):
            audio = np.array(block.T, order="C")
            end += audio.shape[1] - (overlap if end else 0)
            _check_read(audio, path)
            yield audio
    if end < total:
        raise _truncated(path, end, total)


@contextmanager
def _opened(path: Path) -> Iterator[soundfile.SoundFile]:
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; check the path or fetch the dataset again")
    _check_wav_size(path)
    try:
        with soundfile.SoundFile(path) as file:
            yield file
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise HarnessError(f"{path}: cannot be read as audio ({reason}); replace it") from error


def _check_read(audio: Audio, path: Path) -> None:
    """Refuse what `check` refuses, and integers that were written as floats without scaling."""
    check(audio, str(path))
    if (peak := float(np.max(np.abs(audio)))) > MAX_PEAK:
        raise HarnessError(
            f"{path}: has samples up to {peak:.0f}, and full scale is 1; divide them, probably by "
            "32768, and write the file again"
        )


def _truncated(path: Path, have: int, wanted: int) -> HarnessError:
    return HarnessError(f"{path}: truncated, {have} of {wanted} samples can be read; replace it")


def length(path: Path) -> tuple[int, int]:
    """Return (samples per channel, sample rate in Hz) of an audio file from its header."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise HarnessError(f"{path}: cannot be read as audio; replace the file") from error
    if info.frames == 0:
        raise HarnessError(f"{path}: contains no samples; replace the file")
    return int(info.frames), int(info.samplerate)


def write(path: Path, audio: Audio, sample_rate: int, *, subtype: str = "FLOAT") -> None:
    """Write a ``.wav`` or ``.flac`` file, which appears under its name only when it is complete.

    `subtype` is ``FLOAT``, ``PCM_24`` or ``PCM_16``; a PCM format refuses samples outside ±1.
    """
    check(audio, str(path))
    if subtype.startswith("PCM") and float(np.max(np.abs(audio))) > 1.0:
        raise HarnessError(f"{path}: samples exceed full scale; write as FLOAT or lower the gain")
    kind = path.suffix.lstrip(".").upper()
    try:
        with complete_file(path) as part:
            soundfile.write(part, audio.T, sample_rate, subtype=subtype, format=kind)
    except (soundfile.SoundFileError, RuntimeError) as error:
        raise StorageError(f"{path}: cannot be written ({error}); check the disk") from error


def resample(audio: Audio, sample_rate: int, new_rate: int) -> Audio:
    """Resample along time with soxr at very high quality; the result is C-contiguous."""
    if sample_rate == new_rate:
        return audio
    out = soxr.resample(audio.T, sample_rate, new_rate, quality="VHQ")
    return np.ascontiguousarray(out.T, dtype=np.float32)


def to_channels(audio: Audio, channels: int, where: str) -> Audio:
    """Convert a signal to `channels` channels: mono is repeated, several are averaged to mono."""
    have = audio.shape[0]
    if have == channels:
        return audio
    if have == 1:
        return np.repeat(audio, channels, axis=0)
    if channels == 1:
        mono: Audio = audio.mean(axis=0, keepdims=True, dtype=np.float32)
        return mono
    raise HarnessError(f"{where}: has {have} channels, {channels} are needed; mix it down first")


def fit_length(audio: Audio, n_samples: int, sample_rate: int, where: str) -> tuple[Audio, str]:
    """Pad with zeros or trim to `n_samples`; refuse a difference of more than 100 ms.

    Returns the signal, and a note on what was done, empty if nothing.
    """
    difference = audio.shape[1] - n_samples
    if difference == 0:
        return audio, ""
    word, change = ("longer", "trimmed") if difference > 0 else ("shorter", "padded")
    seconds = abs(difference) / sample_rate
    if seconds > MAX_LENGTH_ERROR:
        raise HarnessError(
            f"{where}: {seconds:.2f} s {word} than the mixture; "
            f"at most {MAX_LENGTH_ERROR} s is corrected; check the file"
        )
    note = f"{abs(difference)} samples {word} than the mixture, {change}"
    if difference > 0:
        return np.ascontiguousarray(audio[:, :n_samples]), note
    return np.pad(audio, ((0, 0), (0, -difference))), note


def is_silent(audio: Audio) -> bool:
    """Whether all samples are exactly zero (channels that cancel are not silence)."""
    return not np.any(audio)


def check(audio: Audio, where: str) -> None:
    """Refuse an array that is not a signal: other shape or type, no samples, NaN or infinity."""
    if audio.dtype.kind != "f":
        raise HarnessError(f"{where}: has type {audio.dtype}; convert it to float32, full scale ±1")
    if audio.ndim != 2 or not 1 <= audio.shape[0] <= MAX_CHANNELS:
        raise HarnessError(f"{where}: has shape {audio.shape}; give it as (channels, samples)")
    if audio.shape[1] == 0:
        raise HarnessError(f"{where}: contains no samples; replace it")
    if not np.isfinite(audio).all():
        raise HarnessError(f"{where}: contains NaN or infinity; replace it")


def check_pair(reference: Audio, estimate: Audio, where: str) -> None:
    """Check both signals, and that their shapes are equal."""
    check(reference, f"{where}, reference")
    check(estimate, f"{where}, estimate")
    if reference.shape != estimate.shape:
        raise HarnessError(
            f"{where}: reference has shape {reference.shape} and estimate {estimate.shape}; "
            "give both the same channels and length first"
        )


def _check_wav_size(path: Path) -> None:
    """Compare the data size in a WAV header with the bytes there; libsndfile does not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return
        while len(chunk := file.read(8)) == 8:
            name, n_bytes = struct.unpack("<4sI", chunk)
            here = file.tell()
            if name == b"data":
                streamed = n_bytes in (0, 0xFFFFFFFF)  # a writer that could not seek back
                if not streamed and here + n_bytes > size:
                    there = f"{size - here} of {n_bytes} bytes of audio are there"
                    raise HarnessError(f"{path}: truncated, {there}; replace it")
                after = here + n_bytes + n_bytes % 2
                if not streamed and size - after > MAX_TRAILER and not _is_chunk(file, after, size):
                    raise HarnessError(
                        f"{path}: its header counts {n_bytes} bytes of audio, but {size - after} "
                        "more follow; write it again, as RF64 or FLAC if it is larger than 4 GB"
                    )
                return
            file.seek(here + n_bytes + n_bytes % 2)


def _is_chunk(file: BinaryIO, start: int, size: int) -> bool:
    """Whether a chunk of a WAV file, a tag or padding begins there, rather than more audio."""
    file.seek(start)
    head = file.read(8)
    if head[:3] in (b"ID3", b"TAG") or not any(head):
        return True
    name, n_bytes = struct.unpack("<4sI", head)
    return all(32 <= byte < 127 for byte in name) and start + 8 + n_bytes <= size
