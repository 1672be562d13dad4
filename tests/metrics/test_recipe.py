"""CONTRIBUTING's recipe for a metric: one record is enough, and blends never misname a score."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.metrics import DEFAULT, METRICS, Metric, analyse
from harness.metrics.definitions import InnerProducts, Pair
from harness.report.names import metric_label

ROOT = Path(__file__).parents[2]
RATE = 8000
RECORD = """    Metric(
        "loudness_error",
        "Loudness error",
        "difference in level, 10·log10(Σx̂²/Σx²), without its sign",
        lambda pair: abs(float(db(pair.energies.total[1], pair.energies.total[0]))),
        higher_is_better=False,
    ),
"""


def level(pair: Pair) -> float:
    """Level of an estimate against its reference in dB."""
    xx, ee, _, _ = pair.energies.total
    return 10 * float(np.log10(ee / xx))


def level_forms(products: InnerProducts) -> tuple[np.ndarray, np.ndarray]:
    """The same from inner products: ⟨e,e⟩ above, ⟨x,x⟩ below."""
    above, below = np.zeros((2, 1, *products.whole.shape))
    above[0, 1:, 1:], below[0, 0, 0] = products.whole[1:, 1:], products.whole[0, 0]
    return above, below


@pytest.fixture
def stems(rng):
    return {name: (0.1 * rng.standard_normal((2, 3 * RATE))).astype(np.float32) for name in "abc"}


def plant(monkeypatch, **fields) -> None:
    record = Metric("level", "Level", "10·log10(Σx̂²/Σx²)", level, unit="dB", version=3, **fields)
    monkeypatch.setitem(METRICS, "level", record)


def blend_of(stems):
    ready = analyse(stems, RATE)
    distorted = stems["a"] + stems["a"] ** 2  # which no filter explains
    systems = {"m": distorted + 0.1 * stems["b"], "n": distorted - 0.2 * stems["c"]}
    mixed = {"a": np.float32(0.5) * systems["m"] + np.float32(0.5) * systems["n"]}
    return ready.blend("a", systems).score({"m": 0.5, "n": 0.5}), ready.score(mixed)["a"], mixed


def test_a_new_metric_is_computed_and_described(stems, monkeypatch):
    plant(monkeypatch)
    ready = analyse(stems, RATE, metrics=[*DEFAULT, "level"])
    scores = ready.score({"a": np.float32(2) * stems["a"]})["a"]
    assert list(scores) == [*DEFAULT, "level"]
    assert scores["level"].value == pytest.approx(20 * np.log10(2))
    assert {name: score for name, score in scores.items() if name != "level"} == analyse(
        stems, RATE
    ).score({"a": np.float32(2) * stems["a"]})["a"]
    assert METRICS["level"].described()["version"] == 3
    assert metric_label("level") == "Level"


def test_frames_of_a_new_metric_are_scored_by_their_median(stems, monkeypatch):
    record = Metric(
        "fw", "FW", "", lambda pair: pair.energies.ee / pair.energies.xx, per_frame=True
    )
    monkeypatch.setitem(METRICS, "fw", record)
    gains = np.repeat([1.0, 2.0, 3.0], RATE).astype(np.float32)
    scores = analyse(stems, RATE, metrics=["fw"]).score({"a": gains * stems["a"]})["a"]
    assert scores["fw"].value == pytest.approx(4, rel=1e-6)


def test_blends_do_not_report_a_metric_that_needs_the_audio(stems, monkeypatch):
    before, _, _ = blend_of(stems)
    plant(monkeypatch)
    after, from_audio, _ = blend_of(stems)
    assert after == before
    assert after["sar"] == pytest.approx(from_audio["sar"].value, abs=1e-6)


def test_blends_report_a_metric_that_inner_products_determine(stems, monkeypatch):
    plant(monkeypatch, forms=level_forms)
    found, _, mixed = blend_of(stems)
    ready = analyse(stems, RATE, metrics=["level", "sar"])
    for name, score in ready.score(mixed)["a"].items():
        assert found[name] == pytest.approx(score.value, abs=1e-5)
    assert list(found) == [*DEFAULT, "level"]


def test_a_run_scores_a_metric_that_was_added_to_one_file(mono_songs, tmp_path):
    shutil.copytree(ROOT / "harness", tmp_path / "harness", copy_function=os.symlink)
    (tmp_path / "model_registry.yaml").symlink_to(ROOT / "model_registry.yaml")
    definitions = tmp_path / "harness" / "metrics" / "definitions.py"
    text, end = definitions.read_text(encoding="utf-8"), ")\n_cost = "
    assert text.count(end) == 1
    definitions.unlink()
    definitions.write_text(text.replace(end, RECORD + end), encoding="utf-8")
    command = ["run", "--data", f"songs={mono_songs}", "--separator", "hpss"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run(
        [
            sys.executable,
            "-m",
            "harness",
            *command,
            "--results",
            "results",
            "--jobs",
            "1",
            "--tracks",
            "1",
        ],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    (record,) = (tmp_path / "results").glob("*/run.json")
    about = json.loads(record.read_text(encoding="utf-8"))["metrics"]["loudness_error"]
    assert (about["version"], about["computed"], about["unit"]) == (1, True, "dB")
    assert about["definition"].startswith("difference in level")
    scores = pd.read_parquet(record.with_name("scores.parquet"))
    assert (scores[scores["metric"] == "loudness_error"]["value"] >= 0).all()
    assert set(scores["metric"]) == {*DEFAULT, "loudness_error"}
