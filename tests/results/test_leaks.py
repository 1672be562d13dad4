import pandas as pd

from harness.results.leaks import PAIR, leak_statuses, ledger, recorded_statuses

PAIRS = [("net", "musdb18", "test", name) for name in ("a", "b", "c")]
SCORES = pd.DataFrame(PAIRS, columns=PAIR)


def recorded(**record):
    return recorded_statuses(SCORES, record)["status"].tolist()


def test_a_record_names_the_pairs_that_are_not_clean():
    rows = [
        {**dict(zip(PAIR, pair, strict=True)), "status": status}
        for pair, status in zip(PAIRS, ("leaked", "Leaked?"), strict=False)
    ]
    assert recorded(leaks=rows) == ["leaked", "unknown", "clean"]
    assert recorded(leaks=[]) == ["clean"] * 3


def test_without_a_ledger_nothing_is_clean():
    assert recorded() == ["unknown"] * 3


def test_words_that_are_not_understood_are_counted_as_unknown():
    said = {"net": ["musdb18 plus extra"]}
    (counts,) = ledger(leak_statuses(SCORES, said)).to_dict("records")
    assert [counts[k] for k in ("tracks", "clean", "leaked", "unknown")] == [3, 0, 0, 3]
