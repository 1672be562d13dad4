"""Files that others wrote: read once, within bounds, and trusted in nothing."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

LARGEST = 256 * 2**20  # bytes of one file
LONGEST = 200  # characters of a name
LOUDEST = 1000.0  # dB, finite; no 64-bit computation gives more


@dataclass(frozen=True)
class File:
    """A file's name and bytes."""

    path: Path
    content: bytes

    @cached_property
    def sha256(self) -> str:
        """Of the bytes, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    def json(self) -> Any:
        """Return what the JSON holds."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise self.error(f"no JSON ({error})") from error

    def rows(self, columns: Collection[str]) -> Iterator[dict[str, str]]:
        """Yield the lines of a CSV with a head that has these columns."""
        try:
            text = io.StringIO(self.content.decode("utf-8-sig"), newline="")
            lines = csv.DictReader(text, strict=True)
            if missing := [name for name in columns if name not in (lines.fieldnames or ())]:
                raise self.error(f"has no column {missing[0]!r}")
            for row in lines:
                if None in row or None in row.values():
                    raise self.error(f"line {lines.line_num} has not as many cells as the head")
                yield row
        except (ValueError, csv.Error) as error:
            raise self.error(f"no CSV in UTF-8 ({error})") from error

    def error(self, what: str) -> HarnessError:
        """Return the error that says what is wrong with this file."""
        return HarnessError(f"{self.path}: {what}; check the file, or leave it out")

    def name(self, value: object) -> str:
        """Return a name of a track or separator; refuse what is none, or leads to other folders."""
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{str(value)[:40]!r} stands where a name belongs")
        name = value.strip()
        leads_out = any(sign in name for sign in "/\\") or set(name) == {"."}
        if leads_out or not name.isprintable() or len(name) > LONGEST:
            raise self.error(f"{name[:40]!r} cannot be a name")
        return name

    def number(self, value: object) -> float:
        """Return a score in dB; NaN where there is none."""
        if value is None or value == "":
            return math.nan
        error = self.error(f"{str(value)[:40]!r} is no score in dB")
        try:
            number = float(str(value))
        except ValueError:
            raise error from None
        if LOUDEST < abs(number) < math.inf:
            raise error
        return number


def read_file(path: Path) -> File:
    """Read a file.

    Raises
    ------
    HarnessError
        If it is absent, no regular file, unreadable or larger than `LARGEST`.
    """
    if not path.is_file():
        raise HarnessError(f"{path}: no such file or folder; check the name")
    try:
        if path.stat().st_size > LARGEST:
            raise HarnessError(f"{path}: larger than {LARGEST:,} bytes; name a smaller file")
        return File(path, path.read_bytes())
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check it") from error


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and of folders all JSON and CSV files below, sorted.

    Raises
    ------
    HarnessError
        If there is none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        below = sorted(p for p in path.rglob("*") if p.suffix in (".json", ".csv") and p.is_file())
        kept = [p for p in below if not p.name.startswith(".")] if path.is_dir() else [path]
        if not kept:
            raise HarnessError(f"{path}: holds no .json and no .csv file; name one with scores")
        found |= dict.fromkeys(kept)
    return list(found)
