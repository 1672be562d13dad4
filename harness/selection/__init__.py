"""Selection: which separator for which stem, with the answers and, apart from it, without."""

from harness.selection.best_of import (
    DEPLOYABLE,
    ORACLE,
    candidates_of,
    choose_deployable,
    choose_oracle,
    select,
)
from harness.selection.blend_worth import blend_boards, blends, in_words
from harness.selection.blending import (
    Products,
    bagged_greedy,
    best_single,
    choose_weights,
    greedy,
    products_of,
    programme,
    shrunk,
)
from harness.selection.budget import (
    choose_within,
    costs_of,
    ensembles,
    pareto,
    parse_budget,
    within,
)
from harness.selection.comparing import TOO_FEW, compare, pairs, ranking
from harness.selection.grid import HARMONIC, Grid, grids, track_scores, without_leaked
from harness.selection.leaks import leak_statuses, leaked_pairs, ledger, recorded_statuses
from harness.selection.policies import (
    POLICIES,
    bagged,
    best_mean,
    best_median,
    by_genre,
    choose_on,
    cross_fit,
    genre_cells,
    tuned,
)
from harness.selection.rank_tests import Friedman, friedman, holm, letters
from harness.selection.resampling import MIN_ARTISTS, Intervals, mean_intervals
from harness.selection.summary import frequencies, summary
from harness.selection.words import boards, remarks, summary_boards

__all__ = [
    "DEPLOYABLE",
    "HARMONIC",
    "MIN_ARTISTS",
    "ORACLE",
    "POLICIES",
    "TOO_FEW",
    "Friedman",
    "Grid",
    "Intervals",
    "Products",
    "bagged",
    "bagged_greedy",
    "best_mean",
    "best_median",
    "best_single",
    "blend_boards",
    "blends",
    "boards",
    "by_genre",
    "candidates_of",
    "choose_deployable",
    "choose_on",
    "choose_oracle",
    "choose_weights",
    "choose_within",
    "compare",
    "costs_of",
    "cross_fit",
    "ensembles",
    "frequencies",
    "friedman",
    "genre_cells",
    "greedy",
    "grids",
    "holm",
    "in_words",
    "leak_statuses",
    "leaked_pairs",
    "ledger",
    "letters",
    "mean_intervals",
    "pairs",
    "pareto",
    "parse_budget",
    "products_of",
    "programme",
    "ranking",
    "recorded_statuses",
    "remarks",
    "select",
    "shrunk",
    "summary",
    "summary_boards",
    "track_scores",
    "tuned",
    "within",
    "without_leaked",
]
