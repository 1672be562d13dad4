"""Published scores beside measured ones, to check that a separator is set up correctly.

Both may differ although nothing is wrong: published digits are rounded, the original evaluation may
have cut the music differently, and museval leaves out frames in which an estimate is silent.
`harness.registry.Published.tolerance` allows for that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import nan

from harness.benchmark import Settings, runner
from harness.core.errors import HarnessError
from harness.core.machine import Progress
from harness.datasets.tracks import Dataset
from harness.registry import Entry, Published, suggestion
from harness.results.runs import read_run

# {definition: (metric, how scores of tracks are combined)}.
# csdr: SiSEC 2018 (Stöter et al., LVA/ICA 2018): medians over 1 s frames, then over tracks.
# usdr: MDX 2021 (Mitsufuji et al., Frontiers in Signal Processing 2022): mean over tracks.
DEFINITIONS = {"csdr": ("csdr", "median"), "usdr": ("snr", "mean")}


@dataclass(frozen=True)
class ReproducedScore:
    """The published and the measured score of one stem, in dB."""

    stem: str
    definition: str  # a key of `DEFINITIONS`
    dataset: str
    source: str
    published: float
    measured: float  # NaN if the stem was not scored
    tolerance: float
    tracks: int  # that were scored
    expected_tracks: int

    @property
    def agrees(self) -> bool:
        """Whether all tracks were scored and the scores differ by at most the tolerance."""
        close = abs(self.measured - self.published) <= self.tolerance + 1e-9
        return close and self.tracks == self.expected_tracks

    @property
    def verdict(self) -> str:
        """The result in words."""
        if self.tracks != self.expected_tracks:
            return f"{self.tracks} of {self.expected_tracks} tracks were scored"
        return "agrees" if self.agrees else "differs"


def reproduce(
    entry: Entry,
    published: Published,
    dataset: Dataset,
    settings: Settings,
    *,
    progress: Progress | None = None,
) -> list[ReproducedScore]:
    """Score a separator on the tracks of its published scores, and return both, per stem.

    `dataset` is the one that `published` names, with the tracks of the split that it names. The run
    gets the name ``reproduce-NAME``; repeating it continues it.
    """
    if published.metric not in DEFINITIONS:
        raise HarnessError(
            f"{entry.name}: published scores have the unknown metric {published.metric!r}; "
            f"{suggestion(published.metric, DEFINITIONS)}"
        )
    metric, how = DEFINITIONS[published.metric]
    named = replace(settings, run=f"reproduce-{entry.name}", keep_unequal=True, force=True)
    outcome = runner.run([entry], [dataset], named, progress=progress)
    rows = read_run(outcome.folder).scores
    rows = rows[(rows["separator"] == entry.name) & (rows["dataset"] == dataset.name)]
    scored = rows[rows["status"] != "failed"]
    values = scored[scored["metric"] == metric].groupby("stem")["value"].agg(how)
    return [
        ReproducedScore(
            stem=stem,
            definition=published.metric,
            dataset=published.dataset,
            source=published.source,
            published=printed,
            measured=float(values.get(stem, nan)),
            tolerance=published.tolerance,
            tracks=scored["track"].nunique(),
            expected_tracks=published.tracks or len(dataset.tracks),
        )
        for stem, printed in published.scores.items()
    ]
