"""One signal in every container that is read, and what a broken writer or disk makes of it."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
LOSSLESS = {
    "wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "rf64": ("RF64", "PCM_24"),
    "w64": ("W64", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"), "au": ("AU", "PCM_16"), "flac": ("FLAC", "PCM_16"),
}  # fmt: skip
LOSSY = ("mp3", "vbr.mp3", "ogg", "opus")
BY_FFMPEG = ("m4a", "mp4", "webm", "wv")


def signal(n_samples: int) -> np.ndarray:
    """Return a chirp that is quiet at first, and noise, on the 16-bit grid: (samples, 2)."""
    times = np.arange(n_samples) / RATE
    tones = [np.sin(2 * np.pi * f * times * (1 + times)) for f in (220.0, 330.0)]
    noise = np.random.default_rng(1).uniform(-0.2, 0.2, (2, n_samples))
    both = 0.4 * np.array(tones) + noise * (times > times[-1] / 2)
    both[:, : n_samples // 4] *= 0.01
    return (np.round(both.T * 2**15) / 2**15).astype(np.float32)


def written(kind: str, n_samples: int) -> bytes:
    """Return a file of that kind, written by libsndfile; "vbr.mp3" has no header with a length."""
    file, samples = io.BytesIO(), signal(n_samples)
    if kind in LOSSLESS:
        form, subtype = LOSSLESS[kind]
        soundfile.write(file, samples, RATE, format=form, subtype=subtype)
    elif kind == "opus":
        soundfile.write(file, samples, 48000, format="OGG", subtype="OPUS")
    elif kind == "ogg":
        soundfile.write(file, samples, RATE, format="OGG", subtype="VORBIS")
    else:
        mode = "VARIABLE" if kind == "vbr.mp3" else "CONSTANT"
        soundfile.write(file, samples, RATE, format="MP3", bitrate_mode=mode, compression_level=0.2)
    return without_length(file.getvalue()) if kind == "vbr.mp3" else file.getvalue()


def without_length(mp3: bytes) -> bytes:
    """Drop the first frame of an MP3 file, in which encoders write the number of frames."""
    first = mp3.index(b"\xff\xfb")
    second = mp3.index(mp3[first : first + 2], first + 100)
    assert b"Xing" in mp3[first:second] or b"Info" in mp3[first:second]
    return mp3[second:]


def by_ffmpeg(kind: str, wav: Path) -> bytes:
    """Return a file of that kind, made of a WAV file by ffmpeg."""
    out = wav.with_name(f"made.{kind}")
    options = ["-movflags", "+faststart"] if kind in ("m4a", "mp4") else []
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", str(wav), *options, str(out)]
    subprocess.run(command, check=True)
    return out.read_bytes()


def has_ffmpeg() -> bool:
    """Whether ffmpeg is installed, with ffprobe."""
    return bool(shutil.which("ffmpeg") and shutil.which("ffprobe"))


def with_sizes(wav: bytes, riff: int, data: int) -> bytes:
    """Return a WAV file with these sizes in its header, as a writer to a pipe leaves them."""
    at = wav.index(b"data") + 4
    return wav[:4] + struct.pack("<I", riff) + wav[8:at] + struct.pack("<I", data) + wav[at + 4 :]


def with_total(flac: bytes, total: int) -> bytes:
    """Return a FLAC file with another number of samples in its header; 0 is unknown."""
    head = int.from_bytes(flac[18:26], "big") >> 36 << 36 | total
    return flac[:18] + head.to_bytes(8, "big") + flac[26:]
