"""Names and messages from others reach the terminal as text, never as its commands."""

import ast
import json
import os
import re
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.cli import terminal

CODES = "\x1b[31m\x1b]0;title\x07\r\x9b2J\u202eabc\u2028\x7f\udcff"
AS_TEXT = r"\x1b[31m\x1b]0;title\x07\r\x9b2J\u202eabc\u2028\x7f\udcff"
MARKUP = "[red]a[/red] :smile:"


@pytest.mark.parametrize("printing", [terminal.say, terminal.show])
def test_lines_show_codes_and_markup_as_text(capsys, printing):
    printing(CODES + MARKUP)
    out, err = capsys.readouterr()
    assert out + err == AS_TEXT + MARKUP + "\n"


def test_a_name_with_a_line_break_forges_no_line_of_results(capsys):
    terminal.show(Path("a\nb"))
    assert capsys.readouterr().out == "a\\nb\n"


def test_words_of_all_languages_stay(capsys):
    terminal.say("Für Elise – 夜曲 \u05e9\u05d9\u05e8\u200f \U0001f3b5\ttab")
    assert "Für Elise – 夜曲 \u05e9\u05d9\u05e8\u200f \U0001f3b5" in capsys.readouterr().err


def test_tables_show_codes_and_markup_as_text(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    cell = CODES + MARKUP
    terminal.print_table(f"title {cell}", ["one", cell], [["x", cell]], notes=[f"note {cell}"])
    shown = capsys.readouterr().out
    assert shown.count(AS_TEXT + MARKUP) == 4
    assert not terminal.CODES.search(shown.replace("\n", ""))


def test_bars_and_questions_show_codes_and_markup_as_text(capsys, monkeypatch):
    asked = []
    monkeypatch.setattr("builtins.input", lambda: asked.append(1) or "y")
    assert terminal.agree(CODES + MARKUP)
    assert AS_TEXT + MARKUP in capsys.readouterr().err
    monkeypatch.setattr(terminal.errors, "_width", 200)  # room for a long name and both times
    with terminal.progress(CODES + "[red]a[/red]", quiet=False) as advance:
        advance(1, 2)
    bar = capsys.readouterr().err
    assert AS_TEXT + "[red]a[/red]" in bar
    assert re.search(r"1/2 elapsed \d:\d\d:\d\d left [-\d]", bar)  # both times have a label
    assert asked == [1]


def test_json_holds_no_code(capsys):
    terminal.print_json({"name": CODES.replace("\x7f", "")})
    shown = capsys.readouterr().out
    assert not terminal.CODES.search(shown)
    assert json.loads(shown)["name"] == CODES.replace("\x7f", "")


@pytest.mark.skipif(os.name == "nt", reason="such file names are not possible")
def test_an_error_with_a_hostile_file_name_is_text(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["harness", "separate", "\x1b[2J[red]a.wav"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == cli.USER_ERROR
    said = capsys.readouterr().err
    assert said == r"error: \x1b[2J[red]a.wav: no such file or folder; check the path" + "\n"


def test_a_registry_row_with_codes_is_text(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    row = r'mine: {extends: repet, unavailable: "needs \e[31m\e]0;t\a[red]more"}'
    Path("model_registry.yaml").write_text(row)
    for verb in ("list", "check"):
        monkeypatch.setattr(sys, "argv", ["harness", verb])
        with pytest.raises(SystemExit):
            cli.main()
        shown = capsys.readouterr().out
        assert not terminal.CODES.search(shown.replace("\n", ""))
        assert r"needs \x1b[31m\x1b]0;t\x07[red]more" in shown


def test_only_the_terminal_prints():
    """Other files of the command line print with `say`, `show` and the tables of `terminal`."""
    for path in Path(cli.__file__).parent.glob("*.py"):
        if path.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                printing = ("print", "typer.echo", "typer.secho", "errors.print", "console.print")
                assert name not in printing, f"{path.name}:{node.lineno}: {name}"
