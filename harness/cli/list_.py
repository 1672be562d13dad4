"""``harness list``."""

from __future__ import annotations

from pathlib import Path

from harness import datasets, registry
from harness.cli import options
from harness.cli.arguments import parse_data
from harness.cli.terminal import print_json, print_table
from harness.datasets.available import dataset_rows
from harness.registry import Entry, expected_score_text
from harness.registry.weight_files import obstacle


def list_everything(
    registry_file: Path | None = options.REGISTRY,
    data: list[str] = options.DATA,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """List separators and datasets, and what is missing to use them."""
    entries = registry.load(registry_file)
    folders = parse_data(data)
    if as_json:
        where = datasets.configured(folders)
        known = {
            name: {
                **{field: getattr(info, field) for field in ("title", "license", "url")},
                "folder": str(where[name]) if name in where else None,
            }
            for name, info in datasets.DATASETS.items()
        }
        separators = {name: entry.model_dump(mode="json") for name, entry in entries.items()}
        print_json({"separators": separators, "datasets": known})
        return
    rows = [
        (e.name, e.role, e.input, ", ".join(e.stems) or "any", state_of(e))
        for e in entries.values()
    ]
    print_table("Separators", ("name", "role", "input", "stems", "state"), rows)
    print_table("Datasets", ("name", "content", "folder, or how to get it"), dataset_rows(folders))


def state_of(entry: Entry) -> str:
    """Return whether a separator can run, and the expected score of an ensemble."""
    expected = expected_score_text(entry) if entry.members else ""
    return "; ".join(filter(None, [obstacle(entry) or "ready", expected]))
