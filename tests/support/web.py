"""A web server on this machine that misbehaves as a test wishes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """A web server on this machine; `behave` answers each request, `asked` lists their ranges."""

    url: str
    asked: list[str | None] = field(default_factory=list)
    behave: Callable[[BaseHTTPRequestHandler, int], None] | None = None


@contextmanager
def serving() -> Iterator[Server]:
    """Serve until the block ends."""
    state = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.headers.get("Range"))
            assert state.behave is not None
            state.behave(self, len(state.asked))

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}/file.zip"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def start_of(http: BaseHTTPRequestHandler) -> int:
    wanted = http.headers.get("Range")
    return int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0


def send(http: BaseHTTPRequestHandler, body: bytes, *, stop: int | None = None) -> None:
    """Answer with the body, or its part that was asked for; hang up at `stop`."""
    start = start_of(http)
    if start >= len(body):
        http.send_response(416)
        http.send_header("Content-Range", f"bytes */{len(body)}")
        http.send_header("Content-Length", "0")
        http.end_headers()
        return
    http.send_response(206 if start else 200)
    if start:
        http.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    http.send_header("Content-Length", str(len(body) - start))
    http.end_headers()
    http.wfile.write(body[start:stop])


def refuse(http: BaseHTTPRequestHandler, code: int) -> None:
    http.send_response(code)
    http.send_header("Content-Length", "0")
    http.end_headers()


def redirect(http: BaseHTTPRequestHandler, to: str) -> None:
    http.send_response(302)
    http.send_header("Location", to)
    http.send_header("Content-Length", "0")
    http.end_headers()
