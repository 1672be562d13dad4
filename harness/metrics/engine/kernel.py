"""The loops in which scoring spends its time, in C if a compiler was available.

``kernel.c`` is compiled when the project is installed. Without a compiler NumPy does the same in
about twice the time, with other rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse

from harness.core.audio import Audio, Float64

Complex64 = npt.NDArray[np.complex64]
Complex128 = npt.NDArray[np.complex128]
Row = npt.NDArray[np.floating[Any]]
Packed = npt.NDArray[Any]
Spectra = Sequence[Complex128]

LIBRARY = Path(__file__).with_name("libkernel.so")
TILE = 8  # bins treated together
GROUP = 4  # the number of signals is filled up with zeros to a multiple of this
MAX_BLOCKS = 64  # limit of `multiply`
LANES = 16  # numbers of type float32 treated together
SAMPLES = {"float32": "float", "float64": "double"}


def is_compiled() -> bool:
    """Whether the compiled loops are available."""
    return _library() is not None


def packed_shape(signals: int, blocks: int, bins: int) -> tuple[int, ...]:
    """Shape of what `pack` writes, of type float64."""
    if not is_compiled():
        return bins, blocks, 2 * signals
    return -(-bins // TILE), -(-signals // GROUP) * GROUP, blocks, 2, TILE


def pack(spectra: Spectra, out: Packed) -> None:
    """Write spectra, one array (blocks, bins) per signal, to `out` in the order for `multiply`."""
    if library := _library():
        library.pack(*_pointers(spectra), out.ctypes.data)
    else:
        np.conjugate(np.stack(spectra).T, out=out.view(np.complex128))


def multiply(leading: Spectra, delayed: Packed, out: Complex128) -> None:
    """Sum leading · conj(delayed) over the blocks, with `delayed` packed.

    `leading` has one array of shape (blocks, bins) per signal; `out` has shape (signals,
    references, bins).
    """
    if library := _library():
        library.multiply(*_pointers(leading), delayed.ctypes.data, out.shape[1], out.ctypes.data)
    else:
        products = np.stack(leading).transpose(2, 0, 1) @ delayed.view(np.complex128)
        np.copyto(out, products.transpose(1, 2, 0))


def cut(row: Row, hop: int, out: Float64) -> float:
    """Cut a signal into blocks of `hop` samples, filled up with zeros, and return its energy.

    `row` has at most ``len(out) * hop`` samples, float32 or float64; `out` has shape (blocks, at
    least `hop`).
    """
    library = _library()
    if library and _fits(row):
        function = getattr(library, f"cut_{SAMPLES[row.dtype.name]}")
        target = len(out), hop, out.shape[1], out.ctypes.data
        energy: float = function(row.ctypes.data, len(row), *target)
        return energy
    full, rest = divmod(len(row), hop)
    out[...] = 0
    out[:full, :hop] = row[: full * hop].reshape(full, hop)
    if rest:
        out[full, :rest] = row[full * hop :]
    return float(np.vdot(out, out))


def inner_products(x: Row, y: Row) -> Float64:
    """Return ⟨x,x⟩, ⟨y,y⟩, ⟨x−y,x−y⟩ and ⟨x,y⟩ of two signals of equal length."""
    library = _library()
    if library and _fits(x) and _fits(y) and x.dtype == y.dtype:
        out = np.zeros(4)
        function = getattr(library, f"inner_{SAMPLES[x.dtype.name]}")
        function(x.ctypes.data, y.ctypes.data, len(x), out.ctypes.data)
        return out
    x, y = x.astype(np.float64), y.astype(np.float64)
    with np.errstate(all="ignore"):  # callers refuse what is not finite
        xx, yy, xy = x @ x, y @ y, x @ y
        x -= y
        return np.array([xx, yy, x @ x, xy])


class Filters(NamedTuple):
    """Bands as weighted sums of neighboring bins."""

    firsts: npt.NDArray[np.int32]  # first bin of each band
    counts: npt.NDArray[np.int32]  # bins of each band
    weights: Audio  # of these bins, one band after the other


def sizes(spectra: Complex64, least: float = 0.0, *, windowed: bool = True) -> Audio:
    """Return absolute values of spectra, (frames, bins), that are given Hann's window, or none.

    There are at least 18 bins. Powers below `least` are raised to it.
    """
    if library := _library():
        out = np.empty(spectra.shape, np.float32)
        source = spectra.ctypes.data, *spectra.shape
        library.sizes(*source, windowed, least, out.ctypes.data)
        return out
    found = _windowed(spectra) if windowed else spectra
    power = found.real**2 + found.imag**2
    return np.asarray(np.sqrt(np.maximum(power, np.float32(least))))


def distances(x: Audio, y: Audio) -> Float64:
    """Return the sums of (y − x)², x², y² and the absolute log(y / x), shape (rows, numbers)."""
    if library := _library():
        return _summed(library.distances, x, y)
    found = (y - x) ** 2, x**2, y**2, np.abs(np.log(y / x))
    return np.array([part.sum(dtype=np.float64) for part in found])


def parts(x: Complex64, y: Complex64) -> Float64:
    """Add up the real and the imaginary parts, of y − x and of x, with Hann's window.

    Return the sums of the real and the imaginary absolute values of y − x, then of x.
    """
    if library := _library():
        return _summed(library.parts, x, y)
    x, y = _windowed(x), _windowed(y)
    numbers = (part for z in (y - x, x) for part in (z.real, z.imag))
    return np.array([np.abs(part).sum(dtype=np.float64) for part in numbers])


def bands(x: Audio, filters: Filters) -> Audio:
    """Filter rows of numbers into bands, (rows, bands)."""
    firsts, counts, weights = filters
    if library := _library():
        out = np.empty((len(x), len(counts)), np.float32)
        across = np.empty((x.shape[1], LANES), np.float32)
        arrays = (array.ctypes.data for array in filters)
        target = len(counts), across.ctypes.data, out.ctypes.data
        library.bands(x.ctypes.data, *x.shape, *arrays, *target)
        return out
    ends = np.cumsum(counts)
    columns = np.repeat(firsts - ends + counts, counts) + np.arange(len(weights))
    shape = len(counts), x.shape[1]
    matrix = scipy.sparse.csr_array((weights, columns, [0, *ends]), shape)
    return np.ascontiguousarray((matrix @ np.ascontiguousarray(x.T)).T)


def level_sums(x: Audio, y: Audio, least: tuple[float, float]) -> Float64:
    """Return the sums of log(y / x) above and below 0, and the count of each.

    Both have shape (rows, numbers); numbers below `least`, of x and y, are raised to it.
    """
    if library := _library():
        return _summed(library.level_sums, x, y, *least)
    logs = np.log(np.maximum(y, np.float32(least[1])) / np.maximum(x, np.float32(least[0])))
    above, below = np.maximum(logs, 0), np.minimum(logs, 0)
    sums = [part.sum(dtype=np.float64) for part in (above, below)]
    return np.array([*sums, *map(np.count_nonzero, (above, below))])


def _summed(function: Any, x: npt.NDArray[Any], y: npt.NDArray[Any], *least: float) -> Float64:
    """Call a compiled function that adds up four numbers over the rows of two arrays."""
    out = np.zeros(4)
    function(x.ctypes.data, y.ctypes.data, *x.shape, *least, out.ctypes.data)
    return out


def _windowed(spectra: Complex64) -> Complex64:
    """Give spectra Hann's window, which in frequency is a sum of three bins."""
    out = spectra / 2
    out[:, 1:-1] -= (spectra[:, :-2] + spectra[:, 2:]) / 4
    for end, neighbor in ((0, 1), (-1, -2)):
        out[:, end] = (spectra[:, end].real - spectra[:, neighbor].real) / 2
    return out


def _fits(row: Row) -> bool:
    """Whether the compiled loops can read a signal."""
    return row.dtype.name in SAMPLES and row.flags.c_contiguous


def _pointers(spectra: Spectra) -> tuple[Any, int, int, int]:
    """Return the addresses of spectra, their number, and their shape."""
    addresses = (ctypes.c_void_p * len(spectra))(*(each.ctypes.data for each in spectra))
    return addresses, len(spectra), *spectra[0].shape


@cache
def _library() -> ctypes.CDLL | None:
    """Load the compiled loops, if they exist, fit this machine and are of this version."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
        _declare(library)
    except (OSError, AttributeError):
        return None
    return library


def _declare(library: ctypes.CDLL) -> None:
    """Tell which arguments the functions take."""
    number, pointer, real = ctypes.c_long, ctypes.c_void_p, ctypes.c_float
    library.pack.argtypes = [pointer, number, number, number, pointer]
    library.multiply.argtypes = [pointer, number, number, number, pointer, number, pointer]
    for sample in SAMPLES.values():
        cut, inner = getattr(library, f"cut_{sample}"), getattr(library, f"inner_{sample}")
        cut.argtypes, cut.restype = [pointer, *[number] * 4, pointer], ctypes.c_double
        inner.argtypes, inner.restype = [pointer, pointer, number, pointer], None
    pair: list[Any] = [pointer, pointer, number, number]
    library.distances.argtypes = library.parts.argtypes = [*pair, pointer]
    library.level_sums.argtypes = [*pair, real, real, pointer]
    library.sizes.argtypes = [pointer, number, number, ctypes.c_int, real, pointer]
    library.bands.argtypes = [pointer, number, number, *[pointer] * 3, number, pointer, pointer]
