"""Networks that know the arguments they were built with, so that a checkpoint can store them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn


class Configured(nn.Module):
    """A module that records the arguments of its constructor, defaults included."""

    _arguments: dict[str, Any]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        setattr(cls, "__init__", _recording(cls.__init__))  # noqa: B010  # mypy: a method

    def config(self) -> dict[str, Any]:
        """Return JSON values: the keyword arguments that build the network again."""
        return dict(self._arguments)


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor: it keeps its arguments as well."""
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recorded(self: Configured, *args: Any, **options: Any) -> None:
        given = signature.bind(self, *args, **options)
        given.apply_defaults()
        init(self, *args, **options)
        _, *arguments = given.arguments.items()  # the first one is self
        self._arguments = {
            name: list(value) if isinstance(value, list | tuple) else value
            for name, value in arguments
        }

    return recorded
