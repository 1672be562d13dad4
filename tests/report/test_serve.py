"""The server of reports: it gives the files of one folder to this machine, and nothing else."""

import contextlib
import http.client
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from harness.core.errors import HarnessError
from harness.report import serve


@pytest.fixture
def reports(tmp_path):
    root = tmp_path / "reports"
    (root / "main" / "tables").mkdir(parents=True)
    (root / "main" / "index.html").write_text("<p>page", encoding="utf-8")
    (root / "main" / "tables" / "a.csv").write_text("1,2\n")
    (root / "a <b>").mkdir()
    (root / "a <b>" / "index.html").write_text("x")
    (root / ".hidden").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    (root / "link.html").symlink_to(tmp_path / "secret.html")
    return root


@pytest.fixture
def server(reports):
    with serve.serving(reports) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(server, path, method="GET", **headers):
    """Send a path as it is, which clients that follow the rules would tidy."""
    wire = http.client.HTTPConnection(serve.HOST, server.server_port, timeout=10)
    with contextlib.closing(wire):
        wire.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            wire.putheader(name, value)
        wire.endheaders()
        answer = wire.getresponse()
        found = {name: value for name, value in answer.getheaders() if name != "Date"}
        return answer.status, found, answer.read()


def test_only_this_machine_is_bound(server):
    assert server.server_address[0] == "127.0.0.1"
    assert serve.address(server, "main/") == f"http://127.0.0.1:{server.server_port}/main/"


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/main/", "text/html; charset=utf-8", b"<p>page"),
        ("/main/index.html?x#y", "text/html; charset=utf-8", b"<p>page"),
        ("/main/tables/a.csv", "text/csv; charset=utf-8", b"1,2\n"),
    ],
)
def test_files_have_their_type_and_are_not_kept(server, path, kind, body):
    status, headers, found = ask(server, path)
    assert (status, headers["Content-Type"], found) == (200, kind, body)
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert ask(server, path, "HEAD") == (200, headers, b"")


def test_a_folder_is_its_index_and_the_first_page_lists_reports(server):
    status, headers, _ = ask(server, "/main")
    assert (status, headers["Location"]) == (302, "/main/")
    assert b'<a href="a%20%3Cb%3E/">a &lt;b&gt;</a>' in ask(server, "/")[2]
    assert ask(server, "/main/tables/")[0] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html", "/main/../../secret.html", "/%2e%2e/secret.html", "/main/..%2f../x",
        "//etc/passwd", "/link.html", "/.hidden", "/main/index.html%00.png", "/..\\secret.html",
    ],
)  # fmt: skip
def test_nothing_outside_and_nothing_hidden_is_given(server, path):
    status, _, body = ask(server, path)
    assert status == 404
    assert b"secret" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(server, method):
    assert ask(server, "/main/", method)[0] == 501


def test_a_foreign_name_for_this_machine_is_refused(server):
    assert ask(server, "/main/", Host="evil.example:80")[0] == 421
    assert ask(server, "/main/", Host=f"localhost:{server.server_port}")[0] == 200


def test_mistakes_are_said(tmp_path, server):
    with pytest.raises(HarnessError, match="no such folder"), serve.serving(tmp_path / "none"):
        pass
    with (
        pytest.raises(HarnessError, match="omit --port"),
        serve.serving(tmp_path, server.server_port),
    ):
        pass


def test_the_command_serves_and_ends_cleanly_on_ctrl_c(reports):
    command = [sys.executable, "-m", "harness", "view", "main", "--no-browser", "--reports"]
    process = subprocess.Popen(
        [*command, str(reports)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with process:
        url = process.stdout.readline().strip()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=30) as answer:
            assert answer.read() == b"<p>page"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
