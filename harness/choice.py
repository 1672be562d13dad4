"""Which separator takes a user's music apart: the one named, else the best that can run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from harness import registry, taxonomy
from harness.bands import Weight, in_words
from harness.errors import HarnessError
from harness.registry import ENSEMBLE, Entry
from harness.weight_files import find, obstacle

FOUR = ("vocals", "drums", "bass", "other")
RANKED_BY = ("csdr", "musdb18hq:test")  # published scores that can be compared
BETTER = "'harness fetch separator' gets better ones, with published scores"


@dataclass(frozen=True)
class Choice:
    """Which separator to use for which stems.

    Attributes
    ----------
    entry
        An ensemble, if only of one member and what takes its stems further apart.
    stems
        What is written, in the names of `harness.taxonomy`.
    words
        One line for people: who separates what, and why that one.
    """

    entry: Entry
    stems: tuple[str, ...]
    words: str


class Standing(NamedTuple):
    """How good a separator is by what is known of it; more is better, from the left."""

    tier: int
    score: float
    turn: int
    why: str


def choose(entries: Mapping[str, Entry], name: str = "", stems: Sequence[str] = ()) -> Choice:
    """Choose what separates a user's music: the separator named, else the best that can run.

    The best is, of those that are here: the saved ensemble with the best held-out score (one that
    gives all four stems before others, of equals the last); the separator with the best published
    score (`RANKED_BY`, mean over the stems); one with weights of which no score is known; the
    network with the best validation score on its card; the first of the registry. Stems that it
    does not give are taken from its drums or vocals: as a saved ensemble does, else by a separator
    of these.

    Parameters
    ----------
    entries
        The registry.
    name
        Of the separator or ensemble wanted.
    stems
        What is wanted; by default what a separator gives, or the stems of an ensemble but for those
        of drums and vocals and those that are sums of the others.

    Raises
    ------
    HarnessError
        If it cannot run, or nothing here gives a stem.
    """
    wanted = tuple(dict.fromkeys(taxonomy.canonical(stem) for stem in stems))
    ready = [e for e in entries.values() if not obstacle(e) and e.role in ("separator", ENSEMBLE)]
    if name:
        base, why = registry.find(entries, name), ""
        if base.role not in ("separator", ENSEMBLE):
            raise HarnessError(f"--with {name}: is an {base.role}; name a separator or an ensemble")
        if reason := obstacle(base):
            raise HarnessError(f"--with {name}: {reason}")
    else:
        base, why = _best(ready, wanted)
    if base.members:
        why = "; ".join(filter(None, [why, worth_in_words(base)]))
    written = wanted or _usual(base)
    needed: dict[str, Mapping[str, Weight]] = {}
    for stem in written:
        _need(stem, _own(base), ready, entries, needed, given=base.input)
    params: dict[str, Any] = {"stems": needed}
    if base.members:
        same = "how", "consistent", "edges"
        params |= {name: getattr(base.blend, name) for name in same}
    if base.members and base.blend.consistent:
        params["stems"] = {**base.blend.stems, **needed}  # what is left is shared by all
    entry = registry.ensemble(base.name, params, entries, input=base.input)
    return Choice(entry, tuple(taxonomy.in_order(written)), _words(entry, written, why))


def said_when_saved(entry: Entry) -> str:
    """Say what an ensemble takes for each stem, and what is known of it."""
    members = "; ".join(
        f"{stem}: {_made(entry.blend.how, by)}" for stem, by in entry.blend.stems.items()
    )
    return "\n".join(filter(None, [f"saved: {entry.name}, {members}", worth_in_words(entry)]))


def _made(how: str, weights: Mapping[str, Weight]) -> str:
    """Say what a stem is made of; only a mean asks for weights."""
    used = {name: weight for name, weight in weights.items() if weight}
    if how != "mean" and len(used) > 1:
        return f"{how} of {', '.join(used)}"
    return " + ".join(n if w == 1 else f"{in_words(w)} {n}" for n, w in used.items())


def worth_in_words(entry: Entry) -> str:
    """Say on what an ensemble was chosen, and what it scores on other music."""
    blend, said = entry.blend, []
    if blend.chosen_on:
        numbers = (blend.tracks, "track"), (blend.artists, "artist")
        count = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in numbers if n)
        count = f" ({count})" if count else ""
        said.append(f"chosen on {', '.join(blend.chosen_on)}{count}")
    scores = []
    for stem in taxonomy.in_order(blend.held_out):
        held = blend.held_out[stem]
        ends = "" if held.low is None else f" ({held.low:.2f} to {held.high:.2f})"
        scores.append(f"{stem} {held.score:.2f} dB{ends}".replace("-", "−"))
    said += [f"held out {', '.join(scores)}"] if scores else []
    return "; ".join(said)


def _own(base: Entry) -> dict[str, Mapping[str, Weight]]:
    """Return the stems of a separator or an ensemble, with the weights of its members."""
    if base.members:
        return dict(base.blend.stems)
    return {stem: {base.name: 1.0} for stem in taxonomy.as_meant(base.stems).values()}


def _usual(base: Entry) -> tuple[str, ...]:
    """Return what is written where nobody says what is wanted."""
    stems = list(_own(base))
    if base.members:
        stems = [s for s in stems if taxonomy.parent_level(s) == base.input] or stems
        stems = [s for s in stems if not taxonomy.parts(s, set(stems) - {s})]
    return tuple(stems)


def _need(
    stem: str,
    own: Mapping[str, Mapping[str, Weight]],
    ready: Sequence[Entry],
    entries: Mapping[str, Entry],
    needed: dict[str, Mapping[str, Weight]],
    *,
    given: str,
) -> None:
    """Add to `needed` what makes a stem: itself, its parts, or who takes apart what holds it.

    `given` is what the song is, which nobody has to make.
    """
    if stem in needed:
        return
    if stem in own:
        needed[stem] = own[stem]
    elif parts := taxonomy.parts(stem, own):
        for part in parts:
            _need(part, own, ready, entries, needed, given=given)
        return
    else:
        needed[stem] = _further(stem, own, ready, entries)
    for name in needed[stem]:
        source = entries[name].input
        known = source != given and taxonomy.parts(source, own)
        if known and source in taxonomy.ancestors(stem):
            _need(source, own, ready, entries, needed, given=given)


def _further(
    stem: str,
    own: Mapping[str, Mapping[str, Weight]],
    ready: Sequence[Entry],
    entries: Mapping[str, Entry],
) -> Mapping[str, Weight]:
    """Return who takes a stem out of one that there is: as an ensemble was chosen, else anyone."""

    def fits(weights: Mapping[str, Weight]) -> bool:
        sources = {entries[name].input for name in weights}
        return sources <= set(taxonomy.ancestors(stem)) and all(
            taxonomy.parts(source, own) for source in sources
        )

    chosen = [
        (_held_out(entry, [stem]), weights)
        for entry in ready
        if entry.members
        and (weights := entry.blend.stems.get(stem))
        and fits(weights)
        and (entry.blend.how == "mean" or len(weights) == 1)
        and not entry.blend.edges
    ]
    if chosen:
        return max(chosen, key=lambda pair: pair[0])[1]
    able = [e for e in ready if e.role == "separator" and _gives(e, stem) and fits({e.name: 1.0})]
    if not able:
        known = (e for e in entries.values() if obstacle(e) and not e.unavailable)
        lacking = [entry.name for entry in known if _gives(entry, stem)]
        more = f", or harness fetch separator {lacking[0]}" if lacking else ""
        raise HarnessError(
            f"--stems {stem}: nothing here gives it; there are {', '.join(own)}{more}"
        )
    return {max(able, key=_knows_recordings).name: 1.0}


def _knows_recordings(entry: Entry) -> bool:
    """Whether a separator learned from recordings.

    What demo music alone taught of drums and voices is worse on recordings than what nobody taught.
    """
    taught = entry.trained_on or ("unknown",)
    return bool(entry.weights) and not all(split.startswith("demo:") for split in taught)


def _gives(entry: Entry, stem: str) -> bool:
    """Whether a separator gives a stem, or all its parts."""
    return bool(taxonomy.parts(stem, taxonomy.as_meant(entry.stems).values()))


def _best(ready: Sequence[Entry], wanted: Sequence[str]) -> tuple[Entry, str]:
    """Return the best separator of a mixture that can run, and why it is."""
    roots = {
        stem if taxonomy.parent_level(stem) == "mixture" else taxonomy.parent_level(stem)
        for stem in wanted
    }
    able = [
        entry
        for entry in ready
        if entry.input == "mixture"
        and all(_gives(entry, stem) for stem in roots or (() if entry.members else FOUR))
    ]
    if not able:
        raise HarnessError(f"--stems {', '.join(wanted)}: no separator here gives them together")
    standings = [_standing(entry, sorted(roots) or FOUR, i) for i, entry in enumerate(able)]
    best = max(range(len(able)), key=lambda i: standings[i][:3])
    return able[best], standings[best].why


def _standing(entry: Entry, stems: Sequence[str], turn: int) -> Standing:
    """Return how good a separator is for stems, in which turn of equals, and by what."""
    if entry.members:
        whole = all(_gives(entry, stem) for stem in stems)
        score = _held_out(entry, stems if whole else _usual(entry))
        value = f"{score:.2f}".replace("-", "−")
        said = f"best held-out score of the saved ensembles, {value} dB"
        said = said if np.isfinite(score) else "the ensemble saved last; no held-out score of it"
        return Standing(4 + whole, score, turn, said)
    metric, where = RANKED_BY
    found = (p.scores for p in entry.published if (p.metric, p.dataset) == RANKED_BY)
    if np.isfinite(score := _mean(next(found, {}), stems)):
        said = f"best published score of those here, {metric} of {score:.2f} dB on {where}"
        return Standing(3, score, -turn, said)
    if not entry.weights:
        return Standing(0, score, -turn, f"the first without training; {BETTER}")
    if np.isfinite(score := _mean(_on_card(entry), stems)):
        said = f"best validation score of the networks here, SNR of {score:.2f} dB; {BETTER}"
        return Standing(1, score, -turn, said)
    return Standing(2, score, -turn, "the first network whose weights are here")


def _held_out(entry: Entry, stems: Sequence[str]) -> float:
    """Return the mean held-out score of an ensemble over stems; minus infinity without one."""
    return _mean({stem: held.score for stem, held in entry.blend.held_out.items()}, stems)


def _mean(scores: Mapping[str, float], stems: Sequence[str]) -> float:
    """Return the mean over stems, or over what they are made of; minus infinity without one."""
    parts = [taxonomy.parts(stem, scores) for stem in stems]
    if not parts or None in parts:
        return float("-inf")
    return float(np.mean([scores[part] for some in parts for part in some or ()]))


def _on_card(entry: Entry) -> dict[str, float]:
    """Return the validation scores of the cards beside an entry's weights, by stem."""
    found: dict[str, float] = {}
    for file in entry.weights:
        with suppress(HarnessError, OSError, ValueError, TypeError, KeyError, AttributeError):
            card = json.loads(find(file.file).with_suffix(".card.json").read_bytes())
            found |= {str(stem): float(score) for stem, score in card["scores"].items()}
    return found


def _words(entry: Entry, written: Sequence[str], why: str) -> str:
    """Say in one line who separates what, and why."""
    whole = [m.name for m in entry.members if m.input == entry.input]
    said = entry.name if whole == [entry.name] else f"{entry.name} ({', '.join(whole)})"
    for member in (m for m in entry.members if m.input != entry.input):
        said += f", then {member.name} for the {member.input}"
    if entry.input != "mixture":
        said += f", which takes songs to be {entry.input}"
    return f"{said}: {', '.join(taxonomy.in_order(written))}" + (f" ({why})" if why else "")
