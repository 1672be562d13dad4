import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted
import pytest
from conftest import left_of, song_stems, write_song
from synthetic_run import empty_run, row, rows_table

from harness import registry
from harness.benchmark import Settings, forecast, left_out, runner
from harness.benchmark.cascades import plan_cascades
from harness.benchmark.plan import make_plan
from harness.benchmark.store import Store
from harness.cli.boards import boards, forecast_lines
from harness.core import audio, taxonomy
from harness.core.errors import HarnessError, StorageError
from harness.core.machine import processor_name
from harness.datasets.fingerprints import Fingerprints
from harness.datasets.folder import folder
from harness.datasets.tracks import Excerpt, read_sources
from harness.registry import Entry
from harness.report import render
from harness.report.computed import make_report
from harness.results import summaries
from harness.results.runs import read_run, write_run
from harness.separators import FAMILIES, Family

FOUR = ("vocals", "drums", "bass", "other")


@pytest.fixture(autouse=True)
def families(monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    monkeypatch.setitem(FAMILIES, "faulty", Family("planted:Faulty", 1))


def entry(name: str, stems=FOUR, family: str = "echo", **fields) -> Entry:
    return Entry(name=name, family=family, stems=stems, **fields)


def kit_stems(seed: int) -> dict[str, np.ndarray]:
    """A kit of five pieces that differ, and a voice, in mono."""
    first, second = (left_of(song_stems(n, 1.0)) for n in (seed, seed + 50))
    return {
        "kick": first["bass"],
        "snare": first["drums"],
        "toms": second["bass"],
        "hihat": second["drums"][:, ::-1],
        "cymbals": first["other"],
        "vocals": second["vocals"],
    }


@pytest.fixture(scope="session")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kits")
    for seed, name in enumerate(("Ann - One", "Bob - Two")):
        write_song(root / name, kit_stems(seed))
    return root


def run(root: Path, entries, tmp_path: Path, **options):
    jobs = options.pop("jobs", 1)
    settings = Settings(results=tmp_path / "results", jobs=jobs, backend="threading")
    outcome = runner.run(entries, [folder(root, name="songs")], settings, **options)
    return outcome, read_run(outcome.folder)


def snr(reference, estimate) -> float:
    rest = reference.astype(float) - estimate
    return 10 * np.log10(np.sum(reference.astype(float) ** 2) / np.sum(rest**2))


def value(result, **where) -> float:
    frame = result.scores
    for column, wanted in {"metric": "snr", "track": "Ann - One", **where}.items():
        frame = frame[frame[column] == wanted]
    (found,) = frame["value"]
    return found


QUIET = {"gain": 0.5}  # half the mixture: a parent that is wrong in a known way
CHILD = entry("child", ("kick", "snare"), input="drums")


def test_in_cascade_the_input_is_the_parents_estimate(kits, tmp_path):
    _, result = run(kits, [entry("half", params=QUIET), CHILD], tmp_path)
    stems = kit_stems(0)
    mixture = np.sum(list(stems.values()), axis=0)
    drums = mixture - stems["vocals"]
    fed = {"separator": "child", "stem": "kick"}
    own = value(result, fed_by="reference", **fed)
    assert own == pytest.approx(snr(stems["kick"], drums), abs=1e-4)
    cascade = value(result, fed_by="half", **fed)
    assert cascade == pytest.approx(snr(stems["kick"], 0.5 * mixture), abs=1e-4)
    assert set(result.scores["fed_by"]) == {"", "reference", "half"}


def test_the_parent_is_the_one_that_ranks_first_for_its_stem(kits, tmp_path):
    bad, good = entry("bad", params={"gain": 3.0}), entry("good", params=QUIET)
    anchor = entry("anchor", params={"gain": 0.4}, role="anchor")
    _, result = run(kits, [anchor, bad, good, CHILD], tmp_path)
    inputs = set(result.scores.loc[result.scores["separator"] == "child", "fed_by"])
    assert inputs == {"reference", "good"}


def test_the_parent_can_be_named_and_cascades_left_out(kits, tmp_path):
    bad, good = entry("bad", params={"gain": 3.0}), entry("good", params=QUIET)
    _, named = run(kits, [bad, good, CHILD], tmp_path, cascade="bad")
    assert "bad" in set(named.scores["fed_by"])
    _, without = run(kits, [bad, good, CHILD], tmp_path, cascade=None)
    assert set(without.scores["fed_by"]) == {"", "reference"}
    with pytest.raises(HarnessError, match="no separator 'goood'"):
        run(kits, [bad, good, CHILD], tmp_path, cascade="goood")


def test_tracks_that_a_parent_was_trained_on_have_no_cascade(kits, tmp_path):
    seen = entry("seen", params=QUIET, trained_on=("songs",))
    _, result = run(kits, [seen, CHILD], tmp_path, cascade="seen")
    assert set(result.scores["fed_by"]) == {"", "reference"}
    (skip,) = [s for s in result.record["skipped"] if s["separator"] == "child"]
    assert skip["reason"] == "not in cascade on 2 tracks: seen was trained on them"


def test_without_a_parent_there_is_a_reason(kits, tmp_path):
    voice = entry("voice", ("vocals",))
    _, result = run(kits, [voice, CHILD], tmp_path)
    (skip,) = [s for s in result.record["skipped"] if s["separator"] == "child"]
    assert skip["reason"] == "not in cascade on 2 tracks: no ranked separator has drums"


def test_a_parent_that_fails_costs_its_cascades_only(kits, tmp_path):
    broken = entry("broken", family="faulty", params={"fault": "raise"})
    outcome, result = run(kits, [broken, CHILD], tmp_path, cascade="broken")
    failed = result.scores[result.scores["status"] == "failed"]
    assert set(failed["fed_by"]) == {"", "broken"}
    assert outcome.failed == 4
    assert (result.scores[result.scores["fed_by"] == "reference"]["status"] == "ok").all()


def test_a_second_run_does_nothing_and_another_parent_only_its_cascades(kits, tmp_path):
    half, third = entry("half", params=QUIET), entry("third", params={"gain": 0.33})
    first, before = run(kits, [half, third, CHILD], tmp_path, cascade="half")
    again, _ = run(kits, [half, third, CHILD], tmp_path, cascade="half")
    assert (again.units, again.reused, again.fresh) == (first.units, first.units, False)
    other, after = run(kits, [half, third, CHILD], tmp_path, cascade="third")
    assert other.units - other.reused == 2
    alike = before.scores["fed_by"].isin(["", "reference"])
    assert before.scores[alike].equals(after.scores[alike.to_numpy()])


def test_stopped_amid_its_cascades_a_run_goes_on_with_the_same_numbers(kits, tmp_path, monkeypatch):
    entries = [entry("half", params=QUIET), CHILD]
    _, whole = run(kits, entries, tmp_path / "whole")
    real, kept = Store.put, []

    def put(self, key, content):
        if len(kept) == 5:  # two parents, two fed with the true drums, one cascade
            raise StorageError("results: the disk is full; free some space")
        kept.append(key)
        real(self, key, content)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", put)
        with pytest.raises(StorageError, match="disk is full"):
            run(kits, entries, tmp_path / "stopped")
    outcome, rest = run(kits, entries, tmp_path / "stopped")
    assert (outcome.units, outcome.reused) == (6, 5)
    assert rest.scores.equals(whole.scores)


def test_jobs_do_not_change_a_number(kits, tmp_path):
    entries = [Entry(name="nmf", family="nmf", stems=FOUR, params={"iterations": 2})]
    entries.append(Entry(name="rest", family="hpss", stems=("vocals", "accompaniment")))
    child = Entry(name="child", family="mixture", stems=("kick", "snare"), input="drums")
    runs = [run(kits, [*entries, child], tmp_path / str(jobs), jobs=jobs)[0] for jobs in (1, 2)]
    one, two = (outcome.folder.joinpath("scores.parquet").read_bytes() for outcome in runs)
    assert one == two


def test_costs_in_cascade_are_the_childs_alone(kits, tmp_path, monkeypatch):
    quick = planted.Echo.separate

    def separate(self, audio):
        end = time.process_time() + (0.2 if self.gain == QUIET["gain"] else 0.0)
        while time.process_time() < end:
            pass
        return quick(self, audio)

    monkeypatch.setattr(planted.Echo, "separate", separate)
    _, result = run(kits, [entry("half", params=QUIET), CHILD], tmp_path)
    seconds = result.costs[result.costs["metric"] == "cpu_seconds"].set_index("fed_by")["value"]
    assert seconds[""].min() >= 0.2
    assert seconds["half"].max() < 0.2


# --- which stems are scored -----------------------------------------------------------------------


def test_cymbals_of_four_pieces_are_scored_with_the_hihat(kits, tmp_path):
    four = entry("four", ("kick", "snare", "toms", "cymbals"), input="drums")
    five = entry("five", ("kick", "snare", "toms", "hihat", "cymbals"), input="drums")
    _, result = run(kits, [four, five], tmp_path)
    stems = kit_stems(0)
    drums = sum(signal for stem, signal in stems.items() if stem != "vocals")
    both = stems["hihat"] + stems["cymbals"]
    expected = {"four": snr(both, drums), "five": snr(both, 2 * drums)}
    for name, wanted in expected.items():
        assert value(result, separator=name, stem="hihat_cymbals") == pytest.approx(
            wanted, abs=1e-4
        )
    by_name = result.scores.groupby("separator")["stem"].unique()
    assert set(by_name["four"]) == {"kick", "snare", "toms", "hihat_cymbals"}
    assert set(by_name["five"]) == {"kick", "snare", "toms", "hihat_cymbals", "hihat", "cymbals"}


def test_a_stem_that_is_all_of_its_parent_is_not_separated_from_it(tmp_path):
    stems = left_of(song_stems(0))
    write_song(tmp_path / "songs" / "A - B", {"lead": stems["vocals"], "drums": stems["drums"]})
    write_song(
        tmp_path / "songs" / "C - D", {"lead": stems["vocals"], "background": stems["other"]}
    )
    voices = entry("voices", ("lead", "background"), input="vocals")
    whole = entry("whole", ("lead",))
    _, result = run(tmp_path / "songs", [voices, whole], tmp_path)
    scored = result.scores.groupby("separator")["track"].unique()
    assert set(scored["voices"]) == {"C - D"}
    assert set(scored["whole"]) == {"A - B", "C - D"}


def test_stems_that_cannot_be_scored_are_left_out_and_counted(kits, tmp_path):
    songs = folder(kits, name="songs")
    first, second = songs.tracks
    bled = replace(first, bleed=frozenset({"snare", "drums"}))
    machine = dict.fromkeys(("kick", "snare"), "drums has 'drum machine'")
    rest = {stem: files for stem, files in second.stems.items() if stem not in machine}
    undivided = replace(second, stems=rest, excluded=machine)
    settings = Settings(results=tmp_path / "results")
    entries = [entry("half", params=QUIET), CHILD, entry("hats", ("hihat",), input="drums")]
    mixed = replace(songs, tracks=(bled, undivided))
    outcome = runner.run(entries, [mixed], settings)
    result = read_run(outcome.folder)
    fed = result.scores[result.scores["separator"] != "half"]
    assert set(zip(fed["separator"], fed["track"], strict=True)) == {("hats", "Bob - Two")}
    assert "drums" in set(result.scores[result.scores["track"] == "Ann - One"]["stem"])
    assert result.record["datasets"]["songs"]["left_out"] == left_out(mixed)
    assert left_out(mixed) == [
        "kick, snare on 1 of 2 tracks: drums has 'drum machine'",
        "kick, snare, toms, hihat_cymbals, hihat, cymbals on 1 of 2 tracks: "
        "the parts of the drums bleed into each other",
    ]


@pytest.mark.parametrize("stem", ["kick", "snare", "toms", "hihat_cymbals", "hihat", "cymbals"])
def test_every_piece_of_the_kit_comes_from_the_drums(stem):
    assert taxonomy.parent_level(stem) == "drums"
    assert taxonomy.levels({stem, "kick", "snare"})


# --- what a reader sees ---------------------------------------------------------------------------


def rows_of(kind: str, kick: float, snare: float):
    values = {"kick": kick, "snare": snare}
    return [
        row("child", track, stem, metric, value, input="drums", fed_by=kind)
        for track in ("A - B", "C - D")
        for stem, value in values.items()
        for metric in ("snr", "sdr")
    ]


SEEN = rows_table(rows_of("reference", 6.0, 4.0) + rows_of("half", 5.0, 1.0))


def test_the_difference_is_what_the_cascade_costs():
    found = summaries.hierarchy(SEEN).set_index("stem")
    assert set(found["fed_by"]) == {"half"}
    assert found["n"].to_dict() == {"kick": 2, "snare": 2}
    assert found["difference"].to_dict() == pytest.approx({"kick": -1.0, "snare": -3.0})
    assert summaries.hierarchy(SEEN[SEEN["fed_by"] == "reference"]).empty


def test_inputs_are_ranked_separately_in_the_terminal_and_on_the_page():
    about = {"child": {"role": "separator", "input": "drums"}}
    seen = replace(empty_run(separators=about, leaks=[]), scores=SEEN)
    titles = [(board.title.partition(":")[0], board.rows) for board in boards(make_report(seen))]
    assert titles == [
        ("demo, from the true drums", (("child", "6.00", "4.00"),)),
        ("demo, from drums by half", (("child", "5.00", "1.00"),)),
    ]
    page = render(make_report(seen))
    assert "From the true stem and in cascade" in page
    assert page.count("from drums by half") >= 2


# --- on real drums --------------------------------------------------------------------------------


@pytest.mark.slow
def test_published_estimates_of_real_drums_are_scored_as_fed_with_the_drums(shared_data, tmp_path):
    songs = folder(shared_data / "drums" / "tracks", name="kits")
    songs = replace(songs, tracks=songs.tracks[:1])
    estimates = shared_data / "drums" / "estimates" / "larsnet"
    larsnet = Entry(name="larsnet", family="files", input="drums", trained_on=None)
    settings = Settings(results=tmp_path / "results")
    result = read_run(runner.score_folder(larsnet, estimates, [songs], settings).folder)
    assert set(result.scores["fed_by"]) == {"reference"}
    track = songs.tracks[0]
    read = {stem: read_sources(track.stems[stem], songs.sample_rate) for stem in ("kick", "snare")}
    for stem, reference in read.items():
        estimate, _ = audio.read(estimates / track.name / f"{stem}.mp3")
        n_samples = min(reference.shape[1], estimate.shape[1])
        wanted = snr(reference[:, :n_samples], estimate[:, :n_samples])
        assert value(result, track=track.name, stem=stem) == pytest.approx(wanted, abs=0.01)


@pytest.mark.slow
def test_on_real_drums_the_untrained_separator_beats_the_drums_themselves(shared_data, tmp_path):
    songs = folder(shared_data / "drums" / "tracks", name="kits")
    known = registry.load()
    entries = [known[name] for name in ("drum_nmf", "mixture_drums")]
    settings = Settings(results=tmp_path / "results", excerpt=Excerpt(4.0))
    result = read_run(runner.run(entries, [songs], settings).folder)
    rows = result.scores[(result.scores["metric"] == "snr") & (result.scores["status"] == "ok")]
    means = rows.groupby(["stem", "separator"])["value"].mean().unstack()
    for stem in ("kick", "snare", "hihat_cymbals"):
        assert means.loc[stem, "drum_nmf"] > means.loc[stem, "mixture_drums"] + 6.0


# --- the forecast -------------------------------------------------------------------------------


def planted_costs(results: Path, costs: dict[str, dict[str, float]]) -> None:
    """Write a run in which separators took so many seconds per second of music."""
    rows = [
        row(name, "T", "", metric, value, dataset="elsewhere", input=source)
        for name, (source, metrics) in costs.items()
        for metric, value in metrics.items()
    ]
    here = empty_run(cpu=processor_name(), device="cpu")
    write_run(results / "before", replace(here, name="before", costs=rows_table(rows)))


@pytest.mark.parametrize(("cascade", "parent"), [(runner.FIRST, 3.0), ("fast", 0.5)])
def test_a_forecast_counts_scoring_and_cascades(kits, tmp_path, cascade, parent):
    entries = [
        entry("fast"),
        entry("slow"),
        entry("kit", ("kick", "snare", "toms", "hihat", "cymbals"), input="drums"),
        entry("kick", ("kick",), input="drums"),
    ]
    costs = {
        "fast": ("mixture", {"rtf": 0.5, "scoring": 0.1}),
        "slow": ("mixture", {"rtf": 3.0, "scoring": 0.1}),
        "kit": ("drums", {"rtf": 2.0, "scoring": 0.25}),
        "kick": ("drums", {"rtf": 1.0, "scoring": 0.125}),
    }
    planted_costs(tmp_path / "results", costs)
    settings = Settings(results=tmp_path / "results", jobs=2)
    ahead = forecast.forecast(entries, [folder(kits, name="songs")], settings, cascade=cascade)
    found = {
        (r.separator, r.cascade): (r.jobs, r.finished, r.seconds, r.scoring) for r in ahead.rows
    }
    assert found == {  # two songs of a second
        ("fast", False): (2, 0, 1.0, 0.2),
        ("slow", False): (2, 0, 6.0, 0.2),
        ("kit", False): (2, 0, 4.0, 0.5),
        ("kick", False): (2, 0, 2.0, 0.25),
        ("kit", True): (2, 0, 4.0 + 2 * parent, 0.5),  # the parent separates each song once
        ("kick", True): (2, 0, 2.0, 0.25),
    }
    assert ahead.seconds == sum(row.seconds for row in ahead.rows) / 2  # workers
    assert ahead.scoring == sum(row.scoring for row in ahead.rows) / 2
    assert (ahead.unmeasured, ahead.unscored) == ((), ())


def test_a_forecast_knows_what_is_finished_and_what_was_never_measured(kits, tmp_path):
    entries = [entry("fast"), entry("kick", ("kick",), input="drums")]
    settings = Settings(results=tmp_path / "results")
    songs = [folder(kits, name="songs")]
    plan = make_plan(entries, songs, settings, Fingerprints(settings.fingerprints))
    for unit in (*plan.units, *plan_cascades(plan, {("songs", "drums"): "fast"}).units):
        Store(settings.work_folder).put(unit.key, {"scores": {}, "costs": {}, "notes": []})
    done = forecast.forecast(entries, songs, settings)
    assert [(r.jobs, r.finished, r.seconds, r.scoring) for r in done.rows] == [(2, 2, 0, 0)] * 3
    assert (done.seconds, done.scoring) == (0, 0)
    new = entry("new", ("kick",), input="drums", params=QUIET)
    more = forecast.forecast([*entries, new], songs, settings)
    assert [(r.separator, r.cascade) for r in more.rows if r.seconds is None] == [
        ("new", False), ("new", True)
    ]  # fmt: skip
    assert (more.unmeasured, more.unscored) == (("new",), ("new",))
    lines = list(forecast_lines(more, 1))
    assert "10 jobs, 4 of them in cascade, 6 of them finished" in lines[0]
    assert (
        "not included: separating and scoring with new, never measured on this machine"
        in " ".join(lines)
    )
    alone = forecast.forecast(entries, songs, settings, cascade=None)
    assert [row.cascade for row in alone.rows] == [False, False]
