"""What things are called on the page, and in which order they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from harness.ranking import HARMONIC, OVERALL, level
from harness.taxonomy import STEMS

METRICS = (HARMONIC, "snr", "sdr", "si_sdr", "csdr", "isr", "sir", "sar")
COSTS = ("rtf", "peak_memory", "parameters")
LABELS = {
    HARMONIC: "SNR–SDR mean",
    "snr": "SNR",
    "sdr": "SDR",
    "si_sdr": "SI-SDR",
    "csdr": "cSDR",
    "isr": "ISR",
    "sir": "SIR",
    "sar": "SAR",
    "rtf": "Speed (RTF)",
    "peak_memory": "Memory",
    "parameters": "Parameters",
}
HARMONIC_DEFINITION = (
    "harmonic mean 2ab/(a+b) of SNR and SDR where both are positive, the smaller of the two where "
    "not; what separators are selected by"
)
ROLES = {
    "separator": "Separators",
    "ensemble": "Ensembles, not ranked",
    "oracle": "Oracles, which know the answer; not ranked",
    "anchor": "Anchors, not ranked",
}
LEVELS = {
    "main": "Stems",
    "vocals": "Inside vocals",
    "drums": "Inside drums",
    "other": "Inside other",
}


def metric_label(name: str) -> str:
    """Return a metric's short name for a heading.

    Examples
    --------
    >>> metric_label("si_sdr"), metric_label("loudness_error")
    ('SI-SDR', 'loudness error')
    """
    return LABELS.get(name, name.replace("_", " "))


def stem_label(stem: str) -> str:
    """Return a stem's name for a heading.

    Examples
    --------
    >>> stem_label("lead_male"), stem_label("overall:drums")
    ('lead male', 'overall')
    """
    return stem.partition(":")[0].replace("_", " ")


def input_label(source: str) -> str:
    """Return what a separator was fed with.

    Examples
    --------
    >>> input_label("reference:drums"), input_label("cascade:htdemucs:drums")
    ('fed with the true drums', "fed with htdemucs's drums")
    """
    kind, _, rest = source.partition(":")
    whose, _, stem = rest.rpartition(":")
    if kind == "reference":
        return f"fed with the true {stem_label(rest)}"
    return f"fed with {whose}'s {stem_label(stem)}" if kind == "cascade" else f"fed with the {kind}"


def input_rank(source: str) -> tuple[int, str]:
    """Return what inputs are sorted by: the mixture, true stems, then other separators' stems.

    Examples
    --------
    >>> sorted(["cascade:a:drums", "mixture", "reference:drums"], key=input_rank)
    ['mixture', 'reference:drums', 'cascade:a:drums']
    """
    kinds = ("mixture", "reference", "cascade")
    kind = source.partition(":")[0]
    return kinds.index(kind) if kind in kinds else len(kinds), source


def stem_rank(stem: str) -> tuple[int, int, str]:
    """Return what stems are sorted by: level, place within it (overall last), name.

    Examples
    --------
    >>> sorted(["kick", "overall", "theremin", "bass"], key=stem_rank)
    ['bass', 'theremin', 'overall', 'kick']
    """
    place = STEMS.index(stem) if stem in STEMS else len(STEMS) + is_overall(stem)
    return list(LEVELS).index(level(stem)), place, stem


def is_overall(stem: str) -> bool:
    """Whether this is no stem but the mean over a level's stems."""
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
