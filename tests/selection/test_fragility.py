"""Fragility against trying every set of tracks."""

from itertools import combinations

import numpy as np
import pytest

from harness.results.grid import Grid
from harness.selection import fragility


def grid(scores):
    tracks = np.array([f"t{i}" for i in range(len(scores))], dtype=object)
    names = tuple("abcd"[: len(scores[0])])
    same = np.full(len(scores), "x", dtype=object)
    splits = np.full(len(scores), "test", dtype=object)
    return Grid("set", "mixture", "", "vocals", names, splits, tracks, tracks, same, scores)


def by_trying(scores, first, sign):
    """The size of the smallest set of tracks without which another mean is ahead; None if none."""
    n = len(scores)
    for size in range(1, n):
        for out in combinations(range(n), size):
            left = sign * np.delete(scores, out, axis=0).mean(axis=0)
            if (left > left[first] + 1e-9).any():
                return size
    return None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_what_trying_every_set_of_tracks_finds(seed, sign):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-4, 5, (7, 4)).astype(float) + sign * np.array([1.0, 0, 0, 0.25])
    first = int(np.argmax(sign * scores.mean(axis=0)))
    found = fragility(grid(scores), "abcd"[first], sign)
    wanted = by_trying(scores, first, sign)
    assert (None if found is None else len(found.tracks)) == wanted
    if found:
        out = [int(track[1:]) for _, track in found.tracks]
        left = sign * np.delete(scores, out, axis=0).mean(axis=0)
        assert left["abcd".index(found.rival)] > left[first]


def test_one_odd_song_decides():
    scores = np.array([[1.0, 2.0]] * 5 + [[30.0, 2.0]])
    found = fragility(grid(scores), "a")
    assert (found.tracks, found.rival) == ((("test", "t5"),), "b")
    assert fragility(grid(scores[:5]), "b") is None
    assert fragility(grid(scores[:5, 1:]), "a") is None
