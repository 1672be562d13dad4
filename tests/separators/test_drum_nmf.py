"""The untrained separator of drums, on hits that are made here and known apart."""

import tracemalloc

import numpy as np
import pytest

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import drum_nmf, spectral
from harness.separators.drum_nmf import KIT, DrumNmf
from harness.separators.spectral import stft_of

RATE = 44100
MIB = 2**20


def snr(reference, estimate):
    error = np.sum((reference.astype(float) - estimate) ** 2)
    return 10 * np.log10(np.sum(reference.astype(float) ** 2) / error)


def hits(sound: np.ndarray, onsets: list[float], seconds: float) -> np.ndarray:
    out = np.zeros(round(seconds * RATE))
    for onset in onsets:
        first = round(onset * RATE)
        part = sound[: len(out) - first]
        out[first : first + len(part)] += part
    return out


def planted(rng, seconds: float = 4.0) -> dict[str, Audio]:
    """A beat of falling sines and filtered noise, each stem panned elsewhere."""
    time = np.arange(RATE // 2) / RATE
    hiss = rng.standard_normal(len(time))
    high = np.diff(hiss, n=4, prepend=np.zeros(4)) / 8
    sounds = {
        "kick": np.sin(2 * np.pi * 55 * time) * np.exp(-time / 0.08),
        "snare": 0.5 * np.sin(2 * np.pi * 210 * time) * np.exp(-time / 0.06)
        + 0.3 * hiss * np.exp(-time / 0.05),
        "toms": 0.8 * np.sin(2 * np.pi * 115 * time) * np.exp(-time / 0.15),
        "hihat_cymbals": 0.2 * high * np.exp(-time / 0.03),
    }
    beat = np.arange(0.0, seconds - 0.5, 0.5)
    onsets = {
        "kick": beat[::2],
        "snare": beat[1::2],
        "toms": beat[3::4] + 0.25,
        "hihat_cymbals": np.concatenate([beat, beat + 0.25]),
    }
    pans = {"kick": (1, 1), "snare": (1, 0.9), "toms": (0.4, 1), "hihat_cymbals": (1, 0.6)}
    return {
        stem: np.outer(pans[stem], hits(sounds[stem], list(onsets[stem]), seconds)).astype(
            np.float32
        )
        for stem in KIT
    }


@pytest.fixture(scope="module")
def beat() -> tuple[dict[str, Audio], Audio, dict[str, Audio]]:
    """True stems, their sum, and what is found in it."""
    stems = planted(np.random.default_rng(5))
    drums = np.sum(list(stems.values()), axis=0, dtype=np.float32)
    return stems, drums, DrumNmf(sample_rate=RATE).separate(drums)


@pytest.mark.parametrize("stem", KIT)
def test_planted_hits_are_found(beat, stem):
    stems, drums, found = beat
    assert snr(stems[stem], found[stem]) > 4.0
    assert snr(stems[stem], found[stem]) > snr(stems[stem], drums) + 6.0


def test_stems_sum_to_the_input_and_are_the_same_again(beat):
    _, drums, found = beat
    assert set(found) == set(KIT)
    assert np.abs(np.sum(list(found.values()), axis=0) - drums).max() < 1e-5
    again = DrumNmf(sample_rate=RATE).separate(drums)
    assert all(np.array_equal(found[stem], again[stem]) for stem in KIT)


def test_level_does_not_matter(beat):
    _, drums, found = beat
    quiet = DrumNmf(sample_rate=RATE).separate(drums / 1024)
    for stem in KIT:
        np.testing.assert_allclose(1024 * quiet[stem], found[stem], atol=1e-3)


def test_silence_stays_silent_and_mono_stays_mono():
    found = DrumNmf(sample_rate=16000).separate(np.zeros((1, 5000), np.float32))
    assert all(x.shape == (1, 5000) and not x.any() for x in found.values())


@pytest.mark.parametrize("shifts", [1, 6])
def test_blocks_do_not_show(beat, monkeypatch, shifts):
    _, drums, found = beat
    if shifts > 1:
        found = DrumNmf(sample_rate=RATE, shifts=shifts).separate(drums)
    monkeypatch.setattr(spectral, "BLOCK_FRAMES", 100)
    other = DrumNmf(sample_rate=RATE, shifts=shifts).separate(drums)
    for stem in KIT:
        np.testing.assert_allclose(other[stem], found[stem], atol=1e-4)


def test_patterns_explain_hits_that_ring_out_better_than_single_frames(rng):
    """Two hits with spectra that change while they ring, at planted places; rank two for both."""
    shifts, bands, n_frames = 6, 20, 150
    true = rng.gamma(0.3, size=(shifts, 2, bands)).astype(np.float32)
    true /= true.sum(axis=(0, 2), keepdims=True)
    hits = np.zeros((n_frames, 2), np.float32)
    hits[rng.choice(n_frames - shifts, 12, replace=False), np.arange(12) % 2] = 1
    levels = drum_nmf._model(hits, true, slice(0, n_frames)) + np.float32(1e-6)
    errors, placed = [], []
    for patterns in (true.sum(axis=0, keepdims=True), true + np.float32(0.3) * true.mean()):
        activations, found = drum_nmf._fit(levels, patterns, np.ones(2, np.float32), 60, 1.0)
        model = drum_nmf._model(activations, found, slice(0, n_frames))
        errors.append(np.abs(model - levels).sum() / levels.sum())
        placed.append(np.sum(activations * hits) / activations.sum())
    assert errors[1] < 0.3 * errors[0]
    assert placed[1] > 0.8 > placed[0]


def test_patterns_may_be_longer_than_the_signal(rng):
    drums = rng.standard_normal((1, 700)).astype(np.float32)
    found = DrumNmf(sample_rate=RATE, shifts=20).separate(drums)
    assert np.abs(np.sum(list(found.values()), axis=0) - drums).max() < 1e-5


def test_patterns_ring_out_and_sum_to_one():
    stft = stft_of(RATE, overlap=4)
    spectra, owner = drum_nmf.describe(stft, RATE, drum_nmf.band_of_bins(stft, RATE))
    patterns = drum_nmf.ringing(spectra, owner, stft.hop / RATE, 8)
    np.testing.assert_allclose(patterns.sum(axis=(0, 2)), 1, rtol=1e-5)
    assert (np.diff(patterns.sum(axis=2), axis=0) < 0).all()


def test_bands_cover_every_bin_in_order():
    stft = stft_of(RATE, overlap=4)
    bands = drum_nmf.band_of_bins(stft, RATE)
    assert len(bands) == stft.n_bins
    assert set(np.diff(bands)) == {0, 1}
    templates, owner = drum_nmf.describe(stft, RATE, bands)
    np.testing.assert_allclose(templates.sum(axis=1), 1, rtol=1e-5)
    assert [KIT[i] for i in sorted(set(owner))] == list(KIT)


def test_activations_explain_what_templates_made(rng):
    stft = stft_of(RATE, overlap=4)
    templates, _ = drum_nmf.describe(stft, RATE, drum_nmf.band_of_bins(stft, RATE))
    true = rng.random((50, len(templates))).astype(np.float32) ** 4
    free = np.ones(len(templates), np.float32)
    activations, kept = drum_nmf._fit(true @ templates, templates[np.newaxis], free, 300, 0.0)
    assert np.array_equal(kept[0], templates)
    error = np.abs(activations @ kept[0] - true @ templates).sum() / (true @ templates).sum()
    assert error < 0.01


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"adaptation": 1.5}, {"shifts": 0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(HarnessError, match="out of range"):
        DrumNmf(sample_rate=RATE, **wrong)


def test_other_stems_are_refused():
    with pytest.raises(HarnessError, match="this method needs kick, snare"):
        DrumNmf(sample_rate=RATE, stems=("kick", "snare"))


@pytest.mark.slow
def test_ten_minutes_fit_in_memory(rng):
    drums = (0.1 * rng.standard_normal((2, 600 * RATE))).astype(np.float32)
    tracemalloc.start()
    DrumNmf(sample_rate=RATE, iterations=1).separate(drums)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * drums.nbytes + 100 * MIB
