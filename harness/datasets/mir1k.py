"""MIR-1K: karaoke clips, 16 kHz, accompaniment on the left and voice on the right channel.

It has no official split; all clips are ``test``. The mixture is the plain sum of both channels,
which is mono.
"""

from __future__ import annotations

from pathlib import Path

from harness.datasets.scan import TRACK, Scan, collect
from harness.datasets.tracks import Dataset, Source, Track


def mir1k(root: Path) -> Dataset:
    """Read ``<root>/Wavfile/<singer>_<song>_<clip>.wav``, or the same without ``Wavfile``."""
    scan = Scan(root)
    folder = root / "Wavfile" if (root / "Wavfile").is_dir() else root
    found = [_track(path) for path in scan.files(folder, (".wav",), TRACK)]
    return collect(scan, "mir1k", found, version="1.0", sample_rate=16000)


def _track(path: Path) -> Track:
    """Describe one clip."""
    accompaniment, voice = Source(path, channel=0), Source(path, channel=1)
    return Track(
        dataset="mir1k",
        name=path.stem,
        artist=path.stem.partition("_")[0],
        split="test",
        mixture=(accompaniment, voice),
        stems={"vocals": (voice,), "accompaniment": (accompaniment,)},
    )
