from pathlib import Path

import pytest

from harness import registry, separators
from harness.core import strict_yaml
from harness.core.errors import HarnessError
from harness.separators import FAMILIES, load

MISSION = {
    "asnet_demo", "htdemucs", "htdemucs_ft", "htdemucs_6s", "scnet", "scnet_large", "mel_roformer",
    "mel_roformer_karaoke", "drumsep", "repet_sim", "nmf", "unet_demo", "simplified_demucs_demo",
    "hpss", "repet", "mixture", "ibm", "irm", "mwf",
}  # fmt: skip


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def error_of(path: Path) -> str:
    with pytest.raises(HarnessError) as caught:
        registry.load(path)
    return str(caught.value)


def test_every_separator_of_the_mission_has_a_row():
    assert set(registry.load()) >= MISSION


@pytest.mark.parametrize(
    "entry",
    [e for e in registry.load().values() if not separators.obstacle(e)],
    ids=lambda e: e.name,
)
def test_available_entries_load(entry):
    separator = load(entry, stems=("vocals", "accompaniment"), sample_rate=16000)
    assert separator.sample_rate == (entry.sample_rate or 16000)
    assert separator.input_stem == entry.input
    assert tuple(separator.stems) == (entry.stems or ("vocals", "accompaniment"))


def test_unavailable_entries_say_why(tmp_path):
    waiting = [e for e in registry.load().values() if e.unavailable]
    assert all(len(e.unavailable) > 10 for e in waiting)
    for entry in waiting:
        with pytest.raises(HarnessError, match="choose another"):
            load(entry, stems=(), sample_rate=44100)


@pytest.mark.parametrize("file", ['""', '"a\\0.th"', '"a\\n.th"'])
def test_names_no_file_can_have_are_refused(tmp_path, file):
    path = write(tmp_path / "r.yaml", f"mine: {{family: nmf, weights: [{{file: {file}}}]}}")
    assert "mine: weights.0.file" in error_of(path)


def test_unknown_key_is_answered_with_the_nearest(tmp_path):
    path = write(tmp_path / "r.yaml", "mine: {family: nmf, param: {}}")
    assert error_of(path) == f"{path}: mine: unknown key 'param'; did you mean 'params'?"


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(HarnessError, match="did you mean 'htdemucs_ft'"):
        registry.find(registry.load(), "htdemucs-ft")


def test_unknown_family_is_answered_with_the_nearest(tmp_path):
    path = write(tmp_path / "r.yaml", "mine: {family: nfm}")
    with pytest.raises(HarnessError, match="unknown family 'nfm'; did you mean 'nmf'"):
        load(registry.load(path)["mine"], stems=(), sample_rate=8000)


def test_unknown_parameter_names_the_entry(tmp_path):
    path = write(tmp_path / "r.yaml", "mine: {extends: nmf, params: {speed: 3}}")
    with pytest.raises(HarnessError, match=r"mine: params .*speed"):
        load(registry.load(path)["mine"], stems=(), sample_rate=8000)


def test_extends_merges_params_and_replaces_the_rest(tmp_path):
    text = """
base: {family: nmf, stems: [vocals], params: {a: 1, b: 2}}
child: {extends: base, title: Child, params: {b: 3}}
"""
    child = registry.load(write(tmp_path / "r.yaml", text))["child"]
    assert (child.family, child.stems, dict(child.params)) == ("nmf", ("vocals",), {"a": 1, "b": 3})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {extends: b}\nb: {extends: a}", "extends itself"),
        ("a: {extends: nmff}", "did you mean 'nmf'"),
        ("a: {extends: [nmf]}", "a extends ['nmf']"),
        ("a: [1, 2", "line 1"),
        ("a: {family: nmf}\na: {family: nmf}", "occurs twice"),
        ("a: &x {family: nmf}\nb: *x", "aliases are not supported"),
        ("- a\n- b", "expected a mapping"),
        ("../a: {family: nmf}", "bad name"),
        ("reference: {family: nmf}", "means the true stem"),
        ("nmf: {family: nmf}", "built-in entry"),
        ("a: {family: nmf, sample_rate: -1}", "sample_rate: input should be greater than 0"),
        ("a: {stems: [vocals]}", "family: field required"),
        ("a: {family: nmf, weights: [{file: x, sha256: beef}]}", "sha256"),
        ("a: !!python/object/apply:os.system ['touch pwned']", "could not determine a constructor"),
    ],
)
def test_bad_registries_are_refused_in_one_line(tmp_path, text, message):
    found = error_of(write(tmp_path / "r.yaml", text))
    assert message in found
    assert "\n" not in found


def test_a_long_chain_of_rows_that_extend_each_other_is_read(tmp_path, monkeypatch):
    rows = {"r0": {"family": "nmf", "params": {"first": 0}}}
    rows |= {f"r{n}": {"extends": f"r{n - 1}", "params": {"last": n}} for n in range(1, 3000)}
    for order in (rows, dict(reversed(rows.items()))):
        monkeypatch.setattr(strict_yaml, "read", lambda *_, found=order: found)
        last = registry.load(tmp_path / "r.yaml")["r2999"]
        assert (last.family, dict(last.params)) == ("nmf", {"first": 0, "last": 2999})


def test_a_text_is_one_line(tmp_path):
    text = "a: {family: nmf, title: 'x\n\n  y', unavailable: \"gone\\nerror: forged\"}"
    row = registry.load(write(tmp_path / "r.yaml", text))["a"]
    assert (row.title, row.unavailable) == ("x y", "gone error: forged")


@pytest.mark.parametrize("kind", ["folder", "broken link", "unreadable"])
def test_an_unreadable_registry_of_the_working_folder_is_no_traceback(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / registry.FILE_NAME
    if kind == "folder":
        own.mkdir()
    elif kind == "broken link":
        own.symlink_to("absent")
    else:  # as root may read every file, it is one that nobody can read
        if not Path("/proc/self/mem").exists():
            pytest.skip("only Linux has such a file")
        own.symlink_to("/proc/self/mem")
    with pytest.raises(HarnessError, match=r"^model_registry\.yaml: cannot be read"):
        registry.load()


def test_unreadable_yaml_says_where(tmp_path):
    assert "cannot be read" in error_of(tmp_path / "absent.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00a: \x00")
    assert "binary.yaml" in error_of(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"#" * 1_000_001)
    assert "at most 1000000" in error_of(tmp_path / "huge.yaml")


def test_identity_changes_with_what_can_change_a_score_only(tmp_path):
    text = """
a: {family: nmf, params: {x: 1}}
retitled: {extends: a, title: Other words, url: elsewhere}
changed: {extends: a, params: {x: 2}}
"""
    entries = registry.load(write(tmp_path / "r.yaml", text))
    assert entries["a"].identity() == entries["retitled"].identity()
    assert entries["a"].identity() != entries["changed"].identity()


def test_registry_of_the_working_folder_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "model_registry.yaml", "mine: {extends: nmf}")
    assert registry.load()["mine"].family == "nmf"


def test_families_name_code_that_exists():
    import importlib

    for family in FAMILIES.values():
        module, _, name = family.target.partition(":")
        assert callable(getattr(importlib.import_module(module), name))


def test_expected_scores_of_an_ensemble_are_one_line_of_text():
    params = {
        "stems": {"vocals": {"hpss": 0.25, "repet": 0.75}},
        "chosen_on": ["demo:test"],
        "tracks": 1,
        "artists": 2,
        "held_out": {"vocals": {"score": -1.5, "low": -2, "high": 0.25}},
    }
    entry = registry.ensemble("mine", params, registry.load())
    known = "chosen on demo:test (1 track, 2 artists); held out vocals −1.50 dB (−2.00 to 0.25)"
    assert registry.expected_score_text(entry) == known
    text = f"saved: mine, vocals: 0.25 hpss + 0.75 repet\n{known}"
    assert registry.describe_saved(entry) == text
