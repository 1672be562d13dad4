"""The figures of a run as matplotlib draws them; each is a function of one dataset's `View`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.grid import LIMIT, FloatArray, Grid
from harness.ranking import NO_GENRE, OVERALL, genre_name, level
from harness.report import names, tables
from harness.report.dataset import Context
from harness.results import Run
from harness.selection import pareto

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
ROLE_COLOURS = {
    "separator": "#0072b2", "ensemble": "#cc79a7", "oracle": "#d55e00", "anchor": "#999999",
}  # fmt: skip
SHOWN_TRACKS = 60  # of a heat map, from the hardest to the easiest
LABEL = 8  # points, of a name beside a dot with the space around it
LEGEND: Any = {"loc": "outside lower center", "ncols": 4}


class View:
    """One dataset's scores on common tracks, by metric."""

    def __init__(self, scores: pd.DataFrame, dataset: str, context: Context) -> None:
        self.scores, self.dataset, self.context = scores, dataset, context
        self.first = context.metrics[0]
        self.label = f"{self.first['label']} ({self.first['unit']})"
        self._common: dict[str, pd.DataFrame] = {}

    def common(self, metric: str) -> pd.DataFrame:
        """Return the scores of a metric on the common tracks.

        Columns stem, separator, track, genre, value (within ±`LIMIT`), limited (whether it was
        beyond that).
        """
        if metric not in self._common:
            about = next((m for m in self.context.metrics if m["name"] == metric), None)
            found = self.context.rank(self.scores, self.dataset, about) if about else None
            parts = [_long(stem.grid) for stem in found.stems.values()] if found else []
            rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_COLUMNS)
            if found:
                shown = dict(zip(found.tracks, names.of_tracks(found.tracks), strict=True))
                rows["track"] = [shown[place] for place in rows["track"]]
            self._common[metric] = rows
        return self._common[metric]

    def stems(self, rows: pd.DataFrame) -> list[str]:
        """Return the stems of the first level without its overall score."""
        found = [s for s in rows["stem"].unique() if not names.is_overall(s)]
        main = [s for s in found if level(s) == "main"]
        return sorted(main or found, key=names.stem_rank)

    def separators(self, rows: pd.DataFrame, *, ranked: bool = False) -> list[str]:
        """Return separators by role, then best mean first; without oracles where `ranked`."""
        roles = [*names.ROLES][:2] if ranked else [*names.ROLES]
        means = rows.groupby("separator", observed=True)["value"].mean()
        place = {
            name: roles.index(role) for name, role in self.roles(list(map(str, means.index)), roles)
        }
        return sorted(place, key=lambda name: (place[name], -means[name], name))

    def roles(self, found: Sequence[str], roles: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Give who has one of the roles, with it."""
        for name in found:
            role = self.context.roles.get(name, "separator")
            if role in roles:
                yield name, role

    def colour(self, name: str) -> str:
        """Return the colour of a separator's role."""
        return ROLE_COLOURS[self.context.roles.get(name, "separator")]


_COLUMNS = ["stem", "separator", "track", "genre", "value", "limited"]


def _long(grid: Grid) -> pd.DataFrame:
    """Return one row per score of a grid; a track is (split, track)."""
    row, column = np.nonzero(np.isfinite(grid.scores))
    found = {
        "stem": grid.stem,
        "separator": np.array(grid.separators, dtype=object)[column],
        "track": [grid.keys[i] for i in row],
        "genre": grid.genres[row],
        "value": grid.scores[row, column],
        "limited": grid.limited[row, column] if grid.limited is not None else False,
    }
    return pd.DataFrame(found, columns=_COLUMNS)


def _panels(n: int, height: float, *, share: bool = True) -> tuple[Figure, list[Axes]]:
    """Return a figure with n panels, two beside each other."""
    from matplotlib.figure import Figure

    columns = min(n, 2)
    rows = -(-n // columns)
    figure = Figure(figsize=(3.5 * columns, max(height, 1.1) * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=share, squeeze=False)
    panels = list(grid.ravel())
    for panel in panels[n:]:
        panel.set_visible(False)
    return figure, panels[:n]


def _whole_numbers(panel: Axes) -> None:
    """Let the axis of a count have whole numbers alone."""
    from matplotlib.ticker import MaxNLocator

    panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _name(text: str) -> str:
    """Return a name as it is drawn: cut if long, its dollars no formula."""
    return (text if len(text) <= 28 else text[:27] + "…").replace("$", r"\$")


def distributions(view: View, _run: Run) -> Figure | None:
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
            _strip(panel, i, here[here["separator"] == name]["value"].to_numpy(), view.colour(name))
        _label_rows(panel, order)
        panel.set_title(f"{names.stem_label(stem)}, n = {_n(rows, stem)}", fontsize=8)
        panel.grid(axis="x", lw=0.3)
    beyond = f", beyond ±{LIMIT:g} at the edge" if rows["limited"].any() else ""
    _label_columns(panels, view.label + beyond)
    return figure


def _strip(panel: Axes, row: int, values: FloatArray, colour: str) -> None:
    """Draw the tracks of one separator in a row: dots, the middle half, the mean."""
    spread = np.linspace(-0.25, 0.25, len(values)) if len(values) > 1 else np.zeros(1)
    panel.scatter(values, row + spread, s=4, c=colour, alpha=0.5, lw=0)
    panel.plot(np.quantile(values, [0.25, 0.75]), [row, row], c=colour, lw=5, alpha=0.25)
    panel.plot([values.mean()] * 2, [row - 0.35, row + 0.35], c="black", lw=1.2)


def _n(rows: pd.DataFrame, stem: str) -> int:
    """Return how many tracks a stem is compared on."""
    return int(rows.loc[rows["stem"] == stem, "track"].nunique())


def _label_rows(panel: Axes, order: Sequence[str]) -> None:
    """Write names beside the rows, first on top."""
    panel.set_yticks(range(len(order)), [_name(name) for name in order])
    panel.set_ylim(len(order) - 0.4, -0.6)
    panel.tick_params(axis="y", length=0)


def _label_columns(panels: Sequence[Axes], label: str) -> None:
    """Write what the axis shows below the lowest panel of each column."""
    for panel in panels[-2:]:
        panel.set_xlabel(label)
        panel.tick_params(labelbottom=True)


def snr_and_sdr(view: View, _run: Run) -> Figure | None:
    """Draw mean SNR and SDR of each separator side by side, per stem."""
    pair = [view.common(name) for name in ("snr", "sdr")]
    if not all(map(len, pair)):
        return None
    stems = view.stems(pair[0])
    figure, panels = _panels(len(stems), 0.4 + 0.24 * len(view.separators(pair[0])))
    for stem, panel in zip(stems, panels, strict=True):
        order = view.separators(pair[0][pair[0]["stem"] == stem])
        for i, (label, rows) in enumerate(zip(("SNR", "SDR"), pair, strict=True)):
            means = rows[rows["stem"] == stem].groupby("separator", observed=True)["value"].mean()
            places = np.arange(len(order)) + (i - 0.5) * 0.38
            values = means.reindex(order).to_numpy(float)
            panel.barh(places, values, height=0.36, color=COLOURS[i], label=label)
        _label_rows(panel, order)
        panel.axvline(0, c="black", lw=0.6)
        panel.set_title(f"{names.stem_label(stem)}, n = {_n(pair[0], stem)}", fontsize=8)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND)
    _label_columns(panels, "mean over tracks (dB)")
    return figure


def by_genre(view: View, _run: Run) -> Figure | None:
    """Draw mean SNR and SDR of each genre, over stems and ranked separators."""
    ranked = [n for n, role in view.context.roles.items() if role == "separator"]
    found = {}
    for metric in ("snr", "sdr"):
        rows = view.common(metric)
        rows = rows[rows["separator"].isin(ranked) & rows["stem"].isin(view.stems(rows))]
        genres = rows["genre"].map(genre_name)
        found[metric] = rows.assign(genre=genres)
    order = sorted({*found["snr"]["genre"]} - {NO_GENRE})
    if not order:
        return None
    figure, panels = _panels(2, 0.8 + 0.2 * len(order) * min(len(ranked), 8) / 2)
    for panel, (metric, rows) in zip(panels, found.items(), strict=True):
        groups = rows.groupby(["genre", "separator"], observed=True)["value"]
        means = groups.mean().unstack("separator").reindex(order)
        shown = [n for n in view.separators(view.common(metric), ranked=True) if n in means][:8]
        step = 0.8 / max(len(shown), 1)
        for i, name in enumerate(shown):
            places = np.arange(len(order)) + (i - (len(shown) - 1) / 2) * step
            panel.barh(places, means[name], step * 0.92, color=COLOURS[i], label=_name(name))
        _label_rows(panel, order)
        panel.axvline(0, c="black", lw=0.6)
        panel.set_xlabel(f"mean {metric.upper()} over stems and tracks (dB)")
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND)
    return figure


def selection(view: View, run: Run) -> Figure | None:
    """Draw on how many tracks each separator was chosen, with the answers and without."""
    counts = tables.selection_counts(run.selection[run.selection["dataset"] == view.dataset])
    stems = sorted(counts["stem"].unique(), key=names.stem_rank)
    if not stems:
        return None
    order = sorted(counts["separator"].unique())
    figure, panels = _panels(len(stems), 0.4 + 0.24 * len(order))
    for stem, panel in zip(stems, panels, strict=True):
        rows = counts[counts["stem"] == stem].groupby("separator")[["oracle", "deployable"]].sum()
        for i, kind in enumerate(("oracle", "deployable")):
            values = rows[kind].reindex(order, fill_value=0)
            places = np.arange(len(order)) + (i - 0.5) * 0.38
            panel.barh(places, values, 0.36, color=COLOURS[1 - i], label=kind)
        _label_rows(panel, order)
        panel.set_title(names.stem_label(stem), fontsize=8)
        _whole_numbers(panel)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND)
    _label_columns(panels, "tracks on which it was chosen")
    return figure


def genres(view: View, _run: Run) -> Figure | None:
    """Draw how many tracks each genre has."""
    tracks = view.scores.drop_duplicates(["split", "track"])["genre"].map(genre_name)
    counts = tracks.value_counts().sort_index().sort_values(kind="stable", ascending=False)
    if not {*counts.index} - {NO_GENRE}:
        return None
    figure, (panel,) = _panels(1, 0.5 + 0.2 * len(counts))
    panel.barh(range(len(counts)), counts.to_numpy(), 0.7, color=COLOURS[0])
    for i, n in enumerate(counts):
        panel.annotate(str(n), (n, i), (3, 0), textcoords="offset points", va="center")
    _label_rows(panel, [str(name) for name in counts.index])
    _whole_numbers(panel)
    panel.set_xlabel("number of tracks")
    return figure


def cost(view: View, _run: Run) -> Figure | None:
    """Draw quality against speed; nothing beats those on the line."""
    rows = view.common(view.first["name"])
    overall = rows[rows["stem"] == OVERALL]
    rows = overall if len(overall) else rows[rows["stem"].isin(view.stems(rows)[:1])]
    means = rows.groupby("separator", observed=True)["value"].mean()
    speed = {n: view.context.costs.get((view.dataset, n, "mixture", "rtf")) for n in means.index}
    order = [n for n in view.separators(rows, ranked=True) if speed.get(n)]
    if not order:
        return None
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    x, y = np.array([speed[n] for n in order], float), means[order].to_numpy(float)
    figure, (panel,) = _panels(1, 2.6)
    front = np.flatnonzero(pareto(y, x[:, None]))
    line = front[np.argsort(x[front])]
    panel.plot(x[line], y[line], c="black", lw=0.7, zorder=0, drawstyle="steps-post")
    panel.scatter(x, y, s=18, c=[view.colour(n) for n in order])
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.xaxis.set_minor_formatter(NullFormatter())
    panel.margins(x=0.3, y=0.12)
    _name_points(panel, [_name(name) for name in order], np.column_stack([x, y]))
    panel.set_xlabel("real-time factor (s of work per s of music; less is faster)")
    panel.set_ylabel(f"{view.label}, mean")
    panel.grid(lw=0.3)
    return figure


def _name_points(panel: Axes, labels: Sequence[str], points: FloatArray) -> None:
    """Write a name beside each point, lower where there is a name or another point already."""
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
        panel.annotate(
            labels[i],
            points[i],
            offset,
            textcoords="offset points",
            fontsize=LABEL - 1,
            arrowprops=leader,
        )


def heat(view: View, _run: Run) -> Figure | None:
    """Draw tracks × separators, from the track that is hardest for all to the easiest."""
    rows = view.common(view.first["name"])
    overall = rows[rows["stem"] == OVERALL]
    rows = overall if len(overall) else rows[rows["stem"].isin(view.stems(rows)[:1])]
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


DRAWINGS: Mapping[str, Callable[[View, Run], Figure | None]] = {
    "distributions": distributions,
    "snr_sdr": snr_and_sdr,
    "snr_sdr_by_genre": by_genre,
    "selection": selection,
    "genres": genres,
    "quality_cost": cost,
    "tracks": heat,
}
