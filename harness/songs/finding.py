"""Songs to separate: finding the audio files, and decoding those that libsndfile cannot read."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core import audio
from harness.core.errors import HarnessError
from harness.core.files import safe_name

READ = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".aif", ".aiff")
DECODED = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka")  # by ffmpeg
CONTAINERS = "mov,mp4,m4a,aac,asf,matroska,webm,ogg,mp3,wav,flac,aiff"  # playlists are not read


def find_songs(paths: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return {audio file: name of its folder in `out`}; two songs never share a folder."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise HarnessError(f"{path}: no such file or folder; check the path")
        songs = (
            [p for p in sorted(path.rglob("*")) if _is_song(p, out)] if path.is_dir() else [path]
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


def _safe(where: Path) -> str:
    """Return a relative path made of safe names."""
    return "/".join(map(safe_name, where.parts))


def _is_song(path: Path, out: Path) -> bool:
    """Whether a file found in a folder is a song: audio, not hidden, not an output of ours."""
    return (
        path.suffix.lower() in READ + DECODED
        and not path.name.startswith(".")
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
