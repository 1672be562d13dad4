"""SCNet: bands of a complex spectrogram, compressed by their content, and two paths of LSTMs.

Tong, Zhu, Chen, Kang, Xu & Kang, "SCNet: Sparse Compression Network for Music Source Separation",
ICASSP 2024. Modules are named as in the authors' checkpoints, so that those load. `docs/scnet.md`
derives every block and its parameters.

Letters: B batch, C channels, F bins, T frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.network import Network

KERNELS, STRIDES = (3, 4, 16), (1, 4, 16)  # of the low, middle and high band, in bins
DEPTHS = (3, 2, 1)  # convolution modules of each band
COMPRESSION = 4  # of the channels inside a convolution module
EPS = 1e-5

Cuts = tuple[tuple[int, int], ...]  # first bin of each band, and the one after its last


def split(bins: int, shares: Sequence[float]) -> Cuts:
    """Return the first bin of each band, and the one after its last.

    Examples
    --------
    >>> split(2049, (0.175, 0.392, 0.433))
    ((0, 359), (359, 1162), (1162, 2049))
    """
    low = math.ceil(bins * shares[0])
    middle = math.ceil(bins * (shares[0] + shares[1]))
    return (0, low), (low, middle), (middle, bins)


class ConvolutionModule(nn.Module):
    """Residual convolutions (rows, C, T) along time, the same for every bin of a band."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        inner = channels // COMPRESSION
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, channels),
                nn.Conv1d(channels, 2 * inner, 3, padding=1),
                nn.GLU(dim=1),
                nn.Conv1d(inner, inner, 3, padding=1, groups=inner),
                nn.GroupNorm(1, inner),
                nn.SiLU(),
                nn.Conv1d(inner, channels, 1),
            )
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape."""
        for layer in self.layers:
            x = x + layer(x)
        return x


class SDLayer(nn.Module):
    """Sparse down-sampling: each band has its own kernel and stride along frequency."""

    def __init__(self, inputs: int, outputs: int, shares: Sequence[float]) -> None:
        super().__init__()
        self.shares = tuple(shares)
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(KERNELS, STRIDES, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return one tensor (B, outputs, about F / stride, T) per band."""
        bands = []
        for conv, (first, end), kernel, stride in zip(
            self.convs, split(x.shape[2], self.shares), KERNELS, STRIDES, strict=True
        ):
            missing = kernel - 1 if stride == 1 else -(end - first) % stride
            before = missing // 2
            bands.append(conv(functional.pad(x[:, :, first:end], (0, 0, before, missing - before))))
        return bands


class SDBlock(nn.Module):
    """A level of the encoder."""

    def __init__(self, inputs: int, outputs: int, shares: Sequence[float]) -> None:
        super().__init__()
        self.SDlayer = SDLayer(inputs, outputs, shares)
        self.conv_modules = nn.ModuleList(ConvolutionModule(outputs, depth) for depth in DEPTHS)
        self.globalconv = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, list[int]]:
        """Return the input of the next level, the skip to the decoder, and its bands' sizes."""
        bands = []
        for module, band in zip(self.conv_modules, self.SDlayer(x), strict=True):
            rows = band.transpose(1, 2)
            out = module(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
            bands.append(functional.gelu(out).transpose(1, 2))
        skip = torch.cat(bands, dim=2)
        return self.globalconv(skip), skip, [band.shape[2] for band in bands]


class DualPath(nn.Module):
    """A bidirectional LSTM along frequency, then one along time; both residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lstm_layers = nn.ModuleList(
            nn.LSTM(channels, channels, bidirectional=True) for _ in range(2)
        )
        self.linear_layers = nn.ModuleList(nn.Linear(2 * channels, channels) for _ in range(2))
        self.norm_layers = nn.ModuleList(nn.GroupNorm(1, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (B, C, F, T)."""
        x = x + self._along(0, x.transpose(2, 3)).transpose(2, 3)
        return x + self._along(1, x)

    def _along(self, path: int, x: Tensor) -> Tensor:
        """Run over the last axis of (B, C, rows, steps), each row separately."""
        steps = self.norm_layers[path](x).permute(3, 0, 2, 1)  # the order inside an LSTM: no copies
        out = self.linear_layers[path](self.lstm_layers[path](steps.flatten(1, 2))[0])
        back: Tensor = out.unflatten(1, steps.shape[1:3]).permute(1, 3, 2, 0)
        return back


class SeparationNet(nn.Module):
    """Dual paths, alternately over frames and over modulation frequencies.

    A real Fourier transform along time is between two of them, with half the steps and, as real and
    imaginary parts, twice the channels; the next one is inverse.
    """

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.dp_modules = nn.ModuleList(DualPath(channels * (1 + i % 2)) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Return the same shape, (B, C, F, T); T must be even."""
        for i, module in enumerate(self.dp_modules):
            x = module(x)
            if i % 2:
                half = x.shape[1] // 2
                x = torch.fft.irfft(torch.complex(x[:, :half], x[:, half:]), dim=3, norm="ortho")
            else:
                changes = torch.fft.rfft(x, dim=3, norm="ortho")
                x = torch.cat([changes.real, changes.imag], dim=1)
        return x


class Fusion(nn.Module):
    """The level below plus the encoder's skip, through a gated convolution.

    The authors stack the sum twice and convolve 2C → 2C channels. One convolution with the sum of
    the two halves of the kernel is equal, at half the work.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return the same shape."""
        first, second = self.conv.weight.chunk(2, dim=1)
        out = functional.conv2d(x + skip, first + second, self.conv.bias, padding=1)
        return functional.glu(out, dim=1)


class SULayer(nn.Module):
    """Sparse up-sampling: the inverse of `SDLayer`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convtrs = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, (kernel, 1), (stride, 1))
            for kernel, stride in zip(KERNELS, STRIDES, strict=True)
        )

    def forward(self, x: Tensor, sizes: Sequence[int], cuts: Cuts) -> Tensor:
        """Return (B, outputs, F, T) from bands of `sizes` bins in sequence, split at `cuts`."""
        bands = []
        for conv, band, (first, end) in zip(
            self.convtrs, torch.split(x, list(sizes), dim=2), cuts, strict=True
        ):
            out = conv(band)
            before = (out.shape[2] - (end - first)) // 2
            bands.append(out[:, :, before : before + end - first])
        return torch.cat(bands, dim=2)


class SUBlock(nn.ModuleList):
    """A level of the decoder: `Fusion`, then `SULayer`."""

    def forward(self, x: Tensor, skip: Tensor, sizes: Sequence[int], cuts: Cuts) -> Tensor:
        """Return (B, outputs, F, T) from the level below and the encoder's skip."""
        out: Tensor = self[1](self[0](x, skip), sizes, cuts)
        return out


class SCNet(Network):
    """Real and imaginary parts of a mixture's spectrogram in, those of every stem out.

    The spectrogram has a rectangular window. The authors' ``dims`` are the 2 · `channels` planes of
    the input, then `widths`; their ``band_SR`` is `shares`. SCNet-large has the widths
    (64, 128, 256) and the shares (0.225, 0.372, 0.403). With `normalise` the spectrogram of each
    example gets zero mean and unit deviation, which is undone at the end. A checkpoint must run as
    it was trained, or its estimates differ.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("drums", "bass", "other", "vocals"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 485100,  # 11 s
        widths: Sequence[int] = (32, 64, 128),  # channels of the encoder's levels
        shares: Sequence[float] = (0.175, 0.392, 0.433),  # of the bins: low, middle, high band
        layers: int = 6,  # dual paths between encoder and decoder, an even number
        n_fft: int = 4096,
        hop: int = 1024,
        normalise: bool = True,
    ) -> None:
        super().__init__(stems, sample_rate, channels, segment)
        if layers % 2:
            raise ValueError(f"{layers} dual paths are not an even number")
        self.widths, self.shares = tuple(widths), tuple(shares)
        self.n_fft, self.hop, self.normalise = n_fft, hop, normalise
        planes = 2 * channels
        pairs = zip([planes, *widths], widths, strict=False)
        self.encoder = nn.ModuleList(SDBlock(i, o, shares) for i, o in pairs)
        self.separation_net = SeparationNet(widths[-1], layers)
        outputs = [planes * len(self.stems), *widths[:-1]]
        self.decoder = nn.ModuleList(
            SUBlock([Fusion(i), SULayer(i, o)])
            for i, o in zip(widths[::-1], outputs[::-1], strict=True)
        )

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, channels, samples) of a mixture (B, channels, samples)."""
        spectrum = self._spectrum(mixture)
        mean, deviation = spectrum.new_zeros(()), spectrum.new_ones(())
        if self.normalise:
            mean = spectrum.mean(dim=(1, 2, 3), keepdim=True)
            deviation = spectrum.std(dim=(1, 2, 3), keepdim=True) + EPS
        planes = self._planes((spectrum - mean) / deviation) * deviation + mean
        return self._signals(planes, mixture.shape[-1])

    def _planes(self, x: Tensor) -> Tensor:
        """Return the planes of all stems (B, stems · planes, F, T) from those of the mixture."""
        levels = []
        for encode in self.encoder:
            cuts = split(x.shape[2], self.shares)
            x, skip, sizes = encode(x)
            levels.append((skip, sizes, cuts))
        x = self.separation_net(x)
        for decode in self.decoder:
            x = decode(x, *levels.pop())
        return x

    def _spectrum(self, mixture: Tensor) -> Tensor:
        """Return (B, 2 · channels, F, T): real and imaginary part of left, then of right.

        The end is padded with zeros to an odd number of hops, so that T is even.
        """
        shortest = self.n_fft // (2 * self.hop)  # the edges are reflected, which needs so much
        hops = max(mixture.shape[-1] // self.hop, shortest) + 1 | 1
        signal = functional.pad(mixture.float(), (0, hops * self.hop - mixture.shape[-1]))
        rows, window = signal.flatten(0, 1), signal.new_ones(self.n_fft)
        spectrum = torch.stft(
            rows, self.n_fft, self.hop, window=window, normalized=True, return_complex=True
        )
        planes = torch.stack([spectrum.real, spectrum.imag], dim=1)
        return planes.reshape(len(mixture), -1, *planes.shape[2:])

    def _signals(self, planes: Tensor, samples: int) -> Tensor:
        """Return (B, stems, channels, samples)."""
        parts = planes.float().reshape(-1, 2, *planes.shape[2:])
        spectrum, window = torch.complex(parts[:, 0], parts[:, 1]), parts.new_ones(self.n_fft)
        signal = torch.istft(spectrum, self.n_fft, self.hop, window=window, normalized=True)
        shape = (len(planes), len(self.stems), self.channels, samples)
        return signal[:, :samples].reshape(shape)
