"""The compiled loops give what NumPy gives without them."""

import ctypes
import ctypes.util

import numpy as np
import pytest

from harness.metrics import analyse
from harness.metrics.engine import kernel

ROUNDING = 1e-12  # relative; sums are taken in another order
SHAPES = [(8, 8, 29, 1025), (3, 5, 7, 33), (1, 1, 1, 9), (17, 6, 40, 513)]


@pytest.fixture(params=[True, False], ids=["compiled", "NumPy"])
def compiled(request, monkeypatch):
    if request.param and not kernel.is_compiled():
        pytest.skip("no C compiler was there when the project was installed")
    if not request.param:
        monkeypatch.setattr(kernel, "_library", lambda: None)
    return request.param


def spectra(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


@pytest.mark.parametrize(("signals", "references", "blocks", "bins"), SHAPES)
def test_products_are_those_of_every_bin(compiled, rng, signals, references, blocks, bins):
    leading, delayed = (spectra(rng, n, blocks, bins) for n in (signals, references))
    packed = np.full(kernel.packed_shape(references, blocks, bins), np.nan)
    kernel.pack(list(delayed), packed)
    out = np.full((signals, references, bins), np.nan, np.complex128)
    kernel.multiply(list(leading), packed, out)
    expected = np.einsum("ank,bnk->abk", leading, delayed.conj())
    np.testing.assert_allclose(out, expected, rtol=0, atol=ROUNDING * blocks)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("samples", [0, 1, 50, 99, 100, 120, 300])
def test_a_row_is_cut_into_blocks(compiled, rng, kind, samples):
    row, out = rng.standard_normal(samples).astype(kind), np.full((3, 128), np.nan)
    energy = kernel.cut(row, 100, out)
    padded = np.concatenate([row, np.zeros(300 - samples)]).reshape(3, 100)
    np.testing.assert_array_equal(out, np.pad(padded, ((0, 0), (0, 28))))
    assert energy == pytest.approx(np.sum(padded**2), rel=ROUNDING)


@pytest.mark.parametrize("step", [1, 2], ids=["without gaps", "with gaps"])
@pytest.mark.parametrize("kinds", [(np.float32, np.float32), (np.float32, np.float64)])
def test_inner_products(compiled, rng, step, kinds):
    x, y = (rng.standard_normal(1003).astype(kind)[::step] for kind in kinds)
    x64, y64 = x.astype(float), y.astype(float)
    expected = [x64 @ x64, y64 @ y64, (x64 - y64) @ (x64 - y64), x64 @ y64]
    np.testing.assert_allclose(kernel.inner_products(x, y), expected, rtol=ROUNDING, atol=1e-10)


def test_what_is_not_finite_stays_so(compiled):
    x = np.array([1.0, np.nan, np.inf])
    assert not np.isfinite(kernel.inner_products(x, x)).any()
    assert not np.isfinite(kernel.cut(x, 3, np.empty((1, 4))))


def test_scores_are_the_same_without_a_compiler(rng, monkeypatch):
    if not kernel.is_compiled():
        pytest.skip("no C compiler was there when the project was installed")
    names = ("vocals", "drums", "bass")
    references = {name: rng.standard_normal((2, 30_000)).astype(np.float32) for name in names}
    estimates = {
        n: x + 0.3 * rng.standard_normal(x.shape).astype("f4") for n, x in references.items()
    }
    fast = analyse(references, 10_000).score(estimates)
    monkeypatch.setattr(kernel, "_library", lambda: None)
    slow = analyse(references, 10_000).score(estimates)
    for stem, scores in fast.items():
        for metric, score in scores.items():
            assert score.value == pytest.approx(slow[stem][metric].value, abs=1e-9), (stem, metric)


def test_a_library_of_another_machine_is_not_used(tmp_path, monkeypatch):
    (tmp_path / "libkernel.so").write_bytes(b"not a library")
    monkeypatch.setattr(kernel, "LIBRARY", tmp_path / "libkernel.so")
    with pytest.raises(OSError, match=r"libkernel\.so"):
        ctypes.CDLL(str(kernel.LIBRARY))
    assert kernel._library.__wrapped__() is None


def test_a_library_of_another_version_is_not_used(monkeypatch):
    library = ctypes.util.find_library("c")
    if library is None:
        pytest.skip("no other library is known here")
    monkeypatch.setattr(kernel, "LIBRARY", library)
    assert kernel._library.__wrapped__() is None


FRAMES = [(1, 33), (16, 129), (37, 130)]  # rows, bins
SINGLE = 2e-6  # relative; these loops are in float32


def windowed(spectra):
    """Transform back, apply Hann's window, and transform again, in double precision."""
    size = 2 * (spectra.shape[1] - 1)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return np.fft.rfft(np.fft.irfft(spectra.astype(complex)) * hann)


def frames(rng, *shape):
    signals = rng.standard_normal((shape[0], 2 * (shape[1] - 1)))
    return np.fft.rfft(signals).astype(np.complex64)


@pytest.mark.parametrize("shape", FRAMES)
def test_sizes_of_windowed_spectra(compiled, rng, shape):
    x = frames(rng, *shape)
    atol = SINGLE * np.abs(x).max()
    np.testing.assert_allclose(kernel.sizes(x), np.abs(windowed(x)), atol=atol)
    np.testing.assert_allclose(kernel.sizes(x, windowed=False), np.abs(x), atol=atol)
    raised = np.maximum(np.abs(windowed(x)), 3)
    np.testing.assert_allclose(kernel.sizes(x, 9.0), raised, atol=atol)


@pytest.mark.parametrize("shape", FRAMES)
def test_sums_over_real_and_imaginary_parts(compiled, rng, shape):
    x, y = frames(rng, *shape), frames(rng, *shape)
    both = windowed(y) - windowed(x), windowed(x)
    expected = [np.abs(part).sum() for z in both for part in (z.real, z.imag)]
    np.testing.assert_allclose(kernel.parts(x, y), expected, rtol=SINGLE)


@pytest.mark.parametrize("shape", [*FRAMES, (3, 5)])
def test_distances_and_levels(compiled, rng, shape):
    x, y = np.exp(3 * rng.standard_normal((2, *shape))).astype(np.float32)
    y[0, :3] = x[0, :3]
    a, b = x.astype(float), y.astype(float)
    expected = [np.sum(z) for z in ((b - a) ** 2, a**2, b**2, np.abs(np.log(b / a)))]
    np.testing.assert_allclose(kernel.distances(x, y), expected, rtol=SINGLE)
    logs = np.log(np.maximum(b, 1.5) / np.maximum(a, 0.25))
    parts = logs[logs > 0], logs[logs < 0]
    found = kernel.level_sums(x, y, (0.25, 1.5))
    np.testing.assert_allclose(found[:2], [part.sum() for part in parts], rtol=SINGLE)
    assert found[2:].tolist() == [part.size for part in parts]


@pytest.mark.parametrize("rows", [1, 16, 35])
def test_bands_are_weighted_sums_of_neighbors(compiled, rng, rows):
    x = rng.random((rows, 40)).astype(np.float32)
    matrix = np.zeros((4, 40))
    matrix[0, 0], matrix[2, 3:9], matrix[3, 20:] = 2, rng.random(6), rng.random(20)
    weights = matrix[matrix > 0].astype(np.float32)
    filters = kernel.Filters(*np.array([[0, 0, 3, 20], [1, 0, 6, 20]], np.int32), weights)
    np.testing.assert_allclose(kernel.bands(x, filters), x @ matrix.T, rtol=SINGLE)
