"""Separators: everything that splits a mixture into stems.

`FAMILIES` names the code behind each family of the registry; nothing heavy is imported until a
separator is loaded.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.core.files import file_digest
from harness.registry import Entry, suggestion, weight_files
from harness.separators.protocol import Oracle, Separator, parameters

__all__ = [
    "FAMILIES", "Family", "Oracle", "Separator", "code_versions", "find_family", "is_learned",
    "lacking_package", "load", "obstacle", "own_code", "parameters", "runs_own_code",
]  # fmt: skip


@dataclass(frozen=True)
class Family:
    """The code that runs one kind of separators.

    The class is built with ``sample_rate``, ``stems``, ``input_stem`` and the entry's ``params``; a
    learned one also with ``weights``, the verified files, ``sha256``, their hashes, and ``device``.
    A class that runs code of the user has ``about(params)``, which says what it runs, and
    ``files(params)``, the files whose content can change its estimates.
    """

    target: str  # ``module:Class``
    version: int  # raised whenever an entry's estimates change; finished work is then redone
    learned: bool | None = False  # None: if the entry lists weights
    own_code: bool = False  # whether it runs code of the user


FAMILIES: dict[str, Family] = {
    "mixture": Family("harness.separators.anchors:Mixture", 1),
    "ibm": Family("harness.separators.anchors:IdealBinaryMask", 1),
    "irm": Family("harness.separators.anchors:IdealRatioMask", 1),
    "mwf": Family("harness.separators.anchors:MultichannelWiener", 1),
    "hpss": Family("harness.separators.classical:Hpss", 1),
    "repet": Family("harness.separators.classical:Repet", 1),
    "repet_sim": Family("harness.separators.classical:RepetSim", 1),
    "repet_sim_4": Family("harness.separators.classical:RepetSim4", 1),
    "network": Family("harness.separators.learned:Learned", 1, learned=True),
    "mel_roformer": Family("harness.separators.roformer:Roformer", 1, learned=True),
    "audio_separator": Family("harness.separators.audio_separator:AudioSeparator", 1, learned=True),
    "demucs": Family("harness.separators.demucs:Demucs", 1, learned=True),
    "scnet": Family("harness.separators.published_scnet:PublishedScnet", 1, learned=True),
    "spleeter": Family("harness.separators.published_spleeter:PublishedSpleeter", 1, learned=True),
    "openunmix": Family("harness.separators.published_networks:PublishedUnmix", 1, learned=True),
    "bsrnn": Family("harness.separators.published_networks:PublishedBsrnn", 1, learned=True),
    "dttnet": Family("harness.separators.published_networks:PublishedDttnet", 1, learned=True),
    "tasnet": Family("harness.separators.published_tasnet:PublishedTasnet", 1, learned=True),
    "msst": Family("harness.separators.msst:Msst", 1, learned=True),
    "files": Family("harness.separators.from_disk:FromDisk", 1),
    "nmf": Family("harness.separators.nmf:Nmf", 1),
    "drum_nmf": Family("harness.separators.drum_nmf:DrumNmf", 2),
    "rpca": Family("harness.separators.low_rank:Rpca", 1),
    "ica": Family("harness.separators.statistical:Ica", 1),
    "ilrma": Family("harness.separators.statistical:Ilrma", 2),
    "idlma": Family("harness.separators.statistical:Idlma", 1),
    "centre": Family("harness.separators.classical:Centre", 1),
    "ensemble": Family("harness.separators.ensemble:Ensemble", 1),
    "command": Family("harness.separators.command:Command", 1, own_code=True),
    "python": Family("harness.separators.own_class:OwnClass", 1, learned=None, own_code=True),
}


OF_THE_TOOL = {  # types of family msst whose networks only the package msst has
    "bs_roformer_experimental", "experimental_mdx23c_stht", "mel_band_roformer_experimental",
    "scnet_masked", "scnet_tran", "scnet_unofficial", "segm_models", "swin_upernet", "torchseg",
}  # fmt: skip
NEEDS_NOTHING = {"htdemucs", "hdemucs"}  # types of family msst


def obstacle(entry: Entry) -> str:
    """Return why an entry cannot run here, and what to do; empty if it can."""
    return entry.unavailable or lacking_package(entry) or weight_files.lacking(entry)


def lacking_package(entry: Entry) -> str:
    """Return which package an entry or a separator inside it needs, and what to do; empty if none.

    The package is looked for, not imported. Whether it can be imported shows when it is used.
    """
    for part in entry.parts:
        package = package_of(part)
        if package and importlib.util.find_spec(package.replace("-", "_")) is None:
            return (
                f"the package {package} is not installed; {how_to_install(package, _type_of(part))}"
            )
    return ""


def package_of(entry: Entry) -> str:
    """Return the package that has an entry's network, if it is not installed with this one."""
    if entry.family == "audio_separator":
        return "audio-separator"
    return package_of_type(_type_of(entry)) if entry.family == "msst" else ""


def package_of_type(name: str) -> str:
    """Return the package that has the networks of a type of family msst."""
    if name in NEEDS_NOTHING:
        return ""
    return {"moises_light": "moises-light"}.get(
        name, "msst" if name in OF_THE_TOOL else "pymss-core"
    )


def how_to_install(package: str, name: str = "") -> str:
    """Return the command that installs a package, for networks of that type."""
    if package == "msst":
        return f"pip install 'msst[{name.replace('_', '-')}]', which may change torch"
    extra = {"pymss-core": "msst", "audio-separator": "audio-separator"}.get(package)
    return f"pip install 'mss-harness[{extra}]'" if extra else f"pip install {package}"


def _type_of(entry: Entry) -> str:
    """Return the type of a network where its entry, or a configuration that is here, tells it."""
    declared = entry.params.get("model_type")
    if declared is not None:
        return str(declared)
    for file in entry.weights:
        if file.file.endswith(weight_files.TEXTS) and weight_files.is_here(file):
            try:
                config = strict_yaml.read(weight_files.find(file.file), "configuration")
            except HarnessError:  # its reader says what is wrong with it
                return ""
            model = config.get("model") if isinstance(config, dict) else None
            return model if isinstance(model, str) else ""
    return ""


def load(
    entry: Entry, *, stems: tuple[str, ...] = (), sample_rate: int = 44100, device: str = "cpu"
) -> Separator | Oracle:
    """Build the separator of an entry.

    Parameters
    ----------
    stems, sample_rate
        Of the dataset, in Hz; used where the entry does not specify them.
    device
        Where a network runs.
    """
    if entry.unavailable:
        raise HarnessError(f"{entry.name}: {entry.unavailable}; choose another separator")
    build = _class_of(find_family(entry))
    options = dict(entry.params)
    if entry.members:
        options = _members(entry, sample_rate, device)
    elif entry.guide:
        guide = load(entry.guide, stems=(), sample_rate=sample_rate, device=device)
        options["guide"] = entry.guide, guide
    elif _with_weights(entry):
        options |= _weights(entry) | {"device": device}
    try:
        separator = build(
            sample_rate=entry.sample_rate or sample_rate,
            stems=entry.stems or stems,
            input_stem=entry.input,
            **options,
        )
    except TypeError as error:
        raise HarnessError(
            f"{entry.name}: params {dict(entry.params)} do not fit ({error}); "
            f"see the class {build.__name__}"
        ) from error
    return cast("Separator | Oracle", separator)


def is_learned(entry: Entry) -> bool:
    """Whether the entry is a network that can run, or has one inside."""
    return not obstacle(entry) and any(map(_with_weights, entry.parts))


def runs_own_code(entry: Entry) -> bool:
    """Whether an entry runs a program or a class of the user."""
    family = FAMILIES.get(entry.family)
    return family is not None and family.own_code


def own_code(entries: Iterable[Entry]) -> list[str]:
    """Return one line for each entry, or separator inside one, that runs code of the user."""
    every = {e.name: e for entry in entries for e in entry.parts if runs_own_code(e)}
    return [
        f"{name}: runs {_class_of(find_family(entry)).about(entry.params)}"
        for name, entry in every.items()
    ]


def code_versions(entry: Entry) -> Any:
    """Return the versions of the code behind an entry, for the key of its finished work.

    For code of the user these are the hashes of its files.
    """
    own = _code_version(entry)
    inside = {part.name: _code_version(part) for part in entry.parts[1:]}
    return {entry.family: own, **inside} if inside else own


def _code_version(entry: Entry) -> Any:
    family = find_family(entry)
    if not family.own_code:
        return family.version
    files: list[Path] = _class_of(family).files(entry.params)
    return [family.version, sorted({_digest_of(path) for path in files})]


def _digest_of(path: Path) -> str:
    state = path.stat()
    return _digest_as_of(path.absolute(), state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@lru_cache(maxsize=256)
def _digest_as_of(path: Path, *state: int) -> str:
    """Return the hash of a file in this state, so that a large one is read once."""
    return file_digest(path)


def _class_of(family: Family) -> Any:
    module, _, name = family.target.partition(":")
    return getattr(importlib.import_module(module), name)


def _with_weights(entry: Entry) -> bool:
    """Whether an entry's class is built with files of weights and a device."""
    learned = find_family(entry).learned
    return bool(entry.weights) if learned is None else learned


def _members(entry: Entry, sample_rate: int, device: str) -> dict[str, Any]:
    """Return the keywords of an ensemble: loaded members, weights and the rule to combine them."""
    return {
        "members": [
            (member, load(member, stems=(), sample_rate=sample_rate, device=device))
            for member in entry.members
        ],
        "weights": entry.blend.stems,
        "how": entry.blend.how,
        "consistent": entry.blend.consistent,
        "edges": entry.blend.edges,
    }


def _weights(entry: Entry) -> dict[str, Any]:
    """Return the keywords of a learned family: checkpoints, each verified first."""
    from harness.separators import checkpoints

    paths = []
    weight_files.pin_files([entry])
    for file in entry.weights:
        path = weight_files.find(file.file)
        checkpoints.check(path, sha256=file.known_sha256, size=file.size)
        paths.append(path)
    return {"weights": paths, "sha256": [file.known_sha256 for file in entry.weights]}


def find_family(entry: Entry) -> Family:
    """Return the family of an entry, or an error with the nearest name."""
    if entry.family not in FAMILIES:
        raise HarnessError(
            f"{entry.name}: unknown family {entry.family!r}; {suggestion(entry.family, FAMILIES)}"
        )
    return FAMILIES[entry.family]
