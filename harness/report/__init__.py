"""Reports: pages written from tables.

`tables` summarises a run's tidy table (DataFrame to DataFrame); `payload` and `dataset` make the
plain values of a page of it; `page` puts these into the templates, together with the style sheet
and the scripts in ``assets``; `figures` draws what needs no switch. The templates hold everything
that can be read without a script; the scripts fill the same cells when a switch is turned, and draw
what is heavy. `terminal` is the same leaderboard in a few lines of text. `listening` writes a page
for each stem of the tracks whose estimates were kept: `track_page`, with `excerpts` and
`frame_lines`, and the scripts ``sound.js`` (playing), ``pictures.js`` and ``track.js`` (the panel).

`site` writes what stands beside the first page: `provenance`, and ``tables/``, where `sheets` and
`sure_sheets` say what the tables are, each a `sheet`, and `formats` writes them; `printed` and
`drawings` are figures for papers, `comparison` is the page of two runs, `model_card` what hubs
read.

A new section is a template that ``page.html`` includes, and, where it reacts to a switch, one more
file in `page.SCRIPTS` with a function that ``page.js`` calls.
"""

from harness.report.comparison import compare_runs
from harness.report.listening import AUDIO, write_tracks
from harness.report.page import render, write
from harness.report.site import write_rest
from harness.report.terminal import Board, boards

__all__ = [
    "AUDIO", "Board", "boards", "compare_runs", "render", "write", "write_rest", "write_tracks",
]  # fmt: skip
