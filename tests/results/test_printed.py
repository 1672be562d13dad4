"""What five papers print: the file, its checks, and the verdicts."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED_DATA
from synthetic_run import empty_run, row, rows_table

from harness import cli, registry
from harness.core import audio, strict_yaml, taxonomy
from harness.core.errors import HarnessError
from harness.metrics import METRICS
from harness.registry import Entry
from harness.registry import checkpoint_catalog as catalog
from harness.report import printed_tables
from harness.results import printed
from harness.results.runs import SELECTION_COLUMNS, read_run, table
from harness.selection.best_of import KINDS
from harness.training import recipes

ALL = printed.read_papers()
PAGE = Path(__file__).parents[2] / "docs" / "papers.md"
TEXTS = {
    "asnet": "asnet",
    "ensemble": "ensemble_mss",
    "polimi": "polimi_mss_report",
    "mir1k": "edge_dual_gate_mir1k",
    "review": "review_conventional_vs_avant_garde",
}
ROWS = [
    (name, table_, table_.of(given))
    for name, paper in ALL.papers.items()
    for table_ in paper.tables
    for given in table_.rows
]

# Words of the texts that name a system, and which; None: a part of systems, or no system.
NAMES = {
    "asnet": "ASNet", "bsrnn": "BSRNN", "convtasnet": "Conv-TasNet", "tasnet": "TasNet with DPRNN",
    "d3net": "D3Net", "dttnet": "DTTNet", "demucs": "Demucs", "hdemucs": "Hybrid Demucs",
    "htdemucs": "HT-Demucs", "densenet": "MMDenseNet", "melroformer": "Mel-Band RoFormer",
    "melbandroformervocalmodel": "Mel-Band RoFormer (Kim)", "roformer": "Mel-Band RoFormer",
    "bsroformer": "BS-RoFormer", "resunet": "ResUNetDecouple+", "scnet": "SCNet", "unet": "U-Net",
    "waveunet": "Wave-U-Net", "spleeter": "Spleeter", "openunmix": "Open-Unmix",
    "openunmixa": "Open-Unmix", "drumsep": "Drumsep", "gan": "GAN with U-Net",
    "dprnn": "Dual-path RNN", "hpss": "HPSS", "repet": "REPET", "repetsim": "REPET-SIM",
    "repetmfcc": "REPET-MFCC", "hpssrepetsim": "HPSS + REPET-SIM", "hpssnnmf": "HPSS + NNMF",
    "nnmf": "HPSS + NNMF", "nmf": "NMF", "mnmf": "Multichannel NMF", "smnmf": "s-MNMF",
    "mcnmf": "Beamspace multichannel NMF", "nmfts": "NMFD", "iva": "IVA", "ilrma": "ILRMA",
    "idlma": "IDLMA", "popidlma": "PoP-IDLMA", "ica": "ICA", "fastica": "ICA", "icafft": "ICA-FFT",
    "pca": "PCA", "rpca": "RPCA", "tcn": "Dual-gate attention TCN", "ast": "AST",
    "danet": "DANet with BGRU and GMM", "denseunet": "Dense-U-Net",
    "dense2net": "DenseDsc and Dense2Net",
    "denselstm": "MMDenseLSTM", "mmdenselstm": "MMDenseLSTM", "mmdensenet": "MMDenseNet",
    "mdensenet": "dilated time-frequency DenseNet", "mdildenselstm": "MMDilDenseLSTM",
    "mmdildenselstm": "MMDilDenseLSTM", "hrlstm": "HR-LSTM", "hrnet": "HRNet", "hstasnet":
    "HS-TasNet", "hstasnetsmall": "HS-TasNet", "beamtasnet": "Beam-TasNet", "spectrogramtasnet":
    "HS-TasNet", "inceptionresunet": "Res-U-Net", "multiresunet": "Res-U-Net",
    "knn": "k-NN soft mask", "lrcn": "LRCN", "nae": "NAE",
    "poconet": "noisy self-training", "resnet": "ResNet and RiR", "sepformer":
    "SepFormer", "simo": "BSRNN", "stripetransformer": "stripe transformer",
    "tcwaveunet": "TC-Wave-U-Net", "umss": "source-filter models", "vatsnet": "VAT-SNet",
    "wavenet": "WaveNet", "attentionwaveunet": "Wave-U-Net for echo cancellation",
} | dict.fromkeys((
    "bilstm", "blstm", "lstm", "rnn", "cnnlstm", "conformer", "transformer", "ropetransformer",
    "imagenet", "internet", "inceptionresnet", "res2net", "resnet50", "subnet", "beamformer",
    "performer", "yuanet", "net",
))  # fmt: skip
OWN = {  # what a word means in one paper only
    ("review", "resunet"): "Res-U-Net",
    ("review", "densenet"): "dilated time-frequency DenseNet",
    ("ensemble", "tasnet"): None,
    ("asnet", "densenet"): "D3Net",
    ("asnet", "unet"): None,  # the form of other networks
    ("ensemble", "unet"): "GAN with U-Net",
    ("mir1k", "tasnet"): None,
    ("polimi", "nmf"): "HPSS + NNMF",
}
WORD = re.compile(
    r"[A-Za-z0-9\-\+]*(?:[Nn]et|NET|RNN|[Ff]ormer|[Dd]emucs|NMF|LRMA|LMA|PCA|ICA|REPET|HPSS|"
    r"[Uu]nmix|[Ss]pleeter|LSTM|LRCN|AST|Transformer|NAE|GAN|TCN|sep|KNN|SIMO|IVA|UMSS)s?"
    r"(?:-[A-Za-z0-9]+)*\b"
)
SUFFIXES = re.compile("(s|based|inspired|like|free)$")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """The papers' texts beside the real recordings; tests that need them are skipped elsewhere."""
    folder = SHARED_DATA.parent / "papers"
    if not folder.is_dir():
        pytest.skip(f"no texts of the papers at {folder}")
    return {name: (folder / f"{file}.txt").read_text("utf-8") for name, file in TEXTS.items()}


def column_names() -> set[str]:
    return {*taxonomy.STEMS, "network"}


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", range(len(ROWS)), ids=lambda i: f"{ROWS[i][0]}-{ROWS[i][1].name}-{ROWS[i][2].label}"
)
def test_a_row_is_answered_or_says_why_not(number):
    _, of, one = ROWS[number]
    assert bool(one.ours) != bool(one.why)
    assert set(one.scores) <= set(of.measures)
    assert set(one.checks) <= set(printed.CHECKS)
    for measure, columns in one.scores.items():
        metric = of.measures[measure].metric
        assert not one.ours or metric in {*METRICS, *printed.SHARES}
        assert not one.ours or set(columns) <= column_names()


def test_every_row_that_is_named_exists():
    entries = registry.load()
    claims = [c for paper in ALL.papers.values() for t in paper.tables for c in t.claims]
    named = {one.ours for _, _, one in ROWS} | {n for _, _, one in ROWS for n in one.among}
    named |= {side for claim in claims for side in (claim.higher, claim.lower)}
    named |= {system.row for system in ALL.systems}
    trained = {*strict_yaml.read(recipes.BUILT_IN), ""}
    listed = {*dict(entries), *KINDS, *trained}
    assert {n for n in named if n not in listed and not catalog.has(n)} == set()
    assert {system.recipe for system in ALL.systems} <= trained
    assert all(catalog.has(system.catalog) for system in ALL.systems if system.catalog)


def test_a_system_has_one_answer_and_stands_once():
    assert len({system.name for system in ALL.systems}) == len(ALL.systems)
    for system in ALL.systems:
        assert sum(map(bool, (system.row, system.catalog, system.recipe, system.reason))) == 1, (
            system.name
        )
        assert set(system.papers) <= set(ALL.papers)


def test_a_system_without_a_row_is_one_that_its_paper_names():
    papers = {system.name: system.papers for system in ALL.systems}
    for listed in strict_yaml.read(printed.WITHOUT_ROW):
        assert not listed["named_in"] or listed["named_in"] in papers[listed["name"]]


def test_systems_of_the_tables_are_listed_with_their_paper():
    papers = {system.name: system.papers for system in ALL.systems}
    assert [
        (n, one.system) for n, _, one in ROWS if one.system and n not in papers[one.system]
    ] == []


def words(text: str) -> set[str]:
    """Return the words that look like names of systems, without case, hyphens and endings."""
    lines = [line for line in text.splitlines() if "http" not in line and "+" * 3 not in line]
    joined = re.sub(r"-\n\s*", "-", "\n".join(line for line in lines if line.count("+") < 3))
    found = {re.sub("[^a-z0-9]", "", word.lower()) for word in WORD.findall(joined)}
    found = {word if word in NAMES else SUFFIXES.sub("", word) for word in found}
    return {word if word in NAMES else SUFFIXES.sub("", word) for word in found}


def test_no_name_of_the_papers_is_missing(texts):
    papers = {system.name: system.papers for system in ALL.systems}
    missing = []
    for name, text in texts.items():
        for word in sorted(words(text)):
            meant = OWN.get((name, word), NAMES.get(word, "?"))
            if meant is not None and name not in papers.get(meant, ()):
                missing.append((name, word, meant))
    assert missing == []


def test_every_printed_number_stands_in_the_text(texts):
    for name, _, one in ROWS:
        text = (
            texts[name].replace("−", "-").replace("37.74 | 2132", "37.74 | 21.32")
        )  # see its note
        numbers = {float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", text)}
        for columns in one.scores.values():
            assert set(map(float, columns.values())) <= numbers, (name, one.label)


def test_numbers_that_are_printed_twice_are_the_same():
    tables = {
        (n, t.name): {t.of(r).label: r.scores for r in t.rows}
        for n, p in ALL.papers.items()
        for t in p.tables
    }
    first = tables["asnet", "Table 1"]["ASNet, MUSDB18-HQ"]
    third, fourth = tables["asnet", "Table 3"], tables["asnet", "Table 4"]
    assert third["256 channels"]["SDR"] == first["SDR"] == fourth["ASNet, 0.31 M x 4"]["SDR"]
    for channels, mean in (("128", 5.03), ("256", 11.80), ("512", 6.86)):  # of the paper's text
        values = third[f"{channels} channels"]["SDR"].values()
        assert sum(values) / 4 == pytest.approx(mean, abs=0.006)
    final = tables["ensemble", "Table 1"]["Final Ensemble"]
    for label, scores in tables["ensemble", "Table 1"].items():
        for measure, columns in scores.items():
            assert all(final[measure][stem] >= value for stem, value in columns.items()), label
    assert sum(tables["ensemble", "Figure 1"]["test set"]["share"].values()) == pytest.approx(100)


# --- identities ---------------------------------------------------------------------------------


def test_three_ratios_of_orthogonal_parts():
    target, interference, artifacts = 4.0, 0.5, 0.3  # energies
    sir = 10 * math.log10(target / interference)
    sar = 10 * math.log10((target + interference) / artifacts)
    sdr = 10 * math.log10(target / (interference + artifacts))
    assert printed.implied_sdr(sir, sar) == pytest.approx(sdr, abs=1e-12)


def test_a_mean_sdr_is_never_above_that_of_the_means(rng):
    for _ in range(200):
        sir, sar = rng.normal(rng.uniform(-10, 40, (2, 1)), rng.uniform(0, 20), (2, 9))
        mean = np.mean([printed.implied_sdr(*pair) for pair in zip(sir, sar, strict=True)])
        assert mean <= printed.implied_sdr(sir.mean(), sar.mean()) + 1e-9


def test_the_least_sir_is_reached_and_never_passed(rng):
    """x = (1, 0), interference is the second axis; estimates lie on a circle around x."""
    for sdr in (3.0, 10.0, 12.63):
        radius = 10 ** (-sdr / 20)
        angles = np.linspace(0, 2 * np.pi, 100_001)
        along, beside = 1 + radius * np.cos(angles), radius * np.sin(angles)
        sir = 10 * np.log10(along**2 / np.maximum(beside**2, 1e-30))
        assert sir.min() == pytest.approx(printed.least_sir(sdr), abs=1e-4)


def one_row(**scores) -> printed.PrintedRow:
    return printed.PrintedRow(label="x", why="a test", scores=scores)


PAPER = printed.Paper(title="A", reference="B", tables=())


@pytest.mark.parametrize(
    ("check", "scores", "verdict"),
    [
        ("sdr_needs_sir", {"SDR": {"bass": 12.63}, "SIR": {"bass": 9.57}}, "impossible"),
        ("sdr_needs_sir", {"SDR": {"bass": 5.01}, "SIR": {"bass": 9.33}}, None),
        (
            "three_ratios",
            {"SDR": {"v": 4.77}, "SIR": {"v": 53.4}, "SAR": {"v": 19.62}},
            "impossible",
        ),
        ("three_ratios", {"SDR": {"v": 4.8}, "SIR": {"v": 10.0}, "SAR": {"v": 4.0}}, "impossible"),
        ("three_ratios", {"SDR": {"v": 4.21}, "SIR": {"v": 11.76}, "SAR": {"v": 8.36}}, ""),
        ("three_ratios", {"SDR": {"v": 2.15}, "SIR": {"v": 8.31}, "SAR": {"v": 4.62}}, None),
        ("equations_are_one", {"SNR": {"v": 1.62}, "SDR": {"v": -6.25}}, "other definition"),
        ("equations_are_one", {"SNR": {"v": 1.62}, "SDR": {"v": 1.62}}, None),
        ("asnet_convolutions", {"parameters": {"network": 0.31}}, "impossible"),
        ("asnet_convolutions", {"parameters": {"network": 0.59}}, None),
    ],
)
def test_a_check_finds_what_contradicts_it(check, scores, verdict):
    found = printed.CHECKS[check](one_row(**scores), PAPER)
    if verdict is None:
        assert found == {}
    else:
        assert {finding.verdict for finding in found.values()} == {verdict}
        assert all(finding.identity for finding in found.values())


def test_statistics_over_tracks_that_are_those_of_stem_means():
    paper = ALL.papers["asnet"]
    second = paper.tables[1]
    for given in second.rows:
        found = printed.findings(second.of(given), paper)
        assert set(found) == set(printed.places(given))
    other = second.rows[0].model_copy(update={"scores": {"SDR": {"sd": 2.4}}})
    assert printed.findings(second.of(other), paper) == {}


# --- verdicts -----------------------------------------------------------------------------------

SONGS = tuple(f"song {i}" for i in range(4))


def run_of(value: float, **other):
    """A run of one separator on four tracks of MUSDB18-HQ's test half, scored by one SNR."""
    cut, leaks = other.pop("cut", None), other.pop("leaks", [])
    about = {"dataset": "musdb18hq", **other}
    rows = [
        row("net", song, "vocals", "snr", value + i - 1.5, **about) for i, song in enumerate(SONGS)
    ]
    run = empty_run(excerpt_seconds=cut, leaks=leaks)
    return type(run)("r", rows_table(rows), run.costs, run.ensembles, run.selection, run.record)


def judged(runs, *, trained_on=(), **changes) -> printed.PrintedCell:
    about = {"says": "a ratio", "metric": "snr", "same": True, **changes.pop("measure", {})}
    one = {
        "system": "Net",
        "ours": "net",
        "scores": {"SNR": {"vocals": 7.0}},
        **changes.pop("row", {}),
    }
    whole = {
        "name": "T",
        "about": "a",
        "data": "musdb18hq:test",
        "tracks": 4,
        "measures": {"SNR": about},
        "rows": [one],
        **changes,
    }
    paper = printed.Paper(title="A", reference="B", tables=(printed.PrintedTable(**whole),))
    entry = Entry(name="net", family="nmf", trained_on=trained_on)
    (cell,) = printed.cells("a", paper, {"net": entry}, runs)
    return cell


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        ({"runs": [run_of(7.05)]}, "agrees"),
        ({"runs": [run_of(7.05)], "measure": {"same": "unclear"}}, "agrees"),
        ({"runs": [run_of(7.2)]}, "differs"),
        ({"runs": [run_of(7.2)], "measure": {"same": "unclear"}}, "other definition"),
        ({"runs": [run_of(7.0)], "measure": {"same": False}}, "other definition"),
        ({"runs": [run_of(7.0)], "tracks": 50}, "other data"),
        ({"runs": [run_of(7.0)], "part": "a random fifth"}, "other data"),
        ({"runs": [run_of(7.0)], "data": "musdb18:test"}, "other data"),
        ({"runs": [run_of(7.0, split="train")]}, "other data"),
        ({"runs": [run_of(7.0, cut=10.0)]}, "other data"),
        ({"runs": [run_of(7.0, dataset="demo")]}, "other data"),
        ({"runs": [run_of(7.0)], "trained_on": ("musdb18",)}, "leaked"),
        ({"runs": [], "trained_on": ("musdb18:test",)}, "leaked"),
        ({"runs": [], "trained_on": ("musdb18:train",)}, "not run here"),
        ({"runs": [run_of(7.0)], "measure": {"metric": "sdr"}}, "not run here"),
        ({"runs": [run_of(7.0, fed_by="other")]}, "not run here"),
        ({"runs": [], "row": {"ours": "", "why": "no weights"}}, "not run here"),
    ],
)  # fmt: skip
def test_the_verdict(case, verdict):
    cell = judged(**case)
    assert cell.verdict == verdict
    assert (cell.ours is None) == (verdict == "not run here" or not case["runs"])
    assert cell.why or verdict in ("agrees", "differs", "other definition")


def test_tracks_that_a_run_marks_as_trained_on_are_leaked():
    marks = [{"separator": "net", "dataset": "musdb18hq", "split": "test", "track": SONGS[0]}]
    cell = judged([run_of(7.0, leaks=[mark | {"status": "leaked"} for mark in marks])])
    assert (cell.verdict, cell.why) == ("leaked", "net was trained on 1 of our tracks")


def test_a_choice_from_a_separator_that_was_trained_on_the_tracks_is_leaked():
    ensemble = ALL.papers["ensemble"]
    cells = printed.cells("ensemble", ensemble, registry.load(), [])
    final = [cell for cell in cells if cell.system == "Final Ensemble"]
    leaked = {cell.column for cell in final if cell.verdict == "leaked"}
    assert leaked == {"vocals"}  # mel_roformer returns no other stem of the table


def test_the_first_run_with_the_papers_dataset_counts():
    cell = judged([run_of(1.0, dataset="demo"), run_of(7.0), run_of(9.0)])
    assert (cell.ours, cell.our_data) == (7.0, "musdb18hq:test, 4 tracks")


def test_the_share_of_choices_and_from_what():
    chosen = [
        ["musdb18hq", "mixture", "", "vocals", "oracle", s, s, "", n, 5.0]
        for s, n in zip(SONGS, ("net", "net", "net", "two"), strict=True)
    ]
    run = run_of(7.0)
    run = type(run)(
        "r", run.scores, run.costs, run.ensembles, table(chosen, SELECTION_COLUMNS), run.record
    )
    measure = {"metric": "chosen", "unit": "%"}
    share = {"scores": {"SNR": {"vocals": 75}}, "among": ["net", "two"]}
    assert judged([run], measure=measure, row=share).ours == 75.0
    cell = judged([run], measure=measure, row=share | {"among": ["net"]})
    assert cell.verdict == "other definition"
    assert "two" in cell.why


def test_a_stated_order_holds_or_not():
    claim = {
        "says": "better",
        "higher": "net",
        "lower": "two",
        "measures": ["SNR"],
        "stems": ["vocals"],
    }
    run = run_of(7.0)
    rows = rows_table(
        [row("two", song, "vocals", "snr", 6.0, dataset="musdb18hq") for song in SONGS]
    )
    run = type(run)(
        "r",
        type(rows)(np.concatenate([run.scores, rows]), columns=rows.columns).astype(rows.dtypes),
        run.costs,
        run.ensembles,
        run.selection,
        run.record,
    )
    cell = judged([run], rows=[], claims=[claim])
    assert (cell.verdict, cell.ours) == ("agrees", 1.0)
    other = claim | {"higher": "two", "lower": "net"}
    assert judged([run], rows=[], claims=[other]).verdict == "differs"
    assert judged([], rows=[], claims=[claim]).verdict == "not run here"


# --- the page and the command -------------------------------------------------------------------


def shown(lines: list[str]) -> list[str]:
    """Return what of the page needs no data: rows without ours, verdicts that no score decides."""
    needs_data = "|".join((printed.NOT_RUN, printed.OTHER_DATA, printed.AGREES, printed.DIFFERS))
    kept = []
    for line in lines:
        if line.startswith("|"):
            line = re.sub(r" / [−\d.∞]+(?= \|)", "", line)
            *cells, verdict = line.strip("| ").split("|")
            decided = re.search(f"{needs_data}|{printed.OTHER_DEFINITION}", verdict)
            orders = " above " in cells[0] if cells else False
            kept.append("|".join(cells[:2] if orders else cells) + ("" if decided else verdict))
        elif not line.startswith("* "):
            kept.append(line)
    return kept


def test_the_page_is_that_of_this_version():
    entries = registry.load()
    cells = {name: printed.cells(name, paper, entries, []) for name, paper in ALL.papers.items()}
    page = PAGE.read_text("utf-8")
    part = page.partition(printed_tables.BEGIN)[2].partition(printed_tables.END)[0]
    assert shown(part.strip("\n").splitlines()) == shown(printed_tables.markdown(ALL, cells)), (
        "run tools/papers_page.py"
    )


def test_a_page_without_markers_is_refused():
    with pytest.raises(HarnessError, match="has no lines"):
        printed_tables.replaced("a page", [])


def call(monkeypatch, capsys, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["harness", "papers", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_command_runs_what_the_tables_need_and_reuses_it(tmp_path, rng, monkeypatch, capsys):
    clip = 0.1 * rng.standard_normal((2, 24_000)).astype(np.float32)
    audio.write(tmp_path / "mir1k" / "bobon_1_01.wav", clip, 16_000)
    monkeypatch.setattr(printed, "separators_for", lambda paper, dataset: (["hpss"], "all"))
    options = ("mir1k", "--results", str(tmp_path / "results"), "--json", "--jobs", "1")
    found = json.loads(call(monkeypatch, capsys, *options, "--data", f"mir1k={tmp_path / 'mir1k'}"))
    run = read_run(tmp_path / "results" / "papers_mir1k_mir1k")
    ours = [cell for cell in found["cells"] if cell["row"] == "hpss"]
    assert len(ours) == 6
    for cell in ours:
        metric = cell["metric"].partition(",")[0]
        scores = run.scores[run.scores["metric"] == metric]
        (value,) = scores.loc[scores["stem"] == cell["column"], "value"]
        assert cell["ours"] == pytest.approx(value)
        assert cell["our_data"] == "mir1k:test, 1 track"
        assert cell["verdict"] == ("other data" if metric == "sdr" else "other definition")
    again = json.loads(call(monkeypatch, capsys, *options))
    assert again == found


def test_what_is_run_for_the_tables_of_a_dataset():
    ensemble, mir1k = ALL.papers["ensemble"], ALL.papers["mir1k"]
    names, split = printed.separators_for(ensemble, "moisesdb")
    assert {"htdemucs_6s", "mel_roformer", "scnet", "scnet_large", "drumsep"} <= set(names)
    assert split == "test"
    assert printed.separators_for(ensemble, "mir1k")[0] == []
    assert printed.separators_for(mir1k, "mir1k") == (
        ["hpss", "repet", "repet_sim_voice", "repet_mfcc", "dual_gate_tcn"],
        "all",
    )
    assert printed.datasets_of([ensemble, mir1k]) == ["moisesdb", "mir1k"]


def test_data_that_no_table_is_about_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["harness", "papers", "mir1k", "--data", f"demo={tmp_path}"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == cli.USER_ERROR
    assert "the tables are about mir1k" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["terminal", "markdown"])
def test_every_form_has_all_verdicts_and_systems(tmp_path, monkeypatch, capsys, form):
    out = call(monkeypatch, capsys, "--results", str(tmp_path), "--format", form)
    assert "impossible" in out
    assert "AST" in out
    assert "159.14" in out
