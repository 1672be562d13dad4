"""Figures for papers: files exist, embed their fonts, and are the same bytes twice."""

import dataclasses
import re
import sys

import numpy as np
import pytest
from synthetic_run import demo_report, demo_run, empty_run

from harness.core.errors import HarnessError
from harness.report import drawings
from harness.report.computed import make_report


@pytest.fixture(scope="module")
def view():
    return drawings.View(make_report(demo_run(8)), "demo")


def test_a_figure_is_the_same_bytes_twice_and_embeds_its_fonts(view, monkeypatch, tmp_path):
    monkeypatch.setattr(drawings, "DRAWINGS", {"genres": drawings.genres})
    first = drawings.write_figures(view.report, tmp_path / "a")
    second = drawings.write_figures(view.report, tmp_path / "b")
    assert [path.name for path in first[:2]] == ["0_demo_genres.pdf", "0_demo_genres.png"]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    pdf = first[0].read_bytes()
    assert b"/FontFile2" in pdf
    assert not re.search(rb"/CreationDate|/Producer", pdf)


def test_the_bars_are_the_means_of_the_common_tracks(view):
    figure = drawings.snr_and_sdr(view)
    (panel,) = (p for p in figure.axes if p.get_title().startswith("vocals"))
    rows = view.common("snr")
    rows = rows[rows["stem"] == "vocals"]
    order = view.separators(rows)
    widths = [bar.get_width() for bar in panel.patches[: len(order)]]
    want = rows.groupby("separator")["value"].mean()[order]
    assert widths == pytest.approx(want.tolist())
    assert [label.get_text() for label in panel.get_yticklabels()] == order
    assert panel.get_title() == f"vocals, n = {rows['track'].nunique()}"


def test_the_axes_have_units(view):
    labels = [p.get_xlabel() for p in drawings.distributions(view).axes]
    assert "SNR–SDR mean (dB)" in labels
    assert "s of computation per s of music" in drawings.cost(view).axes[0].get_xlabel()


def test_the_heat_map_goes_from_the_hardest_track_to_the_easiest(view):
    image = drawings.heat(view).axes[0].images[0].get_array()
    means = np.nanmean(image, axis=1)
    assert (np.diff(means) >= 0).all()


def test_a_run_without_scores_has_no_figures(tmp_path):
    assert drawings.write_figures(make_report(empty_run()), tmp_path) == []


def test_a_run_without_genres_or_selection_lacks_only_those_figures(view):
    report = view.report
    run = dataclasses.replace(report.run, selection=report.run.selection.iloc[:0])
    bare = dataclasses.replace(report, run=run, scores=report.scores.assign(genre=""))
    for draw in (drawings.genres, drawings.by_genre, drawings.selection):
        assert draw(drawings.View(bare, "demo")) is None


def test_without_matplotlib_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(HarnessError, match=r"pip install 'mss-harness\[train\]'"):
        drawings.write_figures(demo_report(), tmp_path)
