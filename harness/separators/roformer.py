"""Mel-Band RoFormer with published weights and their configuration.

Configurations are those of the training program that most published checkpoints come from: a
mapping with ``audio``, ``model``, ``training`` and ``inference``. What is not known here is
refused: an option left out would give other estimates, and no error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import audio as signals
from harness import weights as checkpoints
from harness.audio import Audio
from harness.errors import HarnessError
from harness.networks.mel_roformer import MelRoformer
from harness.registry import suggestion
from harness.separators.chunked import separate_chunked

CONFIGS = (".yaml", ".yml")
NAMES = {  # of the model's options: what they are called here
    "dim": "width", "depth": "depth", "time_transformer_depth": "time_depth",
    "freq_transformer_depth": "band_depth", "num_bands": "bands", "heads": "heads",
    "dim_head": "head_width", "stft_n_fft": "n_fft", "stft_hop_length": "hop",
    "mask_estimator_depth": "mask_depth", "mlp_expansion_factor": "mask_widening",
    "skip_connection": "skip",
}  # fmt: skip
DEFAULTS = {  # of the class that reads these configurations, where they differ from ours
    "time_transformer_depth": 2, "freq_transformer_depth": 2, "num_bands": 60, "heads": 8,
    "dim_head": 64, "stft_n_fft": 2048, "stft_hop_length": 512, "mask_estimator_depth": 1,
    "mlp_expansion_factor": 4, "skip_connection": False,
}  # fmt: skip
FIXED = {"linear_transformer_depth": 0, "stft_window_fn": None}  # no other value is known here
SAYS_NOTHING = {  # of the estimates: used in training, given by others, or a way of computing
    "attn_dropout", "ff_dropout", "flash_attn", "sage_attention", "use_torch_checkpoint",
    "multi_stft_resolution_loss_weight", "multi_stft_resolutions_window_sizes",
    "multi_stft_hop_size", "multi_stft_normalized", "multi_stft_window_fn", "dim_freqs_in",
    "stft_normalized",  # undone by the norms before and the inverse transform behind the network
    "match_input_audio_length",  # always
}  # fmt: skip
CHECKED = {"stereo", "num_stems", "sample_rate", "stft_win_length"}
INFERENCE = {"num_overlap", "chunk_size", "batch_size", "dim_t", "normalize"}


class Roformer:
    """One published Mel-Band RoFormer.

    Parameters
    ----------
    sample_rate, stems
        What is wanted; the network must have been made for it.
    input_stem
        What it takes apart.
    weights, sha256
        The checkpoint and, unless `config` is given, its ``.yaml``; the hash of each, without which
        a ``.ckpt`` is not opened.
    device
        ``cpu``, ``cuda``, ``mps``.
    config
        The configuration itself. Of ``training`` the ``instruments`` are read: what the network
        gives, or, beside a ``target_instrument``, what it leaves of its input.
    names
        {an instrument's name: ours}, where they differ.
    overlap
        Share of a chunk that the next one repeats; None takes the configuration's ``num_overlap``.
    batch, mixed
        See `harness.separators.chunked.separate_chunked`.

    Attributes
    ----------
    notes
        What was done otherwise than asked for in the last call of `separate`.
    """

    def __init__(
        self,
        sample_rate: int = 44100,
        stems: Sequence[str] = ("vocals", "accompaniment"),
        input_stem: str = "mixture",
        *,
        weights: Sequence[Path | str],
        sha256: Sequence[str | None] | None = None,
        device: str = "cpu",
        config: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
        overlap: float | None = None,
        batch: int = 4,
        mixed: bool = False,
    ) -> None:
        self.sample_rate, self.stems, self.input_stem = sample_rate, tuple(stems), input_stem
        files = dict(zip(map(Path, weights), sha256 or [None] * len(weights), strict=True))
        path, settings = tell_apart(files, config)
        given, self._rest = _stems(settings, names or {}, path)
        self.networks = [load_model(path, settings, given, sha256=files[path])]
        self.notes: list[str] = []
        self._options: dict[str, Any] = {
            "segment": self.networks[0].segment,
            "overlap": _overlap(settings, path) if overlap is None else overlap,
            "batch": 1 if device == "cpu" else batch,
            "device": device,
            "mixed": mixed,
        }
        self._check(path)

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate}, each of the input's shape."""
        network = self.networks[0]
        mixture = signals.to_channels(audio, network.channels, "mel_roformer")
        found, self.notes = separate_chunked(network, mixture, **self._options)
        channels = audio.shape[0]
        estimates = {
            stem: signals.to_channels(estimate, channels, stem)
            for stem, estimate in zip(network.stems, found, strict=True)
        }
        if self._rest:
            estimates[self._rest] = audio - estimates[network.stems[0]]
        return {stem: estimates[stem] for stem in self.stems}

    def _check(self, path: Path) -> None:
        """Refuse a network that is not for the wanted stems and sample rate."""
        network = self.networks[0]
        if network.sample_rate != self.sample_rate:
            raise HarnessError(
                f"{path}: made for {network.sample_rate} Hz, not {self.sample_rate}; "
                "correct the entry's sample_rate"
            )
        given = [*network.stems, *([self._rest] if self._rest else [])]
        if missing := [stem for stem in self.stems if stem not in given]:
            raise HarnessError(
                f"{path}: no {missing[0]!r}, only {', '.join(given)}; correct the entry's stems "
                "or names"
            )


def load_model(
    path: Path, config: Mapping[str, Any], stems: Sequence[str], *, sha256: str | None = None
) -> MelRoformer:
    """Build the network of a configuration and give it a checkpoint's weights.

    Parameters
    ----------
    path, sha256
        See `harness.weights.load`.
    config
        See `Roformer`.
    stems
        What the network gives, in its order.

    Raises
    ------
    HarnessError
        If an option is unknown or missing, or the checkpoint does not fit.
    """
    options = network_options(config, path)
    if (wanted := _section(config, "model", path).get("num_stems", 1)) != len(stems):
        raise HarnessError(f"{path}: num_stems is {wanted} for {', '.join(stems)}; correct it")
    checkpoint = checkpoints.load(path, sha256=sha256)
    state: dict[str, Tensor] = {name: tensor.float() for name, tensor in checkpoint.state.items()}
    try:
        with torch.device("meta"):  # no random numbers for what is replaced at once
            network = MelRoformer(stems, **options)
        network.load_state_dict(state, assign=True)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HarnessError(
            f"{path}: does not fit its configuration ({reason}); fetch both again"
        ) from error
    return network.eval()


def network_options(config: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the keyword arguments of `MelRoformer` but its stems.

    Raises
    ------
    HarnessError
        If an option is unknown or missing.
    """
    audio, model = _section(config, "audio", path), _section(config, "model", path)
    inference = _section(config, "inference", path)
    known = {*NAMES, *FIXED, *SAYS_NOTHING, *CHECKED}
    _refuse_unknown("model", model, known, path)
    _refuse_unknown("inference", inference, INFERENCE, path)
    settings = {**DEFAULTS, **model}
    sample_rate = audio.get("sample_rate", 44100)
    wanted = {**FIXED, "sample_rate": sample_rate, "stft_win_length": settings["stft_n_fft"]}
    for key, value in wanted.items():
        if model.get(key, value) != value:
            raise HarnessError(f"{path}: {key} is {model[key]!r}; only {value!r} is supported")
    if inference.get("normalize"):
        raise HarnessError(f"{path}: normalize is set; only networks without it are supported")
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


def tell_apart(
    files: Mapping[Path, str | None], config: Mapping[str, Any] | None
) -> tuple[Path, Mapping[str, Any]]:
    """Tell the checkpoint of an entry from its configuration, given or in a file beside it."""
    models = [path for path in files if path.suffix not in CONFIGS]
    texts = [path for path in files if path.suffix in CONFIGS]
    if len(models) != 1 or len(texts) != (config is None):
        raise HarnessError(
            f"{', '.join(map(str, files))}: one model and one configuration are needed; give "
            "its .yaml among the weights, or config in params"
        )
    if config is not None:
        return models[0], config
    checkpoints.check(texts[0], sha256=files[texts[0]])
    return models[0], checkpoints.read_config(texts[0])


def _stems(
    config: Mapping[str, Any], names: Mapping[str, str], path: Path
) -> tuple[list[str], str | None]:
    """Return what the network gives, and what its input without that is called, if anything."""
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
    """Return what share of a chunk the next one repeats, from the number that meet anywhere."""
    count = _section(config, "inference", path).get("num_overlap", 2)
    if not isinstance(count, (int, float)) or count < 1:
        raise HarnessError(f"{path}: num_overlap is {count!r}; give 1 or more")
    return 1 - 1 / count


def _section(config: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any]:
    """Return a part of a configuration."""
    section = config.get(name, {})
    if not isinstance(section, Mapping):
        raise HarnessError(f"{path}: {name} in its configuration is no mapping; correct it")
    return section


def _refuse_unknown(section: str, options: Mapping[str, Any], known: set[str], path: Path) -> None:
    """Refuse an option that is not known here."""
    if unknown := sorted(str(key) for key in options if key not in known):
        raise HarnessError(
            f"{path}: unknown option {section}.{unknown[0]} in its configuration; "
            f"{suggestion(unknown[0], known)}"
        )
