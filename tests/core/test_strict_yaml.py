"""One reader for the YAML of others: plain values, and one line on what is wrong."""

import math

import pytest

from harness.core import strict_yaml
from harness.core.errors import HarnessError


def error_of(source):
    with pytest.raises(HarnessError) as caught:
        strict_yaml.read(source, "recipe")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_plain_values_are_read(tmp_path):
    text = "a: [1, 2.5, yes, null, x]\nb: {c: !!python/tuple [1, !!python/tuple [2]]}\nd: .inf\n"
    found = {"a": [1, 2.5, True, None, "x"], "b": {"c": (1, (2,))}, "d": math.inf}
    (tmp_path / "a.yaml").write_text(text)
    assert strict_yaml.read(text) == strict_yaml.read(tmp_path / "a.yaml") == found


def test_numbers_are_those_of_yaml_1_2():
    read = strict_yaml.read
    assert read("[1e-3, 2E4, -1.5e+2, .5, 3., 7]") == [0.001, 20000.0, -150.0, 0.5, 3.0, 7]
    assert read("[044100, 0x10, 0o10, 1_000, -08]") == [44100, 16, 8, 1000, -8]
    assert read("[1:30, 1.2.3, e5, 1e, '1e3', -]") == ["1:30", "1.2.3", "e5", "1e", "1e3", "-"]
    assert [read("-.inf"), read("+.Inf")] == [-math.inf, math.inf]
    assert math.isnan(read(".NaN"))


def test_an_empty_file_is_none(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"")
    assert strict_yaml.read(tmp_path / "a.yaml") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 1,\n  c: 2}", "line 3: 'c' occurs twice"),
        ("1: x\n\n1.0: y", "line 3: 1.0 occurs twice"),
        ("a: &x [1]\nb: *x", "line 2: aliases are not supported"),
        ("a: {<<: {b: 1}}", "line 1: could not determine a constructor"),
        ("? [a]\n: 1", "line 1: a key is not a plain value"),
        ("? !!python/tuple [[1]]\n: 1", "line 1: a key is not a plain value"),
        ("a: 2024-05-01", "line 1: could not determine a constructor"),
        ("a: !!binary aGk=", "line 1: could not determine a constructor"),
        ("a: !!set {b}", "line 1: could not determine a constructor"),
        ("a:\n- !!python/tuple {x: 1}", "line 2: a tuple is not a sequence"),
        ("a: !!python/name:os.system", "line 1: could not determine a constructor"),
        ("a: !!bool maybe", "'maybe'"),
        ("a: !!int ''", "; correct the recipe"),
        ("a: " + 5000 * "9", "; correct the recipe"),
        (60 * "[" + 60 * "]", "line 1: more than 50 levels are not supported"),
        (100_000 * "[", "line 1: more than 50 levels are not supported"),
        ("a: [1, 2", "line 1: "),
        ("a: \0", "; correct the recipe"),
        ("--- 1\n--- 2", "line 2: but found another document"),
    ],
)
def test_everything_else_is_refused_with_its_line(text, problem):
    found = error_of(text)
    assert found.startswith("recipe: ")
    assert problem in found


def test_a_program_does_not_run(tmp_path):
    written = tmp_path / "written"
    for tag in ("object/apply", "object/new"):
        path = tmp_path / "a.yaml"
        path.write_text(f"a:\n- !!python/tuple [!!python/{tag}:os.system ['touch {written}']]")
        assert error_of(path).startswith(f"{path}: line 2: could not determine a constructor")
    assert not written.exists()


def test_what_cannot_be_read_is_named_with_its_path(tmp_path):
    path = tmp_path / "a.yaml"
    assert error_of(path) == f"{path}: cannot be read (No such file or directory); check the path"
    path.write_bytes(b"a: \xff\xfe")
    assert error_of(path).startswith(f"{path}: ")
    path.write_bytes(b"#" * 1_000_001)
    assert "a recipe has at most 1000000 bytes" in error_of(path)
    path.write_bytes(b"#" * 1_000_000)
    assert strict_yaml.read(path) is None
