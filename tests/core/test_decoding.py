"""Files whose headers say something else than their audio: what is read of them, or refused."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import containers
import numpy as np
import pytest
import soundfile
from containers import LOSSLESS, LOSSY, signal

from harness.core import audio
from harness.core.decoding import _c_errors, _quiet
from harness.core.errors import HarnessError

N_SAMPLES = 30_000


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """One signal in every container."""
    return {kind: containers.written(kind, N_SAMPLES) for kind in (*LOSSLESS, *LOSSY)}


def put(tmp_path: Path, content: bytes, kind: str) -> Path:
    path = tmp_path / f"song.{kind}"
    path.write_bytes(content)
    return path


def read_every_way(path: Path) -> audio.Audio:
    """Read a file as a whole, in blocks, in parts; all must agree with each other."""
    whole, rate = audio.read(path)
    assert audio.length(path) == (whole.shape[1], rate)
    first, *others = audio.blocks(path, 9000, 500)
    joined = np.concatenate([first, *(block[:, 500:] for block in others)], axis=1)
    np.testing.assert_array_equal(joined, whole)
    for start in (0, whole.shape[1] // 3, whole.shape[1] - 10):
        part, _ = audio.read(path, start=start, frames=4000)
        np.testing.assert_array_equal(part, whole[:, start : start + 4000])
    return whole


def assert_refused(path: Path, message: str) -> None:
    """Every reader refuses the file with this message."""
    for refuse in (
        lambda: audio.read(path),
        lambda: audio.length(path),
        lambda: list(audio.blocks(path, 4000)),
    ):
        with pytest.raises(HarnessError, match=message):
            refuse()


@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_way_of_reading_gives_the_signal(files, tmp_path, kind):
    whole = read_every_way(put(tmp_path, files[kind], kind))
    np.testing.assert_array_equal(whole, signal(N_SAMPLES).T)


@pytest.mark.parametrize("kind", LOSSY)
def test_every_way_of_reading_gives_the_same(files, tmp_path, kind):
    whole = read_every_way(put(tmp_path, files[kind], kind))
    delay = 1105 if kind == "vbr.mp3" else 0  # of the encoder and decoder; no header gives it
    assert N_SAMPLES <= whole.shape[1] <= N_SAMPLES + 3 * 1152
    middle = slice(9000, 14000)
    late = whole[:, delay:][:, middle]
    assert np.abs(late - signal(N_SAMPLES).T[:, middle]).max() < 0.1


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY])
def test_a_cut_file_is_refused_with_what_is_there(files, tmp_path, kind, share):
    content = files[kind][: round(share * len(files[kind]))]
    of = r"\d+ samples" if kind == "vbr.mp3" else r"\d+ of (at least )?\d+ (bytes|samples)"
    assert_refused(put(tmp_path, content, kind), rf"song\.{kind}: truncated.*, {of}.*; replace it")


@pytest.mark.parametrize(
    ("riff", "data"),
    [(0, 0), (0, 2**32 - 1), (2**32 - 1, 2**32 - 1), (0x7FFFF024, 0x7FFFF000), (2**31, 2**31)],
)
def test_a_streamed_wav_is_read_to_its_end(files, tmp_path, riff, data):
    path = put(tmp_path, containers.with_sizes(files["wav"], riff, data), "wav")
    np.testing.assert_array_equal(read_every_way(path), signal(N_SAMPLES).T)


@pytest.mark.parametrize(
    ("kind", "place", "size"),
    [("au", 8, 2**32 - 1), ("rf64", 28, 0), ("caf", None, -1), ("w64", None, 2**63 - 1)],
)
def test_other_streamed_files_are_read_to_their_end(files, tmp_path, kind, place, size):
    content = files[kind]
    width, order = (4 if kind == "au" else 8), ("big" if kind in ("au", "caf") else "little")
    if place is None:
        place = content.index(b"data") + (4 if kind == "caf" else 16)
    number = size.to_bytes(width, order, signed=size < 0)
    path = put(tmp_path, content[:place] + number + content[place + width :], kind)
    np.testing.assert_array_equal(read_every_way(path), signal(N_SAMPLES).T)


def test_a_flac_of_unknown_length_is_read_to_its_end(files, tmp_path):
    path = put(tmp_path, containers.with_total(files["flac"], 0), "flac")
    np.testing.assert_array_equal(read_every_way(path), signal(N_SAMPLES).T)


@pytest.mark.parametrize("total", [20_000, 29_999, 30_001, 2**35])
def test_a_flac_of_another_length_is_refused_with_both(files, tmp_path, total):
    path = put(tmp_path, containers.with_total(files["flac"], total), "flac")
    if total < N_SAMPLES:
        assert_refused(path, f"its header counts {total} samples, but there are 30000; replace it")
    else:
        assert_refused(path, rf"truncated.*, \d+ of {total} samples can be read; replace it")


@pytest.mark.parametrize("tail", [b"TAG" + b"x" * 125, b"APETAGEX" + b"y" * 300, bytes(900)])
def test_a_tag_after_an_mp3_is_no_audio(files, tmp_path, tail):
    for kind in ("mp3", "vbr.mp3"):
        alone = read_every_way(put(tmp_path, files[kind], kind))
        tagged = read_every_way(put(tmp_path, files[kind] + tail, f"tagged.{kind}"))
        np.testing.assert_array_equal(tagged, alone)


def test_two_files_behind_each_other_are_refused(files, tmp_path):
    twice = put(tmp_path, 2 * files["mp3"], "mp3")
    assert_refused(twice, "its header counts 30000 samples, but there are 60000; replace it")
    assert_refused(put(tmp_path, 2 * files["ogg"], "ogg"), "has 2 Ogg streams")


def test_a_damaged_page_of_ogg_is_refused(files, tmp_path):
    for kind in ("ogg", "opus"):
        content = bytearray(files[kind])
        content[len(content) * 2 // 3] ^= 8
        assert_refused(put(tmp_path, bytes(content), kind), r"Ogg page \d+ is damaged")


@pytest.mark.parametrize("length", [True, False])
def test_remarks_of_the_decoder_are_not_shown(files, tmp_path, capfd, length):
    content = bytearray(files["mp3" if length else "vbr.mp3"])
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path = put(tmp_path, bytes(content), "mp3")
    with threads_that_write(50):
        for _ in range(5):
            with pytest.raises(HarnessError):
                audio.read(path)
    assert capfd.readouterr().err == "line\n" * 50  # nothing of this process's own is lost
    with pytest.raises(soundfile.SoundFileError):
        soundfile.read(path)
    assert "Illegal Audio-MPEG-Header" in capfd.readouterr().err  # as before


@contextmanager
def threads_that_write(times: int) -> Iterator[None]:
    """Write lines to standard error from other threads while the block runs."""
    with ThreadPoolExecutor(2) as pool:
        for _ in range(times):
            pool.submit(os.write, 2, b"line\n")
        yield


def test_of_two_readers_the_last_one_opens_the_stream_again(capfd):
    stream = _c_errors()
    if stream is None:
        pytest.skip("the C library does not show its stream")
    before = stream.pointer.value
    with _quiet():
        stream.close()  # by another reader
    assert stream.pointer.value == stream.nowhere
    stream.reopen()
    assert stream.pointer.value == before
