"""Large memory that is used again from track to track, since new memory takes seconds a gigabyte.

An operating system hands memory out page by page, each zeroed as it is first touched; that can take
longer than the scoring that wanted it.
"""

from __future__ import annotations

import weakref
from math import prod
from threading import RLock

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

KEPT = 1_000_000_000  # bytes that wait to be used again, at most
WASTE = 1.25  # a buffer may be so much larger than what is asked for

_spare: list[Float64] = []
_lock = RLock()  # a finalizer may run while its thread holds it


def borrow(shape: tuple[int, ...], owner: object) -> Float64:
    """Return an array of any content, which is used again when its owner is gone.

    Parameters
    ----------
    owner
        No view of the array may outlive it.
    """
    size = prod(shape)
    buffer = _take(size)
    weakref.finalize(owner, _give_back, buffer).atexit = False
    return buffer[:size].reshape(shape)


def release() -> None:
    """Give what waits to be used again back to the system."""
    with _lock:
        _spare.clear()


def _take(size: int) -> Float64:
    """Take the smallest fitting buffer, or make one."""
    with _lock:
        sizes = [len(buffer) for buffer in _spare]
        fitting = [length for length in sizes if size <= length <= WASTE * size]
        return _spare.pop(sizes.index(min(fitting))) if fitting else np.empty(size)


def _give_back(buffer: Float64) -> None:
    """Keep a buffer, and drop the oldest ones beyond what may wait."""
    with _lock:
        _spare.append(buffer)
        while sum(each.nbytes for each in _spare) > KEPT:
            _spare.pop(0)
