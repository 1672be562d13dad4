"""What a run says of itself: time left, state, log."""

import heapq
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.benchmark import Settings, Unit, runner, workers
from harness.benchmark import journal as journals
from harness.benchmark.forecast import MeasuredCosts, Times
from harness.benchmark.journal import Journal
from harness.benchmark.store import Store
from harness.datasets.folder import folder
from harness.datasets.tracks import Track
from harness.registry import Entry
from harness.results.run_states import FAILED, FINISHED, STOPPED, RunState, read_states
from harness.separators import FAMILIES, Family

# --- time left ------------------------------------------------------------------------------------


def planned(n_tracks: int, separators: list[str]) -> list[Unit]:
    """Units in the order of a plan: per separator all tracks."""
    tracks = [Track("set", f"t{i}", "", "test", (), {}) for i in range(n_tracks)]
    return [
        Unit(
            Entry(name=name, family="echo"), track, 8000, (), (), track.name, f"{name}{track.name}"
        )
        for name in separators
        for track in tracks
    ]


def timeline(units, seconds, jobs: int, reading: float):
    """Return (end, unit) as `workers` does them: each batch goes to the first free worker."""
    free = [0.0] * jobs
    ends = []
    for batch in workers.make_batches(units, units, jobs):
        now = heapq.heappop(free) + reading
        for unit in batch.units:
            now += seconds[unit.key]
            ends.append((now, unit))
        heapq.heappush(free, now)
    return sorted(ends, key=lambda end: end[0])


@pytest.mark.parametrize(
    ("n_tracks", "n_separators", "jobs", "earlier"),
    [(60, 6, 1, False), (60, 6, 4, False), (240, 3, 2, False), (5, 20, 1, True), (40, 8, 4, True)],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_time_left_is_right_after_a_tenth(
    tmp_path, monkeypatch, n_tracks, n_separators, jobs, earlier, seed
):
    rng = np.random.default_rng(seed)
    names = [f"s{i}" for i in range(n_separators)]
    speed = dict(zip(names, 2 * np.logspace(-2, 0.5, n_separators), strict=True))  # unlike ones
    units = planned(n_tracks, names)
    lengths = {unit.place: rng.uniform(60, 400) for unit in units}
    rates = {u.key: speed[u.entry.name] * rng.lognormal(0, 0.15) for u in units}
    seconds = {unit.key: rates[unit.key] * lengths[unit.place] for unit in units}
    ends = timeline(units, seconds, jobs, reading=3.0)
    # earlier runs were on the same kind of machine, when it was twice as fast
    known = {(n, "mixture", "set"): [0.5 * v * rng.lognormal(0, 0.1)] for n, v in speed.items()}
    none = {case: [0.0] for case in known}
    times = (
        Times(MeasuredCosts(known), MeasuredCosts(none))
        if earlier
        else Times(MeasuredCosts({}), MeasuredCosts({}))
    )
    monkeypatch.setattr(journals, "times_of", lambda _: replace(times, lengths=lengths))
    now = [0.0]
    settings = Settings(results=tmp_path, jobs=jobs)
    journal, store = Journal(settings, lambda: now[0]), Store(settings.work_folder)
    journal.expect(units)
    done = 0.0
    for end, unit in ends:
        costs = {"rtf": rates[unit.key] * 0.75, "scoring": rates[unit.key] * 0.25}
        store.put(unit.key, {"scores": {}, "costs": costs, "notes": []})
        now[0] = end
        journal.advance([unit], {})
        done += seconds[unit.key]
        if done >= 0.1 * sum(seconds.values()):
            break
    left = ends[-1][0] - now[0]
    assert journal.state.seconds_left == pytest.approx(left, rel=0.2)
    assert journal.state.per_minute == pytest.approx(60 * journal.state.done / now[0])


def test_time_left_is_not_promised_when_nothing_is_known(tmp_path, monkeypatch):
    units = planned(2, ["a"])
    times = Times(
        MeasuredCosts({}), MeasuredCosts({}), lengths={unit.place: None for unit in units}
    )
    monkeypatch.setattr(journals, "times_of", lambda _: times)
    journal = Journal(Settings(results=tmp_path), lambda: 10.0)
    journal.expect(units)
    journal.advance([], {})
    assert journal.state.seconds_left is None
    journal.advance(units[:1], {units[0].key: "broken"})  # a failed job says nothing either
    assert journal.state.seconds_left is None
    assert (journal.state.done, journal.state.failed) == (1, 1)


def test_earlier_runs_tell_the_time_before_anything_is_done(tmp_path, monkeypatch):
    units = planned(4, ["a"])
    case = {("a", "mixture", "set"): [0.5]}
    times = Times(MeasuredCosts(case), MeasuredCosts(case), lengths={u.place: 100.0 for u in units})
    monkeypatch.setattr(journals, "times_of", lambda _: times)
    journal = Journal(Settings(results=tmp_path, jobs=2), lambda: 0.0)
    journal.expect(units)
    journal.advance([], {})
    assert journal.state.seconds_left == pytest.approx(4 * 100 / 2)


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture
def go(mono_songs, tmp_path, monkeypatch):
    """Run separators of the named faults, none for a good one; return the state from outside."""
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    monkeypatch.setitem(FAMILIES, "faulty", Family("planted:Faulty", 1))

    def run(*faults: str) -> RunState:
        params = [{"fault": fault} if fault else {} for fault in faults]
        entries = [
            Entry(name=f"s{i}", family="faulty" if p else "echo", stems=("vocals",), params=p)
            for i, p in enumerate(params)
        ]
        songs = folder(mono_songs, name="songs")
        two = replace(songs, tracks=songs.tracks[:2])
        runner.run(entries, [two], Settings(results=tmp_path / "r"))
        (state,) = read_states(tmp_path / "r", 0.0)
        return state

    return run


def log_of(tmp_path: Path) -> list[str]:
    lines = (tmp_path / "r" / "main" / "run.log").read_text(encoding="utf-8").splitlines()
    assert all(line[10] == "T" and line.split(" ")[0].endswith("+00:00") for line in lines)
    return [line.partition(" ")[2] for line in lines]


def test_a_run_tells_what_is_done_and_why_jobs_failed(go, tmp_path):
    state = go("", "raise")
    assert (state.state, state.total, state.done, state.failed) == (FAILED, 4, 4, 2)
    assert state.reasons == {"RuntimeError: weights are gone": 2}
    first, *jobs, last = log_of(tmp_path)
    assert first.startswith("started: 4 jobs, 0 of them done by earlier runs; process ")
    assert sorted(line.split(":")[0] for line in jobs) == ["done", "done", "failed", "failed"]
    assert any("s1 on " in j and j.endswith(": RuntimeError: weights are gone") for j in jobs)
    assert last == "finished, some jobs failed: 4 of 4 jobs done, 2 of them failed"


def test_a_rerun_counts_what_was_there_and_one_without_work_writes_nothing(go, tmp_path):
    go("")
    state = go("", "in place")
    assert (state.state, state.total, state.done, state.reused) == (FINISHED, 4, 4, 2)
    paths = [tmp_path / "r" / "main" / name for name in ("progress.json", "run.log")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]
    go("", "in place")
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths] == before
    killed = json.loads(before[0][0]) | {"state": "running", "pid": 1, "birth": "0", "done": 3}
    paths[0].write_text(json.dumps(killed))  # after its tables were written
    assert (go("", "in place").state, go("", "in place").done) == (FINISHED, 4)


def test_an_error_ends_a_run_with_its_reason(go, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "write_run", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        go("")
    (state,) = read_states(tmp_path / "r", 0.0)
    assert (state.state, state.done) == (STOPPED, 2)
    assert state.why == "ZeroDivisionError: division by zero"


def test_what_cannot_be_written_stops_no_run(tmp_path):
    main = tmp_path / "r" / "main"
    (main / "run.log").mkdir(parents=True)
    (main / "progress.json").mkdir()
    with Journal(Settings(results=tmp_path / "r")) as journal:
        journal.begin(1, 0)
        journal.settle(1)
    assert sorted(path.name for path in main.rglob("*")) == ["progress.json", "run.log"]
