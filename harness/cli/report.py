"""``harness report``."""

from __future__ import annotations

from pathlib import Path

from harness.cli import boards, options
from harness.cli.arguments import find_run
from harness.cli.options import argument, flag, option
from harness.cli.terminal import print_table, say, show
from harness.core.errors import HarnessError
from harness.report import comparison, exporting, writing
from harness.report.tracks.sounds import MEGABYTES


def report(
    runs: list[str] = argument("RUN", ["main"], "Names of runs; several share one report."),
    results_folder: Path = options.RESULTS,
    reports: Path = options.REPORTS,
    audio: str | None = options.AUDIO,
    audio_size: float = option(
        "--audio-size MB",
        float(MEGABYTES),
        "Largest size of all track pages with audio; one page has at most a twelfth of it.",
        min=1.0,
    ),
    figures: bool = flag("--figures", "Also draw figures for papers (PDF and PNG)."),
    compare_two: bool = flag(
        "--compare", "Compare two runs: report what changed from the first to the second."
    ),
) -> None:
    """Write the report of one run, or one report of several runs."""
    listen = writing.check_audio(audio)
    folders = [find_run(results_folder, name) for name in runs]
    if not compare_two:
        path = writing.write_report(
            folders, reports, audio=listen, megabytes=audio_size, figures=figures
        )
        show(path)
        return
    if len(folders) != 2:
        raise HarnessError(
            f"report --compare: needs two runs, not {len(folders)}; give the earlier one first"
        )
    found, page = exporting.compare_runs(folders[0], folders[1], reports)
    for board in boards.comparison_boards(found):
        print_table(*board)
    for line in comparison.remarks(found):
        say(line)
    show(page)
