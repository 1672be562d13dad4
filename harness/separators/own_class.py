"""A class of the user's own code as a separator."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.core.audio import Audio
from harness.core.errors import HarnessError
from harness.registry import suggestion
from harness.separators.command import named_files

TARGET = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*):([^\W\d]\w*)")
METHOD = "separate"
ATTRIBUTES = ("sample_rate", "stems", "input_stem")
_OURS: set[str] = set()  # names of the modules that were imported for a class


class OwnClass:
    """Load a class from the folder worked in, and check what it is and what it returns.

    `params` are those of the entry: ``class`` is ``module:Class``, all others are keyword arguments
    of the class, next to ``sample_rate``, ``stems`` and ``input_stem``.
    """

    def __init__(self, **params: Any) -> None:
        self._name = str(params.pop("class", ""))
        own = _find(self._name)
        try:
            self._separator = own(**params)
        except Exception as error:
            raise HarnessError(
                f"{self._name}: cannot be built with {', '.join(params)} ({_said(error)}); "
                "correct the class or the entry's params"
            ) from error
        lacks = [name for name in (*ATTRIBUTES, METHOD) if not hasattr(self._separator, name)]
        if lacks:
            raise HarnessError(
                f"{self._name}: has no {', '.join(lacks)}; add it, see docs/separators.md"
            )
        self.sample_rate = int(self._separator.sample_rate)
        self.stems = tuple(self._separator.stems)
        self.input_stem = str(self._separator.input_stem)

    @property
    def notes(self) -> list[str]:
        """What the class says of its last signal."""
        return list(map(str, getattr(self._separator, "notes", ())))

    @property
    def parameters(self) -> int | None:
        """Number of trained values, if the class says so."""
        own = getattr(self._separator, "parameters", None)
        return own if isinstance(own, int) else None

    def separate(self, audio: Audio) -> dict[str, Audio]:
        """Return {stem: estimate} as the class gives them."""
        given = self._separator.separate(audio)
        if not isinstance(given, Mapping):
            kind = type(given).__name__
            raise HarnessError(f"{self._name}: returned a {kind}; return {{stem: estimate}}")
        for stem, estimate in given.items():
            if not isinstance(estimate, np.ndarray):
                raise HarnessError(
                    f"{self._name}, {stem}: is a {type(estimate).__name__}; return NumPy arrays "
                    "of shape (channels, samples)"
                )
        return dict(given)

    @staticmethod
    def about(params: Mapping[str, Any]) -> str:
        """Return in words what an entry with these parameters runs."""
        name = str(params.get("class", ""))
        path = next(iter(_places(name.partition(":")[0], Path.cwd())), None)
        return f"the class {name}" + (f" in {path}" if path else "")

    @staticmethod
    def files(params: Mapping[str, Any]) -> list[Path]:
        """Return the module, what it imports from the folder worked in, and files in `params`."""
        module = str(params.get("class", "")).partition(":")[0]
        return [*_sources(module, Path.cwd()), *named_files(params.values())]


def _find(target: str) -> Any:
    """Return a class of the folder worked in, from its code as it is now."""
    folder = Path.cwd()
    if not (parts := TARGET.fullmatch(target)):
        raise HarnessError(f"class {target!r}: is not of the form module:Class; correct the entry")
    module, name = parts[1], parts[2]
    sources = _sources(module, folder)
    if not sources:
        raise HarnessError(
            f"{target}: there is no {module.replace('.', '/')}.py in {folder}; run the command in "
            "the folder of your code, or correct the entry"
        )
    loaded = _imported(module, folder, sources)
    if not isinstance(found := getattr(loaded, name, None), type):
        own = [n for n, value in vars(loaded).items() if isinstance(value, type)]
        hint = suggestion(name, own) if own else "it has no classes"
        raise HarnessError(f"{target}: {loaded.__file__} has no class {name!r}; {hint}")
    return found


def _imported(module: str, folder: Path, sources: list[Path]) -> ModuleType:
    """Import a module of a folder anew, with those of its own that it imports."""
    for name, path in _files_of_modules().items():
        if name in _OURS or path in sources:
            del sys.modules[name]
    before = {*sys.modules}
    if other := sys.modules.get(module):
        raise HarnessError(
            f"{sources[0]}: {module} is already the name of {getattr(other, '__file__', 'another')}"
            "; rename your file"
        )
    try:
        with _importable(folder):
            return importlib.import_module(module)
    except (Exception, SystemExit) as error:  # it is not our code
        raise HarnessError(
            f"{sources[0]}: cannot be imported ({_said(error)}); correct it"
        ) from error
    finally:
        files = _files_of_modules()
        _OURS.update(n for n in files.keys() - before if files[n].is_relative_to(folder))


def _files_of_modules() -> dict[str, Path]:
    files = {name: getattr(module, "__file__", None) for name, module in [*sys.modules.items()]}
    return {name: Path(file) for name, file in files.items() if isinstance(file, str)}


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Look for modules in a folder first; later, for imports within methods, last.

    No compiled code is written there: Python could take it for that of a file changed since.
    """
    was, path = sys.dont_write_bytecode, str(folder)
    sys.dont_write_bytecode = True
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = was
        sys.path.remove(path)
        if path not in sys.path:
            sys.path.append(path)


def _sources(module: str, folder: Path) -> list[Path]:
    """Return the files of a module and of all modules of the folder that it imports, in turn."""
    found: dict[Path, None] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        for path in _places(name, folder):
            if path not in found:
                found[path] = None
                todo += _imports(path, name)
    return list(found)


def _places(module: str, folder: Path) -> list[Path]:
    """Return the file of a module first, then those of the packages that it is in."""
    place = folder
    found: list[Path] = []
    for part in module.split("."):
        place = place / part
        options = place / "__init__.py", place.with_name(f"{part}.py")
        found = [*(path for path in options if part and path.is_file()), *found]
    return found


def _imports(path: Path, module: str) -> list[str]:
    """Return the names of modules that a file may import; none of a file that is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):
        return []
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
    return [name for name in names if name]


def _said(error: BaseException) -> str:
    """Return what an error of other code says, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
