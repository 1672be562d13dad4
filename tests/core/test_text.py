"""Numbers, costs, counts and times as text."""

import math

import pytest

from harness.core.text import (
    cost,
    count,
    decimals,
    duration,
    encode,
    moment,
    plain,
    probability,
    short,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(6.017, 6.02), (None, None), (math.nan, None), (math.inf, "inf"), (-math.inf, "-inf")],
)
def test_json_numbers_are_rounded_and_readable_everywhere(value, expected):
    assert encode(value) == expected


def test_json_has_no_negative_zero():
    assert math.copysign(1, encode(-0.001)) == 1


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [
        (-3.1, 2, "−3.10"),
        (-0.04, 1, "0.0"),
        (math.inf, 2, "∞"),
        ("-inf", 2, "−∞"),
        (None, 2, "–"),
        (math.nan, 2, "–"),
    ],
)
def test_decimals_have_a_true_minus_sign(value, places, expected):
    assert decimals(value, places) == expected


def test_every_number_survives_json():
    for value in (1.234, -7.0, math.inf, -math.inf, math.nan):
        assert decimals(encode(value)) == decimals(value)


@pytest.mark.parametrize(("value", "expected"), [(-20.0, "−20"), (0.25, "0.25"), (0.0, "0")])
def test_ticks_have_no_spare_digits(value, expected):
    assert short(value) == expected


@pytest.mark.parametrize(("p", "expected"), [(0.0312, "0.031"), (4e-5, "< 0.001"), (math.nan, "–")])
def test_probabilities_have_three_decimals(p, expected):
    assert probability(p) == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.5e9, "bytes", "1.50 GB"),
        (84_141_911, "B", "84 MB"),
        (0.01234, "×", "0.012 ×"),
        (2e-5, "×", "< 0.001 ×"),
        (589_325, "", "0.59 M"),
        (9_999, "values", "9,999"),
        (None, "s", "–"),
    ],
)
def test_costs_have_their_unit(value, unit, expected):
    assert cost(value, unit) == expected


@pytest.mark.parametrize(
    ("n", "expected"), [(0, "0 tracks"), (1, "1 track"), (1200, "1,200 tracks")]
)
def test_counts_agree_with_their_noun(n, expected):
    assert count(n, "track") == expected


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-01-31T14:05:09+00:00", "2026-01-31 14:05 UTC"),
        ("2026-01-31T14:05:09", "2026-01-31 14:05"),
        ("yesterday", "yesterday"),
        (None, ""),
    ],
)
def test_times_lose_their_seconds(stamp, expected):
    assert moment(stamp) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(3725, "1 h 2 min"), (62.4, "1 min 2 s"), (42.31, "42 s"), (59.6, "1 min 0 s"), ("?", "")],
)
def test_time_spans_have_two_units(seconds, expected):
    assert duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["a", "b"], "a, b"), ({"code": "MIT"}, "code MIT"), (6.0, "6"), ({}, "–"), (0, "0")],
)
def test_values_of_a_record_are_text(value, expected):
    assert plain(value) == expected
