"""The end of `run` and `score`: the report, the ranking and the exit status."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import typer

from harness.benchmark import runner
from harness.cli.boards import boards
from harness.cli.options import SOME_FAILED
from harness.cli.terminal import print_json, print_table, say, show
from harness.datasets.tracks import Omission
from harness.report import writing
from harness.report.computed import Report
from harness.results.omitted import lacks

MOST_REASONS = 10  # failures, and names of what is left out, that are shown


def finish(
    outcome: runner.Outcome,
    reports: Path,
    as_json: bool,
    audio: str | None = None,
    beside: Path | None = None,
) -> None:
    """Write the report if it is out of date, print the ranking and set the exit status.

    Report and ranking are also those of the run in the folder `beside`, if there is one.
    """
    current = not outcome.fresh and audio is None
    folders = [beside, outcome.folder] if beside else [outcome.folder]
    report = writing.report_of(folders)
    page = writing.write_report(
        folders,
        reports,
        audio=writing.check_audio(audio),
        only_if_stale=current,
        report=report,
    )
    if as_json:
        print_json({**asdict(outcome), "folder": str(outcome.folder), "report": str(page)})
    else:
        done = outcome.units - outcome.failed
        say(f"{done} of {outcome.units} jobs are done, {outcome.reused} of them by an earlier run")
        if outcome.damaged:
            say(
                "damaged results, set aside and done "
                f"again ({len(outcome.damaged)}): {', '.join(outcome.damaged[:MOST_REASONS])}",
                style="yellow",
            )
        say_left_out(outcome.left_out)
        if not print_ranking(report):
            show(
                "no ranking: every separator failed, was trained on these tracks, or is not of a "
                "kind that is ranked; see the report"
            )
        for reason in outcome.failures[:MOST_REASONS]:
            say(f"failed: {reason}", style="yellow")
        show(page)
    if outcome.failed:
        raise typer.Exit(SOME_FAILED)


def say_left_out(omissions: Iterable[Omission]) -> None:
    """Say what a run lacks: how many, the first names, and why."""
    for lack in lacks(omissions):
        say(lack.line(MOST_REASONS), style="yellow")


def print_ranking(report: Report) -> bool:
    """Print the leaderboards of a report, and return whether there are any."""
    found = boards(report)
    for board in found:
        print_table(*board)
    return bool(found)
