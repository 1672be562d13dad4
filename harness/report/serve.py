"""A read-only web server of the reports that only this machine can reach.

Pages also work as files. The server is for browsers and machines where that is blocked, such as a
container with a forwarded port.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html import escape
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from harness.core.errors import HarnessError

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


@contextmanager
def serving(folder: Path, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Yield a server of a folder of reports; `port` 0 takes a free one.

    Call its `serve_forever` to start it.
    """
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; write a report first: harness report")
    try:
        handler = partial(ReportHandler, directory=str(folder.resolve()))
        server = ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise HarnessError(
            f"port {port}: not available ({error}); omit --port to use a free one"
        ) from error
    server.daemon_threads = True
    try:
        yield server
    finally:
        server.server_close()


def address(server: ThreadingHTTPServer, path: str = "") -> str:
    """Return the address of a page in the folder."""
    return f"http://{HOST}:{server.server_port}/{quote(path)}"


def find(root: Path, path: str) -> Path | None:
    """Return the file at an address, or None if there is none inside the folder.

    The address of a folder means its ``index.html``. Hidden files are not found, and neither are
    files outside that a link points to.
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
    """Return a page with a link to each report in the folder."""
    found = sorted(path.parent.name for path in root.glob("*/index.html"))
    links = "".join(f'<li><a href="{quote(name)}/">{escape(name)}</a></li>' for name in found)
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Reports</title>'
        '<meta name="color-scheme" content="light dark"><body style="font: 16px/1.6 system-ui">'
        f"<h1>Reports</h1><ul>{links or '<li>none yet</li>'}</ul></body></html>"
    ).encode()


class ReportHandler(SimpleHTTPRequestHandler):
    """Answers GET and HEAD with what `find` finds; the first page lists the reports."""

    server_version, sys_version = "harness", ""
    protocol_version = "HTTP/1.1"

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Send status and headers, and return the content if there is any."""
        root, path = Path(self.directory), urlsplit(self.path).path
        name = (self.headers.get("Host") or "").rpartition(":")[0]
        if name not in (HOST, "localhost"):  # a foreign name that points here (DNS rebinding)
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return None
        file = find(root, path)
        if file is None and path != "/":
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        if file and file.name == "index.html" and not path.endswith(("/", "index.html")):
            self._send_headers(HTTPStatus.FOUND, {"Location": f"{path}/"}, 0)
            return None
        content = file.open("rb") if file else io.BytesIO(listing(root))
        suffix = file.suffix.lower() if file else ".html"
        length = content.seek(0, io.SEEK_END)
        content.seek(0)
        kind = TYPES.get(suffix, "application/octet-stream")
        self._send_headers(HTTPStatus.OK, {"Content-Type": kind}, length)
        return content

    def _send_headers(self, status: HTTPStatus, headers: dict[str, str], length: int) -> None:
        """Send the status and the headers of an answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def end_headers(self) -> None:
        """Add what is true of every answer."""
        self.send_header("Cache-Control", "no-store")  # a rewritten report is shown at once
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the terminal quiet."""
