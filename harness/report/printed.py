"""Pictures for papers: a run's figures as PDF and PNG, drawn by matplotlib.

The same run gives the same bytes: no date is written, fonts go into the file, colours are those of
the page (Okabe and Ito's, which colour-blind people tell apart), every axis has its unit.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.cache import write_atomic
from harness.errors import HarnessError
from harness.report import payload
from harness.report.dataset import Context
from harness.report.drawings import DRAWINGS, View
from harness.results import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine has it
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "x",
    "legend.frameon": False,
    "pdf.fonttype": 42,  # fonts as outlines that publishers accept
    "savefig.dpi": 200,
}
Drawn = Iterator[tuple[str, "Figure"]]


def write_figures(run: Run, folder: Path) -> list[Path]:
    """Draw all figures that the run has data for, each as PDF and PNG, and return the files.

    Raises
    ------
    HarnessError
        If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise HarnessError(
            "report --figures: matplotlib is not installed; pip install 'harness[train]'"
        ) from error
    scores, context = payload.prepare(run)
    found = []
    with mpl.rc_context(STYLE):
        for name, figure in _all(run, scores, context):
            for suffix, content in _files(figure).items():
                found.append(folder / f"{name}.{suffix}")
                write_atomic(found[-1], content)
    return found


def _files(figure: Figure) -> dict[str, bytes]:
    """Return a figure as PDF and PNG without dates or versions in them."""
    bare: dict[str, dict[str, Any]] = {
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        "png": {"Software": None},
    }
    found = {}
    for suffix, metadata in bare.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, metadata=metadata, bbox_inches="tight")
        found[suffix] = buffer.getvalue()
    return found


def _all(run: Run, scores: pd.DataFrame, context: Context) -> Drawn:
    """Give every figure with the name of its files."""
    if not context.metrics:
        return
    for i, dataset in enumerate(sorted(map(str, scores["dataset"].unique()))):
        here = scores[(scores["dataset"] == dataset) & (scores["input"] == "mixture")]
        if not len(here):
            continue
        prefix = f"{i}_" + "".join(c if c.isascii() and c.isalnum() else "-" for c in dataset)
        view = View(here.astype({"stem": object, "separator": object}), dataset, context)
        for name, draw in DRAWINGS.items():
            if (figure := draw(view, run)) is not None:
                figure.suptitle(
                    dataset, x=0.02, ha="left", fontsize=9, weight="bold", parse_math=False
                )
                yield f"{prefix}_{name}", figure
