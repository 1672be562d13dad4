"""Selection: which separator for which stem, with the answers and, apart from it, without."""

from harness.selection.best_of import (
    DEPLOYABLE,
    ORACLE,
    choose_deployable,
    choose_oracle,
    harmonic_scores,
    select,
)

__all__ = [
    "DEPLOYABLE",
    "ORACLE",
    "choose_deployable",
    "choose_oracle",
    "harmonic_scores",
    "select",
]
