"""A real song for the first run: six seconds that the Python package stempeg carries for its tests.

They are of a test song of MUSDB18 (The Easton Ellises, Falcon 69; CC BY-NC-SA 3.0) as AAC, which
ffmpeg decodes once, into the cache. Two things are changed:

* The file's own mixture differs from the sum of its stems, by -22 dB in the middle and by more than
  its own energy above 8 kHz, because each was coded on its own. The sum is the mixture here, so
  that a score is not bounded by the coder.
* All stems click at full scale where the excerpt was cut (at 0.05 s and 6.05 s). `CLEAN` is used.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from harness.core import audio
from harness.core.download import one_at_a_time
from harness.core.errors import HarnessError
from harness.core.files import cache_folder
from harness.core.taxonomy import in_order
from harness.datasets.musdb_songs import song_facts
from harness.datasets.scan import BACKING, FOUR_STEMS, Scan, collect, four_stems
from harness.datasets.stem_mp4 import STREAMS, SUFFIX, check_tools, read_stream
from harness.datasets.tracks import Dataset, Source, Track

NAME = "real_song"
SONG = "The Easton Ellises - Falcon 69"
CLEAN = (0.1, 6.0)  # seconds
RATE = 44100  # Hz
VERSION = "1"
NOTE = "the mixture is the sum of the stems; the published mixture differs from it by -22 dB (AAC)"


def obstacle() -> str:
    """Return why the song cannot be had here; empty if it can."""
    try:
        if not _stems_here(_default_folder() / SONG):
            _coded()
    except HarnessError as error:
        return str(error)
    return ""


def decoded(root: Path | None = None) -> Dataset:
    """Return the song; it is decoded into a folder, by default of the cache, unless it is there."""
    root = root or _default_folder()
    folder = root / SONG
    folder.mkdir(parents=True, exist_ok=True)
    with one_at_a_time(folder):
        if not _stems_here(folder):
            source, start = _coded(), round(CLEAN[0] * RATE)
            for stem in FOUR_STEMS:
                frames = round(CLEAN[1] * RATE) - start
                signal, rate = read_stream(source, STREAMS[stem], start=start, frames=frames)
                audio.write(folder / f"{stem}.wav", signal, rate)
    return real_song(root)


def planned(root: Path | None = None) -> Dataset:
    """Return what `decoded` would, without decoding: files that are missing do not exist."""
    root = root or _default_folder()
    if _stems_here(root / SONG):
        return real_song(root)
    stems: dict[str, tuple[Source, ...]]
    stems = {stem: (Source(root / SONG / f"{stem}.wav"),) for stem in FOUR_STEMS}
    stems["accompaniment"] = tuple(source for stem in BACKING for source in stems[stem])
    mixture = tuple(source for stem in FOUR_STEMS for source in stems[stem])
    artist, genre, _ = song_facts(SONG)
    song = Track(NAME, SONG, artist, "test", mixture, stems, genre=genre)
    return Dataset(NAME, VERSION, RATE, tuple(in_order(stems)), (song,))


def real_song(root: Path) -> Dataset:
    """Read what `decoded` wrote: ``<root>/<Artist - Title>/{vocals,drums,bass,other}.wav``."""
    scan = Scan(root)
    stems, excluded = four_stems(scan, root / SONG)
    mixture = tuple(source for stem in FOUR_STEMS for source in stems.get(stem, ()))
    artist, genre, errata = song_facts(SONG)
    notes = (NOTE, *errata)
    song = Track(NAME, SONG, artist, "test", mixture, stems, genre=genre, notes=notes)
    return collect(scan, NAME, [] if excluded else [song], version=VERSION, sample_rate=RATE)


def _default_folder() -> Path:
    return cache_folder() / f"{NAME}-{VERSION}"


def _stems_here(folder: Path) -> bool:
    return all((folder / f"{stem}.wav").is_file() for stem in FOUR_STEMS)


def _coded() -> Path:
    """Return the file in the package; refuse with advice if it, or what decodes it, is absent."""
    check_tools(Path(SONG + SUFFIX))
    spec = importlib.util.find_spec("stempeg")
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place) / "data" / (SONG + SUFFIX)
        if path.is_file():
            return path
    raise HarnessError(
        f"{NAME}: this version of stempeg has no {SONG}{SUFFIX}; install stempeg 0.2.6"
    )
