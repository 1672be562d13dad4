"""The loops in which scoring spends its time, in C if a compiler was available.

``kernel.c`` is compiled when the project is installed. Without a compiler NumPy does the same in
about twice the time, with other rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.audio import Float64

Complex128 = npt.NDArray[np.complex128]
Row = npt.NDArray[np.floating[Any]]
Packed = npt.NDArray[Any]
Spectra = Sequence[Complex128]

LIBRARY = Path(__file__).with_name("libkernel.so")
TILE = 8  # bins treated together
GROUP = 4  # the number of signals is filled up with zeros to a multiple of this
MAX_BLOCKS = 64  # limit of `multiply`
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


def _fits(row: Row) -> bool:
    """Whether the compiled loops can read a signal."""
    return row.dtype.name in SAMPLES and row.flags.c_contiguous


def _pointers(spectra: Spectra) -> tuple[Any, int, int, int]:
    """Return the addresses of spectra, their number, and their shape."""
    addresses = (ctypes.c_void_p * len(spectra))(*(each.ctypes.data for each in spectra))
    return addresses, len(spectra), *spectra[0].shape


@cache
def _library() -> ctypes.CDLL | None:
    """Load the compiled loops, if they exist and fit this machine."""
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    number, pointer = ctypes.c_long, ctypes.c_void_p
    library.pack.argtypes = [pointer, number, number, number, pointer]
    library.multiply.argtypes = [pointer, number, number, number, pointer, number, pointer]
    for sample in SAMPLES.values():
        cut, inner = getattr(library, f"cut_{sample}"), getattr(library, f"inner_{sample}")
        cut.argtypes, cut.restype = [pointer, *[number] * 4, pointer], ctypes.c_double
        inner.argtypes, inner.restype = [pointer, pointer, number, pointer], None
    return library
