"""Metrics of other tools against the tools' own values.

The golden numbers come from the code of the tools, run in float32 on the signals of `synthetic`,
on one second (samples 88200 to 132300) of LarsNet's kick of each drum recording, as read here, and
on the estimates of `made`: vocals by a mask, drums by medians, and bass by a filter, of real songs.
The script imports ``utils/metrics.py`` of ZFTurbo/Music-Source-Separation-Training at commit
ccc011a and calls its functions one by one, with auraloss 0.4.0, torch-l1-snr 0.2.1, torchaudio 2.11
and torch-log-wmse 0.3.1, the last that it can call. ``_mr`` is the mean of its `bleed_full` at four
window sizes, hop a quarter, bands an eighth. ``log_wmse`` is torch-log-wmse 0.3.1 with audio of
shape (batch, channel, stem, time). ``mrstft`` is auraloss's `MultiResolutionSTFTLoss` with the
windows of pablebe/gensvs_eval, hops of a quarter and A-weighting, per channel, then their mean.
"""

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from harness.core import audio
from harness.core.errors import HarnessError
from harness.metrics import DEFAULT, METRICS, OPTIONAL, measure, tool_metrics
from harness.metrics.engine import spectra

# what the tools gave, in the order of NAMES
NAMES = (
    "bleedless",
    "fullness",
    "bleedless_mr",
    "fullness_mr",
    "l1_freq",
    "log_wmse",
    "log_wmse_msst",
    "aura_stft",
    "aura_mrstft",
    "l1_snr",
    "mrstft",
)
SYNTHETIC = {
    "bleeds": (
        13.42396,
        36.25211,
        13.31898,
        35.01352,
        20.86736,
        20.32695,
        20.32695,
        11.66308,
        13.23802,
        6.203872,
        0.9392291,
    ),
    "quieter": (
        100,
        14.2438,
        100,
        14.2438,
        18.71853,
        10.06069,
        10.06069,
        5.576811,
        5.577199,
        3.456057,
        1.185167,
    ),
    "silent": (
        100,
        0.5824605,
        100,
        0.5989821,
        10.32567,
        4.515517,
        4.515517,
        0.0004209803,
        0.0004771187,
        -30.83083,
        7.034023,
    ),
    "muffled": (
        21.51685,
        6.628019,
        21.58494,
        6.671769,
        12.51735,
        4.515476,
        4.515476,
        1.145205,
        0.642882,
        -4.543196,
        1.607415,
    ),
    "far": (
        3.360295,
        6.558774,
        3.364199,
        7.121141,
        0.8597997,
        -3.597093,
        -3.597093,
        2.220165,
        2.2937,
        -13.93967,
        9.86579,
    ),
}
REAL = {
    "funk-groove1 (roots)": (
        66.73891,
        19.02838,
        65.72879,
        18.36773,
        86.45428,
        21.59352,
        21.59352,
        9.368913,
        10.26209,
        10.15411,
        0.832155,
    ),
    "hiphop-groove6 (socal)": (
        28.64723,
        36.49899,
        25.97026,
        37.51674,
        85.93532,
        21.17399,
        21.17399,
        9.600025,
        11.77357,
        7.214075,
        0.8958066,
    ),
    "soul-groove3 (east bay)": (
        61.51156,
        22.44429,
        31.1359,
        34.99102,
        87.78821,
        20.795,
        20.795,
        10.27649,
        11.92522,
        7.841076,
        0.7954061,
    ),
}
CROSSED = (38.74715, 38.02486)  # log_wmse and log_wmse_msst, see the test of them
TOLERANCE = 1e-3  # 1e-5 of a range of 100, and 1e-4 of the 10 that distances span
# Of the tools, float32 decides whether two nearly equal levels are above or below each other; one
# of 7535 moves a mean by 1e-4. `test_levels_are_those_of_double_precision` knows the true values.
ROUNDED = dict.fromkeys(("bleedless", "fullness", "bleedless_mr", "fullness_mr"), 1e-2)


def synthetic() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Half a second in stereo: the reference, the mixture, and five estimates."""
    rng = np.random.default_rng(7)
    t = np.arange(22050) / 44100
    tone = 0.3 * np.sin(2 * np.pi * (220 * t + 40 * t**2)) * np.exp(-3 * (t % 0.25))
    noise = rng.standard_normal((2, t.size))
    reference = np.stack([tone, 0.5 * tone]) + 0.01 * noise
    other = 0.2 * rng.standard_normal((2, t.size)) * (np.sin(2 * np.pi * 3 * t) > 0)
    mixture = (reference + other).astype(np.float32)
    reference = reference.astype(np.float32)
    estimates = {
        "bleeds": reference + 0.1 * (mixture - reference),
        "quieter": reference * np.float32(0.5),
        "silent": reference * 0,
        "muffled": np.diff(reference, axis=1, prepend=0),
        "far": 0.3 * noise[::-1],
    }
    return reference, mixture, {name: x.astype(np.float32) for name, x in estimates.items()}


def soft_mask(mixture: np.ndarray, stem: np.ndarray) -> np.ndarray:
    """Vocals by the ideal mask of powers: some of every other stem stays."""
    x, m = (scipy.signal.stft(s, nperseg=2048)[2] for s in (stem, mixture))
    mask = np.abs(x) ** 2 / (np.abs(x) ** 2 + np.abs(m - x) ** 2 + 1e-12)
    return scipy.signal.istft(mask * m, nperseg=2048)[1]


def percussive(mixture: np.ndarray, stem: np.ndarray) -> np.ndarray:
    """Drums by medians along time and frequency (Fitzgerald 2010): musical noise."""
    m = scipy.signal.stft(mixture, nperseg=2048)[2]
    across, along = (scipy.ndimage.median_filter(np.abs(m), (1, *s)) for s in ((17, 1), (1, 17)))
    mask = across**2 / (across**2 + along**2 + 1e-12)
    return scipy.signal.istft(mask * m, nperseg=2048)[1]


def low_passed(mixture: np.ndarray, stem: np.ndarray) -> np.ndarray:
    """Bass by a filter of the mixture: late in phase, and without its highs."""
    return scipy.signal.sosfilt(scipy.signal.butter(4, 200, fs=44100, output="sos"), mixture)


MADE = {  # song, stem, and what the tools gave
    soft_mask: ("Hendrix", "vocals", (
        42.83344, 18.20375, 43.7272, 18.8057, 33.64172, 15.2426, 15.2426, 16.61808, 16.56633,
        9.105463, 0.4030556,
    )),
    percussive: ("Reggae", "drums", (
        7.603532, 15.84688, 7.691018, 15.51274, 21.36563, 8.279016, 8.279015, 3.671261, 4.671417,
        -0.9086137, 2.53516,
    )),
    low_passed: ("Rock", "bass", (
        10.42768, 9.52733, 13.56316, 8.812271, 25.87604, 5.580176, 5.580176, 4.340407, 3.110494,
        -2.92856, 1.932796,
    )),
}  # fmt: skip


def made(kind, shared_data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reference, estimate and mixture of one second of a real song."""
    song, stem, _ = MADE[kind]
    folder = shared_data / "musdb18hq" / "test" / f"Music Delta - {song}"
    mixture, reference = (
        audio.read(folder / f"{name}.wav", start=220500, frames=44100)[0]
        for name in ("mixture", stem)
    )
    estimate = kind(mixture, reference)[:, :44100]
    return reference, np.ascontiguousarray(estimate, np.float32), mixture


SIGNALS = synthetic()


def check_golden(golden: tuple[float, ...], *signals: np.ndarray) -> None:
    reference, estimate, mixture = signals
    wanted = {
        name: value
        for name, value in zip(NAMES, golden, strict=True)
        if tool_metrics.installed(name)
    }
    found = measure(list(wanted), reference, estimate, 44100, mixture=mixture, threads=1)
    for name, value in wanted.items():
        tolerance = ROUNDED.get(name, TOLERANCE)
        assert found[name] == pytest.approx(value, abs=tolerance), name


def of(name: str, reference: np.ndarray, estimate: np.ndarray, rate: int = 44100) -> float:
    return measure([name], reference, estimate.astype(np.float32), rate, threads=1)[name]


@pytest.mark.parametrize("case", SYNTHETIC)
def test_values_are_those_of_the_tools(case):
    reference, mixture, estimates = SIGNALS
    check_golden(SYNTHETIC[case], reference, estimates[case], mixture)


@pytest.mark.parametrize("song", REAL)
def test_values_of_real_estimates_are_those_of_the_tools(song, shared_data):
    check_golden(REAL[song], *real(song, shared_data))


def real(song: str, shared_data: Path) -> list[np.ndarray]:
    """One second of a kick, of an estimate of it, and of the mixture."""
    folder, part = shared_data / "drums", slice(88200, 132300)
    paths = (
        folder / "tracks" / song / "kick.mp3",
        folder / "estimates" / "larsnet" / song / "kick.mp3",
        next((folder / "tracks" / song).glob("mix*")),
    )
    return [np.ascontiguousarray(audio.read(path)[0][:, part]) for path in paths]


def levels(signal: np.ndarray, size: int) -> np.ndarray:
    """Mel bands of a signal as bleedless defines them, in double precision and dense."""
    padded = np.pad(signal.astype(float), ((0, 0), (size // 2, size // 2)))
    cut = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1)[:, :: size // 4]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    firsts, counts, weights = tool_metrics._mel_filters(size // 2 + 1, size // 8)
    matrix, start = np.zeros((size // 8, size // 2 + 1)), 0
    for row, first, count in zip(matrix, firsts, counts, strict=True):
        row[first : first + count] = weights[start : start + count]
        start += count
    found = np.abs(np.fft.rfft(cut * hann)) @ matrix.T
    return np.maximum(found, max(1e-10, 1e-4 * found.max()))


@pytest.mark.parametrize("song", REAL)
def test_levels_are_those_of_double_precision(song, shared_data):
    reference, estimate, _ = real(song, shared_data)
    above = 20 * np.log10(levels(estimate, 4096) / levels(reference, 4096))
    found = measure(["bleedless", "fullness"], reference, estimate, 44100, threads=1)
    wanted = (100 / (1 + np.abs(above[side]).mean()) for side in (above > 0, above < 0))
    assert list(found.values()) == pytest.approx(list(wanted), abs=1e-3)


@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_values_of_other_kinds_of_estimates_are_those_of_the_tools(kind, shared_data):
    reference, estimate, mixture = made(kind, shared_data)
    check_golden(MADE[kind][2], reference, estimate, mixture)


needs_filter = pytest.mark.skipif(
    not tool_metrics.installed("log_wmse"), reason="torch-log-wmse is not installed"
)


@needs_filter
def test_the_tool_crosses_left_and_right_of_log_wmse():
    reference, mixture, estimates = SIGNALS
    mixture = mixture * np.array([[1], [0.1]], np.float32)
    error = (estimates["bleeds"] - reference) * np.array([[1], [1e-3]], np.float32)
    names = ["log_wmse", "log_wmse_msst"]
    found = measure(names, reference, reference + error, 44100, mixture=mixture)
    assert [found[name] for name in names] == pytest.approx(CROSSED, abs=TOLERANCE)


def test_log_wmse_is_its_formula_for_a_filter_that_does_nothing(monkeypatch):
    taps = np.array([1, 0, 0, 0], np.float32)
    taps = np.roll(taps, 1)  # at the sample that comes out
    monkeypatch.setattr(tool_metrics, "_hearing", lambda rate: taps)
    reference, mixture = np.zeros((2, 8), np.float32), np.ones((2, 8), np.float32)
    mixture[1] = 0.1
    estimate = np.full((2, 8), 0.01, np.float32)
    found = measure(
        ["log_wmse", "log_wmse_msst"], reference, estimate, 44100, mixture=mixture, threads=1
    )
    errors = {1.0: -4 * np.log(0.01**2 + 1e-8), 0.1: -4 * np.log(0.1**2 + 1e-8)}
    assert found["log_wmse"] == pytest.approx(np.mean([*errors.values()]), rel=1e-5)
    below = np.full((2, 8), 0.9e-5, np.float32)  # under −68 dB in both channels
    perfect = measure(["log_wmse"], reference, below, 44100, mixture=mixture, threads=1)
    assert perfect["log_wmse"] == pytest.approx(73.6827, abs=1e-4)


def test_log_wmse_asks_for_the_mixture_and_for_its_package(monkeypatch):
    reference = SIGNALS[0]
    monkeypatch.setattr(tool_metrics, "_response", lambda: None)
    tool_metrics._hearing.cache_clear()
    with pytest.raises(HarnessError, match=r"pip install 'mss-harness\[log-wmse\]'"):
        measure(["log_wmse"], reference, reference, 44100, mixture=reference)
    monkeypatch.setattr(tool_metrics, "_hearing", lambda rate: np.ones(4, np.float32))
    with pytest.raises(HarnessError, match="give the mixture"):
        measure(["log_wmse"], reference, reference, 44100)


def test_what_bleedless_and_fullness_are_deaf_to():
    reference = SIGNALS[0]
    assert of("bleedless", reference, 0 * reference) == 100
    assert of("fullness", reference, reference * 10 ** (-1 / 20)) == pytest.approx(50, abs=1e-3)
    assert of("bleedless", reference, reference * 10 ** (1 / 20)) == pytest.approx(50, abs=1e-3)
    assert of("bleedless", reference, -reference) == of("fullness", reference, -reference) == 100


@pytest.mark.parametrize("name", sorted({*NAMES} - {"log_wmse", "log_wmse_msst", "l1_snr"}))
def test_spectral_metrics_are_deaf_to_polarity_and_best_for_the_reference(name):
    reference, _, estimates = SIGNALS
    best = of(name, reference, reference)
    assert of(name, reference, -reference) == pytest.approx(best, abs=1e-3)
    assert best == pytest.approx(100 if METRICS[name].higher_is_better else 0, abs=1e-3)
    worse = of(name, reference, estimates["far"])
    assert (worse < best) == METRICS[name].higher_is_better


def test_no_value_depends_on_the_threads_or_on_the_company():
    reference, _, estimates = SIGNALS
    names = [name for name in NAMES if not name.startswith("log_wmse")]
    alone = {name: of(name, reference, estimates["far"]) for name in names}
    assert measure(names, reference, estimates["far"], 44100, threads=4) == alone


def test_values_are_the_same_without_a_compiler(monkeypatch):
    reference, mixture, estimates = SIGNALS
    names = [name for name in NAMES if tool_metrics.installed(name)]
    signals = reference, estimates["far"], 44100
    compiled = measure(names, *signals, mixture=mixture, threads=1)
    monkeypatch.setattr(tool_metrics.kernel, "_library", lambda: None)
    assert measure(names, *signals, mixture=mixture, threads=1) == pytest.approx(compiled, rel=1e-5)


@pytest.mark.parametrize("start", [0, 1, 37])
def test_a_filter_is_a_convolution(rng, start):
    taps, signal = (rng.standard_normal(n).astype(np.float32) for n in (38, 9001))
    found = spectra.filtered(signal[None], taps, start)
    wanted = np.convolve(signal.astype(float), taps)[start : start + 9001]
    np.testing.assert_allclose(found, wanted[None], atol=2e-5)


@pytest.mark.parametrize("samples", [65, 100, 128, 300, 1001])
@pytest.mark.parametrize("padding", ["reflect", "zeros"])
def test_frames_are_those_of_a_padded_signal(monkeypatch, rng, samples, padding):
    monkeypatch.setattr(spectra, "CHUNK", 512)
    pair = rng.standard_normal((2, samples)).astype(np.float32)
    found = sorted(spectra.blocks(*pair, 128, [padding]), key=lambda block: block.first)
    mode = {"mode": "reflect"} if padding == "reflect" else {}
    for at, signal in enumerate(pair):
        padded = np.pad(signal, 64, **mode)
        cut = np.lib.stride_tricks.sliding_window_view(padded, 128)[::32]
        together = np.concatenate([block.spectra[at] for block in found])
        np.testing.assert_allclose(together, np.fft.rfft(cut), atol=1e-4)
    assert [block.first for block in found][:2] == [0, 2]


def test_a_track_shorter_than_half_a_window_has_no_value():
    short = SIGNALS[0][:, :1500]
    found = measure(["bleedless", "aura_stft"], short, short, 44100, threads=1)
    assert np.isnan(found["bleedless"])
    assert found["aura_stft"] == 100


def test_unknown_names_are_refused():
    with pytest.raises(HarnessError, match=r"\['snr'\] are not known"):
        measure(["snr"], SIGNALS[0], SIGNALS[0], 44100)


def test_each_record_says_what_its_metric_is_deaf_to():
    deaf = {name for name in OPTIONAL if not METRICS[name].ranks}
    assert deaf == {*tool_metrics.TOOLS, "onset_f", "attack_slope"}
    for name in deaf:
        record = METRICS[name]
        assert "deaf to" in record.definition
        assert (record.compute is None) == (name in tool_metrics.TOOLS)
        assert name not in DEFAULT
    lower = {name for name in OPTIONAL if not METRICS[name].higher_is_better}
    assert lower == {"mrstft", "zimtohrli", "attack_slope", "pes"}


def test_docs_have_every_optional_metric():
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in OPTIONAL if f"`{name}`" not in page] == []


@pytest.mark.skipif(not tool_metrics.installed("zimtohrli"), reason="zimtohrli is not installed")
def test_zimtohrli_is_the_distance_of_its_package():
    from zimtohrli import Pyohrli

    reference, _, estimates = SIGNALS
    signals = [x.mean(axis=0) for x in (reference, estimates["far"])]
    assert of("zimtohrli", reference, estimates["far"], 48000) == Pyohrli().distance(*signals)
    assert of("zimtohrli", reference, reference) == pytest.approx(0, abs=1e-6)


@pytest.mark.skipif(not tool_metrics.installed("zimtohrli"), reason="zimtohrli is not installed")
@pytest.mark.parametrize("kind", MADE, ids=lambda kind: kind.__name__)
def test_zimtohrli_of_real_estimates_is_as_recorded(kind, shared_data):
    """Version 0.2.1.post1 gave these distances for the mean of the channels, brought to 48 kHz."""
    recorded = {"soft_mask": 0.00465035, "percussive": 0.0423715, "low_passed": 0.0105640}
    reference, estimate, _ = made(kind, shared_data)
    assert of("zimtohrli", reference, estimate) == pytest.approx(recorded[kind.__name__], abs=1e-5)
