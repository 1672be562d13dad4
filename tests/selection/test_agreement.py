"""Agreement of metrics with listeners: planted tables, and the published gensvs ratings."""

import numpy as np
import pytest
from scipy import stats

from harness.core.errors import HarnessError
from harness.results.importing.listening_tests import read_listening_test
from harness.selection.agreement import agreement

HEAD = "song,separator,generative,stem,rating"


@pytest.fixture
def write(tmp_path):
    """Write a table, read it, and return the test."""

    def make(head, *rows, **options):
        path = tmp_path / "mine.csv"
        path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
        return read_listening_test(path, **options)

    return make


def planted(write, head=f"{HEAD},sdr,-loss"):
    """Two ordinary separators and a generative one: 8 songs; sdr is right for the former only."""
    rows = []
    for i in range(8):
        for name, made, rating, sdr in (("a", "no", 1, 1), ("b", "no", 2, 2), ("g", "yes", 3, -9)):
            rows.append(f"s{i},{name},{made},Vocals,{rating + i / 10},{sdr + i / 10},{-rating}")
    return write(head, *rows)


def test_sdr_orders_ordinary_separators_and_fails_across_the_border(write):
    found = agreement(planted(write)).set_index(["group", "metric"])
    shares = found["in_order"]
    assert shares["ordinary", "sdr"] == 1
    assert shares["across", "sdr"] == 0
    assert shares["both", "sdr"] == pytest.approx(1 / 3)
    assert set(shares[:, "loss"]) == {1.0}  # lower is better, by the sign in the header
    assert found.loc[("both", "sdr"), "pairs"] == 24
    assert found["stem"].unique().tolist() == ["vocals"]
    assert np.isnan(found.loc[("across", "sdr"), "spearman"])
    assert ("generative", "sdr") not in found.index  # no pair of one song


def test_spearman_is_that_of_scipy_with_ties_and_missing_values(write):
    rng = np.random.default_rng(3)
    values, ratings = rng.integers(0, 6, 24), rng.integers(0, 4, 24)
    rows = [
        f"s{i // 3},m{i % 3},no,bass,{ratings[i]},{values[i] if i != 5 else ''}" for i in range(24)
    ]
    row = agreement(write(f"{HEAD},x", *rows)).iloc[0]
    kept = np.arange(24) != 5
    assert row["n"] == 23
    assert row["spearman"] == pytest.approx(stats.spearmanr(values[kept], ratings[kept])[0])
    assert row["spearman_low"] <= row["spearman"] <= row["spearman_high"]


def test_equal_values_are_not_in_order_and_equal_ratings_are_no_pair(write):
    rows = ["s,a,no,bass,1,5", "s,b,no,bass,2,5", "s,c,no,bass,2,6", "t,a,no,bass,1,1"]
    row = agreement(write(f"{HEAD},x", *rows)).iloc[0]
    assert (row["pairs"], row["in_order"]) == (2, 0.5)
    assert np.isnan(row["in_order_low"])  # two songs are too few for an interval


@pytest.mark.parametrize(
    ("head", "row", "message"),
    [
        (HEAD, "s,a,no,bass,1", "no column of a metric"),
        ("song,separator,stem,rating,x", "s,a,bass,1,2", "no column 'generative'"),
        (f"{HEAD},x", "s,a,perhaps,bass,1,2", "neither yes nor no"),
        (f"{HEAD},x", "s,a,no,bass,,2", "rating: '' is not a number"),
        (f"{HEAD},x", "s,a,no,bass,1,good", "x: 'good' is not a number"),
        (f"{HEAD},x,-x", "s,a,no,bass,1,2,3", "two columns of one metric"),
        (f"{HEAD},-sdr", "s,a,no,bass,1,2", "higher is better"),
        (f"{HEAD},x", "../s,a,no,bass,1,2", "not allowed as a name"),
    ],
)
def test_a_wrong_table_is_refused(write, head, row, message):
    with pytest.raises(HarnessError, match=message):
        write(head, row)


def test_an_estimate_is_rated_once(write):
    with pytest.raises(HarnessError, match="rates 'a' on 's' twice"):
        write(f"{HEAD},x", *2 * ["s,a,no,bass,1,2"])


def test_an_option_names_metrics_of_which_lower_is_better(write):
    rows = [f"s{i},{row}" for i in range(6) for row in ("a,no,bass,1,0", "b,no,bass,0,1")]
    assert agreement(write(f"{HEAD},x", *rows))["in_order"].item() == 0
    assert agreement(write(f"{HEAD},x", *rows, lower=["x"]))["in_order"].item() == 1
    with pytest.raises(HarnessError, match="no metric 'y'"):
        write(f"{HEAD},x", *rows, lower=["y"])


def test_the_published_ratings_give_the_published_agreement(shared_data):
    """250 estimates of 50 songs: an independent analysis found these figures."""
    path = shared_data / "reference_scores" / "gensvs" / "ratings.csv"
    if not path.is_file():
        pytest.skip("no ratings")
    test = read_listening_test(path)
    assert len(test.table) == 250
    assert {"emb_mse_mert", "multi_res_loss"} <= test.lower
    few = test.__class__(test.name, test.table, ("sdr", "emb_mse_mert"), test.lower)
    found = agreement(few).set_index(["group", "metric"]).round(3)
    sdr = found.loc[("ordinary", "sdr")]
    assert round(sdr["spearman"], 2) == 0.67
    assert (round(sdr["spearman_low"], 2), round(sdr["spearman_high"], 2)) == (0.56, 0.77)
    assert sdr["in_order"] == 0.875
    assert found.loc[("both", "sdr"), "in_order"] == 0.518
    assert round(found.loc[("generative", "sdr"), "spearman"], 2) == 0.18
    assert found.loc[("ordinary", "emb_mse_mert"), "in_order"] == 0.882
    assert round(found.loc[("ordinary", "emb_mse_mert"), "spearman"], 2) == 0.76
