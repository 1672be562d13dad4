"""Training data: songs on disk or in memory, and the split by artist."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.datasets.tracks import Dataset, Source, Track, read_sources, track_length

REST = "rest"  # the input minus the stems that are learned; never a target
MEMORY = 6 << 30  # bytes of audio to keep; the rest is read from disk each time
PCM = 32768.0


@dataclass(frozen=True)
class TrainingSong:
    """A track with its length; excerpts are resampled to the network's rate."""

    track: Track
    sample_rate: int
    n_samples: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


def usable_songs(
    datasets: Sequence[Dataset], stems: Sequence[str], input_stem: str = "mixture"
) -> list[TrainingSong]:
    """Return the tracks that are fit for training these stems, in a fixed order.

    Tracks without the input are left out, and tracks whose stems contain other stems (bleed) or
    cannot be scored, because they would teach errors. A stem that a track lacks is silence.
    """
    for dataset in datasets:
        needed = stems if input_stem == "mixture" else (*stems, input_stem)
        if lacking := [stem for stem in needed if stem not in dataset.stems]:
            raise HarnessError(
                f"{dataset.name}: has no {lacking[0]}, which the network needs; its stems are "
                f"{', '.join(dataset.stems)}, leave the dataset out or train another network"
            )
    wanted = set(stems)
    songs = [
        TrainingSong(track, dataset.sample_rate, track_length(track))
        for dataset in datasets
        for track in dataset.tracks
        if not wanted & (track.bleed | set(track.excluded))
        and wanted & set(track.stems)
        and _whole(track, input_stem)
    ]
    if not songs:
        raise HarnessError("train: no track is left for training; name a dataset with --dataset")
    return songs


def split_by_artist(
    songs: Sequence[TrainingSong], share: float, most: int
) -> tuple[list[TrainingSong], list[TrainingSong]]:
    """Return (training, validation) songs; no artist is in both.

    Artists are ordered by a hash of their names, so that the order does not depend on the set of
    tracks. Whole artists go to validation until it has `share` of the tracks, or `most` tracks. An
    artist with more than half of the tracks does not. A track without a known artist counts as an
    artist of its own.
    """
    by_artist: dict[str, list[TrainingSong]] = {}
    for song in songs:
        by_artist.setdefault(song.track.artist or song.track.name, []).append(song)
    if len(by_artist) < 2:
        raise HarnessError(
            "train: all tracks are of one artist, validation needs another; add tracks"
        )
    order = sorted(by_artist, key=lambda name: hashlib.sha256(name.encode()).digest())
    wanted = min(max(1, round(share * len(songs))), most)
    held: list[TrainingSong] = []
    few = [name for name in order if 2 * len(by_artist[name]) <= len(songs)]
    for artist in few[: len(order) - 1]:
        if len(held) >= wanted:
            break
        held += by_artist[artist]
    kept = {id(song) for song in held}
    return [song for song in songs if id(song) not in kept], held[:most]


def covers(stems: Sequence[str], input_stem: str = "mixture") -> bool:
    """Whether these stems sum to the input.

    Examples
    --------
    >>> covers(["vocals", "drums", "bass", "other"]), covers(["vocals"])
    (True, False)
    >>> covers(["lead", "background"], "vocals")
    True
    """

    def covered(node: str) -> bool:
        children = taxonomy.TREE.get(node, ())
        return node in stems or (bool(children) and all(map(covered, children)))

    return covered(input_stem)


def _whole(track: Track, input_stem: str) -> tuple[Source, ...]:
    """Return the sources that sum to the input; empty if a track lacks it."""
    return track.mixture if input_stem == "mixture" else track.stems.get(input_stem, ())


class Material:
    """Cuts excerpts out of songs; keeps whole stems in memory while there is room.

    Samples are kept exactly (16-bit ones as such, all others as float32), so that results do not
    depend on the memory. Threads may cut at the same time.
    """

    def __init__(
        self,
        songs: Sequence[TrainingSong],
        stems: Sequence[str],
        input_stem: str = "mixture",
        *,
        memory: int = MEMORY,
    ) -> None:
        self.songs = tuple(songs)
        self.stems = tuple(stems)
        self.input_stem = input_stem
        # The stems that are learned, then REST if they do not sum to the input.
        self.parts = self.stems if covers(stems, input_stem) else (*self.stems, REST)
        self._room = memory
        self._kept: dict[tuple[int, str], npt.NDArray[np.generic] | None] = {}
        self._lock = threading.Lock()

    def cut(self, song: int, part: str, start: int, frames: int) -> Audio | None:
        """Return an excerpt at the song's own rate and channels; None for a stem that it lacks.

        Shape (channels, at most `frames`): shorter at the end of the song.
        """
        key = (song, part)
        if key not in self._kept and self._room > 0:
            self._keep(key, self._read(song, part, 0, self.songs[song].n_samples))
        if key not in self._kept:
            frames = min(frames, self.songs[song].n_samples - start)
            return self._read(song, part, start, frames)
        if (whole := self._kept[key]) is None:
            return None
        cut = whole[:, start : start + frames].astype(np.float32)
        return cut / np.float32(PCM) if whole.dtype == np.int16 else cut

    def excerpt(
        self, song: int, part: str, start: int, frames: int, form: tuple[int, int, float]
    ) -> Audio:
        """Return an excerpt in the form of the network, shape (channels, frames).

        The start is in samples of the song. The form is channels, sample rate in Hz and speed
        (above 1 is faster and higher).
        """
        channels, sample_rate, speed = form
        ratio = self.songs[song].sample_rate * speed / sample_rate
        found = self.cut(song, part, start, source_frames(frames, ratio))
        out = np.zeros((channels, frames), np.float32)
        if found is not None:
            where = self.songs[song].track.name
            if ratio != 1 and found.shape[1]:
                found = soxr.resample(found.T, ratio, 1.0, quality="HQ").T.astype(np.float32)
            signal = audio.to_channels(found, channels, where)[:, :frames]
            out[:, : signal.shape[1]] = signal
        return out

    def _keep(self, key: tuple[int, str], signal: Audio | None) -> None:
        """Keep a whole stem in memory if there is room."""
        compact = None if signal is None else _compact(signal)
        size = 0 if compact is None else compact.nbytes
        with self._lock:
            if key not in self._kept and size <= self._room:
                self._kept[key] = compact
                self._room -= size
            elif key not in self._kept:
                self._room = 0

    def _read(self, song: int, part: str, start: int, frames: int) -> Audio | None:
        """Read a stem, or the input minus the stems, from disk."""
        track, rate = self.songs[song].track, self.songs[song].sample_rate
        if part != REST:
            sources = track.stems.get(part)
            return read_sources(sources, rate, start, frames) if sources else None
        rest = read_sources(_whole(track, self.input_stem), rate, start, frames)
        for stem in self.stems:
            if sources := track.stems.get(stem):
                signal = read_sources(sources, rate, start, frames)
                rest = rest - audio.to_channels(signal, rest.shape[0], track.name)
        return rest


def source_frames(frames: int, ratio: float) -> int:
    """Return how many samples of a song become `frames` samples, `ratio` times fewer."""
    return frames if ratio == 1 else int(np.ceil(frames * ratio)) + 1


def _compact(signal: Audio) -> npt.NDArray[np.generic]:
    """Return 16-bit samples if they represent the signal exactly, otherwise the signal."""
    scaled = signal * np.float32(PCM)
    rounded = np.clip(np.rint(scaled), -PCM, PCM - 1)
    return rounded.astype(np.int16) if np.array_equal(rounded, scaled) else signal
