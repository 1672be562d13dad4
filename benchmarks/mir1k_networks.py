"""The networks of `mir1k.py --networks FOLDER`, in three protocols.

A: demo music only. `harness train NAME --dataset demo --out FOLDER/a/NAME` trains them.
B: A, then the split `train` of MIR-1K: two singers, of whom one is held out to stop.
C: A, then MIR-1K without a fifth of the singers, five times; each clip is scored by the network
   that never heard its singer.

Songs are shared among the singers, and the names of the files do not say which. So B and C may have
been trained on the accompaniment of a clip that they are scored on; A cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from harness.datasets.mir1k import TRAINING_SINGERS, mir1k
from harness.datasets.tracks import Dataset
from harness.separators.classical import TWO_STEMS
from harness.separators.learned import Learned
from harness.training import Recipe, Session, find_recipe, train

RATE = 16000
NETWORKS = {  # {row: recipe}
    "dual-gate TCN": "dual_gate_tcn",
    "TCN without gates": "plain_tcn",
    "Conv-TasNet of the same size": "conv_tasnet",
}
PROTOCOLS = ("A", "B", "C")
FOLDS = (  # of singers, with about as many clips each in the part of MIR-1K that docs/mir1k.md uses
    ("amy",),
    ("abjones", "annar", "yifen", "ariel"),
    ("bobon", "leon", "tammy", "khair"),
    ("Kenshin", "bug", "davidson", "heycat"),
    ("fdps", "jmzen", "geniusturtle", "stool", "Ani", "titon"),
)
TUNING = {"steps": 200, "warm_up": 20, "learning_rate": 3e-4, "validate_every": 40, "patience": 3}


def singer_of(clip: Path) -> str:
    """Return the singer of a clip."""
    return clip.stem.partition("_")[0]


def rows(folder: Path) -> dict[str, Callable[[Path], Learned | None]]:
    """Return {row: what gives the separator of a clip}, of networks that are in the folder.

    It gives None for a clip that the protocol does not score.
    """
    return {
        f"{row}, {protocol}": lambda clip, name=name, protocol=protocol: _of_clip(
            folder, name, protocol, singer_of(clip)
        )
        for row, name in NETWORKS.items()
        for protocol in PROTOCOLS
        if all(path.is_file() for path in _files(folder, name, protocol))
    }


def tune(folder: Path, data: Path, say: Callable[[str], None]) -> None:
    """Train the networks of B and C from those of A; what is there is not trained again."""
    whole = mir1k(data)
    for name in NETWORKS:
        start = _file(folder, name, "A")
        if not start.is_file():
            say(f"{name}: {start} is absent; train it first, see docs/mir1k.md")
            continue
        recipe: Recipe = replace(find_recipe(name), **TUNING)
        for path, dataset in _trainings(folder, name, whole):
            session = Session(path.parent, start=start, resume=True)
            result = train(recipe, [dataset], session, say=say)
            say(f"{path.parent}: {result.ended} after {result.steps} steps")


def _trainings(folder: Path, name: str, whole: Dataset) -> Iterator[tuple[Path, Dataset]]:
    """Yield the weights to make in B and C, and the clips to train them on."""
    yield _file(folder, name, "B"), _only(whole, lambda singer: singer in TRAINING_SINGERS)
    for number, fold in enumerate(FOLDS):
        clips = _only(whole, lambda singer, fold=fold: singer not in fold)
        yield _file(folder, name, "C", number), clips


def _only(dataset: Dataset, wanted: Callable[[str], bool]) -> Dataset:
    return replace(dataset, tracks=tuple(t for t in dataset.tracks if wanted(t.artist)))


def _of_clip(folder: Path, name: str, protocol: str, singer: str) -> Learned | None:
    if protocol == "B" and singer in TRAINING_SINGERS:
        return None
    fold = next((i for i, singers in enumerate(FOLDS) if singer in singers), None)
    if protocol == "C" and fold is None:
        raise SystemExit(f"{singer}: is in no fold; add this singer to FOLDS")
    return _load(_file(folder, name, protocol, fold or 0))


@lru_cache(maxsize=8)
def _load(path: Path) -> Learned:
    return Learned(RATE, TWO_STEMS, weights=[path])


def _file(folder: Path, name: str, protocol: str, fold: int = 0) -> Path:
    part = f"{name}-{fold + 1}" if protocol == "C" else name
    return folder / protocol.lower() / part / f"{name}.safetensors"


def _files(folder: Path, name: str, protocol: str) -> list[Path]:
    folds = range(len(FOLDS)) if protocol == "C" else (0,)
    return [_file(folder, name, protocol, fold) for fold in folds]
