"""Conv-TasNet and its form with gates: counts, blocks, and the published layout for music."""

import hashlib

import numpy as np
import pytest
import torch

from harness import registry
from harness.core.errors import HarnessError
from harness.separators.networks import count_parameters
from harness.separators.networks.tasnet import SelfAttention, TasNet, TasNetBlock
from harness.separators.published_tasnet import PUBLISHED, PublishedTasnet, renamed

RATE = 8000
VOICE = {"stems": ("vocals", "accompaniment"), "sample_rate": 16000, "channels": 1}
FULL = {"filters": 256, "narrow": 128, "wide": 256, "blocks": 8, "head": 32}
TINY = {"filters": 8, "kernel": 8, "narrow": 6, "wide": 8, "blocks": 2, "segment": 2000}
COUNTS = {  # derived from the sizes alone
    "none": (1_729_697, 343_641),
    "input": (2_258_081, 443_481),
    "output": (1_993_889, 393_561),
    "both": (2_522_273, 493_401),
}


def tiny(**options):
    torch.manual_seed(0)
    return TasNet(**{**TINY, "sample_rate": RATE, **options}).eval()


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


# --- our form ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gates", COUNTS)
@pytest.mark.parametrize("size", [0, 1], ids=["full", "small"])
def test_parameters_are_those_derived(gates, size):
    options = {} if size else FULL
    with torch.device("meta"):
        network = TasNet(**VOICE, **options, gates=gates)
    assert count_parameters(network) == COUNTS[gates][size]


@pytest.mark.parametrize("attention", ["self", "se", "cbam", "sk", "none"])
@pytest.mark.parametrize("gates", COUNTS)
@pytest.mark.parametrize("samples", [1, 7, 8, 1001])
def test_estimates_sum_to_the_mixture(gates, attention, samples):
    mixture = 3 * noise(2, 2, samples) + 0.5
    estimates = tiny(gates=gates, attention=attention)(mixture)
    assert estimates.shape == (2, 4, 2, samples)
    torch.testing.assert_close(estimates.sum(dim=1), mixture, atol=1e-5, rtol=1e-5)


def test_the_same_input_gives_the_same_bits():
    network, mixture = tiny(), noise(1, 2, 1500)
    assert torch.equal(network(mixture), network(mixture))


@pytest.mark.parametrize(
    ("gates", "shut"), [("input", ["input_gate"]), ("output", ["output_gate.project"])]
)
def test_a_shut_gate_blocks_its_path(gates, shut):
    """With the input gate shut, a block passes on what no input can change; with the output gate
    shut, it passes on its input.
    """
    torch.manual_seed(0)
    block = TasNetBlock(6, 8, 3, 1, gates=gates, attention="self", head=4, music=False).eval()
    one, two = noise(1, 6, 40), noise(1, 6, 40, seed=1)
    changes = [block(x)[0] - x for x in (one, two)]
    assert not torch.allclose(*changes, atol=1e-3)
    for name in shut:
        layer = block.get_submodule(name)
        layer.weight.zero_()
        layer.bias.fill_(-100.0)
    shut_changes = [block(x)[0] - x for x in (one, two)]
    torch.testing.assert_close(*shut_changes, atol=1e-6, rtol=0)
    if gates == "output":
        torch.testing.assert_close(shut_changes[0], torch.zeros(1, 6, 40))


def test_self_attention_is_that_of_its_definition():
    torch.manual_seed(0)
    layer, x = SelfAttention(6, 4), noise(1, 6, 40)
    pooled = torch.stack([x[0, :, i : i + 16].mean(dim=1) for i in (0, 16, 32)])
    query, key = x[0].T @ layer.query.weight.T, pooled @ layer.key.weight.T
    shares = (query @ key.T / 4**0.5).softmax(dim=1)
    wanted = layer.project(shares @ (pooled @ layer.value.weight.T)).T
    torch.testing.assert_close(layer(x)[0], wanted, atol=1e-5, rtol=1e-5)


def test_without_gates_nothing_is_heard_beyond_the_dilations():
    """The norms see the whole excerpt, so they are taken out; each block then reaches its dilation
    to both sides.
    """
    network = tiny(gates="none", blocks=3, repeats=2)
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.GroupNorm):
            parent, _, child = name.rpartition(".")
            network.get_submodule(parent)._modules[child] = torch.nn.Identity()
    code = noise(1, 8, 99).relu()
    moved = code.clone()
    moved[0, :, 49] += 1000
    heard = (network._masks(code) - network._masks(moved)).abs().amax(dim=(0, 1, 2)) > 0
    frames = torch.arange(99)[heard]
    assert (frames.min(), frames.max()) == (49 - 14, 49 + 14)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": 7}, "kernel 7 is not even"),
        ({"taps": 4}, "taps 4 are not odd"),
        ({"gates": "dual"}, "'dual' is none of none, input, output, both"),
        ({"attention": "all"}, "'all' is none of self, se, cbam, sk, none"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TasNet(**options)


# --- published checkpoints --------------------------------------------------------------------

SMALL = {"filters": 8, "kernel": 20, "narrow": 6, "wide": 8, "blocks": 3, "repeats": 2}
STEMS = ("drums", "bass", "other", "vocals")


def published(network):
    """Name a network's tensors as demucs 1 to 3 do."""
    state = {}
    rows = {"widen": "0", "first.0": "1", "first.1": "2", "spread": "3.net.0"}
    rows |= {"second.0": "3.net.1", "second.1": "3.net.2", "out": "3.net.3"}
    for name, tensor in network.state_dict().items():
        owner, _, kind = name.rpartition(".")
        if owner == "norm" or owner.endswith((".first.1", ".second.1")):
            kind, tensor = {"weight": "gamma", "bias": "beta"}[kind], tensor[None, :, None]
        if owner.startswith("blocks."):
            _, number, part = owner.split(".", 2)
            repeat, block = divmod(int(number), network.per_repeat)
            owner = f"separator.network.2.{repeat}.{block}.net.{rows[part]}"
        elif owner == "decoder":
            owner, tensor = "decoder.basis_signals", tensor.flatten(1).T
        elif owner == "encoder":
            owner = "encoder.conv1d_U"
        else:
            place = {"norm": 0, "reduce": 1, "masks": 3}[owner]
            owner = f"separator.network.{place}"
        state[f"{owner}.{kind}"] = tensor.clone()
    return state


def music(**options):
    return tiny(stems=STEMS, **{**PUBLISHED, **SMALL, **options})


def written(path, state):
    torch.save(state, path)
    return {"weights": [path], "sha256": [hashlib.sha256(path.read_bytes()).hexdigest()]}


def test_the_published_network_has_the_published_size():
    """42 MB in 32 bits; names and shapes are those of the file."""
    with torch.device("meta"):
        network = TasNet(STEMS, **PUBLISHED)
    assert count_parameters(network) == 10_977_872
    names = published(network)
    assert tuple(names["separator.network.2.3.9.net.3.net.0.weight"].shape) == (512, 1, 3)
    assert tuple(names["decoder.basis_signals.weight"].shape) == (40, 256)
    assert len(names) == 6 + 40 * 9


def test_a_published_checkpoint_fills_the_network(tmp_path):
    network = music()
    network.blocks[4].spread.weight.mul_(2)
    network.decoder.weight.copy_(noise(*network.decoder.weight.shape))
    file = written(tmp_path / "tasnet.th", published(network))
    separator = PublishedTasnet(RATE, network={**SMALL, "segment": 2000}, **file)
    filled = separator.networks[0].state_dict()
    assert all(torch.equal(filled[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("samples", [1, 500, 4321])
def test_a_published_checkpoint_separates_any_length(samples, tmp_path):
    file = written(tmp_path / "tasnet.th", published(music()))
    separator = PublishedTasnet(RATE, network={**SMALL, "segment": 2000}, **file)
    mixture = noise(2, samples).numpy()
    estimates = separator.separate(mixture)
    assert list(estimates) == list(STEMS)
    assert all(e.shape == mixture.shape and np.isfinite(e).all() for e in estimates.values())
    louder = separator.separate(mixture * np.float32(8))
    for stem in STEMS:
        np.testing.assert_allclose(louder[stem], 8 * estimates[stem], atol=1e-4, rtol=1e-4)


def test_a_checkpoint_of_another_size_is_refused(tmp_path):
    file = written(tmp_path / "tasnet.th", published(music(wide=10)))
    with pytest.raises(HarnessError, match="does not fit TasNet"):
        PublishedTasnet(RATE, network=SMALL, **file)


def test_the_catalog_has_the_published_checkpoints():
    for name, trained_on in {
        "tasnet_beb46fac": ("musdb18:train",),
        "tasnet_extra-df3777b2.th": ("musdb18:train", "private"),
    }.items():
        entry = registry.find(registry.load(), name)
        assert (entry.family, entry.stems, entry.sample_rate) == ("tasnet", STEMS, 44100)
        assert (entry.trained_on, entry.unavailable) == (trained_on, "")
        assert entry.license.weights.startswith("research only")


@pytest.mark.parametrize("samples", [4000, 4321])
def test_estimates_are_those_of_the_published_class(samples):
    oracle = pytest.importorskip("audio_separator.separator.uvr_lib_v5.demucs.tasnet_v2")
    torch.manual_seed(1)
    theirs = oracle.ConvTasNet(list(STEMS), N=8, L=20, B=6, H=8, X=3, R=2, samplerate=RATE).eval()
    for name, tensor in theirs.named_parameters():
        if name.endswith(("gamma", "beta")):
            tensor.add_(0.3 * torch.randn_like(tensor))
    ours = music()
    ours.load_state_dict(renamed(theirs.state_dict(), ours))
    mixture = noise(2, 2, samples)
    wanted, found = theirs(mixture), ours(mixture)
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
