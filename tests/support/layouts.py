"""Write a dataset to disk in the layouts of other datasets, to test their readers.

Files are 16-bit WAV. What a layout cannot store is lost: MUSDB18-HQ and DSD100 have four stems,
MIR-1K two, and only MoisesDB has genre and bleed. The layouts are those of Zenodo 3338373
(MUSDB18-HQ), SiSEC 2016 (DSD100), Pereira et al. 2023 (MoisesDB) and Hsu and Jang 2010 (MIR-1K).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.datasets.tracks import Dataset, Source, Track, read_sources

FOUR = ("vocals", "drums", "bass", "other")
MOISES_PROVIDER = "moisesdb_v0.1"
MIR1K_RATE = 16000
MIR1K_SECONDS = 8.0  # of a clip; the real ones have 4 to 13

_MOISES_TYPES: dict[str, tuple[str, str]] = {  # stem: stemName, trackType
    "lead_male": ("vocals", "lead male singer"),
    "lead_female": ("vocals", "lead female singer"),
    "background": ("vocals", "background vocals"),
    "vocals": ("vocals", "other (vocoder, beatboxing etc)"),
    "kick": ("drums", "kick drum"),
    "snare": ("drums", "snare drum"),
    "toms": ("drums", "toms"),
    "hihat": ("drums", "hi-hat"),
    "cymbals": ("drums", "cymbals"),
    "drums": ("drums", "full acoustic drumkit"),
    "bass": ("bass", "bass guitar"),
    "guitar": ("guitar", "clean electric guitar"),
    "piano": ("piano", "grand piano"),
    "keys": ("other_keys", "synth pad"),
    "other": ("other", "fx/processed sound, scratches, gun shots, explosions etc"),
}
_LONGER = 1000  # samples of silence after the piano, so that lengths differ


def write_musdb18hq(dataset: Dataset, root: Path) -> None:
    """Write ``<train|test>/<name>/{mixture,vocals,drums,bass,other}.wav``."""
    for track in dataset.tracks:
        folder = root / _split(track) / track.name
        _write(folder / "mixture.wav", track.mixture, dataset)
        for stem in FOUR:
            _write(folder / f"{stem}.wav", _sources(track, stem), dataset)


def write_dsd100(dataset: Dataset, root: Path) -> None:
    """Write ``Mixtures`` and ``Sources`` with ``<Dev|Test>/<NNN - Artist - Title>``.

    Test tracks count from 001, the others from 051 (later if there are more than 50 of the former).
    """
    tests = [track for track in dataset.tracks if _split(track) == "test"]
    others = [track for track in dataset.tracks if _split(track) != "test"]
    numbered = [*enumerate(tests, start=1), *enumerate(others, start=max(50, len(tests)) + 1)]
    for number, track in numbered:
        half = "Test" if _split(track) == "test" else "Dev"
        name = f"{number:03d} - {track.name}"
        _write(root / "Mixtures" / half / name / "mixture.wav", track.mixture, dataset)
        for stem in FOUR:
            path = root / "Sources" / half / name / f"{stem}.wav"
            _write(path, _sources(track, stem), dataset)


def write_folder(dataset: Dataset, root: Path) -> None:
    """Write ``<name>/mixture.wav`` with every stem beside it, the splits side by side.

    ``other`` beside ``guitar`` would mean what is left of six stems, so where a track has
    `other_rest`, that is written and `other`, its sum with guitar and piano, is not.
    """
    for track in dataset.tracks:
        name = track.name
        _write(root / name / "mixture.wav", track.mixture, dataset)
        for stem in taxonomy.in_order(track.stems):
            if stem == "other" and "other_rest" in track.stems:
                continue
            _write(root / name / f"{stem}.wav", track.stems[stem], dataset)


def write_mir1k(dataset: Dataset, root: Path) -> None:
    """Write ``Wavfile/<singer>_<song>_<clip>.wav``: 16 kHz, left accompaniment, right voice.

    Tracks are cut into clips of 8 s; a rest shorter than half of that is left out. A singer's songs
    count from 1.
    """
    songs: dict[str, int] = {}
    for track in dataset.tracks:
        singer = re.sub(r"[^a-z0-9]", "", track.artist.lower()) or "unknown"
        songs[singer] = songs.get(singer, 0) + 1
        both = np.concatenate(
            [_mono16k(track, stem, dataset) for stem in ("accompaniment", "vocals")]
        )
        length = round(MIR1K_SECONDS * MIR1K_RATE)
        for clip, first in enumerate(range(0, both.shape[1], length), start=1):
            part = both[:, first : first + length]
            if clip > 1 and part.shape[1] < length // 2:
                break
            path = root / "Wavfile" / f"{singer}_{songs[singer]}_{clip:02d}.wav"
            audio.write(path, np.ascontiguousarray(part), MIR1K_RATE, subtype="PCM_16")


def write_moisesdb(dataset: Dataset, root: Path) -> None:
    """Write ``moisesdb_v0.1/<uuid>/data.json`` and ``<stemName>/<id>.wav``, as varied as real ones.

    The finest stems of each track are written; silent ones are left out, as the layout has no
    silence. The bass comes as a mono file and a stereo one that holds the rest, the guitar as one
    file a side, the piano is longer than the others by some silence, and the background vocals
    are a second entry called ``vocals``. All sums stay exact.
    """
    for track in dataset.tracks:
        folder = root / MOISES_PROVIDER / _uuid(track)
        entries: dict[str, dict[str, Any]] = {}
        for stem in _finest(track):
            signal = read_sources(track.stems[stem], dataset.sample_rate)
            if audio.is_silent(signal):
                continue
            name, kind = _MOISES_TYPES[stem]
            own = stem if stem == "background" else name
            entry = entries.setdefault(
                own, {"id": _uuid(track, own), "stemName": name, "tracks": []}
            )
            for i, part in enumerate(_moises_parts(stem, signal)):
                about = {"id": _uuid(track, stem, i), "trackType": kind, "extension": "wav"}
                entry["tracks"].append({**about, "has_bleed": stem in track.bleed})
                path = folder / name / f"{about['id']}.wav"
                audio.write(path, part, dataset.sample_rate, subtype="PCM_16")
        _write_data_json(folder, track, list(entries.values()))


def _write_data_json(folder: Path, track: Track, stems: list[dict[str, Any]]) -> None:
    """Write a MoisesDB track's description."""
    title = track.name.removeprefix(f"{track.artist} - ")
    genre = re.sub(r"[^a-z]+", "_", track.genre.lower())
    about = {"song": title, "artist": track.artist, "genre": genre, "stems": stems}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def _moises_parts(stem: str, signal: Audio) -> list[Audio]:
    """Split a stem into files that add up to it."""
    if stem == "bass" and signal.shape[0] == 2:
        middle = np.floor(signal.mean(axis=0, keepdims=True) * 32768.0) / np.float32(32768.0)
        return [middle, signal - middle]
    if stem == "guitar" and signal.shape[0] == 2:
        return [
            signal * np.array([[1], [0]], np.float32),
            signal * np.array([[0], [1]], np.float32),
        ]
    if stem == "piano":
        return [np.pad(signal, ((0, 0), (0, _LONGER)))]
    return [signal]


def _finest(track: Track) -> list[str]:
    """Return the stems that have no part among the track's stems."""
    parents = {node for stem in track.stems for node in taxonomy.ancestors(stem)}
    return taxonomy.in_order(set(track.stems) - parents)


def _uuid(track: Track, *parts: object) -> str:
    """Return an identifier that depends only on the track and the parts."""
    words = "/".join(map(str, (track.dataset, track.split, track.name, *parts)))
    return str(uuid.uuid5(uuid.NAMESPACE_OID, words))


def _mono16k(track: Track, stem: str, dataset: Dataset) -> Audio:
    """Read a stem, mixed down and resampled for MIR-1K, shape (1, samples)."""
    signal = read_sources(_sources(track, stem), dataset.sample_rate)
    mono = audio.to_channels(signal, 1, track.name)
    return audio.resample(mono, dataset.sample_rate, MIR1K_RATE)


def _sources(track: Track, stem: str) -> tuple[Source, ...]:
    """Return the sources of a stem."""
    parts = taxonomy.parts(stem, set(track.stems))
    assert parts is not None
    return tuple(source for part in parts for source in track.stems[part])


def _write(path: Path, sources: tuple[Source, ...], dataset: Dataset) -> None:
    """Write the sum of sources as a 16-bit file."""
    signal = read_sources(sources, dataset.sample_rate)
    audio.write(path, signal, dataset.sample_rate, subtype="PCM_16")


def _split(track: Track) -> str:
    """Return ``test`` or ``train``; what is neither is training material."""
    return "test" if track.split == "test" else "train"


LAYOUTS: dict[str, Callable[[Dataset, Path], None]] = {
    "musdb18hq": write_musdb18hq,
    "dsd100": write_dsd100,
    "moisesdb": write_moisesdb,
    "mir1k": write_mir1k,
    "folder": write_folder,
}
