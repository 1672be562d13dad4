"""Conv-TasNet, and its temporal convolutional network with two gates per block.

Luo & Mesgarani, "Conv-TasNet", IEEE/ACM TASLP 27(8), 2019. The gates are those of Yang, "Real-time
audio source separation in live music performances using edge AI technology", section III.C. That
text gives neither sizes nor an encoder, so both come from Conv-TasNet, whose counts `gates="none"`
has. docs/mir1k.md says how each sentence of the text was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.separators.networks.features import normalise
from harness.separators.networks.network import Network

Gates = Literal["none", "input", "output", "both"]
Attention = Literal["self", "se", "cbam", "sk", "none"]

POOLED = 16  # frames per key and value of the self-attention
REDUCTION = 8  # channels per channel in the middle of the channel attentions
EPS = 1e-8


class TasNetBlock(nn.Module):
    """A dilated convolution between two mixings of channels; (B, narrow, F) in and out."""

    def __init__(
        self,
        narrow: int,
        wide: int,
        taps: int,
        dilation: int,
        *,
        gates: Gates,
        attention: Attention,
        head: int,
        music: bool,
    ) -> None:
        super().__init__()
        bias = not music
        self.widen = nn.Conv1d(narrow, wide, 1, bias=bias)
        self.first = nn.Sequential(nn.PReLU(), global_norm(wide))
        self.input_gate = nn.Conv1d(narrow, wide, 1) if gates in ("input", "both") else None
        self.spread = (
            SelectedKernels(wide, taps, dilation)
            if attention == "sk"
            else depthwise(wide, taps, dilation, bias=bias)
        )
        self.second = nn.Sequential(nn.PReLU(), global_norm(wide))
        self.attention = {"se": ChannelWeights, "cbam": ChannelAndTimeWeights}.get(
            attention, nn.Identity
        )(wide)
        self.out = nn.Conv1d(wide, narrow, 1, bias=bias)
        self.skip = None if music else nn.Conv1d(wide, narrow, 1)
        self.output_gate: nn.Module | None = None
        if gates in ("output", "both"):
            plain = attention == "none"
            self.output_gate = (
                nn.Conv1d(narrow, narrow, 1) if plain else SelfAttention(narrow, head)
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the block's output, and what it adds to the sum over all blocks."""
        h = self.first(self.widen(x))
        if self.input_gate is not None:
            h = h * self.input_gate(x).sigmoid()
        h = self.attention(self.second(self.spread(h)))
        o = self.out(h)
        if self.output_gate is not None:
            o = o * self.output_gate(o).sigmoid()
        return x + o, None if self.skip is None else self.skip(h)


class SelfAttention(nn.Module):
    """One head without positions, from every frame to means of `POOLED` frames."""

    def __init__(self, channels: int, head: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, head, bias=False)
        self.key = nn.Linear(channels, head, bias=False)
        self.value = nn.Linear(channels, head, bias=False)
        self.project = nn.Linear(head, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, F) from (B, C, F)."""
        pooled = functional.avg_pool1d(x, POOLED, ceil_mode=True).transpose(1, 2)
        query, key, value = self.query(x.transpose(1, 2)), self.key(pooled), self.value(pooled)
        seen = functional.scaled_dot_product_attention(*(t[:, None] for t in (query, key, value)))
        projected: Tensor = self.project(seen[:, 0])
        return projected.transpose(1, 2)


class ChannelWeights(nn.Module):
    """Squeeze and excitation: a weight in (0, 1) per channel, from its mean over time."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        middle = max(1, channels // REDUCTION)
        self.squeeze, self.excite = nn.Linear(channels, middle), nn.Linear(middle, channels)

    def scores(self, means: Tensor) -> Tensor:
        """Return (B, C) before the sigmoid."""
        scores: Tensor = self.excite(torch.relu(self.squeeze(means)))
        return scores

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted channels (B, C, F)."""
        return x * self.scores(x.mean(dim=2)).sigmoid()[..., None]


class ChannelAndTimeWeights(ChannelWeights):
    """CBAM: weights of channels from their means and maxima, then weights of frames likewise."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.frames = nn.Conv1d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted channels and frames (B, C, F)."""
        x = x * (self.scores(x.mean(dim=2)) + self.scores(x.amax(dim=2))).sigmoid()[..., None]
        summary = torch.stack([x.mean(dim=1), x.amax(dim=1)], dim=1)
        weights: Tensor = self.frames(summary).sigmoid()
        return x * weights


class SelectedKernels(nn.Module):
    """SK: for each channel a choice, which sums to one, between two lengths of kernels."""

    def __init__(self, channels: int, taps: int, dilation: int) -> None:
        super().__init__()
        self.short = depthwise(channels, taps, dilation)
        self.long = depthwise(channels, taps + 2, dilation)
        middle = max(1, channels // REDUCTION)
        self.squeeze, self.choose = nn.Linear(channels, middle), nn.Linear(middle, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, F); the softmax over two scores is the sigmoid of their difference."""
        short, long = self.short(x), self.long(x)
        middle = torch.relu(self.squeeze((short + long).mean(dim=2)))
        share = self.choose(middle).sigmoid()[..., None]
        chosen: Tensor = long + share * (short - long)
        return chosen


class ChannelNorm(nn.LayerNorm):
    """Normalization over the channels of each frame, of (B, C, F)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, F)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


def global_norm(channels: int) -> nn.GroupNorm:
    """Return a normalization over channels and time together."""
    return nn.GroupNorm(1, channels, eps=EPS)


def depthwise(channels: int, taps: int, dilation: int, *, bias: bool = True) -> nn.Conv1d:
    """Return a convolution of each channel by itself, which keeps the number of frames."""
    reach = (taps - 1) // 2 * dilation
    return nn.Conv1d(
        channels, channels, taps, padding=reach, dilation=dilation, groups=channels, bias=bias
    )


class TasNet(Network):
    """Masks on a learned transform of the waveform.

    The estimates sum to the mixture: their masks sum to one, and what the transform loses is shared
    equally. `music` is the form in which Défossez et al. trained Conv-TasNet on music (2019): masks
    by ReLU from the last block alone, no biases, no normalization of levels, silence after the last
    whole frame. Its estimates need not sum to the mixture.

    The output gate takes its weights from self-attention, or from a plain convolution with
    ``attention="none"``. ``se`` and ``cbam`` weight the output of the dilated convolution, ``sk``
    chooses between two of them.

    The last block's output is added to the sum over the blocks. So all blocks are alike, and no
    weight of the last one is idle.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("vocals", "drums", "bass", "other"),
        sample_rate: int = 44100,
        channels: int = 2,
        *,
        segment: int = 176400,
        filters: int = 128,  # of the encoder: N in the paper of Conv-TasNet
        kernel: int = 32,  # samples of a filter, twice the hop: L
        narrow: int = 64,  # channels between blocks: B
        wide: int = 128,  # channels within a block: H
        taps: int = 3,  # of the dilated convolution: P
        blocks: int = 6,  # per repeat, with dilations 1, 2, 4, …: X
        repeats: int = 2,  # R
        gates: Gates = "both",
        attention: Attention = "self",
        head: int = 16,  # width of the self-attention
        music: bool = False,
    ) -> None:
        if kernel % 2 or not taps % 2:
            raise ValueError(f"kernel {kernel} is not even, or taps {taps} are not odd")
        for name, known in ((gates, get_args(Gates)), (attention, get_args(Attention))):
            if name not in known:
                raise ValueError(f"{name!r} is none of {', '.join(known)}")
        super().__init__(stems, sample_rate, channels, segment)
        self.kernel, self.hop, self.music = kernel, kernel // 2, music
        self.per_repeat = blocks
        self.encoder = nn.Conv1d(channels, filters, kernel, self.hop, bias=False)
        self.norm = ChannelNorm(filters, eps=EPS) if music else global_norm(filters)
        self.reduce = nn.Conv1d(filters, narrow, 1, bias=not music)
        self.blocks = nn.ModuleList(
            TasNetBlock(
                narrow, wide, taps, 2 ** (i % blocks),
                gates=gates, attention=attention, head=head, music=music,
            )
            for i in range(repeats * blocks)
        )  # fmt: skip
        self.before_masks = nn.Identity() if music else nn.PReLU()
        self.masks = nn.Conv1d(narrow, len(self.stems) * filters, 1, bias=not music)
        self.decoder = nn.ConvTranspose1d(filters, channels, kernel, self.hop, bias=False)

    def forward(self, mixture: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N) of a mixture (B, C, N)."""
        if self.music:
            return self._filtered(mixture)
        x, _, deviation = normalise(mixture)
        estimates = self._filtered(x) * deviation[:, None]
        lost = mixture[:, None] - estimates.sum(dim=1, keepdim=True)
        return estimates + lost / len(self.stems)

    def _filtered(self, x: Tensor) -> Tensor:
        """Return estimates (B, stems, C, N), of which `music` needs no more."""
        samples = x.shape[-1]
        tail = 0 if self.music else (self.kernel - samples) % self.hop
        code = torch.relu(self.encoder(functional.pad(x, (0, max(tail, self.kernel - samples)))))
        masked = (self._masks(code) * code[:, None]).flatten(0, 1)
        estimates: Tensor = self.decoder(masked)[..., :samples]
        whole = functional.pad(estimates, (0, samples - estimates.shape[-1]))
        return whole.reshape(len(x), len(self.stems), *whole.shape[1:])

    def _masks(self, code: Tensor) -> Tensor:
        """Return (B, stems, filters, F) from the encoder's output (B, filters, F)."""
        x = self.reduce(self.norm(code))
        total: Tensor | float = 0.0
        for block in self.blocks:
            x, part = block(x)
            total = total if part is None else total + part
        scores = self.masks(self.before_masks(x + total)).unflatten(1, (len(self.stems), -1))
        if self.music:
            return torch.relu(scores)
        shares: Tensor = scores.sigmoid()
        return shares / (shares.sum(dim=1, keepdim=True) + EPS)
