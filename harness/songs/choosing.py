"""Which separator to use for a user's music: the one named, otherwise the best that can run."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

from harness import registry
from harness.core import taxonomy
from harness.core.bands import Weight
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.registry import ENSEMBLE, Entry
from harness.registry.dataset_names import read_split
from harness.registry.weight_files import UNASKED, find, fits, is_here, to_fetch
from harness.results.grid import HARMONIC
from harness.separators import code_versions, lacking_package, obstacle, runs_own_code

FOUR = ("vocals", "drums", "bass", "other")
RANKED_BY = ("csdr", "musdb18hq:test")  # published scores that can be compared
BETTER = "'harness fetch separator' downloads better ones, which have published scores"
BACKING = taxonomy.TREE["accompaniment"]
# What separates an accompaniment, the best first: the means over real songs in docs/separate.md.
OF_ACCOMPANIMENT = ("scnet_small",)
SILENCE = 0.0  # dB, the score of an empty file: what an input of unknown score is taken for
Recipes = Mapping[str, Mapping[str, Weight]]  # {stem: {separator: weight}}
MARK = re.compile(r"separated by (?P<makers>.+); harness (?P<hash>[0-9a-f]{16})")


class Standing(IntEnum):
    """The kinds of reasons to use a separator; the scores behind different kinds do not compare."""

    BELOW = 0  # an ensemble whose held-out score is not above that of the unprocessed mixture
    UNTRAINED = 1
    RENDERED = 2  # trained on rendered music alone, or an ensemble without all stems chosen on it
    RENDERED_MIX = 3  # an ensemble with all stems, chosen on rendered music alone
    COMPLETED = 4  # trained on recordings; another separates its accompaniment
    RECORDED = 5  # trained on recordings; no comparable score is known
    PUBLISHED = 6  # has published scores
    SAVED = 7  # a saved ensemble without all stems
    SAVED_WHOLE = 8  # a saved ensemble, chosen on recordings


Rating = tuple[Standing, float, int, str]  # and score, turn (each more is better), the reason


@dataclass(frozen=True)
class Choice:
    """Which separator to use for which stems."""

    entry: Entry  # an ensemble, if only of one member and of those that separate its stems further
    stems: tuple[str, ...]  # to be written, in the names of `harness.core.taxonomy`
    words: str  # one line for people: which separators, which stems, and why
    caveat: str = ""  # one line on what was trained on synthetic music alone
    better: Entry | None = None  # has published scores, and only its weights are missing

    def mark(self, stems: Sequence[str]) -> str:
        """Return what the file of a stem, or of what several stems leave, says of its origin.

        It has the names of the separators and a hash of all that determines what they make. What a
        stem is given of the difference between the mixture and the sum of all stems is not counted.
        """
        chain: dict[str, Mapping[str, Weight]] = {}
        for stem in stems:
            chain |= _chain(self.entry, stem)
        names = list(dict.fromkeys(name for weights in chain.values() for name in weights))
        makers = {m.name: [m.identity(), code_versions(m)] for m in self.entry.members}
        blend = self.entry.blend
        content = [sorted(stems), chain, blend.how, blend.edges, {n: makers[n] for n in names}]
        text = " + ".join(names)
        if self.entry.name not in names:
            text = f"{self.entry.name} ({text})"
        return f"separated by {text}; harness {digest(content)[:16]}"


def _chain(entry: Entry, stem: str) -> dict[str, Mapping[str, Weight]]:
    """Return the weights behind a stem of an ensemble, after those behind what it is cut from."""
    recipes = entry.blend.stems
    own = {part: recipes[part] for part in taxonomy.parts(stem, recipes) or ()}
    used = {name for weights in own.values() for name in weights}
    inputs = {member.input for member in entry.members if member.name in used} - {entry.input}
    before: dict[str, Mapping[str, Weight]] = {}
    for source in sorted(inputs):
        before |= _chain(entry, source)
    return before | own


def choose(entries: Mapping[str, Entry], name: str = "", stems: Sequence[str] = ()) -> Choice:
    """Choose what separates a user's music: the separator named, otherwise the best that can run.

    The best of the separators that can run here has the highest `Standing`, then the best score of
    that kind, its mean over the stems: a held-out, published (`RANKED_BY`) or validation score. Of
    equal ensembles the last one saved is used, of equal separators the first of the registry.

    Stems that the separator lacks are separated from its accompaniment, drums or vocals: in the way
    of a saved ensemble if there is one, otherwise by a separator of these. A separator of the
    mixture may separate an accompaniment; all stems are then made to sum to the song. A separator
    that runs code of the user is used only if it is named, here or in a saved ensemble.

    By default `stems` are vocals, drums, bass and other, or all those of the separator named; of an
    ensemble those that are neither parts of drums or vocals nor sums of others.
    """
    wanted = tuple(dict.fromkeys(taxonomy.canonical(stem) for stem in stems))
    ready = [
        entry
        for entry in entries.values()
        if entry.role in ("separator", ENSEMBLE)
        and not obstacle(entry)
        and not runs_own_code(entry)
    ]
    base, standing, why = (
        (_named(name, entries), Standing.PUBLISHED, "") if name else _best(ready, wanted)
    )
    if base.members:
        why = "; ".join(filter(None, [why, registry.expected_score_text(base)]))
    fed = _of_accompaniment(base, ready)
    entries = {**entries, base.name: base, fed.name: fed} if fed else entries  # of the catalog too
    own = _own(base, fed)
    written = wanted or (FOUR if fed and not name else _default_stems(base))
    needed = _needed(written, base, own, ready, entries)
    params: dict[str, Any] = {"stems": needed}
    if fed and any(fed.name in weights for weights in needed.values()):
        whole = {s: own[s] for s in ("vocals", "accompaniment", *BACKING)}
        params = {"stems": {**whole, **needed}, "consistent": True}
    if base.members:
        params |= {key: getattr(base.blend, key) for key in ("how", "consistent", "edges")}
        if base.blend.consistent:  # the difference to the mixture is shared by all stems
            params["stems"] = {**base.blend.stems, **params["stems"]}
    entry = registry.ensemble(base.name, params, entries, input=base.input)
    return Choice(
        entry,
        tuple(taxonomy.in_order(written)),
        _words(entry, written, why),
        _caveat(entry),
        _missing(entries, written) if standing < Standing.PUBLISHED else None,
    )


def _named(name: str, entries: Mapping[str, Entry]) -> Entry:
    """Return the separator or ensemble of that name, if it can run."""
    entry = registry.find(entries, name)
    if entry.role not in ("separator", ENSEMBLE):
        raise HarnessError(f"--with {name}: is an {entry.role}; name a separator or an ensemble")
    if reason := obstacle(entry):
        raise HarnessError(f"--with {name}: {reason}")
    return entry


def _own(base: Entry, fed: Entry | None = None) -> Recipes:
    """Return the stems of a separator or an ensemble, with the weights of its members.

    `fed` makes drums, bass and other of its accompaniment.
    """
    if base.members:
        return base.blend.stems
    own = {stem: {base.name: 1.0} for stem in taxonomy.as_meant(base.stems).values()}
    return own | ({stem: {fed.name: 1.0} for stem in BACKING} if fed else {})


def _of_accompaniment(base: Entry, ready: Sequence[Entry]) -> Entry | None:
    """Return what separates the accompaniment that a separator of a mixture returns.

    It is None if `base` returns drums, bass and other itself. Separators of an accompaniment come
    first, then those of a mixture, with the accompaniment as their input.
    """
    made = set(taxonomy.as_meant(base.stems).values())
    if base.members or base.input != "mixture" or not {"vocals", "accompaniment"} <= made:
        return None
    if any(taxonomy.parts(stem, made) for stem in BACKING):
        return None
    able = [
        entry
        for entry in ready
        if entry.role == "separator"
        and entry.name != base.name
        and entry.input in ("mixture", "accompaniment")
        and all(_has(entry, stem) for stem in BACKING)
    ]
    if not able:
        return None

    def standing(entry: Entry) -> tuple[bool, float, bool, int]:
        order = OF_ACCOMPANIMENT
        place = order.index(entry.name) if entry.name in order else len(order)
        recorded = _trained_on_recordings(entry)
        return entry.input == "accompaniment", _published(entry, BACKING), recorded, -place

    return max(able, key=standing).model_copy(update={"input": "accompaniment"})


def _default_stems(base: Entry) -> tuple[str, ...]:
    """Return the stems to write if the user names none."""
    stems = list(_own(base))
    if base.members:
        stems = [s for s in stems if taxonomy.parent_level(s) == base.input] or stems
        stems = [s for s in stems if not taxonomy.parts(s, set(stems) - {s})]
    return tuple(stems)


def _needed(
    wanted: Sequence[str],
    base: Entry,
    own: Recipes,
    ready: Sequence[Entry],
    entries: Mapping[str, Entry],
) -> Recipes:
    """Return all stems to compute: those wanted, or their parts, and the stems they are cut from.

    The input of `base` is the song itself, which no separator has to make.
    """
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
        absent = (
            e
            for e in entries.values()
            if obstacle(e) and not e.unavailable and not lacking_package(e)
        )
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
    return bool(entry.weights) and not _rendered(entry.trained_on)


def _rendered(splits: Sequence[str] | None) -> bool:
    """Whether these are some data, and all of it is music that this project renders."""
    found = [read_split(text) for text in splits or ("unknown",)]
    return {split.dataset for split in found if not split.excluded} == {"demo"}


def _synthetic(entry: Entry) -> bool:
    """Whether a separator was trained, or an ensemble chosen, on rendered music alone.

    What an ensemble was chosen on counts; if nothing is stated, what its members were trained on.
    """
    if not entry.members or entry.blend.chosen_on:
        return _rendered(entry.blend.chosen_on if entry.members else entry.trained_on)
    trained = [member for member in entry.members if member.weights]
    return bool(trained) and all(map(_synthetic, trained))


def _has(entry: Entry, stem: str) -> bool:
    """Whether a separator makes a stem, or all its parts."""
    return bool(taxonomy.parts(stem, taxonomy.as_meant(entry.stems).values()))


def _best(ready: Sequence[Entry], wanted: Sequence[str]) -> tuple[Entry, Standing, str]:
    """Return the best separator of a mixture that can run, its standing, and the reason."""
    parents = {stem: taxonomy.parent_level(stem) for stem in wanted}
    roots = {stem if parent == "mixture" else parent for stem, parent in parents.items()}
    stems = sorted(roots) or list(FOUR)

    def completed(entry: Entry) -> bool:
        """Whether it was trained on recordings, and another separates its accompaniment."""
        fed = _of_accompaniment(entry, ready) if _trained_on_recordings(entry) else None
        return fed is not None and set(stems) <= {*FOUR, "accompaniment"}

    able = [
        entry
        for entry in ready
        if entry.input == "mixture"
        and (
            all(_has(entry, stem) for stem in roots or (() if entry.members else FOUR))
            or completed(entry)
        )
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
    rated = [(*_rating(entry, stems, i), entry) for i, entry in enumerate(able)]
    standing, *_, why, best = max(rated, key=lambda item: item[:3])
    return best, standing, why


def _rating(entry: Entry, stems: Sequence[str], turn: int) -> Rating:
    """Return how good a separator is, and why; the turn is its place in the registry."""
    whole = all(_has(entry, stem) for stem in stems)
    if entry.members:
        return _rating_of_saved(entry, stems if whole else _default_stems(entry), turn, whole)
    metric, where = RANKED_BY
    if np.isfinite(score := _published(entry, stems)):
        why = f"best published score of the separators here, {metric} of {score:.2f} dB on {where}"
        return Standing.PUBLISHED, score, -turn, why
    if not entry.weights:
        return Standing.UNTRAINED, score, -turn, f"the first method without training; {BETTER}"
    score = _mean(_on_card(entry), stems)
    if _synthetic(entry):
        said = "network"
        if np.isfinite(score):
            said = (
                f"best validation score of the networks here, SNR of {score:.2f} dB on such music"
            )
        return Standing.RENDERED, score, -turn, f"{said}; {BETTER}"
    if not whole:
        return Standing.COMPLETED, score, -turn, f"trained on recordings; {BETTER}"
    return Standing.RECORDED, score, -turn, "the first network here that was trained on recordings"


def _rating_of_saved(entry: Entry, stems: Sequence[str], turn: int, whole: bool) -> Rating:
    """Return the `_rating` of a saved ensemble; `whole`: whether it has all stems."""
    score, floor = _held_out(entry, stems), _of_mixture(entry, stems)
    why = "the ensemble saved last; no held-out score is known"
    if np.isfinite(score):
        value = f"{score:.2f}".replace("-", "−")
        why = f"best held-out score of the saved ensembles, {value} dB"
        if score <= floor:
            return (
                Standing.BELOW,
                score,
                turn,
                f"{why}, which is not above that of the unprocessed mixture",
            )
    if _synthetic(entry):
        return (
            (Standing.RENDERED_MIX if whole else Standing.RENDERED),
            score,
            turn,
            f"{why}; {BETTER}",
        )
    return (Standing.SAVED_WHOLE if whole else Standing.SAVED), score, turn, why


def _published(entry: Entry, stems: Sequence[str]) -> float:
    """Return the mean published score (`RANKED_BY`) over stems; minus infinity if unknown.

    That of a generative separator does not compare it with others.
    """
    found = (p.scores for p in entry.published if (p.metric, p.dataset) == RANKED_BY)
    return _mean({} if entry.generative else next(found, {}), stems)


def _missing(entries: Mapping[str, Entry], stems: Sequence[str]) -> Entry | None:
    """Return the separator with the best published score that lacks nothing but a download."""
    wanted = sorted({s if (p := taxonomy.parent_level(s)) == "mixture" else p for s in stems})
    able = [
        entry
        for entry in entries.values()
        if entry.role == "separator" and entry.input == "mixture"
        if not entry.unavailable and not lacking_package(entry)
        if (files := to_fetch([entry])) and fits(files, UNASKED)
        if all(file.urls or is_here(file) for file in entry.weights)
        if np.isfinite(_published(entry, wanted))
    ]
    return max(able, key=lambda entry: _published(entry, wanted), default=None)


def _held_out(entry: Entry, stems: Sequence[str]) -> float:
    """Return the mean held-out score of an ensemble over stems; minus infinity if unknown."""
    if entry.blend.metric not in ("", HARMONIC):
        return _mean({}, stems)  # scores by other metrics are not comparable
    return _mean({stem: held.score for stem, held in entry.blend.held_out.items()}, stems)


def _of_mixture(entry: Entry, stems: Sequence[str]) -> float:
    """Return the mean score of the unprocessed mixture beside the held-out ones, or `SILENCE`."""
    held = entry.blend.held_out.items()
    score = _mean({stem: one.mixture for stem, one in held if one.mixture is not None}, stems)
    return score if np.isfinite(score) else SILENCE


def _mean(scores: Mapping[str, float], stems: Sequence[str]) -> float:
    """Return the mean over stems or their parts; minus infinity if a score is missing."""
    parts = [taxonomy.parts(stem, scores) for stem in stems]
    if not parts or None in parts:
        return float("-inf")
    return float(np.mean([scores[part] for some in parts for part in some or ()]))


def _on_card(entry: Entry) -> dict[str, float]:
    """Return the validation scores on the cards beside an entry's weights, by stem.

    The weights of a separator inside the entry say nothing about the entry.
    """
    found: dict[str, float] = {}
    for file in () if entry.guide else entry.weights:
        with suppress(HarnessError, OSError, ValueError, TypeError, KeyError, AttributeError):
            card = json.loads(find(file.file).with_suffix(".card.json").read_bytes())
            found |= {str(stem): float(score) for stem, score in card["scores"].items()}
    return found


def _caveat(entry: Entry) -> str:
    """Return one line on the members that were trained on rendered music; empty without one."""
    names = [member.name for member in entry.members if _synthetic(member)]
    if not names:
        return ""
    return f"{', '.join(names)}: trained on synthetic music; stems of recordings are worse"


def _words(entry: Entry, written: Sequence[str], why: str) -> str:
    """Return one line on what separates which stems, and why."""
    first = [m.name for m in entry.members if m.input == entry.input]
    text = entry.name if first == [entry.name] else f"{entry.name} ({', '.join(first)})"
    for member in (m for m in entry.members if m.input != entry.input):
        text += f", then {member.name} for the {member.input}"
    if entry.input != "mixture":
        text += f", which expects songs that consist of {entry.input} only"
    return f"{text}: {', '.join(taxonomy.in_order(written))}" + (f" ({why})" if why else "")
