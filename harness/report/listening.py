"""Track pages: a stem's mixture, reference and estimates to listen to, and their frame scores."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import soundfile
from markupsafe import Markup

from harness.audio import Audio
from harness.benchmark import clips
from harness.benchmark.clips import Clip
from harness.cache import digest, write_atomic
from harness.datasets import DATASETS
from harness.report import excerpts, frame_lines, html, names, tables, text
from harness.results import Run
from harness.taxonomy import in_order

SCRIPTS = ("theme.js", "sound.js", "pictures.js", "track.js")  # in this order
TRUE = ("mixture", "reference")  # what estimates are heard beside, in this order
AUDIO = ("none", "private", "allowed")
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


def why_silent(dataset: str, audio: str) -> str:
    """Say why a page of this dataset has no audio; empty where it may have some.

    Parameters
    ----------
    audio
        ``none``; ``allowed``, where the dataset's licence lets it be passed on; ``private``, for
        all.

    Examples
    --------
    >>> why_silent("demo", "allowed"), why_silent("demo", "none")
    ('', 'made with --audio none')
    """
    if audio == "none":
        return "made with --audio none"
    info = DATASETS.get(dataset, DATASETS["folder"])
    if audio == "private" or info.may_share_audio:
        return ""
    return (
        f"its licence ({info.licence}) does not let {dataset}'s audio be passed on; "
        "--audio private makes a page for yourself"
    )


def write_tracks(run: Run, work_folder: Path, folder: Path, audio: str) -> list[Page]:
    """Write a page for each stem of the tracks that were kept, and remove those of before.

    Parameters
    ----------
    folder
        Of the run's report; the pages go to ``tracks`` in it.
    audio
        One of `AUDIO`.
    """
    pages: list[Page] = []
    scores = tables.add_harmonic(pd.concat([run.scores, run.ensembles], ignore_index=True))
    by_track = dict(tuple(scores.groupby(["dataset", "split", "track"], sort=False)))
    for place, units in _kept(run, work_folder).items():
        pages += _write_track(run, place, units, by_track[place], (work_folder, folder, audio))
    ours = {folder / page.href for page in pages}
    for path in (folder / "tracks").glob("*.html"):
        if path not in ours:  # its audio may no longer be wanted in the report
            path.unlink()
    return pages


def by_track(pages: Iterable[Page]) -> list[list[Page]]:
    """Group pages by track, in the order given: what ``tracks.html`` shows."""
    tracks: dict[tuple[str, str, str], list[Page]] = {}
    for page in pages:
        tracks.setdefault((page.dataset, page.split, page.track), []).append(page)
    return list(tracks.values())


def _kept(run: Run, work_folder: Path) -> dict[tuple[str, str, str], list[Mapping[str, str]]]:
    """Return the pieces of work of each track that can be listened to."""
    tracks: dict[tuple[str, str, str], list[Mapping[str, str]]] = {}
    units = run.record.get("units") or []
    heard = clips.tracks_kept(work_folder, (unit["track_key"] for unit in units))
    for unit in units:
        if unit["track_key"] in heard:
            place = unit["dataset"], unit["split"], unit["track"]
            tracks.setdefault(place, []).append(unit)
    return tracks


def _write_track(
    run: Run,
    place: tuple[str, str, str],
    units: Sequence[Mapping[str, str]],
    scores: pd.DataFrame,
    where: tuple[Path, Path, str],
) -> Iterator[Page]:
    """Write the pages of one track."""
    work_folder, folder, audio = where
    key = units[0]["track_key"]
    estimates = {u["separator"]: clips.read_estimates(work_folder, key, u["key"]) for u in units}
    stems = in_order({stem for found in estimates.values() for stem in found})
    row = scores.iloc[0]
    about = {"artist": str(row["artist"]), "genre": tables.genre_name(row["genre"])}
    pages = [
        Page(*place, **about, stem=stem, href=_href(*place, stem), why_silent=why)
        for why in (why_silent(place[0], audio),)
        for stem in stems
    ]
    mixture = clips.read_true(work_folder, key, "mixture")
    for page in pages:
        true = mixture, clips.read_true(work_folder, key, page.stem)
        here = scores[scores["stem"] == page.stem]
        content = _page(run, (page, pages), true, _sources(run, here, estimates, page.stem), here)
        write_atomic(folder / page.href, content.encode("utf-8", "replace"))
        yield page


def _href(dataset: str, split: str, track: str, stem: str) -> str:
    """Return the file of a page: plain letters for people, a hash that tells all apart.

    Examples
    --------
    >>> _href("demo", "test", "../Ann – <b>", "bass")
    'tracks/demo-Ann-b-bass-3f3cd80f.html'
    """
    words = "-".join(re.findall(r"[A-Za-z0-9]+", f"{dataset} {track} {stem}"))
    return f"tracks/{words[:80]}-{digest([dataset, split, track, stem])[:8]}.html"


def _sources(
    run: Run, scores: pd.DataFrame, estimates: Mapping[str, Mapping[str, Clip]], stem: str
) -> list[Source]:
    """Return who estimated a stem: by role, best first."""
    entries = run.record.get("separators") or {}
    values = scores[scores["metric"] == tables.HARMONIC]
    found = [
        Source(
            name=row["separator"],
            fed=row["input"],
            role=(entries.get(row["separator"]) or {}).get("role", "separator"),
            clip=estimates[row["separator"]].get(stem),
            score=float("-inf") if pd.isna(row["value"]) else float(row["value"]),
        )
        for row in values.to_dict("records")
        if row["separator"] in estimates and not row["input"].startswith("cascade:")
    ]
    order = list(names.ROLES)
    return sorted(found, key=lambda s: (order.index(s.role), -s.score, s.name))


def _page(
    run: Run,
    page: tuple[Page, Sequence[Page]],
    true: tuple[Clip, Clip],
    sources: Sequence[Source],
    scores: pd.DataFrame,
) -> str:
    """Return one page as HTML."""
    about, siblings = page
    heard = [(source, source.clip) for source in sources if source.clip]
    chosen = _choose(heard, true[1])
    stretches = [] if about.why_silent else excerpts.regions(chosen)
    sounds = [clip for source, clip in heard if source.role != "anchor"]  # those come last
    frames = {source.label: clip.frames for source, clip in heard}
    low, high = frame_lines.limits(list(frames.values()))
    view = {
        "sources": [{"name": name, "frames": []} for name in TRUE]
        + [
            {"name": name, "frames": [text.encode(x) for x in shown]}
            for name, shown in list(frames.items())[: len(sounds)]
        ],
        "regions": stretches,
        "excerpts": [vars(excerpt) for excerpt in chosen],
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
        private=not about.why_silent and not info.may_share_audio,
        sources=[*TRUE, *frames][: len(TRUE) + len(sounds)],
        missing=[source.label for source in sources if source.clip is None],
        excerpts=chosen,
        clock=frame_lines.clock,
        overview=frame_lines.draw(frames, chosen, title=title),
        table=_table(run, scores),
        view=html.as_json(view),
        audio=_audio([*true, *sounds], stretches),
    )


def _choose(heard: Sequence[tuple[Source, Clip]], reference: Clip) -> tuple[excerpts.Excerpt, ...]:
    """Choose what is listened to by the ranked separators, or by all where none is ranked."""
    ranked = [clip.frames for source, clip in heard if source.role == "separator"]
    window = reference.start, min(reference.start + clips.SECONDS, len(reference.frames))
    return excerpts.choose(ranked or [clip.frames for _, clip in heard], reference.frames, window)


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
