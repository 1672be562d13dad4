"""The shape of the package: twelve rooms, imports in one direction, names that stand once."""

import ast
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOMS = (
    "core", "registry", "datasets", "metrics", "separators", "results", "selection", "songs",
    "training", "benchmark", "report", "cli",
)  # fmt: skip
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "harness"
FACE = PACKAGE / "__init__.py"  # the public names: imported lazily from every room
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != FACE)
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, anywhere in it, types included."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "harness":
            names |= {
                inner if (inner := f"{node.module}.{alias.name}") in MODULES else str(node.module)
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("harness.")}
    return names & set(MODULES)


IMPORTS = {name: imports_of(path) for name, path in MODULES.items()}


def test_there_are_twelve_rooms_and_nothing_beside_them():
    beside = {path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    data = {"checkpoints", "catalog"}
    assert beside - {"__pycache__"} == {*ROOMS, "__init__.py", "__main__.py", *data}
    assert not [path for name in data for path in (PACKAGE / name).rglob("*.py")]


def test_contributors_are_told_this_order():
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert " → ".join(ROOMS) in guide


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"harness.__main__"}))
def test_a_room_imports_only_from_its_left(module):
    left = set(ROOMS[: ROOMS.index(room_of(module)) + 1])
    assert {room_of(name) for name in IMPORTS[module]} <= left


def test_no_module_imports_itself_through_others():
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_a_file_name_stands_once():
    names = Counter(path.stem for path in FILES if path.stem not in ("__init__", "__main__"))
    assert [name for name, n in names.items() if n > 1] == []


def test_a_class_name_stands_once():
    names = Counter(
        node.name for path in FILES for node in tree_of(path).body if isinstance(node, ast.ClassDef)
    )
    assert [name for name, n in names.items() if n > 1] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_command_line_prints(module):
    calls = [
        node.func.id
        for node in ast.walk(tree_of(MODULES[module]))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert room_of(module) == "cli" or "print" not in calls
