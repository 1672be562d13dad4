"""Track pages to listen on: which tracks have them, and whether they may hold audio."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from harness.benchmark import clips
from harness.core.files import digest, write_atomic
from harness.core.taxonomy import LEVELS, in_order
from harness.datasets import DATASETS
from harness.metrics import BlendProducts, bleed
from harness.report.computed import Report, part
from harness.report.tracks import sounds, track_page
from harness.report.tracks.track_page import TrackPage
from harness.results.ranking import genre_name
from harness.results.run_products import find_blends

AUDIO = ("none", "private", "allowed")
MAIN = {*LEVELS["two stems"], *LEVELS["four stems"]}  # all other stems are parts of these
Place = tuple[str, str, str]  # dataset, split, track
Units = Sequence[Mapping[str, str]]  # of one track, as in the record of the run


def why_silent(dataset: str, audio: str) -> str:
    """Return why a page of this dataset has no audio; empty if it has.

    `audio` is ``none``, ``allowed`` (only if the license of the dataset permits sharing) or
    ``private`` (always).

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
        f"the license of {dataset} ({info.license}) does not permit sharing its audio; "
        "use --audio private for a page of your own"
    )


def write_tracks(
    report: Report,
    work_folder: Path,
    folder: Path,
    audio: str,
    *,
    megabytes: float = sounds.MEGABYTES,
) -> list[TrackPage]:
    """Write one page per stem of each kept track into ``<folder>/tracks``, and remove all others.

    `audio` is one of `AUDIO`; the pages that hold audio have at most `megabytes` in all.
    """
    tracks: dict[Place, list[Mapping[str, str]]] = {}
    units = part(report.run.record, "units")
    kept = clips.tracks_kept(work_folder, (unit["track_key"] for unit in units))
    for unit in units:
        if unit["track_key"] in kept:
            place = unit["dataset"], unit["split"], unit["track"]
            tracks.setdefault(place, []).append(unit)
    planned = {
        place: _planned(report, place, of_track, work_folder, audio)
        for place, of_track in tracks.items()
    }
    allowed = _allowed([item for found in planned.values() for item in found.items()], megabytes)
    for place, of_track in tracks.items():
        contents = _contents(report, list(planned[place]), of_track, work_folder, allowed)
        for page, content in zip(planned[place], contents, strict=True):
            write_atomic(folder / page.href, content.encode("utf-8", "replace"))
    pages = [page for found in planned.values() for page in found]
    ours = {folder / page.href for page in pages}
    for path in (folder / "tracks").glob("*.html"):
        if path not in ours:  # its audio may no longer be allowed in the report
            path.unlink()
    return pages


def by_track(pages: Iterable[TrackPage]) -> list[list[TrackPage]]:
    """Group pages by track, in the order given, for ``tracks.html``."""
    tracks: dict[Place, list[TrackPage]] = {}
    for page in pages:
        tracks.setdefault((page.dataset, page.split, page.track), []).append(page)
    return list(tracks.values())


def _planned(
    report: Report, place: Place, units: Units, work_folder: Path, audio: str
) -> dict[TrackPage, int]:
    """Return the pages of one track, and how many estimates each has."""
    scores = _of_track(report, place)
    key = units[0]["track_key"]
    found = Counter(
        stem for unit in units for stem in clips.stems_kept(work_folder, key, unit["key"])
    )
    artist, genre = str(scores["artist"].iloc[0]), genre_name(scores["genre"].iloc[0])
    silent = why_silent(place[0], audio)
    return {
        TrackPage(*place, artist, genre, stem, _href(*place, stem), silent): found[stem]
        for stem in in_order(found)
    }


def _allowed(planned: Sequence[tuple[TrackPage, int]], megabytes: float) -> dict[str, int]:
    """Return the bytes that each page may have, by its file.

    Stems that are not `MAIN` get a quarter, and what the others leave.
    """
    most = int(megabytes * 1e6 / sounds.PAGES)
    best = sounds.QUALITIES[0]
    window = [(0, best.seconds)] * best.excerpts
    each = sounds.size(window, sounds.RATES[-1], clips.CHANNELS, best.kbps)
    main: dict[str, int] = {}
    parts: dict[str, int] = {}
    for page, estimates in planned:
        needed = sounds.rest(estimates, 600) + (estimates + len(track_page.TRUE)) * each
        group = parts if page.stem not in MAIN else main
        group[page.href] = 0 if page.why_silent else min(needed, most)
    first = sounds.shares(main, megabytes * 1e6 - min(sum(parts.values()), megabytes * 1e6 / 4))
    return first | sounds.shares(parts, megabytes * 1e6 - sum(first.values()))


def _contents(
    report: Report,
    pages: Sequence[TrackPage],
    units: Units,
    work_folder: Path,
    allowed: Mapping[str, int],
) -> Iterator[str]:
    """Yield the HTML of the pages of one track."""
    scores = _of_track(report, (pages[0].dataset, pages[0].split, pages[0].track))
    key = units[0]["track_key"]
    estimates = {u["separator"]: clips.read_estimates(work_folder, key, u["key"]) for u in units}
    mixture = clips.read_true(work_folder, key, "mixture")
    ours = {u["key"]: u["separator"] for u in units if u["separator"] in report.ranked}
    products = find_blends(work_folder, key, ours)
    for page in pages:
        true = mixture, clips.read_true(work_folder, key, page.stem)
        here = scores[scores["stem"] == page.stem]
        own = {name: found.get(page.stem) for name, found in estimates.items()}
        errors = _errors(products.get(page.stem), ours)
        room = allowed[page.href]
        yield track_page.render(report, (page, pages), true, own, here, errors, room)


def _of_track(report: Report, place: Place) -> pd.DataFrame:
    """Return the scores of one track."""
    scores = report.scores
    for column, value in zip(("dataset", "split", "track"), place, strict=True):
        scores = scores[scores[column] == value]
    return scores


def _errors(
    products: BlendProducts | None, ours: Mapping[str, str]
) -> dict[str, bleed.SecondErrors]:
    """Return what the errors of each separator consist of, as far as it was kept."""
    if products is None or not products.sources:
        return {}
    keys = [key for key in products.separators if key in ours]
    return {ours[key]: bleed.second_errors(products, key) for key in keys}


def _href(dataset: str, split: str, track: str, stem: str) -> str:
    """Return the file of a page: plain letters for people, and a hash that makes it unique.

    Examples
    --------
    >>> _href("demo", "test", "../Ann – <b>", "bass")
    'tracks/demo-Ann-b-bass-62cc08b0.html'
    """
    words = "-".join(re.findall(r"[A-Za-z0-9]+", f"{dataset} {track} {stem}"))
    return f"tracks/{words[:80]}-{digest([dataset, split, track, stem])[:8]}.html"
