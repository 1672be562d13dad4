"""Spleeter: one 2-D U-Net per stem, which together make ratio masks, with its published key names.

Hennequin, Khlif, Voituret & Moussallam, "Spleeter: a fast and efficient music source separation
tool with pre-trained models", Journal of Open Source Software, 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import TorchStft, apply_masks

MaskExtension = Literal["zeros", "average"]

DEPTH = 6  # convolutions of stride 2; their channels double
EDGES = (1, 2, 1, 2)  # bins and frames added before a convolution
NORM = 1e-3  # epsilon of the batch norms
EPSILON = 1e-10  # of the ratio masks


class Stretch(nn.ConvTranspose2d):
    """A transposed 5×5 convolution of stride 2 without its first and its last two rows and columns.

    It is computed as a 3×3 convolution that returns the four pixels between each two rows and
    columns as channels. On a CPU that takes two thirds of the time.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 5, stride=2)
        self._kept: tuple[Any, Tensor] = (None, torch.empty(0))  # what a kernel is of, and it

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return (B, outputs, 2 · rows, 2 · columns) of (B, inputs, rows, columns)."""
        assert self.bias is not None
        bias = self.bias.repeat_interleave(4)
        found = functional.conv2d(x, self._kernel(), bias, padding=1)
        return functional.pixel_shuffle(found, 2)

    def _kernel(self) -> Tensor:
        """Return the 3×3 kernel (4 · outputs, inputs, 3, 3); without gradients the last one."""
        weight = self.weight
        now = (weight.data_ptr(), weight._version, weight.device, weight.dtype)
        if torch.is_grad_enabled() or self._kept[0] != now:
            taps = functional.pad(weight.flip(2, 3), (0, 1, 0, 1))  # an even number of them
            taps = taps.reshape(*taps.shape[:2], 3, 2, 3, 2).flip(3, 5)
            kernel: Tensor = taps.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
            if torch.is_grad_enabled():
                return kernel
            self._kept = now, kernel.contiguous(memory_format=torch.channels_last)
        return self._kept[1]


class SpleeterUNet(nn.Module):
    """Magnitudes of one stem from those of the mixture, both (B, 2, frames, bins).

    Frames and bins are multiples of 64.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        down = [width * 2**level for level in range(DEPTH)]
        for i, (inputs, outputs) in enumerate(zip([2, *down[:-1]], down, strict=True), 1):
            conv = nn.Conv2d(inputs, outputs, 5, stride=2)
            self.add_module(f"down{i}_conv", nn.Sequential(nn.ZeroPad2d(EDGES), conv))
            norm = nn.BatchNorm2d(outputs, eps=NORM)
            self.add_module(f"down{i}_act", nn.Sequential(norm, nn.LeakyReLU(0.2)))
        up = [*down[-2::-1], 1]
        skipped = [down[-1], *(2 * channels for channels in up[:-1])]  # with the skips
        for i, (inputs, outputs) in enumerate(zip(skipped, up, strict=True), 1):
            norm = nn.BatchNorm2d(outputs, eps=NORM)
            block = nn.Sequential(Stretch(inputs, outputs), nn.Identity(), nn.ReLU(), norm)
            self.add_module(f"up{i}", block)
        self.up7 = nn.Sequential(nn.Conv2d(1, 2, 4, dilation=2, padding=3), nn.Sigmoid())

    def forward(self, magnitude: Tensor) -> Tensor:
        """Return the stem's magnitudes, at most those of the mixture."""
        x, skips = magnitude, []
        if x.device.type == "cpu":  # convolutions are faster there if channels are the last axis
            x = x.contiguous(memory_format=torch.channels_last)
        for i in range(1, DEPTH + 1):
            skips.append(self.get_submodule(f"down{i}_conv")(x))
            x = self.get_submodule(f"down{i}_act")(skips[-1]) if i < DEPTH else skips.pop()
        for i in range(1, DEPTH + 1):
            x = self.get_submodule(f"up{i}")(x)
            x = torch.cat([skips.pop(), x], dim=1) if skips else x
        mask: Tensor = self.up7(x)
        return mask * magnitude


class Spleeter(nn.Module):
    """What the frames of one block add to the estimates; blocks are summed, not cross-faded.

    The masks of a block depend on its frames only. `mask_extension` is the mask above the last bin
    that the network sees: ``zeros``, or ``average``, the mean of the mask below in each frame.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "accompaniment"),
        *,
        mask_extension: MaskExtension = "zeros",
        n_fft: int = 4096,
        hop: int = 1024,
        bins: int = 1024,  # that the network sees, from 0 Hz
        frames: int = 512,  # of a block
        width: int = 16,  # channels of the first layer
    ) -> None:
        super().__init__()
        self.stems, self.bins, self.frames = tuple(stems), bins, frames
        self.mask_extension = mask_extension
        self.stft = TorchStft(n_fft, hop)
        self.networks = nn.ModuleList(SpleeterUNet(width) for _ in self.stems)
        self.segment = frames * hop  # samples from one block to the next
        self.tails = n_fft // 2  # samples before and behind them that its frames reach

    def forward(self, chunk: Tensor) -> Tensor:
        """Return contributions (B, stems, 2, N) of a chunk (B, 2, N) with tails on both sides.

        Frame t of the block is centered `tails` + t hops behind the chunk's first sample.
        """
        spectrum = self.stft.frames(chunk)[..., : self.frames, :]
        masks = self._masks(spectrum[..., : self.bins].abs())
        found = self.stft.overlapped(apply_masks(masks, spectrum[:, None]))
        return functional.pad(found, (0, chunk.shape[-1] - found.shape[-1]))

    def envelope(self, samples: int) -> Tensor:
        """Return what the frames of a signal add up to at each sample: 1, but less at its ends."""
        return self.stft.envelope(samples // self.stft.hop + 1)[self.tails : self.tails + samples]

    def _masks(self, magnitude: Tensor) -> Tensor:
        """Return ratio masks (B, stems, 2, frames, all bins) from magnitudes (B, 2, frames, bins).

        Missing frames at the end of a signal are silent ones.
        """
        frames = magnitude.shape[-2]
        whole = functional.pad(magnitude, (0, 0, 0, self.frames - frames))
        power = torch.stack([network(whole)[..., :frames, :] for network in self.networks], dim=1)
        power = power.float().square()
        total = power.sum(dim=1, keepdim=True) + EPSILON
        masks = (power + EPSILON / len(self.stems)) / total
        above = self.stft.n_fft // 2 + 1 - self.bins
        if self.mask_extension == "zeros":
            return functional.pad(masks, (0, above))
        mean = masks.mean(dim=-1, keepdim=True)
        return torch.cat([masks, mean.expand(*mean.shape[:-1], above)], dim=-1)
