"""YAML, read strictly: plain values only, and nothing that could run, hide or grow.

Registries, recipes and the configurations of published checkpoints come from other people. So tags
that name Python objects are refused, and so are repeated keys, aliases and dates. Numbers are those
of YAML 1.2: ``1e-3`` is a number, ``010`` is ten, and ``1:30`` is a text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from harness.core.errors import HarnessError

MAX_BYTES = 1_000_000  # these files are written by hand; more is a mistake or an attack
MAX_DEPTH = 50  # of mappings and sequences inside one another
PLAIN = ("null", "bool", "int", "float", "str", "seq", "map")


def read(source: Path | str, what: str = "YAML") -> Any:
    r"""Read one document, from a path or from the text itself; None if it is empty.

    Values are None, numbers, texts, lists, tuples (``!!python/tuple``) and dictionaries. `what` is
    the kind of file for errors, which name path and line: ``registry``, ``recipe``.

    Examples
    --------
    >>> read("sizes: [1, 2.5]\nname: x")
    {'sizes': [1, 2.5], 'name': 'x'}
    >>> read("a: 1\na: 2", "recipe")
    Traceback (most recent call last):
    ...
    harness.core.errors.HarnessError: recipe: line 2: 'a' occurs twice; correct the recipe
    """
    where = what if isinstance(source, str) else str(source)
    content = source if isinstance(source, str) else _start_of(source)
    if len(content) > MAX_BYTES:
        raise HarnessError(
            f"{where}: is too large; a {what} has at most {MAX_BYTES} bytes, shorten it"
        )
    try:
        return yaml.load(content, Loader=_Loader)
    except (yaml.YAMLError, ValueError, LookupError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}:" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise HarnessError(f"{where}:{line} {problem}; correct the {what}") from error


def _start_of(path: Path) -> bytes:
    """Return the bytes of a file, at most one more than are allowed."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror}); check the path") from error


class _Loader(yaml.SafeLoader):
    """Plain values and tuples."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise _mistake("aliases are not supported", mark)
        if self.depth >= MAX_DEPTH:
            raise _mistake(f"more than {MAX_DEPTH} levels are not supported", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        found: set[Hashable] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _mistake("a key is not a plain value", key_node.start_mark)
            key = self.construct_object(key_node)
            if key in found:
                raise _mistake(f"{key!r} occurs twice", key_node.start_mark)
            found.add(key)
        return super().construct_mapping(node, deep)

    def construct_tuple(self, node: yaml.Node) -> tuple[Any, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise _mistake("a tuple is not a sequence", node.start_mark)
        return tuple(self.construct_sequence(node, deep=True))

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = str(node.value).replace("_", "")
        return int(text, 0 if re.match("[-+]?0[xob]", text) else 10)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        text = str(node.value).replace("_", "")
        return float(re.sub(r"\.(?=inf|nan)", "", text, flags=re.IGNORECASE))


def _mistake(problem: str, mark: yaml.Mark) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


_Loader.yaml_constructors = {
    tag: build
    for tag, build in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in PLAIN
}
_INT = re.compile(r"[-+]?([0-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)$")
_FLOAT = re.compile(
    r"[-+]?(([0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$"
)
_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag not in (f"{_TAG}int", f"{_TAG}float")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_yaml_int)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_yaml_float)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.construct_tuple)
