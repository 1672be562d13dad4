"""From a bad server to estimates: published separators with small weights in their formats."""

import hashlib
import io
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from test_demucs import DRUMSEP, FOUR, RATE, model_of, package
from test_mel_roformer import CONFIG, network_of
from test_published_networks import BAND, DTT, UNMIX, bands, paths, targets
from test_scnet import TINY, tiny
from test_spleeter import SMALL, arrays
from test_tasnet import SMALL as SMALL_TASNET
from test_tasnet import music, published
from web import Server, redirect, send

from harness import cli, registry
from harness.separators import load

DEMUCS = {"sample_rate": RATE}
ROFORMER = {"sample_rate": CONFIG["audio"]["sample_rate"], "params": {"config": CONFIG}}
SPLEETER = {"params": {"network": SMALL}}
OPEN_UNMIX, BSRNN, DTTNET = ({"params": {"network": sizes}} for sizes in (UNMIX, BAND, DTT))
TASNET = {"sample_rate": RATE, "params": {"network": {**SMALL_TASNET, "segment": RATE}}}
SCNET = {"sample_rate": 8000, "params": {"network": TINY}}
# {registry row: (what else a row says of weights so small, what its files hold)}
PUBLISHED = {
    "htdemucs": (DEMUCS, lambda: [package(model_of(HTDemucs))]),
    "htdemucs_ft": (DEMUCS, lambda: [package(model_of(HTDemucs, seed=i)) for i in range(4)]),
    "htdemucs_6s": (DEMUCS, lambda: [package(model_of(HTDemucs, [*FOUR, "guitar", "piano"]))]),
    "hdemucs_mmi": (DEMUCS, lambda: [package(model_of(HDemucs))]),
    "drumsep": (DEMUCS, lambda: [package(model_of(HDemucs, DRUMSEP))]),
    "spleeter_2stems": (SPLEETER, lambda: [arrays(), arrays()]),
    "umxhq": (OPEN_UNMIX, lambda: targets(4)),
    "umx": (OPEN_UNMIX, lambda: targets(4)),
    "bsrnn_simo": (BSRNN, lambda: [{"state_dict": bands()}]),
    "dttnet_vocals": (DTTNET, lambda: [{"state_dict": paths(40)}]),
    "dttnet": (DTTNET, lambda: [paths(bins) for bins in (40, 24, 40, 40)]),
    "scnet": (SCNET, lambda: [tiny().state_dict()]),
    "scnet_large": (SCNET, lambda: [{"best_state": as_parallel(tiny().state_dict())}]),
    "tasnet_beb46fac": (TASNET, lambda: [published(music())]),
    "mel_roformer": (ROFORMER, lambda: [network_of().state_dict()]),
    "mel_roformer_karaoke": (ROFORMER, lambda: [{"state_dict": network_of().state_dict()}]),
}


def as_parallel(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name tensors as training on several devices does."""
    return {f"module.{name}": tensor for name, tensor in state.items()}


def as_bytes(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def misbehave(server: Server, files: dict[str, bytes]) -> None:
    """Serve files truncated, as other files, and right: by a redirect and in two pieces."""
    asked: Counter[str] = Counter()

    def behave(http, _):
        _, place, name = http.path.split("/")
        content = files[name]
        asked[http.path] += 1
        if place == "truncated":
            send(http, content[:-5])
        elif place == "other":
            send(http, bytes(reversed(content)))
        elif place == "moved":
            redirect(http, f"/right/{name}")
        else:
            send(http, content, stop=len(content) // 2 if asked[http.path] == 1 else None)

    server.behave = behave


@pytest.mark.parametrize("name", PUBLISHED)
def test_fetched_from_a_bad_server_it_separates(name, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    known = registry.find(registry.load(), name)
    more, make = PUBLISHED[name]
    contents = [as_bytes(content) for content in make()]
    files = {w.file: content for w, content in zip(known.weights, contents, strict=True)}
    misbehave(server, files)
    address = server.url.rsplit("/", 1)[0]
    rows = [
        {
            "file": file,
            "sha256": hashlib.sha256(content).hexdigest(),
            "size": len(content),
            "urls": [f"{address}/{place}/{file}" for place in ("truncated", "other", "moved")],
        }
        for file, content in files.items()
    ]
    row = {"extends": name, "weights": rows, **more}
    Path(registry.FILE_NAME).write_text(json.dumps({"mine": row}))
    monkeypatch.setattr(sys, "argv", ["harness", "fetch", "separator", "mine"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert {p.name: p.read_bytes() for p in (tmp_path / "cache/weights").iterdir()} == files
    separator = load(registry.load()["mine"], stems=(), sample_rate=RATE)
    music = np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32)
    estimates = separator.separate(music)
    assert set(estimates) == set(known.stems)
    assert all(np.isfinite(x).all() and np.abs(x).max() > 0 for x in estimates.values())
    assert all(x.shape == music.shape for x in estimates.values())
