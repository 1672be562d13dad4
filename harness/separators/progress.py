"""The progress of a separator on one signal, reported to a listener.

A separator does not have to report. Code that runs several separators in turn marks the turns with
`part`, so that each reports its own work only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Step = TypeVar("Step")
Listener = Callable[[float], None]  # called with the finished share, 0 to 1

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(share: float) -> None:
    """Report the finished share of the work; without a listener nothing happens."""
    if listener := _listener.get():
        listener(share)


@contextmanager
def told(listener: Listener | None) -> Iterator[None]:
    """Send the reports within the block to a function, or to nobody."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def part(index: int, count: int, size: int = 1) -> Iterator[None]:
    """Count the work within the block as `size` of `count` equal parts of the whole.

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
    """Iterate over steps of equal length, and report after each.

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
