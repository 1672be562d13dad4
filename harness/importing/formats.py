"""Layouts in which others publish scores per track, each read as the same plain values.

A metric gets our name only where it is ours; where the frames differ, `Format.definitions` says
how, and runs of different definitions are not joined (`harness.results.join`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import taxonomy
from harness.errors import HarnessError
from harness.importing.files import File
from harness.metrics import METRICS
from harness.metrics.museval_format import NAMES, parse_museval
from harness.registry import suggestion

SPLITS = ("train", "valid", "test")
FRAME = 1.0  # seconds, of every definition with frames
LeftOut = Counter[str]  # what is not taken over → how many scores


@dataclass(frozen=True)
class Score:
    """One published value.

    Attributes
    ----------
    split
        Empty where the file does not say.
    stem, metric
        In our words.
    value
        dB; NaN where none is defined.
    note
        What the value is of.
    """

    separator: str
    split: str
    track: str
    stem: str
    metric: str
    value: float
    note: str


@dataclass(frozen=True)
class Format:
    """A layout of published scores.

    Attributes
    ----------
    title
        Whose scores they are.
    run
        Name of the run if the user gives none; empty for the folder's.
    read
        Yields the scores of one file; what it leaves out it counts by reason.
    dataset, split
        What the scores are of, where neither the file nor the user says.
    mark
        What a file of this layout has in its first bytes.
    definitions
        The metrics, as a run's record describes them.
    models
        Whether its separators are files of models, which the registry may know.
    """

    title: str
    run: str
    read: Callable[[File, LeftOut], Iterator[Score]]
    dataset: str
    split: str
    mark: bytes
    definitions: Mapping[str, Any]
    models: bool = False


def find_format(name: str, file: File) -> Format:
    """Return the format of that name; with ``auto`` the one a file looks like.

    Raises
    ------
    HarnessError
        If there is no such format, or the file looks like none.
    """
    if name in FORMATS:
        return FORMATS[name]
    if name != "auto":
        raise HarnessError(f"--format {name}: not known; {suggestion(name, FORMATS)}")
    for layout in FORMATS.values():
        if layout.mark in file.content[:4096]:
            return layout
    raise file.error(f"none of the known layouts ({', '.join(FORMATS)})")


def museval(file: File, left_out: LeftOut) -> Iterator[Score]:
    """Read ``METHOD/[SPLIT/]TRACK.json``: the median over the frames that have a number."""
    folder = file.path.absolute().parent
    split = folder.name if folder.name in SPLITS else ""
    separator = file.name((folder.parent if split else folder).name)
    track = file.name(file.path.stem)
    for target, metrics in parse_museval(file.content, str(file.path), window=FRAME).items():
        stem = _stem(str(target), left_out, len(metrics))
        for metric, frames in metrics.items() if stem else ():
            heard = frames[~np.isnan(frames)]
            with np.errstate(invalid="ignore"):  # infinity minus infinity: no median
                value = file.number(float(np.median(heard)) if len(heard) else None)
            note = f"median over {len(heard)} of {len(frames)} frames"
            yield Score(separator, split, track, stem, metric, value, note)


def sisec(file: File, left_out: LeftOut) -> Iterator[Score]:
    """Read a table of medians over frames: method, target, metric, track, value."""
    column = "median_over_frames_dB"
    for row in file.rows(("method", "target", "metric", "track", column)):
        metric = OURS.get(row["metric"].upper())
        if metric is None:
            raise file.error(f"metric {row['metric'][:40]!r} is not one of {', '.join(OURS)}")
        if stem := _stem(row["target"], left_out):
            names = file.name(row["method"]), "", file.name(row["track"])
            yield Score(*names, stem, metric, file.number(row[column]), "median over the frames")


def moisesdb(file: File, left_out: LeftOut) -> Iterator[Score]:
    """Read a table of whole-track ratios: track_id, stem, sdr, and model where there are several.

    A separator is called after its file: ``htdemucs4``, ``oracle4_IRM``.
    """
    rows = list(file.rows(("track_id", "stem", "sdr")))
    meant = _meant(row["stem"] for row in rows)
    for row in rows:
        name = file.name("_".join(filter(None, (file.path.stem, row.get("model")))))
        if stem := _stem(meant[row["stem"]], left_out):
            track = file.name(row["track_id"])
            yield Score(name, "", track, stem, "snr", file.number(row["sdr"]), "the whole track")


def audio_separator(file: File, left_out: LeftOut) -> Iterator[Score]:
    """Read ``models-scores.json``: of each model the stems that it says it gives."""
    try:
        for name, model in file.json().items():
            for track in model["track_scores"]:
                scores = {s: v for s, v in track["scores"].items() if isinstance(v, dict)}
                meant = _meant(model["stems"] or scores)
                for theirs, values in scores.items():
                    stem = _stem(_of_four(theirs, meant), left_out, len(OURS))
                    for metric, ours in OURS.items() if stem else ():
                        names = file.name(name), "", file.name(track["track_name"])
                        value = file.number(values[metric])
                        yield Score(*names, stem, ours, value, "median over the frames")
    except (KeyError, TypeError, AttributeError) as error:
        raise file.error(f"not scores of audio-separator ({error!r:.80})") from error


def _of_four(stem: str, meant: Mapping[str, str]) -> str:
    """Return what a model's stem is where the references are four stems and accompaniment."""
    ours = meant.get(stem, f"{stem}, which the model does not give")
    return "other of six stems, scored as that of four" if ours == "other_rest" else ours


def _meant(stems: Iterable[str]) -> dict[str, str]:
    """Return our names of the stems of one separator; a rest that has no name of ours says so.

    ``other`` is what four stems leave; beside guitar and piano it is `other_rest`.
    """
    ours = {stem: taxonomy.canonical(stem) for stem in stems}
    have = set(ours.values())
    rest = "other" if {"drums", "bass"} <= have else "other of fewer than four stems"
    if {"guitar", "piano"} <= have:
        rest = "other_rest"
    elif {"guitar", "piano"} & have:
        rest = "other of five stems"
    return {stem: rest if name == "other" else name for stem, name in ours.items()}


def _stem(name: str, left_out: LeftOut, scores: int = 1) -> str:
    """Return our name of a stem, empty if it has none; then so many scores are left out."""
    stem = taxonomy.canonical(name)
    if stem in taxonomy.STEMS:
        return stem
    left_out[name[:60]] += scores
    return ""


def _by_museval() -> dict[str, Any]:
    """Return what museval's metrics are beside ours."""
    frames = (
        "; by museval, which leaves out the frames in which a reference or an estimate of the "
        "stems scored together is silent"
    )
    return {
        name: {
            **METRICS[name].described(),
            "computed": False,
            "version": "museval",
            "definition": METRICS[name].definition + frames,
        }
        for name in OURS.values()
    }


OURS = {theirs: ours for ours, theirs in NAMES.items()}
_MUSEVAL = _by_museval()
FORMATS = {
    "museval": Format("museval", "", museval, "musdb18", "", b'"targets"', _MUSEVAL),
    "audio-separator": Format(
        "audio-separator",
        "audio-separator",
        audio_separator,
        "musdb18",
        "train",
        b'"track_scores"',
        _MUSEVAL,
        models=True,
    ),
    "moisesdb": Format(
        "MoisesDB",
        "moisesdb",
        moisesdb,
        "moisesdb",
        "test",
        b"track_id,",
        {"snr": {**METRICS["snr"].described(), "computed": True}},
    ),
    "sisec": Format("SiSEC 2018", "sisec18", sisec, "musdb18", "test", b"method,target,", _MUSEVAL),
}
