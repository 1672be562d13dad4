"""Separate and score: pieces of work are planned, done in parallel, and kept at once."""

from harness.benchmark.blends import blends_of_run, find_blends
from harness.benchmark.hierarchy import Parents, left_out, plan_cascades, wanted_parents
from harness.benchmark.parallel import Failures, execute, is_done
from harness.benchmark.plan import Plan, Settings, Skip, Unit, make_plan, plan_for_files
from harness.benchmark.tables import cost_rows, leak_rows, score_rows

__all__ = [
    "Failures",
    "Parents",
    "Plan",
    "Settings",
    "Skip",
    "Unit",
    "blends_of_run",
    "cost_rows",
    "execute",
    "find_blends",
    "is_done",
    "leak_rows",
    "left_out",
    "make_plan",
    "plan_cascades",
    "plan_for_files",
    "score_rows",
    "wanted_parents",
]
