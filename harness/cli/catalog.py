"""``harness catalog add``: a row for a model that no list has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
import yaml

from harness import registry
from harness.cli import options
from harness.cli.arguments import name_from, parse_trained_on
from harness.cli.options import argument, flag, option
from harness.cli.terminal import say, show
from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.core.files import file_digest
from harness.core.taxonomy import canonical
from harness.registry.checkpoint_catalog import UNKNOWN_LICENSE, our_stems

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def catalog() -> None:
    """Add a model of your own to the registry; 'harness list --catalog' shows those of others."""


@app.command("add")
def add(
    config: Path = argument("CONFIG", ..., "Configuration (YAML) of the MSS-Training tool."),
    checkpoint: Path = argument("CHECKPOINT", ..., "The weights that belong to it."),
    name: str = option("--name NAME", "", "Name of the row.", "from the file"),
    model_type: str = option(
        "--type TYPE", "", "The tool's name of the network.", "what the configuration shows"
    ),
    source: str = option("--input STEM", "mixture", "The stem that it separates."),
    trained_on: list[str] = options.TRAINED_ON,
    terms: str = option("--license TEXT", UNKNOWN_LICENSE, "License of the weights."),
    registry_file: Path = option(
        "--to FILE", Path(registry.FILE_NAME), "YAML file that gets the row."
    ),
    force: bool = flag("--force", "Replace a row of that name in the file."),
) -> None:
    """Make a row of a configuration and a checkpoint, and append it to your model_registry.yaml.

    Stems and sample rate come from the configuration. Nothing is run, and the checkpoint is not
    opened: its sha256 in the row says which file is meant.
    """
    from harness.selection.saving import add_row

    chosen = name or name_from(checkpoint.stem)
    row = row_of(config, checkpoint, chosen)
    row["params"] |= {"model_type": model_type} if model_type else {}
    row |= {"input": source} if source != "mixture" else {}
    data = parse_trained_on(trained_on)
    row |= {"trained_on": None if data is None else list(data), "license": {"weights": terms}}
    add_row(chosen, row, registry_file, force=force)
    show_row(chosen, row)
    say(f"added to {registry_file}; try it: harness run --separator {chosen}")


def show_row(name: str, row: Mapping[str, Any]) -> None:
    """Print a row as YAML."""
    for line in yaml.safe_dump({name: dict(row)}, sort_keys=False, width=100).splitlines():
        show(line)


def row_of(config: Path, checkpoint: Path, name: str) -> dict[str, Any]:
    """Return the fields of a row that follow from the two files."""
    training, audio = _sections(config, "training", "audio")
    instruments = training.get("instruments")
    if not isinstance(instruments, list) or not all(isinstance(s, str) for s in instruments):
        raise HarnessError(
            f"{config}: no list of names in training.instruments; "
            "use a configuration of the MSS-Training tool"
        )
    names = our_stems(instruments)
    if not all(names.values()):
        raise HarnessError(f"{config}: an instrument has no letters in its name; rename it")
    target = training.get("target_instrument")
    if target is not None and not (isinstance(target, str) and target in names):
        raise HarnessError(
            f"{config}: target_instrument {target!r} is none of {', '.join(names)}; correct it"
        )
    two = len(names) == 2  # the other one is what remains
    different = {name: ours for name, ours in names.items() if canonical(name) != ours}
    return {
        "title": name,
        "family": "msst",
        "stems": list(names.values()) if target is None or two else [names[target]],
        "sample_rate": audio.get("sample_rate", 44100),
        "channels": 2,
        "params": {"config": config.name, **({"names": different} if different else {})},
        "weights": [_file(checkpoint), _file(config)],
    }


def _sections(config: Path, *names: str) -> list[dict[str, Any]]:
    """Return sections of a configuration; empty where there is none."""
    settings = strict_yaml.read(config, "configuration")
    whole = settings if isinstance(settings, dict) else {}
    return [part if isinstance(part := whole.get(name), dict) else {} for name in names]


def _file(path: Path) -> dict[str, Any]:
    """Return a file as a row names it."""
    try:
        return {
            "file": str(path.resolve()),
            "sha256": file_digest(path),
            "size": path.stat().st_size,
        }
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error
