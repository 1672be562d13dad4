"""A run as the harness writes it, with made-up scores: what the report's tests look at."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.report.computed import Report, make_report
from harness.results.runs import COLUMNS, SELECTION_COLUMNS, Run, table

FOUR = ("vocals", "drums", "bass", "other")
KIT = ("kick", "snare", "toms", "hihat", "cymbals")
GENRES = ("Rock", "Pop", "Rap", "Jazz", "Electronic")
HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_TAIL = "</script><script>alert(2)</script>\u2028 “&amp;” 🎸"
METRICS = ("snr", "sdr", "si_sdr", "csdr")
SEPARATORS = {  # name: (role, stems, quality in dB)
    "nmf": ("separator", FOUR + KIT, 3.0),
    "repet_sim": ("separator", FOUR, 4.0),
    "scnet": ("separator", FOUR, 9.0),
    "mel_roformer": ("separator", ("vocals", "accompaniment"), 10.0),
    "htdemucs": ("separator", FOUR + KIT, 8.5),
    "mixture": ("anchor", FOUR + KIT, -5.0),
    "irm": ("oracle", FOUR + KIT, 12.0),
}


def row(
    separator: str,
    track: str,
    stem: str,
    metric: str,
    value: float,
    *,
    dataset: str = "demo",
    **other: str,
) -> dict[str, Any]:
    """Return one row of the table of scores."""
    named = {"run": "r", "dataset": dataset, "split": "test", "track": track, "artist": track[:1]}
    rest = {"genre": "Rock", "input": "mixture", "fed_by": "", "status": "ok", "note": "", **other}
    score = {"separator": separator, "stem": stem, "metric": metric, "value": value}
    return {**named, **rest, **score}


def rows_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows as a table of scores."""
    return table([[r[c] for c in COLUMNS] for r in rows])


def before_checksums(folder: Path) -> None:
    """Make a written run one of the versions before tables had checksums."""
    path = folder / "run.json"
    record = json.loads(path.read_bytes())
    for name in ("format", "sha256", "tables_sha256"):
        del record[name]
    path.write_text(json.dumps(record))


def empty_run(**record: Any) -> Run:
    """Return a run in which nothing was done."""
    nothing = table([])
    about = {"run": "empty", "separators": {}, "datasets": {}, **record}
    return Run("empty", nothing, nothing, nothing, table([], SELECTION_COLUMNS), about)


def demo_run(n_tracks: int = 24, seed: int = 3) -> Run:
    """Return a run on two datasets, with everything a report has to show."""
    rng = np.random.default_rng(seed)
    rows = _scores("demo", n_tracks, rng) + _scores("musdb18hq", n_tracks // 2, rng)
    scores = rows_table(rows)
    ensembles = pd.concat([_best(scores, "best_of_oracle", 1.0), _best(scores, "best_of", 0.4)])
    works = scores.drop_duplicates(["dataset", "track", "separator"])
    costs = rows_table(
        [
            {
                **work,
                "stem": "mixture",
                "metric": metric,
                "value": value,
                "status": "ok",
                "note": "",
            }
            for work in works.to_dict("records")
            for metric, value in _costs(work["separator"], rng).items()
        ]
    )
    return Run("demo-run", scores, costs, ensembles, _selection(scores, rng), _record(scores))


@cache
def demo_report(n_tracks: int = 6) -> Report:
    """Return the report of `demo_run`, for tests that only look at it."""
    return make_report(demo_run(n_tracks))


def _scores(dataset: str, n_tracks: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Make the scores of one dataset; a track's difficulty is shared by all separators."""
    rows = []
    for i in range(n_tracks):
        name = {1: HOSTILE, 2: HOSTILE_TAIL}.get(i, f"Song {i:03d}")
        about = {
            "dataset": dataset,
            "genre": GENRES[min(int(rng.exponential(1.4)), 4)],
            "artist": f"Artist {i // 2}",
        }
        hard = rng.normal(0, 2)
        for separator, (_, stems, quality) in SEPARATORS.items():
            if separator == "repet_sim" and i == 3:
                note = "MemoryError: 5.1 GB wanted, 4.0 GB free <b>"
                failed = {**about, "status": "failed", "note": note}
                rows.append(row(separator, name, "", "", np.nan, **failed))
                continue
            for stem in stems:
                easy = quality + hard + rng.normal(0, 1.2) - 1.5 * (stem == "other")
                for metric in METRICS:
                    value = easy + rng.normal(0, 0.4) - 1.0 * (metric == "si_sdr")
                    mark = dict(about)
                    if i == 5 and stem == "bass":
                        value, mark = np.nan, {**about, "status": "undefined"}
                        mark["note"] = "silent reference"
                    rows.append(row(separator, name, stem, metric, value, **mark))
    return rows


def _costs(separator: str, rng: np.random.Generator) -> dict[str, float]:
    """Make what one piece of work cost."""
    speed = {"nmf": 0.4, "scnet": 1.7, "htdemucs": 0.9}.get(separator, 0.15)
    return {
        "rtf": float(speed * rng.uniform(0.9, 1.1)),
        "cpu_seconds": float(60 * speed),
        "peak_memory": float(speed * 2.1e9),
    }


def _best(scores: pd.DataFrame, name: str, gain: float) -> pd.DataFrame:
    """Make an ensemble's rows a little better than the best separator's."""
    best = scores[(scores["separator"] == "scnet") & (scores["status"] == "ok")]
    return best.assign(separator=name, value=best["value"] + gain)


def _selection(scores: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Make who was chosen on which track."""
    found = []
    tracks = scores[scores["stem"].isin(FOUR)].drop_duplicates(["dataset", "track", "stem"])
    for kind, odds in (("oracle", 0.7), ("deployable", 1.0)):
        for t in tracks.to_dict("records"):
            name = "scnet" if rng.random() < odds else "htdemucs"
            place = [t["dataset"], t["input"], t["fed_by"], t["stem"], kind]
            found.append([*place, t["track"], t["artist"], t["genre"], name, 8.0])
    return table(found, SELECTION_COLUMNS)


def _record(scores: pd.DataFrame) -> dict[str, Any]:
    """Make the record of the run."""
    separators = {
        name: {
            "title": f"{name} in full",
            "role": role,
            "family": "mixture" if role == "anchor" else "made up",
            "input": "mixture",
            "stems": list(stems),
            "trained_on": None if name == "mel_roformer" else ["musdb18hq"] * (role == "separator"),
            "license": {"code": "MIT", "weights": "CC-BY-NC-4.0"},
            "params": {"chunk_seconds": 8},
            "reference": "Nobody, “A Separator”, 2024",
            "entry_sha256": "ab" * 32,
            "weights_sha256": None,
        }
        for name, (role, stems, _) in SEPARATORS.items()
    }
    demo = scores.loc[scores["dataset"] == "demo", "track"].unique()
    leaks = [
        {
            "separator": "htdemucs",
            "dataset": "demo",
            "split": "test",
            "track": t,
            "status": "leaked",
        }
        for t in demo
    ]
    leaks += [
        {
            "separator": "mel_roformer",
            "dataset": "demo",
            "split": "test",
            "track": t,
            "status": "unknown",
        }
        for t in demo
    ]
    return {
        "run": "demo-run",
        "created": "2026-01-31T14:05:09+00:00",
        "finished": "2026-01-31T14:09:11+00:00",
        "command": ["harness", "run", "--all", "--data", "musdb18hq=/data/my music"],
        "harness_version": "0.1.0",
        "commit": "0123abcd" * 5,
        "dirty": True,
        "python": "3.11.2",
        "platform": "Linux",
        "cpu": "A Processor",
        "cores": 2,
        "device": "cpu",
        "precision": "float32",
        "libraries": {"numpy": "2.1.0", "scipy": "1.14"},
        "seed": 0,
        "excerpt_seconds": None,
        "metrics": {
            name: {
                "version": 1,
                "unit": "dB",
                "higher_is_better": True,
                "definition": f"what {name} is & how",
            }
            for name in METRICS
        }
        | {
            "rtf": {"version": 1, "unit": "×", "higher_is_better": False, "definition": "speed"},
            "cpu_seconds": {"version": 1, "unit": "s", "higher_is_better": False},
            "peak_memory": {"version": 1, "unit": "bytes", "higher_is_better": False},
        },
        "separators": separators,
        "datasets": {
            name: {
                "version": "1.0",
                "sample_rate": 44100,
                "stems": list(FOUR),
                "n_tracks": int(scores[scores["dataset"] == name]["track"].nunique()),
                "fingerprint": "cd" * 32,
                "license": "made up",
                "problems": ["Song 004: bass leaks into drums"],
            }
            for name in ("demo", "musdb18hq")
        },
        "leaks": leaks,
        "skipped": [{"separator": "asnet", "dataset": None, "reason": "not yet available"}],
        "selection_notes": [
            {
                "dataset": "musdb18hq",
                "note": "musdb18hq: one artist only, no deployable choice can be made",
            }
        ],
        "ensembles": {"best_of_oracle": "oracle", "best_of": "ensemble"},
        "work": {"units": 200, "reused": 12, "computed": 187, "failed": 1, "seconds": 242.0},
    }


SIZE_STEMS = (
    *FOUR, "accompaniment", "guitar", "piano", "lead", "background", "lead_male", "lead_female",
    "kick", "snare", "toms", "hihat",
)  # fmt: skip


def large_run(n_separators: int = 20, n_tracks: int = 240, n_stems: int = 15) -> Run:
    """Return a run of one dataset, as large as a report must stay usable at."""
    rng = np.random.default_rng(0)
    names, stems = [f"separator_{i:02d}" for i in range(n_separators)], SIZE_STEMS[:n_stems]
    metrics = (*METRICS, "isr", "sir", "sar")
    tracks = pd.DataFrame({"track": [f"Song {i:03d}" for i in range(n_tracks)]})
    tracks["artist"] = [f"Artist {i // 2}" for i in range(n_tracks)]
    tracks["genre"] = [GENRES[i % len(GENRES)] for i in range(n_tracks)]
    cells = [pd.DataFrame({"separator": names}), pd.DataFrame({"stem": stems})]
    frame = tracks
    for part in (*cells, pd.DataFrame({"metric": metrics})):
        frame = frame.merge(part, how="cross")
    easy = rng.normal(5, 2, n_tracks).repeat(len(frame) // n_tracks)
    better = frame["separator"].str[-2:].astype(int) * 0.15
    frame["value"] = easy + better + rng.normal(0, 1, len(frame))
    about = {"run": "large", "dataset": "demo", "split": "test", "input": "mixture", "fed_by": ""}
    frame = frame.assign(**about, status="ok", note="")[list(COLUMNS)]
    works = frame.drop_duplicates(["track", "separator"]).assign(stem="mixture")
    costs = [works.assign(metric=m, value=v) for m, v in _costs("", rng).items()]
    record = _record(frame)
    entry = {**record["separators"]["scnet"], "trained_on": []}
    record |= {"run": "large", "separators": dict.fromkeys(names, entry), "leaks": []}
    chosen = [
        ["demo", "mixture", "", stem, kind, t, a, g, names[rng.integers(n_separators)], 8.0]
        for stem in stems
        for t, a, g in tracks.itertuples(index=False)
        for kind in ("oracle", "deployable")
    ]
    selection = table(chosen, SELECTION_COLUMNS)
    return Run("large", frame, pd.concat(costs), table([]), selection, record)
