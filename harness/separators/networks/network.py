"""What every network of this project shares: its interface, and a record of how it was built."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

from torch import nn

from harness.core.errors import HarnessError


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
            self._arguments = {name: _plain(value) for name, value in arguments}

        setattr(cls, "__init__", recorded)  # noqa: B010  # mypy: a method

    def config(self) -> dict[str, Any]:
        """Return JSON values: the keyword arguments that build the network again."""
        return dict(self._arguments)


def _plain(value: Any) -> Any:
    """Return lists for tuples, as JSON has them, also within one another."""
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def refuse_one_stem(network: str, stems: Sequence[str], option: str) -> None:
    """Refuse a single stem where the estimates sum to the mixture: it would be the mixture."""
    if len(stems) < 2:
        raise HarnessError(
            f"{network}: its stems sum to the mixture, so {stems[0]} alone would be the mixture; "
            f"use {option}, or two stems or more"
        )
