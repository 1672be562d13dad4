"""Two separators, or folders of estimates, on the same songs: how they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.machine import Progress
from harness.datasets.tracks import Dataset, Excerpt, Track, read_sources, track_length
from harness.metrics import Difference, differences
from harness.registry import Entry, find
from harness.separators import Oracle, Separator, load, obstacle
from harness.separators.from_disk import SUFFIXES, find_files
from harness.separators.protocol import run
from harness.songs.choosing import FOUR
from harness.songs.finding import decoded, find_songs


@dataclass(frozen=True)
class ComparedSong:
    """What two sides gave for one song."""

    song: str
    stems: Mapping[str, Difference]
    missing: Mapping[str, str] = field(default_factory=dict)  # stem → the side that lacks it


@dataclass(frozen=True)
class Song:
    """A song that separators can be run on."""

    names: tuple[str, ...]  # the first for people, any of them for its estimates in folders
    split: str
    read: Callable[[str], tuple[Audio, int, int]]  # input → signal, Hz, first sample of the excerpt


def songs_of(datasets: Sequence[Dataset], excerpt: Excerpt) -> list[Song]:
    """Return the tracks of datasets as songs."""
    return [
        Song(
            tuple(filter(None, (track.name, track.id))),
            track.split,
            partial(_read_track, track, dataset.sample_rate, excerpt),
        )
        for dataset in datasets
        for track in dataset.tracks
    ]


def songs_at(paths: Sequence[Path], excerpt: Excerpt, scratch: Path) -> list[Song]:
    """Return audio files, and those in folders, as songs; `scratch` is for decoded copies."""
    return [
        Song((path.stem,), "", partial(_read_file, path, excerpt, scratch))
        for path in find_songs(paths, scratch)
    ]


def _read_track(
    track: Track, sample_rate: int, excerpt: Excerpt, stem: str
) -> tuple[Audio, int, int]:
    """Read the mixture, or a true stem for separators of one."""
    if stem != "mixture" and stem not in track.stems:
        raise HarnessError(f"{track.name}: has no {stem} to separate; choose another song")
    start, frames = excerpt.window(track_length(track), sample_rate)
    sources = track.mixture if stem == "mixture" else track.stems[stem]
    return read_sources(sources, sample_rate, start, frames), sample_rate, start


def _read_file(path: Path, excerpt: Excerpt, scratch: Path, stem: str) -> tuple[Audio, int, int]:
    """Read a file of the user; a separator of one stem gets it as that stem."""
    with decoded(path, scratch) as readable:
        start, frames = excerpt.window(*audio.length(readable))
        signal, rate = audio.read(readable, start=start, frames=frames)
    return signal, rate, start


def side_of(name: str, entries: Mapping[str, Entry]) -> Entry | Path:
    """Return the separator of a name, or a folder of estimates."""
    if name not in entries and Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    entry = find(entries, name)
    if reason := obstacle(entry):
        raise HarnessError(f"{name}: {reason}")
    if entry.role == "oracle":
        raise HarnessError(f"{name}: is an oracle; name separators or folders of estimates")
    return entry


def compare_sides(
    a: Entry | Path,
    b: Entry | Path,
    songs: Sequence[Song],
    *,
    stems: Sequence[str] = (),
    device: str = "cpu",
    progress: Progress | None = None,
) -> Iterator[ComparedSong]:
    """Yield how the estimates of B differ from those of A, song by song.

    `stems` are those to compare, by default all of either. Without songs, both must be folders:
    files of equal relative path, apart from the suffix, are then compared.
    """
    if not songs:
        yield from _compare_folders(a, b, stems, progress)
        return
    every = [name for song in songs for name in song.names]
    known = [side.stems for side in (a, b) if isinstance(side, Entry) and side.stems]
    asked = tuple(stems) or next(iter(known), FOUR)  # of a separator that returns any stem
    sides = [_Side(side, device, every, asked) for side in (a, b)]
    names = [side.name if isinstance(side, Entry) else str(side) for side in (a, b)]
    for i, song in enumerate(songs):
        given = []
        for j, side in enumerate(sides):
            found, rate = side.estimates(song)
            given.append(found)
            if progress:
                progress(2 * i + j + 1, 2 * len(songs))
        yield _compared(song.names[0], given, names, rate, stems)


def _compared(
    song: str,
    given: Sequence[Mapping[str, Audio]],
    names: Sequence[str],
    rate: int,
    stems: Sequence[str],
) -> ComparedSong:
    """Compare the estimates of a song."""
    wanted = [*stems] or taxonomy.in_order({*given[0], *given[1]})
    missing = {s: names[i] for s in wanted for i in (1, 0) if s not in given[i]}
    both = [stem for stem in wanted if stem not in missing]
    if not both:
        have = "; ".join(
            f"{name}: {', '.join(found) or 'none'}"
            for name, found in zip(names, given, strict=True)
        )
        raise HarnessError(f"{song}: there is no stem to compare ({have}); choose others")
    found = differences(given[0], {stem: given[1][stem] for stem in both}, rate)
    return ComparedSong(song, {stem: found[stem] for stem in both}, missing)


class _Side:
    """A separator, or a folder with its estimates."""

    def __init__(
        self, what: Entry | Path, device: str, songs: Sequence[str], asked: tuple[str, ...]
    ) -> None:
        self.what, self.songs = what, songs

        @lru_cache(maxsize=2)  # sample rates
        def loaded(rate: int) -> Separator | Oracle:
            assert isinstance(what, Entry)
            return load(what, stems=asked, sample_rate=rate, device=device)

        self._loaded = loaded

    def estimates(self, song: Song) -> tuple[dict[str, Audio], int]:
        """Return {stem: estimate} of a song, each of its shape, and the sample rate."""
        if isinstance(self.what, Path):
            return self._read(self.what, song)
        signal, rate, _ = song.read(self.what.input)
        with _other_code(self.what.name):
            return run(self._loaded(rate), self.what, signal, rate)[0], rate

    def _read(self, folder: Path, song: Song) -> tuple[dict[str, Audio], int]:
        signal, rate, start = song.read("mixture")
        files, _ = find_files(folder, song.names, song.split, taxonomy.STEMS, self.songs)
        if not files:
            raise HarnessError(
                f"{folder}: has no estimate of {song.names[0]}; see 'harness score --help'"
            )
        found = {}
        for stem, path in files.items():
            total, own = audio.length(path)
            if own != rate:
                raise HarnessError(f"{path}: has {own} Hz, the song {rate} Hz; resample it")
            whole = total <= signal.shape[1] + audio.MAX_LENGTH_ERROR * rate
            estimate, _ = (
                audio.read(path) if whole else audio.read(path, start=start, frames=signal.shape[1])
            )
            estimate = audio.to_channels(estimate, len(signal), str(path))
            found[stem] = audio.fit_length(estimate, signal.shape[1], rate, str(path))[0]
        return found, rate


@contextmanager
def _other_code(name: str) -> Iterator[None]:
    """Turn an error of other people's code into one of ours."""
    try:
        yield
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # third-party code may call sys.exit
        text = " ".join(str(error).split())
        raise HarnessError(
            f"{name}: failed ({type(error).__name__}: {text}); correct it first"
        ) from error


def _compare_folders(
    a: Entry | Path, b: Entry | Path, stems: Sequence[str], progress: Progress | None
) -> Iterator[ComparedSong]:
    """Compare the files of two folders that have the same relative path."""
    if isinstance(a, Entry) or isinstance(b, Entry):
        raise HarnessError("parity: no song given; name songs, or a dataset with --data")
    files = [_files(folder) for folder in (a, b)]
    songs: dict[Path, list[Path]] = {}
    for path in sorted({*files[0], *files[1]}):
        known = taxonomy.canonical(path.name) in taxonomy.STEMS
        songs.setdefault(path.parent if known else path, []).append(path)
    if not songs:
        raise HarnessError(f"{a}: contains no audio file; name a folder of estimates")
    for i, (song, paths) in enumerate(songs.items()):
        given: tuple[dict[str, Audio], dict[str, Audio]] = ({}, {})
        rates = set()
        for found, side in zip(given, files, strict=True):
            for path in (path for path in paths if path in side):
                found[path.name], rate = audio.read(side[path])
                rates.add((rate, found[path.name].shape))
        if len(rates) > 1:
            raise HarnessError(
                f"{song}: files have different rates or shapes {sorted(rates)}; give both the same"
            )
        wanted = [p.name for p in paths if not stems or taxonomy.canonical(p.name) in stems]
        if wanted:
            name = "." if song == Path() else str(song)
            yield _compared(name, given, [str(a), str(b)], rates.pop()[0], wanted)
        if progress:
            progress(i + 1, len(songs))


def _files(folder: Path) -> dict[Path, Path]:
    """Return {relative path without the suffix: audio file} of a folder."""
    return {
        path.relative_to(folder).with_suffix(""): path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    }
