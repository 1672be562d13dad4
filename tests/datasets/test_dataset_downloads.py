import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest

from harness.core.errors import HarnessError
from harness.datasets import DATASETS, dataset_downloads
from harness.datasets.dataset_downloads import ARCHIVES, Archive, fetch_dataset, unpack

MEMBERS = {
    f"{split}/A - {i}/vocals.wav": bytes([i]) * 999 for split in ("train", "test") for i in (1, 2)
}


def pack(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive of musdb18hq is a small one, and downloading it is copying it."""
    zipped = pack(tmp_path / "served.zip", MEMBERS)
    facts = (zipped.stat().st_size, hashlib.md5(zipped.read_bytes()).hexdigest())
    monkeypatch.setitem(ARCHIVES, "musdb18hq", Archive("musdb18hq", ("https://x/y.zip",), *facts))

    def copy(urls: tuple[str, ...], path: Path, *, md5: str, size: int, progress: object) -> None:
        assert (urls, size, md5) == (("https://x/y.zip",), *facts)
        shutil.copy(zipped, path)

    monkeypatch.setattr(dataset_downloads, "download", copy)
    return tmp_path


def test_fetch_leaves_the_folder_and_nothing_else(offline: Path) -> None:
    folder = fetch_dataset("musdb18hq", offline / "musdb18hq")
    assert content(folder) == MEMBERS
    assert {path.name for path in offline.iterdir()} == {"served.zip", "musdb18hq"}


def test_fetch_of_what_is_there_does_nothing(
    offline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_dataset("musdb18hq", offline / "musdb18hq")
    monkeypatch.setattr(dataset_downloads, "download", None)
    assert fetch_dataset("musdb18hq", offline / "musdb18hq") == offline / "musdb18hq"


def test_fetch_fills_an_empty_folder_and_spares_one_in_use(offline: Path) -> None:
    (offline / "empty").mkdir()
    assert content(fetch_dataset("musdb18hq", offline / "empty")) == MEMBERS
    (offline / "used").mkdir()
    (offline / "used" / "thesis.txt").touch()
    with pytest.raises(HarnessError, match="holds other files"):
        fetch_dataset("musdb18hq", offline / "used")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match="choose another folder"):
        fetch_dataset("musdb18hq", tmp_path / "file" / "musdb18hq")


def test_unpacking_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped = pack(tmp_path / "a.zip", MEMBERS)
    written: list[str] = []
    whole = dataset_downloads._extract

    def killed_at_third(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(member.filename)
        whole(archive, member, path)

    monkeypatch.setattr(dataset_downloads, "_extract", killed_at_third)
    with pytest.raises(KeyboardInterrupt):
        unpack(zipped, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    (tmp_path / "a.partial" / "train" / "cut.wav.123.part").write_bytes(b"killed while it wrote")
    again: list[str] = []
    monkeypatch.setattr(
        dataset_downloads,
        "_extract",
        lambda a, member, path: (again.append(member.filename), whole(a, member, path)),
    )
    unpack(zipped, tmp_path / "a")
    assert content(tmp_path / "a") == MEMBERS
    assert sorted(written + again) == sorted(MEMBERS)


@pytest.mark.parametrize(
    "name", ["../out.wav", "/out.wav", "a/../../out.wav", "a\\..\\out", "C:/x"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    zipped = pack(tmp_path / "a.zip", {"train/good.wav": b"x", name: b"bad"})
    with pytest.raises(HarnessError, match="written outside the folder"):
        unpack(zipped, tmp_path / "deep" / "a")
    assert {path.name for path in tmp_path.rglob("*")} == {"a.zip"}


def test_links_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("train")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    with pytest.raises(HarnessError, match="written outside the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "a")


def test_litter_is_left_in_the_archive(tmp_path: Path) -> None:
    unpack(
        pack(tmp_path / "a.zip", {**MEMBERS, "__MACOSX/x": b"", ".DS_Store": b""}), tmp_path / "a"
    )
    assert content(tmp_path / "a") == MEMBERS


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_archive(tmp_path: Path, damage: str) -> None:
    zipped = pack(tmp_path / "a.zip", {"train/x": b"A" * 1000})
    raw = zipped.read_bytes()
    zipped.write_bytes(raw[:500] if damage == "cut" else raw.replace(b"AAA", b"ABA", 1))
    with pytest.raises(HarnessError, match=r"a\.zip: damaged"):
        unpack(zipped, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zipped = pack(tmp_path / "a.zip", MEMBERS)
    monkeypatch.setattr(
        dataset_downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})
    )
    with pytest.raises(HarnessError, match="free some space"):
        unpack(zipped, tmp_path / "a")


@pytest.mark.parametrize("name", sorted(DATASETS.keys() - ARCHIVES.keys()))
def test_what_cannot_be_fetched_says_where_to_get_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(HarnessError) as caught:
        fetch_dataset(name, tmp_path / "x")
    assert DATASETS[name].url in str(caught.value)
    assert DATASETS[name].license in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_unknown_dataset_lists_what_can_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="musdb18hq, musdb18, musdb18_7s"):
        fetch_dataset("nosuch", tmp_path)


def test_archives_are_of_known_datasets_and_have_a_checksum() -> None:
    for archive in ARCHIVES.values():
        assert archive.dataset in DATASETS
        assert len(bytes.fromhex(archive.md5)) == 16
        assert all(url.startswith("https://") for url in archive.urls)
