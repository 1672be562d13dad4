"""``harness check``."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import typer

from harness import datasets, registry
from harness.benchmark import Settings, integrity
from harness.benchmark.reproduce import ReproducedScore, reproduce
from harness.cli import options
from harness.cli.arguments import parse_data
from harness.cli.options import SOME_FAILED, USER_ERROR, flag, option
from harness.cli.terminal import print_json, print_table, progress, say, show
from harness.core.errors import HarnessError
from harness.core.files import cache_folder, only_one
from harness.core.machine import choose_device, cores
from harness.core.text import count
from harness.datasets import real_song
from harness.datasets.available import DatasetChoice, choose_datasets
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.mixture_check import examined
from harness.registry import Entry
from harness.registry.weight_files import terms
from harness.separators import is_learned, obstacle, own_code


@dataclass(frozen=True)
class Finding:
    """One line of ``harness check``."""

    what: str
    state: str  # ready, absent or broken
    detail: str


def check(
    registry_file: Path | None = options.REGISTRY,
    data: list[str] = options.DATA,
    reproduce: str | None = option(
        "--reproduce NAME",
        None,
        "Score separator NAME and compare the result with its published scores. --device applies "
        "to this only.",
    ),
    device: str = options.DEVICE,
    jobs: int = options.JOBS,
    results_folder: Path | None = option(
        "--results FOLDER",
        None,
        "Without --data and --reproduce: check the stored results of this folder instead. With "
        "them: the folder that remembers what is known of audio files.",
        "results",
    ),
    repair: bool = flag(
        "--repair", "Set damaged results aside, so that the next run does them again."
    ),
    rehash: bool = options.REHASH,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """Check that separators and datasets can be loaded, and say what to do if not.

    Datasets given with --data are read: a mixture should be the sum of its stems. With --reproduce,
    check the scores of one separator instead; with --results alone, check every stored result.
    """
    if results_folder and not (data or reproduce):
        _check_results(results_folder, repair, as_json)
        return
    if repair:
        raise HarnessError("--repair: is of stored results; name their folder with --results")
    results_folder = results_folder or Path("results")
    entries, folders = registry.load(registry_file), parse_data(data)
    settings = Settings(
        command=tuple(sys.argv[1:]), results=results_folder, jobs=jobs or cores(), rehash=rehash
    )
    if reproduce:
        entry = registry.find(entries, reproduce)
        settings = replace(settings, device=choose_device(device, learned=is_learned(entry)))
        _say_own_code([entry])
        _check_scores(entry, folders, settings, as_json)
        return
    _say_own_code(entry for entry in entries.values() if entry.family == "python")
    findings = examine(entries, folders, settings, as_json)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [(f.what, f.state, f.detail) for f in findings]
        print_table("Check", ("what", "state", "detail"), rows)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(USER_ERROR)


def _check_results(results: Path, mend: bool, as_json: bool) -> None:
    """Name every damaged file, and what redoing it costs; exit status 2 if one is left."""
    with only_one(results) if mend else nullcontext():
        with progress("reading results", as_json) as advance:
            damaged, counts = integrity.examine(results, advance)
        aside = integrity.repair(damaged) if mend else []
    if as_json:
        files = [asdict(file) for file in damaged]
        print_json({"read": counts, "damaged": files, "set_aside": aside})
    else:
        rows = [(file.path, file.what, file.wrong, file.redo) for file in damaged]
        if rows:
            print_table("Damaged results", ("file", "what", "what is wrong", "to redo it"), rows)
        read = ", ".join(count(n, f"{what}") for what, n in counts.items())
        show(f"{results}: {read} read; {count(len(damaged), 'damaged file')}")
        if aside:
            show(f"{count(len(aside), 'file')} set aside; repeat the run's command to redo them")
        elif damaged:
            show("add --repair to set them aside, then repeat the run's command")
    if damaged and not mend:
        raise typer.Exit(USER_ERROR)


def _say_own_code(entries: Iterable[Entry]) -> None:
    for line in own_code(entries):
        say(line)


def examine(
    entries: Mapping[str, Entry],
    data: Mapping[str, Path],
    settings: Settings | None = None,
    quiet: bool = True,
) -> list[Finding]:
    """Examine every separator, every dataset and the programs that some need."""
    settings = settings or Settings()
    names = {**datasets.DATASETS, **data}
    return [
        *(_examine_entry(entry) for entry in entries.values()),
        *(_examine_dataset(name, data, settings, quiet) for name in names if name != "folder"),
        _examine_stem_mp4(),
    ]


def _examine_entry(entry: Entry) -> Finding:
    """Check whether a separator can be loaded."""
    about = [terms(entry)] if entry.weights else []
    if reason := obstacle(entry):
        return Finding(entry.name, "absent", "\n".join([reason, *about]))
    from harness.separators import load

    try:
        load(entry, stems=("vocals", "accompaniment"), sample_rate=44100)
    except HarnessError as error:
        return Finding(entry.name, "broken", "\n".join([str(error), *about]))
    stems = ", ".join(entry.stems) or "any stem"
    weights = ["weights downloaded and verified"] if entry.weights else []
    return Finding(entry.name, "ready", "\n".join([stems, *weights, *about]))


def _examine_dataset(
    name: str, data: Mapping[str, Path], settings: Settings, quiet: bool
) -> Finding:
    """Find out whether a dataset can be read, and what is wrong with it.

    The audio of those in `data` is read.
    """
    if name == "demo":
        return Finding(name, "ready", f"rendered into {cache_folder()} when needed")
    if name == real_song.NAME and name not in data:
        why = real_song.obstacle()
        ready = f"decoded into {cache_folder()} when needed"
        return Finding(name, "absent" if why else "ready", why or ready)
    if name not in datasets.configured(data):
        return Finding(name, "absent", datasets.DATASETS[name].how_to)
    try:
        folder = datasets.find(name, data)
        found = datasets.load(name, folder)
    except HarnessError as error:
        return Finding(name, "broken", str(error))
    lines = [f"{len(found.tracks)} tracks in {folder}"]
    if name in data:
        fingerprints = Fingerprints(settings.fingerprints, rehash=settings.rehash)
        with progress(f"reading {name}", quiet) as advance:
            found = examined(
                found, fingerprints, settings.mixtures, jobs=settings.jobs, progress=advance
            )
        looked, read = len(fingerprints.looked_at), len(fingerprints.read)
        lines.append(
            f"{count(looked + read, 'file')}: {read} read, {looked} only looked at"
            + (" (unchanged size, times, inode and samples; --rehash reads them)" if looked else "")
        )
    return Finding(name, "ready", "\n".join([*lines, *found.problems]))


def _examine_stem_mp4() -> Finding:
    """Check whether .stem.mp4 files can be read."""
    if importlib.util.find_spec("stempeg") is None:
        detail = "to read MUSDB18, run: pip install 'mss-harness[stem-mp4]'"
    elif shutil.which("ffmpeg") is None:
        detail = "to read MUSDB18, install the program ffmpeg"
    else:
        return Finding("stem.mp4", "ready", "stempeg and ffmpeg are installed")
    return Finding("stem.mp4", "absent", detail)


def _check_scores(
    entry: Entry, data: Mapping[str, Path], settings: Settings, as_json: bool
) -> None:
    """Compare published scores with measured ones; exit status 3 if they differ."""
    if reason := obstacle(entry):
        raise HarnessError(f"{entry.name}: {reason}")
    if not entry.published:
        raise HarnessError(f"{entry.name}: has no published scores; add them to its registry row")
    scores: list[ReproducedScore] = []
    for published in entry.published:
        name, _, split = published.dataset.partition(":")
        (dataset,) = choose_datasets(DatasetChoice(data, [name], split), settings.jobs)
        with progress(f"scoring {published.dataset}", as_json) as advance:
            scores += reproduce(entry, published, dataset, settings, progress=advance)
    head = ["stem", "metric", "dataset", "source", "published", "measured", "tolerance", "verdict"]
    if as_json:
        print_json([asdict(score) | {"agrees": score.agrees} for score in scores])
    else:
        rows = []
        for s in scores:
            values = f"{s.published:.2f}", f"{s.measured:.2f}", f"{s.tolerance:g}"
            rows.append((s.stem, s.definition, s.dataset, s.source, *values, s.verdict))
        print_table(f"{entry.name}: published and measured scores, dB", head, rows)
    if not all(score.agrees for score in scores):
        raise typer.Exit(SOME_FAILED)
