"""Whether a separator got worse: the judgement of ``compare --fail-if-worse``, and its JUnit file.

A stem fails if its mean is lower by more than what is allowed and the difference is significant.
With too few artists for a test the mean alone decides. A stem also fails if the separator has no
score on a track that the other one has: a crash must not raise a mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from harness.core.text import count, decimals, probability
from harness.results.grid import Leaked
from harness.results.runs import source_of
from harness.selection.comparing import candidates_of_two

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
Place = tuple[str, str, str, str]  # dataset, input, fed_by, stem
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class StemVerdict:
    """One stem of a dataset; without common tracks the numbers are NaN, and n is 0."""

    dataset: str
    input: str  # see `harness.results.runs.source_of`
    stem: str
    state: str  # `PASSED`, `FAILED` or `SKIPPED`
    reason: str
    n: int = 0  # tracks that both have
    artists: int = 0
    difference: float = math.nan  # mean of A − B, in the unit of the metric
    low: float = math.nan  # of its 95 % interval
    high: float = math.nan
    p: float = math.nan  # corrected by Holm over all stems


def judge(
    table: pd.DataFrame,
    scores: pd.DataFrame,
    a: str,
    b: str,
    allowed: float,
    *,
    metric: str,
    leaked: Leaked = (),
    overall: bool = False,
) -> list[StemVerdict]:
    """Judge every stem that B has, from the `table` that `compare` made of the same arguments.

    `allowed` is by how much the mean of A may be below that of B.
    """
    have = candidates_of_two(scores, a, b, metric=metric, overall=overall)
    tracks = {name: _tracks(have[have["separator"] == name]) for name in (a, b)}
    found: dict[Place, dict[Any, Any]] = {
        (row["dataset"], row["input"], row["fed_by"], row["stem"]): row
        for row in table.to_dict("records")
    }
    broken = scores[(scores["separator"] == a) & (scores["status"] == "failed")]
    failed = set(zip(broken["dataset"], broken["split"], broken["track"], strict=True))
    hidden = {(dataset, split, track) for name, dataset, split, track in leaked if name in (a, b)}
    verdicts = []
    for place, of_b in sorted(tracks[b].items()):
        of_a = tracks[a].get(place, set())
        lacks = of_b - of_a - hidden
        state, reason = PASSED, f"{a} is not worse by more than {allowed:g}"
        row = found.get(place, {})
        if lacks and (of_a or lacks & failed):
            state, reason = FAILED, f"{a} has no score on {count(len(lacks), 'track')} of {b}"
        elif not of_a:
            state, reason = SKIPPED, f"{a} has no scores of this stem here"
        elif not row:
            state, reason = SKIPPED, "one of the two was trained on all common tracks"
        elif row["difference"] < -allowed and math.isnan(row["p"]):
            state = FAILED
            reason = f"{a} is worse; the mean alone decides, since the artists are too few to test"
        elif row["difference"] < -allowed and row["better"] == b:
            state, reason = FAILED, f"{a} is significantly worse"
        elif row["difference"] < -allowed:
            reason = f"{a} is lower by more than {allowed:g}, but not significantly"
        numbers = ("n", "artists", "difference", "low", "high", "p")
        about = {name: row[name] for name in numbers} if row else {}
        dataset, given, fed_by, stem = place
        verdicts.append(
            StemVerdict(dataset, source_of(given, fed_by), stem, state, reason, **about)
        )
    return verdicts


def _tracks(candidates: pd.DataFrame) -> dict[Place, set[tuple[str, str, str]]]:
    """Return the tracks (dataset, split, track) with a score, per stem."""
    found: dict[Place, set[tuple[str, str, str]]] = {}
    names = ["dataset", "input", "fed_by", "stem", "split", "track"]
    for dataset, given, fed_by, stem, split, track in candidates[names].itertuples(index=False):
        found.setdefault((dataset, given, fed_by, stem), set()).add((dataset, split, track))
    return found


def in_numbers(verdict: StemVerdict, unit: str = "dB") -> str:
    """Return difference, interval, p and n in one line.

    Examples
    --------
    >>> found = StemVerdict("demo", "mixture", "bass", FAILED, "", 9, 8, -0.5, -0.75, -0.25, 0.01)
    >>> in_numbers(found)
    'A − B −0.50 dB (95 % interval −0.75 to −0.25), p 0.010, 9 tracks by 8 artists'
    """
    if not verdict.n:
        return "no common track"
    interval, p = "no interval", "no test"
    if not math.isnan(verdict.p):
        interval = f"95 % interval {decimals(verdict.low)} to {decimals(verdict.high)}"
        p = f"p {probability(verdict.p)}"
    who = f"{count(verdict.n, 'track')} by {count(verdict.artists, 'artist')}"
    return f"A − B {decimals(verdict.difference)} {unit} ({interval}), {p}, {who}"


def junit(verdicts: Sequence[StemVerdict], name: str, about: dict[str, str], unit: str) -> bytes:
    """Return JUnit XML: one test case per dataset and stem; `about` becomes its properties."""
    states = [verdict.state for verdict in verdicts]
    counts = {"tests": len(states), "failures": states.count(FAILED), "errors": 0}
    counts["skipped"] = states.count(SKIPPED)
    numbers = {key: str(value) for key, value in counts.items()}
    whole = ElementTree.Element("testsuites", {"name": "harness compare", **numbers})
    suite = ElementTree.SubElement(whole, "testsuite", {"name": _text(name), **numbers})
    listed = ElementTree.SubElement(suite, "properties")
    for key, value in about.items():
        ElementTree.SubElement(listed, "property", {"name": _text(key), "value": _text(value)})
    for verdict in verdicts:
        suite.append(_case(verdict, unit))
    ElementTree.indent(whole)
    content: bytes = ElementTree.tostring(whole, encoding="utf-8", xml_declaration=True)
    return content


def _case(verdict: StemVerdict, unit: str) -> ElementTree.Element:
    """Return the test case of a stem; every one has its numbers as output."""
    given = "" if verdict.input == "mixture" else f".{verdict.input}"
    names = {"classname": _text(verdict.dataset + given), "name": _text(verdict.stem), "time": "0"}
    case = ElementTree.Element("testcase", names)
    said = in_numbers(verdict, unit)
    if verdict.state == FAILED:
        wrong = {"message": _text(f"{verdict.reason}: {said}"), "type": "worse"}
        ElementTree.SubElement(case, "failure", wrong).text = _text(said)
    elif verdict.state == SKIPPED:
        ElementTree.SubElement(case, "skipped", {"message": _text(verdict.reason)})
    ElementTree.SubElement(case, "system-out").text = _text(f"{verdict.reason}: {said}")
    return case


def _text(text: str) -> str:
    """Return text in which characters that XML cannot hold, even escaped, are visible."""
    return _NO_XML.sub(lambda code: code[0].encode("unicode_escape").decode(), text)
