"""Open-Unmix, BSRNN and DTTNet: the numbers of their own programs, sizes and chunks.

Their programs are compared where they are found: the folders of UNMIX_SOURCE, BSRNN_SOURCE and
DTTNET_SOURCE are copies of their repositories.
"""

import hashlib
import importlib
import io
import json
import os
import sys
import types
import zipfile
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from web import send

from harness import registry
from harness.core.errors import HarnessError
from harness.core.files import file_digest
from harness.registry import Weights, weight_files
from harness.separators import load
from harness.separators.networks import count_parameters
from harness.separators.networks.bsrnn import BSRNN
from harness.separators.networks.dttnet import DTTNet, sizes_of
from harness.separators.networks.open_unmix import BLOCK, OpenUnmix, UnmixTarget, wiener
from harness.separators.published_networks import PublishedBsrnn, PublishedDttnet, PublishedUnmix

RATE = 44100
UNMIX = {"n_fft": 128, "hop": 32, "width": 8, "layers": 1}
BAND = {"n_fft": 2048, "hop": 512, "features": 8, "repeats": 1, "segment": 65536}
DTT = {"n_fft": 96, "hop": 32, "frames": 64, "growth": 16, "layers": 1, "paths": 1, "heads": 1}
FOUR = ("vocals", "drums", "bass", "other")


def music(samples: int, channels: int = 2, seed: int = 0) -> torch.Tensor:
    """Noise in which the channels are alike, louder in the middle."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(channels, samples, generator=generator)
    return 0.1 * (x + x.mean(dim=0)) * torch.hann_window(samples)


def trained(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give a network random values as after training: no mean is 0 and no deviation 1."""
    torch.manual_seed(seed)
    for name, value in network.state_dict().items():
        if not value.is_floating_point():
            continue
        if "var" in name or "scale" in name or name.endswith("gamma"):
            value.copy_(torch.rand_like(value) + 0.5)
        elif value.ndim < 2:
            value.copy_(0.2 * torch.randn_like(value))
        else:
            value.copy_(torch.randn_like(value) / value[0].numel() ** 0.5)
    return network.eval()


def targets(count: int) -> list[dict[str, torch.Tensor]]:
    """Return files like those of Open-Unmix, which also have what its networks do not train."""
    seen = 16000 * 128 // RATE + 1
    networks = [trained(UnmixTarget(65, seen, 2, 8, 1), seed=i) for i in range(count)]
    beside = {"sample_rate": torch.tensor(44100.0), "stft.window": torch.hann_window(128)}
    return [network.state_dict() | beside for network in networks]


@cache
def bands() -> dict[str, torch.Tensor]:
    return trained(BSRNN(**BAND)).state_dict()


def paths(bins: int) -> dict[str, torch.Tensor]:
    """Return tensors like those of a file of DTTNet, under the names of its trainer."""
    state = trained(DTTNet(bins=bins, bottleneck=4, **DTT), seed=bins).state_dict()
    beside = {"window": torch.hann_window(96), "freq_pad": torch.zeros(1, 4, 49 - bins, 1)}
    return state | beside


def saved(folder: Path, *states: dict[str, torch.Tensor]) -> dict:
    """Write checkpoints, and return the keywords of a separator."""
    files = [folder / f"{i}.ckpt" for i in range(len(states))]
    for file, state in zip(files, states, strict=True):
        torch.save(state, file)
    return {"weights": files, "sha256": [file_digest(file) for file in files]}


def close(found: torch.Tensor, expected: torch.Tensor, share: float = 1e-4) -> bool:
    """Whether no sample differs by more than a share of the loudest."""
    assert found.shape == expected.shape
    return float((found - expected).abs().max()) < share * float(expected.abs().max())


# --- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "count"), [(512, 8_893_348), (1024, 28_257_188)])
def test_open_unmix_has_the_published_size(width, count):
    with torch.device("meta"):
        assert count_parameters(UnmixTarget(2049, 1487, 2, width, 3)) == count


def test_dttnet_and_bsrnn_have_the_published_sizes():
    with torch.device("meta"):
        network = DTTNet()
        bass = DTTNet(bins=864, bottleneck=2)
        band = BSRNN(("vocals",), repeats=1)
    assert count_parameters(network) == 4_958_468
    parts = (1, band.BN), (12, band.separator), (4, band.maskers)
    assert sum(times * count_parameters(part) for times, part in parts) == 108_727_540
    assert sizes_of(network.state_dict()) == {"bins": 2048, "bottleneck": 8}
    assert sizes_of(bass.state_dict()) == {"bins": 864, "bottleneck": 2}


# --- their own programs ---------------------------------------------------------------------------


@contextmanager
def program(variable: str, **stubs: types.ModuleType):
    """Put a copy of a repository on the path, and modules that it only imports beside it."""
    folder = os.environ.get(variable)
    if not folder:
        pytest.skip(f"{variable} is not set: the folder of the program's source")
    before = dict(sys.modules)
    sys.modules.update(stubs)
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in set(sys.modules) - set(before):
            del sys.modules[name]
        sys.modules.update(before)


def stub(name: str, **content: object) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(content)
    return module


class _Spectrogram(nn.Module):
    """What torchaudio's transform of that name computes by default."""

    def __init__(self, n_fft: int, hop_length: int, power: None = None) -> None:
        super().__init__()
        self.sizes, self.window = (n_fft, hop_length), torch.hann_window(n_fft)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = torch.stft(x.flatten(0, -2), *self.sizes, window=self.window, return_complex=True)
        return flat.unflatten(0, x.shape[:-1])


class _InverseSpectrogram(_Spectrogram):
    def forward(self, x: torch.Tensor, length: int) -> torch.Tensor:
        flat = torch.istft(x.flatten(0, -3), *self.sizes, window=self.window, length=length)
        return flat.unflatten(0, x.shape[:-2])


TRANSFORMS = stub(
    "torchaudio.transforms", Spectrogram=_Spectrogram, InverseSpectrogram=_InverseSpectrogram
)
AUDIO = stub("torchaudio", transforms=TRANSFORMS)


@pytest.mark.parametrize("iterations", [0, 1, 2])
@pytest.mark.parametrize("samples", [20_000, 2 * BLOCK * 32 + 7])
def test_open_unmix_computes_what_its_program_does(samples, iterations):
    with program("UNMIX_SOURCE", torchaudio=AUDIO):
        model = importlib.import_module("openunmix.model")
    seen = 16000 * 128 // RATE + 1
    targets = {
        stem: trained(model.OpenUnmix(nb_bins=65, hidden_size=8, nb_layers=1, max_bin=seen), seed=i)
        for i, stem in enumerate(FOUR)
    }
    theirs = model.Separator(targets, niter=iterations, n_fft=128, n_hop=32).eval().double()
    ours = OpenUnmix(FOUR, iterations=iterations, **UNMIX).eval()
    for target, own in zip(targets.values(), ours.targets, strict=True):
        own.load_state_dict(target.state_dict())
    mixture = 30 * music(samples)[None]
    with torch.inference_mode():
        expected = theirs(mixture.double()).float()
        assert close(ours(mixture), expected)


def test_bsrnn_computes_what_its_program_does():
    class Lightning(nn.Module):
        def save_hyperparameters(self) -> None:
            pass

    pytorch = stub("lightning.pytorch", LightningModule=Lightning)
    stubs = {
        "torchaudio": AUDIO,
        "lightning": stub("lightning", pytorch=pytorch),
        "lightning.pytorch": pytorch,
        "pandas": stub("pandas"),
        "omegaconf": stub("omegaconf", OmegaConf=None),
        "helpers.data": stub("helpers.data", rec_estimates=None),
        "helpers.eval": stub("helpers.eval", compute_sdr=None),
    }
    with program("BSRNN_SOURCE", **stubs):
        theirs = importlib.import_module("models.bsrnn").BSRNN
    nothing = types.SimpleNamespace
    sizes = {"feature_dim": 16, "num_repeat": 2, "n_att_head": 2, "group_num": 1, "stereo": "tac"}
    stems = ["vocals", "bass", "drums", "other"]
    reference = theirs(
        nothing(algo="", lr=0, loss_type="", loss_domain="", monitor_val=""),
        nothing(),
        nothing(device="cpu", segment_len=10, overlap=0.1, hop_size=None, verbose_per_track=False,
                rec_dir=None, sdr_type="", sdr_win=1, sdr_hop=1),
        stems,
        joint_bandsplit=True,
        act_tac="prelu",
        **sizes,
    )  # fmt: skip
    trained(reference)
    ours = BSRNN(stems, features=16, repeats=2).eval()
    ours.load_state_dict(reference.state_dict())
    mixture = music(20_000)[None]
    with torch.inference_mode():
        assert close(ours(mixture), reference(mixture)["waveforms"])


@pytest.mark.parametrize("bins", [44, 28])
def test_dttnet_computes_what_its_program_does(bins):
    class Lightning(nn.Module):
        pass

    kinds = stub("pytorch_lightning.utilities.types", STEP_OUTPUT=object)
    stubs = {
        "pytorch_lightning": stub("pytorch_lightning", LightningModule=Lightning),
        "pytorch_lightning.utilities": stub("pytorch_lightning.utilities", types=kinds),
        "pytorch_lightning.utilities.types": kinds,
        "src.utils.utils": stub("src.utils.utils", sdr=None, simplified_msseval=None),
        "src.utils": stub("src.utils"),
    }
    with program("DTTNET_SOURCE", **stubs):
        theirs = importlib.import_module("src.dp_tdf.dp_tdf_net").DPTDFNet
    theirs.stft = lambda self, _: torch.zeros(1)  # of a form that torch no longer has
    reference = theirs(
        num_blocks=5, l=2, g=32, k=3, bn=4, bias=False, bn_norm="BN", block_type="TFC_TDF_Res2",
        bandsequence={"rnn_type": "LSTM", "bidirectional": True, "num_layers": 2, "n_heads": 2},
        target_name="vocals", lr=0, optimizer="", dim_f=bins, dim_t=64, n_fft=96, hop_length=32,
        overlap=0, audio_ch=2,
    )  # fmt: skip
    trained(reference)
    state = {k: v for k, v in reference.state_dict().items() if k not in ("window", "freq_pad")}
    sizes = {**DTT, "growth": 32, "layers": 2, "paths": 2, "heads": 2}
    ours = DTTNet(**sizes, **sizes_of(state)).eval()
    ours.load_state_dict(state)
    mixture = music(ours.segment)[None]
    window = torch.hann_window(96)
    transform = {"n_fft": 96, "hop_length": 32, "window": window}
    with torch.inference_mode():
        spectrum = torch.stft(mixture[0], **transform, return_complex=True)
        planes = torch.view_as_real(spectrum).permute(0, 3, 1, 2).flatten(0, 1)[None, :, :bins]
        found = reference(planes)[0].unflatten(0, (2, 2)).permute(0, 2, 3, 1).contiguous()
        whole = nn.functional.pad(torch.view_as_complex(found), (0, 0, 0, 49 - bins))
        expected = torch.istft(whole, **transform, length=ours.segment)
        assert close(ours(mixture)[0, 0], expected)


# --- the filter -----------------------------------------------------------------------------------


def test_the_filter_divides_the_mixture():
    """Where the sources explain it, they sum to it; two that are apart in space come apart."""
    torch.manual_seed(0)
    left, right = torch.randn(2, 40, 5, dtype=torch.complex64)
    mixture = torch.stack([left, right])
    guess = torch.stack([torch.stack([left, 0.3 * right]), torch.stack([0.3 * left, right])])
    found = wiener(mixture, guess, 3)
    assert close(torch.view_as_real(found.sum(dim=0)), torch.view_as_real(mixture), 1e-3)
    error = lambda x: (x[0, 1].abs().square().mean() / right.abs().square().mean()).item()  # noqa: E731
    assert error(found) < 0.1 * error(guess)


@pytest.mark.parametrize("channels", [1, 2])
def test_the_filter_keeps_the_level_of_equal_channels(channels):
    torch.manual_seed(0)
    mixture = 300 * torch.randn(1, 40, 5, dtype=torch.complex64).expand(channels, -1, -1)
    found = wiener(mixture, torch.stack([0.7 * mixture, 0.3 * mixture]), 1)
    share = 0.49 / (0.49 + 0.09)
    assert close(torch.view_as_real(found[0]), torch.view_as_real(share * mixture), 1e-3)


def test_one_stem_has_no_filter():
    network = trained(OpenUnmix(("vocals",), **UNMIX))
    assert network.iterations == 0
    assert network(music(500)[None]).shape == (1, 1, 2, 500)


# --- the separators -------------------------------------------------------------------------------


def test_a_song_longer_than_a_chunk_is_nearly_that_of_one_chunk(tmp_path):
    unmix = PublishedUnmix(network=UNMIX, **saved(tmp_path, *targets(4)))
    unmix.networks[0].segment = 8 * BLOCK * UNMIX["hop"]  # a hop between chunks is whole blocks
    mixture = music(100_000)
    found = unmix.separate(mixture.numpy())
    with torch.inference_mode():
        whole = unmix.networks[0](mixture[None])[0]
    for stem, expected in zip(FOUR, whole, strict=True):
        error = (torch.from_numpy(found[stem]) - expected).square()
        assert error[:, :20_000].mean() < 1e-7 * expected[:, :20_000].square().mean()
        assert 0 < error.mean() < 1e-4 * expected.square().mean()


@pytest.mark.parametrize("samples", [1, 40, 3000])
def test_signals_may_be_short(tmp_path, samples):
    unmix = PublishedUnmix(network=UNMIX, **saved(tmp_path, *targets(4)))
    dttnet = PublishedDttnet(network=DTT, **saved(tmp_path, paths(40)))
    for separator in (unmix, dttnet):
        found = separator.separate(music(3000)[:, :samples].numpy() + np.float32(0.1))
        assert {x.shape for x in found.values()} == {(2, samples)}
        assert all(np.isfinite(x).all() for x in found.values())


def test_bsrnn_hears_every_song_at_the_same_level(tmp_path):
    bsrnn = PublishedBsrnn(network=BAND, **saved(tmp_path, bands()))
    mixture = music(9000).numpy()
    loud, soft = bsrnn.separate(mixture), bsrnn.separate(0.01 * mixture)
    for stem in bsrnn.stems:
        assert np.abs(loud[stem] - 100 * soft[stem]).max() < 1e-4 * np.abs(loud[stem]).max()
    assert not any(x.any() for x in bsrnn.separate(np.zeros((2, 9000), np.float32)).values())


def test_files_that_do_not_fit_are_named(tmp_path):
    four = saved(tmp_path, *targets(4))
    with pytest.raises(HarnessError, match="3 files for 4 stems"):
        PublishedUnmix(weights=four["weights"][:3], sha256=four["sha256"][:3], network=UNMIX)
    with pytest.raises(HarnessError, match=r"0\.ckpt: does not fit .*correct the entry's network"):
        PublishedUnmix(**four)
    with pytest.raises(HarnessError, match=r"0\.ckpt: does not fit DTTNet"):
        PublishedDttnet(weights=four["weights"][:1], sha256=four["sha256"][:1])
    with pytest.raises(HarnessError, match=r"0\.ckpt: does not fit BSRNN"):
        PublishedBsrnn(weights=four["weights"][:1], sha256=four["sha256"][:1], network=BAND)


# --- a zip of a trainer's checkpoint --------------------------------------------------------------


class DictConfig:
    """Options as trainers store them: an object of a package that need not be installed."""

    def __init__(self, **content: object) -> None:
        self.__dict__.update({"_content": dict(content), "_kind": int, "_made": defaultdict(dict)})


DictConfig.__module__ = "omegaconf.dictconfig"


@pytest.fixture
def zipped(monkeypatch) -> bytes:
    """A zip as that of BSRNN: a checkpoint with options and the state of training, in a folder."""
    monkeypatch.setitem(sys.modules, "omegaconf", stub("omegaconf"))
    module = stub("omegaconf.dictconfig", DictConfig=DictConfig)
    monkeypatch.setitem(sys.modules, "omegaconf.dictconfig", module)
    checkpoint, archive = io.BytesIO(), io.BytesIO()
    options = {"cfg_optim": DictConfig(lr=1e-3, algo="adam")}
    state = {"state_dict": bands(), "hyper_parameters": options, "epoch": 7}
    torch.save(state | {"optimizer_states": [{"state": {0: {"step": torch.ones(1)}}}]}, checkpoint)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        content.writestr("simo/separator.ckpt", checkpoint.getvalue())
        content.writestr("__MACOSX/simo/._separator.ckpt", b"")
    return archive.getvalue()


def entry_at(server, tmp_path, monkeypatch, md5: str):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    known = registry.load()["bsrnn_simo"]
    (file,) = known.weights
    url = f"zip:{server.url}#md5={md5}!{file.urls[0].partition('!')[2]}"
    weights = [{"file": file.file, "urls": [url], "wheel_size": 10}]
    row = {"extends": "bsrnn_simo", "weights": weights, "params": {"network": BAND}}
    Path(registry.FILE_NAME).write_text(json.dumps({"mine": row}))
    return registry.load()["mine"]


def test_a_checkpoint_in_a_zip_is_fetched_pinned_and_read(server, zipped, tmp_path, monkeypatch):
    half = len(zipped) // 2
    server.behave = lambda http, n: send(http, zipped, stop=half if n == 1 else None)
    entry = entry_at(server, tmp_path, monkeypatch, hashlib.md5(zipped).hexdigest())
    path = weight_files.fetch(entry.weights[0])
    assert server.asked == [None, f"bytes={half}-"]
    assert {p.name for p in path.parent.iterdir()} == {"simo-bsrnn-opt.ckpt", "pinned.json"}
    assert entry.weights[0].known_sha256 == file_digest(path)
    assert weight_files.notes_on(entry) == ["weights pinned at first use"]
    found = load(entry).separate(music(9000).numpy())
    assert all(x.any() for x in found.values())


def test_a_zip_that_is_not_the_published_one_is_refused(server, zipped, tmp_path, monkeypatch):
    server.behave = lambda http, _: send(http, zipped)
    entry = entry_at(server, tmp_path, monkeypatch, "0" * 32)
    with pytest.raises(HarnessError, match=f"md5 is {hashlib.md5(zipped).hexdigest()}"):
        weight_files.fetch(entry.weights[0])
    assert not [p for p in weight_files.folder().iterdir() if p.suffix != ".lock"]


def test_a_name_that_says_how_its_hash_begins_is_believed(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    server.behave = lambda http, _: send(http, b"other weights")
    with pytest.raises(HarnessError, match="by its name it begins with b62c91ce"):
        weight_files.fetch(Weights(file="vocals-b62c91ce.pth", urls=(server.url,)))
