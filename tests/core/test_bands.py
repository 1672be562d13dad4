"""Bands sum to the signal, hold what lies between their edges, and are weighted one by one."""

import numpy as np
import pytest

from harness.core import bands

RATE = 8000
EDGES = (500.0, 2000.0)


def cut(signal, edges=EDGES, rate=RATE):
    return np.concatenate([*bands.split([signal], bands.low_passes(rate, edges))], axis=3)[:, 0]


def tone(frequency, seconds=1):
    time = np.arange(seconds * RATE) / RATE
    return np.sin(2 * np.pi * frequency * time)[None].astype(np.float32)


@pytest.mark.parametrize("samples", [1, 7, 399, 401, 8000, 70_000])
def test_bands_sum_to_the_signal(rng, samples, monkeypatch):
    monkeypatch.setattr(bands, "PIECE", 1000)
    monkeypatch.setattr(bands, "LEAST", 1000)
    signal = rng.uniform(-1, 1, (2, samples)).astype(np.float32)
    found = cut(signal)
    assert (found.shape, found.dtype) == ((3, 2, samples), np.float32)
    np.testing.assert_allclose(found.sum(axis=0), signal, atol=1e-6)


@pytest.mark.parametrize(("frequency", "band"), [(0, 0), (400, 0), (700, 1), (1800, 1), (2300, 2)])
def test_a_tone_lies_in_its_band(frequency, band):
    signal = tone(frequency) if frequency else np.ones((1, RATE), np.float32)
    inside = slice(RATE // 8, -RATE // 8)
    found, other = cut(signal)[..., inside], [i for i in range(3) if i != band]
    np.testing.assert_allclose(found[band], signal[:, inside], atol=3e-3)
    assert np.abs(found[other]).max() < 3e-3


def test_pieces_make_no_difference(rng, monkeypatch):
    signals = [rng.uniform(-1, 1, (2, 9000)).astype(np.float32) for _ in range(3)]
    taps = bands.low_passes(RATE, EDGES)
    (whole,) = bands.split(signals, taps)
    monkeypatch.setattr(bands, "PIECE", 3000)
    monkeypatch.setattr(bands, "LEAST", 700)
    pieces = list(bands.split(signals, taps))
    assert len(pieces) == 9
    np.testing.assert_allclose(np.concatenate(pieces, axis=3), whole, atol=1e-6)


def test_weights_apply_to_their_bands(rng):
    signal = rng.uniform(-1, 1, (2, 5000)).astype(np.float32)
    weights = (0.5, 0.0, 2.0)
    found = bands.weighted(signal, RATE, EDGES, weights)
    expected = np.tensordot(np.array(weights), cut(signal).astype(np.float64), 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(bands.weighted(signal, RATE, EDGES, 0.5), signal / 2, atol=1e-6)


def test_bands_above_half_the_rate_are_empty(rng):
    signal = rng.uniform(-1, 1, (1, 3000)).astype(np.float32)
    found = cut(signal, (1000.0, 4000.0, 6000.0))
    assert np.abs(found[2:]).max() < 1e-6
    np.testing.assert_allclose(found[:2].sum(axis=0), signal, atol=1e-6)
