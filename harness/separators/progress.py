"""How far a separator has come with one signal, told to whoever listens.

A separator need not tell. What runs others in turn says whose turn it is with `part`, so that each
tells of its own work only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Step = TypeVar("Step")
Listener = Callable[[float], None]  # gets the share that is done, 0 to 1

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(share: float) -> None:
    """Say which share of the work is done; without a listener nothing happens."""
    if listener := _listener.get():
        listener(share)


@contextmanager
def told(listener: Listener | None) -> Iterator[None]:
    """Let a function hear what is told within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def part(index: int, count: int, size: int = 1) -> Iterator[None]:
    """Make what is told within the block that of `size` of `count` equal parts of the work.

    Examples
    --------
    >>> with told(print), part(1, 4):
    ...     tell(0.5)
    0.375
    >>> with told(print), part(40, 100, 60):
    ...     tell(0.5)
    0.7
    """
    whole = _listener.get()
    with told(whole and (lambda share: whole((index + size * share) / count))):
        yield


def each(steps: Sequence[Step]) -> Iterator[Step]:
    """Go through steps that take equally long, and tell after each.

    Examples
    --------
    >>> with told(print):
    ...     list(each("ab"))
    0.5
    1.0
    ['a', 'b']
    """
    for done, step in enumerate(steps, start=1):
        yield step
        tell(done / len(steps))
