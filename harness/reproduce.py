"""Published scores beside those measured here, to tell whether a separator is the real thing.

What may differ although nothing is wrong: the printed digits are rounded; the original evaluation
may have cut and shifted the music otherwise; museval leaves out the frames in which an estimate is
silent. `harness.registry.Published.tolerance` leaves room for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan

import pandas as pd

from harness import pipeline
from harness.benchmark import Settings
from harness.benchmark.workers import Progress
from harness.datasets.tracks import Dataset
from harness.errors import HarnessError
from harness.registry import Entry, Published, suggestion
from harness.results import read_run

# {definition: (metric, how it is brought over the tracks)}.
# csdr: SiSEC 2018 (Stöter et al., LVA/ICA 2018): medians over 1 s frames, then over tracks.
# usdr: MDX 2021 (Mitsufuji et al., Frontiers in Signal Processing 2022): mean over tracks.
DEFINITIONS = {"csdr": ("csdr", "median"), "usdr": ("snr", "mean")}


@dataclass(frozen=True)
class Comparison:
    """One stem's score as printed and as measured, in dB.

    Attributes
    ----------
    definition
        A key of `DEFINITIONS`.
    measured
        NaN where there is none.
    tracks, expected_tracks
        How many were scored, and how many should be.
    """

    stem: str
    definition: str
    dataset: str
    source: str
    published: float
    measured: float
    tolerance: float
    tracks: int
    expected_tracks: int

    @property
    def agrees(self) -> bool:
        """Whether all tracks were scored and the scores are as close as they should be."""
        close = abs(self.measured - self.published) <= self.tolerance + 1e-9
        return close and self.tracks == self.expected_tracks

    @property
    def verdict(self) -> str:
        """Say so in words."""
        if self.tracks != self.expected_tracks:
            return f"{self.tracks} of {self.expected_tracks} tracks were scored"
        return "agrees" if self.agrees else "differs"


def reproduce(
    entry: Entry,
    published: Published,
    dataset: Dataset,
    settings: Settings,
    *,
    command: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Comparison]:
    """Score a separator where others have, and set its scores beside theirs.

    Parameters
    ----------
    published
        One of the entry's.
    dataset
        The one it names, only the split it names.
    settings
        As for a run; the run's name is ``reproduce-NAME``, and it continues where it stopped.

    Returns
    -------
    list
        One a published stem.

    Raises
    ------
    HarnessError
        If the definition is not known, or nothing can be scored.
    """
    if published.metric not in DEFINITIONS:
        raise HarnessError(
            f"{entry.name}: published scores by {published.metric!r}, which is not known; "
            f"{suggestion(published.metric, DEFINITIONS)}"
        )
    metric, how = DEFINITIONS[published.metric]
    named = replace(settings, run=f"reproduce-{entry.name}")
    outcome = pipeline.run([entry], [dataset], named, command=command, progress=progress)
    rows = read_run(outcome.folder).scores
    rows = rows[(rows["separator"] == entry.name) & (rows["dataset"] == dataset.name)]
    scored = rows[rows["status"] != "failed"]
    values = scored[scored["metric"] == metric].groupby("stem")["value"].agg(how)
    return [
        Comparison(
            stem=stem,
            definition=published.metric,
            dataset=published.dataset,
            source=published.source,
            published=printed,
            measured=_value(values, stem),
            tolerance=published.tolerance,
            tracks=scored["track"].nunique(),
            expected_tracks=published.tracks or len(dataset.tracks),
        )
        for stem, printed in published.scores.items()
    ]


def _value(values: pd.Series, stem: str) -> float:
    """Return the score of a stem, or NaN."""
    return float(values[stem]) if stem in values.index else nan
