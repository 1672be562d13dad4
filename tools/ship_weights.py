"""Take what `harness train` left into the package, and print its registry row.

    python tools/ship_weights.py training/asnet asnet_demo

The weights become 16-bit (half the size, errors of at most 0.05 %); curves and card come along, and
the card says so. Paste the row into model_registry.yaml.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

from harness.registry import weight_files
from harness.separators import checkpoints
from harness.separators.learned import load_network

ROW = """{name}:
  title: {network} (trained on demo music)
  family: network
  stems: {stems}
  sample_rate: {sample_rate}
  channels: {channels}
  weights:
    - file: {file}
      sha256: {sha256}
      size: {size}
  trained_on: {trained_on}
"""
KEPT = ("card.json", "card.md", "curves.csv", "curves.png")


def ship(folder: Path, name: str, target: Path = weight_files.CHECKPOINTS) -> str:
    """Write weights, card and curves under a name; return the registry row."""
    (source,) = (path for path in folder.glob("*.safetensors") if path.stem != "state")
    metadata = checkpoints.load(source).metadata
    target.mkdir(exist_ok=True)
    path = target / f"{name}.safetensors"
    checkpoints.save(path, load_network(source), metadata, half=True)
    for ending in KEPT:
        shutil.copyfile(source.with_suffix(f".{ending}"), target / f"{name}.{ending}")
    for ending in ("card.json", "card.md"):  # the card bears the name of the row
        card = target / f"{name}.{ending}"
        card.write_text(card.read_text(encoding="utf-8").replace(source.stem, name, 1), "utf-8")
    config = metadata["config"]
    return ROW.format(
        name=name,
        network=metadata["network"],
        stems=f"[{', '.join(config['stems'])}]",
        sample_rate=config["sample_rate"],
        channels=config["channels"],
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        trained_on=json.dumps(metadata["trained_on"]),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the --out of harness train")
    parser.add_argument("name", help="of the registry row; ends in _demo or _small")
    options = parser.parse_args()
    print(ship(options.folder, options.name))


if __name__ == "__main__":
    main()
