"""Damage to stored results is found and named, and a run mends it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from synthetic_run import before_checksums, demo_run

from harness import cli
from harness.benchmark import Settings, integrity, kept_products, runner
from harness.benchmark.store import Store
from harness.core.errors import HarnessError
from harness.core.files import zip_damage
from harness.datasets.folder import folder
from harness.registry import Entry
from harness.results.runs import TABLES, Run, read_run, write_run
from harness.separators import FAMILIES, Family


def flip(path: Path, at: float = 0.5) -> None:
    """Change one byte of a file, at a share of its length."""
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_a_flipped_or_lacking_byte_is_found_or_changes_nothing(tmp_path, write, rng):
    path = tmp_path / "a.npz"
    arrays = {"vocals": rng.standard_normal(40), "bass/edges": np.arange(3), "none": np.zeros(0)}
    write(path, **arrays)
    content = path.read_bytes()
    assert zip_damage(path) == ""
    found = 0
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        if zip_damage(path):
            found += 1
            continue
        with np.load(path, allow_pickle=False) as file:
            assert set(file.files) == set(arrays)
            assert all(np.array_equal(file[name], array) for name, array in arrays.items())
    assert found > 0.2 * len(content)  # the rest are times and rights of members
    for end in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        assert zip_damage(path)


@pytest.mark.parametrize("name", [f"{name}.parquet" for name in TABLES] + ["run.json"])
def test_a_damaged_table_or_record_is_refused(tmp_path, name):
    run = demo_run(4)
    write_run(tmp_path, run)
    again = read_run(tmp_path)
    assert again.record.keys() - {"selection_notes"} == run.record.keys() - {"selection_notes"}
    pd.testing.assert_frame_equal(again.scores, run.scores, check_dtype=False)
    path = tmp_path / name
    if name == "run.json":
        record = json.loads(path.read_bytes())
        path.write_text(json.dumps({**record, "leaks": []}))  # leaks would vanish unseen
    else:
        flip(path)
    with pytest.raises(HarnessError, match=f"{name} is not as it was written.*run again"):
        read_run(tmp_path)
    before_checksums(tmp_path)
    if name == "run.json":
        assert read_run(tmp_path).record["leaks"] == []  # an earlier version's stays valid


def test_later_formats_are_refused_and_kept(tmp_path):
    write_run(tmp_path / "main", demo_run(4))
    path = tmp_path / "main" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format": 2}))
    with pytest.raises(HarnessError, match="has format 2, and this version reads up to 1; update"):
        read_run(tmp_path / "main")
    store = Store(tmp_path / "work")
    store.put("ab12", {"scores": {}, "costs": {}, "notes": []})
    store.path("ab12").write_text(json.dumps({"format": 2, "values": [1.0]}))
    with pytest.raises(HarnessError, match=r"ab12\.json: has format 2, and this version reads"):
        store.get("ab12")
    assert store.path("ab12").is_file()
    damaged, _ = integrity.examine(tmp_path)
    assert len(damaged) == 2
    assert all("has format 2" in file.wrong for file in damaged)


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture
def go(mono_songs, tmp_path, monkeypatch):
    """Run two separators on two songs; returns the run."""
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    gains = {"loud": 1.0, "soft": 0.5}
    entries = [
        Entry(name=name, family="echo", stems=("vocals", "bass"), params={"gain": gain})
        for name, gain in gains.items()
    ]
    songs = folder(mono_songs, name="songs")
    settings = Settings(results=tmp_path / "r", listen=1, again=True, keep_estimates=True)

    def run() -> Run:
        done = runner.run(entries, [replace(songs, tracks=songs.tracks[:2])], settings)
        return read_run(done.folder)

    return run


def test_damage_is_named_with_its_cost_and_a_rerun_mends_it(go, tmp_path, monkeypatch, capsys):
    before = go()
    results, work = tmp_path / "r", tmp_path / "r" / "work"
    clean, counts = integrity.examine(results)
    assert clean == []
    assert counts["run"] == 1
    assert counts["result"] == 4
    unit = before.record["units"][0]
    clip = work / "clips" / unit["track_key"] / f"{unit['key']}.npz"
    flip(work / unit["key"][:2] / f"{unit['key']}.json")
    flip(clip, 0.3)
    (blend, *_) = sorted((work / "blends").rglob("*.npz"))
    blend.write_bytes(blend.read_bytes()[:-30])
    flip(sorted((work / "estimates").glob("*.npz"))[0])
    flip(results / "main" / "scores.parquet")
    found = {file.path: file for file in integrity.examine(results)[0]}
    assert len(found) == 5
    where = f"of {unit['separator']} on {unit['track']!r} of songs"
    # the run whose tables are damaged tells nothing of its jobs any more
    assert "no run that is here" in found[clip].what
    before_run = results / "main"
    assert "scores.parquet is not as it was written" in found[before_run].wrong
    write_run(before_run, before)
    found = {file.path: file for file in integrity.examine(results)[0]}
    assert found[clip].what == f"clip {where}"
    assert "1 job, 0 s of CPU time and the scoring" in found[clip].redo
    assert "inner products of " in found[blend].what
    assert "2 jobs" in found[blend].redo
    words = ["harness", "check", "--results", str(results)]
    for more, code in (((), 2), (("--repair",), 0), ((), 0)):
        monkeypatch.setattr(sys, "argv", [*words, *more])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code or 0) == code, capsys.readouterr()
    after = go()
    assert integrity.examine(results)[0] == []
    pd.testing.assert_frame_equal(after.scores, before.scores)
    assert clip.is_file()
    assert blend.is_file()


def test_results_of_an_earlier_version_are_no_damage(go, tmp_path):
    go()
    before_checksums(tmp_path / "r" / "main")
    for path in (tmp_path / "r" / "work").glob("??/*.json"):
        content = json.loads(path.read_bytes())
        del content["sha256"]
        path.write_text(json.dumps(content))
    assert integrity.examine(tmp_path / "r")[0] == []


def test_damaged_estimates_that_wait_stop_no_run(go, tmp_path, monkeypatch):
    put = kept_products.put_scratch

    def damaged(work_folder, unit, estimates):
        put(work_folder, unit, estimates)
        if unit.entry.name == "soft":
            flip(kept_products.scratch_path(work_folder, unit))

    monkeypatch.setattr(kept_products, "put_scratch", damaged)
    run = go()
    assert set(run.scores["status"]) == {"ok"}
    assert list((tmp_path / "r" / "work" / "scratch").glob("*")) == []
