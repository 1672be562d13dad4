import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness.separators import checkpoints
from harness.separators.learned import load_network
from harness.separators.networks import NETWORKS, count_parameters
from harness.separators.networks.features import (
    PLANES,
    Amalgamation,
    Bands,
    TorchStft,
    band_positions,
    cosine_basis,
    decibels,
    normalise,
)

CHECKPOINTS = Path(harness.__file__).parent / "checkpoints"
SMALL = {
    "asnet": {"n_fft": 256, "hop": 128, "bands": 40, "bottleneck": 128},
    "mel_roformer": {"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 2},
    "unet": {"n_fft": 256, "hop": 128, "width": 4},
    "simplified_demucs": {"widths": (4, 8, 16), "hidden": 16},
    "htdemucs": {"n_fft": 2048, "width": 8},
    "scnet": {"n_fft": 256, "hop": 64, "widths": (4, 8, 8), "layers": 2},
    "wave_u_net": {"levels": 5, "width": 4},
    "mmdenselstm": {
        "n_fft": 256, "hop": 128, "edges": (30, 70), "growth": (8, 8, 4, 8),
        "layers": ((2, 2, 2), (2, 2), (1, 0), (2, 2, 2)),
    },
}  # fmt: skip


def small(name, **options):
    torch.manual_seed(0)
    return NETWORKS[name](sample_rate=8000, **{**SMALL[name], **options}).eval()


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("samples", [1, 2, 63, 129, 4001])
def test_any_length_goes_in_and_comes_out(name, samples):
    estimates = small(name)(noise(2, 2, samples))
    assert estimates.shape == (2, 4, 2, samples)
    assert torch.isfinite(estimates).all()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_any_number_of_channels(name, channels):
    network = small(name, channels=channels, stems=("kick", "snare"))
    assert network(noise(1, channels, 500)).shape == (1, 2, channels, 500)


@pytest.mark.parametrize("name", NETWORKS)
def test_config_rebuilds_the_same_network(name):
    network = small(name, stems=("a", "b"), segment=1234)
    config = json.loads(json.dumps(network.config()))
    again = NETWORKS[name](**config).eval()
    again.load_state_dict(network.state_dict())
    mixture = noise(1, 2, 700)
    assert torch.equal(again(mixture), network(mixture))
    assert (again.stems, again.segment, again.sample_rate) == (("a", "b"), 1234, 8000)
    assert again.config() == network.config()


def test_config_holds_every_argument_in_the_order_of_the_constructor():
    config = NETWORKS["scnet"](("a", "b"), 8000, widths=(4, 8, 8), layers=2).config()
    assert config == {
        "stems": ["a", "b"], "sample_rate": 8000, "channels": 2, "segment": 485100,
        "widths": [4, 8, 8], "shares": [0.175, 0.392, 0.433], "layers": 2, "n_fft": 4096,
        "hop": 1024, "normalise": True,
    }  # fmt: skip
    assert list(config) == list(inspect.signature(NETWORKS["scnet"]).parameters)


@pytest.mark.parametrize("path", sorted(CHECKPOINTS.glob("*.safetensors")), ids=lambda p: p.stem)
def test_config_of_shipped_weights_is_the_one_they_store(path):
    assert load_network(path).config() == checkpoints.load(path).metadata["config"]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_a_louder_mixture_gives_louder_estimates(name, gain):
    network, mixture = small(name), noise(1, 2, 2000)
    scaled = network(gain * mixture)
    assert torch.allclose(scaled, gain * network(mixture), atol=gain * 5e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_silence_gives_silence(name):
    estimates = small(name)(torch.zeros(1, 2, 1000))
    assert estimates.abs().max() < 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_examples_of_a_batch_do_not_mix(name):
    network, mixture = small(name), noise(3, 2, 900)
    together = network(mixture)
    for i in range(3):
        assert torch.allclose(together[i], network(mixture[i : i + 1])[0], atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_trained(name):
    with torch.inference_mode(False):
        network = small(name)
        network(noise(1, 2, 900).clone()).square().sum().backward()
        idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


# --- parameter counts -------------------------------------------------------------------------
ASNET_COUNTS = {
    "as printed, with the skip concatenated": ({}, 589_317),
    "as printed, no skip": ({"skip": "none"}, 585_221),
    "units of each direction": ({"skip": "none", "units": "each"}, 873_477),
    "3 taps": ({"skip": "none", "kernel": (1, 3)}, 289_541),
    "3 taps, units of each": ({"skip": "none", "kernel": (1, 3), "units": "each"}, 577_797),
    "3 taps, dense of 256": ({"skip": "bottleneck", "kernel": (1, 3)}, 305_861),
    "one a stem": ({"skip": "none", "per_stem": True}, 4 * (585_221 - 2 * 65)),
}


@pytest.mark.parametrize("reading", ASNET_COUNTS)
def test_asnet_counts_of_every_reading(reading):
    options, parameters = ASNET_COUNTS[reading]
    assert count_parameters(NETWORKS["asnet"](**options).networks) == parameters


@pytest.mark.parametrize("reading", ASNET_COUNTS)
def test_asnet_readings_run(reading):
    estimates = small("asnet", **ASNET_COUNTS[reading][0])(noise(1, 2, 900))
    assert torch.isfinite(estimates).all()


def test_asnet_fusion_adds_a_weight_for_each_plane_and_a_bias():
    network = NETWORKS["asnet"]()
    assert count_parameters(network) - count_parameters(network.networks) == 8
    stacked = NETWORKS["asnet"](fusion="stack")
    assert count_parameters(stacked) == 589_317 + 9 * 64 * 6


def test_counts_of_the_report():
    unet = NETWORKS["unet"](stems=("vocals",), n_fft=1024, hop=256, width=256)
    assert count_parameters(unet) == 81_200_897
    assert count_parameters(NETWORKS["simplified_demucs"]()) == 2_794_760


def test_simplified_demucs_has_the_steps_of_the_report():
    steps = []
    network = NETWORKS["simplified_demucs"]().eval()
    network.lstm.register_forward_hook(lambda _, given, __: steps.append(given[0].shape[1]))
    network(noise(1, 2, 1378 * 64))
    assert steps == [1378]


# --- masks ------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 777, 3000])
def test_estimates_of_asnet_add_up_to_the_mixture(n):
    mixture = noise(2, 2, n)
    assert torch.allclose(small("asnet")(mixture).sum(dim=1), mixture, atol=1e-5)


def test_asnet_of_channels_that_cancel_is_not_blind():
    left = noise(1, 1, 2000)
    planes = small("asnet").a2f(torch.cat([left, -left], 1), small("asnet").stft(left).abs())
    assert planes[:, 1].std() > 0.01  # decibels


@pytest.mark.parametrize("features", PLANES)
def test_asnet_sees_the_features_it_is_given_and_no_others(features):
    network = small("asnet", features=features)
    assert network.fusion.weight.shape[1] == len(PLANES[features])
    assert torch.isfinite(network(noise(1, 2, 900))).all()


def test_unet_stems_are_independent():
    both = small("unet", stems=("drums", "vocals"))
    alone = small("unet", stems=("vocals",))
    alone.networks["vocals"].load_state_dict(both.networks["vocals"].state_dict())
    mixture = noise(1, 2, 900)
    assert torch.allclose(alone(mixture)[:, 0], both(mixture)[:, 1], atol=1e-6)


# --- features ---------------------------------------------------------------------------------
@pytest.mark.parametrize(("n_fft", "hop"), [(256, 64), (256, 128), (2048, 1024)])
@pytest.mark.parametrize("n", [1, 100, 5000])
def test_stft_comes_back(n_fft, hop, n):
    stft, signal = TorchStft(n_fft, hop), noise(2, 3, n)
    assert torch.allclose(stft.inverse(stft(signal), n), signal, atol=1e-5)


def test_stft_is_the_one_of_torch():
    signal = noise(2, 5000)
    theirs = torch.stft(
        signal, 256, 64, window=torch.hann_window(256), pad_mode="constant", return_complex=True
    )
    assert torch.allclose(TorchStft(256, 64)(signal)[:, : theirs.shape[2]], theirs.mT, atol=1e-4)


@pytest.mark.parametrize("hop", [100, 256])
def test_impossible_hops_are_refused(hop):
    with pytest.raises(ValueError, match="even multiple"):
        TorchStft(256, hop)


def test_normalise_undoes():
    mixture = 3 + 0.1 * noise(2, 2, 500)
    normalised, mean, deviation = normalise(mixture)
    assert torch.allclose(normalised * deviation + mean, mixture, atol=1e-5)
    assert torch.allclose(normalised.mean(1).std(1, correction=0), torch.ones(2), atol=1e-3)


def test_bands_are_bins_below_and_wide_above():
    places = band_positions(1025, 256)
    steps = places.diff()
    assert places[0] == 0
    assert places[-1] == pytest.approx(255)
    assert (steps <= 1.0).all()
    assert (steps > 0).all()
    assert steps[0] > 0.99
    assert steps[-1] < 0.2


def test_masks_over_bands_keep_their_sum():
    bands = Bands(129, 40)
    assert torch.allclose(bands.to_bins(torch.ones(2, 7, 40)), torch.ones(2, 7, 129), atol=1e-6)
    assert torch.allclose(bands(torch.ones(2, 7, 129)), torch.ones(2, 7, 40), atol=1e-6)


def test_cosine_basis_is_orthonormal():
    basis = cosine_basis(40, 20)
    assert torch.allclose(basis @ basis.T, torch.eye(20), atol=1e-5)


def planes_of(signal, names=PLANES["both"]):
    stft = TorchStft(512, 128)
    a2f = Amalgamation(stft, Bands(257, 257), names)
    planes = a2f(signal, stft(signal).abs())[0]
    return dict(zip(names, planes[:, 4:-4], strict=True))  # frames that are full


def test_features_of_a_sine_are_where_the_sine_is():
    rate, bin_ = 8000, 32
    time = torch.arange(8000) / rate
    planes = planes_of(0.5 * torch.sin(2 * torch.pi * bin_ * rate / 512 * time + 0.3)[None, None])
    zero_at = {name: planes[name].abs().argmin(dim=-1) for name in ("centroid", "rolloff", "zcr")}
    for name, found in zero_at.items():
        assert (found - bin_).abs().max() <= 1, name
    assert planes["magnitude"].argmax(dim=-1).unique().tolist() == [bin_]
    rms = decibels(torch.tensor(0.5 / 2**0.5))
    assert torch.allclose(planes["rms"], rms.expand_as(planes["rms"]), atol=1e-2)


def test_mfcc_plane_is_the_smooth_part_of_the_decibels():
    planes = planes_of(noise(1, 1, 4000))
    basis = cosine_basis(257, 20)
    assert torch.allclose(planes["mfcc"] @ basis.T, planes["decibel"] @ basis.T, atol=1e-4)
    assert (
        planes["mfcc"].diff(dim=-1).abs().mean() < 0.3 * planes["decibel"].diff(dim=-1).abs().mean()
    )
