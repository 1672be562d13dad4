"""The array contract at the border: what files become, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core import audio
from harness.core.errors import HarnessError, StorageError

RATE = 8000
STEP = {"FLOAT": 0.0, "PCM_24": 2.0**-23, "PCM_16": 2.0**-15}  # of the format's grid


def noise(channels: int = 2, n_samples: int = 800, seed: int = 0) -> audio.Audio:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.99, 0.99, (channels, n_samples)).astype(np.float32)


def smooth(n_samples: int) -> audio.Audio:
    """Low tones under a window that ends in zeros, shape (2, samples)."""
    times = np.arange(n_samples) / RATE
    tones = [np.sin(2 * np.pi * f * times) for f in (220.0, 700.0)]
    return (0.5 * np.hanning(n_samples) * np.array(tones)).astype(np.float32)


def is_contiguous_float32(signal: audio.Audio) -> bool:
    return signal.dtype == np.float32 and signal.flags.c_contiguous


# --- files ---


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "FLOAT"),
        ("wav", "PCM_24"),
        ("wav", "PCM_16"),
        ("flac", "PCM_24"),
        ("flac", "PCM_16"),
    ],
)
def test_file_read_back_is_the_signal_up_to_the_grid(
    tmp_path: Path, suffix: str, subtype: str, channels: int
) -> None:
    path = tmp_path / "new" / f"song.{suffix}"
    written = noise(channels)
    audio.write(path, written, RATE, subtype=subtype)
    back, rate = audio.read(path)
    assert rate == RATE
    assert audio.length(path) == (800, RATE)
    assert is_contiguous_float32(back)
    np.testing.assert_allclose(back, written, rtol=0, atol=STEP[subtype])


@settings(max_examples=30, deadline=None)
@given(start=st.integers(0, 900), frames=st.integers(1, 900))
def test_part_of_a_file_is_that_part_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, start: int, frames: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "part.wav"
    if not path.exists():
        audio.write(path, noise(), RATE)
    wanted = noise()[:, start : start + frames]
    if wanted.shape[1] == 0:
        with pytest.raises(HarnessError, match="contains no samples"):
            audio.read(path, start=start, frames=frames)
    else:
        back, _ = audio.read(path, start=start, frames=frames)
        np.testing.assert_array_equal(back, wanted)
        assert is_contiguous_float32(back)


@pytest.mark.parametrize(("size", "overlap"), [(100, 0), (300, 50), (800, 0), (1000, 10)])
def test_blocks_overlap_and_join_to_the_whole(tmp_path: Path, size: int, overlap: int) -> None:
    path = tmp_path / "song.wav"
    audio.write(path, noise(), RATE)
    first, *others = audio.blocks(path, size, overlap)
    joined = np.concatenate([first, *(block[:, overlap:] for block in others)], axis=1)
    np.testing.assert_array_equal(joined, noise())
    assert all(is_contiguous_float32(block) for block in (first, *others))
    if overlap:
        for before, after in zip([first, *others], others, strict=False):
            np.testing.assert_array_equal(before[:, -overlap:], after[:, :overlap])


def test_truncated_wav_is_refused_by_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    audio.write(path, noise(), RATE)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(HarnessError, match=r"song\.wav: truncated, \d+ of 6400 bytes"):
        audio.read(path)
    with pytest.raises(HarnessError, match=r"song\.wav: truncated"):
        list(audio.blocks(path, 100))


def test_integers_written_as_floats_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "integers.wav"
    soundfile.write(path, np.full((50, 2), 12_000, np.float32), 8000, subtype="FLOAT")
    with pytest.raises(HarnessError, match="has samples up to 12000, and full scale is 1"):
        audio.read(path)
    with pytest.raises(HarnessError, match="has samples up to 12000"):
        list(audio.blocks(path, 20))
    soundfile.write(path, np.full((50, 2), 12, np.float32), 8000, subtype="FLOAT")
    assert audio.read(path)[0].max() == 12


def test_a_wav_with_more_audio_than_its_header_counts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    audio.write(path, np.full((2, 30_000), 0.25, np.float32), 8000)
    content = bytearray(path.read_bytes())
    at = content.index(b"data") + 4
    content[at : at + 4] = (80_000).to_bytes(4, "little")  # as 4 GiB and some wrap around
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"counts 80000 bytes of audio, but 160000 more follow"):
        audio.read(path)
    list_chunk = b"junk" + (100_000).to_bytes(4, "little") + bytes(range(1, 251)) * 400
    for tail in (list_chunk, b"ID3\x03" + 100_000 * b"x", bytes(100_000), b"junk"):
        path.write_bytes(bytes(content[: at + 4 + 80_000]) + tail)
        assert audio.read(path)[0].shape == (2, 10_000)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no audio at all" * 20])
def test_file_that_is_not_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"song\.wav: cannot be read as audio .*; replace"):
        audio.read(path)
    with pytest.raises(HarnessError, match=r"song\.wav: cannot be read as audio .*; replace"):
        audio.length(path)


def test_absent_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"none\.wav: no such file"):
        audio.read(tmp_path / "none.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2), np.float32), RATE)
    with pytest.raises(HarnessError, match="contains no samples"):
        audio.read(tmp_path / "empty.wav")
    with pytest.raises(HarnessError, match="contains no samples"):
        audio.length(tmp_path / "empty.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_file_with_nan_or_infinity_is_refused(tmp_path: Path, value: float) -> None:
    samples = noise().T.copy()
    samples[-1, 0] = value
    soundfile.write(tmp_path / "song.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(HarnessError, match=r"song\.wav: contains NaN or infinity"):
        audio.read(tmp_path / "song.wav")
    with pytest.raises(HarnessError, match=r"song\.wav: contains NaN or infinity"):
        list(audio.blocks(tmp_path / "song.wav", 100))


# --- writing ---


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_pcm_refuses_samples_beyond_full_scale_and_float_keeps_them(
    tmp_path: Path, subtype: str
) -> None:
    loud = noise() * np.float32(2.0)
    with pytest.raises(HarnessError, match="samples exceed full scale"):
        audio.write(tmp_path / "song.wav", loud, RATE, subtype=subtype)
    assert not list(tmp_path.iterdir())
    audio.write(tmp_path / "song.wav", loud, RATE)
    np.testing.assert_array_equal(audio.read(tmp_path / "song.wav")[0], loud)


def test_failed_write_leaves_no_file_and_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "song.wav"
    audio.write(path, noise(), RATE)

    def fill_the_disk(file: Path, *args: object, **more: object) -> None:
        Path(file).write_bytes(b"RIFF")
        raise soundfile.SoundFileRuntimeError("disk full")

    monkeypatch.setattr(soundfile, "write", fill_the_disk)
    for name in ("song.wav", "other.wav"):
        with pytest.raises(StorageError, match=f"{name}: cannot be written"):
            audio.write(tmp_path / name, noise(seed=1), RATE)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    np.testing.assert_array_equal(audio.read(path)[0], noise())


def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"song\.wav: cannot be written"):
        audio.write(tmp_path / "file" / "song.wav", noise(), RATE)


# --- the contract ---


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros(5, np.float32), r"has shape \(5,\); give it as \(channels, samples\)"),
        (np.zeros((2, 2, 5), np.float32), r"has shape \(2, 2, 5\)"),
        (np.zeros((44100, 2), np.float32), r"has shape \(44100, 2\)"),
        (np.zeros((0, 5), np.float32), r"has shape \(0, 5\)"),
        (np.zeros((2, 0), np.float32), "contains no samples"),
        (np.full((1, 5), np.nan, np.float32), "contains NaN or infinity"),
        (np.full((1, 5), np.inf, np.float32), "contains NaN or infinity"),
        (np.zeros((2, 5), np.int16), "has type int16; convert it to float32"),
        (np.zeros((2, 5), bool), "has type bool"),
    ],
)
def test_array_that_is_no_signal_is_refused_by_name(
    tmp_path: Path, array: np.ndarray, why: str
) -> None:
    with pytest.raises(HarnessError, match=f"^song: {why}"):
        audio.check(array, "song")
    with pytest.raises(HarnessError, match=why):
        audio.write(tmp_path / "song.wav", array, RATE)
    assert not list(tmp_path.iterdir())


def test_pair_of_different_shapes_is_refused_with_both() -> None:
    audio.check_pair(noise(), noise(seed=1), "vocals")
    with pytest.raises(HarnessError, match=r"shape \(2, 800\) and estimate \(1, 800\)"):
        audio.check_pair(noise(), noise(1), "vocals")
    with pytest.raises(HarnessError, match="vocals, estimate: contains NaN"):
        audio.check_pair(noise(), noise() * np.float32(np.nan), "vocals")


def test_silence_is_zeros_only() -> None:
    assert audio.is_silent(np.zeros((2, 9), np.float32))
    assert not audio.is_silent(np.full((1, 9), 1e-30, np.float32))


# --- conversions ---


@pytest.mark.parametrize("rate", [16000, 11025, 44100])
def test_resampling_there_and_back_returns_a_smooth_signal(rate: int) -> None:
    signal = smooth(RATE)
    there = audio.resample(signal, RATE, rate)
    assert there.shape == (2, rate)
    back = audio.resample(there, rate, RATE)
    np.testing.assert_allclose(back, signal, rtol=0, atol=1e-5)
    assert is_contiguous_float32(there)


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    np.testing.assert_array_equal(audio.resample(smooth(80), RATE, RATE), smooth(80))


def test_channels_are_repeated_or_averaged() -> None:
    mono, stereo = noise(1), noise(2)
    wide = audio.to_channels(mono, 3, "song")
    np.testing.assert_array_equal(wide, np.concatenate([mono] * 3))
    np.testing.assert_allclose(audio.to_channels(wide, 1, "song"), mono, rtol=1e-6)
    down = audio.to_channels(stereo, 1, "song")
    np.testing.assert_allclose(down[0], stereo.mean(axis=0), rtol=1e-5, atol=1e-7)
    assert audio.to_channels(stereo, 2, "song") is stereo
    assert all(is_contiguous_float32(signal) for signal in (wide, down))


def test_channels_that_cannot_be_matched_are_refused() -> None:
    with pytest.raises(HarnessError, match="song: has 3 channels, 2 are needed; mix it down"):
        audio.to_channels(noise(3), 2, "song")


@settings(max_examples=50, deadline=None)
@given(difference=st.integers(-1000, 1000))
def test_length_is_fixed_up_to_100_ms_and_refused_beyond(difference: int) -> None:
    estimate = noise(2, 2000)
    if abs(difference) > RATE // 10:
        word = "longer" if difference < 0 else "shorter"
        with pytest.raises(HarnessError, match=rf"song: 0\.\d\d s {word} than the mixture"):
            audio.fit_length(estimate, 2000 + difference, RATE, "song")
        return
    fitted, note = audio.fit_length(estimate, 2000 + difference, RATE, "song")
    kept = min(2000, 2000 + difference)
    assert fitted.shape == (2, 2000 + difference)
    np.testing.assert_array_equal(fitted[:, :kept], estimate[:, :kept])
    assert not fitted[:, kept:].any()
    assert is_contiguous_float32(fitted)
    assert note.endswith("padded" if difference > 0 else "trimmed" if difference else "")
    assert note.startswith(str(abs(difference)) if difference else "")
