"""Ensembles as registry rows, saved from a run, and a user's own music separated."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import planted
import pytest
import soundfile
import yaml

from harness import cli, registry
from harness.core import audio
from harness.core.decoding import comment
from harness.core.errors import HarnessError, StorageError
from harness.registry.weight_files import CHECKPOINTS
from harness.results.grid import HARMONIC, add_harmonic
from harness.results.runs import read_run
from harness.selection import saving
from harness.separators import FAMILIES, Family, code_versions, load, parameters
from harness.songs import separating
from harness.songs.choosing import FOUR, choose
from harness.songs.finding import find_songs, left_out
from harness.songs.stem_files import target_of, written

RATE = 8000
ROWS = """
half: {family: echo, stems: [vocals, accompaniment], params: {gain: 0.5}, trained_on: ["a:train"]}
tenth:
  {extends: half, params: {gain: 0.1}, trained_on: ["b:train"], sample_rate: 44100, channels: 2}
quiet: {family: echo, stems: [vocals, drums, bass, other], params: {gain: 0.25}}
loud: {extends: quiet, params: {gain: 4.0}}
fed: {extends: quiet, input: accompaniment}
pair: {family: echo, input: vocals, stems: [lead, background], params: {gain: 0.5}}
blend:
  family: ensemble
  params:
    stems: {vocals: {half: 0.75, tenth: 0.25}, accompaniment: {half: 1}, lead: {pair: 1}}
    chosen_on: ["songs:test"]
# a comment of one's own
"""


@pytest.fixture(autouse=True)
def families(monkeypatch, tmp_path):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planted.Echo, "seen", [])


@pytest.fixture
def entries(tmp_path):
    (tmp_path / "model_registry.yaml").write_text(ROWS)
    return registry.load()


def noise(seconds=1.0, rate=RATE, channels=2, peak=0.5) -> np.ndarray:
    signal = np.random.default_rng(3).uniform(-peak, peak, (channels, round(seconds * rate)))
    return signal.astype(np.float32)


def song(path: Path, signal=None, rate=RATE) -> Path:
    audio.write(path, noise() if signal is None else signal, rate)
    return path


def harness(monkeypatch, capsys, *arguments: str, expected: int = 0) -> str:
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    assert (stop.value.code or 0) == expected, err
    return err if expected else out


# --- ensembles ----------------------------------------------------------------------------------


def test_a_blend_is_the_weighted_mean_and_parts_come_in_cascade(entries):
    mixture = noise(channels=1)
    ensemble = load(entries["blend"], stems=(), sample_rate=44100)
    found = ensemble.separate(mixture)
    assert list(found) == ["vocals", "accompaniment", "lead"]
    np.testing.assert_allclose(found["vocals"], 0.4 * mixture, atol=1e-6)
    np.testing.assert_array_equal(found["accompaniment"], np.float32(0.5) * mixture)
    np.testing.assert_allclose(found["lead"], 0.2 * mixture, atol=1e-6)
    assert planted.Echo.seen == [(1, RATE), (2, RATE), (1, RATE)]  # each member once


@pytest.mark.parametrize(
    ("how", "gain"), [("mean", 2.75 / 3), ("median", 0.5), ("min_mag", 0.25), ("max_mag", 2.0)]
)
def test_an_ensemble_combines_as_it_says(entries, how, gain):
    of = {"half": 1 / 3, "quiet": 1 / 3, "twice": 1 / 3}
    twice = entries["half"].model_copy(update={"name": "twice", "params": {"gain": 2.0}})
    params = {"stems": {"vocals": of, "lead": {"pair": 1.0}}, "how": how}
    entry = registry.ensemble("e", params, {**entries, "twice": twice})
    mixture = noise()
    found = load(entry, stems=(), sample_rate=RATE).separate(mixture)
    np.testing.assert_allclose(found["vocals"], gain * mixture, atol=1e-6)
    np.testing.assert_allclose(found["lead"], 0.5 * found["vocals"], atol=1e-6)
    plain = registry.ensemble("e", {"stems": params["stems"]}, {**entries, "twice": twice})
    assert (plain.identity() == entry.identity()) == (how == "mean")


def test_weights_may_differ_from_band_to_band(entries):
    stems = {
        "vocals": {"half": [1.0, 0.2, 0], "quiet": [0.0, 0.8, 1]},
        "drums": {"quiet": [1, 1, 1]},
    }
    entry = registry.ensemble("e", {"stems": stems, "edges": [400, 2000]}, entries)
    assert entry.blend.stems["drums"] == {"quiet": 1.0}
    time = np.arange(4 * RATE) / RATE
    tones = {f: np.sin(2 * np.pi * f * time)[None].astype(np.float32) / 8 for f in (100, 900, 3500)}
    found = load(entry, stems=(), sample_rate=RATE).separate(sum(tones.values()))
    expected = 0.5 * tones[100] + 0.3 * tones[900] + 0.25 * tones[3500]
    inside = slice(RATE // 4, -RATE // 4)
    np.testing.assert_allclose(found["vocals"][:, inside], expected[:, inside], atol=1e-4)
    np.testing.assert_array_equal(found["drums"], np.float32(0.25) * sum(tones.values()))
    moved = registry.ensemble("e", {"stems": stems, "edges": [400, 2001]}, entries)
    assert moved.identity() != entry.identity()
    chosen = choose({**entries, "e": entry}, "e", ["vocals"])
    assert chosen.entry.blend.stems["vocals"] == entry.blend.stems["vocals"]
    assert chosen.entry.blend.edges == (400, 2000)


def test_stems_of_a_consistent_ensemble_sum_to_the_mixture(entries, tmp_path):
    stems = {"vocals": {"half": 1.0}, "accompaniment": {"quarter": 1.0}}
    other = {"name": "quarter", "params": {"gain": 0.25}, "stems": (*FOUR, "accompaniment")}
    every = {**entries, "quarter": entries["half"].model_copy(update=other)}
    entry = registry.ensemble("e", {"stems": stems, "consistent": True}, every)
    mixture = noise()
    found = load(entry, stems=(), sample_rate=RATE).separate(mixture)
    np.testing.assert_allclose(found["vocals"], 0.625 * mixture, atol=1e-6)
    np.testing.assert_allclose(found["accompaniment"], 0.375 * mixture, atol=1e-6)
    assert entry.identity() != registry.ensemble("e", {"stems": stems}, every).identity()
    asked = choose({**every, "e": entry}, "e", ["vocals"])
    assert asked.stems == ("vocals",)
    alone = load(asked.entry, stems=(), sample_rate=RATE).separate(mixture)["vocals"]
    np.testing.assert_array_equal(alone, found["vocals"])
    four = {stem: {"quarter": 1.0} for stem in FOUR} | {"accompaniment": {"half": 1.0}}
    four["vocals"] = {"half": 1.0}  # 1.25 of the mixture in all: each gives up a sixteenth
    entry = registry.ensemble("e", {"stems": four, "consistent": True}, every)
    found = load(entry, stems=(), sample_rate=RATE).separate(mixture)
    np.testing.assert_allclose(found["vocals"], 0.4375 * mixture, atol=1e-6)
    np.testing.assert_allclose(found["bass"], 0.1875 * mixture, atol=1e-6)
    np.testing.assert_allclose(found["accompaniment"], 0.5625 * mixture, atol=1e-6)
    with pytest.raises(HarnessError, match="do not sum to the mixture"):
        registry.ensemble("e", {"stems": {"vocals": {"half": 1.0}}, "consistent": True}, every)


def test_an_ensemble_is_trained_on_what_its_members_are_and_on_what_chose_it(entries, tmp_path):
    assert entries["blend"].trained_on == ("a:train", "b:train", "songs:test")
    row = "{params: {stems: {vocals: {pair2: 1}}}, family: ensemble}"
    text = ROWS + f"pair2: {{extends: half, trained_on: null}}\nunknown: {row}\n"
    (tmp_path / "model_registry.yaml").write_text(text)
    assert registry.load()["unknown"].trained_on is None


def test_an_ensemble_needs_the_weights_of_its_members():
    found = registry.ensemble(
        "e", {"stems": {"vocals": {"htdemucs": 0.5, "scnet": 0.5}}}, registry.load()
    )
    assert [w.file for w in found.weights] == [
        "955717e8-8726e21a.th",
        "scnet_checkpoint_musdb18.ckpt",
    ]


def test_identity_follows_members_and_weights_only(entries, tmp_path, monkeypatch):
    def changed(old, new):
        (tmp_path / "model_registry.yaml").write_text(ROWS.replace(old, new))
        return registry.load()["blend"].identity() != entries["blend"].identity()

    assert changed("half: 0.75, tenth: 0.25", "half: 0.25, tenth: 0.75")
    assert changed("gain: 0.1", "gain: 0.2")
    assert not changed('chosen_on: ["songs:test"]', "held_out: {vocals: {score: 3.0}}")
    before = code_versions(entries["blend"])
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Echo", 2))
    assert code_versions(entries["blend"]) != before


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        ("{vocals: {half: 0.5}}", "weights of vocals sum to 0.5"),
        ("{vocals: {half: 1.5, tenth: -0.5}}", "greater than or equal to 0"),
        ("{vocals: {haff: 1}}", "did you mean 'half'"),
        ("{vocals: {ibm: 1}}", "no separator 'ibm'"),
        ("{vocals: {blend: 1}}", "no separator 'blend'"),
        ("{bass: {half: 1}}", "half has no bass"),
        ("{lead: {pair: 1}}", "which no member returns; add vocals"),
        ("{lead: {pair: 1}, background: {pair: 1}}", "add vocals"),
        ("{vocals: {fed: 1}, accompaniment: {half: 1}}", "of which vocals is no part"),
        ("{}", "has no stems"),
        ("[vocals]", "params.stems"),
        ("{vocals: {half: .nan}}", "params.stems.vocals.half"),
        ("{vocals: {half: 0.75, tenth: 0.25}}, how: median", "differ, but median has no weights"),
        ("{vocals: {half: 1}}, how: sum", "params.how"),
        ("{vocals: {half: [0.5, 1], tenth: [0.5, 1]}}, edges: [300]", "weights of vocals sum to 2"),
        ("{vocals: {half: [0.5, 1], tenth: [0.5, 0]}}", "are for 2 bands, but the edges make 1"),
        (
            "{vocals: {half: 1}}, edges: [300, 200]",
            "edges [300.0, 200.0] are not in increasing order",
        ),
        ("{vocals: {half: 1}}, edges: [0]", "params.edges"),
        ("{vocals: {half: [1, -1]}}, edges: [9]", "half.band.1: input should be greater than or"),
        ("{vocals: {half: x}}", "half.weight: input should be a valid number"),
        (
            "{vocals: {half: [0, 1], tenth: [1, 0]}}, edges: [300], how: median",
            "differ, but median has no weights",
        ),
    ],
)
def test_ensembles_that_cannot_work_are_refused(tmp_path, stems, message):
    row = f"bad: {{family: ensemble, params: {{stems: {stems}}}}}\n"
    (tmp_path / "model_registry.yaml").write_text(ROWS + row)
    with pytest.raises(HarnessError) as caught:
        registry.load()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_ensemble_has_no_fields_that_its_members_determine(tmp_path):
    row = "bad: {family: ensemble, trained_on: [], params: {stems: {vocals: {half: 1}}}}\n"
    (tmp_path / "model_registry.yaml").write_text(ROWS + row)
    with pytest.raises(HarnessError, match="trained_on of an ensemble comes from its members"):
        registry.load()


def test_trained_values_are_those_of_distinct_members(entries):
    def count(entry) -> int | None:
        return parameters(load(entry, stems=(), sample_rate=44100))

    card = json.loads((CHECKPOINTS / "asnet_demo.card.json").read_text())
    assert count(entries["asnet_demo"]) == card["parameters"] == 589_325
    assert count(entries["nmf"]) == 0
    of = {"asnet_demo": 0.5, "nmf": 0.5}
    both = registry.ensemble("e", {"stems": {"vocals": of, "drums": of}}, entries)
    assert count(both) == 589_325


# --- saving -------------------------------------------------------------------------------------


def test_saving_adds_and_replaces_one_row_only(entries, tmp_path):
    path = tmp_path / "model_registry.yaml"
    saving.save("mine", {"stems": {"vocals": {"half": 1.0}}}, title="First")
    assert path.read_text().startswith(ROWS.rstrip())
    path.write_text(path.read_text() + "# kept\n")
    saving.save("zwei", {"stems": {"vocals": {"half": 1.0}}})
    with pytest.raises(HarnessError, match="is taken"):
        saving.save("mine", {"stems": {"vocals": {"tenth": 1.0}}})
    saving.save("mine", {"stems": {"vocals": {"tenth": 1.0}}}, force=True)
    found = registry.load()
    assert found["mine"].blend.stems == {"vocals": {"tenth": 1.0}}
    assert set(found) == {*entries, "mine", "zwei"}
    assert "# kept\n" in path.read_text()
    assert path.read_text().startswith(ROWS.rstrip())


@pytest.mark.parametrize("name", ["null", "yes", "123", "1e3", "0o7"])
def test_names_that_are_values_of_yaml_are_refused(entries, name):
    with pytest.raises(HarnessError, match="is a value in YAML, not a name"):
        saving.save(name, {"stems": {"vocals": {"half": 1.0}}})
    assert registry.load().keys() == entries.keys()


def test_saving_to_a_registry_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "model_registry.yaml"
    path.write_text("a: {family: nmf}", encoding="utf-16")
    with pytest.raises(HarnessError, match="is not UTF-8"):
        saving.save("mine", {"stems": {"vocals": {"repet": 1.0}}})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("../x", "", "is not a valid name"),
        ("nmf", "", "is taken"),
        ("best", "{mine: {extends: nmf}}", "add it by hand"),
    ],
)
def test_saving_never_spoils_a_registry(tmp_path, name, text, message):
    path = tmp_path / "model_registry.yaml"
    path.write_text(text)
    with pytest.raises(HarnessError, match=message):
        saving.save(name, {"stems": {"vocals": {"repet": 1.0}}})
    assert path.read_text() == text


def test_a_run_is_chosen_saved_and_used(songs, entries, monkeypatch, capsys, tmp_path):
    def call(*arguments):
        return harness(monkeypatch, capsys, *arguments)

    names = ("--separator", "quiet", "--separator", "loud", "--separator", "mixture")
    call("run", *names, "--data", f"songs={songs}", "--jobs", "1")
    call("select", "--save", "best")
    best = registry.load()["best"].blend
    assert set(best.stems) >= {"vocals", "drums", "bass", "other"}
    assert all(weights == {"quiet": 1.0} for weights in best.stems.values())
    assert best.chosen_on == ("songs:test",)
    assert best.held_out.keys() == best.stems.keys()
    scores = add_harmonic(read_run(Path("results/main")).scores)
    theirs = scores[(scores["separator"] == "mixture") & (scores["metric"] == HARMONIC)]
    means = theirs.groupby("stem")["value"].mean()
    for stem, held in best.held_out.items():
        assert held.mixture == pytest.approx(means[stem], abs=1e-3)
    folder = call("separate", str(song(tmp_path / "song.wav")), "-o", "out").strip()
    assert folder == "out/song"
    assert {p.name for p in Path(folder).iterdir()} == {
        "vocals.wav", "drums.wav", "bass.wav", "other.wav",
    }  # fmt: skip
    harness(monkeypatch, capsys, "select", "--save", "best", expected=2)
    call("select", "--save", "best", "--force")


# --- choosing -----------------------------------------------------------------------------------


def test_the_best_is_a_saved_ensemble_then_a_separator_with_known_scores(
    entries, monkeypatch, tmp_path
):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))  # without weights that were fetched before
    assert choose(entries).entry.name == "blend"
    assert choose(entries).stems == ("vocals", "accompaniment")  # lead only if asked for
    built_in = registry.load(Path(registry.built_in_path()))
    for name in [n for n in built_in if n.endswith("_small")]:
        del built_in[name]  # three networks with cards are enough
    assert choose(built_in).entry.name == "simplified_demucs_demo"
    assert "SNR of 5.03 dB" in choose(built_in).words  # (5.31 + 4.99 + 6.32 + 3.49) / 4
    assert choose(built_in, stems=["drums"]).entry.name == "unet_demo"
    untrained = {name: entry for name, entry in built_in.items() if not entry.weights}
    assert choose(untrained).entry.name == "repet_sim"
    own = built_in["asnet_demo"].weights[0].model_copy(update={"file": __file__})
    of = {"name": "mine", "weights": (own,), "trained_on": ("private",)}
    mine = built_in["asnet_demo"].model_copy(update=of)
    assert choose({**built_in, "mine": mine}).entry.name == "mine"  # without a card
    monkeypatch.setattr("harness.songs.choosing.obstacle", lambda entry: entry.unavailable)
    assert choose({**built_in, "mine": mine}).entry.name == "bsrnn_simo"
    assert "9.79 dB" in choose(built_in).words  # (10.66 + 9.73 + 10.98 + 7.78) / 4


@pytest.mark.parametrize(
    ("scores", "best", "why"),
    [
        ([3.0, 2.0, None], "e0", "best held-out score of the saved ensembles, 3.00 dB"),
        ([2.0, 2.0, None], "e1", "2.00 dB"),
        ([None, None, None], "e2", "saved last; no held-out score"),
    ],
)
def test_of_saved_ensembles_the_held_out_score_decides(entries, tmp_path, scores, best, why):
    with (tmp_path / "model_registry.yaml").open("a") as file:
        for i, score in enumerate(scores):
            held = {s: {"score": score} for s in FOUR} if score is not None else {}
            stems = {s: {"quiet": 1.0} for s in FOUR}
            row = {"family": "ensemble", "params": {"stems": stems, "held_out": held}}
            file.write(yaml.safe_dump({f"e{i}": row}))
    found = choose(registry.load())  # before `blend`, which gives no four stems
    assert found.entry.name == best
    assert why in found.words
    said = choose(registry.load(), best).words  # by name no reason is given, but what is known
    assert ("held out vocals" in said) == any(score is not None for score in scores)


REAL = """
two:
  family: echo
  stems: [vocals, accompaniment]
  params: {gain: 0.5}
  weights: [{file: FILE}]
  trained_on: [private]
toy: {family: echo, stems: [vocals, drums, bass, other], params: {gain: 0.25},
  weights: [{file: FILE}], trained_on: ["demo:train"]}
paid: {extends: toy, trained_on: [private], weights: [{file: absent.th, size: 84000000,
  urls: ["https://example.org/absent.th"], sha256: "DIGEST"}],
  published: [{metric: csdr, dataset: "musdb18hq:test", source: a paper,
    scores: {vocals: 8, drums: 8, bass: 8, other: 8}}]}
"""


def of_kinds(tmp_path, more: str = "") -> dict[str, registry.Entry]:
    """Return a registry of real weights for two stems, a toy of four, and a download."""
    (tmp_path / "weights.bin").write_bytes(b"1")
    text = REAL.replace("FILE", str(tmp_path / "weights.bin")).replace("DIGEST", "0" * 64)
    (tmp_path / "kinds.yaml").write_text(text + more)
    every = registry.load(tmp_path / "kinds.yaml")
    mine = yaml.safe_load(text + more)
    return {name: every[name] for name in (*mine, "drum_nmf", "repet_sim")}


def saved(held: float, mixture: float | None, chosen_on: str) -> str:
    """Return the row of a saved ensemble of the toy."""
    score = {"score": held} | ({} if mixture is None else {"mixture": mixture})
    stems = {"stems": {s: {"toy": 1.0} for s in FOUR}, "chosen_on": [chosen_on]}
    params = {**stems, "held_out": dict.fromkeys(FOUR, score)}
    return f"mix: {json.dumps({'family': 'ensemble', 'params': params})}"


def test_vocals_by_real_weights_and_the_rest_from_their_accompaniment(tmp_path):
    choice = choose(of_kinds(tmp_path))
    assert choice.stems == FOUR
    assert choice.words.startswith("two, then toy for the accompaniment: vocals, drums")
    assert choice.caveat == "toy: trained on synthetic music; stems of recordings are worse"
    mixture = noise()
    found = load(choice.entry, stems=(), sample_rate=RATE).separate(mixture)
    np.testing.assert_array_equal(found["vocals"], np.float32(0.5) * mixture)
    for stem in ("drums", "bass", "other"):  # an eighth, and a third of what that leaves of a half
        np.testing.assert_allclose(found[stem], mixture / 6, atol=1e-6)
    (files,) = separating.separate([song(tmp_path / "s.wav", mixture)], "out", choice)
    total = sum(audio.read(path)[0] for path in files.files.values())
    assert np.abs(total - mixture).max() < 1e-5  # -94 dB of the peak


def test_parts_of_the_drums_of_an_accompaniment_come_in_three_steps(tmp_path):
    entries = of_kinds(tmp_path)
    choice = choose(entries, "two", ["vocals", "kick"])
    inputs = {member.name: member.input for member in choice.entry.members}
    assert inputs == {"two": "mixture", "toy": "accompaniment", "drum_nmf": "drums"}
    assert choose(entries, "two").stems == ("vocals", "accompaniment")
    alone = choose(entries, "", ["drums"]).entry
    assert {m.name: m.input for m in alone.members} == {"two": "mixture", "toy": "accompaniment"}
    assert choose(entries, "", ["vocals"]).entry.weights == entries["two"].weights  # no toy runs


@pytest.mark.parametrize(
    ("held", "mixture", "chosen_on", "wins"),
    [
        (9.0, -5.0, "demo:test", False),  # chosen on rendered music
        (3.0, -5.0, "songs:test", True),
        (-3.0, -5.0, "songs:test", True),
        (-3.0, -2.0, "songs:test", False),  # below the unprocessed mixture
        (-3.0, None, "songs:test", False),  # below silence
    ],
)
def test_what_rendered_music_chose_and_what_is_below_the_mixture_never_wins(
    tmp_path, held, mixture, chosen_on, wins
):
    entries = of_kinds(tmp_path, saved(held, mixture, chosen_on))
    assert choose(entries).entry.name == ("mix" if wins else "two")
    del entries["two"]
    without = choose(entries).entry.name
    below = held <= (0 if mixture is None else mixture)
    assert without == ("toy" if below else "mix")
    if below:
        del entries["toy"], entries["mix"]
        assert choose(entries).entry.name == "repet_sim"
        assert choose(entries).caveat == ""


def test_a_download_with_published_scores_is_offered_until_it_is_there(tmp_path):
    entries = of_kinds(tmp_path)
    choice = choose(entries)
    assert (choice.entry.name, choice.better) == ("two", entries["paid"])
    assert choose(entries, "two").better is None  # it was named
    (tmp_path / "absent.th").write_bytes(b"1")
    choice = choose(entries)
    assert (choice.entry.name, choice.better, choice.caveat) == ("paid", None, "")


@pytest.mark.parametrize(
    ("answer", "used", "more"),
    [("", "paid", ()), ("n", "two", ()), (None, "two", ()), ("y", "paid", ("--with", "paid"))],
)
def test_a_terminal_is_asked_and_nothing_else_is(tmp_path, monkeypatch, capsys, answer, used, more):
    entries = of_kinds(tmp_path)
    monkeypatch.setattr(registry, "load", lambda path=None: entries)
    asked: list[str] = []

    def fetched(files):
        (tmp_path / "absent.th").write_bytes(b"1")
        return False

    def input_(question):
        asked.append(str(question))
        return answer

    monkeypatch.setattr("harness.cli.separate.fetch_files", fetched)
    monkeypatch.setattr("harness.cli.terminal.errors.input", input_)
    monkeypatch.setattr(
        "sys.stdin", type("Terminal", (), {"isatty": lambda _: answer is not None})()
    )
    song(tmp_path / "s.wav")
    monkeypatch.setattr(sys, "argv", ["harness", "separate", "s.wav", *more])
    with pytest.raises(SystemExit):
        cli.main()
    said = capsys.readouterr().err
    assert said.splitlines()[0 if answer is None else 1].startswith(used)
    assert "device: cpu, " in said
    assert ("trained on synthetic music" in said) == (used == "two")
    assert asked == ([] if answer is None else ["download paid, 84 MB? [Y/n] "])


def test_parts_are_separated_in_the_way_of_a_saved_ensemble(entries, tmp_path):
    kit = "{family: echo, input: drums, stems: [kick, snare, toms, hihat_cymbals]}"
    saved = "{family: ensemble, input: drums, params: {stems: {kick: {kit: 0.5, drum_nmf: 0.5}}}}"
    text = f"{ROWS}kit: {kit}\nparts: {saved}\n"
    (tmp_path / "model_registry.yaml").write_text(text)
    found = choose(registry.load(), "quiet", ["kick", "snare"]).entry.blend.stems
    assert found["kick"] == {"kit": 0.5, "drum_nmf": 0.5}
    assert found["drums"] == {"quiet": 1.0}
    assert list(found["snare"].values()) == [1.0]


def test_parts_of_a_stem_are_separated_from_it(entries):
    choice = choose(entries, "repet_sim", ["Kick", "hihat_cymbals", "accompaniment"])
    assert choice.stems == ("accompaniment", "kick", "hihat_cymbals")
    members = [member.name for member in choice.entry.members]
    assert sorted(members) == ["drum_nmf", "repet_sim"]
    assert choose(entries, "unet_demo", ["snare"]).entry.name == "unet_demo"


def test_members_that_make_no_wanted_stem_do_not_run(entries):
    choice = choose(entries, "blend", ["accompaniment"])
    assert [member.name for member in choice.entry.members] == ["half"]
    lead = choose(entries, "blend", ["lead"])  # of the vocals, which half and tenth make
    assert list(lead.entry.blend.stems) == ["lead", "vocals"]


@pytest.mark.parametrize(
    ("name", "stems", "message"),
    [
        ("ibm", [], "is an oracle"),
        ("htdemucs", [], "harness fetch separator htdemucs"),
        ("nothing", [], "no separator"),
        ("pair", ["kick"], "--stems kick: no ready separator returns it"),
        ("", ["theremin"], "--stems theremin: no ready separator returns it; .*known: .*vocals"),
        (
            "",
            ["vocl"],
            "--stems vocl: no ready separator returns it; did you mean 'vocals'. .known",
        ),
        ("half", ["vocl"], "returns it; did you mean 'vocals'. .known: .*vocals"),
    ],
)
def test_what_cannot_be_separated_is_an_error_at_once(entries, name, stems, message):
    with pytest.raises(HarnessError, match=message):
        choose(entries, name, stems)


# --- songs --------------------------------------------------------------------------------------


def test_stems_and_residual_sum_to_the_song(entries, tmp_path):
    given = noise(peak=1.5)
    choice = choose(entries, "blend", ["vocals", "lead", "accompaniment"])
    (found,) = separating.separate([song(tmp_path / "s.wav", given)], "out", choice, residual=True)
    parts = [audio.read(found.files[s])[0] for s in ("vocals", "accompaniment", "residual")]
    np.testing.assert_allclose(sum(parts), given, atol=1e-6)  # lead is a part of vocals
    again = separating.separate([tmp_path / "s.wav"], "again", choice, residual=True)[0].files
    assert all(again[s].read_bytes() == path.read_bytes() for s, path in found.files.items())


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_24_bits_limit_and_say_so(entries, tmp_path, kind):
    given = np.array([[0.1, 0.2, -0.3, 0.2]], np.float32)
    choice = choose(entries, "loud", ["vocals"])
    source = song(tmp_path / "s.wav", given)
    (found,) = separating.separate([source], "out", choice, kind=kind, bits="24")
    read, _ = audio.read(found.files["vocals"])
    np.testing.assert_allclose(read, [[0.4, 0.8, -1.0, 0.8]], atol=2e-7)
    assert found.notes == ["vocals: 1 values exceed full scale and are limited"]
    with pytest.raises(
        HarnessError, match="--bits 32f: not possible with flac; use 24, or --format wav"
    ):
        separating.separate([source], "out", choice, kind="flac", bits="32f")


@pytest.mark.parametrize(
    ("kind", "bits", "said"),
    [
        ("mp3", "", "--format mp3: cannot be written; use wav or flac"),
        ("mp3", "16", "--format mp3: cannot be written; use wav or flac"),
        ("wav", "16", "--bits 16: not possible with wav; use 32f or 24"),
        ("flac", "32f", "--bits 32f: not possible with flac; use 24, or --format wav"),
    ],
)
def test_formats_that_are_not_written_are_named_with_those_that_are(kind, bits, said):
    with pytest.raises(HarnessError, match=f"^{said}$"):
        target_of(Path("out"), kind, bits)


def test_a_mono_mp3_keeps_its_rate_and_length(entries, tmp_path):
    time = np.arange(22050 * 2) / 22050
    tone = (0.4 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    soundfile.write(tmp_path / "s.mp3", tone, 22050)
    decoded, rate = audio.read(tmp_path / "s.mp3")
    choice = choose(entries, "tenth")
    (found,) = separating.separate([tmp_path / "s.mp3"], "out", choice)
    vocals, written = audio.read(found.files["vocals"])
    assert (written, vocals.shape) == (rate, decoded.shape) == (22050, (1, len(decoded[0])))
    middle = slice(2000, -2000)
    np.testing.assert_allclose(vocals[:, middle], 0.1 * decoded[:, middle], atol=1e-4)


def test_formats_that_libsndfile_lacks_are_decoded_by_ffmpeg(entries, tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    source = song(tmp_path / "in/s.wav", noise(rate=44100, channels=2), 44100)
    command = ["ffmpeg", "-v", "error", "-i", str(source), str(tmp_path / "in/t.m4a")]
    assert subprocess.run(command, check=False).returncode == 0
    (tmp_path / "in/u.m4a").write_text("#EXTM3U\n#EXTINF:1,\ns.wav\n")
    found = separating.separate([tmp_path / "in"], "out", choose(entries, "half"))
    assert [outcome.state for outcome in found] == ["done", "done", "failed"]
    assert audio.read(found[1].files["vocals"])[1] == 44100
    assert sorted(p.name for p in Path("out").iterdir()) == ["s", "t"]


def test_a_broken_file_does_not_stop_the_others(entries, tmp_path, monkeypatch, capsys):
    song(tmp_path / "in/a.wav")
    (tmp_path / "in/b.mp3").write_bytes(b"no music")
    song(tmp_path / "in/sub/c.wav")
    command = ("separate", "in", "--with", "half", "-o", "in/out")
    said = harness(monkeypatch, capsys, *command, expected=3)
    assert "b.mp3: cannot be read as audio" in " ".join(said.split())
    assert re.search(r"separated 2 of 3 songs in \d+ s, 1 failed$", said.strip())
    written = sorted(str(p.relative_to("in/out")) for p in Path("in/out").rglob("*") if p.is_file())
    assert written == [
        "a/accompaniment.wav", "a/vocals.wav", "sub/c/accompaniment.wav", "sub/c/vocals.wav",
    ]  # fmt: skip
    said = harness(monkeypatch, capsys, *command, expected=3)
    assert re.search(r"separated 0 of 3 songs in \d+ s, 1 failed, 2 found finished$", said.strip())
    assert len(planted.Echo.seen) == 2  # what is there was left alone


def test_progress_within_a_song_is_reported_per_member(entries, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Telling", 1))
    reported: list[tuple[int, int]] = []

    def progress(*args: int) -> None:
        reported.append(args)

    path = song(tmp_path / "s.wav", noise(8))
    choice = choose(entries, "blend", ["vocals"])
    separating.separate([path], "out", choice, progress=progress)
    assert list(dict.fromkeys(reported)) == [(n, 8) for n in (0, 2, 4, 6, 8)]  # of two members


def test_existing_files_are_replaced_only_with_force(entries, tmp_path):
    path = song(tmp_path / "s.wav")
    choice = choose(entries, "half")
    mine = tmp_path / "out/s/vocals.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    (found,) = separating.separate([path], "out", choice)
    assert (found.state, mine.read_text()) == ("failed", "mine")
    said = (
        "1 of 2 files exist in out/s, made by an unknown program, not by half; nothing was changed"
    )
    assert said in found.notes[0]
    assert separating.separate([path], "out", choice, force=True)[0].state == "done"
    assert separating.separate([path], "out", choice)[0].state == "there"


def test_files_of_another_separator_are_not_taken_for_its_own(entries, tmp_path):
    path = song(tmp_path / "s.wav")

    def separate(name, stems=(), **how):
        choice = choose(entries, name, stems)
        return separating.separate([path], "out", choice, residual=True, **how)[0]

    assert separate("quiet").state == "done"
    mine = Path("out/s/vocals.wav").read_bytes()
    same = separate("quiet")
    assert (same.state, same.notes) == (
        "there", ["5 of 5 files exist in out/s; nothing was changed, --force replaces them"]
    )  # fmt: skip
    for name, stems, who in (
        ("loud", (), "made by quiet, not by loud"),
        ("blend", ["vocals"], "made by quiet, not by blend (half + tenth)"),
        ("quiet", ["vocals"], "residual made by another version of quiet"),
    ):
        other = separate(name, stems)
        assert other.state == "failed"
        assert f"exist in out/s, {who}; nothing was changed" in other.notes[0]
        assert "another -o, or --separator-folder, keeps both" in other.notes[0]
    assert separate("loud", separator_folder=True).files["vocals"] == Path("out/loud/s/vocals.wav")
    assert Path("out/s/vocals.wav").read_bytes() == mine
    (tmp_path / "model_registry.yaml").write_text(ROWS.replace("gain: 0.25", "gain: 0.3"))
    choice = choose(registry.load(), "quiet")
    (found,) = separating.separate([path], "out", choice)
    assert "4 of 4 files exist in out/s, made by another version of quiet" in found.notes[0]
    audio.write(Path("out/s/bass.wav"), noise(), RATE)
    said = "5 files exist in out/s, bass made by an unknown program, not by quiet"
    assert said in separate("quiet").notes[0]


@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_one_stem_of_all_is_the_same_file_and_each_says_what_made_it(entries, tmp_path, kind):
    path = song(tmp_path / "s.wav")
    separating.separate([path], "out", choose(entries, "blend", ["vocals", "lead"]), kind=kind)
    comments = [comment(Path(f"out/s/{stem}.{kind}")) for stem in ("vocals", "lead")]
    assert [text.partition(";")[0] for text in comments] == [
        "separated by blend (half + tenth)", "separated by blend (half + tenth + pair)"
    ]  # fmt: skip
    (found,) = separating.separate([path], "out", choose(entries, "blend", ["lead"]), kind=kind)
    assert found.state == "there"


def test_a_separator_that_fails_leaves_nothing_behind(entries, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "echo", Family("planted:Faulty", 1))
    row = "bad: {family: echo, stems: [vocals], params: {fault: raise}}\n"
    (tmp_path / "model_registry.yaml").write_text(ROWS + row)
    choice = choose(registry.load(), "bad")
    (found,) = separating.separate([song(tmp_path / "s.wav")], "out", choice)
    assert found.state == "failed"
    assert "RuntimeError: weights are gone" in found.notes[0]
    assert list(Path("out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(entries, tmp_path, monkeypatch):
    path, choice = song(tmp_path / "s.wav"), choose(entries, "half")
    (tmp_path / "taken").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        separating.separate([path], "taken", choice)
    if hasattr(os, "geteuid") and os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(HarnessError, match="cannot be written"):
            separating.separate([path], "locked", choice)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    (found,) = separating.separate([path], "full", choice)
    assert "are needed but not free" in found.notes[0]
    assert planted.Echo.seen == []


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("many channels", "flac", "9 channels at 8000 Hz cannot be written as flac; use --format"),
        ("high rate", "flac", "2 channels at 700000 Hz cannot be written as flac; use --format"),
        ("file for folder", "wav", "out/b: cannot be written (File exists)"),
        ("file above folder", "wav", "out/sub/b: cannot be written (Not a directory)"),
        ("folder for file", "wav", "out/b/vocals.wav: is a folder; move it away"),
        ("vanishes", "wav", "b.wav"),
        ("too large", "wav", "out/b: 0.0 GB are needed but not free"),
    ],
)
def test_a_song_that_cannot_be_written_does_not_stop_the_others(
    entries, tmp_path, monkeypatch, fault, kind, said
):
    channels, rate = 9 if fault == "many channels" else 2, 700000 if fault == "high rate" else RATE
    bad = tmp_path / ("in/sub/b.wav" if fault == "file above folder" else "in/b.wav")
    length = 2.0 if fault == "too large" else 0.1
    songs = [song(tmp_path / "in/a.wav", noise(0.1)), bad, song(tmp_path / "in/c.wav", noise(0.1))]
    song(bad, noise(length, rate, channels), rate)
    if fault == "folder for file":
        Path("out/b/vocals.wav").mkdir(parents=True)
    if fault.startswith("file"):
        taken = Path("out/sub" if fault == "file above folder" else "out/b")
        taken.parent.mkdir()
        taken.write_text("mine")
    if fault == "too large":
        monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 50_000}))
    choice = choose(entries, "half")

    def progress(done: int, _: int) -> None:
        if fault == "vanishes":
            bad.unlink(missing_ok=True)

    options = {"kind": kind, "force": fault == "folder for file", "progress": progress}
    found = separating.separate([tmp_path / "in"], "out", choice, **options)
    by_song = {one.song: one for one in found}
    assert [by_song[path].state for path in songs] == ["done", "failed", "done"]
    assert said in by_song[bad].notes[0]
    assert list(Path("out").rglob("*.part")) == []
    if fault.startswith("file"):
        assert taken.read_text() == "mine"


def test_a_full_disk_ends_the_batch(entries, tmp_path, monkeypatch):
    def full(self: Path, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(StorageError, match="No space left"):
        separating.separate([song(tmp_path / "a.wav")], "out", choose(entries, "half"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_a_name(entries, tmp_path, monkeypatch, capsys):
    good = song(tmp_path / "in/a.wav", noise(0.1))
    good.rename(Path(os.fsdecode(b"in/caf\xe9.wav")))
    song(good, noise(0.1))
    command = ("separate", "in", "--with", "half", "-o", "out", "--json")
    names = find_songs([Path("in")], Path("out"))
    assert sorted(names.values()) == ["a", "caf\udce9"]
    monkeypatch.setattr(sys, "argv", ["harness", *command])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    found = {row["song"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert found["in/a.wav"] == "done"
    assert found["in/caf\udce9.wav"] in ("done", "failed")
    assert stop.value.code in (None, 0, cli.SOME_FAILED)
    files = {"vocals": Path(os.fsdecode(b"out/\xe9/vocals.wav"))}
    with written(files, 10, RATE, 2, target_of(Path("out"))) as write:
        write("vocals", noise(10 / RATE))
    assert files["vocals"].is_file()


def test_songs_get_folders_of_their_own(tmp_path):
    for name in ("in/a.wav", "in/a.flac", "in/b/..wav", "in/.hidden.wav", "in/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "in/b/...wav").touch()
    names = find_songs([Path("in"), Path("in/b/...wav")], Path("out"))
    assert names == {
        Path("in/a.wav"): "a.wav",
        Path("in/a.flac"): "a.flac",
        Path("in/b/...wav"): "__",
    }
    with pytest.raises(HarnessError, match="no such file"):
        find_songs([Path("absent")], Path("out"))
    with pytest.raises(HarnessError, match="contains no audio"):
        find_songs([Path("in/b")], Path("in/b"))


def test_hidden_files_and_stems_of_an_earlier_output_are_no_songs(entries, tmp_path):
    stems = ["Song/vocals.wav", "Song/residual.wav", "One/bass.flac", "Demucs/no_vocals.mp3"]
    stems += ["Demucs/vocals.mp3", "Track/drums.wav"]
    kept = ["Album/Vocals.mp3", "Album/Title.mp3", "Single/Drums.mp3", "Track/mixture.wav"]
    hidden = [".cache/x.wav", "a/.b/c/x.wav", ".x.wav"]
    for name in (*stems, *kept, *hidden, "vocals.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    place = Path("in")
    assert set(find_songs([place], Path("out"))) == {place / n for n in (*kept, "vocals.wav")}
    (note,) = left_out([place], Path("out")).values()
    assert note.startswith("6 files are stems, such as in/Demucs/no_vocals.mp3, and are not")
    assert len(find_songs([place / "Song"], Path("out"))) == 2  # named itself
    assert left_out([place / "Song"], Path("out")) == {}
    (place / "Only").mkdir()
    (place / "Song").rename(place / "Only/Song")
    with pytest.raises(HarnessError, match=r"stems only, such as in/Only/Song/residual\.wav; name"):
        find_songs([place / "Only"], Path("out"))


def test_a_second_output_folder_says_what_it_leaves_out(entries, tmp_path, monkeypatch, capsys):
    song(tmp_path / "in/a.wav", noise(0.1))
    command = ("separate", "in", "--with", "half", "--json", "-o")
    harness(monkeypatch, capsys, *command, "in/first")
    rows = json.loads(harness(monkeypatch, capsys, *command, "in/second"))
    assert [(row["song"], row["state"]) for row in rows] == [
        ("in", "left out"),
        ("in/a.wav", "done"),
    ]
    assert "2 files are stems, such as in/first/a/accompaniment.wav" in rows[0]["notes"][0]


@pytest.mark.parametrize("seconds", [4.99, 5.0, 5.01, 13.7])
def test_blocks_of_a_long_song_join_without_seams(entries, tmp_path, monkeypatch, seconds):
    monkeypatch.setattr(separating, "LONGEST", 5.0)
    monkeypatch.setattr(separating, "FADE", 0.5)
    given = noise(seconds)
    choice = choose(entries, "half")
    path = song(tmp_path / "s.wav", given)
    (found,) = separating.separate([path], "out", choice, residual=True)
    vocals, rest = (audio.read(found.files[stem])[0] for stem in ("vocals", "residual"))
    np.testing.assert_allclose(vocals, 0.5 * given, atol=1e-6)
    assert np.abs(rest).max() < 1e-6
    assert (len(planted.Echo.seen) > 1) == (seconds > 5) == any("long" in n for n in found.notes)


def test_memory_does_not_grow_with_the_song(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(separating, "LONGEST", 12.0)
    monkeypatch.setattr(separating, "FADE", 1.0)
    choice = choose(entries, "half")
    path = song(tmp_path / "s.wav", noise(600))
    block = 12 * RATE * 2 * 4  # bytes
    tracemalloc.start()
    try:
        separating.separate([path], "out", choice, residual=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 14 * block < 600 * RATE * 2 * 4 / 3
