"""The engine of all learned separators: a long signal in equal chunks, joined without seams.

Chunks overlap and cross-fade linearly; at each sample the weights of all chunks sum to one, also at
the ends. The last chunk is moved back to end with the signal, so that no chunk needs padding. Some
authors let it run over the end instead; their separators say how to pad it. A chunk's estimate
depends only on its samples.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.separators import progress

Estimates = npt.NDArray[np.float32]  # (stems, channels, samples)

GPU_SHARE = 0.25  # of a GPU's free memory that results may use
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # of glibc's malloc.h
OWN = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 2**25, M_TRIM_THRESHOLD: 2**26}  # glibc's usual
_keepers = 0  # active `kept_memory` blocks


@dataclass
class ChunkPlan:
    """The positions of a signal's chunks."""

    starts: Sequence[int]  # first sample of each chunk, rising
    length: int  # samples of every chunk; those beyond the end of the signal are ignored

    def weights(self, index: int) -> Tensor:
        """Return a chunk's weight at each of its samples, shape (length,).

        Examples
        --------
        >>> plan = ChunkPlan([0, 2], 4)
        >>> plan.weights(0)
        tensor([1.0000, 1.0000, 0.6667, 0.3333])
        >>> plan.weights(1)
        tensor([0.3333, 0.6667, 1.0000, 1.0000])
        """
        shifts = (other - self.starts[index] for other in self.starts)
        return _weights(self.length, tuple(shift for shift in shifts if abs(shift) < self.length))


@lru_cache(maxsize=8)  # all chunks except those at the ends have the same neighbours
def _weights(length: int, shifts: tuple[int, ...]) -> Tensor:
    """Return a window divided by the sum of all windows, which start `shifts` samples later."""
    window = triangle(length)
    total = torch.zeros(length, dtype=torch.float64)
    for shift in shifts:
        here = slice(max(0, shift), length + min(0, shift))
        there = slice(max(0, -shift), length - max(0, shift))
        total[here] += window[there]
    return (window / total).float()


def triangle(length: int) -> Tensor:
    """Return a window that rises from its edges to its middle, never zero, in float64.

    Examples
    --------
    >>> triangle(5)
    tensor([1., 2., 3., 2., 1.], dtype=torch.float64)
    """
    rise = torch.arange(1, length + 1, dtype=torch.float64)
    return torch.minimum(rise, rise.flip(0))


def plan_chunks(samples: int, segment: int, overlap: float, *, over: bool = False) -> ChunkPlan:
    """Divide a signal into chunks.

    Parameters
    ----------
    samples, segment
        Length of the signal and of a chunk; a shorter signal is one chunk.
    overlap
        Share of a chunk that the next one repeats, in [0, 1).
    over
        Whether chunks start at every hop within the signal, so that the last ones run over its end.

    Examples
    --------
    >>> plan_chunks(10, 4, 0.5).starts
    [0, 2, 4, 6]
    >>> plan_chunks(11, 4, 0.25).starts
    [0, 3, 6, 7]
    >>> plan_chunks(10, 4, 0.25, over=True).starts
    [0, 3, 6, 9]
    """
    if segment < 1 or not 0 <= overlap < 1:
        raise HarnessError(
            f"segment of {segment} samples with overlap {overlap}: not possible; "
            "use a segment of at least 1 and an overlap in [0, 1)"
        )
    if over:
        return ChunkPlan(list(range(0, samples, max(1, int(segment * (1 - overlap))))), segment)
    if samples <= segment:
        return ChunkPlan([0], samples)
    hop = max(1, round(segment * (1 - overlap)))
    starts = list(range(0, samples - segment + 1, hop))
    if starts[-1] + segment < samples:
        starts.append(samples - segment)
    return ChunkPlan(starts, segment)


def separate_chunked(
    model: nn.Module,
    audio: Audio,
    *,
    segment: int,
    overlap: float = 0.25,
    batch: int = 4,
    device: str = "cpu",
    mixed: bool = False,
    fixed: bool = False,
    fill: Callable[[int], int] | None = None,
    tails: int = 0,
    plan: ChunkPlan | None = None,
) -> tuple[Estimates, list[str]]:
    """Separate a signal of any length with a network.

    It needs memory for the estimates and one batch. If that is too much, the batch is halved down
    to one chunk, then the work moves to the CPU. Segment and overlap never change, because they
    change the estimates.

    Parameters
    ----------
    model
        (batch, channels, samples) → (batch, stems, channels, samples); moved to `device`.
    audio
        Shape (channels, samples).
    segment, overlap
        See `plan_chunks`.
    batch
        Chunks to process at once. It changes estimates by rounding only, less than 1e-6 of full
        scale; on a CPU one at a time is as fast.
    device
        ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    mixed
        Compute in 16 bits where that is safe; on CUDA only, otherwise ignored with a note.
    fixed
        Whether the model needs exactly `segment` samples: a shorter signal is padded with zeros.
    fill
        Lets the last chunks run over the end, see `plan_chunks`. It maps a chunk's samples within
        the signal to the samples of the model's input. The chunk is padded evenly on both sides
        with the signal around it, and with zeros beyond the signal.
    tails
        Samples on each side of a chunk that the model gets and returns too. Its estimates are then
        parts of a sum, such as windowed frames: they are added without weights. Such chunks follow
        one another without `overlap`, and the last one ends with the signal.
    plan
        Other chunks than those of `plan_chunks`, with their own weights.

    Returns
    -------
    estimates
        Shape (stems, channels, samples), float32.
    notes
        Where the work deviated from the request.
    """
    samples = audio.shape[1]
    signal = torch.from_numpy(np.require(audio, np.float32, ["C", "W"]))
    if fixed and samples < segment:
        signal = nn.functional.pad(signal, (0, segment - samples))
    notes = ["mixed precision is for CUDA, float32 used"] if mixed and not _cuda(device) else []
    plan = plan or plan_chunks(signal.shape[1], segment, overlap, over=bool(fill or tails))
    given = fill or (lambda samples: samples + 2 * tails)
    run = _Run(model, signal, plan, mixed, notes, given, tails)
    with _evaluating(model), torch.inference_mode(), _fast_attention(), kept_memory():
        estimates = run.on(find_device(device), batch)
    return estimates[..., :samples].numpy(), notes


def find_device(device: str) -> torch.device:
    """Return a device that this machine has."""
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise HarnessError(f"device {device!r}: not usable here; use cpu") from error
    return found


@dataclass
class _Run:
    """The state of one separation."""

    model: nn.Module
    signal: Tensor
    plan: ChunkPlan
    mixed: bool
    notes: list[str]
    fill: Callable[[int], int]
    tails: int = 0
    _gathered: Tensor | None = field(default=None)

    def on(self, device: torch.device, batch: int) -> Tensor:
        """Run all chunks on a device; with less at once if memory does not suffice."""
        size = max(1, batch)
        while True:
            try:
                return self._all(device, size)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                cause = error.with_traceback(None)  # its frames keep memory occupied
            self._gathered = None
            device, size = self._step_down(device, size, cause)

    def _step_down(
        self, device: torch.device, size: int, cause: Exception
    ) -> tuple[torch.device, int]:
        """Return the next device and number of chunks at once."""
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if size > 1:
            self.notes.append(f"out of memory with {size} chunks at once, retried with {size // 2}")
            return device, size // 2
        if device.type != "cpu":
            self.notes.append(f"out of memory on {device} with one chunk, moved to the CPU")
            return torch.device("cpu"), 1
        raise HarnessError(
            f"one chunk of {self.plan.length} samples does not fit in memory; free some memory, "
            "or use a shorter segment, which changes the estimates"
        ) from cause

    def _all(self, device: torch.device, size: int) -> Tensor:
        """Run all chunks, `size` at once, and sum them."""
        self.model.to(device)
        for some in self._batches(size):
            chunks = torch.stack([self._chunk(i) for i in some])
            with _precision(device, self.mixed):
                estimates = self.model(chunks.to(device))
            for i, estimate in zip(some, self._checked(estimates, chunks), strict=True):
                self._add(i, estimate)
            progress.tell((some[-1] + 1) / len(self.plan.starts))
        total = self._gathered
        self._gathered = None
        if total is None:
            raise HarnessError("the signal is empty; separate one with samples")
        return total.cpu()

    def _batches(self, size: int) -> Iterator[list[int]]:
        """Yield the chunks in order, up to `size` at once, of the same length."""
        some: list[int] = []
        for i in range(len(self.plan.starts)):
            if some and (len(some) == size or self._given(i) != self._given(some[0])):
                yield some
                some = []
            some.append(i)
        if some:
            yield some

    def _samples(self, index: int) -> int:
        """Return the samples of a chunk within the signal."""
        return min(self.plan.length, self.signal.shape[1] - self.plan.starts[index])

    def _given(self, index: int) -> int:
        """Return the samples of the model's input for a chunk."""
        return self.fill(self._samples(index))

    def _chunk(self, index: int) -> Tensor:
        """Return the model's input for a chunk, shape (channels, samples)."""
        given = self._given(index)
        first = self.plan.starts[index] - (given - self._samples(index)) // 2
        chunk = self.signal[:, max(0, first) : first + given]
        before = max(0, -first)
        return nn.functional.pad(chunk, (before, given - before - chunk.shape[1]))

    def _checked(self, estimates: Any, chunks: Tensor) -> Tensor:
        """Refuse any shape other than (batch, stems, channels, samples)."""
        wanted = tuple(chunks.shape)
        shape = tuple(getattr(estimates, "shape", ()))
        if len(shape) != 4 or (shape[0], *shape[2:]) != wanted:
            raise HarnessError(
                f"{type(self.model).__name__}: returned shape {shape} instead of "
                f"({wanted[0]}, stems, {wanted[1]}, {wanted[2]}); correct the network"
            )
        found: Tensor = estimates
        return found.float()

    def _add(self, index: int, estimate: Tensor) -> None:
        """Add one chunk at its place."""
        if self._gathered is None:
            shape = (*estimate.shape[:2], self.signal.shape[1])
            self._gathered = torch.zeros(shape, device=_home(estimate, shape))
        home, start, samples = self._gathered, self.plan.starts[index], self._samples(index)
        if self.tails:
            first = max(0, start - self.tails)
            part = home[..., first : start + samples + self.tails]
            skipped = first - start + self.tails
            part += estimate[..., skipped : skipped + part.shape[-1]].to(home.device)
            return
        before = (estimate.shape[-1] - samples) // 2
        weights = self.plan.weights(index)[:samples].to(home.device)
        part = estimate[..., before : before + samples].to(home.device)
        home[..., start : start + samples].addcmul_(part, weights)


def out_of_memory(error: Exception) -> bool:
    """Whether an error means that memory does not suffice, on any device."""
    text = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        "out of memory" in text or "can't allocate memory" in text
    )


def _cuda(device: str) -> bool:
    return device.partition(":")[0] == "cuda"


@contextmanager
def _precision(device: torch.device, mixed: bool) -> Iterator[None]:
    """On CUDA use full float32, or 16 bits where safe, and always the same algorithms."""
    if device.type != "cuda":
        yield
        return
    exact = {"benchmark": False, "deterministic": True, "allow_tf32": False}
    with (
        torch.backends.cudnn.flags(enabled=True, **exact),
        torch.autocast("cuda", dtype=torch.float16, enabled=mixed),
    ):
        yield


def _home(estimate: Tensor, shape: Sequence[int]) -> torch.device:
    """Return the place of the results: the GPU if they are small, otherwise main memory."""
    if estimate.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(estimate.device)
        if 4 * int(np.prod(shape)) < GPU_SHARE * free:
            return estimate.device
    return torch.device("cpu")


@contextmanager
def _fast_attention() -> Iterator[None]:
    """Let torch's attention modules use the kernels that never store the whole matrix.

    Their own fast path for inference stores it, and takes four times as long on a CPU.
    """
    was = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was)


@contextmanager
def kept_memory() -> Iterator[None]:
    """Reuse freed memory for the next layer; return it to the system at the (outermost) end.

    Without it, glibc requests the large activations of each layer from the system again, which
    clears every page. Measured on one CPU core, as processor time with and without: training ASNet
    3.2 and 4.0 s (3 steps), separating 30 s with ASNet 1.2 and 1.4 s, with the U-Net 1.3 and 1.4 s;
    with HT-Demucs and Mel-Band RoFormer there is no clear difference. Other allocators than glibc's
    stay as they are.
    """
    global _keepers
    libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not (hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim")):
        yield
        return
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    _keepers += 1
    try:
        yield
    finally:
        _keepers -= 1
        if not _keepers:
            for option, value in OWN.items():
                libc.mallopt(option, value)
            libc.malloc_trim(0)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)
