"""Reports: pages written from tables."""

from harness.report.page import render, write

__all__ = ["render", "write"]
