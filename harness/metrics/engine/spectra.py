"""Short-time spectra of two signals in blocks that stay in the cache, and filters."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import torch

from harness.core.audio import Audio
from harness.metrics.engine import kernel
from harness.metrics.engine.kernel import Complex64

CHUNK = 1 << 19  # samples that are transformed at a time; making a transform costs time too
OVERLAP = 4  # a frame starts at each such part of the size


@dataclass
class SpectraBlock:
    """Spectra of the same frames of one channel of two signals, without a window."""

    spectra: tuple[Complex64, Complex64]  # each (frames, size // 2 + 1)
    first: int  # number of the first frame
    padding: str = ""  # what is beyond the ends of the signals, if these frames reach there
    _sizes: dict[float, tuple[Audio, Audio]] = field(default_factory=dict)

    def sizes(self, least: float) -> tuple[Audio, Audio]:
        """Absolute values with Hann's window, at least the root of `least`; computed once."""
        if least not in self._sizes:
            x, y = self.spectra
            self._sizes[least] = kernel.sizes(x, least), kernel.sizes(y, least)
        return self._sizes[least]


def blocks(
    reference: Audio, estimate: Audio, size: int, paddings: Collection[str]
) -> Iterator[SpectraBlock]:
    """Transform frames around every quarter of `size` of one channel, shape (samples,), float32.

    There are more than ``size // 2`` samples. Frames that reach beyond an end come once for each of
    `paddings`, ``reflect`` or ``zeros``.
    """
    hop, early = size // OVERLAP, OVERLAP // 2
    pair = [torch.from_numpy(signal) for signal in (reference, estimate)]
    n_frames, n_inside = len(reference) // hop + 1, max(0, (len(reference) - size) // hop + 1)
    step = CHUNK // size
    for start in range(0, n_inside, step):
        stop = min(start + step, n_inside)
        cut = (x[start * hop : (stop - 1) * hop + size].unfold(0, size, hop) for x in pair)
        yield SpectraBlock(_transformed(*cut), early + start)
    for frames in (range(min(early, n_frames)), range(early + n_inside, n_frames)):
        for padding in paddings if frames else ():
            cut = (_padded(x, frames, size, padding) for x in pair)
            yield SpectraBlock(_transformed(*cut), frames.start, padding)


def _transformed(reference: torch.Tensor, estimate: torch.Tensor) -> tuple[Complex64, Complex64]:
    return torch.fft.rfft(reference).numpy(), torch.fft.rfft(estimate).numpy()


def _padded(signal: torch.Tensor, frames: range, size: int, padding: str) -> torch.Tensor:
    """Cut frames that reach beyond the ends, shape (frames, size)."""
    centers = torch.tensor(frames)[:, None] * (size // OVERLAP)
    at = centers + torch.arange(-(size // 2), size - size // 2)
    last = len(signal) - 1
    inside = last - (last - at.abs()).abs()
    cut = signal[inside]
    return cut * (inside == at) if padding == "zeros" else cut


def filtered(signal: Audio, taps: Audio, start: int) -> Audio:
    """Convolve each channel; return as many samples as there are, from sample `start` on.

    Blocks overlap by the length of the filter.
    """
    rest = len(taps) - 1
    size = 1 << max(12, (8 * rest).bit_length())
    hop = size - rest
    n_blocks = -(-signal.shape[1] // hop)
    response = torch.fft.rfft(torch.from_numpy(taps), size) / size
    out = torch.empty(len(signal), n_blocks * hop)
    for channel, whole in zip(signal, out, strict=True):
        x = torch.zeros(n_blocks * hop + rest)
        x[rest - start : rest - start + len(channel)] = torch.from_numpy(channel)
        pieces, found = x.unfold(0, size, hop), whole.view(n_blocks, hop)
        step = max(64, CHUNK // size)
        for at in range(0, n_blocks, step):
            spectra = torch.fft.rfft(pieces[at : at + step])
            spectra *= response
            found[at : at + step] = torch.fft.irfft(spectra, size, norm="forward")[:, rest:]
    result: Audio = out[:, : signal.shape[1]].numpy()
    return result
