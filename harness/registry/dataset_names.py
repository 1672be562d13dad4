"""Names of datasets and splits: the one place that reads ``musdb18:train``, however it is spelled.

Registry rows, command line options, published scores and ensembles name datasets in this way.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.core.errors import HarnessError

# {dataset: (its splits, other names)}. A reader calls all songs of a dataset without splits "test".
_DATASETS = {
    "musdb18": ("train valid test", "musdb musdb7s musdb187s sisec18 sisec2018"),
    "musdb18hq": ("train valid test", "musdbhq"),
    "dsd100": ("train test", "dsd sisec16 sisec2016"),
    "medleydb": ("", ""),
    "moisesdb": ("test", "moises"),
    "mir1k": ("train test", ""),
    "demo": ("train test", ""),
    "real_song": ("test", ""),
    "ccmixter": ("", ""),
    "slakh2100": ("train valid test", "slakh"),
    "stemgmd": ("train valid test", ""),
    "egmd": ("train valid test", ""),
}
# Names that may mean songs of several of these datasets.
_VAGUE = ("sisec", "msd100", "mixingsecrets", "cambridgemt")
_SPLITS = {
    "train": "train training",
    "valid": "valid validation val dev development",
    "test": "test testing eval evaluation",
    "": "all full whole",
}
_DEV_IS_TRAIN = {"dsd100", "musdb18", "musdb18hq"}  # "Dev" is DSD100's half for training
_FILLERS = {"the", "dataset", "set", "split"}

NOT = "not "  # before the name of a dataset of which nothing was used

DATASET_NAMES = frozenset(_DATASETS)
LISTED = DATASET_NAMES - {"ccmixter"}  # with a known list of songs: any song is in there or not
_NAMES = {name: name for name in _DATASETS} | dict.fromkeys(_VAGUE, "")
_NAMES |= {alias: name for name, (_, aliases) in _DATASETS.items() for alias in aliases.split()}
_SPLIT_WORDS = {word: split for split, words in _SPLITS.items() for word in words.split()}


@dataclass(frozen=True)
class DatasetSplit:
    """A dataset, or one split of it; as text in the standard spelling, ``musdb18:train``."""

    dataset: str  # one of `DATASET_NAMES`, otherwise the name or the words of the user
    split: str = ""  # train, valid or test; empty: all of it
    # Whether the songs are clear, as far as names tell. They are not if a known dataset is named
    # with words that are no split; `dataset` is then the whole text.
    clear: bool = True
    meant: str = ""  # the likely meaning of a misspelled name
    excluded: bool = False  # ``not musdb18``: none of these songs was used

    def __str__(self) -> str:
        name = f"{self.dataset}:{self.split}" if self.split else self.dataset
        return NOT + name if self.excluded else name

    @property
    def exists(self) -> bool:
        """Whether the dataset has this split; datasets that are not known may have any."""
        return self.whole or self.dataset not in _DATASETS or self.split in _splits(self.dataset)

    @property
    def whole(self) -> bool:
        """Whether it is all of the dataset."""
        return not self.split or [self.split] == _splits(self.dataset)

    @property
    def problem(self) -> str:
        """What is wrong with a misspelled name, and the suggestion; empty if nothing is."""
        if not self.meant:
            return ""
        no = NOT if self.excluded else ""
        return f"no dataset or split {no + self.dataset!r}; did you mean {no + self.meant!r}?"


def read_split(text: str) -> DatasetSplit:
    """Read a dataset and its split; neither case nor separators (``: / - _``, spaces) matter.

    ``not`` before a known dataset says that none of its songs was used.

    Examples
    --------
    >>> str(read_split("not MUSDB18-HQ")), read_split("not musdb18").excluded
    ('not musdb18hq', True)
    >>> str(read_split("MUSDB18-HQ train")), str(read_split("musdb/all"))
    ('musdb18hq:train', 'musdb18')
    >>> str(read_split("internal dataset of Deezer"))
    'internal dataset of Deezer'
    >>> read_split("musdb18 plus extra").clear, read_split("musbd18:train").meant
    (False, 'musdb18:train')
    """
    text = text.strip()
    if text.lower().startswith(NOT):
        found = read_split(text[len(NOT) :])
        known = found.meant or (found.dataset in DATASET_NAMES and found.exists)
        if found.excluded or not known:
            return DatasetSplit(text, clear=False)
        return replace(found, excluded=True)
    words = [w for w in re.split(r"[:/\s\-_.()\[\]]+", text.lower()) if w and w not in _FILLERS]
    for n in (4, 3, 2, 1):
        if name := _NAMES.get("".join(words[:n])):
            return _known(text, name, "".join(words[n:]))
    *first, last = words or [""]
    split = split_name(last) if first else None  # "test" alone is a name
    name = "".join(first if split is not None else words)
    if near := _nearest(name, filter(_NAMES.get, _NAMES), cutoff=0.85):
        dataset = _NAMES[near]
        meant = DatasetSplit(dataset, "" if split is None else split_name(last, dataset) or "")
        return DatasetSplit(text, clear=False, meant=str(meant))
    if any(known in words or (len(known) > 4 and known in name) for known in _NAMES):
        return DatasetSplit(text, clear=False)
    own = re.fullmatch(r"(.*[^:/\s])\s*[:/\s]\s*([^:/\s]+)", text, re.DOTALL)
    part = split_name(own[2]) if own else None
    return DatasetSplit(text) if own is None or part is None else DatasetSplit(own[1], part)


def together(trained_on: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the training data of several separators as that of one.

    ``not musdb18`` of one of them is kept only if each of the others says the same, or names only
    datasets with a known list of songs.

    Examples
    --------
    >>> together([["private", "not musdb18"], ["demo:train"]])
    ('private', 'not musdb18', 'demo:train')
    >>> together([["private", "not musdb18"], ["other music"]])
    ('private', 'other music')
    """

    def allowed(name: str, by: Sequence[str]) -> bool:
        splits = map(read_split, by)
        return name in by or all(
            s.exists and not s.excluded and s.dataset in LISTED for s in splits
        )

    names = dict.fromkeys(name for some in trained_on for name in some)
    return tuple(
        name
        for name in names
        if not read_split(name).excluded or all(allowed(name, by) for by in trained_on)
    )


def standard(text: str, where: str) -> str:
    """Return the standard spelling; a misspelled name of a known dataset or split is an error."""
    found = read_split(text)
    if found.problem:
        raise HarnessError(f"{where}: {found.problem}")
    return str(found)


def split_name(text: str, dataset: str = "") -> str | None:
    """Return train, valid, test or "" (all) for the name of a split; None for other words.

    ``dev`` is the training half of DSD100 and MUSDB18, and the validation songs of others.
    """
    word = text.strip().lower()
    if word in ("dev", "development") and dataset in _DEV_IS_TRAIN:
        return "train"
    return _SPLIT_WORDS.get(word)


def dataset_name(text: str) -> str:
    """Return the known dataset that is meant, without a split; otherwise the text in lower case."""
    return _NAMES.get(re.sub(r"[\W_]+", "", text.lower())) or text.strip().lower()


def _splits(dataset: str) -> list[str]:
    """Return the splits of a known dataset; none of others."""
    return _DATASETS.get(dataset, ("", ""))[0].split()


def _known(text: str, name: str, rest: str) -> DatasetSplit:
    """Read what follows the name of a known dataset."""
    split = split_name(rest or "all", name)
    if split is not None:
        return DatasetSplit(name, split)
    near = _nearest(rest, _SPLIT_WORDS, cutoff=0.75)
    meant = str(DatasetSplit(name, _SPLIT_WORDS[near])) if near else ""
    return DatasetSplit(text, clear=False, meant=meant)


def _nearest(word: str, known: Iterable[str], cutoff: float) -> str:
    """Return the known word that differs by a letter or so; empty if there is none."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")
