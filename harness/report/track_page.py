"""The page of one stem of a track: its sources to listen to, and their scores."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import soundfile
from markupsafe import Markup

from harness.audio import Audio
from harness.benchmark import clips
from harness.benchmark.clips import Clip, Float64
from harness.datasets import DATASETS
from harness.grid import HARMONIC
from harness.report import excerpts, frame_lines, html, names, text
from harness.results import Run

SCRIPTS = ("theme.js", "sound.js", "pictures.js", "track.js")  # in this order
TRUE = ("mixture", "reference")  # what estimates are heard beside, in this order
Json = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """One page: a stem of a track.

    Attributes
    ----------
    href
        From the page of the run.
    why_silent
        Why it has no audio; empty where it has.
    """

    dataset: str
    split: str
    track: str
    artist: str
    genre: str
    stem: str
    href: str
    why_silent: str

    @property
    def private(self) -> bool:
        """Whether it has audio that may not be passed on."""
        return not (
            self.why_silent or DATASETS.get(self.dataset, DATASETS["folder"]).may_share_audio
        )


@dataclass(frozen=True)
class Source:
    """One separator's estimate of the stem.

    Attributes
    ----------
    clip
        None where the work was done without keeping it.
    score
        Of the whole track, in dB; what the separators are sorted by.
    """

    name: str
    fed: str
    role: str
    clip: Clip | None
    score: float

    @property
    def label(self) -> str:
        """What it is called on the page."""
        fed = "" if self.fed == "mixture" else f" ({names.input_label(self.fed)})"
        return self.name + fed


def render(
    run: Run,
    page: tuple[Page, Sequence[Page]],
    true: tuple[Clip, Clip],
    estimates: Mapping[str, Clip | None],
    scores: pd.DataFrame,
) -> str:
    """Return one page as HTML.

    Parameters
    ----------
    page
        What it is about, and all pages of its track.
    true
        The mixture and the reference.
    estimates
        By separator; None where none was kept.
    scores
        All of the stem on the track.
    """
    about, siblings = page
    sources = _sources(run, scores, estimates)
    heard = [(source, source.clip) for source in sources if source.clip]
    chosen, loud = _choose(heard, true[1])
    sounds = [clip for source, clip in heard if source.role != "anchor"]  # those come last
    frames = {source.label: clip.frames for source, clip in heard}
    stretches = [] if about.why_silent else excerpts.regions(chosen)
    named = [*TRUE, *frames][: len(TRUE) + len(sounds)]
    low, high = frame_lines.limits(list(frames.values()))
    view = {
        "sources": [
            {"name": name, "frames": [] if i < len(TRUE) else _encoded_all(frames[name])}
            for i, name in enumerate(named)
        ],
        "regions": stretches,
        "excerpts": [vars(excerpt) for excerpt in chosen],
        "loud": loud,
        "rate": true[1].rate,
        "limits": [low, high],
    }
    info = DATASETS.get(about.dataset, DATASETS["folder"])
    title = f"SNR of each second of {about.stem} in {about.track}"
    return html.page(
        "track.html",
        SCRIPTS,
        run=run,
        page=about,
        siblings=siblings,
        info=info,
        sources=named,
        bold=next(iter(frames), ""),
        missing=[source.label for source in sources if source.clip is None],
        excerpts=chosen,
        clock=frame_lines.clock,
        overview=frame_lines.draw(frames, chosen if stretches else (), title=title),
        table=_table(run, scores),
        view=html.as_json(view),
        audio=_audio([*true, *sounds], stretches),
    )


def _sources(run: Run, scores: pd.DataFrame, estimates: Mapping[str, Clip | None]) -> list[Source]:
    """Return who estimated a stem: by role, best first."""
    entries = run.record.get("separators") or {}
    values = scores[scores["metric"] == HARMONIC]
    found = [
        Source(
            name=row["separator"],
            fed=row["input"],
            role=(entries.get(row["separator"]) or {}).get("role", "separator"),
            clip=estimates[row["separator"]],
            score=float("-inf") if pd.isna(row["value"]) else float(row["value"]),
        )
        for row in values.to_dict("records")
        if row["separator"] in estimates and not row["input"].startswith("cascade:")
    ]
    order = list(names.ROLES)
    return sorted(found, key=lambda s: (order.index(s.role), -s.score, s.name))


def _choose(
    heard: Sequence[tuple[Source, Clip]], reference: Clip
) -> tuple[tuple[excerpts.Excerpt, ...], list[int]]:
    """Choose what is listened to by the ranked separators, or by all where none is ranked.

    Returns
    -------
    excerpts, seconds
        The seconds are those that were chosen from.
    """
    ranked = [clip.frames for source, clip in heard if source.role == "separator"]
    frames = ranked or [clip.frames for _, clip in heard]
    window = reference.start, min(reference.start + clips.SECONDS, len(reference.frames))
    loud = excerpts.sounding(frames, reference.frames, window)
    return excerpts.choose(frames, loud, window), loud.tolist()


def _encoded_all(frames: Float64) -> list[float | str | None]:
    """Return numbers for JSON."""
    return [text.encode(float(value)) for value in frames]


def _audio(sounds: Sequence[Clip], stretches: Sequence[tuple[int, int]]) -> dict[str, Markup]:
    """Return {id: FLAC as base64} of every source in every stretch, all on one scale."""
    found = {}
    for i, (start, stop) in enumerate(stretches):
        cut = [clip.read(start, stop) for clip in sounds]
        peak = max(float(abs(signal).max(initial=0.0)) for signal in cut)
        scale = max(1.0, peak / clips.FULL_SCALE)
        for j, signal in enumerate(cut):
            found[f"audio-{i}-{j}"] = _encoded(signal / scale, sounds[j].rate)
    return found


def _encoded(signal: Audio, rate: int) -> Markup:
    """Return a signal as FLAC in base64: every browser reads it, and nothing is lost in it."""
    buffer = io.BytesIO()
    soundfile.write(buffer, signal.T, rate, format="FLAC", subtype="PCM_16")
    return Markup(base64.b64encode(buffer.getvalue()).decode())


def _table(run: Run, scores: pd.DataFrame) -> Json:
    """Return all scores of a stem on a track: the metrics, and a row each competitor."""
    have = set(scores["metric"]) - {""}
    order = [m for m in names.METRICS if m in have] + sorted(have - set(names.METRICS))
    rows: dict[tuple[str, str], Json] = {}
    for row in scores.to_dict("records"):
        line = rows.setdefault((row["separator"], row["input"]), {"notes": []})
        undefined = row["status"] != "ok" or pd.isna(row["value"])
        line[row["metric"]] = None if undefined else text.encode(float(row["value"]))
        line["notes"] += [note for note in (row["note"],) if note and note not in line["notes"]]
    ordered = sorted(rows.items(), key=lambda item: (-_number(item[1].get(order[0])), item[0]))
    about = run.record.get("metrics") or {}
    return {
        "metrics": [
            {
                "name": m,
                "label": names.metric_label(m),
                "about": (about.get(m) or {}).get("definition", ""),
            }
            for m in order
        ],
        "rows": [{"separator": s, "input": fed, **line} for (s, fed), line in ordered],
    }


def _number(value: float | str | None) -> float:
    """Return an encoded number to sort by; what is none comes last."""
    return float("-inf") if value is None else float(value)
