"""Reports: pages, tables and figures of a run.

`page` renders the page of a run. `payload` and `dataset` prepare its data from the tidy table,
summarised by `tables`; `figures` draws the charts that no switch changes. The templates hold all
that can be read without a script; the scripts in ``assets`` update the same cells when a switch
changes, and draw the larger charts. `listening` writes a page per stem of the tracks whose
estimates were kept: `track_page`, with `excerpts`, `frame_lines` and the scripts ``sound.js``
(playing), ``pictures.js`` and ``track.js`` (the panel).

`site` writes the files beside the page: `provenance`, tables (`sheets` makes them, `table_files`
writes them) and figures for papers (`drawings`). `comparison` is the page of two runs,
`model_card` the scores for model hubs, `terminal` the leaderboard as text.

To add a section, write a template that ``page.html`` includes. If it reacts to a switch, add a file
to `page.SCRIPTS` with a function that ``page.js`` calls.
"""

from harness.report.comparison import compare_runs
from harness.report.page.index_page import render, write
from harness.report.tracks.listening import AUDIO, write_tracks
from harness.report.writing import write_rest

__all__ = [
    "AUDIO", "compare_runs", "render", "write", "write_rest", "write_tracks",
]  # fmt: skip
