"""MIR-1K: karaoke clips, 16 kHz, accompaniment on the left and voice on the right channel.

It has no official split. As in the literature (Huang et al., "Singing-voice separation from
monaural recordings using deep recurrent neural networks", ISMIR 2014) the clips of two singers are
for training, those of all others for the test. Songs are shared among the singers, and the names do
not say which, so that accompaniments may occur in both. The mixture is the plain sum of both
channels, which is mono.
"""

from __future__ import annotations

from pathlib import Path

from harness.datasets.scan import TRACK, Scan, collect
from harness.datasets.tracks import Dataset, Source, Track

TRAINING_SINGERS = ("abjones", "amy")


def mir1k(root: Path) -> Dataset:
    """Read ``<root>/Wavfile/<singer>_<song>_<clip>.wav``, or the same without ``Wavfile``."""
    scan = Scan(root)
    folder = root / "Wavfile" if (root / "Wavfile").is_dir() else root
    found = [_track(path) for path in scan.files(folder, (".wav",), TRACK)]
    return collect(scan, "mir1k", found, version="1.0", sample_rate=16000)


def _track(path: Path) -> Track:
    """Describe one clip."""
    singer = path.stem.partition("_")[0]
    accompaniment, voice = Source(path, channel=0), Source(path, channel=1)
    return Track(
        dataset="mir1k",
        name=path.stem,
        artist=singer,
        split="train" if singer in TRAINING_SINGERS else "test",
        mixture=(accompaniment, voice),
        stems={"vocals": (voice,), "accompaniment": (accompaniment,)},
    )
