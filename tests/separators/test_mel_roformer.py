"""Mel-Band RoFormer: its bands, its published checkpoints, and the classes they were made with."""

import hashlib
import re

import numpy as np
import pytest
import torch
import yaml

from harness import registry
from harness.core.errors import HarnessError
from harness.separators import load
from harness.separators.networks import count_parameters
from harness.separators.networks.mel_roformer import MelRoformer, mel_bands
from harness.separators.roformer import Roformer, load_model, network_options

RATE = 8000
MODEL = {
    "dim": 16, "depth": 2, "stereo": True, "num_stems": 1, "time_transformer_depth": 1,
    "freq_transformer_depth": 1, "num_bands": 12, "dim_head": 8, "heads": 2, "attn_dropout": 0,
    "ff_dropout": 0, "flash_attn": True, "dim_freqs_in": 129, "sample_rate": RATE,
    "stft_n_fft": 256, "stft_hop_length": 100, "stft_win_length": 256, "stft_normalized": False,
    "mask_estimator_depth": 2, "multi_stft_resolutions_window_sizes": (512, 256),
}  # fmt: skip
CONFIG = {
    "audio": {"chunk_size": 4000, "dim_t": 41, "hop_length": 100, "sample_rate": RATE},
    "model": MODEL,
    "training": {"instruments": ["vocals", "other"], "target_instrument": "vocals", "lr": 1e-4},
    "inference": {"num_overlap": 2, "dim_t": 20, "batch_size": 4},
}
NAMES = {"other": "accompaniment"}


def changed(**sections):
    return {name: {**part, **sections.get(name, {})} for name, part in CONFIG.items()}


def checkpoint(folder, network, wrap=lambda state: state):
    """Write what training writes, and say what a row says of it."""
    torch.save(wrap(network.state_dict()), folder / "model.ckpt")
    content = (folder / "model.ckpt").read_bytes()
    return {
        "weights": [folder / "model.ckpt"],
        "sha256": [hashlib.sha256(content).hexdigest()],
    }


def network_of(config=CONFIG, stems=("vocals",), seed=0):
    """Make a network whose weights all say something."""
    torch.manual_seed(seed)
    network = MelRoformer(stems, **network_options(config, "a test"))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval()


def noise(channels, samples, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, samples))).astype(np.float32)


# --- bands and sizes ----------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [1500, 8000, 16000, 44100, 48000])
@pytest.mark.parametrize(("n_fft", "bands"), [(256, 12), (512, 20), (2048, 60), (4096, 64)])
def test_bands_are_those_of_librosa(rate, n_fft, bands):
    import librosa

    filters = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=bands)
    wanted = filters > 0
    wanted[0, 0] = wanted[-1, -1] = True  # as in the classes that checkpoints are made with
    found = np.zeros_like(wanted)
    for row, band in zip(found, mel_bands(rate, n_fft, bands), strict=True):
        row[band] = True
    assert np.array_equal(found, wanted)


def test_bands_narrower_than_a_bin_are_refused():
    with pytest.raises(ValueError, match="200 bands of 129 bins"):
        mel_bands(44100, 256, 200)


def published(name):
    """Build the network of a registry row without giving its values memory."""
    entry = registry.find(registry.load(), name)
    with torch.device("meta"):
        return MelRoformer(("vocals",), **network_options(entry.params["config"], name))


def test_the_published_network_has_its_tensors_and_parameters():
    network = published("mel_roformer")
    state = network.state_dict()
    rotations = 2 * 32  # stored, not trained; counted by the classes that checkpoints come from
    assert len(state) == 684
    assert count_parameters(network) + rotations == 228_202_852
    assert network.segment == 352_800
    shapes = {re.sub(r"\d+", "#", name): tuple(t.shape) for name, t in state.items()}
    assert shapes == {
        "band_split.to_features.#.#.gamma": (520,),
        "band_split.to_features.#.#.weight": (384, 520),
        "band_split.to_features.#.#.bias": (384,),
        "layers.#.#.layers.#.#.rotary_embed.freqs": (32,),
        "layers.#.#.layers.#.#.norm.gamma": (384,),
        "layers.#.#.layers.#.#.to_qkv.weight": (1536, 384),
        "layers.#.#.layers.#.#.to_gates.weight": (8, 384),
        "layers.#.#.layers.#.#.to_gates.bias": (8,),
        "layers.#.#.layers.#.#.to_out.#.weight": (384, 512),
        "layers.#.#.layers.#.#.net.#.gamma": (384,),
        "layers.#.#.layers.#.#.net.#.weight": (384, 1536),
        "layers.#.#.layers.#.#.net.#.bias": (384,),
        "layers.#.#.norm.gamma": (384,),
        "mask_estimators.#.to_freqs.#.#.#.weight": (1040, 1536),
        "mask_estimators.#.to_freqs.#.#.#.bias": (1040,),
    }


def test_the_small_network_is_small():
    assert count_parameters(MelRoformer()) < 2_000_000


# --- equal to the classes that checkpoints are made with ----------------------------------------
CLASSES = {
    "audio-separator": "audio_separator.separator.uvr_lib_v5.roformer.mel_band_roformer",
    "melband-roformer-infer": "mel_band_roformer",
}
VARIANTS = {
    "one stem": {},
    "mono": {"stereo": False},
    "three stems, deeper": {
        "num_stems": 3, "time_transformer_depth": 2, "freq_transformer_depth": 2,
        "mask_estimator_depth": 1,
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", CLASSES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_estimates_are_those_of_the_class_that_trained(package, variant):
    theirs = pytest.importorskip(CLASSES[package]).MelBandRoformer
    model = {**MODEL, **VARIANTS[variant]}
    stems = [f"stem{i}" for i in range(model["num_stems"])]
    network = network_of(changed(model=model), stems)
    reference = theirs(**model).eval()
    reference.load_state_dict(network.state_dict())
    mixture = torch.from_numpy(noise(network.channels, 4000))[None]
    with torch.no_grad():
        found, wanted = network(mixture), reference(mixture)
    wanted = wanted.reshape(found.shape)
    assert wanted.abs().max() > 1e-3
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_skip_connections_give_each_pair_the_sum_of_those_before(monkeypatch):
    network = network_of(changed(model={"depth": 3, "skip_connection": True}))
    seen = []
    for time, band in network.layers:
        monkeypatch.setattr(time, "forward", lambda x: seen.append(x.sum().item()) or x)
        monkeypatch.setattr(band, "forward", lambda x: x)
    network._transformed(torch.ones(1, 1, 1, 1))
    assert seen == [1, 2, 5]  # 1; 1 + 1; 2 + 1 + 2


# --- separators ---------------------------------------------------------------------------------
WRAPS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "data parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "16 bits": lambda state: {name: tensor.half() for name, tensor in state.items()},
}


@pytest.mark.parametrize("wrap", WRAPS)
def test_checkpoints_load_as_they_circulate(tmp_path, wrap):
    network = network_of()
    file = checkpoint(tmp_path, network, WRAPS[wrap])
    found = load_model(file["weights"][0], CONFIG, ["vocals"], sha256=file["sha256"][0])
    for name, tensor in found.state_dict().items():
        assert tensor.dtype == torch.float32
        kept = network.state_dict()[name]
        assert torch.equal(tensor, kept.half().float() if wrap == "16 bits" else kept)


def test_a_whole_chunk_gives_what_the_network_gives_and_the_rest(tmp_path):
    network = network_of()
    separator = Roformer(RATE, config=CONFIG, names=NAMES, **checkpoint(tmp_path, network))
    audio = noise(2, 4000)
    found = separator.separate(audio)
    with torch.no_grad():
        wanted = network(torch.from_numpy(audio)[None])[0, 0].numpy()
    assert list(found) == ["vocals", "accompaniment"]
    assert np.allclose(found["vocals"], wanted, atol=1e-6)
    assert np.array_equal(found["accompaniment"], audio - found["vocals"])


@pytest.mark.parametrize("samples", [1, 100, 4001, 11_111])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_signal_comes_back_in_its_shape(tmp_path, samples, channels):
    separator = Roformer(RATE, config=CONFIG, names=NAMES, **checkpoint(tmp_path, network_of()))
    audio = noise(channels, samples)
    found = separator.separate(audio)
    for estimate in found.values():
        assert estimate.shape == audio.shape
        assert np.isfinite(estimate).all()
    silent = separator.separate(np.zeros_like(audio))
    assert not any(estimate.any() for estimate in silent.values())


def test_a_configuration_may_be_a_file_among_the_weights(tmp_path):
    network = network_of()
    file = checkpoint(tmp_path, network)
    text = yaml.dump(CONFIG)
    assert "!!python/tuple" in text  # as published ones have it
    (tmp_path / "config.yaml").write_text(text)
    file = {
        "weights": [*file["weights"], tmp_path / "config.yaml"],
        "sha256": [*file["sha256"], hashlib.sha256(text.encode()).hexdigest()],
    }
    audio = noise(2, 6000)
    found = Roformer(RATE, ["vocals", "other"], **file).separate(audio)
    first = {key: value[:1] for key, value in file.items()}
    wanted = Roformer(RATE, ["vocals", "other"], config=CONFIG, **first).separate(audio)
    assert all(np.array_equal(found[stem], wanted[stem]) for stem in wanted)
    with pytest.raises(HarnessError, match="sha256 is"):
        Roformer(RATE, weights=file["weights"], sha256=[file["sha256"][0], "0" * 64])


def test_several_stems_of_one_network_are_given_by_name(tmp_path):
    names = ["drums", "vocals", "bass"]
    config = changed(
        model={"num_stems": 3}, training={"instruments": names, "target_instrument": None}
    )
    network = network_of(config, names)
    file = checkpoint(tmp_path, network)
    audio = noise(2, 4000)
    found = Roformer(RATE, ["vocals", "drums"], config=config, **file).separate(audio)
    with torch.no_grad():
        wanted = network(torch.from_numpy(audio)[None])[0].numpy()
    assert list(found) == ["vocals", "drums"]
    assert np.allclose(found["vocals"], wanted[1], atol=1e-6)
    assert np.allclose(found["drums"], wanted[0], atol=1e-6)


@pytest.mark.parametrize("name", ["mel_roformer", "mel_roformer_karaoke"])
def test_registry_rows_name_what_the_network_gives_and_what_it_leaves(tmp_path, name):
    entry = registry.find(registry.load(), name)
    assert not entry.unavailable
    small = changed(model={"sample_rate": 44100}, audio={"sample_rate": 44100})
    small["training"] = entry.params["config"]["training"]
    file = checkpoint(tmp_path, network_of(small))
    weights = registry.Weights(file=str(file["weights"][0]), sha256=file["sha256"][0])
    params = {**entry.params, "config": small}
    entry = entry.model_copy(update={"weights": (weights,), "params": params})
    separator = load(entry, stems=(), sample_rate=44100)
    audio = noise(2, 9000)
    found = separator.separate(audio)
    target, rest = entry.stems
    assert separator.input_stem == ("mixture" if name == "mel_roformer" else "vocals")
    assert np.abs(found[target]).max() > 1e-3
    assert np.array_equal(found[rest], audio - found[target])


# --- what is refused ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"zero_dc": True}}, "unknown option model.zero_dc"),
        ({"model": {"num_band": 12}}, "did you mean 'num_bands'"),
        ({"model": {"linear_transformer_depth": 1}}, "linear_transformer_depth is 1"),
        ({"model": {"stft_win_length": 200}}, "stft_win_length is 200"),
        ({"model": {"sample_rate": 44100}}, "sample_rate is 44100"),
        ({"model": {"num_stems": 2}}, "num_stems is 2, but the stems are vocals"),
        ({"model": {"num_bands": 200}}, "200 bands of 129 bins"),
        ({"model": {"dim": 24}}, "does not fit its configuration .*size mismatch"),
        ({"model": {"dim": "many"}}, "does not fit its configuration"),
        ({"inference": {"normalize": True}}, "normalize is set"),
        ({"inference": {"shifts": 2}}, "unknown option inference.shifts"),
        ({"inference": {"num_overlap": 0}}, "num_overlap is 0"),
        ({"training": {"instruments": []}}, "no training.instruments"),
    ],
)
def test_what_is_not_known_or_does_not_fit_is_refused(tmp_path, sections, message):
    file = checkpoint(tmp_path, network_of())
    with pytest.raises(HarnessError, match=message):
        Roformer(RATE, config=changed(**sections), names=NAMES, **file)


@pytest.mark.parametrize("section", ["model", "audio"])
def test_a_missing_option_is_named(tmp_path, section):
    config = {**CONFIG, section: {"sample_rate": RATE}}
    with pytest.raises(HarnessError, match=r"'(dim|chunk_size)' is missing"):
        Roformer(RATE, config=config, **checkpoint(tmp_path, network_of()))


def test_stems_and_files_must_be_clear(tmp_path):
    file = checkpoint(tmp_path, network_of())
    with pytest.raises(HarnessError, match="no 'lead', only vocals, accompaniment"):
        Roformer(RATE, ["lead"], config=CONFIG, names=NAMES, **file)
    with pytest.raises(HarnessError, match="made for 8000 Hz, not 44100"):
        Roformer(44100, config=CONFIG, names=NAMES, **file)
    with pytest.raises(HarnessError, match="one model and one configuration"):
        Roformer(RATE, **file)
    with pytest.raises(HarnessError, match="only if its sha256 is known"):
        Roformer(RATE, config=CONFIG, weights=file["weights"])


class Program:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.target}",)


def test_a_checkpoint_or_a_configuration_that_runs_a_program_is_refused(tmp_path):
    target = tmp_path / "written"
    file = checkpoint(tmp_path, network_of(), lambda state: {**state, "more": Program(target)})
    with pytest.raises(HarnessError, match="refused"):
        Roformer(RATE, config=CONFIG, names=NAMES, **file)
    (tmp_path / "config.yaml").write_text(f"a: !!python/object/apply:os.system ['touch {target}']")
    with pytest.raises(
        HarnessError, match=r"config\.yaml: line 1: could not determine a constructor"
    ):
        Roformer(RATE, weights=[*file["weights"], tmp_path / "config.yaml"])
    assert not target.exists()
