"""Running any separator on any signal: rates, channels, lengths and names there and back."""

from __future__ import annotations

from collections.abc import Mapping

from harness import audio, taxonomy
from harness.audio import Audio
from harness.errors import HarnessError
from harness.registry import Entry
from harness.separators.protocol import Oracle, Separator


def run(
    separator: Separator | Oracle,
    entry: Entry,
    source: Audio,
    sample_rate: int,
    *,
    where: str = "",
    references: Mapping[str, Audio] | None = None,
) -> tuple[dict[str, Audio], list[str]]:
    """Give a separator its sample rate and channels, and bring its estimates back.

    Parameters
    ----------
    entry
        Whose separator it is.
    source
        Shape (channels, samples); left as it is.
    sample_rate
        Of `source`, in Hz.
    where
        Beginning of every complaint; the entry's name if not given.
    references
        {stem: true signal}, like `source`, for an oracle.

    Returns
    -------
    estimates
        {our name of a stem: estimate}, each of the shape of `source`.
    notes
        What was converted or mended, and what the separator did otherwise than asked for.

    Raises
    ------
    HarnessError
        If a stem is missing, not a signal, or more than 100 ms short or long.
    """
    where = where or entry.name
    rate, channels = separator.sample_rate, entry.channels or source.shape[0]
    notes = []
    if rate != sample_rate:
        notes.append(f"separated at {rate} Hz, given and wanted at {sample_rate} Hz")
    if channels != source.shape[0]:
        notes.append(f"separated with {channels} channels, given and wanted with {source.shape[0]}")
    given = audio.resample(source, sample_rate, rate)
    given = audio.to_channels(given, channels, where).copy()  # it may be overwritten
    if isinstance(separator, Oracle):
        true = references or {}
        raw = separator.separate_with(given, {stem: true[stem] for stem in separator.stems})
    else:
        raw = separator.separate(given)
    notes += getattr(separator, "notes", [])
    ours = taxonomy.as_meant(entry.stems)
    estimates: dict[str, Audio] = {}
    for stem in separator.stems:
        here = f"{where}, {stem}"
        if stem not in raw:
            raise HarnessError(f"{here}: no estimate was given; correct the entry's stems")
        audio.check(raw[stem], here)
        estimate = audio.resample(raw[stem], rate, sample_rate)
        estimate = audio.to_channels(estimate, source.shape[0], here)
        estimate, note = audio.fit_length(estimate, source.shape[1], sample_rate, here)
        estimates[ours.get(stem, stem)] = estimate.astype("float32", copy=False)
        notes += [f"{stem} {note}"] if note else []
    return estimates, notes


def made_of(estimates: Mapping[str, Audio], stem: str) -> Audio:
    """Return the estimate of a stem: as given, or the sum of the stems that make it."""
    names = taxonomy.parts(stem, estimates) or ()
    if len(names) == 1:
        return estimates[names[0]]
    total = estimates[names[0]].copy()
    for name in names[1:]:
        total += estimates[name]
    return total
