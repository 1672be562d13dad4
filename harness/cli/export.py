"""``harness export``."""

from __future__ import annotations

from pathlib import Path

from harness.cli import options
from harness.cli.arguments import find_run
from harness.cli.options import option
from harness.cli.terminal import show
from harness.core.errors import HarnessError
from harness.report import exporting
from harness.report.tables import paper_table


def export(
    run_name: str = options.RUN_NAME,
    file_format: str = option(
        "--format FORMAT", "museval", f"Format to write: {', '.join(exporting.FORMATS)}."
    ),
    to: Path = option("--to FOLDER", Path("export"), "Folder to write to."),
    source_url: str = option(
        "--source-url URL", "", "Web address of the report, for links in model cards."
    ),
    metric: str = option(
        "--metric METRIC",
        "",
        "Write one LaTeX table, with this metric, such as snr. This option and the next five need "
        "--format latex; any of them makes one table.",
        "the one used for selection",
    ),
    stems: str = option(
        "--stems STEM,…", "", "Stems of the one table, in this order.", "all of the mixture"
    ),
    separator: list[str] = option(
        "--separator NAME", [], "Separator of the one table. Repeat for several.", "all ranked"
    ),
    dataset: str = option("--dataset NAME", "", "Dataset of the one table.", "the only one"),
    spread: str = option(
        "--spread WHICH",
        "",
        f"What is written after each mean in the one table: {', '.join(paper_table.SPREADS)}.",
        "interval, or sd where there is none",
    ),
    out: Path | None = option(
        "--out FILE", None, "File of the one table.", "in the folder of --to"
    ),
    results_folder: Path = options.RESULTS,
) -> None:
    """Export the tables of a run: as data, for papers, or as model cards."""
    run = find_run(results_folder, run_name)
    if metric or stems or separator or dataset or spread or out:
        if file_format != "latex":
            raise HarnessError(
                f"export --format {file_format}: --metric, --stems, --separator, --dataset, "
                "--spread and --out choose one LaTeX table; add --format latex, or omit them"
            )
        listed = [stem for stem in stems.split(",") if stem.strip()]
        choice = paper_table.PaperChoice(dataset, metric, listed, separator, spread)
        show(exporting.export_one(run, choice, out, to))
        return
    files = exporting.export(run, file_format, to, source_url=source_url)
    show(f"{len(files)} files in {to}")
