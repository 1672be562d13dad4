import errno
import subprocess
import sys
from pathlib import Path

import pytest

from harness.benchmark.store import Store
from harness.core import files
from harness.core.errors import HarnessError, StorageError
from harness.core.files import check_file, complete_file, file_digest, only_one, write_atomic


def test_store_keeps_values_exactly_also_those_json_lacks(tmp_path):
    store = Store(tmp_path)
    scores = {"bass": {"snr": [0.1 + 0.2, ""], "sir": [float("inf"), "no interference"]}}
    result = {"scores": scores, "costs": {}, "notes": []}
    store.put("ab12", result)
    assert store.get("ab12") == result
    assert store.has("ab12")
    assert store.get("cd34") is None


def test_torn_piece_of_work_counts_as_absent(tmp_path):
    store = Store(tmp_path)
    store.put("ab12", {"scores": {}, "costs": {}, "notes": []})
    path = store.path("ab12")
    path.write_bytes(path.read_bytes()[:-3])
    assert store.get("ab12") is None


def test_full_disk_is_a_storage_error_and_leaves_nothing_half(tmp_path, monkeypatch):
    target = tmp_path / "file"
    write_atomic(target, b"old")

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_failing_writer_keeps_the_old_file_and_leaves_no_part(tmp_path):
    target = tmp_path / "new folder" / "file"
    with complete_file(target) as part:
        part.write_bytes(b"old")

    def fail() -> None:
        with complete_file(target) as part:
            part.write_bytes(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_bytes() == b"old"
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_folder_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/x: cannot be written"):
        write_atomic(tmp_path / "file" / "x", b"")


def test_file_of_another_size_or_content_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    check_file(path, size=7, sha256=file_digest(path).upper())
    check_file(path, size=None, sha256=None)
    with pytest.raises(HarnessError, match="file: has 7 bytes, 8 were expected; fetch it again"):
        check_file(path, size=8, sha256=None)
    with pytest.raises(HarnessError, match=r"file: sha256 is [0-9a-f]{64}, 00 was expected"):
        check_file(path, size=7, sha256="00")


def test_open_file_is_checked_from_its_start_and_left_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        file.read(3)
        check_file(path, size=7, sha256=file_digest(path), file=file)
        assert file.read() == b"content"


def test_two_runs_cannot_hold_one_folder(tmp_path):
    code = f"""
from pathlib import Path
from harness.core.files import only_one
with only_one(Path({str(tmp_path)!r})):
    pass
"""
    with only_one(tmp_path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "another run is writing here" in other.stderr
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"), only_one(tmp_path / "file" / "x"):
        pass


@pytest.mark.parametrize(
    ("name", "safe"), [("AC/DC", "AC_DC"), ("..", "__"), ("", "_"), ("...And You", "...And You")]
)
def test_a_safe_name_is_one_component_of_a_path(name, safe):
    assert files.safe_name(name) == safe


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert files.digest({"b": 1, "a": 2}) == files.digest({"a": 2, "b": 1})
    assert files.digest({"a": 1}) != files.digest({"a": 2})
