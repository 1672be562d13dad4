"""Ensembles: rows that combine other rows, the fields that follow from them, and descriptions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from harness.core import taxonomy
from harness.core.bands import Weight, in_words
from harness.core.errors import HarnessError
from harness.core.text import count, decimals
from harness.registry.dataset_names import together
from harness.registry.entries import (
    ENSEMBLE,
    FILE_NAME,
    GUIDED,
    EnsembleParams,
    Entry,
    License,
    checked,
    complaint,
    suggestion,
)

FROM_MEMBERS = {"stems", "sample_rate", "channels", "weights", "trained_on", "unavailable"}
OWN_OF_GUIDED = {"stems", "sample_rate", "channels"}


def ensemble(
    name: str, params: Mapping[str, Any], entries: Mapping[str, Entry], **fields: Any
) -> Entry:
    """Return the entry of an ensemble; `params` are `EnsembleParams`, `fields` those of `Entry`."""
    row = {"family": ENSEMBLE, "role": ENSEMBLE, "params": dict(params), **fields}
    return with_members(checked(name, row, Path(FILE_NAME)), entries, Path(FILE_NAME))


def with_members(entry: Entry, entries: Mapping[str, Entry], path: Path) -> Entry:
    """Return an ensemble with its members and the fields that follow from them; others unchanged.

    The music on which it was chosen counts as training data: its score there says nothing about
    other music.
    """
    if entry.family != ENSEMBLE:
        return entry
    where = f"{path}: {entry.name}"
    if given := sorted(FROM_MEMBERS & entry.model_fields_set):
        raise HarnessError(f"{where}: {given[0]} of an ensemble comes from its members; remove it")
    try:
        params = entry.blend
    except ValidationError as error:
        raise complaint(error, f"{where}: params.", [*EnsembleParams.model_fields]) from error
    members = _members(params, entries, where)
    if problem := _misfit(params, entry.input, members):
        raise HarnessError(f"{where}: {problem}")
    found = entry.model_copy(update=_from_members(params, [*members.values()]))
    found._members = tuple(members.values())
    return found


def with_guide(entry: Entry, entries: Mapping[str, Entry], path: Path) -> Entry:
    """Return an entry with the separator that its `network` names; others unchanged.

    Its weights, licenses and training data are those of that separator.
    """
    if entry.family != GUIDED:
        return entry
    where = f"{path}: {entry.name}"
    if given := sorted((FROM_MEMBERS - OWN_OF_GUIDED) & entry.model_fields_set):
        raise HarnessError(f"{where}: {given[0]} comes from its network; remove it")
    name = entry.params.get("network")
    guide = entries[name] if isinstance(name, str) and name in entries else None
    if guide is None or not _may_guide(guide, entry.input):
        known = [n for n, other in entries.items() if _may_guide(other, entry.input)]
        raise HarnessError(
            f"{where}: network {name!r} is no separator of the {entry.input} that returns vocals; "
            f"{suggestion(str(name), known)}"
        )
    inherited = {key: getattr(guide, key) for key in ("weights", "trained_on", "unavailable")}
    terms = License(code=entry.license.code, weights=guide.license.weights)
    found = entry.model_copy(update={**inherited, "license": terms})
    found._guide = guide
    return found


def _may_guide(entry: Entry, source: str) -> bool:
    named = taxonomy.as_meant(entry.stems).values()
    return (
        _may_be_member(entry)
        and entry.family != GUIDED
        and entry.input == source
        and bool(taxonomy.parts("vocals", named))
    )


def describe_saved(entry: Entry) -> str:
    """Return the members of each stem of a saved ensemble, and its expected score."""
    stems = entry.blend.stems.items()
    members = "; ".join(f"{stem}: {_formula(entry.blend.how, by)}" for stem, by in stems)
    return "\n".join(filter(None, [f"saved: {entry.name}, {members}", expected_score_text(entry)]))


def expected_score_text(entry: Entry) -> str:
    """Return what an ensemble was chosen on, and its held-out scores; empty if neither is known."""
    params, texts = entry.blend, []
    if params.chosen_on:
        numbers = (params.tracks, "track"), (params.artists, "artist")
        size = ", ".join(count(n, what) for n, what in numbers if n)
        texts.append(f"chosen on {', '.join(params.chosen_on)}" + (f" ({size})" if size else ""))
    scores = []
    for stem in taxonomy.in_order(params.held_out):
        held = params.held_out[stem]
        interval = "" if held.low is None else f" ({decimals(held.low)} to {decimals(held.high)})"
        scores.append(f"{stem} {decimals(held.score)} dB{interval}")
    by = f" by {params.metric}" if params.metric not in ("", "harmonic_mean") else ""
    texts += [f"held out{by} {', '.join(scores)}"] if scores else []
    return "; ".join(texts)


def _formula(how: str, weights: Mapping[str, Weight]) -> str:
    """Return how a stem is computed from members, such as ``0.7 scnet + 0.3 htdemucs``."""
    used = {name: weight for name, weight in weights.items() if weight}
    if how != "mean" and len(used) > 1:
        return f"{how} of {', '.join(used)}"
    return " + ".join(n if w == 1 else f"{in_words(w)} {n}" for n, w in used.items())


def _members(params: EnsembleParams, entries: Mapping[str, Entry], where: str) -> dict[str, Entry]:
    """Return the entries that have a weight in some stem."""
    names = dict.fromkeys(n for by in params.stems.values() for n, weight in by.items() if weight)
    found = {name: entries[name] for name in names if name in entries}
    for name in names:
        if name not in found or not _may_be_member(found[name]):
            known = [n for n, entry in entries.items() if _may_be_member(entry)]
            raise HarnessError(f"{where}: no separator {name!r}; {suggestion(name, known)}")
    return found


def _may_be_member(entry: Entry) -> bool:
    return entry.role == "separator" and entry.family != ENSEMBLE


def _from_members(params: EnsembleParams, members: list[Entry]) -> dict[str, Any]:
    """Return the fields of an ensemble that follow from its members."""
    trained_on = [member.trained_on for member in members]
    known = [splits for splits in trained_on if splits is not None]
    terms = [member.license.weights for member in members]
    return {
        "role": ENSEMBLE,
        "stems": tuple(taxonomy.in_order(params.stems)),
        "weights": tuple(dict.fromkeys(file for m in members for file in m.weights)),
        "trained_on": None if None in trained_on else together([*known, params.chosen_on]),
        "license": License(
            code=", ".join(dict.fromkeys(m.license.code for m in members)),
            weights=", ".join(dict.fromkeys(filter(None, terms))) or None,
        ),
        "unavailable": next((f"{m.name}: {m.unavailable}" for m in members if m.unavailable), ""),
    }


def _misfit(params: EnsembleParams, source: str, members: Mapping[str, Entry]) -> str:
    """Return why the members cannot make the stems; empty if they can.

    A member separates the input of the ensemble, or a stem that the ensemble makes earlier: from
    members whose input is higher in the tree.
    """
    stems = params.stems
    if not stems:
        return "has no stems; give {stem: {separator: weight}}"
    if "cymbals" in stems and "hihat" not in stems:
        return "has cymbals without hihat; use hihat_cymbals, which includes both, or give both"
    if params.consistent and not taxonomy.parts(source, set(stems) - {source}):
        return f"is consistent, but {', '.join(stems)} do not sum to the {source}; add stems"
    if sorted(set(params.edges)) != list(params.edges):
        return f"edges {list(params.edges)} are not in increasing order; sort them"
    for stem, weights in stems.items():
        if problem := _bad_weights(weights, params):
            return f"weights of {stem} {problem}"
        for name in (n for n, weight in weights.items() if weight):
            if problem := _bad_member(stem, name, params, source, members):
                return problem
    return ""


def _bad_member(
    stem: str, name: str, params: EnsembleParams, source: str, members: Mapping[str, Entry]
) -> str:
    """Return why a member cannot make a stem; empty if it can."""
    member = members[name]
    own = taxonomy.as_meant(member.stems).values()
    if not taxonomy.parts(stem, own):
        return f"{name} has no {stem}, only {', '.join(own)}; correct the stem"
    if member.input != source and member.input not in taxonomy.ancestors(stem):
        return f"{name} separates {member.input}, of which {stem} is no part; correct the stem"
    depth = {n: len(taxonomy.ancestors(m.input)) for n, m in members.items()}
    earlier = [
        s for s, by in params.stems.items() if all(depth[n] < depth[name] for n in by if by[n])
    ]
    if member.input != source and not taxonomy.parts(member.input, earlier):
        return f"{name} separates {member.input}, which no member returns; add {member.input}"
    return ""


def _bad_weights(weights: Mapping[str, Weight], params: EnsembleParams) -> str:
    """Return why these cannot be the weights of a stem; empty if they can."""
    by_band = [weight for weight in weights.values() if isinstance(weight, tuple)]
    n_bands = len(params.edges) + 1
    if wrong := [len(weight) for weight in by_band if len(weight) != n_bands]:
        return f"are for {wrong[0]} bands, but the edges make {n_bands}; give one per band"
    each = [np.broadcast_to(weight, n_bands) for weight in weights.values()]
    for total in np.sum(each, axis=0) if each else [0.0]:
        if abs(total - 1) > 1e-6:
            return f"sum to {total:g}; they must sum to 1"
    if params.how != "mean" and (by_band or np.ptp(each) > 1e-6):
        return f"differ, but {params.how} has no weights; make them equal"
    return ""
