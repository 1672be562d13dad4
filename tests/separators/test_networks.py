import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness.core.errors import HarnessError
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
from harness.separators.networks.mmdenselstm import PAPER
from harness.separators.networks.wave_u_net import Between
from harness.training import RECIPES

CHECKPOINTS = Path(harness.__file__).parent / "checkpoints"
SMALL = {
    "asnet": {"n_fft": 256, "hop": 128, "bands": 40, "bottleneck": 128},
    "mel_roformer": {"n_fft": 256, "hop": 128, "bands": 12, "width": 16, "depth": 2},
    "unet": {"n_fft": 256, "hop": 128, "width": 4},
    "simplified_demucs": {"widths": (4, 8, 16), "hidden": 16},
    "htdemucs": {"n_fft": 2048, "width": 8},
    "scnet": {"n_fft": 256, "hop": 64, "widths": (4, 8, 8), "layers": 2},
    "tasnet": {"filters": 8, "kernel": 8, "narrow": 6, "wide": 8, "blocks": 2},
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


def test_shipped_weights_stay_below_60_mb():
    assert 20e6 < sum(path.stat().st_size for path in CHECKPOINTS.iterdir()) < 60e6


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


# 12 and 10 levels of 15 and 5 taps over 1, 2 … times the filters: Σ i (i - 1) is 572 and 330,
# Σ i (2 i + 1) is 1,378 and 825, Σ i from 2 on is 77 and 54. Three stems of two channels.
WAVE_U_NET_COUNTS = {
    "first": (15 * 2 * 24 + 24, 15 * 2 * 8 + 8),
    "down": (15 * 24**2 * 572 + 24 * 77, 15 * 8**2 * 330 + 8 * 54),
    "bottom": (15 * 288 * 312 + 312, 15 * 80 * 88 + 88),
    "up": (5 * 24**2 * 1378 + 24 * 78, 5 * 8**2 * 825 + 8 * 55),
    "last": (26 * 6 + 6, 10 * 6 + 6),
}


def test_wave_u_net_counts_of_the_paper_and_of_the_recipe():
    paper, recipe = map(sum, zip(*WAVE_U_NET_COUNTS.values(), strict=True))
    assert (paper, recipe) == (10_263_498, 687_674)
    assert count_parameters(NETWORKS["wave_u_net"]()) == paper
    assert count_parameters(NETWORKS["wave_u_net"](**RECIPES["wave_u_net_small"].options)) == recipe


def test_wave_u_net_counts_of_its_options():
    """Five levels of 4 filters more each: shares of 8, 12 … 24 channels, and a fourth stem."""
    plain, learned, whole = (
        count_parameters(small("wave_u_net", **options))
        for options in ({}, {"learned": True}, {"difference": False})
    )
    assert learned - plain == 8 + 12 + 16 + 20 + 24
    assert whole - plain == (4 + 2) * 2 + 2


def dense(growth, *read):
    """Layers that read so many maps: scale and shift of each, 3 × 3 weights, a bias per map."""
    return sum(2 * maps + 9 * maps * growth + growth for maps in read)


def lstm(maps, bins, units):
    """One map of all, two directions with four gates and two biases each, back to the bins."""
    gates = 2 * 4 * units * (bins + units + 2)
    return maps + 1 + gates + 2 * units * bins + bins


def stretch(maps):
    return 4 * maps * maps + maps


# The published sizes, one stem in stereo, from the first convolution to the last dense block.
MMDENSELSTM_COUNTS = {
    "low": (  # 380 bins, padded to 384; 48 at the bottom, 192 at half the resolution
        9 * 2 * 32 + 32, dense(14, 32, 46, 60, 74, 88), 3 * dense(14, 14, 28, 42, 56, 70),
        lstm(14, 48, 64), stretch(15), dense(14, 29, 43, 57, 71, 85), stretch(14),
        dense(14, 28, 42, 56, 70, 84), lstm(14, 192, 64), stretch(15),
        dense(14, 29, 43, 57, 71, 85),
    ),
    "middle": (  # 644 bins, padded to 648; 81 at the bottom
        9 * 2 * 32 + 32, dense(4, 32, 36, 40, 44), 3 * dense(4, 4, 8, 12, 16), lstm(4, 81, 16),
        stretch(5), dense(4, 9, 13, 17, 21), 2 * stretch(4), 2 * dense(4, 8, 12, 16, 20),
    ),
    "high": (  # 1,025 bins, padded to 1,028; 257 at the bottom, which has no dense layers
        9 * 2 * 32 + 32, dense(2, 32), dense(2, 2), lstm(2, 257, 4), stretch(3), dense(2, 5),
        stretch(2), dense(2, 4),
    ),
    "full": (  # 2,049 bins, padded to 2,064; 129 at the bottom, 1,032 at half the resolution
        9 * 2 * 8 + 8, dense(7, 8, 15, 22), dense(7, 7, 14, 21), dense(7, 7, 14, 21, 28),
        2 * dense(7, 7, 14, 21, 28, 35), lstm(7, 129, 64), stretch(8),
        dense(7, 15, 22, 29, 36, 43), stretch(7), dense(7, 14, 21, 28, 35), stretch(7),
        dense(7, 14, 21, 28), lstm(7, 1032, 64), stretch(8), dense(7, 15, 22, 29),
    ),
    "joined": (14 * (14 + 4 + 2) + 3 * 14, dense(12, 21, 33, 45), 12 * 2 + 2),
}  # fmt: skip


def test_mmdenselstm_counts_of_the_published_sizes():
    wanted = {part: sum(layers) for part, layers in MMDENSELSTM_COUNTS.items()}
    assert wanted == {
        "low": 453_020, "middle": 33_183, "high": 12_265, "full": 861_167, "joined": 11_274
    }  # fmt: skip
    network = NETWORKS["mmdenselstm"](stems=("vocals",), **PAPER)
    (only,) = network.networks
    assert [count_parameters(part) for part in (*only.bands, only.full)] == [
        wanted[part] for part in ("low", "middle", "high", "full")
    ]
    assert count_parameters(network) == sum(wanted.values()) == 1_370_909


def test_mmdenselstm_per_stem_has_a_network_for_each():
    one, three = (small("mmdenselstm", stems=s, per_stem=True) for s in (["a"], ["a", "b", "c"]))
    assert count_parameters(three) == 3 * count_parameters(one)


# --- masks ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["wave_u_net", "mmdenselstm"])
@pytest.mark.parametrize("samples", [1, 777, 3000])
def test_estimates_of_all_stems_sum_to_the_mixture(name, samples):
    mixture = 0.3 + noise(2, 2, samples)
    estimates = small(name, stems=("a", "b", "c"))(mixture)
    assert torch.allclose(estimates.sum(dim=1), mixture, atol=1e-5)
    assert min(estimates[:, i].std() for i in range(3)) > 0 or samples == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [("wave_u_net", {"difference": False}), ("mmdenselstm", {"per_stem": True})],
)
def test_one_stem_alone_needs_an_output_that_need_not_sum(name, options):
    with pytest.raises(HarnessError, match=f"{name}: .* vocals alone would be the mixture; use"):
        small(name, stems=("vocals",))
    mixture = noise(1, 2, 900)
    (estimate,) = small(name, stems=("vocals",), **options)(mixture)[0]
    assert not torch.allclose(estimate, mixture[0], atol=0.1)


@pytest.mark.parametrize("edges", [(30, 129), (70, 30), (0, 30)])
def test_mmdenselstm_refuses_bands_without_bins(edges):
    with pytest.raises(HarnessError, match=r"edges \[.*\] do not divide 129 bins"):
        small("mmdenselstm", edges=edges)


@pytest.mark.parametrize("learned", [False, True])
def test_wave_u_net_puts_samples_between_the_given_ones(learned):
    between = Between(2, learned=learned)
    ramp = torch.arange(5.0).expand(1, 2, 5)
    assert torch.equal(between(ramp), torch.arange(0, 4.5, 0.5).expand(1, 2, 9))
    if learned:
        between.share.copy_(torch.tensor([[20.0], [-20.0]]))  # all of the earlier, of the later
        assert torch.allclose(
            between(ramp)[0, :, 1::2], ramp[0, :, :-1] + torch.tensor([[0.0], [1]])
        )


def test_wave_u_net_gives_the_same_where_the_mixture_starts_later():
    network, samples = small("wave_u_net"), 2**5  # what five halvings make one
    sound = noise(1, 2, 1600)
    early, late = (
        network(torch.nn.functional.pad(sound, (1000 + shift, 1000 - shift)))[..., 800:-800]
        for shift in (0, samples)
    )
    assert torch.allclose(early[..., :-samples], late[..., samples:], atol=1e-5)
    assert early.std() > 0.1


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
