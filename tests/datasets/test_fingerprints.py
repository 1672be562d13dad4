"""Fingerprints of files: what is read again, and what is not."""

import json
import os
import shutil
import time

import pytest

from harness.datasets.fingerprints import Fingerprints


def test_fingerprint_is_remembered_until_the_file_changes(tmp_path, monkeypatch):
    song = tmp_path / "a.wav"
    song.write_bytes(b"one")
    first = Fingerprints(tmp_path / "f.jsonl").of(song)
    again = Fingerprints(tmp_path / "f.jsonl")
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
    assert again.of(song) == first
    monkeypatch.undo()
    song.write_bytes(b"two!")
    assert again.of(song) != first


def test_torn_or_foreign_lines_in_the_memory_of_fingerprints_are_skipped(tmp_path):
    song = tmp_path / "a.wav"
    song.write_bytes(b"one")
    memory = tmp_path / "f.jsonl"
    first = Fingerprints(memory).of(song)
    lines = memory.read_text()
    memory.write_text(lines + '["/x", 1, \n5\n{"a": 1}\n["a", "b"]\n' + lines[:20])
    assert Fingerprints(memory).of(song) == first
    assert json.loads(lines)[3] == first


def test_absent_file_has_a_fingerprint_too(tmp_path):
    assert Fingerprints(tmp_path / "f.jsonl").of(tmp_path / "none.wav") == "absent"


# How a file is replaced by another of the same size and time of change.
REPLACE = {
    "cp -p": lambda new, old: shutil.copy2(new, old),
    "rsync -t": lambda new, old: shutil.copy2(new, old.with_suffix(".part")).replace(old),
    "mv": lambda new, old: new.replace(old),
    "in place": lambda new, old: _write_in_place(old, new.read_bytes()),
}


def _write_in_place(path, content):
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def pair(tmp_path):
    """Two files that differ in one byte; size and time of change are the same."""
    content = bytearray(os.urandom(100_000))
    for name in ("old.wav", "new.wav"):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
        content[40_000] ^= 1
    time.sleep(0.02)  # file systems count time in steps of some milliseconds
    return tmp_path / "old.wav", tmp_path / "new.wav"


@pytest.mark.parametrize("how", REPLACE)
def test_a_file_replaced_by_one_of_equal_size_and_time_is_read_again(tmp_path, pair, how):
    old, new = pair
    memory = tmp_path / "f.jsonl"
    first, other = Fingerprints(memory).of(old), Fingerprints(memory).of(new)
    REPLACE[how](new, old)
    assert (old.stat().st_size, old.stat().st_mtime_ns) == (100_000, 10**18)
    assert Fingerprints(memory).of(old) == other != first


def test_a_copy_with_the_same_content_has_the_same_fingerprint(tmp_path, pair):
    old, _ = pair
    memory = tmp_path / "f.jsonl"
    first = Fingerprints(memory).of(old)
    shutil.copy2(old, tmp_path / "copy").replace(old)
    again = Fingerprints(memory)
    assert again.of(old) == first
    assert (again.read, again.looked_at) == ({str(old)}, set())
    third = Fingerprints(memory)
    assert third.of(old) == first
    assert (third.read, third.looked_at) == (set(), {str(old)})


def test_rehash_reads_what_looks_unchanged(tmp_path, pair, monkeypatch):
    old, new = pair
    memory = tmp_path / "f.jsonl"
    first, other = Fingerprints(memory).of(old), Fingerprints(memory).of(new)
    stat = old.stat()
    shutil.copyfile(new, old)  # with a file system that has no other time and no inodes:
    known = [json.loads(line) for line in memory.read_text().splitlines()]
    os.utime(old, ns=(10**18, 10**18))
    now = old.stat()
    for line in known:
        line[4:6] = [now.st_ctime_ns, now.st_ino]
    memory.write_text("".join(json.dumps(line) + "\n" for line in known))
    assert now.st_mtime_ns == stat.st_mtime_ns
    assert Fingerprints(memory).of(old) == first  # it only looks
    assert Fingerprints(memory, rehash=True).of(old) == other
    assert Fingerprints(memory).of(old) == other  # and this is remembered


def test_changed_blocks_are_seen_without_any_stamp(tmp_path, pair):
    old, _ = pair
    memory = tmp_path / "f.jsonl"
    first = Fingerprints(memory).of(old)
    _write_in_place(old, b"other" + old.read_bytes()[5:])
    line = json.loads(memory.read_text())
    line[4] = old.stat().st_ctime_ns
    memory.write_text(json.dumps(line) + "\n")
    assert Fingerprints(memory).of(old) != first


def test_lines_of_an_older_version_are_not_believed(tmp_path, pair):
    old, new = pair
    memory = tmp_path / "f.jsonl"
    first = Fingerprints(tmp_path / "other.jsonl").of(new)
    memory.write_text(json.dumps([str(old), 100_000, 10**18, first]) + "\n")
    assert Fingerprints(memory).of(old) != first
