"""Any network of the MSS-Training tool: a checkpoint, and the configuration that it was trained by.

Most open checkpoints of the field are such a pair. The configuration says the network, its stems,
the sample rate, and the chunks that it was trained on. It comes from other people, so it is data
only: every option is compared with the signature of the class, every number has a limit, and the
network is built without memory for its values until the checkpoint brings them. The classes are
those of ``pymss-core``, of ``demucs``, and for a few networks of the tool itself (``msst``).
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

from harness.core import audio as signals
from harness.core import taxonomy
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints, how_to_install, package_of_type
from harness.separators.chunked import ChunkPlan
from harness.separators.learned import Networked, fitting, reason
from harness.separators.networks.mel_roformer import RmsNorm
from harness.separators.networks.scnet import DualPath, Fusion
from harness.separators.roformer import CONFIGS

MAX_VALUES = 2_000_000_000  # parameters of a network; the largest published one has 0.9e9
MAX_PARTS = 100_000  # layers and tensors of a network; the largest published one has 10 000
MAX_NUMBER = 2**14  # of an option, except rates
MAX_RATE = 384_000  # Hz
MAX_CHUNK = 2**24  # samples
MAX_ITEMS = 1024  # of an option that is a sequence
MIN_HOP = 32  # samples between spectra; fewer fill any memory
MAX_OVERLAP = 64  # chunks on each sample
RATES = {"sample_rate", "samplerate", "fs", "sr"}
HOPS = {"hop_length", "stft_hop_length", "hop_size"}
WORD = re.compile(r"[A-Za-z][\w.-]{0,40}")  # an option that is a text; never a private name
LABELS = {"type", "model_type", "architecture"}  # of a model section: they are not options

# Options of the RoFormers and of scnet_unofficial that do not change estimates: for training,
# redundant, or a way of computing. The first three are for layers that no class here has, so they
# must be 0.
NOT_SUPPORTED = {"linear_transformer_depth", "linear_conformer_depth", "use_mamba"}
WITHOUT_EFFECT = {
    "sage_attention", "use_torch_checkpoint", "dim_freqs_in", "attention_layout", "conv_dropout",
    "multi_stft_resolution_loss_weight", "multi_stft_resolutions_window_sizes",
    "multi_stft_hop_size", "multi_stft_normalized", "multi_stft_window_fn",
    "match_input_audio_length",  # always
    "d_state", "d_conv", "d_expand",  # of Mamba
}  # fmt: skip
CHOICES: dict[str, tuple[str, ...]] = {  # of options by which classes find functions
    "window_fn": ("hann_window", "hamming_window", "blackman_window", "bartlett_window"),
    "stft_window_fn": (),
    "rnn_type": ("LSTM", "GRU"),
    "hidden_activation": ("Tanh", "ReLU", "GELU", "SiLU", "ELU", "LeakyReLU", "Sigmoid"),
    "pad_mode": ("constant", "reflect", "replicate", "circular"),
}
EXAMPLES: dict[str, Any] = {  # values of the options that have no default in a class
    "dim": 1, "depth": 1, "in_channel": 1, "in_channels": 1, "sr": 1, "win": 1, "feature_dim": 1,
    "layer": 1, "stems": (), "sources": (), "band_specs": "musical",
    "freqs_per_bands": (), "n_bands": 1, "dims": (), "band_SR": (), "band_stride": (),
    "band_kernel": (), "conv_depths": (), "hidden_activation_kwargs": {}, "wkwargs": {},
    "transformer_params": {}, "mlp_hidden_layers": 1,
}  # fmt: skip
BY_SPECTRUM = {  # options of the networks that are built from the whole configuration
    "act": "gelu", "num_subbands": 1, "num_channels": 1, "norm": "InstanceNorm", "num_scales": 1,
    "scale": (2, 2), "num_blocks_per_scale": 1, "growth": 1, "bottleneck_factor": 1,
}  # fmt: skip
SEGMENTATION = {"act": "gelu", "num_subbands": 1, "num_channels": 1}
DECODERS = (  # sections with options of a decoder, as the tool reads them
    "decoder_unet", "decoder_fpn", "decoder_unet_plus_plus", "decoder_manet", "decoder_linknet",
    "decoder_pspnet", "decoder_pan", "decoder_deeplabv3", "decoder_deeplabv3plus",
)  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """One type of network."""

    target: str  # ``module:Class``
    section: str = "model"  # of the configuration: the keyword arguments of the class
    options: Mapping[str, Any] | None = None  # of a class that takes the whole configuration


KINDS: dict[str, Kind] = {
    "mel_band_roformer": Kind("pymss_core.modules.bs_roformer:MelBandRoformer"),
    "mel_band_conformer": Kind("pymss_core.modules.bs_roformer:MelBandConformer"),
    "bs_roformer": Kind("pymss_core.modules.bs_roformer:BSRoformer"),
    "bs_roformer_hyperace": Kind("pymss_core.modules.bs_roformer:BSRoformerHyperACE"),
    "bs_conformer": Kind("pymss_core.modules.bs_roformer:BSConformer"),
    "mdx23c": Kind("pymss_core.modules.mdx23c_tfc_tdf_v3:TFC_TDF_net", options=BY_SPECTRUM),
    "scnet": Kind("pymss_core.modules.scnet:SCNet"),
    "bandit": Kind("pymss_core.modules.bandit.core.model:MultiMaskMultiSourceBandSplitRNNSimple"),
    "bandit_v2": Kind("pymss_core.modules.bandit_v2.bandit:Bandit", section="kwargs"),
    "apollo": Kind("pymss_core.modules.look2hear.apollo:Apollo"),
    "htdemucs": Kind("demucs.htdemucs:HTDemucs", "htdemucs"),
    "hdemucs": Kind("demucs.hdemucs:HDemucs", "hdemucs"),
    "moises_light": Kind("moises_light:MoisesLight"),
    "mel_band_roformer_experimental": Kind(
        "msst.models.bs_roformer.mel_band_roformer_experimental:MelBandRoformer"
    ),
    "bs_roformer_experimental": Kind("msst.models.bs_roformer.bs_roformer_experimental:BSRoformer"),
    "scnet_tran": Kind("msst.models.scnet.scnet_tran:SCNet_Tran"),
    "scnet_masked": Kind("msst.models.scnet.scnet_masked:SCNet"),
    "scnet_unofficial": Kind("msst.models.scnet_unofficial:SCNet"),
    "experimental_mdx23c_stht": Kind(
        "msst.models.mdx23c_tfc_tdf_v3_with_STHT:TFC_TDF_net", options=BY_SPECTRUM
    ),
    "segm_models": Kind(
        "msst.models.segm_models:Segm_Models_Net",
        options={**SEGMENTATION, "encoder_name": "resnet", "decoder_type": "unet"},
    ),
    "torchseg": Kind(
        "msst.models.torchseg_models:Torchseg_Net",
        options={**SEGMENTATION, "encoder_name": "resnet", "decoder_type": "unet"},
    ),
    "swin_upernet": Kind(
        "msst.models.upernet_swin_transformers:Swin_UperNet_Model", options=SEGMENTATION
    ),
}
MARKS: dict[str, set[str]] = {  # options that only this type has; the first type that fits
    "mel_band_conformer": {"num_bands", "time_conformer_depth"},
    "bs_conformer": {"freqs_per_bands", "time_conformer_depth"},
    "mel_band_roformer": {"num_bands", "dim_head"},
    "bs_roformer": {"freqs_per_bands"},
    "mdx23c": {"num_subbands", "num_scales", "bottleneck_factor"},
    "segm_models": {"decoder_type", "encoder_name"},
    "swin_upernet": {"act", "num_subbands"},
    "scnet_tran": {"band_SR", "tran_depth"},
    "scnet_unofficial": {"bandsplit_ratios"},
    "scnet": {"band_SR"},
    "moises_light": {"n_rope", "n_split_enc"},
    "bandit": {"band_specs", "in_channel"},
    "apollo": {"feature_dim", "win"},
}
MASK_MODES = ("full", "no_segm", "segm_only")  # of bs_roformer_hyperace
ONE_STEM = 3  # dimensions of the output of a network with one stem


class Msst(Networked):
    """One checkpoint of the MSS-Training tool.

    The weights are the checkpoint and the configuration; `config` is the name of the latter, and
    can be left out if there is one ``.yaml``. `model_type` is the tool's name of the network, for
    configurations that do not tell. ``training.instruments`` are the outputs of the network, under
    the names of the stem tree; `names` maps the tool's names, large or small, to others. With a
    ``target_instrument`` that one is the only output, and a single other instrument is what remains
    of the input.

    Chunks are those of `separate_chunked`; their length and, unless `overlap` is given, their
    overlap are those of the configuration. With `tool_windows` the tool's own padding, windows and
    cross-fades are used, see `tool_plan`: published scores were made with them.
    """

    stems = ("vocals", "accompaniment")

    def __init__(
        self,
        *wanted: Any,
        config: str | None = None,
        model_type: str | None = None,
        names: Mapping[str, str] | None = None,
        tool_windows: bool = False,
        overlap: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*wanted, **options)
        path, sha256, text = _model_and_text(self.files, config)
        settings = checkpoints.read_config(text)
        self._by_tool = tool_windows
        self._windows = windows_of(settings, text)
        self._chunks["overlap"] = 1 - 1 / self._windows.count if overlap is None else overlap
        self._normalize = bool(_section(settings, "inference", text).get("normalize"))
        outputs, self._rest = _stems(settings, names or {}, text)
        name = model_type or find_type(settings, text)
        network = build(settings, text, name)
        _fill(network, path, sha256, text)
        _make_faster(network)
        mode = _mask_mode(_section(settings, "inference", text), text)
        network = _as_in_the_tool(name, network, mode)
        self.networks = [_Fixed(network, outputs, settings, text)]
        given = [*outputs, *([self._rest] if self._rest else [])]
        self.check_fit(text, self._windows.sample_rate, given)

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        network = self.networks[0]
        mixture = signals.to_channels(audio, network.channels, "msst")
        mean, deviation = np.float32(0), np.float32(1)
        if self._normalize:
            mono = mixture.mean(axis=0)
            mean, deviation = mono.mean(), mono.std()
            if deviation <= np.finfo(np.float32).eps:
                deviation = np.float32(1)
        found = self._run(network, (mixture - mean) / deviation) * deviation + mean
        estimates = dict(zip(network.stems, found, strict=True))
        if self._rest:
            estimates[self._rest] = audio - signals.to_channels(found[0], len(audio), self._rest)
        return estimates

    def _run(self, network: _Fixed, mixture: Audio) -> Audio:
        if not self._by_tool:
            return self.chunked(network, mixture, self._windows.chunk, fixed=True)
        border = self._windows.border(mixture.shape[1])
        padded = np.pad(mixture, ((0, 0), (border, border)), "reflect")
        plan = tool_plan(padded.shape[1], self._windows)
        found = self.chunked(network, padded, self._windows.chunk, plan=plan)
        return found[..., border : found.shape[-1] - border]


@dataclass(frozen=True)
class Windows:
    """How the tool cuts a signal, from its configuration."""

    sample_rate: int  # Hz
    chunk: int  # samples
    count: int  # chunks on each sample
    batch: int  # chunks at once: the tool's windows depend on it
    faded: bool  # whether chunks are faded and the signal is padded; not for Demucs

    @property
    def step(self) -> int:
        """Samples between the starts of two chunks."""
        return self.chunk // self.count

    def border(self, samples: int) -> int:
        """Return the samples that are mirrored at both ends of a signal."""
        border = self.chunk - self.step if self.faded else 0
        return border if samples > 2 * border else 0


def windows_of(config: Mapping[str, Any], path: Path) -> Windows:
    """Read chunk, overlap, batch and sample rate of a configuration, within limits."""
    audio, training = _section(config, "audio", path), _section(config, "training", path)
    inference, model = _section(config, "inference", path), config.get("model")
    rate = _number(
        audio.get("sample_rate", training.get("samplerate", 44100)), "sample_rate", path, MAX_RATE
    )
    demucs = isinstance(model, str)
    chunk = inference.get("chunk_size", audio.get("chunk_size"))
    if demucs:
        chunk = segment = training.get("segment")
        if isinstance(segment, (int, float)) and 0 < segment < MAX_CHUNK / rate:
            chunk = round(rate * segment)
    count = _number(inference.get("num_overlap", 2), "num_overlap", path, MAX_OVERLAP)
    return Windows(
        sample_rate=rate,
        chunk=_number(chunk, "segment" if demucs else "chunk_size", path, MAX_CHUNK, count),
        count=count,
        batch=_number(inference.get("batch_size", 1), "batch_size", path, MAX_NUMBER),
        faded=not demucs,
    )


@dataclass
class ToolPlan(ChunkPlan):
    """The tool's chunks, with its windows."""

    windows: Sequence[Tensor]  # of each chunk

    def weights(self, index: int) -> Tensor:
        """Return a chunk's window, divided by the sum of all windows."""
        start, total = self.starts[index], torch.zeros(self.length)
        for other, window in zip(self.starts, self.windows, strict=True):
            if abs(shift := other - start) < self.length:
                here = slice(max(0, shift), self.length + min(0, shift))
                there = slice(max(0, -shift), self.length - max(0, shift))
                total[here] += window[there]
        return torch.nan_to_num(self.windows[index] / total, nan=0.0)


def tool_plan(samples: int, windows: Windows) -> ToolPlan:
    """Return the chunks by which the tool separates a signal.

    Chunks start at every step within the signal. Each is faded in and out linearly over a tenth of
    its length; the estimate is the sum of the faded chunks, divided by the sum of the fades. If
    the first batch has one chunk, it is not faded in; otherwise the chunks of the last batch are
    not faded out. So estimates depend on the size of a batch. Demucs' chunks are not faded.

    Examples
    --------
    >>> plan = tool_plan(30, Windows(8000, 20, 2, 1, faded=True))
    >>> plan.starts
    [0, 10, 20]
    >>> plan.windows[1][[0, 1, 2, -2, -1]]
    tensor([0., 1., 1., 1., 0.])
    """
    starts = list(range(0, samples, windows.step))
    plain = torch.ones(windows.chunk)
    if not windows.faded:
        return ToolPlan(starts, windows.chunk, [plain] * len(starts))
    fade = windows.chunk // 10
    window = plain.clone()
    window[len(plain) - fade :] = torch.linspace(1, 0, fade)
    window[:fade] = torch.linspace(0, 1, fade)
    found = []
    for i in range(len(starts)):
        end = min((i // windows.batch + 1) * windows.batch, len(starts))  # of the batch
        own = window.clone()
        if end == 1:
            own[:fade] = 1
        elif end == len(starts):
            own[len(plain) - fade :] = 1
        found.append(own)
    return ToolPlan(starts, windows.chunk, found)


class _Fixed(nn.Module):
    """A network that is always given as many samples as in its training."""

    def __init__(
        self, inner: nn.Module, stems: Sequence[str], config: Mapping[str, Any], path: Path
    ) -> None:
        super().__init__()
        windows = windows_of(config, path)
        self.inner, self.stems = inner, tuple(stems)
        self.sample_rate, self.segment = windows.sample_rate, windows.chunk
        self.channels = _channels(config, path)
        self._mirrored = windows.faded
        training = _section(config, "training", path)
        instruments = list(training["instruments"])
        target = training.get("target_instrument")
        self._target = instruments.index(target) if target else None
        self._all = len(instruments)

    def forward(self, audio: Tensor) -> Tensor:
        """Return (batch, stems, channels, samples) of audio of shape (batch, channels, samples).

        As in the tool, a chunk that the signal fills by more than half is continued by its mirror
        image, and any other by zeros.
        """
        samples = audio.shape[-1]
        if missing := self.segment - samples:
            mirror = self._mirrored and samples > self.segment // 2
            audio = nn.functional.pad(audio, (0, missing), "reflect" if mirror else "constant")
        found: Tensor = self.inner(audio)
        if found.ndim == ONE_STEM:
            found = found[:, None]
        if self._target is not None and found.shape[1] == self._all:
            found = found[:, self._target : self._target + 1]
        if found.shape[1] != len(self.stems):
            raise HarnessError(
                f"{type(self.inner).__name__}: returned {found.shape[1]} stems, but the "
                f"configuration lists {', '.join(self.stems)}; correct its training.instruments"
            )
        return nn.functional.pad(found, (0, self.segment - found.shape[-1]))[..., :samples]


# --- from a configuration to a network ----------------------------------------------------------
def build(config: Mapping[str, Any], path: Path, model_type: str | None = None) -> nn.Module:
    """Build the network of a configuration, in evaluation mode; its parameters have no values.

    Parameters
    ----------
    path
        Of the configuration, for errors.
    model_type
        A key of `KINDS`; by default what the configuration says or shows.
    """
    name = model_type or find_type(config, path)
    if name not in KINDS:
        raise HarnessError(f"{path}: type {name!r} is not supported; {suggestion(name, KINDS)}")
    kind = KINDS[name]
    options = _options(name, config, path)
    target = _import(name, kind, path)
    values = _signature(target) if kind.options is None else dict(kind.options)
    _check(options, values, path)
    if kind.options is not None:
        arguments: dict[str, Any] = {"config": _Settings(_checked_whole(config, path))}
    else:
        arguments = options
    with fitting(path, f"the class {target.__name__}", "correct the configuration"), _unfilled():
        try:
            network: nn.Module = target(**arguments)
        except (ArithmeticError, AttributeError, LookupError, MemoryError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
    return network.eval()


def find_type(config: Mapping[str, Any], path: Path) -> str:
    """Return the type that a configuration declares, or that its options belong to."""
    model = config.get("model")
    if isinstance(model, str):
        return model
    declared = [
        _section(config, "training", path).get("model_type"),
        config.get("model_type"),
        *(_section(config, "model", path).get(label) for label in sorted(LABELS)),
    ]
    for found in declared:
        if isinstance(found, str):
            return found
    kwargs = _section(config, "kwargs", path)
    if {"in_channels", "stems"} <= kwargs.keys():
        return "bandit_v2"
    for name, marks in MARKS.items():
        if marks <= _section(config, "model", path).keys():
            return name
    raise HarnessError(
        f"{path}: does not tell its type of network; add model_type to the params "
        f"({', '.join(KINDS)})"
    )


def _options(name: str, config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the keyword arguments that a configuration has for the class of its type."""
    section = KINDS[name].section
    options = {k: v for k, v in _section(config, section, path).items() if k not in LABELS}
    if "former" in name or name == "scnet_unofficial":
        for key in sorted(NOT_SUPPORTED & options.keys()):
            if options.pop(key) != 0:
                raise HarnessError(f"{path}: {key} is not 0; no class here has these layers")
        options = {k: v for k, v in options.items() if k not in WITHOUT_EFFECT}
    if name == "mel_band_roformer":  # the tool counts hidden layers, pymss-core all
        options["mlp_hidden_layers"] = options.get("mask_estimator_depth", 1)
    if name == "bs_roformer":
        options.setdefault("zero_dc", True)  # as in the tool; False in pymss-core
    if name.startswith("mel_band"):
        options["match_input_audio_length"] = True
    if name in ("htdemucs", "hdemucs"):
        if options.pop("num_subbands", 1) != 1:
            raise HarnessError(f"{path}: num_subbands is not 1; demucs has no such network")
        training, windows = _section(config, "training", path), windows_of(config, path)
        options |= {
            "sources": _instruments(training, path),
            "audio_channels": _channels(config, path),
            "samplerate": windows.sample_rate,
            "segment": training["segment"],
        }
    if name == "htdemucs":  # as in the tool, which pads chunks itself; True in demucs
        options.setdefault("use_train_segment", False)
    return options


def _import(name: str, kind: Kind, path: Path) -> Any:
    """Return the class of a type, or say which package is missing."""
    module, _, target = kind.target.partition(":")
    try:
        return getattr(importlib.import_module(module), target)
    except (ImportError, AttributeError) as error:
        package = package_of_type(name) or "demucs"
        raise HarnessError(
            f"{path}: type {name} needs the package {package} ({reason(error)}); "
            f"{how_to_install(package, name)}"
        ) from error
    except RuntimeError as error:  # from a torchvision made for another torch
        raise HarnessError(
            f"{path}: the packages of type {name} cannot be imported ({reason(error)}); "
            "install torch and torchvision from the same place"
        ) from error


def _signature(target: Any) -> dict[str, Any]:
    """Return {keyword: its default, or a value like those it takes} of a class and its bases."""
    found: dict[str, Any] = {}
    for base in target.__mro__:
        if "__init__" not in vars(base) or base in (nn.Module, object):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
        for p in parameters:
            if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
                example = None if p.default is p.empty else p.default
                found.setdefault(p.name, EXAMPLES.get(p.name) if example is None else example)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _check(options: Mapping[str, Any], values: Mapping[str, Any], path: Path) -> None:
    """Refuse options that a class does not have, of the wrong kind, or beyond any limit."""
    for name, value in options.items():
        if name not in values:
            raise HarnessError(
                f"{path}: unknown option {name!r} of the network; {suggestion(str(name), values)}"
            )
        _check_value(str(name), value, values[name], path)


def _check_value(name: str, value: Any, example: Any, path: Path) -> None:
    if not _is_like(value, example):
        raise HarnessError(f"{path}: {name} is {value!r}; use a value like {example!r}")
    most = MAX_RATE if name in RATES else MAX_NUMBER
    least = MIN_HOP if name in HOPS else -1
    for part in _leaves(value, name, path):
        if isinstance(part, str) and not (
            part in CHOICES[name] if name in CHOICES else WORD.fullmatch(part)
        ):
            use = " or ".join(CHOICES.get(name, ("a plain word",))) or "no text"
            raise HarnessError(f"{path}: {name} is {part!r}; use {use}")
        if isinstance(part, (int, float)) and not least <= part <= most:
            if isinstance(part, bool):
                continue
            raise HarnessError(f"{path}: {name} is {part}; use {least} to {most}")


def _is_like(value: Any, example: Any) -> bool:
    """Whether a value is of the kind of an example; any plain one is like None."""
    if value is None:
        return True
    if example is None or isinstance(example, (str, Mapping)):
        sequences = (list, tuple) if not isinstance(example, Mapping) else ()
        kinds = (Mapping,) if isinstance(example, Mapping) else (str, bool, int, float, Mapping)
        return isinstance(value, (*kinds, *sequences))
    if isinstance(example, bool):
        return isinstance(value, bool)
    if isinstance(example, (int, float)):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, (list, tuple))


def _leaves(value: Any, name: str, path: Path) -> Iterator[Any]:
    """Yield the plain values of an option."""
    if isinstance(value, (list, tuple, Mapping)):
        if len(value) > MAX_ITEMS:
            raise HarnessError(f"{path}: {name} has {len(value)} items; use {MAX_ITEMS} or fewer")
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _leaves(part, name, path)
    else:
        yield value


def _checked_whole(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the sections that a network of spectra reads, with checked audio options."""
    audio, training = _section(config, "audio", path), _section(config, "training", path)
    kept = {key: audio.get(key) for key in ("dim_f", "hop_length", "n_fft", "num_channels")}
    for key, value in kept.items():
        _number(value, f"audio.{key}", path, MAX_NUMBER, MIN_HOP if key in HOPS else 1)
    whole = {
        "audio": {**kept, "chunk_size": windows_of(config, path).chunk},
        "model": dict(_section(config, "model", path)),
        "training": {
            "instruments": _instruments(training, path),
            "target_instrument": training.get("target_instrument"),
        },
        "inference": {},
    }
    for name in DECODERS:
        if name in config:
            options = dict(_section(config, name, path))
            _check(options, dict.fromkeys(options), path)
            whole[name] = options
    return whole


class _Settings(dict[str, Any]):
    """A mapping whose values are attributes too, as these classes expect."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(
            {k: _Settings(v) if isinstance(v, Mapping) else v for k, v in values.items()}
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


# --- a network without values, and its checkpoint ------------------------------------------------
class _Unfilled(TorchFunctionMode):
    """Give no memory to parameters, which a checkpoint brings, and little to anything else."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _device_constructors():
            sized = func(*args, **{**kwargs, "device": "meta"})
            if func is torch.empty:
                return sized
            if sized.numel() > MAX_VALUES // 8:
                raise ValueError(f"a table of {sized.numel()} values")
        return func(*args, **kwargs)


@contextmanager
def _unfilled() -> Iterator[None]:
    """Build networks without values, and stop where one grows beyond the limits."""
    count = {"values": 0, "parts": 0}

    def grow(_module: nn.Module, _name: str, part: Any) -> None:
        count["parts"] += 1
        if isinstance(part, Tensor):
            count["values"] += part.numel()
        if count["values"] > MAX_VALUES or count["parts"] > MAX_PARTS:
            raise ValueError(
                f"more than {MAX_VALUES} parameters or {MAX_PARTS} layers are not supported"
            )

    watching = [
        hooks.register_module_parameter_registration_hook(grow),
        hooks.register_module_module_registration_hook(grow),
    ]
    try:
        with _Unfilled():
            yield
    finally:
        for watch in watching:
            watch.remove()


def _fill(network: nn.Module, path: Path, sha256: str | None, text: Path) -> None:
    """Give a network the values of a checkpoint, all of them."""
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in checkpoints.load(path, sha256=sha256).state.items()
    }
    with fitting(path, f"its configuration {text.name}", "fetch both again"):
        network.load_state_dict(state, assign=True)
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            if tensor.is_meta:
                raise ValueError(f"no value for {name}")


def _mask_mode(inference: Mapping[str, Any], path: Path) -> str:
    """Return which of the two parts of HyperACE's mask a configuration wants; by default both."""
    mode = inference.get("mask_mode", MASK_MODES[0])
    if mode not in MASK_MODES:
        raise HarnessError(f"{path}: mask_mode is {mode!r}; use {' or '.join(MASK_MODES)}")
    return str(mode)


def _as_in_the_tool(name: str, network: Any, mode: str = MASK_MODES[0]) -> nn.Module:
    """Mend what pymss-core does differently.

    In the tool, ``normalized`` of Bandit divides spectra by the root of the window's energy, not of
    its length, and the first Bandit separates each channel alone. The class of HyperACE leaves a
    part of its mask out unless it is told otherwise.
    """
    if name == "bs_roformer_hyperace":
        network.set_mask_mode(mode)
    if name in ("bandit", "bandit_v2"):
        for transform in (network.stft, network.istft):
            if transform.normalized:
                energy = transform.window.square().sum()
                transform.window = transform.window * torch.sqrt(transform.n_fft / energy)
    found: nn.Module = _EachChannel(network) if name == "bandit" else network
    return found


def _make_faster(network: nn.Module) -> None:
    """Replace layers by others that give the same, except for rounding, in less time on a CPU."""
    for parent in list(network.modules()):
        for name, part in list(parent.named_children()):
            make = FASTER.get(f"{type(part).__module__}:{type(part).__name__}")
            if make is not None:
                setattr(parent, name, make(part))


def _norm(theirs: Any) -> nn.Module:
    """Return the norm of RoFormers that takes one pass over memory less."""
    ours = RmsNorm(1)
    ours.gamma = theirs.gamma
    return ours


def _fusion(theirs: Any) -> nn.Module:
    """Return SCNet's fusion with half the work, see `Fusion`."""
    ours = Fusion(1)
    ours.conv = theirs.conv
    return ours


def _dual_path(theirs: Any) -> nn.Module:
    """Return SCNet's pair of LSTMs that get their rows in the order in which they compute."""
    ours = DualPath(1)
    for lstm in theirs.lstm_layers:
        lstm.batch_first = False
    for name, layers in theirs.named_children():
        setattr(ours, name, layers)
    return ours


def _channel_norm(theirs: Any) -> nn.Module:
    """Return an instance norm as a group norm of one channel per group: a third of the time."""
    if not theirs.affine or theirs.track_running_stats:
        return cast(nn.Module, theirs)
    ours = nn.GroupNorm(theirs.num_features, theirs.num_features, theirs.eps)
    ours.weight, ours.bias = theirs.weight, theirs.bias
    return ours.train(theirs.training)


FASTER: dict[str, Callable[[Any], nn.Module]] = {
    "pymss_core.modules.bs_roformer.transformer:RMSNorm": _norm,
    "pymss_core.modules.scnet.scnet:FusionLayer": _fusion,
    "pymss_core.modules.scnet.separation:DualPathRNN": _dual_path,
    "torch.nn.modules.instancenorm:InstanceNorm2d": _channel_norm,
}


class _EachChannel(nn.Module):
    """A network that is given each channel alone."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, audio: Tensor) -> Tensor:
        """Return (batch, stems, channels, samples) of audio of shape (batch, channels, samples)."""
        found: Tensor = self.inner(audio.reshape(-1, 1, audio.shape[-1]))
        return found.reshape(*audio.shape[:2], -1, audio.shape[-1]).transpose(1, 2)


def _model_and_text(
    files: Sequence[tuple[Path, str | None]], config: str | None
) -> tuple[Path, str | None, Path]:
    """Return an entry's checkpoint, its hash, and its configuration, which was verified."""
    texts = [file for file in files if file[0].suffix in CONFIGS]
    if config is not None:
        texts = [file for file in texts if file[0].name == Path(config).name]
    models = [file for file in files if file[0].suffix not in CONFIGS]
    if len(models) != 1 or len(texts) != 1:
        raise HarnessError(
            f"{', '.join(str(path) for path, _ in files)}: one checkpoint and its configuration "
            "are needed; add both to the weights, and name the .yaml as config in the params"
        )
    path, sha256 = texts[0]
    checkpoints.check(path, sha256=sha256)
    return *models[0], path


def _stems(
    config: Mapping[str, Any], names: Mapping[str, str], path: Path
) -> tuple[list[str], str | None]:
    """Return the outputs of the network, and the name of the remaining input, if it has one."""
    training = _section(config, "training", path)
    instruments = _instruments(training, path)
    plain = {name: taxonomy.canonical(name) for name in instruments}
    meant = taxonomy.of_model(list(plain.values()))
    given = {name.lower(): ours for name, ours in names.items()}
    ours = {name: given.get(name.lower(), meant[stem]) for name, stem in plain.items()}
    if len(set(ours.values())) != len(instruments):
        raise HarnessError(
            f"{path}: two of the instruments {', '.join(instruments)} have the same name; "
            "rename one by names in the params"
        )
    target = training.get("target_instrument")
    if target is None:
        return list(ours.values()), None
    if not isinstance(target, str) or target not in ours:
        raise HarnessError(
            f"{path}: target_instrument {target!r} is none of {', '.join(instruments)}; correct it"
        )
    others = [stem for name, stem in ours.items() if name != target]
    return [ours[target]], others[0] if len(others) == 1 else None


def _instruments(training: Mapping[str, Any], path: Path) -> list[str]:
    found = training.get("instruments")
    known = isinstance(found, (list, tuple)) and 0 < len(found) <= MAX_ITEMS
    if not known or not all(isinstance(name, str) for name in found or ()):
        raise HarnessError(f"{path}: no names in training.instruments; add them")
    return list(found or ())


def _channels(config: Mapping[str, Any], path: Path) -> int:
    """Return the channels of the network's input: 1 or 2."""
    model = config.get("model")
    options = model if isinstance(model, Mapping) else {}
    if "stereo" in options or "num_bands" in options:
        return 2 if options.get("stereo") else 1
    audio, training = _section(config, "audio", path), _section(config, "training", path)
    return _number(audio.get("num_channels", training.get("channels", 2)), "num_channels", path, 2)


def _section(config: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    section = config.get(name, {})
    if not isinstance(section, Mapping):
        raise HarnessError(f"{path}: {name} is not a mapping of names to values; correct it")
    return section


def _number(value: Any, name: str, path: Path, most: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise HarnessError(f"{path}: {name} is {value!r}; use a whole number, {least} to {most}")
    return value
