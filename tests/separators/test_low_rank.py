"""Robust principal component analysis, on matrices and signals whose parts are known."""

import numpy as np
import pytest

from harness.core.errors import HarnessError
from harness.separators.low_rank import Rpca, decompose

RATE = 16000


def snr(reference, estimate):
    error = np.sum((reference.astype(float) - estimate) ** 2)
    return 10 * np.log10(np.sum(reference.astype(float) ** 2) / error)


def planted(rng, rank=8):
    """Return a low-rank matrix and a sparse one with large values at a twentieth of the points."""
    low = (rng.random((200, rank)) @ rng.random((rank, 120))).astype(np.float32)
    here = rng.random(low.shape) < 0.05
    return low, np.where(here, 10 * rng.random(low.shape), 0).astype(np.float32)


@pytest.mark.parametrize("weighting", [0.0, 0.5])
def test_planted_low_rank_and_sparse_matrices_are_recovered(rng, weighting):
    low, sparse = planted(rng)
    found_low, found_sparse = decompose(low + sparse, weighting=weighting)
    assert np.linalg.norm(found_low - low) < 1e-3 * np.linalg.norm(low)
    assert np.linalg.norm(found_sparse - sparse) < 1e-3 * np.linalg.norm(sparse)


def test_a_search_for_few_values_agrees_with_the_whole_decomposition(rng, monkeypatch):
    low, sparse = planted(rng, rank=4)
    few = decompose(low + sparse)[0]
    monkeypatch.setattr("harness.separators.low_rank.FIRST_RANK", 120)  # all of them
    np.testing.assert_allclose(few, decompose(low + sparse)[0], atol=1e-3)


def test_weights_keep_large_singular_values(rng):
    """With one weight for all, noise of full rank takes from the largest value as from others."""
    matrix = (rng.random((80, 1)) @ rng.random((1, 60))).astype(np.float32)
    matrix += 0.05 * rng.random(matrix.shape).astype(np.float32)
    plain, weighted = (
        np.linalg.svd(decompose(matrix, 3.0, weighting=w)[0], compute_uv=False) for w in (0.0, 3.0)
    )
    assert np.sum(weighted > 1e-2) < np.sum(plain > 1e-2)
    assert weighted[0] == pytest.approx(np.linalg.norm(matrix, 2), rel=0.01)


def test_a_glide_over_held_notes_comes_out():
    time = np.arange(6 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * time) * (np.sin(f * time) > 0) for f in (220, 277, 330))
    voice = 1.5 * np.sin(2 * np.pi * (400 * time + 90 * time**2))
    mixture = (chord + voice).astype(np.float32)[np.newaxis]
    for mask in ("soft", "binary"):
        found = Rpca(sample_rate=RATE, mask=mask).separate(mixture)
        assert snr(voice, found["vocals"][0]) > snr(voice, mixture[0]) + 6


def test_segments_bound_what_is_decomposed_at_once(rng, monkeypatch):
    seen = []

    def watched(matrix, *given, **options):
        seen.append(len(matrix))
        return decompose(matrix, *given, **options)

    monkeypatch.setattr("harness.separators.low_rank.decompose", watched)
    noise = rng.standard_normal((1, 5 * RATE)).astype(np.float32)
    found = Rpca(sample_rate=RATE, seconds=2.0, iterations=3).separate(noise)
    assert len(seen) == 3
    assert max(seen) <= 2 * RATE / 256
    assert np.abs(sum(found.values()) - noise).max() < 1e-6


@pytest.mark.parametrize("wrong", [{"sparsity": 0.0}, {"weighting": -1.0}, {"seconds": 0.0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(HarnessError, match="out of range"):
        Rpca(sample_rate=RATE, **wrong)


def test_an_unknown_mask_is_refused():
    with pytest.raises(HarnessError, match="mask is 'hard'; choose 'soft' or 'binary'"):
        Rpca(sample_rate=RATE, mask="hard")
