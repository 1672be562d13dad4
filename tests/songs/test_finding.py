"""Songs of every format: which are found, how they are decoded, what becomes of damaged ones."""

import containers
import numpy as np
import pytest
from containers import BY_FFMPEG, RATE, signal

from harness.core import audio
from harness.core.errors import HarnessError
from harness.registry.entries import Entry
from harness.separators import FAMILIES, Family
from harness.songs import separating
from harness.songs.choosing import choose
from harness.songs.finding import decoded, find_songs

needs_ffmpeg = pytest.mark.skipif(not containers.has_ffmpeg(), reason="ffmpeg is not installed")
N_SAMPLES = 22_050


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, bytes]:
    """One signal in the formats that ffmpeg decodes."""
    wav = tmp_path_factory.mktemp("made") / "song.wav"
    wav.write_bytes(containers.written("wav", N_SAMPLES))
    return {kind: containers.by_ffmpeg(kind, wav) for kind in BY_FFMPEG}


@pytest.fixture
def choice(monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    rows = {"half": {"family": "echo", "stems": ["vocals"], "params": {"gain": 0.5}}}
    entries = {name: Entry(name=name, **row) for name, row in rows.items()}
    return choose(entries, "half")


def test_every_format_that_can_be_decoded_is_found_in_a_folder(tmp_path):
    names = [f"a.{suffix}" for suffix in ("caf", "w64", "au", "wv", "rf64", "aifc", "m4b", "MKV")]
    for name in (*names, "cover.jpg", "notes.txt", "list.m3u"):
        (tmp_path / name).touch()
    found = find_songs([tmp_path], tmp_path / "out")
    assert {path.name for path in found} == set(names)


@needs_ffmpeg
@pytest.mark.parametrize("kind", BY_FFMPEG)
def test_ffmpeg_decodes_the_signal_whatever_the_name(made, tmp_path, kind):
    path = tmp_path / "song.mp3"  # as files are called that a browser saved
    path.write_bytes(made[kind])
    with decoded(path, tmp_path) as wav:
        found, rate = audio.read(wav)
    expected = audio.resample(signal(N_SAMPLES).T.copy(), RATE, rate)
    assert abs(found.shape[1] - expected.shape[1]) < 0.1 * rate
    middle = slice(6000, 10_000)
    assert np.abs(found[:, middle] - expected[:, middle]).max() < 0.1
    assert list(tmp_path.iterdir()) == [path]


@needs_ffmpeg
@pytest.mark.parametrize("kind", BY_FFMPEG)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_a_song_for_ffmpeg_that_was_cut_is_refused(made, tmp_path, kind, share):
    path = tmp_path / f"song.{kind}"
    path.write_bytes(made[kind][: round(share * len(made[kind]))])
    with (
        pytest.raises(HarnessError, match=rf"song\.{kind}: (truncated|cannot be read)"),
        decoded(path, tmp_path),
    ):
        pass


@needs_ffmpeg
def test_a_song_that_neither_decoder_knows_is_refused_with_both_reasons(tmp_path):
    path = tmp_path / "song.mp3"
    path.write_bytes(b"no music")
    with (
        pytest.raises(HarnessError, match=r"read as audio \(Format not recogni.ed; ffmpeg: .*mp3"),
        decoded(path, tmp_path),
    ):
        pass


def test_without_ffmpeg_the_error_says_so(tmp_path, monkeypatch):
    path = tmp_path / "song.mp3"
    path.write_bytes(b"no music")
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(HarnessError, match=r"song\.mp3: cannot be read.*install ffmpeg"),
        decoded(path, tmp_path),
    ):
        pass


def test_files_whose_headers_lie_do_not_stop_the_others(tmp_path, choice):
    songs = tmp_path / "in"
    songs.mkdir()
    flac, mp3 = (containers.written(kind, N_SAMPLES) for kind in ("flac", "mp3"))
    contents = {
        "a endless.flac": containers.with_total(flac, 2**36 - 1),
        "b unknown.flac": containers.with_total(flac, 0),
        "c cut.mp3": mp3[: len(mp3) // 2],
        "d vbr.mp3": containers.written("vbr.mp3", N_SAMPLES),
        "e cut.aiff": containers.written("aiff", N_SAMPLES)[:-4000],
        "f streamed.wav": containers.with_sizes(containers.written("wav", N_SAMPLES), 0, 0),
    }
    for name, content in contents.items():
        (songs / name).write_bytes(content)
    results = separating.separate([songs], tmp_path / "out", choice)
    states = {result.song.name[0]: result.state for result in results}
    assert states == dict(zip("abcdef", ["failed", "done"] * 3, strict=True))
    for result in results:
        if result.state == "failed":
            assert "truncated" in result.notes[0]
            assert not any(file.exists() for file in result.files.values())
            continue
        given, written = audio.read(result.song)[0], audio.read(result.files["vocals"])[0]
        np.testing.assert_array_equal(written, np.float32(0.5) * given)
        assert N_SAMPLES <= written.shape[1] <= N_SAMPLES + 3 * 1152
