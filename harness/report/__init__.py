"""Reports: pages, tables and figures of a run.

`computed.Report` holds what all of these show: scores, rankings, certainties, candidates.
`writing` computes it once and writes the files.

`page.index_page` renders the page of a run; `page.payload` prepares its data, `figures` draws the
charts that no switch changes. The templates hold all that can be read without a script; the scripts
in ``assets`` update the same cells when a switch changes, and draw the larger charts.
`tracks.listening` writes one page per stem of the tracks with kept estimates: `track_page`, with
`excerpts`, `frame_lines` and the scripts ``sound.js`` (playing), ``pictures.js`` and ``track.js``
(the panel).

Beside the page are `provenance`, tables (`tables.sheets` makes them, `tables.table_files` writes
them) and figures for papers (`drawings`). `comparison` is the page of two runs,
`tables.model_card` the scores for model hubs; `exporting` writes one of these formats alone, and
`serve` shows the pages.

To add a section, write a template that ``page.html`` includes. If it reacts to a switch, add a file
to `index_page.SCRIPTS` with a function that ``page.js`` calls.
"""

from harness.report.comparison import compare_runs
from harness.report.page.index_page import render
from harness.report.tracks.listening import AUDIO, write_tracks
from harness.report.writing import write_rest

__all__ = [
    "AUDIO", "compare_runs", "render", "write_rest", "write_tracks",
]  # fmt: skip
