"""Labels of metrics, stems, inputs and roles on the page, and their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from harness.core.taxonomy import STEMS
from harness.metrics import DEFAULT, OPTIONAL
from harness.metrics import METRICS as RECORDS
from harness.results.grid import HARMONIC
from harness.results.ranking import OVERALL, level

COSTS = ("rtf", "peak_memory", "parameters")  # that have a column
METRICS = (HARMONIC, *dict.fromkeys((*DEFAULT, *OPTIONAL)))
HARMONIC_LABEL = "SNR–SDR mean"
HARMONIC_DEFINITION = (
    "harmonic mean 2ab/(a+b) of SNR and SDR where both are positive, the smaller of the two where "
    "not; what separators are selected by"
)
ROLES = {
    "separator": "Separators",
    "ensemble": "Ensembles (not ranked)",
    "generative": "Generative separators: SDR says little about them (not ranked)",
    "oracle": "Oracles: they use the true stems (not ranked)",
    "anchor": "Anchors: trivial baselines (not ranked)",
}
LEVELS = {
    "main": "Stems",
    "vocals": "Sub-stems of vocals",
    "drums": "Sub-stems of drums",
    "other": "Sub-stems of other",
}


def metric_label(name: str) -> str:
    """Return the label of a metric.

    Examples
    --------
    >>> metric_label("si_sdr"), metric_label("loudness_error")
    ('SI-SDR', 'loudness error')
    """
    if name == HARMONIC:
        return HARMONIC_LABEL
    return RECORDS[name].label if name in RECORDS else name.replace("_", " ")


def stem_label(stem: str) -> str:
    """Return the label of a stem.

    Examples
    --------
    >>> stem_label("lead_male"), stem_label("overall:drums")
    ('lead male', 'overall')
    """
    return stem.partition(":")[0].replace("_", " ")


def input_label(source: str) -> str:
    """Return the label of a separator's input.

    Examples
    --------
    >>> input_label("reference:drums"), input_label("cascade:htdemucs:drums")
    ('from the true drums', 'from drums by htdemucs')
    """
    kind, _, rest = source.partition(":")
    separator, _, stem = rest.rpartition(":")
    if kind == "reference":
        return f"from the true {stem_label(rest)}"
    return f"from {stem_label(stem)} by {separator}" if kind == "cascade" else f"from the {kind}"


def with_input(words: str, source: str) -> str:
    """Return a text followed by the input, if that is not the mixture."""
    return words if source == "mixture" else f"{words}, {input_label(source)}"


def input_rank(source: str) -> tuple[int, str]:
    """Return the sort key of inputs: the mixture, true stems, then other separators' stems.

    Examples
    --------
    >>> sorted(["cascade:a:drums", "mixture", "reference:drums"], key=input_rank)
    ['mixture', 'reference:drums', 'cascade:a:drums']
    """
    kinds = ("mixture", "reference", "cascade")
    kind = source.partition(":")[0]
    return kinds.index(kind) if kind in kinds else len(kinds), source


def stem_rank(stem: str) -> tuple[int, int, str]:
    """Return the sort key of stems: level, place within it (overall last), name.

    Examples
    --------
    >>> sorted(["kick", "overall", "theremin", "bass"], key=stem_rank)
    ['bass', 'theremin', 'overall', 'kick']
    """
    place = STEMS.index(stem) if stem in STEMS else len(STEMS) + is_overall(stem)
    return list(LEVELS).index(level(stem)), place, stem


def is_overall(stem: str) -> bool:
    """Return whether this is the mean over a level's stems instead of a stem."""
    return stem.startswith(OVERALL)


def of_tracks(places: Collection[tuple[str, str]]) -> list[str]:
    """Return the name of each (split, track), with its split where two splits have that name.

    Examples
    --------
    >>> of_tracks([("test", "Intro"), ("test", "Song"), ("train", "Intro")])
    ['Intro (test)', 'Song', 'Intro (train)']
    """
    n = Counter(track for _, track in places)
    return [f"{track} ({split})" if n[track] > 1 else track for split, track in places]
