"""Training: batches that depend on (seed, step) alone, losses with known values, exact resuming."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import song_stems, write_song
from safetensors.torch import load_file
from torch import nn

import harness.separators.networks
from harness.core import audio
from harness.core.errors import HarnessError
from harness.datasets.folder import folder as load_folder
from harness.datasets.tracks import Dataset, Source, Track
from harness.metrics.ratios import snr
from harness.separators import checkpoints
from harness.training import RECIPES, Augment, Recipe, Session, find_recipe, train
from harness.training.batches import Batches, ExcerptForm, draw_speed, vary
from harness.training.data import REST, Material, covers, split_by_artist, usable_songs
from harness.training.losses import make_loss
from harness.training.recipes import from_dict
from harness.training.step import learning_rate, repeatable
from harness.training.validation import mixture_scores, validate

FOUR = ("vocals", "drums", "bass", "other")
PLAIN = Augment(remix=0, gain=0, polarity=0, swap=0, speed=0)


class Tiny(nn.Module):
    """One convolution per stem, with dropout so that random numbers matter."""

    def __init__(self, stems=FOUR, sample_rate=8000, channels=2, segment=2000):
        super().__init__()
        self.stems, self.sample_rate = tuple(stems), sample_rate
        self.channels, self.segment = channels, segment
        self.conv = nn.Conv1d(channels, len(self.stems) * channels, 9, padding=4)
        self.norm = nn.BatchNorm1d(len(self.stems) * channels)
        self.dropout = nn.Dropout(0.2)

    def forward(self, mixture):
        estimate = self.dropout(self.norm(self.conv(mixture)))
        return estimate.unflatten(1, (len(self.stems), self.channels))

    def config(self):
        return {"stems": list(self.stems), "segment": self.segment}


@pytest.fixture(autouse=True)
def _tiny_network(monkeypatch):
    monkeypatch.setitem(harness.separators.networks.NETWORKS, "tiny", Tiny)


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads are slow on signals this short, and their number changes the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    """Six songs of three artists, 1 s at 8 kHz."""
    root = tmp_path_factory.mktemp("learn")
    for number in range(6):
        artist = ("Ann", "Bob", "Cy")[number // 2]
        write_song(root / f"{artist} - {number}", song_stems(number, 1.0), subtype="FLOAT")
    return load_folder(root)


def recipe(**changes) -> Recipe:
    values = {"steps": 12, "batch": 2, "validate_every": 4, "warm_up": 2, "loss": "waveform"}
    return Recipe("tiny_demo", "tiny", **(values | changes))


def material(dataset, stems=FOUR, **options) -> Material:
    return Material(usable_songs([dataset], stems), stems, **options)


def batches(dataset, augment=PLAIN, seed=1, stems=FOUR, **options) -> Batches:
    form = ExcerptForm(2, 8000, 500)
    return Batches(material(dataset, stems, **options), form, augment, size=3, seed=seed)


# --- data -------------------------------------------------------------------------------------


def test_no_artist_is_in_both_splits_and_the_choice_does_not_depend_on_order(dataset):
    songs = usable_songs([dataset], FOUR)
    training, held = split_by_artist(songs, 0.2, 12)
    again, held_again = split_by_artist(songs[::-1], 0.2, 12)
    assert {s.track.artist for s in training} & {s.track.artist for s in held} == set()
    assert len(training) + len(held) == 6
    assert {s.track.name for s in held} == {s.track.name for s in held_again}
    assert len(again) == len(training)


def test_an_artist_with_most_tracks_is_trained_on(dataset):
    names = ["Di", "Mo", "Di", "Di", "Mo"]  # by the hash of the names, Di comes first
    songs = [
        replace(song, track=replace(song.track, artist=name))
        for song, name in zip(usable_songs([dataset], FOUR), names, strict=False)
    ]
    training, held = split_by_artist(songs, 0.1, 12)
    assert {s.track.artist for s in training} == {"Di"}
    assert {s.track.artist for s in held} == {"Mo"}


def test_one_artist_cannot_be_split(dataset):
    songs = [s for s in usable_songs([dataset], FOUR) if s.track.artist == "Ann"]
    with pytest.raises(HarnessError, match="all tracks are of one artist"):
        split_by_artist(songs, 0.1, 12)


def test_tracks_with_bleed_are_not_used(dataset):
    first, *rest = dataset.tracks
    spoilt = replace(dataset, tracks=(replace(first, bleed=frozenset({"drums"})), *rest))
    assert len(usable_songs([spoilt], FOUR)) == 5
    assert len(usable_songs([spoilt], ("vocals",))) == 6


def test_a_dataset_without_the_stem_is_refused(dataset):
    with pytest.raises(HarnessError, match="has no kick"):
        usable_songs([dataset], ("kick",))


def test_a_stem_that_a_track_lacks_is_silence(dataset):
    first = dataset.tracks[0]
    poor = replace(first, stems={k: v for k, v in first.stems.items() if k != "bass"})
    found = material(replace(dataset, tracks=(poor,)))
    assert not found.excerpt(0, "bass", 0, 400, (2, 8000, 1.0)).any()
    assert found.excerpt(0, "drums", 0, 400, (2, 8000, 1.0)).any()


def test_stems_that_do_not_fill_the_mixture_get_a_rest(dataset):
    found = material(dataset, ("vocals", "bass"))
    assert found.parts == ("vocals", "bass", REST)
    whole, _ = audio.read(dataset.tracks[0].mixture[0].path)
    total = sum(found.excerpt(0, part, 100, 300, (2, 8000, 1.0)) for part in found.parts)
    np.testing.assert_allclose(total, whole[:, 100:400], atol=1e-6)


def kit(dataset):
    """The songs with drums made of two pieces and a rest, and one song without drums."""
    tracks = []
    for track in dataset.tracks:
        sources = track.stems
        drums = sources["drums"] + sources["bass"] + sources["other"]
        stems = {"drums": drums, "kick": sources["drums"], "snare": sources["bass"]}
        tracks.append(replace(track, stems=stems))
    tracks[-1] = replace(tracks[-1], stems={"kick": tracks[-1].stems["kick"]})
    return replace(dataset, tracks=tuple(tracks), stems=("drums", "kick", "snare"))


def test_the_children_of_a_stem_and_its_rest_sum_to_it_and_not_to_the_mixture(dataset):
    songs = usable_songs([kit(dataset)], ("kick", "snare"), "drums")
    assert len(songs) == 5
    found = Material(songs, ("kick", "snare"), "drums")
    assert found.parts == ("kick", "snare", REST)
    total = sum(found.excerpt(0, part, 100, 300, (2, 8000, 1.0)) for part in found.parts)
    whole = sum(audio.read(s.path)[0] for s in songs[0].track.stems["drums"])
    np.testing.assert_allclose(total, whole[:, 100:400], atol=1e-6)


def test_a_recipe_names_the_stem_that_is_separated(dataset, tmp_path):
    ours = recipe(input="drums", steps=2, options={"stems": ["kick", "snare"]})
    outcome = train(ours, [kit(dataset)], Session(tmp_path))
    assert set(outcome.scores) == {"kick", "snare"}
    card = json.loads((tmp_path / "tiny_demo.card.json").read_text())
    assert card["recipe"]["input"] == "drums"
    with pytest.raises(HarnessError, match="has no vocals"):
        usable_songs([kit(dataset)], ("kick",), "vocals")


@pytest.mark.parametrize("input_stem", ["drums", "vocals"])
def test_the_levels_of_the_tree_need_no_rest(input_stem):
    names = {"drums": "drums_small", "vocals": "voices_small"}
    found = RECIPES[names[input_stem]]
    assert found.input == input_stem
    assert covers(found.options["stems"], input_stem)


@pytest.mark.parametrize(
    ("stems", "whole"),
    [(FOUR, True), (("vocals", "accompaniment"), True), (("vocals", "drums"), False)],
)
def test_which_stems_make_up_a_mixture(stems, whole):
    assert covers(stems) == whole


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_memory_or_disk_makes_no_difference(tmp_path, subtype, rng):
    signal = (0.1 * rng.standard_normal((2, 3000))).astype(np.float32)
    audio.write(tmp_path / "x.wav", signal, 8000, subtype=subtype)
    sources = (Source(tmp_path / "x.wav"),)
    track = Track("d", "x", "a", "train", sources, {"vocals": sources, "accompaniment": sources})
    stems = ("vocals", "accompaniment")
    one = Dataset("d", "1", 8000, stems, (track,))
    kept, read = material(one, stems), material(one, stems, memory=0)
    for start, frames, speed in ((0, 3000, 1.0), (700, 500, 1.0), (700, 500, 1.1), (2900, 500, 1)):
        form = (2, 8000, speed)
        a, b = (m.excerpt(0, "vocals", start, frames, form) for m in (kept, read))
        assert np.array_equal(a, b)
        assert a.shape == (2, frames)
    assert kept.excerpt(0, "vocals", 2900, 500, (2, 8000, 1.0))[:, 100:].any() == False  # noqa: E712


def test_faster_is_higher(tmp_path):
    t = np.arange(16000) / 8000
    tone = (0.5 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)[None]
    audio.write(tmp_path / "x.wav", tone, 8000)
    sources = (Source(tmp_path / "x.wav"),)
    one = Dataset(
        "d", "1", 8000, FOUR, (Track("d", "x", "a", "train", sources, {"bass": sources}),)
    )
    found = material(one).excerpt(0, "bass", 0, 4000, (1, 8000, 1.25))
    peak = np.argmax(np.abs(np.fft.rfft(found[0]))) * 8000 / 4000
    assert peak == pytest.approx(1250, abs=4)


def test_another_sample_rate_is_resampled(dataset):
    found = material(dataset).excerpt(0, "bass", 0, 2000, (2, 16000, 1.0))
    original = material(dataset).excerpt(0, "bass", 0, 1000, (2, 8000, 1.0))
    np.testing.assert_allclose(found[:, 400:1600:2], original[:, 200:800], atol=2e-3)


# --- batches and augmentation -----------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_step(dataset):
    every = Augment(1, 1, 3, 0.5, 0.5, 0.5, 2)
    one, two = batches(dataset, every), batches(dataset, every, memory=0)
    streamed = list(two.stream(3, 9, workers=3))
    for step, batch in zip(range(3, 9), streamed, strict=True):
        assert np.array_equal(one.at(step).target, batch.target)
        assert np.array_equal(one.at(step).mixture, batch.mixture)
    assert not np.array_equal(one.at(3).target, one.at(4).target)
    assert not np.array_equal(one.at(3).target, batches(dataset, every, seed=2).at(3).target)


def test_the_mixture_is_the_sum_of_the_parts(dataset):
    batch = batches(dataset, Augment()).at(0)
    assert batch.mixture.shape == (3, 2, 500)
    assert batch.target.shape == (3, 4, 2, 500)
    np.testing.assert_allclose(batch.target.sum(axis=1), batch.mixture, atol=1e-6)


def test_without_remixing_an_example_is_a_place_of_a_song(dataset):
    batch = batches(dataset).at(0)
    mixtures = [audio.read(track.mixture[0].path)[0] for track in dataset.tracks]
    for example in batch.mixture:
        assert any(_occurs(example, mixture) for mixture in mixtures)
    remixed = batches(dataset, replace(PLAIN, remix=1)).at(0)
    assert not any(_occurs(remixed.mixture[0], mixture) for mixture in mixtures)


def _occurs(excerpt, signal) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(signal[0], excerpt.shape[1])
    return bool((np.abs(windows - excerpt[0]).max(axis=1) < 1e-5).any())


def test_each_variation_does_what_it_says(rng):
    part = rng.standard_normal((2, 50)).astype(np.float32)
    assert np.array_equal(vary(part, PLAIN, rng), part)
    assert np.array_equal(vary(part, replace(PLAIN, polarity=1), rng), -part)
    assert np.array_equal(vary(part, replace(PLAIN, swap=1), rng), part[::-1])
    louder = [vary(part, replace(PLAIN, gain=1, gain_db=6), rng)[0, 0] / part[0, 0] for _ in "ab"]
    assert louder[0] != louder[1]
    assert all(10 ** (-6 / 20) <= ratio <= 10 ** (6 / 20) for ratio in louder)
    assert draw_speed(PLAIN, rng) == 1
    assert 2 ** (-3 / 12) <= draw_speed(replace(PLAIN, speed=1, semitones=3), rng) <= 2 ** (3 / 12)


def test_changing_one_probability_leaves_the_other_draws_alone():
    part = np.ones((2, 5), np.float32)
    some = replace(PLAIN, gain=1)
    with_swap = replace(some, swap=1)
    a, b = (vary(part, x, np.random.default_rng(4)) for x in (some, with_swap))
    assert np.array_equal(a, b)


# --- losses -----------------------------------------------------------------------------------


def _signals(rng, shape=(2, 4, 2, 3000)):
    target = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return target, target.sum(dim=1)


@pytest.mark.parametrize("name", ["waveform", "waveform_stft", "spectrogram"])
def test_a_perfect_estimate_costs_nothing_and_silence_does(rng, name):
    target, mixture = _signals(rng)
    loss = make_loss(name, {}, FOUR)
    assert float(loss(target, target, mixture)) == pytest.approx(0, abs=1e-6)
    assert float(loss(0 * target, target, mixture)) > 0.1
    assert float(loss(target, 0 * target, mixture)) > 0.1


def test_negative_snr_is_the_snr(rng):
    target, mixture = _signals(rng)
    noise = torch.from_numpy(rng.standard_normal(target.shape).astype(np.float32))
    estimate = target + 10 ** (-7 / 20) * noise
    loss = make_loss("negative_snr", {"soft": 0}, FOUR)(estimate, target, mixture)
    each = [snr(t.numpy(), e.numpy()) for t, e in zip(target[0], estimate[0], strict=True)]
    each += [snr(t.numpy(), e.numpy()) for t, e in zip(target[1], estimate[1], strict=True)]
    assert float(loss) == pytest.approx(-np.mean(each), abs=1e-4)


def test_pooled_snr_is_that_of_all_excerpts_in_a_row(rng):
    target, noise = (rng.standard_normal((3, 4, 2, 500)).astype("f4") for _ in range(2))
    target[1:, 2] = 0  # a stem that two of three excerpts lack
    estimate = torch.from_numpy(target + 0.1 * noise)
    row = [np.concatenate(list(x), axis=-1) for x in (target, estimate.numpy())]
    expected = -np.mean([snr(t, e) for t, e in zip(*row, strict=True)])
    loss = make_loss("negative_snr", {"soft": 0, "pooled": True}, FOUR)
    found = loss(estimate, torch.from_numpy(target), torch.from_numpy(target.sum(axis=1)))
    assert float(found) == pytest.approx(expected, abs=1e-3)


def test_negative_snr_is_bounded_by_what_no_longer_counts(rng):
    target, mixture = _signals(rng)
    target[:, 0] = 0
    loss = make_loss("negative_snr", {"soft": 1e-3}, FOUR)
    estimate = target.clone().requires_grad_()
    value = loss(estimate, target, mixture)
    value.backward()
    assert -31 < float(value.detach()) < -15  # one stem silent: 0 dB; the others about -24 dB
    assert torch.isfinite(estimate.grad).all()


def test_the_paper_s_loss_weighs_waveform_and_spectrogram(rng):
    target, mixture = _signals(rng)
    estimate = -target  # the spectrogram is right, the waveform is not
    wave = float((2 * target.abs()).mean())
    loss = make_loss("waveform_stft", {}, FOUR)(estimate, target, mixture)
    assert float(loss) == pytest.approx(0.85 * wave, rel=1e-5)


def test_stem_weights_weigh(rng):
    target, mixture = _signals(rng)
    estimate = target.clone()
    estimate[:, 1] += 1.0  # drums are wrong
    flat, heavy = (
        float(make_loss("waveform", {"stem_weights": w}, FOUR)(estimate, target, mixture))
        for w in ({}, {"drums": 1.2, "bass": 1.2})
    )
    assert flat == pytest.approx(0.25, rel=1e-5)
    assert heavy / flat == pytest.approx(1.2 / 1.1, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("waveforn", {}, "did you mean 'waveform'"),
        ("waveform", {"stem_weights": {"drum": 2}}, "did you mean 'drums'"),
    ],
)
def test_mistakes_in_a_loss_are_named(name, options, message):
    with pytest.raises(HarnessError, match=message):
        make_loss(name, options, FOUR)


# --- schedule and validation ------------------------------------------------------------------


def test_the_rate_rises_and_falls():
    cosine = recipe(steps=100, warm_up=10, learning_rate=1.0, floor=0.1)
    rates = [learning_rate(cosine, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1, abs=0.01)
    assert rates[9] > 0.97
    assert rates[99] == pytest.approx(0.1, abs=0.01)
    assert all(a >= b for a, b in pairwise(rates[10:]))
    plateau = recipe(schedule="plateau", warm_up=1, learning_rate=1.0, floor=0.1)
    assert [learning_rate(plateau, 50, n) for n in (0, 1, 2, 9)] == [1, 0.5, 0.25, 0.1]


def test_validation_is_the_mean_snr_of_whole_tracks(dataset):
    first = dataset.tracks[0]
    silent = replace(first, name="zz", stems={k: v for k, v in first.stems.items() if k != "bass"})
    found = material(replace(dataset, tracks=(*dataset.tracks[:2], silent)))
    got = mixture_scores(found, (2, 8000))
    for stem in FOUR:
        values = []
        for track in dataset.tracks[:2]:
            reference = audio.read(track.stems[stem][0].path)[0]
            values.append(snr(reference, audio.read(track.mixture[0].path)[0]))
        if stem != "bass":  # a silent reference is left out; the other stems count once more
            without_bass = [audio.read(first.stems[s][0].path)[0] for s in FOUR if s != "bass"]
            values.append(snr(audio.read(first.stems[stem][0].path)[0], sum(without_bass)))
        assert got[stem] == pytest.approx(np.mean(values), abs=1e-3)


def test_a_perfect_separator_scores_without_end(dataset):
    found = material(dataset)
    whole = iter(range(6))

    def cheat(mixture):
        song, form = next(whole), (2, 8000, 1.0)
        return np.stack([found.excerpt(song, s, 0, mixture.shape[1], form) for s in FOUR])

    assert set(validate(found, cheat, (2, 8000)).values()) == {np.inf}


# --- the loop ---------------------------------------------------------------------------------


def test_training_learns_and_leaves_weights_curves_and_card(dataset, tmp_path):
    lines, steps = [], []
    result = train(
        recipe(steps=60, validate_every=20, learning_rate=0.01, augment=PLAIN),
        [dataset],
        Session(tmp_path),
        progress=lambda done, total: steps.append((done, total)),
        say=lines.append,
    )
    assert (result.ended, result.steps, steps[-1], len(lines)) == ("finished", 60, (60, 60), 3)
    rows = _curves(tmp_path)
    losses = [float(row["loss"]) for row in rows]
    assert losses[-1] < 0.8 * losses[0]
    assert [row["step"] for row in rows if row["snr"]] == ["20", "40", "60"]
    card = json.loads((tmp_path / "tiny_demo.card.json").read_text())
    assert card["parameters"] == sum(p.numel() for p in Tiny().parameters())
    assert card["trained_on"] == ["folder:test"]
    assert card["training"][0]["tracks"] + card["validation"][0]["tracks"] == 6
    assert set(card["scores"]) == set(card["mixture_scores"]) == set(FOUR)
    assert "mixture as estimate" in (tmp_path / "tiny_demo.card.md").read_text()
    assert (tmp_path / "tiny_demo.curves.png").read_bytes().startswith(b"\x89PNG")
    assert result.notes == ()


def test_the_weights_kept_are_those_of_the_best_validation(dataset, tmp_path):
    result = train(recipe(), [dataset], Session(tmp_path))
    network = Tiny()
    network.load_state_dict(load_file(result.weights))
    songs = usable_songs([dataset], FOUR)
    _, held = split_by_artist(songs, recipe().valid_share, recipe().valid_tracks)

    @torch.no_grad()
    def separate(mixture):
        return network.eval()(torch.from_numpy(mixture)[None])[0].numpy()

    scores = validate(Material(held, FOUR), separate, (2, 8000))
    assert scores == pytest.approx(result.scores, abs=1e-3)


def test_without_matplotlib_there_is_a_note(dataset, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = train(recipe(steps=2), [dataset], Session(tmp_path))
    assert "matplotlib is absent" in result.notes[0]


def test_patience_ends_the_run(dataset, tmp_path):
    stubborn = recipe(steps=400, validate_every=1, patience=2, learning_rate=0.0)
    result = train(stubborn, [dataset], Session(tmp_path))
    assert result.ended == "stopped early"
    assert result.steps < 400


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_paused_run_continues_with_the_same_result(dataset, tmp_path, schedule):
    wanted = recipe(schedule=schedule, patience=3, options={"stems": FOUR})
    train(wanted, [dataset], Session(tmp_path / "whole"))
    paused = train(wanted, [dataset], Session(tmp_path / "parts", seconds=0))
    assert paused.ended == "paused"
    outcome = _sittings(wanted, dataset, tmp_path / "parts")
    assert outcome.ended in ("finished", "stopped early")
    _same_run(tmp_path / "whole", tmp_path / "parts")


def _sittings(wanted, dataset, out):
    """Stop after every fifth step by an error, and go on."""
    while True:
        count = iter(range(5))

        def stop(done, total, count=count):
            if next(count, None) is None:
                raise KeyboardInterrupt

        try:
            return train(
                wanted,
                [dataset],
                Session(out, resume=True, save_seconds=0),
                progress=stop,
            )
        except KeyboardInterrupt:
            continue


KILLED = """
import sys, time
import harness.separators.networks, torch
from pathlib import Path
from harness.datasets.folder import folder
from harness.training import Session, train
from test_training import Tiny, recipe
torch.set_num_threads(1)
harness.separators.networks.NETWORKS["tiny"] = Tiny
def tell(done, total):
    sys.stdout.write(f"{done}\\n"), sys.stdout.flush(), time.sleep(0.04)
train(recipe(steps=24), [folder(Path(sys.argv[1]))], Session(Path(sys.argv[2]), save_seconds=0.1),
      progress=tell)
"""


def test_a_killed_run_continues_with_the_same_result(dataset, tmp_path):
    root = dataset.tracks[0].mixture[0].path.parents[1]
    paths = ["tests/training", "tests/support", "tests", "."]
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(root), str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": "1",
        },
        cwd=Path(__file__).parents[2],
    )
    with child:
        steps = (int(line) for line in child.stdout)
        moment = np.random.default_rng(time.time_ns()).uniform(0, 0.15)
        next(step for step in steps if step >= 9)
        time.sleep(moment)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    train(recipe(steps=24), [dataset], Session(tmp_path / "killed", resume=True))
    train(recipe(steps=24), [dataset], Session(tmp_path / "whole"))
    _same_run(tmp_path / "whole", tmp_path / "killed")


def _same_run(one: Path, two: Path) -> None:
    """Compare weights, whole states and curves bit by bit; only the time spent may differ."""
    for name in ("tiny_demo.safetensors", "state.safetensors"):
        a, b = load_file(one / name), load_file(two / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name
    assert _curves(one) == _curves(two)


def _curves(folder: Path) -> list[dict[str, str]]:
    rows = csv.DictReader((folder / "tiny_demo.curves.csv").read_text().splitlines())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_another_seed_leads_to_other_weights(dataset, tmp_path):
    train(recipe(), [dataset], Session(tmp_path / "a"))
    train(recipe(), [dataset], Session(tmp_path / "b", seed=1))
    a, b = (load_file(tmp_path / x / "tiny_demo.safetensors") for x in "ab")
    assert not torch.equal(a["conv.weight"], b["conv.weight"])


def test_more_steps_may_be_asked_for(dataset, tmp_path):
    train(recipe(steps=4), [dataset], Session(tmp_path))
    assert train(recipe(steps=8), [dataset], Session(tmp_path, resume=True)).steps == 8
    assert train(recipe(steps=8), [dataset], Session(tmp_path, resume=True)).steps == 8


@pytest.mark.parametrize(
    ("changes", "session", "message"),
    [
        ({}, {}, "use --resume"),
        ({"batch": 3}, {"resume": True}, "started with another recipe"),
        ({}, {"resume": True, "seed": 3}, r"started with another seed \(0, now 3\)"),
    ],
)
def test_a_run_is_never_mixed_with_another(dataset, tmp_path, changes, session, message):
    train(recipe(steps=1), [dataset], Session(tmp_path))
    with pytest.raises(HarnessError, match=message):
        train(recipe(steps=1, **changes), [dataset], Session(tmp_path, **session))


def test_a_run_begins_with_the_weights_of_an_earlier_one(dataset, tmp_path):
    first = train(recipe(steps=4), [dataset], Session(tmp_path / "a"))
    other = replace(
        dataset, tracks=tuple(replace(t, dataset="other", split="valid") for t in dataset.tracks)
    )
    still = recipe(steps=1, learning_rate=0.0)
    session = Session(tmp_path / "b", start=first.weights)
    second = train(still, [other], session)
    a, b = (load_file(result.weights) for result in (first, second))
    assert all(torch.equal(a[name], b[name]) for name in a if "norm" not in name)
    card = json.loads((tmp_path / "b" / "tiny_demo.card.json").read_text())
    assert card["trained_on"] == ["folder:test", "other:valid"]
    assert checkpoints.load(second.weights).metadata["trained_on"] == card["trained_on"]
    with pytest.raises(HarnessError, match="started with another start"):
        train(still, [other], replace(session, start=None, resume=True))


def test_weights_of_another_network_are_no_start(dataset, tmp_path):
    one = recipe(steps=1, options={"stems": ["vocals"]})
    first = train(one, [dataset], Session(tmp_path / "a"))
    with pytest.raises(HarnessError, match=r"does not fit the network .*its stems are vocals"):
        train(recipe(steps=1), [dataset], Session(tmp_path / "b", start=first.weights))


def test_weights_without_their_state_are_not_replaced(dataset, tmp_path):
    (tmp_path / "tiny_demo.safetensors").write_bytes(b"mine")
    for resume in (False, True):
        with pytest.raises(HarnessError, match="without the state of its training"):
            train(recipe(steps=1), [dataset], Session(tmp_path, resume=resume))
    assert (tmp_path / "tiny_demo.safetensors").read_bytes() == b"mine"


def test_other_tracks_are_another_run(dataset, tmp_path):
    train(recipe(steps=1), [dataset], Session(tmp_path))
    fewer = replace(dataset, tracks=dataset.tracks[1:])
    with pytest.raises(HarnessError, match="started with another tracks"):
        train(recipe(steps=1), [fewer], Session(tmp_path, resume=True))


def test_a_damaged_state_is_refused(dataset, tmp_path):
    train(recipe(steps=1), [dataset], Session(tmp_path))
    (tmp_path / "state.safetensors").write_bytes(b"\x80\x04 not a state")
    with pytest.raises(HarnessError, match="cannot be read as a training state"):
        train(recipe(steps=1), [dataset], Session(tmp_path, resume=True))


def test_a_loss_that_is_no_number_ends_the_run(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(Tiny, "forward", lambda self, x: self.conv.weight.sum() * np.nan + _four(x))
    with pytest.raises(HarnessError, match="lower the learning rate"):
        train(recipe(), [dataset], Session(tmp_path))


def _four(x):
    return x[:, None].expand(-1, 4, -1, -1)


def test_torch_is_left_as_it_was_found():
    before = torch.random.get_rng_state()
    with repeatable(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
        torch.manual_seed(5)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"schedule": "cosin"}, "did you mean 'cosine'"), ({"batch": 0}, "batch is 0")],
)
def test_mistakes_in_a_recipe_are_named(changes, message):
    with pytest.raises(HarnessError, match=message):
        recipe(**changes)


def test_an_unknown_recipe_is_named():
    with pytest.raises(HarnessError, match="did you mean 'simplified_demucs'"):
        find_recipe("simplified_demuc")


def test_a_recipe_may_be_a_file_or_a_card(dataset, tmp_path):
    (tmp_path / "own.yaml").write_text(
        "{name: own, network: unet, batch: 3, floor: 1e-1, augment: {remix: 1}}"
    )
    own = find_recipe(str(tmp_path / "own.yaml"))
    assert own == Recipe("own", "unet", batch=3, floor=0.1, augment=Augment(remix=1))
    train(recipe(steps=1), [dataset], Session(tmp_path))
    assert find_recipe(str(tmp_path / "tiny_demo.card.json")) == recipe(steps=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{name: own, network: unet, netwrok: unet}", "netwrok: unexpected"),
        ("{name: own, network: unet, augment: {remx: 1}}", "augment.remx: unexpected"),
        ("{name: own}", "network: field required"),
        ("{name: ../../own, network: unet}", "recipe '../../own': not a valid name"),
        ("{name: nul, network: unet}", "Windows has no such folder"),
        (f"{{name: own, network: unet, options: {'[' * 3000}", "more than 50 levels"),
        ("{name: own, network: unet, learning_rate: much}", "learning_rate: input should be"),
        ("{name: own, network: unet, batch: 2, batch: 4}", "'batch' occurs twice"),
        ("[1]", "is not a mapping"),
        ("{", "correct the recipe"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text, message):
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(HarnessError, match=message):
        find_recipe(str(tmp_path / "own.yaml"))


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_fits_its_network(name):
    chosen = find_recipe(name)
    network = harness.separators.networks.NETWORKS[chosen.network](**chosen.options)
    make_loss(chosen.loss, chosen.loss_options, network.stems)
    assert json.loads(json.dumps(network.config())) == network.config()
    assert from_dict(json.loads(json.dumps(chosen.as_dict()))) == chosen


def test_built_in_recipes_are_read_like_a_user_s_own(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(RECIPES["drums_small"].as_dict()))
    assert find_recipe(str(path)) == RECIPES["drums_small"]
    assert RECIPES["unet"] == replace(RECIPES["asnet"], name="unet", network="unet")
