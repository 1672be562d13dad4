from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

import numpy as np
import pytest
import web

from harness.core import audio
from harness.metrics.engine import bss_eval
from harness.metrics.engine.correlations import TAPS
from harness.metrics.engine.toeplitz import Factor

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
TRIANGLE = TAPS**2 // 2 * np.dtype(float).itemsize  # bytes of the factor of one signal


class Factors:
    """Factors of Gram matrices, made once per matrix: most tests score the same few songs."""

    LARGEST = 2**30  # bytes kept; the least recently used go first

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, bytes], Factor] = OrderedDict()
        self._lock = Lock()

    def __call__(self, correlations: np.ndarray) -> Factor:
        key = len(correlations), correlations.tobytes()
        factor = self._kept.get(key) or Factor(correlations)
        with self._lock:
            self._kept[key] = factor
            self._kept.move_to_end(key)
            while sum(signals**2 for signals, _ in self._kept) * TRIANGLE > self.LARGEST:
                self._kept.popitem(last=False)
        return factor


@pytest.fixture(scope="session", autouse=True)
def factors() -> Iterator[None]:
    """Keep the factors between tests. They depend on the matrix alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bss_eval, "Factor", Factors())
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings beside the checkout; tests that need them are skipped where they are not."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no real recordings at {SHARED_DATA}")
    return SHARED_DATA


def write_song(
    folder: Path, stems: dict[str, np.ndarray], *, rate: int = 8000, subtype: str = "FLOAT"
) -> None:
    """Write stems, and their sum as mixture, in the layout of `folder` datasets."""
    for stem, signal in stems.items():
        audio.write(folder / f"{stem}.wav", signal.astype(np.float32), rate, subtype=subtype)
    mixture = np.sum([signal.astype(np.float32) for signal in stems.values()], axis=0)
    audio.write(folder / "mixture.wav", mixture.astype(np.float32), rate, subtype=subtype)


def song_stems(seed: int, seconds: float = 2.0, rate: int = 8000) -> dict[str, np.ndarray]:
    """Four unlike stems, stereo, so that separators have something to tell apart."""
    rng = np.random.default_rng(seed)
    n = round(seconds * rate)
    t = np.arange(n) / rate
    clicks = np.zeros(n)
    clicks[:: rate // 4] = 1.0
    burst = rng.standard_normal(200) * np.exp(-np.arange(200) / 40)
    vibrato = 300 * t + 3 * np.sin(2 * np.pi * 5 * t)
    mono = {
        "vocals": 0.2 * np.sin(2 * np.pi * vibrato) * (np.sin(2 * np.pi * 0.7 * t) > -0.3),
        "drums": 0.5 * np.convolve(clicks, burst)[:n],
        "bass": 0.3 * np.sin(2 * np.pi * (55 + seed) * t),
        "other": 0.15 * (np.sin(2 * np.pi * 220 * t) + np.sin(2 * np.pi * 331 * t)),
    }
    pan = {"vocals": 0.5, "drums": 0.45, "bass": 0.55, "other": 0.2}
    hiss = {s: rng.normal(0, 1e-3, (2, n)) for s in mono}  # as recordings have; none is singular
    return {
        s: (hiss[s] + np.stack([x * pan[s], x * (1 - pan[s])])).astype(np.float32)
        for s, x in mono.items()
    }


def left_of(stems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep the left channels."""
    return {stem: signal[:1] for stem, signal in stems.items()}


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four songs by two artists, 2 s at 8 kHz; treat as read-only."""
    root = tmp_path_factory.mktemp("songs")
    for seed, name in enumerate(("Ann - One", "Ann - Two", "Bob - One", "Bob - Two")):
        write_song(root / name, song_stems(seed))
    return root


@pytest.fixture(scope="session")
def mono_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The left channels of the four songs, for tests whose channels do not matter; read-only."""
    root = tmp_path_factory.mktemp("mono songs")
    for seed, name in enumerate(("Ann - One", "Ann - Two", "Bob - One", "Bob - Two")):
        write_song(root / name, left_of(song_stems(seed)))
    return root


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[web.Server]:
    """A web server on this machine, reached past any proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("harness.core.download.BACKOFF", 0.0)
    with web.serving() as state:
        yield state
