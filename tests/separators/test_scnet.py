"""SCNet: the authors' layout, its blocks against what they are defined to do, and checkpoints."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness import registry
from harness.core.errors import HarnessError
from harness.separators import load
from harness.separators.networks import count_parameters
from harness.separators.networks.scnet import Fusion, SCNet, SDLayer, SULayer, split
from harness.separators.published_scnet import PublishedScnet

SMALL, LARGE = (32, 64, 128), (64, 128, 256)
SHARES = {SMALL: (0.175, 0.392, 0.433), LARGE: (0.225, 0.372, 0.403)}
TOTALS = {SMALL: 10_578_768, LARGE: 42_181_232}
TINY = {"widths": (4, 8, 8), "layers": 2, "n_fft": 256, "hop": 64, "segment": 4000}
STEMS = ("drums", "bass", "other", "vocals")


def tiny(**options):
    torch.manual_seed(0)
    return SCNet(sample_rate=8000, **{**TINY, **options}).eval()


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


# --- layout -----------------------------------------------------------------------------------


def official_keys():
    """The authors' 372 names, written down from their checkpoints."""
    both = ("weight", "bias")
    keys = set()
    for i in range(3):
        for band, depth in enumerate((3, 2, 1)):
            keys |= {f"encoder.{i}.SDlayer.convs.{band}.{x}" for x in both}
            keys |= {f"decoder.{i}.1.convtrs.{band}.{x}" for x in both}
            keys |= {
                f"encoder.{i}.conv_modules.{band}.layers.{d}.{n}.{x}"
                for d in range(depth)
                for n in (0, 1, 3, 4, 6)
                for x in both
            }
        keys |= {f"encoder.{i}.globalconv.{x}" for x in both}
        keys |= {f"decoder.{i}.0.conv.{x}" for x in both}
    for i in range(6):
        for path in range(2):
            start = f"separation_net.dp_modules.{i}"
            keys |= {f"{start}.linear_layers.{path}.{x}" for x in both}
            keys |= {f"{start}.norm_layers.{path}.{x}" for x in both}
            keys |= {
                f"{start}.lstm_layers.{path}.{kind}_{where}_l0{way}"
                for kind in both
                for where in ("ih", "hh")
                for way in ("", "_reverse")
            }
    return keys


@pytest.fixture(scope="module", params=[SMALL, LARGE], ids=["small", "large"])
def full_size(request):
    with torch.device("meta"):
        return request.param, SCNet(widths=request.param, shares=SHARES[request.param])


def test_keys_are_the_authors(full_size):
    keys = official_keys()
    assert len(keys) == 372
    assert set(full_size[1].state_dict()) == keys


def test_shapes_are_the_authors(full_size):
    widths, network = full_size
    state = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    top, deep = widths[0], widths[-1]
    assert state["encoder.0.SDlayer.convs.2.weight"] == (top, 4, 16, 1)
    assert state["encoder.2.conv_modules.0.layers.2.1.weight"] == (deep // 2, deep, 3)
    assert state["encoder.2.conv_modules.0.layers.2.3.weight"] == (deep // 4, 1, 3)
    assert state["separation_net.dp_modules.1.lstm_layers.0.weight_ih_l0"] == (8 * deep, 2 * deep)
    assert state["decoder.0.0.conv.weight"] == (2 * deep, 2 * deep, 3, 3)
    assert state["decoder.2.1.convtrs.1.weight"] == (top, 16, 4, 1)


def test_parameters_by_block_are_those_derived(full_size):
    """The formulas of docs/scnet.md; their sum is what the authors' checkpoints hold."""
    widths, network = full_size
    total = 0
    for block, i, o in zip(network.encoder, (4, *widths), widths, strict=False):
        wanted = (23 * i * o + 3 * o) + 6 * (7 * o * o // 4 + 5 * o) + (9 * o * o + o)
        assert count_parameters(block) == wanted
        total += wanted
    for number, block in enumerate(network.separation_net.dp_modules):
        c = widths[-1] * (1 + number % 2)
        assert count_parameters(block) == 36 * c * c + 38 * c
        total += 36 * c * c + 38 * c
    for block, i, o in zip(network.decoder, widths[::-1], (*widths[-2::-1], 16), strict=True):
        wanted = (36 * i * i + 2 * i) + (23 * i * o + 3 * o)
        assert count_parameters(block) == wanted
        total += wanted
    assert total == count_parameters(network) == TOTALS[widths]


# --- blocks -----------------------------------------------------------------------------------


def test_fusion_is_the_sum_stacked_twice():
    torch.manual_seed(0)
    fusion, x, skip = Fusion(4), noise(1, 4, 9, 6), noise(1, 4, 9, 6, seed=1)
    stacked = torch.cat([x + skip, x + skip], dim=1)
    wanted = functional.glu(fusion.conv(stacked), dim=1)
    torch.testing.assert_close(fusion(x, skip), wanted, atol=1e-5, rtol=1e-5)


def test_bands_shrink_by_their_strides_and_come_back_in_place():
    """Kernels that pick one bin of each step: what comes back lies where it was."""
    down, up = SDLayer(1, 1, SHARES[SMALL]), SULayer(1, 1)
    with torch.no_grad():
        for layer, middle in ((down.convs, (1, 2, 8)), (up.convtrs, (1, 2, 8))):
            for conv, at in zip(layer, middle, strict=True):
                conv.weight.zero_()
                conv.weight[0, 0, at] = 1
                conv.bias.zero_()
    x, cuts = noise(1, 1, 2049, 2), split(2049, SHARES[SMALL])
    bands = down(x)
    sizes = [band.shape[2] for band in bands]
    assert sizes == [359, 201, 56]  # 803 / 4 and 887 / 16, rounded up
    out = up(torch.cat(bands, dim=2), sizes, cuts)
    assert out.shape == x.shape
    assert torch.equal(out[:, :, :359], x[:, :, :359])
    kept = out[0, 0, :, 0] != 0
    assert kept.sum() == sum(sizes)
    assert torch.equal(out[0, 0, kept], x[0, 0, kept])


def test_planes_are_real_and_imaginary_parts_of_left_then_right():
    network, mixture = tiny(), noise(1, 2, 64 * 9)
    planes = network._spectrum(mixture)
    assert planes.shape == (1, 4, 129, 12)  # ten hops, made eleven; one frame more
    middle = 5
    frame = mixture[0, :, 64 * middle - 128 : 64 * middle + 128]
    wanted = torch.fft.rfft(frame) / 16  # √256, no window
    torch.testing.assert_close(planes[0, 0::2, :, middle], wanted.real, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(planes[0, 1::2, :, middle], wanted.imag, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("samples", [1, 63, 64, 500, 4001])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_network_that_passes_everything_on_gives_back_the_mixture(
    samples, normalise, monkeypatch
):
    network, mixture = tiny(stems=("a", "b"), normalise=normalise), noise(2, 2, samples)
    monkeypatch.setattr(network, "_planes", lambda x: torch.cat([x, x], dim=1))
    with torch.inference_mode():
        for estimate in network(mixture).unbind(1):
            torch.testing.assert_close(estimate, mixture, atol=1e-4, rtol=1e-4)


def test_gradient_flows_to_every_parameter():
    network = tiny()
    network(noise(1, 2, 900)).square().sum().backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def test_an_odd_number_of_dual_paths_is_refused():
    with pytest.raises(ValueError, match="3 dual paths"):
        SCNet(layers=3)


# --- checkpoints ------------------------------------------------------------------------------


def checkpoint(path, content):
    torch.save(content, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def separator(path, sha256, normalise="none", **options):
    return PublishedScnet(
        8000,
        STEMS,
        weights=[path],
        sha256=[sha256],
        normalise=normalise,
        network=dict(TINY),
        **options,
    )


FORMATS = {
    "official": ("a.th", lambda s: {"best_state": {f"module.{k}": v for k, v in s.items()}}),
    "plain": ("a.ckpt", lambda s: s),
    "state": ("a.ckpt", lambda s: {"state": s, "epoch": 3}),
    "state_dict": ("a.ckpt", lambda s: {"state_dict": s}),
    "model_state_dict": ("a.pt", lambda s: {"model_state_dict": s}),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_checkpoint_loads_and_runs(form, tmp_path):
    network = tiny(normalise=False)
    name, wrapped = FORMATS[form]
    path = tmp_path / name
    sha256 = checkpoint(path, wrapped(network.state_dict()))
    mixture = 0.1 * noise(2, 3000).numpy()
    found = separator(path, sha256).separate(mixture)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(mixture)[None])[0].numpy()
    assert list(found) == list(STEMS)
    for stem, estimate in zip(STEMS, wanted, strict=True):
        np.testing.assert_allclose(found[stem], estimate, atol=1e-6)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("scnet") / "own.ckpt"
    return path, checkpoint(path, tiny().state_dict())


def test_track_normalisation_follows_level_and_the_others_do_not_agree(saved):
    mixture = 0.1 * noise(2, 3000).numpy()
    found = {n: separator(*saved, n).separate(mixture) for n in ("none", "track", "spectrum")}
    louder = separator(*saved, "track").separate(3 * mixture)
    np.testing.assert_allclose(louder["bass"], 3 * found["track"]["bass"], atol=1e-4)
    assert np.abs(found["none"]["bass"] - found["track"]["bass"]).max() > 1e-3
    assert np.abs(found["spectrum"]["bass"] - found["track"]["bass"]).max() > 1e-3


def test_a_chunk_does_not_depend_on_the_others(saved):
    engine = separator(*saved, overlap=0.5)
    mixture = 0.1 * noise(2, 12000).numpy()
    changed = mixture.copy()
    changed[:, 8000:] = 0
    for stem, estimate in engine.separate(mixture).items():
        other = engine.separate(changed)[stem]
        np.testing.assert_array_equal(estimate[:, :4000], other[:, :4000])
        assert not np.array_equal(estimate[:, 8000:], other[:, 8000:])


@pytest.mark.parametrize("normalise", ["none", "track", "spectrum"])
@pytest.mark.parametrize(("channels", "samples"), [(1, 777), (2, 1), (2, 9001)])
def test_mono_and_odd_lengths(saved, normalise, channels, samples):
    found = separator(*saved, normalise).separate(0.1 * noise(channels, samples).numpy())
    for estimate in found.values():
        assert estimate.shape == (channels, samples)
        assert estimate.dtype == np.float32
        assert np.isfinite(estimate).all()


@pytest.mark.parametrize("normalise", ["track", "spectrum"])
def test_silence_stays_silent(saved, normalise):
    found = separator(*saved, normalise).separate(np.zeros((2, 5000), np.float32))
    assert max(np.abs(estimate).max() for estimate in found.values()) < 1e-4


def test_what_does_not_fit_is_said(saved, tmp_path):
    with pytest.raises(HarnessError, match="does not fit SCNet"):
        PublishedScnet(8000, STEMS, weights=[saved[0]], sha256=[saved[1]])
    with pytest.raises(HarnessError, match="normalise: 'wave' is not known"):
        separator(*saved, "wave")
    with pytest.raises(HarnessError, match="its sha256 is known"):
        separator(saved[0], None)


def test_a_user_runs_an_own_checkpoint_by_a_row(saved):
    path, sha256 = saved
    row = registry.load()["scnet"].model_copy(
        update={
            "name": "mine",
            "sample_rate": 8000,
            "params": {"normalise": "spectrum", "network": dict(TINY)},
            "weights": (registry.Weights(file=str(path), sha256=sha256),),
        }
    )
    found = load(row, stems=STEMS, sample_rate=8000).separate(0.1 * noise(2, 900).numpy())
    assert set(found) == set(STEMS)


@pytest.mark.parametrize(("name", "widths"), [("scnet", SMALL), ("scnet_large", LARGE)])
def test_rows_describe_the_published_sizes(name, widths):
    entry = registry.load()[name]
    with torch.device("meta"):
        network = SCNet(**entry.params.get("network", {}))
    assert not entry.unavailable
    assert count_parameters(network) == TOTALS[widths]
    assert network.shares == SHARES[widths]
    assert entry.params["normalise"] == "track"


@pytest.mark.slow
def test_the_published_size_runs(tmp_path):
    torch.manual_seed(0)
    network = SCNet(normalise=False).eval()
    path = tmp_path / "full.th"
    sha256 = checkpoint(path, {"best_state": network.state_dict()})
    mixture = 0.1 * noise(2, 44100).numpy()
    found = PublishedScnet(weights=[path], sha256=[sha256], normalise="none").separate(mixture)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(mixture)[None])[0].numpy()
    np.testing.assert_allclose(np.stack(list(found.values())), wanted, atol=1e-5)
