"""Any program as a separator: a wave file in, wave files out."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from harness.core import audio
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.machine import GROUPS
from harness.separators.from_disk import FromDisk, find_output

INPUT, OUTPUT, STEMS = "{input}", "{output}", "{stems}"  # replaced in the arguments
SONG = "song"  # name of the input without ``.wav``; programs name files and folders after it
SUBTYPES = {"32f": "FLOAT", "24": "PCM_24", "16": "PCM_16"}  # of the input file
HOUR = 3600.0  # seconds
KEPT = 2**16  # bytes of what a program prints that are kept
SHOWN = 1500  # characters of them in an error
PAUSE = 2.0  # seconds to wait for the rest of the output of a program that has ended
MOST_NAMES = 10  # files in an error


class Command:
    """Run a program once per signal, in the folder worked in and without a shell.

    Parameters
    ----------
    command
        The program and its arguments. ``{input}`` becomes the path of a wave file, ``{output}`` of
        an empty folder, and ``{stems}`` the stems with commas between them; ``~/`` at the beginning
        of an argument is the home folder.
    environment
        Variables for the program besides those of this process; None removes one.
    time_limit
        Seconds for one signal. Then the program ends, with every program that it started.
    bits
        Of the wave file: ``32f``, ``24`` or ``16``.
    version
        Any text; another one means that the program now gives other estimates.
    """

    parameters = None  # number of trained values: unknown

    def __init__(
        self,
        *,
        sample_rate: int,
        stems: tuple[str, ...],
        input_stem: str = "mixture",
        command: Sequence[str],
        environment: Mapping[str, str | None] | None = None,
        time_limit: float = HOUR,
        bits: str | int = "32f",
        version: str | float = "",
    ) -> None:
        self.sample_rate, self.stems, self.input_stem = sample_rate, tuple(stems), input_stem
        self.notes: list[str] = []
        _check(command, environment or {}, time_limit, str(bits))
        self._arguments, self._limit = _expanded(command), float(time_limit)
        self._subtype = SUBTYPES[str(bits)]
        own = {name: str(text) for name, text in (environment or {}).items() if text is not None}
        self._environment = {k: v for k, v in os.environ.items() if k not in (environment or {})}
        self._environment |= own
        self._where = f"program {shlex.join(command)[:80]}"
        if not shutil.which(self._arguments[0], path=self._environment.get("PATH")):
            raise HarnessError(
                f"{self._where}: {self._arguments[0]} is not a program that can be run here; "
                "install it, or give its path"
            )

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate} as the program wrote them, with any length and channels."""
        with tempfile.TemporaryDirectory(prefix="harness-", ignore_cleanup_errors=True) as folder:
            return self._in(Path(folder), audio)

    def _in(self, folder: Path, given: Audio) -> dict[str, Audio]:
        """Separate with files in a folder."""
        song, output = folder / f"{SONG}.wav", folder / "output"
        output.mkdir()
        audio.write(song, given, self.sample_rate, subtype=self._subtype)
        values = {INPUT: str(song), OUTPUT: str(output), STEMS: ",".join(self.stems)}
        status, printed = _run(
            [_filled(argument, values) for argument in self._arguments],
            self._environment,
            self._limit,
        )
        if status is None:
            raise HarnessError(
                f"{self._where}: took more than {self._limit:g} s and was ended; "
                f"raise its time_limit, {_last(printed)}"
            )
        if status:
            ended = f"signal {-status}" if status < 0 else f"exit status {status}"
            raise HarnessError(
                f"{self._where}: ended with {ended}; correct the command, {_last(printed)}"
            )
        files, notes = find_output(output, SONG, self.stems)
        if missing := [stem for stem in self.stems if stem not in files]:
            names = sorted(str(p.relative_to(output)) for p in output.rglob("*") if p.is_file())
            some = ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "")
            raise HarnessError(
                f"{self._where}: wrote no {', '.join(missing)} ({some or 'no file'}); "
                f"correct the command or the entry's stems, {'; '.join([*notes, _last(printed)])}"
            )
        for stem, path in files.items():
            if (rate := audio.length(path)[1]) != self.sample_rate:
                raise HarnessError(
                    f"{self._where}: wrote {stem} at {rate} Hz, its input has {self.sample_rate} "
                    "Hz; set sample_rate of the entry to what the program writes"
                )
        found = FromDisk(
            sample_rate=self.sample_rate,
            stems=self.stems,
            files={stem: str(path) for stem, path in files.items()},
            notes=notes,
        )
        estimates = found.separate(given)
        self.notes = found.notes
        return estimates

    @staticmethod
    def about(params: Mapping[str, Any]) -> str:
        """Return in words what an entry with these parameters runs."""
        command = params.get("command", ())
        parts = command if isinstance(command, list | tuple) else [command]
        return f"the program: {shlex.join(map(str, parts))}"

    @staticmethod
    def files(params: Mapping[str, Any]) -> list[Path]:
        """Return the files that a command names; a program that PATH finds is none of them."""
        given = params.get("command", ())
        command = _expanded([str(a) for a in given]) if isinstance(given, list | tuple) else []
        return named_files(a for i, a in enumerate(command) if i or "/" in a)


def named_files(values: Any) -> list[Path]:
    """Return the values that are paths of files."""
    found = []
    for value in values:
        with suppress(OSError, ValueError):  # no path of this system
            if isinstance(value, str) and value and Path(value).is_file():
                found.append(Path(value))
    return found


def _check(command: Any, environment: Any, time_limit: Any, bits: str) -> None:
    """Refuse parameters that no program can be run with."""
    if not isinstance(command, list | tuple) or not all(isinstance(a, str) for a in command):
        raise HarnessError(
            f"command {command!r}: is not a list of texts; write each argument as one, such as "
            f"[bash, separate.sh, '{INPUT}', '{OUTPUT}']"
        )
    for needed in (INPUT, OUTPUT):
        if not any(needed in argument for argument in command):
            raise HarnessError(
                f"command {shlex.join(command)!r}: has no {needed}; add it as an argument"
            )
    if not isinstance(environment, Mapping) or not all(
        isinstance(text, str | int | float | None) for text in environment.values()
    ):
        raise HarnessError(
            f"environment {environment!r}: is not a mapping of names to texts; correct it"
        )
    if not isinstance(time_limit, int | float) or not time_limit > 0:
        raise HarnessError(f"time_limit {time_limit!r}: is not a number above 0; give seconds")
    if bits not in SUBTYPES:
        raise HarnessError(f"bits {bits!r}: not known; use {', '.join(SUBTYPES)}")


def _expanded(command: Sequence[str]) -> list[str]:
    return [str(Path(a).expanduser()) if a.startswith("~/") else a for a in command]


def _filled(argument: str, values: Mapping[str, str]) -> str:
    """Replace what stands in braces, once: a path that holds braces stays as it is."""
    pattern = "|".join(map(re.escape, values))
    return re.sub(pattern, lambda match: values[match[0]], argument)


def _run(
    arguments: Sequence[str], environment: Mapping[str, str], limit: float
) -> tuple[int | None, str]:
    """Run a program; return its exit status, None if it took too long, and the end of its output.

    It gets a process group of its own, which ends with it, and no input.
    """
    try:
        process = subprocess.Popen(
            arguments,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise HarnessError(
            f"program {arguments[0]}: cannot be started ({reason}); correct the command"
        ) from error
    status: int | None = None
    with (
        _reading(process.stdout) as printed,
        _ending(process),
        suppress(subprocess.TimeoutExpired),
    ):
        status = process.wait(limit)
    return status, printed.decode(errors="replace")


@contextmanager
def _ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a program with all that it started when the block ends, and with this process."""
    GROUPS.add(process.pid)
    try:
        yield
    finally:
        _kill(process)
        process.wait()
        GROUPS.discard(process.pid)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # all have ended
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


@contextmanager
def _reading(stream: IO[bytes] | None) -> Iterator[bytearray]:
    """Read a program's output while the block runs; the end of it is kept."""
    printed = bytearray()

    def read() -> None:
        while stream and (some := os.read(stream.fileno(), KEPT)):
            printed.extend(some)
            del printed[:-KEPT]

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield printed
    finally:
        thread.join(PAUSE)
        if stream and not thread.is_alive():
            stream.close()


def _last(printed: str) -> str:
    """Return the end of what a program printed as part of a sentence."""
    lines = re.sub(r"[^\n]*\r(?!\n)", "", printed).strip()  # a progress bar: only its last state
    if not lines:
        return "it printed nothing"
    cut = "… " if len(lines) > SHOWN else ""
    return f"it printed: {cut}{lines[-SHOWN:]}"
