"""Show a folder of reports in the browser: a server that only this machine reaches, and reads only.

Pages work from the file system too; the server is for browsers and machines where that is closed,
such as a container whose port is forwarded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copyfileobj
from urllib.parse import quote, unquote, urlsplit

from harness.errors import HarnessError

HOST = "127.0.0.1"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Cache-Control": "no-store",  # a report that was written again is shown again
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Give a server of a folder, bound to this machine alone; it serves when it is told to.

    Parameters
    ----------
    folder
        With one folder a report in it.
    port
        0 takes a free one.

    Raises
    ------
    HarnessError
        If there is no such folder, or the port is taken.
    """
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; write a report first: harness report")
    try:
        server = ThreadingHTTPServer((HOST, port), _handler(folder.resolve()))
    except OSError as error:
        raise HarnessError(f"port {port}: cannot be had ({error}); leave --port out") from error
    server.daemon_threads = True
    try:
        yield server
    finally:
        server.server_close()


def address(server: ThreadingHTTPServer, path: str = "") -> str:
    """Return the address of a page of the folder that is served."""
    return f"http://{HOST}:{server.server_port}/{quote(path)}"


def find(root: Path, path: str) -> Path | None:
    """Return the file of an address, None if it is none inside the folder.

    A folder is its ``index.html``. Nothing hidden is given, and nothing that a link leads out to.
    """
    parts = [part for part in unquote(path).split("/") if part]
    if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
        return None
    try:
        found = root.joinpath(*parts).resolve()
        if found.is_dir():
            found = (found / "index.html").resolve()
        inside = found.is_relative_to(root) and found.is_file()
    except (OSError, ValueError):
        return None
    return found if inside else None


def listing(root: Path) -> bytes:
    """Return a page with a link to each report of the folder."""
    found = sorted(path.parent.name for path in root.glob("*/index.html"))
    links = "".join(f'<li><a href="{quote(name)}/">{escape(name)}</a></li>' for name in found)
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Reports</title>'
        '<meta name="color-scheme" content="light dark"><body style="font: 16px/1.6 system-ui">'
        f"<h1>Reports</h1><ul>{links or '<li>none yet</li>'}</ul></body></html>"
    ).encode()


def _handler(root: Path) -> type[BaseHTTPRequestHandler]:
    """Return what answers requests for the files of one folder."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "harness", ""
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, *, body: bool) -> None:
            """Send a file, a folder's index, the list of reports, or what is wrong."""
            path = urlsplit(self.path).path
            if not self._asks_this_machine():
                return self._send(HTTPStatus.MISDIRECTED_REQUEST, b"", "text/plain", body=body)
            if (file := find(root, path)) is None:
                if path == "/":
                    return self._send(HTTPStatus.OK, listing(root), TYPES[".html"], body=body)
                return self._send(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain", body=body)
            if file.name == "index.html" and not path.endswith(("/", "index.html")):
                return self._send(HTTPStatus.FOUND, b"", "text/plain", body=body, to=f"{path}/")
            return self._send_file(file, body=body)

        def _asks_this_machine(self) -> bool:
            """Whether no foreign name was made to point here (DNS rebinding)."""
            name = (self.headers.get("Host") or "").rpartition(":")[0]
            return name in (HOST, "localhost")

        def _send_file(self, file: Path, *, body: bool) -> None:
            """Send a file in pieces, as long as it was when it was opened."""
            kind = TYPES.get(file.suffix.lower(), "application/octet-stream")
            with file.open("rb") as stream:
                self._head(HTTPStatus.OK, os.fstat(stream.fileno()).st_size, kind)
                if body:
                    copyfileobj(stream, self.wfile)

        def _send(
            self, status: HTTPStatus, content: bytes, kind: str, *, body: bool, to: str = ""
        ) -> None:
            """Send what is in memory."""
            self._head(status, len(content), kind, to)
            if body:
                self.wfile.write(content)

        def _head(self, status: HTTPStatus, length: int, kind: str, to: str = "") -> None:
            """Send the head of an answer."""
            self.send_response(status)
            fields = {"Content-Type": kind, "Content-Length": str(length), **_HEADERS}
            for name, value in (fields | ({"Location": to} if to else {})).items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the terminal belongs to the user."""

    return Handler
