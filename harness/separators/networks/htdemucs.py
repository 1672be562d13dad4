"""A small hybrid transformer: spectrogram and waveform in parallel, joined by attention.

Rouard, Massa & Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023, through
the class of the ``demucs`` package, with a quarter of its channels and two fifths of its attention,
to train without a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence

from demucs.htdemucs import HTDemucs as Published
from torch import Tensor
from torch.nn import functional

from harness.separators.networks.features import normalise
from harness.separators.networks.network import Network


class HTDemucs(Network):
    """U-Nets over the spectrogram and over the waveform, with a transformer across at the bottom.

    The spectrogram has a hop of a quarter window. In a window below 2048 samples the four layers
    of the U-Net leave no frequencies for the transformer to join.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 65536,
        n_fft: int = 4096,
        width: int = 12,  # channels of the first layer; they double with each layer
        context: int = 0,  # neighbors on each side in the convolutions of the decoders' gates
        layers: int = 2,  # of the transformer
        heads: int = 4,
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        self.n_fft = n_fft
        self.model = Published(
            list(stems),
            audio_channels=channels,
            samplerate=sample_rate,
            nfft=n_fft,
            channels=width,
            context=context,
            t_layers=layers,
            t_heads=heads,
            t_hidden_scale=2.0,
            use_train_segment=False,  # chunks of any length
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        samples = mixture.shape[-1]
        x, mean, deviation = normalise(mixture)
        x = functional.pad(x, (0, max(0, self.n_fft - samples)))  # a deviation needs some samples
        estimates: Tensor = self.model(x)[..., :samples]
        return estimates * deviation[:, None] + mean[:, None] / len(self.stems)
