"""``harness list``."""

from __future__ import annotations

from pathlib import Path

from harness import datasets, registry
from harness.cli import options
from harness.cli.arguments import parse_data
from harness.cli.options import argument, flag, option
from harness.cli.terminal import print_json, print_table, say, show
from harness.core import taxonomy
from harness.core.errors import HarnessError
from harness.core.text import count
from harness.datasets.available import dataset_rows
from harness.registry import Entry, expected_score_text, pins
from harness.registry import checkpoint_catalog as catalog
from harness.registry.weight_files import size_of
from harness.separators import obstacle

MOST_STEMS = 6  # that a line names


def list_everything(
    words: list[str] = argument("WORD", [], "With --catalog: words that a row must have.", False),
    of_catalog: bool = flag(
        "--catalog", "List the catalog instead: open checkpoints that run by name."
    ),
    stem: str = option("--stem STEM", "", "With --catalog: only what returns this stem.", False),
    use: str = option(
        "--license USE",
        "",
        "With --catalog: 'commercial' for licenses that are stated and allow commercial use.",
        False,
    ),
    registry_file: Path | None = options.REGISTRY,
    data: list[str] = options.DATA,
    offline: bool = options.OFFLINE,
    as_json: bool = options.AS_JSON,
) -> None:
    """List separators and datasets, and what is missing to use them."""
    if of_catalog:
        _list_catalog(words, stem, use, as_json)
        return
    if words or stem or use:
        raise HarnessError("list: words, --stem and --license are for the catalog; add --catalog")
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
    return "; ".join(filter(None, [obstacle(entry) or "ready", _pins(entry), expected]))


def _pins(entry: Entry) -> str:
    """Return whether a hash is that of the first file used; empty if all are published."""
    unsure = any(file.sha256 is None and file.urls for file in entry.weights)
    return pins.NOTE if unsure and not entry.unavailable else ""


def _list_catalog(words: list[str], stem: str, use: str, as_json: bool) -> None:
    """List what of the catalog fits."""
    if use not in ("", "commercial"):
        raise HarnessError(f"--license {use}: not known; write commercial, or leave it out")
    wanted = taxonomy.canonical(stem) if stem else ""
    rows = catalog.search(words, wanted, commercial=bool(use))
    if as_json:
        print_json({"catalog": [row.model_dump(mode="json") for row in rows]})
        return
    width = max((len(row.name) for row in rows), default=0)
    for row in rows:
        show(f"{row.name:{width}}  {_facts(row)}")
    say(f"{count(len(rows), 'checkpoint')}; the facts are those of public lists, docs/catalog.md")


def _facts(row: catalog.CatalogRow) -> str:
    """Return what the catalog knows of a checkpoint in one line; names are not broken in it."""
    stems = ", ".join(row.stems[:MOST_STEMS]) + (", …" if len(row.stems) > MOST_STEMS else "")
    data = "unknown" if row.trained_on is None else ", ".join(row.trained_on)
    parts = [
        stems,
        row.type,
        size_of(row.entry().weights),
        f"license {row.license}",
        f"trained on {data}",
    ]
    return "; ".join(filter(None, [*parts, row.unavailable or _pins(row.entry())]))
