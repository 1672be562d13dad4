"""Tables as files: each number equals that of the run's Parquet, each name is unchanged."""

import json
import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from synthetic_run import HOSTILE, HOSTILE_TAIL, demo_run, empty_run, row, rows_table

from harness.core.errors import HarnessError
from harness.metrics import METRICS, harmonic_mean
from harness.report import exporting
from harness.report.computed import make_report
from harness.report.tables import model_card, paper_table, sheets, table_files
from harness.results.runs import Run, read_run, write_run

RANKED = {"nmf", "repet_sim", "scnet", "mel_roformer", "htdemucs"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on disk."""
    found = tmp_path_factory.mktemp("results") / "demo-run"
    write_run(found, demo_run(10))
    return found


@pytest.fixture(scope="module")
def exported(folder, tmp_path_factory):
    """All tables of the run in all formats."""
    run = read_run(folder)
    to = tmp_path_factory.mktemp("export")
    table_files.write_sheets(sheets.all_sheets(make_report(run)), run, to)
    return to


def read(path):
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, comment="#")


@pytest.fixture(scope="module")
def truth(folder):
    """Scores straight from the run's files: {(dataset, metric, stem): tracks × separators}."""
    rows = pd.concat([pd.read_parquet(folder / f"{n}.parquet") for n in ("scores", "ensembles")])
    rows = rows[rows["status"] == "ok"]
    wide = {}
    for key, part in rows.groupby(["dataset", "metric", "stem"]):
        wide[key] = part.pivot(index="track", columns="separator", values="value")
    for dataset, _, stem in [key for key in wide if key[1] == "snr"]:
        snr, sdr = (wide[dataset, metric, stem] for metric in ("snr", "sdr"))
        mean = harmonic_mean(snr.to_numpy(), sdr.reindex_like(snr).to_numpy())
        wide[dataset, "harmonic_mean", stem] = pd.DataFrame(mean, snr.index, snr.columns)
    return wide


def common(wide, dataset):
    """The tracks on which all ranked separators of the stem have a clean score."""
    leaked = {"htdemucs"} if dataset == "demo" else set()
    asked = [s for s in wide if s in RANKED - leaked] or list(wide)
    return wide[wide[asked].notna().all(axis=1)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_leaderboard_equals_the_scores(exported, truth, suffix):
    board = read(exported / f"leaderboard{suffix}")
    board = board[~board["stem"].str.startswith("overall")]
    assert len(board) > 300
    for r in board.to_dict("records"):
        wide = truth[r["dataset"], r["metric"], r["stem"]]
        values = common(wide, r["dataset"])[r["separator"]].dropna().to_numpy()
        assert r["n"] == len(values)
        wanted = [values.mean(), np.median(values), values.std(ddof=1)]
        wanted += [np.quantile(values, 0.25), np.quantile(values, 0.75)]
        assert [r[c] for c in ("mean", "median", "sd", "q1", "q3")] == pytest.approx(
            wanted, abs=1e-9
        )


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_other_tables_equal_the_files(folder, exported, truth, suffix):
    tracks = read(exported / f"tracks{suffix}")
    tracks = tracks[~tracks["stem"].str.startswith("overall")]
    names = sorted({s for wide in truth.values() for s in wide})
    for r in tracks.to_dict("records"):
        wide = truth[r["dataset"], r["metric"], r["stem"]]
        for name in names:
            want = wide.loc[r["track"], name] if name in wide else math.nan
            assert r[name] == pytest.approx(want, abs=0, nan_ok=True)
    assert len(tracks) == sum(len(wide) for wide in truth.values())
    selection = read(exported / f"selection{suffix}")
    chosen = pd.read_parquet(folder / "selection.parquet").groupby("kind").size()
    assert selection[["oracle", "deployable"]].sum().to_dict() == chosen.to_dict()
    costs = read(exported / f"costs{suffix}")
    rows = pd.read_parquet(folder / "costs.parquet")
    for r in costs.to_dict("records"):
        here = rows[(rows["separator"] == r["separator"]) & (rows["dataset"] == r["dataset"])]
        values = here[here["metric"] == r["metric"]]["value"]
        want = values.max() if r["metric"] == "peak_memory" else values.median()
        assert r["value"] == pytest.approx(want, rel=1e-12)
    genres = read(exported / f"genres{suffix}")
    rows = pd.read_parquet(folder / "scores.parquet").drop_duplicates(["dataset", "track"])
    genre = rows.set_index(["dataset", "track"])["genre"]
    for r in genres[~genres["stem"].str.startswith("overall")].to_dict("records"):
        wide = common(truth[r["dataset"], r["metric"], r["stem"]], r["dataset"])
        here = [t for t in wide.index if genre[r["dataset"], t] == r["genre"]]
        values = wide.loc[here, r["separator"]].dropna()
        assert (r["n"], r["mean"]) == (len(values), pytest.approx(values.mean(), abs=1e-9))


def test_printed_tables_show_the_same_numbers_rounded(exported):
    board = read(exported / "leaderboard.parquet")
    nmf = board[(board["separator"] == "nmf") & (board["dataset"] == "demo")]
    (want,) = nmf[(nmf["stem"] == "vocals") & (nmf["metric"] == "snr")].to_dict("records")
    shown = f"{want['mean']:.2f} ± {want['sd']:.2f}"
    text = (exported / "leaderboard.md").read_text(encoding="utf-8")
    part = text.split("## demo: Stems: SNR, dB")[1]
    assert re.search(r"\| nmf \| " + re.escape(shown), part)
    tex = (exported / "leaderboard.tex").read_text(encoding="utf-8")
    part = tex.split("demo: Stems: SNR, dB")[1]
    assert f"nmf & {shown.replace('±', chr(36) + chr(92) + 'pm' + chr(36))}" in part
    assert "\\textbf{" in part


def test_each_file_describes_itself_at_its_head(exported):
    about = json.loads(pq.read_schema(exported / "tracks.parquet").metadata[b"harness"])
    assert about["tracks"] == "demo n = 10, musdb18hq n = 5"
    assert about["run"] == "demo-run"
    assert about["made by"] == "harness 0.1.0"
    assert "snr (version 1): what snr is & how" in about["definition"]
    for suffix in (".csv", ".tex", ".md"):
        text = (exported / f"tracks{suffix}").read_text(encoding="utf-8")
        assert "n = 10" in text.split("tracks:")[1].splitlines()[0]


def test_names_come_back_from_csv_and_stay_text_in_the_others(exported):
    tracks = set(read(exported / "tracks.csv")["track"])
    assert {HOSTILE, HOSTILE_TAIL} <= tracks
    markdown = (exported / "tracks.md").read_text(encoding="utf-8")
    assert "<img" not in markdown.replace("\\<img", "")
    assert "\u2028" not in markdown
    latex = (exported / "failures.tex").read_text(encoding="utf-8")
    assert "\\textless{}b\\textgreater{}" in latex


def test_hostile_names_break_no_table():
    bad = "a|b \\input{/etc/passwd} % & _ \n| c | \u202e$x$ # ~ ^"
    run = demo_run(6)
    rows = rows_table([row(bad, bad, "vocals", m, 1.0) for m in ("snr", "sdr")])
    record = {**run.record, "separators": {bad: {"role": "separator"}}, "leaks": []}
    changed = type(run)(
        "r", rows, run.costs.iloc[:0], rows.iloc[:0], run.selection.iloc[:0], record
    )
    for sheet in sheets.all_sheets(make_report(changed)):
        for part in table_files.to_markdown(sheet, changed).decode().split("\n## ")[1:]:
            lines = [line for line in part.splitlines() if line.startswith("|")]
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
        latex = table_files.to_latex(sheet, changed).decode()
        assert "\\input" not in latex
        assert latex.count("\\begin{") == latex.count("\\end{")


def test_the_same_run_gives_the_same_bytes(folder, exported, tmp_path):
    for path in exporting.export(folder, "csv", tmp_path):
        assert path.read_bytes() == (exported / path.name).read_bytes()
    run = read_run(folder)
    for sheet in sheets.all_sheets(make_report(run)):
        for name, make in table_files.FORMATS.items():
            assert (
                make(sheet, run)
                == (exported / f"{sheet.name}{table_files.SUFFIXES[name]}").read_bytes()
            )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_latex_compiles_the_tables(exported, tmp_path):
    body = "".join(f"\\input{{{exported / n}.tex}}" for n in ("leaderboard", "failures", "leaks"))
    head = (
        "\\documentclass{article}\\usepackage{booktabs,longtable,textcomp}\\usepackage[T1]{fontenc}"
    )
    (tmp_path / "a.tex").write_text(f"{head}\\begin{{document}}{body}\\end{{document}}")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "a.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


def test_a_model_card_has_the_layout_of_the_hub(folder, truth):
    run = demo_run(10)
    cards = model_card.cards(make_report(run), "https://example.org/report")
    assert set(cards) == RANKED
    _, block, text = cards["nmf"].split("---\n")
    (index,) = yaml.safe_load(block)["model-index"]
    by_dataset = {r["dataset"]["type"]: r for r in index["results"]}
    result = by_dataset["musdb18hq"]
    assert result["task"]["type"] == "audio-to-audio"
    assert result["dataset"]["split"] == "test"
    assert result["source"]["url"] == "https://example.org/report"
    found = {(m["type"], m["args"]["stem"]): m for m in result["metrics"]}
    want = truth["musdb18hq", "snr", "vocals"]["nmf"].dropna()
    assert found["snr", "vocals"]["value"] == pytest.approx(want.mean())
    assert found["snr", "vocals"]["args"]["tracks"] == len(want)
    assert "run demo-run" in text
    leaky = yaml.safe_load(cards["htdemucs"].split("---\n")[1])["model-index"][0]["results"]
    assert [r["dataset"]["type"] for r in leaky] == ["musdb18hq"]  # it saw all of the other
    bare = yaml.safe_load(model_card.cards(make_report(run))["nmf"].split("---\n")[1])[
        "model-index"
    ][0]
    assert all("source" not in result for result in bare["results"])


def tabular(path):
    """The cells of a LaTeX table: header, then rows."""
    body = path.read_text(encoding="utf-8").split("\\toprule")[1].split("\\bottomrule")[0]
    lines = [line for line in body.splitlines() if line.endswith("\\\\")]
    return [line.removesuffix(" \\\\").split(" & ") for line in lines]


def test_one_table_for_a_paper(folder, truth, tmp_path):
    choice = paper_table.PaperChoice("musdb18hq", "snr", ["drums", "vocals"], spread="sd")
    path = exporting.export_one(folder, choice, tmp_path / "paper.tex", tmp_path)
    assert path == tmp_path / "paper.tex"
    head, *rows = tabular(path)
    assert head == ["separator", "drums", "vocals"] or head[1].startswith("drums (n = ")
    wide = {s: common(truth["musdb18hq", "snr", s], "musdb18hq") for s in ("drums", "vocals")}
    assert {row[0].replace("\\_", "_") for row in rows} == RANKED
    for name, *cells in rows:
        for stem, cell in zip(("drums", "vocals"), cells, strict=True):
            values = wide[stem].get(name.replace("\\_", "_"))
            if values is None:
                assert cell == "--"  # mel_roformer has no drums
                continue
            shown = f"{values.mean():.2f}$\\pm${values.std():.2f}".replace("-", "$-$")
            best = values.mean() == wide[stem][[c for c in wide[stem] if c in RANKED]].mean().max()
            assert cell.replace(" ", "") == (f"\\textbf{{{shown}}}" if best else shown)
    text = path.read_text(encoding="utf-8")
    assert text.count("\\begin{table}") == 1
    assert "\\label{tab:musdb18hq-snr}" in text
    assert table_files.latex("(x−x\u0302)² \u0302") == r"(x$-$$\hat{x}$)$^2$ "
    assert "what snr is \\& how" in text.split("\\caption{")[1]


@pytest.mark.parametrize("form", ["latex", "markdown"])
def test_one_track_has_a_bare_number_and_n(tmp_path, form):
    write_run(tmp_path / "r", _one_track())
    choice = paper_table.PaperChoice("songs", "snr", ["vocals"])
    texts = [exporting.export_one(tmp_path / "r", choice, None, tmp_path).read_text()]
    exporting.export(tmp_path / "r", form, tmp_path / "all")
    texts += [path.read_text() for path in (tmp_path / "all").rglob("leaderboard.*")]
    assert len(texts) == 2
    for text in texts:
        row = next(line for line in text.splitlines() if "good" in line)
        assert "3.00" in row
        assert not re.search(r"±|\\pm|SD|deviation", row)
        captions = [line for line in text.splitlines() if "caption" in line or "SNR" in line]
        assert any("n = 1" in line for line in captions)
        assert not any(re.search("± *SD|deviation|SD of", line) for line in captions)


def _one_track() -> Run:
    """Return a run of one song, in which a separator is good and another one is not."""
    values = {"good": 3.0, "poor": 1.0}
    rows = [row(n, "A", "vocals", "snr", v, dataset="songs") for n, v in values.items()]
    about = {name: {"role": "separator"} for name in values}
    return replace(empty_run(separators=about), scores=rows_table(rows))


def test_a_paper_table_has_intervals_where_there_are_enough_artists(tmp_path):
    write_run(tmp_path / "r", demo_run(14))  # seven artists
    choice = paper_table.PaperChoice("demo", separators=["nmf", "scnet"])
    path = exporting.export_one(tmp_path / "r", choice, None, tmp_path)
    assert path == tmp_path / "demo_harmonic_mean.tex"
    _, *rows = tabular(path)
    assert [row[0] for row in rows] == ["scnet", "nmf"]  # best first
    given = [cell.replace("$-$", "-") for row in rows for cell in row[1:] if cell != "--"]
    cells = [re.findall(r"-?[\d.]+", cell) for cell in given]  # neither has an accompaniment
    assert len(cells) == 10
    assert all(
        len(cell) == 3 and float(cell[1]) < float(cell[0]) < float(cell[2]) for cell in cells
    )


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"dataset": "demo", "metric": "snrr"}, "--metric snrr: not known; did you mean 'snr'"),
        ({"dataset": "demo", "stems": ["tuba"]}, "--stems tuba: not known"),
        ({"dataset": "demo", "separators": ["nmff"]}, "--separator nmff: not known; did you mean"),
        ({"dataset": "demo", "spread": "range"}, "--spread range: not known"),
        ({}, "has demo, musdb18hq; choose one with --dataset"),
    ],
)
def test_a_paper_table_of_what_the_run_lacks_is_an_error(folder, tmp_path, choice, said):
    with pytest.raises(HarnessError, match=re.escape(said)):
        exporting.export_one(folder, paper_table.PaperChoice(**choice), None, tmp_path)


def test_an_unknown_format_is_an_error(folder, tmp_path):
    with pytest.raises(HarnessError, match=r"--format xls: not known; .*csv, latex, markdown, mod"):
        exporting.export(folder, "xls", tmp_path)


def test_a_metric_that_is_a_share_has_its_range_and_no_places():
    run = demo_run(10)
    rows = [
        row(name, f"t{i}", "drums", "onset_f", 0.9 - i / 100, artist=f"a{i}")
        for name in ("nmf", "scnet")
        for i in range(10)
    ]
    scores = pd.concat([run.scores, rows_table(rows)], ignore_index=True)
    about = {**METRICS["onset_f"].described(), "computed": True}
    record = {**run.record, "metrics": {**run.record.get("metrics", {}), "onset_f": about}}
    source = make_report(replace(run, scores=scores, record=record))
    sheet = paper_table.paper_table(source, paper_table.PaperChoice("demo", "onset_f"))
    (block,) = sheet.blocks
    assert {cells[0] for cells in block.rows} >= {"nmf", "scnet"}
    assert block.bold == frozenset()
    assert block.caption.startswith("Onset F, 0–1 (F-measure")
    assert "dB" not in block.caption
    assert "Bold" not in block.caption
    board = source.ranking("demo", "onset_f").board
    assert board["mean"].tolist() == pytest.approx([0.855, 0.855])
    assert board["rank"].isna().all()
    found = source.certainties("demo", "onset_f").values()
    assert not any(cell.group for stem in found for cell in stem.cells.values())
    assert {"Onset F, 0–1"} <= {*sheets._labels(source).values()}
