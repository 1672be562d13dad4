"""Two stems from two channels by a 2 × 2 filter: independent components and low-rank models.

The methods estimate one matrix (ICA), or one per frequency (ILRMA, IDLMA), that separates two
sources, and put each source back into the channels as it is in them; the two images sum to the
mixture. Two channels give two sources at most, and two equal channels give none. Such methods are
made for microphones around players. In a studio mixture, everything that is panned like the voice
stays with it.

Arrays have one matrix per bin, (bins, 2, 2); its rows are the sources. Second-order products of the
two channels, (bins, 4, frames), are |a|², |b|² and twice the parts of a·b*, real first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import Entry
from harness.separators import progress
from harness.separators.classical import TWO_STEMS
from harness.separators.protocol import Separator, made_of, parameters, run
from harness.separators.spectral import Magnitude, Method, Spectrum, Stft, stft_of, with_rest

Matrices = npt.NDArray[np.complex128]  # (bins, 2, 2)
Products = npt.NDArray[np.float32]  # (bins, 4, frames)
Powers = npt.NDArray[np.float32]  # (bins, 2, frames), of both sources

SAME = 1e-6  # of the larger eigenvalue of the covariance: a smaller one is rounding
PIECES = 12  # of a long track, from which the filter is estimated
SAMPLES = 1 << 19  # used by ICA at most; it estimates one angle
VOICE = 200.0, 4000.0  # Hz
SYLLABLES = 2.0, 8.0  # Hz
ALIKE = 0.05  # radians by which two sources may differ in panning and count as equally central
FLOOR = 1e-12  # of powers, relative to a mean of one
ROUNDING = 1e-6  # share of a covariance that may be rounding, since products have 32 bits
LEAST = 1e-3  # share of a bin's mean power that a separator's estimate has at least


@dataclass(kw_only=True)
class _TwoByTwo(Method):
    """Estimate a filter from a part of the track, apply it to all, and name its two outputs.

    The voice is the output that is nearer to the middle of the stereo image, from 200 to 4000 Hz.
    If both are equally near, it is the one with more of its energy there, and with more of that
    changing 2 to 8 times per second.
    """

    stems: tuple[str, ...] = TWO_STEMS
    window: float = 0.0929  # in seconds: 4096 samples at 44.1 kHz
    seconds: float = 60.0  # the filter is estimated from this much of the track at most
    _cost: ClassVar[int] = 17  # share of the work in estimating it, of 20

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return the voice and the rest; shapes (2, samples), exact sum."""
        check_channels(type(self).__name__, audio)
        if not audio.any():
            return {stem: np.zeros_like(audio) for stem in self.stems}
        stft = stft_of(self.sample_rate, overlap=4, seconds=self.window)
        with progress.part(0, 20, self._cost):
            matrices = self._demixing(audio, stft)
        with progress.part(self._cost, 20, 18 - self._cost):
            images = projections(matrices)
            image = images[self._voice(audio, stft, images)]
        if len(image) == 1:  # the same in all bins
            progress.tell(1.0)
            vocals = image[0].real.astype(np.float32) @ audio
            return with_rest(audio, {"vocals": vocals}, "accompaniment")
        with progress.part(18, 20, 2):
            vocals = stft.filter(lambda spectrum, _: filtered(image, spectrum), audio)
        return with_rest(audio, {"vocals": vocals}, "accompaniment")

    def _demixing(self, audio: Audio, stft: Stft) -> Matrices:
        """Return one matrix, or one per bin."""
        raise NotImplementedError

    def _part(self, audio: Audio) -> Audio:
        """Return the track, or equal pieces of it, evenly spread and joined."""
        most = round(self.seconds * self.sample_rate)
        if audio.shape[1] <= most:
            return audio
        size = max(1, most // PIECES)
        starts = np.linspace(0, audio.shape[1] - size, PIECES).astype(int)
        return np.concatenate([audio[:, start : start + size] for start in starts], axis=1)

    def _voice(self, audio: Audio, stft: Stft, images: Matrices) -> int:
        return central(self._part(audio), stft, self.sample_rate, images)


@dataclass(kw_only=True)
class Ica(_TwoByTwo):
    """Independent component analysis of the samples: one matrix for the whole track.

    References
    ----------
    Hyvärinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE
    Transactions on Neural Networks 10(3), 1999 (FastICA, tanh, symmetric).
    """

    iterations: int = 200  # at most
    _cost = 2

    def _demixing(self, audio: Audio, stft: Stft) -> Matrices:
        every = -(-audio.shape[1] // SAMPLES)
        return fast_ica(audio[:, ::every].astype(np.float64), self.iterations)[np.newaxis]


@dataclass(kw_only=True)
class Ilrma(_TwoByTwo):
    """Independent low-rank matrix analysis: a filter per bin, with sources of few spectra.

    With `degrees` the sources have Student's t distribution: points far above what the model
    expects count less. With `consistent` each iteration sees the spectra of signals that exist,
    which ties each bin to its neighbors.

    All forms begin with normal, consistent iterations. From a random start the plain form orders
    the sources differently from band to band. The t form does so even more: it weights a point by
    the power that its own bin found, and separates each bin before the spectra say which is which.

    References
    ----------
    Kitamura et al., "Determined blind source separation unifying independent vector analysis and
    nonnegative matrix factorization", IEEE/ACM TASLP 24(9), 2016. Mogami et al., "Independent
    low-rank matrix analysis based on complex Student's t-distribution for blind audio source
    separation", MLSP 2017. Kitamura and Yatabe, "Consistent independent low-rank matrix analysis
    for determined blind source separation", EURASIP JASP 2020. Nakashima et al., "Faster
    independent low-rank matrix analysis with pairwise updates of demixing vectors", EUSIPCO 2020,
    for the filter's update.
    """

    bases: int = 10  # spectra per source
    iterations: int = 60
    settling: int = 30  # the first of them, normal and consistent; 0: each form as published
    degrees: float | None = None  # of freedom; None: the normal distribution, which is their limit
    consistent: bool = False
    seed: int = 42  # of the initial spectra and activations

    def __post_init__(self) -> None:
        super().__post_init__()
        degrees = 1.0 if self.degrees is None else self.degrees
        if min(self.bases, self.iterations) < 1 or self.settling < 0 or degrees <= 0:
            raise HarnessError(
                f"{type(self).__name__}: bases {self.bases}, iterations {self.iterations}, "
                f"settling {self.settling} or degrees {self.degrees} out of range; "
                "use positive numbers, and at least 0 for settling"
            )

    def _demixing(self, audio: Audio, stft: Stft) -> Matrices:
        part = self._part(audio)
        with progress.part(0, 20):
            fit = LowRank(part, stft, self.bases, np.random.default_rng(self.seed))
        with progress.part(1, 20, 19):
            for step in progress.each(range(self.iterations)):
                settled = step >= self.settling
                degrees = self.degrees if settled else None
                with progress.told(None):
                    fit.iterate(degrees, consistent=self.consistent or not settled)
        return fit.demixing


@dataclass(kw_only=True)
class Idlma(_TwoByTwo):
    """A filter per bin, from the powers that another separator finds for voice and rest.

    With given powers the best pair of filters has a closed form, so nothing is iterated. It is the
    separator's own voice that is followed: no rule has to find it. A filter that does not change
    over time adds few artifacts, and removes only what is not panned like the voice.

    Parameters
    ----------
    network
        Name of the separator in the registry.
    guide
        Its entry and the separator, which `harness.separators.load` adds.

    References
    ----------
    Makishima et al., "Independent deeply learned matrix analysis for determined audio source
    separation", IEEE/ACM TASLP 27(10), 2019, where networks are trained for it.
    """

    network: str
    guide: tuple[Entry, Separator]
    notes: list[str] = field(default_factory=list, init=False)

    @property
    def parameters(self) -> int | None:
        """Number of trained values of the separator."""
        return parameters(self.guide[1])

    def _demixing(self, audio: Audio, stft: Stft) -> Matrices:
        entry, separator = self.guide
        with progress.part(0, 20, 17):
            estimates, notes = run(separator, entry, audio, self.sample_rate)
        self.notes = [f"{entry.name}: {note}" for note in notes]
        vocals = self._part(made_of(estimates, "vocals"))
        part = self._part(audio)
        with progress.part(17, 20):
            whitening, products = second_order(part, stft)
        powers = np.empty((stft.n_bins, 2, products.shape[2]), np.float32)
        for i, signal in enumerate((vocals, part - vocals)):
            with progress.part(18 + i, 20):
                for frames, spectrum in stft.blocks(signal):
                    powers[:, i, frames] = np.mean(np.abs(spectrum) ** 2, axis=0).T
        scale = max(float(powers.mean()), 1e-30)
        powers /= np.float32(scale)
        powers += np.float32(LEAST) * powers.mean(axis=2, keepdims=True) + np.float32(FLOOR)
        return best_filters(covariances(np.float32(1) / powers, products)) @ whitening

    def _voice(self, audio: Audio, stft: Stft, images: Matrices) -> int:
        return 0


class LowRank:
    """The fit of ILRMA to one signal: filters, and spectra and activations of both sources.

    Parameters
    ----------
    audio
        Shape (2, samples), not silent.
    bases
        Number of spectra per source.
    start
        First matrices, shape (bins, 2, 2); by default each channel is a source.
    """

    def __init__(
        self,
        audio: Audio,
        stft: Stft,
        bases: int,
        rng: np.random.Generator,
        *,
        start: Matrices | None = None,
    ) -> None:
        self._stft = stft
        self._audio = audio / np.sqrt(np.mean(audio**2, dtype=np.float64)).astype(np.float32)
        self._reference = int(np.argmax(np.sum(audio**2, axis=1, dtype=np.float64)))
        self._whitening, self._products = second_order(self._audio, stft)
        inverse = np.linalg.inv(self._whitening)
        self._filters: Matrices = np.asarray(inverse if start is None else start @ inverse)
        n_bins, _, n_frames = self._products.shape
        self._spectra = rng.random((2, n_bins, bases), np.float32) + np.float32(FLOOR)
        self._activations = rng.random((2, bases, n_frames), np.float32) + np.float32(FLOOR)
        self._powers = powers_of(self._filters, self._products)

    @property
    def demixing(self) -> Matrices:
        """The matrices that separate the two channels, shape (bins, 2, 2)."""
        return np.asarray(self._filters @ self._whitening, np.complex128)

    @property
    def model(self) -> Powers:
        """The power that the spectra and activations of each source predict."""
        return np.stack([s @ a for s, a in zip(self._spectra, self._activations, strict=True)], 1)

    def iterate(
        self, degrees: float | None = None, *, consistent: bool = False, filters: bool = True
    ) -> None:
        """Update the spectra, the activations and, with `filters`, then the filters once."""
        if consistent:
            self._make_consistent()
        self._rescale()
        weights = np.empty_like(self._powers)
        for i in range(2):
            weights[:, i] = self._update_source(i, degrees)
        if filters:
            self._filters = best_filters(covariances(weights, self._products))
            self._powers = powers_of(self._filters, self._products)

    def _gains(self) -> Matrices:
        """Return what gives each source its level in the louder channel, (bins, 2, 1)."""
        return np.asarray(np.linalg.inv(self.demixing)[:, self._reference, :, np.newaxis])

    def _update_source(self, i: int, degrees: float | None) -> Magnitude:
        """Update the spectra and activations of a source; return the weights of its points."""
        spectra, activations = self._spectra[i], self._activations[i]
        powers = self._powers[:, i]
        ratio, inverse = _fit(powers, spectra @ activations, degrees)
        spectra *= np.sqrt((ratio @ activations.T) / (inverse @ activations.T))
        np.maximum(spectra, np.float32(FLOOR), out=spectra)
        ratio, inverse = _fit(powers, spectra @ activations, degrees)
        activations *= np.sqrt((spectra.T @ ratio) / (spectra.T @ inverse))
        np.maximum(activations, np.float32(FLOOR), out=activations)
        return np.float32(1) / _expected(powers, spectra @ activations, degrees)

    def _rescale(self) -> None:
        """Give each source a mean power of one; its model follows."""
        scale = np.maximum(self._powers.mean(axis=(0, 2), dtype=np.float64), FLOOR)
        self._powers /= scale.astype(np.float32)[:, np.newaxis]
        self._spectra /= scale.astype(np.float32)[:, np.newaxis, np.newaxis]
        np.maximum(self._spectra, np.float32(FLOOR), out=self._spectra)
        self._filters = self._filters / np.sqrt(scale)[:, np.newaxis]

    def _make_consistent(self) -> None:
        """Replace the powers by those of the sources' signals as they are in the louder channel."""
        gains = self._gains()
        self._filters = gains * self._filters
        self._spectra *= (np.abs(gains) ** 2).transpose(1, 0, 2).astype(np.float32)
        scaled = self.demixing
        signals = self._stft.filter(lambda spectrum, _: filtered(scaled, spectrum), self._audio)
        for frames, spectrum in self._stft.blocks(signals):
            self._powers[:, :, frames] = (np.abs(spectrum) ** 2).transpose(2, 0, 1)


def check_channels(where: str, audio: Audio) -> None:
    """Refuse anything but two channels that differ by more than their level."""
    if len(audio) != 2:
        raise HarnessError(
            f"{where}: has {len(audio)} channels; this method needs two, so add 'channels: 2' to "
            "the entry, or use a separator of single channels, such as repet"
        )
    pair = np.einsum("cn,dn->cd", audio, audio, dtype=np.float64)
    small, large = np.linalg.eigvalsh(pair)
    if large > 0 and small < SAME * large:
        raise HarnessError(
            f"{where}: both channels hold one signal (ratio of eigenvalues "
            f"{max(small, 0) / large:.0e}, least {SAME:.0e}), from which no 2 × 2 filter can "
            "separate anything; use a separator of single channels, such as repet"
        )


def fast_ica(signals: npt.NDArray[np.float64], iterations: int) -> Matrices:
    """Return the matrix (2, 2) that makes two signals (2, samples) independent."""
    centered = signals - signals.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(centered @ centered.T / centered.shape[1])
    whitening = (vectors / np.sqrt(np.maximum(values, SAME**2 * values[1]))).T
    white = whitening @ centered
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    for _ in progress.each(range(iterations)):
        tanh = np.tanh(turn @ white)
        slope = 1 - np.mean(tanh**2, axis=1, keepdims=True)
        left, _, right = np.linalg.svd(tanh @ white.T / white.shape[1] - slope * turn)
        before, turn = turn, left @ right
        if np.all(1 - np.abs(np.sum(turn * before, axis=1)) < 1e-8):
            break
    progress.tell(1.0)
    return np.asarray(turn @ whitening, np.complex128)


def projections(matrices: Matrices) -> Matrices:
    """Return what takes the mixture to each source's image, (2, bins, 2, 2); both sum to one."""
    mixing = np.linalg.inv(matrices)
    each = [mixing[:, :, i, np.newaxis] * matrices[:, np.newaxis, i] for i in range(2)]
    return np.stack(each)


def filtered(matrices: Matrices, spectrum: Spectrum) -> Spectrum:
    """Return the matrices times both rows of a spectrum (2, frames, bins)."""
    m = matrices.astype(np.complex64).transpose(1, 2, 0)[:, :, np.newaxis]
    return np.stack([row[0] * spectrum[0] + row[1] * spectrum[1] for row in m])


def central(audio: Audio, stft: Stft, sample_rate: int, images: Matrices) -> int:
    """Return which image is the voice; see `_TwoByTwo` for the rule.

    The distance from the middle is half the angle with the cosine 2 Re(L·R*) / (|L|² + |R|²), from
    0 (equal channels) to a right angle (opposite ones).
    """
    low, high = (stft.bin_of(edge, sample_rate) for edge in VOICE)
    envelopes = np.zeros((2, stft.n_frames(audio.shape[1])))
    alike, total = np.zeros(2), np.zeros(2)
    for frames, spectrum in stft.blocks(audio):
        for i, image in enumerate(images):
            left, right = filtered(image, spectrum)
            level = np.abs(left) ** 2 + np.abs(right) ** 2
            total[i] += level.sum()
            envelopes[i, frames] = level[:, low:high].sum(axis=1)
            alike[i] += 2 * np.real(left * right.conj())[:, low:high].sum()
    tiny = np.finfo(np.float64).tiny
    cosine = alike / np.maximum(envelopes.sum(axis=1), tiny)
    angles = np.arccos(np.clip(cosine, -1, 1)) / 2
    if abs(angles[0] - angles[1]) >= ALIKE:
        return int(angles.argmin())
    modulation = np.abs(np.fft.rfft(envelopes - envelopes.mean(axis=1, keepdims=True))) ** 2
    hertz = np.fft.rfftfreq(envelopes.shape[1], stft.hop / sample_rate)
    syllables = modulation[:, (hertz >= SYLLABLES[0]) & (hertz <= SYLLABLES[1])].sum(axis=1)
    voiced = envelopes.sum(axis=1) * syllables
    return int(np.argmax(voiced / np.maximum(total * modulation.sum(axis=1), tiny)))


def second_order(audio: Audio, stft: Stft) -> tuple[Matrices, Products]:
    """Return per bin a matrix that makes the channels white, and the products of white ones."""
    covariance = np.zeros((stft.n_bins, 2, 2), np.complex128)
    with progress.part(0, 2):
        for _, spectrum in stft.blocks(audio):
            by_bin = spectrum.transpose(2, 0, 1).astype(np.complex128)
            covariance += by_bin @ by_bin.conj().swapaxes(1, 2)
    covariance /= stft.n_frames(audio.shape[1])
    trace = np.trace(covariance, axis1=1, axis2=2).real
    least = 1e-10 * trace + FLOOR * max(float(trace.mean()), np.finfo(np.float64).tiny)
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, least[:, np.newaxis])
    whitening = (vectors / np.sqrt(values)[:, np.newaxis]).conj().swapaxes(1, 2)
    products = np.empty((stft.n_bins, 4, stft.n_frames(audio.shape[1])), np.float32)
    with progress.part(1, 2):
        for frames, spectrum in stft.blocks(audio):
            a, b = filtered(whitening, spectrum).transpose(0, 2, 1)
            cross = 2 * a * b.conj()
            for i, part in enumerate((np.abs(a) ** 2, np.abs(b) ** 2, cross.real, cross.imag)):
                products[:, i, frames] = part
    return whitening, products


def powers_of(filters: Matrices, products: Products) -> Powers:
    """Return the power of both sources at each point."""
    cross = filters[..., 0] * filters[..., 1].conj()
    squares = np.abs(filters) ** 2
    factors = np.stack([squares[..., 0], squares[..., 1], cross.real, -cross.imag], axis=-1)
    return np.asarray(np.maximum(factors.astype(np.float32) @ products, 0), np.float32)


def covariances(weights: Powers, products: Products) -> Matrices:
    """Return the covariance of the channels weighted for each source, (bins, 2, 2, 2)."""
    sums = (weights @ products.swapaxes(1, 2)).astype(np.float64) / products.shape[2]
    cross = (sums[..., 2] + 1j * sums[..., 3]) / 2
    rows = [sums[..., 0], cross, cross.conj(), sums[..., 1]]
    return np.stack(rows, axis=-1).reshape(*cross.shape, 2, 2)


def best_filters(weighted: Matrices) -> Matrices:
    """Return the filters that maximize the likelihood for these weighted covariances.

    They are the generalized eigenvectors of both covariances of a bin: each source's filter lets
    the least pass under its own weights, compared with the other's.
    """
    trace = np.trace(weighted, axis1=2, axis2=3).real[..., np.newaxis, np.newaxis]
    first, second = np.moveaxis(weighted + (ROUNDING * trace + 1e-30) * np.eye(2), 1, 0)
    root = np.linalg.inv(np.linalg.cholesky(first))
    values, vectors = np.linalg.eigh(root @ second @ root.conj().swapaxes(1, 2))
    found = (root.conj().swapaxes(1, 2) @ vectors).conj().swapaxes(1, 2)[:, ::-1]
    scale = np.stack([np.ones(len(values)), np.maximum(values[:, 0], 1e-30)], axis=1)
    return np.asarray(found / np.sqrt(scale)[..., np.newaxis], np.complex128)


def _fit(powers: Magnitude, model: Magnitude, degrees: float | None) -> tuple[Magnitude, Magnitude]:
    """Return what raises and what lowers a source's model in its updates."""
    inverse = np.float32(1) / np.maximum(model, np.float32(FLOOR))
    ratio = powers * inverse / _expected(powers, model, degrees)
    return np.asarray(ratio, np.float32), np.asarray(inverse, np.float32)


def _expected(powers: Magnitude, model: Magnitude, degrees: float | None) -> Magnitude:
    """Return the power by which a point is weighted: the model's, or for t nearer to its own."""
    if degrees is None:
        return np.maximum(model, np.float32(FLOOR))
    share = np.float32(degrees / (degrees + 2))
    return np.maximum(share * model + (1 - share) * powers, np.float32(FLOOR))
