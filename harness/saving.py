"""What a run has chosen, kept as an ensemble in the user's own registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from harness import pipeline, registry, selection, taxonomy
from harness.bands import Weight
from harness.cache import write_atomic
from harness.errors import HarnessError
from harness.grid import HARMONIC, Grid, grids
from harness.registry import FILE_NAME, Entry
from harness.results import Run
from harness.selection.blending import Kept
from harness.selection.budget import Budget

UNHEARD = (
    "what stems made to sum to the mixture are worth cannot be told without audio: "
    "put it into a run to see"
)


def save(
    name: str,
    params: Mapping[str, Any],
    *,
    title: str = "",
    path: Path | None = None,
    force: bool = False,
) -> Entry:
    """Write an ensemble into a registry of the user's own; what stands there stays as it is.

    Parameters
    ----------
    name, params
        Of the ensemble; see `harness.registry.Blend`.
    path
        By default ``model_registry.yaml`` of the working folder.
    force
        Replace an entry of that name.

    Raises
    ------
    HarnessError
        If the name is taken or no name, the members do not fit together, or the file cannot be
        added to.
    """
    path = path or Path(FILE_NAME)
    known = registry.load(path if path.is_file() else None)
    if not registry.Name.fullmatch(name):
        raise HarnessError(f"--save {name}: is no name; use a-z, 0-9 and _")
    if name in known and not force:
        raise HarnessError(f"--save {name}: is taken; choose another name, or replace with --force")
    if name in known and known[name].family != registry.ENSEMBLE:
        raise HarnessError(f"--save {name}: is no ensemble; choose another name")
    row: dict[str, Any] = {"title": title} if title else {}
    inputs = {known[n].input for by in params["stems"].values() for n in by if n in known}
    source = inputs.pop() if len(inputs) == 1 else "mixture"
    row |= {"input": source} if source != "mixture" else {}
    row |= {"family": registry.ENSEMBLE, "role": registry.ENSEMBLE, "params": dict(params)}
    entry = registry.ensemble(name, params, known, title=title, input=source)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    _write(path.resolve(), _without(text, name), name, row)
    return entry


def params_of(
    run: Run,
    entries: Mapping[str, Entry],
    on: str | None = None,
    *,
    how: str = "best",
    kept: Kept | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return what to `save` of a run, and what to beware of.

    What a stem is worth held out is what the same way to choose scores on other artists' tracks; of
    one made on dataset `on`, what it scores on the others. Parts of drums and vocals are chosen by
    what they score when fed with the true stem.

    Parameters
    ----------
    entries
        The registry: what cannot be run again from there cannot be chosen.
    on
        The dataset to choose on, needed where the run has several.
    how
        ``best`` takes for each stem the separator with the best mean score, ``blend`` and ``bands``
        the weights of `harness.selection.choose_weights`; the others take all separators alike.
    kept
        Inner products, as from `harness.pipeline.kept_products`, by band for ``bands``; stems
        without any are chosen as ``best``.

    Raises
    ------
    HarnessError
        If the run has several datasets and none is named, or nothing can be chosen.
    """
    if how not in selection.WAYS:
        raise HarnessError(f"--how {how}: not known; {registry.suggestion(how, selection.WAYS)}")
    candidates = _candidates(run, entries, on)
    here = [g.complete() for g in grids(candidates) if on in (None, g.dataset)]
    chosen = _choices([grid for grid in here if len(grid.tracks)])
    weights = {stem: selection.weights_of(g, how, kept or {}) for stem, g in chosen.items()}
    stems = _reachable(weights, entries)
    if not stems:
        raise HarnessError(f"{run.name}: nothing can be chosen; see 'harness select {run.name}'")
    wanted = {(chosen[stem].source, stem): by for stem, by in stems.items()}
    held_out, warnings = selection.expected(candidates, kept or {}, how, on, wanted)
    params = {"stems": stems, **_known(how, [chosen[stem] for stem in stems])}
    if any(isinstance(weight, tuple) for by in stems.values() for weight in by.values()):
        params["edges"] = next(iter((kept or {}).values())).edges
    return params | ({"held_out": held_out} if held_out else {}), warnings


def params_within(
    run: Run, entries: Mapping[str, Entry], budget: Budget, on: str | None = None
) -> dict[str, Any]:
    """Return what to `save` of a run: the best of each stem, all together within a budget.

    The stems are those of the mixture's level that has most. What they are worth held out is what
    other artists' tracks of the same dataset choose within the budget.

    Raises
    ------
    HarnessError
        As `params_of`; or nothing fits.
    """
    candidates = _candidates(run, entries, on)
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
    found = {grid.stem: grid.complete() for grid in grids(ours) if grid.stem in row["chosen"]}
    stems = {stem: {name: 1.0} for stem, name in row["chosen"].items()}
    return {"stems": stems, **_known("best", [*found.values()]), "held_out": row["held_out"]}


def _candidates(run: Run, entries: Mapping[str, Entry], on: str | None) -> pd.DataFrame:
    """Return the scores that choose what to save: of what the registry can run, on known music."""
    scores, ranked, leaked = pipeline.may_choose(run)
    able = [name for name in ranked if name in entries and entries[name].role == "separator"]
    if ranked and not able:
        raise HarnessError(
            f"{run.name}: none of its separators is in the registry, so what is saved could not be "
            f"run; 'harness select {run.name}' shows what it chooses"
        )
    candidates = selection.candidates_of(scores, able, leaked)
    known = sorted(candidates["dataset"].unique())
    if on is None and len(known) > 1:
        raise HarnessError(
            f"{run.name}: has scores of {', '.join(known)}; say with --choose-on which chooses"
        )
    return candidates


def made_consistent(params: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the `params` of an ensemble whose stems are made to sum to the mixture, and a warning.

    What it scores held out is not known then: scores are those of the stems before.
    """
    kept = {k: v for k, v in params.items() if k != "held_out"}
    return kept | {"consistent": True}, UNHEARD


def _known(how: str, found: Sequence[Grid]) -> dict[str, Any]:
    """Return how an ensemble is combined, and by what and on what it was chosen."""
    if how in selection.UNSCORED:
        return {"how": how}
    if how == "mean":
        return {"metric": HARMONIC}
    return {
        "metric": HARMONIC,
        "chosen_on": sorted({f"{grid.dataset}:{split}" for grid in found for split in grid.splits}),
        "tracks": max(len(grid.tracks) for grid in found),
        "artists": max(grid.n_artists for grid in found),
    }


def _choices(found: list[Grid]) -> dict[str, Grid]:
    """Return the grid that chooses for each stem: of the mixture, where there is one."""
    chosen: dict[str, Grid] = {}
    for grid in sorted(found, key=lambda grid: grid.source != "mixture"):
        chosen.setdefault(grid.stem, grid)
    return {stem: chosen[stem] for stem in taxonomy.in_order(chosen)}


def _reachable(
    stems: dict[str, dict[str, Weight]], entries: Mapping[str, Entry]
) -> dict[str, dict[str, Weight]]:
    """Leave out parts of a stem that is itself not there, unless all are of the same."""
    if len({entries[n].input for weights in stems.values() for n in weights}) == 1:
        return stems
    first = {s: w for s, w in stems.items() if all(entries[n].input == "mixture" for n in w)}
    return {
        stem: weights
        for stem, weights in stems.items()
        if stem in first or all(taxonomy.parts(entries[n].input, first) for n in weights)
    }


def _without(text: str, name: str) -> str:
    """Return a registry's text without the row of that name, in block style."""
    return re.sub(rf"^{name}:.*\n(?:(?:[ \t].*)?\n)*", "", text + "\n", flags=re.MULTILINE)


def _write(path: Path, text: str, name: str, row: Mapping[str, Any]) -> None:
    """Add a row at the end, if the file then holds all it held and the row."""
    block = yaml.safe_dump({name: dict(row)}, sort_keys=False, default_flow_style=None, width=100)
    whole = "\n\n".join(part for part in (text.rstrip(), block) if part)
    try:
        before = yaml.safe_load(text) or {}
        added = yaml.safe_load(block)  # its tuples are lists now
        same = yaml.safe_load(whole) == {**before, **added} and name not in before
    except yaml.YAMLError:
        same = False
    if not same:
        raise HarnessError(f"{path}: cannot be added to as it is written; add this:\n{block}")
    write_atomic(path, whole.encode())
