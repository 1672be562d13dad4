"""Formats in which others publish scores per track, all read as `PublishedScore`.

A metric has our name only if it has our definition. `ScoreFormat.definitions` says how frames
differ; runs of different definitions cannot be joined (`harness.results.runs.join`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.metrics import METRICS
from harness.registry import suggestion
from harness.results.museval_format import NAMES, parse_museval

LARGEST = 256 * 2**20  # bytes of one file
LONGEST = 200  # characters of a name
LOUDEST = 1000.0  # dB, finite; no 64-bit computation returns more
SPLITS = ("train", "valid", "test")
FRAME = 1.0  # seconds, in all definitions with frames
LeftOut = Counter[str]  # {reason: number of scores that are not imported}


@dataclass(frozen=True)
class ForeignFile:
    """A file that others wrote: read once, of limited size, with every value checked."""

    path: Path
    content: bytes

    @property
    def sha256(self) -> str:
        """Hash of the bytes, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    def rows(self, columns: Collection[str]) -> Iterator[dict[str, str]]:
        """Yield the rows of a CSV file whose header has these columns."""
        try:
            text = io.StringIO(self.content.decode("utf-8-sig"), newline="")
            lines = csv.DictReader(text, strict=True)
            if missing := [name for name in columns if name not in (lines.fieldnames or ())]:
                raise self.error(f"has no column {missing[0]!r}")
            for row in lines:
                if None in row or None in row.values():
                    raise self.error(
                        f"line {lines.line_num} does not have as many cells as the header"
                    )
                yield row
        except (ValueError, csv.Error) as error:
            raise self.error(f"is not CSV in UTF-8 ({error})") from error

    def error(self, what: str) -> HarnessError:
        """Return an error about this file."""
        return HarnessError(f"{self.path}: {what}; check the file, or leave it out")

    def name(self, value: object) -> str:
        """Return the name of a track or separator; refuse names that lead to other folders."""
        if not isinstance(value, str) or not value.strip():
            raise self.error(f"{str(value)[:40]!r} is not the name of a track or separator")
        name = value.strip()
        leads_out = any(sign in name for sign in "/\\") or set(name) == {"."}
        if leads_out or not name.isprintable() or len(name) > LONGEST:
            raise self.error(f"{name[:40]!r} is not allowed as a name")
        return name

    def number(self, value: object) -> float:
        """Return a score in dB; NaN if the cell is empty."""
        if value is None or value == "":
            return math.nan
        error = self.error(f"{str(value)[:40]!r} is not a score in dB")
        try:
            number = float(str(value))
        except ValueError:
            raise error from None
        if LOUDEST < abs(number) < math.inf:
            raise error
        return number


def read_file(path: Path) -> ForeignFile:
    """Read a file; refuse those that are absent, unreadable or larger than `LARGEST`."""
    if not path.is_file():
        raise HarnessError(f"{path}: no such file or folder; check the name")
    try:
        if path.stat().st_size > LARGEST:
            raise HarnessError(f"{path}: larger than {LARGEST:,} bytes; name a smaller file")
        return ForeignFile(path, path.read_bytes())
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check it") from error


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and all JSON and CSV files in the folders named, sorted."""
    found: dict[Path, None] = {}
    for path in paths:
        below = sorted(p for p in path.rglob("*") if p.suffix in (".json", ".csv") and p.is_file())
        kept = [p for p in below if not p.name.startswith(".")] if path.is_dir() else [path]
        if not kept:
            raise HarnessError(f"{path}: has no .json and no .csv file; name one with scores")
        found |= dict.fromkeys(kept)
    return list(found)


@dataclass(frozen=True)
class PublishedScore:
    """One published value."""

    separator: str
    split: str  # empty if the file does not name it
    track: str
    stem: str  # in our words, like the metric
    metric: str
    value: float  # dB; NaN if undefined
    note: str  # what the value was computed over


@dataclass(frozen=True)
class ScoreFormat:
    """A format of published scores."""

    title: str  # who publishes the scores
    run: str  # default name of the run; empty: named after the folder
    read: Callable[[ForeignFile, LeftOut], Iterator[PublishedScore]]  # counts what it leaves out
    dataset: str  # this and `split`: used if neither the file nor the user names them
    split: str
    mark: bytes  # in the first bytes of each file of this format
    definitions: Mapping[str, Any]  # the metrics, as in a run's record
    models: bool = False  # whether separators are named after model files, as in the registry


def find_format(name: str, file: ForeignFile) -> ScoreFormat:
    """Return the format of that name; with ``auto`` the one that has its mark in the file."""
    if name in FORMATS:
        return FORMATS[name]
    if name != "auto":
        raise HarnessError(f"--format {name}: not known; {suggestion(name, FORMATS)}")
    for known in FORMATS.values():
        if known.mark in file.content[:4096]:
            return known
    raise file.error(f"is not in a known format ({', '.join(FORMATS)})")


def museval(file: ForeignFile, left_out: LeftOut) -> Iterator[PublishedScore]:
    """Read ``METHOD/[SPLIT/]TRACK.json``: the median over the frames with a number."""
    folder = file.path.absolute().parent
    split = folder.name if folder.name in SPLITS else ""
    separator = file.name((folder.parent if split else folder).name)
    track = file.name(file.path.stem)
    for target, metrics in parse_museval(file.content, str(file.path), window=FRAME).items():
        stem = _stem(str(target), left_out, len(metrics))
        for metric, frames in metrics.items() if stem else ():
            defined = frames[~np.isnan(frames)]
            with np.errstate(invalid="ignore"):  # infinity minus infinity: no median
                value = file.number(float(np.median(defined)) if len(defined) else None)
            note = f"median over {len(defined)} of {len(frames)} frames"
            yield PublishedScore(separator, split, track, stem, metric, value, note)


def sisec(file: ForeignFile, left_out: LeftOut) -> Iterator[PublishedScore]:
    """Read a table of medians over frames: method, target, metric, track, value."""
    column = "median_over_frames_dB"
    for row in file.rows(("method", "target", "metric", "track", column)):
        metric = OURS.get(row["metric"].upper())
        if metric is None:
            raise file.error(f"metric {row['metric'][:40]!r} is not one of {', '.join(OURS)}")
        if stem := _stem(row["target"], left_out):
            names, value = (file.name(row["method"]), "", file.name(row["track"])), row[column]
            yield PublishedScore(*names, stem, metric, file.number(value), "median over the frames")


def moisesdb(file: ForeignFile, left_out: LeftOut) -> Iterator[PublishedScore]:
    """Read a table of whole-track ratios: track_id, stem, sdr, and model if there are several.

    Separators are named after their file: ``htdemucs4``, ``oracle4_IRM``.
    """
    rows = list(file.rows(("track_id", "stem", "sdr")))
    meant = _meant(row["stem"] for row in rows)
    for row in rows:
        name = file.name("_".join(filter(None, (file.path.stem, row.get("model")))))
        if stem := _stem(meant[row["stem"]], left_out):
            track, value = file.name(row["track_id"]), file.number(row["sdr"])
            yield PublishedScore(name, "", track, stem, "snr", value, "the whole track")


def audio_separator(file: ForeignFile, left_out: LeftOut) -> Iterator[PublishedScore]:
    """Read ``models-scores.json``: for each model the stems that it claims to separate."""
    try:
        models = json.loads(file.content).items()
        for name, model, track in ((n, m, t) for n, m in models for t in m["track_scores"]):
            scores = {stem: v for stem, v in track["scores"].items() if isinstance(v, dict)}
            meant = _meant(model["stems"] or scores)
            names = file.name(name), "", file.name(track["track_name"])
            ours = {stem: _stem(_of_four(stem, meant), left_out, len(OURS)) for stem in scores}
            for theirs, column in product(filter(ours.get, ours), OURS):
                value = file.number(scores[theirs][column])
                note = "median over the frames"
                yield PublishedScore(*names, ours[theirs], OURS[column], value, note)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise file.error(f"does not hold scores of audio-separator ({error!r:.80})") from error


def _of_four(stem: str, meant: Mapping[str, str]) -> str:
    """Return our name of a model's stem; the references are four stems and accompaniment."""
    ours = meant.get(stem, f"{stem}, which is not a stem of the model")
    return "other of six stems, scored as other of four" if ours == "other_rest" else ours


def _meant(stems: Iterable[str]) -> dict[str, str]:
    """Return our names of the stems of one separator, or a reason if we have none.

    The scores of ``other`` are against the rest of four stems, also those of two-stem models.
    """
    ours = {stem: taxonomy.canonical(stem) for stem in stems}
    meant = taxonomy.of_model({*ours.values()})
    if meant.get("other") == "accompaniment":
        meant["other"] = "other of a model with fewer than four stems"
    return {stem: meant[name] for stem, name in ours.items()}


def _stem(name: str, left_out: LeftOut, scores: int = 1) -> str:
    """Return our name of a stem; if we have none, count its scores as left out and return ""."""
    stem = taxonomy.canonical(name)
    if stem in taxonomy.STEMS:
        return stem
    left_out[name[:60]] += scores
    return ""


OURS = {theirs: ours for ours, theirs in NAMES.items()}
_FRAMES = (
    "; by museval, which leaves out the frames in which a reference or an estimate of the "
    "stems scored together is silent"
)
_MUSEVAL: dict[str, Any] = {
    name: METRICS[name].described()
    | {"computed": False, "version": "museval", "definition": METRICS[name].definition + _FRAMES}
    for name in OURS.values()
}
_SNR = {"snr": {**METRICS["snr"].described(), "computed": True}}

FORMATS = {
    "museval": ScoreFormat("museval", "", museval, "musdb18", "", b'"targets"', _MUSEVAL),
    "audio-separator": ScoreFormat(
        "audio-separator",
        "audio-separator",
        audio_separator,
        "musdb18",
        "train",
        b'"track_scores"',
        _MUSEVAL,
        models=True,
    ),
    "moisesdb": ScoreFormat(
        "MoisesDB", "moisesdb", moisesdb, "moisesdb", "test", b"track_id,", _SNR
    ),
    "sisec": ScoreFormat(
        "SiSEC 2018", "sisec18", sisec, "musdb18", "test", b"method,target,", _MUSEVAL
    ),
}
