"""Clips to listen to: audio and frame scores of a few tracks, kept beside their scores.

One file per signal: ``clips/<track>/<key of a unit>.npz`` with all estimates of a unit of work, and
``clips/<track>/true.<stem>.npz`` with the mixture and each reference. Audio is 16-bit FLAC of the
middle `SECONDS` of a track; one minute of a stereo stem takes about 3 MB.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from harness.benchmark.signals import Signals, Unit
from harness.core.audio import Audio, Float64
from harness.core.errors import HarnessError
from harness.core.files import write_stream, zip_damage
from harness.datasets.tracks import Excerpt
from harness.metrics.ratios import db, frame_energies

Arrays = Mapping[str, npt.NDArray[np.generic]]

TRACKS = 3  # kept per dataset by default
SECONDS = 60  # kept per track, from its middle
CHANNELS = 2  # kept per signal, the first ones
FULL_SCALE = 1 - 2**-15  # the largest 16-bit sample


@dataclass(frozen=True)
class Clip:
    """One kept signal of a track."""

    audio: bytes  # a FLAC file
    scale: float  # signal = samples × scale, since estimates may exceed full scale
    start: int  # second of the track at which the clip begins
    rate: int  # Hz
    # One value per whole second of the track. Of an estimate the frame SNR in dB, NaN where the
    # reference is silent; of a reference or the mixture the energy.
    frames: Float64

    def read(self, start: int, stop: int) -> Audio:
        """Return the signal between two seconds of the track."""
        with soundfile.SoundFile(io.BytesIO(self.audio)) as file:
            file.seek(min((start - self.start) * self.rate, file.frames))
            samples = file.read((stop - start) * self.rate, dtype="float32", always_2d=True)
        return np.asarray(samples.T * np.float32(self.scale))


def wanted(work_folder: Path, unit: Unit) -> bool:
    """Whether the clips of a unit are to be kept and are missing."""
    return _kept(unit) and not clip_path(work_folder, unit.track_key, unit.key).is_file()


def put(work_folder: Path, unit: Unit, estimates: Mapping[str, Audio], signals: Signals) -> None:
    """Keep the estimates of a unit, and the signals that they are compared with."""
    if not _kept(unit):
        return
    rate, true = signals.sample_rate, {stem: signals.stems[stem] for stem in estimates}
    for stem, signal in {"mixture": signals.mixture, **true}.items():
        path = true_path(work_folder, unit.track_key, stem)
        if not path.is_file():
            energies = frame_energies(signal, signal, rate, rate)
            _write(path, {stem: _packed(signal, rate, energies.xx)})
    packed = {}
    for stem, estimate in estimates.items():
        energies = frame_energies(true[stem], estimate, rate, rate)
        frames = np.where(energies.xx > 0, db(energies.xx, energies.dd), np.nan)
        packed[stem] = _packed(estimate, rate, frames)
    _write(clip_path(work_folder, unit.track_key, unit.key), packed)


def read_estimates(work_folder: Path, track_key: str, key: str) -> dict[str, Clip]:
    """Return the kept estimates of a unit, by stem; empty if there are none."""
    return _read(clip_path(work_folder, track_key, key))


def stems_kept(work_folder: Path, track_key: str, key: str) -> list[str]:
    """Return the stems that `read_estimates` finds, without reading their audio."""
    try:
        with np.load(clip_path(work_folder, track_key, key), allow_pickle=False) as file:
            return [name.partition(".")[2] for name in file.files if name.startswith("audio.")]
    except (OSError, ValueError, zipfile.BadZipFile):
        return []


def read_true(work_folder: Path, track_key: str, stem: str) -> Clip:
    """Return the mixture or a reference of a track; it is kept whenever an estimate is."""
    path = true_path(work_folder, track_key, stem)
    if found := _read(path).get(stem):
        return found
    raise HarnessError(f"{path}: cannot be read; remove {path.parent} and run with --listen again")


def tracks_kept(work_folder: Path, track_keys: Iterable[str]) -> set[str]:
    """Return the tracks that have clips."""
    there = {path.name for path in (work_folder / "clips").glob("*")}
    return there.intersection(track_keys)


def true_path(work_folder: Path, track_key: str, stem: str) -> Path:
    """Return the file of the mixture or a reference of a track."""
    return clip_path(work_folder, track_key, f"true.{stem}")


def clip_path(work_folder: Path, track_key: str, name: str) -> Path:
    """Return the file of a unit of work, named by its key, or of a true signal."""
    return work_folder / "clips" / track_key / f"{name}.npz"


def _kept(unit: Unit) -> bool:
    """Whether clips are kept; not in cascade, where every parent would need a set of its own."""
    return unit.listen and unit.parent is None


def _packed(signal: Audio, rate: int, frames: Float64) -> Arrays:
    """Return the arrays of a `Clip` of the middle of a signal."""
    start = Excerpt(SECONDS).window(signal.shape[1], rate)[0] // rate
    kept = signal[:CHANNELS, start * rate : (start + SECONDS) * rate]
    scale = max(1.0, float(np.abs(kept).max(initial=0.0)) / FULL_SCALE)
    buffer = io.BytesIO()
    soundfile.write(buffer, kept.T / np.float32(scale), rate, format="FLAC", subtype="PCM_16")
    return {
        "audio": np.frombuffer(buffer.getvalue(), np.uint8),
        "scale": np.array([scale]),
        "start": np.array([start]),
        "rate": np.array([rate]),
        "frames": frames,
    }


def _write(path: Path, signals: Mapping[str, Arrays]) -> None:
    arrays = {f"{part}.{stem}": x for stem, parts in signals.items() for part, x in parts.items()}
    with write_stream(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read(path: Path) -> dict[str, Clip]:
    """Return the signals of a file by stem; empty if it is missing or not as it was written."""
    if zip_damage(path):
        return {}
    try:
        with np.load(path, allow_pickle=False) as file:
            stems = [name.partition(".")[2] for name in file.files if name.startswith("audio.")]
            found = {stem: [file[f"{part.name}.{stem}"] for part in fields(Clip)] for stem in stems}
        return {
            stem: Clip(
                audio.tobytes(), float(scale[0]), int(start[0]), int(rate[0]), frames.astype(float)
            )
            for stem, (audio, scale, start, rate, frames) in found.items()
        }
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        return {}
