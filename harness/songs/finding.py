"""Songs to separate: finding the audio files, and decoding those that libsndfile cannot read."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.core import audio
from harness.core.decoding import UnknownFormatError
from harness.core.errors import HarnessError
from harness.core.files import safe_name

READ = (
    ".wav", ".wave", ".rf64", ".w64", ".flac", ".mp3", ".ogg", ".oga", ".opus",
    ".aif", ".aiff", ".aifc", ".caf", ".au", ".snd",
)  # fmt: skip
DECODED = (
    ".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".ac3", ".wma", ".webm", ".mka", ".mkv",
    ".mp2", ".wv", ".ape", ".tta", ".dsf",
)  # by ffmpeg  # fmt: skip
# what ffmpeg may take a file for, which is never a playlist
CONTAINERS = "mov,mp4,m4a,aac,ac3,asf,matroska,webm,ogg,mp3,wav,w64,flac,aiff,caf,au,wv,ape,tta,dsf"
ESTIMATED = ("aac", "ac3", "mp3")  # formats whose length ffmpeg estimates from the size
_ASKED = (
    "-select_streams", "a:0", "-of", "json",
    "-show_entries", "stream=duration:format=format_name,duration,nb_streams",
)  # fmt: skip


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
    try:
        audio.length(song)
    except UnknownFormatError as error:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".decoding-") as room:
            wav = Path(room) / "song.wav"
            _decode(song, wav, error.reason)
            yield wav
    else:
        yield song


def _decode(song: Path, wav: Path, why: str) -> None:
    """Let ffmpeg decode all of a song; refuse one with faults, or of another length than it says.

    ffmpeg replaces what it cannot decode by silence, and takes the end of a cut file for its end.
    """
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        raise HarnessError(f"{song}: cannot be read; install ffmpeg, or convert it to WAV")
    safe = ["-protocol_whitelist", "file", "-format_whitelist", CONTAINERS]
    source, target = ["-i", f"file:{song}"], ["-c:a", "pcm_f32le", "-rf64", "auto", f"file:{wav}"]
    options = ["-nostdin", "-v", "error", "-xerror", *safe, *source, "-map", "0:a:0"]
    done = _run(["ffmpeg", *options, *target])
    reason = " ".join(done.stderr.split())[-200:]
    if done.returncode or reason or not wav.is_file():
        raise _unreadable(song, why, reason or "no audio")
    expected = _duration(_run(["ffprobe", "-v", "error", *safe, *_ASKED, *source]).stdout)
    samples, rate = audio.length(wav)
    if expected and abs(samples / rate - expected) > audio.MAX_LENGTH_ERROR:
        lengths = f"{samples / rate:.2f} s can be decoded, its header says {expected:.2f} s"
        raise HarnessError(f"{song}: truncated or damaged, {lengths}; replace it")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it wrote."""
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)


def _duration(probed: str) -> float:
    """Return how long a file says its first audio stream is, in seconds; 0 if it does not."""
    try:
        found = json.loads(probed)
        (stream,), file = found["streams"], found["format"]
        if file["format_name"] in ESTIMATED:
            return 0.0
        alone = file.get("duration", 0) if file["nb_streams"] == 1 else 0
        return float(stream.get("duration") or alone)
    except (ValueError, KeyError, TypeError):
        return 0.0


def _unreadable(song: Path, why: str, reason: str) -> HarnessError:
    """Return an error with what both decoders say."""
    return HarnessError(
        f"{song}: cannot be read as audio ({why}; ffmpeg: {reason}); replace the file"
    )


def seconds_of(song: Path) -> float:
    """Return the length of a song in seconds; 0 if it cannot be read."""
    with suppress(HarnessError):
        samples, rate = audio.length(song)
        return samples / rate
    return 0.0
