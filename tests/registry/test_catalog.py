"""The catalog as a user meets it: rows checked, found by name, pinned, refused if hostile."""

import hashlib
import importlib.util
import json
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from web import send

from harness import cli, registry, separators
from harness.benchmark import Settings
from harness.benchmark.plan import make_plan
from harness.cli.check import _examine_entry
from harness.core.download import address, forbidden
from harness.core.errors import HarnessError
from harness.registry import checkpoint_catalog as catalog
from harness.registry import pins, weight_files
from harness.registry.checkpoint_catalog import FAMILY_OF, PATH, checked_row
from harness.registry.weight_files import size_of
from harness.results.leaks import leak_statuses
from harness.results.runs import PAIR
from harness.separators import audio_separator, load, protocol
from harness.songs.choosing import _named

ROWS = list(catalog.rows())
BUILT_IN = registry.load(registry.built_in_path())
FIRST, SECOND = b"weights of the first release", b"weights of another release."
A_TEST_SONG = ("musdb18hq", "test", "Al James - Schoolboy Facination")


@pytest.fixture
def harness(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder with an empty cache; return (output, messages)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))

    def call(*arguments: str, expected: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert (stop.value.code or 0) == expected, err
        return out, " ".join(err.split())

    return call


@pytest.fixture
def one_row(tmp_path, monkeypatch, server):
    """Make a catalog of one row, whose file lies on a hub on this machine."""
    monkeypatch.setenv("HF_ENDPOINT", server.url.removesuffix("/file.zip"))
    server.behave = lambda http, _: send(http, server.content)
    server.content = FIRST

    def write(**changes) -> dict:
        weights = [{"file": "own.th", "urls": ["hf:someone/models/own.th@v1"]}]
        row = {**GOOD, "weights": weights, **changes}
        path = tmp_path / "models.jsonl"
        path.write_text(json.dumps(row) + "\n")
        monkeypatch.setattr(catalog, "PATH", path)
        forget()
        return row

    yield write
    monkeypatch.undo()
    forget()


def forget() -> None:
    catalog._raw.cache_clear()
    catalog._aliases.cache_clear()


GOOD = {
    "name": "own_model",
    "title": "A model",
    "type": "demucs",
    "stems": ["drums", "bass", "other", "vocals"],
    "weights": [{"file": "own.th", "urls": ["https://example.org/own.th"]}],
    "license": "not stated",
    "trained_on": None,
    "also": ["someones_model"],
    "lists": ["a list 1.0"],
}


# --- every row ------------------------------------------------------------------------------------


def test_at_least_250_checkpoints_run():
    able = [row for row in ROWS if not row.unavailable]
    files = {row.weights[0].file for row in able}
    assert len(able) >= 400
    assert len(files) >= 400


def test_names_are_unique_and_not_those_of_the_registry():
    names = [name for row in ROWS for name in {row.name, *row.also}]
    assert [name for name, n in Counter(names).items() if n > 1] == []
    assert not {row.name for row in ROWS} & set(BUILT_IN)


def test_a_file_name_means_one_file():
    meant: dict[str, set] = {}
    for row in ROWS:
        for file in row.weights:
            meant.setdefault(file.file.lower(), set()).add(file.model_dump_json())
    for entry in BUILT_IN.values():
        for file in entry.weights:
            for listed in meant.get(file.file.lower(), ()):
                assert json.loads(listed)["sha256"] in (None, file.sha256)
    assert [file for file, found in meant.items() if len(found) > 1] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_complete(row):
    entry = row.entry()
    assert (entry.name, entry.family) == (row.name, FAMILY_OF[row.type])
    assert len(set(row.stems)) == len(row.stems)
    assert row.license
    assert row.lists
    assert row.trained_on is None or row.trained_on
    assert all(file.urls or file.by_hand for file in row.weights)
    assert all(len(set(file.urls)) == len(file.urls) for file in row.weights)
    if entry.family == "msst":
        assert [Path(file.file).suffix for file in row.weights][1:] == [".yaml"]
        assert entry.params["config"] == row.weights[1].file
    if entry.family == "audio_separator":
        assert row.weights[-1].file.endswith(".json")
        assert set(entry.params["names"].values()) >= set(row.stems)
    for score in (*row.scores, *entry.published):
        assert score.metric
        assert score.dataset
        assert score.scores


def test_what_was_trained_on_all_of_musdb18_is_leaked_and_ranked_nowhere():
    leaked = ["mdx_extra", "mdx_extra_q", "e51eebcc_c1b80bdd", "kuielab_a_vocals"]
    names = [*leaked, "mdx", "mdx_q", "scnet_checkpoint_musdb18"]
    table = pd.DataFrame([(name, *A_TEST_SONG) for name in names], columns=PAIR)
    data = {name: catalog.find_row(name).trained_on for name in names}
    assert leak_statuses(table, data)["status"].tolist() == ["leaked"] * 4 + ["clean"] * 3


def test_weights_of_demucs_are_for_research():
    names = ["mdx", "mdx_extra", "repro_mdx_a", "htdemucs4", "75fc33f5_1941ce65"]
    licenses = [catalog.find_row(name).license for name in names]
    licenses += [BUILT_IN[n].license.weights for n in ("htdemucs", "htdemucs_ft", "hdemucs_mmi")]
    assert set(licenses) == {"research only (its author)"}
    assert not catalog.may_earn(licenses[0])


def test_places_that_are_gone_are_asked_last():
    gone = ("https://github.com/TRvlvr/model_repo/", "hf:jarredou/")
    for file in (file for row in ROWS for file in row.weights):
        places = [url.startswith(gone) for url in file.urls]
        assert places == sorted(places)
        assert not file.file.endswith(".onnx") or not all(places)


def test_no_size_is_said_to_be_zero():
    assert not [row.name for row in ROWS if " 0 " in f" {size_of(row.entry().weights)} "]
    assert size_of(catalog.find_row("kuielab_a_vocals").entry().weights) == "size unknown"


def test_what_does_not_run_says_what_to_do():
    for name in ("mdx_q", "tasnet"):
        assert "; " in registry.find(registry.load(), name).unavailable


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("big_beta5e", "pip install 'mss-harness[msst]'"),
        ("uvr_mdx_net_voc_ft", "pip install 'mss-harness[audio-separator]'"),
        ("model_scnet_tran_sdr_8_9272", "pip install 'msst[scnet-tran]'"),
    ],
)
def test_a_row_whose_package_is_absent_is_left_out_and_says_so(name, command, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    entry = registry.find(registry.load(), name)
    finding = _examine_entry(entry)
    assert finding.state == "absent"
    assert command in finding.detail
    (skip,) = make_plan([entry], [], Settings(), None).skips
    assert (skip.separator, command in skip.reason) == (name, True)
    with pytest.raises(HarnessError, match=re.escape(command)):
        _named(name, registry.load())


@pytest.mark.parametrize("name", ["model_vocals_htdemucs_sdr_8_78", "mdx_extra"])
def test_some_rows_need_no_package(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    assert separators.lacking_package(registry.find(registry.load(), name)) == ""


def test_the_documentation_says_what_each_type_needs():
    guide = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
    found = {
        t: (int(n), int(m)) for t, n, m in re.findall(r"\| `(\w+)` \| (\d+) \| (\d+) \|", guide)
    }
    rows, able = Counter(), Counter()
    for row in ROWS:
        rows[row.type] += 1
        able[row.type] += not row.unavailable
    assert found == {kind: (n, able[kind]) for kind, n in rows.items()}


def table_of_papers() -> list[list[str]]:
    guide = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
    lines = [line for line in guide.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize("cells", table_of_papers(), ids=lambda cells: cells[0])
def test_the_table_of_papers_names_rows_and_repeats_their_scores(cells):
    names = re.findall(r"`(\w+)`", cells[1])
    known = set(BUILT_IN)
    rows = [BUILT_IN[n] if n in known else catalog.find_row(n).entry() for n in names]
    places = {"registry" if name in known else "catalog" for name in names}
    assert places == set(re.findall(r"registry|catalog", cells[2]))
    stems = zip(("vocals", "bass", "drums", "other"), cells[3:7], strict=True)
    shown = {stem: float(cell) for stem, cell in stems if cell}
    published = [
        {**p.scores} for row in rows for p in row.published if p.metric in cells[7].lower()
    ]
    published = [{"other": s.get("other_rest"), **s} for s in published]
    assert not shown or any(shown.items() <= scores.items() for scores in published)


# --- found by name --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["melbandroformer", "MelBandRoformer.ckpt", "mel_roformer-kim-vocals"]
)
def test_a_checkpoint_has_the_names_of_its_file_and_of_the_lists(name):
    entry = registry.find(registry.load(), name)
    assert entry.name == "melbandroformer"
    assert entry.weights[0].sha256 == BUILT_IN["mel_roformer"].weights[0].sha256


def test_rows_of_the_registry_win_and_catalog_rows_can_be_members_of_ensembles(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "mdx: {family: nmf, stems: [vocals]}\n"
        "fine: {extends: big_beta5e, params: {overlap: 0.75}}\n"
        "both: {family: ensemble, role: ensemble,"
        " params: {stems: {vocals: {big_beta5e: 0.5, mdx: 0.5}}}}\n"
    )
    entries = registry.load(path)
    assert registry.find(entries, "mdx").family == "nmf"
    assert {m.name: m.family for m in entries["both"].members} == {
        "big_beta5e": "msst",
        "mdx": "nmf",
    }
    assert "big_beta5e" not in list(entries)
    listed = registry.find(entries, "big_beta5e")
    same = {"name": "big_beta5e", "params": listed.params}
    assert entries["fine"].params == {**listed.params, "overlap": 0.75}
    assert entries["fine"].model_copy(update=same).model_dump() == listed.model_dump()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("big_beta5", "big_beta5e"), ("htdemucz", "htdemucs"), ("voc ft", "voc_ft")],
)
def test_near_misses_are_answered_with_names(typed, meant):
    with pytest.raises(HarnessError, match=rf"did you mean .*{meant}.*harness list --catalog"):
        registry.find(registry.load(), typed)


def test_the_registry_is_read_without_the_catalog(monkeypatch):
    monkeypatch.setattr(catalog, "read", lambda path: pytest.fail("was read"))
    forget()
    assert registry.find(registry.load(), "htdemucs").family == "demucs"


def test_list_shows_what_fits(harness):
    out, err = harness("list", "--catalog", "kim", "vocal", "--stem", "singing")
    lines = out.splitlines()
    assert all("kim" in line.lower() or "vocal" in line.lower() for line in lines)
    assert any(
        re.match(r"kim_vocal_2 .*license not stated; .*pinned at first use", s) for s in lines
    )
    assert f"{len(lines)} checkpoints" in err
    listed = json.loads(harness("list", "--catalog", "--license", "commercial", "--json")[0])
    assert {row["license"][:3] for row in listed["catalog"]} == {"GPL", "MIT"}
    assert harness("list", "kim", expected=2)[1].startswith("error: list: words")


# --- pinned at first use --------------------------------------------------------------------------


def test_a_file_without_a_published_hash_is_pinned(harness, server, one_row):
    one_row()
    out, err = harness("fetch", "separator", "someones_model", "--yes")
    path = weight_files.folder() / "own.th"
    assert out.splitlines() == [str(path)]
    assert path.read_bytes() == FIRST
    assert "license of the code: MIT; of the weights: not stated; trained on: unknown" in err
    assert pins.NOTE in err
    assert json.loads(pins.path_of_pins().read_bytes()) == {
        "own.th": hashlib.sha256(FIRST).hexdigest()
    }
    assert {p.name for p in path.parent.iterdir()} == {"own.th", "pinned.json"}
    with forbidden():
        harness("fetch", "separator", "own_model", "--offline")
    assert len(server.asked) == 1
    assert weight_files.notes_on(registry.find(registry.load(), "own_model")) == [
        "weights pinned at first use"
    ]


def test_a_later_file_that_differs_is_refused(harness, server, one_row):
    one_row()
    harness("fetch", "separator", "own_model", "--yes")
    path = weight_files.folder() / "own.th"
    before = registry.find(registry.load(), "own_model").identity()
    path.write_bytes(SECOND)  # changed here, and at the source
    server.content = SECOND
    _, err = harness("fetch", "separator", "own_model", "--yes", expected=cli.SOME_FAILED)
    assert "was pinned at first use: the file has changed since" in err
    with pytest.raises(HarnessError, match="was expected"):
        load(registry.find(registry.load(), "own_model"))
    pins.path_of_pins().unlink()
    path.unlink()
    harness("fetch", "separator", "own_model", "--yes")
    assert path.read_bytes() == SECOND
    assert registry.find(registry.load(), "own_model").identity() != before


def test_a_published_hash_needs_no_pin(harness, one_row):
    file = {"file": "own.th", "urls": ["hf:someone/models/own.th"]}
    one_row(weights=[{**file, "sha256": hashlib.sha256(FIRST).hexdigest()}])
    harness("fetch", "separator", "own_model", "--yes")
    assert not pins.path_of_pins().exists()
    assert weight_files.notes_on(registry.find(registry.load(), "own_model")) == []


def test_nothing_is_fetched_offline(harness, server, one_row):
    one_row()
    _, err = harness("fetch", "separator", "own_model", "--offline", expected=2)
    assert "--offline forbids the network" in err
    assert server.asked == []


@pytest.mark.parametrize("text", ["no JSON", "[]"])
def test_a_damaged_table_of_hashes_is_named(harness, one_row, text):
    one_row()
    pins.path_of_pins().parent.mkdir(parents=True)
    pins.path_of_pins().write_text(text)
    _, err = harness("fetch", "separator", "own_model", "--yes", expected=cli.SOME_FAILED)
    assert "pinned.json" in err
    assert "delete it" in err


def test_a_pinned_model_runs_and_every_result_says_so(harness, tmp_path, server, one_row):
    from demucs.demucs import Demucs

    options = {"channels": 4, "depth": 3, "samplerate": 44100, "segment": 1, "lstm_layers": 0}
    options |= {"dconv_lstm": 9, "dconv_attn": 9}
    sources = ["drums", "bass", "other", "voice"]
    model = Demucs(sources, **options)
    package = {"klass": Demucs, "args": [sources], "kwargs": options, "state": model.state_dict()}
    torch.save(package, tmp_path / "made.th")
    server.content = (tmp_path / "made.th").read_bytes()
    one_row(names={"voice": "vocals"})
    harness("fetch", "separator", "own_model", "--yes")
    entry = registry.find(registry.load(), "own_model")
    noise = np.random.default_rng(0).normal(size=(2, 2000)).astype(np.float32)
    found, notes = protocol.run(load(entry), entry, noise, 44100)
    assert set(found) == {"drums", "bass", "other", "vocals"}
    assert "weights pinned at first use" in notes


# --- hostile rows ---------------------------------------------------------------------------------


def changed(**changes) -> dict:
    return {**GOOD, "weights": [{**GOOD["weights"][0], **changes}]}


@pytest.mark.parametrize(
    "row",
    [
        changed(file="../own.th"),
        changed(file="/etc/own.th"),
        changed(file="..\\own.th"),
        changed(file=".own.th"),
        changed(file="own.th\x00"),
        changed(file="own"),
        changed(urls=["file:///etc/passwd"]),
        changed(urls=["http://example.org/own.th"]),
        changed(urls=["hf:someone/models/../../own.th"]),
        changed(urls=["hf:../models/own.th"]),
        changed(urls=["https://example.org/own.th\r\nHost: other"]),
        changed(sha256="f" * 63),
        changed(size=-1),
        changed(run="rm"),
        {**GOOD, "name": "own/model"},
        {**GOOD, "title": "a\x1b[31mb"},
        {**GOOD, "license": "MIT\nmine: {family: nmf}"},
        {**GOOD, "stems": []},
        {**GOOD, "stems": ["../vocals"]},
        {**GOOD, "type": "os.system"},
        {**GOOD, "weights": []},
        {**GOOD, "trained_on": ["musbd18:train"]},
        {**GOOD, "command": "rm"},
        {k: v for k, v in GOOD.items() if k != "license"},
        {k: v for k, v in GOOD.items() if k != "trained_on"},
    ],
    ids=str,
)
def test_hostile_and_incomplete_rows_are_refused(row):
    assert checked_row(GOOD, PATH).name == "own_model"
    with pytest.raises(HarnessError, match=re.escape(str(PATH))):
        checked_row(row, PATH)


@pytest.mark.parametrize("line", ["{", "[]", '{"name": 1}', "[" * 100_000])
def test_lines_that_are_no_rows_are_named(tmp_path, line):
    path = tmp_path / "models.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    with pytest.raises(HarnessError, match="line 2"):
        catalog.read(path)
    path.write_text((json.dumps(GOOD) + "\n") * 2)
    with pytest.raises(HarnessError, match="twice"):
        catalog.read(path)


# --- addresses on a hub ---------------------------------------------------------------------------


def test_addresses_on_the_hub(monkeypatch):
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert address("https://example.org/a") == "https://example.org/a"
    assert address("hf:a/b/c/d (1).ckpt@v1.0") == (
        "https://huggingface.co/a/b/resolve/v1.0/c/d%20%281%29.ckpt"
    )
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert address("hf:a/b/c") == "https://mirror.example/a/b/resolve/main/c"


@pytest.mark.parametrize(
    "url",
    ["hf:a/b", "hf:a//c", "hf:a/b/", "hf:a/b/../c", "hf:a/b/./c", "hf:a/b/c@../x", "hf:a/b/c?d=e",
     "hf:a/b/c#d", "hf:a/b/c\n", "hf:a b/c/d", "hf:a/b/c\\d", "hf:a/b/c@v@w", "hf:https://x/y/z"],
)  # fmt: skip
def test_addresses_that_could_lead_elsewhere_are_refused(url):
    with pytest.raises(HarnessError, match="is not a file on the hub"):
        address(url)


# --- a model that is in no list -------------------------------------------------------------------

CONFIG = {
    "audio": {"sample_rate": 44100, "chunk_size": 44100},
    "model": {"dim": 8},
    "training": {"instruments": ["Vocals", "Instrumental"], "target_instrument": None},
}


def own_files(**training) -> tuple[str, str]:
    config = {**CONFIG, "training": {**CONFIG["training"], **training}}
    Path("my config.yaml").write_text(yaml.safe_dump(config))
    Path("My Model.ckpt").write_bytes(FIRST)
    return "my config.yaml", "My Model.ckpt"


def test_catalog_add_appends_a_row_that_can_be_found(harness):
    Path("model_registry.yaml").write_text("# mine\nfirst: {family: nmf, stems: [vocals]}\n")
    out, err = harness("catalog", "add", *own_files(), "--trained-on", "MUSDB18-HQ train")
    assert yaml.safe_load(out).keys() == {"my_model"}
    assert "harness run --separator my_model" in err
    text = Path("model_registry.yaml").read_text()
    assert text.startswith("# mine\nfirst: {family: nmf, stems: [vocals]}\n")
    entry = registry.load()["my_model"]
    assert (entry.family, entry.stems) == ("msst", ("vocals", "accompaniment"))
    assert entry.trained_on == ("musdb18hq:train",)
    assert entry.license.weights == "not stated"
    assert entry.weights[0].sha256 == hashlib.sha256(FIRST).hexdigest()
    assert weight_files.lacking(entry) == ""
    assert "--force" in harness("catalog", "add", *own_files(), expected=2)[1]
    several = own_files(instruments=["Vocals", "drums", "bass"], target_instrument="Vocals")
    harness("catalog", "add", *several, "--force")
    assert registry.load()["my_model"].stems == ("vocals",)
    assert registry.load()["first"].family == "nmf"


@pytest.mark.parametrize(
    ("training", "options", "reason"),
    [
        ({"instruments": None}, (), "no list of names in training.instruments"),
        ({"instruments": ["Vocals", "!"]}, (), "has no letters in its name"),
        ({"target_instrument": "drums"}, (), "'drums' is none of Vocals, Instrumental"),
        ({}, ("--name", "htdemucs"), "is a built-in entry"),
        ({}, ("--name", "../x"), "is not a valid name"),
    ],
)
def test_catalog_add_says_what_does_not_fit(harness, training, options, reason):
    _, err = harness("catalog", "add", *own_files(**training), *options, expected=2)
    assert reason in err
    assert not Path("model_registry.yaml").exists()


# --- settings of models by their hash ------------------------------------------------------------


@pytest.mark.parametrize("size", [100, 10_240_100])
def test_settings_of_vr_and_mdx_models_are_found_by_the_end_of_the_file(
    tmp_path, monkeypatch, size
):
    model, table = tmp_path / "model.onnx", tmp_path / "settings.json"
    model.write_bytes(bytes(100) + b"x" * (size - 100))
    key = hashlib.md5(model.read_bytes()[-10_240_000:]).hexdigest()
    own = {"mdx_model_data": {key: {"primary_stem": "Bass"}}, "vr_model_data": {}}
    (tmp_path / "model-data.json").write_text(json.dumps(own))
    monkeypatch.setattr(audio_separator, "_package_folder", lambda: tmp_path)
    table.write_text("{}")
    assert audio_separator.settings_of(model, table, "mdx") == {"primary_stem": "Bass"}
    with pytest.raises(HarnessError, match=r"not in settings\.json; add config"):
        audio_separator.settings_of(model, table, "vr")
    table.write_text(json.dumps({key: {"primary_stem": "Vocals"}}))
    assert audio_separator.settings_of(model, table, "vr") == {"primary_stem": "Vocals"}
    table.write_text("[]")
    with pytest.raises(HarnessError, match="is not a table of settings"):
        audio_separator.settings_of(model, table, "mdx")
