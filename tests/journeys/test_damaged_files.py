"""Random cuts and flipped bytes of every container that is read (run by hand, see CONTRIBUTING)."""

import io
from pathlib import Path

import containers
import numpy as np
import pytest
import soundfile
from containers import BY_FFMPEG, LOSSLESS, LOSSY

from harness.core import audio, decoding
from harness.core.errors import HarnessError
from harness.songs.finding import decoded

N_SAMPLES = 12_000
POISON = np.float32(77.0)  # what buffers contain before something is decoded into them
TIMES = 500


class Poisoned:
    """NumPy whose new arrays are full of `POISON`, as memory in use is full of something."""

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def empty(shape, dtype):
        return np.full(shape, POISON, dtype)

    zeros = empty


def damaged(content: bytes, rng: np.random.Generator) -> tuple[bytes, list[int]]:
    """Return a file that was cut, or some of whose bytes have changed, and their places."""
    early = int(rng.choice([64, 512, len(content)]))  # headers are short
    if rng.random() < 0.4:
        keep = int(rng.integers(0, len(content)))
        return content[: len(content) - keep // 100 if rng.random() < 0.3 else keep], []
    changed = bytearray(content)
    places = [int(place) for place in rng.integers(0, early, int(rng.integers(1, 4)))]
    places = [place for place in places if place < len(content)]
    for place in places:
        changed[place] = int(rng.integers(256)) if rng.random() < 0.7 else 0
    return bytes(changed), [place for place in places if changed[place] != content[place]]


def read_all(path: Path) -> tuple[audio.Audio, int]:
    """Read a file as a whole, in blocks and in part; all agree, as does its length."""
    whole, rate = audio.read(path)
    assert not np.any(whole == POISON)
    assert audio.length(path) == (whole.shape[1], rate)
    size = max(2000, whole.shape[1] // 5)
    first, *others = audio.blocks(path, size, 100)
    joined = np.concatenate([first, *(block[:, 100:] for block in others)], axis=1)
    np.testing.assert_array_equal(joined, whole)
    start = whole.shape[1] // 3
    part, _ = audio.read(path, start=start, frames=500)
    np.testing.assert_array_equal(part, whole[:, start : start + 500])
    return whole, rate


def by_libsndfile(content: bytes, samples: int) -> np.ndarray | None:
    """Return what libsndfile alone decodes, up to the length in the header; None if nothing."""
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            frames = min(samples, file.frames)
            return file.read(frames, dtype="float32", always_2d=True).T if frames else None
    except soundfile.SoundFileError:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*LOSSLESS, *LOSSY])
def test_no_damage_gives_a_sample_that_is_not_in_the_file(kind, tmp_path, monkeypatch):
    content = containers.written(kind, N_SAMPLES)
    path = tmp_path / "song"
    path.write_bytes(content)
    healthy, _ = read_all(path)
    monkeypatch.setattr(decoding, "np", Poisoned())
    rng = np.random.default_rng(sum(map(ord, kind)))
    outcomes = {"read": 0, "refused": 0}
    for _ in range(TIMES):
        changed, places = damaged(content, rng)
        path.write_bytes(changed)
        try:
            found, _ = read_all(path)
        except HarnessError:
            outcomes["refused"] += 1
            continue
        outcomes["read"] += 1
        n_samples = found.shape[1]
        if not places:  # cut: what is read is the signal, from its start
            np.testing.assert_array_equal(found, healthy[:, :n_samples])
            assert kind not in LOSSLESS or n_samples == N_SAMPLES
        elif kind in ("flac", "ogg", "opus"):  # have checksums
            np.testing.assert_array_equal(found, healthy)
        elif kind not in LOSSY and "alac" not in kind and min(places) >= 4200:  # no header there
            assert np.count_nonzero(found != healthy) <= len(places)
        else:
            alone = by_libsndfile(changed, n_samples)
            if alone is None:  # since its size counts as unknown
                assert np.count_nonzero(found != healthy[:, :n_samples]) <= len(places)
            else:
                np.testing.assert_array_equal(found[:, : alone.shape[1]], alone)
    assert outcomes["refused"] > TIMES // 4  # the rest is damage to audio, which nothing shows


@pytest.mark.slow
@pytest.mark.skipif(not containers.has_ffmpeg(), reason="ffmpeg is not installed")
@pytest.mark.parametrize("kind", BY_FFMPEG)
def test_no_damage_makes_ffmpeg_fill_in(kind, tmp_path):
    wav = tmp_path / "song.wav"
    wav.write_bytes(containers.written("wav", N_SAMPLES))
    content = containers.by_ffmpeg(kind, wav)
    path = tmp_path / "song"
    path.write_bytes(content)
    with decoded(path, tmp_path) as readable:
        healthy, _ = read_all(readable)
    rng = np.random.default_rng(sum(map(ord, kind)))
    for _ in range(TIMES // 12):
        changed, places = damaged(content, rng)
        path.write_bytes(changed)
        try:
            with decoded(path, tmp_path) as readable:
                found, _ = read_all(readable)
        except HarnessError:
            continue
        if not places:
            n_samples = found.shape[1]
            np.testing.assert_array_equal(found, healthy[:, :n_samples])
            assert healthy.shape[1] - n_samples <= 4410
    assert {p.name for p in tmp_path.iterdir()} == {"song", "song.wav", f"made.{kind}"}
