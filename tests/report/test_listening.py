"""Clips that are kept of a run, the excerpts chosen from them, and the pages made of both."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import song_stems, write_song

from harness.benchmark import Plan, Settings, Unit, clips, execute, plan_for_files, runner, work
from harness.benchmark.plan import mark
from harness.benchmark.store import Store
from harness.core import audio
from harness.core.errors import HarnessError, StorageError
from harness.datasets import DATASETS, load
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.tracks import Source, Track
from harness.metrics import analyse
from harness.registry import Entry
from harness.report import writing
from harness.report.computed import make_report
from harness.report.page import bleed_tables
from harness.report.tracks import excerpts, frame_lines, listening, sounds, track_page
from harness.results.runs import read_run

RATE = 8000
SECONDS = 20
BURST = 7  # second
TABLES = ("scores.parquet", "ensembles.parquet", "selection.parquet")
HOSTILE = "<img src=x onerror=alert(1)> ..%2f “x” & Söhne"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A song of 20 s and estimates of it, of which one has a burst in second 7."""
    root = tmp_path_factory.mktemp("planted")
    stems = song_stems(0, SECONDS, RATE)
    write_song(root / "data" / HOSTILE, stems)
    rng = np.random.default_rng(1)
    for stem, signal in stems.items():
        estimate = signal + rng.normal(0, 1e-4, signal.shape).astype(np.float32)
        if stem == "bass":
            estimate[:, BURST * RATE : (BURST + 1) * RATE] += 1.5  # beyond full scale
        path = root / "estimates" / HOSTILE / f"{stem}.wav"
        audio.write(path, estimate.astype(np.float32), RATE, subtype="FLOAT")
    return root


def score(planted, results: Path, listen: int = 3, name: str = "planted") -> Path:
    """Score the planted estimates, and return the folder of the run."""
    entry = Entry(name=name, title="planted", family="files")
    settings = Settings(run="main", results=results, listen=listen)
    dataset = load("songs", planted / "data")
    return runner.score_folder(entry, planted / "estimates", [dataset], settings).folder


@pytest.fixture(scope="module")
def run(planted, tmp_path_factory):
    return score(planted, tmp_path_factory.mktemp("run") / "results")


def write_pages(run: Path, folder: Path, audio: str) -> list[track_page.TrackPage]:
    return listening.write_tracks(make_report(read_run(run)), run.parent / "work", folder, audio)


def page_of(folder: Path, stem: str) -> str:
    (path,) = folder.glob(f"tracks/*-{stem}-*.html")
    return path.read_text(encoding="utf-8")


def kept(run: Path) -> dict[str, clips.Clip]:
    (unit,) = read_run(run).record["units"]
    return clips.read_estimates(run.parent / "work", unit["track_key"], unit["key"])


def test_a_burst_is_found_as_the_worst_second(run):
    frames = kept(run)["bass"].frames
    assert len(frames) == SECONDS
    assert int(np.argmin(frames)) == BURST
    found = excerpts.choose([frames], np.arange(SECONDS), (0, SECONDS))
    worst = {e.kind: e for e in found}["worst"]
    assert (worst.second, worst.start, worst.stop) == (BURST, 5, 11)


def test_the_page_says_which_seconds_were_chosen(run, tmp_path):
    write_pages(run, tmp_path, "private")
    assert f"worst at 0:0{BURST}" in page_of(tmp_path, "bass")


def test_kept_clips_equal_the_signal_to_16_bits(run, planted):
    found = kept(run)
    assert set(found) == {"vocals", "drums", "bass", "other", "accompaniment"}
    for stem in ("vocals", "drums", "bass", "other"):
        clip = found[stem]
        given, _ = audio.read(planted / "estimates" / HOSTILE / f"{stem}.wav")
        assert clip.start == 0
        signal = clip.read(0, SECONDS)
        assert signal.shape == given.shape
        assert np.abs(signal - given).max() <= clip.scale * 2**-15
    assert found["bass"].scale > 1.4
    assert found["vocals"].scale == 1.0


def test_the_middle_minute_of_a_long_track_is_kept(tmp_path):
    signal = np.arange(200 * 10, dtype=np.float32)[None] / 1e4
    packed = clips._packed(signal, 10, np.zeros(200))
    clips._write(tmp_path / "x.npz", {"x": packed})
    clip = clips._read(tmp_path / "x.npz")["x"]
    assert (clip.start, clip.rate) == (70, 10)
    assert clip.read(70, 130).shape == (1, 600)
    assert np.allclose(clip.read(80, 90), signal[:, 800:900], atol=2**-15)


def test_seconds_in_which_the_stem_is_nearly_silent_are_not_chosen():
    frames = np.array([5.0, -40.0, 7.0, 6.0, np.nan])
    energy = np.array([1.0, 1e-4, 1.0, 0.5, 0.0])
    loud = excerpts.sounding([frames, frames + 1], energy, (0, 5))
    assert loud.tolist() == [0, 2, 3]
    found = excerpts.choose([frames, frames + 1], loud, (0, 5))
    assert {e.kind: e.second for e in found} == {"worst": 0, "typical": 3, "best": 2}


def test_the_excerpt_of_a_silent_stem_starts_at_its_first_second():
    silent = np.full(30, np.nan)
    loud = excerpts.sounding([silent], np.zeros(30), (4, 30))
    (only,) = excerpts.choose([silent], loud, (4, 30))
    assert (only.kind, only.start, only.stop) == ("first", 4, 10)


def test_excerpts_stay_within_the_kept_clip():
    frames = np.arange(100.0)
    found = excerpts.choose([frames], np.arange(20, 80), (20, 80))
    assert [(e.start, e.stop) for e in found] == [(20, 26), (47, 53), (74, 80)]
    assert excerpts.choose([frames[:2]], np.arange(2), (0, 2))[0].stop == 2


def test_the_line_of_a_separator_has_gaps_where_no_score_is_defined():
    line = frame_lines.steps(np.array([-np.inf, 3.0, np.nan, np.inf]), -20, 40)
    assert line == "M0 20H1V-3H2M3-40H4"


def test_listening_changes_no_table(run, planted, tmp_path):
    without = score(planted, tmp_path / "results", listen=0)
    assert not (tmp_path / "results/work/clips").exists()
    for name in TABLES:
        assert (without / name).read_bytes() == (run / name).read_bytes()


def settings_and_unit(planted, results: Path, **update) -> tuple[Settings, Unit]:
    settings = Settings(results=results, listen=1, **update)
    dataset = load("songs", planted / "data")
    entry = Entry(name="planted", title="planted", family="files")
    fingerprints = Fingerprints(results / "fingerprints")
    plan = plan_for_files(entry, planted / "estimates", [dataset], settings, fingerprints)
    (unit,) = mark(plan, 1).units
    return settings, unit


def test_finished_work_is_repeated_for_its_clips_only_on_request(planted, tmp_path, monkeypatch):
    settings, unit = settings_and_unit(planted, tmp_path)
    execute(Plan((replace(unit, listen=False),)), settings)
    store = Store(settings.work_folder)
    before = store.path(unit.key).read_bytes()
    done = []
    original = work.do_unit
    monkeypatch.setattr(work, "do_unit", lambda *a: done.append(1) or original(*a))
    execute(Plan((unit,)), settings)
    assert done == []
    assert clips.wanted(settings.work_folder, unit)
    execute(Plan((unit,)), replace(settings, again=True))
    assert done == [1]
    assert not clips.wanted(settings.work_folder, unit)
    assert store.path(unit.key).read_bytes() == before
    execute(Plan((unit,)), replace(settings, again=True))
    assert done == [1]


def test_every_scored_unit_has_its_clips_even_after_a_kill(planted, tmp_path, monkeypatch):
    settings, unit = settings_and_unit(planted, tmp_path)

    def killed(self, key, content):
        raise StorageError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", killed)
        with pytest.raises(StorageError):
            execute(Plan((unit,)), settings)
    assert not clips.wanted(settings.work_folder, unit)
    assert execute(Plan((unit,)), settings) == {}
    assert Store(settings.work_folder).has(unit.key)


def test_tracks_are_spread_over_genres_then_artists():
    def unit(name, genre, artist):
        track = Track("d", name, artist, "test", (Source(Path("x")),), {}, genre=genre)
        return Unit(Entry(name="e", title="e", family="files"), track, 1, (), (), name, name)

    units = [
        unit("1", "rock", "A"),
        unit("2", "rock", "A"),
        unit("3", "rock", "B"),
        unit("4", "pop", "A"),
    ]
    for count, names in ((0, ""), (2, "14"), (3, "134"), (9, "1234")):
        marked = mark(Plan(tuple(units)), count)
        assert "".join(u.track.name for u in marked.units if u.listen) == names


@pytest.mark.parametrize("name", [*DATASETS, "a folder of mine"])
def test_audio_is_shared_only_if_the_license_permits_it(name):
    may = name in ("demo", "moisesdb", "real_song")
    assert (listening.why_silent(name, "allowed") == "") == may
    assert listening.why_silent(name, "private") == ""
    assert listening.why_silent(name, "none") == "made with --audio none"


def test_pages_hold_audio_only_if_it_is_allowed(run, tmp_path):
    write_pages(run, tmp_path, "private")
    private = page_of(tmp_path, "bass")
    assert "Private: do not publish" in private
    assert 'id="audio-0-0"' in private
    write_pages(run, tmp_path, "allowed")
    allowed = page_of(tmp_path, "bass")
    assert "the license of songs (yours) does not permit sharing its audio" in allowed
    assert "audio-0-0" not in allowed
    assert "Private: do not publish" not in allowed
    assert 'class="chart overview"' in allowed  # scores stay
    assert max(map(len, re.findall(r"[A-Za-z0-9+/]+", allowed))) < 1000


def test_pages_of_earlier_reports_are_removed(run, tmp_path):
    old = tmp_path / "tracks/of an earlier run.html"
    old.parent.mkdir()
    old.write_text("audio")
    write_pages(run, tmp_path, "none")
    assert not old.exists()
    assert len(list((tmp_path / "tracks").iterdir())) == 5


def test_a_hostile_name_changes_no_path_and_stays_text(run, tmp_path):
    writing.write_report([run], tmp_path)
    paths = list((tmp_path / "main/tracks").iterdir())
    assert all(re.fullmatch(r"[A-Za-z0-9-]+\.html", path.name) for path in paths)
    index = tmp_path / "main/index.html"
    for path in (index, *paths):
        text = path.read_text(encoding="utf-8")
        assert "<img" not in text
        assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert {f"tracks/{path.name}" for path in paths} == set(
        re.findall(r'href="(tracks/[^"]+)"', index.read_text(encoding="utf-8"))
    )


def test_an_unknown_kind_of_audio_is_refused():
    with pytest.raises(
        HarnessError, match="--audio loud: not known; known: allowed, none, private"
    ):
        writing.check_audio("loud")


def test_the_page_names_separators_without_a_clip(run, tmp_path):
    found = read_run(run)
    (unit,) = found.record["units"]
    lost = {**unit, "separator": "lost", "key": "0" * 64}
    rows = found.scores.assign(separator="lost", value=1.0)
    record = {**found.record, "units": [unit, lost]}
    both = replace(found, record=record, scores=pd.concat([found.scores, rows]))
    listening.write_tracks(make_report(both), run.parent / "work", tmp_path, "private")
    page = page_of(tmp_path, "bass")
    assert re.search(r'No audio was kept of <span class="name">lost</span>', page)
    assert 'id="audio-0-2"' in page
    assert 'id="audio-0-3"' not in page


def with_many(run: Path, count: int):
    """Return a report of a run in which so many separators have the same estimates."""
    found = read_run(run)
    (unit,) = found.record["units"]
    names = [f"sep{i:02d}" for i in range(count)]
    rows = [found.scores.assign(separator=name, value=20.0 - i) for i, name in enumerate(names)]
    record = {**found.record, "units": [{**unit, "separator": name} for name in names]}
    return make_report(replace(found, record=record, scores=pd.concat(rows)))


def test_pages_of_many_separators_keep_the_limit_and_name_who_is_left_out(run, tmp_path):
    report, work = with_many(run, 24), run.parent / "work"
    listening.write_tracks(report, work, tmp_path / "a", "private", megabytes=6)
    sizes = [path.stat().st_size for path in tmp_path.glob("a/tracks/*.html")]
    assert len(sizes) == 5
    assert max(sizes) <= 6e6 / 12
    page = page_of(tmp_path / "a", "bass")
    heard = [int(n) for n in re.findall(r'id="audio-0-(\d+)"', page)]
    assert 3 <= len(heard) < 24
    left_out = ", ".join(f"sep{i:02d}" for i in range(len(heard) - 2, 24))
    assert f'and none of <span class="name">{left_out}</span>' in page
    assert "--audio-size" in page
    listening.write_tracks(report, work, tmp_path / "b", "private", megabytes=6)
    assert page_of(tmp_path / "b", "bass") == page


def test_a_page_without_room_has_no_audio(run, tmp_path):
    listening.write_tracks(
        make_report(read_run(run)), run.parent / "work", tmp_path, "private", megabytes=1
    )
    page = page_of(tmp_path, "bass")
    assert "No audio on this page: the listening pages have reached their limit of size." in page
    assert "audio-0-0" not in page
    assert page.count("worst at") == 1


def test_the_limit_is_shared_by_all_pages_and_parts_get_the_rest():
    def page(track, stem, silent=""):
        return track_page.TrackPage("d", "test", track, "", "", stem, track + stem, silent)

    main = [(page(str(i), stem), 22) for i in range(3) for stem in listening.MAIN]
    parts = [(page(str(i), stem), 3) for i in range(3) for stem in ("kick", "snare", "lead")]
    hidden = [(page("x", "vocals", "the license"), 50)]
    allowed = listening._allowed([*main, *parts, *hidden], 60)
    assert sum(allowed.values()) <= 60e6
    assert max(allowed.values()) <= 5e6
    assert min(allowed[one.href] for one, _ in parts) > 0.5e6
    assert allowed["xvocals"] == 0
    assert listening._allowed(main[:1], 60) == {main[0][0].href: 5_000_000}


def test_a_compressed_difference_is_that_of_the_uncompressed_signals(run, tmp_path):
    write_pages(run, tmp_path, "private")
    page = page_of(tmp_path, "bass")
    clip = kept(run)["bass"]
    (unit,) = read_run(run).record["units"]
    true = clips.read_true(run.parent / "work", unit["track_key"], "bass")
    (first, last) = excerpts.regions(
        excerpts.choose([clip.frames], np.arange(SECONDS), (0, SECONDS))
    )[0]
    (text,) = re.findall(r'id="audio-0-2">([^<]+)<', page)
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(text)), always_2d=True)
    difference = clip.read(first, last) - true.read(first, last)
    assert rate == RATE
    assert heard.T.shape == difference.shape
    scale = np.vdot(heard.T, difference) / np.vdot(heard, heard)
    error = difference - scale * heard.T
    assert np.vdot(error, error) < 0.01 * np.vdot(difference, difference)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kbps", [48, 64])
def test_compressed_audio_keeps_its_length_place_and_size(rate, channels, kbps):
    noise = np.random.default_rng(0).normal(0, 0.1, (channels, rate)).astype(np.float32)
    noise[:, : rate // 2] = 0
    content = sounds._mp3(noise, rate, kbps)
    heard, found = soundfile.read(io.BytesIO(content), always_2d=True)
    assert (found, heard.T.shape) == (rate, noise.shape)
    assert len(content) * 4 / 3 <= sounds.size([(0, 1)], rate, channels, kbps)
    at = np.argmax(
        np.correlate(heard[rate // 2 : -rate // 4, 0], noise[0, rate // 2 + 50 : -rate // 4 - 50])
    )
    assert at == 50


def test_the_error_of_each_second_is_named(run, tmp_path):
    write_pages(run, tmp_path, "private")
    view = json.loads(re.search(r'id="view">(.*?)</script>', page_of(tmp_path, "bass"))[1])
    (estimate,) = [source for source in view["sources"] if source["name"] == "planted"]
    assert view["kinds"] == ["missing", "too loud", "vocals", "drums", "other", "no stem"]
    height, level, *shares = estimate["errors"][BURST]
    assert (height, shares[-1]) == (100, 100)  # a constant is in no stem
    assert level > 0
    assert max(height for i, (height, *_) in enumerate(estimate["errors"]) if i != BURST) == 0


def test_the_report_has_the_bleed_matrix_of_what_was_scored(run, tmp_path):
    page = writing.write_report([run], tmp_path).read_text(encoding="utf-8")
    matrix = page.partition('id="bleed-0"')[2].partition("</table>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", matrix)
    assert len(cells) == 4 * 5
    assert [cells[5 * i + i] for i in range(4)] == ["0.0"] * 4
    vocals, drums, _, other = range(4)  # the burst is like no stem, but not fully
    assert {cells[5 * i + k] for i in (vocals, drums, other) for k in range(4) if i != k} == {"–"}


def test_bleed_is_the_median_over_tracks():
    stems = {stem: signal.astype(np.float32) for stem, signal in song_stems(3).items()}
    ready, drums = analyse(stems, RATE, metrics=[]), stems["drums"]
    kept = {
        ("songs", "test", str(i), "vocals"): ready.blend(
            "vocals", {"much": stems["vocals"] + np.float32(gain) * drums, "none": stems["vocals"]}
        )
        for i, gain in enumerate((0.01, 0.1, 0.5))
    }
    none, much = bleed_tables.matrices(kept)["songs"]
    assert (none.separator, much.separator, much.tracks) == ("none", "much", 3)
    ((stem, cells),) = much.rows
    levels = dict(zip(much.sources, cells, strict=True))
    assert stem == "vocals"
    assert levels["drums"].level == pytest.approx(-20, abs=1e-4)
    assert levels["vocals"].own
    assert [name for name, cell in levels.items() if cell.shade] == ["drums"]
