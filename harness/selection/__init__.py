"""Selection: the best separator per stem, as an upper bound and as a choice that can be used."""

from harness.results.grid import HARMONIC, Grid, chosen_by, grids, track_scores
from harness.results.leaks import ledger, recorded_statuses
from harness.selection.best_of import candidates_of, other_choices, select
from harness.selection.blending import scored_by
from harness.selection.budget import choose_within, costs_of, pareto, parse_budget
from harness.selection.comparing import TIED, TOO_FEW, compare, pairs, ranking
from harness.selection.fragility import Fragility, fragility
from harness.selection.policies import POLICIES, best_mean, genre_cells
from harness.selection.statistics import MIN_ARTISTS, mean_intervals, median_intervals
from harness.selection.summary import frequencies, summary
from harness.selection.worth import BLENDED, UNSCORED, WAYS, blends, expected, in_words, weights_of

__all__ = [
    "BLENDED",
    "HARMONIC",
    "MIN_ARTISTS",
    "POLICIES",
    "TIED",
    "TOO_FEW",
    "UNSCORED",
    "WAYS",
    "Fragility",
    "Grid",
    "best_mean",
    "blends",
    "candidates_of",
    "choose_within",
    "chosen_by",
    "compare",
    "costs_of",
    "expected",
    "fragility",
    "frequencies",
    "genre_cells",
    "grids",
    "in_words",
    "ledger",
    "mean_intervals",
    "median_intervals",
    "other_choices",
    "pairs",
    "pareto",
    "parse_budget",
    "ranking",
    "recorded_statuses",
    "scored_by",
    "select",
    "summary",
    "track_scores",
    "weights_of",
]
