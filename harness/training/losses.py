"""Losses, functions of (estimate, target, mixture) that return one number.

Estimate and target have shape (batch, stems, channels, samples), the mixture (batch, channels,
samples); weights are per stem, shape (stems,), with mean one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from harness.core.errors import HarnessError
from harness.registry import suggestion

RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # FFT, hop, window in samples
FLOOR = 1e-7  # added to energies before a logarithm or a division


def spectrum(signal: Tensor, n_fft: int, hop: int, window: int) -> Tensor:
    """Return the magnitude spectrogram with a Hann window.

    **Shape:** (…, samples) → (signals, n_fft / 2 + 1, frames); leading axes become one.
    """
    shape = torch.hann_window(window, device=signal.device)
    flat = signal.reshape(-1, signal.shape[-1])
    complex_ = torch.stft(flat, n_fft, hop, window, shape, pad_mode="constant", return_complex=True)
    power = complex_.real.square() + complex_.imag.square()
    magnitude: Tensor = (power + FLOOR).sqrt()
    return magnitude


def _magnitudes(
    estimate: Tensor, target: Tensor, n_fft: int, hop: int, window: int
) -> tuple[Tensor, Tensor]:
    """Return both spectrograms, each of shape (stems, all other values)."""
    stems = [x.transpose(0, 1) for x in (estimate, target)]
    ours, theirs = (spectrum(x, n_fft, hop, window).reshape(len(x), -1) for x in stems)
    return ours, theirs


def stft_distance(estimate: Tensor, target: Tensor, resolution: tuple[int, int, int]) -> Tensor:
    """Return spectral convergence plus log-magnitude distance for each stem, shape (stems,).

    Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020, equations 4 to 6. The norms are
    computed over the batch, so that a silent target does not lead to a huge ratio.
    """
    ours, theirs = _magnitudes(estimate, target, *resolution)
    convergence: Tensor = (theirs - ours).norm(dim=1) / (theirs.norm(dim=1) + FLOOR)
    distance: Tensor = (theirs.log() - ours.log()).abs().mean(dim=1)
    return convergence + distance


def waveform_stft(
    estimate: Tensor, target: Tensor, mixture: Tensor, weights: Tensor, *, share: float = 0.15
) -> Tensor:
    """Return (1 − share) · L1 of the waveform + share · multi-scale STFT distance.

    The Polimi report, section 7.1, with share = 0.15, FFTs of 512, 1024 and 2048, and a
    weight of 1.2 for drums and bass.
    """
    wave = (estimate - target).abs().mean(dim=(0, 2, 3))
    scales = [stft_distance(estimate, target, resolution) for resolution in RESOLUTIONS]
    loss: Tensor = (weights * ((1 - share) * wave + share * sum(scales) / len(scales))).mean()
    return loss


def waveform(estimate: Tensor, target: Tensor, mixture: Tensor, weights: Tensor) -> Tensor:
    """Return the mean absolute difference of the waveforms."""
    loss: Tensor = (weights * (estimate - target).abs().mean(dim=(0, 2, 3))).mean()
    return loss


def spectrogram(
    estimate: Tensor,
    target: Tensor,
    mixture: Tensor,
    weights: Tensor,
    *,
    n_fft: int = 2048,
    hop: int = 512,
) -> Tensor:
    """Return the mean absolute difference of magnitude spectrograms, for networks that mask.

    Jansson et al., "Singing voice separation with deep U-Net convolutional networks", ISMIR 2017;
    divided by √n_fft, so that it has the size of the waveform's difference.
    """
    ours, theirs = _magnitudes(estimate, target, n_fft, hop, n_fft)
    loss: Tensor = (weights * (theirs - ours).abs().mean(dim=1)).mean() / n_fft**0.5
    return loss


def negative_snr(
    estimate: Tensor,
    target: Tensor,
    mixture: Tensor,
    weights: Tensor,
    *,
    soft: float = 1e-3,
    pooled: bool = False,
) -> Tensor:
    """Return the negative signal-to-noise ratio in dB, a mean over excerpts and stems.

    10·log10((Σ(s−ŝ)² + τ) / (Σs² + τ)) with τ = soft · Σx² of the mixture x: errors 30 dB below the
    mixture no longer count, and a silent target has a bounded loss. After Wisdom et al.,
    "Unsupervised sound separation using mixture invariant training", NeurIPS 2020. With `pooled`
    the sums run over all excerpts of a batch. Otherwise a rare stem, which is silent in most
    excerpts, would be trained to be always silent.
    """
    over = (0, 2, 3) if pooled else (2, 3)
    threshold = soft * mixture.square().sum(dim=(1, 2)).unsqueeze(1) + FLOOR
    threshold = threshold.sum(dim=0) if pooled else threshold
    error = (estimate - target).square().sum(dim=over) + threshold
    energy = target.square().sum(dim=over) + threshold
    loss: Tensor = (weights * 10 * (error / energy).log10()).mean()
    return loss


LOSSES: dict[str, Callable[..., Tensor]] = {
    loss.__name__: loss for loss in (waveform_stft, waveform, spectrogram, negative_snr)
}


def make_loss(name: str, options: Mapping[str, Any], stems: Sequence[str]) -> Callable[..., Tensor]:
    """Return the loss of a recipe: (estimate, target, mixture) → number.

    The options are keyword arguments of the loss, and ``stem_weights``, {stem: weight}, where the
    default weight is 1.
    """
    if name not in LOSSES:
        raise HarnessError(f"loss {name}: not known; {suggestion(name, LOSSES)}")
    rest = dict(options)
    given: Mapping[str, float] = rest.pop("stem_weights", {})
    if unknown := sorted(set(given) - set(stems)):
        raise HarnessError(
            f"loss {name}: stem_weights names {unknown[0]!r}; {suggestion(unknown[0], stems)}"
        )
    weights = torch.tensor([given.get(stem, 1.0) for stem in stems])
    weights = weights / weights.mean()

    def loss(estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
        return LOSSES[name](estimate, target, mixture, weights.to(estimate.device), **rest)

    return loss
