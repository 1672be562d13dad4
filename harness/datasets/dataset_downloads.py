"""Download the datasets that may be downloaded; for the others, say where to get them.

An archive is verified, then unpacked beside the target folder, which appears only when it is
complete. If the process is killed, the same call continues.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from harness.core import strict_yaml
from harness.core.download import Progress, download, one_at_a_time
from harness.core.errors import HarnessError
from harness.core.files import write_stream
from harness.datasets.known import DATASETS, advice

LITTER = {"__MACOSX", ".DS_Store"}  # added by macOS


@dataclass(frozen=True)
class Archive:
    """A zip that may be downloaded."""

    dataset: str  # a name in `DATASETS`
    urls: tuple[str, ...]  # the same file in several places
    size: int  # bytes
    md5: str  # as published


_TABLE = Path(__file__).parent / "metadata" / "archives.yaml"
ARCHIVES = {
    name: Archive(**{**row, "urls": tuple(row["urls"])})
    for name, row in strict_yaml.read(_TABLE).items()
}


def fetch_dataset(name: str, folder: Path, *, progress: Progress | None = None) -> Path:
    """Download and unpack a dataset to `folder`, unless it is there; return `folder`.

    `name` is in `ARCHIVES`; for other datasets the error says where to get them. Until it is done,
    a ``.zip`` and a ``.partial`` with the folder's name are beside it.
    """
    archive = ARCHIVES.get(name)
    if archive is None:
        raise HarnessError(_why_not(name))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(folder):
            if not _is_there(folder):
                zipped = folder.with_name(folder.name + ".zip")
                download(
                    archive.urls, zipped, md5=archive.md5, size=archive.size, progress=progress
                )
                unpack(zipped, folder)
                zipped.unlink()
    except OSError as error:
        raise HarnessError(
            f"{folder}: cannot be created ({error.strerror or error}); choose another folder"
        ) from error
    return folder


def unpack(zipped: Path, folder: Path) -> None:
    """Unpack a zip into a new folder, which appears when it is complete.

    An archive is refused if it is damaged, has a link or a name that leads out of the folder, or is
    too large for the disk.
    """
    partial = folder.with_name(folder.name + ".partial")
    try:
        with zipfile.ZipFile(zipped) as archive:
            members = [
                member
                for member in archive.infolist()
                if not member.is_dir() and not LITTER & {*PurePosixPath(member.filename).parts}
            ]
            targets = {partial / _safe_name(member, zipped): member for member in members}
            # a file of the right size is from an earlier call: it got its name when it was complete
            todo = {
                path: member
                for path, member in targets.items()
                if not path.is_file() or path.stat().st_size != member.file_size
            }
            _check_space(partial, todo.values())
            for leftover in partial.rglob("*.part"):  # of a killed call
                leftover.unlink()
            for path, member in todo.items():
                _extract(archive, member, path)
        if folder.is_dir():
            folder.rmdir()  # it is empty
        partial.rename(folder)
    except zipfile.BadZipFile as error:
        raise HarnessError(f"{zipped}: damaged ({error}); delete it and fetch again") from error
    except OSError as error:
        raise HarnessError(
            f"{partial}: cannot be written ({error.strerror or error}); fix this and repeat the "
            "command, the download continues"
        ) from error


def _why_not(name: str) -> str:
    """Say why a dataset cannot be downloaded, and what to do instead."""
    if name not in DATASETS:
        return f"dataset {name}: not known; use one of {', '.join(ARCHIVES)}"
    info = DATASETS[name]
    where = f" ({info.url})" if info.url else ""
    return f"dataset {name}: cannot be fetched{where}, license: {info.license}; {advice(name)}"


def _is_there(folder: Path) -> bool:
    """Whether the dataset is there; refuse a folder with other files."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return True
    raise HarnessError(f"{folder}: holds other files; name a folder that does not exist yet")


def _safe_name(member: zipfile.ZipInfo, zipped: Path) -> Path:
    """Return a member's path below the folder; refuse one that leads elsewhere."""
    path = PurePosixPath(member.filename)
    odd = path.is_absolute() or ".." in path.parts or any(c in member.filename for c in "\\\0")
    drive = bool(path.parts) and path.parts[0].endswith(":")
    if odd or drive or not path.parts or stat.S_ISLNK(member.external_attr >> 16):
        raise HarnessError(
            f"{zipped}: holds {member.filename!r}, which would be written outside the folder; "
            "do not use this archive"
        )
    return Path(*path.parts)


def _check_space(partial: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse early if the disk is too small."""
    needed = sum(member.file_size for member in members)
    free = shutil.disk_usage(partial.parent).free
    if needed > free:
        raise HarnessError(
            f"{partial}: needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free; "
            "free some space and repeat the command, the download continues"
        )


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write one member; reading it to the end checks its CRC."""
    with archive.open(member) as source, write_stream(path) as target:
        shutil.copyfileobj(source, target, 1 << 20)
