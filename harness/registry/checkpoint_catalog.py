"""The catalog: open checkpoints that public lists name, which run by name like registry rows.

``harness/catalog/models.jsonl`` has one JSON object per line and is read when a name is not in the
registry. ``tools/make_catalog.py`` makes it. Facts are those of the lists: nobody here has run all
of these models, so a license may be ``not stated`` and the training data unknown.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from harness.core import taxonomy
from harness.core.download import address
from harness.core.errors import HarnessError
from harness.registry.entries import Entry, License, Published, Split, Weights, complaint

PATH = Path(__file__).parents[1] / "catalog" / "models.jsonl"
UNKNOWN_LICENSE = "not stated"
SUFFIXES = (".ckpt", ".chpt", ".pth", ".pt", ".th", ".onnx", ".safetensors", ".bin", ".yaml")
COMPARABLE = ("csdr", "usdr")  # definitions under which a score is a published score of a row
FAMILY_OF = {  # the type of a row: the family that runs it
    **dict.fromkeys(
        ("apollo", "bandit", "bandit_v2", "bs_conformer", "bs_mamba2", "bs_polarformer",
         "bs_roformer", "bs_roformer_hyperace", "htdemucs", "mdx23c", "mel_band_roformer",
         "scnet", "scnet_masked", "scnet_tran", "segm_models", "swin_upernet"),
        "msst",
    ),
    "demucs": "demucs", "mdx": "audio_separator", "vr": "audio_separator",
    "tasnet": "tasnet",
}  # fmt: skip
NOT_SHOWN = {  # types that a configuration does not show, or that need another package than most
    "bs_conformer", "bs_roformer_hyperace", "htdemucs", "scnet_masked", "scnet_tran",
    "segm_models", "swin_upernet",
}  # fmt: skip
RATES = {"bandit_v2": 48000}  # Hz, where it is not 44100
REST = "rest"  # what a model leaves over, where it is none of our stems
SPECIAL = {  # names of stems in configurations that mean another of ours than elsewhere, or none
    "lead_vocal": "lead", "back_vocal": "background", "back_vocals": "background",
    "instrument": "accompaniment", "karaoke": "lead", "non_vocals": "accompaniment",
    "noreverb": "no_reverb", "voices": "vocals", "ride": "ride", "crash": "crash",
}  # fmt: skip
COMMERCIAL = re.compile(r"(MIT|BSD|Apache|ISC|Unlicense|CC0|CC[ -]BY(?![ -]NC)|(L|A)?GPL)", re.I)

Plain = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_]*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][\w.+-]*\.[a-z0-9]+$")]


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ListedScore(_Listed):
    """Scores that a list gives, with the definition and the test set as far as it states them."""

    metric: Plain  # ``csdr``, ``usdr``, or words
    dataset: Plain
    source: Plain
    scores: Mapping[Plain, float]  # {our name of a stem: dB}


class ListedFile(_Listed):
    """One file of a checkpoint; see `Weights`."""

    file: FileName
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None
    size: Annotated[int, Field(gt=0)] | None = None
    urls: tuple[Plain, ...] = ()
    by_hand: Plain = ""


class CatalogRow(_Listed):
    """One checkpoint of the catalog."""

    name: Name
    title: Plain
    type: Plain  # a key of `FAMILY_OF`
    input: Name = "mixture"
    stems: Annotated[tuple[Name, ...], Field(min_length=1)]  # our names
    names: Mapping[Plain, Name] = {}  # {the checkpoint's name of a stem: ours}, where they differ
    target: Name = ""  # the stem, if it returns only one
    task: Plain = "separation"
    params: Mapping[str, Any] = {}
    weights: Annotated[tuple[ListedFile, ...], Field(min_length=1)]
    author: tuple[Plain, ...] = ()
    license: Plain  # of the weights
    trained_on: tuple[Split, ...] | None  # None: unknown
    scores: tuple[ListedScore, ...] = ()
    also: tuple[Name, ...] = ()  # other names of it
    lists: tuple[Plain, ...]  # which lists name it
    url: Plain = ""
    unavailable: Plain = ""

    def entry(self) -> Entry:
        """Return the row as one of the registry."""
        return Entry(
            name=self.name,
            title=self.title,
            family=FAMILY_OF[self.type],
            input=self.input,
            stems=self.stems,
            sample_rate=RATES.get(self.type, 44100),
            channels=2,
            params=self._params(),
            weights=tuple(Weights(**file.model_dump()) for file in self.weights),
            trained_on=self.trained_on,
            license=License(code="MIT", weights=self.license),
            url=self.url,
            published=tuple(
                Published(**score.model_dump())
                for score in self.scores
                if score.metric in COMPARABLE
            ),
            unavailable=self.unavailable,
        )

    def _params(self) -> dict[str, Any]:
        """Return the keyword arguments of the family's class."""
        family, params = FAMILY_OF[self.type], dict(self.params)
        if family == "msst":
            params["config"] = self.weights[-1].file
            params |= {"model_type": self.type} if self.type in NOT_SHOWN else {}
        if family == "audio_separator":
            params["architecture"] = self.type
        return params | ({"names": dict(self.names)} if self.names else {})


def rows() -> Iterator[CatalogRow]:
    """Return all rows, checked, in the order of the file: by type and name."""
    return (checked_row(raw, PATH) for raw in _raw().values())


def find_row(name: str) -> CatalogRow | None:
    """Return the row of that name; a file name and a name in one of the lists count too."""
    key = _aliases().get(slug(name))
    return None if key is None else checked_row(_raw()[key], PATH)


def has(name: str) -> bool:
    """Whether a row has exactly this name."""
    return name in _raw()


def near(name: str, most: int = 3) -> list[str]:
    """Return names of rows that may have been meant: with the same words, or a letter off."""
    wanted, names = slug(name), list(_raw())
    words = [n for n in names if wanted and all(word in n for word in wanted.split("_"))]
    return (words or difflib.get_close_matches(wanted, names, n=most))[:most]


def search(words: list[str], stem: str = "", *, commercial: bool = False) -> list[CatalogRow]:
    """Return the rows that have all the words somewhere, the stem, and a license for all uses."""
    wanted = [word.lower() for word in words]
    return [
        row
        for row in rows()
        if all(word in _text(row) for word in wanted)
        and (not stem or stem in row.stems)
        and (not commercial or may_earn(row.license))
    ]


def may_earn(license_text: str) -> bool:
    """Whether a license is known to allow commercial use; one that is not stated does not.

    Examples
    --------
    >>> may_earn("MIT"), may_earn("CC BY-NC-SA 4.0"), may_earn("not stated")
    (True, False, False)
    """
    return bool(COMMERCIAL.match(license_text))


def our_stems(theirs: Sequence[str]) -> dict[str, str]:
    """Return our names of the stems of one model: {its name: ours}.

    What a model leaves over is `rest`, unless it is one of our stems.

    Examples
    --------
    >>> our_stems(["Vocals", "Instrumental"])
    {'Vocals': 'vocals', 'Instrumental': 'accompaniment'}
    >>> our_stems(["drums", "other"])
    {'drums': 'drums', 'other': 'rest'}
    >>> our_stems(["hh", "ride", "crash"])
    {'hh': 'hihat', 'ride': 'ride', 'crash': 'crash'}
    """
    plain = {name: re.sub(r"[\W_]+", "_", name.lower()).strip("_") for name in theirs}
    ours = {name: SPECIAL.get(word, taxonomy.canonical(word)) for name, word in plain.items()}
    if {"soprano", "alto", "tenor"} <= set(ours.values()):
        return {name: f"{stem}_voice" for name, stem in ours.items()}
    ours = {n: o if o == plain[n] or o not in plain.values() else plain[n] for n, o in ours.items()}
    meant = taxonomy.of_model(ours.values())
    return {name: s if slug(s := meant[stem]) == s else REST for name, stem in ours.items()}


def checked_row(raw: Mapping[str, Any], path: Path) -> CatalogRow:
    """Check a row as of a file from others; the error is about the first mistake."""
    where = f"{path}: {raw.get('name')!r}: "
    try:
        row = CatalogRow.model_validate(raw)
    except ValidationError as error:
        raise complaint(error, where, list(CatalogRow.model_fields)) from error
    if row.type not in FAMILY_OF:
        raise HarnessError(f"{where}unknown type {row.type!r}; known: {', '.join(FAMILY_OF)}")
    for url in (url for file in row.weights for url in file.urls):
        _check_url(url, where.removesuffix(": "))
    return row


def _check_url(url: str, where: str) -> None:
    """Refuse an address that is not one of a file on a server, of a hub or of a package."""
    if not url.startswith(("https://", "hf:", "pypi:", "zip:https://")):
        raise HarnessError(f"{where}: {url!r} is not safe; use https, hf:, pypi: or zip:https")
    try:
        address(url)
    except HarnessError as error:
        raise HarnessError(f"{where}: {error}") from error


def slug(name: str) -> str:
    """Return a name as rows are named: without the ending of a file, in a-z, 0-9 and _.

    Examples
    --------
    >>> slug("MelBandRoformer.ckpt"), slug("mel_roformer-unwa-v1e_plus")
    ('melbandroformer', 'mel_roformer_unwa_v1e_plus')
    """
    lower = name.lower()
    stem = next((lower.removesuffix(end) for end in SUFFIXES if lower.endswith(end)), lower)
    return re.sub(r"[^a-z0-9]+", "_", stem).strip("_")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Return {name: row, not yet checked} of a file."""
    found: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            raw = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise HarnessError(
                f"{path}, line {number}: is not JSON ({error}); correct it"
            ) from error
        name = raw.get("name") if isinstance(raw, dict) else None
        if not isinstance(name, str) or name in found:
            raise HarnessError(f"{path}, line {number}: no name, or one twice; correct it")
        found[name] = raw
    return found


@lru_cache(maxsize=1)
def _raw() -> dict[str, dict[str, Any]]:
    return read(PATH)


@lru_cache(maxsize=1)
def _aliases() -> dict[str, str]:
    """Return {name or other name: name}."""
    others = {other: name for name, raw in _raw().items() for other in raw.get("also", ())}
    return others | {name: name for name in _raw()}


def _text(row: CatalogRow) -> str:
    """Return everything that a search looks at, in lower case."""
    parts = (row.name, row.title, row.type, row.task, row.license, *row.stems, *row.author)
    return " ".join((*parts, *row.also, *(file.file for file in row.weights))).lower()
