"""Opening audio files such that no header is believed which the audio contradicts.

libsndfile takes the length of a file from its header: it stops there if more audio follows, and if
less does, soundfile's blocks contain what was in memory before. Here a length counts once the last
sample has been decoded. Where the header has none, or seeking is not exact, all is decoded.

libsndfile's MP3 decoder prints remarks on damaged files, also where the error raised here says all.
They are not shown, see `_quiet`.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from harness.core.errors import HarnessError

BLOCK = 2**16  # frames decoded at once; a frame of FLAC has fewer than this
NONE = 2**44  # a length above this is libsndfile's sign, or our claim, that the header has none
ENDLESS = 2**50  # bytes that an MP3 file without a length claims to have
MP3_SLACK = 2 * 1152  # samples by which encoders miscount: the frame of the header, the last one
MAX_TRAILER = 2**16  # bytes after the audio that need not be chunks
STREAMED = (0x7F000000, 0x7FFFF000, 2**31, 2**32)  # sizes of a writer that could not seek back
NEAR = 4096  # and bytes by which they are smaller
SOUGHT = {
    "PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW",
}  # fmt: skip
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461f3acd3118cd100c04f8edb8a")
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
STEP = 576  # samples, the shortest frame of an MP3 file
FAULTS = (soundfile.SoundFileError, OSError, MemoryError)

Samples = npt.NDArray[np.float32]


class UnknownFormatError(HarnessError):
    """The format is none of libsndfile's; another decoder may know it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: cannot be read as audio ({reason}); replace it")
        self.reason = reason


class AudioDecoder(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """An open file that is decoded from front to back."""

    declared: int | None = None  # samples per channel according to the header, if it says so
    rest: _Content | None = None  # of an MP3 file with a header; more frames may follow
    exact = False  # whether `declared` was confirmed and any sample can be sought

    def __init__(self, file: int | _Content, **how: bool) -> None:
        with _quiet():
            super().__init__(file, **how)

    def seekable(self) -> bool:
        """Return False: soundfile would seek after each read, which MP3 does not survive."""
        return False

    def skip(self, start: int) -> int:
        """Go forward by `start` samples; return how many there were."""
        if self.exact and self.declared is not None:
            return int(self.seek(min(start, self.declared)))
        done = 0
        while done < start and (have := self._next(start - done).shape[0]):
            done += have
        return done

    def decode(self, frames: int | None) -> Samples:
        """Decode the next `frames` samples, or all; fewer only where the audio ends.

        The shape is (channels, samples); no more memory is taken than the samples need.
        """
        if self.exact and self.declared is not None:
            left = self.declared - self.tell()
            wanted = left if frames is None else min(left, frames)
            out = np.empty((self.channels, wanted), np.float32)
            done = 0
            while done < wanted and (block := self._next(wanted - done)).shape[0]:
                out[:, done : done + len(block)] = block.T
                done += len(block)
            return out[:, :done]
        parts, done = [np.empty((self.channels, 0), np.float32)], 0
        while (frames is None or done < frames) and (
            block := self._next(BLOCK if frames is None else frames - done)
        ).shape[0]:
            parts.append(block.T)
            done += len(block)
        return np.concatenate(parts, axis=1)

    def _next(self, frames: int) -> Samples:
        """Decode a block, shape (samples, channels); only what was decoded is in it."""
        buffer = np.zeros((min(frames, BLOCK), self.channels), np.float32)
        with _quiet():
            block: Samples = self.read(len(buffer), out=buffer)
        return block


@contextmanager
def opened(path: Path) -> Iterator[AudioDecoder]:
    """Open a file for decoding; its errors become a `HarnessError` with the path and the reason."""
    if not path.is_file():
        raise HarnessError(f"{path}: no such file; check the path or fetch the dataset again")
    try:
        with path.open("rb", buffering=0) as content, _open(path, content) as decoder:
            _confirm(path, content, decoder)
            yield decoder
    except FAULTS as error:
        raise _unreadable(path, error) from error


def comment(path: Path) -> str:
    """Return the comment in an audio file; empty if it has none or cannot be read."""
    with (
        suppress(*FAULTS),
        path.open("rb", buffering=0) as content,
        AudioDecoder(content.fileno(), closefd=False) as decoder,
    ):
        return str(decoder.comment)
    return ""


def check_end(path: Path, decoder: AudioDecoder, count: int) -> None:
    """Refuse a file whose audio has ended after `count` samples and whose header says otherwise."""
    declared = decoder.declared
    slack = MP3_SLACK if decoder.format == "MP3" else 0
    if declared is not None and abs(declared - count) > slack:
        raise mismatch(path, count, declared)
    if declared is not None and decoder.rest:
        more = _count_rest(decoder.rest)
        if more > slack:
            raise mismatch(path, count + more, declared)


def mismatch(path: Path, count: int, declared: int) -> HarnessError:
    """Return the error on a header that the audio contradicts, with both lengths in samples."""
    if count < declared:
        said = f"truncated, {count} of {declared} samples can be read"
    else:
        said = f"its header counts {declared} samples, but there are {count}"
    return HarnessError(f"{path}: {said}; replace it")


def signature(path: Path) -> tuple[int, ...]:
    """Return what changes when a file is written: size, times of change in ns, inode."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


class _CStream:
    """The stream to which C code writes its messages, which can be closed for a while.

    The C library's pointer to it is replaced, not the file behind it. So Python still writes to the
    terminal, other threads and progress bars too; only C code is not heard meanwhile.
    """

    def __init__(self) -> None:
        library: Any = ctypes.CDLL(None)
        self.pointer = ctypes.c_void_p.in_dll(
            library, "__stderrp" if sys.platform == "darwin" else "stderr"
        )
        library.fopen.restype = ctypes.c_void_p
        self.nowhere = library.fopen(os.devnull.encode(), b"w")
        self.lock, self.users, self.kept = threading.Lock(), 0, self.pointer.value

    def close(self) -> None:
        """Write nowhere, until `reopen` was called as often."""
        with self.lock:
            if self.users == 0:
                self.kept, self.pointer.value = self.pointer.value, self.nowhere
            self.users += 1

    def reopen(self) -> None:
        """Undo one `close`."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.pointer.value = self.kept


@cache
def _c_errors() -> _CStream | None:
    """Return the stream for errors of C code; None where the C library does not show it."""
    try:
        stream = _CStream()
    except (OSError, TypeError, ValueError, AttributeError):
        return None
    return stream if stream.nowhere and stream.pointer.value else None


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no message of C code while the block runs."""
    stream = _c_errors()
    if stream is None:
        yield
        return
    stream.close()
    try:
        yield
    finally:
        stream.reopen()


class _Content:
    """A file as libsndfile reads it: from `start` on, with some bytes replaced, of a claimed size.

    Nothing follows the real end but zeros where a tag may be, at the end that is claimed.
    """

    def __init__(
        self, file: FileIO, *, start: int = 0, size: int = 0, patch: tuple[int, bytes] = (0, b"")
    ) -> None:
        self.file, self.start, self.patch = file, start, patch
        self.real = os.fstat(file.fileno()).st_size - start
        self.size = size or self.real
        self.at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, which may be behind the real end."""
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def tell(self) -> int:
        """Return the place from which the next byte is read."""
        return self.at

    def readinto(self, buffer: bytearray) -> int:
        """Fill a buffer as far as there are bytes."""
        there = self.at < self.real
        data = _at(self.file, self.start + self.at, len(buffer)) if there else b""
        if self.at == self.size - 128:  # where mpg123 looks for an ID3 tag
            data = data.ljust(128, b"\0")
        place, new = self.patch
        first, last = max(place - self.at, 0), min(place + len(new) - self.at, len(data))
        if first < last:
            begin = self.at + first - place
            data = data[:first] + new[begin : begin + last - first] + data[last:]
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)

    read = None  # soundfile asks for the attribute
    write = None


def _open(path: Path, content: FileIO) -> AudioDecoder:
    """Open a file in the way that its format needs."""
    start = _after_tag(content)
    if padding := _zeros(content, start):  # which libsndfile takes for no format
        return _declared(_mp3(content, start + padding))
    kind = _at(content, start, 4)
    if kind == b"OggS":
        _check_pages(path, content)
    if kind == b"fLaC":
        decoder = _flac(content, start)
    elif patch := _check_sizes(path, content):
        decoder = AudioDecoder(_Content(content, patch=patch))
    else:
        os.lseek(content.fileno(), 0, os.SEEK_SET)
        # by number, not by name, from which a format would be guessed
        decoder = AudioDecoder(content.fileno(), closefd=False)
    if decoder.format == "MP3":
        decoder.close()
        decoder = _mp3(content)
    return _declared(decoder)


def _declared(decoder: AudioDecoder) -> AudioDecoder:
    """Set the length that a decoder has from a header, if it has one."""
    if decoder.declared is None and decoder.frames < NONE:
        decoder.declared = decoder.frames
    return decoder


def _confirm(path: Path, content: FileIO, decoder: AudioDecoder) -> None:
    """Decode the last sample; if it is not the last, or not there, refuse the file."""
    if not decoder.declared or not (decoder.format == "FLAC" or decoder.subtype in SOUGHT):
        return
    decoder.seek(decoder.declared - 1)
    if decoder._next(BLOCK).shape[0] != 1:
        raise mismatch(path, _count(path, content), decoder.declared)
    decoder.seek(0)
    decoder.exact = True


def _count(path: Path, content: FileIO) -> int:
    """Count the samples of a file up to the first fault, in steps shorter than any frame."""
    count = 0
    with suppress(*FAULTS), _open(path, content) as decoder:
        while have := decoder._next(STEP).shape[0]:
            count += have
    return count


def _unreadable(path: Path, error: Exception) -> HarnessError:
    """Say why a file cannot be decoded, and how far it can."""
    reason = str(error).split(": ")[-1].rstrip(".") or "too large"
    try:
        with path.open("rb", buffering=0) as content:
            with _open(path, content) as decoder:
                of = f" of {decoder.declared}" if decoder.declared else ""
            count = _count(path, content)
    except soundfile.SoundFileError:
        return UnknownFormatError(path, reason)
    except (OSError, MemoryError):
        return HarnessError(f"{path}: cannot be read as audio ({reason}); replace it")
    return HarnessError(
        f"{path}: truncated or damaged, {count}{of} samples can be read; replace it"
    )


def _flac(content: FileIO, start: int) -> AudioDecoder:
    """Open a FLAC file, which claims to be longer so that what follows is decoded too."""
    place, mask = start + 18, 2**36 - 1  # 36 bits behind the sample rate, channels and bits
    about = int.from_bytes(_at(content, place, 8), "big")
    total = about & mask
    claimed = (about & ~mask) | min(total + BLOCK, mask) if total else about
    decoder = AudioDecoder(_Content(content, patch=(place, claimed.to_bytes(8, "big"))))
    decoder.declared = total or None
    return decoder


def _mp3(content: FileIO, start: int = 0) -> AudioDecoder:
    """Open an MP3 file, which claims to be longer: mpg123 then says so if the last frame is cut.

    The first frame may give a length. If it does not, the length is estimated from the size; the
    file then claims to be endless.
    """
    plain = _Content(content, start=start)
    with AudioDecoder(plain) as decoder:
        declared = int(decoder.frames)
    more = plain.size // 200 + 129  # bytes, less than a percent, so that no estimate changes
    longer = _Content(content, start=start, size=plain.size + more)
    decoder = AudioDecoder(longer)
    if decoder.frames == declared:
        decoder.rest = longer
        return decoder
    decoder.close()
    return AudioDecoder(_Content(content, start=start, size=ENDLESS))


def _count_rest(content: _Content) -> int:
    """Count the samples of the MP3 frames that follow what was decoded."""
    start = content.start + content.at
    start += 128 if _at(content.file, start, 3) == b"TAG" else 0
    count = 0
    rest = _Content(content.file, start=start, size=ENDLESS)
    with suppress(soundfile.SoundFileError), AudioDecoder(rest) as decoder:
        while decoder.format == "MP3" and (have := decoder._next(BLOCK).shape[0]):
            count += have
    return count


def _at(file: FileIO, place: int, size: int) -> bytes:
    """Return the bytes of a file from a place on; none beyond its end."""
    file.seek(min(place, os.fstat(file.fileno()).st_size))
    return file.read(size)


def _after_tag(content: FileIO) -> int:
    """Return where the file begins behind an ID3 tag; 0 without one."""
    head = _at(content, 0, 10)
    if len(head) < 10 or head[:3] != b"ID3":
        return 0
    a, b, c, d = head[6:]
    return 10 + (a << 21 | b << 14 | c << 7 | d)


def _zeros(content: FileIO, start: int) -> int:
    """Return how many zeros there are before the first frame of an MP3 file; 0 in other files."""
    head = _at(content, start, MAX_TRAILER)
    found = head.lstrip(b"\0")
    return len(head) - len(found) if found[:1] == b"\xff" and found[1:2] >= b"\xe0" else 0


def _check_pages(path: Path, content: FileIO) -> None:
    """Check the pages of an Ogg file, of which decoders skip damaged ones without a word.

    Each page has its size and a checksum (RFC 3533); a file that ends within one was cut.
    """
    place, size, number = 0, os.fstat(content.fileno()).st_size, 0
    streams = 0
    while place < size:
        number += 1
        head = _at(content, place, 27)
        if head[:4] != b"OggS":
            if number > 1 and (head[:3] == b"TAG" or not any(head)):
                return
            raise HarnessError(f"{path}: no Ogg page begins at byte {place} of {size}; replace it")
        lengths = _at(content, place + 27, head[26]) if len(head) == 27 else b""
        page = head + lengths + content.read(sum(lengths))
        whole = 27 + head[26] + sum(lengths) if len(head) == 27 else 27
        if len(head) < 27 or len(lengths) < head[26] or len(page) < whole:
            raise HarnessError(
                f"{path}: truncated, it ends within Ogg page {number}, {size - place} of at least "
                f"{whole} bytes are there; replace it"
            )
        if _ogg_sum(page[:22] + bytes(4) + page[26:]) != head[22:26]:
            raise HarnessError(f"{path}: Ogg page {number} is damaged (checksum); replace it")
        streams += head[5] >> 1 & 1  # a page on which one begins
        place += whole
    if streams > 1:  # of which libsndfile decodes one
        raise UnknownFormatError(path, f"has {streams} Ogg streams")


def _ogg_sum(page: bytes) -> bytes:
    """Return the checksum of an Ogg page: zlib's polynomial, bits in the other order, from 0."""
    value = zlib.crc32(page.translate(REVERSED), 2**32 - 1) ^ (2**32 - 1)
    return value.to_bytes(4, "big").translate(REVERSED)


class _Chunks(NamedTuple):
    """How a format divides a file into chunks, one of which is the audio."""

    start: int  # of the first chunk
    head: str  # of name and size, as `struct` has it
    inside: int  # bytes of the head that the size counts
    even: int  # of which each chunk's size is a multiple
    audio: bytes  # name of the audio


class _Size(NamedTuple):
    """The size of the audio that a header gives."""

    audio: int  # where the audio begins
    n_bytes: int
    place: int  # where the size is written
    form: str  # and how, as `struct` has it
    inside: int = 0  # bytes that it counts beside the audio


def _chunks(head: bytes) -> _Chunks | None:
    """Return the layout of a file from its first 16 bytes; None if it has no chunks."""
    kind, form = head[:4], head[8:12]
    if kind in (b"RIFF", b"RF64", b"RIFX") and form == b"WAVE":
        return _Chunks(12, ">4sI" if kind == b"RIFX" else "<4sI", 0, 2, b"data")
    if kind == b"FORM" and form in (b"AIFF", b"AIFC"):
        return _Chunks(12, ">4sI", 0, 2, b"SSND")
    if kind == b"caff":
        return _Chunks(8, ">4sQ", 0, 1, b"data")
    if head == W64:
        return _Chunks(40, "<16sQ", 24, 8, W64_DATA)
    return None


def _audio_size(content: FileIO, chunks: _Chunks) -> _Size | None:
    """Find the chunk with the audio."""
    place, step, wide = chunks.start, struct.calcsize(chunks.head), None
    while len(head := _at(content, place, step)) == step:
        name, n_bytes = struct.unpack(chunks.head, head)
        here, n_bytes = place + step, max(0, n_bytes - chunks.inside)
        if name == b"ds64":  # the sizes of an RF64 file, then of its audio
            wide = _Size(
                0, struct.unpack("<8xQ", content.read(16).ljust(16, b"\0"))[0], here + 8, "<Q"
            )
        if name == chunks.audio:
            if wide and n_bytes == 2**32 - 1:
                return wide._replace(audio=here)
            form = chunks.head[0] + chunks.head[-1]
            return _Size(here, n_bytes, here - struct.calcsize(form), form, chunks.inside)
        place = here + n_bytes + -n_bytes % chunks.even
    return None


def _check_sizes(path: Path, content: FileIO) -> tuple[int, bytes] | None:
    """Compare the size of the audio that a header gives with the bytes there.

    libsndfile does not, and reads what there is. If the size stands for an unknown one, the place
    where it is written is returned, and the bytes of the true size.
    """
    end, head = os.fstat(content.fileno()).st_size, _at(content, 0, 16)
    chunks = _chunks(head)
    found = _audio_size(content, chunks) if chunks else None
    if head[:4] == b".snd" and len(head) == 16:
        audio, n_bytes = struct.unpack(">II", head[4:12])
        found = _Size(audio, n_bytes, 8, ">I")
        if found.audio < 24:  # of which libsndfile reads the header as audio
            raise HarnessError(f"{path}: its audio begins at byte {found.audio}; replace it")
    if found is None or found.audio > end:
        return None
    there, n_bytes = end - found.audio, found.n_bytes
    after = found.audio + n_bytes + (-n_bytes % chunks.even if chunks else 0)
    if n_bytes > there or n_bytes == 0:
        unknown = n_bytes >= 2**62 or any(0 <= full - n_bytes <= NEAR for full in STREAMED)
        if n_bytes == 0:
            unknown = there > 0 and not _is_chunk(content, after, end, chunks)
        elif not unknown:
            said = f"{there} of {n_bytes} bytes of audio are there"
            raise HarnessError(f"{path}: truncated, {said}; replace it")
        if not unknown:
            return None
        if there + found.inside >= 2 ** (8 * struct.calcsize(found.form)):
            raise HarnessError(
                f"{path}: its header has no size, and {there} bytes of audio follow; write it "
                "again, as RF64 or FLAC"
            )
        return found.place, struct.pack(found.form, there + found.inside)
    known = not any(_at(content, after, 8)) or _is_chunk(content, after, end, chunks)
    if end - after > MAX_TRAILER and not known:
        raise HarnessError(
            f"{path}: its header counts {n_bytes} bytes of audio, but {end - after} "
            "more follow; write it again, as RF64 or FLAC if it is larger than 4 GB"
        )
    return None


def _is_chunk(content: FileIO, start: int, end: int, chunks: _Chunks | None) -> bool:
    """Whether a chunk or a tag begins there, rather than more audio."""
    form = chunks.head if chunks else "<4sI"
    step = struct.calcsize(form)
    head = _at(content, start, step)
    if head[:3] in (b"ID3", b"TAG"):
        return True
    if len(head) < step:
        return False
    name, n_bytes = struct.unpack(form, head)
    n_bytes -= chunks.inside if chunks else 0
    return all(32 <= byte < 127 for byte in name[:4]) and start + step + n_bytes <= end
