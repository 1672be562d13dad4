"""What every network of this project shares: its interface, and a record of how it was built."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn


class Network(nn.Module):
    """From a mixture (B, channels, samples) to estimates (B, stems, channels, samples)."""

    _arguments: dict[str, Any]  # of the subclass's constructor, defaults included

    def __init__(self, stems: Sequence[str], sample_rate: int, channels: int, segment: int) -> None:
        super().__init__()
        self.stems, self.sample_rate = tuple(stems), sample_rate  # output order; Hz
        self.channels, self.segment = channels, segment  # samples in training and inference

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        init, signature = cls.__init__, inspect.signature(cls.__init__)

        @functools.wraps(init)
        def recorded(self: Network, *args: Any, **options: Any) -> None:
            given = signature.bind(self, *args, **options)
            given.apply_defaults()
            init(self, *args, **options)
            _, *arguments = given.arguments.items()  # the first one is self
            self._arguments = {
                name: list(value) if isinstance(value, list | tuple) else value
                for name, value in arguments
            }

        setattr(cls, "__init__", recorded)  # noqa: B010  # mypy: a method

    def config(self) -> dict[str, Any]:
        """Return JSON values: the keyword arguments that build the network again."""
        return dict(self._arguments)
