"""Compile the inner loops of the metric engine where there is a C compiler; go on without one.

With HARNESS_PURE=1 nothing is compiled, and the wheel serves every platform.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCE = Path("harness/metrics/engine/kernel.c")
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared")


def platform() -> str:
    """Return the platform of a wheel that is made on this machine, such as ``linux_x86_64``."""
    return next(name for name in platform_tags() if "linux_" not in name or name[:5] == "linux")


class CompileKernel(BuildHookInterface[Any]):
    """Puts ``libkernel.so`` beside ``kernel.c``; `harness.metrics.engine.kernel` loads it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before a wheel, or an editable installation, is made."""
        if self.target_name != "wheel" or os.environ.get("HARNESS_PURE"):
            return
        source = Path(self.root) / SOURCE
        library = source.with_name("libkernel.so")
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        command = [compiler[0], *FLAGS, str(source), "-o", str(library)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.app.display_warning(
                f"scoring will be slower: {source.name} not compiled ({error})"
            )
            library.unlink(missing_ok=True)
            return
        build_data["artifacts"].append(str(SOURCE.with_name(library.name)))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform()}"  # ctypes loads it, whatever the Python
