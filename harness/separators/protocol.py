"""What a separator is, and how any separator runs on any signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from harness.core import audio, taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import Entry, weight_files


@runtime_checkable
class Separator(Protocol):
    """Separates one signal into stems."""

    input_stem: str  # what it separates: ``mixture``, or a stem such as ``drums``
    stems: tuple[str, ...]
    sample_rate: int  # in Hz; the caller resamples

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the shape (channels, samples) of the input."""
        ...


@runtime_checkable
class Oracle(Protocol):
    """Like a separator, but it knows the true stems: an upper bound, never ranked."""

    input_stem: str
    stems: tuple[str, ...]
    sample_rate: int

    def separate_with(self, audio: Audio, references: Mapping[str, Audio]) -> dict[str, Audio]:
        """Return {stem: estimate} from the input and its true stems, for each of these stems."""
        ...


def parameters(separator: Any) -> int | None:
    """Return the number of trained values: by its own account, or those of its networks.

    It is 0 for a method without training, and None for a separator that cannot tell.
    """
    if hasattr(separator, "parameters"):
        own: int | None = separator.parameters
        return own
    networks = getattr(separator, "networks", ())
    return sum(int(values.numel()) for network in networks for values in network.parameters())


def run(
    separator: Separator | Oracle,
    entry: Entry,
    source: Audio,
    sample_rate: int,
    *,
    where: str = "",
    references: Mapping[str, Audio] | None = None,
) -> tuple[dict[str, Audio], list[str]]:
    """Convert a signal to a separator's sample rate and channels, and its estimates back.

    Parameters
    ----------
    entry
        The registry row of the separator.
    source
        Shape (channels, samples); it is not changed.
    sample_rate
        Of `source`, in Hz.
    where
        Beginning of every error; by default the entry's name.
    references
        {stem: true signal}, like `source`, for an oracle.

    Returns
    -------
    estimates
        {our name of a stem: estimate}, each of the shape of `source`, float32.
    notes
        What was converted or fixed, and where the separator deviated from the request.

    Raises
    ------
    HarnessError
        If a stem is missing, not a signal, or more than 100 ms short or long.
    """
    where = where or entry.name
    rate, channels = separator.sample_rate, entry.channels or source.shape[0]
    notes = weight_files.notes_on(entry)
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
            raise HarnessError(f"{here}: no estimate was returned; correct the entry's stems")
        audio.check(raw[stem], here)
        estimate = audio.resample(raw[stem], rate, sample_rate)
        estimate = audio.to_channels(estimate, source.shape[0], here)
        estimate, note = audio.fit_length(estimate, source.shape[1], sample_rate, here)
        estimates[ours.get(stem, stem)] = estimate.astype("float32", copy=False)
        notes += [f"{stem} {note}"] if note else []
    return estimates, notes


def made_of(estimates: Mapping[str, Audio], stem: str) -> Audio:
    """Return the estimate of a stem, or the sum of the stems that it consists of."""
    names = taxonomy.parts(stem, estimates) or ()
    if len(names) == 1:
        return estimates[names[0]]
    total = estimates[names[0]].copy()
    for name in names[1:]:
        total += estimates[name]
    return total
