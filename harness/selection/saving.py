"""Saving the choice of a run as an ensemble in the user's own registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from harness import registry, selection
from harness.core import strict_yaml, taxonomy
from harness.core.bands import Weight
from harness.core.errors import HarnessError
from harness.core.files import write_atomic
from harness.registry import FILE_NAME, Entry
from harness.results import ranking
from harness.results.grid import HARMONIC, Grid, grids, limit_of, track_scores, unit_of
from harness.results.runs import Run
from harness.selection.blending import Kept
from harness.selection.budget import Budget


def save(
    name: str,
    params: Mapping[str, Any],
    *,
    title: str = "",
    path: Path | None = None,
    force: bool = False,
) -> Entry:
    """Add an ensemble to a registry of the user's own; the other text of the file does not change.

    `params` are those of `harness.registry.entries.EnsembleParams`. The file is by default
    ``model_registry.yaml`` of the working folder. `force` replaces an ensemble of that name.
    """
    path = path or Path(FILE_NAME)
    known = registry.load(path if path.is_file() else None)
    _check_name("--save", name)
    if name in known and not force:
        raise HarnessError(f"--save {name}: is taken; choose another name, or replace with --force")
    if name in known and known[name].family != registry.ENSEMBLE:
        raise HarnessError(f"--save {name}: is not an ensemble; choose another name")
    inputs = {known[n].input for by in params["stems"].values() for n in by if n in known}
    source = inputs.pop() if len(inputs) == 1 else "mixture"
    entry = registry.ensemble(name, params, known, title=title, input=source)
    row: dict[str, Any] = {"title": title} if title else {}
    row |= {"input": source} if source != "mixture" else {}
    row |= {"family": registry.ENSEMBLE, "role": registry.ENSEMBLE, "params": dict(params)}
    append_row(name, row, path)
    return entry


def add_row(name: str, row: Mapping[str, Any], path: Path, *, force: bool = False) -> Entry:
    """Add a separator to a registry of the user's own; `force` replaces a row of that name."""
    _check_name("--name", name)
    own = strict_yaml.read(path, "registry") if path.is_file() else None
    known = set(registry.load(path if path.is_file() else None))
    if name in known - set(own or ()):
        raise HarnessError(f"--name {name}: is a built-in entry; choose another name")
    if name in known and not force:
        raise HarnessError(f"--name {name}: is taken; choose another name, or replace with --force")
    entry = registry.checked(name, dict(row), path)
    append_row(name, row, path)
    return entry


def _check_name(option: str, name: str) -> None:
    """Refuse what cannot be the name of a row."""
    if not registry.Name.fullmatch(name):
        raise HarnessError(f"{option} {name}: is not a valid name; use a-z, 0-9 and _")
    if strict_yaml.read(name) != name:
        raise HarnessError(f"{option} {name}: is a value in YAML, not a name; choose another name")


def append_row(name: str, row: Mapping[str, Any], path: Path) -> None:
    """Append a row to a file, in place of one of that name; the other text does not change.

    A file that would not hold exactly its other rows and the new one is refused.
    """
    path = path.resolve()
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
    except ValueError as error:
        raise HarnessError(f"{path}: is not UTF-8, so that no row is added; convert it") from error
    old = rf"^{name}:.*\n(?:(?:[ \t].*)?\n)*"
    text = re.sub(old, "", text + "\n", flags=re.MULTILINE)
    block = yaml.safe_dump({name: dict(row)}, sort_keys=False, default_flow_style=None, width=100)
    whole = "\n\n".join(part for part in (text.rstrip(), block) if part)
    try:
        before = yaml.safe_load(text) or {}
        added = yaml.safe_load(block)  # its tuples are lists now
        same = yaml.safe_load(whole) == {**before, **added} and name not in before
    except yaml.YAMLError:
        same = False
    if not same:
        raise HarnessError(f"{path}: no row can be appended to this YAML; add it by hand:\n{block}")
    write_atomic(path, whole.encode())


def check_way(how: str) -> None:
    """Refuse a way to make an ensemble that is not one of `harness.selection.WAYS`."""
    if how not in selection.WAYS:
        raise HarnessError(f"--how {how}: not known; {registry.suggestion(how, selection.WAYS)}")


def params_of(
    run: Run,
    entries: Mapping[str, Entry],
    on: str | None,
    *,
    how: str,
    kept: Kept,
    by: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return the parameters of an ensemble to `save`, and warnings.

    The held-out score of a stem comes from cross-fitting the same selection method over artists;
    with `on`, from all other datasets. Parts of drums and vocals are chosen by their scores on the
    true drums and vocals.

    Separators that the registry lacks cannot be chosen. If a run has several datasets, `on` is
    required. `how` is one of `harness.selection.WAYS`, see `harness.selection.weights_of`. `kept`
    are inner products as from `finished_run.kept_products`, by band for ``bands``. `by` is the
    metric that chooses, and of the held-out scores, unless it is not in dB: then they are unknown.
    """
    check_way(how)
    metric = by or HARMONIC
    if how in selection.BLENDED and kept and not selection.scored_by(kept, metric):
        raise HarnessError(
            f"--how {how} --by {metric}: inner products do not determine {metric} of a blend; use "
            "--how best, or another metric"
        )
    kept = selection.scored_by(kept, metric)
    candidates = _candidates(run, entries, on, by)
    here = [g.complete() for g in grids(candidates) if on in (None, g.dataset)]
    chosen = _choices([grid for grid in here if len(grid.tracks)])
    weights = {stem: selection.weights_of(g, how, kept, metric) for stem, g in chosen.items()}
    stems = _reachable(weights, entries)
    if not stems:
        raise HarnessError(
            f"{run.name}: no separator can be selected; 'harness select {run.name}' says why"
        )
    wanted = {(chosen[stem].source, stem): by for stem, by in stems.items()}
    held_out, warnings = selection.expected(candidates, kept, how, on, wanted, metric)
    held_out = _with_mixture(held_out, run, [chosen[stem] for stem in stems], on, metric)
    params = {"stems": stems, **_known(how, [chosen[stem] for stem in stems], metric)}
    if any(isinstance(weight, tuple) for by in stems.values() for weight in by.values()):
        params["edges"] = next(iter(kept.values())).edges
    return params | ({"held_out": held_out} if held_out else {}), warnings


def params_within(
    run: Run,
    entries: Mapping[str, Entry],
    budget: Budget,
    on: str | None = None,
    by: str | None = None,
) -> dict[str, Any]:
    """Return the parameters of an ensemble to `save`: the best per stem, in total within a budget.

    The stems are those of the level below the mixture that has most of them. The held-out scores
    come from cross-fitting the choice within the budget over artists of the same dataset. `by` is
    as for `params_of`.
    """
    metric = by or HARMONIC
    candidates = _candidates(run, entries, on, by)
    mixed = candidates["input"] == "mixture"
    ours = candidates[mixed] if mixed.any() else candidates
    ours = ours if on is None else ours[ours["dataset"] == on]
    rows = selection.choose_within(ours, selection.costs_of(run.costs), budget).to_dict("records")
    if not rows:
        limits = ", ".join(
            f"{cost}<{limit / 1e9:g}GB" if cost == "peak_memory" else f"{cost}<{limit:g}"
            for cost, limit in budget.items()
        )
        raise HarnessError(f"{run.name}: nothing is within {limits}; raise the budget")
    row = max(rows, key=lambda row: len(row["chosen"]))
    found = [grid.complete() for grid in grids(ours) if grid.stem in row["chosen"]]
    stems = {stem: {name: 1.0} for stem, name in row["chosen"].items()}
    held_out = _with_mixture(row["held_out"], run, found, None, metric)
    return {"stems": stems, **_known("best", found, metric), "held_out": held_out}


def _with_mixture(
    held_out: Mapping[str, Any], run: Run, found: Sequence[Grid], on: str | None, metric: str
) -> dict[str, Any]:
    """Return the held-out scores of stems, each with that of the unprocessed input, if it is known.

    It is the mean over the tracks of `found`, or with `on` over those of all other datasets. The
    fields of an ensemble are in dB, so that scores by a metric of another unit are left out.
    """
    if unit_of(metric) != "dB":
        return {}
    inputs = [name for name, role in ranking.roles(run).items() if role == "anchor"]
    scores = track_scores(run.scores[run.scores["separator"].isin(inputs)], metric)
    known = {}
    for grid in found:
        same = (
            scores[["stem", "input", "fed_by"]].eq([grid.stem, grid.input, grid.fed_by]).all(axis=1)
        )
        here = scores["dataset"] == grid.dataset if on is None else scores["dataset"] != on
        limit = limit_of(metric)
        values = np.clip(scores.loc[same & here, "score"].to_numpy(float), -limit, limit)
        if len(values):
            known[grid.stem] = {"mixture": round(float(values.mean()), 3)}
    return {stem: {**held, **known.get(stem, {})} for stem, held in held_out.items()}


def _candidates(
    run: Run, entries: Mapping[str, Entry], on: str | None, by: str | None
) -> pd.DataFrame:
    """Return the scores to choose by: of separators that the registry can run.

    Without `on` a dataset of one artist does not choose beside others: nothing would be held out.
    """
    scores, ranked, leaked = ranking.may_choose(run)
    able = [name for name in ranked if name in entries and entries[name].role == "separator"]
    if ranked and not able:
        raise HarnessError(
            f"{run.name}: none of its separators is in the registry, so a saved ensemble could not "
            f"run; 'harness select {run.name}' shows the choice"
        )
    candidates = selection.candidates_of(scores, able, leaked, by)
    artists = candidates.groupby("dataset", observed=True)["artist"].nunique()
    known = sorted(artists.index[artists > 1]) or sorted(artists.index)
    if on is None and len(known) > 1:
        raise HarnessError(
            f"{run.name}: has scores on {', '.join(known)}; choose one with --choose-on"
        )
    return candidates if on else candidates[candidates["dataset"].isin(known)]


def made_consistent(params: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the `params` of an ensemble whose stems are made to sum to the mixture, and a warning.

    Its held-out scores are unknown: they were those of the stems before that step.
    """
    kept = {k: v for k, v in params.items() if k != "held_out"}
    return kept | {"consistent": True}, (
        "the score of stems that are made to sum to the mixture is unknown until the ensemble "
        "itself is run; add it to a run"
    )


def _known(how: str, found: Sequence[Grid], metric: str) -> dict[str, Any]:
    """Return how an ensemble is combined, and by which metric and on which tracks it was chosen."""
    if how in selection.UNSCORED:
        return {"how": how}
    if how == "mean":
        return {"metric": metric}
    return {
        "metric": metric,
        "chosen_on": sorted({f"{grid.dataset}:{split}" for grid in found for split in grid.splits}),
        "tracks": max(len(grid.tracks) for grid in found),
        "artists": max(grid.n_artists for grid in found),
    }


def _choices(found: list[Grid]) -> dict[str, Grid]:
    """Return the grid to choose by for each stem: that of the mixture if there is one."""
    chosen: dict[str, Grid] = {}
    for grid in sorted(found, key=lambda grid: grid.source != "mixture"):
        chosen.setdefault(grid.stem, grid)
    return {stem: chosen[stem] for stem in taxonomy.in_order(chosen)}


def _reachable(
    stems: dict[str, dict[str, Weight]], entries: Mapping[str, Entry]
) -> dict[str, dict[str, Weight]]:
    """Leave out parts of a stem that is itself not made, unless all members have the same input."""
    inputs = {stem: {entries[name].input for name in by} for stem, by in stems.items()}
    if len(set().union(*inputs.values())) == 1:
        return stems
    first = {stem for stem in stems if inputs[stem] == {"mixture"}}
    return {
        stem: weights
        for stem, weights in stems.items()
        if stem in first or all(taxonomy.parts(source, first) for source in inputs[stem])
    }
