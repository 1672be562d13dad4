"""Tables of scores whose truth is known, for the tests of selection."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from harness.metrics import BlendProducts
from harness.results.grid import Grid, grids, track_scores
from harness.results.runs import table


def planted(
    means: Mapping[str, Mapping[str, float]],
    *,
    artists: int = 20,
    per_artist: int = 1,
    spread: float = 1.0,
    seed: int = 0,
    dataset: str = "set",
    bonus: Mapping[tuple[str, str, str], float] = {},
) -> pd.DataFrame:
    """Scores from {stem: {separator: mean dB}}; tracks are hard or easy for all separators alike.

    Genres alternate by artist between rock and rap; `bonus` is {(stem, genre, separator): dB}.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for a in range(artists):
        genre = ("rock", "rap")[a % 2]
        for t in range(per_artist):
            hard = rng.normal(0, 3)
            for stem, of_stem in means.items():
                for name, mean in of_stem.items():
                    more = bonus.get((stem, genre, name), 0.0)
                    value = mean + more + hard + rng.normal(0, spread)
                    track = (dataset, "test", f"{a:02d}-{t}", f"artist {a}", genre)
                    head = ("r", *track, name, "mixture", "", stem)
                    rows += [(*head, metric, value, "ok", "") for metric in ("snr", "sdr")]
    frame = table(rows)
    frame["value"] += 15  # above zero, where the harmonic mean of equal values is the value
    return frame


def one_grid(frame: pd.DataFrame, stem: str = "vocals") -> Grid:
    """The grid of one stem by SNR."""
    return next(g for g in grids(track_scores(frame, "snr")) if g.stem == stem)


def inner_products(noise: np.ndarray, names: tuple[str, ...]) -> BlendProducts:
    """Inner products of estimates that are the reference, of energy 1, and orthogonal noise.

    The noise is no filtered reference either, so SNR, SDR and their harmonic mean are one.
    """
    n = len(noise)
    whole = np.ones((n + 1, n + 1))
    whole[1:, 1:] += noise
    ones, none = np.ones((n, n)), np.zeros((1, n, n))
    own = np.ones((1, n + 1, n + 1))
    return BlendProducts(whole[None], own, none, ones[None], noise[None], whole, ones, names)


def by_band(noises: list[np.ndarray], names: tuple[str, ...]) -> BlendProducts:
    """Inner products as of `inner_products`, cut into bands with noise of their own.

    Each band has an equal share of the reference's energy, and bands are orthogonal.
    """
    n_bands, n = len(noises), len(names)
    own = np.kron(np.eye(n_bands), np.ones((n, n))) / n_bands
    whole = np.ones((n_bands * n + 1, n_bands * n + 1))
    whole[0, 1:] = whole[1:, 0] = 1 / n_bands
    whole[1:, 1:] = own + block_diag(*noises)
    none = [np.zeros((0, size, size)) for size in 2 * [len(whole)] + 3 * [len(own)]]
    edges = tuple(100.0 * (1 + i) for i in range(n_bands - 1))
    return BlendProducts(*none, whole, own, names, edges)
