"""Large memory is used again once its owner is gone, and no sooner."""

import gc

import numpy as np
import pytest

from harness.metrics import analyse, memory


class Owner:
    """Holds nothing."""


@pytest.fixture(autouse=True)
def _empty():
    memory.release()
    yield
    memory.release()


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_its_owner_is_gone():
    owner, other = Owner(), Owner()
    first = memory.borrow((10, 100), owner)
    place = address(first)
    assert address(memory.borrow((1000,), other)) != place
    del owner, first
    gc.collect()
    assert address(memory.borrow((5, 190), Owner())) == place


def test_a_buffer_much_too_large_is_left_for_others():
    place = address(memory.borrow((10_000,), Owner()))
    gc.collect()
    assert address(memory.borrow((100,), Owner())) != place


def test_no_more_than_its_share_waits(monkeypatch):
    monkeypatch.setattr(memory, "KEPT", 8 * 250)
    for size in (100, 200, 300):
        memory.borrow((size,), Owner())
        gc.collect()
    assert sum(buffer.nbytes for buffer in memory._spare) <= 8 * 250


def test_the_next_track_does_not_disturb_scores_kept_from_the_last(rng):
    def track(seed):
        draw = np.random.default_rng(seed)
        return {name: draw.standard_normal((2, 9000)).astype("f4") for name in ("vocals", "bass")}

    first = analyse(track(0), 3000)
    frames = first.frames(track(1))
    kept = {stem: {k: v.copy() for k, v in scores.items()} for stem, scores in frames.items()}
    blend = first.blend("bass", {"a": track(1)["bass"], "b": track(2)["bass"]})
    mixed = blend.score({"a": 0.5, "b": 0.5})
    again = first.frames(track(1))
    del first
    analyse(track(3), 3000).score(track(4))
    for stem, scores in kept.items():
        for metric, values in scores.items():
            np.testing.assert_array_equal(frames[stem][metric], values)
            np.testing.assert_array_equal(again[stem][metric], values)
    np.testing.assert_equal(blend.score({"a": 0.5, "b": 0.5}), mixed)
