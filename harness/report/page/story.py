"""The first screen: what a ranking says, in sentences and one card per stem.

All of it is a function of the computed ranking (`harness.results.ranking`) and its certainties. A
separator whose mean is not above that of the anchor, the unprocessed mixture, is never called the
best without these words.
"""

from __future__ import annotations

import math
from collections import Counter, namedtuple
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core import text
from harness.core.audio import Float64
from harness.core.text import Json
from harness.report import names
from harness.report.computed import Report, part
from harness.report.page.certainty import Certainty
from harness.results.ranking import Compared, Key, Ranking, level, places
from harness.results.runs import leaked as leaked_pairs
from harness.selection import MIN_ARTISTS, Fragility, fragility

NAMED = 2  # separators or songs that a sentence or card names; of more it says how many
STATISTICS = ("mean", "median")
Card = namedtuple("Card", "winner score gain sure fragile below row")  # in JSON a list, as cells


@dataclass(frozen=True)
class First:
    """Which separator is first for a stem, and what is known of this."""

    stem: str
    tracks: int  # common ones
    artists: int  # behind them
    winners: tuple[str, ...] = ()  # several if equal, none if nothing is ranked
    only: bool = False  # nothing else is ranked
    score: float = math.nan  # of the winners
    low: float = math.nan  # its interval; NaN with too few artists
    high: float = math.nan
    also: tuple[str, ...] = ()  # ranked lower, but not significantly, best first
    anchor: float = math.nan  # score of the unprocessed input on the same tracks; NaN if unknown
    gain: float = math.nan  # over the anchor; above zero is better, whatever the metric
    weighed: bool = False  # whether `fragile` is known: of one winner's mean, if it has rivals
    fragile: Fragility | None = None
    leaked: bool = False  # nothing is ranked, since everything was trained on all tracks

    @property
    def useless(self) -> bool:
        """Whether the best is not above the anchor."""
        return self.gain <= 0

    @property
    def preliminary(self) -> bool:
        """Whether too few artists are behind the tracks for any statement about other songs."""
        return self.artists < MIN_ARTISTS


def firsts(
    found: Ranking,
    sure: Mapping[Key, Certainty],
    anchors: Collection[str],
    statistic: str = "mean",
    source: str = "mixture",
) -> list[First]:
    """Return what is first for every stem of the first table, in the order shown.

    `sure` is as from `certainties`, `anchors` names the separators with that role, and `statistic`
    is one of `STATISTICS`.
    """
    here = [stem for of, stem in found.stems if of == source and level(stem) == "main"]
    return [
        _first(found, stem, found.stems[source, stem], sure[source, stem], anchors, statistic)
        for stem in sorted(here, key=names.stem_rank)
    ]


def _first(
    found: Ranking,
    stem: str,
    compared: Compared,
    sure: Certainty,
    anchors: Collection[str],
    statistic: str,
) -> First:
    """Return what is first for one stem."""
    n, grid = len(compared.grid.tracks), compared.rivals
    ranked = grid.separators if places(found.metric) and n else ()
    if not ranked:
        seen = bool(compared.few) and not any(compared.few.values())
        return First(stem, n, sure.artists, leaked=seen)
    sign = 1 if found.higher_is_better else -1
    values = _statistic(grid.scores, statistic)
    order = np.argsort(-sign * values, kind="stable")
    best = values[order[0]]
    winners = tuple(ranked[i] for i in order if values[i] == best)
    cells = [sure.cells.get(ranked[i]) for i in order]
    mine = cells[0]
    letters = set(mine.group) if mine else set()
    others = zip(order, cells, strict=True)
    also = [ranked[i] for i, cell in others if cell and letters & set(cell.group)]
    anchor = _anchor(compared, anchors, sign, statistic)
    ends = (math.nan, math.nan)
    if mine:
        median = (mine.median_low, mine.median_high)
        ends = (mine.low, mine.high) if statistic == "mean" else median
    weighed = statistic == "mean" and len(winners) == 1 < len(ranked) and n > 1
    return First(
        stem,
        n,
        sure.artists,
        winners,
        only=len(ranked) == 1,
        score=float(best),
        low=ends[0],
        high=ends[1],
        also=tuple(name for name in also if name not in winners),
        anchor=anchor,
        gain=sign * (float(best) - anchor),
        weighed=weighed,
        fragile=fragility(grid, winners[0], sign) if weighed else None,
    )


def _statistic(scores: Float64, statistic: str) -> Float64:
    """Return the mean or median over tracks of each column."""
    columns = np.ascontiguousarray(scores)
    return np.asarray(columns.mean(axis=0) if statistic == "mean" else np.median(columns, axis=0))


def _anchor(
    compared: Compared, anchors: Collection[str], sign: int, statistic: str = "mean"
) -> float:
    """Return the best statistic of the anchors that have every common track; NaN without any."""
    scores = compared.grid.only(anchors).scores
    if not scores.size:
        return math.nan
    values = _statistic(scores, statistic)
    known = sign * values[np.isfinite(values)]
    return sign * float(known.max()) if known.size else math.nan


def sentences(
    found: Sequence[First],
    *,
    songs: int,
    artists: int,
    unit: str = "dB",
    leaked: Mapping[str, int] = {},
    failed: Mapping[str, int] = {},
) -> list[str]:
    """Return what the ranking of a dataset says, in plain words.

    `songs` were scored, by so many `artists`. `leaked` and `failed` are {separator: how many of
    them it was trained on, or failed on}.
    """
    told = [_best(found, songs, artists, unit)]
    told += [_useless([one for one in found if one.winners and one.useless], unit)]
    if any(one.winners for one in found) and all(one.preliminary for one in found if one.winners):
        told.append(
            f"This is preliminary: songs by fewer than {MIN_ARTISTS} artists do not show whether "
            "the order holds for other music."
        )
    told += [_unranked(found), _trained(leaked, songs), _failed(failed, songs)]
    return [sentence for sentence in told if sentence]


def _best(found: Sequence[First], songs: int, artists: int, unit: str) -> str:
    """Say which separator is best for which stems."""
    groups: dict[tuple[str, ...], list[First]] = {}
    for one in found:
        if one.winners and not one.useless:
            groups.setdefault((*one.winners, " only" if one.only else ""), []).append(one)
    clauses = []
    for members in groups.values():
        stems = listed([_with_score(one, unit) for one in members])
        winners = members[0].winners
        if len(winners) > 1:
            clauses.append(f"{listed(winners)} are equally good for {stems}")
        elif members[0].only:
            clauses.append(f"{winners[0]} is the only separator compared for {stems}")
        else:
            clauses.append(f"{winners[0]} is the best for {stems}")
    on = f"On {text.count(songs, 'song')} by {text.count(artists, 'artist')}"
    return f"{on}, {'; '.join(clauses)}." if clauses else ""


def _with_score(one: First, unit: str) -> str:
    """Return a stem with its best score and the separators that could be best, too."""
    could = f", could be {_some(one.also, 'or')} too" if one.also else ""
    return f"{_stem(one.stem)} ({_value(one.score, unit, 1)}{could})"


def _useless(found: Sequence[First], unit: str) -> str:
    """Name the stems for which the unprocessed mixture scores as well as the best, or better."""
    if not found:
        return ""
    worse = "worse than" if all(one.gain < 0 for one in found) else "no better than"
    proof = "; ".join(
        f"{_stem(one.stem)}: {listed(one.winners)} {_value(one.score, unit)}, the mixture itself "
        f"{_value(one.anchor, unit)}"
        for one in found
    )
    stems = listed([_stem(one.stem) for one in found], "or")
    return f"No separator makes usable {stems} here: the best is {worse} doing nothing ({proof})."


def _unranked(found: Sequence[First]) -> str:
    """Name the stems without any ranked separator, and why."""
    missing = [_stem(one.stem) for one in found if not one.winners and not one.leaked]
    seen = [_stem(one.stem) for one in found if not one.winners and one.leaked]
    told = [f"No separator here gives {listed(missing, 'or')}."] if missing else []
    if seen:
        told.append(
            f"Nothing is ranked for {listed(seen)}: every separator was trained on all these songs."
        )
    return " ".join(told)


def _trained(leaked: Mapping[str, int], songs: int) -> str:
    """Name separators trained on the songs."""
    whole = [name for name, n in leaked.items() if n >= songs]
    partly = [name for name, n in leaked.items() if 0 < n < songs]
    told = []
    if whole:
        them = "was" if len(whole) == 1 else "were"
        told.append(f"{_some(whole)} {them} trained on these songs and therefore not ranked.")
    if partly:
        told.append(f"Songs that {_some(partly)} {_were(partly)} trained on do not count.")
    return " ".join(told)


def _failed(failed: Mapping[str, int], songs: int) -> str:
    """Name separators that failed."""
    parts = [
        f"{name} failed on " + ("every song" if n >= songs else f"{n} of {songs} songs")
        for name, n in failed.items()
        if n
    ]
    return f"{_some(parts)}." if parts else ""


def _were(items: Sequence[str]) -> str:
    return "was" if len(items) == 1 else "were"


def _stem(stem: str) -> str:
    return "all stems together" if names.is_overall(stem) else names.stem_label(stem)


def _value(value: float, unit: str, places: int = 2) -> str:
    """Return a score with its unit; a unit such as 0–100 is the range, and not repeated."""
    return f"{text.decimals(value, places)} {'' if unit[:1].isdigit() else unit}".strip()


def _some(items: Sequence[str], word: str = "and") -> str:
    """List the first names, and how many others there are."""
    if len(items) <= NAMED + 1:
        return listed(items, word)
    return listed([*items[:NAMED], f"{len(items) - NAMED} others"], word)


def listed(items: Sequence[str], word: str = "and") -> str:
    """Return texts as a list of a sentence.

    Examples
    --------
    >>> listed(["vocals", "drums", "bass"])
    'vocals, drums and bass'
    """
    return f" {word} ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def card(one: First, unit: str, row: int | None = None) -> Card:
    """Return the texts of a stem's card; `row` is that of the first winner on the page.

    The gain is that of the numbers shown, so that a reader who subtracts them finds it.
    """
    if not one.winners:
        why = "every separator was trained on these songs" if one.leaked else "no separator ranked"
        return Card(text.MISSING, "", "", why, "", 0, None)
    gain = ""
    if not math.isnan(one.gain):
        over = "worse than doing nothing: " if one.gain < 0 else ""
        size = math.copysign(round(one.score, 2) - round(one.anchor, 2), one.gain)
        plus = "+" if round(size, 2) > 0 else ""
        gain = f"{over}{plus}{_value(size, unit)} over the mixture"
    score = _value(one.score, unit)
    return Card(listed(one.winners), score, gain, _sure(one), _fragile(one), int(one.useless), row)


def _sure(one: First) -> str:
    """Say how sure the first place is."""
    if one.preliminary:
        return f"preliminary: {text.count(one.artists, 'artist')}"
    ends = f"{text.decimals(one.low)} to {text.decimals(one.high)}, "
    if one.only:
        return f"{ends}nothing to compare with"
    if len(one.winners) > 1:
        return f"{ends}equal"
    if one.also:
        return f"{ends}not significantly better than {_some(one.also, 'or')}"
    return f"{ends}significantly better than all others"


def _fragile(one: First) -> str:
    """Say how few songs the first place depends on."""
    if one.fragile is None:
        return "first whatever songs are left out" if one.weighed else ""
    tracks = [track for _, track in one.fragile.tracks]
    more = len(tracks) - NAMED
    named = [*tracks[:NAMED], *([text.count(more, "other")] if more > 0 else [])]
    return (
        f"{one.fragile.rival} is first without {text.count(len(tracks), 'song')}: {listed(named)}"
    )


def first_places(report: Report, dataset: str, metric: str, statistic: str = "mean") -> list[First]:
    """Return what is first for every stem of a dataset of a run, see `firsts`."""
    found, sure = report.ranking(dataset, metric), report.certainties(dataset, metric)
    return firsts(found, sure, anchors_of(report), statistic)


def anchors_of(report: Report) -> set[str]:
    """Return the anchors that are the unprocessed input; no other baseline is doing nothing."""
    entries = part(report.run.record, "separators")
    return {
        name
        for name, role in report.roles.items()
        if role == "anchor" and (entries.get(name) or {}).get("family", "mixture") == "mixture"
    }


def anchor_scores(found: Ranking, key: Key, anchors: Collection[str]) -> list[float | str | None]:
    """Return mean and median of the best anchor of one stem on its common tracks, as shown."""
    sign, compared = 1 if found.higher_is_better else -1, found.stems[key]
    return [text.encode(_anchor(compared, anchors, sign, name)) for name in STATISTICS]


def of_dataset(report: Report, dataset: str, metric: str) -> list[str]:
    """Return the sentences on a dataset of a run."""
    here = report.scores[report.scores["dataset"] == dataset]
    tracks = here[["split", "track", "artist"]].drop_duplicates()
    lost = here[here["status"] == "failed"].drop_duplicates(["split", "track", "separator"])
    seen = Counter(name for name, of, *_ in leaked_pairs(report.run.record) if of == dataset)
    have = set(here["separator"])
    return sentences(
        first_places(report, dataset, metric),
        songs=len(tracks[["split", "track"]].drop_duplicates()),
        artists=tracks["artist"].nunique(),
        unit=next(m["unit"] for m in report.metrics if m["name"] == metric),
        leaked={name: n for name, n in sorted(seen.items()) if name in have & report.ranked},
        failed=dict(sorted(Counter(map(str, lost["separator"])).items())),
    )


def cards(report: Report, dataset: str, rows: Sequence[Json]) -> dict[str, list[dict[str, Card]]]:
    """Return {metric: {stem: `card`} for each of `STATISTICS`} of a dataset.

    `rows` are those of the dataset, see `harness.report.page.payload`.
    """
    number = {row["separator"]: i for i, row in enumerate(rows) if row["input"] == "mixture"}

    def shown(metric: Json, statistic: str) -> dict[str, Card]:
        found = first_places(report, dataset, metric["name"], statistic)
        winners = {one.stem: (*one.winners, "")[0] for one in found}
        return {one.stem: card(one, metric["unit"], number.get(winners[one.stem])) for one in found}

    return {
        metric["name"]: [shown(metric, statistic) for statistic in STATISTICS]
        for metric in report.metrics
    }


def price(costs: Mapping[str, float]) -> str:
    """Return what a separator costs, in words.

    Examples
    --------
    >>> price({"rtf": 0.15, "peak_memory": 2e9})
    '9 s per minute of music, 2.00 GB'
    """
    speed, memory = (costs.get(name) for name in ("rtf", "peak_memory"))
    parts = [f"{text.duration(60 * speed)} per minute of music"] if speed else []
    return ", ".join(parts + ([text.cost(memory, "bytes")] if memory else []))
