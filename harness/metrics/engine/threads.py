"""Threads of one core each, in which BLAS and PyTorch start no threads of their own.

This is quicker for many small products, the two libraries do not compete for cores, and no number
depends on how many cores there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

from harness.core.machine import cores


def in_threads(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    threads: int | None,
    *,
    transforms: bool = False,
) -> list[Any]:
    """Apply a function to items in threads of one core each; results keep their order.

    `threads` of None means all cores; `transforms` says that the function uses PyTorch.
    """
    count = threads or cores()
    with one_blas_thread():
        if not transforms:
            with ThreadPoolExecutor(count) as pool:
                return list(pool.map(function, items))
        import torch

        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            results = list(pool.map(function, items))
        torch.set_num_threads(torch.get_num_threads())  # for threads made elsewhere
        return results


def one_blas_thread() -> AbstractContextManager[Any]:
    """Restrict BLAS to the calling thread within a context."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return limit


@cache
def _controller() -> ThreadpoolController:
    """Find the BLAS libraries that NumPy and SciPy have loaded."""
    return ThreadpoolController()
