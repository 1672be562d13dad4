"""Networks of the MSS-Training tool: from a configuration and a checkpoint to estimates."""

import copy
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from web import send

from harness import cli, registry
from harness.core import audio
from harness.core.errors import HarnessError
from harness.registry import checkpoint_catalog as catalog
from harness.separators import msst
from harness.separators.msst import KINDS, Kind, Msst, build, find_type, windows_of
from harness.separators.networks import count_parameters

RATE = 8000
HERE = Path("a_test.yaml")
AUDIO = {"chunk_size": 4000, "num_channels": 2, "sample_rate": RATE, "min_mean_abs": 0.001}
TRAINING = {
    "instruments": ["vocals", "other"], "target_instrument": "vocals", "lr": 1e-5, "use_amp": True,
}  # fmt: skip
FOUR = {"instruments": ["drums", "bass", "other", "vocals"], "target_instrument": None, "lr": 1e-5}
INFERENCE = {"batch_size": 1, "num_overlap": 2, "dim_t": 256}
TRANSFORMER = {
    "dim": 16, "depth": 2, "stereo": True, "num_stems": 1, "dim_head": 8, "heads": 2,
    "attn_dropout": 0, "ff_dropout": 0.0, "flash_attn": True, "stft_n_fft": 256,
    "stft_hop_length": 100, "stft_win_length": 256, "stft_normalized": False,
    "mask_estimator_depth": 2, "multi_stft_resolution_loss_weight": 1.0,
    "multi_stft_resolutions_window_sizes": (512, 256), "multi_stft_hop_size": 147,
    "multi_stft_normalized": False,
}  # fmt: skip
ROFORMER = {**TRANSFORMER, "time_transformer_depth": 1, "freq_transformer_depth": 1}
CONFORMER = {**TRANSFORMER, "time_conformer_depth": 1, "freq_conformer_depth": 1}
MEL = {"num_bands": 12, "sample_rate": RATE}
BANDS = {"freqs_per_bands": (*(4,) * 16, *(16,) * 4, 1)}
SPECTRUM = {"dim_f": 128, "hop_length": 64, "n_fft": 256}
UNET = {
    "act": "gelu", "bottleneck_factor": 2, "growth": 8, "norm": "InstanceNorm",
    "num_blocks_per_scale": 1, "num_channels": 8, "num_scales": 2, "num_subbands": 2,
    "scale": (2, 2),
}  # fmt: skip
SCNET = {
    "sources": FOUR["instruments"], "audio_channels": 2, "dims": [4, 8, 16], "nfft": 256,
    "hop_size": 64, "win_size": 256, "normalized": True, "band_SR": [0.175, 0.392, 0.433],
    "band_stride": [1, 4, 16], "band_kernel": [3, 4, 16], "conv_depths": [2, 1, 1], "compress": 4,
    "conv_kernel": 3, "num_dplayer": 2, "expand": 1,
}  # fmt: skip
BANDIT = {
    "stems": ["speech", "music"], "n_bands": 8, "fs": RATE, "require_no_overlap": False,
    "require_no_gap": True, "normalize_channel_independently": False,
    "treat_channel_as_feature": True, "n_sqm_modules": 1, "emb_dim": 8, "rnn_dim": 8,
    "bidirectional": True, "rnn_type": "GRU", "mlp_dim": 16, "hidden_activation": "Tanh",
    "hidden_activation_kwargs": None, "complex_mask": True, "n_fft": 256, "win_length": 256,
    "hop_length": 64, "window_fn": "hann_window", "wkwargs": None, "power": None, "center": True,
    "normalized": True, "pad_mode": "constant", "onesided": True,
}  # fmt: skip
DEMUCS = {
    "channels": 8, "channels_time": None, "growth": 2, "nfft": 512, "wiener_iters": 0,
    "end_iters": 0, "wiener_residual": False, "cac": True, "depth": 3, "rewrite": True,
    "multi_freqs": [], "multi_freqs_depth": 2, "freq_emb": 0.2, "emb_scale": 10,
    "emb_smooth": True, "kernel_size": 8, "stride": 4, "time_stride": 2, "context": 1,
    "context_enc": 0, "norm_starts": 4, "norm_groups": 4, "dconv_depth": 1,
    "dconv_comp": 4, "dconv_init": 1e-3, "rescale": 0.1,
}  # fmt: skip


def config(model, training=TRAINING, section="model", **audio):
    return {
        "audio": {**AUDIO, **audio}, section: model, "training": training, "inference": INFERENCE,
        "augmentations": {"mixup_probs": (0.2, 0.02)},
    }  # fmt: skip


def demucs(name, **model):
    training = {**FOUR, "samplerate": RATE, "segment": 0.5, "channels": 2, "normalize": True}
    found = config(name, training)
    return found | {name: {**DEMUCS, **model}}


APOLLO = {"instruments": ["restored", "addition"], "target_instrument": "restored"}
SPEECH = {"instruments": ["speech", "music"], "target_instrument": None}
CONFIGS = {
    "mel_band_roformer": config({**ROFORMER, **MEL}),
    "mel_band_conformer": config({**CONFORMER, **MEL}),
    "bs_roformer": config({**ROFORMER, **BANDS}),
    "bs_conformer": config({**CONFORMER, **BANDS}),
    "bs_roformer_hyperace": config({**ROFORMER, **BANDS}),
    "mdx23c": config(UNET, FOUR, chunk_size=4032, **SPECTRUM),
    "scnet": config(SCNET, FOUR),
    "bandit": config(
        {**BANDIT, "in_channel": 1, "band_specs": "musical", "n_fft": 2048, "win_length": 2048,
         "hop_length": 512},  # the only sizes of the tool's class, whatever the configuration says
        SPEECH,
    ),
    "bandit_v2": config({**BANDIT, "in_channels": 1, "band_type": "musical"}, SPEECH, "kwargs"),
    "apollo": config({"sr": RATE, "win": 20, "feature_dim": 16, "layer": 1}, APOLLO),
    "htdemucs": demucs("htdemucs", num_subbands=1, t_layers=2, t_heads=2, bottom_channels=16),
    "hdemucs": demucs("hdemucs", hybrid=True, depth=5, channels=4, nfft=1024),
    "moises_light": config(
        {"sources": FOUR["instruments"], "audio_channels": 2, "n_fft": 256, "hop_size": 64,
         "win_size": 256, "freq_dim": 128, "n_bands": 4, "G": 8, "n_enc": 1, "n_dec": 1,
         "n_split_enc": 1, "n_split_dec": 1, "n_rope": 1, "bn_factor": 2,
         "transformer_params": {"heads": 2, "dim_head": 8, "flash_attn": True}},
        FOUR,
    ),
    "mel_band_roformer_experimental": config({**ROFORMER, **MEL}),
    "bs_roformer_experimental": config({**ROFORMER, **BANDS}),
    "scnet_tran": config({**SCNET, "tran_depth": 1, "tran_heads": 2, "tran_dim_head": 8,
                          "tran_rotary_embedding_dim": 8, "tran_flash_attn": False}, FOUR),
    "scnet_masked": config(SCNET, FOUR),
    "scnet_unofficial": config(
        {"dims": [4, 8, 16], "bandsplit_ratios": [0.175, 0.392, 0.433], "n_sources": 4,
         "downsample_strides": [1, 4, 16], "n_conv_modules": [2, 1, 1], "n_rnn_layers": 2,
         "rnn_hidden_dim": 8, "n_fft": 256, "hop_length": 64, "win_length": 256,
         "stft_normalized": False, "use_mamba": False, "d_state": 16, "d_conv": 4, "d_expand": 2},
        FOUR,
    ),
    "experimental_mdx23c_stht": config(UNET, FOUR, chunk_size=4032, **SPECTRUM),
    "segm_models": config(
        {"encoder_name": "resnet18", "decoder_type": "unet", "act": "gelu", "num_channels": 16,
         "num_subbands": 4},
        FOUR, chunk_size=8128, dim_f=512, hop_length=64, n_fft=1024,
    ),
    "swin_upernet": config(
        {"act": "gelu", "num_channels": 16, "num_subbands": 4},
        FOUR, chunk_size=8128, dim_f=512, hop_length=64, n_fft=1024,
    ),
}  # fmt: skip


class Plain(yaml.SafeDumper):
    """Write configurations as the tool's authors do: tuples with a tag, nothing twice by name."""

    def ignore_aliases(self, data):
        return True


Plain.add_representer(
    tuple, lambda to, values: to.represent_sequence("tag:yaml.org,2002:python/tuple", list(values))
)


class Planted(nn.Module):
    """A network whose estimates are known: stem i of a chunk is the chunk times i + 1 + a ramp."""

    built = 0

    def __init__(self, dim, *, depth=0, stems=(), window_fn="hann_window", tall=False, rate=0.5):
        super().__init__()
        Planted.built += 1
        self.stems = len(stems)
        self.layers = nn.ModuleList([nn.Linear(dim, dim) for _ in range(depth)])
        self.gain = nn.Parameter(torch.empty(dim))
        self.register_buffer("middle", torch.full((1,), 0.5), persistent=False)

    def forward(self, audio):
        ramp = torch.linspace(0, 1, audio.shape[-1]) * self.middle * 2
        return torch.stack([audio * (i + self.gain[0] + ramp) for i in range(self.stems)], dim=1)


PLANTED = config({"dim": 2, "stems": ["vocals", "other"]}, {"instruments": ["vocals", "other"]})


@pytest.fixture
def planted(monkeypatch):
    monkeypatch.setitem(KINDS, "planted", Kind(f"{__name__}:Planted"))
    monkeypatch.setattr(Planted, "built", 0)


def changed(**sections):
    return {name: {**part, **sections.get(name, {})} for name, part in PLANTED.items()}


def row_of(folder, settings, state, **params):
    """Write what training writes, and return the keywords of `Msst` for it."""
    (folder / "model.yaml").write_text(yaml.dump(settings, Dumper=Plain))
    torch.save({"model_state_dict": state, "epoch": 7, "best_metric": 9.5}, folder / "model.ckpt")
    files = [folder / "model.ckpt", folder / "model.yaml"]
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return {"weights": files, "sha256": hashes, "config": "model.yaml", **params}


def planted_row(folder, settings=PLANTED, **params):
    return row_of(folder, settings, {"gain": torch.ones(2)}, model_type="planted", **params)


def noise(samples, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal((channels, samples))).astype(np.float32)


def reference_of(name, settings=None):
    """Build a class directly, with memory for its values, and make all of them say something."""
    settings = settings or CONFIGS[name]
    kind = KINDS[name]
    try:
        target = msst._import(name, kind, HERE)
    except HarnessError as error:
        pytest.skip(str(error))
    options = msst._options(name, settings, HERE)
    torch.manual_seed(0)
    whole = msst._Settings(settings)
    network = target(**options) if kind.options is None else target(whole)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                spread = 0.001 if name in ("segm_models", "swin_upernet") else 0.05  # deep and wide
                parameter.add_(spread * torch.randn_like(parameter))
    return network.eval()


def rounding(name, network, song):
    """Return what rounding alone may change, relative: norms of random layers amplify it."""
    if name != "bs_roformer_hyperace":
        return 1e-4
    single = direct(name, network, song)
    exact = direct(name, copy.deepcopy(network).double(), song.astype(np.float64))
    return max(1e-4, 3 * float(np.abs(single - exact).max() / np.abs(exact).max()))


def close(found, wanted, within=1e-4):
    error = np.abs(found - wanted).max() / np.abs(wanted).max()
    assert error < within, f"relative error {error:.1e}"


@pytest.mark.filterwarnings("ignore")  # of the packages
@pytest.mark.parametrize("name", CONFIGS)
def test_a_chunk_is_what_its_class_returns(name, tmp_path):
    network = reference_of(name)
    row = row_of(tmp_path, CONFIGS[name], network.state_dict(), model_type=name)
    separator = Msst(RATE, msst._stems(CONFIGS[name], {}, HERE)[0], **row)
    song = noise(windows_of(CONFIGS[name], HERE).chunk)
    found = separator.separate(song)
    within = rounding(name, network, song)
    for stem, signal in zip(separator.stems, direct(name, network, song), strict=True):
        close(found[stem][:, : signal.shape[-1]], signal, within)


def direct(name, network, song):
    """Return the estimates of a class, shape (stems, channels, samples)."""
    if name == "bs_roformer_hyperace":
        network.set_mask_mode("full")
    with torch.inference_mode():
        found = msst._as_in_the_tool(name, network)(torch.from_numpy(song)[None])
    return found[0].reshape(-1, 2, found.shape[-1])[..., : song.shape[1]].numpy()


def run_cli(monkeypatch, capsys, *command):
    monkeypatch.setattr(sys, "argv", ["harness", *command])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code, capsys.readouterr().err


# --- from a server to estimates -----------------------------------------------------------------
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        name if name == "bs_roformer" else pytest.param(name, marks=pytest.mark.slow)
        for name in CONFIGS
    ],
)
def test_fetched_it_separates_like_its_class(name, server, tmp_path, monkeypatch, capsys):
    network = reference_of(name)
    keywords = row_of(tmp_path, CONFIGS[name], network.state_dict())
    stems = msst._stems(CONFIGS[name], {}, HERE)[0]
    segment = windows_of(CONFIGS[name], HERE).chunk
    server.behave = lambda http, _: send(http, (tmp_path / Path(http.path).name).read_bytes())
    rows = [
        {"file": path.name, "sha256": known, "size": path.stat().st_size,
         "urls": [f"{server.url.rsplit('/', 1)[0]}/{path.name}"]}
        for path, known in zip(keywords["weights"], keywords["sha256"], strict=True)
    ]  # fmt: skip
    row = {
        "family": "msst", "stems": stems, "sample_rate": RATE, "channels": 2, "weights": rows,
        "params": {"config": "model.yaml", "model_type": name},
    }  # fmt: skip
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    Path(registry.FILE_NAME).write_text(json.dumps({"mine": row}))
    song = noise(segment)
    audio.write(work / "song.wav", song, RATE, subtype="FLOAT")
    run_cli(monkeypatch, capsys, "fetch", "separator", "mine", "--yes")
    run_cli(monkeypatch, capsys, "separate", "song.wav", "--with", "mine")
    within = rounding(name, network, song)
    for stem, signal in zip(stems, direct(name, network, song), strict=True):
        found, rate = audio.read(work / "separated/song" / f"{stem}.wav")
        assert (rate, found.shape) == (RATE, song.shape)
        close(found[:, : signal.shape[-1]], signal, within)


# --- rows of the catalog --------------------------------------------------------------------------
LISTED = {  # the instruments and the target of a row's configuration
    "melband_roformer_inst_v1": (["Instrumental", "Vocals"], "Instrumental"),
    "model_bs_roformer_ep_937_sdr_10_5309": (["No Drum-Bass", "Drum-Bass"], "No Drum-Bass"),
    "model_vocals_htdemucs_sdr_8_78": (["vocals", "other"], None),
    "model_vocals_mdx23c_sdr_10_17": (["vocals", "other"], None),
    "apollo_pytorch_model": (["restored", "addition"], "restored"),
    "scnet_checkpoint_musdb18": (["drums", "bass", "other", "vocals"], None),
    "model_scnet_masked_ep_111_sdr_9_8286": (["drums", "bass", "other", "vocals"], None),
    "model_scnet_tran_sdr_8_9272": (["drums", "bass", "other", "vocals"], None),
    "fused_model_bs_conformer_sdr_9_18": (["drums", "bass", "other", "vocals"], None),
    "bs_roformer_inst_hyperacev2": (["vocals", "instrument"], "instrument"),
    "model_bandit_plus_dnr_sdr_11_47": (["speech", "music", "effects"], None),
    "checkpoint_multi_fixed": (["speech", "music", "sfx"], None),
}


def listed_config(kind, rate, instruments, target):
    """Return a small configuration of a type, at a row's rate and with its instruments."""
    base, section = CONFIGS[kind], KINDS[kind].section
    training = {**base["training"], "instruments": instruments, "target_instrument": target}
    training |= {"samplerate": rate, "segment": 0.1} if kind == "htdemucs" else {}
    own = {
        **dict.fromkeys(("sample_rate", "fs", "sr"), rate),
        **dict.fromkeys(("sources", "stems"), instruments),
        "num_stems": 1 if target else len(instruments),
    }
    options = {name: own.get(name, value) for name, value in base[section].items()}
    sound = {**base["audio"], "sample_rate": rate}
    return {**base, section: options, "training": training, "audio": sound}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.slow
@pytest.mark.parametrize("name", LISTED)
def test_a_row_of_the_catalog_runs_by_name(name, server, tmp_path, monkeypatch, capsys):
    row, (instruments, target) = catalog.find_row(name), LISTED[name]
    rate = row.entry().sample_rate
    settings = listed_config(row.type, rate, instruments, target)
    network = reference_of(row.type, settings)
    row_of(tmp_path, settings, network.state_dict())
    raw = json.loads(json.dumps(catalog._raw()[name]))
    raw["weights"] = [
        {"file": file["file"], "urls": [f"hf:someone/models/{made}"]}
        for file, made in zip(raw["weights"], ("model.ckpt", "model.yaml"), strict=True)
    ]
    monkeypatch.setattr(catalog, "_raw", lambda: {name: raw})
    monkeypatch.setattr(catalog, "_aliases", lambda: {name: name})
    server.behave = lambda http, _: send(http, (tmp_path / Path(http.path).name).read_bytes())
    monkeypatch.setenv("HF_ENDPOINT", server.url.removesuffix("/file.zip"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    song = noise(windows_of(settings, HERE).chunk)
    audio.write(tmp_path / "song.wav", song, rate, subtype="FLOAT")
    run_cli(monkeypatch, capsys, "fetch", "separator", name, "--yes")
    run_cli(monkeypatch, capsys, "separate", "song.wav", "--with", name)
    outputs = msst._stems(settings, row.names, HERE)[0]
    wanted = dict(zip(outputs, direct(row.type, network, song), strict=True))
    assert {path.stem for path in (tmp_path / "separated/song").glob("*.wav")} == set(row.stems)
    within = rounding(row.type, network, song)
    for stem in set(row.stems) & set(outputs):
        found, _ = audio.read(tmp_path / "separated/song" / f"{stem}.wav")
        close(found[:, : wanted[stem].shape[-1]], wanted[stem], within)


def test_instruments_are_named_whatever_their_letters():
    names = {"ride": "ride", "crash": "crash"}
    training = {"instruments": ["Kick", "Snare", "Toms", "Hh", "Ride", "Crash"]}
    found = msst._stems({"training": training}, names, HERE)[0]
    assert found == list(
        catalog.find_row("aufr33_jarredou_drumsep_model_mdx23c_ep_141_sdr_10_8059").stems
    )


# --- sizes of official configurations -------------------------------------------------------------
KIM = {
    **ROFORMER,
    "dim": 384,
    "depth": 6,
    "num_bands": 60,
    "dim_head": 64,
    "heads": 8,
    "sample_rate": 44100,
    "stft_n_fft": 2048,
    "stft_hop_length": 441,
    "stft_win_length": 2048,
}
OFFICIAL = {  # {type: (options, training, tensors, parameters of the tool's class)}
    "mel_band_roformer": (KIM, TRAINING, 684, 228_202_852),
    "scnet": ({"sources": FOUR["instruments"], "dims": [4, 32, 64, 128]}, FOUR, 372, 10_578_768),
    "apollo": ({"sr": 44100, "win": 20, "feature_dim": 256, "layer": 6}, APOLLO, 654, 16_539_308),
    "mdx23c": (
        {**UNET, "num_channels": 128, "growth": 128, "num_blocks_per_scale": 2, "num_scales": 5,
         "num_subbands": 4, "bottleneck_factor": 4},
        FOUR, 319, 111_994_368,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_networks_have_their_tensors_and_parameters(name):
    model, training, tensors, parameters = OFFICIAL[name]
    reference_of(name)  # or skip
    settings = config(model, training, sample_rate=44100, dim_f=4096, hop_length=1024, n_fft=8192)
    network = build(settings, HERE, name)
    assert len(network.state_dict()) == tensors
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert any(p.is_meta for p in network.parameters())  # without memory


@pytest.mark.filterwarnings("ignore")
def test_ours_and_the_package_are_the_same_mel_band_roformer(tmp_path):
    from harness.separators.roformer import Roformer

    state = reference_of("mel_band_roformer").state_dict()
    keywords = row_of(tmp_path, config({**ROFORMER, **MEL, "zero_dc": False}), state)
    song, stems = noise(9001), ("vocals", "accompaniment")
    theirs = Msst(RATE, stems, **keywords).separate(song)
    keywords = row_of(tmp_path, CONFIGS["mel_band_roformer"], state)  # ours never zeroes a bin
    keywords.pop("config")
    ours = Roformer(RATE, stems, names={"other": "accompaniment"}, **keywords).separate(song)
    for stem in stems:
        close(theirs[stem], ours[stem])


def test_a_network_without_the_extra_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymss_core", None)
    monkeypatch.setitem(sys.modules, "pymss_core.modules", None)
    monkeypatch.setitem(sys.modules, "pymss_core.modules.scnet", None)
    with pytest.raises(
        HarnessError, match=r"scnet needs the package pymss-core.*mss-harness\[msst\]"
    ):
        build(CONFIGS["scnet"], HERE)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_type_is_read_from_the_configuration(name):
    found = find_type(CONFIGS[name], HERE)
    twins = {
        "scnet_masked": "scnet", "experimental_mdx23c_stht": "mdx23c",
        "bs_roformer_hyperace": "bs_roformer",
    }  # need model_type  # fmt: skip
    assert found == twins.get(name, name.removesuffix("_experimental"))
    declared = CONFIGS[name] | {"training": {**CONFIGS[name]["training"], "model_type": name}}
    assert find_type(declared, HERE) == name


def test_an_unknown_type_is_never_taken_for_another(planted):
    declared = PLANTED | {"training": {"instruments": ["vocals"], "model_type": "bs_mamba2"}}
    with pytest.raises(HarnessError, match="type 'bs_mamba2' is not supported"):
        build(declared, HERE)
    with pytest.raises(HarnessError, match="does not tell its type of network"):
        build(PLANTED, HERE)


# --- stems, rates, channels, loudness -----------------------------------------------------------
@pytest.mark.parametrize(
    ("training", "names", "outputs", "rest"),
    [
        (TRAINING, {}, ["vocals"], "accompaniment"),
        (TRAINING, {"other": "background"}, ["vocals"], "background"),
        (FOUR, {}, ["drums", "bass", "other", "vocals"], None),
        ({"instruments": ["Vocals", "Instrumental"]}, {}, ["vocals", "accompaniment"], None),
        ({**FOUR, "target_instrument": "bass"}, {}, ["bass"], None),
        ({"instruments": ["kick", "hh", "ride"]}, {}, ["kick", "hihat", "cymbals"], None),
    ],
)
def test_outputs_have_the_names_of_the_stem_tree(training, names, outputs, rest):
    assert msst._stems({"training": training}, names, HERE) == (outputs, rest)


def test_a_target_leaves_the_rest_of_the_input(planted, tmp_path):
    training = {"instruments": ["vocals", "other"], "target_instrument": "other"}
    row = planted_row(tmp_path, changed(training=training))
    song = noise(6000)
    found = Msst(RATE, ("accompaniment", "vocals"), **row).separate(song)
    np.testing.assert_allclose(found["vocals"] + found["accompaniment"], song, atol=1e-6)
    both = Msst(RATE, ("vocals", "accompaniment"), **planted_row(tmp_path)).separate(song)
    close(found["accompaniment"], both["accompaniment"], 1e-6)


def test_loudness_is_normalized_where_the_configuration_says_so(planted, tmp_path):
    offset = noise(9000) + np.float32(0.3)
    row = planted_row(tmp_path, changed(inference={"normalize": True}))
    found = Msst(RATE, ("vocals",), overlap=0.0, **row).separate(offset)["vocals"]
    mean, deviation = offset.mean(axis=0).mean(), offset.mean(axis=0).std()
    whole = Msst(RATE, ("vocals",), overlap=0.0, **planted_row(tmp_path)).separate(
        (offset - mean) / deviation
    )["vocals"]
    close(found, whole * deviation + mean, 1e-5)


def test_an_entry_must_fit_the_configuration(planted, tmp_path):
    with pytest.raises(HarnessError, match="made for 8000 Hz, not 44100"):
        Msst(44100, ("vocals",), **planted_row(tmp_path))
    with pytest.raises(HarnessError, match="no 'drums', only vocals, accompaniment"):
        Msst(RATE, ("drums",), **planted_row(tmp_path))
    with pytest.raises(HarnessError, match="one checkpoint and its configuration"):
        Msst(RATE, ("vocals",), **planted_row(tmp_path) | {"config": "another.yaml"})


# --- the tool's windows -------------------------------------------------------------------------
def by_the_tool(mixture, network, chunk, count, batch, faded):
    """Separate as the tool documents it, sample by sample counted in double precision."""
    step, fade = chunk // count, chunk // 10
    samples, border = mixture.shape[1], (chunk - step) if faded else 0
    border = border if samples > 2 * border else 0
    mixture = np.pad(mixture, ((0, 0), (border, border)), "reflect")
    starts = list(range(0, mixture.shape[1], step))
    total, weight = 0.0, np.zeros(mixture.shape[1])
    for first in range(0, len(starts), batch):
        window = np.ones(chunk)
        if faded:
            window[-fade:], window[:fade] = np.linspace(1, 0, fade), np.linspace(0, 1, fade)
            if first + batch == 1 or len(starts) == 1:
                window[:fade] = 1
            elif first + batch >= len(starts):
                window[-fade:] = 1
        for start in starts[first : first + batch]:
            part = mixture[:, start : start + chunk]
            here = part.shape[1]
            mirror = faded and here > chunk // 2
            part = np.pad(part, ((0, 0), (0, chunk - here)), "reflect" if mirror else "constant")
            with torch.inference_mode():
                found = network(torch.from_numpy(part)[None])[0].numpy()
            if np.ndim(total) == 0:
                total = np.zeros((*found.shape[:-1], mixture.shape[1]))
            total[..., start : start + here] += (found * window)[..., :here]
            weight[start : start + here] += window[:here]
    found = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
    return found[..., border : found.shape[-1] - border]


@pytest.mark.parametrize("samples", [14321, 8000, 4000, 3000, 1500])
@pytest.mark.parametrize(("count", "batch"), [(1, 1), (2, 1), (2, 3), (4, 2)])
def test_the_tools_windows(planted, tmp_path, samples, count, batch):
    settings = changed(inference={"num_overlap": count, "batch_size": batch})
    row = planted_row(tmp_path, settings, tool_windows=True)
    song = noise(samples)
    found = Msst(RATE, ("vocals", "accompaniment"), **row)
    network = found.networks[0].inner
    wanted = by_the_tool(song, network, 4000, count, batch, faded=True)
    for stem, signal in zip(("vocals", "accompaniment"), wanted, strict=True):
        close(found.separate(song)[stem], signal)
    engine = Msst(RATE, ("vocals",), **row | {"tool_windows": False}).separate(song)["vocals"]
    assert samples <= 4000 or np.abs(engine - wanted[0]).max() > 1e-3  # and differ from ours


@pytest.mark.filterwarnings("ignore")
def test_the_tools_windows_for_demucs(tmp_path):
    settings = CONFIGS["htdemucs"] | {"inference": {"num_overlap": 2, "batch_size": 2}}
    row = row_of(tmp_path, settings, reference_of("htdemucs").state_dict(), tool_windows=True)
    song = noise(4500)
    separator = Msst(RATE, ("drums", "bass", "other", "vocals"), **row)
    wanted = by_the_tool(song, separator.networks[0].inner, 4000, 2, 2, faded=False)
    found = separator.separate(song)
    for stem, signal in zip(separator.stems, wanted, strict=True):
        close(found[stem], signal)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONFIGS)
def test_equal_to_the_tool_itself(name, tmp_path):
    """Its own classes and its own inference, where the tool is installed."""
    settings = pytest.importorskip("msst.utils.settings")
    demix = pytest.importorskip("msst.utils.model_utils").demix
    from ml_collections import ConfigDict
    from omegaconf import OmegaConf

    plain = CONFIGS[name]
    kind = "htdemucs" if "demucs" in name else name
    theirs = (
        OmegaConf.create(json.loads(json.dumps(plain))) if "demucs" in name else ConfigDict(plain)
    )
    torch.manual_seed(0)
    try:
        network = settings.build_model_from_config(kind, theirs).eval()
    except ImportError as error:
        pytest.skip(f"the tool cannot build {name} here: {error}")
    row = row_of(tmp_path, plain, network.state_dict(), tool_windows=True, model_type=name)
    separator = Msst(RATE, msst._stems(plain, {}, HERE)[0], **row)
    song = noise(9001)
    found, wanted = separator.separate(song), demix(theirs, network, song, "cpu", kind)
    for stem, signal in zip(separator.stems, wanted.values(), strict=True):
        close(found[stem], signal)


# --- configurations of an attacker ----------------------------------------------------------------
HOSTILE = {
    "unknown option": ({"model": {"depths": 1}}, "unknown option 'depths'.*did you mean 'depth'"),
    "wrong type": ({"model": {"dim": "384"}}, "dim is '384'; use a value like 1"),
    "wrong type of a flag": ({"model": {"tall": 1}}, "tall is 1; use a value like False"),
    "mapping for a number": ({"model": {"dim": {"a": 1}}}, "dim is .*; use a value like 1"),
    "number for stems": ({"model": {"stems": 3}}, "stems is 3"),
    "huge number": ({"model": {"dim": 10**9}}, "dim is 1000000000; use -1 to 16384"),
    "infinite": ({"model": {"rate": float("inf")}}, "rate is inf"),
    "not a number": ({"model": {"rate": float("nan")}}, "rate is nan"),
    "huge list": ({"model": {"stems": ["a"] * 2000}}, "stems has 2000 items"),
    "function by name": ({"model": {"window_fn": "load"}}, "is 'load'; use hann_window or"),
    "private name": ({"model": {"stems": ["__import__"]}}, "is '__import__'; use a plain word"),
    "chunk": ({"audio": {"chunk_size": 10**12}}, "chunk_size is 1000000000000"),
    "no chunk": ({"audio": {"chunk_size": 0}}, "chunk_size is 0"),
    "overlap": ({"inference": {"num_overlap": 10**6}}, "num_overlap is 1000000"),
    "rate": ({"audio": {"sample_rate": "44100"}}, "sample_rate is '44100'"),
    "instruments": ({"training": {"instruments": "vocals"}}, "no names in training.instruments"),
    "target": ({"training": {"target_instrument": ["x"]}}, "target_instrument"),
    "twins": ({"training": {"instruments": ["vocals", "Vocal"]}}, "have the same name"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_configuration_builds_nothing(case, planted, tmp_path):
    sections, message = HOSTILE[case]
    row = planted_row(tmp_path, changed(**sections))
    with pytest.raises(HarnessError, match=message):
        Msst(RATE, ("vocals",), **row)
    assert Planted.built == 0


@pytest.mark.parametrize("wrong", [{"stride": 0}, {"depth": 0}, {"dconv_comp": 0}, {"growth": -1}])
def test_what_goes_wrong_in_a_class_is_an_error_of_the_configuration(wrong):
    with pytest.raises(HarnessError, match="does not fit the class HTDemucs"):
        build(demucs("htdemucs", t_layers=1, **wrong), HERE)


@pytest.mark.parametrize("wrong", [{"dim_f": 10**6}, {"hop_length": 1}, {"n_fft": None}])
def test_sizes_of_spectra_are_limited(wrong):
    settings = config(UNET, FOUR, **{**SPECTRUM, **wrong})
    with pytest.raises(HarnessError, match=f"audio.{next(iter(wrong))} is .*; use a whole number"):
        msst._checked_whole(settings, HERE)


@pytest.mark.parametrize(("dim", "depth"), [(16384, 8), (16384, 16384), (1, 16384)])
def test_a_network_beyond_the_limits_is_never_given_memory(dim, depth, planted, monkeypatch):
    monkeypatch.setattr(msst, "MAX_PARTS", 1000)
    settings = changed(model={"dim": dim, "depth": depth})
    with pytest.raises(HarnessError, match=r"more than .* are not supported"):
        build(settings, HERE, "planted")


@pytest.mark.parametrize(
    "text", ["model: !!python/object/apply:os.system ['touch ran']", "model: &a [*a]", "[1, 2]"]
)
def test_a_configuration_runs_nothing(text, planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = planted_row(tmp_path)
    (tmp_path / "model.yaml").write_text(text)
    row["sha256"][1] = hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(HarnessError, match=r"model\.yaml"):
        Msst(RATE, ("vocals",), **row)
    assert not Path("ran").exists()


def test_a_file_that_changed_is_refused(planted, tmp_path):
    row = planted_row(tmp_path)
    (tmp_path / "model.yaml").write_text((tmp_path / "model.yaml").read_text() + "# changed\n")
    with pytest.raises(HarnessError, match=r"model\.yaml"):
        Msst(RATE, ("vocals",), **row)


@pytest.mark.parametrize(
    "state", [{}, {"gain": torch.ones(3)}, {"gain": torch.ones(2), "more": torch.ones(1)}]
)
def test_a_checkpoint_must_fit_its_configuration(state, planted, tmp_path):
    row = row_of(tmp_path, PLANTED, state or {"other": torch.ones(2)}, model_type="planted")
    with pytest.raises(HarnessError, match=r"does not fit its configuration model\.yaml"):
        Msst(RATE, ("vocals",), **row)


def test_sixteen_bit_checkpoints_compute_in_32(planted, tmp_path):
    row = row_of(tmp_path, PLANTED, {"gain": torch.ones(2).half()}, model_type="planted")
    found = Msst(RATE, ("vocals",), **row)
    assert found.networks[0].inner.gain.dtype == torch.float32
    assert count_parameters(found.networks[0]) == 2


@pytest.mark.filterwarnings("ignore")  # of the packages
@pytest.mark.parametrize(("name", "layer"), [
    ("mel_band_roformer", "RMSNorm"), ("bs_roformer", "RMSNorm"), ("scnet", "FusionLayer"),
    ("scnet", "DualPathRNN"), ("mdx23c", "InstanceNorm2d"),
])  # fmt: skip
def test_slow_layers_are_replaced_and_give_the_same(name, layer):
    network, song = reference_of(name), torch.from_numpy(noise(4032))[None]

    def slow():
        return [part for part in network.modules() if type(part).__name__ == layer]

    assert slow()
    parameters = count_parameters(network)
    with torch.inference_mode():
        wanted = network(song)
        msst._make_faster(network)
        assert not slow()
        close(network(song).numpy(), wanted.numpy(), within=1e-5)
    assert count_parameters(network) == parameters
