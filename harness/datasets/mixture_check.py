"""Whether the mixture of a track is the sum of its stems; if not, how the two differ.

A separator gets the mixture and is scored against the stems. If the mixture is late, quieter or of
another song, every score is wrong by decibels, and nothing fails. Datasets differ by nature, too:
by lossy coding (MUSDB18's AAC: -32 dB, StemGMD as mp3: -24 to -22 dB), or by mastering (MedleyDB).
`LIMIT` lies above these. Oracles in SiSEC 2018 have an SDR of 11 dB or more for the accompaniment
on 49 of the 50 test songs of MUSDB18, so these mixtures are near the sum. The other song, PR - Oh
No, has a published erratum that says so, and stays.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import scipy.fft

from harness.core import audio, taxonomy, text
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.core.files import digest
from harness.core.machine import Progress
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.scan import printable
from harness.datasets.tracks import (
    Dataset,
    Omission,
    Sources,
    Track,
    cut_short,
    read_sources,
    track_length,
)

VERSION = 1  # raise it whenever a result would change
EXACT = -50.0  # dB; 16-bit rounding of quiet songs is below
LIMIT = -10.0  # dB; tracks above are left out of runs
SMALL_GAIN = 0.05  # dB; less is not named
EXPLAINED = 6.0  # dB by which a gain or a lag must lower the residual to be named
MAX_LAG = 1.0  # seconds
SAME = -20.0  # dB; a file that differs less from a sum of stems is no stem of its own
PART = 20.0  # seconds, of the middle of files that are compared first
WINDOW = 20.0  # seconds of the loudest part, in which the lag is searched
BLOCK = 2**18  # samples
THREADS = 4  # each holds about four signals of a track
FLOOR = -200.0  # dB, for zero
LEFT_OUT = "; left out, --keep-unequal keeps it"  # how a problem of a track ends
CLIPPED = 1e-4  # share of samples at the peak of a clipped mixture
ENOUGH = 0.5  # of a track must remain if it is cut to its shortest file
TOO_SHORT = "a file is shorter than half of the song, --keep-unequal keeps it"
CUT = "only the first"  # begins the note of a track that is cut to its shortest file
IN_PART = "track scored in part"  # see `Omission.what`


@dataclass(frozen=True)
class MixtureDifference:
    """How a mixture differs from the sum of the stems; energies are relative to the mixture's."""

    sample_rate: int  # Hz
    residual: float  # dB, of mixture - sum
    remaining: float  # dB, of mixture - gain × sum, after the lag is removed
    gain: float = 0.0  # dB by which the mixture is louder than the sum
    lag: int = 0  # samples by which it is later
    inverted: bool = False
    clipped: bool = False
    mono: bool = False  # while the stems are not; they are scored in mono then
    whole: bool = True  # whether the stems are all that a mixture consists of, by their names

    @property
    def explained(self) -> bool:
        """Whether gain, lag or polarity are (nearly) the whole difference."""
        named = self.lag or self.inverted or abs(self.gain) >= SMALL_GAIN
        return bool(named) and self.remaining <= min(self.residual, 0.0) - EXPLAINED

    @property
    def unknown(self) -> bool:
        """Whether nothing can be said: stems are missing, and the mixture has more than them."""
        return not self.whole and self.residual > LIMIT and not self.explained

    @property
    def unequal(self) -> bool:
        """Whether scores of the track would be wrong."""
        return self.residual > LIMIT and not self.unknown

    @property
    def plain(self) -> bool:
        """Whether only the residual can be named, as with lossy coding."""
        return not (self.unequal or self.explained or self.clipped or self.mono)

    def __str__(self) -> str:
        """Say how they differ; empty if they do not."""
        says = ["is mono, so that its stems are scored in mono"] if self.mono else []
        if self.residual > EXACT and not self.unknown:
            says += ["is clipped"] if self.clipped else []
            says.append(self._difference())
        return "the mixture " + ", and ".join(says) if says else ""

    def _difference(self) -> str:
        """Say which difference it is: gain, lag, polarity or another."""
        if not self.explained:
            return f"differs from the sum of the stems by {self.residual:.1f} dB"
        how = []
        if abs(self.gain) >= SMALL_GAIN:
            how.append(f"{abs(self.gain):.1f} dB {'louder' if self.gain > 0 else 'quieter'}")
        if self.lag:
            ms = abs(self.lag) / self.sample_rate * 1000
            word = "later" if self.lag > 0 else "earlier"
            how.append(f"{ms:.1f} ms ({abs(self.lag)} samples) {word}")
        said = f"is {' and '.join(how)} than the sum of the stems" if how else ""
        if self.inverted:
            said = f"{said or 'is the sum of the stems'} with inverted polarity"
        rest = f", and otherwise differs by {self.remaining:.1f} dB"
        return said + (rest if self.remaining > EXACT else "")


def examined(
    dataset: Dataset,
    fingerprints: Fingerprints,
    memory: Path,
    *,
    keep_unequal: bool = False,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Dataset:
    """Return the dataset without the tracks in which the mixture is not the sum of the stems.

    Every difference becomes a problem of the dataset and a note of its track, and so does a file
    that is shorter than the others. Tracks are cut to their shortest file; where less than `ENOUGH`
    of one remains, it is left out, too. `memory` is a file that holds earlier results by the
    content of the track; what it has is not computed again.
    """
    dataset = _with_lengths(dataset, keep_unequal)
    omitted: list[Omission] = []
    kept: list[Track] = []
    problems: list[str] = []
    plain: list[float] = []
    found = differences(dataset, fingerprints, memory, jobs, progress)
    for track, difference in zip(dataset.tracks, found, strict=True):
        said = str(difference or "")
        drop = False
        if isinstance(difference, MixtureDifference) and said:
            drop = difference.unequal and not keep_unequal and not _is_known(track)
            noted = replace(track, notes=(*track.notes, said))
            if difference.plain:
                plain.append(difference.residual)
        else:
            noted = track
        if drop:
            why = "the mixture is not the sum of the stems, --keep-unequal keeps it"
            omitted.append(_omission(track, why, said.removeprefix("the mixture ")))
        else:
            kept.append(noted)
        if said and not (isinstance(difference, MixtureDifference) and difference.plain):
            problems.append(f"{printable(track.name)}: {said}{LEFT_OUT if drop else ''}")
    problems += [_summary(plain)] if plain else []
    parts = [d for d in found if isinstance(d, MixtureDifference) and d.unknown]
    if parts:
        many = text.count(len(parts), "track")
        problems.append(f"{many}: the stems are only a part of the mixture, which is not checked")
    return replace(
        dataset,
        tracks=tuple(kept),
        problems=(*dataset.problems, *problems),
        omitted=(*dataset.omitted, *omitted),
    )


def _with_lengths(dataset: Dataset, keep: bool) -> Dataset:
    """Note in each track which file ends early; leave out those with less than `ENOUGH`."""
    notes: dict[str, str] = {}
    tracks, dropped, omitted = list[Track](), list[str](), list[Omission]()
    for track in dataset.tracks:
        found = None
        with suppress(HarnessError):  # reading the track says what is wrong
            found = cut_short(track, dataset.sample_rate)
        if found is None:
            tracks.append(track)
            continue
        file, have, whole = found
        detail = f"{file} ends after {have:.1f} of {whole:.1f} s"
        if have < ENOUGH * whole and not keep:
            dropped.append(f"{printable(track.name)}: {detail}{LEFT_OUT}")
            omitted.append(_omission(track, TOO_SHORT, detail))
            continue
        said = f"{CUT} {have:.1f} of {whole:.1f} s are scored, {file} ends there"
        notes[printable(track.name)] = said
        tracks.append(replace(track, notes=(*track.notes, said)))
        why = "a file ends earlier than the others"
        omitted.append(replace(_omission(track, why, detail), what=IN_PART))
    many = f" (the first of {len(notes)} such tracks)" if len(notes) > 1 else ""
    problems = [*dropped, *(f"{name}: {said}{many}" for name, said in [*notes.items()][:1])]
    return replace(
        dataset,
        tracks=tuple(tracks),
        problems=(*dataset.problems, *problems),
        omitted=(*dataset.omitted, *omitted),
    )


def _omission(track: Track, why: str, detail: str) -> Omission:
    """Return what a run lacks if a track is left out."""
    return Omission(why, printable(track.name), track.dataset, track.split, detail)


def differences(
    dataset: Dataset,
    fingerprints: Fingerprints,
    memory: Path,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[MixtureDifference | str | None]:
    """Return, per track, the difference, why it cannot be computed, or None if there is none.

    There is none if the mixture is computed from the same files as the stems.
    """
    known = _read(memory)
    keys = {
        i: digest([VERSION, dataset.sample_rate, fingerprints.of_track(track)])
        for i, track in enumerate(dataset.tracks)
        if set(track.mixture) != set(_all_stems(track))
    }

    def examine(i: int) -> MixtureDifference | str:
        try:
            return known.get(keys[i]) or of_track(dataset.tracks[i], dataset.sample_rate)
        except HarnessError as error:
            return f"its mixture cannot be checked ({error})"

    found: dict[int, MixtureDifference | str] = {}
    with ThreadPoolExecutor(max(1, min(jobs, THREADS))) as pool:
        for i, difference in zip(keys, pool.map(examine, keys), strict=True):
            found[i] = difference
            if progress:
                progress(len(found), len(keys))
    _remember(memory, {keys[i]: d for i, d in found.items() if keys[i] not in known})
    return [found.get(i) for i in range(len(dataset.tracks))]


def of_track(track: Track, sample_rate: int) -> MixtureDifference:
    """Read a track and compare its mixture with the sum of its stems, as they are scored."""
    frames = track_length(track)
    mixture = read_sources(track.mixture, sample_rate, 0, frames)
    every = outermost(track.stems)
    known = [stem for stem in every if stem in taxonomy.STEMS]
    found: list[MixtureDifference] = []
    for stems in [every] if known in (every, []) else [known, every]:  # a click track is no part
        sources = [source for stem in stems for source in track.stems[stem]]
        total = read_sources(tuple(sources), sample_rate, 0, frames)
        mono = mixture.shape[0] == 1 < total.shape[0]
        total = audio.to_channels(total, mixture.shape[0], f"{track.name!r}, sum of the stems")
        n_samples = min(mixture.shape[1], total.shape[1])
        difference = compare(mixture[:, :n_samples], total[:, :n_samples], sample_rate)
        found.append(replace(difference, mono=mono, whole=_is_whole(track)))
    return min(found, key=lambda difference: difference.residual)


def compare(mixture: Audio, total: Audio, sample_rate: int) -> MixtureDifference:
    """Compare a mixture with the sum of its stems; both have the shape (channels, samples)."""
    energy = _dot(mixture, mixture)
    rest = mixture - total
    residual = _db(_dot(rest, rest), energy)
    del rest
    if residual <= EXACT:
        return MixtureDifference(sample_rate, residual, residual)
    lags = {0, _lag(mixture, total, sample_rate)}
    fits = {lag: _fit(mixture, total, lag) for lag in lags}
    lag = min(sorted(fits, key=abs), key=lambda lag: round(fits[lag][1]))
    gain, remaining = fits[lag]
    level = float(np.max(np.abs(mixture)))
    at_peak = np.count_nonzero(np.abs(mixture) >= 0.999 * level) / mixture.size
    return MixtureDifference(
        sample_rate,
        residual,
        remaining,
        gain=20 * math.log10(abs(gain)) if gain else FLOOR,
        lag=lag,
        inverted=gain < 0,
        clipped=bool(at_peak > CLIPPED and abs(gain) * np.max(np.abs(total)) > 1.05 * level),
    )


def outermost(stems: Collection[str]) -> list[str]:
    """Return the stems that are not a part of another one; they sum to the mixture."""
    return [stem for stem in sorted(stems) if not {*stems} & {*taxonomy.ancestors(stem)}]


def summands(signal: Sources, basis: Mapping[str, Sources]) -> tuple[str, ...]:
    """Return the signals of a basis that sum to `signal`, to within `SAME`; none if there are none.

    The middle of the files is compared first; if it fits, all of them. Silent signals are summands
    if all others are.
    """
    headers = [audio.length(s.path) for sources in (signal, *basis.values()) for s in sources]
    sample_rate, frames = headers[0][1], min(length for length, _ in headers)
    width = min(frames, round(PART * sample_rate))
    middle = (frames - width) // 2, width
    wanted = read_sources(signal, sample_rate, *middle)
    parts = {
        stem: audio.to_channels(read_sources(sources, sample_rate, *middle), len(wanted), stem)
        for stem, sources in basis.items()
    }
    loud = [stem for stem, part in parts.items() if not audio.is_silent(part)]
    if not loud or audio.is_silent(wanted):
        return ()
    products = [[_dot(parts[a], parts[b]) for b in loud] for a in loud]
    gains = np.linalg.lstsq(products, [_dot(parts[a], wanted) for a in loud], rcond=1e-9)[0]
    found = [stem for stem, gain in zip(loud, gains, strict=True) if 0.5 < gain < 1.5]
    rest = wanted - sum((parts[stem] for stem in found), np.zeros_like(wanted))
    if _db(_dot(rest, rest), _dot(wanted, wanted)) > SAME:
        return ()
    wanted = read_sources(signal, sample_rate, 0, frames)
    for names in (tuple(s for s in basis if s in found or s not in loud), tuple(found)):
        sources = tuple(source for name in names for source in basis[name])
        total = read_sources(sources, sample_rate, 0, frames)
        rest = wanted - audio.to_channels(total, len(wanted), "sum")
        if _db(_dot(rest, rest), _dot(wanted, wanted)) <= SAME:
            return names
    return ()


def _lag(mixture: Audio, total: Audio, sample_rate: int) -> int:
    """Return the samples by which the mixture is later, from the largest cross-correlation."""
    n_samples = mixture.shape[1]
    width, most = min(n_samples, round(WINDOW * sample_rate)), round(MAX_LAG * sample_rate)
    starts = range(0, n_samples - width + 1, max(1, width // 2))
    powers = [_dot(total[:, s : s + width], total[:, s : s + width]) for s in starts]
    start = starts[int(np.argmax(powers))]
    before, after = min(most, start), min(most, n_samples - start - width)
    window = mixture[:, start - before : start + width + after]
    wide = np.pad(window, ((0, 0), (most - before, most - after)))
    size = scipy.fft.next_fast_len(wide.shape[1], real=True)
    spectra = scipy.fft.rfft(wide, size) * np.conj(
        scipy.fft.rfft(total[:, start : start + width], size)
    )
    correlation = scipy.fft.irfft(spectra.sum(axis=0), size)[: 2 * most + 1]
    return int(np.argmax(np.abs(correlation))) - most


def _fit(mixture: Audio, total: Audio, lag: int) -> tuple[float, float]:
    """Return the best gain of the sum at a lag, and the residual in dB that remains."""
    n_samples = mixture.shape[1] - abs(lag)
    later = mixture[:, max(lag, 0) :][:, :n_samples]
    sooner = total[:, max(-lag, 0) :][:, :n_samples]
    power = _dot(sooner, sooner)
    gain = _dot(later, sooner) / power if power else 0.0
    rest = later - np.float32(gain) * sooner
    return gain, _db(_dot(rest, rest), _dot(later, later))


def _dot(a: Audio, b: Audio) -> float:
    """Return the inner product of two signals, in double precision."""
    starts = range(0, a.shape[1], BLOCK)  # in blocks, to hold no product of whole signals
    parts = (a[:, i : i + BLOCK] * b[:, i : i + BLOCK] for i in starts)
    return float(sum(np.sum(part, dtype=np.float64) for part in parts))


def _db(energy: float, whole: float) -> float:
    """Return an energy relative to another in dB, at least `FLOOR` and at most -`FLOOR`."""
    if energy == 0 or whole == 0:
        return -FLOOR if energy else FLOOR
    return min(max(10 * math.log10(energy / whole), FLOOR), -FLOOR)


def _all_stems(track: Track) -> Sources:
    """Return the sources that sum to all stems of a track."""
    return tuple(source for stem in outermost(track.stems) for source in track.stems[stem])


def _is_whole(track: Track) -> bool:
    """Whether the stems should sum to the mixture: all of a song, or of drums or vocals."""
    inside = outermost(track.stems) in (["drums"], ["vocals"]) and len(track.stems) > 1
    return inside or taxonomy.parts("mixture", track.stems) is not None


def _is_known(track: Track) -> bool:
    """Whether the difference is an erratum of a published dataset, which its scores include."""
    return any("not the sum of the stems" in note for note in track.notes)


def _summary(residuals: list[float]) -> str:
    """Say in one line how many mixtures differ by how much."""
    low, high = (f"{value:.1f}" for value in (min(residuals), max(residuals)))
    by = f"{high} dB" if low == high else f"{low} to {high} dB"
    many = text.count(len(residuals), "track")
    return f"{many}: the mixture differs from the sum of the stems by {by}"


def _read(memory: Path) -> dict[str, MixtureDifference]:
    """Return the remembered differences by key; lines that cannot be used are skipped."""
    lines = memory.read_text(errors="replace").split("\n") if memory.is_file() else []
    known = {}
    for line in lines:
        with suppress(ValueError, TypeError):
            key, fields = json.loads(line)
            known[key] = MixtureDifference(**fields)
    return known


def _remember(memory: Path, found: Mapping[str, MixtureDifference | str]) -> None:
    """Add lines; if this fails, they are computed again next time."""
    lines = [json.dumps([k, asdict(d)]) for k, d in found.items() if not isinstance(d, str)]
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with memory.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
