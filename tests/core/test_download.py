import errno
import hashlib
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from web import Server, redirect, refuse, send, start_of

from harness.core import download as module
from harness.core.download import download, forbidden
from harness.core.errors import HarnessError
from harness.core.files import file_digest

BODY = np.random.default_rng(7).bytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()


def plain(http: BaseHTTPRequestHandler, _: int) -> None:
    send(http, BODY)


def test_whole_file_and_progress(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    seen: list[tuple[int, int | None]] = []
    path = download(
        [server.url],
        tmp_path / "new" / "file.zip",
        sha256=SHA256.upper(),
        md5=MD5,
        size=len(BODY),
        progress=lambda have, total: seen.append((have, total)),
    )
    assert path.read_bytes() == BODY
    assert file_digest(path) == SHA256
    assert seen[-1] == (len(BODY), len(BODY))
    assert list(path.parent.iterdir()) == [path]


def test_what_is_there_and_right_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "file.zip"
    path.write_bytes(BODY)
    assert download([server.url], path, sha256=SHA256) == path
    assert server.asked == []


def test_a_forbidden_download_asks_no_server_and_takes_what_is_there(
    server: Server, tmp_path: Path
) -> None:
    server.behave = plain
    path = tmp_path / "file.zip"
    with forbidden():
        with pytest.raises(HarnessError, match="is not downloaded; --offline forbids the network"):
            download([server.url], path, sha256=SHA256)
        path.write_bytes(BODY)
        assert download([server.url], path, sha256=SHA256) == path
    assert server.asked == []
    path.unlink()
    assert download([server.url], path, sha256=SHA256).read_bytes() == BODY


def test_what_is_there_and_wrong_is_replaced(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    path = tmp_path / "file.zip"
    path.write_bytes(b"truncated")
    assert download([server.url], path, md5=MD5).read_bytes() == BODY


def test_dropped_connections_are_continued(server: Server, tmp_path: Path) -> None:
    stops = {1: 100_000, 2: 200_000}
    server.behave = lambda http, n: send(http, BODY, stop=stops.get(n))
    path = download([server.url], tmp_path / "file.zip", sha256=SHA256)
    assert path.read_bytes() == BODY
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]


def test_server_that_always_hangs_up_is_given_up(server: Server, tmp_path: Path) -> None:
    server.behave = lambda http, n: send(http, BODY, stop=1000)
    with pytest.raises(HarnessError, match="dropped after 1000 of 300000 bytes"):
        download([server.url], tmp_path / "file.zip", sha256=SHA256)
    assert not (tmp_path / "file.zip").exists()
    assert (tmp_path / "file.zip.part").stat().st_size == 1000
    assert len(server.asked) == 1 + module.TRIES


def test_server_that_sends_a_few_bytes_at_a_time_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIES", 2)

    def trickle(http: BaseHTTPRequestHandler, n: int) -> None:
        text = f"HTTP/1.0 200 OK\r\nContent-Length: {len(BODY)}\r\n"
        if n == 1:  # in the headers, then in the body
            text += "X-Long: " + "x" * 1000
        else:
            http.wfile.write(text.encode() + b"\r\n")
            text = "y" * 1000
        with suppress(OSError):  # the client hangs up
            for sign in text:
                http.wfile.write(sign.encode())
                http.wfile.flush()
                time.sleep(0.02)

    server.behave = trickle
    begun = time.monotonic()
    with pytest.raises(HarnessError, match=r"only \d+ bytes came in \d+ seconds"):
        download([server.url], tmp_path / "file.zip", sha256=SHA256, timeout=0.2)
    assert len(server.asked) == 2
    assert time.monotonic() - begun < 10  # all of it would take 40 s


def test_server_that_hangs_up_after_a_few_bytes_each_time_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOWEST", 1e9)
    server.behave = lambda http, n: send(http, BODY, stop=start_of(http) + 10)
    with pytest.raises(HarnessError, match="dropped after"):
        download([server.url], tmp_path / "file.zip", sha256=SHA256)
    assert len(server.asked) == module.TRIES


def test_what_a_killed_process_left_is_continued(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    (tmp_path / "file.zip.part").write_bytes(BODY[:123_456])
    assert download([server.url], tmp_path / "file.zip", sha256=SHA256).read_bytes() == BODY
    assert server.asked == ["bytes=123456-"]


def test_without_a_hash_what_was_left_is_not_trusted(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    (tmp_path / "file.zip.part").write_bytes(b"another file")
    assert download([server.url], tmp_path / "file.zip", size=len(BODY)).read_bytes() == BODY
    assert server.asked == [None]


def test_part_of_another_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    (tmp_path / "file.zip.part").write_bytes(b"x" * 1000)
    assert download([server.url], tmp_path / "file.zip", sha256=SHA256).read_bytes() == BODY
    assert server.asked == ["bytes=1000-", None]


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_complete_part_needs_no_byte(server: Server, tmp_path: Path, size: int | None) -> None:
    server.behave = plain
    (tmp_path / "file.zip.part").write_bytes(BODY)
    path = download([server.url], tmp_path / "file.zip", sha256=SHA256, size=size)
    assert path.read_bytes() == BODY
    assert server.asked == ([] if size else ["bytes=300000-"])  # the latter is answered with 416


@pytest.mark.parametrize("size", [None, len(BODY)])
def test_part_that_is_too_long_is_begun_anew(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    server.behave = plain
    (tmp_path / "file.zip.part").write_bytes(BODY + b"more")
    path = download([server.url], tmp_path / "file.zip", sha256=SHA256, size=size)
    assert path.read_bytes() == BODY


def test_server_that_knows_no_ranges(server: Server, tmp_path: Path) -> None:
    def behave(http: BaseHTTPRequestHandler, _: int) -> None:
        http.send_response(200)
        http.send_header("Content-Length", str(len(BODY)))
        http.end_headers()
        http.wfile.write(BODY)

    server.behave = behave
    (tmp_path / "file.zip.part").write_bytes(BODY[:5000])
    assert download([server.url], tmp_path / "file.zip", sha256=SHA256).read_bytes() == BODY
    assert server.asked == ["bytes=5000-"]


def test_server_that_sends_another_range(server: Server, tmp_path: Path) -> None:
    def behave(http: BaseHTTPRequestHandler, n: int) -> None:
        if n > 1:
            return send(http, BODY)
        http.send_response(206)
        http.send_header("Content-Range", f"bytes 0-99/{len(BODY)}")
        http.send_header("Content-Length", "100")
        http.end_headers()
        http.wfile.write(BODY[:100])
        return None

    server.behave = behave
    (tmp_path / "file.zip.part").write_bytes(BODY[:5000])
    path = download([server.url], tmp_path / "file.zip", sha256=SHA256, size=len(BODY))
    assert path.read_bytes() == BODY
    assert server.asked == ["bytes=5000-", None]


def test_file_that_shrinks_between_two_requests_is_begun_anew(
    server: Server, tmp_path: Path
) -> None:
    short = BODY[:50_000]
    server.behave = lambda http, n: send(http, BODY if n == 1 else short, stop=100_000)
    assert download([server.url], tmp_path / "file.zip").read_bytes() == short
    assert server.asked == [None, "bytes=100000-", None]


def test_wrong_hash_is_refused_with_both(server: Server, tmp_path: Path) -> None:
    server.behave = lambda http, _: send(http, BODY[:-1] + b"?")
    with pytest.raises(HarnessError) as caught:
        download([server.url], tmp_path / "file.zip", sha256=SHA256)
    found = hashlib.sha256(BODY[:-1] + b"?").hexdigest()
    assert f"sha256 is {found}, {SHA256} was expected" in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} <= {"file.zip.lock"}


def test_wrong_size_is_refused_before_it_is_loaded(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    with pytest.raises(HarnessError, match="has 300000 bytes, 5 were expected"):
        download([server.url], tmp_path / "file.zip", size=5)


def test_endless_body_is_cut_off(server: Server, tmp_path: Path) -> None:
    def behave(http: BaseHTTPRequestHandler, _: int) -> None:
        http.send_response(200)
        http.end_headers()
        http.wfile.write(BODY)  # no length is announced

    server.behave = behave
    with pytest.raises(HarnessError, match="more than the expected 1000 bytes"):
        download([server.url], tmp_path / "file.zip", size=1000)


def test_next_source_is_tried(server: Server, tmp_path: Path) -> None:
    server.behave = lambda http, n: refuse(http, 404) if n == 1 else send(http, BODY)
    path = download([server.url, server.url], tmp_path / "file.zip", sha256=SHA256)
    assert path.read_bytes() == BODY


def test_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.behave = lambda http, n: refuse(http, 503) if n < 3 else send(http, BODY)
    assert download([server.url], tmp_path / "file.zip", sha256=SHA256).read_bytes() == BODY


def test_404_names_the_address_and_where_to_put_the_file(server: Server, tmp_path: Path) -> None:
    server.behave = lambda http, _: refuse(http, 404)
    with pytest.raises(HarnessError) as caught:
        download([server.url], tmp_path / "file.zip")
    assert f"{server.url}: 404 Not Found" in str(caught.value)
    assert f"put the file at {tmp_path / 'file.zip'}" in str(caught.value)
    assert len(server.asked) == 1


def test_no_network(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"refused.*check the network"):
        download(["http://127.0.0.1:9/file.zip"], tmp_path / "file.zip")


def test_redirects_are_followed(server: Server, tmp_path: Path) -> None:
    def behave(http: BaseHTTPRequestHandler, n: int) -> None:
        if n > 1:
            return send(http, BODY)
        return redirect(http, "/elsewhere")

    server.behave = behave
    assert download([server.url], tmp_path / "file.zip", sha256=SHA256).read_bytes() == BODY


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_redirects_to_other_schemes_are_refused(
    server: Server, tmp_path: Path, target: str
) -> None:
    server.behave = lambda http, _: redirect(http, target)
    with pytest.raises(HarnessError, match=r"not an https address|not allowed"):
        download([server.url], tmp_path / "file.zip")
    assert not (tmp_path / "file.zip").exists()


@pytest.mark.parametrize("target", ["http://[", "http://127.0.0.1:x/", "//"])
def test_redirects_to_nonsense_are_refused(server: Server, tmp_path: Path, target: str) -> None:
    server.behave = lambda http, _: redirect(http, target)
    with pytest.raises(HarnessError, match="could not be downloaded"):
        download([server.url], tmp_path / "file.zip")


def test_a_length_that_is_no_number_is_refused(server: Server, tmp_path: Path) -> None:
    def behave(http: BaseHTTPRequestHandler, _: int) -> None:
        http.send_response(200)
        http.send_header("Content-Length", "many")
        http.end_headers()

    server.behave = behave
    with pytest.raises(HarnessError, match="answer is not valid"):
        download([server.url], tmp_path / "file.zip")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd", "http://["])
def test_only_http(url: str, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"use an http\(s\) address"):
        download([url], tmp_path / "file.zip")


def test_disk_that_is_too_small(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.behave = plain
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(HarnessError, match=r"the disk is full.*300000 bytes are needed, 10 are"):
        download([server.url], tmp_path / "file.zip")


def test_disk_that_fills_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_have: int, _total: int | None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    server.behave = plain
    with pytest.raises(HarnessError, match="the disk is full"):
        download([server.url], tmp_path / "file.zip", sha256=SHA256, progress=full)
    assert (tmp_path / "file.zip.part").exists()
    assert download([server.url], tmp_path / "file.zip", sha256=SHA256).read_bytes() == BODY


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="cannot be written"):
        download(["http://127.0.0.1:9/x"], tmp_path / "file" / "x.zip")


def test_two_at_a_time_download_once(server: Server, tmp_path: Path) -> None:
    server.behave = plain
    path = tmp_path / "file.zip"
    threads = [
        threading.Thread(target=download, args=([server.url], path), kwargs={"sha256": SHA256})
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == BODY
    assert server.asked == [None]
