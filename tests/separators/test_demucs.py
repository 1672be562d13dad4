"""Demucs checkpoints in their published formats, against demucs' own program on those weights."""

import hashlib
import json
import os
import random
from fractions import Fraction

import numpy as np
import pytest
import torch
from demucs.apply import BagOfModels, apply_model
from demucs.demucs import Demucs as WaveDemucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs

from harness import registry
from harness.benchmark.meter import Meter
from harness.core import audio as signals
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.separators import load
from harness.separators.demucs import Demucs, load_model

RATE = 4000
FOUR = ["drums", "bass", "other", "vocals"]
DRUMSEP = ["bombo", "redoblante", "platillos", "toms"]
TOLERANCE = 1e-4  # of the loudest sample
SMALL = {
    HTDemucs: {
        "channels": 8, "depth": 4, "t_layers": 2, "nfft": 2048, "t_heads": 2, "samplerate": RATE,
        "segment": Fraction(13, 10), "bottom_channels": 16, "dconv_mode": 3,
    },
    HDemucs: {"channels": 4, "samplerate": RATE, "segment": 1},
    WaveDemucs: {
        "channels": 4, "depth": 3, "samplerate": RATE, "segment": 1, "lstm_layers": 0,
        "dconv_lstm": 9, "dconv_attn": 9,
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread():
    """Threads cost more than they give on models this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_of(klass, sources=FOUR, seed=0, **options):
    """Make a small model with weights that say something, rounded as a checkpoint rounds them."""
    torch.manual_seed(seed)
    model = klass(list(sources), **SMALL[klass], **options).eval()
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    return model


def package(model):
    args, kwargs = model._init_args_kwargs
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    return {
        "klass": type(model),
        "args": args,
        "kwargs": dict(kwargs),
        "state": state,
        "training_args": {"optim": {"lr": 3e-4}},
    }


def written(path, content):
    """Write a ``.th`` and return its name and hash as a separator takes them."""
    torch.save(content, path)
    return {"weights": [path], "sha256": [digest(path)]}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def saved(folder, *models):
    """Write packages and return their names and hashes as a separator takes them."""
    files = [written(folder / f"{i}.th", package(model)) for i, model in enumerate(models)]
    return {key: [file[key][0] for file in files] for key in ("weights", "sha256")}


def noise(channels, seconds, seed=0):
    """Noise that swells, around an offset."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * RATE)
    swell = np.linspace(0.01, 0.3, samples)
    return (rng.standard_normal((channels, samples)) * swell + 0.02).astype(np.float32)


def by_demucs(model, audio, **options):
    """Separate as demucs' own program does: normalised by the track, chunked, and back."""
    mixture = torch.from_numpy(audio)
    mono = mixture.mean(0)
    mean, deviation = mono.mean(), mono.std() + 1e-8
    options = {"shifts": 0, "overlap": 0.25} | options
    with torch.no_grad():
        found = apply_model(model, ((mixture - mean) / deviation)[None], split=True, **options)[0]
    return dict(zip(model.sources, (found * deviation + mean).numpy(), strict=True))


def assert_same(found, wanted):
    for stem, estimate in found.items():
        assert np.abs(wanted[stem]).max() > 1e-3
        error = np.abs(estimate - wanted[stem]).max() / np.abs(wanted[stem]).max()
        assert error < TOLERANCE, (stem, error)


# --- equal to demucs ----------------------------------------------------------------------------
LENGTHS = [0.05, 0.7, 1.3, 1.31, 1.9, 2.4, 3.377]  # below, at and above a segment; short remains


@pytest.mark.parametrize("klass", SMALL)
@pytest.mark.parametrize("seconds", LENGTHS)
def test_estimates_are_those_of_demucs(tmp_path, klass, seconds):
    model = model_of(klass)
    separator = Demucs(RATE, FOUR, **saved(tmp_path, model))
    audio = noise(2, seconds)
    assert_same(separator.separate(audio), by_demucs(model, audio))
    assert separator.notes == []


def test_mono_is_separated_in_stereo_and_comes_back_mono(tmp_path):
    model = model_of(HTDemucs)
    audio = noise(1, 1.5)
    found = Demucs(RATE, FOUR, **saved(tmp_path, model)).separate(audio)
    wanted = by_demucs(model, np.repeat(audio, 2, axis=0))
    assert {estimate.shape for estimate in found.values()} == {audio.shape}
    assert_same(found, {stem: w.mean(axis=0, keepdims=True) for stem, w in wanted.items()})


@pytest.mark.parametrize("options", [{"overlap": 0.1}, {"segment": 0.5}, {"segment": 1.3}])
def test_overlap_and_segment_mean_what_they_mean_in_demucs(tmp_path, options):
    model = model_of(HTDemucs)
    audio = noise(2, 1.9)
    separator = Demucs(RATE, FOUR, **saved(tmp_path, model), **options)
    assert_same(separator.separate(audio), by_demucs(model, audio, **options))


def test_shifts_are_those_of_demucs_with_a_seed_and_the_same_in_every_call(tmp_path, monkeypatch):
    monkeypatch.setattr("demucs.apply.random", random.Random(0))
    models = [model_of(HTDemucs, seed=seed) for seed in (1, 2)]
    audio = noise(2, 1.5)
    separator = Demucs(RATE, FOUR, **saved(tmp_path, *models), shifts=2)
    wanted = by_demucs(BagOfModels(models), audio, shifts=2)
    first, second = separator.separate(audio), separator.separate(audio)
    assert_same(first, wanted)
    assert all(np.array_equal(first[stem], second[stem]) for stem in FOUR)


ONE_HOT = [{"drums": 1}, {"bass": 1}, {"other": 1}, {"vocals": 1}]
MIXED = [{"drums": 1, "bass": 3, "other": 1, "vocals": 1}, {"drums": 1, "bass": 1, "vocals": 2}]


@pytest.mark.parametrize("bag", [ONE_HOT, MIXED, None])
def test_bags_are_weighed_per_stem(tmp_path, bag):
    models = [model_of(HTDemucs, seed=seed) for seed in range(len(bag or FOUR))]
    audio = noise(2, 1.5)
    separator = Demucs(RATE, FOUR, **saved(tmp_path, *models), bag=bag)
    rows = bag and [[row.get(stem, 0.0) for stem in FOUR] for row in bag]
    assert_same(separator.separate(audio), by_demucs(BagOfModels(models, rows), audio))


def test_only_the_stems_asked_for_are_given(tmp_path):
    model = model_of(HTDemucs)
    audio = noise(2, 1.0)
    found = Demucs(RATE, ["vocals", "drums"], **saved(tmp_path, model)).separate(audio)
    assert list(found) == ["vocals", "drums"]
    assert_same(found, by_demucs(model, audio))


def test_the_batch_changes_rounding_only(tmp_path):
    from harness.separators.chunked import separate_chunked

    model, audio = model_of(HTDemucs), noise(2, 5.0)
    options = {"segment": int(1.3 * RATE), "fill": model.valid_length}
    one, many = (separate_chunked(model, audio, batch=n, **options)[0] for n in (1, 4))
    assert np.abs(one - many).max() < 1e-6


def test_silence_and_a_single_sample_give_finite_numbers(tmp_path):
    separator = Demucs(RATE, FOUR, **saved(tmp_path, model_of(HTDemucs)))
    for audio in (np.zeros((2, RATE), np.float32), noise(2, 1 / RATE)):
        found = separator.separate(audio)
        assert all(estimate.shape == audio.shape for estimate in found.values())
        assert all(np.isfinite(estimate).all() for estimate in found.values())


def test_memory_of_ten_minutes_is_that_of_the_estimates_and_the_mixture(tmp_path):
    model = model_of(HDemucs)
    separator = Demucs(RATE, FOUR, **saved(tmp_path, model))
    model_of_nothing = lambda x: torch.zeros(len(x), 4, *x.shape[1:])  # noqa: E731
    separator.networks[0].forward = model_of_nothing
    audio = noise(2, 600)
    separator.separate(audio[:, : 20 * RATE])
    with Meter() as meter:
        estimates = separator.separate(audio)
    assert meter.peak_memory < 1.6 * sum(estimate.nbytes for estimate in estimates.values())


# --- real recordings ----------------------------------------------------------------------------
def excerpt(shared_data, seconds):
    path = shared_data / "musdb18hq" / "test" / "Music Delta - Rock" / "mixture.wav"
    audio, rate = signals.read(path, frames=int(seconds * 44100))
    return audio, rate


def test_estimates_of_a_recording_are_those_of_demucs(tmp_path, shared_data):
    audio, rate = excerpt(shared_data, 2.0)
    options = {"samplerate": rate, "segment": Fraction(4, 5)}
    torch.manual_seed(0)
    model = HTDemucs(FOUR, **{**SMALL[HTDemucs], **options}).eval()
    separator = Demucs(rate, FOUR, **written(tmp_path / "a.th", package(model)))
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    assert_same(separator.separate(audio), by_demucs(model, audio))


PUBLISHED = {
    "htdemucs": (HTDemucs, FOUR, 41_984_456, {
        "depth": 4, "dconv_mode": 3, "t_layers": 5, "bottom_channels": 512, "t_dropout": 0.02,
        "segment": Fraction(39, 5),
    }),
    "htdemucs_6s": (HTDemucs, [*FOUR, "guitar", "piano"], 27_414_996, {
        "depth": 4, "dconv_mode": 3, "t_layers": 5, "bottom_channels": 0,
        "segment": Fraction(39, 5),
    }),
    "hdemucs_mmi": (HDemucs, FOUR, 83_637_832, {"segment": 44}),
    "drumsep": (HDemucs, DRUMSEP, 83_637_832, {"segment": 40}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_models_of_the_published_size_run_as_registry_rows(tmp_path, shared_data, name):
    klass, sources, parameters, options = PUBLISHED[name]
    torch.manual_seed(0)
    model = klass(list(sources), **options).eval()
    model.load_state_dict({k: v.half().float() for k, v in model.state_dict().items()})
    assert sum(p.numel() for p in model.parameters()) == parameters
    audio, _ = excerpt(shared_data, 10.0)
    found = of_the_registry(tmp_path, name, package(model)).separate(audio)
    wanted = by_demucs(model, audio)
    ours = registry.find(registry.load(), name).params.get("names", {})
    assert_same(found, {ours.get(stem, stem): estimate for stem, estimate in wanted.items()})


# --- registry rows ------------------------------------------------------------------------------
def of_the_registry(folder, name, *packages, **changes):
    """Load an entry as a run does, with other files in place of the published ones."""
    entry = registry.find(registry.load(), name)
    assert len(entry.weights) == len(packages)
    files = []
    for number, content in enumerate(packages):
        file = written(folder / f"{number}.th", content)
        path, known = file["weights"][0], file["sha256"][0]
        files.append(registry.Weights(file=str(path), sha256=known, size=path.stat().st_size))
    entry = entry.model_copy(update={"weights": tuple(files), **changes})
    return load(entry, stems=(), sample_rate=44100)


def test_drumsep_is_mapped_by_name(tmp_path):
    model = model_of(HDemucs, DRUMSEP)
    separator = of_the_registry(tmp_path, "drumsep", package(model), sample_rate=RATE)
    assert separator.input_stem == "drums"
    audio = noise(2, 1.2)
    wanted = by_demucs(model, audio)
    ours = {"bombo": "kick", "redoblante": "snare", "platillos": "cymbals", "toms": "toms"}
    found = separator.separate(audio)
    assert set(found) == {"kick", "snare", "cymbals", "toms"}
    assert_same(found, {ours[stem]: estimate for stem, estimate in wanted.items()})


def test_other_of_six_stems_meets_four_stems_with_guitar_and_piano(tmp_path):
    sources = [*FOUR, "guitar", "piano"]
    model = model_of(HTDemucs, sources)
    separator = of_the_registry(tmp_path, "htdemucs_6s", package(model), sample_rate=RATE)
    audio = noise(2, 1.5)
    found, wanted = separator.separate(audio), by_demucs(model, audio)
    assert taxonomy.parts("other", found) == ("guitar", "piano", "other_rest")
    assert_same(found, {**wanted, "other_rest": wanted["other"]})


def test_the_fine_tuned_bag_takes_each_stem_from_its_file(tmp_path):
    models = [model_of(HTDemucs, seed=seed) for seed in range(4)]
    separator = of_the_registry(tmp_path, "htdemucs_ft", *map(package, models), sample_rate=RATE)
    audio = noise(2, 0.9)
    each = [by_demucs(model, audio) for model in models]
    assert_same(separator.separate(audio), {s: each[i][s] for i, s in enumerate(FOUR)})


# --- checkpoints --------------------------------------------------------------------------------
def safetensors_of(path, model, **changes):
    """Write what demucs 4.1 writes."""
    from safetensors.torch import save_file

    def plain(value):
        return {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}

    args, kwargs = model._init_args_kwargs
    about = {
        "klass": f"{type(model).__module__}.{type(model).__qualname__}",
        "args": json.dumps(args),
        "kwargs": json.dumps(kwargs, default=plain),
    }
    save_file(package(model)["state"], path, about | changes)
    return path


def test_safetensors_of_demucs_are_read_as_demucs_reads_them(tmp_path):
    from demucs.hf import load_safetensors_model

    path = safetensors_of(tmp_path / "a.safetensors", model_of(HTDemucs))
    audio = noise(2, 1.5)
    found = Demucs(RATE, FOUR, weights=[path]).separate(audio)
    assert_same(found, by_demucs(load_safetensors_model(path).eval(), audio))


def test_models_are_kept_in_full_precision_and_say_what_they_are(tmp_path):
    model = model_of(HTDemucs)
    file = written(tmp_path / "a.th", package(model))
    found = load_model(file["weights"][0], sha256=file["sha256"][0])
    assert isinstance(found, HTDemucs)
    assert found.segment == Fraction(13, 10)
    assert not found.training
    for name, parameter in found.named_parameters():
        assert parameter.dtype == torch.float32
        assert torch.equal(parameter, model.state_dict()[name])


def test_arguments_of_older_versions_are_dropped_as_demucs_drops_them(tmp_path):
    content = package(model_of(HTDemucs))
    content["kwargs"]["of_long_ago"] = 3
    file = written(tmp_path / "a.th", content)
    assert load_model(file["weights"][0], sha256=file["sha256"][0]).samplerate == RATE


class Program:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("key", ["klass", "args", "kwargs", "state", "training_args"])
def test_a_package_that_runs_a_program_is_refused_and_runs_nothing(tmp_path, key):
    content = package(model_of(HDemucs)) | {key: Program(tmp_path / "written")}
    file = written(tmp_path / "a.th", content)
    with pytest.raises(HarnessError, match="refused"):
        Demucs(RATE, FOUR, **file)
    assert not (tmp_path / "written").exists()


def test_a_package_is_opened_only_with_its_hash(tmp_path):
    file = written(tmp_path / "a.th", package(model_of(HDemucs)))
    with pytest.raises(HarnessError, match="only if its sha256 is known"):
        Demucs(RATE, FOUR, weights=file["weights"])
    with pytest.raises(HarnessError, match="sha256 is"):
        Demucs(RATE, FOUR, weights=file["weights"], sha256=["0" * 64])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"klass": "os.system"}, "not a package of demucs"),
        ({"klass": "demucs.pretrained.get_model"}, "not a package of demucs"),
        ({"kwargs": "{"}, "not JSON"),
        ({"kwargs": '{"segment": {"_type": "fraction"}}'}, "not JSON"),
        ({"kwargs": "[1]"}, "not a package of demucs"),
        ({"kwargs": "{}"}, "does not fit HDemucs"),
        ({"args": "[1, 2, 3]"}, "does not fit HDemucs"),
    ],
)
def test_safetensors_that_are_no_demucs_are_refused(tmp_path, changes, message):
    path = safetensors_of(tmp_path / "a.safetensors", model_of(HDemucs), **changes)
    with pytest.raises(HarnessError, match=message):
        load_model(path)


def test_tensors_of_another_size_are_refused(tmp_path):
    content = package(model_of(HDemucs))
    content["state"]["encoder.0.conv.weight"] = torch.zeros(3)
    file = written(tmp_path / "a.th", content)
    with pytest.raises(HarnessError, match=r"does not fit HDemucs of demucs .*size mismatch"):
        Demucs(RATE, FOUR, **file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stems": ["vocals", "piano"]}, "no 'piano', only drums"),
        ({"sample_rate": 44100}, "made for 4000 Hz, not 44100"),
        ({"segment": 1.4}, r"segment of 1\.4 s is longer than the 1\.3 s"),
        ({"bag": [{"drums": 1}]}, "no network of the bag returns 'bass'"),
        ({"bag": ONE_HOT}, "4 rows in the bag for 1 files"),
        ({"names": {"drums": "kit"}}, "no 'drums', only kit"),
    ],
)
def test_what_the_model_cannot_give_is_refused(tmp_path, options, message):
    files = saved(tmp_path, model_of(HTDemucs))
    with pytest.raises(HarnessError, match=message):
        Demucs(**{"sample_rate": RATE, "stems": FOUR, **files, **options})
