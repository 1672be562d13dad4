"""Read and write museval's JSON, which the tools of the SigSep family read.

The format (museval's ``musdb.schema.json``): per track a list of targets, each with frames of
``time``, ``duration`` and the metrics SDR, SIR, ISR, SAR. museval stores infinity as NaN, rounds
to five digits and writes NaN into its JSON, which strict readers refuse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.audio import Float64
from harness.core.errors import HarnessError

NAMES = {"csdr": "SDR", "sir": "SIR", "isr": "ISR", "sar": "SAR"}
DIGITS = 5


def write_museval(path: Path, frames: Mapping[str, Mapping[str, Float64]]) -> None:
    """Write the 1 s frames of a track (`References.frames`) as museval does, to ``TRACK.json``."""
    targets = [{"name": stem, "frames": _frames(scores)} for stem, scores in frames.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"targets": targets}, indent=2))
    part.replace(path)


def parse_museval(
    content: bytes, where: str, *, window: float | None = None
) -> dict[str, dict[str, Float64]]:
    """Read a track's frames from museval's JSON: stem → metric → dB per frame.

    Errors call the file `where`. If `window` is given, in seconds, frames of another length and
    overlapping ones are refused.
    """
    try:
        targets = json.loads(content)["targets"]
        if window is not None:
            for target in targets:
                _check_frames(target["frames"], window)
        found = {
            target["name"]: {
                name: np.array(
                    [_value(frame["metrics"][theirs]) for frame in target["frames"]], np.float64
                )
                for name, theirs in NAMES.items()
            }
            for target in targets
        }
        if len(found) < len(targets):
            raise ValueError("a target is listed twice")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise HarnessError(f"{where}: not scores of museval ({error}); check the file") from error
    return found


def _frames(scores: Mapping[str, Float64]) -> list[dict[str, Any]]:
    """Return one target's frames as museval stores them; infinite values become NaN."""
    columns = [np.where(np.isfinite(scores[name]), scores[name], np.nan) for name in NAMES]
    rows = [[round(value, DIGITS) for value in frame] for frame in np.transpose(columns).tolist()]
    return [
        {"time": float(i), "duration": 1.0, "metrics": dict(zip(NAMES.values(), row, strict=True))}
        for i, row in enumerate(rows)
    ]


def _check_frames(frames: list[dict[str, Any]], window: float) -> None:
    """Refuse frames unless each lasts `window` seconds and starts where the last one ends."""
    for index, frame in enumerate(frames):
        length, start = _value(frame["duration"]), _value(frame["time"])
        if length != window or abs(start - index * length) > 1e-6:
            raise ValueError(
                f"frame {index} lasts {length:g} s from {start:g} s on; only frames of "
                f"{window:g} s one after another can be read"
            )


def _value(number: float | None) -> float:
    """Return a number of the JSON, NaN for null."""
    if number is None:
        return math.nan
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"{str(number)[:40]!r} is not a number")
    return float(number)
