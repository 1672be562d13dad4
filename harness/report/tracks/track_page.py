"""The page of one stem of a track: mixture, reference and estimates to hear, and their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from harness.benchmark import clips
from harness.benchmark.clips import Clip
from harness.core import text
from harness.core.taxonomy import REFERENCE
from harness.core.text import Json
from harness.datasets import DATASETS
from harness.metrics.bleed import SecondErrors
from harness.report import html, names
from harness.report.computed import Report, about, in_order
from harness.report.tracks import excerpts, frame_lines, sounds
from harness.results.grid import HARMONIC

SCRIPTS = ("theme.js", "numbers.js", "sound.js", "pictures.js", "track.js")  # in this order
ERROR_FLOOR = -30.0  # dB relative to the reference; smaller errors are not drawn
TRUE = ("mixture", "reference")  # listed before the estimates, in this order


@dataclass(frozen=True)
class TrackPage:
    """One page: a stem of a track."""

    dataset: str
    split: str
    track: str
    artist: str
    genre: str
    stem: str
    href: str  # relative to the page of the run
    why_silent: str  # why it has no audio; empty if it has

    @property
    def private(self) -> bool:
        """Whether it has audio that must not be shared."""
        return not (
            self.why_silent or DATASETS.get(self.dataset, DATASETS["folder"]).may_share_audio
        )


@dataclass(frozen=True)
class StemEstimate:
    """One separator's estimate of the stem."""

    name: str
    fed: str
    role: str
    clip: Clip | None  # None if the track was scored without keeping it
    score: float  # dB, of the whole track; sorts the separators

    @property
    def label(self) -> str:
        """Name and, if it is not the mixture, input."""
        fed = "" if self.fed == "mixture" else f" ({names.input_label(self.fed)})"
        return self.name + fed


def render(
    report: Report,
    page: tuple[TrackPage, Sequence[TrackPage]],
    true: tuple[Clip, Clip],
    estimates: Mapping[str, Clip | None],
    scores: pd.DataFrame,
    errors: Mapping[str, SecondErrors],
    allowed: int,
) -> str:
    """Return one page as HTML.

    `page` is this page and all pages of its track, `true` the mixture and the reference. Of the
    stem on the track, `estimates` is {separator: clip, or None}, `scores` are all rows, and
    `errors` is {separator: what its errors consist of}. The page has at most `allowed` bytes.
    """
    here, siblings = page
    sources = _sources(report, scores, estimates)
    kept = [(source, source.clip) for source in sources if source.clip]
    frames = {source.label: clip.frames for source, clip in kept}
    audible = sum(source.role != "anchor" for source, _ in kept)  # anchors come last
    room = allowed - sounds.rest(len(sources), len(true[1].frames))
    quality, fitting = _fit(kept, true[1], audible, room)
    silent = here.why_silent
    if not silent and fitting < min(audible, 1):
        silent = "the listening pages have reached their limit of size"
    quality, fitting = (sounds.QUALITIES[0], 0) if silent else (quality, fitting)
    chosen, loud = _choose(kept, true[1], quality)
    stretches = [] if silent else excerpts.regions(chosen)
    named = [*TRUE, *frames][: len(TRUE) + fitting]
    low, high = frame_lines.limits(list(frames.values()))
    separators = {source.label: source.name for source, _ in kept}
    kinds = next((found.kinds for found in errors.values()), ())
    view = {
        "sources": [
            {
                "name": name,
                "frames": [text.encode(float(value)) for value in frames.get(name, ())],
                "errors": _errors(errors.get(separators.get(name, ""))),
            }
            for name in named
        ],
        "kinds": [names.stem_label(kind) for kind in kinds],
        "regions": stretches,
        "excerpts": [vars(excerpt) for excerpt in chosen],
        "loud": loud,
        "rate": sounds.rate_of(true[1].rate),
        "limits": [low, high],
    }
    info = DATASETS.get(here.dataset, DATASETS["folder"])
    title = f"SNR of each second of {here.stem} in {here.track}"
    return html.page(
        "track.html",
        SCRIPTS,
        run=report.run,
        page=here,
        siblings=siblings,
        info=info,
        why_silent=silent,
        sources=named,
        left_out=list(frames)[fitting:audible],
        quality=quality,
        best=sounds.QUALITIES[0],
        bold=next(iter(frames), ""),
        kinds=[names.stem_label(kind) for kind in kinds],
        floor=ERROR_FLOOR,
        missing=[source.label for source in sources if source.clip is None],
        excerpts=chosen,
        clock=frame_lines.clock,
        overview=frame_lines.draw(frames, chosen if stretches else (), title=title),
        table=_table(report, scores),
        view=html.as_json(view),
        audio=sounds.encoded(true, [clip for _, clip in kept[:fitting]], stretches, quality.kbps),
    )


def _errors(errors: SecondErrors | None) -> list[list[Any]]:
    """Return per second the height of the error from 0 to 100, and the percentages of its kinds."""
    if errors is None:
        return []
    heights = np.clip(100 * (1 - errors.levels / ERROR_FLOOR), 0, 100)
    percentages = np.round(100 * errors.shares).astype(int)
    return [
        [round(float(height)), text.encode(round(float(level), 1)), *shares]
        for height, level, shares in zip(heights, errors.levels, percentages.tolist(), strict=True)
    ]


def _sources(
    report: Report, scores: pd.DataFrame, estimates: Mapping[str, Clip | None]
) -> list[StemEstimate]:
    """Return the estimates of a stem: by role, best first."""
    values = scores[scores["metric"] == HARMONIC]
    found = [
        StemEstimate(
            name=row["separator"],
            fed=row["source"],
            role=report.roles.get(row["separator"], "separator"),
            clip=estimates[row["separator"]],
            score=float("-inf") if pd.isna(row["value"]) else float(row["value"]),
        )
        for row in values.to_dict("records")
        if row["separator"] in estimates and row["fed_by"] in ("", REFERENCE)
    ]
    order = list(names.ROLES)
    return sorted(found, key=lambda s: (order.index(s.role), -s.score, s.name))


def _choose(
    kept: Sequence[tuple[StemEstimate, Clip]], reference: Clip, quality: sounds.Quality
) -> tuple[tuple[excerpts.ScoredExcerpt, ...], list[int]]:
    """Return the excerpts to listen to, and the seconds they were chosen from.

    Scores of ranked separators choose; those of all if none is ranked.
    """
    ranked = [clip.frames for source, clip in kept if source.role == "separator"]
    frames = ranked or [clip.frames for _, clip in kept]
    window = reference.start, min(reference.start + clips.SECONDS, len(reference.frames))
    loud = excerpts.sounding(frames, reference.frames, window)
    chosen = excerpts.choose(frames, loud, window, quality.seconds)
    return chosen[: quality.excerpts], loud.tolist()


def _fit(
    kept: Sequence[tuple[StemEstimate, Clip]], reference: Clip, audible: int, room: int
) -> tuple[sounds.Quality, int]:
    """Return the best quality in which the audio fits into `room` bytes, and how many estimates.

    If not all `audible` ones fit at the lowest quality, the first ones have audio; the number is
    negative if not even the mixture and the reference fit.
    """
    fitting = 0
    for quality in sounds.QUALITIES:
        stretches = excerpts.regions(_choose(kept, reference, quality)[0])
        each = sounds.size(stretches, reference.rate, clips.CHANNELS, quality.kbps)
        fitting = min(room // each - len(TRUE), audible)
        if fitting == audible:
            break
    return quality, fitting


def _table(report: Report, scores: pd.DataFrame) -> Json:
    """Return all scores of a stem on a track: the metrics, and one row per separator and input."""
    order = in_order(set(scores["metric"]))
    rows: dict[tuple[str, str], Json] = {}
    for row in scores.to_dict("records"):
        line = rows.setdefault((row["separator"], row["source"]), {"notes": []})
        undefined = row["status"] != "ok" or pd.isna(row["value"])
        line[row["metric"]] = None if undefined else text.encode(float(row["value"]))
        line["notes"] += [note for note in (row["note"],) if note and note not in line["notes"]]

    def place(item: tuple[tuple[str, str], Json]) -> tuple[float, tuple[str, str]]:
        score = item[1].get(order[0])
        return float("inf") if score is None else -float(score), item[0]

    return {
        "metrics": [about(report.run.record, metric) for metric in order],
        "rows": [
            {"separator": s, "input": fed, **row}
            for (s, fed), row in sorted(rows.items(), key=place)
        ],
    }
