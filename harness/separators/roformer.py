"""Mel-Band RoFormer with published weights and their configuration.

Configurations are those of the training program that most published checkpoints come from: a
mapping with ``audio``, ``model``, ``training`` and ``inference``. Unknown options are refused:
to ignore one would change the estimates without an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints
from harness.separators.learned import Networked, fitting
from harness.separators.networks.mel_roformer import MelRoformer

CONFIGS = (".yaml", ".yml")
NAMES = {  # {an option of theirs: ours}
    "dim": "width", "depth": "depth", "time_transformer_depth": "time_depth",
    "freq_transformer_depth": "band_depth", "num_bands": "bands", "heads": "heads",
    "dim_head": "head_width", "stft_n_fft": "n_fft", "stft_hop_length": "hop",
    "mask_estimator_depth": "mask_depth", "mlp_expansion_factor": "mask_widening",
    "skip_connection": "skip",
}  # fmt: skip
DEFAULTS = {  # of their class, where they differ from ours
    "time_transformer_depth": 2, "freq_transformer_depth": 2, "num_bands": 60, "heads": 8,
    "dim_head": 64, "stft_n_fft": 2048, "stft_hop_length": 512, "mask_estimator_depth": 1,
    "mlp_expansion_factor": 4, "skip_connection": False,
}  # fmt: skip
FIXED = {"linear_transformer_depth": 0, "stft_window_fn": None}  # no other value is supported
WITHOUT_EFFECT = {  # on estimates: for training, redundant, or a way of computing
    "attn_dropout", "ff_dropout", "flash_attn", "sage_attention", "use_torch_checkpoint",
    "multi_stft_resolution_loss_weight", "multi_stft_resolutions_window_sizes",
    "multi_stft_hop_size", "multi_stft_normalized", "multi_stft_window_fn", "dim_freqs_in",
    "stft_normalized",  # undone by the norms before and the inverse transform behind the network
    "match_input_audio_length",  # always
}  # fmt: skip
CHECKED = {"stereo", "num_stems", "sample_rate", "stft_win_length"}
INFERENCE = {"num_overlap", "chunk_size", "batch_size", "dim_t", "normalize"}


class Roformer(Networked):
    """One published Mel-Band RoFormer.

    The configuration is `config` itself, or the ``.yaml`` among the weights. ``instruments`` in
    ``training`` are the outputs of the network; `names` maps their names to ours, where they
    differ. With a ``target_instrument`` that one is the only output, and the other instrument is
    what remains of the input. By default ``num_overlap`` of the configuration determines the
    overlap.
    """

    stems = ("vocals", "accompaniment")

    def __init__(
        self,
        *wanted: Any,
        config: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
        overlap: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*wanted, **options)
        path, sha256, settings = model_and_config(self.files, config)
        self._chunks["overlap"] = _overlap(settings, path) if overlap is None else overlap
        outputs, self._rest = _stems(settings, names or {}, path)
        self.networks = [load_model(path, settings, outputs, sha256=sha256)]
        given = [*outputs, *([self._rest] if self._rest else [])]
        self.check_fit(path, self.networks[0].sample_rate, given)

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        network = self.networks[0]
        mixture = signals.to_channels(audio, network.channels, "mel_roformer")
        found = self.chunked(network, mixture, network.segment)
        estimates = dict(zip(network.stems, found, strict=True))
        if self._rest:
            estimates[self._rest] = audio - signals.to_channels(found[0], len(audio), self._rest)
        return estimates


def load_model(
    path: Path, config: Mapping[str, Any], stems: Sequence[str], *, sha256: str | None = None
) -> MelRoformer:
    """Build the network of a configuration with a checkpoint's weights, in evaluation mode.

    The stems are the outputs of the network, in its order.
    """
    options = network_options(config, path)
    if (wanted := _section(config, "model", path).get("num_stems", 1)) != len(stems):
        raise HarnessError(
            f"{path}: num_stems is {wanted}, but the stems are {', '.join(stems)}; correct it"
        )
    checkpoint = checkpoints.load(path, sha256=sha256)
    state: dict[str, Tensor] = {name: tensor.float() for name, tensor in checkpoint.state.items()}
    with fitting(path, "its configuration", "fetch both again"):
        with torch.device("meta"):  # no random numbers where weights follow at once
            network = MelRoformer(stems, **options)
        network.load_state_dict(checkpoints.named_for(network, state), assign=True)
    return network.eval()


def network_options(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the keyword arguments of `MelRoformer`, except its stems."""
    audio, model = _section(config, "audio", path), _section(config, "model", path)
    inference = _section(config, "inference", path)
    known = {*NAMES, *FIXED, *WITHOUT_EFFECT, *CHECKED}
    _refuse_unknown("model", model, known, path)
    _refuse_unknown("inference", inference, INFERENCE, path)
    settings = {**DEFAULTS, **model}
    sample_rate = audio.get("sample_rate", 44100)
    wanted = {**FIXED, "sample_rate": sample_rate, "stft_win_length": settings["stft_n_fft"]}
    for key, value in wanted.items():
        if model.get(key, value) != value:
            raise HarnessError(
                f"{path}: {key} is {model[key]!r}; only {value!r} is supported, use another model"
            )
    if inference.get("normalize"):
        raise HarnessError(f"{path}: normalize is set; use a network without it")
    try:
        segment = inference.get("chunk_size") or audio["chunk_size"]
        options = {ours: settings[theirs] for theirs, ours in NAMES.items()}
    except KeyError as error:
        raise HarnessError(f"{path}: {error} is missing in its configuration; add it") from error
    return {
        "sample_rate": sample_rate,
        "channels": 2 if model.get("stereo") else 1,
        "segment": segment,
        **options,
    }


def model_and_config(
    files: Sequence[tuple[Path, str | None]], config: Mapping[str, Any] | None
) -> tuple[Path, str | None, Mapping[str, Any]]:
    """Return an entry's model, its hash, and the configuration, which may be a file beside it."""
    models = [file for file in files if file[0].suffix not in CONFIGS]
    texts = [file for file in files if file[0].suffix in CONFIGS]
    if len(models) != 1 or len(texts) != (config is None):
        raise HarnessError(
            f"{', '.join(str(path) for path, _ in files)}: one model and one configuration are "
            "needed; add its .yaml to the weights, or config to params"
        )
    if config is None:
        path, sha256 = texts[0]
        checkpoints.check(path, sha256=sha256)
        config = checkpoints.read_config(path)
    return *models[0], config


def _stems(
    config: Mapping[str, Any], names: Mapping[str, str], path: Path
) -> tuple[list[str], str | None]:
    """Return the outputs of the network, and the name of the remaining input, if it has one."""
    training = _section(config, "training", path)
    instruments, target = training.get("instruments"), training.get("target_instrument")
    if not isinstance(instruments, (list, tuple)) or not instruments:
        raise HarnessError(f"{path}: no training.instruments in its configuration; add them")
    ours = {str(name): names.get(str(name), str(name)) for name in instruments}
    if target is None:
        return list(ours.values()), None
    given = names.get(str(target), str(target))
    others = [name for name in ours.values() if name != given]
    return [given], others[0] if len(others) == 1 else None


def _overlap(config: Mapping[str, Any], path: Path) -> float:
    """Return the overlap at which `num_overlap` chunks cover each sample."""
    count = _section(config, "inference", path).get("num_overlap", 2)
    if not isinstance(count, (int, float)) or count < 1:
        raise HarnessError(f"{path}: num_overlap is {count!r}; use 1 or more")
    return 1 - 1 / count


def _section(config: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    section = config.get(name, {})
    if not isinstance(section, Mapping):
        raise HarnessError(f"{path}: {name} in its configuration is not a mapping; correct it")
    return section


def _refuse_unknown(section: str, options: Mapping[str, Any], known: set[str], path: Path) -> None:
    if unknown := sorted(str(key) for key in options if key not in known):
        raise HarnessError(
            f"{path}: unknown option {section}.{unknown[0]} in its configuration; "
            f"{suggestion(unknown[0], known)}"
        )
