"""``harness view``."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path

from harness.cli import options
from harness.cli.options import argument, flag, option
from harness.cli.terminal import show
from harness.core.errors import HarnessError
from harness.report import serve


def view(
    run_name: str = argument("RUN", "", "Name of the run to show.", "a list of all reports"),
    reports: Path = options.REPORTS,
    port: int = option("--port N", 0, "Port of the server.", "a free one", min=0, max=65535),
    no_browser: bool = flag("--no-browser", "Print the address and do not open a browser."),
) -> None:
    """Open the reports in your browser.

    Other machines cannot read them. Press Ctrl-C to stop.
    """
    found = sorted(path.parent.name for path in reports.glob("*/index.html"))
    if not found:
        raise HarnessError(
            f"{reports}: no report here; make one with: harness run --all (or, if there is a run "
            "already, harness report)"
        )
    if run_name and run_name not in found:
        raise HarnessError(
            f"{reports}: no report of {run_name!r}; reports here: {', '.join(found)}; write others "
            "with: harness report RUN"
        )
    with serve.serving(reports, port) as server:
        where = serve.address(server, f"{run_name}/" if run_name else "")
        show(where)
        if not no_browser:
            webbrowser.open(where)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
