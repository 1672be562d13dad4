"""BSS Eval v3 and v4 from correlations, without filtering any signal.

Every energy of BSS Eval is a quadratic form of the filters. Its coefficients are correlations of
the references within a frame, which do not depend on the separator and are kept. Definitions:
Vincent, Gribonval and Févotte, "Performance measurement in blind audio source separation", 2006
(v3), and Stöter, Liutkus and Ito, "The 2018 signal separation evaluation campaign", 2018 (v4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from harness.core import bands
from harness.core.audio import Audio, Float64
from harness.metrics.engine.channels import independent, place
from harness.metrics.engine.correlations import TAPS, Correlations, Correlator
from harness.metrics.engine.forms import FilteredEnergy, Frames
from harness.metrics.engine.kernel import Row
from harness.metrics.engine.toeplitz import Factor
from harness.metrics.ratios import PIECE, Energies, frame_bounds, inner_products

A = TypeVar("A")
B = TypeVar("B")
FILTERED = ("own", "spatial", "interference", "projected", "artifacts")  # per frame
CANCELLED = 1e-6  # a difference this small against its terms is computed again from the signals


@dataclass(eq=False, repr=False)
class Analysis:
    """References of one track: correlations and factors, computed once.

    Calls from several threads run one after the other, since all use the same memory.
    """

    references: Mapping[str, Audio]  # stem → shape (channels, samples), equal lengths
    window: int  # samples of a frame
    hop: int  # samples from frame to frame
    ridge: float  # added to the diagonal of the Gram matrices
    threads: int | None
    device: str  # where the transforms run: on CUDA devices, otherwise on the processor

    def __post_init__(self) -> None:
        rows: list[Row] = []
        self.places = {stem: place(signal, rows) for stem, signal in self.references.items()}
        n = next(iter(self.references.values())).shape[1]
        self.bounds = frame_bounds(n, self.window, self.hop)
        self._tiles = [(a, min(a + self.window, n)) for a in range(0, n, self.window)]
        self._rows, self._calls = rows, Lock()
        self._mixture_own: dict[str, float] = {}
        self._gram: Float64 | None = None  # of all references, once needed
        self._tiled = self.hop == self.window or len(self.bounds) == 1
        if not rows:
            return
        self._over_tiles = self._correlator(self._tiles)
        if not self._tiled:
            self._over_frames = self._correlator(self.bounds)
        self._by_tile, self._by_frame = self._correlate(rows, lasting=True)
        self._frames = Frames(rows, self.bounds, self._by_frame.segments, self.threads)
        self._joint = independent(rows)
        self._factors = {s: self._factorise(p.rows) for s, p in self.places.items() if p.rows}

    def _correlator(self, bounds: list[tuple[int, int]]) -> Correlator:
        """Make the correlator of the device."""
        if not self.device.startswith("cuda"):
            return Correlator(self._rows, bounds, threads=self.threads)
        from harness.metrics.engine.device import DeviceCorrelator  # imports PyTorch

        return DeviceCorrelator(self._rows, bounds, self.device, threads=self.threads)

    @cached_property
    def _factor(self) -> Factor:
        """The factor for all references together."""
        return self._factorise(self._joint)

    @property
    def conditioning(self) -> float:
        """Smallest eigenvalue of the references' Gram matrix over its largest, NaN if silent."""
        return self._factor.conditioning if self._rows else float("nan")

    def energies(
        self, estimates: Mapping[str, Audio], *, joint: bool = True
    ) -> dict[str, Energies]:
        """Compute the energies of the estimates whose references are not silent.

        Without `joint`, what depends on the projection on all references is left out.
        """
        parts = self._parts(estimates)
        if not parts:
            return {}
        with self._calls:
            tiles, frames = self._correlate([row for stem in parts for row in estimates[stem]])
            own, found = {}, {}
            for stem, part in parts.items():
                own[stem] = self._own(stem, tiles.of(part))
                plain = self._plain(stem, estimates[stem], tiles.of(part), frames.of(part))
                found[stem] = replace(
                    plain,
                    whole_own=_energy(own[stem]),
                    mixture_own=self.mixture_own(stem),
                    among=self._among(stem, estimates[stem], tiles.of(part), plain),
                )
            if not joint:
                return found
            whitened, filters = self._project(tiles)
            forms = []
            for stem, part in parts.items():
                less = estimates[stem], frames.of(part)
                forms += self._forms(stem, own[stem], filters[part], less)
            values = iter(self._frames.energies(forms))
            for stem, part in parts.items():
                filtered: dict[str, Any] = {name: next(values) for name in FILTERED}
                projected = _energy(whitened[:, part])
                found[stem] = replace(found[stem], **filtered, whole_projected=projected)
            return found

    def _parts(self, estimates: Mapping[str, Audio]) -> dict[str, slice]:
        """Stems to score, and the place of their channels when all are put in one list."""
        parts, first = {}, 0
        for stem, where in self.places.items():
            if where.rows and stem in estimates:
                parts[stem] = slice(first, first + len(estimates[stem]))
                first = parts[stem].stop
        return parts

    def _own(self, stem: str, tiles: Correlations) -> Float64:
        """Coordinates of the projection on a stem's own delays."""
        return self._factors[stem].whiten(tiles.total[:, self.places[stem].rows])

    def mixture_own(self, stem: str) -> float:
        """Energy of the projection of the mixture on a stem's own delays; 0 if it is silent.

        The mixture is the sum of the references.
        """
        rows = self.places[stem].rows
        if not rows:
            return 0.0
        if stem not in self._mixture_own:
            most = max(len(place.channels) for place in self.places.values())
            total = np.zeros((most, len(rows), TAPS))
            for place in (place for place in self.places.values() if place.rows):
                for channel, (row, scale) in enumerate(place.channels):
                    at = slice(None) if len(place.channels) == 1 else channel
                    total[at] += scale * self._by_tile.total[place.rows[row], rows]
            self._mixture_own[stem] = _energy(self._factors[stem].whiten(total))
        return self._mixture_own[stem]

    def _among(self, stem: str, estimate: Audio, tiles: Correlations, plain: Energies) -> Float64:
        """Compute `Energies.among` from correlations without delay."""
        order = own_first(stem, self.references)
        cross = [self._with_reference(name, estimate, tiles) for name in order[1:]]
        _, ee, _, xe = plain.total
        found = np.empty((len(order) + 1, len(order) + 1))
        found[:-1, :-1] = self._among_references(order)
        found[-1] = found[:, -1] = [xe, *cross, ee]
        return found

    def _with_reference(self, name: str, signal: Audio, tiles: Correlations) -> float:
        """⟨signal, reference⟩ over the whole track, all channels together."""
        where = self.places[name]
        if not where.rows:
            return 0.0
        if not where.exact:
            return float(gram([self.references[name], signal])[0, 1])
        pairs, weight = _paired(range(len(signal)), where.channels)
        found = sum(s * float(tiles.total[c, where.rows[row], 0]) for c, (row, s) in pairs)
        return weight * found

    def _among_references(self, order: Sequence[str]) -> Float64:
        """Inner products of the references over the whole track, in this order."""
        if self._gram is None:
            names = list(self.references)
            self._gram = np.array([[self._between(a, b) for b in names] for a in names])
        at = [list(self.references).index(name) for name in order]
        return self._gram[np.ix_(at, at)]

    def _between(self, one: str, other: str) -> float:
        """Return ⟨reference, reference⟩ over the whole track, all channels together."""
        left, right = self.places[one], self.places[other]
        if not (left.exact and right.exact):
            return float(gram([self.references[one], self.references[other]])[0, 1])
        if not (left.rows and right.rows):
            return 0.0
        pairs, weight = _paired(left.channels, right.channels)
        total = self._by_tile.total[..., 0]
        found = sum(s * t * float(total[left.rows[i], right.rows[k]]) for (i, s), (k, t) in pairs)
        return weight * found

    def products(self, stem: str, estimates: Sequence[Audio]) -> dict[str, Float64]:
        """Compute the arrays of `InnerProducts` of several estimates of one stem."""
        order = own_first(stem, self.references)
        signals = [*(self.references[name] for name in order), *estimates]
        by_tile = np.stack([_gram(signals, a, b) for a, b in self._tiles])
        by_frame = by_tile[: len(self.bounds)]
        if not self._tiled:
            by_frame = np.stack([_gram(signals, a, b) for a, b in self.bounds])
        plain = _split(by_frame, by_tile.sum(axis=0), len(order))
        plain["mixture_own"] = np.array([[self.mixture_own(stem)]])
        by_frame = plain["plain"]
        if not self.places[stem].rows:
            zeros = np.zeros((len(by_frame), len(estimates), len(estimates)))
            filtered = dict.fromkeys(("rest", "projected", "artifacts"), zeros)
            return {**plain, **filtered, "whole_own": zeros[0], "own": np.zeros_like(by_frame)}
        with self._calls:
            return {**plain, **self._filtered_products(stem, estimates, by_frame[:, 1:, 1:])}

    def products_by_band(
        self, stem: str, estimates: Sequence[Audio], taps: Row, others: Sequence[Audio]
    ) -> dict[str, Float64]:
        """Compute the arrays of `InnerProducts` of the estimates' bands, without frames.

        `others` are the other references. `mixture_own` is not among the arrays. In memory at a
        time are the bands of one estimate, or of a piece of all.
        """
        reference, n = self.references[stem], (len(taps) + 1) * len(estimates)
        none = dict.fromkeys(("rest", "projected", "artifacts"), np.zeros((0, n, n)))
        none |= dict.fromkeys(("plain", "own"), np.zeros((0, n + 1, n + 1)))
        size = n + 1 + len(others)
        among, start = np.zeros((size, size)), 0
        for piece in bands.split(estimates, taps):
            signals = piece.reshape(n, *piece.shape[2:])
            stop = start + piece.shape[3]
            cut = [*(signal[:, start:stop] for signal in (reference, *others)), *signals]
            among, start = among + _gram(cut, 0, stop - start), stop
        parts = _split(np.zeros((0, size, size)), among, 1 + len(others))
        none |= {name: parts[name] for name in ("among", "cross", "whole_among", "whole_cross")}
        whole = parts["whole"]
        if not self.places[stem].rows:
            return {**none, "whole": whole, "whole_own": np.zeros((n, n))}
        white = []
        for estimate in estimates:
            pieces = [piece[:, 0] for piece in bands.split([estimate], taps)]
            rows = np.concatenate(pieces, axis=2).reshape(-1, estimate.shape[1])
            with self._calls:
                own = self._own(stem, self._correlate(list(rows))[0])
            white.append(own.reshape(len(own), len(taps) + 1, -1))
        flat = np.stack(white, axis=2).transpose(1, 2, 0, 3).reshape(n, -1)  # bands, then estimates
        return {**none, "whole": whole, "whole_own": flat @ flat.T}

    def _filtered_products(
        self, stem: str, estimates: Sequence[Audio], plain: Float64
    ) -> dict[str, Float64]:
        """Those arrays of `InnerProducts` that depend on filters."""
        where, shape = self.places[stem], (len(estimates), len(estimates[0]))
        tiles, frames = self._correlate([row for estimate in estimates for row in estimate])
        filters = self._project(tiles)[1]
        white_own = self._own(stem, tiles)
        own = self._factors[stem].filters(white_own)
        rest = filters.copy()
        rest[:, where.rows] -= own
        own = np.concatenate([self._identity(stem)[None], own.reshape(*shape, *own.shape[1:])])
        filters, rest = (x.reshape(*shape, *x.shape[1:]) for x in (filters, rest))
        everything = list(range(len(self._rows)))
        projected = self._frames.products(everything, filters)
        lags = frames.segments.reshape(len(plain), len(estimates), -1)
        cross = lags @ filters.reshape(len(estimates), -1).T  # ⟨e, P⟩
        white_own = white_own.reshape(len(white_own), *shape)
        return {
            "own": self._frames.products(where.rows, own),
            "rest": self._frames.products(everything, rest),
            "projected": projected,
            "artifacts": projected - cross - cross.transpose(0, 2, 1) + plain,
            "whole_own": np.einsum("nkc,nlc->kl", white_own, white_own),
        }

    def _project(self, tiles: Correlations) -> tuple[Float64, Float64]:
        """Project signals on all references: coordinates, and filters (signals, rows, lags)."""
        whitened = self._factor.whiten(tiles.total[:, self._joint])
        filters = np.zeros((whitened.shape[1], len(self._rows), TAPS))
        filters[:, self._joint] = self._factor.filters(whitened)
        return whitened, filters

    def _identity(self, stem: str) -> Float64:
        """Return the filters from the rows of a stem to its channels, (channels, rows, lags)."""
        where = self.places[stem]
        filters = np.zeros((len(where.channels), len(where.rows), TAPS))
        for channel, (row, scale) in enumerate(where.channels):
            filters[channel, row, 0] = scale
        return filters

    def _forms(
        self, stem: str, whitened: Float64, filters: Float64, less: tuple[Audio, Correlations]
    ) -> list[FilteredEnergy]:
        """Make the forms of one stem in the order of `FILTERED`: Pj, Pj−s, P−Pj, P and P−e."""
        where = self.places[stem]
        own = self._factors[stem].filters(whitened)
        rest = filters.copy()
        rest[:, where.rows] -= own
        everything = list(range(len(self._rows)))
        return [
            FilteredEnergy(where.rows, own),
            FilteredEnergy(where.rows, own - self._identity(stem)),
            FilteredEnergy(everything, rest),
            FilteredEnergy(everything, filters),
            FilteredEnergy(everything, filters, less),
        ]

    def _correlate(
        self, signals: Sequence[Row], *, lasting: bool = False
    ) -> tuple[Correlations, Correlations]:
        """Correlate signals with the references over the tiles of the track and over its frames."""
        tiles = self._over_tiles.correlate(signals, lasting=lasting)
        if self._tiled:
            return tiles, tiles.first(len(self.bounds))
        return tiles, self._over_frames.correlate(signals, lasting=lasting)

    def _factorise(self, rows: list[int]) -> Factor:
        """Factorise the Gram matrix of some rows."""
        gram = self._by_tile.total[np.ix_(rows, rows)]
        gram[..., 0] += self.ridge * np.eye(len(rows))
        return Factor(gram)

    def _plain(
        self, stem: str, estimate: Audio, tiles: Correlations, frames: Correlations
    ) -> Energies:
        """Energies that need no filter, per frame and of the whole track."""
        by_tile = self._products(stem, estimate, (self._by_tile, tiles), self._tiles)
        by_frame = by_tile[:, : len(self.bounds)]
        if not self._tiled:
            by_frame = self._products(stem, estimate, (self._by_frame, frames), self.bounds)
        xx, ee, dd, xe = (float(value) for value in by_tile.sum(axis=1))
        return Energies(by_frame[0], by_frame[1], by_frame[2], (xx, ee, dd, xe))

    def _products(
        self,
        stem: str,
        estimate: Audio,
        correlations: tuple[Correlations, Correlations],
        bounds: list[tuple[int, int]],
    ) -> Float64:
        """⟨s,s⟩, ⟨e,e⟩, ⟨s−e,s−e⟩ and ⟨s,e⟩ of each stretch, shape (4, stretches)."""
        of_references, of_estimate = correlations
        where = self.places[stem]
        xx, xe = np.zeros(len(bounds)), np.zeros(len(bounds))
        for channel, (index, scale) in enumerate(where.channels):
            row = where.rows[index]
            xx += scale**2 * of_references.segments[:, row, row, 0]
            xe += scale * of_estimate.segments[:, channel, row, 0]
        ee = of_estimate.energies.sum(axis=1)
        products = np.stack([xx, ee, xx - 2 * xe + ee, xe])
        again = products[2] < CANCELLED * (xx + ee)
        for index in np.flatnonzero(again | (not where.exact)).tolist():
            pair = self.references[stem], estimate
            products[:, index] = inner_products(*pair, *bounds[index])
        return products


def _energy(signals: Float64) -> float:
    """Sum of squares."""
    return float(np.sum(signals**2))


def own_first(stem: str, stems: Iterable[str]) -> list[str]:
    """Return the stems in their order, this one first."""
    return [stem, *(name for name in stems if name != stem)]


def _split(by_frame: Float64, whole: Float64, references: int) -> dict[str, Float64]:
    """Return the arrays of `InnerProducts` without filters from products of all signals.

    The signals are the references, the stem's own first, and then the estimates.
    """
    kept = np.r_[0, references : whole.shape[-1]]
    return {
        "plain": by_frame[:, kept[:, None], kept],
        "whole": whole[np.ix_(kept, kept)],
        "among": by_frame[:, :references, :references],
        "cross": by_frame[:, :references, references:],
        "whole_among": whole[:references, :references],
        "whole_cross": whole[:references, references:],
    }


def _paired(left: Sequence[A], right: Sequence[B]) -> tuple[list[tuple[A, B]], float]:
    """Return which channels meet in an inner product, and the weight of its sum.

    A single channel meets each of n, as if it were in all of them with the same energy as now.
    """
    if len(left) != len(right) and 1 in (len(left), len(right)):
        return [(a, b) for a in left for b in right], max(len(left), len(right)) ** -0.5
    return list(zip(left, right, strict=False)), 1.0


def gram(signals: Sequence[Audio]) -> Float64:
    """Inner products between signals over the whole track, all channels together; see `_paired`."""
    pieces = range(0, signals[0].shape[1], PIECE)
    return np.asarray(sum(_gram(signals, start, start + PIECE) for start in pieces))


def _gram(signals: Sequence[Audio], start: int, stop: int) -> Float64:
    """Inner products between signals over one stretch, all channels together."""
    most = max(map(len, signals))
    flat = [_widened(signal[:, start:stop].astype(np.float64), most).ravel() for signal in signals]
    return np.asarray(np.stack(flat) @ np.stack(flat).T)


def _widened(signal: Float64, channels: int) -> Float64:
    """Return a signal of so many channels and the same energy."""
    if len(signal) == channels:
        return signal
    if len(signal) == 1:
        return np.asarray(np.repeat(signal, channels, axis=0) * channels**-0.5)
    return np.pad(signal, ((0, channels - len(signal)), (0, 0)))
