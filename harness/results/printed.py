"""What papers print beside what was measured: ``catalog/papers.yaml``, its checks, the verdicts.

A printed number is compared with ours only if both are one definition on the same tracks. All
other verdicts say why they are not compared, or that the printed numbers contradict each other.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.core import strict_yaml
from harness.core.taxonomy import REFERENCE
from harness.core.text import decimals
from harness.datasets.known import DATASETS
from harness.datasets.overlaps import leak
from harness.datasets.tracks import Track
from harness.registry import Entry
from harness.registry.dataset_names import dataset_name, read_split
from harness.registry.entries import complaint
from harness.results.runs import Run, leaked
from harness.separators import obstacle

FILE = Path(__file__).parents[1] / "catalog" / "papers.yaml"
WITHOUT_ROW = FILE.with_name("papers_without_row.yaml")
AGREES, DIFFERS, NOT_RUN = "agrees", "differs", "not run here"
OTHER_DEFINITION, OTHER_DATA = "other definition", "other data"
LEAKED, IMPOSSIBLE = "leaked", "impossible"
VERDICTS = (AGREES, DIFFERS, OTHER_DEFINITION, OTHER_DATA, LEAKED, IMPOSSIBLE, NOT_RUN)
TOLERANCE = 0.1  # dB between a printed and a measured score that agree, or a part of a count
ROUNDING = 0.011  # dB that two decimals may hide
SPREAD = 5.0  # dB by which a mean SDR may be below what the means of SIR and SAR imply
COUNTS = ("parameters",)  # of the table of costs; in millions
SHARES = ("chosen",)  # of the choices with the references; in percent

Same = bool | Literal["unclear"]


class _Printed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measure(_Printed):
    """One score of a table: what the paper says of it, and the metric of ours that answers it."""

    says: str
    metric: str = ""  # of `harness.metrics.METRICS`, or of `SHARES`; empty: none
    over: Literal["mean", "median"] = "mean"  # of tracks
    same: Same  # whether both are one definition
    unit: str = "dB"


class PrintedRow(_Printed):
    """One row of a table."""

    system: str = ""  # the name of a `System`
    label: str = ""  # as printed, if not the system's name
    ours: str = ""  # the registry row that answers it, or an ensemble that every run computes
    why: str = ""  # none does
    among: tuple[str, ...] = ()  # the separators that a choice is made from
    data: str = ""  # this and the next four: if not those of the table
    part: str = ""
    tracks: int | None = None
    same: Same | None = None
    checks: tuple[str, ...] = ()
    note: str = ""
    scores: Mapping[str, Mapping[str, float]]  # {measure: {column: printed number}}


class Claim(_Printed):
    """An order of two systems that the paper states without numbers."""

    says: str
    higher: str  # registry row
    lower: str
    measures: tuple[str, ...]
    stems: tuple[str, ...]


class PrintedTable(_Printed):
    """One table or figure."""

    name: str
    about: str
    data: str  # a dataset, or one split of it: ``musdb18hq:test``
    part: str = ""  # how the printed test set differs from that
    tracks: int | None = None  # in the mean
    measures: Mapping[str, Measure]
    checks: tuple[str, ...] = ()  # keys of `CHECKS`, for every row
    note: str = ""
    rows: tuple[PrintedRow, ...] = ()
    claims: tuple[Claim, ...] = ()

    def of(self, row: PrintedRow) -> PrintedRow:
        """Return a row with what the table says of all rows."""
        whole = {
            "label": row.label or row.system,
            "data": row.data or self.data,
            "part": row.part or self.part,
            "tracks": row.tracks or self.tracks,
            "checks": (*self.checks, *row.checks),
        }
        return row.model_copy(update=whole)


class Paper(_Printed):
    """The tables of one paper."""

    title: str
    reference: str
    tables: tuple[PrintedTable, ...]


class System(_Printed):
    """A system that a paper names, and the one answer: what runs it, or why nothing does."""

    name: str
    papers: tuple[str, ...] = Field(min_length=1)
    row: str = ""
    catalog: str = ""
    recipe: str = ""  # of `harness train`; no trained weights are shipped
    reason: str = ""


class Papers(_Printed):
    """All of ``papers.yaml``."""

    papers: Mapping[str, Paper]
    systems: tuple[System, ...]


@cache
def read_papers(path: Path = FILE) -> Papers:
    """Read what the papers print; an error names the key."""
    found = strict_yaml.read(path, "list of papers")
    reasons = {row["name"]: row["reason"] for row in strict_yaml.read(WITHOUT_ROW)}
    for system in found["systems"]:
        if not system.keys() & {"row", "catalog", "recipe", "reason"}:
            system["reason"] = reasons.get(system["name"], "")
    try:
        return Papers.model_validate(found)
    except ValidationError as error:
        raise complaint(error, f"{path}: ", list(Papers.model_fields)) from error


# --- checks of printed numbers against each other --------------------------------------------


@dataclass(frozen=True)
class Contradiction:
    """What a check found about one printed number; without a verdict it is a remark."""

    text: str
    verdict: str = ""
    identity: str = ""  # that shows it


Place = tuple[str, str]  # measure, column
Found = dict[Place, Contradiction]
Check = Callable[[PrintedRow, Paper], Found]


COUNTS_ALL = (
    "SDR counts interference and all other errors, SIR interference only. So on one signal SIR ≥ "
    "SDR (BSS Eval; also of means), or SIR ≥ SDR − 1 as ratios of energies (if SDR is ‖x‖²/‖x−x̂‖²)."
)
ORTHOGONAL = (
    "BSS Eval version 3 of one signal: 1/SDR = 1/SIR + (1 + 1/SIR)/SAR as ratios of energies. A "
    "mean SDR over tracks is never above that of the mean SIR and SAR, and far below only if the "
    "tracks are very different."
)
ONE_EQUATION = (
    "If the noise is x−x̂, Equation 1 is Equation 2. Where the printed SNR and SDR differ, at least "
    "one of them is defined differently."
)
OF_STEMS = "The numbers are those of the four stem means of Table 1, not of tracks."


def power(decibels: float) -> float:
    """Return the ratio of energies of a value in dB."""
    return float(10 ** (decibels / 10))


def implied_sdr(sir: float, sar: float) -> float:
    """Return the SDR that SIR and SAR of one signal imply, in dB (BSS Eval, version 3).

    Target, interference and artifacts are orthogonal there, so 1/SDR = 1/SIR + (1 + 1/SIR)/SAR in
    ratios of energies. The function is concave in dB: a mean SDR over tracks is never above the
    value at the means of SIR and SAR.

    Examples
    --------
    >>> round(implied_sdr(53.40, 19.62), 2), round(implied_sdr(10.0, 200.0), 2)
    (19.62, 10.0)
    """
    interference = 1 / power(sir)
    return -10 * math.log10(interference + (1 + interference) / power(sar))


def least_sir(sdr: float) -> float:
    """Return the SIR that an estimate with this SDR has at least, in dB.

    With BSS Eval's SDR it is the SDR itself. With the plain ratio ‖x‖²/‖x−x̂‖² it is that ratio
    less one: the interference is a part of x−x̂, and the part of x̂ along x is smallest if the rest
    of x−x̂ cancels x. The smaller of both is returned.

    Examples
    --------
    >>> round(least_sir(12.63), 2)
    12.39
    """
    return 10 * math.log10(power(sdr) - 1) if sdr > 0 else -math.inf


def _columns(row: PrintedRow, *measures: str) -> Iterator[tuple[str, list[float]]]:
    """Yield each column that has all of the measures, with their numbers."""
    for column in row.scores.get(measures[0], {}):
        if all(column in row.scores.get(name, {}) for name in measures):
            yield column, [row.scores[name][column] for name in measures]


def sdr_needs_sir(row: PrintedRow, paper: Paper) -> Found:
    """Find an SDR that is higher than the printed SIR allows."""
    found: Found = {}
    for column, (sdr, sir) in _columns(row, "SDR", "SIR"):
        if (least := least_sir(sdr)) > sir + ROUNDING:
            text = (
                f"{column}: SDR {decimals(sdr)} needs an SIR of {decimals(least)} or more, and "
                f"{decimals(sir)} is printed"
            )
            finding = Contradiction(text, IMPOSSIBLE, COUNTS_ALL)
            found |= {(name, column): finding for name in ("SDR", "SIR")}
    return found


def three_ratios(row: PrintedRow, paper: Paper) -> Found:
    """Find an SDR that is not the one which SIR and SAR imply, see `implied_sdr`.

    Above it is impossible, for means too. Below it is possible for means over very different
    tracks only; by more than `SPREAD` it is taken as impossible.
    """
    found: Found = {}
    for column, (sdr, sir, sar) in _columns(row, "SDR", "SIR", "SAR"):
        gap = sdr - implied_sdr(sir, sar)
        text = (
            f"{column}: SIR {decimals(sir)} and SAR {decimals(sar)} give an SDR of "
            f"{decimals(sdr - gap)}, and {decimals(sdr)} is printed"
        )
        wrong = gap > ROUNDING or gap < -SPREAD
        if wrong or gap < -1:
            finding = Contradiction(text, IMPOSSIBLE if wrong else "", ORTHOGONAL)
            found |= {(name, column): finding for name in ("SDR", "SIR", "SAR")}
    return found


def equations_are_one(row: PrintedRow, paper: Paper) -> Found:
    """Find an SNR and an SDR that differ, although one formula is given for both."""
    found: Found = {}
    for column, (snr, sdr) in _columns(row, "SNR", "SDR"):
        if abs(snr - sdr) > ROUNDING:
            finding = Contradiction("", OTHER_DEFINITION, ONE_EQUATION)
            found |= {(name, column): finding for name in ("SNR", "SDR")}
    return found


def statistics_of_stem_means(row: PrintedRow, paper: Paper) -> Found:
    """Find statistics "over tracks" that are those of the four stem means of the first table."""
    of_stems: dict[str, Callable[[list[float]], float]] = {
        "mean": statistics.fmean,
        "median": statistics.median,
        "sd": statistics.pstdev,
    }
    first = next(r for r in paper.tables[0].rows if r.label == row.label)
    found: Found = {}
    for measure, columns in row.scores.items():
        means = list(first.scores[measure].values())
        for column, printed in columns.items():
            if abs(of_stems[column](means) - printed) < ROUNDING:
                found[measure, column] = Contradiction("", OTHER_DEFINITION, OF_STEMS)
    return found


def asnet_convolutions(row: PrintedRow, paper: Paper) -> Found:
    """Find fewer parameters than the three convolutions of ASNet have."""
    channels = [1, 64, 128, 256]
    least = sum(9 * a * b + b for a, b in itertools.pairwise(channels))
    found: Found = {}
    for column, (millions,) in _columns(row, "parameters"):
        if millions * 1e6 < least:
            identity = f"The 3×3 convolutions 1 → 64 → 128 → 256 alone have {least:,} parameters."
            found["parameters", column] = Contradiction("", IMPOSSIBLE, identity)
    return found


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        sdr_needs_sir,
        three_ratios,
        equations_are_one,
        statistics_of_stem_means,
        asnet_convolutions,
    )
}


def findings(row: PrintedRow, paper: Paper) -> Found:
    """Return what the checks of a row find, for each printed number."""
    found: Found = {}
    for name in row.checks:
        found |= CHECKS[name](row, paper)
    return found


# --- what was measured --------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A score of ours: the mean or median over the tracks of one dataset in one run."""

    value: float
    dataset: str
    split: str  # empty: several
    tracks: int
    leaked: int  # of them
    seconds: float | None = None  # of each track, in its middle; None: all
    candidates: tuple[str, ...] = ()  # from which a choice was made

    @property
    def data(self) -> str:
        """Dataset, split and tracks in words."""
        name = f"{self.dataset}:{self.split}" if self.split else self.dataset
        cut = "" if self.seconds is None else f", the middle {self.seconds:g} s of each"
        return f"{name}, {self.tracks} track{'s' * (self.tracks != 1)}{cut}"


def measured(
    runs: Sequence[Run], name: str, measure: Measure, column: str, data: str
) -> Measured | None:
    """Return our score of a registry row, of the printed dataset if a run has it, else of another.

    Of several runs the first that has it counts. Separators of drum parts and voices count with
    the true stem as input.
    """
    wanted = dataset_name(read_split(data).dataset)
    found = [m for run in runs for m in _in_run(run, name, measure, column)]
    return next((m for m in found if dataset_name(m.dataset) == wanted), next(iter(found), None))


def _in_run(run: Run, name: str, measure: Measure, column: str) -> Iterator[Measured]:
    """Yield the score in one run, per dataset."""
    if measure.metric in SHARES:
        yield from _shares(run, name, column)
        return
    count = measure.metric in COUNTS
    table = run.costs if count else pd.concat([run.scores, run.ensembles])
    rows = table[
        (table["separator"] == name)
        & (table["metric"] == measure.metric)
        & (table["status"] == "ok")
        & table["fed_by"].isin(["", REFERENCE])
        & table["value"].notna()
    ]
    for dataset, part in rows[rows["stem"].eq(column) | count].groupby("dataset", sort=False):
        value = float(part["value"].agg(measure.over)) / (1e6 if count else 1)
        yield _measured(run, str(dataset), column, part, value)


def _shares(run: Run, name: str, stem: str) -> Iterator[Measured]:
    """Yield in which percent of tracks a separator is the best, per dataset."""
    chosen = run.selection
    chosen = chosen[(chosen["kind"] == "oracle") & (chosen["stem"] == stem)]
    for dataset, part in chosen[chosen["fed_by"] == ""].groupby("dataset", sort=False):
        value = 100 * float((part["separator"] == name).mean())
        yield _measured(run, str(dataset), stem, part.assign(split=""), value)


def _measured(run: Run, dataset: str, stem: str, rows: pd.DataFrame, value: float) -> Measured:
    """Return a value of ours with the tracks that it is of."""
    tracks = rows[["separator", "split", "track"]].drop_duplicates()
    splits = sorted(set(tracks["split"]))
    known = leaked(run.record)
    pairs = [(s, dataset, split, track) for s, split, track in tracks.to_numpy().tolist()]
    chosen = run.selection
    chosen = chosen[(chosen["dataset"] == dataset) & (chosen["stem"] == stem)]
    return Measured(
        value,
        dataset,
        splits[0] if len(splits) == 1 else "",
        tracks["track"].nunique(),
        sum(pair in known for pair in pairs),
        run.record.get("excerpt_seconds"),
        tuple(sorted(set(chosen.loc[chosen["kind"] == "oracle", "separator"]))),
    )


# --- verdicts -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PrintedCell:
    """One printed number, ours, and the verdict."""

    paper: str
    table: str
    system: str
    measure: str
    column: str
    printed: float | None  # None: the paper states an order, see `note`
    unit: str
    paper_definition: str
    printed_data: str
    row: str  # of ours, empty without
    ours: float | None  # of an order: higher less lower
    metric: str  # ours
    our_data: str
    verdict: str  # one of `VERDICTS`
    why: str  # it is so
    finding: str  # of the checks of printed numbers against each other
    identity: str  # that the check uses
    note: str  # on the paper's text


def cells(
    name: str, paper: Paper, entries: Mapping[str, Entry], runs: Sequence[Run]
) -> list[PrintedCell]:
    """Return every printed number of a paper with its verdict."""
    found = []
    for table in paper.tables:
        for given in table.rows:
            row = table.of(given)
            checked = findings(row, paper)
            for measure, column in places(row):
                blank = _blank(name, table, row, measure, column)
                found.append(_judged(blank, table, row, entries, runs, checked))
        for claim in table.claims:
            found += _claimed(name, table, claim, entries, runs)
    return found


def places(row: PrintedRow) -> list[Place]:
    """Return (measure, column) of each printed number of a row."""
    return [(measure, column) for measure, columns in row.scores.items() for column in columns]


def _blank(
    name: str, table: PrintedTable, row: PrintedRow, measure: str, column: str
) -> PrintedCell:
    """Return a cell without ours and without a verdict."""
    about = table.measures[measure]
    where = ", ".join(filter(None, [row.data, row.part]))
    return PrintedCell(
        name, table.name, row.label, measure, column, row.scores[measure][column], about.unit,
        about.says, where, row.ours, None, f"{about.metric}, {about.over}" if about.metric else "",
        "", "", "", "", "", row.note,
    )  # fmt: skip


def _judged(
    cell: PrintedCell,
    table: PrintedTable,
    row: PrintedRow,
    entries: Mapping[str, Entry],
    runs: Sequence[Run],
    checked: Found,
) -> PrintedCell:
    """Return the cell with ours and the verdict."""
    measure = table.measures[cell.measure]
    score = measured(runs, row.ours, measure, cell.column, row.data) if row.ours else None
    if score and row.among and not _same_dataset(row, score):
        score = None  # a choice of other separators, made for other tables
    if score:
        cell = replace(cell, ours=score.value, our_data=score.data)
    finding = checked.get((cell.measure, cell.column), Contradiction(""))
    verdict, why = _verdict(cell, measure, row, score, finding, entries)
    return replace(cell, verdict=verdict, why=why, finding=finding.text, identity=finding.identity)


def _verdict(
    cell: PrintedCell,
    measure: Measure,
    row: PrintedRow,
    score: Measured | None,
    finding: Contradiction,
    entries: Mapping[str, Entry],
) -> tuple[str, str]:
    """Return the verdict and what decides it."""
    if finding.verdict == IMPOSSIBLE:
        return IMPOSSIBLE, ""
    count = measure.metric in COUNTS
    trained = "" if count else _trained_on(row, cell.column, entries)
    if trained or (score and score.leaked):
        some = f"{row.ours} was trained on {score.leaked if score else 0} of our tracks"
        return LEAKED, trained or some
    if score is None:
        if finding.verdict and not row.ours:
            return finding.verdict, ""
        return NOT_RUN, row.why or _missing(row.ours, row.data, entries)
    same = measure.same if row.same is None or count else row.same
    others = set(score.candidates) - set(row.among) if row.among else set()
    if same is False or others:
        chosen = f"ours was also chosen from {', '.join(sorted(others))}" if others else ""
        return OTHER_DEFINITION, chosen
    if not count and (reason := _other_data(row, score)):
        return OTHER_DATA, reason
    scale = abs(cell.printed or 0) if count else 1
    if abs(score.value - (cell.printed or 0)) <= TOLERANCE * scale + 1e-9:
        return AGREES, ""
    if same is True and not finding.verdict:
        return DIFFERS, ""
    return OTHER_DEFINITION, "the paper's definition is unclear, and ours does not give its number"


def _trained_on(row: PrintedRow, stem: str, entries: Mapping[str, Entry]) -> str:
    """Say which separator of a row was trained on the printed data; empty if none is known to be.

    Of those that a choice is made from, the ones that return the stem count.
    """
    part = read_split(row.data)
    song = Track(part.dataset, "", "", part.split or "test", (), {})
    names = [row.ours, *(n for n in row.among if n in entries and stem in entries[n].stems)]
    for entry in (entries[name] for name in names if name in entries):
        if leak(entry.trained_on, song) == "leaked":
            return f"{entry.name} was trained on {', '.join(entry.trained_on or ())}"
    return ""


def _missing(name: str, data: str, entries: Mapping[str, Entry]) -> str:
    """Return what is missing to measure a row, and how to get it."""
    dataset = read_split(data).dataset
    how = f"give --data {dataset}=PATH ('harness list' says how to get it)"
    how = how if dataset in DATASETS else "no program here reads its dataset"
    lacking = obstacle(entries[name]) if name in entries else ""
    return "; ".join(filter(None, [lacking, how]))


def _same_dataset(row: PrintedRow, score: Measured) -> bool:
    return dataset_name(score.dataset) == dataset_name(read_split(row.data).dataset)


def _other_data(row: PrintedRow, score: Measured) -> str:
    """Return how our tracks differ from the printed ones; empty if they are the same."""
    printed = read_split(row.data)
    if not _same_dataset(row, score):
        return f"ours: {score.dataset}, not {printed.dataset}"
    if not printed.whole and score.split != printed.split:
        return f"ours: split {score.split or 'all'}, not {printed.split}"
    if score.seconds is not None:
        return f"ours: {score.seconds:g} s per track"
    if row.tracks and score.tracks != row.tracks:
        return f"ours: {score.tracks} of {row.tracks} tracks"
    return row.part


def _claimed(
    name: str,
    table: PrintedTable,
    claim: Claim,
    entries: Mapping[str, Entry],
    runs: Sequence[Run],
) -> Iterator[PrintedCell]:
    """Yield a stated order per measure and stem, and whether it holds."""
    sides = claim.higher, claim.lower
    order = " above ".join(sides)
    for label in claim.measures:
        measure = table.measures[label]
        for stem in claim.stems:
            scores = [measured(runs, side, measure, stem, table.data) for side in sides]
            row = PrintedRow(data=table.data, part=table.part, tracks=table.tracks, scores={})
            blank = PrintedCell(
                name, table.name, order, label, stem, None, measure.unit, measure.says,
                table.data, order, None, f"{measure.metric}, {measure.over}", "", "",
                "", "", "", claim.says,
            )  # fmt: skip
            yield _order(blank, row, measure, scores, sides, entries)


def _order(
    cell: PrintedCell,
    row: PrintedRow,
    measure: Measure,
    scores: Sequence[Measured | None],
    sides: tuple[str, str],
    entries: Mapping[str, Entry],
) -> PrintedCell:
    """Return the cell of a stated order with its verdict."""
    high, low = scores
    if high is None or low is None:
        name = sides[0] if high is None else sides[1]
        return replace(cell, verdict=NOT_RUN, why=_missing(name, row.data, entries))
    difference = high.value - low.value
    cell = replace(cell, ours=difference, our_data=high.data)
    if high.data != low.data:
        return replace(cell, verdict=OTHER_DATA, why=f"ours: {high.data} and {low.data}")
    if high.leaked or low.leaked:
        return replace(cell, verdict=LEAKED, why="one of the two was trained on some of our tracks")
    if measure.same is False:
        return replace(cell, verdict=OTHER_DEFINITION)
    if reason := _other_data(row, high):
        return replace(cell, verdict=OTHER_DATA, why=reason)
    return replace(cell, verdict=AGREES if difference > 0 else DIFFERS)


def separators_for(paper: Paper, dataset: str) -> tuple[list[str], str]:
    """Return the registry rows that answer a paper's tables on a dataset, and the split."""
    names: dict[str, None] = {}
    splits = set()
    for table in paper.tables:
        for row in map(table.of, table.rows):
            if read_split(row.data).dataset == dataset:
                names |= dict.fromkeys(filter(None, [row.ours, *row.among]))
                splits.add(read_split(row.data).split)
        if read_split(table.data).dataset == dataset:
            names |= dict.fromkeys(n for claim in table.claims for n in (claim.higher, claim.lower))
            splits.add(read_split(table.data).split)
    return list(names), splits.pop() if len(splits) == 1 and "" not in splits else "all"


def datasets_of(papers: Sequence[Paper]) -> list[str]:
    """Return the datasets of the papers' tables that this program reads."""
    every = [row.data for paper in papers for t in paper.tables for row in map(t.of, t.rows)]
    every += [table.data for paper in papers for table in paper.tables]
    named = {read_split(data).dataset for data in every}
    return [name for name in DATASETS if name in named]
