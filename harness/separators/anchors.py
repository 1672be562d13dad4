"""Anchors: doing nothing as the floor, and ideal masks as upper bounds.

The oracles follow SiSEC 2018: windows of 2048 samples overlapping by half, masks from the true
stems applied to the mixture. The part of the mixture outside the given stems is one more source.
Stems of which one contains the other (drums and kick) are estimated separately.

References
----------
Stöter, Liutkus and Ito, "The 2018 Signal Separation Evaluation Campaign", LVA/ICA 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio
from harness.core.taxonomy import ancestors, in_order
from harness.separators.spectral import TINY, Spectrum, Stft, Untrained, stft_of

Powers = npt.NDArray[np.float64]  # (sources, bins, frames)
Covariances = npt.NDArray[np.complex128]  # (sources, bins, channels, channels)
Change = Callable[[Spectrum, Spectrum], Spectrum]  # mixture and sources to the stems
Learn = Callable[..., Change]  # from the transform, the mixture and the stems

REGULARISATION = 1e-6  # share of the identity in a spatial covariance: dual mono is singular


@dataclass(kw_only=True)
class Mixture(Untrained):
    """The unscaled input as the estimate of every stem: the score of doing nothing."""

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: the input itself}."""
        return dict.fromkeys(self.stems, audio)


@dataclass(kw_only=True)
class IdealBinaryMask(Untrained):
    """Keep the bins in which a stem's magnitude is at least a share of the mixture's.

    Each stem is independent of the others: several of them or none may keep a bin.
    """

    threshold: float = 0.5  # least share
    power: float = 1.0  # exponent of both magnitudes: 1 is SiSEC's IBM1, 2 its IBM2

    def separate_with(self, audio: Audio, references: Mapping[str, Audio]) -> dict[str, Audio]:
        """Return {stem: estimate} for each of the references; shapes (channels, samples)."""

        def binary(mixture: Spectrum, sources: Spectrum) -> Spectrum:
            level = np.abs(sources[:-1]) ** np.float32(self.power)
            least = self.threshold * np.abs(mixture) ** np.float32(self.power)
            return np.asarray(mixture * (level >= least), np.complex64)

        return _estimate(self.sample_rate, audio, references, lambda *_: binary)


@dataclass(kw_only=True)
class IdealRatioMask(Untrained):
    """Divide each bin between the stems in proportion to their magnitudes."""

    power: float = 2.0  # exponent of the magnitudes: 1 is SiSEC's IRM1, 2 its IRM2

    def separate_with(self, audio: Audio, references: Mapping[str, Audio]) -> dict[str, Audio]:
        """Return {stem: estimate} for each of the references; shapes (channels, samples)."""

        def ratio(mixture: Spectrum, sources: Spectrum) -> Spectrum:
            level = np.abs(sources)
            level /= np.maximum(level.max(axis=0), TINY)
            level **= np.float32(self.power)
            mask = level[:-1] / np.maximum(level.sum(axis=0), TINY)
            return np.asarray(mixture * mask, np.complex64)

        return _estimate(self.sample_rate, audio, references, lambda *_: ratio)


@dataclass(kw_only=True)
class MultichannelWiener(Untrained):
    """Joint Wiener filter of all channels, from true power spectra and spatial covariances.

    A stem's covariance in a bin is its power there times a spatial covariance that is constant
    over the track. The latter is the mean of the observed covariances, each divided by its power;
    the power is then refined by the inverse of the former.

    References
    ----------
    Duong, Vincent and Gribonval, "Under-determined reverberant audio source separation using a
    full-rank spatial covariance model", IEEE TASLP 18(7), 2010.
    """

    def separate_with(self, audio: Audio, references: Mapping[str, Audio]) -> dict[str, Audio]:
        """Return {stem: estimate} for each of the references; shapes (channels, samples)."""

        def learn(stft: Stft, *signals: Audio) -> Change:
            spatial = _spatial_covariances(stft, *signals)
            inverse = np.asarray(np.linalg.inv(spatial), np.complex128)
            return lambda mixture, sources: _wiener(mixture, sources, spatial, inverse)

        return _estimate(self.sample_rate, audio, references, learn)


def _estimate(
    sample_rate: int, audio: Audio, references: Mapping[str, Audio], learn: Learn
) -> dict[str, Audio]:
    """Learn a filter for each set of disjoint stems, and apply it."""
    stft = stft_of(sample_rate, overlap=2)
    found: dict[str, Audio] = {}
    for names in _disjoint(in_order(references)):
        signals = [audio, *(references[name] for name in names)]
        change = learn(stft, *signals)

        def changed(rows: Spectrum, _: slice, change: Change = change) -> Spectrum:
            out = change(*_mixture_and_sources(rows, len(audio)))
            return out.reshape(-1, *out.shape[2:])

        out = stft.filter(changed, *signals).reshape(len(names), *audio.shape)
        found.update(zip(names, out, strict=True))
    return {name: found[name] for name in references}


def _mixture_and_sources(rows: Spectrum, channels: int) -> tuple[Spectrum, Spectrum]:
    """Split a block into mixture (channels, …) and sources (sources, channels, …), rest last."""
    spectra = rows.reshape(-1, channels, *rows.shape[1:])
    rest = spectra[:1] - spectra[1:].sum(axis=0)
    return spectra[0], np.concatenate([spectra[1:], rest])


def _disjoint(stems: Iterable[str]) -> list[list[str]]:
    """Group stems so that none contains another one of its group."""
    sets: list[list[str]] = []
    for stem in stems:
        for names in sets:
            if not any(stem in ancestors(name) or name in ancestors(stem) for name in names):
                names.append(stem)
                break
        else:
            sets.append([stem])
    return sets


def _spatial_covariances(stft: Stft, *signals: Audio) -> Covariances:
    """Return the mean over frames of the normalised covariances, with trace = channels."""
    channels, n_sources = len(signals[0]), len(signals)  # the stems and the rest
    total = np.zeros((n_sources, stft.n_bins, channels, channels), np.complex128)
    for _, block in stft.blocks(*signals):
        _, sources = _mixture_and_sources(block, channels)
        spectra = sources.astype(np.complex128)
        power = np.mean(np.abs(spectra) ** 2, axis=1)
        spectra /= np.sqrt(np.maximum(power, float(TINY) ** 2))[:, np.newaxis]
        by_bin = spectra.transpose(0, 3, 1, 2)  # sources, bins, channels, frames
        total += by_bin @ by_bin.conj().swapaxes(2, 3)
    identity = np.eye(channels)
    trace = np.trace(total, axis1=2, axis2=3).real[..., np.newaxis, np.newaxis]
    total = np.where(trace > 0, total / np.where(trace > 0, trace, 1) * channels, identity)
    return np.asarray((total + REGULARISATION * identity) / (1 + REGULARISATION), np.complex128)


def _wiener(
    mixture: Spectrum, sources: Spectrum, spatial: Covariances, inverse: Covariances
) -> Spectrum:
    """Return the filtered block, shape (stems, channels, frames, bins)."""
    channels = len(mixture)
    by_bin = sources.transpose(0, 3, 1, 2).astype(np.complex128)  # sources, bins, channels, frames
    power: Powers = np.sum(by_bin.conj() * (inverse @ by_bin), axis=2).real / channels
    total = np.einsum("jft,jfab->ftab", power, spatial)
    floor = 1e-10 * power.sum(axis=0) + float(TINY)
    total += floor[..., np.newaxis, np.newaxis] * np.eye(channels)
    given = mixture.transpose(2, 1, 0).astype(np.complex128)[..., np.newaxis]
    white = np.linalg.solve(total, given)[..., 0].swapaxes(1, 2)  # bins, channels, frames
    out = power[:-1, :, np.newaxis] * (spatial[:-1] @ white)
    return np.asarray(out.transpose(0, 2, 3, 1), np.complex64)
