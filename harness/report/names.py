"""What things are called on the page, and in which order they stand."""

from __future__ import annotations

from harness.report.tables import HARMONIC, OVERALL, level
from harness.taxonomy import STEMS

METRICS = (HARMONIC, "snr", "sdr", "si_sdr", "csdr", "isr", "sir", "sar")
COSTS = ("rtf", "peak_memory")
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
