"""`Source`, `Track`, `Dataset`: names and paths, never audio.

A stem is the **sum** of its sources, so a MUSDB18-HQ stem (one file), a MoisesDB stem (several
files, some mono) and a MIR-1K stem (one channel of a file) are one type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness import audio
from harness.audio import Audio
from harness.errors import HarnessError


@dataclass(frozen=True, order=True)
class Source:
    """One signal on disk.

    Attributes
    ----------
    path
        The file.
    channel
        Take only this channel, as mono; None takes all.
    stream
        Number of the stream in a ``.stem.mp4``; None for other files.
    """

    path: Path
    channel: int | None = None
    stream: int | None = None


@dataclass(frozen=True)
class Track:
    """A song with its true stems.

    Attributes
    ----------
    dataset, name, artist, genre, split
        As the dataset says; genre is "unknown" where it says nothing. (dataset, split, name) is
        unique.
    mixture
        Sources that sum to the mixture.
    stems
        Sources that sum to each stem, parents and children alike.
    bleed
        Stems whose recording holds other stems too.
    excluded
        Stems that exist in the song but cannot be scored, with the reason.
    notes
        Known errata, for the rows of this track.
    id
        The key of published per-track figures where it is not the name: the uuid in MoisesDB, the
        number in DSD100.
    """

    dataset: str
    name: str
    artist: str
    split: str
    mixture: tuple[Source, ...]
    stems: Mapping[str, tuple[Source, ...]]
    genre: str = "unknown"
    bleed: frozenset[str] = frozenset()
    excluded: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True)
class Dataset:
    """A collection of tracks, as found on disk.

    Attributes
    ----------
    name, version
        ``musdb18hq``; the version tells two releases or renderings apart.
    sample_rate
        In Hz, of every file.
    stems
        Stems that tracks of this dataset may have and that are scored, in display order.
    tracks
        Sorted by (split, name).
    problems
        What was found wrong with the folder, one line each; such tracks are left out or repaired
        as the line says.
    """

    name: str
    version: str
    sample_rate: int
    stems: tuple[str, ...]
    tracks: tuple[Track, ...]
    problems: tuple[str, ...] = ()


Loader = Callable[[Path], Dataset]


@dataclass(frozen=True)
class Excerpt:
    """The middle `seconds` of every track; None is the whole track."""

    seconds: float | None = None

    def window(self, n_samples: int, sample_rate: int) -> tuple[int, int]:
        """Return (first sample, number of samples) inside a track of `n_samples`."""
        if self.seconds is None:
            return 0, n_samples
        wanted = min(n_samples, round(self.seconds * sample_rate))
        return (n_samples - wanted) // 2, wanted


WHOLE = Excerpt()


def read_sources(
    sources: tuple[Source, ...], sample_rate: int, start: int = 0, frames: int = -1
) -> Audio:
    """Read and add up sources: mono ones go to every channel, all are trimmed to the shortest.

    Raises
    ------
    HarnessError
        If a file is unreadable, has another sample rate, or the channel counts do not fit.
    """
    if not sources:
        raise HarnessError("read_sources: no source given; a stem needs at least one file")
    total = _read_source(sources[0], sample_rate, start, frames)
    for source in sources[1:]:  # one at a time: a song may have dozens of files
        part = _read_source(source, sample_rate, start, frames)
        n_samples = min(total.shape[1], part.shape[1])
        channels = max(total.shape[0], part.shape[0])
        total = audio.to_channels(total, channels, str(source.path))[:, :n_samples]
        total = total + audio.to_channels(part, channels, str(source.path))[:, :n_samples]
    return total


def track_length(track: Track) -> int:
    """Return the samples that all files of a track have, from their headers.

    Mixture and stems are read separately; given this as `frames`, they are equally long even where
    files are not.

    Raises
    ------
    HarnessError
        If a header is unreadable.
    """
    sources = {*track.mixture, *(source for stem in track.stems.values() for source in stem)}
    files = sorted({(source.path, source.stream) for source in sources}, key=str)
    return min(_source_length(path, stream) for path, stream in files)


def _source_length(path: Path, stream: int | None) -> int:
    """Return the samples per channel of a file or a stream."""
    if stream is None:
        return audio.length(path)[0]
    from harness.datasets.musdb18 import stream_length

    return stream_length(path, stream)


def _read_source(source: Source, sample_rate: int, start: int, frames: int) -> Audio:
    """Read one source at the dataset's sample rate."""
    if source.stream is not None:
        from harness.datasets.musdb18 import read_stream

        signal, rate = read_stream(source.path, source.stream, start=start, frames=frames)
    else:
        signal, rate = audio.read(source.path, start=start, frames=frames)
    if rate != sample_rate:
        raise HarnessError(
            f"{source.path}: sample rate is {rate} Hz, the dataset has {sample_rate} Hz; "
            "resample the file"
        )
    if source.channel is None:
        return signal
    if source.channel >= signal.shape[0]:
        raise HarnessError(
            f"{source.path}: has {signal.shape[0]} channel(s), channel {source.channel} is needed; "
            "replace the file"
        )
    return signal[source.channel : source.channel + 1]
