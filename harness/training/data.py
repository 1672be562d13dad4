"""What is learned from: songs on disk or in memory, and the split by artist."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import soxr

from harness import audio, taxonomy
from harness.audio import Audio
from harness.datasets.tracks import Dataset, Source, Track, read_sources, track_length
from harness.errors import HarnessError

REST = "rest"  # what the input holds beside the stems that are learned; never a target
MEMORY = 6 << 30  # bytes of audio kept; what does not fit is read from disk each time
PCM = 32768.0


@dataclass(frozen=True)
class Song:
    """A track with its length; one of another sample rate is resampled as it is cut."""

    track: Track
    sample_rate: int
    n_samples: int

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return self.n_samples / self.sample_rate


def usable_songs(
    datasets: Sequence[Dataset], stems: Sequence[str], input_stem: str = "mixture"
) -> list[Song]:
    """Return the tracks that can teach these stems, in a fixed order.

    A track whose stems hold others too (bleed), or cannot be scored, teaches something wrong and is
    left out, and so is one without the input. A stem that a track lacks is silence.

    Raises
    ------
    HarnessError
        If a dataset never has one of the stems, or no track is left.
    """
    for dataset in datasets:
        needed = stems if input_stem == "mixture" else (*stems, input_stem)
        if lacking := [stem for stem in needed if stem not in dataset.stems]:
            raise HarnessError(
                f"{dataset.name}: has no {lacking[0]}, which the network is to learn; "
                f"its stems are {', '.join(dataset.stems)}, leave it out or train another network"
            )
    wanted = set(stems)
    songs = [
        Song(track, dataset.sample_rate, track_length(track))
        for dataset in datasets
        for track in dataset.tracks
        if not wanted & (track.bleed | set(track.excluded))
        and wanted & set(track.stems)
        and _whole(track, input_stem)
    ]
    if not songs:
        raise HarnessError("train: no track is left to learn from; name a dataset with --dataset")
    return songs


def split_by_artist(
    songs: Sequence[Song], share: float, most: int
) -> tuple[list[Song], list[Song]]:
    """Take whole artists away for validation.

    The order of artists is that of a hash of their names, so that it does not depend on which
    tracks are there; artists are taken until `share` of the tracks, or `most`, is reached.

    Returns
    -------
    training, validation
        No artist is in both; a track without an artist is an artist of its own.

    Raises
    ------
    HarnessError
        If all tracks are of one artist.
    """
    by_artist: dict[str, list[Song]] = {}
    for song in songs:
        by_artist.setdefault(song.track.artist or song.track.name, []).append(song)
    if len(by_artist) < 2:
        raise HarnessError(
            "train: all tracks are of one artist, validation needs another; give more tracks"
        )
    order = sorted(by_artist, key=lambda name: hashlib.sha256(name.encode()).digest())
    wanted = min(max(1, round(share * len(songs))), most)
    held: list[Song] = []
    for artist in order[:-1]:
        if len(held) >= wanted:
            break
        held += by_artist[artist]
    kept = {id(song) for song in held}
    return [song for song in songs if id(song) not in kept], held[:most]


def covers(stems: Sequence[str], input_stem: str = "mixture") -> bool:
    """Whether these stems sum to the input, by the tree of stems.

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
    """Return the sources that sum to the input; none where a track lacks it."""
    return track.mixture if input_stem == "mixture" else track.stems.get(input_stem, ())


class Material:
    """Cuts excerpts out of songs; keeps whole stems in memory while there is room.

    What is kept is exact (16-bit samples as such, all else as float32), so the numbers do not
    depend on the room. Threads may cut at the same time.

    Attributes
    ----------
    songs
        What to cut from.
    parts
        The stems that are learned, then `REST` where they do not make up the input.
    input_stem
        What is taken apart: the mixture, or a stem.
    """

    def __init__(
        self,
        songs: Sequence[Song],
        stems: Sequence[str],
        input_stem: str = "mixture",
        *,
        memory: int = MEMORY,
    ) -> None:
        self.songs = tuple(songs)
        self.stems = tuple(stems)
        self.input_stem = input_stem
        self.parts = self.stems if covers(stems, input_stem) else (*self.stems, REST)
        self._room = memory
        self._kept: dict[tuple[int, str], npt.NDArray[np.generic] | None] = {}
        self._lock = threading.Lock()

    def cut(self, song: int, part: str, start: int, frames: int) -> Audio | None:
        """Return an excerpt at the song's own rate and channels; None for a stem it lacks.

        Shape (channels, at most `frames`): less where the song ends.
        """
        key = (song, part)
        if key not in self._kept and self._room > 0:
            self._keep(key, self._read(song, part, 0, self.songs[song].n_samples))
        if key not in self._kept:
            frames = min(frames, self.songs[song].n_samples - start)
            return self._read(song, part, start, frames)
        whole = self._kept[key]
        return None if whole is None else _as_float(whole[:, start : start + frames])

    def excerpt(
        self, song: int, part: str, start: int, frames: int, form: tuple[int, int, float]
    ) -> Audio:
        """Return an excerpt as the network wants it, shape (channels, frames).

        Parameters
        ----------
        start
            In samples of the song.
        form
            Channels, sample rate in Hz, and speed (above 1 is faster and higher).
        """
        channels, sample_rate, speed = form
        ratio = self.songs[song].sample_rate * speed / sample_rate
        found = self.cut(song, part, start, source_frames(frames, ratio))
        out = np.zeros((channels, frames), np.float32)
        if found is not None:
            where = self.songs[song].track.name
            signal = audio.to_channels(_change_rate(found, ratio), channels, where)[:, :frames]
            out[:, : signal.shape[1]] = signal
        return out

    def _keep(self, key: tuple[int, str], signal: Audio | None) -> None:
        """Remember a whole stem if there is room."""
        compact = None if signal is None else _compact(signal)
        size = 0 if compact is None else compact.nbytes
        with self._lock:
            if key not in self._kept and size <= self._room:
                self._kept[key] = compact
                self._room -= size
            elif key not in self._kept:
                self._room = 0

    def _read(self, song: int, part: str, start: int, frames: int) -> Audio | None:
        """Read a stem, or what the input holds beside the stems, from disk."""
        track, rate = self.songs[song].track, self.songs[song].sample_rate
        if part != REST:
            return _read_if_any(track.stems.get(part, ()), rate, start, frames)
        rest = read_sources(_whole(track, self.input_stem), rate, start, frames)
        for stem in self.stems:
            signal = _read_if_any(track.stems.get(stem, ()), rate, start, frames)
            if signal is not None:
                rest = rest - audio.to_channels(signal, rest.shape[0], track.name)
        return rest


def source_frames(frames: int, ratio: float) -> int:
    """Return how many samples at the song's rate make `frames` samples, `ratio` times fewer."""
    return frames if ratio == 1 else int(np.ceil(frames * ratio)) + 1


def _read_if_any(
    sources: tuple[Source, ...], sample_rate: int, start: int, frames: int
) -> Audio | None:
    """Read a stem; None where the track has none."""
    return read_sources(sources, sample_rate, start, frames) if sources else None


def _change_rate(signal: Audio, ratio: float) -> Audio:
    """Resample so that there are `ratio` times fewer samples."""
    if ratio == 1 or signal.shape[1] == 0:
        return signal
    out = soxr.resample(signal.T, ratio, 1.0, quality="HQ")
    return np.asarray(out.T, dtype=np.float32)


def _compact(signal: Audio) -> npt.NDArray[np.generic]:
    """Return 16-bit samples if they hold the signal exactly, else the signal."""
    scaled = signal * np.float32(PCM)
    rounded = np.clip(np.rint(scaled), -PCM, PCM - 1)
    return rounded.astype(np.int16) if np.array_equal(rounded, scaled) else signal


def _as_float(samples: npt.NDArray[np.generic]) -> Audio:
    """Return float32 samples of full scale ±1."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(PCM)
    return samples.astype(np.float32)
