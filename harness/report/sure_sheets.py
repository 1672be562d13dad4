"""What is sure of the means and of the choice, as tables: intervals, pairs, worth, stability."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from harness import selection
from harness.ranking import Ranking
from harness.report import choices
from harness.report.certainty import certainties
from harness.report.sheet import Sheet, plain
from harness.results import Run

MEANS = (
    "harmonic mean of SNR and SDR, dB, on the common tracks; 95 % bootstrap by artist; scores "
    "beyond ±30 dB count as ±30 dB; separators that share a letter in group do not differ "
    "significantly"
)
PAIRS = (
    "a minus b, harmonic mean of SNR and SDR, dB, on the common tracks; 95 % bootstrap by artist; "
    "p of the signed-rank test after Holm"
)
WORTH = (
    "harmonic mean of SNR and SDR, dB, held out: chosen on other artists' tracks by the best mean; "
    "regret against the oracle, optimism of the score in sample, gain over the best single one"
)
SHARES = "how often each separator has the best mean when the artists are drawn again"


def of_means(rankings: Iterable[Ranking]) -> list[Sheet]:
    """Return intervals of the means, and all pairwise differences, by the metric that selects."""
    cells, pairs = [], []
    for ranking in rankings:
        for (source, stem), sure in certainties(ranking).items():
            where = {"dataset": ranking.dataset, "input": source, "stem": stem}
            for name, cell in sure.cells.items():
                about = {"separator": name, "artists": sure.artists}
                cells.append({**where, **about, **cell._asdict()})
            pairs.append(sure.pairs.assign(**where)[[*where, *sure.pairs.columns]])
    found = [plain("intervals", "Intervals and groups", MEANS, pd.DataFrame(cells))]
    if pairs:
        table = pd.concat(pairs, ignore_index=True)
        found.append(plain("pairs", "Pairwise differences", PAIRS, table))
    return found


def of_choices(run: Run) -> list[Sheet]:
    """Return what choosing is worth, and how stable the choice is."""
    found = choices.candidates(run)
    first = choices.POLICIES[0]
    policies = {first: selection.POLICIES[first]}
    worth = selection.summary(found, policies=policies)
    shares = selection.frequencies(found)
    return [
        plain("worth", "What choosing is worth", WORTH, worth),
        plain("stability", "How stable the choice is", SHARES, shares),
    ]
