"""Models of audio-separator as registry entries: tiny ones made here, and no network."""

import hashlib
import importlib.util
import os
import socket
import sys
import types

import numpy as np
import pytest
import torch
from test_mel_roformer import CONFIG as ROFORMER
from test_mel_roformer import MODEL, network_of

from harness import registry
from harness.core.errors import HarnessError
from harness.separators import load, parameters
from harness.separators.audio_separator import AudioSeparator
from harness.separators.roformer import Roformer

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # the package's own
    pytest.mark.skipif(
        importlib.util.find_spec("audio_separator") is None,
        reason="audio-separator is not installed: pip install 'mss-harness[audio-separator]'",
    ),
]
RATE = 44100
MDX = {
    "compensate": 1.0, "mdx_dim_f_set": 512, "mdx_dim_t_set": 5, "mdx_n_fft_scale_set": 1024,
    "primary_stem": "Vocals",
}  # fmt: skip
MDX_OPTIONS = {"segment_size": 32, "hop_length": 256}
VR = {
    "vr_model_param": "1band_sr44100_hl512", "primary_stem": "Instrumental", "nout": 4,
    "nout_lstm": 8,
}  # fmt: skip
TFC_TDF = {
    "audio": {
        "chunk_size": 3840, "dim_f": 128, "dim_t": 16, "hop_length": 256, "n_fft": 512,
        "num_channels": 2, "sample_rate": RATE,
    },
    "model": {
        "act": "gelu", "bottleneck_factor": 2, "growth": 4, "norm": "InstanceNorm",
        "num_blocks_per_scale": 1, "num_channels": 4, "num_scales": 2, "num_subbands": 2,
        "scale": [2, 2],
    },
    "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None},
    "inference": {"dim_t": 16, "num_overlap": 2, "batch_size": 1},
}  # fmt: skip
MELS = {
    "audio": {"chunk_size": 4000, "hop_length": 100, "sample_rate": RATE},
    "model": {**MODEL, "sample_rate": RATE},
    "training": ROFORMER["training"],
    "inference": {"num_overlap": 2, "dim_t": 41},
}
NAMES = {"other": "accompaniment"}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_conversion(monkeypatch):
    """Models of one chunk length need no onnx2torch, nor the torchvision that it imports."""
    monkeypatch.setitem(sys.modules, "onnx2torch", types.ModuleType("onnx2torch"))


def described(path):
    return {"weights": [path], "sha256": [hashlib.sha256(path.read_bytes()).hexdigest()]}


def saved(folder, content):
    torch.save(content, folder / "model.ckpt")
    return described(folder / "model.ckpt")


def onnx_of(folder, gain):
    """Write a model that multiplies the spectrum."""
    import onnx
    from onnx import TensorProto, helper

    shape = ["batch", 4, MDX["mdx_dim_f_set"], 2 ** MDX["mdx_dim_t_set"]]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "gain"], ["output"])],
        "gain",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        [helper.make_tensor("gain", TensorProto.FLOAT, [], [gain])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    return described(folder / "model.onnx")


def tones(seconds=1.0, level=0.5):
    """Two channels of low tones, which no model here cuts off."""
    t = np.arange(int(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * np.array([[500.0], [800.0]]) * t)).astype(np.float32)


def noise(samples, level=0.1, channels=2):
    rng = np.random.default_rng(0)
    return (level * rng.standard_normal((channels, samples))).astype(np.float32)


# --- what each architecture gives ---------------------------------------------------------------
@pytest.mark.parametrize("level", [0.5, 3.0])
def test_mdx_gives_what_its_model_says_at_any_level(tmp_path, level):
    separator = AudioSeparator(
        architecture="mdx", config=MDX, options=MDX_OPTIONS, **onnx_of(tmp_path, 0.25)
    )
    audio = tones(level=level)
    found = separator.separate(audio)
    inside = slice(2000, -2000)  # a tone that begins at once is no tone
    for stem, share in (("vocals", 0.25), ("accompaniment", 0.75)):
        error = np.abs(found[stem] - share * audio)[:, inside].max()
        assert error < 0.01 * level, stem
    assert np.allclose(found["vocals"] + found["accompaniment"], audio, atol=1e-6)
    assert parameters(separator) is None  # nothing tells how many values an ONNX graph was given


def test_mdxc_roformers_give_what_our_network_gives(tmp_path):
    file = saved(tmp_path, network_of(MELS).state_dict())
    theirs = AudioSeparator(architecture="mdxc", config=MELS, names=NAMES, **file)
    ours = Roformer(config=MELS, names=NAMES, **file)
    assert parameters(theirs) == parameters(ours) > 0
    audio = noise(4000, level=0.6)
    assert np.abs(audio).max() > 1
    found, wanted = theirs.separate(audio), ours.separate(audio)
    for stem in ("vocals", "accompaniment"):
        assert np.abs(found[stem] - wanted[stem]).max() < 1e-4 * np.abs(wanted[stem]).max()


def tfc_tdf(seed=0):
    from audio_separator.separator.uvr_lib_v5.tfc_tdf_v3 import TFC_TDF_net
    from ml_collections import ConfigDict

    torch.manual_seed(seed)
    return TFC_TDF_net(ConfigDict(TFC_TDF), torch.device("cpu")).eval()


def test_mdxc_gives_the_mean_over_its_chunks(tmp_path):
    network = tfc_tdf()
    separator = AudioSeparator(
        architecture="mdxc", config=TFC_TDF, **saved(tmp_path, network.state_dict())
    )
    chunk, hop = 3840, 1920
    audio = noise(4 * chunk)
    found = separator.separate(audio)
    with torch.no_grad():
        parts = [
            network(torch.from_numpy(audio[None, :, start : start + chunk]))[0, 0].numpy()
            for start in (hop, 2 * hop)
        ]
    middle = (parts[0][:, hop:] + parts[1][:, :hop]) / 2
    assert np.abs(middle).max() > 1e-4
    assert np.allclose(found["vocals"][:, 2 * hop : 3 * hop], middle, atol=1e-5)
    assert set(found) == {"vocals", "accompaniment"}


@pytest.mark.slow  # librosa compiles itself first
def test_vr_divides_the_mixture(tmp_path):
    from audio_separator.separator.uvr_lib_v5.vr_network.nets_new import CascadedNet

    torch.manual_seed(0)
    network = CascadedNet(1024 * 2, 56817, nout=4, nout_lstm=8)
    file = saved(tmp_path, network.state_dict())
    separator = AudioSeparator(architecture="vr", config=VR, **file)
    audio = tones(1.0, level=1.5)
    found = separator.separate(audio)
    total = found["vocals"] + found["accompaniment"]
    assert np.abs(found["vocals"]).max() > 0.01
    assert np.abs(total - audio)[:, 4000:-4000].max() < 0.02
    assert not list(tmp_path.glob("*.wav"))


@pytest.mark.parametrize("channels", [1, 2])
def test_mono_and_silence_come_back_in_their_shape(tmp_path, channels):
    file = saved(tmp_path, tfc_tdf().state_dict())
    separator = AudioSeparator(architecture="mdxc", config=TFC_TDF, **file)
    for audio in (noise(1000, channels=channels), np.zeros((channels, 50), np.float32)):
        found = separator.separate(audio)
        assert {estimate.shape for estimate in found.values()} == {audio.shape}
        assert all(estimate.dtype == np.float32 for estimate in found.values())


def test_any_model_can_be_a_registry_row(tmp_path):
    file = onnx_of(tmp_path, 0.5)
    (tmp_path / "own.yaml").write_text(
        f"""
own_mdx:
  family: audio_separator
  stems: [vocals]
  sample_rate: 44100
  params: {{architecture: mdx, config: {MDX}, options: {MDX_OPTIONS}}}
  weights: [{{file: {file["weights"][0]}, sha256: {file["sha256"][0]}}}]
"""
    )
    entry = registry.find(registry.load(tmp_path / "own.yaml"), "own_mdx")
    found = load(entry, stems=(), sample_rate=RATE).separate(tones())
    assert list(found) == ["vocals"]


# --- what is refused ----------------------------------------------------------------------------
class Program:
    """Writes a file as soon as it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize(
    ("architecture", "config"), [("mdxc", TFC_TDF), ("mdxc", MELS), ("vr", VR)]
)
@pytest.mark.parametrize("forced", [False, True])
def test_a_program_in_a_pickle_does_not_run(tmp_path, monkeypatch, architecture, config, forced):
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    file = saved(tmp_path, {"layer": Program(tmp_path / "written")})
    with pytest.raises(HarnessError, match="audio-separator cannot run it"):
        AudioSeparator(architecture=architecture, config=config, names=NAMES, **file).separate(
            noise(5000)
        )
    assert not (tmp_path / "written").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_the_end_of_the_program_is_an_error_of_the_entry(tmp_path):
    file = saved(tmp_path, {"layer": torch.zeros(3)})
    with pytest.raises(HarnessError, match="SystemExit") as caught:
        AudioSeparator(architecture="mdxc", config=TFC_TDF, **file)
    assert isinstance(caught.value.__cause__, SystemExit)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": [None]}, "has no sha256"),
        ({"sha256": ["0" * 64]}, "sha256 is"),
        ({"architecture": "demucs"}, "known: mdx, mdxc, vr|did you mean"),
        ({"config": None}, "one model and one configuration"),
        ({"config": {}}, "cannot run it .*KeyError"),
        ({"options": {"overlaps": 0.5}}, "did you mean 'overlap'"),
        ({"stems": ["drums"]}, "no 'drums', only vocals, accompaniment"),
        ({"names": {"Vocals": "lead"}}, "no 'vocals', only lead"),
        ({"sample_rate": 48000}, "works at 44100 Hz"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message):
    options = {
        "architecture": "mdx", "config": MDX, "options": MDX_OPTIONS, **onnx_of(tmp_path, 1.0)
    }  # fmt: skip
    with pytest.raises(HarnessError, match=message):
        AudioSeparator(**{**options, **changes})


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "audio_separator.separator", None)
    with pytest.raises(HarnessError, match=r"pip install 'mss-harness\[audio-separator\]'"):
        AudioSeparator(architecture="mdxc", config=TFC_TDF, **saved(tmp_path, {}))
