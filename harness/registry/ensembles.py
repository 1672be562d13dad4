"""Rows made of other rows: what an ensemble has from its members, and which ones fit together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from harness import taxonomy
from harness.bands import Weight
from harness.errors import HarnessError
from harness.registry.rows import (
    ENSEMBLE,
    FILE_NAME,
    Blend,
    Entry,
    License,
    checked,
    complaint,
    suggestion,
)

FROM_MEMBERS = {"stems", "sample_rate", "channels", "weights", "trained_on", "unavailable"}


def ensemble(
    name: str, params: Mapping[str, Any], entries: Mapping[str, Entry], **fields: Any
) -> Entry:
    """Return the entry of an ensemble of other entries.

    Parameters
    ----------
    params
        See `Blend`.
    fields
        Of `Entry`, such as `title` and `input`.

    Raises
    ------
    HarnessError
        If the weights of a stem do not sum to one, or a member is unknown or gives no such stem.
    """
    row = {"family": ENSEMBLE, "role": ENSEMBLE, "params": dict(params), **fields}
    where = Path(FILE_NAME)
    return with_members(checked(name, row, where), entries, where)


def with_members(entry: Entry, entries: Mapping[str, Entry], path: Path) -> Entry:
    """Give an ensemble its members, and from them its weights and what they were trained on.

    What it was chosen on counts as seen: its score there says nothing of other music.
    """
    if entry.family != ENSEMBLE:
        return entry
    where = f"{path}: {entry.name}"
    if given := sorted(FROM_MEMBERS & entry.model_fields_set):
        raise HarnessError(f"{where}: an ensemble has its {given[0]} from its members; drop it")
    try:
        blend = entry.blend
    except ValidationError as error:
        raise complaint(error, f"{where}: params.", [*Blend.model_fields]) from error
    names = dict.fromkeys(n for weights in blend.stems.values() for n in weights if weights[n])
    for name in names:
        known = [n for n, e in entries.items() if e.role == "separator" and e.family != ENSEMBLE]
        if name not in known:
            raise HarnessError(f"{where}: no separator {name!r}; {suggestion(name, known)}")
    members = tuple(entries[name] for name in names)
    if problem := _misfit(blend, entry.input, {m.name: m for m in members}):
        raise HarnessError(f"{where}: {problem}")
    seen = [m.trained_on for m in members]
    unknown = None in seen
    trained_on = [*(half for halves in seen for half in halves or ()), *blend.chosen_on]
    ours = License(
        code=", ".join(dict.fromkeys(m.license.code for m in members)),
        weights=", ".join(dict.fromkeys(filter(None, (m.license.weights for m in members))))
        or None,
    )
    found = entry.model_copy(
        update={
            "role": ENSEMBLE,
            "stems": tuple(taxonomy.in_order(blend.stems)),
            "weights": tuple(dict.fromkeys(file for m in members for file in m.weights)),
            "trained_on": None if unknown else tuple(dict.fromkeys(trained_on)),
            "license": ours,
            "unavailable": next(
                (f"{m.name}: {m.unavailable}" for m in members if m.unavailable), ""
            ),
        }
    )
    found._members = members
    return found


def _misfit(blend: Blend, source: str, members: Mapping[str, Entry]) -> str:
    """Say why stems cannot be made of members; empty if they can.

    A member takes apart what the ensemble does, or one of the ensemble's own stems that is made
    before: by members whose input lies higher in the tree.
    """
    stems = blend.stems
    if not stems:
        return "has no stems; give {stem: {separator: weight}}"
    if "cymbals" in stems and "hihat" not in stems:
        return "has cymbals without hihat; give hihat_cymbals, which holds both, or both"
    if blend.consistent and not taxonomy.parts(source, set(stems) - {source}):
        return f"is consistent, but {', '.join(stems)} do not make up the {source}; add stems"
    if sorted(set(blend.edges)) != list(blend.edges):
        return f"edges {list(blend.edges)} do not rise; order them"
    depth = {name: len(taxonomy.ancestors(member.input)) for name, member in members.items()}
    for stem, weights in stems.items():
        if problem := _unfit(weights, blend):
            return f"weights of {stem} {problem}"
        for name in (n for n in weights if weights[n]):
            member = members[name]
            given = taxonomy.as_meant(member.stems).values()
            if not taxonomy.parts(stem, given):
                return f"{name} gives no {stem}, only {', '.join(given)}; correct the stem"
            earlier = [
                s for s, by in stems.items() if all(depth[n] < depth[name] for n in by if by[n])
            ]
            if member.input != source and not taxonomy.parts(member.input, earlier):
                return f"{name} takes {member.input} apart, which nobody gives; add {member.input}"
    return ""


def _unfit(weights: Mapping[str, Weight], blend: Blend) -> str:
    """Say why these cannot be the weights of a stem; empty if they can."""
    by_band = [weight for weight in weights.values() if isinstance(weight, tuple)]
    n_bands = len(blend.edges) + 1
    if wrong := [len(weight) for weight in by_band if len(weight) != n_bands]:
        return f"are of {wrong[0]} bands, the edges make {n_bands}; give one for each"
    each = [np.broadcast_to(weight, n_bands) for weight in weights.values()]
    for total in np.sum(each, axis=0) if each else [0.0]:
        if abs(total - 1) > 1e-6:
            return f"sum to {total:g}; make that 1"
    if blend.how != "mean" and (by_band or np.ptp(each) > 1e-6):
        return f"differ, but {blend.how} knows none; make them equal"
    return ""
