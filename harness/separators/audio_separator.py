"""Any model of the ``audio-separator`` package: MDX (onnx), VR, and MDXC with its RoFormers.

Its architectures are built directly, not by its program. So nothing is downloaded, the signal is
not scaled to a peak, and a model that cannot be loaded is an error of one entry, not the end of the
program. Models of the Demucs family have their own adapter.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import audio as signals
from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators import checkpoints
from harness.separators.chunked import find_device
from harness.separators.learned import Networked, reason
from harness.separators.roformer import model_and_config

ARCHITECTURES = {"mdx": "MDXSeparator", "vr": "VRSeparator", "mdxc": "MDXCSeparator"}
RATE = 44100  # of the package's program, whatever the rate inside a model
CHANNELS = 2
HASHED = 10_240_000  # bytes at the end of a file by which the package knows a model
NAMES = {"instrumental": "accompaniment"}
ONNX = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}


class AudioSeparator(Networked):
    """One model of audio-separator, with the package's own chunks, at 44100 Hz.

    The weights are the model's file and, unless `config` is given, its ``.yaml``; each needs a
    hash. `config` is what the package stores outside the file: for ``mdxc`` the content of its
    ``.yaml``, for ``mdx`` and ``vr`` the row of its ``model_data_new.json``; that table may be a
    ``.json`` among the weights instead, in which the model's hash finds the row. `options` are
    those of the `architecture`, such as ``overlap``; the package's defaults hold for the rest. The
    chunk of a RoFormer is then ``hop_length · (inference.dim_t - 1)`` samples long, often shorter
    than in its training. `names` maps the package's names of stems to ours; other names are in
    lower case, with ``accompaniment`` for ``Instrumental``.
    """

    stems = ("vocals", "accompaniment")

    def __init__(
        self,
        sample_rate: int = RATE,
        stems: Sequence[str] = (),
        input_stem: str = "mixture",
        *,
        architecture: str,  # ``mdx``, ``vr`` or ``mdxc``
        config: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        names: Mapping[str, str] | None = None,
        weights: Sequence[Path | str],
        sha256: Sequence[str | None] | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            sample_rate, stems, input_stem, weights=weights, sha256=sha256, device=device
        )
        self._names = dict(names or {})
        if architecture not in ARCHITECTURES:
            raise HarnessError(
                f"architecture {architecture!r}: not supported; "
                f"{suggestion(architecture, ARCHITECTURES)}"
            )
        for path, known in self.files:
            if known is None:
                raise HarnessError(
                    f"{path}: has no sha256, and audio-separator would unpickle it; add it to the "
                    "entry"
                )
            checkpoints.check(path, sha256=known)
        tables = [path for path, _ in self.files if path.suffix == ".json"]
        models = [file for file in self.files if file[0] not in tables]
        if config is None and tables and models:
            config = settings_of(models[0][0], tables[0], architecture)
        self._path, _, settings = model_and_config(models, config)
        self._model = _build(architecture, self._path, settings, options or {}, device)
        self._check(settings)

    @property
    def parameters(self) -> int | None:
        """Number of trained values; None where the package hides its network."""
        from torch import nn

        networks = {id(held): held for held in vars(self._model).values()}.values()
        counts = [
            sum(values.numel() for values in network.parameters() if values.requires_grad)
            for network in networks
            if isinstance(network, nn.Module)
        ]
        return sum(counts) or None

    def _separate(self, audio: Audio) -> dict[str, Audio]:
        if signals.is_silent(audio):
            return {stem: np.zeros_like(audio) for stem in self.stems}
        mixture = signals.to_channels(audio, CHANNELS, "audio_separator")
        with _guarded(self._path):
            found = {self._name(name): found for name, found in _run(self._model, mixture).items()}
        return {stem: self._fitted(found[stem], audio, stem) for stem in self.stems}

    def _fitted(self, found: Any, audio: Audio, stem: str) -> Audio:
        """Return an estimate of the input's length: models pad and resample inside."""
        estimate = np.asarray(found, np.float32)
        return signals.fit_length(estimate, audio.shape[1], self.sample_rate, stem)[0]

    def _name(self, stem: str) -> str:
        return self._names.get(stem, NAMES.get(stem.lower(), stem.lower()))

    def _check(self, settings: Mapping[str, Any]) -> None:
        """Refuse a model for other stems or another sample rate."""
        made_for = settings.get("audio", {}).get("sample_rate", RATE)
        if {made_for, self.sample_rate} != {RATE}:
            raise HarnessError(
                f"{self._path}: made for {made_for} Hz, run at {self.sample_rate}; audio-separator "
                f"works at {RATE} Hz, correct the entry's sample_rate"
            )
        training = settings.get("training", {})
        several = [] if training.get("target_instrument") else training.get("instruments", [])
        theirs = several or [self._model.primary_stem_name, self._model.secondary_stem_name]
        self.check_fit(self._path, RATE, map(self._name, theirs))


def settings_of(path: Path, table: Path, architecture: str) -> Mapping[str, Any]:
    """Return the settings of a model from a table by the package's own hash, of its last 10 MB."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - HASHED, 0))
        key = hashlib.file_digest(file, "md5").hexdigest()
    try:
        rows = json.loads(table.read_bytes())
        own = json.loads((_package_folder() / "model-data.json").read_bytes())
        found = {**own[f"{architecture}_model_data"], **rows}.get(key)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{table}: is not a table of settings ({error}); fetch it again"
        ) from error
    if not isinstance(found, dict):
        raise HarnessError(
            f"{path}: its settings are not in {table.name}; add config to the entry's params"
        )
    return found


def _package_folder() -> Path:
    """Return where audio-separator is installed; nothing of it is run."""
    spec = importlib.util.find_spec("audio_separator")
    if spec is None or not spec.submodule_search_locations:
        raise HarnessError(
            "audio-separator is not installed; pip install 'mss-harness[audio-separator]'"
        )
    return Path(spec.submodule_search_locations[0])


def _run(model: Any, mixture: Audio) -> dict[str, Any]:
    """Return {the package's name of a stem: estimate} without any scaling."""
    kind = type(model).__name__
    if kind == ARCHITECTURES["vr"]:
        return _through_a_file(model, mixture)
    found = model.demix(mixture)
    if isinstance(found, dict):
        return found
    if kind == ARCHITECTURES["mdx"]:
        rest = mixture - found * model.compensate
        return {model.primary_stem_name: found, model.secondary_stem_name: rest}
    return {model.primary_stem_name: found}


def _through_a_file(model: Any, mixture: Audio) -> dict[str, Any]:
    """Run a model that reads and writes files itself.

    Its last step, which would scale the estimates and write them with 16 bits, is replaced.
    """
    found: dict[str, Any] = {}
    model.final_process = lambda path, source, stem: found.__setitem__(stem, source.T)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input.wav"
        signals.write(path, mixture, RATE)
        model.separate(str(path))
    return found


def _build(
    architecture: str,
    path: Path,
    settings: Mapping[str, Any],
    options: Mapping[str, Any],
    device: str,
) -> Any:
    """Build one of the package's architectures around a model's file."""
    package = "audio_separator.separator"
    try:
        program = importlib.import_module(package).Separator
        module = importlib.import_module(f"{package}.architectures.{architecture}_separator")
    except ImportError as error:
        raise HarnessError(
            f"{path}: needs audio-separator ({error}); "
            "run pip install 'mss-harness[audio-separator]'"
        ) from error
    except RuntimeError as error:  # from a torchvision made for another torch
        raise HarnessError(
            f"{path}: audio-separator cannot be imported ({error}); install torch and torchvision "
            "from the same place"
        ) from error
    module.tqdm = lambda chunks, *_, **__: chunks  # type: ignore[attr-defined]  # its bars break ours
    parameter = f"{architecture}_params"
    defaults: dict[str, Any] = inspect.signature(program).parameters[parameter].default
    if unknown := sorted(options.keys() - defaults.keys()):
        raise HarnessError(
            f"{path}: unknown option {unknown[0]!r} of {architecture}; "
            f"{suggestion(unknown[0], defaults)}"
        )
    build = getattr(module, ARCHITECTURES[architecture])
    with _guarded(path):
        return build(_common(path, settings, device), {**defaults, **options})


def _common(path: Path, settings: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Return the settings that the package's program passes to each architecture."""
    import torch

    logger = logging.getLogger("harness.audio_separator")
    logger.setLevel(logging.CRITICAL + 1)  # problems appear once, in the error
    kind = device.partition(":")[0]
    return {
        "logger": logger,
        "log_level": logging.CRITICAL,
        "torch_device": find_device(device),
        "torch_device_cpu": torch.device("cpu"),
        "torch_device_mps": torch.device("mps") if kind == "mps" else None,
        "onnx_execution_provider": [ONNX.get(kind, "CPUExecutionProvider")],
        "model_name": path.stem,
        "model_path": str(path),
        "model_data": dict(settings),
        "output_format": "WAV",
        "output_dir": "",
        "normalization_threshold": 1.0,
        "amplification_threshold": 0.0,
        "sample_rate": RATE,
    }


@contextmanager
def _guarded(path: Path) -> Iterator[None]:
    """Make torch read pickles as plain values only, and turn any failure into an error.

    The package calls `torch.load` itself, so only the environment can make that safe.
    """
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    except (Exception, SystemExit) as error:
        raise HarnessError(
            f"{path}: audio-separator cannot run it ({type(error).__name__}: {reason(error)}); "
            "check architecture and config"
        ) from error
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
