"""`Source`, `Track`, `Dataset`: names and paths, never audio.

A stem is the **sum** of its sources, so a MUSDB18-HQ stem (one file), a MoisesDB stem (several
files, some mono) and a MIR-1K stem (one channel of a file) are one type.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.core import audio
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.datasets.stem_mp4 import read_stream, stream_length


@dataclass(frozen=True, order=True)
class Source:
    """One signal on disk."""

    path: Path
    channel: int | None = None  # only this channel, as mono; None is all
    stream: int | None = None  # number of the stream in a .stem.mp4; None for other files


Sources = tuple[Source, ...]


@dataclass(frozen=True)
class Track:
    """A song with its true stems; (dataset, split, name) is unique."""

    dataset: str
    name: str
    artist: str
    split: str
    mixture: Sources  # they sum to the mixture
    stems: Mapping[str, Sources]  # they sum to each stem, parents and children alike
    genre: str = "unknown"
    bleed: frozenset[str] = frozenset()  # stems with other stems audible in the recording
    excluded: Mapping[str, str] = field(default_factory=dict)  # stem that cannot be scored → reason
    notes: tuple[str, ...] = ()  # known errata, for the rows of this track
    id: str = ""  # key of published scores if not the name: uuid in MoisesDB, number in DSD100


@dataclass(frozen=True, order=True)
class Omission:
    """What a run lacks although the user would expect it, and why."""

    reason: str
    name: str  # of the track or separator
    dataset: str = ""  # empty: all of them
    split: str = ""  # empty: not known
    detail: str = ""  # of this name alone; those with the same reason are said together
    what: str = "track left out"  # or "file left out", "track scored in part", …


@dataclass(frozen=True)
class Dataset:
    """A collection of tracks, as found on disk."""

    name: str  # such as "musdb18hq"
    version: str  # distinguishes two releases or renderings
    sample_rate: int  # in Hz, of every file
    stems: tuple[str, ...]  # all scored stems of its tracks, in display order
    tracks: tuple[Track, ...]  # sorted by (split, name)
    problems: tuple[str, ...] = ()  # faults of the folder, one line each; it says what was done
    omitted: tuple[Omission, ...] = ()  # tracks that are there but not used, or only in part


@dataclass(frozen=True)
class Excerpt:
    """The middle `seconds` of every track; None is the whole track."""

    seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse a length that is no number, infinite or not positive."""
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise HarnessError(
                f"--seconds {self.seconds}: is no length of an excerpt; give a number of seconds, "
                "or leave --seconds out for whole tracks"
            )

    def window(self, n_samples: int, sample_rate: int) -> tuple[int, int]:
        """Return (first sample, number of samples) inside a track of `n_samples`."""
        if self.seconds is None:
            return 0, n_samples
        wanted = round(min(n_samples, self.seconds * sample_rate))
        return (n_samples - wanted) // 2, wanted


WHOLE = Excerpt()


def read_sources(sources: Sources, sample_rate: int, start: int = 0, frames: int = -1) -> Audio:
    """Read and sum sources: mono ones go to every channel, all are trimmed to the shortest.

    A file that is unreadable, has another sample rate or does not fit in its channels is refused.
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
    """Return the number of samples that all files of a track have, see `audio.length`.

    Mixture and stems are read separately. With this number as `frames`, they are equally long even
    if the files are not.
    """
    return min(_lengths(track).values())


def cut_short(track: Track, sample_rate: int) -> tuple[str, float, float] | None:
    """Return the file that ends first, its length and that of the longest one, in seconds.

    None: they differ by at most 100 ms.
    """
    lengths = _lengths(track)
    (path, stream), least = min(lengths.items(), key=lambda item: item[1])
    have, whole = least / sample_rate, max(lengths.values()) / sample_rate
    if whole - have <= audio.MAX_LENGTH_ERROR:
        return None
    return path.name if stream is None else f"stream {stream} of {path.name}", have, whole


def _lengths(track: Track) -> dict[tuple[Path, int | None], int]:
    """Return the samples per channel of every file of a track."""
    sources = {*track.mixture, *(source for stem in track.stems.values() for source in stem)}
    files = sorted({(source.path, source.stream) for source in sources}, key=str)
    return {
        (path, stream): audio.length(path)[0] if stream is None else stream_length(path, stream)
        for path, stream in files
    }


def _read_source(source: Source, sample_rate: int, start: int, frames: int) -> Audio:
    """Read one source at the dataset's sample rate."""
    if source.stream is not None:
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
