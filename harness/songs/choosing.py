"""Which separator to use for a user's music: the one named, otherwise the best that can run."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness import registry
from harness.core import taxonomy
from harness.core.bands import Weight
from harness.core.errors import HarnessError
from harness.registry import ENSEMBLE, Entry
from harness.registry.dataset_names import read_split
from harness.registry.weight_files import find, obstacle
from harness.separators import runs_own_code

FOUR = ("vocals", "drums", "bass", "other")
RANKED_BY = ("csdr", "musdb18hq:test")  # published scores that can be compared
BETTER = "'harness fetch separator' downloads better ones, which have published scores"
Recipes = Mapping[str, Mapping[str, Weight]]  # {stem: {separator: weight}}


@dataclass(frozen=True)
class Choice:
    """Which separator to use for which stems."""

    entry: Entry  # an ensemble, if only of one member and of those that separate its stems further
    stems: tuple[str, ...]  # to be written, in the names of `harness.core.taxonomy`
    words: str  # one line for people: which separators, which stems, and why


def choose(entries: Mapping[str, Entry], name: str = "", stems: Sequence[str] = ()) -> Choice:
    """Choose what separates a user's music: the separator named, otherwise the best that can run.

    Of the separators that can run here, the best is, in this order: the saved ensemble with the
    best held-out score (ensembles with all four stems first; of equals the last one saved); the
    separator with the best published score (`RANKED_BY`, mean over the stems); one with weights but
    without a known score; the network with the best validation score on its card; the first of the
    registry. Stems that it lacks are separated from its drums or vocals: in the way of a saved
    ensemble if there is one, otherwise by a separator of drums or vocals. A separator that runs
    code of the user is used only if it is named, here or in a saved ensemble.

    By default `stems` are all those of a separator; of an ensemble those that are neither parts of
    drums or vocals nor sums of others.
    """
    wanted = tuple(dict.fromkeys(taxonomy.canonical(stem) for stem in stems))
    ready = [
        entry
        for entry in entries.values()
        if entry.role in ("separator", ENSEMBLE)
        and not obstacle(entry)
        and not runs_own_code(entry)
    ]
    base, why = (_named(name, entries), "") if name else _best(ready, wanted)
    if base.members:
        why = "; ".join(filter(None, [why, registry.expected_score_text(base)]))
    written = wanted or _default_stems(base)
    params: dict[str, Any] = {"stems": _needed(written, base, ready, entries)}
    if base.members:
        params |= {key: getattr(base.blend, key) for key in ("how", "consistent", "edges")}
        if base.blend.consistent:  # the difference to the mixture is shared by all stems
            params["stems"] = {**base.blend.stems, **params["stems"]}
    entry = registry.ensemble(base.name, params, entries, input=base.input)
    return Choice(entry, tuple(taxonomy.in_order(written)), _words(entry, written, why))


def _named(name: str, entries: Mapping[str, Entry]) -> Entry:
    """Return the separator or ensemble of that name, if it can run."""
    entry = registry.find(entries, name)
    if entry.role not in ("separator", ENSEMBLE):
        raise HarnessError(f"--with {name}: is an {entry.role}; name a separator or an ensemble")
    if reason := obstacle(entry):
        raise HarnessError(f"--with {name}: {reason}")
    return entry


def _own(base: Entry) -> Recipes:
    """Return the stems of a separator or an ensemble, with the weights of its members."""
    if base.members:
        return base.blend.stems
    return {stem: {base.name: 1.0} for stem in taxonomy.as_meant(base.stems).values()}


def _default_stems(base: Entry) -> tuple[str, ...]:
    """Return the stems to write if the user names none."""
    stems = list(_own(base))
    if base.members:
        stems = [s for s in stems if taxonomy.parent_level(s) == base.input] or stems
        stems = [s for s in stems if not taxonomy.parts(s, set(stems) - {s})]
    return tuple(stems)


def _needed(
    wanted: Sequence[str], base: Entry, ready: Sequence[Entry], entries: Mapping[str, Entry]
) -> Recipes:
    """Return all stems to compute: those wanted, or their parts, and the stems they are cut from.

    The input of `base` is the song itself, which no separator has to make.
    """
    own = _own(base)
    needed: dict[str, Mapping[str, Weight]] = {}

    def add(stem: str) -> None:
        if stem in needed:
            return
        if stem not in own and (parts := taxonomy.parts(stem, own)):
            for part in parts:
                add(part)
            return
        needed[stem] = own[stem] if stem in own else _further(stem, own, ready, entries)
        for name in needed[stem]:
            source = entries[name].input
            made = source != base.input and taxonomy.parts(source, own)
            if made and source in taxonomy.ancestors(stem):
                add(source)

    for stem in wanted:
        add(stem)
    return needed


def _further(
    stem: str, own: Recipes, ready: Sequence[Entry], entries: Mapping[str, Entry]
) -> Mapping[str, Weight]:
    """Return what separates a stem from one of `own`: saved weights, otherwise one separator."""

    def fits(weights: Mapping[str, Weight]) -> bool:
        sources = {entries[name].input for name in weights}
        return sources <= set(taxonomy.ancestors(stem)) and all(
            taxonomy.parts(source, own) for source in sources
        )

    saved = [
        (_held_out(entry, [stem]), weights)
        for entry in ready
        if entry.members
        and (weights := entry.blend.stems.get(stem))
        and fits(weights)
        and (entry.blend.how == "mean" or len(weights) == 1)
        and not entry.blend.edges
    ]
    if saved:
        return max(saved, key=lambda pair: pair[0])[1]
    able = [e for e in ready if e.role == "separator" and _has(e, stem) and fits({e.name: 1.0})]
    if not able:
        absent = (e for e in entries.values() if obstacle(e) and not e.unavailable)
        lacking = [entry.name for entry in absent if _has(entry, stem)]
        more = f", or run harness fetch separator {lacking[0]}" if lacking else ""
        raise HarnessError(
            f"--stems {stem}: no ready separator returns it; {_near(stem, own)}{more}"
        )
    return {max(able, key=_trained_on_recordings).name: 1.0}


def _near(stem: str, made: Collection[str]) -> str:
    """Return which stem may have been meant, and all that there are."""
    return registry.suggestion(stem, made, most=len(made))


def _trained_on_recordings(entry: Entry) -> bool:
    """Whether a separator was trained on recordings.

    For drums and voices, networks trained on demo music alone are worse on recordings than methods
    without training.
    """
    datasets = {read_split(text).dataset for text in entry.trained_on or ("unknown",)}
    return bool(entry.weights) and datasets != {"demo"}


def _has(entry: Entry, stem: str) -> bool:
    """Whether a separator makes a stem, or all its parts."""
    return bool(taxonomy.parts(stem, taxonomy.as_meant(entry.stems).values()))


def _best(ready: Sequence[Entry], wanted: Sequence[str]) -> tuple[Entry, str]:
    """Return the best separator of a mixture that can run, and the reason."""
    parents = {stem: taxonomy.parent_level(stem) for stem in wanted}
    roots = {stem if parent == "mixture" else parent for stem, parent in parents.items()}
    able = [
        entry
        for entry in ready
        if entry.input == "mixture"
        and all(_has(entry, stem) for stem in roots or (() if entry.members else FOUR))
    ]
    if not able:
        made = {stem for entry in ready for stem in (*_own(entry), *taxonomy.STEMS)}
        made = {stem for stem in made if any(_has(entry, stem) for entry in ready)}
        if unknown := [stem for stem in wanted if stem not in made]:
            raise HarnessError(
                f"--stems {unknown[0]}: no ready separator returns it; {_near(unknown[0], made)}"
            )
        raise HarnessError(
            f"--stems {', '.join(wanted)}: no ready separator returns them all; name fewer stems"
        )
    rated = [(*_rating(entry, sorted(roots) or FOUR, i), entry) for i, entry in enumerate(able)]
    *_, why, best = max(rated, key=lambda item: item[:3])
    return best, why


def _rating(entry: Entry, stems: Sequence[str], turn: int) -> tuple[int, float, int, str]:
    """Return tier, score and turn of a separator, of which larger is better, and the reason.

    The turn is the place in the registry; it decides between equals.
    """
    if entry.members:
        whole = all(_has(entry, stem) for stem in stems)
        score = _held_out(entry, stems if whole else _default_stems(entry))
        why = "the ensemble saved last; no held-out score is known"
        if np.isfinite(score):
            value = f"{score:.2f}".replace("-", "−")
            why = f"best held-out score of the saved ensembles, {value} dB"
        return 4 + whole, score, turn, why
    metric, where = RANKED_BY
    published = (p.scores for p in entry.published if (p.metric, p.dataset) == RANKED_BY)
    if np.isfinite(score := _mean(next(published, {}), stems)):
        why = f"best published score of the separators here, {metric} of {score:.2f} dB on {where}"
        return 3, score, -turn, why
    if not entry.weights:
        return 0, score, -turn, f"the first method without training; {BETTER}"
    if np.isfinite(score := _mean(_on_card(entry), stems)):
        why = f"best validation score of the networks here, SNR of {score:.2f} dB; {BETTER}"
        return 1, score, -turn, why
    return 2, score, -turn, "the first network with weights here"


def _held_out(entry: Entry, stems: Sequence[str]) -> float:
    """Return the mean held-out score of an ensemble over stems; minus infinity if unknown."""
    return _mean({stem: held.score for stem, held in entry.blend.held_out.items()}, stems)


def _mean(scores: Mapping[str, float], stems: Sequence[str]) -> float:
    """Return the mean over stems or their parts; minus infinity if a score is missing."""
    parts = [taxonomy.parts(stem, scores) for stem in stems]
    if not parts or None in parts:
        return float("-inf")
    return float(np.mean([scores[part] for some in parts for part in some or ()]))


def _on_card(entry: Entry) -> dict[str, float]:
    """Return the validation scores on the cards beside an entry's weights, by stem."""
    found: dict[str, float] = {}
    for file in entry.weights:
        with suppress(HarnessError, OSError, ValueError, TypeError, KeyError, AttributeError):
            card = json.loads(find(file.file).with_suffix(".card.json").read_bytes())
            found |= {str(stem): float(score) for stem, score in card["scores"].items()}
    return found


def _words(entry: Entry, written: Sequence[str], why: str) -> str:
    """Return one line on what separates which stems, and why."""
    first = [m.name for m in entry.members if m.input == entry.input]
    text = entry.name if first == [entry.name] else f"{entry.name} ({', '.join(first)})"
    for member in (m for m in entry.members if m.input != entry.input):
        text += f", then {member.name} for the {member.input}"
    if entry.input != "mixture":
        text += f", which expects songs that consist of {entry.input} only"
    return f"{text}: {', '.join(taxonomy.in_order(written))}" + (f" ({why})" if why else "")
