"""Separate and score: units of work are planned, done in parallel, and each is kept when done."""

from harness.benchmark.cascades import left_out
from harness.benchmark.plan import Plan, make_plan, plan_for_files
from harness.benchmark.signals import Unit
from harness.benchmark.work import Settings
from harness.benchmark.workers import execute

__all__ = ["Plan", "Settings", "Unit", "execute", "left_out", "make_plan", "plan_for_files"]
