"""From a report to the plain values of a page: what both the templates and the script read.

Everything here can be written as JSON. Rows of a dataset (competitors) and its tracks are numbered
from 0 and referred to by that number; scores are already rounded to what is shown.
"""

from __future__ import annotations

from harness.core.text import Json
from harness.report.computed import Report, part
from harness.report.page.dataset import view


def build(report: Report) -> Json:
    """Return the values of a run's page.

    Returns
    -------
    dict
        ``metrics`` (list of name, label, unit, definition, version, higher), ``metric`` (the one
        shown first, or None), ``costs`` (likewise) and ``datasets``. Each of these has ``rows``,
        ``tracks``, ``stems``, ``levels`` (tables with their groups of rows), ``summary``,
        ``values``, ``genres``, ``failed``, ``leaked`` and ``unknown``.
    """
    datasets = sorted({*report.datasets, *part(report.run.record, "datasets")})
    return {
        "metrics": report.metrics,
        "metric": report.metrics[0]["name"] if report.metrics else None,
        "costs": report.measured,
        "datasets": [
            {"index": i, "name": name, **view(report, name)} for i, name in enumerate(datasets)
        ],
    }
