"""Songs to separate: finding the audio files, and decoding those that libsndfile cannot read."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core import audio, taxonomy
from harness.core.errors import HarnessError
from harness.core.files import safe_name

READ = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff")
DECODED = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka")  # by ffmpeg
CONTAINERS = "mov,mp4,m4a,aac,asf,matroska,webm,ogg,mp3,wav,flac,aiff"  # playlists are not read
RESIDUAL = "residual"  # the song minus its stems, as a file beside them
MIXTURES = ("mixture", "mix")  # names of songs beside their stems


def find_songs(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return {audio file: name of its folder in `out`}; two songs never share a folder.

    In a folder, hidden files and folders are not searched, and `left_out` are no songs.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise HarnessError(f"{path}: no such file or folder; check the path")
        songs, stems = _search(path, out) if path.is_dir() else ([path], [])
        if not songs and stems:
            raise HarnessError(
                f"{path}: contains stems only, such as {stems[0]}; name that file, or its folder, "
                "to separate them further"
            )
        if not songs:
            raise HarnessError(f"{path}: contains no audio file; name one that does")
        found |= {song: song.relative_to(path if path.is_dir() else path.parent) for song in songs}
    short = {song: _safe(where.with_suffix("")) for song, where in found.items()}
    taken = Counter(short.values())
    names = {
        song: _safe(where) if taken[short[song]] > 1 else short[song]
        for song, where in found.items()
    }
    taken = Counter(names.values())
    if twice := [song for song, name in names.items() if taken[name] > 1]:
        raise HarnessError(
            f"{twice[0]}: another song has the name {names[twice[0]]!r} too; use another "
            "folder for it (-o)"
        )
    return names


def left_out(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return the folders in which stems were found, which are no songs, and a note on each.

    Stems are audio files in a folder that holds nothing but stems, or these and their mixture, as
    this and other programs write them. In a folder that is named itself, every file is a song.
    """
    found = {path: _search(path, out)[1] for path in paths if path.is_dir()}
    return {
        path: f"{len(stems)} files are stems, such as {stems[0]}, and are not separated; name "
        "their folder to separate them further"
        for path, stems in found.items()
        if stems
    }


def _search(folder: Path, out: Path) -> tuple[list[Path], list[Path]]:
    """Return the songs in a folder, and the files that are stems of songs."""
    by_folder: dict[Path, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if _is_song(path, folder, out):
            by_folder.setdefault(path.parent, []).append(path)
    stems = {s for place, files in by_folder.items() if place != folder for s in _stems(files)}
    every = [path for files in by_folder.values() for path in files]
    return sorted(p for p in every if p not in stems), sorted(stems)


def _stems(files: Sequence[Path]) -> list[Path]:
    """Return the files of a folder that are stems, if they all are, but for mixtures."""
    names = {*taxonomy.STEMS, RESIDUAL}
    others = [path for path in files if path.stem.lower() not in MIXTURES]
    if all(path.stem in names and path.suffix in (".wav", ".flac") for path in others):
        return others
    known = all(taxonomy.canonical(path.stem) in names for path in others)
    return others if known and len(files) > 1 else []


def _safe(where: Path) -> str:
    """Return a relative path made of safe names."""
    return "/".join(map(safe_name, where.parts))


def _is_song(path: Path, folder: Path, out: Path) -> bool:
    """Whether a file found in a folder is audio, not hidden, and not below the output folder."""
    return (
        path.suffix.lower() in READ + DECODED
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
        and not path.resolve().is_relative_to(out.resolve())
    )


@contextmanager
def decoded(song: Path, folder: Path) -> Iterator[Path]:
    """Yield a file that libsndfile can read: the song, or a WAV file that ffmpeg makes of it."""
    if seconds_of(song) or song.suffix.lower() in READ[:3]:
        yield song
        return
    if shutil.which("ffmpeg") is None:
        raise HarnessError(f"{song}: cannot be read; install ffmpeg, or convert it to WAV")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".decoding-") as room:
        wav = Path(room) / "song.wav"
        options = ["-nostdin", "-v", "error", "-protocol_whitelist", "file"]
        options += ["-format_whitelist", CONTAINERS, "-i", f"file:{song}", "-map", "0:a:0"]
        command = ["ffmpeg", *options, "-c:a", "pcm_f32le", "-rf64", "auto", f"file:{wav}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wav.is_file():
            reason = " ".join(done.stderr.split())[-200:]
            raise HarnessError(f"{song}: cannot be read as audio ({reason}); replace the file")
        yield wav


def seconds_of(song: Path) -> float:
    """Return the length of a song in seconds; 0 if it cannot be read."""
    with suppress(HarnessError):
        samples, rate = audio.length(song)
        return samples / rate
    return 0.0
