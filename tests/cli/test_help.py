"""Help, errors and notes are plain English."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from plain_english import faults

import harness
from harness import cli

PACKAGE = Path(harness.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def commands(group, name: str = "harness"):
    """Every command of the program: (name, command)."""
    for verb, command in getattr(group, "commands", {}).items():
        loaded = cli.command(verb) if name == "harness" and verb in cli.VERBS else command
        yield from commands(loaded, f"{name} {verb}")
    yield name, group


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


def texts(node: ast.AST) -> Iterator[str]:
    """Every string below a node that is not a docstring; X for what an f-string inserts."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_plain(name):
    command = COMMANDS[name]
    texts = {"": command.help, **{p.name: p.help for p in command.params}}
    for parameter, text in texts.items():
        what = f"{name} {parameter}: {text!r}"
        assert text, what
        assert len(text.split()) >= 3, what
        assert text[0].isupper() or text.startswith(("joblib", "musdb")), what
        assert text.endswith("."), what
        assert faults(text) == [], what


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_list_of_verbs_begins_their_help(verb):
    assert inspect.cleandoc(cli.command(verb).help).split("\n\n")[0] == cli.VERBS[verb][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_verb_that_uses_separators_or_datasets_takes_offline(name):
    options = {option for p in COMMANDS[name].params for option in p.opts}
    uses = {"--registry", "--data"} & options or name.startswith("harness fetch ")
    if uses and name != "harness select":  # it only writes the registry
        assert "--offline" in options


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_texts_are_plain(path):
    found = texts(ast.parse(path.read_text(encoding="utf-8")))
    assert [fault for text in found if " " in text for fault in faults(text)] == []


def test_an_error_says_what_to_do():
    """The form is `<where>: <what is wrong>; <what to do>`; a variable may hold the last two."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Name("HarnessError" | "StorageError"), [ast.JoinedStr() as form]):
                    (text,) = texts(form)
                    assert re.search(": X$|; ", text), f"{path}:{node.lineno}: {text}"


@pytest.mark.parametrize(
    "text",
    [
        "systems that cannot be told apart",
        "harness separate takes your own music apart",
        "tracks that a network has heard",
        "exit status 2: the user can mend it",
        "one name a song;",
        "--cascade irm: knows the answers; name a separator",
        "scored on 3 of 9 tracks not seen in training",
    ],
)
def test_other_english_is_found(text):
    assert faults(text)


def test_commands_import_torch_only_when_they_compute():
    code = "import sys; from harness import cli; [cli.command(verb) for verb in cli.VERBS]; "
    subprocess.run([sys.executable, "-c", code + "sys.exit('torch' in sys.modules)"], check=True)
