"""A run's figures for papers, drawn by matplotlib as PDF and PNG.

The same run gives the same bytes: files hold no dates, and fonts are embedded. Colors are those of
Okabe and Ito, as on the page, which color-blind readers can distinguish. Every axis has its unit.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.core.audio import Float64
from harness.core.errors import HarnessError
from harness.core.files import write_atomic
from harness.report import names
from harness.report.computed import Report
from harness.results import summaries
from harness.results.grid import LIMIT, Grid
from harness.results.ranking import NO_GENRE, OVERALL, genre_name, level
from harness.selection import pareto

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine has it
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "x",
    "legend.frameon": False,
    "pdf.fonttype": 42,  # fonts as outlines, which publishers accept
    "savefig.dpi": 200,
}
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
ROLE_COLORS = {
    "separator": "#0072b2", "ensemble": "#cc79a7", "oracle": "#d55e00", "anchor": "#999999",
    "generative": "#009e73",
}  # fmt: skip
SHOWN_TRACKS = 60  # rows of a heat map, from the hardest track to the easiest
LABEL = 8  # points, height of a name beside a dot with the space around it
LEGEND: Any = {"loc": "outside lower center", "ncols": 4}
TITLE: Any = {"x": 0.02, "ha": "left", "fontsize": 9, "weight": "bold", "parse_math": False}


def write_figures(report: Report, folder: Path) -> list[Path]:
    """Draw all figures that the run has data for, and return their files."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise HarnessError(
            "report --figures: matplotlib is not installed; pip install 'mss-harness[train]'"
        ) from error
    found = []
    with mpl.rc_context(STYLE):
        for name, figure in _all(report):
            for suffix, content in _files(figure).items():
                found.append(folder / f"{name}.{suffix}")
                write_atomic(found[-1], content)
    return found


def _files(figure: Figure) -> dict[str, bytes]:
    """Return a figure as PDF and PNG without dates or versions in them."""
    bare = {"pdf": ("CreationDate", "Producer", "Creator"), "png": ("Software",)}
    found = {}
    for suffix, dated in bare.items():
        buffer = io.BytesIO()
        metadata: Any = dict.fromkeys(dated)
        figure.savefig(buffer, format=suffix, metadata=metadata, bbox_inches="tight")
        found[suffix] = buffer.getvalue()
    return found


def _all(report: Report) -> Iterator[tuple[str, Figure]]:
    """Yield every figure with the name of its files."""
    if not report.metrics:
        return
    for i, dataset in enumerate(report.datasets):
        view = View(report, dataset)
        if not len(view.scores):
            continue
        prefix = f"{i}_" + "".join(c if c.isascii() and c.isalnum() else "-" for c in dataset)
        for name, draw in DRAWINGS.items():
            if (figure := draw(view)) is not None:
                figure.suptitle(dataset, **TITLE)
                yield f"{prefix}_{name}", figure


class View:
    """One dataset's scores on common tracks, by metric."""

    def __init__(self, report: Report, dataset: str) -> None:
        scores = report.scores
        here = scores[(scores["dataset"] == dataset) & (scores["input"] == "mixture")]
        self.scores = here.astype({"stem": object, "separator": object})
        self.report, self.dataset, self.first = report, dataset, report.metrics[0]
        self.label = f"{self.first['label']} ({self.first['unit']})"

    def common(self, metric: str) -> pd.DataFrame:
        """Return the scores of a metric on the common tracks.

        Columns stem, separator, track, genre, value (within ±`LIMIT`), limited (whether it was
        beyond that).
        """
        if all(known["name"] != metric for known in self.report.metrics):
            return pd.DataFrame(columns=_COLUMNS)
        found = self.report.ranking(self.dataset, metric)
        shown = dict(zip(found.tracks, names.of_tracks(found.tracks), strict=True))
        parts = [_long(of.grid, shown) for (fed, _), of in found.stems.items() if fed == "mixture"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)

    def headline(self) -> pd.DataFrame:
        """Return the first metric's rows of the overall score, otherwise of the first stem."""
        rows = self.common(self.first["name"])
        overall = rows[rows["stem"] == OVERALL]
        return overall if len(overall) else rows[rows["stem"].isin(self.stems(rows)[:1])]

    def stems(self, rows: pd.DataFrame) -> list[str]:
        """Return the stems of the first level without its overall score."""
        found = [s for s in rows["stem"].unique() if not names.is_overall(s)]
        main = [s for s in found if level(s) == "main"]
        return sorted(main or found, key=names.stem_rank)

    def separators(self, rows: pd.DataFrame, *, ranked: bool = False) -> list[str]:
        """Return separators by role, then best mean first; if `ranked`, no oracles or anchors."""
        roles = [*names.ROLES][:2] if ranked else [*names.ROLES]
        means = rows.groupby("separator", observed=True)["value"].mean()
        role = {name: self.report.roles.get(name, "separator") for name in map(str, means.index)}
        shown = [name for name in role if role[name] in roles]
        return sorted(shown, key=lambda name: (roles.index(role[name]), -means[name], name))

    def color(self, name: str) -> str:
        """Return the color of a separator's role."""
        return ROLE_COLORS[self.report.roles.get(name, "separator")]


_COLUMNS = ["stem", "separator", "track", "genre", "value", "limited"]


def _long(grid: Grid, shown: Mapping[tuple[str, str], str]) -> pd.DataFrame:
    """Return one row per score of a grid; `shown` are the names of its tracks."""
    row, column = np.nonzero(np.isfinite(grid.scores))
    found = {
        "stem": grid.stem,
        "separator": np.array(grid.separators, dtype=object)[column],
        "track": [shown[grid.keys[i]] for i in row],
        "genre": grid.genres[row],
        "value": grid.scores[row, column],
        "limited": grid.limited[row, column] if grid.limited is not None else False,
    }
    return pd.DataFrame(found, columns=_COLUMNS)


def distributions(view: View) -> Figure | None:
    """Draw every track as a dot, per stem and separator, with the mean and the middle half."""
    rows = view.common(view.first["name"])
    stems = view.stems(rows)
    if not stems:
        return None
    figure, panels = _panels(len(stems), 0.3 + 0.19 * len(view.separators(rows)))
    for stem, panel in zip(stems, panels, strict=True):
        here = rows[rows["stem"] == stem]
        order = view.separators(here)
        for i, name in enumerate(order):
            _strip(panel, i, here[here["separator"] == name]["value"].to_numpy(), view.color(name))
        _label_rows(panel, order)
        _title(panel, stem, rows)
        panel.grid(axis="x", lw=0.3)
    beyond = f", beyond ±{LIMIT:g} at the edge" if rows["limited"].any() else ""
    _label_columns(panels, view.label + beyond)
    return figure


def snr_and_sdr(view: View) -> Figure | None:
    """Draw mean SNR and SDR of each separator side by side, per stem."""
    pair = {metric.upper(): view.common(metric) for metric in ("snr", "sdr")}
    if not all(map(len, pair.values())):
        return None
    first = pair["SNR"]
    stems = view.stems(first)
    figure, panels = _panels(len(stems), 0.4 + 0.24 * len(view.separators(first)))
    for stem, panel in zip(stems, panels, strict=True):
        order = view.separators(first[first["stem"] == stem])
        means = {
            label: rows[rows["stem"] == stem].groupby("separator", observed=True)["value"].mean()
            for label, rows in pair.items()
        }
        _bars(panel, order, {label: mean.reindex(order) for label, mean in means.items()})
        _title(panel, stem, first)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND)
    _label_columns(panels, "mean over tracks (dB)")
    return figure


def by_genre(view: View) -> Figure | None:
    """Draw mean SNR and SDR of each genre, over stems and ranked separators."""
    ranked = [n for n, role in view.report.roles.items() if role == "separator"]
    found = {}
    for metric in ("snr", "sdr"):
        rows = view.common(metric)
        rows = rows[rows["separator"].isin(ranked) & rows["stem"].isin(view.stems(rows))]
        found[metric] = rows.assign(genre=rows["genre"].map(genre_name))
    order = sorted({*found["snr"]["genre"]} - {NO_GENRE})
    if not order:
        return None
    figure, panels = _panels(2, 0.8 + 0.2 * len(order) * min(len(ranked), 8) / 2)
    for panel, (metric, rows) in zip(panels, found.items(), strict=True):
        groups = rows.groupby(["genre", "separator"], observed=True)["value"]
        means = groups.mean().unstack("separator").reindex(order)
        shown = [n for n in view.separators(view.common(metric), ranked=True) if n in means][:8]
        _bars(panel, order, {_name(name): means[name] for name in shown})
        panel.set_xlabel(f"mean {metric.upper()} over stems and tracks (dB)")
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND)
    return figure


def selection(view: View) -> Figure | None:
    """Draw the number of tracks each separator was chosen on, by oracle and deployable choice."""
    chosen = view.report.run.selection
    counts = summaries.selection_counts(chosen[chosen["dataset"] == view.dataset])
    stems = sorted(counts["stem"].unique(), key=names.stem_rank)
    if not stems:
        return None
    order = sorted(counts["separator"].unique())
    kinds = ["oracle", "deployable"]
    figure, panels = _panels(len(stems), 0.4 + 0.24 * len(order))
    for stem, panel in zip(stems, panels, strict=True):
        rows = counts[counts["stem"] == stem].groupby("separator")[kinds].sum()
        rows = rows.reindex(order, fill_value=0)
        _bars(panel, order, {kind: rows[kind] for kind in kinds}, (COLORS[1], COLORS[0]))
        panel.set_title(names.stem_label(stem), fontsize=8)
        _whole_numbers(panel)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND)
    _label_columns(panels, "tracks on which it was chosen")
    return figure


def genres(view: View) -> Figure | None:
    """Draw the number of tracks per genre."""
    tracks = view.scores.drop_duplicates(["split", "track"])["genre"].map(genre_name)
    counts = tracks.value_counts().sort_index().sort_values(kind="stable", ascending=False)
    if not {*counts.index} - {NO_GENRE}:
        return None
    figure, (panel,) = _panels(1, 0.5 + 0.2 * len(counts))
    _bars(panel, [str(name) for name in counts.index], {"tracks": counts})
    for i, n in enumerate(counts):
        panel.annotate(str(n), (n, i), (3, 0), textcoords="offset points", va="center")
    _whole_numbers(panel)
    panel.set_xlabel("number of tracks")
    return figure


def cost(view: View) -> Figure | None:
    """Draw quality against speed; the line joins the separators that no other beats in both."""
    rows = view.headline()
    means = rows.groupby("separator", observed=True)["value"].mean()
    speed = {n: view.report.costs.get((view.dataset, n, "mixture", "rtf")) for n in means.index}
    order = [n for n in view.separators(rows, ranked=True) if speed.get(n)]
    if not order:
        return None
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    x, y = np.array([speed[n] for n in order], float), means[order].to_numpy(float)
    figure, (panel,) = _panels(1, 2.6)
    front = np.flatnonzero(pareto(y, x[:, None]))
    line = front[np.argsort(x[front])]
    panel.plot(x[line], y[line], c="black", lw=0.7, zorder=0, drawstyle="steps-post")
    panel.scatter(x, y, s=18, c=[view.color(n) for n in order])
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.margins(x=0.3, y=0.12)
    _name_points(panel, [_name(name) for name in order], np.column_stack([x, y]))
    panel.set_xlabel("real-time factor (s of computation per s of music; lower is faster)")
    panel.set_ylabel(f"{view.label}, mean")
    panel.grid(lw=0.3)
    return figure


def heat(view: View) -> Figure | None:
    """Draw tracks × separators, from the hardest track (lowest mean) to the easiest."""
    rows = view.headline()
    order = view.separators(rows)
    if not order:
        return None
    wide = rows.pivot(index="track", columns="separator", values="value")[order]
    wide = wide.loc[wide.mean(axis=1).sort_values(kind="stable").index]
    at = np.unique(np.linspace(0, len(wide) - 1, min(len(wide), SHOWN_TRACKS)).round().astype(int))
    wide = wide.iloc[at]
    figure, (panel,) = _panels(1, 0.9 + 0.13 * len(wide))
    ends = np.nanquantile(wide.to_numpy(float), [0.02, 0.98])
    image = panel.imshow(wide.to_numpy(float), "cividis", aspect="auto", vmin=ends[0], vmax=ends[1])
    _label_rows(panel, [str(track) for track in wide.index])
    panel.set_ylim(len(wide) - 0.5, -0.5)
    panel.tick_params(axis="y", labelsize=6)
    panel.set_xticks(range(len(order)), [_name(n) for n in order], rotation=60, ha="right")
    stem = names.stem_label(str(rows["stem"].iloc[0]))
    figure.colorbar(image, ax=panel, label=f"{view.label}, {stem}", extend="both", aspect=40)
    return figure


DRAWINGS: Mapping[str, Callable[[View], Figure | None]] = {
    "distributions": distributions,
    "snr_sdr": snr_and_sdr,
    "snr_sdr_by_genre": by_genre,
    "selection": selection,
    "genres": genres,
    "quality_cost": cost,
    "tracks": heat,
}


def _panels(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels in up to two columns."""
    from matplotlib.figure import Figure

    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Figure(figsize=(3.5 * columns, max(height, 1.1) * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    panels = list(grid.ravel())
    for panel in panels[n:]:
        panel.set_visible(False)
    return figure, panels[:n]


def _bars(
    panel: Axes, order: Sequence[str], series: Mapping[str, Any], colors: Sequence[str] = COLORS
) -> None:
    """Draw a group of horizontal bars per row, one bar per series, with an entry in the legend."""
    step = 0.76 / max(len(series), 1)
    for i, (label, values) in enumerate(series.items()):
        places = np.arange(len(order)) + (i - (len(series) - 1) / 2) * step
        panel.barh(places, np.asarray(values, float), step * 0.95, color=colors[i], label=label)
    _label_rows(panel, order)
    panel.axvline(0, c="black", lw=0.6)


def _strip(panel: Axes, row: int, values: Float64, color: str) -> None:
    """Draw the tracks of one separator in a row: dots, the middle half, the mean."""
    spread = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
    panel.scatter(np.clip(values, -LIMIT, LIMIT), row + spread, s=4, c=color, alpha=0.5, lw=0)
    half = np.clip(np.quantile(values, [0.25, 0.75]), -LIMIT, LIMIT)
    panel.plot(half, [row, row], c=color, lw=5, alpha=0.25)
    if abs(values.mean()) <= LIMIT:
        panel.plot([values.mean()] * 2, [row - 0.35, row + 0.35], c="black", lw=1.2)


def _name_points(panel: Axes, labels: Sequence[str], points: Float64) -> None:
    """Write a name beside each point, or lower where another name or point is in the way."""
    panel.autoscale_view()
    places = panel.transData.transform(points) * 72 / panel.figure.dpi
    taken = [(x - 3, x + 3, y - 3) for x, y in places]  # left, right, baseline; in points
    for i in np.argsort(-places[:, 1], kind="stable"):
        left, base = places[i] + (5, 2)
        right = left + 0.6 * LABEL * len(labels[i])
        while any(left < r and low < right and abs(base - b) < LABEL for low, r, b in taken):
            base -= 1
        taken.append((left, right, base))
        offset = (5, base - places[i, 1])
        leader = {"arrowstyle": "-", "lw": 0.4} if offset[1] < -LABEL else None
        style: Any = {"textcoords": "offset points", "fontsize": LABEL - 1, "arrowprops": leader}
        panel.annotate(labels[i], points[i], offset, **style)


def _title(panel: Axes, stem: str, rows: pd.DataFrame) -> None:
    n = rows.loc[rows["stem"] == stem, "track"].nunique()
    panel.set_title(f"{names.stem_label(stem)}, n = {n}", fontsize=8)


def _label_rows(panel: Axes, order: Sequence[str]) -> None:
    """Write names beside the rows, the first at the top."""
    panel.set_yticks(range(len(order)), [_name(name) for name in order])
    panel.set_ylim(len(order) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)


def _label_columns(panels: Sequence[Axes], label: str) -> None:
    """Label the horizontal axis below the lowest panel of each column."""
    for panel in panels[-2:]:
        panel.set_xlabel(label)
        panel.tick_params(labelbottom=True)


def _whole_numbers(panel: Axes) -> None:
    """Allow only whole numbers on the axis of a count."""
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _name(text: str) -> str:
    """Return a name as it is drawn: cut if long, its dollar signs no formula."""
    return (text if len(text) <= 28 else text[:27] + "…").replace("$", r"\$")
