"""The array contract: every signal in this package is float32, shape (channels, samples).

Full scale is ±1, sample rates are in Hz. Files are checked once, when they are read here, and
trusted afterwards. Nothing is ever transposed, rescaled or clipped silently.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from harness.core.decoding import check_end, opened, signature
from harness.core.errors import HarnessError, StorageError
from harness.core.files import complete_file

Audio = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]  # what is computed from signals

MAX_LENGTH_ERROR = 0.1  # seconds; a larger difference in length is an error
MAX_CHANNELS = 32  # with more, the axes are probably swapped
MAX_PEAK = 100.0  # 40 dB over full scale; more are integers


def read(path: Path, *, start: int = 0, frames: int = -1) -> tuple[Audio, int]:
    """Read an audio file, or `frames` samples from `start` on; -1 reads to the end.

    Any format of libsndfile is read: WAV, FLAC, OGG, MP3 and others. Returns the signal, shape
    (channels, samples), C-contiguous, and the sample rate in Hz. A file that is absent, unreadable,
    empty, or contains NaN, infinity or samples beyond `MAX_PEAK` is refused, and so is one that has
    fewer or more samples than its header says.
    """
    with opened(path) as decoder:
        first = decoder.skip(start)
        audio = decoder.decode(None if frames < 0 else frames)
        if frames < 0 or audio.shape[1] < frames:
            check_end(path, decoder, first + audio.shape[1])
        sample_rate = int(decoder.samplerate)
    _check_read(audio, path)
    return audio, sample_rate


def blocks(path: Path, size: int, overlap: int = 0) -> Iterator[Audio]:
    """Read an audio file in blocks of `size` samples, with the same errors as `read`.

    Each begins with the last `overlap` samples of the one before; the last may be shorter.
    """
    with opened(path) as decoder:
        block, count = decoder.decode(size), 0
        while block.shape[1] > (overlap if count else 0):
            count += block.shape[1] - (overlap if count else 0)
            _check_read(block, path)
            yield block
            tail = block[:, block.shape[1] - overlap :]
            block = np.concatenate([tail, decoder.decode(size - overlap)], axis=1)
        check_end(path, decoder, count)


def _check_read(audio: Audio, path: Path) -> None:
    """Refuse what `check` refuses, and integers that were written as floats without scaling."""
    check(audio, str(path))
    if (peak := float(np.max(np.abs(audio)))) > MAX_PEAK:
        raise HarnessError(
            f"{path}: has samples up to {peak:.0f}, and full scale is 1; divide them, probably by "
            "32768, and write the file again"
        )


def length(path: Path) -> tuple[int, int]:
    """Return (samples per channel, sample rate in Hz) of an audio file.

    The header's length is confirmed by decoding the last sample. MP3, OGG and other files that
    cannot be sought exactly are decoded to their end, once as long as they do not change.
    """
    _, samples, sample_rate = form(path)
    return samples, sample_rate


def sample_rate_of(path: Path) -> int:
    """Return the sample rate in Hz from the header alone; reading shows whether the rest is true.

    A file that is no audio, or says that it is empty, is refused.
    """
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise HarnessError(f"{path}: cannot be read as audio; replace the file") from error
    if info.frames == 0:
        _, rate = length(path)  # which may have been unknown to the writer
        return rate
    return int(info.samplerate)


def form(path: Path) -> tuple[int, int, int]:
    """Return (channels, samples per channel, sample rate in Hz) of an audio file, see `length`."""
    with opened(path) as decoder:
        exact = decoder.declared if decoder.exact else None
        channels, sample_rate = int(decoder.channels), int(decoder.samplerate)
    samples = _counted(path, signature(path)) if exact is None else exact
    if samples == 0:
        raise HarnessError(f"{path}: contains no samples; replace the file")
    return channels, samples, sample_rate


@lru_cache(maxsize=4096)
def _counted(path: Path, _written: tuple[int, ...]) -> int:
    """Decode a file to its end and return the samples per channel."""
    with opened(path) as decoder:
        count = decoder.skip(2**62)
        check_end(path, decoder, count)
    return count


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
