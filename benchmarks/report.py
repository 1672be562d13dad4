"""How a report stays usable when a run is large: 20 separators, 240 tracks, 15 stems.

Makes such a run of made-up scores, writes its report as `harness report` does, and opens it in a
headless Chromium from the file system. Prints how long the report takes to build, what of that is
the first page, how large that is, and when it first shows something; what it should be stands
beside. `--separators`, `--tracks` and `--stems` make other sizes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from needs import need

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "report"))

from synthetic_run import SIZE_STEMS, large_run

from harness import report
from harness.report.computed import make_report

GOALS = {"build": 60.0, "size": 5.0, "paint": 2.0}  # seconds, MB, seconds
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? -1"


def first_paint(page: Path, profile: Path) -> tuple[float, float]:
    """Return seconds from opening the page to its first content, and to the end of its script."""
    from test_report_browser import Browser

    browser = Browser(profile)
    try:
        browser.start()
        browser.open(page)
        began = time.monotonic()
        while (paint := browser.run(PAINT)) < 0 and time.monotonic() - began < 60:
            time.sleep(0.1)
        loaded = browser.run("performance.getEntriesByType('navigation')[0].loadEventEnd")
    finally:
        browser.close()
    return paint / 1000, loaded / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--separators", type=int, default=20)
    parser.add_argument("--tracks", type=int, default=240)
    parser.add_argument("--stems", type=int, default=len(SIZE_STEMS))
    size = parser.parse_args()
    need("pytest")
    from test_report_browser import CHROMIUM

    run = large_run(size.separators, size.tracks, size.stems)
    print(f"{size.separators} separators, {size.tracks} tracks, {size.stems} stems: ", end="")
    print(f"{len(run.scores):,} scores")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "index.html"
        began, cpu = time.perf_counter(), time.process_time()
        made = make_report(run)
        html = report.render(made)
        page.write_text(html, encoding="utf-8")
        first, first_cpu = time.perf_counter() - began, time.process_time() - cpu
        report.write_rest(made, Path(folder))
        build, build_cpu = time.perf_counter() - began, time.process_time() - cpu
        print(f"first page     {first:6.1f} s ({first_cpu:.1f} s of CPU)")
        print(f"whole report   {build:6.1f} s ({build_cpu:.1f} s of CPU), goal {GOALS['build']:g}")
        print(f"page size      {page.stat().st_size / 1e6:6.2f} MB, goal {GOALS['size']:g}")
        if CHROMIUM is None:
            print("first paint    no Chromium here")
            return
        paint, loaded = first_paint(page, Path(folder) / "profile")
        print(f"first paint    {paint:6.2f} s, goal {GOALS['paint']:g}; script done {loaded:.2f} s")


if __name__ == "__main__":
    main()
