"""Separate and score: units of work are planned, done in parallel, and each is kept when done."""

from harness.benchmark.cascades import Parents, left_out, plan_cascades, wanted_parents
from harness.benchmark.plan import Plan, Settings, Skip, Unit, make_plan, plan_for_files
from harness.benchmark.rows import cost_rows, leak_rows, score_rows
from harness.benchmark.workers import Failures, execute, is_done
from harness.results.run_products import blends_of_run, find_blends

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
