"""A module imports only from its left, so that each stage can be read and run alone."""

import ast
from pathlib import Path

import pytest

ORDER = (
    "errors", "audio", "bands", "taxonomy", "cache", "download", "registry", "weight_files",
    "weights", "datasets", "networks", "separators", "metrics", "costs", "results", "grid",
    "ranking", "importing", "benchmark", "selection", "report", "training", "pipeline", "exporting",
    "viewing", "reproduce", "saving", "choice", "songs", "stem_files", "separating", "inventory", "cli", "__main__",
)  # fmt: skip
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness"
FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"
)


def test_the_order_is_the_one_that_contributors_are_told():
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("    errors → ")[1]
    assert ("errors", *told.split("\n\n")[0].replace("→", " ").split()) == ORDER


def stage_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_stages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "harness":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("harness.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_left(path):
    own = stage_of(path)
    assert own in ORDER, f"give {own} its place in ORDER"
    left = set(ORDER[: ORDER.index(own) + 1])
    assert imported_stages(path) <= left


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path):
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert stage_of(path) == "cli" or "print" not in calls
