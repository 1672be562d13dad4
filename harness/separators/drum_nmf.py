"""Kick, snare, toms and cymbals: drums factorised with templates known in advance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import progress
from harness.separators.spectral import (
    TINY,
    Magnitude,
    Method,
    Spectrum,
    Stft,
    stft_of,
    with_rest,
)

Patterns = npt.NDArray[np.float32]  # (shifts, templates, bands)
Peak = tuple[float, float, float]  # centre in Hz, half width in octaves, level in dB
Bins = npt.NDArray[np.intp]

KIT = ("kick", "snare", "toms", "hihat_cymbals")  # the last one is the rest of the input
BANDS_PER_OCTAVE = 12
LOWEST = 20.0  # Hz

# The spectrum of a hit of each piece: membranes are peaks near the lowest mode (a kick below toms
# below a snare's shell), a beater or stick is a weak click above, wires and metal are wide noise.
HITS: dict[str, tuple[tuple[Peak, ...], ...]] = {
    "kick": tuple(((centre, 0.35, 0.0), (3500.0, 1.0, -34.0)) for centre in (45.0, 60.0)),
    "snare": (
        ((190.0, 0.35, 0.0), (360.0, 0.4, -8.0), (3000.0, 1.8, -14.0)),
        ((250.0, 0.35, 0.0), (470.0, 0.4, -8.0), (3500.0, 1.8, -14.0)),
        ((2500.0, 1.6, 0.0),),
        ((5000.0, 1.2, 0.0),),
    ),
    "toms": tuple(
        ((centre, 0.22, 0.0), (1.6 * centre, 0.25, -12.0), (2500.0, 1.0, -36.0))
        for centre in (85.0, 110.0, 145.0)
    ),
    "hihat_cymbals": (
        ((9000.0, 0.6, 0.0),),
        ((12500.0, 0.6, 0.0),),
        ((5000.0, 0.9, -4.0), (9000.0, 0.8, 0.0)),
    ),
}
# Seconds in which a hit loses two thirds of its level, for patterns of several frames.
RING = {"kick": 0.08, "snare": 0.06, "toms": 0.15, "hihat_cymbals": 0.05}


@dataclass(kw_only=True)
class DrumNmf(Method):
    """NMF of drums with a few templates per piece of the kit, drawn from descriptions.

    Magnitudes are summed into bands of a twelfth of an octave, and templates and activations are
    fitted to them by the Kullback–Leibler divergence. The templates adapt to the recording, little
    at first and more later. Soft masks from the fits divide each band of each channel, so the stems
    sum to the input. Nothing is learned from other music.

    With `shifts` above one a template is a pattern of so many frames, in which a hit rings out
    (NMFD). One activation then explains a whole hit.

    References
    ----------
    Lee and Seung, "Algorithms for non-negative matrix factorization", NIPS 2000, for the updates;
    Dittmar and Gärtner, "Real-time transcription and separation of drum recordings based on NMF
    decomposition", DAFx 2014, for templates that adapt gradually; Smaragdis, "Non-negative matrix
    factor deconvolution", ICA 2004, for patterns.
    """

    stems: tuple[str, ...] = KIT
    input_stem: str = "drums"
    iterations: int = 40
    adaptation: float = 0.8  # 0 keeps the templates as described, 1 forgets the descriptions
    sparsity: float = 1.0  # penalty on toms: they are rare, with spectra between those of others
    power: float = 1.0  # exponent of the soft masks
    shifts: int = 1  # frames per template, 12 ms each

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = min(self.iterations, self.shifts)
        if counts < 1 or not 0 <= self.adaptation <= 1 or self.sparsity < 0:
            raise HarnessError(
                f"DrumNmf: iterations {self.iterations}, shifts {self.shifts}, adaptation "
                f"{self.adaptation} or sparsity {self.sparsity} out of range; use at least 1, at "
                "least 1, 0 to 1, and at least 0"
            )

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return kick, snare, toms and cymbals with hi-hat; shapes (channels, samples)."""
        stft = stft_of(self.sample_rate, overlap=4)
        bands = band_of_bins(stft, self.sample_rate)
        spectra, owner = describe(stft, self.sample_rate, bands)
        templates = ringing(spectra, owner, stft.hop / self.sample_rate, self.shifts)
        with progress.part(0, 8):
            levels = _summed(stft, audio, bands)
        prices = np.where(owner == KIT.index("toms"), 1 + self.sparsity, 1).astype(np.float32)
        with progress.part(1, 8):
            activations, templates = _fit(
                levels, templates, prices, self.iterations, self.adaptation
            )

        def shares(spectrum: Spectrum, frames: slice) -> Spectrum:
            fits = [
                _model(activations[:, own], templates[:, own], frames)
                for own in (owner == piece for piece in range(len(KIT)))
            ]
            largest = np.maximum(np.maximum.reduce(fits), TINY)
            weights = [(fit / largest) ** np.float32(self.power) for fit in fits]
            total = np.maximum(np.sum(weights, axis=0), TINY)
            return np.concatenate([spectrum * (w / total)[:, bands] for w in weights[:-1]])

        with progress.part(2, 8, 6):
            out = stft.filter(shares, audio).reshape(len(KIT) - 1, *audio.shape)
        return with_rest(audio, dict(zip(KIT, out, strict=False)), KIT[-1])


def band_of_bins(stft: Stft, sample_rate: int) -> Bins:
    """Return the band of each frequency bin, shape (bins,); low bands have one bin each."""
    frequencies = np.arange(stft.n_bins) * sample_rate / stft.n_fft
    octaves = np.log2(np.maximum(frequencies, LOWEST) / LOWEST)
    edges = np.floor(octaves * BANDS_PER_OCTAVE)
    return np.unique(edges, return_inverse=True)[1]


def describe(stft: Stft, sample_rate: int, bands: Bins) -> tuple[Magnitude, Bins]:
    """Draw the templates.

    Returns
    -------
    templates
        Shape (templates, bands); each sums to one.
    owner
        Index in `KIT` of each template.
    """
    frequencies = np.maximum(np.arange(stft.n_bins) * sample_rate / stft.n_fft, LOWEST)
    drawn = [_draw(frequencies, peaks) for piece in KIT for peaks in HITS[piece]]
    templates = np.stack([np.bincount(bands, weights=spectrum) for spectrum in drawn])
    templates = templates / templates.sum(axis=1, keepdims=True)
    owner = [piece for piece, name in enumerate(KIT) for _ in HITS[name]]
    return templates.astype(np.float32), np.asarray(owner, np.intp)


def ringing(spectra: Magnitude, owner: Bins, hop: float, shifts: int) -> Patterns:
    """Let the templates decay over frames that are `hop` seconds apart; each still sums to one."""
    rates = 1 / np.array([RING[KIT[piece]] for piece in owner])
    decay = np.exp(-np.outer(np.arange(shifts) * hop, rates))
    decay /= decay.sum(axis=0)
    return (decay[:, :, np.newaxis] * spectra).astype(np.float32)


def _draw(frequencies: npt.NDArray[np.float64], peaks: tuple[Peak, ...]) -> Magnitude:
    """Return a magnitude spectrum of bell curves over log-frequency."""
    total = np.full(len(frequencies), 1e-4)  # a template can adapt in every band
    for centre, width, level in peaks:
        distance = np.log2(frequencies / centre) / width
        total += 10 ** (level / 20) * np.exp(-0.5 * distance**2)
    return total.astype(np.float32)


def _summed(stft: Stft, audio: Audio, bands: Bins) -> Magnitude:
    """Return the magnitude of each band, averaged over channels; shape (frames, bands)."""
    starts = np.flatnonzero(np.diff(bands, prepend=-1))
    out = np.empty((stft.n_frames(audio.shape[1]), len(starts)), np.float32)
    for frames, spectrum in stft.blocks(audio):
        out[frames] = np.add.reduceat(np.abs(spectrum).mean(axis=0), starts, axis=1)
    return out


def _fit(
    levels: Magnitude, templates: Patterns, prices: Magnitude, iterations: int, adaptation: float
) -> tuple[Magnitude, Patterns]:
    """Return activations (frames, templates) and templates that fit levels (frames, bands)."""
    drawn = templates
    activations = np.repeat(levels.sum(axis=1, keepdims=True), templates.shape[1], axis=1)
    activations /= np.float32(templates.shape[1])
    for sweep in progress.each(range(iterations)):
        gained = np.zeros_like(activations)
        for delay, ratio in _delayed(_ratio(levels, activations, templates), len(templates)):
            gained[: len(ratio)] += ratio @ templates[delay].T
        activations *= gained / prices
        moved = np.zeros_like(templates)
        for delay, ratio in _delayed(_ratio(levels, activations, templates), len(templates)):
            moved[delay] = templates[delay] * (activations[: len(ratio)].T @ ratio)
        moved /= np.maximum(moved.sum(axis=(0, 2), keepdims=True), TINY)
        free = np.float32(adaptation * (sweep + 1) / iterations)
        templates = (1 - free) * drawn + free * moved
    return activations, templates


def _delayed(ratio: Magnitude, shifts: int) -> Iterator[tuple[int, Magnitude]]:
    """Yield each delay and what a signal holds from that frame on."""
    return ((delay, ratio[delay:]) for delay in range(min(shifts, len(ratio))))


def _ratio(levels: Magnitude, activations: Magnitude, templates: Patterns) -> Magnitude:
    """Return the levels divided by the model of them."""
    model = _model(activations, templates, slice(0, len(levels)))
    return np.asarray(levels / np.maximum(model, TINY), np.float32)


def _model(activations: Magnitude, templates: Patterns, frames: slice) -> Magnitude:
    """Return the levels in a range of frames: each activation starts a pattern."""
    out = np.zeros((frames.stop - frames.start, templates.shape[2]), np.float32)
    for delay, spectra in enumerate(templates):
        first = max(frames.start, delay)
        if first < frames.stop:
            part = activations[first - delay : frames.stop - delay]
            out[first - frames.start :] += part @ spectra
    return out
